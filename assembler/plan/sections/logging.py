"""The `logging` section → faults of the import stage.

In: the section's node and its data, references resolved, and something that finds what import paths
name. Out: a diagnostic for each path that `logging.config.dictConfig` would import and a manifest
may not, and for what it would refuse in whatever a class is given: its version, levels, flags, and
handlers, formatters and filters that the section does not have. The classes of `logging` and
`logging.handlers` are always allowed; their modules are not, for those show `os` and `pickle` under
their own names. Refuses `cfg://` as a path of code: it would hide the path that it leads to.
"""

import inspect
import logging.handlers
from collections.abc import Iterator, Mapping
from typing import Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.nodes import Node, NodePath, locate
from assembler.document.provenance import Unknown, shown
from assembler.plan.allow_list import ImportFault
from assembler.plan.targets import ModuleTargets, Targets

_MODULES = {"logging": logging, "logging.handlers": logging.handlers}
_STREAMS = frozenset({"sys.stdout", "sys.stderr"})
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")
_EXTERNAL, _INTERNAL = "ext://", "cfg://"


def check_logging(node: Node, data: Any, targets: Targets) -> Iterator[Diagnostic]:
    """Judge every import path of the section, and what is the same for all classes."""
    for place, value in _paths(data, ()):
        if isinstance(value, Unknown):
            continue
        try:
            _check(value, targets)
        except ImportFault as fault:
            yield fault.at(locate(node, place)[0].span)
    # Levels of an application's own are known once its modules have run.
    levels = logging.getLevelNamesMapping() if isinstance(targets, ModuleTargets) else None
    for place, message, remedy in _Misfits(data, levels):
        yield Diagnostic("bad-value", message, locate(node, place)[0].span, help=remedy)


_Misfit = tuple[NodePath, str, str | None]


class _Misfits:
    """What `dictConfig` refuses, or takes otherwise than it reads, each with its place and remedy."""

    def __init__(self, data: dict[str, Any], levels: Mapping[str, int] | None) -> None:
        self._data = data
        self._levels = levels
        self._refers = not data.get("incremental")  # else it changes what is there

    def __iter__(self) -> Iterator[_Misfit]:
        version = self._data.get("version")
        if version is None:
            return  # what `dictConfig` refuses as a whole
        if not isinstance(version, Unknown) and version != 1:
            yield ("version",), f"`version` of `logging` must be `1`, not {shown(version)}", None
        for key in ("incremental", "disable_existing_loggers"):
            yield from self._flag((key,), self._data.get(key))
        for name, handler in self._mapping("handlers"):
            place = ("handlers", name)
            if self._refers and not {"class", "()"} & handler.keys():
                yield place, f"the handler `{name}` lacks the key `class`", None
            yield from self._level((*place, "level"), handler.get("level"))
            yield from self._named((*place, "formatter"), handler.get("formatter"), "formatters")
            yield from self._each((*place, "filters"), handler.get("filters"), "filters")
        loggers: list[tuple[NodePath, Any]] = [(("root",), self._data.get("root"))]
        loggers += [(("loggers", name), logger) for name, logger in self._mapping("loggers")]
        for path, logger in loggers:
            if isinstance(logger, dict):
                yield from self._level((*path, "level"), logger.get("level"))
                yield from self._flag((*path, "propagate"), logger.get("propagate"))
                for key in ("handlers", "filters"):
                    yield from self._each((*path, key), logger.get(key), key)

    def _mapping(self, key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        found = self._data.get(key)
        for name, value in found.items() if isinstance(found, dict) else ():
            if isinstance(value, dict):
                yield name, value

    def _level(self, place: NodePath, level: Any) -> Iterator[_Misfit]:
        if not isinstance(level, str) or _is_elsewhere(level):
            return
        known = _LEVELS if self._levels is None else self._levels.keys()
        remedy = did_you_mean(level, known)
        is_own = self._levels is None and level.upper() not in known
        if level not in known and not is_own:
            names = ", ".join(f"`{name}`" for name in _LEVELS)
            message = f"`level` must be one of {names}, or a number, not {shown(level)}"
            yield place, message, remedy

    def _flag(self, place: NodePath, value: Any) -> Iterator[_Misfit]:
        if type(value) is str:  # `no` is a text, and every text counts as true
            yield place, f"`{place[-1]}` must be `true` or `false`, not {shown(value)}", None

    def _each(self, place: NodePath, names: Any, key: str) -> Iterator[_Misfit]:
        if type(names) is str:
            yield place, f"`{place[-1]}` must be a list, not {shown(names)}", f"write `[{names}]`"
        for index, name in enumerate(names if isinstance(names, list) else ()):
            yield from self._named((*place, index), name, key)

    def _named(self, place: NodePath, name: Any, key: str) -> Iterator[_Misfit]:
        there = self._data.get(key, {})
        if not self._refers or not isinstance(name, str) or not isinstance(there, dict):
            return
        if name not in there and not _is_elsewhere(name):
            called = shown(name).replace('"', "")
            message = f"`logging` has no {key.removesuffix('s')} {called}"
            yield place, message, did_you_mean(name, there)


def _is_elsewhere(value: str) -> bool:
    """Tell whether a text stands for something else, or is not known yet."""
    return isinstance(value, Unknown) or value.startswith((_EXTERNAL, _INTERNAL))


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
