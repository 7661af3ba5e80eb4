"""`serve` and `init`: real servers, started and stopped as a person would."""

import contextlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.assembler.command import COMMAND, ENVIRONMENT, call, run, write
from tests.servers import free_port, wait_for_port


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
        try:
            with contextlib.suppress(ValueError):  # the test has read all of it
                process.communicate(timeout=60)
        finally:
            process.kill()
            process.wait(20)


def get(port: int, path: str) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
        text: str = answer.read().decode()
        return text


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
        _, errors = process.communicate(timeout=60)
        assert process.returncode == status
    assert b"Application shutdown complete" in errors
    assert b"Traceback" not in errors


def test_serve_with_reload_starts_again_when_the_manifest_changes(tmp_path: Path) -> None:
    port = free_port()
    site(tmp_path, port, "hello")
    with started("serve", "m.yaml", "--reload", folder=tmp_path, port=port):
        deadline = time.monotonic() + 90
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
    assert "error[unknown-key]" in shown.stderr
    assert "Traceback" not in shown.stderr


@pytest.mark.parametrize(
    ("server", "message", "column"),
    [
        ("ssl_certfile: no.pem", "`ssl_certfile` of `server` cannot be read: No such file", 24),
        (
            "ssl_certfile: m.yaml, ssl_keyfile: no.key",
            "`ssl_keyfile` of `server` cannot be read: No such file",
            45,
        ),
        ("ssl_certfile: m.yaml", "TLS cannot be set up: ", 24),
    ],
)
def test_serve_tells_which_file_of_tls_will_not_do(
    server: str, message: str, column: int, tmp_path: Path
) -> None:
    write(tmp_path, {"m.yaml": f"manifest: 1\nserver: {{{server}}}\n"})
    shown = call("serve", "m.yaml", folder=tmp_path)
    assert shown.returncode == 1
    assert shown.stderr.startswith(f"error[bad-value]: {message}")
    assert f"--> m.yaml:2:{column}\n" in shown.stderr
    assert "Traceback" not in shown.stderr


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
    written = [tmp_path / line for line in made.out.partition("\n\n")[0].splitlines()]
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


NOTES = """\
import contextlib


@contextlib.asynccontextmanager
async def noted():
    print("opened", flush=True)
    yield 1
    print("closed", flush=True)
"""


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_that_is_in_use_is_known_before_anything_is_opened(
    tmp_path: Path, workers: int, host: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = SERVED.replace("PORT", str(port)).replace("site.", "pages.")
        text = text.replace("127.0.0.1", f"{host}, workers: {workers}")
        text += "resources: {note: {use: notes.noted}}\n"
        write(tmp_path, {"m.yaml": text, "pages.py": SITE, "notes.py": NOTES})
        shown = call("serve", "m.yaml", folder=tmp_path)
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == f"error: cannot listen on {host}:{port}: address already in use\n"
