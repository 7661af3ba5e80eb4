"""A bare application with one channel over Redis, and a loop by hand to compare it with.

Environment: REDIS_URL; without it the channel is in memory.
"""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from components.channels import Channels, memory_channels, redis_channels
from components.channels.endpoint import ChannelEndpoint

endpoint = ChannelEndpoint(max_connections=100_000, max_per_client=100_000)
by_hand: set[WebSocket] = set()


async def follow(websocket: WebSocket) -> None:
    await endpoint.websocket(websocket, "c")


async def follow_by_hand(websocket: WebSocket) -> None:
    await websocket.accept()
    by_hand.add(websocket)
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        by_hand.discard(websocket)


async def tell(request: Request) -> JSONResponse:
    """Publish the moment, in the way that is wished."""
    if request.query_params["way"] == "channel":
        await request.state.channels.publish("c", {"sent": time.monotonic()})
    else:
        data = f'{{"sent":{time.monotonic()}}}'
        text = f'{{"type":"message","position":"0123456789ab:17","data":{data}}}'  # as ours
        for websocket in list(by_hand):
            await websocket.send_text(text)
    return JSONResponse({})


async def count(request: Request) -> JSONResponse:
    return JSONResponse([request.state.channels.readers, len(by_hand)])


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[dict[str, Any]]:
    url = os.environ.get("REDIS_URL")
    channels: Channels = redis_channels(url=url) if url else memory_channels()
    await channels.open()
    yield {"channels": channels}
    await channels.aclose()


app = Starlette(
    lifespan=lifespan,
    routes=[
        WebSocketRoute("/ws", follow),
        WebSocketRoute("/by-hand", follow_by_hand),
        Route("/tell", tell, methods=["POST"]),
        Route("/count", count),
    ],
)
