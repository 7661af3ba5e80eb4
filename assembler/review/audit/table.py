"""The rules of the audit in one table, as `assembler audit --rules` prints it.

In: the rules of each subject. Out: `RULES`, by their ids, in the order in which they are read.
Ids are stable: suppressions and code hosts key on them.
"""

from types import MappingProxyType

from assembler.review.audit import (
    access,
    code,
    cors,
    exposure,
    lifetime,
    limits,
    literals,
    processes,
    schedule,
    serverless,
    tokens,
)
from assembler.review.audit.rule import AuditRule

_ROOMS = (
    cors,
    exposure,
    limits,
    access,
    tokens,
    literals,
    processes,
    schedule,
    lifetime,
    serverless,
    code,
)
RULES = MappingProxyType({rule.id: rule for room in _ROOMS for rule in room.RULES})

# What the audit says of suppressions; these cannot be silenced.
OF_SUPPRESSIONS: MappingProxyType[str, AuditRule] = MappingProxyType(
    {
        rule.id: rule
        for rule in (
            AuditRule(
                "suppression-expired",
                "low",
                "what it silenced counts again",
                "repair what the rule says, or give a new reason and day",
                lambda subject: (),
            ),
            AuditRule(
                "suppression-unknown",
                "low",
                "it silences nothing, so a rule that was meant still counts",
                "correct the name, or take it out",
                lambda subject: (),
            ),
            AuditRule(
                "suppression-unused",
                "low",
                "it would silence the rule when that is broken anew",
                "take it out",
                lambda subject: (),
            ),
        )
    }
)
