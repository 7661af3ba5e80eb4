"""The channels of the estate service over websockets and event streams.

In: handshakes and requests whose lifespan state has `channels`. Out: changes of listings, for all;
one's own notifications, for a user whom a gate let pass; ends of jobs, where the gate asks for the
role. Refused: what the endpoint refuses, and a user's channel without a user (401).
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request, WebSocket
from pydantic import Field
from starlette.requests import HTTPConnection
from starlette.responses import Response

from components.channels.endpoint import (
    ChannelEndpoint,
    MostConnections,
    MostPerClient,
    Origins,
)
from components.channels.tickets import Tickets
from components.channels.tickets import router as ticket_router
from components.estate.events import JOBS, LISTINGS, channel_of, of_city
from components.estate.schemas import Place
from components.mcp.principal import principal_of
from components.mcp.protected import Protected

City = Annotated[Place | None, Query(description="only changes in this city, in any case")]


def channels_router(
    *,
    tickets: Annotated[Tickets, Field(description="what makes tickets and takes them")],
    verifier: Annotated[
        Any,
        Field(
            description="judges tokens, as a `components.mcp.resource_server.ResourceServer` does"
        ),
    ],
    origins: Origins = (),
    max_per_client: MostPerClient = 20,
    max_connections: MostConnections = 10_000,
) -> APIRouter:
    """The routes `/ws/…` and `/events/…` of three channels, and `/tickets`."""
    endpoint = ChannelEndpoint(
        origins=origins,
        verifier=verifier,
        max_per_client=max_per_client,
        max_connections=max_connections,
    )
    made = APIRouter(tags=["channels"])
    made.include_router(
        ticket_router(tickets=tickets, channels=("listings", "notifications", "jobs"))
    )

    @made.websocket("/ws/listings")
    async def listings_socket(websocket: WebSocket, city: City = None) -> None:
        await endpoint.websocket(websocket, LISTINGS, wanted=of_city(city))

    @made.websocket("/ws/notifications")
    async def notifications_socket(websocket: WebSocket) -> None:
        await endpoint.websocket(websocket, _own_channel(websocket))

    @made.websocket("/ws/jobs")
    async def jobs_socket(websocket: WebSocket) -> None:
        _need_role(websocket)
        await endpoint.websocket(websocket, JOBS)

    made.include_router(_event_routes(endpoint))
    return made


def _event_routes(endpoint: ChannelEndpoint) -> APIRouter:
    made = APIRouter()
    stream: dict[str, Any] = {
        "response_class": Response,
        "responses": {
            200: {
                "description": "Server-sent events; `id` is the position",
                "content": {"text/event-stream": {}},
            },
            403: {"description": "Pages of this origin may not connect"},
            429: {"description": "Too many connections"},
            503: {"description": "The service ends, or what carries messages is away"},
        },
    }

    @made.get("/events/listings", summary="Follow changes of listings", **stream)
    async def listings_events(request: Request, city: City = None) -> Any:
        """Each change of what is on offer; `?since=` or `Last-Event-ID` goes on from a position."""
        return endpoint.events(request, LISTINGS, wanted=of_city(city))

    @made.get("/events/notifications", summary="Follow your notifications", **stream)
    async def notifications_events(request: Request) -> Any:
        return endpoint.events(request, _own_channel(request))

    @made.get("/events/jobs", summary="Follow the ends of jobs", **stream)
    async def jobs_events(request: Request) -> Any:
        _need_role(request)
        return endpoint.events(request, JOBS)

    return made


def _own_channel(connection: HTTPConnection) -> str:
    return channel_of(_need_user(connection))


def _need_role(connection: HTTPConnection) -> None:
    """Close the channel of jobs unless the gate asked for a role, whoever configured the gate."""
    _need_user(connection)
    rules: Protected | None = getattr(connection.state, "protected", None)
    if rules is None or "*" in rules.roles:
        raise HTTPException(403, "this channel is for a role, and no gate asks for one")


def _need_user(connection: HTTPConnection) -> str:
    """The ID of the user; a channel that is not public is closed where no gate asked for one."""
    try:
        return principal_of(connection).id
    except PermissionError as error:
        raise HTTPException(401, "log in to follow this channel") from error
