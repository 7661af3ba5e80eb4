"""What cannot do its work in its place is refused by `check`, and not first by the build."""

from pathlib import Path

import pytest

from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from tests.assembler.project import project

SHOP = """\
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol
import functools
from fastapi import APIRouter, FastAPI
from starlette.applications import Starlette
from starlette.routing import Router
from starlette.types import ASGIApp

class Plain: ...
class Layer:
    def __init__(self, app: ASGIApp): ...
    async def __call__(self, scope, receive, send): ...
class Child(Layer): ...
class Odd:
    def __getattr__(self, name): ...
class Half:
    async def __aenter__(self): ...
class Half2:
    def __exit__(self, *args): ...
class Both:
    def __enter__(self): ...
    def __exit__(self, *args): ...
    async def open(self, path): ...
class Needy:
    async def open(self, path): ...
class NeedyEnd:
    async def open(self, mode="r"): ...
    def close(self, *, how): ...
class Lenient:
    async def open(self, *args, mode="r", **more): ...
    def aclose(self): ...
    def close(self, how): ...
class SyncOpen:
    def open(self, path): ...
class App(Protocol):
    def run(self) -> None: ...
class Own(APIRouter): ...

def nothing(): ...
def by_name(*, app): ...
def one(app): ...
def one_or_more(app, *, size: int = 1): ...
def any(*args): ...
def gives_none() -> None: ...
def gives_text() -> str: ...
def gives_dict() -> dict[str, int]: ...
def gives_app() -> FastAPI: ...
def gives_starlette() -> Starlette: ...
def gives_router() -> APIRouter: ...
def gives_wider() -> Router: ...
def gives_own() -> Own: ...
def gives_asgi() -> ASGIApp: ...
def gives_callable() -> Callable[..., None]: ...
def gives_any() -> Any: ...
def gives_object() -> object: ...
def gives_plain() -> Plain: ...
def gives_protocol() -> App: ...
def layer_none(app) -> None: ...
def layer_text(app) -> str: ...
def layer(app) -> ASGIApp: ...
def generator(): yield 1
async def agenerator(): yield 1
partial = functools.partial(generator)
@contextmanager
def managed() -> Iterator[int]: yield 1
@asynccontextmanager
async def amanaged(): yield 1
def wrap(function):
    @functools.wraps(function)
    def inner() -> Any: ...
    return inner
@wrap
def wrapped() -> str: ...
"""
ENTRIES = {
    "resource": "resources: {a: {use: shop.NAME}}",
    "middleware": "middleware: [{use: shop.NAME}]",
    "handler": "exception_handlers: [{catch: 404, use: shop.NAME, with: {}}]",
    "configure": "configure: [{use: shop.NAME}]",
    "router": "routes: [{use: shop.NAME}]",
    "mount": "routes: [{mount: /a, use: shop.NAME}]",
    "dependency": "routes: [{use: shop.gives_router, dependencies: [{use: shop.NAME, with: {}}]}]",
    "taken dependency": "routes: [{use: shop.gives_router, dependencies: [shop.NAME]}]",
    "startup": "startup: [{use: shop.NAME}]",
    "job": "scheduler: {jobs: [{id: a, use: shop.NAME, every: 1h}]}",
    "shutdown": "shutdown: [{use: shop.NAME}]",
}
NO_PLACE = "takes nothing by position, and is given the application so"
RUNS_NOTHING = "has a `yield`, so that a call of it runs nothing"
REFUSED = {
    ("middleware", "nothing"): f"`nothing` {NO_PLACE}",
    ("middleware", "by_name"): f"`by_name` {NO_PLACE}",
    ("middleware", "Plain"): f"`Plain` {NO_PLACE}",
    ("middleware", "layer_none"): "`shop.layer_none` gives a NoneType, which cannot be called",
    ("middleware", "layer_text"): "`shop.layer_text` gives a str, which cannot be called",
    **{
        ("router", name): f"`shop.{name}` gives a {kind}, not a FastAPI router"
        for name, kind in {
            "gives_none": "NoneType",
            "gives_text": "str",
            "gives_dict": "dict",
            "gives_app": "FastAPI",
            "gives_starlette": "Starlette",
            "gives_plain": "Plain",
            "Plain": "Plain",
        }.items()
    },
    **{
        (role, name): f"`shop.{name}` gives a {kind}, which cannot be called"
        for role in ("handler", "mount", "dependency")
        for name, kind in {"gives_none": "NoneType", "gives_plain": "Plain", "Plain": "Plain"}.items()
    },
    ("resource", "gives_none"): "`shop.gives_none` gives None, which can be no resource",
    ("resource", "Half"): "`Half` has `__aenter__` and no `__aexit__`, so nothing would call it",
    ("resource", "Half2"): "`Half2` has `__exit__` and no `__enter__`, so nothing would call it",
    ("resource", "Needy"): "`open` of `Needy` needs `path`, which nothing gives it",
    ("resource", "NeedyEnd"): "`close` of `NeedyEnd` needs `how`, which nothing gives it",
    **{
        (role, name): f"`{name}` {RUNS_NOTHING}"
        for role in ("resource", "router", "mount", "handler", "startup", "job", "shutdown")
        for name in ("generator", "agenerator", "partial")
    },
}  # fmt: skip
TAKEN = [
    *(("configure", name) for name in ("one", "one_or_more", "any", "Layer")),
    *(("middleware", name) for name in ("Layer", "Child", "layer", "any", "one")),
    *(("router", f"gives_{kind}") for kind in ("router", "wider", "own", "any", "object")),
    *(("router", name) for name in ("Own", "wrapped", "nothing")),
    *(("mount", f"gives_{kind}") for kind in ("asgi", "callable", "app", "any", "protocol")),
    *(("mount", name) for name in ("Odd", "wrapped")),
    *(("dependency", name) for name in ("gives_callable", "gives_any")),
    *(("taken dependency", name) for name in ("generator", "agenerator")),
    *(("resource", name) for name in ("Plain", "Both", "Lenient", "SyncOpen", "gives_any")),
    *(("resource", name) for name in ("managed", "amanaged", "gives_object", "gives_text")),
    *(("startup", name) for name in ("gives_none", "gives_text", "managed")),
]


def faults(role: str, name: str, folder: Path, *, static: bool = False) -> list[str]:
    text = f"manifest: 1\n{ENTRIES[role].replace('NAME', name)}\n"
    with project(folder, {"shop.py": SHOP, "m.yaml": text}):
        try:
            load("m.yaml", static=static)
        except ManifestError as error:
            return [fault.message for fault in error.diagnostics]
    return []


@pytest.mark.parametrize(("role", "name"), REFUSED)
def test_what_could_never_work_there_is_refused(role: str, name: str, tmp_path: Path) -> None:
    assert faults(role, name, tmp_path) == [REFUSED[role, name]]
    assert faults(role, name, tmp_path, static=True) in ([], [REFUSED[role, name]])


@pytest.mark.parametrize(("role", "name"), TAKEN)
def test_what_may_work_there_is_taken(role: str, name: str, tmp_path: Path) -> None:
    assert faults(role, name, tmp_path) == []
    assert faults(role, name, tmp_path, static=True) == []


@pytest.mark.parametrize(
    ("role", "name"),
    [
        *(("middleware", "nothing"), ("middleware", "by_name"), ("router", "gives_text")),
        *(("startup", "generator"), ("resource", "agenerator"), ("resource", "gives_none")),
    ],
)
def test_the_source_tells_as_much(role: str, name: str, tmp_path: Path) -> None:
    assert faults(role, name, tmp_path, static=True) == [REFUSED[role, name]]
