"""Code that `app`, `configure` and `finish` of a manifest may name."""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

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
