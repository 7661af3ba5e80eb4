"""What the clients of language models have in common, whichever service they speak to.

In: messages as all services take them, `{"role": "user", "content": "…"}`. Out: a `ChatAnswer`, or bits
of text. Refused: no messages, other roles, options that the client sets itself. A stream that ends
before the model has is an error, never a shorter text.
"""

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NotRequired, Protocol, get_args

import httpx2
from typing_extensions import TypedDict

from components.clients.exchange import Exchange
from components.clients.faults import AnswerError, UnavailableError, clean, request_id_of

Role = Literal["system", "user", "assistant", "tool"]


class ChatMessage(TypedDict):
    """One message; its content is text, or parts as the service takes them."""

    role: Role
    content: str | Sequence[Mapping[str, Any]]
    tool_call_id: NotRequired[str]
    tool_calls: NotRequired[Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What a model said; `finish` is the service's own word for why it stopped, `raw` its answer."""

    text: str
    model: str
    finish: str | None
    input_tokens: int
    output_tokens: int
    request_id: str | None
    raw: Mapping[str, Any] = field(repr=False)


class StreamReader(Protocol):
    """Reads the events of one stream."""

    ended: bool
    """The answer is whole, and nothing more is to come."""

    whole: bool
    """The answer is whole, if the stream ends now."""

    def text(self, data: str) -> str:
        """The text that an event brings, often none; raises `ToldError` for one that is an error."""


class ToldError(Exception):
    """A service tells, inside a stream, that it cannot go on."""

    def __init__(self, error: Any) -> None:
        self.error = error if isinstance(error, dict) else {"message": str(error)}
        super().__init__("the stream broke off")


class ChatClient:
    """A client of one service, which a subclass describes."""

    def __init__(self, exchange: Exchange, path: str, model: str | None) -> None:
        self._exchange = exchange
        self._path = path
        self._model = model

    async def chat(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> ChatAnswer:
        """Ask, and wait for the whole answer.

        Args:
            messages: the conversation, oldest first.
            model: instead of the client's.
            max_tokens: longest answer.
            temperature: from 0 on; without it the service's default.
            extra: sent with the request as it is, such as `{"tools": […]}`.

        Raises:
            ClientError: there was no answer.
        """
        body = self._body(messages, model, max_tokens, temperature, extra)
        response = await self._exchange.request("POST", self._path, json=body)
        try:
            return self._answer(json_object(response.text), request_id_of(response))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise self._unreadable(response, "the answer cannot be read") from error

    async def stream(
        self,
        messages: Sequence[ChatMessage],
        *,
        model: str | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> AsyncGenerator[str]:
        """Ask, and give the answer bit by bit, as `chat` has it.

        Retried until it begins, and never after. To leave the loop early, iterate within
        `contextlib.aclosing`: that ends the request at once.
        """
        body = self._body(messages, model, max_tokens, temperature, extra) | {"stream": True}
        reader = self._reader()
        async with self._exchange.stream("POST", self._path, json=body) as response:
            try:
                async for event in httpx2.EventSource(response):
                    if text := reader.text(event.data):
                        yield text
                    if reader.ended:
                        return
            except ToldError as error:
                raise self._broken_off(response, error.error) from error
            except (LookupError, TypeError, AttributeError, ValueError, httpx2.SSEError) as error:
                raise self._unreadable(response, "the stream cannot be read") from error
            if not reader.whole:
                raise self._unreadable(response, "the stream ended before the answer did")

    async def aclose(self) -> None:
        """Close all connections; a later call opens new ones."""
        await self._exchange.aclose()

    def _fixed(self, messages: list[dict[str, Any]], max_tokens: int | None) -> Mapping[str, Any]:
        """What a request says, besides the model and the temperature; None is left out."""
        raise NotImplementedError

    def _answer(self, body: dict[str, Any], request_id: str | None) -> ChatAnswer:
        raise NotImplementedError

    def _reader(self) -> StreamReader:
        raise NotImplementedError

    def _body(
        self,
        messages: Sequence[ChatMessage],
        model: str | None,
        max_tokens: int | None,
        temperature: float | None,
        extra: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        own = {"model": self._chosen(model), "temperature": temperature}
        fixed = {**own, **self._fixed(_checked(messages), max_tokens)}
        both = sorted((fixed.keys() | {"stream"}) & (extra or {}).keys())
        if both:
            raise ValueError(f"`extra` must not have `{both[0]}`: the client sets it")
        return {key: value for key, value in fixed.items() if value is not None} | dict(extra or {})

    def _chosen(self, model: str | None) -> str:
        chosen = model or self._model
        if chosen is None:
            raise ValueError("no `model` was given, to this call or to the client")
        return chosen

    def _unreadable(self, response: httpx2.Response, detail: str) -> AnswerError:
        return AnswerError(
            self._exchange.provider,
            detail,
            status=response.status_code,
            request_id=request_id_of(response),
        )

    def _broken_off(self, response: httpx2.Response, error: dict[str, Any]) -> UnavailableError:
        secrets = self._exchange.secrets
        code = error.get("code") or error.get("type")
        reason = clean(str(error.get("message", "no reason was given")), secrets)
        return UnavailableError(
            self._exchange.provider,
            f"the stream broke off: {reason}",
            code=clean(str(code), secrets) if code else None,
            request_id=request_id_of(response),
        )


def json_object(text: str) -> dict[str, Any]:
    """The JSON object of a body or of an event.

    Raises:
        ValueError: it is none.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is too deep") from None
    if isinstance(value, dict):
        return value
    raise ValueError("it is no JSON object")


def _checked(messages: Sequence[ChatMessage]) -> list[dict[str, Any]]:
    found = [dict(message) for message in messages]
    if not found:
        raise ValueError("`messages` is empty")
    for message in found:
        if message.get("role") not in get_args(Role) or "content" not in message:
            raise ValueError(f"a message needs `content` and a `role` of {get_args(Role)}")
    return found
