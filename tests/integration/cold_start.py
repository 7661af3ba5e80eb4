"""One fresh process: what a manifest with lazy MCP servers loads, when, and what it costs.

Run with the path of a manifest, a token, and how many ask for the mount first (200); prints one
line of JSON.
"""

import asyncio
import json
import sys
import time
from typing import Any

HEAVY = ("mcp", "mcp_types", "jwt")


def loaded() -> list[str]:
    return [name for name in HEAVY if name in sys.modules]


async def ask(
    app: Any, path: str, token: str = "", body: bytes = b"", state: Any = None
) -> tuple[int, bytes]:
    sent: list[Any] = []
    messages = iter([{"type": "http.request", "body": body}])

    async def receive() -> Any:
        for message in messages:
            return message
        await asyncio.Event().wait()
        return None

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [
        (b"host", b"a.example"),
        (b"accept", b"application/json, text/event-stream"),
        (b"content-type", b"application/json"),
    ]
    if token:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST" if body else "GET",
        "scheme": "https",
        "path": path,
        "query_string": b"",
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("a.example", 443),
        "state": dict(state or {}),
    }
    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


class Lag:
    """How long other work has kept the loop, at the longest."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.perf_counter() - began - 0.005)


async def story(manifest: str, token: str, requests: str = "200") -> dict[str, Any]:
    began = time.perf_counter()
    import assembler  # noqa: PLC0415  # the start is what is measured

    app = assembler.build(assembler.load(manifest))
    queue: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    queue.put_nowait({"type": "lifespan.startup"})
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
    server = asyncio.create_task(app(scope, queue.get, answers.put))
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    facts: dict[str, Any] = {"start_ms": (time.perf_counter() - began) * 1000}
    began = time.perf_counter()
    facts["cold"] = (await ask(app, "/mcp"))[0]
    facts["cold_ms"] = (time.perf_counter() - began) * 1000
    for path in ("/mcp-admin", "/.well-known/oauth-protected-resource/mcp", "/nothing", "/mcpx"):
        await ask(app, path)
    facts["after_traffic"] = loaded()
    lag = Lag()
    watch = asyncio.create_task(lag.watch())
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "whoami"}}
    body = json.dumps(call).encode()
    first = await asyncio.gather(*(ask(app, "/mcp", token, body) for _ in range(int(requests))))
    watch.cancel()
    facts["first"] = sorted({status for status, _ in first})
    facts["said"] = first[0][1].decode()
    facts["lag_ms"] = lag.longest * 1000
    facts["after_token"] = loaded()
    facts["lazy"] = app.state.assembly.as_dict()["lazy"]
    queue.put_nowait({"type": "lifespan.shutdown"})
    await server
    return facts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(*sys.argv[1:]))))
