"""StripTrailingSlashMiddleware."""

import hmac
from pathlib import Path
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from components.middleware.webhook_signature import WebhookSignatureMiddleware
from tests.components.middleware.exchange import exchange, http_scope, responding, websocket_scope


def seen(scope: Scope, **options: Any) -> tuple[str, bytes | None]:
    exchange(StripTrailingSlashMiddleware(responding(), **options), scope)
    return scope["path"], scope.get("raw_path")


@pytest.mark.parametrize(
    ("path", "root_path", "stripped"),
    [
        ("/", "", "/"),
        ("/items", "", "/items"),
        ("/items/", "", "/items"),
        ("/items///", "", "/items"),
        ("//", "", "/"),
        ("///", "", "/"),
        ("//evil.example/", "", "//evil.example"),
        ("//evil.example//", "", "//evil.example"),
        ("/api/", "/api", "/api/"),
        ("/api//", "/api", "/api/"),
        ("/api/items/", "/api", "/api/items"),
        ("/apis/", "/api", "/apis"),
    ],
)
def test_strips_slashes_but_never_the_root(path: str, root_path: str, stripped: str) -> None:
    found = seen(http_scope(path, root_path=root_path))
    assert found == (stripped, stripped.encode())


@pytest.mark.parametrize(
    ("raw", "path", "stripped_raw", "stripped"),
    [
        (b"/a%2F", "/a/", b"/a%2F", "/a/"),
        (b"/a%2F/", "/a//", b"/a%2F", "/a/"),
        (b"/a%2f%2F//", "/a////", b"/a%2f%2F", "/a//"),
        (b"/caf%C3%A9/", "/café/", b"/caf%C3%A9", "/café"),
        (b"/%2F", "//", b"/%2F", "//"),
    ],
)
def test_an_encoded_slash_is_part_of_its_segment(
    raw: bytes, path: str, stripped_raw: bytes, stripped: str
) -> None:
    assert seen(http_scope(path, raw_path=raw)) == (stripped, stripped_raw)


def test_a_server_without_raw_path() -> None:
    scope = http_scope("/items/")
    del scope["raw_path"]
    assert seen(scope) == ("/items", None)
    assert seen(http_scope("/items/", raw_path=None)) == ("/items", None)


@pytest.mark.parametrize(
    ("path", "stripped"),
    [("/mcp/", "/mcp/"), ("/mcp/sub/", "/mcp/sub/"), ("/mcpx/", "/mcpx"), ("/a/mcp/", "/a/mcp")],
)
def test_exempt_prefixes_end_at_a_slash(path: str, stripped: str) -> None:
    assert seen(http_scope(path), exempt=["/mcp"])[0] == stripped


def test_websockets_too_and_nothing_else() -> None:
    assert seen(websocket_scope("/ws/"))[0] == "/ws"
    assert seen({"type": "other", "path": "/x/"})[0] == "/x/"


def test_the_scope_is_the_same_object_so_that_the_outer_see_the_route() -> None:
    found: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        found.append(scope)

    scope = http_scope("/items/")
    exchange(StripTrailingSlashMiddleware(app), scope)
    assert found[0] is scope


def client_of(app: Starlette) -> TestClient:
    app.add_middleware(StripTrailingSlashMiddleware)
    return TestClient(app, follow_redirects=False)


def test_routes_answer_with_and_without_a_slash_and_nothing_redirects() -> None:
    app = FastAPI()
    app.add_api_route("/plain", lambda: "plain")
    app.add_api_route("/slashed/", lambda: "slashed", methods=["GET", "POST"])
    client = client_of(app)
    assert client.get("/plain").json() == client.get("/plain/").json() == "plain"
    assert client.get("/slashed/?a=b").json() == "slashed"
    assert client.post("/slashed/", content=b"x").json() == "slashed"
    for path in ("/nope/", "//evil.example/", "//evil.example/%2e%2e/", "/\\evil.example/"):
        answer = client.get(f"http://testserver{path}")
        assert answer.status_code == 404
        assert "location" not in answer.headers


def test_a_route_that_exists_only_with_a_slash_is_no_endless_redirect() -> None:
    app = FastAPI()
    app.add_api_route("/é x/", lambda: "found")
    client = client_of(app)
    client.follow_redirects = True
    assert client.get("/é x").json() == client.get("/é x/").json() == "found"


