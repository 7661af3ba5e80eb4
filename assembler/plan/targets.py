"""Import paths → targets, once each, and the `catch` of a handler → what it answers.

In: a path of the manifest; for `catch` an HTTP status or the bare name of a built-in exception, too.
Out: a `Target`; the status or exception class. Refuses what the import stage refuses, as an
`ImportFault`, and what is no subclass of `Exception`. `ModuleTargets` imports; the reader of sources
in `static` does without, and the one in `deferred` leaves it to a first request.
"""

import builtins
import inspect
from typing import Any, Protocol

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import failed, import_object
from assembler.plan.signature import Target, target_of

# Exceptions that are often named without the module that has them.
_HOMES = {
    name: f"{module}.{name}"
    for module, names in {
        "starlette.exceptions": ("HTTPException", "WebSocketException"),
        "fastapi.exceptions": (
            *("RequestValidationError", "ResponseValidationError"),
            *("WebSocketRequestValidationError", "FastAPIError"),
        ),
        "pydantic": ("ValidationError",),
        "sqlalchemy.exc": (
            *("SQLAlchemyError", "DBAPIError", "IntegrityError", "OperationalError"),
            *("DataError", "NoResultFound", "MultipleResultsFound", "InterfaceError"),
        ),
        "redis.exceptions": ("RedisError",),
    }.items()
    for name in names
}


class Targets(Protocol):
    """What turns an import path into a `Target`, or raises `ImportFault`."""

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Describe what `path` names; `leading` arguments are given by position."""
        ...


class ModuleTargets:
    """Imports what paths name, once each."""

    def __init__(self, imports: ImportList) -> None:
        self.imports = imports
        self._found: dict[tuple[str, int], Target | ImportFault] = {}

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Import `path` and describe the object; raises `ImportFault`."""
        key = (path, leading)
        if key not in self._found:
            try:
                value = import_object(path, self.imports)
                self._found[key] = target_of(path, value, leading=leading)
            except ImportFault as fault:
                self._found[key] = fault
            except Exception as error:  # noqa: BLE001  # an object may raise when it is looked at
                self._found[key] = failed(path, error)
        found = self._found[key]
        if isinstance(found, ImportFault):
            raise found
        return found


def caught(targets: Targets, catch: int | str, span: Span) -> tuple[Any, list[Diagnostic]]:
    """Return what `catch`, which stands at `span`, names, or None with its fault.

    An exception that is known by its source only is None without a fault.
    """
    if isinstance(catch, int):
        return catch, []
    if "." not in catch and ":" not in catch:
        return _built_in(catch, span)
    try:
        target = targets.target(catch)
    except ImportFault as fault:
        return None, [fault.at(span)]
    is_read_only = target.value is None and target.form != "function"
    if is_read_only or _is_exception(target.value):
        return target.value, []
    return None, [Diagnostic("not-an-exception", f"`{catch}` is no exception class", span)]


def _built_in(name: str, span: Span) -> tuple[Any, list[Diagnostic]]:
    """Find a built-in exception, whatever the list of imports says."""
    value = getattr(builtins, name, None)
    if _is_exception(value):
        return value, []
    message = f"there is no built-in exception `{name}`"
    if value is not None:
        message = f"the built-in `{name}` is no subclass of Exception"
    known = [item.__name__ for item in vars(builtins).values() if _is_exception(item)]
    remedy = f"write `{_HOMES[name]}`" if name in _HOMES else did_you_mean(name, known)
    return None, [Diagnostic("not-an-exception", message, span, help=remedy)]


def _is_exception(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)
