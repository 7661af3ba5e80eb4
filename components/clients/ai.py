"""Language models: chat, chat as a stream, and embeddings, over plain HTTP.

In: messages and texts. Out: a `ChatAnswer`, an asynchronous iterator of bits of text, lists of numbers.
`OpenAIClient` speaks to OpenAI and to all that offer its API (vLLM, Ollama, Mistral, …),
`AnthropicClient` to Anthropic. One object is one pool of connections, to be shared by all requests.
Refused: what cannot be asked, and answers without meaning; see `components.clients.faults`.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from components.clients import anthropic_form, openai_form
from components.clients.chat import ChatAnswer, ChatClient, json_object
from components.clients.embedding_cache import EmbeddingCache
from components.clients.exchange import (
    BaseURL,
    Connections,
    Deadline,
    Exchange,
    Retries,
    Timeout,
    secret_text,
)
from components.clients.faults import UnsupportedError

Key = Annotated[str | SecretStr, Field(description="the service's API key")]
Model = Annotated[str | None, Field(description="the model of calls that do not name one")]
_TIMEOUT = timedelta(seconds=60)
_DEADLINE = timedelta(seconds=120)
_EMBEDDED_AT_ONCE = 256


class OpenAIClient(ChatClient):
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
        headers: Annotated[
            Mapping[str, str] | None,
            Field(description="sent with each request, such as `OpenAI-Organization`"),
        ] = None,
        timeout: Timeout = _TIMEOUT,
        deadline: Deadline = _DEADLINE,
        retries: Retries = 3,
        max_connections: Connections = 100,
    ) -> None:
        key = secret_text("api_key", api_key)
        exchange = Exchange(
            "openai",
            base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            max_connections=max_connections,
            headers={**(headers or {}), "Authorization": f"Bearer {key}"},
            secrets=(key,),
        )
        super().__init__(exchange, "chat/completions", model)
        self._embedding_model = embedding_model
        self._cache = EmbeddingCache(embedding_cache)
        # OpenAI's own later models refuse the old name, and other servers do not know the new one
        is_openai = (urlsplit(base_url).hostname or "").endswith("api.openai.com")
        self._limit = "max_completion_tokens" if is_openai else "max_tokens"

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """The embeddings of `texts`, in their order; each text is asked for once."""
        if isinstance(texts, str):
            raise TypeError("`texts` is a list of texts, not one text")
        chosen = model or self._embedding_model
        if chosen is None:
            raise ValueError("no `model` was given, nor an `embedding_model` to the client")
        found = {text: self._cache.get(chosen, text) for text in texts}
        missing = [text for text, embedding in found.items() if embedding is None]
        for at in range(0, len(missing), _EMBEDDED_AT_ONCE):
            asked = missing[at : at + _EMBEDDED_AT_ONCE]
            body = {"model": chosen, "input": asked, "encoding_format": "float"}
            response = await self._exchange.request("POST", "embeddings", json=body)
            try:
                embeddings = openai_form.embeddings(json_object(response.text), len(asked))
            except (LookupError, TypeError, ValueError) as error:
                raise self._unreadable(response, "the answer has no embeddings") from error
            for text, embedding in zip(asked, embeddings, strict=True):
                self._cache.put(chosen, text, embedding)
                found[text] = embedding
        return [list(found[text] or ()) for text in texts]

    def _fixed(self, messages: list[dict[str, Any]], max_tokens: int | None) -> Mapping[str, Any]:
        return {"messages": messages, self._limit: max_tokens}

    def _answer(self, body: dict[str, Any], request_id: str | None) -> ChatAnswer:
        return openai_form.answer(body, request_id)

    def _reader(self) -> openai_form.Reader:
        return openai_form.Reader()


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
        system, rest = anthropic_form.split(messages)
        return {"messages": rest, "system": system, "max_tokens": max_tokens or self._max_tokens}

    def _answer(self, body: dict[str, Any], request_id: str | None) -> ChatAnswer:
        return anthropic_form.answer(body, request_id)

    def _reader(self) -> anthropic_form.Reader:
        return anthropic_form.Reader()
