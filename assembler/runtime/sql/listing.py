"""The startup SQL of a plan → what `sql` prints.

In: a plan, what the ledgers have of it, the steps of a run. Out: facts for programs, and the same
as text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from assembler.diagnostics.span import printable
from assembler.plan.load import Plan
from assembler.plan.sql.lint import findings
from assembler.plan.sql.scanner import scan
from assembler.plan.sql.statement import SqlStatement, SqlStep
from assembler.runtime.report import Step
from assembler.runtime.sql.ledger import Applied

Known = tuple[str, Mapping[str, Applied] | None]  # the engine's dialect, and what its ledger has


def facts(
    plan: Plan, known: Mapping[str, Known], steps: Sequence[Step] | None = None
) -> dict[str, Any]:
    """Describe each statement; with the `steps` of a run, what became of it."""
    told: dict[int, list[dict[str, Any]]] = {}
    for _, statement, finding in findings(plan.sql):
        place = {"rule": finding.rule, "severity": finding.severity}
        told.setdefault(id(statement), []).append(place | finding.diagnostic.as_dict())
    ran = {(step.id, step.label): step for step in steps or ()}
    listed = []
    for step in plan.sql:
        dialect, applied = known.get(step.database, (step.dialect, None))
        for statement in step.statements:
            fact = _fact(step, statement, dialect, applied)
            fact["warnings"] = told.get(id(statement), [])
            if steps is not None:
                fact |= _outcome(ran.get((step.entry.id, statement.label)))
            listed.append(fact)
    return {"format": 1, "manifest": plan.name, "statements": listed}


def as_text(told: dict[str, Any]) -> str:
    """Draw the statements of `facts` as aligned lines, their warnings below them."""
    listed, tables = told["statements"], told.get("tables")
    more = [] if tables is None else [_of_tables(tables)]
    if not listed:
        return "\n".join([f"{told['manifest']}: no startup SQL", *more])
    rows = [_row(fact) for fact in listed]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = [told["manifest"]]
    for fact, row in zip(listed, rows, strict=True):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
        if fact.get("error"):
            lines.append(f"    {printable(fact['error'])}")
        for warning in fact["warnings"]:
            place = f"{warning['file']}:{warning['line']}:{warning['column']}"
            lines.append(f"    {warning['rule']}: {warning['message']}")
            lines.append(f"      {place}" + (f"  {warning['help']}" if warning["help"] else ""))
    return "\n".join([*lines, *more])


def _of_tables(told: dict[str, Any]) -> str:
    """Say how far the tables of the scheduler's store are."""
    what = f"  the scheduler's tables  {told['store']}  "
    if told["error"]:
        return f"{what}{printable(told['error'])}"
    if told["version"] >= told["wanted"]:
        return f"{what}version {told['version']}"
    return f"{what}version {told['version']} of {told['wanted']}, the rest is pending"


def _fact(
    step: SqlStep, statement: SqlStatement, dialect: str, applied: Mapping[str, Applied] | None
) -> dict[str, Any]:
    row = applied.get(statement.hash) if applied is not None else None
    state = "unknown" if applied is None else "applied" if row else "pending"
    if step.entry.dialect not in {None, dialect}:
        state, row = "other-dialect", None
    return {
        "step": step.entry.id,
        "label": statement.label,
        "database": step.database,
        "dialect": step.entry.dialect or dialect,
        "transaction": not statement.runs_alone(list(scan(statement.text, dialect)), dialect),
        "always": step.entry.always,
        "hash": statement.hash,
        "file": statement.span.file.name,
        "line": statement.span.line,
        "state": state,
        "applied_at": row.applied_at if row else None,
    }


def _outcome(step: Step | None) -> dict[str, Any]:
    if step is None:
        return {"outcome": "not-run", "milliseconds": None, "error": None, "detail": None}
    return {
        "outcome": step.outcome,
        "milliseconds": step.milliseconds,
        "error": step.error,
        "detail": step.detail,
    }


def _row(fact: dict[str, Any]) -> tuple[str, str, str, str, str]:
    kind = "in a transaction" if fact["transaction"] else "outside a transaction"
    state = fact["state"]
    if state == "applied":
        state = f"applied {fact['applied_at'][:19]}"
    if fact["always"]:
        state = "at every start"
    if "outcome" in fact:
        state = fact["outcome"] + (f", {fact['detail']}" if fact["detail"] else "")
    name = printable(f"{fact['step']}: {fact['label']}")
    return name, fact["database"], fact["dialect"], kind, state
