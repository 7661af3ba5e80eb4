"""A checkout whose every module does harm when it is imported: static commands read, and run nothing.

It has a module of the name of each module of the standard library and of each package that is
installed beside the assembler, so that whatever a library imports late would come from there.
"""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.assembler.command import write

SCRIPT = Path(sys.executable).with_name("assembler")
HARM = "import os\nopen(os.path.join({folder!r}, 'ran-' + __name__), 'w').close()\n"
MANIFEST = """\
manifest: 1
app: {title: Shop}
settings: shop.settings.Settings
logging:
  version: 1
  handlers: {own: {"()": shop.log.Handler, level: "${LEVEL:-INFO}"}}
resources:
  db: {use: shop.things.engine, with: {url: "${DATABASE_URL}"}}
  own: {use: shop.things.made, with: {password: "${settings.password}"}}
middleware:
  - {use: shop.layers.Layer, with: {limit: 5, call: shop.layers.function}}
exception_handlers:
  - {catch: shop.layers.Failure, use: shop.layers.handler}
configure: [{use: shop.layers.configure}]
routes:
  - {use: shop.routes.router, prefix: /api, dependencies: [shop.layers.signed_in]}
  - {mount: /late, use: shop.routes.app, lazy: true}
startup:
  - id: tables
    database: ${resources.db}
    sql: [{label: things, run: CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON things (a)}]
scheduler:
  store: ${resources.db}
  jobs: [{id: nightly, use: shop.jobs.run, cron: "0 3 * * 1-5", timezone: Asia/Kolkata}]
server: {workers: 1, http: h11}
expect: [{request: GET /api, status: 200}]
"""
SHOP = {
    "shop/__init__.py": "",
    "shop/settings.py": "class Settings:\n    password: str\n",
    "shop/log.py": "class Handler:\n    def __init__(self, level: str = 'INFO') -> None: ...\n",
    "shop/things.py": (
        "def made(password: str) -> object: ...\ndef engine(*, url: str) -> object: ...\n"
    ),
    "shop/layers.py": (
        "class Failure(Exception): ...\n"
        "class Layer:\n    def __init__(self, app, *, limit: int, call=None) -> None: ...\n"
        "def function(): ...\ndef handler(request, error): ...\n"
        "def configure(app): ...\ndef signed_in(): ...\n"
    ),
    "shop/routes.py": "import fastapi\nrouter = fastapi.APIRouter()\napp = router\n",
    "shop/jobs.py": "def run() -> None: ...\n",
}
WRONG = """\
manifest: 1
middleware: [{use: shop.leyers.Layer}]
routes: [{use: shop.broken.router}, {use: nowhere.router}]
"""
MISSPELT = "manifest: 1\nmiddleware: [{use: shop.layers.Layer, with: {limt: 5}}]\n"
CALLS = [
    ["check", "--static", "old.yaml", "wrong.yaml", "misspelt.yaml"],
    *(["check", "--static", "old.yaml", "--format", f] for f in ("json", "github", "sarif", "gitlab")),
    *(["diff", "old.yaml", "new.yaml", "--format", f] for f in ("text", "json", "markdown", "sarif")),
    ["diff", "old.yaml", "new.yaml", "--format", "html"],
    ["diff", "--base", "HEAD", "old.yaml", "new.yaml"],
    *(["audit", "old.yaml", "--format", f] for f in ("text", "json", "github", "gitlab", "sarif")),
    ["audit", "old.yaml", "--base", "HEAD"],
    *(["matrix", "old.yaml", "new.yaml", "--format", f] for f in ("text", "markdown", "html", "json")),
    ["format", "--check", "old.yaml", "new.yaml"],
    ["format", "--diff", "old.yaml"],
    ["format", "new.yaml"],
    ["render", "old.yaml"],
    ["render", "new.yaml", "--explain", "resources.db", "--format", "json"],
    ["export", "old.yaml", "--to", "kubernetes"],
    ["schema"],
    ["--help"],
]  # fmt: skip
RUN_ALL = """\
import contextlib, io, json, sys
from assembler.cli import main
path, outcomes = list(sys.path), []
for call in json.loads(sys.argv[1]):
    out = io.StringIO()
    status = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            main(call)
    except SystemExit as end:
        status = end.code
    outcomes.append([status or 0, out.getvalue(), sys.path == path])
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkout")
    harm = HARM.format(folder=str(folder))
    names = {*sys.stdlib_module_names, *packages_distributions()}
    shadows = {f"{name}.py": harm for name in names if name.isidentifier()}
    for name in ("assembler", "components", "griffe", "sqlglot", "uvicorn", "email"):
        shadows[f"{name}/__init__.py"] = harm
    overlay = "extends: old.yaml\nmiddleware: [{id: shop.layers.Layer, with: {limit: 9}}]\n"
    texts = {"old.yaml": MANIFEST, "new.yaml": f"manifest: 1\n{overlay}", "wrong.yaml": WRONG}
    texts["misspelt.yaml"] = MISSPELT
    harmful = {path: text + harm for path, text in SHOP.items()} | {"shop/broken.py": "def (:\n"}
    write(folder, {**shadows, **harmful, **texts, "sitecustomize.py": harm})
    environment = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    for command in (
        ["init", "-q"],
        ["add", "*.yaml", "shop"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "all"],
    ):
        subprocess.run(
            ["git", *command], cwd=folder, check=True, timeout=60, env=os.environ | environment
        )
    return folder


def ran(folder: Path) -> list[str]:
    return [path.name for path in folder.glob("ran-*")]


def called(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        command,
        cwd=folder,
        env=environment | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_the_checkout_would_run_where_python_looks_into_it(checkout: Path) -> None:
    called([sys.executable, "-c", "import sqlglot"], checkout)
    assert ran(checkout)
    for path in checkout.glob("ran-*"):
        path.unlink()


def test_no_static_command_runs_anything(checkout: Path) -> None:
    done = called([sys.executable, "-I", "-c", RUN_ALL, json.dumps(CALLS)], checkout)
    assert ran(checkout) == []
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout.splitlines()[-1])
    for call, (status, text, is_path_kept) in zip(CALLS, outcomes, strict=True):
        assert (status in {0, 1}, is_path_kept) == (True, True), (call, text)
    assert "did you mean `limit`?" in outcomes[0][1]  # the sources of the checkout were read
    assert "no module named `nowhere`" in outcomes[0][1]


@pytest.mark.parametrize(
    "command", [[str(SCRIPT)], [sys.executable, "-I", "-m", "assembler"]], ids=["script", "-I -m"]
)
def test_neither_way_to_start_runs_anything(checkout: Path, command: list[str]) -> None:
    done = called([*command, "check", "--static", "old.yaml"], checkout)
    assert ran(checkout) == []
    assert done.returncode == 0, done.stdout + done.stderr
