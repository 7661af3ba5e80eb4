"""`assembler jobs --watch`, on a terminal of its own."""

import os
import pty
import select
import signal
import subprocess
import time

from tests.assembler.command import COMMAND, ENVIRONMENT, PROJECT


def read_until(terminal: int, wanted: bytes, times: int = 1) -> bytes:
    """Read what the command draws until `wanted` has come so often."""
    seen, end = b"", time.monotonic() + 60
    while seen.count(wanted) < times:
        readable, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert readable, f"{wanted!r} has not come: {seen[-500:]!r}"
        seen += os.read(terminal, 65536)
    return seen


def test_watch_draws_anew_and_ends_cleanly_at_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    arguments = ["jobs", "nightly.yaml", "--watch", "--interval", "50ms"]
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120", "LINES": "60"}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=PROJECT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        seen = read_until(ours, b"every 5 minutes, Asia/Kolkata", times=3)
        process.send_signal(signal.SIGINT)
        seen += read_until(ours, b"\x1b[?1049l")  # the screen of before is back
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0
        assert b"Traceback" not in errors
    finally:
        process.kill()
        process.communicate(timeout=20)
    os.close(ours)
    assert b"\x1b[31m" not in seen  # the job that is named so
