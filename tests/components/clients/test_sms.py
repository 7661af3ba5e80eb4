"""Text messages: a service that answers as Twilio documents it."""

import asyncio
import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from components.clients.faults import (
    AnswerError,
    AuthenticationError,
    ClientError,
    LimitError,
    RequestError,
    UnavailableError,
)
from components.clients.sms import SMS, SMSClient
from tests.components.clients.serving import Service, serving, slow
from tests.servers import free_port

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "token-0123456789"
NUMBER = "+4915112345678"
QUEUED = {
    "sid": "SM1",
    "status": "queued",
    "to": NUMBER,
    "num_segments": "2",
    "error_code": None,
}


def sms(service: Service | str, **options: Any) -> SMSClient:
    url = service if isinstance(service, str) else service.url
    options = {"sender": "+15005550006", "deadline": timedelta(seconds=20), **options}
    return SMSClient(account=ACCOUNT, token=TOKEN, base_url=url, **options)


def run(client: SMSClient, work: Callable[[], Any]) -> Any:
    async def whole() -> Any:
        try:
            return await work()
        finally:
            await client.aclose()

    return asyncio.run(whole())


def failed(client: SMSClient) -> ClientError:
    with pytest.raises(ClientError) as caught:
        run(client, lambda: client.send(NUMBER, "hello"))
    assert TOKEN not in str(caught.value)
    return caught.value


def refused(status: int, code: int, message: str = "no", **headers: str) -> Response:
    body = {"code": code, "message": message, "more_info": "https://…", "status": status}
    return JSONResponse(body, status, headers={"Twilio-Request-Id": "RQ1", **headers})


def test_a_text_is_sent_as_the_documentation_says() -> None:
    with serving(JSONResponse(QUEUED, 201)) as service:
        client = sms(service, status_callback="https://shop.example/sms")
        sent = run(client, lambda: client.send(NUMBER, "grüße"))
        (seen,) = service.seen
    assert sent == SMS("SM1", "queued", NUMBER, 2)
    assert not sent.is_final
    assert seen.path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    basic = base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert seen.headers["authorization"] == f"Basic {basic}"
    assert parse_qs(seen.body.decode()) == {
        "From": ["+15005550006"],
        "To": [NUMBER],
        "Body": ["grüße"],
        "StatusCallback": ["https://shop.example/sms"],
    }


def test_a_messaging_service_and_an_api_key_may_send() -> None:
    with serving(JSONResponse(QUEUED, 201)) as service:
        client = sms(service, sender="MG" + "0" * 32, api_key="SK1")
        run(client, lambda: client.send(NUMBER, "hello"))
        (seen,) = service.seen
    assert parse_qs(seen.body.decode())["MessagingServiceSid"] == ["MG" + "0" * 32]
    assert base64.b64decode(seen.headers["authorization"][6:]).startswith(b"SK1:")


def test_the_status_is_asked_for() -> None:
    failed_one = {**QUEUED, "status": "undelivered", "error_code": 30003}
    with serving(PlainTextResponse("", 503), JSONResponse(failed_one)) as service:
        client = sms(service)
        found = run(client, lambda: client.fetch("SM1"))
        assert service.seen[1].path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages/SM1.json"
    assert (found.status, found.error_code, found.is_final) == ("undelivered", 30003, True)


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (refused(400, 21211, "Invalid 'To'"), RequestError, "sms: Invalid 'To' (400, 21211"),
        (refused(401, 20003, TOKEN), AuthenticationError, "sms: Unauthorized (401, 20003"),
        (refused(404, 20404), RequestError, "sms: no (404, 20404"),
    ],
)
def test_a_refusal_says_the_services_own_code(
    answer: Response, kind: type[ClientError], words: str
) -> None:
    with serving(answer) as service:
        error = failed(sms(service))
        assert len(service.seen) == 1
    assert type(error) is kind
    assert str(error) == f"{words}, request RQ1)"
    assert not error.maybe_done


