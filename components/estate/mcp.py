"""The estate service for MCP hosts: one server for users, one for administrators.

In: the database that the REST API uses, and how MCP is served, where not as `HttpTransport()` says.
Out: applications for lazy mounts. What they offer stands in `user_tools` and `admin_tools`. Refused:
what the transport refuses, and by each tool what its arguments do not allow.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp

from components.estate.admin_tools import add_admin_tools
from components.estate.schemas import Currency, PageSize
from components.estate.user_tools import add_user_tools
from components.mcp.http_transport import HttpTransport
from components.mcp.server import http_app, mcp_server
from components.mcp.widgets import Widgets
from components.vectors import Vectors

_WIDGETS = Path(__file__).with_name("widgets")


def user_app(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    transport: Annotated[
        HttpTransport | None, Field(description="the rules of MCP over HTTP; its own if none")
    ] = None,
    page_size: Annotated[
        PageSize, Field(description="listings that a search gives when it does not say")
    ] = 10,
    vectors: Annotated[
        Vectors | None, Field(description="for a search by meaning; by words if none")
    ] = None,
) -> ASGIApp:
    """Listings that are on offer, and the visits of who asks."""
    transport = transport or HttpTransport()
    widgets = Widgets(_WIDGETS, authority="estate", names=["listing-cards"])
    server = mcp_server(
        "estate",
        title="Estate",
        version="1.0.0",
        transport=transport,
        extensions=[widgets],
        instructions="Search property listings, compare similar ones, and book visits to them. "
        "Prices are whole units of the listing's currency; for rent they are a month's.",
    )
    add_user_tools(server, db, widgets, page_size=page_size, vectors=vectors)
    return http_app(server, transport=transport)


def admin_app(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    transport: Annotated[
        HttpTransport | None, Field(description="the rules of MCP over HTTP; its own if none")
    ] = None,
    currency: Annotated[
        Currency, Field(description="currency of a listing that names none")
    ] = "INR",
) -> ASGIApp:
    """Listings in every status, counts, and jobs: closed unless the gate before it asks for a role."""
    transport = transport or HttpTransport()
    widgets = Widgets(_WIDGETS, authority="estate-admin", names=["dashboard"])
    server = mcp_server(
        "estate-admin",
        title="Estate administration",
        version="1.0.0",
        transport=transport,
        extensions=[widgets],
        instructions="Create and change property listings, see counts of what there is, and run a "
        "job of the service now. Changes are visible to everybody at once.",
    )
    add_admin_tools(server, db, widgets, currency=currency)
    return http_app(server, transport=transport, for_roles=True)
