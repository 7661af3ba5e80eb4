"""Which requests an MCP server takes, before it is asked, in a bare Starlette application."""

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.mcp.http_transport import HttpTransport
from components.mcp.principal import Principal
from components.mcp.protected import Mount as Rules
from components.mcp.protected import protected

BASE = "https://a.example"
PRINCIPAL = Principal(id="u", issuer="i", scopes=frozenset())


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    request = Request(scope, receive)
    body = await request.body()
    answer: Response = JSONResponse({"bytes": len(body), "name": request.headers.get("mcp-name")})
    await answer(scope, receive, send)


def client(*, principal: Principal | None = PRINCIPAL, **options: Any) -> TestClient:
    """A mount behind the transport's rules, and where `principal` is given behind a gate."""
    transport = HttpTransport(**{"base_url": BASE, **options})
    inner = Starlette(routes=[Mount("/", app=transport.guarded(echo))])

    async def gate(scope: Scope, receive: Receive, send: Send) -> None:
        if principal is not None:
            scope.setdefault("state", {})["principal"] = principal
        await inner(scope, receive, send)

    return TestClient(gate, base_url=options.get("base_url", BASE))


@pytest.mark.parametrize(
    ("base_url", "host", "status"),
    [
        (BASE, "a.example", 200),
        (BASE, "A.Example", 200),
        (BASE, "a.example:443", 200),
        (BASE, "a.example:80", 421),
        (BASE, "a.example.evil.example", 421),
        (BASE, "evil.example", 421),
        (BASE, "evil.example, a.example", 421),
        (BASE, "a.example@evil.example", 421),
        (BASE, "", 421),
        ("https://a.example:443/api", "a.example", 200),
        ("http://127.0.0.1:8000", "127.0.0.1:8000", 200),
        ("http://127.0.0.1:8000", "localhost:8000", 421),
        ("http://127.0.0.1:8000", "127.0.0.1", 421),
        ("http://[::1]:8000", "[::1]:8000", 200),
    ],
)
def test_only_the_public_host_is_served(base_url: str, host: str, status: int) -> None:
    answer = client(base_url=base_url).post("/", headers={"Host": host})
    assert answer.status_code == status


def test_two_hosts_are_none() -> None:
    headers = [("host", "a.example"), ("host", "a.example")]
    assert client().post("/", headers=headers).status_code == 421


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (BASE, 200),
        ("https://A.example", 200),
        ("http://a.example", 403),
        ("https://a.example.evil.example", 403),
        ("https://evil.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_a_foreign_origin_may_not_ask(origin: str, status: int) -> None:
    assert client().post("/", headers={"Origin": origin}).status_code == status


@pytest.mark.parametrize(
    ("header", "value", "is_taken"),
    [
        ("Origin", "http://localhost:6274", True),
        ("Origin", "http://localhost", True),
        ("Origin", "http://localhost:6274.evil.example", False),
        ("Origin", "http://localhost:", False),
        ("Origin", "http://localhost:x", False),
        ("Origin", "http://localhost.evil.example:1", False),
        ("Origin", "vscode-webview://abc", True),
        ("Host", "b.example:12", True),
        ("Host", "b.example", True),
        ("Host", "b.example:12:13", False),
        ("Host", "c.example", True),
        ("Host", "c.example:1", False),
    ],
)
def test_more_hosts_and_origins_can_be_named(header: str, value: str, is_taken: bool) -> None:
    http = client(
        hosts=["b.example", "b.example:*", "C.example"],
        origins=["http://localhost:*", "vscode-webview://abc"],
    )
    assert (http.post("/", headers={header: value}).status_code == 200) is is_taken


@given(st.text(alphabet="a.exmpl:*@/\\#0183 \x0b-é", max_size=20))
def test_no_text_passes_for_the_host_but_the_host(text: str) -> None:
    transport = HttpTransport(base_url=BASE, anonymous=True)
    headers = [(b"host", text.encode("latin-1"))]
    scope: Scope = {"type": "http", "method": "POST", "headers": headers}
    try:
        transport.judge(scope)
    except Exception:
        return
    assert text in {"a.example", "a.example:443"}


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "HEAD", "OPTIONS", "PATCH"])
def test_a_stateless_server_is_asked_by_post_alone(method: str) -> None:
    answer = client().request(method, "/")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_without_a_url_of_its_own_the_gates_holds() -> None:
    rules = dict.fromkeys(("advertised", "challenged", "enforced"), ("mcp:read",))

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        mount = protected("https://b.example", "https://i", "/mcp", Rules(), rules)
        scope.setdefault("state", {}).update(principal=PRINCIPAL, protected=mount)
        await guarded(scope, receive, send)

    guarded = HttpTransport(hosts=["c.example"]).guarded(echo)
    http = TestClient(served, base_url="https://b.example", raise_server_exceptions=False)
    assert http.post("/").status_code == 200
    assert http.post("/", headers={"Host": "c.example"}).status_code == 200
    assert http.post("/", headers={"Origin": "https://b.example"}).status_code == 200
    with pytest.raises(HTTPException, match="421"):
        TestClient(served, base_url="https://d.example").post("/")
    with pytest.raises(HTTPException, match="403"):
        TestClient(served, base_url="https://b.example").post(
            "/", headers={"Origin": "http://b.example"}
        )
    with pytest.raises(ValueError, match="needs a `base_url`"):
        HttpTransport(anonymous=True)


