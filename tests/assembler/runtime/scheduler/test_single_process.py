"""One of the workers of a server that runs the jobs, whoever comes and goes at the same moment."""

import fcntl
import tempfile
from pathlib import Path
from typing import Any

import pytest

from assembler.runtime.scheduler.single_process import SingleProcess


def test_a_lock_that_is_removed_as_it_is_taken_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    alone = SingleProcess("a" * 64)
    lock, removals = fcntl.lockf, iter([alone._path.unlink])

    def lock_late(file: Any, how: int) -> None:
        for remove in removals:  # who held it leaves, between our opening and our locking
            remove()
        lock(file, how)

    monkeypatch.setattr(fcntl, "lockf", lock_late)
    assert alone._lock()
    assert alone._path.exists()
    alone.leave()
    assert list(tmp_path.iterdir()) == []
