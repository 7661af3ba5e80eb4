"""Whatever comes, the issuer answers as the RFCs say, and never with a 500."""

import asyncio
import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.testclient import TestClient
from starlette.types import Message

from components.mcp.dev_issuer.messages import Parameters
from components.mcp.dev_issuer.redirect_uri import is_loopback, redirect_fault, same_redirect
from components.mcp.dev_issuer.server import authorization_server
from components.mcp.dev_issuer.state import Bounded
from tests.components.mcp.dev_issuer.world import BASE, USERS, Clock
from tests.mcp_flow import CALLBACK, log_in, pkce, register, request_of

CLOCK = Clock()
ROUTES = authorization_server(base_url=BASE, users=USERS, clock=CLOCK).routes
APP = Starlette(routes=ROUTES)
CLIENT = TestClient(APP, base_url=BASE)
PATHS = ["/authorize", "/authorize/consent", "/token", "/revoke", "/register"]
FORM = b"application/x-www-form-urlencoded"


def call(
    method: str, path: str, query: bytes = b"", headers: Any = (), body: bytes = b""
) -> tuple[int, dict[bytes, bytes], bytes]:
    """One request with exactly these bytes."""
    CLOCK.now += 2  # so that no bound in time is met
    sent: list[Message] = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(b"host", b"localhost:8000"), *headers],
        "client": ("127.0.0.1", 1),
        "server": ("localhost", 8000),
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(APP(scope, receive, send))
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content


def no_fault(answer: tuple[int, dict[bytes, bytes], bytes]) -> None:
    status, headers, body = answer
    assert status < 500
    media = headers.get(b"content-type", b"")
    if status >= 400 and media == b"application/json":
        said = json.loads(body)
        assert set(said) == {"error", "error_description"}
        assert all(0x20 <= ord(c) <= 0x7E and c not in '"\\' for c in said["error_description"])
        assert headers[b"cache-control"] == b"no-store"


NAMES = st.one_of(
    st.sampled_from(["client_id", "redirect_uri", "response_type", "response_mode", "state"]),
    st.sampled_from(["scope", "resource", "code_challenge", "code_challenge_method", "login_hint"]),
    st.sampled_from(["grant_type", "code", "code_verifier", "refresh_token", "client_secret"]),
    st.sampled_from(["token", "ticket", "user", "decision"]),
)
KNOWN = register(CLIENT)["client_id"]
VALUES = st.one_of(
    st.text(max_size=50),
    st.sampled_from([KNOWN, CALLBACK, "code", "S256", "plain", "mcp:read", f"{BASE}/mcp", "\x00"]),
    st.sampled_from(["authorization_code", "refresh_token", "approve", "u-ada", "x" * 43, "a.b.c"]),
    st.sampled_from(["https://127.0.0.1/a", "http://127.0.0.1/a", "eyJhbGciOiJFUzI1NiJ9.e30.AA"]),
)
FIELDS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from([b"authorization", b"cookie", b"origin", b"sec-fetch-site", b"host"]),
        st.binary(max_size=40).map(lambda value: b"Basic " + value) | st.binary(max_size=40),
    ),
    max_size=3,
)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
MEMBERS = st.sampled_from(
    ["redirect_uris", "client_name", "grant_types", "response_types", "token_endpoint_auth_method"]
)


