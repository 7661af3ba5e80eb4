"""The `scheduler` section → what its jobs and its store could never do.

In: the manifest, its tree, the declared types of its resources. Out: diagnostics. Refuses a store
that is neither an engine nor a cache, a fleet without a PostgreSQL engine or without its library,
and a jitter as long as the time between two fires; warns of several workers without a store, each of
which would run every job.
"""

import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, printable
from assembler.document.nodes import MappingNode, Node, NodePath, locate
from assembler.document.provenance import Held, Unknown, revealed
from assembler.manifest import Manifest
from assembler.manifest.duration import duration_text
from assembler.manifest.step import Job, Scheduler

if TYPE_CHECKING:
    from assembler.manifest.schedule import Schedule

_ANY_DAY = datetime(2001, 1, 1, tzinfo=UTC)
_FIRES = 10  # that tell the shortest time between two
_OF_A_STORE = ("claim", "heartbeat", "finish")
_DATABASE = re.compile(r"([a-z]+)(\+[a-z0-9]+)?://")
_QUEUES = frozenset({"postgres", "postgresql"})
Data = Callable[[Node, NodePath], Any]


def check_scheduler(
    manifest: Manifest,
    root: MappingNode,
    types: Mapping[str, type | None],
    data: Data,
    *,
    is_static: bool,
    process: Manifest | None = None,
    has_inner_jobs: bool = False,
) -> Iterator[Diagnostic]:
    """Find what is wrong with the section; `types` are the resources' declared classes.

    `process` is the outermost manifest, whose scheduler runs the jobs of all, `has_inner_jobs` tells
    whether a manifest that is mounted in this one has any.

    `data` gives what a node says, its references resolved. Where variables are not read (`is_static`), what they tell is left alone.
    """
    own, section = manifest.scheduler, (process or manifest).scheduler
    yield from _loops(manifest, root, section)
    if not section.has_fleet:
        yield from _only_of_a_fleet(manifest, root)
    if process is None or manifest is process:
        yield from _of_the_process(manifest, root, types, data, is_static, has_inner_jobs)
    for number, job in enumerate(own.jobs):
        node, _ = locate(root, ("scheduler", "jobs", number))
        if job.jitter is not None and (_is_known(node) or not is_static):
            yield from _jitter(job, section.timezone, node)


def _of_the_process(
    manifest: Manifest,
    root: MappingNode,
    types: Mapping[str, type | None],
    data: Data,
    is_static: bool,
    has_inner_jobs: bool,
) -> Iterator[Diagnostic]:
    """Judge the store and the queue, which all jobs of the process share."""
    section = manifest.scheduler
    runs = section.runs or (section.enabled and has_inner_jobs)
    yield from _fleet(manifest, root, types, data, is_static=is_static)
    if section.store_id is not None:
        yield from _store(section.store_id, locate(root, ("scheduler", "store"))[0], types)
    elif runs and not section.has_fleet and manifest.server.workers > 1:
        yield _no_store(manifest.server.workers, root)


def service_name(manifest: Manifest) -> str:
    """Return under which name the store keeps the jobs."""
    return printable(manifest.scheduler.name or manifest.app.title)


def schedule_of(job: Job, zone: str) -> "Schedule":
    """Return when a job fires; `zone` is the scheduler's."""
    from assembler.manifest.schedule import every, parse  # noqa: PLC0415  # only a manifest with jobs needs it

    place = job.timezone or zone
    if job.every is not None:
        return every(job.every, place)
    assert job.cron is not None  # noqa: S101  # a job has one of the two
    return parse(job.cron, place)


def _loops(manifest: Manifest, root: MappingNode, section: Scheduler) -> Iterator[Diagnostic]:
    """Refuse `once` where nothing keeps its claim."""
    for number, loop in enumerate(manifest.background):
        if not loop.once or (section.store and not section.has_fleet):
            continue
        node, _ = locate(root, ("background", number, "once"))
        message, remedy = "`once` and no `store`: a claim tells which process runs it", None
        if section.has_fleet:
            message = "`once` is not for `engine: procrastinate`, whose claims are for workers"
        else:
            remedy = "add `scheduler: {store: ${resources.…}}`, an engine or a cache"
        yield Diagnostic("scheduler-without-store", message, node.span, help=remedy)


def _fleet(
    manifest: Manifest,
    root: MappingNode,
    types: Mapping[str, type | None],
    data: Data,
    *,
    is_static: bool,
) -> Iterator[Diagnostic]:
    section = manifest.scheduler
    if not section.has_fleet:
        return
    engine, _ = locate(root, ("scheduler", "engine"))
    if not is_static and importlib.util.find_spec("procrastinate") is None:
        remedy = "pip install 'fastapi-assembler[fleet]'"
        message = "`engine: procrastinate` needs Procrastinate, which is not installed"
        yield Diagnostic("module-not-found", message, engine.span, help=remedy)
    if section.store_id is None:
        message = "`engine: procrastinate` and no `store`: its queue is kept there"
        remedy = "add `store: ${resources.…}` to `scheduler`, an engine of PostgreSQL"
        yield Diagnostic("scheduler-without-store", message, engine.span, help=remedy)
        return
    yield from _queue(section.store_id, root, types, data)


