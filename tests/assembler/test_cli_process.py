"""The command in a process of its own: streams, signals, servers, and calls that make no sense."""

import contextlib
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assembler.command import PROJECT, run, write
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "assembler"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


def call(
    *arguments: str | bytes, folder: Path = PROJECT, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=60,
        check=False,
    )


@contextlib.contextmanager
def started(*arguments: str, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [*COMMAND, *arguments], cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE
    )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()  # a reloader ends its own child
        with contextlib.suppress(ValueError):  # the test has read all of it
            process.communicate(timeout=20)


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        text: str = answer.read().decode()
        return text


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


SERVED = """\
manifest: 1
app: {openapi: {path: null}}
routes: [{use: site.router}]
server: {host: 127.0.0.1, port: PORT, log_level: info}
"""
SITE = """\
from fastapi import APIRouter

router = APIRouter()


@router.get("/")
def home() -> str:
    return "WORD"
"""


def site(folder: Path, port: int, word: str) -> None:
    text = SERVED.replace("PORT", str(port)).replace("site.", "pages.")
    write(folder, {"m.yaml": text, "pages.py": SITE.replace("WORD", word)})


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, -15), (signal.SIGINT, 0)])
def test_serve_answers_by_the_server_section_until_it_is_told_to_stop(
    tmp_path: Path, number: int, status: int
) -> None:
    port = free_port()
    site(tmp_path, port, "hello")
    with started("serve", "m.yaml", folder=tmp_path, port=port) as process:
        assert get(port, "/") == '"hello"'
        process.send_signal(number)
        _, errors = process.communicate(timeout=20)
        assert process.returncode == status
    assert b"Application shutdown complete" in errors
    assert b"Traceback" not in errors


def test_serve_with_reload_starts_again_when_the_manifest_changes(tmp_path: Path) -> None:
    port = free_port()
    site(tmp_path, port, "hello")
    with started("serve", "m.yaml", "--reload", folder=tmp_path, port=port):
        deadline = time.monotonic() + 30
        write(tmp_path, {"other.py": SITE.replace("WORD", "other")})
        answer = ""
        while answer != '"other"' and time.monotonic() < deadline:
            text = (tmp_path / "m.yaml").read_text().replace("pages.", "other.")
            (tmp_path / "m.yaml").write_text(text)  # again: the watcher may not have looked yet
            with contextlib.suppress(OSError, urllib.error.URLError):
                answer = get(port, "/")
            time.sleep(0.2)
        assert answer == '"other"'


