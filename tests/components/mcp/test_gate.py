"""The gate lets a token pass for its own mount, and says by the letter of the RFCs why not."""

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.authentication import AuthCredentials
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount as StarletteMount
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from components.access_log.line import who
from components.errors import forbidden, unauthorized
from components.mcp.gate import BearerGate
from components.mcp.http_transport import HttpTransport
from components.mcp.principal import Principal, principal_of
from components.mcp.protected import Mount
from components.mcp.resource_server import ResourceServer
from components.rate_limit.keys import subject_of
from tests.components.mcp.issuer import (
    ISSUER,
    SECRET,
    USER,
    ec_key,
    start_key_server,
    token,
)
from tests.components.middleware.exchange import exchange, http_scope, responding
from tests.servers import free_port

BASE = "https://a.example"
META = f'resource_metadata="{BASE}/.well-known/oauth-protected-resource'
CHALLENGE = f'Bearer {META}/mcp", scope="mcp:read mcp:write"'
INVALID = CHALLENGE + ', error="invalid_token", error_description="'


def resource_server(**options: Any) -> ResourceServer:
    usual: dict[str, Any] = {
        "base_url": BASE,
        "issuer": ISSUER,
        "mounts": {"/mcp": Mount(), "/mcp-admin": Mount(roles=("admin", "owner"))},
    }
    if "jwks_url" not in options:
        usual["secret"] = SecretStr(SECRET)
    return ResourceServer(**{**usual, **options})


async def show(request: Request) -> JSONResponse:
    return JSONResponse(
        {
            "path": request.url.path,
            "user": request.user.id if "user" in request.scope else None,
            "scopes": request.auth.scopes if "auth" in request.scope else None,
        }
    )


