"""`drift` against real servers: the same, what differs, and who cannot be asked."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.assembler.command import COMMAND, ENVIRONMENT, call, write
from tests.servers import free_port, wait_for_port

MANIFEST = """\
manifest: 1
app: {title: Shop, openapi: {path: null}}
settings: layers.Settings
resources:
  store: {use: STORE, with: {url: "${STORE_URL}"}}
middleware:
  - {use: layers.Layer, with: {word: "${WORD:-none}"}}
routes:
  - {use: components.health.router, prefix: /health, with: {token: a-token-of-16-chars}}
scheduler:
  store: ${resources.store}
server: {port: PORT, log_level: info, env_file: third.env}
"""
LAYERS = """\
from pydantic_settings import BaseSettings


class Settings(BaseSettings):
    model_config = {"env_file": ("first.env", "second.env"), "extra": "ignore"}


class Layer:
    def __init__(self, app, *, word: str, size: int = 3) -> None:
        self.app = app

    async def __call__(self, scope, receive, send) -> None:
        await self.app(scope, receive, send)
"""
KEY = {"ASSEMBLY_DRIFT_KEY": "of the test"}
TOKEN = "a-token-of-16-chars"


@contextmanager
def serving(
    folder: Path, store: str, url: str, *, program: tuple[str, ...] = (), **variables: str
) -> Iterator[str]:
    """The service, under `assembler serve` or another program; gives its address."""
    port = free_port()
    text = MANIFEST.replace("STORE,", f"{store},").replace("PORT", str(port))
    write(folder, {"m.yaml": text, "layers.py": LAYERS})
    words = [sys.executable, *program] if program else [*COMMAND, "serve", "m.yaml"]
    words = [word.replace("PORT", str(port)) for word in words]
    environment = {**ENVIRONMENT, **KEY, "STORE_URL": url, "ASSEMBLY": "m.yaml", **variables}
    environment["PYTHONPATH"] += f":{folder}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}/health"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        finally:
            process.kill()
            process.wait(10)


def drift(folder: Path, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    return call("drift", "m.yaml", *more, folder=folder, **variables)


def known(folder: Path, *more: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """The answer, once the service has said what it runs."""
    end = time.monotonic() + 60
    while True:
        told = drift(folder, *more, **variables)
        if told.returncode != 2 or time.monotonic() > end:
            return told


STORES = ["sqlite", "postgres", "redis"]


@pytest.mark.parametrize("store", STORES)
def test_what_runs_is_compared_by_the_table_of_instances(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    use, url = "components.database.engine", f"sqlite+aiosqlite:///{tmp_path}/claims.db"
    if store == "postgres":
        url = request.getfixturevalue("postgres")
    if store == "redis":
        use, url = "components.cache.redis_cache", request.getfixturevalue("redis")
    here = {"STORE_URL": url, **KEY}
    with serving(tmp_path, use, url):
        same = known(tmp_path, **here)
        assert same.returncode == 0, same.stdout + same.stderr
        assert ", as the manifest says" in same.stdout

        other = drift(tmp_path, **here, WORD="canary-5531")
        assert other.returncode == 1
        assert "variable `WORD` is another one where it runs" in other.stdout
        assert "canary-5531" not in other.stdout + other.stderr

        unknown = drift(tmp_path, STORE_URL=url)
        assert unknown.returncode == 0
        assert "the environment is not compared" in unknown.stderr

        text = (tmp_path / "m.yaml").read_text()
        (tmp_path / "m.yaml").write_text(
            text.replace('word: "${WORD:-none}"', 'word: "x", size: 3')
        )
        changed = drift(tmp_path, **here)
        assert changed.returncode == 1
        assert "with.word" in changed.stdout
        (tmp_path / "m.yaml").write_text(
            text.replace('word: "${WORD:-none}"', 'word: "${WORD:-none}", size: 3') + "# more\n"
        )
        default = drift(tmp_path, **here)
        assert default.returncode == 0, default.stdout
        (tmp_path / "m.yaml").write_text(text)

        (tmp_path / "layers.py").write_text(LAYERS + "\n# more\n")
        code = drift(tmp_path, **here)
        assert code.returncode == 1
        assert "module `layers` is another text where it runs" in code.stdout
    ended = drift(tmp_path, **here)
    assert ended.returncode == 2
    assert "no instance of `Shop` has said lately what it runs" in ended.stderr


def test_one_instance_is_asked_by_its_address_and_token(tmp_path: Path) -> None:
    (tmp_path / "second.env").write_text("WORD=one\n")
    url = f"sqlite+aiosqlite:///{tmp_path}/claims.db"
    program = ("-m", "uvicorn", "assembler:app", "--port", "PORT")
    with serving(tmp_path, "components.database.engine", url, program=program) as address:
        here = {"STORE_URL": url, **KEY}
        refused = drift(tmp_path, "--url", address, **here)
        assert (refused.returncode, "answers 401" in refused.stderr) == (2, True)
        same = known(tmp_path, "--url", address, "--token", TOKEN, **here)
        assert same.returncode == 0, same.stdout + same.stderr
        assert TOKEN not in same.stdout + same.stderr
        ask = partial(drift, tmp_path, "--url", address, "--token", TOKEN, STORE_URL=url)
        other = ask(ASSEMBLY_DRIFT_KEY="another", WORD="other")
        assert other.returncode == 0  # hashes under two keys say nothing of the values
        assert "`ASSEMBLY_DRIFT_KEY` is another one where it runs" in other.stderr
        (tmp_path / "first.env").write_text("WORD=canary-5532\n")
        (tmp_path / "third.env").write_text("")  # of the server
        (tmp_path / "second.env").unlink()
        files = ask(**KEY)
        assert files.returncode == 1
        assert "file `first.env` is not where it runs" in files.stdout
        assert "file `second.env` is not here" in files.stdout
        assert "file `third.env` is not where it runs" in files.stdout
        assert "canary-5532" not in files.stdout + files.stderr
        (tmp_path / "first.env").unlink()
        (tmp_path / "third.env").unlink()
        (tmp_path / "second.env").write_text("WORD=other\n")
        assert "file `second.env` is another text where it runs" in ask(**KEY).stdout
        (tmp_path / "second.env").write_text("WORD=one\n")
        text = (tmp_path / "m.yaml").read_text()
        (tmp_path / "m.yaml").write_text(text.replace("{token: ", "{loopback: false, token: "))
        differs = drift(tmp_path, "--url", address, "--token", TOKEN, **here)
        assert differs.returncode == 1
        assert "loopback" in differs.stdout
        assert TOKEN not in differs.stdout + differs.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/health", "file:///etc/passwd"])
def test_who_cannot_be_asked_is_never_the_same(url: str, tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    told = drift(tmp_path, "--url", url)
    assert (told.returncode, told.stdout) == (2, "")
    told = drift(tmp_path)
    assert (told.returncode, "has no `store`" in told.stderr) == (2, True)


def test_a_store_that_is_away_is_status_2(tmp_path: Path) -> None:
    text = MANIFEST.replace("STORE,", "components.cache.redis_cache,").replace("PORT", "0")
    write(tmp_path, {"m.yaml": text, "layers.py": LAYERS})
    told = drift(tmp_path, STORE_URL="redis://127.0.0.1:9/0")
    assert (told.returncode, told.stdout) == (2, ""), told.stderr
    assert "Traceback" not in told.stderr
