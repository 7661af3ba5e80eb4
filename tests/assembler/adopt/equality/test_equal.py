"""The command: what it prints, its status, and what it says where nothing can be compared."""

import json
import re
from pathlib import Path

import fastapi
import pytest

from assembler.adopt.equality import Equality
from assembler.adopt.equality.comparison import Compared
from assembler.adopt.equality.report import as_text
from assembler.adopt.equality.rules import RULES
from tests.assembler.adopt.equality.test_differences import APP, MANIFEST, folder_of
from tests.assembler.command import Outcome, run, write

GOLDEN = Path(__file__).parents[3] / "golden" / "equal"
ACCEPTED = ("control-characters", "error-answers", "layer-exceptions", "mount-slash")
CANARY = "canary-0123456789abcdef"


def equal(folder: Path, *options: str, **environment: str) -> Outcome:
    words = ["equal", "app.main:app", "manifest.yaml", *options]
    return run(*words, folder=folder, environment=environment)


def accepting(*names: str) -> list[str]:
    return [word for name in names for word in ("--accept", name)]


def golden(name: str, text: str, request: pytest.FixtureRequest) -> None:
    """Compare with a file, but for numbers; older versions of FastAPI answer otherwise."""
    if tuple(map(int, fastapi.__version__.split(".")[:2])) < (0, 165):
        return
    path = GOLDEN / name
    text = re.sub(r"(?m)^(  \w+ +)\d+  ", r"\1 N  ", text)
    text = re.sub(r"\d+ (accepted|differ|more|difference|of them)", r"N \1", text)
    if request.config.getoption("--update", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def test_what_is_equal_has_status_0(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    options = [*accepting(*ACCEPTED), "--lifespan", "--replay-writes"]
    outcome = equal(folder_of(tmp_path), *options)
    golden("equal.txt", outcome.out, request)
    assert (outcome.status, outcome.err) == (0, "")


@pytest.mark.parametrize(("is_started", "said"), [(True, "equal"), (False, "not started")])
def test_a_start_that_shows_nothing_is_a_start(is_started: bool, said: str) -> None:
    result = Equality("app.main:app", "m.yaml", Compared(), (), is_started=is_started)
    assert f"  lifespan        0  {said}\n" in as_text(result, str)


def test_what_is_not_has_status_1_and_shows_both_sides(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    manifest = MANIFEST.replace("minimum_size: 10", "minimum_size: 20")
    stamp = "  - {use: app.parts.Stamp, with: {text: outer}}\n"
    manifest = manifest.replace(stamp, "").replace("middleware:\n", f"middleware:\n{stamp}")
    manifest = manifest.replace("app.parts.missing", "app.parts.gone")
    folder = folder_of(tmp_path, manifest)
    outcome = equal(folder, "--accept", "layer-order", "--accept", "error-answers")
    golden("not-equal.txt", outcome.out, request)
    assert outcome.status == 1


def test_json_has_all_and_no_secret(tmp_path: Path) -> None:
    layer = f'SessionMiddleware, secret_key="{CANARY}-of-code")\n'
    app = "from starlette.middleware.sessions import SessionMiddleware\nimport os\n" + APP
    app = app.replace(
        "app.add_exception_handler(404", f"app.add_middleware({layer}app.add_exception_handler(404"
    )
    app += "\n@app.get('/shown')\nasync def shown():\n    return os.environ['SHOP_SECRET']\n"
    session = "starlette.middleware.sessions.SessionMiddleware"
    manifest = MANIFEST.replace(
        "middleware:\n", f"middleware:\n  - {{use: {session}, with: {{secret_key: '{CANARY}'}}}}\n"
    )
    outcome = equal(
        folder_of(tmp_path, manifest, app),
        "--format",
        "json",
        SHOP_SECRET=f"{CANARY}-of-environment",
    )
    assert outcome.status == 1
    assert CANARY not in outcome.out + outcome.err
    told = json.loads(outcome.out)
    assert told["format"] == 1
    assert told["equal"] is False
    assert told["compared"]["routes"] == 10
    keys = {"part", "place", "application", "manifest", "rule", "accepted"}
    assert all(each.keys() == keys for each in told["differences"])
    secret = [e for e in told["differences"] if "secret_key" in e["place"]]
    assert [(e["application"], e["manifest"]) for e in secret] == [("a secret", "a secret")]
    assert told["not_compared"][0] == "the start and the stop: `--lifespan` asks for them"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["app.main:app", "none.yaml"], "error: `none.yaml` is no file"),
        (
            ["app.main:app", "manifest.yaml", "--accept", "error-answer"],
            "error: there is no rule `error-answer`: did you mean `error-answers`?",
        ),
        (
            ["app.main:app", "manifest.yaml", "--header", "X"],
            "error: `X` is no header: write `NAME:VALUE`",
        ),
        (
            ["app.main:app", "manifest.yaml", "--env-file", "no.env"],
            "error: there is no file `no.env`",
        ),
    ],
)
def test_a_wrong_call_has_status_2(tmp_path: Path, words: list[str], said: str) -> None:
    outcome = run("equal", *words, folder=folder_of(tmp_path))
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"{said}\n")


@pytest.mark.parametrize(
    ("app", "manifest", "said"),
    [
        (
            "import os\nKEY = os.environ['SHOP_KEY']\n",
            "manifest: 1\n",
            "error: `app.main:app` needs the variable `SHOP_KEY` (app/main.py:2): set it, or name",
        ),
        (
            "from fastapi import FastAPI\napp = FastAPI()\n",
            "manifest: 1\napp: {titel: X}\n",
            "error: `manifest.yaml` is no valid manifest\n\nerror[unknown-key]: `app` has no key",
        ),
        (
            "async def app(scope, receive, send): pass\n",
            "manifest: 1\n",
            "error: `app.main:app`: a `function` holds no FastAPI or Starlette application\n",
        ),
    ],
    ids=["a missing variable", "a wrong manifest", "no application of a known kind"],
)
def test_what_cannot_be_compared_has_status_2(
    tmp_path: Path, app: str, manifest: str, said: str
) -> None:
    write(tmp_path, {"app/__init__.py": "", "app/main.py": app, "manifest.yaml": manifest})
    outcome = equal(tmp_path)
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err.startswith(said)
    assert "Traceback" not in outcome.err


def test_a_factory_a_file_of_variables_and_a_refused_connection(tmp_path: Path) -> None:
    app = """
import os, socket
from fastapi import FastAPI

def create():
    try:
        socket.create_connection(("db.example.com", 5432), timeout=1)
    except OSError:
        pass
    return FastAPI(title=os.environ["SHOP_TITLE"])
"""
    write(
        tmp_path,
        {
            "app/__init__.py": "",
            "app/main.py": app,
            "manifest.yaml": 'manifest: 1\napp: {title: "${SHOP_TITLE}"}\n',
            "shop.env": "SHOP_TITLE=Shop\n",
        },
    )
    words = ["equal", "app.main:create", "manifest.yaml", "--factory", "--env-file", "shop.env"]
    outcome = run(*words, "--accept", "control-characters", folder=tmp_path)
    assert outcome.status == 0, outcome.out + outcome.err
    refused = "what it was refused a connection to db.example.com (app/main.py:7)"
    assert f"  what the code does once it has {refused}" in outcome.out.splitlines()


def test_every_rule_is_told_at_the_prompt(tmp_path: Path) -> None:
    shown = run("describe", "differences", "--format", "json", folder=tmp_path)
    assert json.loads(shown.out)["rows"] == {name: rule.meaning for name, rule in RULES.items()}
