"""One run of a server -> the folder in which its workers' numbers meet.

In: a folder, or nothing. Out: a folder below it that this process and its siblings share and no other
run has; folders of runs that have ended are removed. None where this process is no worker and no folder
was named: its numbers need not leave it. Refused: a folder in the shared temporary one that is not this
user's own alone, since whoever can write there could write numbers.

A run is told by the parent process, its number and its start: it outlives the workers, and uvicorn,
gunicorn and granian start them from one. So nothing must be set up before a server starts, and nothing
that a killed server left behind is counted again.
"""

import multiprocessing
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # where Prometheus' own client is told the same


def run_folder(directory: Path | None) -> Path | None:
    """The folder of this run, made where it is not there yet.

    Raises:
        OSError: it cannot be, or is somebody else's.
    """
    named = directory or os.environ.get(_VARIABLE)
    if named:
        base = Path(named)
        base.mkdir(parents=True, exist_ok=True)
    elif is_worker():
        base = _own_temporary()
    else:
        return None
    parent = os.getppid()
    folder = base / f"run-{parent}-{_start_of(parent)}"
    for other in base.glob("run-*-*"):
        if other != folder and not _is_running(other.name):
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    return folder


def is_worker() -> bool:
    """Whether a server started this process as one of several, or may have."""
    if multiprocessing.parent_process() is not None:  # uvicorn, granian, hypercorn
        return True
    return os.environ.get("SERVER_SOFTWARE", "").startswith("gunicorn")


def is_alive(process: int) -> bool:
    """Whether a process of this number runs, whoever's it is."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _own_temporary() -> Path:
    user = os.getuid() if hasattr(os, "getuid") else 0
    base = Path(tempfile.gettempdir()) / f"metrics-{user}"
    with suppress(FileExistsError):
        base.mkdir(mode=0o700)
    found = base.lstat()
    is_ours = hasattr(os, "getuid") is False or found.st_uid == user
    if base.is_symlink() or not is_ours or found.st_mode & 0o022:
        raise PermissionError(f"{base} is not this user's own")
    return base


def _is_running(name: str) -> bool:
    _, process, start = name.split("-", 2)
    return process.isdecimal() and is_alive(int(process)) and _start_of(int(process)) == start


def _start_of(process: int) -> str:
    """When a process started, in the kernel's own count; `0` where it does not say."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text("ascii", "replace")
    except OSError:
        return "0"
    return stat.rpartition(")")[2].split()[19]  # a name before the bracket may hold anything
