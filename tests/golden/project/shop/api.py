"""A small shop: what the golden outputs of the command are made of."""

from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

print("shop.api is imported")


def session() -> Iterator[None]:
    yield


def user(opened: Annotated[None, Depends(session)]) -> str:
    return "ann"


def audit(request: Request) -> None:
    """A dependency that the manifest adds."""


router = APIRouter()


@router.get("/items")
def list_items() -> list[int]:
    return [1]


@router.get("/items/{item_id}")
def read_item(item_id: int, name: Annotated[str, Depends(user)]) -> dict[str, int]:
    return {"id": item_id}


@router.get("/items/new")
def new_item() -> None:
    """Never reached: the route above takes its path."""


@router.post("/items", status_code=201)
def create_item() -> None:
    """Only to have a second method."""


@router.websocket("/live")
async def live(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@router.get("/slash/")
def slash() -> None:
    """Only to be redirected to."""


def pages(*, greeting: str = "hello") -> Starlette:
    def page(request: Request) -> PlainTextResponse:
        return PlainTextResponse(greeting + request.url.path)

    return Starlette(routes=[Route("/{rest:path}", page)])


class Shelf:
    """A resource."""

    def __init__(self, *, url: str, size: int = 5) -> None:
        self.url = url
        self.size = size


class Stamp:
    """A middleware."""

    def __init__(self, app: Any, *, text: str, shelf: Shelf | None = None, times: int = 1) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


def not_found(request: Request, error: Exception) -> JSONResponse:
    return JSONResponse({"error": "not found"}, 404)


def broken(*, debug: bool = False) -> Any:
    def answer(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "broken"}, 500)

    return answer


class LegacyMiddleware(Stamp):
    """What older code puts on the application by itself."""


def legacy(app: FastAPI) -> None:
    app.add_middleware(LegacyMiddleware, text="secret of older code")
    app.add_exception_handler(LookupError, not_found)


def fill(*, shelf: Shelf) -> None:
    """A startup step."""


def empty(*, shelf: Shelf) -> None:
    """A shutdown hook."""
