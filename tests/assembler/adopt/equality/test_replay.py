"""Requests in this process: what is sent, what comes back, and exceptions by force."""

import asyncio
import gzip
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from assembler.adopt.equality import replay as module
from assembler.adopt.equality.effects import effects_of
from assembler.adopt.equality.inspection import inspect_application
from assembler.adopt.equality.replay import ForcedError, replay
from assembler.adopt.equality.values import path_of

# What an exception by force interrupts may leave a stream open, in older versions of Starlette.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class NeedsMore(Exception):
    def __init__(self, status: int, reasons: list[str], *, name: str) -> None:
        super().__init__(status, reasons, name)


def application() -> FastAPI:
    app = FastAPI()

    async def numbered(request: Request, call_next: Any) -> Any:
        try:
            return await call_next(request)
        except ForcedError:
            return Response("caught", 503)

    app.add_middleware(BaseHTTPMiddleware, dispatch=numbered)
    app.add_middleware(GZipMiddleware, minimum_size=1)

    @app.exception_handler(NeedsMore)
    async def needs_more(request: Request, error: NeedsMore) -> JSONResponse:
        return JSONResponse(error.args, 409)

    @app.exception_handler(404)
    async def missing(request: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse("missing", 404)

    @app.get("/client")
    async def client(request: Request) -> list[str]:
        return [request.client.host if request.client else "", request.headers["x-a"]]

    @app.get("/packed")
    async def packed() -> Response:
        return Response(gzip.compress(b"text"), headers={"Content-Encoding": "gzip"})

    @app.get("/events")
    async def events() -> StreamingResponse:
        async def lines() -> Any:
            while True:
                yield "data: x\n\n"
                await asyncio.sleep(0)

        return StreamingResponse(lines(), media_type="text/event-stream")

    @app.get("/exits")
    def exits() -> None:
        raise SystemExit(3)

    @app.get("/hangs")
    async def hangs() -> None:
        await asyncio.Event().wait()

    return app


def answers(*probes: dict[str, Any], app: FastAPI | None = None) -> list[dict[str, Any]]:
    app = app or application()
    sent = [{"method": "GET", "headers": [("X-A", "b")], "label": "", **each} for each in probes]
    inspected = inspect_application(app)
    return asyncio.run(replay(app, sent, inspected, state={}))


def test_each_request_comes_from_an_address_of_its_own() -> None:
    first, second = answers({"target": "/client"}, {"target": "/client"})
    assert first["body"] == '["10.0.0.0","b"]'
    assert second["body"] == '["10.0.0.1","b"]'
    assert first["status"] == 200
    assert first["raises"] is None


def test_a_packed_body_is_told_by_what_is_in_it() -> None:
    (answer,) = answers({"target": "/packed"})
    assert answer["body"] == "text"


def test_an_endless_answer_is_a_stream() -> None:
    (answer,) = answers({"target": "/events"})
    assert answer["stream"]
    assert "body" not in answer


def test_who_waits_in_vain_leaves_and_asks_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.05)
    probe = {"target": "/hangs"}
    found = answers(probe, {"target": "/hangs?more=1"})
    assert [each.get("late") for each in found] == [True, True]
    assert [each["status"] for each in found] == [None, None]


@pytest.mark.parametrize(
    ("force", "status", "body"),
    [
        ({"raise": "ForcedError"}, 503, "caught"),
        ({"raise": "404"}, 404, '"missing"'),
        ({"raise": path_of(NeedsMore)}, 409, '[418,[],"forced"]'),
        ({"raise": "ForcedError", "layer": 1}, 503, "caught"),
        ({"raise": "404", "layer": 1}, 500, "Internal Server Error"),
        ({"raise": "ForcedError", "layer": 0}, 500, "Internal Server Error"),
    ],
)
def test_an_exception_is_raised_where_a_probe_says(
    force: dict[str, Any], status: int, body: str
) -> None:
    probe = {"target": "/client", "force": {"app": "", **force}}
    forced, plain = answers(probe, {"target": "/client"})
    assert (forced["status"], forced["body"], forced["forced"]) == (status, body, True)
    assert plain["status"] == 200  # nothing is left of it


def test_a_place_that_no_request_reaches_is_told() -> None:
    missing = {"target": "/nowhere", "force": {"app": "", "raise": "ForcedError"}}
    deeper = {"target": "/client", "force": {"app": "", "raise": "ForcedError", "layer": 7}}
    assert [each["forced"] for each in answers(missing, deeper)] == [False, False]


async def begun() -> None:
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def noted() -> list[int]:
    return [number for number in range(2)]  # noqa: C416  # a frame of its own in older versions


async def start(left: list[Any]) -> list[str]:
    with effects_of(frozenset([path_of(start)])) as found:
        await begun()
        noted()
        left.append(asyncio.create_task(begun()))
    await left[0]
    return found


async def ticking() -> None:
    while True:
        tick()
        await asyncio.sleep(0.001)


def tick() -> None:
    """Do something that is told."""


async def settled() -> tuple[list[str], list[str]]:
    """Return what is told of a start that leaves a loop and a thread, then and some ticks later."""
    with effects_of(frozenset([path_of(settled)])) as found:
        loop = asyncio.create_task(ticking())
        work = asyncio.create_task(asyncio.to_thread(tick))
        await found.settle()
    then = list(found)
    await asyncio.gather(work, asyncio.to_thread(tick))  # the same thread, which is watched still
    loop.cancel()
    return then, found


def test_what_a_start_leaves_takes_its_first_steps_and_is_told_once() -> None:
    then, later = asyncio.run(settled())
    calls = [each for each in then if each.startswith("calls")]
    assert calls == [f"calls `{__name__}.{name}`" for name in ("ticking", "tick")]
    assert later == then


def test_effects_are_calls_in_order_each_once_and_what_is_left() -> None:
    module_name = __name__
    assert asyncio.run(start([])) == [
        f"calls `{module_name}.begun`",
        f"calls `{module_name}.noted`",
        "leaves the task `begun`",
    ]
