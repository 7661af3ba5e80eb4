"""The settings class of a manifest → its object.

In: the path of a class, where it stands, the environment. Out: what calling it gives, or its faults:
each missing and each refused field by itself, so that all missing variables are told together.
Whatever others' code says is told without the values it was made from.
"""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import Span
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import import_object

_SHORTEST = 4  # characters of a value that could be a secret; `1` or `no` would be everywhere


def build_settings(
    path: str, imports: ImportList, span: Span, environment: Mapping[str, str]
) -> tuple[Any, list[Diagnostic]]:
    """Import and call the class; return its object, or None with every fault."""
    try:
        with contextlib.redirect_stdout(sys.stderr):
            settings = import_object(path, imports)
            if not callable(settings):
                message = f"`{path}` is of type `{type(settings).__name__}`, which cannot be called"
                return None, [Diagnostic("not-callable", message, span)]
            return settings(), []
    except ImportFault as fault:
        found = fault.at(span)
        is_theirs = fault.code == "import-failed"  # others are in words of our own
        return None, [found.scrubbed(_secrets(fault, environment).scrub) if is_theirs else found]
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # a settings class may raise anything
        secrets = _secrets(error, environment)
        return None, [fault.scrubbed(secrets.scrub) for fault in _faults(error, span)]


def _faults(error: BaseException, span: Span) -> Iterator[Diagnostic]:
    if not isinstance(error, ValidationError):
        message = f"the settings could not be built: {failure_of(error)}"
        yield Diagnostic("bad-settings", message, span, trace=frame_of(error))
        return
    for item in error.errors():
        name = ".".join(str(part) for part in item["loc"]) or type(error).__name__
        if item["type"] == "missing":
            remedy = f"set the variable that `{name}` is read from"
            yield Diagnostic("missing-variable", f"setting `{name}` is not set", span, help=remedy)
        else:
            message = f"setting `{name}` is refused: {item['msg'].lower()}"
            yield Diagnostic("bad-settings", message, span)


def _secrets(error: BaseException, environment: Mapping[str, str]) -> Secrets:
    """Hide every variable's value, and each value that pydantic quotes (from a `.env` file)."""
    secrets = Secrets()
    for name, value in environment.items():
        if len(value) >= _SHORTEST:
            secrets.add(value, f"${{{name}}}")
            secrets.add(value.lower(), f"${{{name}}}")
    for item in error.errors() if isinstance(error, ValidationError) else ():
        value = item.get("input")
        if isinstance(value, str) and len(value) >= _SHORTEST:
            secrets.add(value, "…")
            secrets.add(value.lower(), "…")
    return secrets
