"""One ASGI exchange by hand: a scope, an application, and all that it sent."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Fields = list[tuple[bytes, bytes]]


@dataclass
class Answer:
    """What an application sent."""

    scope: Scope
    messages: list[Message] = field(default_factory=list)

    @property
    def status(self) -> int:
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> Fields:
        return list(self.messages[0].get("headers", ()))

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.messages[1:])

    def all(self, name: str) -> list[str]:
        wanted = name.lower().encode()
        return [value.decode("latin-1") for key, value in self.headers if key.lower() == wanted]

    def one(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} was sent {len(values)} times"
        return values[0] if values else None


def http_scope(path: str = "/items", method: str = "GET", **more: Any) -> dict[str, Any]:
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "https",
        "path": path,
        "raw_path": path.encode("utf-8", "surrogatepass"),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": ("198.51.100.7", 40000),
        "server": ("10.0.0.1", 8000),
        "state": {},
    }
    return scope | more


def websocket_scope(path: str = "/ws", **more: Any) -> dict[str, Any]:
    scope = http_scope(path) | {"type": "websocket", "scheme": "wss", "subprotocols": []}
    del scope["method"]
    return scope | more


def exchange(app: ASGIApp, scope: Scope, received: Sequence[Message] = ()) -> Answer:
    """Runs one exchange to its end; what the application raises is raised."""
    answer = Answer(scope)
    waiting = list(received) or [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        answer.messages.append(message)

    async def run() -> None:
        await app(scope, receive, send)

    asyncio.run(run())
    return answer


def responding(
    status: int = 200,
    headers: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"text/plain"),),
    body: Sequence[bytes] = (b"hello",),
) -> ASGIApp:
    """An application that gives this answer, its body in as many messages."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        for at, part in enumerate(body):
            more = at + 1 < len(body)
            await send({"type": "http.response.body", "body": part, "more_body": more})

    return app
