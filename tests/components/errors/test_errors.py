"""The exception handlers."""

import asyncio
import json
import logging
import math
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, HTTPException, Query, WebSocket
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from components import errors, request_context
from components.database import engine
from components.errors.transient import transient_reason
from components.http.error_response import Fault
from components.rate_limit.endpoint import RateLimited
from tests.components.middleware.exchange import Answer, exchange, http_scope, websocket_scope
from tests.servers import free_port, start_uvicorn
from tests.transient_errors import raised_in

Handler = Callable[..., Any]
PROBLEM = "application/problem+json"


def answer(
    handler: Handler, error: Exception, accept: str | None = None, **scope_options: Any
) -> Answer:
    """What a client gets, by a bare ASGI exchange."""
    fields = [] if accept is None else [(b"accept", accept.encode("latin-1"))]
    scope = http_scope(headers=fields, **scope_options)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        response = await handler(Request(scope), error)
        await response(scope, receive, send)

    return exchange(app, scope)


def test_allow_has_the_methods_of_all_routes_of_a_path() -> None:
    app = FastAPI()
    router = APIRouter()
    for method in ("GET", "PATCH", "DELETE"):
        router.add_api_route("/items/{number}", lambda: None, methods=[method], name=method)
    app.include_router(router, prefix="/api")
    app.add_exception_handler(StarletteHTTPException, errors.http_exception())
    with TestClient(app) as client:
        answer = client.put("/api/items/1")
    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, PATCH")


def told(handler: Handler, error: Exception) -> Any:
    return json.loads(answer(handler, error).body)["error"]


ALL: list[Handler] = [
    errors.http_exception(),
    errors.api_exception(),
    errors.unauthorized(),
    errors.forbidden(),
    errors.validation_error(),
    errors.value_error(),
    errors.database_error(),
    errors.unexpected(),
]


def test_no_library_is_imported_that_an_application_may_not_have() -> None:
    code = (
        "import sys, components.errors, components.middleware.webhook_signature as _;"
        "print({'fastapi', 'sqlalchemy', 'asyncpg', 'sentry_sdk', 'redis'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=100
    )
    assert done.stdout == "set()\n"


# The shape


def test_a_services_own_exception() -> None:
    error = errors.BaseAPIException(
        409, "listing_sold", "it is gone", {"id": 7}, {"X-Reason": "sold"}
    )
    got = answer(errors.api_exception(), error)
    assert (got.status, got.one("x-reason")) == (409, "sold")
    assert (got.one("content-type"), got.one("cache-control")) == ("application/json", "no-store")
    assert json.loads(got.body) == {
        "error": {"code": "listing_sold", "message": "it is gone", "details": {"id": 7}}
    }


def test_without_a_handler_it_is_answered_as_any_http_exception() -> None:
    async def endpoint(request: Request) -> None:
        raise errors.BaseAPIException(409, "listing_sold")

    client = TestClient(Starlette(routes=[Route("/", endpoint)]))
    assert (client.get("/").status_code, client.get("/").text) == (409, "Conflict")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "not_found", "Not Found"),
        (405, "method_not_allowed", "Method Not Allowed"),
        (418, "i_m_a_teapot", "I'm a Teapot"),
        (499, "error", "error"),
        (599, "server_error", "server error"),
    ],
)
def test_codes_come_from_the_status(status: int, code: str, message: str) -> None:
    said = told(errors.http_exception(), HTTPException(status))
    assert said["code"] == code
    assert said["message"].lower() == message.lower()
    assert said["details"] == {}


def test_codes_are_those_of_todays_standard_under_any_python() -> None:
    codes = [told(errors.http_exception(), HTTPException(n))["code"] for n in (413, 414, 416, 422)]
    assert codes == [
        "content_too_large",
        "uri_too_long",
        "range_not_satisfiable",
        "unprocessable_content",
    ]


