"""One fresh process: what a shipped manifest has loaded after traffic of those who have no token.

Run with the path of a manifest; prints one line of JSON.
"""

import asyncio
import json
import sys
from typing import Any

from tests.integration.cold_start import ask, loaded

PATHS = (
    "/mcp",
    "/mcp/",
    "/mcp-admin",
    "/mcp/inner",
    "/api/v1/visits",
    "/api/v1/listings",
    "/api/v1/docs",
    "/.well-known/oauth-protected-resource/mcp",
    "/.well-known/oauth-authorization-server",
    "/nothing",
)


async def story(manifest: str) -> dict[str, Any]:
    import assembler  # noqa: PLC0415  # the start is a part of the story

    app = assembler.build(assembler.load(manifest))
    queue: asyncio.Queue[Any] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    queue.put_nowait({"type": "lifespan.startup"})
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": state}
    server = asyncio.create_task(app(scope, queue.get, answers.put))
    assert (await answers.get())["type"] == "lifespan.startup.complete"
    statuses = {path: (await ask(app, path, state=state))[0] for path in PATHS}
    facts = {"statuses": statuses, "loaded": loaded()}
    queue.put_nowait({"type": "lifespan.shutdown"})
    await server
    return facts


if __name__ == "__main__":
    print(json.dumps(asyncio.run(story(*sys.argv[1:]))))
