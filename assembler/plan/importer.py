"""Import path → object, or the one reason why not.

In: `package.module.Name` or `package.module:Name`, and the list of what a manifest may import.
Out: the object that the path names. Refuses, as an `ImportFault`, modules that are not there,
modules that fail while they are imported (told apart, with the author's own line), names that a
module does not have, and whatever lies outside the list: judged by the path, by every module on
the way, and by the module that really defines the function or class.
"""

import contextlib
import functools
import importlib
import inspect
import os
import pkgutil
import sys
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_origin

from assembler.diagnostics.exceptions import failure_of, frame_of, short_path
from assembler.diagnostics.suggest import did_you_mean
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.extras import remedy_for

BEHIND = {"posix": "os", "nt": "os"}  # the modules that `os` shows under its own name
_NAMESPACE = (
    "delete that `__init__.py`: without it the folders of that name are one namespace package"
)


def import_object(path: str, imports: ImportList) -> Any:
    """Return what `path` names; raises `ImportFault`. What is printed meanwhile goes to stderr."""
    make_current_folder_importable()
    module_path, colon, attributes = path.partition(":")
    imports.check(path, module_path)
    with _printing_to_stderr():
        if colon:
            module = _import_module(module_path)
            names = attributes.split(".")
        else:
            module, names = _longest_module(path)
        value: Any = module
        for index, name in enumerate(names):
            if isinstance(value, ModuleType):
                imports.check(path, value.__name__)
            value = _attribute(value, name, names[:index], module)
    try:
        definers = tuple(_definers(value))
    except Exception as error:
        raise failed(path, error) from error
    for definer in definers:
        imports.check(path, BEHIND.get(definer, definer))
    return value


def _printing_to_stderr() -> contextlib.AbstractContextManager[object]:
    """Keep standard output for results; it is the process's, so no other thread may swap it."""
    if threading.current_thread() is threading.main_thread():
        return contextlib.redirect_stdout(sys.stderr)
    return contextlib.nullcontext()


def make_current_folder_importable() -> None:
    """Put the current folder on the path, as uvicorn and `python -m` do: for an import alone.

    From then on whatever any library imports late may come from that folder, which a command that
    only reads must not let happen: it looks into `search_path` instead.
    """
    folders = search_path()
    if folders != sys.path:
        sys.path.insert(0, folders[0])


def search_path() -> list[str]:
    """Return the folders that an import would look into; changes nothing."""
    here = os.getcwd()  # noqa: PTH109  # a string is what sys.path holds
    is_there = "" in sys.path or here in sys.path
    return list(sys.path) if is_there else [here, *sys.path]


def failed(name: str, error: BaseException) -> ImportFault:
    """Say that `name` is there, and what its import raised."""
    message = f"`{name}` failed while it was imported: {failure_of(error)}"
    remedy = remedy_for(error, name)
    return ImportFault("import-failed", message, trace=frame_of(error), help=remedy)


def unreadable(name: str, error: BaseException) -> ImportFault:
    """Say that the text of `name`, which nobody has imported, cannot be read as Python."""
    message = f"the source of `{name}` cannot be read: {failure_of(error)}"
    return ImportFault("import-failed", message, trace=frame_of(error))


def names_class(name: str) -> bool:
    """Tell whether a name is written as classes are: a module is hardly called so."""
    return name[:1].isupper()


def module_not_found(name: str, top_file: str | None, folders: Iterable[str]) -> ImportFault:
    """Say that there is no module `name`.

    `top_file` is the file of its topmost package, `folders` are those of its parent, where known.
    """
    message = f"no module named `{name}`"
    hidden = _hidden_by(name, top_file)
    if hidden:
        return ImportFault("module-not-found", message, trace=(hidden,), help=_NAMESPACE)
    parent, _, last = name.rpartition(".")
    siblings = [module.name for module in pkgutil.iter_modules(list(folders))] if parent else []
    if not parent:
        return ImportFault("module-not-found", message, help=_NOWHERE)
    meant = did_you_mean(last, siblings)
    if meant:
        meant = meant.replace("did you mean `", f"did you mean `{parent}.")
    return ImportFault("module-not-found", message, help=meant)


_NOWHERE = "run from the project's folder, or install the package"


def _longest_module(path: str) -> tuple[ModuleType, list[str]]:
    """Import as many segments as are modules; an attribute wins over a submodule of its name."""
    first, *rest = path.split(".")
    module = _import_module(first)
    while rest:
        found = vars(module).get(rest[0])
        if (found is not None and not isinstance(found, ModuleType)) or not hasattr(
            module, "__path__"
        ):
            break
        name = f"{module.__name__}.{rest[0]}"
        try:
            module = _import_module(name)
        except ImportFault as fault:
            is_module = len(rest) > 1 and not hasattr(module, rest[0]) and not names_class(rest[0])
            if fault.code != "module-not-found" or is_module:
                raise
            break
        del rest[0]
    return module, rest


def _import_module(name: str) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise failed(name, error) from error
        top, parent = (
            sys.modules.get(error.name.partition(".")[0]),
            sys.modules.get(error.name.rpartition(".")[0]),
        )
        file, folders = getattr(top, "__file__", None), getattr(parent, "__path__", ())
        raise module_not_found(error.name, file, folders) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise failed(name, error) from error


def _attribute(value: Any, name: str, before: list[str], module: ModuleType) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        owner = ".".join([module.__name__, *before])
        known = [known for known in dir(value) if not known.startswith("_")]
        raise ImportFault(
            "attribute-not-found", f"`{owner}` has no `{name}`", help=did_you_mean(name, known)
        ) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise failed(f"{module.__name__}.{name}", error) from error


def _definers(value: Any) -> Iterator[str]:
    """Yield the modules that define the function, class or callable behind `value`."""
    while isinstance(value, functools.partial) or get_origin(value):
        value = value.func if isinstance(value, functools.partial) else get_origin(value)
    if isinstance(value, ModuleType):
        yield value.__name__
    elif inspect.isroutine(value) or inspect.isclass(value):
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType):
            owner = owner if inspect.isclass(owner) else type(owner)
            yield owner.__module__
        module = getattr(value, "__module__", None)
        if isinstance(module, str):
            yield module
    elif callable(value) and type(value).__module__.partition(".")[0] in sys.stdlib_module_names:
        yield type(value).__module__  # such as an `operator.methodcaller(…)`


def _hidden_by(name: str, top_file: str | None) -> str | None:
    """Tell whether an `__init__.py` at the top of `name` hides another folder that has it."""
    top, *rest = name.split(".")
    if not rest or top_file is None or os.path.basename(top_file) != "__init__.py":  # noqa: PTH119  # a plain string
        return None
    for entry in search_path():
        other = Path(entry or ".") / top
        target = other.joinpath(*rest)
        has_it = target.is_dir() or target.with_suffix(".py").is_file()
        if (
            has_it
            and not (other / "__init__.py").exists()
            and other.resolve() != Path(top_file).parent.resolve()
        ):
            return f"{short_path(top_file)} hides the `{top}` folder that has it"
    return None