@pytest.mark.parametrize(
    ("detail", "said"),
    [
        ("text", {"code": "bad_request", "message": "text", "details": {}}),
        (
            {"code": "own", "message": "said", "more": 1},
            {"code": "own", "message": "said", "details": {"more": 1}},
        ),
        ({"code": 5}, {"code": "bad_request", "message": "bad request", "details": {"code": 5}}),
        (
            ["a", "b"],
            {"code": "bad_request", "message": "bad request", "details": {"detail": ["a", "b"]}},
        ),
    ],
)
def test_details_of_any_form(detail: Any, said: Any) -> None:
    assert told(errors.http_exception(), HTTPException(400, detail)) == said


def test_an_oauth_payload_is_kept_in_any_form_of_answer() -> None:
    payload = {"error": "invalid_grant", "error_description": "code expired"}
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache", "WWW-Authenticate": "Basic"}
    error = HTTPException(400, payload, headers)
    for accept in (None, PROBLEM):
        got = answer(errors.http_exception(), error, accept)
        assert json.loads(got.body) == payload
        assert got.one("content-type") == "application/json"
        assert {name: got.one(name) for name in headers} == headers


def test_a_rate_limits_refusal_keeps_its_code_details_and_fields() -> None:
    error = RateLimited(429, "too many", {"Retry-After": "7"}, "rate_limited")
    got = answer(errors.http_exception(), error)
    assert (got.status, got.one("retry-after")) == (429, "7")
    assert json.loads(got.body) == {
        "error": {"code": "rate_limited", "message": "too many", "details": {"retry_after": 7}}
    }


@pytest.mark.parametrize("status", [204, 304])
def test_a_status_without_a_body_has_none(status: int) -> None:
    got = answer(errors.http_exception(), HTTPException(status, headers={"X-A": "b"}))
    assert (got.body, got.one("x-a"), got.one("content-type")) == (b"", "b", None)


def test_headers_that_http_cannot_carry_are_left_out() -> None:
    headers: Any = {"X-Split": "a\r\nSet-Cookie: b", "X-Wide": "→", "a b": "c", "Retry-After": 5}
    headers |= {"Content-Length": "1", "Content-Type": "text/html"}
    got = answer(errors.http_exception(), HTTPException(400, "x", headers))
    names = {name for name, _ in got.headers}
    assert names == {b"cache-control", b"vary", b"retry-after", b"content-length", b"content-type"}
    assert got.one("content-length") == str(len(got.body))
    assert got.one("content-type") == "application/json"


# What JSON cannot hold

_cyclic: dict[str, Any] = {}
_cyclic["self"] = [_cyclic, _cyclic]


class Odd:
    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


class Model(BaseModel):
    secret: SecretStr = SecretStr("hidden")
    ratio: float = math.nan


@pytest.mark.parametrize(
    "value",
    [
        *(math.nan, math.inf, "\ud800", {"\ud800": {math.nan: -math.inf}}, b"\xff", {1, 2}, Odd()),
        *(10**5000, _cyclic, Model(), object, {Odd(): 1}, ValueError("x"), 1j),
    ],
    ids=lambda value: type(value).__name__,
)
def test_details_that_json_cannot_hold_are_still_answered(value: Any) -> None:
    error = errors.BaseAPIException(400, "odd", details={"value": value})
    for accept in (None, PROBLEM):
        got = answer(errors.api_exception(), error, accept)
        text = got.body.decode("utf-8")
        json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert got.status == 400
        assert "hidden" not in text


@given(st.recursive(st.none() | st.floats() | st.text() | st.binary(), st.lists, max_leaves=9))
def test_any_detail_is_answered(detail: Any) -> None:
    got = answer(errors.http_exception(), HTTPException(400, {"message": "\udfff", "d": detail}))
    assert json.loads(got.body)["error"]["message"] == "?"


# problem+json


