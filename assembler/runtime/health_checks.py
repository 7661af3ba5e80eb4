"""The resources of an application → what readiness asks them.

In: the plan, the objects of its resources. Out: a `Check` for each that has a `ping` which takes no
arguments, awaited or run in a thread. What could not be opened yet is not asked: its absence is
told by its opening. A resource whose absence is only to be warned of is left out.
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from assembler.diagnostics.exceptions import failure_of
from assembler.plan.load import Plan
from assembler.runtime.report import Check
from assembler.runtime.task import call


def checks(plan: Plan, resources: Mapping[str, Any]) -> dict[str, Check]:
    """Return the checks by the ids of their resources, in the order of the manifest."""
    found = {}
    for component in plan.resources:
        ping = _ping(resources.get(component.id))
        if ping is not None and component.entry.on_error != "warn":
            is_needed = getattr(resources[component.id], "critical", True) is not False
            is_critical = component.entry.on_error == "fail" and is_needed
            found[component.id] = Check(partial(_ask, plan, ping), is_critical)
    return found


def _ping(value: Any) -> Any:
    try:
        ping: Any = value.ping
        inspect.signature(ping).bind()  # raises where it cannot be called like that
    except Exception:  # noqa: BLE001  # an object may raise when it is asked; some tell no signature
        return None
    return ping


async def _ask(plan: Plan, ping: Any) -> str | None:
    try:
        answer = await call(ping)
    except Exception as error:  # noqa: BLE001  # a driver may raise anything
        return plan.secrets.scrub(failure_of(error))
    return "says no" if answer is False else None
