"""Parts that tell the OpenAPI document what they add, without an import of the assembler."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, FastAPI
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

TEXT: dict[str, Any] = {"schema": {"type": "string"}}


class Guard:
    """Answers `status` itself, puts a header on what passes, and asks for a key."""

    def __init__(
        self, app: ASGIApp, *, name: str = "guard", status: int = 401, below: str = "/"
    ) -> None:
        self.app = app
        self.name, self.status, self.below = name, status, below
        self.asked: list[tuple[str, str]] = []

    def openapi_operation(self, method: str, path: str) -> dict[str, Any] | None:
        self.asked.append((method, path))
        if not path.startswith(self.below):
            return None
        scheme = {"type": "apiKey", "in": "header", "name": f"X-{self.name}"}
        return {
            "responses": {self.status: {"description": f"Refused by {self.name}", **_body("Said")}},
            "headers": {"default": {f"X-Seen-{self.name}": TEXT}},
            "parameters": [{"name": f"x-{self.name}", "in": "header", **TEXT}],
            "security": [{self.name: []}],
            "components": {
                "securitySchemes": {self.name: scheme},
                "schemas": {"Said": {"type": "object", "title": f"Said by {self.name}"}},
            },
            "x-guards": [self.name],
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Bare:
    """Answers 403 by raising: the body is the handlers'."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def openapi_operation(self, method: str, path: str) -> dict[str, Any]:
        return {"responses": {"403": {"description": "Not for you"}}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Proxy:
    """Hands on every attribute of what it stands around, and offers nothing itself."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    def __getattr__(self, name: str) -> Any:
        return getattr(self.app, name)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class Wrong:
    """Offers what the contract does not know."""

    def __init__(self, app: ASGIApp, *, offer: str) -> None:
        self.app = app
        self.offer = offer

    def openapi_operation(self, method: str, path: str) -> Any:
        if self.offer == "raise":
            raise LookupError("no idea")
        return {"key": {"response": {}}, "list": []}[self.offer]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


def _body(schema: str) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}}


def handler(*, name: str, statuses: tuple[int, ...] = ()) -> Callable[..., Any]:
    """A handler that says the bodies of all its answers, and that it gives those of `statuses`."""

    def answer(request: Request, error: Exception) -> PlainTextResponse:
        return PlainTextResponse(name)

    def offer(method: str, path: str) -> dict[str, Any]:
        return {
            "responses": {each: {"description": name, **_body(name)} for each in statuses},
            "bodies": {"default": _body(name)["content"]},
            "components": {"schemas": {name: {"type": "object", "title": name}}},
        }

    answer.openapi_operation = offer  # type: ignore[attr-defined]  # as functions have it
    return answer


class Counted:
    """A dependency with a limit."""

    def __call__(self) -> None: ...

    def openapi_operation(self, method: str, path: str) -> dict[str, Any]:
        return {
            "responses": {"429": {"description": "Too many", "x-limits": [{"quota": 5}]}},
            "headers": {"2XX": {"X-Left": TEXT}},
        }


class Item(BaseModel):
    name: str


class Own(BaseModel):
    own: str


router = APIRouter()


@router.get("/items/{number:int}")
def read_item(number: int) -> Item:
    return Item(name=str(number))


@router.post("/items", responses={401: {"model": Own}, 404: {"description": "No such shop"}})
def make_item(item: Annotated[Item, Body()]) -> Item:
    return item


@router.get("/counted", dependencies=[Depends(Counted())])
def counted() -> str:
    return "one"


@router.get("/hidden", include_in_schema=False)
def hidden() -> str:
    return "nothing"


inner = FastAPI()
inner.include_router(router)