@pytest.mark.parametrize(
    ("accept", "problem"),
    [
        (None, False),
        ("", False),
        ("*/*", False),
        ("application/json", False),
        (PROBLEM, True),
        (f"Application/Problem+JSON, {PROBLEM};q=1.000", True),
        (f"application/json, {PROBLEM}", True),
        (f"application/json;q=0.5, {PROBLEM};q=0.9", True),
        (f"application/json, {PROBLEM};q=0.9", False),
        (f"{PROBLEM};q=0.5, */*", False),
        (f"{PROBLEM};q=0.5, */*;q=0.1", True),
        (f"{PROBLEM};q=0", False),
        (f"{PROBLEM};q=nan", False),
        (f"{PROBLEM};q=1e9", False),
        (f"{PROBLEM}; charset=utf-8; q=0.5", True),
        (",;,q=;;=\xff", False),
    ],
)
def test_problem_details_for_clients_that_prefer_them(accept: str | None, problem: bool) -> None:
    got = answer(errors.http_exception(), HTTPException(404, "no such thing"), accept)
    assert got.one("vary") == "Accept"
    if not problem:
        assert got.one("content-type") == "application/json"
        return
    assert got.one("content-type") == PROBLEM
    assert json.loads(got.body) == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "no such thing",
        "code": "not_found",
        "details": {},
    }


def test_the_form_can_be_fixed() -> None:
    for body, accept, media in (("problem", None, PROBLEM), ("error", PROBLEM, "application/json")):
        handler = errors.http_exception(body=body)  # type: ignore[arg-type]  # two of three words
        assert answer(handler, HTTPException(404), accept).one("content-type") == media
    with pytest.raises(ValueError, match="accept, error, problem"):
        errors.unexpected(body="html")  # type: ignore[arg-type]  # what a test is for


def test_vary_of_the_exception_is_completed() -> None:
    got = answer(errors.http_exception(), HTTPException(404, headers={"Vary": "Origin"}))
    assert got.one("vary") == "Origin, Accept"


@given(st.binary(max_size=60))
def test_no_accept_header_fails(accept: bytes) -> None:
    assert (
        answer(errors.http_exception(), HTTPException(404), accept.decode("latin-1")).status == 404
    )


# 401 and 403


@pytest.mark.parametrize(
    ("path", "challenge"),
    [
        ("/mcp", "Bearer mcp"),
        ("/mcp/", "Bearer mcp"),
        ("/mcp/tools", "Bearer mcp"),
        ("/mcp/admin/x", "Bearer admin"),
        ("/mcp/administer", "Bearer mcp"),
        ("/mcpfoo", None),
        ("/", None),
        ("/a/mcp", None),
    ],
)
def test_a_mount_has_its_own_challenge(path: str, challenge: str | None) -> None:
    handler = errors.unauthorized(challenges={"/mcp": "Bearer mcp", "/mcp/admin/": "Bearer admin"})
    got = answer(handler, HTTPException(401), path=path)
    assert (got.status, got.one("www-authenticate")) == (401, challenge)


def test_challenges_hold_inside_mounts_and_under_a_root_path() -> None:
    async def endpoint(request: Request) -> None:
        raise HTTPException(401)

    inner = Starlette(routes=[Route("/tools", endpoint)])
    handlers = {401: errors.unauthorized(challenges={"/mcp": "Bearer x"})}
    for handlers_outside in (True, False):
        inside: Any = {} if handlers_outside else handlers
        mounted = Starlette(routes=inner.routes, exception_handlers=inside)
        app = Starlette(
            routes=[Mount("/mcp", mounted)],
            exception_handlers=handlers if handlers_outside else {},
        )
        for root_path, url in (("", "/mcp/tools"), ("/api", "/api/mcp/tools")):
            client = TestClient(app, root_path=root_path)
            # where only the mounted application has no handler, its own default answers
            if not handlers_outside:
                assert client.get(url).headers["www-authenticate"] == "Bearer x"


