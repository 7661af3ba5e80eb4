"""A plan → what the last run of each of its jobs came to, for those who only look.

In: a plan. Out: by job, the facts of its last run; nothing of a store that does not answer soon, or
of a scheduler without one, whose runs only its own process knows. Makes the resources as far as
the store, opens none of them, makes no tables, and closes what it has used.
"""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import FastAPI

from assembler.plan.load import Plan
from assembler.plan.sections.scheduler import service_name
from assembler.runtime.hooks import resource_opening
from assembler.runtime.instances import MISSING, Objects
from assembler.runtime.scheduler.namespaced_store import named
from assembler.runtime.scheduler.stores import store_of

_LIMIT_SECONDS = 3.0


async def last_runs(plan: Plan) -> dict[str, dict[str, Any]]:
    """Ask the store; whatever goes wrong there, it knows of no runs."""
    name = plan.manifest.scheduler.store
    if name is None:
        return {}
    objects = Objects(plan, FastAPI())
    for component in plan.resources:
        value = objects.made(component)
        if value is MISSING:
            return {}
        objects.resources[component.id] = value
        if name == f"${{resources.{component.id}}}":
            try:
                async with asyncio.timeout(_LIMIT_SECONDS):
                    store = named(store_of(value), service_name(plan.manifest))
                    runs = await store.last_runs([job.id for job in plan.jobs])
            except Exception:  # noqa: BLE001  # the store is away, or was never used
                return {}
            finally:
                with suppress(Exception):
                    async with asyncio.timeout(_LIMIT_SECONDS):
                        await resource_opening(component, value).leave()
            return {job: run.as_dict() for job, run in runs.items()}
    return {}
