"""Code that `app`, `configure` and `finish` of a manifest may name."""

from collections.abc import Callable, Iterator
from typing import Any

from fastapi import APIRouter, FastAPI, HTTPException, Request, WebSocket
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.assembler.sample_app.journal import note

router = APIRouter()
back = APIRouter()
hooks = APIRouter()


class Problem(BaseModel):
    """A body of errors."""

    detail: str


@router.get("/plain")
def plain() -> str:
    return "plain"


@router.get("/broken", include_in_schema=False)
def broken() -> None:
    raise LookupError("broken")


@back.post("/back")
def called_back() -> None: ...


@hooks.post("/hook")
def hook() -> None: ...


def addresses(word: str, request: Request) -> list[str]:
    other = "b" if word == "a" else "a"
    found = (request.url_for("files", path="x.txt"), request.url_for("named", word=other))
    return [str(one) for one in found]


def refuse() -> None:
    raise HTTPException(418)


async def socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


async def everything(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(scope["path"])(scope, receive, send)


def odd(thing: Iterator[object]) -> Callable[[], None]:
    raise NotImplementedError(thing)


scoped = APIRouter()


@scoped.get("/fine", name="fine")
def fine(request: Request) -> str:
    return str(request.url_for("fine"))


@scoped.get("/raise/{name}")
def raising(name: str) -> None:
    raise {"value": ValueError, "key": KeyError, "index": IndexError}[name](name)


@scoped.websocket("/socket")
async def scoped_socket(websocket: WebSocket) -> None:
    await socket(websocket)


@scoped.get("/tenant/{word}", include_in_schema=False)
def tenant_of(word: str, request: Request) -> dict[str, str]:
    return dict(request.path_params)


class Refuse:
    """A layer that raises before anything inside it runs."""

    def __init__(self, app: ASGIApp, *, status: int) -> None:
        self.app = app
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise HTTPException(self.status)


def saying(*, text: str, status: int) -> Callable[[Request, Exception], PlainTextResponse]:
    return lambda request, error: PlainTextResponse(text, status)


def mark() -> None:
    note("mark")


def marking(*, name: str) -> Callable[[], None]:
    return lambda: note(name)


def operation(route: APIRoute) -> str:
    return f"operation of {route.name}"


def add_early(app: FastAPI) -> None:
    app.add_api_route("/early", plain)


def add_late(app: FastAPI) -> None:
    app.add_api_route("/late", plain)


def note_routes(app: FastAPI) -> None:
    note("routes" if "/api/plain" in app.openapi()["paths"] else "no routes")
    app.openapi_schema = None


def note_nothing(*, word: str = "nothing") -> None:
    note(word)


def by_name(*, app: Any) -> None:
    note(type(app).__name__)
