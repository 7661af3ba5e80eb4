"""Workers that read the disk each: who read another manifest than its siblings says so."""

import os
import signal
from pathlib import Path

import pytest

from tests.integration.serving import serving, until

MANIFEST = """
    routes: [{{use: components.health.router, prefix: /health}}]
    server: {{port: {port}, workers: {workers}, {server}}}
"""


@pytest.mark.parametrize("name", ["uvicorn of two", "gunicorn"])
def test_a_worker_that_read_an_edited_manifest_says_so(name: str, tmp_path: Path) -> None:
    with serving(name, tmp_path, "drain: 1s", MANIFEST) as server:
        seen: list[
            dict[str, str]
        ] = []  # of the worker that answered; the other may not have its own yet

        def has_told() -> bool:
            seen[:] = [server.json("/health/details")["instance"] or {}]
            return bool(seen[0])

        until(has_told, "its fingerprint")
        victim = int(seen[0]["instance"].split("-")[-2])
        [manifest] = tmp_path.glob("*.yaml")
        manifest.write_text(manifest.read_text().replace("drain: 1s", "drain: 2s"))
        os.kill(victim, signal.SIGKILL)
        server.wait_for_text("workers of this server run different manifests")
        assert "Traceback" not in server.output
