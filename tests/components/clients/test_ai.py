"""Language models, played by servers that answer as the documented APIs do."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

from components.clients.ai import AnthropicClient, OpenAIClient
from components.clients.chat import ChatClient, ChatMessage
from components.clients.faults import (
    AnswerError,
    AuthenticationError,
    ClientError,
    LimitError,
    RequestError,
    UnavailableError,
    UnsupportedError,
)
from tests.components.clients.serving import Service, failure, serving, slow

KEY = "sk-test-0123456789"
HELLO: list[ChatMessage] = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "hello"},
]
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-test-1",
    "choices": [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ],
    "usage": {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10},
}
MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-test-1",
    "content": [{"type": "text", "text": "hi"}, {"type": "tool_use", "id": "t", "name": "x"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "output_tokens": 1},
}

Client = Callable[..., ChatClient]


def openai(service: Service, **options: Any) -> OpenAIClient:
    options = {"model": "gpt-test", "deadline": timedelta(seconds=20), **options}
    return OpenAIClient(api_key=KEY, base_url=f"{service.url}/v1", **options)


def anthropic(service: Service, **options: Any) -> AnthropicClient:
    options = {"model": "claude-test", "deadline": timedelta(seconds=20), **options}
    return AnthropicClient(api_key=KEY, base_url=service.url, **options)


def run(client: ChatClient, work: Callable[[], Any]) -> Any:
    async def whole() -> Any:
        try:
            return await work()
        finally:
            await client.aclose()

    return asyncio.run(whole())


def failed(client: ChatClient) -> ClientError:
    with pytest.raises(ClientError) as caught:
        run(client, lambda: client.chat(HELLO))
    assert KEY not in str(caught.value)
    return caught.value


def events(*parts: str, end: bytes = b"") -> Response:
    """A stream of server-sent events, and then perhaps bytes of no event."""

    async def body() -> AsyncIterator[bytes]:
        for part in parts:
            yield f"{part}\n\n".encode()
        if end:
            yield end

    return StreamingResponse(body(), media_type="text/event-stream")


def delta(text: str | None, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return f"data: {json.dumps({'id': 'c', 'choices': [choice]})}"


def typed(kind: str, **more: Any) -> str:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}"


def block(text: str) -> str:
    part = {"type": "text_delta", "text": text}
    return typed("content_block_delta", index=0, delta=part)


async def collected(client: ChatClient) -> list[str]:
    return [text async for text in client.stream(HELLO)]


def test_openai_is_asked_as_its_documentation_says() -> None:
    with serving(JSONResponse(COMPLETION, headers={"x-request-id": "req_7"})) as service:
        client = openai(service)
        answer = run(
            client,
            lambda: client.chat(HELLO, max_tokens=5, temperature=0.5, extra={"seed": 7}),
        )
        (seen,) = service.seen
    assert (answer.text, answer.model, answer.finish) == ("hi", "gpt-test-1", "stop")
    assert (answer.input_tokens, answer.output_tokens, answer.request_id) == (9, 1, "req_7")
    assert (seen.method, seen.path) == ("POST", "/v1/chat/completions")
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    expected = {"messages": HELLO, "max_tokens": 5, "temperature": 0.5, "seed": 7}
    assert json.loads(seen.body) == {"model": "gpt-test", **expected}


def test_anthropic_is_asked_as_its_documentation_says() -> None:
    with serving(JSONResponse(MESSAGE, headers={"request-id": "req_8"})) as service:
        client = anthropic(service, max_tokens=77)
        answer = run(client, lambda: client.chat(HELLO))
        (seen,) = service.seen
    assert (answer.text, answer.finish, answer.request_id) == ("hi", "end_turn", "req_8")
    assert (answer.input_tokens, answer.output_tokens) == (9, 1)
    assert seen.path == "/v1/messages"
    assert seen.headers["x-api-key"] == KEY
    assert seen.headers["anthropic-version"] == "2023-06-01"
    assert json.loads(seen.body) == {
        "model": "claude-test",
        "system": "be brief",
        "messages": [{"role": "user", "content": "hello"}],
        "max_tokens": 77,
    }


def test_connections_are_reused_and_closed() -> None:
    ports: list[Any] = []

    async def answer(request: Request) -> Response:
        ports.append(request.client)
        return JSONResponse(COMPLETION)

    with serving(answer) as service:
        client = openai(service)

        async def twice() -> None:
            for _ in range(2):
                await client.chat(HELLO)
                await client.chat(HELLO)
                await client.aclose()

        asyncio.run(twice())
    assert ports[0] == ports[1] != ports[2] == ports[3]


def test_a_client_serves_one_event_loop_after_another() -> None:
    with serving(JSONResponse(COMPLETION)) as service:
        client = openai(service)
        assert [run(client, lambda: client.chat(HELLO)).text for _ in range(2)] == ["hi", "hi"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, RequestError),
        (413, RequestError),
    ],
)
@pytest.mark.parametrize("make", [openai, anthropic])
def test_what_would_be_refused_again_is_not_asked_again(
    make: Client, status: int, kind: type[ClientError]
) -> None:
    told = {"message": f"wrong: {KEY}\nsecond line", "type": "bad", "code": None}
    answer = failure(status, told, **{"x-request-id": "req_9"})
    with serving(answer) as service:
        error = failed(make(service))
        assert len(service.seen) == 1
    assert type(error) is kind
    assert (error.status, error.code, error.request_id) == (status, "bad", "req_9")
    assert not error.maybe_done


def test_a_refused_key_is_not_quoted_even_in_part() -> None:
    told = {"message": "Incorrect API key provided: sk-test-0***6789.", "code": "invalid_api_key"}
    with serving(failure(401, told)) as service:
        error = failed(openai(service))
    assert str(error) == "openai: Unauthorized (401, invalid_api_key)"


@pytest.mark.parametrize("status", [429, 500, 503, 529])
@pytest.mark.parametrize("make", [openai, anthropic])
def test_a_busy_service_is_asked_again(make: Client, status: int) -> None:
    body = COMPLETION if make is openai else MESSAGE
    with serving(failure(status, {"message": "busy"}), JSONResponse(body)) as service:
        client = make(service)
        assert run(client, lambda: client.chat(HELLO)).text == "hi"
        assert len(service.seen) == 2


def test_retry_after_is_waited_for() -> None:
    busy = failure(429, {"message": "slow down"}, **{"retry-after": "1"})
    with serving(busy, JSONResponse(COMPLETION)) as service:
        client = openai(service)
        run(client, lambda: client.chat(HELLO))
        first, second = service.seen
    assert second.at - first.at >= 1


def test_a_retry_after_beyond_the_deadline_is_an_error_at_once() -> None:
    busy = failure(429, {"message": "slow down", "type": "limit"}, **{"retry-after": "60"})
    with serving(busy) as service:
        error = failed(openai(service, deadline=timedelta(seconds=5)))
        assert len(service.seen) == 1
    assert type(error) is LimitError
    assert str(error) == "openai: slow down (429, limit)"


def test_retries_come_to_an_end() -> None:
    with serving(PlainTextResponse("upstream went away", 502)) as service:
        error = failed(openai(service, retries=1))
        assert len(service.seen) == 2
    assert type(error) is UnavailableError
    assert str(error) == "openai: Bad Gateway (502)"


def test_a_service_that_does_not_answer_is_left_at_the_deadline() -> None:
    with serving(slow) as service:
        error = failed(openai(service, deadline=timedelta(milliseconds=300)))
    assert str(error) == "openai: no answer within 0.3 s"
    assert type(error) is UnavailableError


def test_silence_is_left_at_the_timeout() -> None:
    with serving(slow) as service:
        error = failed(openai(service, timeout=timedelta(seconds=1), retries=0))
    assert "ReadTimeout" in str(error)
    assert error.maybe_done


def test_nobody_listens() -> None:
    with serving(JSONResponse({})) as service:
        pass
    error = failed(openai(service, retries=0))
    assert type(error) is UnavailableError
    assert not error.maybe_done


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "answer",
    [
        *("<html>", "[]", "{}", '{"choices": []}', '{"choices": 5}', DEEP, f'{{"choices": {DEEP}'),
        '{"choices": [{"message": {"content": 5}}]}',
        '{"choices": [{"message": {"content": [5]}}]}',
        '{"choices": [{"message": {"content": [{"type": "text"}]}}]}',
    ],
)
@pytest.mark.parametrize("make", [openai, anthropic])
def test_an_answer_without_meaning_is_an_error(make: Client, answer: str) -> None:
    with serving(PlainTextResponse(answer)) as service:
        assert type(failed(make(service))) is AnswerError


def test_content_in_parts_is_their_text() -> None:
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "he"}]
    message = {"role": "assistant", "content": [*parts, {"type": "text", "text": "llo"}]}
    body = {**COMPLETION, "choices": [{"message": message, "finish_reason": "stop"}]}
    with serving(JSONResponse(body)) as service:
        client = openai(service)
        assert run(client, lambda: client.chat(HELLO)).text == "hello"
    event = f"data: {json.dumps({'choices': [{'delta': message}]})}"
    with serving(events(event, "data: [DONE]")) as service:
        client = openai(service)
        assert run(client, lambda: collected(client)) == ["hello"]


def test_a_body_that_cannot_be_decoded_is_an_error() -> None:
    broken = PlainTextResponse("no gzip", headers={"content-encoding": "gzip"})
    with serving(broken) as service:
        error = failed(openai(service, retries=0))
    assert type(error) is UnavailableError
    assert "DecodingError" in str(error)


def test_openai_streams_text() -> None:
    usage = 'data: {"choices": [], "usage": {}}'
    parts = [": keep-alive", delta(None), delta("he"), delta("llo"), delta(None, "stop"), usage]
    with serving(events(*parts, "data: [DONE]", delta("never"))) as service:
        client = openai(service)
        assert run(client, lambda: collected(client)) == ["he", "llo"]
        assert json.loads(service.seen[0].body)["stream"] is True


def test_anthropic_streams_text() -> None:
    parts = [
        typed("message_start", message={}),
        typed("ping"),
        typed("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        block("he"),
        block("llo"),
        typed("content_block_delta", index=1, delta={"type": "input_json_delta"}),
        typed("message_delta", delta={"stop_reason": "end_turn"}),
        typed("message_stop"),
    ]
    with serving(events(*parts)) as service:
        client = anthropic(service)
        assert run(client, lambda: collected(client)) == ["he", "llo"]


def test_a_server_that_leaves_out_the_last_event_has_still_ended() -> None:
    with serving(events(delta("hi"), delta(None, "stop"))) as service:
        client = openai(service)
        assert run(client, lambda: collected(client)) == ["hi"]


OVERLOADED = {"type": "overloaded_error", "message": f"Overloaded {KEY}"}


@pytest.mark.parametrize(
    ("make", "answer", "kind", "words"),
    [
        (openai, events(delta("he")), AnswerError, "ended before"),
        (openai, events(delta("he"), "data: {"), AnswerError, "cannot be read"),
        (openai, events(delta("he"), "data: []"), AnswerError, "cannot be read"),
        (openai, events(delta("he"), 'data: {"id": 1}'), AnswerError, "cannot be read"),
        (openai, events(delta("he"), f"data: {DEEP}"), AnswerError, "cannot be read"),
        (openai, events(delta("he"), end=b"\xff\xff"), AnswerError, "ended before"),
        (
            openai,
            events(delta("he"), f"data: {json.dumps({'error': OVERLOADED})}"),
            UnavailableError,
            r"broke off: Overloaded \*\*\* \(overloaded_error",
        ),
        (anthropic, events(block("he")), AnswerError, "ended before"),
        (
            anthropic,
            events(block("he"), typed("error", error=OVERLOADED)),
            UnavailableError,
            r"broke off: Overloaded \*\*\* \(overloaded_error",
        ),
        (openai, JSONResponse(COMPLETION), AnswerError, "cannot be read"),
    ],
)
def test_a_broken_stream_is_an_error_and_no_shorter_text(
    make: Client, answer: Response, kind: type[ClientError], words: str
) -> None:
    with serving(answer) as service:
        client = make(service)
        with pytest.raises(kind, match=words):
            run(client, lambda: collected(client))
        assert len(service.seen) == 1


def test_a_connection_that_breaks_in_a_stream_is_an_error() -> None:
    async def breaking(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            yield f"{delta('he')}\n\n".encode()
            raise ConnectionError("gone")

        return StreamingResponse(body(), media_type="text/event-stream")

    with serving(breaking) as service:
        client = openai(service)
        with pytest.raises(UnavailableError, match="RemoteProtocolError"):
            run(client, lambda: collected(client))


def test_a_stream_is_asked_for_again_until_it_begins() -> None:
    with serving(failure(529, {}), events(delta("hi"), "data: [DONE]")) as service:
        client = openai(service)
        assert run(client, lambda: collected(client)) == ["hi"]
        assert len(service.seen) == 2


def test_leaving_a_stream_ends_its_request() -> None:
    left = False

    async def endless(request: Request) -> Response:
        async def body() -> AsyncIterator[bytes]:
            nonlocal left
            try:
                while True:
                    yield f"{delta('x')}\n\n".encode()
                    await asyncio.sleep(0.01)
            finally:
                left = True

        return StreamingResponse(body(), media_type="text/event-stream")

    async def first(client: ChatClient, service: Service) -> str:
        async with aclosing(client.stream(HELLO)) as texts:
            found = await anext(texts)
        async with asyncio.timeout(20):
            while service.at_once:  # noqa: ASYNC110  # it is counted in another thread
                await asyncio.sleep(0.01)
        return found

    with serving(endless) as service:
        client = openai(service)
        assert run(client, lambda: first(client, service)) == "x"
    assert left


async def embedded(request: Request) -> Response:
    asked = (await request.json())["input"]
    data = [{"index": at, "embedding": [len(text), at]} for at, text in enumerate(asked)]
    return JSONResponse({"data": data[::-1], "model": "e"})


def test_embeddings_come_in_the_order_of_their_texts_and_each_is_asked_for_once() -> None:
    with serving(embedded) as service:
        client = openai(service, embedding_model="e")
        found = run(client, lambda: client.embed(["aaa", "b", "aaa"]))
        (seen,) = service.seen
    assert [embedding[0] for embedding in found] == [3.0, 1.0, 3.0]
    assert json.loads(seen.body)["input"] == ["aaa", "b"]


def test_many_texts_are_several_requests() -> None:
    with serving(embedded) as service:
        client = openai(service)
        texts = ["x" * at for at in range(600)]
        found = run(client, lambda: client.embed(texts, model="e"))
        assert len(service.seen) == 3
    assert [embedding[0] for embedding in found] == [float(at) for at in range(600)]


def test_known_embeddings_are_kept_up_to_a_bound() -> None:
    with serving(embedded) as service:
        client = openai(service, embedding_model="e", embedding_cache=2)

        async def ask() -> None:
            first = await client.embed(["a", "bb"])
            first[0][0] = 99.0  # a list of one's own
            assert [each[0] for each in await client.embed(["a"])] == [1.0]
            await client.embed(["ccc"])  # "bb" was used least recently
            await client.embed(["a", "ccc"])
            await client.embed(["bb"])
            await client.embed(["bb"], model="other")

        run(client, ask)
        asked = [json.loads(seen.body)["input"] for seen in service.seen]
    assert asked == [["a", "bb"], ["ccc"], ["bb"], ["bb"]]


@pytest.mark.parametrize(
    "body", [{"data": []}, {"data": [{"index": 1, "embedding": [1]}]}, {"data": [{"index": 0}]}]
)
def test_a_missing_embedding_is_an_error(body: Any) -> None:
    with serving(JSONResponse(body)) as service:
        client = openai(service, embedding_model="e")
        with pytest.raises(AnswerError, match="no embeddings"):
            run(client, lambda: client.embed(["a"]))


def test_anthropic_has_no_embeddings() -> None:
    client = AnthropicClient(api_key=KEY)
    with pytest.raises(UnsupportedError, match="anthropic: has no embeddings"):
        run(client, lambda: client.embed(["a"]))


@pytest.mark.parametrize(
    ("messages", "options", "words"),
    [
        ([], {}, "empty"),
        ([{"role": "robot", "content": "x"}], {}, "needs `content`"),
        ([{"role": "user"}], {}, "needs `content`"),
        (HELLO, {"extra": {"model": "x"}}, "`extra` must not have `model`"),
        (HELLO, {"extra": {"stream": True}}, "`extra` must not have `stream`"),
        (HELLO[:1], {}, "system messages alone"),
        ([{"role": "system", "content": [{}]}, *HELLO], {}, "must be text"),
    ],
)
def test_what_cannot_be_asked_is_refused(messages: Any, options: Any, words: str) -> None:
    client = AnthropicClient(api_key=KEY, model="m")
    with pytest.raises(ValueError, match=words):
        run(client, lambda: client.chat(messages, **options))


def test_a_model_must_be_named_somewhere() -> None:
    client = OpenAIClient(api_key=KEY)
    with pytest.raises(ValueError, match="no `model`"):
        run(client, lambda: client.chat(HELLO))
    with pytest.raises(ValueError, match="`embedding_model`"):
        run(client, lambda: client.embed(["a"]))
    with pytest.raises(TypeError, match="list of texts"):
        run(client, lambda: client.embed("a", model="e"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"api_key": ""}, "`api_key` is empty"),
        ({"api_key": "a\nb"}, "cannot carry"),
        ({"base_url": "ftp://x"}, "`base_url` is no URL"),
        ({"base_url": "https://"}, "`base_url` is no URL"),
        ({"timeout": timedelta(0)}, "`timeout` is too small"),
        ({"deadline": timedelta(0)}, "`deadline` is too small"),
        ({"retries": -1}, "`retries` is too small"),
        ({"max_connections": 0}, "`max_connections` is too small"),
        ({"embedding_cache": -1}, "`embedding_cache` must not be negative"),
    ],
)
def test_wrong_options_are_refused_by_hand_too(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        OpenAIClient(**{"api_key": KEY, **options})
    assert "a\nb" not in str(caught.value)


def test_openais_own_models_get_the_newer_name_of_the_limit() -> None:
    client = OpenAIClient(api_key=KEY, model="m")
    assert client._body(HELLO, None, 7, None, None)["max_completion_tokens"] == 7
