"""`assembler doctor`: what is installed, and what is known against it."""

import json
from pathlib import Path

import pytest

from assembler.application import route_index
from assembler.describe import versions
from tests.assembler.command import PROJECT, Outcome, run

GOLDEN = PROJECT.parent / "doctor"
SOUND = {"fastapi-assembler": "0.1.0", "fastapi": "0.165.0", "starlette": "1.10.0"}
OLD = {**SOUND, "fastapi": "0.115.3", "starlette": "0.46.0", "typer": "0.15.3", "click": "8.2.0"}


def told(
    there: dict[str, str], monkeypatch: pytest.MonkeyPatch, *words: str, index: str | None = None
) -> Outcome:
    """What the command says of an environment that has these alone."""

    def found(names: object = None) -> dict[str, str]:
        return dict(there)

    monkeypatch.setattr(versions, "installed", found)
    monkeypatch.setattr(versions.troubles, "__kwdefaults__", {"required": lambda name: []})
    if there is OLD:
        needs = {"fastapi": ["starlette<0.42,>=0.40"]}
        lists = {"required": lambda name: needs.get(name, [])}
        monkeypatch.setattr(versions.troubles, "__kwdefaults__", lists)
    monkeypatch.setattr("platform.python_version", lambda: "3.12.1")
    monkeypatch.setattr(route_index, "unsupported", lambda: index)
    return run("doctor", *words, folder=PROJECT)


@pytest.mark.parametrize(
    ("name", "there", "words", "index"),
    [
        ("sound", SOUND, (), None),
        ("old", OLD, (), "the index is tested with others"),
        ("old-json", OLD, ("--format", "json"), "the index is tested with others"),
    ],
)
def test_it_prints_the_expected_text(
    name: str,
    there: dict[str, str],
    words: tuple[str, ...],
    index: str | None,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    shown = told(there, monkeypatch, *words, index=index)
    path = Path(GOLDEN / f"{name}.txt")
    if request.config.getoption("--update", default=False):
        path.write_text(shown.out, "utf-8")
    assert shown.out == path.read_text("utf-8")
    assert (shown.err, shown.status) == ("", 0 if there is SOUND else 1)


def test_programs_get_the_keys_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = json.loads(told(OLD, monkeypatch, "--format", "json").out)
    assert list(facts) == ["format", "known_on", "python", "versions", "route_index", "troubles"]
    assert {each["kind"] for each in facts["troubles"]} == {"conflict", "pair", "advisory"}
    for trouble in facts["troubles"]:
        assert list(trouble) == ["kind", "package", "version", "what", "mended", "source"]


def test_it_looks_at_this_environment() -> None:
    shown = run("doctor", "--format", "json", folder=PROJECT)
    assert json.loads(shown.out)["versions"]["starlette"]
    assert shown.err == ""
