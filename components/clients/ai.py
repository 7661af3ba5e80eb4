"""Language models: chat, chat as a stream, and embeddings, over plain HTTP.

In: messages and texts. Out: a `ChatAnswer`, an asynchronous iterator of bits of text, lists of numbers.
`OpenAIClient` speaks to OpenAI and to all that offer its API (vLLM, Ollama, Mistral, …),
`AnthropicClient` to Anthropic. One object is one pool of connections, to be shared by all requests.
Refused: what cannot be asked, and answers without meaning; see `components.clients.faults`. What the
services say is as https://platform.openai.com/docs/api-reference and https://docs.anthropic.com have it.
"""

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from components.clients.chat import ChatAnswer, ChatClient, StreamReader, ToldError, json_object
from components.clients.exchange import (
    BaseURL,
    Connections,
    Deadline,
    Exchange,
    OptionalClient,
    Retries,
    Timeout,
    secret_text,
)
from components.clients.faults import UnsupportedError


def _sendable(key: str | SecretStr) -> str | SecretStr:
    if key.get_secret_value() if isinstance(key, SecretStr) else key:  # an empty one may be meant
        secret_text("api_key", key)
    return key


Key = Annotated[
    str | SecretStr, AfterValidator(_sendable), Field(description="the service's API key")
]
Model = Annotated[str | None, Field(description="the model of calls that do not name one")]
_TIMEOUT = timedelta(seconds=60)
_DEADLINE = timedelta(seconds=120)
_EMBEDDED_AT_ONCE = 256


class OpenAIClient(OptionalClient, ChatClient):
    """OpenAI, and what is compatible with it.

    Raises:
        ValueError: an option is not what it should be.
    """

    def __init__(
        self,
        *,
        api_key: Key,
        base_url: BaseURL = "https://api.openai.com/v1",
        model: Model = None,
        embedding_model: Annotated[
            str | None, Field(description="the model of embeddings that do not name one")
        ] = None,
        embedding_cache: Annotated[
            int, Field(ge=0, description="embeddings that are kept, by the hash of their text")
        ] = 0,
        optional_key: Annotated[
            bool, Field(description="an empty `api_key` turns the client off, and is no fault")
        ] = False,
        headers: Annotated[
            Mapping[str, str] | None,
            Field(description="sent with each request, such as `OpenAI-Organization`"),
        ] = None,
        timeout: Timeout = _TIMEOUT,
        deadline: Deadline = _DEADLINE,
        retries: Retries = 3,
        max_connections: Connections = 100,
    ) -> None:
        given = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
        OptionalClient.__init__(self, is_on=bool(given) or not optional_key)
        key = secret_text("api_key", api_key) if self.is_on else ""
        exchange = Exchange(
            "openai",
            base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            max_connections=max_connections,
            headers={**(headers or {}), "Authorization": f"Bearer {key}"},
            secrets=(key,) if key else (),
        )
        ChatClient.__init__(self, exchange, "chat/completions", model)
        self.embedding_model = embedding_model
        self._cache = _EmbeddingCache(embedding_cache)
        # OpenAI's own later models refuse the old name, and other servers do not know the new one
        is_openai = (urlsplit(base_url).hostname or "").endswith("api.openai.com")
        self._limit = "max_completion_tokens" if is_openai else "max_tokens"

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """The embeddings of `texts`, in their order; each text is asked for once."""
        if isinstance(texts, str):
            raise TypeError("`texts` is a list of texts, not one text")
        if not self.is_on:
            raise UnsupportedError("openai", "is off: there is no key")
        chosen = model or self.embedding_model
        if chosen is None:
            raise ValueError("no `model` was given, nor an `embedding_model` to the client")
        found = {text: self._cache.get(chosen, text) for text in texts}
        missing = [text for text, embedding in found.items() if embedding is None]
        for at in range(0, len(missing), _EMBEDDED_AT_ONCE):
            asked = missing[at : at + _EMBEDDED_AT_ONCE]
            body = {"model": chosen, "input": asked, "encoding_format": "float"}
            with self._noting_refusals():
                response = await self._exchange.request("POST", "embeddings", json=body)
            try:
                embeddings = _embeddings(json_object(response.text), len(asked))
            except (LookupError, TypeError, ValueError, OverflowError) as error:
                raise self._unreadable(response, "the answer has no embeddings") from error
            for text, embedding in zip(asked, embeddings, strict=True):
                self._cache.put(chosen, text, embedding)
                found[text] = embedding
        return [list(found[text] or ()) for text in texts]

    def forget_embeddings(self) -> None:
        """Ask anew for all of them: what was given did not fit."""
        self._cache.clear()

    def _fixed(self, messages: list[dict[str, Any]], max_tokens: int | None) -> Mapping[str, Any]:
        if not self.is_on:
            raise UnsupportedError("openai", "is off: there is no key")
        return {"messages": messages, self._limit: max_tokens}

    def _answer(self, body: dict[str, Any], request_id: str | None) -> ChatAnswer:
        return _openai_answer(body, request_id)

    def _reader(self) -> StreamReader:
        return _OpenAIEvents()


