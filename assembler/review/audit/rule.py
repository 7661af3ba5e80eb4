"""What a rule of the audit is, what it finds, and the profiles by which manifests are judged.

In: facts, the path of a manifest. Out: `AuditRule`, `Sighting`, `Violation`, which has the words and the
place that `review.report` prints; the profile by the words of the file's name, and where they tell none,
`prod`, which is judged most strictly.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from assembler.diagnostics.span import Note, Span, one_line, printable
from assembler.plan.sql.rules import Severity

if TYPE_CHECKING:
    from assembler.review.audit.subject import Subject

Profile = Literal["dev", "test", "prod", "serverless"]
SEVERITIES: tuple[Severity, ...] = ("high", "medium", "low")
EVERYWHERE: frozenset[Profile] = frozenset({"dev", "test", "prod", "serverless"})
SERVED: frozenset[Profile] = frozenset({"prod", "serverless"})  # strangers can reach it
PROD: frozenset[Profile] = frozenset({"prod"})
SERVERLESS: frozenset[Profile] = frozenset({"serverless"})
DEV: frozenset[Profile] = frozenset({"dev"})


class Sighting(NamedTuple):
    """One place where a rule is broken, and how, in one sentence."""

    span: Span
    message: str
    fix: str = ""  # in place of the rule's own
    more: str = ""  # what is said after the fix


@dataclass(frozen=True, slots=True)
class AuditRule:
    """One thing to think twice about: `why` is one sentence, `fix` is what to write instead.

    One that is `of_process` looks at the outermost manifest alone, others at each that is mounted, too.
    """

    id: str
    severity: Severity
    why: str
    fix: str
    find: "Callable[[Subject], Iterable[Sighting]]"
    profiles: frozenset[Profile] = EVERYWHERE
    of_process: bool = False


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that a manifest breaks; the names are those of a `Diagnostic`."""

    rule: str
    severity: Severity
    message: str
    span: Span
    fix: str
    why: str
    label: str = ""
    notes: tuple[Note, ...] = ()
    is_new: bool | None = None  # against the base of a change; None where there is none

    @property
    def code(self) -> str:
        """The rule."""
        return self.rule

    @property
    def help(self) -> str | None:
        """The fix."""
        return self.fix or None

    @property
    def trace(self) -> tuple[str, ...]:
        """The sentence that says why."""
        return (self.why,) if self.why else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the keys of `audit --format json`."""
        return {
            "rule": self.rule,
            "severity": self.severity,
            "message": printable(self.message),
            "why": printable(self.why),
            "fix": printable(self.fix),
            "file": one_line(self.span.file.name),
            "line": self.span.line,
            "column": self.span.column,
            "end_line": self.span.end_line,
            "end_column": self.span.end_column,
            **({} if self.is_new is None else {"new": self.is_new}),
        }


_WORDS: dict[str, Profile] = {
    **dict.fromkeys(("dev", "devel", "development", "local", "laptop"), "dev"),
    **dict.fromkeys(("test", "tests", "testing", "ci"), "test"),
    **dict.fromkeys(("serverless", "lambda", "faas"), "serverless"),
    **dict.fromkeys(("prod", "production", "live", "staging"), "prod"),
}


def profile_of(path: Path) -> Profile:
    """Return the profile of a manifest: `api.dev.yaml` is `dev`, `lambda-eu.yaml` `serverless`."""
    words = re.findall(r"[a-z]+", path.stem.lower())
    found = {_WORDS[word] for word in words if word in _WORDS}
    return found.pop() if len(found) == 1 else "prod"
