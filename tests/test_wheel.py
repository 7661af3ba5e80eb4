"""The built wheel, installed in a fresh environment and used from another folder."""

import os
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest

from tests.servers import free_port, wait_for_port

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.timeout(300)


def command(*arguments: str | Path, folder: Path) -> str:
    done = subprocess.run(
        arguments,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _environment() -> dict[str, str]:
    """The variables without those that would make this repository importable."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    command(*build, folder=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def scripts(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts folder of an environment that holds the wheel with its extra `sql` alone."""
    folder = tmp_path_factory.mktemp("environment")
    command(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    constraints = ROOT / "constraints.txt"
    pins = ("-c", constraints) if constraints.exists() else ()
    found = folder / "venv" / "bin"
    pip = (found / "python", "-m", "pip", "install", "-q", "--no-compile", *pins)
    command(*pip, f"fastapi-assembler[sql] @ {wheel.as_uri()}", folder=folder)
    return found


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another folder: a package and a component of the user's own, a manifest, no repository."""
    folder = tmp_path_factory.mktemp("project")
    files = {
        "shop/api.py": _API,
        "components/banner.py": _BANNER,
        "manifests/dev.yaml": _MANIFEST,
        "pyproject.toml": '[tool.assembler]\nimports = ["components", "shop"]\n',
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


_API = """\
from fastapi import APIRouter, Request
from sqlalchemy import text

router = APIRouter()


@router.get("/answer")
async def answer(request: Request) -> int:
    async with request.state.db.connect() as connection:
        return (await connection.execute(text("select 42"))).scalar_one()
"""
_BANNER = """\
class Banner:
    def __init__(self, app, *, text: str) -> None:
        self.app = app
        self.header = (b"x-banner", text.encode())

    async def __call__(self, scope, receive, send):
        async def with_header(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], self.header]
            await send(message)

        await self.app(scope, receive, with_header)
"""
_MANIFEST = """\
manifest: 1
resources:
  db: {use: components.database.engine, with: {url: "sqlite+aiosqlite://"}}
middleware:
  - {use: components.banner.Banner, with: {text: hello}}
routes:
  - {use: shop.api.router}
server: {host: 127.0.0.1, port: 8000}
"""


def test_the_wheel_has_the_packages_and_no_tests(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = next(name for name in names if name.endswith("/METADATA"))
        licence = next(name for name in names if name.endswith("/licenses/LICENSE"))
        assert b"\nRequires-Dist: fastapi" in archive.read(metadata)
    assert licence
    assert {
        "assembler/py.typed",
        "assembler/cli/__init__.py",
        "components/database/__init__.py",
    } <= {*names}
    templates = {
        path.name for path in (ROOT / "assembler/cli/init/templates").rglob("*") if path.is_file()
    }
    shipped = {
        Path(name).name for name in names if name.startswith("assembler/cli/init/templates/")
    }
    assert shipped == {name for name in templates if not name.endswith(".pyc")}
    assert "components/__init__.py" not in names
    tops = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"assembler", "components"}


def test_the_installed_command_checks_another_project(scripts: Path, project: Path) -> None:
    assert command(scripts / "assembler", "check", folder=project) == "manifests/dev.yaml: ok\n"
    static = command(scripts / "assembler", "check", "--static", folder=project)
    assert static.startswith("manifests/dev.yaml: ok\n")


def test_the_installed_module_explains_another_project(scripts: Path, project: Path) -> None:
    call = (
        scripts / "python",
        "-m",
        "assembler",
        "explain",
        "manifests/dev.yaml",
        "GET",
        "/answer",
    )
    shown = command(*call, folder=project)
    assert "components.banner.Banner" in shown
    assert "GET /answer  shop.api.answer" in shown


def test_the_installed_command_starts_a_new_project(scripts: Path, tmp_path: Path) -> None:
    command(scripts / "assembler", "init", "fresh", folder=tmp_path)
    checked = command(scripts / "assembler", "check", folder=tmp_path / "fresh")
    assert "manifests/dev.yaml: ok\n" in checked


def test_the_installed_package_serves_another_project(scripts: Path, project: Path) -> None:
    port = free_port()
    served = project / "manifests/served.yaml"
    served.write_text(_MANIFEST.replace("8000", str(port)), "utf-8")
    process = subprocess.Popen(
        [scripts / "assembler", "serve", "manifests/served.yaml"], cwd=project, env=_environment()
    )
    try:
        wait_for_port(port, process)
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/answer", timeout=10) as answer:
            assert answer.read() == b"42"
            assert answer.headers["x-banner"] == "hello"
    finally:
        process.terminate()
        process.wait(60)