def test_mounts_answer_at_their_root(tmp_path: Any) -> None:
    async def where(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.url.path)

    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "index.html").write_text("index")
    sub = Starlette(routes=[Route("/", where), Route("/deep/", where)])
    app = Starlette(
        routes=[Mount("/sub", sub), Mount("/files", StaticFiles(directory=tmp_path, html=True))]
    )
    client = client_of(app)
    for path in ("/sub/", "/sub/deep/"):
        assert client.get(path).text == path
    assert client.get("/files/dir/").text == "index"


def test_a_redirect_of_the_router_names_no_host() -> None:
    app = FastAPI()
    app.add_api_route("/slashed/", lambda: "slashed")
    app.add_api_route("/plain", lambda: "plain")
    app.add_api_route("/{rest:path}/end/", lambda: "end")
    client = client_of(app)
    led = {
        "/slashed?a=b": "/slashed/?a=b",
        "/plain%2F": "/plain",
        "/plain/%2F": "/plain",
        "//evil.example/end": "/evil.example/end/",
    }
    for path, location in led.items():
        answer = client.get(f"http://testserver{path}", headers={"host": "evil.example"})
        assert (answer.status_code, answer.headers["location"]) == (307, location)


def test_a_redirect_elsewhere_goes_through() -> None:
    moved = responding(307, [(b"location", b"https://other.example/new/")])
    answer = exchange(StripTrailingSlashMiddleware(moved), http_scope("/old/"))
    assert (answer.status, answer.one("location")) == (307, "https://other.example/new/")


@pytest.mark.parametrize("location", [b"http://[", b"//", b"", b"\xff%zz", b"http://h:x/%00/"])
def test_an_odd_location_is_the_apps_own_business(location: bytes) -> None:
    app = StripTrailingSlashMiddleware(responding(308, [(b"location", location)]))
    assert exchange(app, http_scope("/old/")).headers == [(b"location", location)]


@given(st.text(max_size=20), st.sampled_from(["", "/api"]))
def test_only_slashes_at_the_end_ever_change(tail: str, root_path: str) -> None:
    path = f"{root_path}/{tail}"
    scope = http_scope(path, root_path=root_path, raw_path=None)
    stripped, _ = seen(scope)
    assert path.startswith(stripped)
    assert set(path[len(stripped) :]) <= {"/"}
    assert stripped == f"{root_path}/" or not stripped.endswith("/")


