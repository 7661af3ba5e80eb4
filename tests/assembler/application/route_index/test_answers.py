"""What an indexed app answers, point by point, and what the endpoints see."""

import asyncio
from typing import Annotated, Any

import fastapi.routing
import pytest
import starlette.requests
import starlette.routing
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.responses import PlainTextResponse
from starlette.routing import Route, Router

from assembler.application.route_index import _made, index_routes
from assembler.application.route_index.index import RouteIndex
from tests.assembler.application.route_index.driver import (
    HAS_BODY_LIMITS,
    HAS_TELEMETRY,
    KEEPS_ROUTERS,
    Request,
    Spans,
    an_app,
    answering,
    ask,
    see,
)

keeps_routers = pytest.mark.skipif(not KEEPS_ROUTERS, reason="an older FastAPI copies routes")


def test_the_first_of_two_routes_wins_in_the_order_they_were_added() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/{name}/me", answering("included"))
    app.include_router(router, prefix="/users")
    app.add_api_route("/users/{name}/{what}", answering("first"))
    app.add_api_route("/users/x/me", answering("second"))
    index_routes(app)
    assert see(app, "/users/x/me").body == b'"included"'
    assert see(app, "/users/x/you").body == b'"first"'


def test_405_lists_the_methods_of_the_first_route_and_a_later_full_match_wins() -> None:
    app, router = FastAPI(), APIRouter(prefix="/a")
    router.add_api_route("/{name}", answering("get"), methods=["GET", "PUT"])
    app.include_router(router)
    app.add_api_route("/a/b", answering("post"), methods=["POST"])
    index_routes(app)
    refused = see(app, "/a/b", "PATCH")
    assert (refused.status, refused.header(b"allow")) == (405, "GET, PUT")
    assert see(app, "/a/b", "POST").body == b'"post"'


def test_head_is_answered_by_starlette_routes_and_refused_by_fastapi_routes() -> None:
    app = an_app()
    assert see(app, "/docs", "HEAD").status == 200
    assert see(app, "/flat-1", "HEAD").status == 405


@pytest.mark.parametrize("path", ["/flat-1", "/api/v1/things-1/x"])
def test_a_slash_too_many_is_redirected_with_the_query(path: str) -> None:
    app = an_app()
    answer = see(app, f"{path}//")
    assert (answer.status, answer.header(b"location")) == (307, f"http://testserver{path}?q=1")
    app.router.redirect_slashes = False
    assert see(app, f"{path}/").status == 404


def test_a_redirect_under_a_root_path_that_ends_in_a_slash() -> None:
    apps = [FastAPI(), FastAPI()]
    for app in apps:
        app.add_api_route("/base", answering("its own"))
    index_routes(apps[1])
    request = Request(path="/base///", root_path="/base/")
    plain, indexed = (asyncio.run(ask(app, request)) for app in apps)
    assert indexed == plain
    assert indexed.status == 307


@pytest.mark.skipif(not HAS_TELEMETRY, reason="a FastAPI without telemetry")
def test_telemetry_names_the_route_that_a_redirect_leads_to() -> None:
    spans = Spans()
    app, router = FastAPI(telemetry={"tracer_provider": spans}), APIRouter()
    router.add_api_route("/{name}", answering("other method"), methods=["PUT"])
    router.add_api_route("/b", answering("b"))
    app.include_router(router, prefix="/a")
    index_routes(app)
    assert see(app, "/a/b/").status == 307
    assert spans.names[-1] == "GET /a/b"


def test_the_newline_that_a_pattern_lets_through() -> None:
    assert see(an_app(), "/flat-1\n").body == b'"flat-1"'


def test_websockets_and_http_share_a_path() -> None:
    app, router = FastAPI(), APIRouter(prefix="/a")

    async def talk(websocket: WebSocket, name: str) -> None:
        await websocket.accept()
        await websocket.send_text(name)
        await websocket.close()

    router.add_api_route("/{name}", answering("http"))
    router.add_api_websocket_route("/{name}", talk)
    app.include_router(router)
    index_routes(app)
    assert see(app, "/a/b").body == b'"http"'
    assert see(app, "/a/b", "WEBSOCKET").messages[1]["text"] == "b"
    assert see(app, "/b", "WEBSOCKET").messages[0]["type"] == "websocket.close"


