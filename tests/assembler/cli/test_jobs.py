"""`assembler jobs --watch`, on a terminal of its own."""

import os
import pty
import signal
import subprocess

from tests.assembler.command import COMMAND, ENVIRONMENT, PROJECT


def read_until(terminal: int, wanted: bytes, times: int = 1) -> bytes:
    """Read what the command draws until `wanted` has come so often; the test's timeout bounds it."""
    seen = b""
    while seen.count(wanted) < times:
        seen += os.read(terminal, 65536)
    return seen


def test_watch_draws_anew_and_ends_cleanly_at_ctrl_c() -> None:
    ours, theirs = pty.openpty()
    arguments = ["jobs", "nightly.yaml", "--watch", "--interval", "50ms"]
    environment = {**ENVIRONMENT, "TERM": "xterm", "COLUMNS": "120", "LINES": "60"}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=PROJECT,
        env=environment,
        stdin=theirs,
        stdout=theirs,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        os.close(theirs)
        seen = read_until(ours, b"every 5 minutes, Asia/Kolkata", times=3)
        process.send_signal(signal.SIGINT)
        seen += read_until(ours, b"\x1b[?1049l")  # the screen of before is back
        assert process.wait(timeout=30) == 0
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    os.close(ours)
    assert b"\x1b[31m" not in seen  # the job that is named so
