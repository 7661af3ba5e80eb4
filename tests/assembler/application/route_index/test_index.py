"""Which routes are tried, how changes are followed, and when the index steps aside."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import fastapi
import fastapi.routing
import pytest
import starlette
import starlette.requests
import starlette.routing
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.routing import BaseRoute, Route, Router
from starlette.types import Receive, Scope, Send

from assembler.application.route_index import index_routes
from assembler.application.route_index.index import RouteIndex
from assembler.application.route_index.segments import ANYWHERE, SegmentTree, read_template
from tests.assembler.application.route_index.driver import (
    KEEPS_ROUTERS,
    Request,
    Seen,
    an_app,
    answering,
    ask,
    see,
)
from tests.assembler.sample_app.world import built

keeps_routers = pytest.mark.skipif(not KEEPS_ROUTERS, reason="an older FastAPI copies routes")


def tried(app: FastAPI, path: str, monkeypatch: pytest.MonkeyPatch) -> list[BaseRoute]:
    """The routes that a request is decided among."""
    seen: list[BaseRoute] = []
    find: Any = RouteIndex._find

    def note(self: RouteIndex, scope: Scope) -> Any:
        found = find(self, scope)
        seen.extend(found[0] if found else ())
        return found

    monkeypatch.setattr(RouteIndex, "_find", note)
    see(app, path)
    return seen


# What is tried


@pytest.mark.parametrize(
    ("path", "count"),
    [("/flat-7", 1), ("/api/v1/things-7/x", 1), ("/api/v1/things-7/x/", 1), ("/nothing/here", 0)],
)
def test_only_routes_with_the_literal_segments_of_a_path_are_tried(
    path: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = int(KEEPS_ROUTERS)  # stands for the attempt on the included router
    assert len(tried(an_app(), path, monkeypatch)) == mark + count


@keeps_routers
def test_an_included_route_is_matched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    app, calls = an_app(), 0
    matches = fastapi.routing._EffectiveRouteContext.matches

    def count(self: Any, scope: Scope) -> Any:
        nonlocal calls
        calls += 1
        return matches(self, scope)

    monkeypatch.setattr(fastapi.routing._EffectiveRouteContext, "matches", count)
    assert see(app, "/api/v1/things-30/x").status == 200
    assert calls == 1


@pytest.mark.parametrize(
    ("templates", "path", "found"),
    [
        (["/a/{x}", "/a/b", "/{p:path}", "/a", "/c/b"], "/a/b", [0, 1, 2]),
        (["/a/{x}", "/a/b", "/{p:path}", "/a", "/c/b"], "/a/b/", [0, 1, 2]),
        (["/a/{x}/c", "/{y}/b/{z}", "/{y}/{x}/d"], "/a/b/c", [0, 1]),
        (["/a{x:path}", "/a/{x:path}/z", "/b/{x:path}"], "/a", [0, 1]),
        (["/12//{p:path}", "/12/{p:int}"], "/12//", [0]),
        (["/x-{a}.json", "/x-{a:int}/{b}"], "/anything", [0]),
        (["/a//b", "/a/b"], "/a//b", [0]),
        (["", "/"], "///", [0, 1]),
        (["a/b", "*"], "/z", [0, 1]),
        (["/a", "/{x}", "/a/b"], "/a\n/", [0, 1]),
        (["/a/", "/b"], "/a/\n", [0]),
    ],
)
def test_tree_finds_in_order_what_may_match(
    templates: list[str], path: str, found: list[int]
) -> None:
    tree = SegmentTree()
    for number, template in enumerate(templates):
        regex, _, convertors = starlette.routing.compile_path(template)
        tree.add(number, read_template(template, regex, convertors))
    assert tree.find(path) == found


def test_a_pattern_that_its_path_does_not_give_may_match_anywhere() -> None:
    assert read_template("/a", re.compile("^/A$"), {}) is ANYWHERE
    assert read_template("/a", re.compile("^/a$", re.IGNORECASE), {}) is ANYWHERE
    app = FastAPI()
    route = APIRoute("/only", answering("found"))
    route.path_regex = re.compile("^/(only|other)$")
    app.router.routes.append(route)
    index_routes(app)
    assert see(app, "/other").body == b'"found"'


# Routes that change


def test_routes_added_later_are_found() -> None:
    app = an_app()
    assert see(app, "/late").status == 404
    app.add_api_route("/late", answering("late"))
    assert see(app, "/late").body == b'"late"'
    app.mount("/mounted", Router([Route("/x", lambda request: PlainTextResponse("mounted"))]))
    assert see(app, "/mounted/x").body == b"mounted"


@keeps_routers
def test_routes_added_later_to_a_nested_router_are_found() -> None:
    app, outer, inner = FastAPI(), APIRouter(prefix="/a"), APIRouter(prefix="/b")
    outer.include_router(inner)
    app.include_router(outer)
    index_routes(app)
    assert see(app, "/a/b/late").status == 404
    inner.add_api_route("/late", answering("late"))
    assert see(app, "/a/b/late").body == b'"late"'


def test_routes_taken_out_moved_or_listed_anew_are_followed() -> None:
    app = FastAPI()
    app.add_api_route("/{name}", answering("any"))
    app.add_api_route("/a", answering("a"))
    index_routes(app)
    assert see(app, "/a").body == b'"any"'
    app.router.routes.insert(0, app.router.routes.pop())
    assert see(app, "/a").body == b'"a"'
    app.router.routes = app.router.routes[1:]
    assert see(app, "/a").body == b'"any"'
    app.router.routes.clear()
    assert see(app, "/a").status == 404


def test_a_route_replaced_by_an_equal_one_is_noticed() -> None:
    app, answer = FastAPI(), answering("a")
    app.add_api_route("/a", answer)
    index_routes(app)
    assert see(app, "/a").status == 200
    app.router.routes[-1] = APIRoute("/a", answer, status_code=202)
    assert see(app, "/a").status == 202


@keeps_routers
def test_an_included_router_that_fastapi_cannot_build_fails_alone() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/{name}", answering("never"))
    app.add_api_route("/fine", answering("fine"))
    app.include_router(router, prefix="/{name}")
    index_routes(app)
    assert see(app, "/fine").body == b'"fine"'
    assert "Duplicated param name" in see(app, "/a/b").error


def test_threads_may_ask_while_routes_come_and_go() -> None:
    app, done = an_app(count=10), threading.Event()
    wrong: list[Seen] = []

    async def keep_asking() -> None:
        while not done.is_set():
            for path in ("/flat-9", "/api/v1/things-9/x"):
                seen = await ask(app, Request(path))
                if seen.error or seen.status != 200:
                    wrong.append(seen)

    threads = [threading.Thread(target=asyncio.run, args=(keep_asking(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(10):
        app.add_api_route(f"/late-{number}", answering("late"))
        assert see(app, f"/late-{number}").status == 200
        app.router.routes.pop()
    done.set()
    for thread in threads:
        thread.join(20)
    assert wrong == []


def test_the_table_is_made_when_the_app_has_started() -> None:
    app = FastAPI(lifespan=started_by(lambda: app.add_api_route("/late", answering("late"))))
    index_routes(app)
    index = app.router.middleware_stack
    assert isinstance(index, RouteIndex)
    assert index._table is None
    with TestClient(app) as client:
        table = index._table
        assert table is not None
        assert client.get("/late").json() == "late"
        assert index._table is table


# Where the index steps aside


@keeps_routers
@pytest.mark.parametrize(
    "name",
    ["_IncludedRouter", "_EffectiveRouteContext.matches", "APIRouter._get_routes_version"],
)
def test_it_steps_aside_where_an_internal_is_missing(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(f"fastapi.routing.{name}")
    app = FastAPI()
    report = index_routes(app)
    assert not report.active
    assert report.reason is not None
    assert report.reason.startswith("FastAPI ")
    assert f"has no function `{name}" in report.reason
    assert app.router.middleware_stack == app.router.app


@keeps_routers
@pytest.mark.parametrize(
    "name", ["APIRoute.matches", "_IncludedRouter._match", "APIRouter.app", "_get_fastapi_scope"]
)
def test_it_steps_aside_where_an_internal_has_changed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(*args: Any) -> Any:
        raise NotImplementedError

    monkeypatch.setattr(f"fastapi.routing.{name}", another)
    report = index_routes(FastAPI())
    assert not report.active
    assert report.reason is not None
    assert report.reason == f"`{name}` of FastAPI {fastapi.__version__} was replaced"


@pytest.mark.parametrize(
    ("package", "version"),
    [
        (fastapi, "0.999.0"),
        (fastapi, "0.139.2"),
        (fastapi, "0.114.2"),
        (starlette, "2.0"),
        (starlette, "unreadable"),
    ],
)
def test_it_steps_aside_under_versions_that_were_not_tested(
    package: Any, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package, "__version__", version)
    app = FastAPI()
    reason = index_routes(app).reason
    assert reason is not None
    assert reason.startswith("the index is tested with ")
    assert reason.endswith(f", not with {version}")
    assert app.router.middleware_stack == app.router.app


def test_the_installed_versions_are_tested_ones() -> None:
    assert index_routes(FastAPI()).active


def test_the_log_of_the_start_says_why_it_is_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fastapi, "__version__", "0.999.0")
    app = built(tmp_path, "routes: [{use: $parts.api.router}]")
    with caplog.at_level("INFO", "assembler"), TestClient(app):
        pass
    told = "routes are tried one by one: the index is tested with FastAPI 0.115 to "
    assert sum(told in line for line in caplog.text.splitlines()) == 1


def test_it_steps_aside_for_a_router_with_its_own_dispatch() -> None:
    class OwnRouter(APIRouter):
        async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
            await super().app(scope, receive, send)

    app = FastAPI()
    app.router = OwnRouter()
    assert index_routes(app).reason == "the app's router has its own `app`"


def test_it_steps_aside_for_a_dispatch_that_was_replaced() -> None:
    async def own(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("own")(scope, receive, send)

    app = FastAPI()
    app.router.middleware_stack = own
    assert index_routes(app).reason == "the router's `middleware_stack` was replaced"
    assert see(app, "/").body == b"own"


def test_an_app_is_indexed_once() -> None:
    app = an_app()
    index = app.router.middleware_stack
    assert index_routes(app).active
    assert app.router.middleware_stack is index


def started_by(action: Callable[[], None]) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        action()
        yield

    return lifespan
