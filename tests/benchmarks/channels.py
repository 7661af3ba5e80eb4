"""Channels beside a loop by hand, and a storm of clients over four workers.

`python -m tests.benchmarks.channels [clients of the storm]` prints the time from publishing to the
arrival at each of 1000 clients, over a channel and over a loop that sends to each websocket in turn,
in turns of one run; then what 2000 clients of four workers lost, were sent twice, and were told of,
when a worker is killed and Redis restarted, with its data and without.
"""

import asyncio
import statistics
import sys
import time
from functools import partial
from typing import Any

import httpx2

from tests.components.channels.storm import Client, losses, play
from tests.components.channels.test_storm import AOF, workers
from tests.servers import start_redis, start_uvicorn
from tests.waiting import until

READERS = 1000
ROUNDS = 40
WAYS = {"channel": "/ws", "by-hand": "/by-hand"}


class Reader(Client):
    """Notes how long each message took."""

    def __init__(self, port: int, way: str) -> None:
        super().__init__(port, WAYS[way])
        self.seconds: list[float] = []

    def _hear(self, word: dict[str, Any]) -> None:
        now = time.monotonic()
        sent = word.get("data", word).get("sent")
        if sent is not None:
            self.seconds.append(now - sent)
            self.seen.append(sent)


def _have(readers: list[Reader], count: int) -> bool:
    return sum(len(reader.seconds) for reader in readers) >= count


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def fan_out(port: int) -> dict[str, list[float]]:
    """The p99 of each round, by the way."""
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        readers = {way: [Reader(port, way) for _ in range(READERS)] for way in WAYS}
        tasks = [
            asyncio.create_task(reader.run(lambda seen: False))
            for group in readers.values()
            for reader in group
        ]

        async def are_there() -> bool:
            there: list[int] = (await client.get("/count")).json()
            return there == [READERS, READERS]

        await until(are_there, seconds=60)
        for number in range(ROUNDS * 2):
            way = [*WAYS][(number + number // 2) % 2]
            before = sum(len(reader.seconds) for reader in readers[way])
            await client.post("/tell", params={"way": way})
            await until(partial(_have, readers[way], before + READERS), seconds=60)
            found[way].append(percentile([one.seconds[-1] for one in readers[way]], 0.99))
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return found


def told(name: str, clients: int, *options: str) -> None:
    messages = 60
    with start_redis(*options) as redis, workers(redis, 4) as (port, parent):
        made = asyncio.run(play(port, parent, redis, clients=clients, messages=messages, pause=0.2))
    found = [losses(client.seen, messages) for client in made]
    lost, doubled = sum(one[0] for one in found), sum(one[1] for one in found)
    gaps = sum(one[2] > 0 for one in found)
    connects = sum(client.connects for client in made)
    print(
        f"{name:<28} {clients} clients, {connects} connections: "
        f"{lost} lost in silence, {doubled} doubled, {gaps} clients told of a gap"
    )


def main() -> None:
    with start_uvicorn(
        "tests.components.channels.storm_app:app", "--ws-per-message-deflate", "false"
    ) as port:
        found = asyncio.run(fan_out(port))
    pairs = zip(found["channel"][2:], found["by-hand"][2:], strict=True)
    ratio = statistics.median(ours / theirs for ours, theirs in pairs)
    for way, values in found.items():
        print(f"{way:<28} p99 {statistics.median(values) * 1000:7.1f} ms to {READERS} clients")
    print(f"{'ratio':<28} {ratio:.2f}")
    clients = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    told("Redis with its data", clients, *AOF)
    told("Redis without its data", clients)


if __name__ == "__main__":
    main()
