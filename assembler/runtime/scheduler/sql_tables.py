"""The tables of a scheduler's store, and the statements on them, for PostgreSQL and SQLite.

In: the name of a dialect. Out: its statements. Each may be made by any number of processes at once;
only making the tables takes a lock: PostgreSQL's `IF NOT EXISTS` is no protection against another
one at the same moment. Times are milliseconds by the database's own clock.

Claims need the tables of version 1 alone, which the first process makes. `UPGRADE` is what later
versions add; `VERSION` counts them, and stands in a table of its own.
"""

from dataclasses import dataclass
from functools import cache
from string import Template

from sqlalchemy import TextClause, text

from assembler.runtime.operations.orders import RECENT_MS
from assembler.runtime.scheduler.claims import EARLY_MS

TABLE = "assembler_job_runs"
CREATE = tuple(
    Template(said).substitute(runs=TABLE)
    for said in (
        """CREATE TABLE IF NOT EXISTS $runs (
            job TEXT NOT NULL,
            fire_ms BIGINT NOT NULL,
            attempt INTEGER NOT NULL,
            run_id TEXT NOT NULL,
            owner TEXT NOT NULL,
            state TEXT NOT NULL,
            is_exclusive INTEGER NOT NULL,
            may_rerun INTEGER NOT NULL,
            started_ms BIGINT NOT NULL,
            lease_ms BIGINT,
            finished_ms BIGINT,
            lag_ms BIGINT,
            duration_ms BIGINT,
            error TEXT,
            PRIMARY KEY (job, fire_ms, attempt)
        )""",
        "CREATE UNIQUE INDEX IF NOT EXISTS ${runs}_run ON $runs (run_id)",
        # one run of a job at a time, whoever claims: the promise of `overlap: forbid`
        """CREATE UNIQUE INDEX IF NOT EXISTS ${runs}_alone ON $runs (job)
            WHERE state IN ('queued', 'running') AND is_exclusive = 1""",
        "CREATE INDEX IF NOT EXISTS ${runs}_leases ON $runs (lease_ms) WHERE state = 'running'",
    )
)
INSTANCES = "assembler_instances"
CREATE_INSTANCES = f"""CREATE TABLE IF NOT EXISTS {INSTANCES} (
    service TEXT NOT NULL,
    instance TEXT NOT NULL,
    said TEXT NOT NULL,
    seen_ms BIGINT NOT NULL,
    PRIMARY KEY (service, instance)
)"""
ORDERS = "assembler_orders"
VERSIONS = "assembler_versions"
VERSION = 2
_ORDERS_OF_SERVICE = f"CREATE INDEX IF NOT EXISTS {ORDERS}_times ON {ORDERS} (service, at_ms)"
UPGRADE: tuple[tuple[str, str], ...] = (
    ("instances", CREATE_INSTANCES),
    (
        "orders",
        f"""CREATE TABLE IF NOT EXISTS {ORDERS} (
    id TEXT PRIMARY KEY,
    service TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    kind TEXT NOT NULL,
    target TEXT NOT NULL,
    value TEXT,
    actor TEXT NOT NULL,
    until_ms BIGINT,
    stands INTEGER NOT NULL
)""",
    ),
    ("orders by time", _ORDERS_OF_SERVICE),
    # runs of one state among a million
    (
        "runs by state",
        f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {TABLE}_states ON {TABLE} (job, state, fire_ms)",
    ),
    (
        "versions",
        f"""CREATE TABLE IF NOT EXISTS {VERSIONS} (
    part TEXT PRIMARY KEY,
    version INTEGER NOT NULL
)""",
    ),
    (
        "version",
        f"""INSERT INTO {VERSIONS} (part, version) VALUES ('scheduler', {VERSION})
    ON CONFLICT (part) DO UPDATE SET version = excluded.version""",  # noqa: S608  # our own text
    ),
)
"""By label, in order; each may be run again."""

