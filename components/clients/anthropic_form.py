"""The JSON of Anthropic's Messages API -> answers and bits of text.

In: messages as OpenAI takes them; bodies and events as https://docs.anthropic.com describes them. Out:
messages as Anthropic takes them; the meaning of bodies and events. Refuses what has another form by
the exception that reading it raises.
"""

from typing import Any

from components.clients.chat import ChatAnswer, ToldError, json_object


def split(messages: list[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
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


def answer(body: dict[str, Any], request_id: str | None) -> ChatAnswer:
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


class Reader:
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