def test_a_mount_that_no_gate_protects_is_closed() -> None:
    assert client(principal=None).post("/").status_code == 403
    assert client(principal=None, anonymous=True).post("/").status_code == 200


def test_a_body_is_bounded_whether_it_says_its_length_or_not() -> None:
    http = client(max_body_bytes=10)
    assert http.post("/", content=b"x" * 10).json()["bytes"] == 10
    assert http.post("/", content=b"x" * 11).status_code == 413
    assert http.post("/", content=iter([b"x" * 6, b"x" * 6])).status_code == 413


@pytest.mark.parametrize("body", [b"[", b" \r\n\t[{}]", b"[[[["])
@pytest.mark.parametrize("size", [1, 3, 100])
def test_a_list_is_refused_before_it_is_read_to_its_end(body: bytes, size: int) -> None:
    parts = [body[at : at + size] for at in range(0, len(body), size)]
    reached = 0

    async def story() -> None:
        nonlocal reached

        async def inner(scope: Scope, receive: Receive, send: Send) -> None:
            raise AssertionError

        async def receive() -> Message:
            nonlocal reached
            reached += 1
            return {"type": "http.request", "body": parts[reached - 1], "more_body": True}

        async def send(message: Message) -> None:
            raise AssertionError

        scope: dict[str, Any] = {"type": "http", "method": "POST", "path": "/"}
        scope |= {"headers": [(b"host", b"a.example")], "state": {"principal": PRINCIPAL}}
        await HttpTransport(base_url=BASE).guarded(inner)(scope, receive, send)

    with pytest.raises(HTTPException, match="no batches") as refused:
        anyio.run(story)
    assert refused.value.status_code == 400
    assert reached <= len(parts)


@pytest.mark.parametrize("body", [b"", b"  ", b'\n{"a": [1]}', b"x", b'"["'])
def test_what_is_no_list_arrives_whole(body: bytes) -> None:
    answer = client().post("/", content=iter([body[:1], body[1:]]))
    assert answer.json()["bytes"] == len(body)


def test_a_body_may_have_a_mebibyte_unless_it_is_told_otherwise() -> None:
    assert client().post("/", content=b"x" * 1024 * 1024).status_code == 200
    assert client().post("/", content=b"x" * (1024 * 1024 + 1)).status_code == 413


def test_blanks_around_a_value_are_no_part_of_it() -> None:
    async def served() -> tuple[str, ...]:
        seen: list[bytes] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.extend(value for name, value in scope["headers"] if name == b"mcp-name")

        headers = [(b"host", b"a.example"), (b"mcp-name", b"search \t")]
        scope: Scope = {"type": "http", "method": "POST", "path": "/", "headers": headers}
        guarded: ASGIApp = HttpTransport(base_url=BASE, anonymous=True).guarded(app)
        await guarded(scope, _empty, _nowhere)
        return tuple(value.decode() for value in seen)

    assert anyio.run(served) == ("search",)


async def _empty() -> Any:
    return {"type": "http.request"}


async def _nothing() -> Any:
    raise AssertionError


async def _nowhere(message: Any) -> None:
    raise AssertionError


def test_a_websocket_and_a_lifespan_pass_as_they_are() -> None:
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["type"])

    async def both() -> None:
        guarded = HttpTransport(base_url=BASE).guarded(app)
        for kind in ("lifespan", "websocket"):
            await guarded({"type": kind}, _nothing, _nowhere)

    anyio.run(both)
    assert seen == ["lifespan", "websocket"]


KEY = "k" * 32


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"base_url": "a.example"}, "`base_url` must be a URL"),
        ({"hosts": ["https://b.example"]}, "`hosts` has names such as"),
        ({"hosts": ["*"]}, "`hosts` has names such as"),
        ({"hosts": ["*.example"]}, "`hosts` has names such as"),
        ({"origins": ["b.example"]}, "`origins` has texts such as"),
        ({"origins": ["*"]}, "`origins` has texts such as"),
        ({"origins": ["https://b.example/"]}, "`origins` has texts such as"),
        ({"max_body_bytes": 0}, "at least 1"),
        ({"state_keys": [SecretStr("short")]}, "32 bytes or more"),
        ({"state_keys": [SecretStr(KEY), SecretStr(KEY)]}, "a key twice"),
    ],
)
def test_an_option_that_cannot_hold_is_refused(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text) as caught:
        HttpTransport(**{"base_url": BASE, **options})
    assert "short" not in str(caught.value)
    assert KEY not in str(caught.value)


def test_lists_are_lists() -> None:
    names: Sequence[str] = "b.example"
    make: Callable[..., HttpTransport] = HttpTransport
    with pytest.raises(TypeError, match="are lists"):
        make(base_url=BASE, hosts=names)


def test_a_key_that_is_not_set_is_none() -> None:
    assert HttpTransport(base_url=BASE, state_keys=[SecretStr("")]).state_keys == ()
