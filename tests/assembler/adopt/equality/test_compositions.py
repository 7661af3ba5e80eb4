"""Applications put together at random, by hand and by a manifest: they differ in what is meant alone."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.assembler.adopt.equality.compared import compared, unexplained
from tests.assembler.command import write

# What an exception by force interrupts may leave a stream open, in older versions of Starlette.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

PARTS = """
import logging
from contextlib import asynccontextmanager
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from pydantic import BaseModel, Field
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.httpsredirect import HTTPSRedirectMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Route, Router

class Own(Exception): pass
class Sub(Own): pass
class Item(BaseModel):
    a: int = Field(gt=0)
    b: list[str] = []

class Stamp:
    def __init__(self, app, text="s"):
        self.app, self.text = app, text
    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", self.text.encode())]
            await send(message)
        await self.app(scope, receive, stamped)

class Catch:
    def __init__(self, app):
        self.app = app
    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            await self.app(scope, receive, send)
        except LookupError:
            await JSONResponse("caught", 418)(scope, receive, send)

class Deny:
    def __init__(self, app, word="deny"):
        self.app, self.word = app, word
    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and self.word in scope["path"]:
            raise HTTPException(403, "denied")
        await self.app(scope, receive, send)

async def dispatched(request, call_next):
    response = await call_next(request)
    response.headers["x-dispatched"] = "1"
    return response

async def own(request, error): return JSONResponse({"own": str(error)}, 409)
async def missing(request, error): return PlainTextResponse("missing", 404)
def anything(request, error): return JSONResponse("anything", 500)
async def invalid(request, error): return JSONResponse("invalid", 400)
async def said(request, error): return JSONResponse({"said": error.detail}, error.status_code)

def named(x_name: str = Header("k")):
    return x_name
async def yielded():
    try:
        yield 1
    except Own:
        raise HTTPException(410, "gone")

@asynccontextmanager
async def life(app):
    logging.getLogger("app").warning("up")
    app.state.up = [1]
    yield {"life": "on"}
    logging.getLogger("app").warning("down")

def router(n, **options):
    found = APIRouter(**options)
    @found.get(f"/a{n}")
    async def a(request: Request, q: int = 1, name=Depends(named)):
        return {"q": q, "name": name, "life": getattr(request.state, "life", None)}
    @found.get(f"/b{n}/{{i}}", response_class=PlainTextResponse)
    def b(i: int, request: Request): return f"{i} {request.scope['root_path']}"
    @found.post(f"/a{n}", status_code=201)
    async def c(item: Item, one=Depends(yielded)): return item
    @found.get(f"/own{n}")
    async def d(one=Depends(yielded)): raise Sub("sub")
    @found.get(f"/sub{n}/")
    async def e(): raise Sub("sub")
    @found.get(f"/key{n}")
    async def f(): raise KeyError("key")
    @found.api_route(f"/deny{n}", methods=["GET", "DELETE"], include_in_schema=False)
    async def g(): return 1
    @found.get(f"/stream{n}")
    async def h():
        async def parts():
            yield b"1"
            raise Own("late")
        return StreamingResponse(parts())
    @found.get(f"/kept{n}")
    def i(): return Response("kept", headers={"cache-control": "max-age=5", "etag": '"1"'})
    @found.put(f"/put{n}/{{rest:path}}")
    async def j(rest: str, request: Request): return [rest, (await request.body()).decode()]
    return found

def deep(n):
    inner = APIRouter(prefix="/deep", responses={409: {"description": "x"}})
    inner.include_router(router(f"d{n}"), prefix="/er", tags=["deep"])
    outer = APIRouter()
    outer.include_router(inner, dependencies=[Depends(yielded)])
    return outer

def mounted(n):
    found = FastAPI(title=f"Sub {n}", lifespan=life)
    found.include_router(router(f"m{n}"))
    found.add_middleware(Stamp, text=f"sub {n}")
    found.add_exception_handler(Own, own)
    return found

def nested(n):
    async def plain(request): return PlainTextResponse(request.url.path)
    found = FastAPI(openapi_url=None)
    found.mount("/x", mounted(f"x{n}"))
    found.mount("/plain", Router([Route("/p/{n:int}", plain), Route("/q/", plain)]))
    found.add_middleware(BaseHTTPMiddleware, dispatch=dispatched)
    return found
