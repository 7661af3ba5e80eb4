"""The table of runs, and the statements on it, for PostgreSQL and SQLite.

In: the name of a dialect. Out: its statements. Each may be made by any number of processes at once;
only making the table takes a lock: PostgreSQL's `IF NOT EXISTS` is no protection against another
one at the same moment. Times are milliseconds by the database's own clock.
"""

from dataclasses import dataclass
from functools import cache
from string import Template

from sqlalchemy import TextClause, text

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
INSTANCES_ARE_THERE = text(f"SELECT to_regclass('{INSTANCES}')")
IS_THERE = text(f"SELECT to_regclass('{TABLE}_leases')")  # the last thing that is made
LOCK_TO_CREATE = text(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'))")
# two that replace each other at the same moment would not see one another's rows
LOCK_TO_REPLACE = text(f"SELECT pg_advisory_xact_lock(hashtext('{TABLE}'), hashtext(:job))")

_DIALECTS = {
    "postgresql": {
        "now": "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)",
        "jobs": "SELECT jsonb_array_elements_text(CAST(:jobs AS jsonb))",
        "lock": "FOR UPDATE",
    },
    "sqlite": {
        # `unixepoch('subsec')` is newer than what some Pythons bring
        "now": "CAST(round((julianday('now') - 2440587.5) * 86400000) AS INTEGER)",
        "jobs": "SELECT value FROM json_each(:jobs)",
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
        "clock": f"(SELECT {own['now']} AS now) AS clock",
    }  # own text
    words["columns"] = "job, fire_ms, attempt, run_id, owner, state, is_exclusive, may_rerun"
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
    "last": """
        SELECT job, fire_ms, attempt, run_id, owner, state, started_ms, finished_ms, lag_ms,
               duration_ms, error
        FROM $runs AS run WHERE job IN ($jobs) AND fire_ms =
            (SELECT max(fire_ms) FROM $runs AS other WHERE other.job = run.job)
        ORDER BY attempt""",
    "counts": "SELECT job, state, count(*) FROM $runs GROUP BY job, state",
    "prune": """
        DELETE FROM $runs WHERE job = :job AND NOT $active
        AND fire_ms < $now - CAST(:keep AS BIGINT)
        AND fire_ms < (SELECT max(fire_ms) FROM $runs AS other WHERE other.job = :job)""",
}
