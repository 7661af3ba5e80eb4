"""A merged manifest → what to think twice about before it is deployed.

In: a document and its manifest, a profile, a day; for a change, the rules and the suppressions of
the base side, so that a change cannot silence its own gate. Out: a `Report` with findings, the
worst first, and with what was silenced. Imports nothing that the manifest names and reads no
variables. A rule that cannot judge says nothing, and code that cannot be read is a finding of its
own.

The rooms in the order to read them: rule, subject, the rules by what they are about, table.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from assembler.diagnostics.span import Span, one_line
from assembler.diagnostics.suggest import did_you_mean
from assembler.document.extends import DISK, Shelf
from assembler.document.merge import Document
from assembler.document.mounted import apart
from assembler.document.nodes import NodePath, locate
from assembler.manifest import Manifest
from assembler.manifest.review import Suppression
from assembler.plan.allow_list import ImportList, read_import_list
from assembler.plan.load import shapes_of
from assembler.plan.sql.rules import Severity
from assembler.plan.static.module import EarlierTree
from assembler.review.audit.item import first_line
from assembler.review.audit.literals import secret_test
from assembler.review.audit.rule import (
    SEVERITIES,
    AuditRule,
    Profile,
    Sighting,
    Violation,
)
from assembler.review.audit.subject import Subject
from assembler.review.audit.table import OF_SUPPRESSIONS, RULES
from assembler.review.credentials import secret_scalars, veiled, veiled_text


@dataclass(frozen=True, slots=True)
class Silenced:
    """A finding that a suppression silences, and why."""

    finding: Violation
    reason: str
    until: date


@dataclass(frozen=True, slots=True)
class Report:
    """What the audit of one manifest found."""

    manifest: str
    profile: Profile
    findings: tuple[Violation, ...]
    silenced: tuple[Silenced, ...]

    @property
    def worst(self) -> Severity | None:
        """The worst severity, None where nothing was found."""
        found = {finding.severity for finding in self.findings}
        return next((severity for severity in SEVERITIES if severity in found), None)

    def trips(self, severity: Severity, *, only_new: bool = False) -> bool:
        """Tell whether a finding is of that severity or a worse one; with `only_new`, a new one."""
        reach = SEVERITIES[: SEVERITIES.index(severity) + 1]
        return any(
            finding.severity in reach and not (only_new and finding.is_new is False)
            for finding in self.findings
        )

    def beside(self, base: "Report | None") -> "Report":
        """Return the report with what its base does not have marked as new.

        A finding is the same one by its rule and its words, however its line has moved; of two that
        are alike, where the base has one, one is new.
        """
        known = Counter((one.rule, one.message) for one in (base.findings if base else ()))
        marked = []
        for finding in self.findings:
            key = finding.rule, finding.message
            marked.append(replace(finding, is_new=known[key] <= 0))
            known[key] -= 1
        return replace(self, findings=tuple(marked))


def audit(
    document: Document,
    manifest: Manifest,
    profile: Profile,
    *,
    today: date,
    rules: Mapping[str, AuditRule] = RULES,
    suppressions: Sequence[Suppression] | None = None,
    imports: ImportList | None = None,
    shelf: Shelf = DISK,
    tree: EarlierTree | None = None,
) -> Report:
    """Judge one manifest.

    Args:
        document: the merged tree, as `assembler.plan.load.load_shape` returns it with the manifest.
        manifest: its models.
        profile: what the manifest is for.
        today: the day by which suppressions end.
        rules: what is judged.
        suppressions: those that hold, in place of the manifest's own: for a change, those of its
            base side.
        imports: what the manifest may import; that of the pyproject.toml above it where none.
        shelf: where the files of the manifest are read from: the disk, or a commit.
        tree: where the code that it names is read from; None for the disk.
    """
    imports = imports or read_import_list(document.path)
    subject = subject_of(document, manifest, profile, imports, shelf, tree)
    holding = manifest.audit.suppress if suppressions is None else suppressions
    running = {one.rule: one for one in holding if one.until >= today}
    found = list(_found(subject, rules.values()))
    broken = {rule.id for rule, _ in found}
    if suppressions is None:
        found += _of_suppressions(subject, rules, broken, today)
    findings, silenced = [], []
    for finding in _safe(subject, found):
        suppression = running.get(finding.rule) if finding.rule in rules else None
        if suppression is None:
            findings.append(finding)
        else:
            silenced.append(Silenced(finding, suppression.reason, suppression.until))
    shown = document.path.as_posix()
    return Report(shown, profile, tuple(findings), tuple(silenced))


def subject_of(
    document: Document,
    manifest: Manifest,
    profile: Profile,
    imports: ImportList,
    shelf: Shelf = DISK,
    tree: EarlierTree | None = None,
) -> Subject:
    """Return what the rules look at: the manifest, with those that are mounted in it."""
    own, found = apart(document)
    whole = Subject(own, manifest, profile, imports, shelf, tree)
    known: dict[NodePath, Subject] = {(): whole}
    for path, part, models in shapes_of(document)[1:] if found else ():
        outer = known[path[:-3]]
        known[path] = Subject(part, models, profile, imports, shelf, tree, outer, int(path[-2]))
        outer.inner.append(known[path])
    return whole


def _found(subject: Subject, rules: Iterable[AuditRule]) -> Iterator[tuple[AuditRule, Sighting]]:
    for rule in rules:
        for one in subject.everyone:
            if one.profile in rule.profiles and not (rule.of_process and one.outer is not None):
                yield from ((rule, sighting) for sighting in rule.find(one))


def _of_suppressions(
    subject: Subject, rules: Mapping[str, AuditRule], broken: set[str], today: date
) -> Iterator[tuple[AuditRule, Sighting]]:
    """Find suppressions that silence nothing, or no longer."""
    for number, one in enumerate(subject.manifest.audit.suppress):
        node, _ = locate(subject.root, ("audit", "suppress", number))
        kind, key, message, fix = "", "rule", "", ""
        if one.rule not in rules:
            kind, message = "suppression-unknown", f"there is no rule `{one.rule}`"
            fix = did_you_mean(one.rule, rules) or ""
        elif one.until < today:
            kind, key = "suppression-expired", "until"
            written = locate(node, ("until",))[0]
            is_known = "${" not in str(getattr(written, "value", ""))
            end = f"ended on {one.until}" if is_known else "has an end that no variable may tell"
            message = f"the suppression of `{one.rule}` {end}"
        elif one.rule not in broken and subject.profile in rules[one.rule].profiles:
            kind, message = "suppression-unused", f"nothing breaks `{one.rule}` here"
        if kind:
            span: Span = first_line(locate(node, (key,))[0].span)
            yield OF_SUPPRESSIONS[kind], Sighting(span, message, fix)


def _safe(subject: Subject, found: list[tuple[AuditRule, Sighting]]) -> list[Violation]:
    """Return findings, the worst first, whose words and lines show no credential."""
    secrets = [
        node for one in subject.everyone for _, node in secret_scalars(one.root, secret_test(one))
    ]
    files = veiled((sighting.span for _, sighting in found), secrets)
    findings = {
        Violation(
            rule=rule.id,
            severity=rule.severity,
            message=one_line(veiled_text(sighting.message)),
            span=sighting.span._replace(file=files[id(sighting.span.file)]),
            fix=(sighting.fix or rule.fix) + sighting.more,
            why=rule.why,
        ): None
        for rule, sighting in found
    }
    return sorted(findings, key=_rank)


def _rank(finding: Violation) -> tuple[int, str, int, int]:
    span = finding.span
    return SEVERITIES.index(finding.severity), span.file.name, span.line, span.column