def test_a_text_is_sent_again_only_after_429() -> None:
    busy = refused(429, 20429, **{"Retry-After": "1"})
    with serving(busy, JSONResponse(QUEUED, 201)) as service:
        client = sms(service)
        run(client, lambda: client.send(NUMBER, "hello"))
        first, second = service.seen
    assert second.at - first.at >= 1
    with serving(busy) as service:
        error = failed(sms(service, retries=0))
    assert type(error) is LimitError
    assert not error.maybe_done


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_text_that_may_have_been_taken_is_not_sent_again(status: int) -> None:
    with serving(PlainTextResponse("oops", status)) as service:
        error = failed(sms(service, retries=5))
        assert len(service.seen) == 1
    assert type(error) is UnavailableError
    assert error.maybe_done


def test_a_text_whose_answer_did_not_come_is_not_sent_again() -> None:
    async def breaking(request: Request) -> Response:
        raise ConnectionResetError

    for answer in (slow, breaking):
        with serving(answer) as service:
            client = sms(service, timeout=timedelta(seconds=1), retries=5)
            error = failed(client)
            assert len(service.seen) == 1
        assert error.maybe_done


def test_where_nobody_listens_the_text_was_surely_not_sent() -> None:
    error = failed(sms(f"http://127.0.0.1:{free_port()}", retries=1))
    assert type(error) is UnavailableError
    assert not error.maybe_done


def test_an_answer_without_meaning_leaves_open_whether_the_text_was_sent() -> None:
    bodies: list[Any] = [[], {}, {"sid": 5}]
    for body in bodies:
        with serving(JSONResponse(body, 201)) as service:
            error = failed(sms(service))
        assert type(error) is AnswerError
        assert error.maybe_done


@pytest.mark.parametrize(
    "number",
    [
        "",
        "4915112345678",
        "+0915112345678",
        "+49 151 123",
        "+4915112345678901",
        "+1",
        "+49\n",
        "+٤٩١",
    ],
)
def test_other_numbers_are_not_sent_to(number: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        asyncio.run(sms("http://x").send(number, "hello"))


@given(st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True))
def test_every_number_of_e164_passes_the_check(number: str) -> None:
    with pytest.raises(ValueError, match="`body`"):
        asyncio.run(sms("http://x").send(number, ""))


@pytest.mark.parametrize("body", ["", "  \n", "x" * 1601])
def test_other_texts_are_not_sent(body: str) -> None:
    with pytest.raises(ValueError, match="from 1 to 1600"):
        asyncio.run(sms("http://x").send(NUMBER, body))


def test_an_id_cannot_lead_elsewhere() -> None:
    with pytest.raises(ValueError, match="`message_id`"):
        asyncio.run(sms("http://x").fetch("../Calls"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"account": "AC/../x"}, "`account`"),
        ({"sender": ""}, "`sender` is empty"),
        ({"token": "a b"}, "`token` is empty"),
        ({"base_url": "twilio"}, "`base_url`"),
    ],
)
def test_wrong_options_are_refused_by_hand_too(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SMSClient(**{"account": ACCOUNT, "token": TOKEN, "sender": "Shop", **options})


def test_without_credentials_it_is_off_and_with_some_it_is_refused() -> None:
    client = SMSClient()
    assert (client.is_on, client.status_note) == (False, "off: no credentials")
    with pytest.raises(UnavailableError, match="it is off"):
        run(client, lambda: client.send(NUMBER, "hello"))
    some: list[dict[str, Any]] = [{"account": ACCOUNT}, {"token": TOKEN}, {"sender": "Shop"}]
    for options in some:
        with pytest.raises(ValueError, match="`"):
            SMSClient(**options)


def test_an_account_that_is_refused_fails_the_start_where_that_is_to_be_verified() -> None:
    with serving(refused(401, 20003)) as service:
        with pytest.raises(AuthenticationError):
            asyncio.run(sms(service, verify_credentials=True).open())
        assert service.seen[0].path.endswith(f"/Accounts/{ACCOUNT}.json")
    away = sms("http://127.0.0.1:9", verify_credentials=True, retries=0)
    asyncio.run(away.open())
    assert away.status_note is None
