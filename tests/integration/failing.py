"""Routes that fail, each in its own way."""

import asyncio

from fastapi import APIRouter, HTTPException, WebSocket

from components.database import engine
from components.errors import BaseAPIException
from tests.servers import free_port

router = APIRouter()


@router.get("/http/{status}")
async def http_exception(status: int) -> None:
    raise HTTPException(status)


@router.get("/api/{status}")
async def api_exception(status: int) -> None:
    raise BaseAPIException(status, "own_code", "own message")


@router.get("/bug")
async def bug() -> None:
    raise RuntimeError("hunter2")


@router.get("/value")
async def value() -> None:
    raise ValueError("hunter2")


@router.get("/database")
async def database() -> None:
    db = engine(url=f"postgresql://u:hunter2@127.0.0.1:{free_port()}/name")
    try:
        await db.open()
    finally:
        await db.dispose()


@router.get("/slow")
async def slow() -> None:
    await asyncio.Event().wait()


@router.post("/numbers")
async def numbers(numbers: list[int]) -> None: ...


@router.get("/fine")
async def fine() -> str:
    return "fine"


@router.websocket("/ws")
async def ws(websocket: WebSocket) -> None:
    await websocket.accept()
    raise BaseAPIException(403, "not_yours")
