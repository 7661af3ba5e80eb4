"""Rules about the code that a manifest names, and about what it may name.

In: a `Subject`. Out: sightings. What was not judged is told here, so that a manifest is never
called clean because nobody could look.
"""

import re
import sys
from collections.abc import Iterator

from assembler.review.audit.rule import SERVED, AuditRule, Sighting
from assembler.review.audit.subject import Subject

_RUNNING = re.compile(
    r"builtins|code|codeop|ctypes|importlib|multiprocessing|os|pickle|pty|runpy|shutil"
    r"|subprocess|sys"
)


def _no_list(subject: Subject) -> Iterator[Sighting]:
    if subject.imports.packages is None and subject.items:
        message = "no list says what this manifest may import"
        yield Sighting(subject.top, message)


def _wide_list(subject: Subject) -> Iterator[Sighting]:
    names = subject.imports.packages or ()
    found = [name for name in names if _RUNNING.fullmatch(name.partition(".")[0])]
    if found:
        shown = ", ".join(f"`{name}`" for name in found)
        message = f"the import list of {subject.imports.file} has {shown}"
        yield Sighting(subject.top, message)


def _stdlib(subject: Subject) -> Iterator[Sighting]:
    names = subject.imports.packages or ()
    inside = [name for name in names if name in sys.stdlib_module_names]
    found = [name for name in inside if not _RUNNING.fullmatch(name)]
    if found:
        shown = ", ".join(f"`{name}`" for name in found)
        message = f"the import list of {subject.imports.file} has all of {shown}"
        yield Sighting(subject.top, message)


def _unknown(subject: Subject) -> Iterator[Sighting]:
    seen = set()
    for item in subject.items:
        target = subject.target(item) if item.use and item.use not in seen else ""
        seen.add(item.use)
        if isinstance(target, str) and target:
            yield Sighting(item.span, f"{item.called} was not judged: {target}")
    for fault in subject.sql[1]:
        yield Sighting(fault.span or subject.top, f"a statement was not judged: {fault.message}")


def _configure(subject: Subject) -> Iterator[Sighting]:
    for item in (*subject.sections["configure"], *subject.sections["finish"]):
        yield Sighting(item.span, f"what {item.called} adds to the application is not seen here")


RULES = (
    AuditRule(
        "no-import-list",
        "medium",
        "who may edit the manifest may then run any function of any installed package",
        "add `imports = [...]` to `[tool.assembler]` in pyproject.toml",
        _no_list,
        of_process=True,
    ),
    AuditRule(
        "import-list-runs-commands",
        "high",
        "with these modules a manifest runs any command, so the list holds nothing back",
        "take them out of `imports` of [tool.assembler]",
        _wide_list,
        of_process=True,
    ),
    AuditRule(
        "import-list-standard-library",
        "low",
        "few modules of the standard library are parts of a service; most reach further",
        "list the packages of the service alone",
        _stdlib,
        of_process=True,
    ),
    AuditRule(
        "unknown-code",
        "medium",
        "rules that need a signature could not look at it, so it may hide anything",
        "install what it needs, or correct the path; `assembler check --static` says more",
        _unknown,
    ),
    AuditRule(
        "unseen-configuration",
        "low",
        "layers, handlers and routes that code adds pass by every rule of this audit",
        "move them into the manifest",
        _configure,
        SERVED,
    ),
)
