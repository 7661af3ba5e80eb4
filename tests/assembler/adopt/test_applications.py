"""Applications of the styles that are seen are adopted without an edit, and `equal` proves it."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import fastapi.routing
import pytest

from tests.applications.test_applications import FOLDER, NAMES, ROOT, own_tests
from tests.assembler.command import run

TARGETS = {"reports": ("app.main:create_app", "--factory")}


def target_of(name: str) -> tuple[str, ...]:
    return TARGETS.get(name, ("app.main:app",))


def adopted(name: str, folder: Path) -> tuple[Path, dict[str, Any]]:
    """Adopt a copy of an application; return its folder, and the report."""
    copy = folder / name
    shutil.copytree(FOLDER / name, copy, ignore=shutil.ignore_patterns("__pycache__"))
    outcome = run("adopt", *target_of(name), "-o", "adopted.yaml", "--format", "json", folder=copy)
    assert outcome.status == 0, outcome.out + outcome.err
    return copy, json.loads(outcome.out)


@pytest.mark.parametrize("name", NAMES)
def test_an_adopted_application_is_equal_with_the_rules_that_the_report_lists(
    name: str, tmp_path: Path
) -> None:
    folder, report = adopted(name, tmp_path)
    assert report["check"] == ""
    counted = Counter(call["outcome"] for call in report["calls"])
    assert counted == Counter(written=len(report["calls"]))
    rules = [word for rule in report["accept"] for word in ("--accept", rule)]
    outcome = run("equal", *target_of(name), "adopted.yaml", "--lifespan", *rules, folder=folder)
    assert outcome.status == 0, outcome.out + outcome.err
    own_tests(folder, "adopted.yaml")
    if name == "accounts" and hasattr(fastapi.routing, "iter_route_contexts"):  # as in README
        recording_is_true(folder, report, outcome.out)


def recording_is_true(folder: Path, report: dict[str, Any], equal: str) -> None:
    """Hold the session of README to what the commands say."""
    readme = (ROOT / "README.md").read_text()
    session = readme.partition("$ assembler adopt app.main:app")[2].partition("```")[0]
    counts = ", ".join(f"{count} {name}" for name, count in report["counts"].items())
    assert f"  {len(report['calls'])} calls: {counts}\n" in session
    assert " ".join(f"--accept {rule}" for rule in report["accept"]) in session
    for line in session.partition("$ grep")[2].partition("\n")[2].partition("$")[0].splitlines():
        assert line in (folder / "adopted.yaml").read_text(), line
    for line in session.rpartition("$ assembler equal")[2].splitlines()[3:]:
        assert line.replace("manifests/app.yaml", "adopted.yaml") in f"{equal}\n…", line
