"""`assembler init` writes a project that is right, runs under a server, and passes its own tests."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import yaml
from jsonschema import Draft202012Validator

import assembler
from assembler.cli.commands import COMMANDS
from assembler.cli.init import write_starter
from tests.assembler.command import run
from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[4]
# Where the package is not installed it is imported from here.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
NAMES = {
    "pyproject.toml",
    "manifests/base.yaml",
    "manifests/dev.yaml",
    "manifests/manifest.schema.json",
    "app/__init__.py",
    "app/greetings.py",
    "app/timing.py",
    "tests/test_app.py",
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    write_starter(folder)
    return folder


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_it_tells_the_files_that_it_wrote(tmp_path: Path) -> None:
    written = write_starter(tmp_path / "a" / "b")
    assert {path.relative_to(tmp_path / "a" / "b").as_posix() for path in written} == NAMES
    assert names(tmp_path) == {f"a/b/{name}" for name in NAMES}


def test_it_says_how_to_go_on(tmp_path: Path) -> None:
    shown = run("init", "shop", folder=tmp_path)
    assert (shown.status, shown.err) == (0, "")
    said = re.findall(r"assembler ([a-z]+)", shown.out)
    assert said == ["serve", "adopt"]
    assert set(said) <= set(COMMANDS)


def test_a_projects_own_pyproject_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("mine")
    write_starter(tmp_path)
    assert names(tmp_path) == NAMES
    assert (tmp_path / "pyproject.toml").read_text() == "mine"


@pytest.mark.parametrize("name", sorted(NAMES - {"pyproject.toml"}))
def test_it_overwrites_nothing_and_then_writes_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(assembler.UsageError, match="already") as raised:
        write_starter(tmp_path)
    assert str(tmp_path / name) in str(raised.value)
    assert names(tmp_path) == {name}
    assert (tmp_path / name).read_text() == "mine"


def test_a_file_where_a_folder_must_be_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "manifests").write_text("mine")
    with pytest.raises(assembler.UsageError, match="cannot write"):
        write_starter(tmp_path)


def test_other_files_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine")
    write_starter(tmp_path)
    assert (tmp_path / "README.md").read_text() == "mine"


def test_its_manifests_load_and_say_what_they_teach(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    monkeypatch.syspath_prepend(project)
    try:
        for name in ("base", "dev"):
            plan = assembler.load(f"manifests/{name}.yaml", environment={"GREETING": "Servus"})
            (route,) = plan.routes
            assert route.options.value == {"greeting": "Servus"}
        assert plan.middleware[0].id == "cors"
        assert plan.middleware[0].options.value == {
            "allow_origins": ["*"],
            "allow_methods": ["GET"],
        }
    finally:
        for module in [name for name in sys.modules if name.partition(".")[0] == "app"]:
            del sys.modules[module]


def test_its_manifests_validate_against_its_schema(project: Path) -> None:
    schema = json.loads((project / "manifests/manifest.schema.json").read_text("utf-8"))
    for path in (project / "manifests").glob("*.yaml"):
        text = path.read_text("utf-8")
        assert text.startswith("# yaml-language-server: $schema=./manifest.schema.json\n")
        Draft202012Validator(schema).validate(yaml.safe_load(text))


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The command of the manifest's own comment, on a free port."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", "assembler:app", "--port", str(port)]
    environment = {**ENVIRONMENT, "ASSEMBLY": "manifests/dev.yaml"}
    process = subprocess.Popen([*command, "--log-level", "warning"], cwd=folder, env=environment)
    try:
        wait_for_port(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def test_it_runs_under_a_server_at_once(project: Path) -> None:
    with served(project) as url:
        response = httpx2.get(
            f"{url}/api/greetings/Ann", headers={"Origin": "https://other.example"}, timeout=30
        )
    assert response.json() == {"message": "Hello, Ann!"}
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert response.headers["Server-Timing"].startswith("app;dur=")


def test_its_own_tests_pass(project: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command,
        cwd=project,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
