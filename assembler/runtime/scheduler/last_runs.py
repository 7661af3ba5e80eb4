"""A plan → what the last run of each of its jobs came to, for those who only look.

In: a plan. Out: by job, the facts of its last run, or the reason why nobody knows: a scheduler without
a store, whose runs only its own process knows, and a store that cannot be made or does not answer
soon. Makes the store and what it is made from, opens none of them, makes no tables, and closes what
it has used.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from fastapi import FastAPI

from assembler.diagnostics.exceptions import failure_of
from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import service_name
from assembler.runtime.hooks import resource_opening
from assembler.runtime.instances import Objects, needed_for
from assembler.runtime.scheduler.namespaced_store import named
from assembler.runtime.scheduler.stores import store_of

_LIMIT_SECONDS = 3.0
_NO_TABLE = ("42P01", "no such table")  # the scheduler makes them at its first start


class LastRuns(NamedTuple):
    """The facts of the last runs, by job; `unknown` is why they are not known."""

    runs: dict[str, dict[str, Any]]
    unknown: str | None = None


async def last_runs(plan: Plan) -> LastRuns:
    """Ask the store."""
    name = plan.manifest.scheduler.store_id
    if name is None:
        return LastRuns({}, "the scheduler has no `store`, so only its own process knows")
    objects = Objects(plan, FastAPI())
    objects.openings(only=needed_for(plan, [name]))
    if name not in objects.resources:
        reasons = [fault.message for fault in objects.faults]
        return LastRuns({}, reasons[0] if reasons else f"`{name}` could not be made")
    value = objects.resources[name]
    try:
        async with asyncio.timeout(_LIMIT_SECONDS):
            store = named(store_of(value), service_name(plan.manifest))
            runs = await store.last_runs([job.id for job in plan.jobs])
    except TimeoutError:
        return LastRuns({}, f"the store `{name}` did not answer within {_LIMIT_SECONDS:g}s")
    except Exception as error:  # noqa: BLE001  # whatever a driver raises
        if any(sign in f"{_state(error)} {error}" for sign in _NO_TABLE):
            return LastRuns({})
        reason = plan.secrets.scrub(failure_of(getattr(error, "orig", None) or error))
        return LastRuns({}, f"the store `{name}` does not answer: {reason}")
    finally:
        await _leave(plan, objects.resources)
    return LastRuns({job: run.as_dict() for job, run in runs.items()})


async def _leave(plan: Plan, resources: Mapping[str, Any]) -> None:
    """Close what was made, one after the other, each within its time and whatever it raises."""
    for component in plan.resources:
        if component.id in resources:
            with suppress(Exception):
                async with asyncio.timeout(_LIMIT_SECONDS):
                    await resource_opening(component, resources[component.id]).leave()


def _state(error: BaseException) -> object:
    return getattr(getattr(error, "orig", None), "sqlstate", None)