@pytest.mark.parametrize(
    ("exempt", "error"),
    [("/mcp", TypeError), (["mcp"], ValueError), (["/"], ValueError), (["/mcp/*"], ValueError)],
)
def test_refuses_what_is_not_a_list_of_prefixes(exempt: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        StripTrailingSlashMiddleware(responding(), exempt=exempt)


def counting(ran: list[str], name: str, **options: Any) -> Any:
    async def endpoint(request: Request) -> Any:
        ran.append(name)
        if "to" in options:
            return RedirectResponse(options["to"])
        return PlainTextResponse(f"{name} {(await request.body()).decode()}".strip())

    return endpoint


def test_nothing_runs_twice() -> None:
    ran: list[str] = []
    app = FastAPI()
    app.add_route("/hooks/paid/", counting(ran, "paid"), methods=["POST"])
    app.add_route("/away/", counting(ran, "away", to="https://other.example/away/"))
    app.add_route("/back/", counting(ran, "back", to="http://testserver/back/"))
    app.add_middleware(RateLimitMiddleware, limit="100/minute")  # inside the one that strips
    client = client_of(app)
    assert client.post("/hooks/paid/", content=b"body").text == "paid body"
    assert client.get("/away/").headers["location"] == "https://other.example/away/"
    assert client.get("/back/").headers["location"] == "/back/"
    assert ran == ["paid", "away", "back"]
    assert client.get("/nowhere/").headers["ratelimit"].startswith('"default";r=96;')


def test_a_signed_call_to_a_path_with_a_slash_is_answered() -> None:
    app = FastAPI()
    app.add_api_route("/hooks/paid/", lambda: "paid", methods=["POST"])
    app.add_middleware(
        WebhookSignatureMiddleware, secrets=["s"], paths=["/hooks/*"], clock=lambda: 1000.0
    )
    fields = {
        "x-webhook-timestamp": "1000",
        "x-webhook-signature": hmac.new(b"s", b"1000.{}", "sha256").hexdigest(),
    }
    answer = client_of(app).post("/hooks/paid/", content=b"{}", headers=fields)
    assert (answer.status_code, answer.json()) == (200, "paid")


@pytest.mark.parametrize("declared", ["/live", "/live/"])
def test_a_websocket_is_found_in_either_form(declared: str) -> None:
    async def greet(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    app = FastAPI()
    app.add_api_websocket_route(declared, greet)
    with client_of(app).websocket_connect("/live/") as socket:
        assert socket.receive_text() == "hello"


def test_what_is_included_mounted_or_served_from_a_folder_is_asked_too(tmp_path: Path) -> None:
    (tmp_path / "dir").mkdir()
    (tmp_path / "dir" / "index.html").write_text("index")
    ran: list[str] = []
    inner = APIRouter()
    inner.add_api_route("/slashed/", counting(ran, "slashed"))
    inner.add_api_route("/plain", counting(ran, "plain"))
    sub = Starlette(
        routes=[Route("/deep/", counting(ran, "deep")), Route("/", counting(ran, "root"))]
    )
    inner.mount("/sub", sub)
    inner.mount("/files", GZipMiddleware(StaticFiles(directory=tmp_path, html=True)))
    outer = APIRouter()
    outer.include_router(inner, prefix="/inner")
    app = FastAPI()
    app.include_router(outer, prefix="/outer")
    if hasattr(app, "frontend"):
        app.frontend("/", directory=tmp_path)
    client = client_of(app)
    client.follow_redirects = True
    wanted = {"slashed": "slashed", "plain": "plain", "sub/deep": "deep", "sub": "root"}
    for path, text in {**wanted, "files/dir": "index"}.items():
        for slash in ("", "/"):
            assert client.get(f"/outer/inner/{path}{slash}").text == text
    assert ran == [text for text in wanted.values() for _ in range(2)]
    if hasattr(app, "frontend"):
        assert client.get("/dir").text == client.get("/dir/").text == "index"


DECLARED = st.lists(
    st.tuples(
        st.sampled_from(["/a", "/a/", "/{x}", "/{x}/", "/a/b", "/a/b/", "/{p:path}", "/a/{x}/"]),
        st.sampled_from([("GET",), ("POST",), ("GET", "POST")]),
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda pair: pair[0],
)


@given(DECLARED, st.sampled_from(["/a/", "/a/b/", "/c/", "/a/b/c/", "/a"]), st.booleans())
def test_what_is_served_without_the_layer_is_served_with_it_and_once(
    declared: list[tuple[str, tuple[str, ...]]], path: str, is_mounted: bool
) -> None:
    ran: list[str] = []

    def client(*, strips: bool) -> TestClient:
        routes: list[Any] = [
            Route(template, counting(ran, template), methods=list(methods))
            for template, methods in declared
        ]
        app = Starlette(routes=[Mount("/m", Starlette(routes=routes))] if is_mounted else routes)
        if strips:
            app.add_middleware(StripTrailingSlashMiddleware)
        return TestClient(app)

    front = "/m" if is_mounted else ""
    plain = client(strips=False).get(front + path)
    ran.clear()
    answer = client(strips=True).get(front + path)
    assert answer.status_code == plain.status_code or (plain.status_code, answer.status_code) == (
        405,
        200,
    )
    assert len(ran) == (answer.status_code == 200)


class Hiding:
    """Keeps the application where nobody finds it."""

    def __init__(self, app: ASGIApp) -> None:
        self.somewhere = [app]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.somewhere[0](scope, receive, send)


def closing_over(app: ASGIApp) -> ASGIApp:
    async def layer(scope: Scope, receive: Receive, send: Send) -> None:
        await app(scope, receive, send)

    return layer


@pytest.mark.parametrize(("between", "turns"), [(Hiding, 2), (closing_over, 1)])
def test_a_router_that_is_hard_to_find_leads_nobody_round_and_round(
    between: Any, turns: int
) -> None:
    ran: list[str] = []
    routes = [
        Route("/slashed/", counting(ran, "slashed")),
        Route("/plain", counting(ran, "plain")),
        Route("/away/", counting(ran, "away", to="https://other.example/away/")),
    ]
    client = TestClient(StripTrailingSlashMiddleware(between(Starlette(routes=routes))))
    answer = client.get("/slashed/?a=b")
    assert (answer.text, len(answer.history)) == ("slashed", turns - 1)
    assert client.get("/slashed/").history == []
    assert client.get("/plain/").text == "plain"
    assert ran == ["slashed", "slashed", "plain"]
    assert client.get("/away/", follow_redirects=False).status_code == 307
