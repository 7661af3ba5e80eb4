"""Rules about startup SQL: the table of `assembler.plan.sql`, as rules of the audit.

In: a `Subject`. Out: sightings, at their place in the manifest or in the SQL file. Refuses nothing;
what could not be parsed is told by `check`.
"""

from collections.abc import Callable, Iterator

from assembler.plan.sql import rules as table
from assembler.review.audit.rule import SERVED, Rule, Sighting
from assembler.review.audit.subject import Subject

_WHY = {
    table.AGAIN: "a statement whose text changes is applied again, to what the older text has made",
    table.DANGER: "the release that still runs uses the same tables meanwhile",
}


def _finder(rule: str) -> Callable[[Subject], Iterator[Sighting]]:
    def find(subject: Subject) -> Iterator[Sighting]:
        for finding in subject.sql_findings:
            if finding.rule == rule:
                told = finding.diagnostic
                yield Sighting(told.span or subject.top, told.message)

    return find


RULES = tuple(
    Rule(
        rule.id,
        rule.severity,
        _WHY[rule.code],
        rule.fix,
        _finder(rule.id),
        SERVED,
    )
    for rule in table.RULES
)
