"""Routes and layers that end in every way in which a request can."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Body, Depends, HTTPException, Request
from starlette.responses import StreamingResponse
from starlette.types import ASGIApp, Receive, Scope, Send

router = APIRouter()


class Abort(BaseException):
    """Not an Exception."""


async def broken() -> AsyncIterator[bytes]:
    yield b"x" * 10
    raise RuntimeError("the stream broke")


async def breaks_at_its_exit() -> AsyncIterator[None]:
    yield
    raise OSError("in a dependency's exit")


@router.get("/fine")
async def fine() -> str:
    return "fine"


@router.get("/key")
async def key() -> None:
    raise KeyError("secretword")


@router.get("/abort")
async def abort() -> None:
    raise Abort


@router.get("/generator-exit")
async def generator_exit() -> None:
    raise GeneratorExit


@router.get("/group")
async def group() -> None:
    raise ExceptionGroup("one", [HTTPException(404)])


@router.get("/cancelled-other")
async def cancelled_other() -> None:
    task = asyncio.ensure_future(asyncio.sleep(60))
    task.cancel()
    await task


@router.get("/cancelled-self")
async def cancelled_self() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(60)


@router.get("/stream")
async def stream() -> StreamingResponse:
    return StreamingResponse(broken())


@router.get("/background")
async def background(tasks: BackgroundTasks) -> str:
    def breaks() -> None:
        raise RuntimeError("the background task broke")

    tasks.add_task(breaks)
    return "answered"


@router.get("/exit", dependencies=[Depends(breaks_at_its_exit)])
async def leaving() -> str:
    return "answered"


@router.post("/upload")
async def upload(request: Request) -> int:
    return len(await request.body())


@router.post("/numbers")
async def numbers(numbers: Annotated[list[int], Body()]) -> int:
    return len(numbers)


class Raising:
    """Raises for one path, before or after what is inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: Any = scope.get("path")
        if path == "/layer-http":
            raise HTTPException(418, "from a layer")
        if path == "/layer-key":
            raise KeyError("from a layer")
        if path == "/layer-group":
            raise ExceptionGroup("one", [HTTPException(418, "from a layer")])
        await self.app(scope, receive, send)
