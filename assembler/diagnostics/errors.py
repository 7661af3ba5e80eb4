"""Facts about a fault → one message with a place, and the exceptions that carry them.

    AssemblerError
    ├── UsageError          the command or call itself is wrong: a file that does not exist
    └── ManifestError       the manifest is wrong: holds the `Diagnostic`s of one stage
        └── StartupError    the manifest was right, and a step of the start failed

In: a place, a code of `assembler.diagnostics.codes`, the words. Out: a `Diagnostic` to be drawn,
and its mapping for `--format json`. Refuses a code that is not in the table.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from assembler.diagnostics.codes import CODES
from assembler.diagnostics.render import render
from assembler.diagnostics.span import Note, Span, place_order, printable
from assembler.diagnostics.suggest import MAX_TOLD


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One fault. `label` stands at the caret; `trace` are lines that are shown as notes."""

    code: str
    message: str
    span: Span | None
    label: str = ""
    notes: tuple[Note, ...] = ()
    trace: tuple[str, ...] = ()
    help: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise KeyError(f"`{self.code}` is not in the table of codes")

    def scrubbed(self, scrub: Callable[[str], str]) -> "Diagnostic":
        """Return the same fault, its words without the secrets that `scrub` takes out of a text."""
        return replace(
            self,
            message=scrub(self.message),
            trace=tuple(map(scrub, self.trace)),
            help=self.help and scrub(self.help),
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of `check --format json`; without a place they are null."""
        span = self.span
        return {
            "code": self.code,
            "severity": self.severity,
            "message": printable(self.message),
            "file": printable(span.file.name) if span else None,
            "line": span.line if span else None,
            "column": span.column if span else None,
            "end_line": span.end_line if span else None,
            "end_column": span.end_column if span else None,
            "help": printable(self.help) if self.help else None,
        }


class AssemblerError(Exception):
    """Everything this package raises on purpose."""


class UsageError(AssemblerError):
    """The call cannot be carried out as given; nothing was read or built."""


class ManifestError(AssemblerError):
    """One stage found faults; `diagnostics` holds them, sorted by place."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        return "\n\n".join(render(diagnostic) for diagnostic in self.diagnostics)


class StartupError(ManifestError):
    """A step with `on_error: fail` failed; what had been started was stopped again."""


def raise_faults(faults: Iterable[Diagnostic]) -> None:
    """Raise a `ManifestError` with the errors of `faults`; do nothing where there is none.

    Beyond `MAX_TOLD`, the last one says how many more there are, at the place of the next.
    """
    errors = arranged(fault for fault in faults if fault.severity == "error")
    if len(errors) > MAX_TOLD:
        untold = errors[MAX_TOLD - 1 :]
        message = f"{len(untold)} more faults are not told"
        errors[MAX_TOLD - 1 :] = [Diagnostic("more-faults", message, untold[0].span)]
    if errors:
        raise ManifestError(tuple(errors))


def arranged(faults: Iterable[Diagnostic]) -> list[Diagnostic]:
    """Sort by file, line and column, and drop what was found twice (aliases share nodes)."""
    unique = dict.fromkeys(faults)
    return sorted(unique, key=lambda fault: place_order(fault.span))
