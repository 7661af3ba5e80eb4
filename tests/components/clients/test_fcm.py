"""Push notifications: a token endpoint and an FCM that behave as Google documents them."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components.clients.exchange import Exchange
from components.clients.faults import (
    AnswerError,
    AuthenticationError,
    ClientError,
    LimitError,
    RequestError,
    UnavailableError,
)
from components.clients.fcm import FCMClient, PushResult
from components.clients.service_account import AccessTokens, ServiceAccount
from tests.components.clients.serving import serving, serving_app, slow

TO = {"token": "device-1", "notification": {"title": "hello"}}


@cache
def pair() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def key_file(url: str, **changes: Any) -> str:
    private = pair().private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    key = {
        "type": "service_account",
        "project_id": "shop",
        "private_key_id": "key-1",
        "private_key": private.decode(),
        "client_email": "push@shop.iam.gserviceaccount.com",
        "token_uri": f"{url}/token",
    }
    return json.dumps({**key, **changes})


def google_error(status: int, code: str, fcm_code: str | None = None) -> Response:
    details = []
    if fcm_code:
        kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
        details = [{"@type": "other"}, {"@type": kind, "errorCode": fcm_code}]
    error = {"code": status, "message": "no", "status": code, "details": details}
    return JSONResponse({"error": error}, status)


@dataclass
class Google:
    """Both endpoints; `answers` gives the next answers of FCM, and then messages are taken."""

    answers: list[Response] = field(default_factory=list)
    token_answers: list[Response] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    revoked: set[str] = field(default_factory=set)
    life: int = 3600
    given: int = 0
    sent: list[dict[str, Any]] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0
    url: str = ""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.02)
        answer = await (self.token if request.url.path == "/token" else self.push)(request)
        self.at_once -= 1
        await answer(scope, receive, send)

    async def token(self, request: Request) -> Response:
        form = parse_qs((await request.body()).decode())
        assert form["grant_type"] == ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        self.claims = jwt.decode(
            form["assertion"][0], pair().public_key(), ["RS256"], audience=f"{self.url}/token"
        )
        if self.token_answers:
            return self.token_answers.pop(0)
        self.given += 1
        body = {"access_token": f"t{self.given}", "expires_in": self.life, "token_type": "Bearer"}
        return JSONResponse(body)

    async def push(self, request: Request) -> Response:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if token in self.revoked or token != f"t{self.given}":
            return google_error(401, "UNAUTHENTICATED")
        if self.answers:
            return self.answers.pop(0)
        body = await request.json()
        if body["message"].get("token") in self.dead:
            return google_error(404, "NOT_FOUND", "UNREGISTERED")
        self.sent.append({"path": request.url.path, **body})
        return JSONResponse({"name": f"projects/shop/messages/{len(self.sent)}"})


@contextmanager
def google() -> Iterator[Google]:
    service = Google()
    with serving_app(service) as url:
        service.url = url
        yield service


def fcm(service: Google, **options: Any) -> FCMClient:
    options = {"deadline": timedelta(seconds=20), **options}
    credentials = SecretStr(key_file(service.url))
    return FCMClient(credentials=credentials, base_url=service.url, **options)


def run(client: FCMClient, work: Callable[[], Any]) -> Any:
    async def whole() -> Any:
        await client.open()
        try:
            return await work()
        finally:
            await client.aclose()

    return asyncio.run(whole())


def test_a_message_is_sent_as_the_documentation_says() -> None:
    with google() as service:
        client = fcm(service)
        name = run(client, lambda: client.send(TO, validate_only=True))
        assert name == "projects/shop/messages/1"
        assert service.sent == [
            {"path": "/v1/projects/shop/messages:send", "message": TO, "validate_only": True}
        ]
        assert service.claims["iss"] == "push@shop.iam.gserviceaccount.com"
        assert service.claims["scope"] == "https://www.googleapis.com/auth/firebase.messaging"
        assert service.claims["exp"] - service.claims["iat"] == 3600


def test_the_project_may_be_another_one_than_the_keys() -> None:
    with google() as service:
        client = fcm(service, project="other")
        run(client, lambda: client.send(TO))
        assert service.sent[0]["path"] == "/v1/projects/other/messages:send"


def test_the_key_may_be_a_file_or_the_one_that_google_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with google() as service:
        path = tmp_path / "key.json"
        path.write_text(key_file(service.url))
        for credentials in (path, str(path), SecretStr(str(path)), None):
            if credentials is None:
                monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
            client = FCMClient(credentials=credentials, base_url=service.url)
            run(client, partial(client.send, TO))
        assert len(service.sent) == 4


@pytest.mark.parametrize(
    "changes",
    [{"type": "authorized_user"}, {"private_key": "secret-key-text"}, {"token_uri": "x"}],
)
def test_a_wrong_key_shows_when_the_client_is_opened(changes: dict[str, Any]) -> None:
    client = FCMClient(credentials=SecretStr(key_file("http://localhost", **changes)))
    with pytest.raises(ValueError, match="no JSON key of a service account") as caught:
        asyncio.run(client.open())
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_key_at_all_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    with pytest.raises(ValueError, match="no `credentials`"):
        asyncio.run(FCMClient().open())
    with pytest.raises(ValueError, match="no `project`"):
        asyncio.run(FCMClient(credentials=key_file("http://x", project_id=None)).open())


def test_many_callers_share_one_token() -> None:
    with google() as service:
        client = fcm(service)
        results = run(client, lambda: client.send_each([TO] * 20))
        assert [result.error for result in results] == [None] * 20
        assert service.given == 1


def test_a_token_that_was_withdrawn_is_replaced_once() -> None:
    with google() as service:
        client = fcm(service)

        async def work() -> None:
            await client.send(TO)
            service.revoked = {"t1"}
            await client.send(TO)
            service.revoked = {"t2", "t3"}
            with pytest.raises(AuthenticationError):
                await client.send(TO)

        run(client, work)
        assert service.given == 3


def test_a_token_is_renewed_before_it_ends() -> None:
    now = 0.0
    with google() as service:
        exchange = Exchange("fcm", service.url, timedelta(5), timedelta(5), 0, 5)
        account = ServiceAccount.parse(key_file(service.url))
        tokens = AccessTokens(account, "scope", exchange, clock=lambda: now)

        async def work() -> list[str]:
            nonlocal now
            found = []
            for now in (0.0, 3299.0, 3301.0):  # noqa: B007  # the clock
                found.append(await tokens.authorization())
            await exchange.aclose()
            return found

        assert asyncio.run(work()) == ["Bearer t1", "Bearer t1", "Bearer t2"]


def test_a_caller_that_is_cancelled_does_not_take_the_token_from_others() -> None:
    with google() as service:
        client = fcm(service)

        async def work() -> str:
            first = asyncio.create_task(client.send(TO))
            second = asyncio.create_task(client.send(TO))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            first.cancel()
            name: str = await second
            return name

        assert run(client, work) == "projects/shop/messages/1"
        assert service.given == 1


def test_a_refused_key_is_an_authentication_error() -> None:
    with google() as service:
        refused = {"error": "invalid_grant", "error_description": "Invalid JWT Signature."}
        service.token_answers = [JSONResponse(refused, 400)]
        client = fcm(service)
        with pytest.raises(AuthenticationError, match="no token was given: invalid_grant"):
            run(client, lambda: client.send(TO))


@pytest.mark.parametrize(
    "body",
    [
        '{"token": "canary"}',
        '{"access_token": null}',
        '{"access_token": ""}',
        '{"access_token": ["canary"]}',
        '{"access_token": "canary\\ntwo"}',
        '{"access_token": "canary-é"}',
        '{"access_token": "canary", "expires_in": NaN}',
        '{"access_token": "canary", "expires_in": -1}',
        '{"access_token": "canary", "expires_in": "soon"}',
        '{"access_token": "canary", "expires_in": 1' + "0" * 400 + "}",
        '["canary"]',
    ],
)
def test_a_token_that_cannot_be_used_is_an_error_that_does_not_show_it(body: str) -> None:
    with google() as service:
        service.token_answers = [Response(body, media_type="application/json")]
        client = fcm(service)
        with pytest.raises(AnswerError, match="the token cannot be read") as caught:
            run(client, lambda: client.send(TO))
        assert "canary" not in f"{caught.value} {caught.value.__cause__}"
        assert service.sent == []


def test_a_token_without_end_is_renewed_after_a_day() -> None:
    now = 0.0
    with google() as service:
        endless = '{"access_token": "endless", "expires_in": 1e999}'
        service.token_answers = [Response(endless, media_type="application/json")]
        account = ServiceAccount.parse(key_file(service.url))
        limit = timedelta(seconds=20)
        exchange = Exchange("fcm", service.url, limit, limit, retries=0, max_connections=5)
        tokens = AccessTokens(account, "scope", exchange, clock=lambda: now)

        async def story() -> list[str]:
            nonlocal now
            found = []
            for seconds in (0.0, 3600.0, 86_400.0):
                now = seconds
                found.append(await tokens.authorization())
            await exchange.aclose()
            return found

        assert asyncio.run(story()) == ["Bearer endless", "Bearer endless", "Bearer t1"]


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (google_error(404, "NOT_FOUND", "UNREGISTERED"), RequestError, "UNREGISTERED"),
        (google_error(400, "INVALID_ARGUMENT"), RequestError, "INVALID_ARGUMENT"),
        (
            google_error(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
            AuthenticationError,
            "SENDER_ID_MISMATCH",
        ),
        (
            google_error(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"),
            AuthenticationError,
            "THIRD_PARTY_AUTH_ERROR",
        ),
        (google_error(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED"), LimitError, "QUOTA_EXCEEDED"),
        (google_error(503, "UNAVAILABLE", "UNAVAILABLE"), UnavailableError, "UNAVAILABLE"),
        (google_error(500, "INTERNAL", "INTERNAL"), UnavailableError, "INTERNAL"),
        (JSONResponse({}), AnswerError, None),
    ],
)
def test_the_codes_of_fcm_are_kept(
    answer: Response, kind: type[ClientError], code: str | None
) -> None:
    with google() as service:
        service.answers = [answer]
        client = fcm(service, retries=0)
        with pytest.raises(kind) as caught:
            run(client, lambda: client.send(TO))
        assert type(caught.value) is kind
        assert caught.value.code == code
        assert PushResult(error=caught.value).is_dead_token == (code == "UNREGISTERED")
        assert service.given == 1


def test_fcm_is_asked_again_when_it_is_busy() -> None:
    with google() as service:
        busy = google_error(503, "UNAVAILABLE", "UNAVAILABLE")
        service.answers = [busy, google_error(429, "RESOURCE_EXHAUSTED")]
        client = fcm(service)
        assert run(client, lambda: client.send(TO)) == "projects/shop/messages/1"


def test_many_messages_are_sent_some_at_a_time_and_dead_tokens_are_told() -> None:
    with google() as service:
        service.dead = {"d3", "d17"}
        client = fcm(service, concurrency=4)
        names = [f"d{at}" for at in range(30)]
        message = {"notification": {"title": "hello"}}
        results = run(client, lambda: client.send_to_tokens(names, message))
        assert service.most_at_once <= 4
        sent = {item["message"]["token"] for item in service.sent}
    dead = [name for name, result in zip(names, results, strict=True) if result.is_dead_token]
    assert dead == ["d3", "d17"]
    assert sent == set(names) - {"d3", "d17"}
    assert [result.name is None for result in results].count(True) == 2


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({}, "one of `token`"),
        ({"token": "a", "topic": "b"}, "one of `token`"),
        ({"token": "a", "data": {"count": 1}}, "must be text"),
        ({"token": "a", "data": ["count"]}, "must be text"),
        ({"token": "a", "notification": {"title": "\ud800"}}, "JSON cannot say"),
        ({"token": "a", "android": {"ttl": float("nan")}}, "JSON cannot say"),
        ({"token": "a", "android": {"ttl": timedelta(1)}}, "JSON cannot say"),
    ],
)
def test_what_fcm_would_refuse_is_not_sent(message: dict[str, Any], words: str) -> None:
    client = FCMClient(credentials="{}")
    with pytest.raises(ValueError, match=words):
        asyncio.run(client.send(message))
    with pytest.raises(ValueError, match=words):
        asyncio.run(client.send_each([TO, message]))


def test_closing_while_a_token_is_awaited_leaves_nothing_behind() -> None:
    async def work(client: FCMClient) -> None:
        sending = asyncio.create_task(client.send(TO))
        async with asyncio.timeout(20):
            while not service.seen:  # noqa: ASYNC110  # it is filled in another thread
                await asyncio.sleep(0.01)
        await client.aclose()
        results = await asyncio.gather(sending, return_exceptions=True)
        assert isinstance(results[0], asyncio.CancelledError)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with serving(slow) as service:
        client = FCMClient(credentials=key_file(service.url), base_url=service.url)
        asyncio.run(work(client))


def test_with_empty_credentials_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    client = FCMClient(credentials="", project="")
    assert (client.is_on, client.status_note) == (False, "off: no credentials")
    with pytest.raises(UnavailableError, match="it is off"):
        run(client, lambda: client.send(TO))
    with pytest.raises(ValueError, match="`project` is given"):
        FCMClient(credentials=SecretStr(""), project="shop")


def test_a_key_that_is_refused_fails_the_start_where_that_is_to_be_verified() -> None:
    with google() as service:
        service.token_answers = [JSONResponse({"error": "invalid_grant"}, 400)]
        with pytest.raises(AuthenticationError):
            asyncio.run(fcm(service, verify_credentials=True).open())
    away = FCMClient(credentials=key_file("http://127.0.0.1:9"), verify_credentials=True, retries=0)

    async def story() -> None:
        await away.open()  # who is away has refused nothing
        await away.aclose()

    asyncio.run(story())
    assert away.is_on
    assert away.status_note is None
