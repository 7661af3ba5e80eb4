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
import linecache
import os
import pkgutil
import re
import sys
import sysconfig
import tomllib
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from assembler.errors import AssemblerError, UsageError, did_you_mean

_LIST_NEEDED = "the standard library takes a list of all packages: `imports` of [tool.assembler] in pyproject.toml"
BEHIND = {"posix": "os", "nt": "os"}  # the modules that `os` shows under its own name
_NAMESPACE = (
    "delete that `__init__.py`: without it the folders of that name are one namespace package"
)


class ImportFault(AssemblerError):  # noqa: N818  # becomes a diagnostic, not an error of ours
    """Why a path gives no object; `code` is one of the import stage's."""

    def __init__(
        self, code: str, message: str, *, trace: tuple[str, ...] = (), help: str | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.trace = trace
        self.help = help


@dataclass(frozen=True, slots=True)
class ImportList:
    """The packages a manifest may import from; None allows all but the standard library."""

    packages: tuple[str, ...] | None
    file: str | None

    def allows(self, module: str) -> bool:
        """Tell whether `module` is one of the packages or lies inside one."""
        if self.packages is None:
            return module.partition(".")[0] not in sys.stdlib_module_names
        return any(
            module == package or module.startswith(package + ".") for package in self.packages
        )

    def check(self, path: str, module: str) -> None:
        """Raise `ImportFault` where `module`, which `path` leads to, is not allowed."""
        if self.allows(module):
            return
        lies_there = re.match(rf"{re.escape(module)}\b", path)
        subject = f"`{path}`" if lies_there else f"`{path}` is defined in `{module}`, which"
        if self.packages is None:
            where, remedy = "what a manifest may import without a list", _LIST_NEEDED
        else:
            package = module.partition(".")[0]
            where = f"the import list of {self.file}"
            remedy = f'if it is meant, add "{package}" to `imports` of [tool.assembler] there'
        raise ImportFault("import-not-allowed", f"{subject} is outside {where}", help=remedy)


def read_import_list(manifest: Path) -> ImportList:
    """Read `[tool.assembler] imports` from the pyproject.toml beside or above the manifest.

    Raises `UsageError` where that file or its table cannot be read.
    """
    for folder in manifest.resolve().parents:
        file = folder / "pyproject.toml"
        if file.is_file():
            return _read_table(file)
    return ImportList(None, None)


def import_object(path: str, imports: ImportList) -> Any:
    """Return what `path` names; raises `ImportFault`. What is printed meanwhile goes to stderr."""
    make_current_folder_importable()
    module_path, colon, attributes = path.partition(":")
    imports.check(path, module_path)
    with contextlib.redirect_stdout(sys.stderr):
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
    for definer in _definers(value):
        imports.check(path, BEHIND.get(definer, definer))
    return value


def make_current_folder_importable() -> None:
    """Put the current folder on the path, as uvicorn and `python -m` do."""
    here = os.getcwd()  # noqa: PTH109  # a string is what sys.path holds
    if "" not in sys.path and here not in sys.path:
        sys.path.insert(0, here)


def failure_of(error: BaseException) -> str:
    """Name an exception in one line: its type, and its text where it has one."""
    text = " ".join(str(error).replace(os.getcwd() + os.sep, "").split())  # noqa: PTH109  # a string
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def frame_of(error: BaseException) -> tuple[str, ...]:
    """Return `file:line: source` of the innermost frame that is the user's own, if any."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return (_frame_text(error.filename, error.lineno),)
    frames = [
        (frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    own = [(file, line) for file, line in frames if _is_users(file)]
    return (_frame_text(*own[-1]),) if own else ()


def _read_table(file: Path) -> ImportList:
    try:
        table: Any = tomllib.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read `{file.name}`: {error}") from error
    for key in ("tool", "assembler"):
        table = table.get(key, {}) if isinstance(table, dict) else table
    imports = table.get("imports") if isinstance(table, dict) else table
    if imports is None:
        return ImportList(None, None)
    if not isinstance(imports, list) or not all(isinstance(name, str) and name for name in imports):
        raise UsageError(
            f"`imports` of [tool.assembler] in {file.name} must be a list of package names"
        )
    return ImportList(tuple(imports), file.name)


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
            if fault.code != "module-not-found" or (len(rest) > 1 and not hasattr(module, rest[0])):
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
    except (Exception, SystemExit) as error:
        raise failed(name, error) from error


def failed(name: str, error: BaseException) -> ImportFault:
    message = f"`{name}` failed while it was imported: {failure_of(error)}"
    return ImportFault("import-failed", message, trace=frame_of(error))


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
    meant = did_you_mean(last, siblings)
    if meant:
        meant = meant.replace("did you mean `", f"did you mean `{parent}.")
    return ImportFault("module-not-found", message, help=meant)


def _hidden_by(name: str, top_file: str | None) -> str | None:
    """Tell whether an `__init__.py` at the top of `name` hides another folder that has it."""
    top, *rest = name.split(".")
    if not rest or top_file is None or os.path.basename(top_file) != "__init__.py":  # noqa: PTH119  # a plain string
        return None
    for entry in sys.path:
        other = Path(entry or ".") / top
        target = other.joinpath(*rest)
        has_it = target.is_dir() or target.with_suffix(".py").is_file()
        if (
            has_it
            and not (other / "__init__.py").exists()
            and other.resolve() != Path(top_file).parent.resolve()
        ):
            return f"{_short(top_file)} hides the `{top}` folder that has it"
    return None


def _attribute(value: Any, name: str, before: list[str], module: ModuleType) -> Any:
    try:
        return getattr(value, name)
    except AttributeError:
        owner = ".".join([module.__name__, *before])
        known = [known for known in dir(value) if not known.startswith("_")]
        raise ImportFault(
            "attribute-not-found", f"`{owner}` has no `{name}`", help=did_you_mean(name, known)
        ) from None
    except Exception as error:
        raise failed(f"{module.__name__}.{name}", error) from error


def _definers(value: Any) -> Iterator[str]:
    """Yield the modules that define the function or class behind `value`."""
    while isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, ModuleType):
        yield value.__name__
    elif inspect.isroutine(value) or inspect.isclass(value):
        owner = getattr(value, "__self__", None)
        if owner is not None and not isinstance(owner, ModuleType):
            owner = owner if inspect.isclass(owner) else type(owner)
            yield owner.__module__
        if isinstance(value.__module__, str):
            yield value.__module__


def _is_users(file: str) -> bool:
    if file.startswith("<") or os.path.dirname(file) == os.path.dirname(__file__):  # noqa: PTH120  # strings
        return False
    return not any(file.startswith(folder + os.sep) for folder in _library_folders())


@functools.cache
def _library_folders() -> tuple[str, ...]:
    paths: Iterable[str] = (
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    )
    return tuple(dict.fromkeys(paths))


def _frame_text(file: str, line: int) -> str:
    place, source = f"{_short(file)}:{line}", linecache.getline(file, line).strip()
    return f"{place}: {source}" if source else place


def _short(file: str) -> str:
    relative = os.path.relpath(file)
    return file if relative.startswith("..") else relative
