"""The command in a process of its own: streams, signals, terminals."""

import contextlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.assembler.command import COMMAND, ENVIRONMENT, PROJECT, call, write


def writing_to(
    stdout: int, *words: str, stderr: int = subprocess.PIPE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the command with its results going to that file."""
    return subprocess.run(
        [*COMMAND, *words],
        cwd=PROJECT,
        env={**ENVIRONMENT, **environment},
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
        timeout=100,
    )


def test_the_module_is_the_command() -> None:
    shown = call("check", "manifests/prod.yaml")
    assert (shown.returncode, shown.stdout) == (0, "manifests/prod.yaml: ok\n")
    assert shown.stderr == "shop.api is imported\n"


def test_a_wrong_manifest_ends_with_status_1_and_no_python_frames() -> None:
    shown = call("explain", "manifests/broken.yaml")
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "error[unknown-option]" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_version_is_that_of_the_distribution() -> None:
    assert re.fullmatch(r"assembler \d+\.\d+\.\d+\S*\n", call("--version").stdout)


@pytest.mark.parametrize(
    "arguments", [["render", "manifests/prod.yaml"], ["explain", "manifests/prod.yaml"], ["--help"]]
)
def test_a_reader_that_has_left_ends_the_command_in_silence(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        shown = writing_to(writing, *arguments)
    finally:
        os.close(writing)
    assert shown.returncode != 0
    assert shown.stderr.replace("shop.api is imported\n", "") == ""


@pytest.mark.parametrize("redirection", ["1>&-", "2>&-", "1>&- 2>&-", "0<&-"])
def test_closed_streams_are_no_fault(redirection: str) -> None:
    line = f"{sys.executable} -m assembler check manifests/base.yaml nope.yaml {redirection}"
    shown = subprocess.run(
        ["/bin/sh", "-c", line],
        cwd=PROJECT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", ["render manifests/prod.yaml", "check --help", "--version"])
def test_a_full_disk_is_told_in_one_line(words: str, unbuffered: str) -> None:
    with Path("/dev/full").open("w") as full:
        shown = writing_to(full.fileno(), *words.split(), PYTHONUNBUFFERED=unbuffered)
    assert (shown.returncode, shown.stderr) == (2, "error: No space left on device\n")


def test_what_cannot_be_told_at_all_still_has_its_status() -> None:
    with Path("/dev/full").open("w") as full:
        shown = writing_to(full.fileno(), "check", "nowhere.yaml", stderr=subprocess.STDOUT)
    assert shown.returncode == 2


def test_interrupting_ends_in_silence(tmp_path: Path) -> None:
    text = "import os, signal\n\n\nos.kill(os.getpid(), signal.SIGINT)\n"
    write(tmp_path, {"m.yaml": "manifest: 1\nconfigure: [{use: slow.x}]\n", "slow.py": text})
    shown = call("check", "m.yaml", folder=tmp_path)
    assert (shown.returncode, shown.stdout, shown.stderr) == (130, "", "")


def test_a_terminal_that_lacks_characters_gets_escapes() -> None:
    shown = call("explain", "manifests/prod.yaml", PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert "\\u251c\\u2500 stamp.v2" in shown.stdout


@pytest.mark.parametrize(
    ("variables", "colored"),
    [
        ({"NO_COLOR": ""}, True),
        ({"NO_COLOR": "1"}, False),
        ({"NO_COLOR": "", "TERM": "dumb"}, False),
    ],
)
def test_a_terminal_has_colors_unless_its_user_declines(
    variables: dict[str, str], colored: bool
) -> None:
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "check", "manifests/broken.yaml"],
        cwd=PROJECT,
        env={**ENVIRONMENT, "TERM": "xterm", **variables},
        stdout=child,
        stderr=subprocess.DEVNULL,
    )
    os.close(child)
    text = b""
    with contextlib.suppress(OSError):  # how a terminal says that it was closed
        while part := os.read(parent, 4096):
            text += part
    os.close(parent)
    assert process.wait(20) == 1
    assert (b"\x1b[" in text) is colored
    assert b"unknown-option" in text


def test_a_pipe_has_no_colors() -> None:
    assert "\x1b" not in call("check", "manifests/broken.yaml").stdout


def test_names_and_requests_that_are_no_text_are_no_fault(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    (tmp_path / os.fsdecode(b"\xff.yaml")).write_text("manifest: 1\n")
    shown = call("check", b"\xff.yaml", folder=tmp_path)
    assert (shown.returncode, shown.stdout) == (0, "\\udcff.yaml: ok\n")
    shown = call("explain", "m.yaml", "GET", b"/\xff%ff?q=\xff", folder=tmp_path)
    assert shown.returncode == 0
    assert "404" in shown.stdout


def test_a_folder_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    line = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m assembler check m.yaml"
    shown = subprocess.run(
        ["/bin/sh", "-c", line],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert shown.returncode == 2
    assert shown.stderr == "error: No such file or directory\n"


def test_what_code_writes_past_python_is_no_part_of_a_result(tmp_path: Path) -> None:
    code = "import os\nos.write(1, b'noise')\ndef make(app: object) -> None: ...\n"
    write(tmp_path, {"m.yaml": "manifest: 1\nconfigure: [{use: own.make}]\n", "own.py": code})
    for line in ("check m.yaml --format json", "routes m.yaml --format json", "schema m.yaml"):
        done = call(*line.split(), folder=tmp_path)
        assert done.returncode == 0
        assert json.loads(done.stdout)
        assert done.stderr == "noise"
