"""The statements of a queue, on the table of runs and on Procrastinate's.

In: nothing. Out: statements for PostgreSQL. A run and its place in the queue know each other by the
run's ID, which is the `queueing_lock` of Procrastinate's job.
"""

from sqlalchemy import text

from assembler.runtime.scheduler.sql_tables import TABLE, statements

TASK = "assembler.run"
_NOW = "CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)"
_FACTS = "job, fire_ms, attempt, run_id, owner, is_exclusive, may_rerun"

QUEUE = text(
    """SELECT procrastinate_defer_jobs_v1(ARRAY[CAST(ROW(
        CAST(:queue AS varchar), CAST(:task AS varchar), 0, NULL, CAST(:run AS text),
        CAST(:arguments AS jsonb),
        CASE WHEN CAST(:wait AS float) > 0
             THEN clock_timestamp() + make_interval(secs => CAST(:wait AS float)) END
    ) AS procrastinate_job_to_defer_v1)])"""
)
BEGIN = text(
    f"""UPDATE {TABLE} SET state = 'running', owner = CAST(:owner AS text), started_ms = now,
        lease_ms = now + CAST(:lease AS BIGINT)
    FROM (SELECT {_NOW} AS now) AS clock WHERE run_id = :run AND state = 'queued'
    RETURNING fire_ms, attempt, started_ms"""  # noqa: S608  # our own text
)
FINISH = text(f"{statements('postgresql').finish.text} RETURNING {_FACTS}")
# Both are seen by one snapshot: a run leaves its state before its place in the queue is given up.
LOSE_UNQUEUED = text(
    f"""UPDATE {TABLE} AS run SET state = 'lost', finished_ms = {_NOW}
    WHERE state = 'queued' AND NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs AS place
        WHERE place.queueing_lock = run.run_id AND place.status IN ('todo', 'doing'))
    RETURNING {_FACTS}"""  # noqa: S608  # as above
)
# fetched a lease ago, and not running: its worker died between, or lost an answer
STALLED = text(
    f"""SELECT place.id, run.state FROM procrastinate_jobs AS place
    LEFT JOIN {TABLE} AS run ON run.run_id = place.queueing_lock
    WHERE place.status = 'doing' AND place.task_name = :task AND place.queue_name = :queue
      AND coalesce(run.state, '') <> 'running'
      AND (SELECT max(at) FROM procrastinate_events AS event
           WHERE event.job_id = place.id AND event.type = 'started')
          < clock_timestamp() - make_interval(secs => CAST(:lease AS float))
    FOR UPDATE OF place SKIP LOCKED"""  # noqa: S608  # as above
)
PUT_BACK = text("SELECT procrastinate_retry_job_v2(:id, NULL, NULL, NULL, NULL)")
TAKE_OUT = text("SELECT procrastinate_finish_job_v1(:id, 'failed', true)")
