"""The directions of shipped components: what their sources tell is what their signatures say."""

import contextlib
import importlib
import inspect
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from pydantic.fields import FieldInfo

from assembler.plan.allow_list import ImportList
from assembler.plan.static import SourceReader
from tests.assembler.command import run
from tests.benchmarks.diff import prepare, timed

COMPONENTS = Path(__file__).parents[2] / "components"
WORD = re.compile(r"higher|lower|longer|shorter|true|false|neither|order:\w+(,\w+)+")


def directed() -> Iterator[str]:
    """Yield the paths of the callables whose own signatures name a direction."""
    for file in sorted(COMPONENTS.rglob("*.py")):
        if "looser" not in file.read_text("utf-8"):
            continue
        name = ".".join(file.relative_to(COMPONENTS.parent).with_suffix("").parts)
        module = importlib.import_module(name.removesuffix(".__init__"))
        for key, value in vars(module).items():
            is_own = getattr(value, "__module__", None) == module.__name__ and not key.startswith(
                "_"
            )
            if is_own and (inspect.isclass(value) or inspect.isfunction(value)) and said(value):
                yield f"{module.__name__}.{key}"


def said(value: Callable[..., Any]) -> dict[str, str]:
    """Return what the signature of a callable says at run time."""
    function = value.__init__ if inspect.isclass(value) else value
    if not inspect.isfunction(function):
        return {}
    found = {}
    hints: dict[str, Any] = {}
    with contextlib.suppress(NameError):  # a hint may name what only a type checker imports
        hints = get_type_hints(function, include_extras=True)
    for name, hint in hints.items():
        for mark in getattr(hint, "__metadata__", ()):
            extra = mark.json_schema_extra if isinstance(mark, FieldInfo) else None
            if isinstance(extra, dict) and "looser" in extra:
                found[name] = str(extra["looser"])
    return found


PATHS = list(directed())


@pytest.mark.parametrize("path", PATHS)
def test_the_source_tells_the_directions_of_the_signature(path: str) -> None:
    module, _, name = path.rpartition(".")
    expected = said(getattr(importlib.import_module(module), name))
    _, options = SourceReader(ImportList(None, None)).options(path)
    told = {key: fact.looser for key, fact in (options or {}).items() if fact.looser}
    assert told == expected
    assert all(WORD.fullmatch(word) for word in expected.values())


def test_components_name_directions() -> None:
    assert len(PATHS) >= 12


def test_one_entry_of_a_thousand_is_compared_in_little_time_and_memory(tmp_path: Path) -> None:
    prepare(tmp_path)
    seconds, status = timed(tmp_path, "diff")
    assert status == 1
    assert seconds < 20  # the benchmark prints what it is: this only keeps it from being quadratic


def entries(section: str, count: int, first: int, entry: str) -> str:
    return f"manifest: 1\n{section}:\n" + "".join(
        f"- {entry % {'n': number}}\n" for number in range(first, first + count)
    )


MANY = {
    "other layers": [
        entries("middleware", 8_000, 0, "{use: shop.L%(n)s}"),
        entries("middleware", 3_000, 90_000, "{use: shop.L%(n)s}"),
    ],
    "routes turned round": [
        entries("routes", 4_000, 0, "{use: shop.r, id: r%(n)s, prefix: /p%(n)s}"),
        "manifest: 1\nroutes:\n"
        + "".join(f"- {{use: shop.r, id: r{n}, prefix: /p{n}}}\n" for n in reversed(range(4_000))),
    ],
    "rare clocks": [
        "manifest: 1\nscheduler:\n  jobs:\n"
        + "".join(f"  - {{use: shop.a, id: j{n}, cron: '{m} 3 29 2 *'}}\n" for n in range(1_000))
        for m in (7, 8)
    ],
}


@pytest.mark.parametrize("name", MANY)
def test_many_entries_are_compared_in_bounded_time(tmp_path: Path, name: str) -> None:
    for file, text in zip(("old.yaml", "new.yaml"), MANY[name], strict=True):
        (tmp_path / file).write_text(text, "utf-8")
    started = time.process_time()
    outcome = run("diff", "old.yaml", "new.yaml", "--format", "json", folder=tmp_path)
    assert outcome.status in {0, 1}
    assert json.loads(outcome.out)["worst"] in {"review", "behaviour"}
    assert time.process_time() - started < 20  # it is below five; what is quadratic takes minutes