class AnthropicClient(ChatClient):
    """Anthropic's Messages API. System messages go where it wants them; it has no embeddings.

    Raises:
        ValueError: an option is not what it should be.
    """

    def __init__(
        self,
        *,
        api_key: Key,
        base_url: BaseURL = "https://api.anthropic.com",
        model: Model = None,
        max_tokens: Annotated[
            int, Field(ge=1, description="longest answer of calls that do not say, in tokens")
        ] = 1024,
        version: Annotated[str, Field(description="of the API, by its date")] = "2023-06-01",
        timeout: Timeout = _TIMEOUT,
        deadline: Deadline = _DEADLINE,
        retries: Retries = 3,
        max_connections: Connections = 100,
    ) -> None:
        key = secret_text("api_key", api_key)
        exchange = Exchange(
            "anthropic",
            base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            max_connections=max_connections,
            headers={"x-api-key": key, "anthropic-version": version},
            secrets=(key,),
        )
        if max_tokens < 1:
            raise ValueError(f"`max_tokens` must be at least 1, not {max_tokens}")
        super().__init__(exchange, "v1/messages", model)
        self._max_tokens = max_tokens

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """Raise `UnsupportedError`: Anthropic has none."""
        raise UnsupportedError(
            "anthropic", "has no embeddings; ask a service with OpenAI's API for them"
        )

    def _fixed(self, messages: list[dict[str, Any]], max_tokens: int | None) -> Mapping[str, Any]:
        system, rest = _split(messages)
        return {"messages": rest, "system": system, "max_tokens": max_tokens or self._max_tokens}

    def _answer(self, body: dict[str, Any], request_id: str | None) -> ChatAnswer:
        return _anthropic_answer(body, request_id)

    def _reader(self) -> StreamReader:
        return _AnthropicEvents()


class _EmbeddingCache:
    """The last `entries` embeddings that were used; with 0 none.

    Kept is the SHA-256 of the text, not the text, and eight bytes a number.
    """

    def __init__(self, entries: int) -> None:
        if entries < 0:
            raise ValueError(f"`embedding_cache` must not be negative: {entries}")
        self._entries = entries
        self._known: dict[bytes, array[float]] = {}  # the least recently used first

    def get(self, model: str, text: str) -> list[float] | None:
        """The embedding, in a list of its own."""
        key = _digest(model, text)
        found = self._known.pop(key, None)
        if found is None:
            return None
        self._known[key] = found
        return found.tolist()

    def put(self, model: str, text: str, embedding: list[float]) -> None:
        """Keep an embedding."""
        self._known[_digest(model, text)] = array("d", embedding)
        while len(self._known) > self._entries:
            del self._known[next(iter(self._known))]

    def clear(self) -> None:
        """Keep none."""
        self._known.clear()

    def __len__(self) -> int:
        return len(self._known)


def _digest(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).digest()


def _openai_answer(body: dict[str, Any], request_id: str | None) -> ChatAnswer:
    """The answer of a chat completion."""
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    return ChatAnswer(
        text=_text_of(choice["message"].get("content")),
        model=body.get("model", ""),
        finish=choice.get("finish_reason"),
        input_tokens=usage.get("prompt_tokens", 0),
        output_tokens=usage.get("completion_tokens", 0),
        request_id=request_id or body.get("id"),
        raw=body,
    )


def _text_of(content: Any) -> str:
    """The text of a message, which some servers give in parts, beside what the model thought.

    Raises:
        TypeError: it is neither.
    """
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    if content is not None and not isinstance(content, str):
        raise TypeError("the content is no text")
    return content or ""


def _embeddings(body: dict[str, Any], count: int) -> list[list[float]]:
    """The embeddings in the order of what was asked; the service may answer in another."""
    found: dict[int, list[float]] = {}
    for item in body["data"]:
        found[item["index"]] = [float(number) for number in item["embedding"]]
    return [found[at] for at in range(count)]


class _OpenAIEvents:
    """One stream: it ends with `[DONE]`; some servers leave that out, after they gave a reason."""

    ended = whole = False

    def text(self, data: str) -> str:
        """The text of an event."""
        if data.strip() == "[DONE]":
            self.ended = True
            return ""
        event = json_object(data)
        if event.get("error"):
            raise ToldError(event["error"])
        choices = event["choices"]  # empty where an event tells the usage alone
        if not choices:
            return ""
        self.whole = self.whole or choices[0].get("finish_reason") is not None
        return _text_of((choices[0].get("delta") or {}).get("content"))


def _split(messages: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """The text of all system messages, and the other messages.

    Raises:
        ValueError: there is no other message, or a system message is not text.
    """
    system = [message["content"] for message in messages if message["role"] == "system"]
    rest = [message for message in messages if message["role"] != "system"]
    if not rest:
        raise ValueError("`messages` has system messages alone")
    if not all(isinstance(text, str) for text in system):
        raise ValueError("a system message for Anthropic must be text")
    return "\n\n".join(system) or None, rest


def _anthropic_answer(body: dict[str, Any], request_id: str | None) -> ChatAnswer:
    """The answer of a message."""
    usage = body.get("usage") or {}
    return ChatAnswer(
        text="".join(part["text"] for part in body["content"] if part["type"] == "text"),
        model=body.get("model", ""),
        finish=body.get("stop_reason"),
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        request_id=request_id or body.get("id"),
        raw=body,
    )


class _AnthropicEvents:
    """One stream: it ends with `message_stop`, and nothing else is an end."""

    ended = whole = False

    def text(self, data: str) -> str:
        """The text of an event."""
        event = json_object(data)
        if event["type"] == "error":
            raise ToldError(event.get("error"))
        self.ended = event["type"] == "message_stop"
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "text_delta":
            return str(event["delta"]["text"])
        return ""