def _queue(
    name: str, root: MappingNode, types: Mapping[str, type | None], data: Data
) -> Iterator[Diagnostic]:
    """Refuse what is no engine of PostgreSQL, by its type, or by an option that is called `url`."""
    node, _ = locate(root, ("scheduler", "store"))
    declared = types.get(name)
    if declared is not None and _may_store(declared) and not _may_queue(declared):
        message = f"a queue is kept in PostgreSQL: a `{declared.__name__}` is no engine of it"
        yield Diagnostic("bad-value", message, node.span)
    path = ("resources", name, "with", "url")
    place, key = locate(root, path)
    if key is None:
        return
    url = data(place, path)
    text = revealed(url.value if isinstance(url, Held) else url)
    known = _DATABASE.match(text) if isinstance(text, str) else None
    if known is not None and not isinstance(text, Unknown) and known[1] not in _QUEUES:
        message = f"a queue is kept in PostgreSQL, not in {known[1]}"
        yield Diagnostic("bad-value", message, node.span, notes=(Note(place.span, "its URL"),))


def _only_of_a_fleet(manifest: Manifest, root: MappingNode) -> Iterator[Diagnostic]:
    """Refuse what only workers heed: without them it would say what does not happen."""
    section = manifest.scheduler
    places = [("scheduler", name) for name in ("queue", "concurrency")]
    given: list[NodePath] = [place for place in places if getattr(section, place[1]) is not None]
    for number, job in enumerate(section.jobs):
        names = ("retries", "retry_wait")
        given += [("scheduler", "jobs", number, n) for n in names if n in job.model_fields_set]
    for place in given:
        node, key = locate(root, place)
        message = f"`{place[-1]}` is for `engine: procrastinate`"
        yield Diagnostic("bad-value", message, key or node.span)


def _store(name: str, node: Node, types: Mapping[str, type | None]) -> Iterator[Diagnostic]:
    declared = types.get(name)
    if declared is not None and not _may_store(declared):
        message = f"`store` takes an engine or a cache, not an object of type `{declared.__name__}`"
        remedy = "name a SQLAlchemy `AsyncEngine`, or what has a Redis client as `redis`"
        yield Diagnostic("bad-value", message, node.span, help=remedy)


def _may_store(declared: type) -> bool:
    """Tell whether an object of that class may be an engine, a Redis client, or hold one."""
    if inspect.isabstract(declared) or getattr(declared, "_is_protocol", False):
        return True
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in declared.__mro__}
    if "sqlalchemy.AsyncEngine" in names or all(hasattr(declared, name) for name in _OF_A_STORE):
        return True
    if names & {"redis.Redis", "redis.RedisCluster"}:
        return "asyncio" in declared.__module__
    inits = (getattr(vars(base).get("__init__"), "__code__", None) for base in declared.__mro__)
    assigned = {name for code in inits for name in getattr(code, "co_names", ())}
    return hasattr(declared, "redis") or "redis" in assigned  # which only `__init__` may show


def _may_queue(declared: type) -> bool:
    """Tell whether an object of that class may be an engine."""
    names = {f"{base.__module__.partition('.')[0]}.{base.__name__}" for base in declared.__mro__}
    is_open = inspect.isabstract(declared) or getattr(declared, "_is_protocol", False)
    return is_open or "sqlalchemy.AsyncEngine" in names


def _no_store(workers: int, root: MappingNode) -> Diagnostic:
    _, key = locate(root, ("scheduler",))
    jobs = locate(root, ("scheduler", "jobs"))[1] or key
    node, _ = locate(root, ("server", "workers"))
    return Diagnostic(
        "scheduler-without-store",
        f"{workers} workers and no `store`: each of them would run every job",
        node.span,
        notes=(Note(jobs, "the jobs"),) if jobs is not None else (),
        help="add `store: ${resources.…}` to `scheduler`, an engine or a cache",
        severity="warning",
    )


def _jitter(job: Job, zone: str, node: Node) -> Iterator[Diagnostic]:
    shortest = _shortest_wait(job, zone)
    if job.jitter is not None and shortest is not None and job.jitter >= shortest:
        message = f"`jitter` must be shorter than the {duration_text(shortest)} between two fires"
        yield Diagnostic("bad-value", message, locate(node, ("jitter",))[0].span)


def _shortest_wait(job: Job, zone: str) -> timedelta | None:
    fires = schedule_of(job, zone).fires(_ANY_DAY, _FIRES)
    return min((later - fire for fire, later in pairwise(fires)), default=None)


def _is_known(node: Node) -> bool:
    """Tell whether the times of a job stand in the text, not in variables."""
    found = (locate(node, (key,)) for key in ("cron", "every", "jitter", "timezone"))
    return not any(key and "${" in str(getattr(value, "value", "")) for value, key in found)
