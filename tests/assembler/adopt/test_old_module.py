"""The module that composed an application is reduced to what others need of it."""

import importlib
from pathlib import Path

from starlette.testclient import TestClient

from tests.assembler.command import in_folder, run

MAIN = '''"""The application."""

import logging

from fastapi import Depends, FastAPI, Request
from fastapi.responses import JSONResponse

from own import tools

logging.basicConfig()
WORD = "kept"
OTHER = "for nobody"


def who() -> str:
    return WORD


def unused() -> str:
    return OTHER


app = FastAPI(title="Small")
app.state.word = WORD


@app.get("/word")
def read_word(request: Request, name: str = Depends(who)) -> str:
    return name + request.app.state.word


@app.exception_handler(KeyError)
async def missing(request: Request, error: KeyError) -> JSONResponse:
    return JSONResponse({}, 404)


app.include_router(tools.router)
'''
MANIFEST = """\
manifest: 1
app: {title: Small, state: {word: kept}}
exception_handlers:
  - {catch: KeyError, use: own.main.missing}
routes:
  - {use: own.main.read_word, path: /word}
  - {use: own.tools.router}
"""
TOOLS = "from fastapi import APIRouter\nrouter = APIRouter()\n"
USER = "from own.main import app\n"
REDUCED = '''"""The application."""

import logging

from fastapi import Depends, Request
from fastapi.responses import JSONResponse
import assembler

logging.basicConfig()
WORD = "kept"


def who() -> str:
    return WORD


def read_word(request: Request, name: str = Depends(who)) -> str:
    return name + request.app.state.word


async def missing(request: Request, error: KeyError) -> JSONResponse:
    return JSONResponse({}, 404)


app = assembler.build(assembler.load("m.yaml"))
'''


def project(folder: Path, **more: str) -> Path:
    texts = {"__init__.py": "", "main.py": MAIN, "tools.py": TOOLS, "user.py": USER, **more}
    (folder / "own").mkdir()
    for name, text in texts.items():
        (folder / "own" / name).write_text(text)
    (folder / "m.yaml").write_text(MANIFEST)
    return folder


def test_what_composed_the_application_goes_and_what_is_needed_stays(tmp_path: Path) -> None:
    folder = project(tmp_path)
    words = ("adopt", "own.main:app", "-o", "m.yaml", "--write-main")
    dry = run(*words, folder=folder)
    assert dry.status == 0, dry.err
    assert '-app = FastAPI(title="Small")' in dry.out
    assert (folder / "own" / "main.py").read_text() == MAIN
    assert run(*words, "--apply", folder=folder).status == 0
    assert (folder / "own" / "main.py").read_text() == REDUCED
    with in_folder(folder):
        app = importlib.import_module("own.user").app
        with TestClient(app) as client:
            assert client.get("/word").json() == "keptkept"
    again = run(*words, folder=folder)
    assert (again.status, again.out) == (0, "own/main.py: nothing is left to take out\n")


def test_an_application_that_nobody_imports_is_gone(tmp_path: Path) -> None:
    folder = project(tmp_path, **{"user.py": ""})
    words = ("adopt", "own.main:app", "-o", "m.yaml", "--write-main", "--apply")
    assert run(*words, folder=folder).status == 0
    text = (folder / "own" / "main.py").read_text()
    assert "app = " not in text
    assert "assembler" not in text


def test_a_module_that_bridges_still_need_is_left(tmp_path: Path) -> None:
    bridges = "from own.main import app as old\n\nx = old.exception_handlers[KeyError]\n"
    folder = project(tmp_path, **{"assembly.py": bridges})
    outcome = run("adopt", "own.main:app", "-o", "m.yaml", "--write-main", folder=folder)
    assert outcome.status == 2
    assert outcome.err == (
        "error: `own/assembly.py` takes parts from `own.main` as `old`: give them a name first\n"
    )
    alone = run("adopt", "own.main:app", "-o", "m.yaml", "--apply", folder=folder)
    assert (alone.status, alone.err) == (2, "error: `--apply` is for `--write-main`\n")