async def greet(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text(principal_of(socket).id)
    await socket.close()


def application(server: ResourceServer, **options: Any) -> Starlette:
    inner = Starlette(routes=[WebSocketRoute("/ws", greet), Route("/{path:path}", show)])
    routes = [
        StarletteMount("/mcp", inner),
        StarletteMount("/mcp-admin", inner),
        Route("/{path:path}", show),
    ]
    layers = [Middleware(BearerGate, resource_server=server)]
    return Starlette(routes=routes, middleware=layers, **options)


@contextmanager
def client(**options: Any) -> Iterator[TestClient]:
    with TestClient(application(resource_server(**options)), base_url=BASE) as made:
        yield made


def bearer(text: str | None = None, **changes: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {text or token(**changes)}"}


# Who passes


OPEN_TO_READ = {"/mcp": Mount(public_methods=("GET",), roles=("admin",))}


@pytest.mark.parametrize(
    ("method", "given", "status", "user"),
    [
        ("GET", {}, 200, None),
        ("GET", bearer(), 200, USER),  # who has no right to write may read all the same
        ("GET", bearer("a.b.c"), 401, None),
        ("HEAD", {}, 401, None),
        ("POST", {}, 401, None),
        ("POST", bearer(), 403, None),
        ("POST", bearer(app_metadata={"role": "admin"}), 405, None),  # it reached the route
    ],
)
def test_a_public_method_needs_no_token_and_no_rights(
    method: str, given: dict[str, str], status: int, user: str | None
) -> None:
    with client(mounts=OPEN_TO_READ) as http:
        answer = http.request(method, "/mcp/x", headers=given)
        assert answer.status_code == status
        if status == 200:
            assert answer.json()["user"] == user
        assert http.get("/mcp/x?access_token=a").status_code == 401
        with pytest.raises(WebSocketDenialResponse), http.websocket_connect("/mcp/ws"):
            pass


def test_a_token_brings_its_user_and_scopes() -> None:
    with client() as http:
        answer = http.get("/mcp/x", headers=bearer(scope="mcp:read mcp:write extra"))
    assert answer.status_code == 200
    assert answer.json()["user"] == USER
    assert answer.json()["scopes"] == ["extra", "mcp:read", "mcp:write"]


@pytest.mark.parametrize("word", ["Bearer", "bearer", "BEARER", "bEaReR"])
@pytest.mark.parametrize("space", [" ", "   "])
def test_the_word_bearer_may_be_written_in_any_case(word: str, space: str) -> None:
    with client() as http:
        headers = {"Authorization": f"{word}{space}{token()}"}
        assert http.get("/mcp/", headers=headers).status_code == 200


@pytest.mark.parametrize("path", ["/mcpfoo", "/mcp-adminx", "/", "/other/mcp", "/MCP", "/mcp%2Fx"])
def test_other_paths_are_not_judged(path: str) -> None:
    with client() as http:
        answer = http.get(path, headers={"Authorization": "Bearer nonsense"})
        is_inside = path == "/mcp%2Fx"  # servers decode it, and so does the router
        assert answer.status_code == (401 if is_inside else 200)
        assert ("www-authenticate" in answer.headers) is is_inside


def test_the_log_and_the_limits_know_the_user() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await PlainTextResponse("ok")(scope, receive, send)

    gate = BearerGate(app, resource_server=resource_server())
    assert TestClient(gate).get("/mcp", headers=bearer()).status_code == 200
    [scope] = seen
    assert who(scope)[7] == USER
    assert subject_of("user")(scope) == f"user:{USER}"
    principal = principal_of(scope)
    assert isinstance(principal, Principal)
    assert principal.claims["iss"] == principal.issuer == ISSUER
    assert isinstance(scope["auth"], AuthCredentials)
    assert token() not in repr(principal)


def test_without_a_gate_there_is_no_principal() -> None:
    with pytest.raises(PermissionError, match="has passed no gate"):
        principal_of({"type": "http", "state": {"principal": "admin"}})


# Who does not: by the letter


@pytest.mark.parametrize("path", ["/mcp", "/mcp/", "/mcp/x", "/mcp/.well-known/x"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "DELETE", "OPTIONS"])
def test_no_token_is_a_challenge_without_an_error(path: str, method: str) -> None:
    with client() as http:
        answer = http.request(method, path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("value", ["", " ", "Bearer", "Bearer ", "Basic YTpi", "Bearerx", "token"])
def test_a_header_without_a_token_is_as_none(value: str) -> None:
    with client() as http:
        answer = http.get("/mcp", headers={"Authorization": value})
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nonsense", "the token is not well formed"),
        ("two words", "the token is not well formed"),
        ("a,b", "the token is not well formed"),
        ('"quoted"', "the token is not well formed"),
        ("x" * 9000, "the token is too long"),
        (token(exp=1), "the token has expired"),
        (token(aud="other"), "the token is for another audience"),
    ],
)
def test_a_token_that_is_not_valid_is_told_as_such(text: str, reason: str) -> None:
    with client() as http:
        answer = http.get("/mcp", headers=bearer(text))
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'{INVALID}{reason}"'
    assert answer.json()["error"]["message"] == reason


@pytest.mark.parametrize("value", [b"Bearer caf\xe9", b"Bearer \xff", "Bearer tökén".encode()])
def test_bytes_that_are_no_token_are_not_valid(value: bytes) -> None:
    with client() as http:
        answer = http.get("/mcp", headers=[(b"authorization", value)])
    assert answer.headers["www-authenticate"] == f'{INVALID}the token is not well formed"'


def test_a_long_header_costs_no_time() -> None:
    gate = BearerGate(_unreachable, resource_server=resource_server())
    began = time.perf_counter()
    for value in ("Bearer x" + " " * 60_000 + "x", "Bearer " + "=" * 60_000, "Bearer" * 10_000):
        assert TestClient(gate).get("/mcp", headers={"Authorization": value}).status_code == 401
    assert time.perf_counter() - began < 20


def test_two_tokens_are_a_bad_request() -> None:
    both = [("Authorization", f"Bearer {token()}")] * 2
    with client() as http:
        for answer in (
            http.get("/mcp", headers=both),
            http.get(f"/mcp?access_token={token()}", headers=bearer()),
        ):
            assert answer.status_code == 400
            assert answer.headers["www-authenticate"] == (
                CHALLENGE
                + ', error="invalid_request", error_description="more than one token came"'
            )


@pytest.mark.parametrize("name", ["access_token", "access%5Ftoken", "x=1&access_token"])
def test_a_token_in_the_query_string_is_not_taken(name: str) -> None:
    with client() as http:
        answer = http.get(f"/mcp?{name}={token()}")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, CHALLENGE)
        assert http.get("/mcp?accessible_token=x&y=%20", headers=bearer()).status_code == 200


