"""The repository and the package as a whole: what imports what, what ships, what is written."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from assembler.manifest import Manifest
from tests.assembler.command import run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")
HEAVY = {"mcp", "redis", "apscheduler", "procrastinate", "sentry_sdk"}
NO_CODE = shutil.ignore_patterns("__pycache__", "*.db", "benchmarks")


def python(code: str, *, folder: Path, paths: tuple[Path, ...] = ()) -> str:
    """Run `code` in a new interpreter, with `paths` before all that is installed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))}
    done = subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `assembler` and its tests, in which `components` cannot be imported."""
    folder = tmp_path_factory.mktemp("alone")
    shutil.copytree(ROOT / "assembler", folder / "assembler", ignore=NO_CODE)
    shutil.copytree(ROOT / "tests", folder / "tests", ignore=NO_CODE)
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "sitecustomize.py").write_text(_WITHOUT_COMPONENTS, "utf-8")
    return folder


_WITHOUT_COMPONENTS = """\
import sys


class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "components":
            raise ModuleNotFoundError("there are no components", name=name)


sys.meta_path.insert(0, Refuse())
"""


def test_assembler_is_imported_without_components(alone: Path) -> None:
    code = """
import importlib, pkgutil, assembler
for module in pkgutil.walk_packages(assembler.__path__, "assembler."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(assembler.__file__)
"""
    assert python(code, folder=alone, paths=(alone,)).strip() == f"{alone}/assembler/__init__.py"


QUICK = [
    "document/test_address",
    "application/test_build",
    "test_cases",
    "describe/test_explain",
    "application/test_mount",
    "review/test_report",
    "describe/test_picture",
]


@pytest.mark.timeout(300)
def test_the_tests_of_assembler_pass_without_components(alone: Path) -> None:
    """Those that are quick and see many rooms: a plan, a build, and what is said of them."""
    files = [f"tests/assembler/{name}.py" for name in QUICK]
    done = subprocess.run(
        [sys.executable, "-B", "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files],
        cwd=alone,
        env={**os.environ, "PYTHONPATH": str(alone)},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert " passed" in done.stdout


def test_assembler_does_not_know_components_by_name() -> None:
    named = [
        path
        for path in (ROOT / "assembler").rglob("*")
        if path.is_file() and path.suffix != ".pyc" and "components." in path.read_text("utf-8")
    ]
    assert named == []


def test_importing_assembler_imports_nothing_heavy() -> None:
    code = "import sys, json, assembler; print(json.dumps(sorted(sys.modules)))"
    loaded = set(json.loads(python(code, folder=ROOT)))
    assert loaded & ({"fastapi", "starlette", "pydantic", "yaml", "typer", "rich"} | HEAVY) == set()


def test_a_start_imports_only_what_the_manifest_names() -> None:
    code = """
import json, sys, assembler
assembler.build(assembler.load("manifests/dev.yaml"))
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(json.loads(python(code, folder=ROOT).splitlines()[-1]))
    assert "sqlalchemy" in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert (
        loaded
        & {"typer", "rich", "griffe", "assembler.plan.static", "assembler.describe.schema.manifest"}
        == set()
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project with a `components` folder of its own."""
    (tmp_path / "components").mkdir()
    (tmp_path / "components/own.py").write_text("def setup(app, *, database): ...\n", "utf-8")
    manifest = """\
manifest: 1
configure:
  - {use: components.own.setup, with: {database: x}}
resources:
  db: {use: components.database.engine, with: {url: "sqlite+aiosqlite://"}}
"""
    (tmp_path / "m.yaml").write_text(manifest, "utf-8")
    return tmp_path


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-B", "-m", "assembler", "check", "m.yaml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def test_a_users_components_add_to_ours(project: Path) -> None:
    done = check(project)
    assert (done.returncode, done.stdout) == (0, "m.yaml: ok\n"), done.stdout + done.stderr


def test_a_users_components_that_hide_ours_are_told(project: Path) -> None:
    (project / "components/__init__.py").touch()
    done = check(project)
    assert done.returncode == 1
    assert "error[module-not-found]: no module named `components.database`" in done.stdout
    assert "components/__init__.py hides the `components` folder that has it" in done.stdout


def test_components_have_no_init_at_their_top() -> None:
    assert not (ROOT / "components/__init__.py").exists()


def test_types_ship_with_the_package() -> None:
    assert (ROOT / "assembler/py.typed").is_file()


def test_the_readme_names_every_command() -> None:
    from assembler.cli import command  # noqa: PLC0415  # typer is no part of the other tests

    named = re.findall(r"`([\w-]+)`", README.partition("| to | commands |")[2].partition("\n\n")[0])
    functions = [one.callback for one in command().registered_commands]
    assert sorted(named) == sorted(
        getattr(one, "__name__", "").replace("_", "-") for one in functions
    )


def test_the_readme_names_every_section() -> None:
    table = README.partition("| section | holds |")[2].partition("\n\n")[0]
    assert re.findall(r"(?m)^\| `(\w+)` \|", table) == [
        name for name in Manifest.model_fields if name not in {"manifest", "extends"}
    ]


def test_the_readme_is_read_in_five_minutes_or_a_little_more() -> None:
    """Reference is told at the prompt: `assembler describe`."""
    assert len(README.split()) < 2700


def test_the_variables_of_the_shipped_manifests_are_told_with_where_they_count() -> None:
    names = ("dev", "test", "prod", "serverless")
    read = {
        name: set(
            re.findall(r"\$\{([A-Z]\w*)", run("render", f"manifests/{name}.yaml", folder=ROOT).out)
        )
        for name in names
    }
    told: dict[str, set[str]] = {name: set() for name in names}
    table = (ROOT / "manifests/README.md").read_text("utf-8").partition("## Variables")[2]
    for variables, places in re.findall(r"(?m)^\| (`.*?) \|.*\| ([a-z, ]+) \|$", table):
        for place in places.split(", "):
            told[place] |= set(re.findall(r"`(\w+)`", variables))
    assert told == read


def test_the_settings_of_the_example_service_are_told() -> None:
    from components.estate.settings import Settings  # noqa: PLC0415  # read here alone

    told = re.findall(r"`ESTATE_(\w+)`", (ROOT / "manifests/README.md").read_text("utf-8"))
    assert sorted(map(str.lower, told)) == sorted(Settings.model_fields)


@pytest.mark.parametrize("page", ["README.md", "manifests/README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")
        for title in re.findall(r"(?m)^#+ (.+)$", text)
    }
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("#"):
            assert target.removeprefix("#") in anchors
        elif "://" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), target


def test_the_continuous_run_is_the_command_of_the_readme() -> None:
    script = (ROOT / ".ci/run").read_text("utf-8")
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    (command,) = [block.strip() for block in blocks if "-m pytest" in block]
    assert re.search(rf"(?m)^\({re.escape(command)}\)", script)
    others = re.findall(r"(?m)^\.ci/\w+$", script)  # what runs in environments of its own
    assert others
    assert all(os.access(ROOT / name, os.X_OK) for name in [".ci/run", *others])


def test_what_the_readme_asks_for_exists() -> None:
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = set(metadata["optional-dependencies"])
    asked = re.findall(r"(?:'\.|fastapi-assembler)\[([\w,]+)\]", README)
    assert asked
    assert {extra for group in asked for extra in group.split(",")} <= extras
    for name in re.findall(r"-c (\S+)", README):
        assert (ROOT / name).is_file()
    (benchmarks,) = re.findall(r"`python -m tests\.benchmarks\.(\w+)` \(and (.*)\);", README)
    for name in [benchmarks[0], *re.findall(r"`(\w+)`", benchmarks[1])]:
        assert (ROOT / f"tests/benchmarks/{name}.py").is_file()


MACHINE = re.compile(
    r"(?<![\w.])(?:/work/|/root/\w|/home/\w|/Users/\w|/tmp/\w+/bin|/opt/\w|[A-Z]:\\\\Users)"
    r"|--(?:extra-)?index-url|--trusted-host|(?:^|\W)(?:10|127|192\.168)\.\d+\.\d+(?:\.\d+)?:\d+/simple"
)


def test_the_repository_speaks_of_no_machine() -> None:
    found = []
    for name in _tracked():
        path = ROOT / name
        if path.is_file() and path != Path(__file__):
            text = path.read_text("utf-8", errors="replace")
            found += [f"{name}: {match[0]}" for match in MACHINE.finditer(text)]
    assert found == []


def _tracked() -> list[str]:
    done = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    if done.returncode:  # an unpacked archive has no history
        return [
            str(path.relative_to(ROOT))
            for folder in ("assembler", "components", "manifests", "tests")
            for path in (ROOT / folder).rglob("*")
            if "__pycache__" not in path.parts
        ]
    return [name for name in done.stdout.split("\0") if name]


METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.mark.parametrize(
    "path", sorted((ROOT / ".ci").glob("oldest-*.txt")), ids=lambda at: at.stem
)
def test_an_oldest_set_has_the_floors_that_the_package_asks_for(path: Path) -> None:
    """It is the lowest that installs: a floor itself, or the first version that knows the Python."""
    lines = path.read_text("utf-8").split()
    pinned = {item.name: next(iter(item.specifier)).version for item in map(Requirement, lines)}
    above = []
    for wanted in map(Requirement, METADATA["dependencies"]):
        floor = next(item.version for item in wanted.specifier if item.operator == ">=")
        assert wanted.specifier.contains(pinned[wanted.name])
        if Version(pinned[wanted.name]) > Version(floor):
            above.append(wanted.name)
    # pydantic's core has wheels for Python 3.13 from 2.8 on; the others are held up by test tools.
    assert set(above) <= {"pydantic", "typing-extensions", "packaging"}
    assert path.stem.removeprefix("oldest-") in "".join(METADATA["classifiers"])


def test_every_python_of_the_classifiers_has_an_oldest_set_and_none_is_refused() -> None:
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(METADATA["classifiers"]))
    assert named == sorted(named)
    assert all((ROOT / f".ci/oldest-{version}.txt").exists() for version in named)
    assert METADATA["requires-python"] == ">=3.11"


def test_the_gate_and_lazy_mounts_need_no_mcp_sdk(tmp_path: Path) -> None:
    names = {Requirement(line).name for line in METADATA["optional-dependencies"]["gate"]}
    assert names == {"pyjwt", "httpx2"}
    code = """
import sys
sys.modules["mcp"] = sys.modules["mcp_types"] = None
import components.mcp.gate, components.mcp.well_known, components.mcp.keys, components.mcp.tokens
import components.mcp.dev_issuer.server, assembler.runtime.lazy_mount
from components.mcp.resource_server import ResourceServer
print("served")
"""
    assert python(code, folder=tmp_path, paths=(ROOT,)) == "served\n"
