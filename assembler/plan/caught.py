"""The `catch` of a handler → the exception class or status that it answers.

In: an HTTP status, a dotted path, or the bare name of a built-in exception. Out: the status or the
class. Refuses what is no subclass of `Exception`, and paths that cannot be imported.
"""

import builtins
import inspect
from typing import Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.plan.allow_list import ImportFault
from assembler.plan.targets import Targets


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
    fault = Diagnostic("not-an-exception", message, span, help=did_you_mean(name, known))
    return None, [fault]


def _is_exception(value: Any) -> bool:
    return inspect.isclass(value) and issubclass(value, Exception)
