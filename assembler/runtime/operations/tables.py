"""The tables of a scheduler's store → those of this version.

In: a store in a database. Out: the version that its tables have; the statements of later versions,
applied once over all replicas as startup SQL is: each in a transaction of its own, indexes
concurrently, under one lock. Where the role may not do that, the texts for somebody who may. Claims
need none of it: jobs run by older tables as well.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import File, Span
from assembler.manifest.step import Startup
from assembler.plan.sql.statement import SqlStatement, SqlStep, hash_of
from assembler.plan.sql.texts import SqlText
from assembler.runtime.sql.applying import Applier, is_no_file
from assembler.runtime.sql.work import SqlError

STEP = "scheduler tables"
_LIMIT = timedelta(minutes=30)  # to build an index beside millions of runs


@dataclass(frozen=True, slots=True)
class TablesState:
    """The version of the tables and the one that is wanted; why they are behind, and what to run."""

    version: int
    wanted: int
    error: str | None = None
    sql: str | None = None

    @property
    def is_current(self) -> bool:
        """Whether nothing is to be done."""
        return self.error is None and self.version >= self.wanted

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {"version": self.version, "wanted": self.wanted, "error": self.error}


async def tables_of(engine: Any, *, applies: bool) -> TablesState | None:
    """Return the state of the tables in a scheduler's database, brought up where it `applies`.

    None for a database that keeps no claims, and for a file that is not there: to look would make it.
    """
    from assembler.runtime.scheduler.stores import store_of  # noqa: PLC0415  # many rooms

    try:
        store = store_of(engine)
    except ValueError:
        return None
    if not hasattr(store, "version") or (is_no_file(engine) and not applies):
        return None
    try:
        return await (upgrade(store, engine) if applies else look_at_tables(store))
    except Exception as error:  # noqa: BLE001  # whatever a driver raises
        return TablesState(0, 0, failure_of(error))


async def look_at_tables(store: Any) -> TablesState | None:
    """Return the state of the tables; None where the store has none that could be behind."""
    ask = getattr(store, "version", None)
    if not callable(ask):
        return None
    version, wanted = await ask()
    return TablesState(version, wanted, sql=None if version >= wanted else script(store))


async def upgrade(store: Any, engine: Any) -> TablesState | None:
    """Bring the tables to the wanted version; what keeps it from that is told, not raised."""
    state = await look_at_tables(store)
    if state is None or state.is_current:
        return state
    applier = Applier(_step(store, engine), engine)
    try:
        for statement in applier.step.statements:
            await applier.apply(statement)
    except SqlError as error:
        return TablesState(state.version, state.wanted, str(error), script(store))
    except Exception as error:  # noqa: BLE001  # whatever a driver raises
        return TablesState(state.version, state.wanted, failure_of(error), script(store))
    finally:
        await applier.close()
    return await look_at_tables(store)


def script(store: Any) -> str:
    """Return the statements as a text that a person can run."""
    return "\n".join(f"{said};" for _, said in _statements(store))


def _statements(store: Any) -> list[tuple[str, str]]:
    from assembler.runtime.scheduler.sql_tables import upgrade_statements  # noqa: PLC0415  # heavy

    return upgrade_statements(store.kind)


def _step(store: Any, engine: Any) -> SqlStep:
    said = _statements(store)
    statements = []
    for label, text in said:
        file = File(STEP, text)
        source = SqlText(text, file)
        span = Span(file, 1, 1, 1, 1)
        statements.append(SqlStatement(label, text, hash_of(text), span, True, source))
    entry = Startup.model_construct(
        id=STEP,
        database="",
        dialect=None,
        timeout=_LIMIT,
        lock_timeout=timedelta(seconds=5),
        statement_timeout=_LIMIT,
        always=True,  # the ledger may know them of tables that somebody has dropped
    )
    place = Span(File(STEP, ""), 1, 1, 1, 1)
    return SqlStep(entry, STEP, tuple(statements), place, store.kind)