def test_the_exceptions_own_challenge_stands() -> None:
    handler = errors.unauthorized(challenges={"/": "Bearer all"})
    own = HTTPException(401, headers={"www-authenticate": "Basic"})
    assert answer(handler, own).one("www-authenticate") == "Basic"
    assert answer(handler, HTTPException(401)).one("www-authenticate") == "Bearer all"


@pytest.mark.parametrize("challenges", [{"mcp": "Bearer"}, {"/*": "Bearer"}, {"/": "a\nb"}])
def test_refuses_what_is_no_challenge(challenges: dict[str, str]) -> None:
    with pytest.raises(ValueError):
        errors.unauthorized(challenges=challenges)


def test_other_exceptions_get_the_handlers_status_and_their_text_is_not_shown() -> None:
    for handler, status in ((errors.forbidden(), 403), (errors.unauthorized(), 401)):
        got = answer(handler, PermissionError("/etc/shadow"))
        assert got.status == status
        assert b"shadow" not in got.body


# Validation


class Login(BaseModel):
    name: str
    password: Annotated[str, Body(max_length=5)]


def validating() -> TestClient:
    app = FastAPI()
    app.add_exception_handler(RequestValidationError, errors.validation_error())

    @app.post("/login")
    async def login(login: Login) -> None: ...

    @app.post("/numbers")
    async def numbers(numbers: list[int]) -> None: ...

    @app.get("/search")
    async def search(size: Annotated[int, Query()]) -> None: ...

    return TestClient(app)


