"""The SQL of a plan and the engines → steps of the lifespan.

In: a plan, the objects of its resources. Out: for each entry with SQL a `Group` that gives one step
for each statement: they share a connection and the time limit of their entry; or a lifespan of
nothing but those, for a release job. Refuses a `database` that is no async engine.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from fastapi import FastAPI

from assembler.diagnostics.errors import raise_faults
from assembler.plan.load import Plan
from assembler.plan.sql.statement import SqlStatement, SqlStep, is_engine, no_engine
from assembler.runtime.instances import Objects, needed_for
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.recorder import Group, Running
from assembler.runtime.report import Assembly, StepResult
from assembler.runtime.sql.applying import Applier
from assembler.runtime.sql.work import SqlError
from assembler.runtime.task import StepError, StepTimeout, bounded

_CLOSE_LIMIT = timedelta(seconds=5)
_LEAST_LIMIT = timedelta(milliseconds=100)  # for a statement to say that it was not tried


@dataclass(frozen=True, slots=True)
class SqlAlone:
    """The SQL of a plan without its application: its engines, and the lifespan that applies it.

    `store` is the resource that keeps what the scheduler does, where that is a database.
    """

    engines: dict[str, Any]
    assembly: Assembly
    lifespan: Lifespan
    store: str | None = None


def sql_alone(plan: Plan, *, applies: bool) -> SqlAlone:
    """Build the resources that the SQL of `plan` and its scheduler's store need; the lifespan opens
    them, and `applies` the SQL.

    Raises `ManifestError` where one of them cannot be made.
    """
    objects = Objects(plan, FastAPI())
    store = plan.manifest.scheduler.store_id
    wanted = [step.database for step in plan.sql]
    openings = objects.openings(only=needed_for(plan, [*wanted, *([store] if store else [])]))
    groups = sql_groups(plan, objects)
    raise_faults(objects.faults)
    assembly = Assembly(plan.name, plan.hash)
    startup: list[Running | Group] = [*groups] if applies else []
    lifespan = Lifespan(plan, assembly, openings, startup, [], [], is_told=False)
    is_database = store in objects.resources and is_engine(type(objects.resources[store]))
    return SqlAlone(objects.resources, assembly, lifespan, store if is_database else None)


def sql_groups(plan: Plan, objects: Objects) -> list[Group]:
    """Return the SQL of `plan` as steps of the start; what is no engine is noted as a fault."""
    made = objects.resources
    for step in plan.sql:
        if step.database in made and not is_engine(type(made[step.database])):
            objects.faults.append(no_engine(step, type(made[step.database])))
    return [_group(step, made.get(step.database)) for step in plan.sql]


def _group(step: SqlStep, engine: Any) -> Group:

    @asynccontextmanager
    async def steps() -> AsyncIterator[Iterator[Running]]:
        applier = Applier(step, engine)
        try:
            yield (_running(applier, statement) for statement in step.statements)
        finally:
            with suppress(StepTimeout):
                await bounded(_CLOSE_LIMIT, applier.close)

    return steps


def _running(applier: Applier, statement: SqlStatement) -> Running:
    entry = applier.step.entry
    left = timedelta(seconds=applier.remaining_seconds)
    return Running(
        id=entry.id,
        phase="startup",
        run=partial(_apply, applier, statement),
        span=statement.span,
        timeout=max(left, _LEAST_LIMIT),
        on_error=entry.on_error,
        label=statement.label,
    )


async def _apply(applier: Applier, statement: SqlStatement) -> StepResult:
    try:
        end = await applier.apply(statement)
    except SqlError as error:
        raise StepError(str(error)) from error
    return StepResult("skipped" if end.ending == "skipped" else "ok", end.detail or None)
