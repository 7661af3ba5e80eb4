"""Two applications, compared in the process of the tests: as `equal` does it, without its processes.

In: a folder with `app/main.py` and `manifest.yaml`, or the texts of such. Out: what was compared, and
differences with their rules. The written application is made twice, as there.
"""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import assembler
from assembler.adopt.equality.comparison import Compared, Difference, compare
from assembler.adopt.equality.effects import effects_of
from assembler.adopt.equality.inspection import composing, inspect_application
from assembler.adopt.equality.probes import ProbeList
from assembler.adopt.equality.rules import rule_of
from assembler.adopt.equality.subject import jobs_of, loops_of, observe
from tests.assembler.command import in_folder


def by_hand() -> Any:
    module = importlib.import_module("app.main")
    return module.app if hasattr(module, "app") else module.create_app()


def assembled() -> Any:
    return assembler.build(assembler.load("manifest.yaml", {"logging": None}))


def seen(
    make: Callable[[], Any],
    folder: Path,
    like: dict[str, Any] | None = None,
    *,
    lifespan: bool = False,
    replay_writes: bool = False,
) -> dict[str, Any]:
    """Make an application, and look at it, send it requests and start it as `equal` does."""
    with in_folder(folder):
        with effects_of() as built:
            app = make()
        inspected = inspect_application(app)
        probes = like["probes"] if like else ProbeList(replay_writes).of(inspected.facts)
        names = like["composing"] if like else composing(inspected.facts)
        facts = {"facts": inspected.facts, "built": built, "probes": probes}
        facts |= {"loops": loops_of(app), "jobs": jobs_of(app)}
        found = observe(app, inspected, probes, names if lifespan else None)
        return {**facts, "composing": names, **found}


def compared(folder: Path, *, lifespan: bool = False, replay_writes: bool = False) -> Compared:
    """Compare what stands in a folder."""
    left = seen(by_hand, folder, lifespan=lifespan, replay_writes=replay_writes)
    again = seen(by_hand, folder, left, lifespan=lifespan)
    return compare(left, again, seen(assembled, folder, left, lifespan=lifespan))


def unexplained(found: Compared) -> list[str]:
    """Return the differences that no rule covers, in one line each."""
    return [told(each) for each in found.differences if rule_of(each) is None]


def explained(found: Compared) -> set[str]:
    """Return the names of the rules that cover a difference."""
    rules = [rule_of(each) for each in found.differences]
    return {rule.name for rule in rules if rule is not None}


def told(difference: Difference) -> str:
    return f"{difference.part} | {difference.place} | {difference.left} | {difference.right}"
