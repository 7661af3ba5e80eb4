"""Modules that are imported → the extras of this package that bring them.

In: names of modules, as `import` has them. Out: the names of extras, as `pip install` takes them, the
smallest that do; the remedy for who lacks one. What no extra brings is not told of.
"""

import re
import sys
from collections.abc import Collection, Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

_MODULES_OF = {"jwt": "pyjwt", "PIL": "pillow", "mcp_types": "mcp", "cryptography": "pyjwt"}


@cache
def _extras() -> Mapping[str, frozenset[str]]:
    """Return the distributions that each of our extras brings, besides those that are always there."""
    try:
        lines = requires("fastapi-assembler") or []
    except PackageNotFoundError:  # a checkout on the path
        return {}
    found: dict[str, set[str]] = {}
    for line in lines:
        extra = re.search(r"extra\s*==\s*['\"]([\w-]+)['\"]", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name:
            found.setdefault(extra[1], set()).add(_folded(name[0]))
    return {
        name: frozenset(each) for name, each in found.items() if name not in {"dev", "test", "all"}
    }


def extra_of(imports: Collection[str]) -> str | None:
    """Return the extras that bring what is imported, the smallest that do; None for none."""
    wanted = {_folded(_MODULES_OF.get(name, name)) for name in imports}
    known = frozenset().union(*_extras().values()) if _extras() else frozenset()
    wanted &= known
    chosen: list[str] = []
    while wanted:
        best = min(
            (name for name, brought in _extras().items() if brought & wanted),
            key=lambda name: (*_fitness(name, wanted), name),
        )
        chosen.append(best)
        wanted = wanted - _extras()[best]
    return ",".join(sorted(chosen)) or None


def _fitness(extra: str, wanted: Collection[str]) -> tuple[bool, int, int]:
    """Put first the extra that is called like what is wanted, then that which brings most of it."""
    brought = _extras()[extra]
    is_namesake = any(name.startswith(extra) for name in brought & set(wanted))
    return not is_namesake, -len(brought & set(wanted)), len(brought)


def _folded(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def remedy_for(error: BaseException, name: str) -> str | None:
    """Tell what to install where the import of module `name` failed for want of a package.

    That is certain for what is installed beside this package alone: others have extras of their own.
    """
    top = sys.modules.get(name.partition(".")[0])
    folders = [Path(each).parent for each in getattr(top, "__path__", ())]
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return None
    extra = extra_of([error.name.partition(".")[0]])
    is_ours = Path(__file__).parents[2] in folders
    return f"pip install 'fastapi-assembler[{extra}]'" if extra and is_ours else None