def test_validation_tells_where_and_why_but_not_what() -> None:
    got = validating().post("/login", json={"password": "hunter22"})
    assert got.status_code == 422
    assert got.json() == {
        "error": {
            "code": "validation_error",
            "message": "the request is not valid",
            "details": {
                "errors": [
                    {"loc": ["body", "name"], "msg": "Field required", "type": "missing"},
                    {
                        "loc": ["body", "password"],
                        "msg": "String should have at most 5 characters",
                        "type": "string_too_long",
                    },
                ]
            },
        }
    }
    assert "hunter22" not in got.text


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/login", b'{"name": NaN, "password": Infinity}'),
        ("/login", b'{"name": ["\\ud800"], "password": {"\\udfff": 1}}'),
        ("/numbers", b'[NaN, "\\ud800", 1e999, {"a": -Infinity}]'),
        ("/numbers", b'"\\ud800"'),
        ("/numbers", b"{"),
        ("/numbers", b"[" * 100),
    ],
)
def test_validation_answers_what_json_cannot_hold(path: str, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    got = validating().post(path, content=content, headers=headers)
    assert got.status_code == 422
    assert got.json()["error"]["details"]["errors"]


def test_validation_of_a_query_and_of_very_many_errors() -> None:
    got = validating().get("/search", params={"size": "many"}).json()["error"]["details"]
    assert got["errors"][0]["loc"] == ["query", "size"]
    got = validating().post("/numbers", json=["x"] * 250).json()["error"]["details"]
    assert (len(got["errors"]), got["omitted"]) == (100, 150)


# ValueError, the unexpected, the database


@pytest.fixture
def _identified() -> Iterator[None]:
    token = request_context.CONTEXT.set(("of-the-context", None))
    yield
    request_context.CONTEXT.reset(token)


def test_a_value_error_keeps_its_text_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    got = answer(errors.value_error(), ValueError("password hunter2"))
    assert got.status == 422
    assert b"hunter2" not in got.body
    assert json.loads(got.body)["error"]["code"] == "invalid_value"
    assert "hunter2" in caplog.text


def test_the_text_of_a_value_error_itself_can_be_shown() -> None:
    handler = errors.value_error(show_text=True)
    assert told(handler, ValueError("the price is negative"))["message"] == "the price is negative"
    with pytest.raises(ValueError) as quoting:
        json.loads("hunter2")
    assert "hunter2" not in answer(handler, quoting.value).body.decode()


def test_the_unexpected_is_generic_and_logged_with_the_requests_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    state = {"request_id": "id-1"}
    got = answer(
        errors.unexpected(), RuntimeError("hunter2"), state=state, path="/a\nFAKE é", method="PUT"
    )
    assert got.status == 500
    assert json.loads(got.body) == {
        "error": {
            "code": "internal_server_error",
            "message": "the request failed unexpectedly",
            "details": {"request_id": "id-1"},
        }
    }
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("components.errors", logging.ERROR)
    assert record.getMessage() == "unhandled RuntimeError in PUT '/a\\nFAKE \\xe9', request id-1"
    assert record.__dict__["request_id"] == "id-1"
    assert record.exc_info is not None
    assert "hunter2" in str(record.exc_info[1])


@pytest.mark.usefixtures("_identified")
def test_the_id_is_also_known_from_the_context() -> None:
    assert told(errors.unexpected(), RuntimeError())["details"] == {"request_id": "of-the-context"}


def test_debug_shows_the_traceback() -> None:
    lines = told(errors.unexpected(debug=True), RuntimeError("hunter2"))["details"]["traceback"]
    assert lines[-1] == "RuntimeError: hunter2"


def test_the_catch_all_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Exception):
        __str__ = __repr__ = Odd.__str__

    class Failing(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError

    failing = Failing()
    caplog.handler.addFilter(failing)
    try:
        for debug in (False, True):
            assert answer(errors.unexpected(debug=debug), Broken()).status == 500
        assert answer(errors.unexpected(), Broken(), state=None).status == 500
    finally:
        caplog.handler.removeFilter(failing)


def test_in_bare_starlette_it_answers_and_the_server_still_sees_the_exception() -> None:
    async def endpoint(request: Request) -> None:
        raise RuntimeError("own")

    app = Starlette(
        routes=[Route("/", endpoint)], exception_handlers={Exception: errors.unexpected()}
    )
    assert TestClient(app, raise_server_exceptions=False).get("/").status_code == 500
    with pytest.raises(RuntimeError, match="own"):
        TestClient(app).get("/")


@pytest.fixture
def sent_to_sentry() -> Iterator[list[Any]]:
    import sentry_sdk  # noqa: PLC0415  # only here, as the handlers must do without
    from sentry_sdk.integrations.dedupe import DedupeIntegration  # noqa: PLC0415  # as above
    from sentry_sdk.integrations.logging import LoggingIntegration  # noqa: PLC0415  # as above

    events: list[Any] = []

    class Kept(sentry_sdk.Transport):
        def capture_envelope(self, envelope: Any) -> None:
            events.append(envelope.get_event())

    scope = sentry_sdk.get_global_scope()
    before = scope.client
    client = sentry_sdk.Client(
        dsn="https://key@localhost/1",
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[DedupeIntegration(), LoggingIntegration()],
        transport=Kept,
    )
    scope.set_client(client)
    yield events
    client.close(timeout=0)
    scope.set_client(before)


def test_sentry_gets_the_unexpected_once_with_the_requests_id(sent_to_sentry: list[Any]) -> None:
    answer(errors.unexpected(), RuntimeError("seen"), state={"request_id": "id-2"})
    answer(errors.http_exception(), HTTPException(404))
    (event,) = sent_to_sentry
    assert event["exception"]["values"][0]["value"] == "seen"
    assert event["tags"] == {"request_id": "id-2"}


def test_sentry_is_left_alone_where_nobody_configured_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "sentry_sdk", raising=False)
    assert answer(errors.unexpected(), RuntimeError()).status == 500
    assert "sentry_sdk" not in sys.modules


