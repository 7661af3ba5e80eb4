"""WebhookSignatureMiddleware."""

import hashlib
import hmac
import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.types import Message, Receive, Scope, Send

from components.middleware.webhook_signature import WebhookSignatureMiddleware
from tests.components.middleware.exchange import (
    Answer,
    exchange,
    http_scope,
    responding,
    websocket_scope,
)

NOW = 1_800_000_000
SECRET = "of the sender"
HOOK = "/hooks/payments"


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    first, second = await receive(), await receive()
    assert not first["more_body"]
    assert second["type"] == "http.disconnect"
    await responding(body=[first["body"]])(scope, receive, send)


def guarded(**options: Any) -> WebhookSignatureMiddleware:
    defaults: dict[str, Any] = {
        "secrets": [SECRET],
        "paths": ["POST /hooks/*"],
        "clock": lambda: NOW + 0.5,
    }
    return WebhookSignatureMiddleware(echo, **(defaults | options))


def signed(body: bytes, at: int | str = NOW, secret: str = SECRET) -> list[tuple[bytes, bytes]]:
    content = f"{at}.".encode() + body
    signature = hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
    return [
        (b"x-webhook-timestamp", str(at).encode()),
        (b"x-webhook-signature", signature.encode()),
    ]


def call(
    app: WebhookSignatureMiddleware, fields: Any, *parts: bytes, path: str = HOOK, **more: Any
) -> Answer:
    last = len(parts) - 1
    received: list[Message] = [
        {"type": "http.request", "body": part, "more_body": at < last}
        for at, part in enumerate(parts)
    ]
    return exchange(app, http_scope(path, "POST", headers=fields, **more), received)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=4))
def test_a_signed_call_arrives_whole(parts: list[bytes]) -> None:
    body = b"".join(parts)
    answer = call(guarded(), signed(body), *parts)
    assert (answer.status, answer.body) == (200, body)


def test_another_body_time_or_secret_is_refused() -> None:
    fields = dict(signed(b"body"))
    for wrong in (
        list((fields | {b"x-webhook-timestamp": b"%d" % (NOW - 1)}).items()),
        signed(b"other"),
        signed(b"body", secret="of another"),
        [(b"x-webhook-timestamp", b"%d" % NOW), (b"x-webhook-signature", b"\xff")],
        [(b"x-webhook-timestamp", b"%d" % NOW), (b"x-webhook-signature", b"")],
    ):
        answer = call(guarded(), wrong, b"body")
        assert answer.status == 403
        assert json.loads(answer.body)["error"]["code"] == "invalid_signature"


def test_the_digits_of_a_signature_may_be_upper_case() -> None:
    (stamp, (name, signature)) = signed(b"body")
    assert call(guarded(), [stamp, (name, signature.upper())], b"body").status == 200


@pytest.mark.parametrize(
    ("at", "status"),
    [
        (NOW, 200),
        (NOW - 299, 200),
        (NOW + 300, 200),
        (NOW - 300, 403),  # the clock stands half a second later
        (NOW + 301, 403),
        (0, 403),
        (NOW * 1000, 403),
        (f"+{NOW}", 403),
        (f"{NOW}.0", 403),
        ("", 403),
        ("9" * 5000, 403),
        ("²", 403),
    ],
)
def test_only_times_within_the_window(at: int | str, status: int) -> None:
    assert call(guarded(), signed(b"body", at), b"body").status == status


def test_old_and_new_secrets_while_they_are_changed() -> None:
    app = guarded(secrets=[SecretStr("new"), SECRET])
    for secret, status in (("new", 200), (SECRET, 200), ("neither", 403)):
        assert call(app, signed(b"body", secret=secret), b"body").status == status


def test_a_header_that_is_missing_or_doubled() -> None:
    fields = signed(b"body")
    for wrong in (fields[:1], fields[1:], [], fields + fields[1:], fields + fields[:1]):
        assert call(guarded(), wrong, b"body").status == 403


def test_a_body_that_is_too_long_is_not_kept() -> None:
    app = guarded(max_bytes=5)
    assert call(app, signed(b"12345"), b"123", b"45").status == 200
    assert call(app, signed(b"123456"), b"123", b"456").status == 413
    announced = [*signed(b""), (b"content-length", b"6")]
    assert call(app, announced).status == 413


def test_a_client_that_leaves_is_not_answered() -> None:
    received: list[Message] = [
        {"type": "http.request", "body": b"a", "more_body": True},
        {"type": "http.disconnect"},
    ]
    scope = http_scope(HOOK, "POST", headers=signed(b"a"))
    assert exchange(guarded(), scope, received).messages == []


def test_only_the_given_paths_are_guarded() -> None:
    app = guarded(paths=["POST /hooks/payments"])
    for path in (HOOK, HOOK + "/"):  # which a middleware further in may rewrite
        assert call(app, [], b"", path=path).status == 403
    assert call(app, [], b"", path="/api" + HOOK, root_path="/api").status == 403
    assert call(app, [], b"", path="/other").status == 200
    assert exchange(app, http_scope(HOOK, "GET")).status == 200


@pytest.mark.parametrize("path", [HOOK, HOOK + "/", "/hooks//payments", "/x/../hooks/payments"])
def test_a_websocket_to_a_guarded_path_is_refused_whatever_it_has_signed(path: str) -> None:
    app = WebhookSignatureMiddleware(
        responding(), secrets=[SECRET], paths=["/hooks/*"], clock=lambda: NOW + 0.5
    )
    for fields in ([], signed(b"")):
        closed = exchange(app, websocket_scope(path, headers=fields)).messages
        assert [(item["type"], item["code"]) for item in closed] == [("websocket.close", 1008)]
    shown = websocket_scope(path, extensions={"websocket.http.response": {}})
    assert exchange(app, shown).status == 403


def test_websockets_that_no_pattern_means_and_the_lifespan_pass() -> None:
    app = WebhookSignatureMiddleware(responding(), secrets=["s"], paths=["POST /*", "/hooks/*"])
    for scope in (websocket_scope("/live"), {"type": "lifespan"}):
        assert exchange(app, scope).status == 200


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"secrets": []}, ValueError),
        ({"secrets": [""]}, ValueError),
        ({"secrets": "one"}, TypeError),
        ({"paths": []}, ValueError),
        ({"paths": "/a"}, TypeError),
        ({"window": timedelta(0)}, ValueError),
        ({"max_bytes": -1}, ValueError),
        ({"signature_header": "a b"}, ValueError),
        ({"body": "html"}, ValueError),
    ],
)
def test_refuses_options_that_would_guard_nothing(options: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        guarded(**options)
