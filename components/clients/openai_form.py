"""The JSON of OpenAI's API -> answers, bits of text and embeddings.

In: bodies and events as https://platform.openai.com/docs/api-reference describes them. Out: their
meaning. Refuses what has another form by the exception that reading it raises.
"""

from typing import Any

from components.clients.chat import ChatAnswer, ToldError, json_object


def answer(body: dict[str, Any], request_id: str | None) -> ChatAnswer:
    """The answer of a chat completion."""
    choice = body["choices"][0]
    usage = body.get("usage") or {}
    return ChatAnswer(
        text=choice["message"].get("content") or "",
        model=body.get("model", ""),
        finish=choice.get("finish_reason"),
        input_tokens=usage.get("prompt_tokens", 0),
        output_tokens=usage.get("completion_tokens", 0),
        request_id=request_id or body.get("id"),
        raw=body,
    )


def embeddings(body: dict[str, Any], count: int) -> list[list[float]]:
    """The embeddings in the order of what was asked; the service may answer in another."""
    found: dict[int, list[float]] = {}
    for item in body["data"]:
        found[item["index"]] = [float(number) for number in item["embedding"]]
    return [found[at] for at in range(count)]


class Reader:
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
        return str((choices[0].get("delta") or {}).get("content") or "")
