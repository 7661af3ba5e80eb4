"""`module:app`, or `module:create_app` → the application.

In: the text that names it, as uvicorn takes it, in the process that runs it. Out: the application, and
the name of its module. Refuses what is no application, with the remedy; what the module itself raises
passes through.
"""

import importlib
import inspect
from typing import Any

from assembler.diagnostics.errors import AssemblerError
from assembler.diagnostics.span import one_line
from assembler.plan.importer import make_current_folder_importable


def compose(target: str, *, is_factory: bool) -> tuple[Any, str]:
    """Import the module, and return the application with the module's name.

    Raises `AssemblerError` where the target is no application or nothing that gives one.
    """
    module_name, colon, name = target.partition(":")
    if not colon or not module_name or not name:
        raise AssemblerError(f"`{one_line(target)}` names no application: write `module:app`")
    make_current_folder_importable()
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise
        raise AssemblerError(
            f"there is no module `{one_line(error.name)}`: run from the project's folder"
        ) from error
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise AssemblerError(f"`{one_line(module_name)}` has no `{one_line(name)}`") from None
    if is_factory:
        if not callable(value):
            raise AssemblerError(f"`{one_line(target)}` is no function that gives an application")
        value = value()
    elif inspect.isfunction(value) and not _is_asgi(value):
        raise AssemblerError(f"`{one_line(target)}` is a function: is it a `--factory`?")
    if not callable(value):
        raise AssemblerError(f"`{one_line(target)}` is {_described(value)}, and no application")
    return value, module_name


def _is_asgi(function: Any) -> bool:
    return len(inspect.signature(function).parameters) == 3


def _described(value: Any) -> str:
    return f"of type `{type(value).__name__}`"