def test_a_scope_that_is_lacking_is_told() -> None:
    with client() as http:
        answer = http.get("/mcp", headers=bearer(scope="mcp:read"))
    assert answer.status_code == 403
    assert answer.headers["www-authenticate"] == (
        CHALLENGE + ', error="insufficient_scope", error_description="the token lacks a scope"'
    )


@pytest.mark.parametrize(
    ("metadata", "status"),
    [
        ({"role": "admin"}, 200),
        ({"role": "owner"}, 200),
        ({"role": "Admin"}, 403),
        ({"role": ["admin"]}, 403),
        ({"role": None}, 403),
        ({}, 403),
        ("admin", 403),
    ],
)
def test_a_mount_may_ask_for_a_role(metadata: Any, status: int) -> None:
    hopeful: dict[str, Any] = {"role": "admin", "user_metadata": {"role": "admin"}}
    with client() as http:
        headers = bearer(app_metadata=metadata, **hopeful)
        answer = http.get("/mcp-admin", headers=headers)
        assert answer.status_code == status
        assert http.get("/mcp", headers=headers).status_code == 200
    if status == 403:
        assert answer.headers["www-authenticate"] == (
            f'Bearer {META}/mcp-admin", scope="mcp:read mcp:write", error="insufficient_scope",'
            ' error_description="the user has none of the roles that are needed"'
        )


# The four kinds of scopes


def test_scopes_that_a_login_implies_need_not_be_in_the_token() -> None:
    with client(scopes_implied=["mcp:read", "mcp:write"]) as http:
        assert http.get("/mcp", headers=bearer(scope=None)).status_code == 200
    with client() as http:
        assert http.get("/mcp", headers=bearer(scope=None)).status_code == 403


@pytest.mark.parametrize(
    "changes",
    [{"scope": ["a", "b"]}, {"scope": None, "scp": "b a"}, {"scp": ["b"], "scope": "a"}],
)
def test_scopes_may_be_written_as_issuers_do(changes: Any) -> None:
    with client(scopes_enforced=["a", "b"]) as http:
        assert http.get("/mcp", headers=bearer(token(**changes))).status_code == 200
        assert http.get("/mcp", headers=bearer(scope="a")).status_code == 403


def test_what_is_challenged_is_not_what_is_enforced() -> None:
    with client(scopes_challenged=["openid"], scopes_enforced=["mcp:use"]) as http:
        answer = http.get("/mcp")
        assert answer.headers["www-authenticate"] == f'Bearer {META}/mcp", scope="openid"'
        answer = http.get("/mcp", headers=bearer(scope="openid"))
        assert (
            'scope="openid mcp:use", error="insufficient_scope"'
            in (answer.headers["www-authenticate"])
        )
    with client(scopes_challenged=[], scopes_enforced=[]) as http:
        assert http.get("/mcp").headers["www-authenticate"] == f'Bearer {META}/mcp"'
        assert http.get("/mcp", headers=bearer(scope=None)).status_code == 200


def test_a_mount_may_have_scopes_of_its_own() -> None:
    mounts = {"/mcp": Mount(), "/mcp/inner": Mount(enforced=("deep",), challenged=("deep",))}
    with client(mounts=mounts) as http:
        assert http.get("/mcp/inner/x").headers["www-authenticate"] == (
            f'Bearer {META}/mcp/inner", scope="deep"'
        )
        assert http.get("/mcp/inner", headers=bearer()).status_code == 403
        assert http.get("/mcp/innermost", headers=bearer()).status_code == 200


