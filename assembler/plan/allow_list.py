"""`[tool.assembler] imports` of pyproject.toml → what a manifest may import.

In: the path of a manifest. Out: the list of the pyproject.toml beside or above it. Refuses a table
that cannot be read, and, as an `ImportFault`, a module outside the list.
"""

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from assembler.diagnostics.errors import AssemblerError, Diagnostic, UsageError
from assembler.diagnostics.span import Span
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.extends import digest

_LIST_NEEDED = "the standard library takes a list of all packages: `imports` of [tool.assembler] in pyproject.toml"


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

    def at(self, span: Span) -> Diagnostic:
        """Place the fault at the path that asked for the import."""
        return Diagnostic(self.code, self.message, span, trace=self.trace, help=self.help)


@dataclass(frozen=True, slots=True)
class ImportList:
    """The packages a manifest may import from; None allows all but the standard library."""

    packages: tuple[str, ...] | None
    file: str | None

    def widens(self, other: "ImportList") -> bool:
        """Tell whether this list allows a module that the other one does not."""
        if self.packages is None:
            return other.packages is not None
        return not all(other.allows(package) for package in self.packages)

    def allows(self, module: str) -> bool:
        """Tell whether `module` is one of the packages or lies inside one."""
        if self.packages is None:
            return module.partition(".")[0] not in sys.stdlib_module_names
        return any(
            module == package or module.startswith(package + ".") for package in self.packages
        )

    def digest(self, manifest: Path, files: Mapping[str, bytes | str]) -> str:
        """Return the SHA-256 of the texts of a manifest, and of what it may import by this list."""
        return digest(manifest, files, repr(self.packages))

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
            remedy = did_you_mean(package, self.packages) or (
                f'if it is meant, add "{package}" to `imports` of [tool.assembler] there'
            )
        raise ImportFault("import-not-allowed", f"{subject} is outside {where}", help=remedy)


def read_import_list(manifest: Path) -> ImportList:
    """Read `[tool.assembler] imports` from the pyproject.toml beside or above the manifest.

    Raises `UsageError` where that file or its table cannot be read.
    """
    for folder in manifest.resolve().parents:
        file = folder / "pyproject.toml"
        if file.is_file():
            try:
                return parse_import_list(file.read_bytes(), file.name)
            except OSError as error:
                raise UsageError(f"cannot read `{file.name}`: {error}") from error
    return ImportList(None, None)


def parse_import_list(text: bytes, name: str) -> ImportList:
    """Read the list from the text of a pyproject.toml that messages call `name`; raises `UsageError`."""
    try:
        table: Any = tomllib.loads(text.decode())
    except ValueError as error:
        raise UsageError(f"cannot read `{name}`: {error}") from error
    for key in ("tool", "assembler"):
        table = table.get(key, {}) if isinstance(table, dict) else table
    imports = table.get("imports") if isinstance(table, dict) else table
    if imports is None:
        return ImportList(None, None)
    if not isinstance(imports, list) or not all(isinstance(name, str) and name for name in imports):
        raise UsageError(f"`imports` of [tool.assembler] in {name} must be a list of package names")
    return ImportList(tuple(imports), name)
