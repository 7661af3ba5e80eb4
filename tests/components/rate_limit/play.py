"""Plays single requests against an ASGI app, without a server."""

import json
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send


@dataclass
class Answer:
    """What the app sent; `status` is 0 for a websocket that was closed."""

    status: int
    headers: dict[str, str]
    body: bytes
    sent: list[Message]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


async def play(
    app: ASGIApp,
    path: str = "/",
    *,
    method: str = "GET",
    client: str | None = "203.0.113.7",
    headers: dict[str, str] | None = None,
    kind: str = "http",
    **more: Any,
) -> Answer:
    """Send one request and give its whole answer."""
    scope: Scope = {
        "type": kind,
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(k.lower().encode(), v.encode()) for k, v in (headers or {}).items()],
        "client": None if client is None else (client, 50_000),
        "server": ("127.0.0.1", 80),
        **more,
    }
    if kind == "websocket":
        del scope["method"]
    sent: list[Message] = []

    async def receive() -> Message:
        if kind == "websocket":
            return {"type": "websocket.connect"}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start = next((m for m in sent if m["type"].endswith("response.start")), {})
    fields = {k.decode(): v.decode() for k, v in start.get("headers", [])}
    body = b"".join(m.get("body", b"") for m in sent if m["type"].endswith("response.body"))
    return Answer(start.get("status", 0), fields, body, sent)


async def ok(scope: Scope, receive: Receive, send: Send) -> None:
    """An app that answers everything."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-app", b"yes")]})
    await send({"type": "http.response.body", "body": b"ok"})