class Stated(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("state", "status"),
    [
        *(("08006", 503), ("08P01", 503), ("57P01", 503), ("57P03", 503), ("53300", 503)),
        *(("40001", 503), ("40P01", 503)),
        *(("23505", 500), ("42P01", 500), ("40002", 500), ("57014", 500), (None, 500)),
    ],
)
def test_the_sqlstate_decides_whether_trying_again_helps(state: str | None, status: int) -> None:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415  # the handlers must do without

    wrapped = DBAPIError("SELECT secret", {"p": "hunter2"}, Stated(state))
    for error in (wrapped, Stated(state)):
        got = answer(errors.database_error(retry_after=timedelta(seconds=2.5)), error)
        assert (got.status, got.one("retry-after")) == (status, "3" if status == 503 else None)
        assert b"SELECT" not in got.body
        assert b"hunter2" not in got.body


def test_a_locked_sqlite_is_transient_and_a_missing_table_is_not(tmp_path: Path) -> None:
    from sqlalchemy import create_engine, text  # noqa: PLC0415  # as above
    from sqlalchemy.pool import NullPool  # noqa: PLC0415  # only for this test

    path = tmp_path / "a.db"
    db = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0}, poolclass=NullPool)

    def error_of(statement: str) -> Exception:
        with db.connect() as connection, pytest.raises(Exception) as failed:
            connection.execute(text(statement))
        return failed.value

    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE t (a)")
        holder.execute("BEGIN EXCLUSIVE")
        locked = error_of("INSERT INTO t VALUES (1)")
    missing = error_of("SELECT * FROM missing")
    assert transient_reason(locked) == "SQLITE_BUSY"
    assert transient_reason(missing) is None
    assert answer(errors.database_error(), missing).status == 500


def test_what_a_real_postgresql_says(postgres: str) -> None:
    from sqlalchemy import text  # noqa: PLC0415  # as above

    async def error_of(statement: str) -> Exception:
        db = engine(url=postgres)
        try:
            async with db.connect() as connection:
                await connection.execute(text(statement))
        except Exception as error:
            return error
        finally:
            await db.dispose()
        raise AssertionError

    def found(statement: str) -> str | None:
        return transient_reason(asyncio.run(error_of(statement)))

    ended = found("SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(5)")
    assert ended in ("57P01", "connection lost")
    assert found("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$") == "40001"
    assert found("DO $$ BEGIN RAISE SQLSTATE '53300'; END $$") == "53300"
    assert found("SELECT * FROM missing") is None
    assert found("SELECT 1/0") is None


def test_a_database_that_does_not_listen() -> None:
    async def refused() -> Exception:
        db = engine(url=f"postgresql://u:p@127.0.0.1:{free_port()}/x")
        try:
            async with db.connect():
                raise AssertionError
        except OSError as error:
            return error
        finally:
            await db.dispose()

    assert answer(errors.database_error(), asyncio.run(refused())).status == 503


def test_a_database_that_is_away_is_logged_without_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    error = raised_in("asyncpg.connect_utils", ConnectionRefusedError("10.0.0.9"))
    answer(errors.database_error(), error, state={"request_id": "i"})
    (record,) = caplog.records
    assert record.getMessage() == (
        "database away (ConnectionRefusedError), refused GET '/items', request i"
    )
    assert (record.levelno, record.exc_info) == (logging.WARNING, None)
    with pytest.raises(ValueError, match="retry_after"):
        errors.database_error(retry_after=timedelta(0))


# Websockets

CODES = [
    (HTTPException(401), 1008),
    (HTTPException(403), 1008),
    (errors.BaseAPIException(404, "not_here"), 1008),
    (RateLimited(429, "", {"Retry-After": "1"}, "rate_limited"), 1013),
    (Stated("57P03"), 1013),
    (ConnectionRefusedError(), 1011),
    (ValueError(), 1008),
    (RuntimeError(), 1011),
    (errors.BaseAPIException(500, "é" * 200), 1011),
]


def failing(error: Exception, *, accept: bool) -> Any:
    async def endpoint(websocket: WebSocket) -> None:
        if accept:
            await websocket.accept()
        raise error

    return endpoint