VERSION_NOW = text(f"SELECT version FROM {VERSIONS} WHERE part = 'scheduler'")  # noqa: S608  # our own text


def upgrade_statements(dialect: str) -> list[tuple[str, str]]:
    """Return what makes the tables of this version, by label; SQLite builds no index beside others."""
    first = [(f"claims {number}", said) for number, said in enumerate(CREATE, 1)]
    every = [*first, *UPGRADE]
    if dialect == "sqlite":
        return [(label, said.replace(" CONCURRENTLY", "")) for label, said in every]
    return every


POSTGRES_TABLE = text("SELECT to_regclass(CAST(:name AS TEXT))")
SQLITE_TABLE = text("SELECT 1 FROM sqlite_master WHERE name = :name")
IS_THERE = text(f"SELECT to_regclass('{TABLE}_leases')")  # the last thing that is made
LOCK_TO_CREATE = text(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'))")
# two that replace each other at the same moment would not see one another's rows
LOCK_TO_REPLACE = text(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'), hashtext(:job))")

_DIALECTS = {
    "postgresql": {
        "now": "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
        "jobs": "SELECT jsonb_array_elements_text(CAST(:jobs AS jsonb)) AS job",
        "lock": "FOR UPDATE",
    },
    "sqlite": {
        # `unixepoch('subsec')` is newer than what some Pythons bring
        "now": "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "jobs": "SELECT value AS job FROM json_each(:jobs)",
        "lock": "",
    },
}


@dataclass(frozen=True, slots=True)
class Statements:
    """Everything that a store says to its database; `jobs` is a list in JSON."""

    now: TextClause
    claim: TextClause
    explain: TextClause
    skip: TextClause
    miss: TextClause
    replace: TextClause
    heartbeat: TextClause
    state: TextClause
    fence: TextClause
    finish: TextClause
    stale: TextClause
    lose: TextClause
    rerun: TextClause
    last: TextClause
    counts: TextClause
    prune: TextClause
    run: TextClause
    runs: TextClause
    runs_in_state: TextClause
    failures: TextClause
    again: TextClause
    give: TextClause
    replace_orders: TextClause
    orders: TextClause
    open_orders: TextClause
    forget_orders: TextClause
    announce: TextClause
    withdraw: TextClause
    instances: TextClause
    forget: TextClause


@cache
def statements(dialect: str) -> Statements:
    """Return the statements of a dialect. Raises KeyError for one that has none."""
    own = _DIALECTS[dialect]
    # one reading of the clock for a whole statement
    words = {
        **own,
        "runs": TABLE,
        "table": INSTANCES,
        "orders": ORDERS,
        "clock": f"(SELECT {own['now']} AS now) AS clock",
    }  # own text
    words["columns"] = "job, fire_ms, attempt, run_id, owner, state, is_exclusive, may_rerun"
    words["facts"] = (
        "fire_ms, attempt, run_id, owner, state, started_ms, finished_ms, lag_ms, duration_ms, error"
    )
    words["order"] = "id, kind, target, actor, value, until_ms - at_ms AS lasts_ms, at_ms, stands"
    words["recent"] = str(RECENT_MS)
    words["early"] = str(EARLY_MS)
    words["active"] = "state IN ('queued', 'running')"
    words["never"] = str(2**63 - 1)  # a run that waits for a worker has no lease to run out
    return Statements(
        **{name: text(Template(said).substitute(words)) for name, said in _TEXTS.items()}
    )


_TEXTS = {
    "announce": """
        INSERT INTO $table (service, instance, said, seen_ms)
        VALUES (CAST(:service AS TEXT), CAST(:instance AS TEXT), CAST(:said AS TEXT), $now)
        ON CONFLICT (service, instance)
        DO UPDATE SET said = excluded.said, seen_ms = excluded.seen_ms""",
    "withdraw": "DELETE FROM $table WHERE service = :service AND instance = :instance",
    "instances": "SELECT $now - seen_ms, said FROM $table WHERE service = :service",
    "forget": "DELETE FROM $table WHERE service = :service AND seen_ms < $now - 3600000",
    "now": "SELECT $now",
    "claim": """
        INSERT INTO $runs ($columns, started_ms, lease_ms)
        SELECT CAST(:job AS TEXT), CAST(:fire AS BIGINT), 1, CAST(:run AS TEXT),
               CAST(:owner AS TEXT), CAST(:state AS TEXT), CAST(:exclusive AS INTEGER),
               CAST(:rerun AS INTEGER), now, now + CAST(:lease AS BIGINT)
        FROM $clock
        WHERE CAST(:fire AS BIGINT) BETWEEN now - CAST(:grace AS BIGINT) AND now + $early
          AND NOT (CAST(:replaces AS INTEGER) = 1 AND EXISTS (
              SELECT 1 FROM $runs AS newer WHERE newer.job = CAST(:job AS TEXT)
              AND newer.$active AND newer.fire_ms > CAST(:fire AS BIGINT)))
        ON CONFLICT DO NOTHING
        RETURNING started_ms""",
    "explain": """
        SELECT now,
            (SELECT run_id FROM $runs WHERE job = CAST(:job AS TEXT)
             AND fire_ms = CAST(:fire AS BIGINT) ORDER BY attempt LIMIT 1) AS taken_by,
            (SELECT min(coalesce(lease_ms, $never)) FROM $runs WHERE job = CAST(:job AS TEXT)
             AND $active) AS busy_until_ms
        FROM $clock""",
    "skip": """
        INSERT INTO $runs ($columns, started_ms, finished_ms)
        SELECT CAST(:job AS TEXT), CAST(:fire AS BIGINT), 1, CAST(:run AS TEXT),
               CAST(:owner AS TEXT), 'skipped', 0, 0, now, now
        FROM $clock WHERE 1 = 1 ON CONFLICT DO NOTHING RETURNING run_id""",
    "miss": """
        INSERT INTO $runs ($columns, started_ms, finished_ms)
        SELECT CAST(:job AS TEXT), CAST(:fire AS BIGINT), 1, CAST(:run AS TEXT),
               '', 'missed', 0, 0, now, now
        FROM $clock WHERE CAST(:fire AS BIGINT) < now - CAST(:grace AS BIGINT)
        ON CONFLICT DO NOTHING RETURNING run_id""",
    "replace": """
        UPDATE $runs SET state = 'replaced', finished_ms = $now
        WHERE job = :job AND $active AND fire_ms < :fire""",
    "heartbeat": """
        UPDATE $runs SET lease_ms = $now + CAST(:lease AS BIGINT)
        WHERE run_id = :run AND state = 'running'""",
    "state": "SELECT state FROM $runs WHERE run_id = :run",
    "fence": "SELECT 1 FROM $runs WHERE run_id = :run AND state = 'running' $lock",
    "finish": """
        UPDATE $runs SET state = CAST(:state AS TEXT), finished_ms = $now,
            lag_ms = CAST(:lag AS BIGINT), duration_ms = CAST(:duration AS BIGINT),
            error = CAST(:error AS TEXT)
        WHERE run_id = :run AND state = 'running'""",
    "stale": "SELECT 1 FROM $runs WHERE state = 'running' AND lease_ms < $now LIMIT 1",
    "lose": """
        UPDATE $runs SET state = 'lost', finished_ms = $now
        WHERE state = 'running' AND lease_ms < $now AND job IN ($jobs)
        RETURNING job, fire_ms, attempt, run_id, owner, is_exclusive, may_rerun""",
    "rerun": """
        INSERT INTO $runs ($columns, started_ms, lease_ms)
        SELECT CAST(:job AS TEXT), CAST(:fire AS BIGINT), CAST(:attempt AS INTEGER),
               CAST(:run AS TEXT), CAST(:owner AS TEXT), CAST(:state AS TEXT),
               CAST(:exclusive AS INTEGER), CAST(:rerun AS INTEGER), now, now + CAST(:lease AS BIGINT)
        FROM $clock WHERE 1 = 1 ON CONFLICT DO NOTHING RETURNING run_id""",
    # for each job two steps into an index, however many runs there are
    "last": """
        SELECT run.job, $facts FROM ($jobs) AS wanted JOIN $runs AS run
            ON run.job = wanted.job AND run.fire_ms =
                (SELECT max(fire_ms) FROM $runs AS other WHERE other.job = wanted.job)
        ORDER BY attempt""",
    "run": "SELECT job, $facts FROM $runs WHERE run_id = :run",
    "runs": """
        SELECT job, $facts FROM $runs
        WHERE job = :job AND fire_ms >= :since AND fire_ms < :until
        ORDER BY fire_ms DESC, attempt DESC LIMIT :limit""",
    "runs_in_state": """
        SELECT job, $facts FROM $runs
        WHERE job = :job AND state = :state AND fire_ms >= :since AND fire_ms < :until
        ORDER BY fire_ms DESC, attempt DESC LIMIT :limit""",
    "failures": """
        SELECT run.job, count(*) FROM ($jobs) AS wanted JOIN $runs AS run ON run.job = wanted.job
        WHERE run.state IN ('failed', 'timeout', 'lost', 'missed')
          AND run.fire_ms > $now - CAST(:span AS BIGINT)
        GROUP BY run.job""",
    "again": """
        INSERT INTO $runs ($columns, started_ms, lease_ms)
        SELECT run.job, run.fire_ms, run.attempt + 1, CAST(:fresh AS TEXT), CAST(:owner AS TEXT),
               CAST(:state AS TEXT), CAST(:exclusive AS INTEGER), CAST(:rerun AS INTEGER),
               now, now + CAST(:lease AS BIGINT)
        FROM $runs AS run CROSS JOIN $clock
        WHERE run.run_id = :run AND run.state NOT IN ('ok', 'queued', 'running')
          AND NOT EXISTS (SELECT 1 FROM $runs AS later WHERE later.job = run.job
              AND later.fire_ms = run.fire_ms AND later.attempt > run.attempt)
        ON CONFLICT DO NOTHING RETURNING job, fire_ms, attempt, started_ms""",
    "give": """
        INSERT INTO $orders (id, service, at_ms, kind, target, value, actor, until_ms, stands)
        SELECT CAST(:id AS TEXT), CAST(:service AS TEXT), now, CAST(:kind AS TEXT),
               CAST(:target AS TEXT), CAST(:value AS TEXT), CAST(:actor AS TEXT),
               now + CAST(:lasts AS BIGINT), CAST(:stands AS INTEGER)
        FROM $clock WHERE 1 = 1 RETURNING at_ms""",
    "replace_orders": """
        UPDATE $orders SET stands = 0
        WHERE service = :service AND target = :target AND kind = :kind AND stands = 1""",
    "orders": """
        SELECT $order FROM $orders WHERE service = :service ORDER BY at_ms DESC, id LIMIT :limit""",
    "open_orders": """
        SELECT now, $order FROM $orders CROSS JOIN $clock WHERE service = :service AND
            (at_ms > now - $recent OR stands = 1 AND (until_ms IS NULL OR until_ms > now))
        ORDER BY at_ms, id""",
    "forget_orders": """
        DELETE FROM $orders
        WHERE service = :service AND at_ms < $now - CAST(:keep AS BIGINT)
          AND (stands = 0 OR until_ms < $now)""",
    "counts": "SELECT job, state, count(*) FROM $runs GROUP BY job, state",
    "prune": """
        DELETE FROM $runs WHERE job = :job AND NOT $active
        AND fire_ms < $now - CAST(:keep AS BIGINT)
        AND fire_ms < (SELECT max(fire_ms) FROM $runs AS other WHERE other.job = :job)""",
}
