"""Random route tables and requests: the indexed app answers as plain FastAPI does.

Each table is built twice from one seed. Both apps get the same requests, then the same change to
their routes, then requests again. What is compared is every message, every error, what dispatch
left in the scope, and the names that telemetry gave the request.
"""

import asyncio
import os
import random
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
import starlette.requests
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse
from fastapi.routing import APIRoute
from starlette.convertors import CONVERTOR_TYPES, Convertor, register_url_convertor
from starlette.routing import BaseRoute, Host, Match, Mount, Route, Router, WebSocketRoute
from starlette.types import Receive, Scope, Send

import assembler.application.route_index
from assembler.application.route_index import index_routes
from tests.assembler.application.route_index.driver import KEEPS_ROUTERS, Request, Spans, ask, known

GROUPS = 10
DRIVEN_GROUPS = 3
TABLES_PER_GROUP = 25
REQUESTS_PER_TABLE = 100  # in all: 25 000 pairs of a table and a request
_WANTED = int(os.environ.get("ROUTE_INDEX_GROUPS", "99"))  # fewer for each of many versions

LITERALS = ("a", "b", "A", "ab", "items", "x.y", "é", "a b", "%61", "{", "0", "12", "", "*", "$")
CONVERTORS = ("", "", ":str", ":int", ":float", ":uuid", ":path", ":odd")
FITTING = {
    ":int": ("0", "12", "007"),
    ":float": ("1.5", "12"),
    ":uuid": (str(uuid.UUID(int=7)), uuid.UUID(int=8).hex),
    ":path": ("a/b", "a//b/", "", "items"),
    ":odd": ("odd/x", "12"),
}
UNFITTING = ("-1", "1.", "9" * 5000, "a/b", "odd/X", "Ω", "..", "a\n", *LITERALS)
METHODS = ("GET", "POST", "HEAD", "OPTIONS", "PUT", "PURGE")
HOSTS = ("testserver", "api.example.org", "b.example.org:8000", "EXAMPLE.org", "bad host")


class OddConvertor(Convertor[str]):
    """A convertor of a user that takes slashes."""

    regex = "odd/[a-z]|[0-9]{2}"

    def convert(self, value: str) -> str:
        return value.upper()

    def to_string(self, value: str) -> str:
        return value.lower()


@pytest.fixture(autouse=True, scope="module")
def odd_convertor() -> Any:
    register_url_convertor("odd", OddConvertor())
    yield
    del CONVERTOR_TYPES["odd"]


@pytest.mark.parametrize("group", range(GROUPS + DRIVEN_GROUPS)[:_WANTED])
def test_indexed_app_answers_as_plain_fastapi(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if group >= GROUPS:  # as under a FastAPI whose walk to a route is another one
        monkeypatch.setattr(assembler.application.route_index, "_repeats_exactly", lambda: False)
    (tmp_path / "index.html").write_text("front page")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "index.html").write_text("inner page")
    for number in range(TABLES_PER_GROUP):
        asyncio.run(compare(f"{group}.{number}", tmp_path))