def handled(*routes: BaseRoute) -> Starlette:
    handlers: dict[Any, Any] = {
        StarletteHTTPException: errors.http_exception(),
        ValueError: errors.value_error(),
        RuntimeError: errors.unexpected(),
        ConnectionError: errors.database_error(),
        Stated: errors.database_error(),
    }
    return Starlette(routes=routes, exception_handlers=handlers)


def raising(error: Exception, *, accept: bool) -> TestClient:
    return TestClient(handled(WebSocketRoute("/", failing(error, accept=accept))))


def routes_of(error: Exception) -> list[BaseRoute]:
    return [
        WebSocketRoute("/accepted", failing(error, accept=True)),
        WebSocketRoute("/refused", failing(error, accept=False)),
    ]


served = handled(
    *routes_of(HTTPException(401)), Mount("/mounted", Starlette(routes=routes_of(RuntimeError())))
)


@pytest.mark.parametrize(("error", "code"), CODES)
def test_an_accepted_websocket_is_closed_with_the_right_code(error: Exception, code: int) -> None:
    with (
        raising(error, accept=True).websocket_connect("/") as websocket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        websocket.receive_text()
    assert closed.value.code == code
    assert len((closed.value.reason or "").encode()) <= 123


def test_a_real_server_closes_and_refuses() -> None:
    with start_uvicorn("tests.components.errors.test_errors:served") as port:
        # a mounted application accepts with a `WebSocket` that the outer handler does not know
        for path, code in (("/accepted", 1008), ("/mounted/accepted", 1011)):
            with connect(f"ws://127.0.0.1:{port}{path}") as websocket:
                with pytest.raises(ConnectionClosed):
                    websocket.recv(timeout=30)
                assert websocket.close_code == code
        for path, status in (("/refused", 401), ("/mounted/refused", 500)):
            with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}{path}"):
                pass
            assert refused.value.response.status_code == status


def test_before_it_is_accepted_the_answer_has_the_true_status() -> None:
    client = raising(HTTPException(401), accept=False)
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/"):
        pass
    assert refused.value.status_code == 401
    assert refused.value.json()["error"]["code"] == "unauthorized"


def test_where_the_server_cannot_do_that_it_is_closed() -> None:
    app: Any = raising(HTTPException(401), accept=False).app
    received: Any = [{"type": "websocket.connect"}]
    (message,) = exchange(app, websocket_scope("/"), received).messages
    assert message == {"type": "websocket.close", "code": 1008, "reason": "unauthorized"}


def test_a_client_that_has_gone_needs_no_close() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        websocket = WebSocket(scope, receive, gone)
        response = await errors.unexpected()(websocket, RuntimeError())
        await response(scope, receive, gone)

    async def gone(message: Any) -> None:
        raise OSError

    assert exchange(app, websocket_scope()).messages == []


def test_websocket_parameters_that_are_not_valid() -> None:
    app = FastAPI()
    app.add_exception_handler(WebSocketRequestValidationError, errors.validation_error())

    @app.websocket("/ws")
    async def endpoint(websocket: WebSocket, size: int) -> None: ...

    received: Any = [{"type": "websocket.connect"}]
    (message,) = exchange(app, websocket_scope("/ws"), received).messages
    assert (message["code"], message["reason"]) == (1008, "validation_error")


# All of them


@pytest.mark.parametrize("handler", ALL, ids=lambda handler: type(handler).__name__)
@pytest.mark.parametrize("error", [RuntimeError(), HTTPException(400), Odd], ids=str)
def test_every_handler_answers_every_exception(handler: Handler, error: Any) -> None:
    given_error = error if isinstance(error, Exception) else RuntimeError(Odd())
    got = answer(handler, given_error)
    assert set(json.loads(got.body)["error"]) == {"code", "message", "details"}


def test_a_fault_needs_only_its_status() -> None:
    assert Fault(404) == Fault(404, "", "", {}, {}, None)
