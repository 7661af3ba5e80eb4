"""The checks of the sources are tests, so that one command runs all of them."""

import ast
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sysconfig.get_path("scripts")
CHECKS = {
    "ruff check": [sys.executable, "-m", "ruff", "check", "."],
    "ruff format": [sys.executable, "-m", "ruff", "format", "--check", "."],
    "mypy": [sys.executable, "-m", "mypy"],
    "lint-imports": [str(Path(SCRIPTS) / "lint-imports"), "--no-cache"],
}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", CHECKS)
def test_the_sources_pass(name: str) -> None:
    done = subprocess.run(
        CHECKS[name],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


# The model of an entry is named by the format, and what stands in an annotation by its users.
PUBLIC_TWICE = {"Resource"}


@pytest.mark.parametrize("package", ["assembler", "components"])
def test_no_two_classes_of_a_package_have_one_name(package: str) -> None:
    homes: dict[str, list[str]] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name not in PUBLIC_TWICE:
                homes.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


WAITING = re.compile(r"process|server|thread|child|person|reader|gate", re.IGNORECASE)


def unbounded_waits(path: Path) -> Iterator[str]:
    """Yield the calls of a test that wait for a process or a thread for as long as it likes."""
    tree = ast.parse(path.read_text("utf-8"))
    awaited = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Await)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if id(node) in awaited or any(word.arg in {"timeout", None} for word in node.keywords):
            continue
        owner, name = ast.unparse(node.func.value), node.func.attr
        is_run = owner == "subprocess" and name in {"run", "call", "check_call", "check_output"}
        is_wait = name in {"wait", "join", "communicate"} and WAITING.search(owner)
        if is_run or (is_wait and not node.args):
            yield f"{path.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)[:60]}"


def test_every_wait_of_a_test_for_a_process_or_a_thread_is_bounded() -> None:
    files = [
        path
        for path in (ROOT / "tests").rglob("*.py")
        if not {"sample_app", "benchmarks", "golden"} & set(path.parts)
    ]
    assert [wait for path in files for wait in unbounded_waits(path)] == []
