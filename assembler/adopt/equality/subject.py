"""One of the two applications, in a guarded process of its own → what is seen of it.

In: where it comes from (`module:app`, or a manifest), the probes that it is sent, and whether it is
started. Out: plain data for the parent, which compares. `inspect_subject` looks at the application
alone; `run_subject` sends the probes as well, within two starts and stops where that is asked for.
"""

import asyncio
from collections.abc import Collection, Mapping
from contextlib import suppress
from types import FunctionType
from typing import Any

from assembler.adopt.equality.effects import effects_of
from assembler.adopt.equality.inspection import (
    InspectedApp,
    composing,
    inspect_application,
    state_of,
    unwrapped,
)
from assembler.adopt.equality.replay import replay
from assembler.adopt.equality.values import path_of
from assembler.adopt.guarded_process import Guard
from assembler.adopt.target import compose
from assembler.diagnostics.errors import AssemblerError, ManifestError
from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import one_line
from assembler.runtime.lifespan_client import LifespanClient

_STARTS = 2
_START_SECONDS = 60.0


def inspect_subject(argument: Mapping[str, Any], guard: Guard) -> dict[str, Any]:
    """Return the facts of the application that `argument` names, and no more."""
    app, _ = _built(argument)
    return _inspected(app, argument).facts


def run_subject(argument: Mapping[str, Any], guard: Guard) -> dict[str, Any]:
    """Return its facts, its answers to `probes`, and what its starts do where `lifespan` says so.

    Where it is given no probes it is the one of which they are made.
    """
    app, built = _built(argument)
    inspected = _inspected(app, argument)
    seen = {"facts": inspected.facts, "built": built, "loops": loops_of(app), "jobs": jobs_of(app)}
    probes = argument["probes"]
    if probes is None:
        from assembler.adopt.equality.probes import ProbeList  # noqa: PLC0415  # brings Hypothesis

        headers = [tuple(each) for each in argument["headers"]]
        probes = ProbeList(argument["replay_writes"], headers).of(inspected.facts)
    _reorder(inspected.apps[""], argument.get("order"))
    names = sorted(argument.get("composing") or composing(inspected.facts))
    found = observe(app, inspected, probes, names if argument["lifespan"] else None)
    return {**seen, "probes": probes, "composing": names, **found}


def observe(
    app: Any, inspected: InspectedApp, probes: list[Any], within: Collection[str] | None
) -> dict[str, Any]:
    """Send the probes; with `within`, in the first of two starts and stops, which are told.

    `within` names the functions whose calls in a start are no effect of it.
    """
    runner = asyncio.Runner()
    task = runner.get_loop().create_task(_observe(app, inspected, probes, within))
    while not task.done():
        # What ends a process leaves the loop, out of a task that a request has started.
        with suppress(SystemExit):
            runner.get_loop().run_until_complete(task)
    found = task.result()
    if not any(each.get("late") for each in found["answers"]):  # else their threads are waited for
        runner.close()
    return found


def _built(argument: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """Make the application; return it, and the functions that were called for it."""
    with effects_of() as built:
        if not argument.get("manifest"):
            return compose(argument["target"], is_factory=argument["factory"])[0], built
        from assembler.application.build import build  # noqa: PLC0415  # one of the two needs it
        from assembler.plan.load import load  # noqa: PLC0415  # as above
        from assembler.review.report import as_text  # noqa: PLC0415  # as above

        try:
            return build(load(argument["target"], {"logging": None})), built
        except ManifestError as error:
            name = one_line(argument["target"])
            text = as_text(error.diagnostics)
            raise AssemblerError(f"`{name}` is no valid manifest\n\n{text}") from None


def _inspected(app: Any, argument: Mapping[str, Any]) -> InspectedApp:
    try:
        return inspect_application(app)
    except TypeError as error:
        raise AssemblerError(f"`{argument['target']}`: {error}") from None


def loops_of(app: Any) -> int:
    """Count the jobs and loops of a manifest's application."""
    plan = _plan_of(app)
    return 0 if plan is None else len(plan.jobs) + len(plan.background)


def jobs_of(app: Any) -> list[str]:
    """Return the functions that a manifest's application runs as jobs."""
    plan = _plan_of(app)
    values = [] if plan is None else [job.target.value for job in plan.jobs]
    return [path_of(each) for each in values if isinstance(each, FunctionType)]


def _plan_of(app: Any) -> Any:
    router = unwrapped(app)[1].router
    lifespan = getattr(getattr(router, "lifespan", None), "lifespan", None)
    return getattr(lifespan, "plan", None)


def _state_of_mounts(app: Any) -> set[str]:
    """Return the names that the lifespans of mounted applications give to their requests alone."""
    return {name for route in app.router.routes for name in getattr(route, "state", None) or ()}


def _reorder(app: Any, order: list[int] | None) -> None:
    """Put the layers of an application, whose stack is not built yet, into another order."""
    if order is not None:
        app.user_middleware[:] = [app.user_middleware[index] for index in order]
        app.middleware_stack = None


async def _observe(
    app: Any, inspected: InspectedApp, probes: list[Any], within: Collection[str] | None
) -> dict[str, Any]:
    if within is None:
        return {"answers": await replay(app, probes, inspected, state={}), "starts": []}
    names = frozenset(within)
    answers: list[dict[str, Any]] = []
    starts = []
    for number in range(_STARTS):
        state: dict[str, Any] = {}
        client = LifespanClient(app, {}, state, is_test=True)
        start, is_up = await _observed(client.open, names)
        start["state"] = state_of(inspected.apps[""])
        start["requests"] = sorted(state)
        start["mounted"] = sorted(_state_of_mounts(unwrapped(app)[1]))
        if number == 0:
            answers = await replay(app, probes, inspected, state=state)
        stop, _ = await _observed(client.aclose, names) if is_up else ({"effects": []}, False)
        starts.append({"start": start, "stop": stop})
    return {"answers": answers, "starts": starts}


async def _observed(step: Any, composing: frozenset[str]) -> tuple[dict[str, Any], bool]:
    error: BaseException | None = None
    with effects_of(composing) as effects:
        try:
            async with asyncio.timeout(_START_SECONDS):
                await step()
                await effects.settle()
        except Exception as fault:  # noqa: BLE001  # told as what the start came to
            error = fault
    raised = None if error is None else failure_of(error)
    return {"effects": effects, "raises": raised}, error is None
