"""`sql`: a manifest → its startup SQL, what of it is applied where, and its application alone.

In: the path of a manifest. Out: one line for each statement, or JSON. Status 0; with `--apply` 1
where a statement failed, whatever its `on_error`; 2 where a database cannot be reached to apply to.
"""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, complain, results_apart, show
from assembler.diagnostics.errors import ManifestError, UsageError

if TYPE_CHECKING:
    from assembler.plan.load import Plan
    from assembler.runtime.operations.tables import TablesState
    from assembler.runtime.sql.listing import Known
    from assembler.runtime.sql.steps import SqlAlone

_LOOK_LIMIT = timedelta(seconds=3)


class SqlFormat(StrEnum):
    """How `sql` prints its list."""

    text = "text"
    json = "json"


def sql(
    file: Annotated[
        Path, typer.Argument(help="A manifest.", envvar="ASSEMBLY", show_default=False)
    ],
    apply: Annotated[
        bool,
        typer.Option("--apply", help="Apply what is pending, as a start would, and nothing else."),
    ] = False,
    format: Annotated[SqlFormat, typer.Option(help="How to print.")] = SqlFormat.text,
) -> None:
    """Show the startup SQL and what of it is applied; with `--apply`, apply it."""
    from assembler.plan.load import load
    from assembler.runtime.recorder import is_well
    from assembler.runtime.sql import listing as sql_listing
    from assembler.runtime.sql.steps import sql_alone

    failure: ManifestError | None = None
    tables: TablesState | None = None
    with results_apart():
        plan = load(file)
        alone = sql_alone(plan, applies=apply)
        try:
            known, tables = asyncio.run(_run(plan, alone, is_apply=apply))
        except ManifestError as error:
            failure, known = error, {}
    facts = sql_listing.facts(plan, known, alone.assembly.steps if apply else None)
    facts["tables"] = None if tables is None else {"store": alone.store, **tables.as_dict()}
    if format is SqlFormat.json:
        show(json.dumps(facts, indent=2))
    else:
        show(sql_listing.as_text(facts))
    if failure is not None:
        raise failure
    is_done = all(map(is_well, alone.assembly.steps)) and (tables is None or tables.is_current)
    if apply and not is_done:
        raise typer.Exit(INVALID)


async def _run(
    plan: "Plan", alone: "SqlAlone", *, is_apply: bool
) -> "tuple[dict[str, Known], TablesState | None]":
    """Open the resources, look into each ledger (after applying, if asked), close them."""
    from assembler.runtime.operations.tables import tables_of

    if is_apply:
        await _reach(plan, alone)
    await alone.lifespan.start()
    try:
        known, tables = await _known(plan, alone), None
        if alone.store is not None:
            async with asyncio.timeout(None if is_apply else _LOOK_LIMIT.total_seconds()):
                tables = await tables_of(alone.engines[alone.store], applies=is_apply)
        if tables is not None and tables.error is not None:
            tables = replace(tables, error=plan.secrets.scrub(tables.error))
    except TimeoutError:
        return known, None
    else:
        return known, tables
    finally:
        await alone.lifespan.stop()


async def _reach(plan: "Plan", alone: "SqlAlone") -> None:
    """Raise one clear error for a database that cannot be reached."""
    from assembler.runtime.sql.applying import look
    from assembler.runtime.sql.work import SqlError

    for step in plan.sql:
        try:
            await look(alone.engines[step.database], [], step.entry.timeout / 2)
        except SqlError as error:
            reason = plan.secrets.scrub(str(error))
            raise UsageError(f"database `{step.database}` cannot be reached: {reason}") from None


async def _known(plan: "Plan", alone: "SqlAlone") -> "dict[str, Known]":
    """Return what each database has of the plan's statements; None for one that is away."""
    from assembler.runtime.sql.applying import look
    from assembler.runtime.sql.work import SqlError

    known: dict[str, Known] = {}
    for name in dict.fromkeys(step.database for step in plan.sql):
        steps = [step for step in plan.sql if step.database == name]
        hashes = [item.hash for step in steps for item in step.statements]
        engine = alone.engines[name]
        try:
            known[name] = (engine.dialect.name, await look(engine, hashes, _LOOK_LIMIT))
        except SqlError as error:
            known[name] = (engine.dialect.name, None)
            reason = plan.secrets.scrub(str(error))
            complain(f"note: database `{name}` cannot be reached: {reason}")
    return known
