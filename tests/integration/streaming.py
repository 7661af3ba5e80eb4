"""Routes that stay open: a stream of events, and a websocket that echoes."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import APIRouter, WebSocket
from starlette.responses import PlainTextResponse, StreamingResponse

router = APIRouter()


@router.get("/quick")
async def quick() -> PlainTextResponse:
    await asyncio.sleep(0.005)
    return PlainTextResponse("quick")


@router.get("/events")
async def events() -> StreamingResponse:
    return StreamingResponse(_events(), media_type="text/event-stream")


@router.websocket("/echo")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    async for text in socket.iter_text():
        await socket.send_text(text)


async def _events() -> AsyncIterator[str]:
    while True:
        yield "data: on\n\n"
        await asyncio.sleep(0.05)
