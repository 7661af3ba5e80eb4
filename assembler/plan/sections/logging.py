"""The `logging` section → faults of the import stage.

In: the section's node and its data, references resolved, and something that finds what import paths
name. Out: a diagnostic for each path that `logging.config.dictConfig` would import and a manifest
may not. The classes of `logging` and `logging.handlers` are always allowed; their modules are not,
for those show `os` and `pickle` under their own names. Refuses `cfg://` as a path of code: it would
hide the path that it leads to.
"""

import inspect
import logging.handlers
from collections.abc import Iterator, Mapping
from typing import Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.nodes import Node, NodePath, locate
from assembler.document.provenance import Unknown
from assembler.plan.allow_list import ImportFault
from assembler.plan.targets import Targets

_MODULES = {"logging": logging, "logging.handlers": logging.handlers}
_STREAMS = frozenset({"sys.stdout", "sys.stderr"})
_EXTERNAL, _INTERNAL = "ext://", "cfg://"


def check_logging(node: Node, data: Any, targets: Targets) -> Iterator[Diagnostic]:
    """Judge every import path of the section."""
    for place, value in _paths(data, ()):
        if isinstance(value, Unknown):
            continue
        try:
            _check(value, targets)
        except ImportFault as fault:
            yield fault.at(locate(node, place)[0].span)


def _paths(data: Any, place: NodePath) -> Iterator[tuple[NodePath, str]]:
    """Yield what dictConfig imports: some keys' values, and each text that begins with `ext://`."""
    if isinstance(data, dict):
        for key, value in data.items():
            if isinstance(value, str) and _names_code(key, data):
                yield (*place, key), value
            else:
                yield from _paths(value, (*place, key))
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from _paths(item, (*place, index))
    elif isinstance(data, str) and data.startswith(_EXTERNAL):
        yield place, data


def _names_code(key: str, siblings: Mapping[str, Any]) -> bool:
    """Tell whether the value of `key` is a path; from Python 3.12 on a QueueHandler's are, too."""
    if key in {"queue", "listener"}:
        owner = siblings.get("class")
        return "." in siblings[key] or (isinstance(owner, str) and owner.startswith("logging."))
    return key in {"()", "class"}


def _check(value: str, targets: Targets) -> None:
    if value.startswith(_INTERNAL):
        message = f"`{value}` stands where code is named: write the import path itself"
        raise ImportFault("import-not-allowed", message)
    path = value.removeprefix(_EXTERNAL)
    module, _, name = path.rpartition(".")
    if path in _STREAMS:
        return
    if module in _MODULES:
        found = vars(_MODULES[module]).get(name)
        if inspect.isclass(found) and found.__module__ in _MODULES:
            return
        if found is None:
            known = [key for key, item in vars(_MODULES[module]).items() if inspect.isclass(item)]
            remedy = did_you_mean(name, known)
            raise ImportFault("attribute-not-found", f"`{module}` has no `{name}`", help=remedy)
    targets.target(path)
