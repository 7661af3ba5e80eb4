"""Several workers, clients that come back, a worker that is killed, a Redis that is restarted."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # has no types of its own
import pytest

from tests.components.channels.storm import losses, play
from tests.servers import RedisServer, free_port, start_redis, wait_for_port

ROOT = Path(__file__).parents[3]
AOF = ("--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction")


@contextmanager
def workers(redis: RedisServer, number: int) -> Iterator[tuple[int, int]]:
    """uvicorn with that many workers; gives its port and the parent's process ID."""
    port = free_port()
    command = [
        *(sys.executable, "-m", "uvicorn", "tests.components.channels.storm_app:app"),
        *("--port", str(port), "--workers", str(number), "--log-level", "critical"),
        *("--no-access-log", "--ws-per-message-deflate", "false"),
    ]
    environment = {**os.environ, "REDIS_URL": redis.url}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    try:
        wait_for_port(port, process)
        yield port, process.pid
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        process.wait(timeout=30)
        for child in family:
            child.kill()


@pytest.mark.timeout(180)
@pytest.mark.parametrize("keeps", [True, False])
def test_a_storm_loses_nothing_in_silence(keeps: bool) -> None:
    clients, messages = 60, 60
    with start_redis(*(AOF if keeps else ())) as redis, workers(redis, 2) as (port, parent):
        made = asyncio.run(
            play(port, parent, redis, clients=clients, messages=messages, pause=0.05)
        )
    found = [losses(client.seen, messages) for client in made]
    assert all(lost == doubled == 0 for lost, doubled, _ in found)
    gaps = [gaps for _, _, gaps in found]
    assert set(gaps) == {0} if keeps else min(gaps) >= 1
    assert sum(client.connects for client in made) > clients  # the killed worker's came back
