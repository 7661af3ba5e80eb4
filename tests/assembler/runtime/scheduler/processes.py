"""Several processes that run the same job, and what they did."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[4]
PATIENCE_SECONDS = 60


class Crew:
    """Processes of one job; `lines` are what its runs noted."""

    def __init__(self, journal: Path, **options: Any) -> None:
        self.journal = journal
        journal.touch()
        self.options = {**options, "journal": str(journal)}
        self.processes: list[subprocess.Popen[str]] = []

    def add(self, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.assembler.runtime.scheduler.worker"]
        process = subprocess.Popen(
            [*command, json.dumps({**self.options, **options})],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.processes.append(process)
        return process

    def await_start(self) -> None:
        for process in self.processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "up\n"

    def lines(self, event: str = "began") -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.journal.read_text().splitlines()]
        return [line for line in found if line["event"] == event]

    def until(self, condition: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < end, self.journal.read_text()
            time.sleep(0.02)

    def stop(self) -> None:
        for process in self.processes:
            if process.poll() is None and process.stdin is not None:
                process.stdin.write("\n")
                process.stdin.close()
        for process in self.processes:
            process.wait(PATIENCE_SECONDS)

    def send(self, pid: int, number: signal.Signals) -> None:
        assert pid in {process.pid for process in self.processes}
        os.kill(pid, number)


@contextmanager
def crew(journal: Path, **options: Any) -> Iterator[Crew]:
    made = Crew(journal, **options)
    try:
        yield made
    finally:
        for process in made.processes:
            if process.poll() is None:
                process.kill()
            process.wait(20)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()


def doubles(lines: list[dict[str, Any]]) -> list[float]:
    """Ticks that ran more than once."""
    return [tick for tick, count in Counter(line["tick"] for line in lines).items() if count > 1]