@pytest.mark.parametrize("audience", [BASE, f"{BASE}/", f"{BASE}/mcp", f"{BASE}/mcp/"])
def test_a_token_for_the_url_of_the_mount_is_for_us(audience: str) -> None:
    with client(audience=[]) as http:
        assert http.get("/mcp", headers=bearer(aud=audience)).status_code == 200
        assert http.get("/mcp", headers=bearer()).status_code == 401
        assert http.get("/mcp", headers=bearer(aud=f"{BASE}/mcp-admin")).status_code == 401


# Keys


def test_while_the_keys_are_away_the_answer_is_503() -> None:
    text = token(ec_key())
    with client(jwks_url=f"http://127.0.0.1:{free_port()}/") as http:
        answer = http.get("/mcp", headers=bearer(text))
        assert answer.status_code == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert "www-authenticate" not in answer.headers
        assert http.get("/mcp").status_code == 401
        # a token that is refused whatever the keys are is still refused
        assert http.get("/mcp", headers=bearer(token())).status_code == 401


def test_tokens_are_taken_by_published_keys() -> None:
    with (
        start_key_server(ec_key()) as server,
        client(jwks_url=server.url) as http,
    ):
        assert http.get("/mcp", headers=bearer(token(ec_key()))).status_code == 200
        assert http.get("/mcp", headers=bearer(token(ec_key("ec-2")))).status_code == 401


# Handlers, websockets, places


def test_the_handlers_of_the_application_answer() -> None:
    async def own(request: Any, error: Any) -> JSONResponse:
        return JSONResponse({"own": error.detail}, error.status_code, error.headers)

    def plain(request: Any, error: Any) -> JSONResponse:
        return JSONResponse({"plain": error.detail}, error.status_code, error.headers)

    handlers = {401: own, 403: plain}
    app = application(resource_server(), exception_handlers=handlers)
    http = TestClient(app)
    answer = http.get("/mcp")
    assert answer.json() == {"own": "a bearer token in the Authorization header is needed"}
    assert answer.headers["www-authenticate"] == CHALLENGE
    assert http.get("/mcp", headers=bearer(scope="x")).json() == {
        "plain": "the token lacks a scope"
    }


def test_our_own_handlers_keep_the_challenge_of_the_mount() -> None:
    challenges = {"/": "Basic", "/mcp": "Basic"}
    handlers: Any = {401: unauthorized(challenges=challenges), 403: forbidden()}
    http = TestClient(application(resource_server(), exception_handlers=handlers))
    assert http.get("/mcp").headers["www-authenticate"] == CHALLENGE
    assert (
        "insufficient_scope"
        in (http.get("/mcp", headers=bearer(scope="x")).headers["www-authenticate"])
    )


def test_a_websocket_needs_a_token_too() -> None:
    with client() as http:
        with http.websocket_connect("/mcp/ws", headers=bearer()) as socket:
            assert socket.receive_text() == USER
        with pytest.raises(WebSocketDenialResponse) as denied, http.websocket_connect("/mcp/ws"):
            pass
        assert denied.value.status_code == 401
        assert denied.value.headers["www-authenticate"] == CHALLENGE


def test_a_websocket_is_closed_on_a_server_that_cannot_answer_it() -> None:
    app = application(resource_server())

    async def without_extension(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "extensions": {}}, receive, send)

    with (
        pytest.raises(WebSocketDisconnect) as closed,
        TestClient(without_extension).websocket_connect("/mcp/ws"),
    ):
        pass
    assert closed.value.code == 1008


@pytest.mark.parametrize("path", ["/api/mcp", "/mcp"])
def test_the_root_path_of_a_proxy_is_not_part_of_a_mount(path: str) -> None:
    http = TestClient(application(resource_server(base_url=f"{BASE}/api")), root_path="/api")
    assert (
        http.get(path)
        .headers["www-authenticate"]
        .startswith(
            f'Bearer resource_metadata="{BASE}/.well-known/oauth-protected-resource/api/mcp"'
        )
    )


@given(st.binary(max_size=40) | st.text(max_size=30).map(lambda text: text.encode()), st.binary())
def test_no_header_and_no_query_does_more_than_be_refused(value: bytes, query: bytes) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/mcp",
        "query_string": query,
        "headers": [(b"authorization", b"Bearer " + value)],
    }
    asyncio.run(_GATE(scope, receive, send))
    assert sent[0]["status"] in {400, 401}
    json.loads(sent[1]["body"])


