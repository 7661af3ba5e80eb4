"""Lazy mounts under a real server: many at once, and a stop while one is made."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from tests.assembler.sample_app.world import write
from tests.servers import free_port, start_uvicorn, wait_for_port

ROOT = Path(__file__).parents[3]


def manifest(folder: Path, seconds: float) -> dict[str, str]:
    path = write(
        folder,
        f"""
        routes:
          - {{use: $parts.api.router}}
          - {{mount: /slow, use: $parts.slow_mount.app, lazy: true, with: {{seconds: {seconds}}}}}
        """,
    )
    return {"ASSEMBLY": str(path)}


@pytest.mark.parametrize("arguments", [(), ("--lifespan", "off")], ids=["lifespan", "none"])
def test_200_clients_at_once_get_their_answers_from_one_making(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    async def run(port: int) -> list[tuple[int, str]]:
        limits = httpx2.Limits(max_connections=200)
        base = f"http://127.0.0.1:{port}"
        async with httpx2.AsyncClient(base_url=base, limits=limits, timeout=60) as client:
            asked = [asyncio.create_task(client.get("/slow")) for _ in range(200)]
            other = await client.get("/hello")  # is served meanwhile
            assert (other.status_code, all(task.done() for task in asked)) == (200, False)
            return [(answer.status_code, answer.text) for answer in await asyncio.gather(*asked)]

    environment = manifest(tmp_path, 1.0)
    with start_uvicorn("assembler:app", *arguments, environment=environment) as port:
        assert asyncio.run(run(port)) == [(200, "made 1")] * 200


def test_a_stop_while_a_mount_is_made_is_quick(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "assembler:app", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--log-level", "warning", "--timeout-graceful-shutdown", "2"],
        cwd=ROOT,
        env={**os.environ, **manifest(tmp_path, 600.0)},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}") as client:
            with pytest.raises(httpx2.ReadTimeout):
                client.get("/slow", timeout=0.5)
            assert client.get("/hello").status_code == 200
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, -signal.SIGTERM}
        assert time.monotonic() - began < 60
    finally:
        process.kill()
        process.wait(20)
