"""Routers, mounts and handlers of the sample application."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

from fastapi import APIRouter, BackgroundTasks, FastAPI, HTTPException, WebSocket
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send

from tests.assembler.sample_app.journal import note
from tests.assembler.sample_app.layers import CURRENT

router = APIRouter()


class AppError(Exception):
    """The base of the sample application's own errors."""


class SpecialError(AppError):
    """One of them."""


@router.get("/hello")
async def hello(request: Request) -> dict[str, str]:
    return {"path": request.url.path, "context": CURRENT.get()}


@router.get("/state")
async def state(request: Request) -> dict[str, str]:
    return {key: str(value) for key, value in request.scope["state"].items()}


@router.websocket("/state")
async def socket_state(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({key: str(value) for key, value in socket.scope["state"].items()})
    await socket.close()


@router.websocket("/broken-socket")
async def broken_socket(socket: WebSocket) -> None:
    await socket.accept()
    raise RuntimeError("a broken socket")


@router.get("/raise/{name}")
@router.get("/raise/{name}/{status}")
async def fail(name: str, status: int = 500) -> None:
    errors: dict[str, Exception] = {
        "value": ValueError("a value"),
        "app": AppError("an app error"),
        "special": SpecialError("a special one"),
        "http": HTTPException(status, "with detail"),
    }
    raise errors[name]


@router.get("/faulty")
async def healthy() -> str:
    return "the route is well"


@router.get("/stream")
async def stream(fail_at: int = -1) -> StreamingResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(3):
            if number == fail_at:
                raise RuntimeError("the stream broke")
            yield f"chunk {number};".encode()
            await asyncio.sleep(0)

    return StreamingResponse(chunks())


@router.get("/big")
async def big() -> PlainTextResponse:
    return PlainTextResponse("x" * 5000)


@router.get("/background")
async def background(tasks: BackgroundTasks, fail: bool = False) -> str:
    def work() -> None:
        note("background work")
        if fail:
            raise RuntimeError("the background task broke")

    tasks.add_task(work)
    return "answered"


def as_json(request: Request, error: Exception) -> JSONResponse:
    """A synchronous handler."""
    body = {"handler": "as_json", "error": type(error).__name__, "context": CURRENT.get()}
    return JSONResponse(body, status_code=getattr(error, "status_code", 500))


async def as_json_async(request: Request, error: Exception) -> JSONResponse:
    body = {"handler": "as_json_async", "error": type(error).__name__, "context": CURRENT.get()}
    return JSONResponse(body, status_code=getattr(error, "status_code", 500))


class Answering:
    """A handler that is an object, with options."""

    def __init__(self, *, word: str, status: int = 500) -> None:
        self.word = word
        self.status = status

    async def __call__(self, request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"handler": self.word}, status_code=self.status)


def failing_handler(request: Request, error: Exception) -> JSONResponse:
    raise RuntimeError("the handler broke as well")


def reading_handler(request: Request, error: Exception) -> JSONResponse:
    """Needs nothing but the head of the request."""
    return JSONResponse({"handler": request.headers["x-word"], "query": str(request.query_params)})


def require_word(word: str) -> Any:
    """Makes a dependency, with options."""

    def check(request: Request) -> None:
        note(f"checked {word}")
        if request.headers.get("x-word") != word:
            raise HTTPException(403, f"say {word}")

    return check


def noted(request: Request) -> None:
    note("dependency ran")


class Paged:
    """A class that is itself the dependency: FastAPI makes one of it for each request."""

    def __init__(self, page: int = 1) -> None:
        note(f"page {page}")


def router_with(greeting: str, app: FastAPI, db: Any = None) -> APIRouter:
    made = APIRouter()

    @made.get("/greeting")
    async def greet() -> dict[str, str]:
        return {"greeting": greeting, "title": app.title, "db": str(db)}

    return made


@asynccontextmanager
async def _noted_lifespan(app: Any) -> AsyncIterator[dict[str, Any]]:
    note("router lifespan in")
    yield {"from_router": "router state"}
    note("router lifespan out")


living = APIRouter(lifespan=_noted_lifespan)


@asynccontextmanager
async def _broken_lifespan(app: Any) -> AsyncIterator[None]:
    if app is not None:
        raise RuntimeError("no such table")
    yield


broken_router = APIRouter(lifespan=_broken_lifespan)


async def _show(request: Request) -> JSONResponse:
    scope = request.scope
    return JSONResponse(
        {
            "path": scope["path"],
            "root_path": scope["root_path"],
            "params": dict(scope.get("path_params", {})),
            "state": {key: str(value) for key, value in scope.get("state", {}).items()},
        }
    )


async def _show_socket(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_json({"path": socket.scope["path"], "root_path": socket.scope["root_path"]})
    await socket.close()


def _mounted_routes() -> list[Any]:
    return [Route("/", _show), Route("/inner", _show), WebSocketRoute("/", _show_socket)]


def starlette_app(name: str = "starlette") -> Starlette:
    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
        note(f"{name} in")
        yield {"own": name}
        note(f"{name} out")

    return Starlette(routes=_mounted_routes(), lifespan=lifespan)


def fastapi_app(name: str = "fastapi") -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
        note(f"{name} in")
        yield {"own": name}
        note(f"{name} out")

    return FastAPI(routes=_mounted_routes(), lifespan=lifespan)


class SeesShared:
    """A mounted application that uses the shared resources in its own lifespan."""

    def __init__(self, *, says: str = "", fails: Literal["start", "stop", ""] = "") -> None:
        self.says = says
        self.fails = fails

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await JSONResponse({"db": str(scope["state"].get("db"))})(scope, receive, send)
            return
        await receive()
        note(f"sees {sorted(scope['state'])}")
        if self.fails == "start":
            await send({"type": "lifespan.startup.failed", "message": "Traceback\nKeyError: 'x'"})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self.fails == "stop":
            await send({"type": "lifespan.shutdown.failed", "message": "could not stop"})
            return
        await send({"type": "lifespan.shutdown.complete"})
        note("mount ended")


async def plain_app(scope: Scope, receive: Receive, send: Send) -> None:
    """An ASGI application that knows nothing but HTTP."""
    assert scope["type"] == "http"
    await PlainTextResponse(f"plain {scope['path']}")(scope, receive, send)


def broken_app() -> Starlette:
    return Starlette(lifespan=_broken_lifespan)


@asynccontextmanager
async def _leaving_lifespan(app: Any) -> AsyncIterator[None]:
    if app is not None:
        raise SystemExit(7)
    yield


def leaving_app() -> Starlette:
    return Starlette(lifespan=_leaving_lifespan)


def numbers() -> object:
    """No router and no application."""
    return iter((1, 2))
