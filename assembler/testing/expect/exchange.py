"""One request to an ASGI application, in process → its answer, and how far it came.

In: the application, a method (`WEBSOCKET` opens one), a target, headers. Out: an `Answer`. An
application that never answers, or that raises after its answer has begun, is told as a `fault`.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Scope

from assembler.diagnostics.exceptions import failure_of
from assembler.runtime.lifespan_client import LifespanClient

_STARTS = {"http.response.start", "websocket.http.response.start"}


@dataclass(slots=True)
class Answer:
    """What came back: a status (101 for an accepted websocket), headers in lower case.

    `trail` has the depth and the scope of each guard that the request reached, outermost first, and
    the name of the layer around it where that is a route's own.
    """

    status: int | None = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    trail: list[tuple[int, Scope, str | None]] = field(default_factory=list)
    fault: str | None = None


async def exchange(
    app: ASGIApp,
    method: str,
    target: str,
    headers: Mapping[str, str],
    *,
    state: Mapping[str, Any],
    timeout_seconds: float,
) -> Answer:
    """Send one request without a body, and return what comes back."""
    answer = Answer()
    scope = _scope(method, target, headers, state) | {"assembler.trail": answer.trail}
    caller = _Caller(answer, is_websocket=scope["type"] == "websocket")
    try:
        async with asyncio.timeout(timeout_seconds) as limit:
            await app(scope, caller.receive, caller.send)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # user code may raise anything, timeouts too
        late = f"gives no whole answer within {timeout_seconds:g}s"
        answer.fault = late if limit.expired() else f"raises {failure_of(error)}"
    return answer


@asynccontextmanager
async def started(app: ASGIApp) -> AsyncIterator[dict[str, Any]]:
    """Start `app` as a server would, yield the state of its requests, stop it at the end.

    Raises what its start raises.
    """
    state: dict[str, Any] = {}
    client = LifespanClient(app, {}, state, is_test=True)
    await client.open()
    if not client.is_running:
        raise client.error or RuntimeError("the application has no lifespan")
    try:
        yield state
    finally:
        await client.aclose()


class _Caller:
    """The other side of one request: sends no body, reads the answer, leaves when it may."""

    def __init__(self, answer: Answer, *, is_websocket: bool) -> None:
        self.answer = answer
        self.left = asyncio.Event()
        self.is_websocket = is_websocket
        first = {"type": "websocket.connect"} if is_websocket else {"type": "http.request"}
        self.waiting: list[Message] = [first]

    async def receive(self) -> Message:
        if self.waiting:
            return self.waiting.pop()
        await self.left.wait()
        return {"type": "websocket.disconnect" if self.is_websocket else "http.disconnect"}

    async def send(self, message: Message) -> None:
        kind = message["type"]
        if kind in _STARTS:
            self.note(message["status"], message)
            if ("content-type", "text/event-stream") in self.kinds():
                self.left.set()  # such an answer goes on for as long as its reader stays
        elif kind == "websocket.accept":
            self.note(101, message)
            self.left.set()
        elif kind == "websocket.close":
            if self.answer.status is None:
                self.answer.status = 403
        elif not message.get("more_body", False):
            self.left.set()

    def note(self, status: int, message: Message) -> None:
        self.answer.status = status
        self.answer.headers = [
            (name.decode("latin-1").lower(), value.decode("latin-1"))
            for name, value in message.get("headers", ())
        ]

    def kinds(self) -> set[tuple[str, str]]:
        return {(name, value.partition(";")[0].strip()) for name, value in self.answer.headers}


def _scope(
    method: str, target: str, headers: Mapping[str, str], state: Mapping[str, Any]
) -> dict[str, Any]:
    path, _, query = target.partition("?")
    given = {name.lower(): value for name, value in headers.items()}
    is_websocket = method == "WEBSOCKET"
    scope: dict[str, Any] = {
        "type": "websocket" if is_websocket else "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # from 2.4 on streams do not listen
        "http_version": "1.1",
        "scheme": "ws" if is_websocket else "http",
        "path": unquote(path),
        "raw_path": path.encode("utf-8"),
        "query_string": query.encode("utf-8"),
        "root_path": "",
        "headers": [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in {"host": "localhost", **given}.items()
        ],
        "client": ("127.0.0.1", 50000),
        "server": ("localhost", 80),
        "state": dict(state),
    }
    own: dict[str, Any] = {"subprotocols": []} if is_websocket else {"method": method}
    return scope | own