def test_serve_refuses_a_wrong_manifest_before_it_listens(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\nserver: {prot: 80}\n"})
    shown = call("serve", "m.yaml", folder=tmp_path)
    assert shown.returncode == 1
    assert "error[unknown-option]" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_serve_tells_a_certificate_that_is_not_there_in_one_line(tmp_path: Path) -> None:
    text = "manifest: 1\nserver: {ssl_certfile: no.pem, ssl_keyfile: no.key}\n"
    write(tmp_path, {"m.yaml": text})
    shown = call("serve", "m.yaml", folder=tmp_path)
    assert (shown.returncode, shown.stderr) == (2, "error: No such file or directory\n")


def test_serve_on_a_taken_port_ends_without_frames(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        site(tmp_path, taken.getsockname()[1], "hello")
        shown = call("serve", "m.yaml", folder=tmp_path)
    assert shown.returncode != 0
    assert "address already in use" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_init_makes_a_project_that_is_valid_and_runs(tmp_path: Path) -> None:
    made = run("init", "shop", folder=tmp_path)
    assert made.status == 0
    written = [tmp_path / line for line in made.out.splitlines()]
    assert written
    assert all(path.is_file() for path in written)
    folder = tmp_path / "shop"
    assert call("check", folder=folder).returncode == 0
    port = free_port()
    manifest = folder / "manifests/dev.yaml"
    manifest.write_text(manifest.read_text("utf-8").replace("8000", str(port)), "utf-8")
    with started("serve", "manifests/dev.yaml", folder=folder, port=port):
        assert "openapi" in get(port, "/openapi.json")


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    assert run("init", folder=tmp_path).status == 0
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again = run("init", folder=tmp_path)
    assert again.status == 2
    assert again.out == ""
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments", [["render", "manifests/prod.yaml"], ["explain", "manifests/prod.yaml"], ["--help"]]
)
def test_a_reader_that_has_left_ends_the_command_in_silence(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        shown = subprocess.run(
            [*COMMAND, *arguments],
            cwd=PROJECT,
            env=ENVIRONMENT,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
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
    )
    assert shown.returncode == 2
    assert "Traceback" not in shown.stderr


def test_a_full_disk_is_told_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        shown = subprocess.run(
            [*COMMAND, "render", "manifests/prod.yaml"],
            cwd=PROJECT,
            env=ENVIRONMENT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (shown.returncode, shown.stderr) == (2, "error: No space left on device\n")


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


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    many = "".join(f"  - {{id: m{index}, use: stamp.Stamp}}\n" for index in range(10_000))
    write(
        tmp_path,
        {
            "empty.yaml": "",
            "folder.yaml/inner": "",
            "huge.yaml": "# " + "x" * (1 << 20),
            "cycle.yaml": "manifest: 1\nextends: cycle.yaml\n",
            "many.yaml": f"manifest: 1\nmiddleware:\n{many}",
            "deep.yaml": "a: " + "[" * 5000,
            "base-is-folder.yaml": "manifest: 1\nextends: folder.yaml\n",
            "stamp.py": "class Stamp:\n    def __init__(self, app): ...\n",
            "broken-project/pyproject.toml": "[tool.assembler\n",
            "broken-project/m.yaml": "manifest: 1\nconfigure: [{use: a.b}]\n",
        },
    )
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere.yaml")
    return tmp_path


ABUSES = {
    "check empty.yaml": 1,
    "check folder.yaml": 2,
    "check huge.yaml": 1,
    "check binary.yaml": 1,
    "check cycle.yaml": 1,
    "check deep.yaml": 1,
    "check many.yaml --static": 0,
    "check loop.yaml": 2,
    "check dangling.yaml": 2,
    "check base-is-folder.yaml": 1,
    "check broken-project/m.yaml": 2,
    "check .": 2,
    "check /dev/null": 1,
    "check missing/missing.yaml": 2,
    f"check {'x' * 5000}": 2,
    "render folder.yaml": 2,
    "render many.yaml": 0,
    "render cycle.yaml": 1,
    "render many.yaml --explain middleware.m9999.use": 0,
    "render many.yaml --explain ..": 2,
    "routes empty.yaml": 1,
    "explain folder.yaml GET /": 2,
    "schema folder.yaml": 2,
    "schema empty.yaml": 1,
    "serve folder.yaml": 2,
    "serve missing.yaml --reload": 2,
    "init empty.yaml": 2,
    "init empty.yaml/inner": 2,
}


@pytest.mark.parametrize("line", ABUSES, ids=lambda line: line[:60])
def test_no_call_shows_python_frames(line: str, odd_files: Path) -> None:
    shown = run(*line.split(), folder=odd_files)
    assert shown.status == ABUSES[line], shown.err
    text = shown.out + shown.err
    assert "Traceback" not in text
    assert "assembler/" not in text
    assert shown.status == 0 or "error" in text


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    (tmp_path / "m.yaml").chmod(0)
    if os.access(tmp_path / "m.yaml", os.R_OK):  # the superuser may read all
        read_only = Path("/proc/self/mem")  # and even so not this
        shown = run("check", str(read_only), folder=tmp_path)
    else:
        shown = run("check", "m.yaml", folder=tmp_path)
    assert shown.status == 2
    assert shown.err.startswith("error: cannot read")


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
        ["/bin/sh", "-c", line], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 2
    assert shown.stderr == "error: No such file or directory\n"
