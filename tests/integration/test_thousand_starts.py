"""A thousand starts and stops in one process leave nothing behind."""

import asyncio
import gc
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest

from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import Server, built

MANIFEST = """
    resources:
      db: {use: components.database.engine, with: {url: "sqlite://"}}
      loop: {use: tests.integration.loopback.Loopback}
      away: {use: $parts.steps.Entered, with: {fails: 999999}, on_error: degrade}
    routes:
      - {use: components.health.router, prefix: /health, with: {cache: 1ms}}
      - {mount: /in, use: $parts.api.starlette_app}
    startup:
      - {id: async, use: $parts.steps.say}
      - {id: sync, use: $parts.steps.say_in_thread, with: {word: on}}
    shutdown:
      - {use: $parts.steps.boom}
"""
WARM, TIMES = 100, 1000
MOST_BLOCKS = 500  # over 1000 times: one object for each would be more


@pytest.mark.timeout(600)
def test_a_thousand_starts_and_stops_leave_no_memory_tasks_threads_or_sockets(
    tmp_path: Path,
) -> None:
    # In a process of its own: what other tests left running would be counted too.
    command = [sys.executable, "-m", __name__, str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=580)
    assert result.returncode == 0, result.stderr


def measure(tmp_path: Path) -> None:
    app = built(tmp_path, MANIFEST)
    logging.getLogger("assembler").setLevel(logging.CRITICAL)

    async def once(client: httpx2.AsyncClient) -> None:
        server = Server(app)
        assert (await server.start())["type"] == "lifespan.startup.complete"
        assert (await client.get("/health/ready")).json()["status"] == "degraded"
        await server.stop()
        events.clear()

    async def main() -> None:
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test")
        for number in range(WARM + TIMES):
            if number == WARM:
                gc.collect()
                before = sys.getallocatedblocks(), _open_files(), threading.active_count()
            await once(client)
        gc.collect()
        assert sys.getallocatedblocks() - before[0] < MOST_BLOCKS
        assert _open_files() <= before[1]
        assert threading.active_count() <= before[2] + 1  # one may be about to end
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # names are all that is needed


if __name__ == "__main__":
    measure(Path(sys.argv[1]))
