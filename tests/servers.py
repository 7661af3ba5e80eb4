"""Real servers for tests and benchmarks, on free ports.

In: nothing but the installed packages. Out: a running server that is gone when the block ends.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from assembler.testing import PostgresServer, RedisServer, start_postgres, start_redis
from assembler.testing.ports import free_port, wait_for_port

if TYPE_CHECKING:
    from starlette.types import ASGIApp

__all__ = [
    "PostgresServer",
    "RedisServer",
    "free_port",
    "serve",
    "start_pgbouncer",
    "start_postgres",
    "start_redis",
    "start_uvicorn",
    "wait_for_port",
]

_PATIENCE_SECONDS = 60


@contextmanager
def start_uvicorn(
    target: str,
    *arguments: str,
    environment: dict[str, str] | None = None,
    port: int | None = None,
) -> Iterator[int]:
    """uvicorn in a process of its own; gives its port."""
    port = free_port() if port is None else port
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", target, "--host", "127.0.0.1", "--port", str(port)),
            *("--log-level", "warning", "--no-access-log", *arguments),
        ],
        cwd=Path(__file__).parent.parent,
        env={**os.environ, **(environment or {})},
    )
    try:
        wait_for_port(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


@contextmanager
def serve(app: "ASGIApp", *, port: int | None = None, **options: Any) -> Iterator[str]:
    """uvicorn in a thread, for an application of this process; gives its URL."""
    import uvicorn  # noqa: PLC0415  # this module is imported where it may not be there, too

    port = free_port() if port is None else port
    config = uvicorn.Config(app, port=port, **{"log_level": "critical", **options})
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    end = time.monotonic() + _PATIENCE_SECONDS
    try:
        while not server.started:
            assert thread.is_alive(), "the server ended"
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_PATIENCE_SECONDS)


@contextmanager
def start_pgbouncer(postgres: str, **settings: str) -> Iterator[str]:
    """PgBouncer in transaction mode before a server; gives the URL of its `postgres` database.

    `postgres` is the server's URL with its socket folder as `host` in the query; `settings` go
    into the `pgbouncer` section. The password of `postgres` is `word`.
    """
    port, folder = free_port(), Path(tempfile.mkdtemp(prefix="pgbouncer-"))
    socket_folder = parse_qs(urlsplit(postgres).query)["host"][0]
    (folder / "users").write_text('"postgres" "word"\n')
    options = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "unix_socket_dir": "",
        "auth_type": "scram-sha-256",
        "auth_file": str(folder / "users"),
        "pool_mode": "transaction",
        "default_pool_size": "2",
        **settings,
    }
    lines = ["[databases]", f"* = host={socket_folder}", "[pgbouncer]"]
    lines += [f"{name} = {value}" for name, value in options.items()]
    (folder / "ini").write_text("\n".join(lines))
    folder.chmod(0o755)
    # it refuses to run as root, and must reach the socket
    user = ["-u", Path(socket_folder).owner()] if os.geteuid() == 0 else []
    process = subprocess.Popen(
        ["/usr/sbin/pgbouncer", "-q", *user, str(folder / "ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port, process)
        yield f"postgresql://postgres:word@127.0.0.1:{port}/postgres"
    finally:
        process.kill()
        process.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
