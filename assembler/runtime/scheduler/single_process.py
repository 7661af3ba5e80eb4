"""The worker processes of one server → one of them may go on without a store.

In: how many workers the manifest and the environment ask for, and what this process is. Out: a
guard that the first of some sibling processes takes. Refuses the others, since each of them would
run every job. That uvicorn or gunicorn was told of workers on its command line shows only by the
sibling itself; processes that were started one by one are no siblings, and are left alone.
"""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from assembler.runtime.siblings import is_worker
from assembler.runtime.task import StepError


class SeveralWorkersError(StepError):
    """Several processes would each run every job."""

    code = "scheduler-without-store"
    help = "add `store: ${resources.…}` to `scheduler`, an engine or a cache"


def refuse_several(workers: int, environment: Mapping[str, str] = os.environ) -> None:
    """Raise `SeveralWorkersError` where the manifest or the environment asks for several."""
    asked = environment.get("WEB_CONCURRENCY", "")
    workers = max(workers, int(asked) if asked.isdecimal() else 1)
    if workers > 1:
        raise SeveralWorkersError(
            f"{workers} workers and no `store`: each of them would run every job"
        )


class SingleProcess:
    """Held by the one process of a server that runs the jobs of the manifest of this hash."""

    def __init__(self, hash: str) -> None:
        self._path = Path(tempfile.gettempdir()) / f"assembler-{os.getppid()}-{hash[:16]}.lock"
        self._file: IO[str] | None = None

    def take(
        self,
        workers: int,
        environment: Mapping[str, str] = os.environ,
        *,
        is_sole: bool = False,
    ) -> None:
        """Raises `SeveralWorkersError` where other processes run the same jobs, or would.

        With `is_sole` a parent sees to it that one process at a time has the clock.
        """
        refuse_several(workers, environment)
        if not is_sole and is_worker() and not self._lock():
            raise SeveralWorkersError("another worker runs the jobs, and there is no `store`")

    def leave(self) -> None:
        """Let another process take it."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._path.unlink()
            self._file.close()
            self._file = None

    def _lock(self) -> bool:
        """Lock the file for this process; True also where the platform has no such locks."""
        try:
            import fcntl  # noqa: PLC0415  # Windows has none
        except ImportError:
            return True
        while True:
            file = self._path.open("a")
            try:
                fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                file.close()
                return False
            if self._is_at_its_place(file):
                self._file = file
                return True
            file.close()

    def _is_at_its_place(self, file: IO[str]) -> bool:
        """Tell whether others will meet this lock: who had it before may just have removed the file."""
        try:
            return os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False