"""
STARLETTE = "starlette.middleware"
LAYERS: list[tuple[str, dict[str, Any]]] = [
    (f"{STARLETTE}.cors.CORSMiddleware", {"allow_origins": ["https://a.example"]}),
    (f"{STARLETTE}.cors.CORSMiddleware", {"allow_origins": ["*"], "allow_methods": ["*"]}),
    (f"{STARLETTE}.gzip.GZipMiddleware", {"minimum_size": 1}),
    (f"{STARLETTE}.trustedhost.TrustedHostMiddleware", {"allowed_hosts": ["h.example"]}),
    (f"{STARLETTE}.httpsredirect.HTTPSRedirectMiddleware", {}),
    (f"{STARLETTE}.base.BaseHTTPMiddleware", {"dispatch": "app.main.dispatched"}),
    ("app.main.Stamp", {"text": "outer"}),
    ("app.main.Catch", {}),
    ("app.main.Deny", {}),
]
HANDLERS = [
    ("app.main.Own", "own"),
    ("KeyError", "own"),
    ("404", "missing"),
    ("405", "said"),
    ("fastapi.exceptions.RequestValidationError", "invalid"),
    ("fastapi.exceptions.HTTPException", "said"),
    ("Exception", "anything"),
    ("500", "anything"),
]
FACTS = [
    ("redirect_slashes=False", "redirect_slashes: false"),
    ("", "root_path: /root"),  # as a parameter it warns
    ("dependencies=[Depends(named)]", "dependencies: [app.main.named]"),
    ("debug=True", "debug: true"),
    (
        "default_response_class=PlainTextResponse",
        "default_response_class: fastapi.responses.PlainTextResponse",
    ),
]
INCLUDED = [
    ("tags=['t']", "tags: [t]"),
    ("dependencies=[Depends(yielded)]", "dependencies: [app.main.yielded]"),
    ("deprecated=True", "deprecated: true"),
]


def some(chance: random.Random, items: list[Any], most: int) -> list[Any]:
    return chance.sample(items, chance.randint(0, most))


def composed(chance: random.Random) -> dict[str, str]:
    """Write one application by hand and as a manifest."""
    facts = some(chance, FACTS, 2)
    options = ", ".join(["lifespan=life", *(fact for fact, _ in facts if fact)])
    code = [f"app = FastAPI({options})"]
    code += ["app.root_path = '/root'"] if FACTS[1] in facts else []
    text = [
        "manifest: 1",
        "app:",
        "  openapi: {extend: false}",
        *(f"  {fact}" for _, fact in facts),
    ]
    text.append("lifespan: [app.main.life]")
    layers = some(chance, LAYERS, 4)
    for path, said in reversed(layers):
        given = [f"{k}={v[9:] if k == 'dispatch' else repr(v)}" for k, v in said.items()]
        code.append(f"app.add_middleware({', '.join([path.rpartition('.')[2], *given])})")
    text += ["middleware:"] if layers else []
    for n, (path, said) in enumerate(layers):
        text.append(f"  - {{id: layer-{n}, use: {path}, with: {json.dumps(said)}}}")
    handlers = some(chance, HANDLERS[:-1], 4) if chance.random() < 0.7 else HANDLERS[-1:]
    text += ["exception_handlers:"] if handlers else []
    for catch, name in handlers:
        code.append(f"app.add_exception_handler({catch.rpartition('.')[2]}, {name})")
        text.append(f"  - {{catch: {catch}, use: app.main.{name}}}")
    text.append("routes:")
    for n in range(chance.randint(1, 3)):
        kind = chance.choice(["router", "deep", "mounted", "nested"])
        code.append(f"part_{n} = {kind}({n})")
        if kind in {"mounted", "nested"}:
            code.append(f"app.mount('/part{n}', part_{n}, name='part')")
            text.append(f"  - {{mount: /part{n}, use: app.main.part_{n}, name: part}}")
            continue
        more = some(chance, INCLUDED, 2)
        prefix = chance.choice(["/p", "/p/q", f"/r{n}"])
        options = ", ".join([f"prefix={prefix!r}", *(each for each, _ in more)])
        code.append(f"app.include_router(part_{n}, {options})")
        options = ", ".join([f"prefix: {prefix}", *(each for _, each in more)])
        text.append(f"  - {{use: app.main.part_{n}, {options}}}")
    main = PARTS + "\n".join(code) + "\n"
    return {"app/__init__.py": "", "app/main.py": main, "manifest.yaml": "\n".join(text) + "\n"}


@pytest.mark.parametrize("number", range(4))
def test_what_is_composed_by_hand_and_by_a_manifest_is_equal(number: int, tmp_path: Path) -> None:
    files = composed(random.Random(number))
    write(tmp_path, files)
    found = compared(tmp_path, lifespan=True, replay_writes=True)
    assert unexplained(found) == [], files["manifest.yaml"]