async def _unreachable(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError


_GATE = BearerGate(_unreachable, resource_server=resource_server())


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base_url": "a.example"}, "`base_url` must be a URL"),
        ({"base_url": "https://a.example?x"}, "`base_url` must be a URL"),
        ({"base_url": "https://user:pw@a.example"}, "`base_url` must be a URL"),
        ({"base_url": 'https://a.example/"'}, "`base_url` must be a URL"),
        ({"base_url": "https://a.example/\r\nX: y"}, "`base_url` must be a URL"),
        ({"base_url": "https://[::1"}, "`base_url` must be a URL"),
        ({"base_url": "ftp://a.example"}, "`base_url` must be a URL"),
        ({"issuer": "project"}, "`issuer` must be a URL"),
        ({"jwks_url": "keys"}, "`jwks_url` must be a URL"),
        ({"mounts": {}}, "`mounts` is empty"),
        ({"mounts": {"mcp": Mount()}}, "`mounts` has a path such as `/mcp`"),
        ({"mounts": {"/": Mount()}}, "`mounts` has a path such as `/mcp`"),
        ({"mounts": {"/mcp/": Mount()}}, "`mounts` has a path such as `/mcp`"),
        ({"mounts": {"/mcp": Mount(public_methods=("get",))}}, "`mounts./mcp.public_methods` must"),
        ({"mounts": {"/mcp": Mount(enforced=('a"b',))}}, "`mounts./mcp.enforced` must be a list"),
        ({"scopes_enforced": "mcp:read"}, "`scopes_enforced` must be a list"),
        ({"scopes_challenged": ["a b"]}, "`scopes_challenged` must be a list"),
        ({"audience": "authenticated"}, "`audience` must be a list"),
        ({"audience": [""]}, "`audience` must be a list"),
        ({"secret": SecretStr("short")}, "`secret` must be of 32 bytes or more"),
        ({"secret": SecretStr(ec_key().pem())}, "`secret` is a key of a pair"),
        (
            {"secret": SecretStr(SECRET), "jwks_url": "https://a.example"},
            "`secret` and `jwks_url` exclude each other",
        ),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        resource_server(**options)
    assert SECRET not in str(caught.value)


def test_an_empty_secret_is_none() -> None:
    server = resource_server(secret=SecretStr(""))
    assert TestClient(application(server)).get("/mcp", headers=bearer()).status_code == 401


# How it reads paths


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/mcp\n", 401),
        ("/mcp/x\n", 401),
        ("//mcp/x", 401),
        ("/open/../mcp/x", 401),
        ("/./mcp", 401),
        ("/" + "a/../" * 40, 401),
        ("/mcpx", 200),
        ("/open/x//y", 200),
        ("/mcp-admin/../mcp/x", 403),
        ("/mcp/../mcp-admin/x", 403),
        ("/mcp/./x", 200),
    ],
)
def test_a_mount_is_guarded_by_every_reading_of_the_path(path: str, status: int) -> None:
    app = application(resource_server())
    given = [] if status == 401 else [(b"authorization", bearer()["Authorization"].encode())]
    answer = exchange(app, http_scope(path, headers=[(b"host", b"a.example"), *given]))
    assert answer.status == status


def test_a_mount_that_names_no_roles_is_no_mount_for_administrators() -> None:
    transport = HttpTransport(base_url=BASE)
    inner = transport.guarded(responding(), for_roles=True)
    for mount, status in (
        (Mount(), 403),
        (Mount(roles=("*", "admin")), 403),
        (Mount(roles=("admin",)), 200),
    ):
        server = resource_server(mounts={"/mcp-admin": mount})
        app = Starlette(
            routes=[StarletteMount("/mcp-admin", inner)],
            middleware=[Middleware(BearerGate, resource_server=server)],
        )
        given = bearer(app_metadata={"role": "admin"})
        with TestClient(app, base_url=BASE) as http:
            assert http.post("/mcp-admin/", headers=given).status_code == status