@keeps_routers
def test_a_mount_in_an_included_router_gets_its_root_path() -> None:
    app, router = FastAPI(), APIRouter(prefix="/a")

    async def inner(request: starlette.requests.Request) -> PlainTextResponse:
        return PlainTextResponse(f"{request.scope['root_path']} {request.path_params}")

    router.mount("/files/{owner}", Router([Route("/{name}", inner)]))
    app.include_router(router, prefix="/v1")
    index_routes(app)
    assert see(app, "/v1/files/me/x").body == b"/v1/files/me {'owner': 'me', 'name': 'x'}"


@keeps_routers
def test_frontends_come_after_all_routes_and_the_most_specific_wins(tmp_path: Any) -> None:
    app, router = FastAPI(), APIRouter(prefix="/a")
    for name in ("front", "back"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "index.html").write_text(name)
    app.frontend("/", directory=tmp_path / "front")
    router.frontend("/b", directory=tmp_path / "back")
    app.include_router(router)
    index_routes(app)
    app.add_api_route("/a/c", answering("route"))
    assert see(app, "/a/c").body == b'"route"'
    assert see(app, "/a/b/").body == b"back"
    assert see(app, "/").body == b"front"


def test_dependencies_and_their_overrides_hold() -> None:
    app, router = FastAPI(), APIRouter()

    def who() -> str:
        return "user"

    @router.get("/who")
    def read(name: Annotated[str, Depends(who)]) -> str:
        return name

    app.include_router(router, prefix="/a")
    index_routes(app)
    with TestClient(app) as client:
        assert client.get("/a/who").json() == "user"
        app.dependency_overrides[who] = lambda: "another"
        assert client.get("/a/who").json() == "another"


@pytest.mark.skipif(not HAS_BODY_LIMITS, reason="a FastAPI without body limits")
def test_body_limits_hold_outside_and_inside_the_index() -> None:
    app, router = FastAPI(max_body_size=10), APIRouter()

    @router.post("/a")
    async def read(request: starlette.requests.Request) -> int:
        return len(await request.body())

    app.include_router(router, max_body_size=20)
    assert index_routes(app).active
    assert not isinstance(app.router.middleware_stack, RouteIndex)
    with TestClient(app) as client:
        assert client.post("/a", content=b"x" * 20).json() == 20
        assert client.post("/a", content=b"x" * 21).status_code == 413


@keeps_routers
def test_the_scope_is_the_one_that_fastapi_makes() -> None:
    app, router = FastAPI(), APIRouter()
    scopes: list[Any] = []

    async def read(request: starlette.requests.Request) -> None:
        scopes.append(dict(request.scope))

    router.add_api_route("/{name}", read)
    app.include_router(router, prefix="/a")
    index_routes(app)
    see(app, "/a/b")
    included = app.router.routes[-1]
    assert isinstance(included, fastapi.routing._IncludedRouter)
    assert scopes[0]["router"] is app.router
    assert scopes[0]["route"] is router.routes[0]
    assert scopes[0]["endpoint"] is read
    assert scopes[0]["path_params"] == {"name": "b"}
    assert scopes[0]["fastapi"]["included_router"] is included
    assert scopes[0]["fastapi"]["effective_route_context"] is included.effective_candidates()[0]


def test_urls_and_the_schema_are_untouched() -> None:
    app = an_app()
    assert app.url_path_for("thing-3", name="x") == "/api/v1/things-3/x"
    assert app.url_path_for("flat-3") == "/flat-3"
    assert "/api/v1/things-3/{name}" in app.openapi()["paths"]


@keeps_routers
def test_a_scope_that_an_endpoint_passes_on_goes_the_plain_way() -> None:
    app, router = FastAPI(), APIRouter()
    router.add_api_route("/b", answering("b"))
    app.include_router(router, prefix="/a")
    index_routes(app)
    scope = see(app, "/a/b").asgi_scope
    # A route that stands both in the router and on the app would now match by the router's prefix.
    index = _made(app.router)
    assert index._find(scope) is None
    assert index._find({**scope, "fastapi": {}}) is not None
