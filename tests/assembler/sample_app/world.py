"""Manifests of one test, and lifespans as a server drives them."""

import asyncio
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from assembler.application.build import build
from assembler.plan.load import Plan, load
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.report import Assembly

PARTS = "tests.assembler.sample_app"


def write(folder: Path, text: str) -> Path:
    """Write a manifest; `$parts` stands for the package of the sample application."""
    path = folder / "manifest.yaml"
    body = textwrap.dedent(text).strip("\n").replace("$parts", PARTS)
    path.write_text(f"manifest: 1\n{body}\n", "utf-8")
    return path


def planned(folder: Path, text: str, environment: Mapping[str, str] | None = None) -> Plan:
    return load(write(folder, text), environment=environment or {})


def built(folder: Path, text: str, **resources: Any) -> FastAPI:
    return build(planned(folder, text), resources)


def assembly_of(app: FastAPI) -> Assembly:
    assembly: Assembly = app.state.assembly
    return assembly


def lifespan_of(app: FastAPI) -> Lifespan:
    protocol: Any = app.router.lifespan
    lifespan: Lifespan = protocol.lifespan
    return lifespan


async def until(condition: Callable[[], bool]) -> None:
    """Let the other tasks run until `condition` holds."""
    while not condition():  # noqa: ASYNC110  # what is waited for sets no event
        await asyncio.sleep(0)


class Server:
    """Drives the lifespan of one application in the running loop."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.state: dict[str, Any] = {}
        self.ended: BaseException | None = None
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.task: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Send `lifespan.startup`; return the answer."""
        self.begin()
        return await self._from_app.get()

    def begin(self) -> None:
        """Send `lifespan.startup`, and wait for nothing."""
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": self.state}
        self._to_app.put_nowait({"type": "lifespan.startup"})
        self.task = asyncio.create_task(self._serve(scope))

    async def stop(self) -> dict[str, Any]:
        """Send `lifespan.shutdown`; return the answer, when the application has ended."""
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        answer = await self._from_app.get()
        await self.end()
        return answer

    async def end(self) -> None:
        assert self.task is not None
        await self.task

    async def _serve(self, scope: dict[str, Any]) -> None:
        try:
            await self.app(scope, self._to_app.get, self._from_app.put)
        except BaseException as error:
            self.ended = error


async def cycle(app: Any) -> None:
    """Start and stop `app` once; both must succeed."""
    server = Server(app)
    assert await server.start() == {"type": "lifespan.startup.complete"}
    assert await server.stop() == {"type": "lifespan.shutdown.complete"}


async def failing_start(app: Any) -> str:
    """Start `app`, which must fail; return the message."""
    server = Server(app)
    answer = await server.start()
    await server.end()
    assert answer["type"] == "lifespan.startup.failed"
    message: str = answer["message"]
    return message
