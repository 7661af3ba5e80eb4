"""Workers of one parent, each of which read the disk."""

import fcntl
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from assembler.runtime.siblings import Siblings

PARENT = 4_000_000  # no process has such a number


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def elsewhere(digest: str, then: str) -> "subprocess.Popen[str]":
    """A sibling in a process of its own."""
    text = (
        f"import tempfile, sys; tempfile.tempdir = {tempfile.gettempdir()!r}\n"
        "from assembler.runtime.siblings import Siblings\n"
        f"one = Siblings({digest!r}, {PARENT}); one.join(); print('in', flush=True)\n"
        f"sys.stdin.readline(); {then}"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in\n"
    return process


def test_a_sibling_that_read_something_else_is_found_while_it_lives() -> None:
    own = Siblings("a" * 64, PARENT)
    own.join()
    assert own.others() == []
    with elsewhere("b" * 64, "one.leave()") as other, elsewhere("a" * 64, "pass"):
        assert own.others() == ["b" * 64]
        other.communicate("end\n", timeout=20)
        assert own.others() == []
    own.leave()


def test_one_that_was_killed_counts_no_more() -> None:
    own = Siblings("a" * 64, PARENT)
    own.join()
    with elsewhere("b" * 64, "pass") as other:
        assert own.others() == ["b" * 64]
        other.kill()
        other.wait(20)
        assert own.others() == []
    own.leave()
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_one_that_is_just_joining_is_not_taken_for_a_dead_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other, own = Siblings("b" * 64, PARENT), Siblings("a" * 64, PARENT)
    other.join()
    lock = fcntl.flock

    def look_and_lock(file: Any, how: int) -> None:
        if how & fcntl.LOCK_EX:
            other.others()
        lock(file, how)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", look_and_lock)
        own.join()
    assert other.others() == ["a" * 64]
    other.leave()
    own.leave()


def test_one_that_joins_as_the_last_one_leaves_has_its_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other, own = Siblings("b" * 64, PARENT), Siblings("a" * 64, PARENT)
    user, removals = os.getuid(), iter([own._folder.rmdir])

    def tell_once_removed() -> int:
        for remove in removals:
            remove()
        return user

    with monkeypatch.context() as patch:
        patch.setattr(os, "getuid", tell_once_removed)
        own.join()
    other.join()
    assert other.others() == ["a" * 64]
    other.leave()
    own.leave()


def test_another_parent_has_other_siblings() -> None:
    own = Siblings("a" * 64, os.getppid())
    own.join()
    with elsewhere("b" * 64, "pass"):
        assert own.others() == []
    own.leave()