@given(
    st.sampled_from(PATHS),
    st.sampled_from(["GET", "POST", "HEAD", "OPTIONS"]),
    st.binary(max_size=200),
    HEADERS,
    st.binary(max_size=200),
)
def test_bytes_never_give_a_500(
    path: str, method: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    no_fault(call(method, path, query, [(b"content-type", FORM), *headers], body))


@given(st.sampled_from(PATHS), FIELDS, HEADERS)
def test_parameters_never_give_a_500(
    path: str, fields: list[tuple[str, str]], headers: list[tuple[bytes, bytes]]
) -> None:
    text = urlencode(fields).encode()
    no_fault(call("GET", path, text, headers))
    no_fault(call("POST", path, b"", [(b"content-type", FORM), *headers], text))


@given(JSON | st.dictionaries(MEMBERS, JSON | st.lists(VALUES, max_size=3)))
def test_no_registration_gives_a_500(metadata: Any) -> None:
    status, _, body = answer = call("POST", "/register", body=json.dumps(metadata).encode())
    no_fault(answer)
    if status == 201:
        said = json.loads(body)
        assert all(redirect_fault(uri) is None for uri in said["redirect_uris"])


@given(VALUES)
def test_no_redirect_leads_anywhere_but_to_what_was_registered(uri: str) -> None:
    CLIENT.cookies.clear()
    request = request_of(KNOWN, pkce()[1], redirect_uri=uri, response_type="x")
    answer = call("GET", "/authorize", urlencode(request).encode())
    assert b"location" not in answer[1] or uri in {"", CALLBACK}


@given(st.text(max_size=60) | st.from_regex(r"[a-z]+:[!-~]*", fullmatch=True))
def test_an_acceptable_redirect_uri_is_a_url_that_runs_nothing(uri: str) -> None:
    if redirect_fault(uri) is not None:
        return
    assert same_redirect(uri, uri)
    assert uri.isascii()
    assert uri.isprintable()
    assert not uri.lower().startswith(("javascript:", "data:", "file:", "vbscript:", "blob:"))
    if uri.startswith("http:"):
        host = uri.removeprefix("http://").partition("/")[0].partition("?")[0]
        name = host if host.endswith("]") else host.rpartition(":")[0] or host
        assert is_loopback(name.strip("[]").lower())


@given(st.integers(1, 65_535), st.integers(1, 65_535), st.text("abc/?=.", max_size=10))
def test_only_the_port_of_a_loopback_uri_may_differ(one: int, other: int, tail: str) -> None:
    registered = f"http://127.0.0.1:{one}/{tail}"
    assert same_redirect(registered, f"http://127.0.0.1:{other}/{tail}")
    assert same_redirect(registered, f"http://127.0.0.1:{other}/{tail}x") is False
    assert same_redirect(f"https://a.example:{one}/", f"https://a.example:{other}/") is (
        one == other
    )


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 5)), max_size=60))
def test_memory_is_bounded_and_forgets_in_time(puts: list[tuple[int, int]]) -> None:
    clock = Clock()
    memory: Bounded[int] = Bounded(4, clock, lifetime_seconds=10)
    written: dict[int, tuple[float, int]] = {}
    for order, (key, wait) in enumerate(puts):
        clock.now += wait
        memory.put(str(key), order)
        written[key] = (clock.now, order)
        assert len(memory) <= 4
        youngest = sorted(written.items(), key=lambda item: item[1][1])[-4:]
        for name, (time, value) in written.items():
            kept = clock.now - time < 10 and name in dict(youngest)
            assert memory.get(str(name)) == (value if kept else None)


@given(FIELDS)
def test_a_parameter_is_one_value_or_a_refusal(fields: list[tuple[str, str]]) -> None:
    parameters = Parameters(fields)
    for name in {name for name, _ in fields}:
        values = [value for known, value in fields if known == name and value]
        if len(values) <= 1:
            assert parameters.one(name) == (values[0] if values else None)


@given(st.lists(st.integers(0, 3), max_size=8))
def test_a_family_has_one_live_token_until_an_old_one_comes(ages: list[int]) -> None:
    tokens = log_in(CLIENT, user="u-ada")
    form = {"grant_type": "refresh_token", "client_id": tokens["client_id"]}
    given_out, alive = [tokens["refresh_token"]], True
    for age in ages:
        CLOCK.now += 2
        shown = given_out[max(0, len(given_out) - 1 - age)]
        answer = CLIENT.post("/token", data={**form, "refresh_token": shown})
        alive = alive and shown == given_out[-1]
        assert (answer.status_code == 200) is alive
        if alive:
            given_out.append(answer.json()["refresh_token"])


def test_the_fuzzed_issuer_still_works() -> None:
    assert log_in(CLIENT, user="u-ada")["access_token"]
