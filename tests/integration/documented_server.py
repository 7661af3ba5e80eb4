"""The dev service, as `test_openapi_conformance` asks it: other limits, and event streams that end.

In: the variable `LIMIT`, a rate; `PUBLIC_BASE_URL` and `ESTATE_DATABASE_URL`. Out: `app`.
"""

import asyncio
import os

from starlette.types import ASGIApp, Message, Receive, Scope, Send

import assembler

LIMIT = os.environ["LIMIT"]


class EndingStreams:
    """Ends an event stream after its first chunk: whoever tests a document reads answers whole."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "/events/" not in scope["path"]:
            await self.app(scope, receive, send)
            return
        is_stream, ended = False, asyncio.Event()

        async def send_first(message: Message) -> None:
            nonlocal is_stream
            if ended.is_set():
                return
            if message["type"] == "http.response.start":
                fields = dict(message["headers"])
                is_stream = fields.get(b"content-type", b"").startswith(b"text/event-stream")
            elif is_stream:
                message = {**message, "more_body": False}
                ended.set()
            await send(message)

        async def receive_until_ended() -> Message:
            asking = asyncio.ensure_future(receive())
            ending = asyncio.ensure_future(ended.wait())
            await asyncio.wait({asking, ending}, return_when=asyncio.FIRST_COMPLETED)
            ending.cancel()
            if asking.done():
                return asking.result()
            asking.cancel()
            return {"type": "http.disconnect"}

        await self.app(scope, receive_until_ended, send_first)


plan = assembler.load(
    "manifests/dev.yaml",
    override={
        "middleware.per-ip.with.limit": LIMIT,
        "middleware.per-user.with.limit": LIMIT,
        "scheduler.enabled": False,
        "logging.loggers.assembler.level": "ERROR",
        "logging.loggers.components.level": "ERROR",
    },
)
app = EndingStreams(assembler.build(plan))
