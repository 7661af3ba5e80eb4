"""What an administrator's assistant can do with the estate service.

In: a server, the database, widgets. Out: tools on that server: create and change listings, count
what there is, run a job now. Who changed what is logged. Refused, as errors that a model can act on:
listings and jobs that are not there, and jobs where the service runs none.
"""

import logging
from datetime import UTC, datetime
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import BaseModel, Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request

from components.database import transaction
from components.estate import dashboard, listings
from components.estate.dashboard import Dashboard
from components.estate.schemas import ListingId, ListingIn, ListingOut, ListingPatch
from components.estate.user_tools import READS, listing_text
from components.mcp.server import answer, caller, request_of
from components.mcp.widgets import Widgets

logger = logging.getLogger(__name__)

_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, open_world_hint=False)
_CHANGES = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=False
)
_RUNS = ToolAnnotations(read_only_hint=False, destructive_hint=True, open_world_hint=True)


class JobRun(BaseModel):
    """What became of a job that was run."""

    job: str
    outcome: str
    tick: datetime
    run_id: str | None = None
    error: str | None = None


def add_admin_tools(
    server: MCPServer[Any], db: AsyncEngine, widgets: Widgets, *, currency: str
) -> None:
    """Register the tools; `currency` is for a listing that names none."""
    _add_listings(server, db, currency)
    _add_dashboard(server, db, widgets)
    _add_jobs(server)


def _add_listings(server: MCPServer[Any], db: AsyncEngine, currency: str) -> None:
    @server.tool(title="Create a listing", annotations=_ADDS)
    async def create_listing(
        context: Context, listing: ListingIn
    ) -> Annotated[CallToolResult, ListingOut]:
        """Offer a property. It is a draft, which users do not see, unless its status says otherwise."""
        admin = caller(context).id
        async with transaction(db, write=True) as session:
            created = await listings.create(session, listing, currency=currency)
        logger.info("listing %d was created by %s", created.id, admin)
        return answer(f"Created. {listing_text(created)}", created)

    @server.tool(title="Change a listing", annotations=_CHANGES)
    async def update_listing(
        context: Context, listing_id: ListingId, changes: ListingPatch
    ) -> Annotated[CallToolResult, ListingOut]:
        """Change the given fields of a listing; the others stay as they are."""
        admin = caller(context).id
        async with transaction(db, write=True) as session:
            changed = await listings.update(session, listing_id, changes)
        if changed is None:
            raise ToolError("no such listing")
        fields = ", ".join(sorted(changes.model_fields_set))
        logger.info("listing %d was changed by %s: %s", listing_id, admin, fields)
        return answer(f"Changed. {listing_text(changed)}", changed)


def _add_dashboard(server: MCPServer[Any], db: AsyncEngine, widgets: Widgets) -> None:
    @server.tool(
        title="Dashboard",
        annotations=READS,
        meta=widgets.meta("dashboard", invoking="Counting", invoked="Counted"),
    )
    async def show_dashboard(context: Context) -> Annotated[CallToolResult, Dashboard]:
        """Counts of listings by status, kind and city, and of visits."""
        caller(context)
        async with transaction(db, write=False) as session:
            counts = await dashboard.count(session, now=datetime.now(UTC))
        groups = {
            "by status": counts.by_status,
            "on offer by kind": counts.offered_by_kind,
            "on offer by city": counts.offered_by_city,
            "visits": counts.visits_by_status,
        }
        lines = [
            f"{name}: " + ", ".join(f"{number} {key}" for key, number in group.items())
            for name, group in groups.items()
            if group
        ]
        first = f"{counts.listings} listings, {counts.upcoming_visits} visits to come"
        return answer("\n".join([first, *lines]), counts)


def _add_jobs(server: MCPServer[Any]) -> None:
    @server.tool(title="Run a job now", annotations=_RUNS)
    async def run_job(
        context: Context,
        job: Annotated[str, Field(max_length=200, description="ID of the job")],
    ) -> Annotated[CallToolResult, JobRun]:
        """Run a job of the service at once, besides its schedule, and wait for its end."""
        admin = caller(context).id
        runner = _runner_of(request_of(context))
        if job not in runner.jobs:
            known = ", ".join(sorted(runner.jobs)) or "none"
            raise ToolError(f"there is no job `{job}`; there are: {known}")
        logger.info("job `%s` is run by %s", job, admin)
        try:
            result = await runner.run_now(job)
        except Exception as error:  # the store of runs is away, or the process stops
            raise ToolError(f"the job was not run: {type(error).__name__}") from error
        run = JobRun(
            job=job,
            outcome=result.outcome,
            tick=result.fire_time,
            run_id=result.run_id,
            error=result.error,
        )
        text = f"Job `{job}`: {run.outcome}"
        return answer(f"{text}: {run.error}" if run.error else text, run)


def _runner_of(request: Request) -> Any:
    """What runs the jobs of the application, found as the scheduler's own routes find it."""
    runner = getattr(getattr(request.app.state, "assembly", None), "jobs", None)
    if runner is None or not hasattr(runner, "run_now"):
        raise ToolError("this service runs no jobs")
    return runner
