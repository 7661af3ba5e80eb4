"""Applications of the styles that are seen are adopted without an edit, and stay what they are."""

import importlib
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import assembler
from tests.applications.test_applications import FOLDER, NAMES, facts, trip
from tests.assembler.command import in_folder, run

TARGETS = {"reports": ("app.main:create_app", "--factory")}


def adopted(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Adopt a copy of an application; return its folder, and the report."""
    copy = folder / name
    shutil.copytree(FOLDER / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    words = TARGETS.get(name, ("app.main:app",))
    outcome = run("adopt", *words, "-o", "adopted.yaml", "--format", "json", folder=copy)
    assert outcome.status == 0, outcome.out + outcome.err
    return copy, json.loads(outcome.out)


@pytest.mark.parametrize("name", NAMES)
def test_an_adopted_application_is_the_one_that_it_was(name: str, tmp_path: Path) -> None:
    folder, report = adopted(name, tmp_path)
    assert report["counts"]["refused"] == 0
    assert report["check"] == ""
    assert Counter(call["outcome"] for call in report["calls"]) == Counter(
        {key: count for key, count in report["counts"].items() if count}
    )
    outcome = run("check", "--static", "adopted.yaml", folder=folder)
    assert outcome.status == 0, outcome.out + outcome.err
    assert run("format", "--check", "adopted.yaml", folder=folder).status == 0
    with in_folder(folder):
        module = importlib.import_module("app.main")
        app = module.app if hasattr(module, "app") else module.create_app()
        old, (old_answers, old_lines) = facts(app), trip(name, app)
    with in_folder(folder):
        app = assembler.build(assembler.load("adopted.yaml"))
        new, (new_answers, new_lines) = facts(app), trip(name, app)
    for what, value in old.items():
        assert new[what] == value, what
    assert new_lines == old_lines
    for before, after in zip(old_answers, new_answers, strict=True):
        if before[1] == 500:  # its answer has the headers of all layers now
            assert (after[1], after[3]) == (500, before[3])
        else:
            assert after == before
