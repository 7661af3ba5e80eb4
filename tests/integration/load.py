"""Requests without end by some threads.

In: an address. Out: what was answered, counted by status, until the block ends.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2


class Load:
    """What was answered so far."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[int] = Counter()
        self.without_retry_after = 0
        self.ended = threading.Event()

    def run(self) -> None:
        with httpx2.Client(timeout=30) as client:
            while not self.ended.is_set():
                answer = client.get(self.url)
                self.answers[answer.status_code] += 1
                if answer.status_code == 503 and "retry-after" not in answer.headers:
                    self.without_retry_after += 1


@contextmanager
def load(url: str) -> Iterator[Load]:
    found = Load(url)
    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(found.run) for _ in range(4)]
        try:
            yield found
        finally:
            found.ended.set()
        for thread in threads:
            thread.result()
