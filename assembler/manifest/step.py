"""The entries that run: steps of the start, jobs, functions of the end.

In: plain data. Out: one model per entry, and the section of the scheduler. Refuses a step that is
both a function and SQL, or neither, and a job without one clock.
"""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from assembler.manifest.duration import Duration, duration_text
from assembler.manifest.entry import Entry
from assembler.manifest.section import (
    Cron,
    Dialect,
    ImportPath,
    OnError,
    ResourceText,
    Section,
    Timezone,
    resource_id,
)

_SECOND = timedelta(seconds=1)


def _at_least_a_second(value: timedelta) -> timedelta:
    if value < _SECOND:
        raise ValueError(f"must be at least `{duration_text(_SECOND)}`")
    return value


_Seconds = Annotated[Duration, AfterValidator(_at_least_a_second)]


class Statement(Section):
    """One SQL statement, as text or as a file relative to the manifest that says it."""

    label: str = Field(
        description="Names the statement in logs and reports.",
        examples=["listing_kind + floor_plan"],
    )
    run: str | None = Field(
        None,
        description="The statement itself; no references are resolved in it.",
        examples=["CREATE INDEX CONCURRENTLY IF NOT EXISTS listing_price ON listing (price)"],
    )
    file: str | None = Field(
        None,
        description="A file with the statement, relative to this manifest.",
        examples=["sql/listing_price.sql"],
    )
    transaction: bool = Field(
        True,
        description="Run it in a transaction; `false` for what commits by itself, such as a `CALL` of a procedure. What a database refuses inside one, such as `CREATE INDEX CONCURRENTLY`, runs outside anyway.",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> "Statement":
        if (self.run is None) == (self.file is None):
            raise ValueError("takes either `run` or `file`")
        return self


Enabled = Annotated[
    bool,
    Field(
        description="Whether it runs at all; it is checked all the same. Where only a reference tells, reviews take it for true.",
        examples=[True],  # what stands for a value that nobody knows yet
    ),
]


class LifespanFunction(Entry):
    """What gives an async context manager, entered anew at each start with the app."""

    timeout: Duration = Field(timedelta(seconds=30), description="Bounds the entering.")
    close_timeout: Duration = Field(timedelta(seconds=10), description="Bounds the leaving.")


class Startup(Section):
    """One step of the start, after the resources are open: a function, or SQL."""

    id: str = Field(
        "",
        min_length=1,
        description="Names the step for overlays, logs and reports; without it `use` does.",
        examples=["seed"],
    )
    enabled: Enabled = True
    use: ImportPath | None = Field(None, description="The function that is the step.")
    with_: dict[str, Any] = Field(
        {}, alias="with", repr=False, description="Keyword arguments of what `use` names."
    )
    on_error: OnError = Field(
        "fail",
        description="What a failure does: `fail` ends the start, `degrade` serves and readiness says so, `warn` logs it and goes on.",
    )
    timeout: Duration = Field(timedelta(seconds=30), description="Bounds the step.")
    sql: list[Statement] | None = Field(
        None,
        description="Statements in order, each its own transaction, applied once over all replicas.",
    )
    database: ResourceText | None = Field(
        None, description="The engine that runs `sql`.", examples=["${resources.db}"]
    )
    dialect: Dialect | None = Field(
        None, description="Run only on this dialect of SQL.", examples=["postgresql", "sqlite"]
    )
    lock_timeout: Duration = Field(
        timedelta(seconds=1), description="Longest wait of a statement for a lock."
    )
    statement_timeout: Duration = Field(
        timedelta(seconds=30), description="Longest run of a statement."
    )
    always: bool = Field(False, description="Run at every start, not once.")

    @model_validator(mode="after")
    def _is_function_or_sql(self) -> "Startup":
        if (self.use is None) == (self.sql is None):
            raise ValueError("a step takes either `use` or `sql`")
        only_sql = {"database", "dialect", "lock_timeout", "statement_timeout", "always"}
        if self.sql is None and (extra := sorted(only_sql & self.model_fields_set)):
            raise ValueError(f"`{extra[0]}` is for a step with `sql`")
        if self.sql is not None and self.database is None:
            raise ValueError(
                "a step with `sql` takes `database`, a reference such as `${resources.db}`"
            )
        if self.sql is not None and "with_" in self.model_fields_set:
            raise ValueError("`with` is for a step with `use`")
        return self


class Job(Entry):
    """A function that runs by the clock."""

    enabled: Enabled = True

    cron: Cron | None = Field(
        None,
        description="A crontab line, a field for seconds in front if need be; Sunday is 0 and 7, names work. Or `@hourly`, `@daily` and the like.",
        examples=["*/5 * * * *", "0 9 * * MON-FRI"],
    )
    every: _Seconds | None = Field(
        None,
        description="An interval of at least 1s, anchored to the epoch, in place of `cron`.",
        examples=["30s"],
    )
    timezone: Timezone | None = Field(
        None,
        description="Where the clock of `cron` stands; without it the scheduler's.",
        examples=["Asia/Kolkata"],
    )
    timeout: Duration | None = Field(
        None, description="Ends a run that takes longer.", examples=["2m"]
    )
    grace: _Seconds = Field(
        timedelta(seconds=60), description="How late a tick may still run; at least 1s."
    )
    jitter: Duration | None = Field(
        None, description="Delays each run by a random time up to this.", examples=["10s"]
    )
    overlap: Literal["forbid", "allow", "replace"] = Field(
        "forbid",
        description="What a tick does while the last run goes on: `forbid` skips it, `allow` runs beside it, `replace` ends the last run.",
    )
    on_crash: Literal["skip", "rerun"] = Field(
        "skip",
        description="What becomes of a run whose process died: `skip` leaves it, `rerun` runs it again.",
    )

    retries: int = Field(
        0,
        ge=0,
        le=100,
        description="How often workers try a run again that failed or timed out; for `engine: procrastinate`.",
    )
    retry_wait: Duration = Field(
        timedelta(seconds=10),
        description="How long the first retry waits; each further one twice as long, up to an hour.",
    )

    @model_validator(mode="after")
    def _has_one_clock(self) -> "Job":
        if (self.cron is None) == (self.every is None):
            raise ValueError("a job takes either `cron` or `every`")
        return self


class Scheduler(Section):
    """The jobs, and where their claims are kept."""

    enabled: bool = Field(True, description="Whether this process runs jobs.")
    timezone: Timezone = Field(
        "UTC", description="Where the clock of `cron` stands.", examples=["Asia/Kolkata"]
    )
    store: ResourceText | None = Field(
        None,
        description="Where claims are kept, so that a tick runs once over all processes: an engine or cache.",
        examples=["${resources.db}"],
    )
    engine: Literal["process", "procrastinate"] = Field(
        "process",
        description="Who runs what the clock claims: `process` itself, or workers (`assembler worker`) that take it from a Procrastinate queue in the store, which is PostgreSQL then.",
    )
    queue: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9_.-]{1,40}$",
        description="The queue of `engine: procrastinate`; without it `assembler`.",
        examples=["mail"],
    )
    concurrency: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="Runs at once in one worker of `engine: procrastinate`; without it 4.",
    )
    name: str | None = Field(
        None,
        pattern=r"^[^\x00-\x1f\x7f]{1,100}$",
        description="The service, among those that share the store: what has another name has other jobs. Without it the title of `app`.",
        examples=["estate"],
    )
    lease: _Seconds = Field(
        timedelta(seconds=30),
        description="How long a run may be without a sign of life before it counts as lost, at least 1s; renewed at a third of it.",
    )
    close_timeout: Duration = Field(
        timedelta(seconds=10),
        description="How long runs may go on when the process stops, before they are cancelled.",
    )
    retention: Duration = Field(
        timedelta(days=7),
        description="How long a database keeps the rows of runs; at least twice the `grace`, and the last one of a job stays.",
    )
    threads: int = Field(
        8, ge=1, le=1024, description="Synchronous jobs that run at once in one process."
    )
    context: ImportPath | None = Field(
        None,
        description="A function that is called with the ID of each run, in the run's own context, such as one that sets the request ID for logs.",
        examples=["shop.logs.set_request_id"],
    )
    jobs: list[Job] = Field([], description="What runs by the clock.")

    @property
    def store_id(self) -> str | None:
        """The resource that `store` names."""
        return resource_id(self.store)

    @property
    def runs(self) -> bool:
        """Tell whether this process runs any job."""
        return self.enabled and any(job.enabled for job in self.jobs)

    @property
    def has_fleet(self) -> bool:
        """Tell whether workers run the jobs."""
        return self.engine == "procrastinate"


class Background(Entry):
    """An async function that runs by itself from the start to the stop, when it is cancelled."""

    enabled: Enabled = True
    on_crash: Literal["restart", "fail", "ignore"] = Field(
        "restart",
        description="What an exception does: `restart` runs it again after `backoff`, `fail` turns readiness off and ends the process, `ignore` leaves it.",
    )
    backoff: Duration = Field(
        timedelta(seconds=1),
        description="How long the first restart waits; each further one twice as long, up to a minute.",
    )
    once: bool = Field(
        False,
        description="Run it in one process of all replicas, by a claim in the store of `scheduler`.",
    )
    close_timeout: Duration = Field(
        timedelta(seconds=10), description="How long it may take to end once it is cancelled."
    )


class Shutdown(Entry):
    """A function that runs at the end, before the resources are closed."""

    enabled: Enabled = True

    timeout: Duration = Field(
        timedelta(seconds=10), description="Bounds the function; the others run whatever it does."
    )
