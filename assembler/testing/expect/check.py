"""A plan → whether the application that it makes meets all that is expected of it.

In: a plan, the variables by which it was made, objects that stand for its resources. Out: a
`Result` for each expectation, of an application that was started and stopped for it. Refuses a
manifest that expects nothing: a test that tests nothing is no pass.
"""

from collections.abc import Mapping
from typing import Any

from assembler.application.build import build
from assembler.diagnostics.errors import UsageError
from assembler.document.extends import shown_name
from assembler.plan.load import Plan
from assembler.testing.expect.exchange import started
from assembler.testing.expect.run import Result, run
from assembler.testing.expect.written import expectations_of


async def try_all(
    plan: Plan, environment: Mapping[str, str], resources: Mapping[str, Any] | None = None
) -> list[Result]:
    """Build and start the application, send the requests of `expect`, and stop it.

    Raises `UsageError` where nothing is expected, and what the build and the start raise.
    """
    expected = expectations_of(plan, environment)
    if not expected:
        name = shown_name(plan.document.path)
        raise UsageError(f"{name} expects nothing: write requests under `expect`")
    app = build(plan, resources)
    async with started(app) as state:
        return await run(plan, app, expected, state=state)