async def compare(seed: str, directory: Path) -> None:
    plain, indexed = Table(seed, directory), Table(seed, directory)
    assert index_routes(indexed.app).active
    rng = random.Random(f"requests {seed}")
    for number in range(REQUESTS_PER_TABLE):
        if number in {REQUESTS_PER_TABLE // 2, REQUESTS_PER_TABLE * 3 // 4}:
            plain.change()
            indexed.change()
        request = random_request(rng, plain.targets)
        expected, actual = await ask(plain.app, request), await ask(indexed.app, request)
        assert actual == expected, (seed, number, request)
        assert indexed.spans.names == plain.spans.names, (seed, number, request)


class Table:
    """An app whose routes are all decided by `seed`."""

    def __init__(self, seed: str, directory: Path) -> None:
        self.rng = random.Random(f"table {seed}")
        self.directory = directory
        self.spans = Spans()
        self.targets: list[tuple[str, str]] = []  # a path and a method
        self.count = 0
        rng = self.rng
        newer = known(
            FastAPI,
            max_body_size=rng.choice((None, None, 1000)),
            form_limits={"max_files": 3} if rng.random() < 0.5 else None,
            telemetry={"tracer_provider": self.spans} if rng.random() < 0.4 else {},
        )
        self.app = FastAPI(
            openapi_url=rng.choice((None, "/openapi.json")),
            redirect_slashes=rng.random() < 0.8,
            **newer,
        )
        if rng.random() < 0.2:
            self.app.root_path = rng.choice(("/base", "/base/"))
        self.complete: list[APIRouter] = []
        self.routers: list[tuple[APIRouter, str]] = [(self.app.router, "")]
        self.fill(self.app.router, "", depth=0)

    def fill(self, router: APIRouter, prefix: str, depth: int) -> None:
        for _ in range(self.rng.randint(1, 9 - 2 * depth)):
            self.add(router, prefix, depth)

    def add(self, router: APIRouter, prefix: str, depth: int) -> None:
        rng = self.rng
        kinds = ["api"] * 8 + ["route", "api websocket", "websocket", "mount", "host", "class"]
        kinds += ["odd api", "odd route", "front"] + ["include"] * (5 - depth)
        kind = rng.choice(kinds)
        path, methods = self.path(may_be_empty=bool(prefix)), rng.sample(METHODS, rng.randint(1, 2))
        name = f"route_{self.count}"
        self.count += 1
        self.targets.append((prefix + path, "WEBSOCKET" if "websocket" in kind else methods[0]))
        if kind == "include" and depth < 3:
            self.include(router, prefix, depth)
        elif kind == "front":
            if rng.random() < 0.3 and hasattr(router, "frontend"):
                router.frontend(rng.choice(("/", "/a", "/b/a")), directory=self.directory)
        elif kind == "mount":
            router.routes.append(Mount(path, app=self.mounted(name), name=name))
        elif kind == "host":
            host = rng.choice(("api.example.org", "{sub}.example.org", "example.org"))
            router.routes.append(Host(host, app=self.mounted(name), name=name))
        elif kind == "api websocket":
            router.add_api_websocket_route(path, websocket_endpoint(name), name=name)
        elif kind == "websocket":
            router.routes.append(WebSocketRoute(path or "/", websocket_endpoint(name)))
        elif kind == "route":
            router.add_route(path or "/", endpoint(name), methods=methods, name=name)
        elif kind == "class":
            router.routes.append(Route(path or "/", Asgi(name), name=name))
        elif kind == "odd route":
            router.routes.append(OddRoute(name))
        else:
            router.add_api_route(
                path,
                endpoint(name),
                methods=methods,
                name=name,
                route_class_override=OddAPIRoute if kind == "odd api" else None,
                dependencies=[Depends(dependency)] if rng.random() < 0.2 else None,
            )

    def include(self, router: APIRouter, prefix: str, depth: int) -> None:
        rng = self.rng
        unique = self.count if rng.random() < 0.95 else 0  # a name twice in a path is an error
        own = rng.choice(("", "", "/a", f"/b/{{own{unique}}}", "/items"))
        extra = rng.choice(("/a", f"/v{{version{unique}:int}}", "/items/b", "/é"))
        again = [each for each in self.complete if each is not router]
        again = [each for each in again if KEEPS_ROUTERS and not each._contains_router(router)]
        if again and rng.random() < 0.3:
            router.include_router(rng.choice(again), prefix=extra)
            self.targets += [(prefix + extra + path, method) for path, method in self.targets[-3:]]
            return
        kind = OddRouter if rng.random() < 0.1 else APIRouter
        limit = rng.choice((None, None, 2000))
        child = kind(prefix=own, **known(APIRouter, max_body_size=limit))
        at = prefix + extra + own
        late = rng.random() < 0.5  # routes may be added before or after the router is included
        if late:
            limits = known(APIRouter.include_router, form_limits={"max_fields": 5})
            router.include_router(child, prefix=extra, **limits)
        self.routers.append((child, at))
        self.fill(child, at, depth + 1)
        if not late:
            router.include_router(child, prefix=extra)
        self.complete.append(child)

    def change(self) -> None:
        """Routes are added, moved, taken out and replaced while the app serves."""
        rng, routes = self.rng, self.app.router.routes
        for _ in range(rng.randint(1, 4)):
            router, prefix = rng.choice(self.routers)
            action = rng.choice(("add", "add", "first", "remove", "shuffle", "replace", "list"))
            if action == "add":
                self.add(router, prefix, depth=2)
            elif action == "first":
                self.add(self.app.router, "", depth=2)
                routes.insert(0, routes.pop())
            elif action == "remove" and len(routes) > 1:
                routes.pop(rng.randrange(len(routes)))
            elif action == "shuffle":
                rng.shuffle(routes)
            elif action == "list":
                self.app.router.routes = routes = list(routes)
            elif action == "replace" and routes:
                self.replace(rng.randrange(len(routes)))

    def replace(self, position: int) -> None:
        """By an equal route that answers with another status."""
        old = self.app.router.routes[position]
        if type(old) is APIRoute:
            new = APIRoute(old.path, old.endpoint, methods=old.methods, status_code=203)
            assert new == old
            self.app.router.routes[position] = new

    def mounted(self, name: str) -> Any:
        inner = self.path(may_be_empty=False)
        self.targets.append((self.targets[-1][0] + inner, "GET"))
        match self.rng.randrange(3):
            case 0:
                return Router([Route(inner, endpoint(name))])
            case 1:
                app = FastAPI(openapi_url=None)
                app.add_api_route(inner, endpoint(name))
                return app
            case _:
                return Asgi(name)

    def path(self, *, may_be_empty: bool) -> str:
        rng = self.rng
        if rng.random() < 0.08:
            return "" if may_be_empty and rng.random() < 0.5 else "/"
        path = ""
        for number in range(rng.randint(1, 4)):
            convertor = rng.choice(CONVERTORS)
            parameter = f"{{p{number}_{self.count}{convertor}}}"
            path += "/" + rng.choice(
                (rng.choice(LITERALS[:4]), rng.choice(LITERALS), parameter, f"a-{parameter}.json")
            )
        return path + rng.choice(("", "", "", "/"))


def random_request(rng: random.Random, targets: list[tuple[str, str]]) -> Request:
    template, method = rng.choice(targets)

    def value(parameter: re.Match[str]) -> str:
        fitting = FITTING.get(parameter[1] or "", LITERALS)
        return rng.choice(fitting if rng.random() < 0.9 else UNFITTING)

    path = re.sub(r"{[a-z]+[0-9_]*(:[a-z]+)?}", value, template)
    if rng.random() < 0.15:
        at = rng.randint(0, len(path))
        path = path[:at] + rng.choice(("/", "//", "\n", "a", "%2F", "é", "/../", "")) + path[at:]
    if rng.random() < 0.15:
        path = path.rstrip("/") if path.endswith("/") else path + "/"
    if rng.random() < 0.05:
        path = path[: rng.randint(0, len(path))]
    root_path = rng.choice(("", "", "", "", "/base", "/a")) if rng.random() < 0.9 else "/base/"
    if rng.random() < 0.8:
        path = root_path + path
    if rng.random() < 0.2:
        method = rng.choice((*METHODS, "WEBSOCKET"))
    return Request(
        path=path,
        method=method,
        root_path=root_path,
        headers=((b"host", rng.choice(HOSTS).encode()), (b"accept", b"text/html")),
    )


def endpoint(name: str) -> Any:
    async def answer(request: starlette.requests.Request) -> JSONResponse:
        parameters = {key: repr(value) for key, value in request.path_params.items()}
        return JSONResponse({"endpoint": name, "parameters": parameters, "url": str(request.url)})

    answer.__name__ = name
    return answer


def websocket_endpoint(name: str) -> Any:
    async def answer(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text(f"{name} {websocket.path_params!r}")
        await websocket.close()

    answer.__name__ = name
    return answer


async def dependency(response: starlette.requests.Request) -> None:
    response.scope["state"]["asked"] = True


class Asgi:
    """An app that is no router."""

    def __init__(self, name: str) -> None:
        self.__name__ = name

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000})
        else:
            text = f"{self.__name__} {scope['root_path']} {scope['path']}"
            await PlainTextResponse(text)(scope, receive, send)


class OddAPIRoute(APIRoute):
    """Matches by its own rule: not at all for one host, and whatever the path for one method."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child_scope = super().matches(scope)
        if (b"host", b"api.example.org") in scope["headers"]:
            return Match.NONE, {}
        if match is Match.NONE and scope.get("method") == "PURGE":
            return Match.FULL, {"endpoint": self.endpoint, "path_params": {}}
        return match, child_scope


class OddRoute(BaseRoute):
    """A route of a kind that nobody knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        text = scope["path"]
        found = Match.FULL if text.endswith("!") else Match.NONE
        return (Match.PARTIAL if text.endswith("0") else found), {"path_params": {"odd": text}}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        await Asgi(self.name)(scope, receive, send)


class OddRouter(APIRouter):
    """Takes no part for one host."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if (b"host", b"EXAMPLE.org") in scope["headers"]:
            return Match.NONE, {}
        return super().matches(scope)
