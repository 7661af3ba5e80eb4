"""RequestTimeoutMiddleware."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import timedelta
from typing import Any

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send

from components.middleware.request_timeout import RequestTimeoutMiddleware
from tests.components.middleware.exchange import (
    Answer,
    exchange,
    http_scope,
    responding,
    websocket_scope,
)

SHORT = timedelta(milliseconds=5)


def timed(app: ASGIApp, timeout: timedelta = SHORT, **options: Any) -> Answer:
    return exchange(RequestTimeoutMiddleware(app, timeout=timeout, **options), http_scope())


async def never() -> None:
    await asyncio.Event().wait()


async def past_the_limit() -> None:
    """Until a timer of the same loop that is due after the limit has fired."""
    passed = asyncio.Event()
    asyncio.get_running_loop().call_later(SHORT.total_seconds() * 4, passed.set)
    await passed.wait()


def test_a_late_answer_is_504_and_the_handler_is_cancelled_in_its_own_task() -> None:
    seen: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(asyncio.current_task())
        try:
            await never()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(asyncio.current_task())
        await RequestTimeoutMiddleware(app, timeout=SHORT)(scope, receive, send)

    answer = exchange(outer, http_scope())
    assert answer.status == 504
    assert json.loads(answer.body)["error"]["code"] == "timeout"
    assert "0.005 s" in json.loads(answer.body)["error"]["message"]
    assert seen[0] is seen[1]
    assert seen[2] == "cancelled"


def test_a_stream_that_has_begun_may_last() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await past_the_limit()
        await send({"type": "http.response.body", "body": b"whole"})

    answer = timed(app)
    assert (answer.status, answer.body) == (200, b"whole")


def test_the_applications_own_timeout_error_is_its_own() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        raise TimeoutError("own")

    with pytest.raises(TimeoutError, match="own"):
        timed(app, timedelta(minutes=1))


def test_an_application_that_swallows_the_cancellation() -> None:
    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await never()
        except asyncio.CancelledError:
            await responding(503)(scope, receive, send)

    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await never()
        except asyncio.CancelledError:
            return

    assert timed(answering).status == 503
    assert timed(silent).status == 504


def test_a_deadline_that_passes_just_before_the_answer_cuts_nothing_off() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        end = asyncio.get_running_loop().time() + SHORT.total_seconds() * 2
        while asyncio.get_running_loop().time() < end:
            pass  # the loop stands still, so that the deadline is noticed late
        future = asyncio.get_running_loop().create_future()
        # next to the deadline's own callback in the loop's queue
        asyncio.get_running_loop().call_soon(future.set_result, None)
        await future
        await responding()(scope, receive, send)

    answer = timed(app)
    assert answer.status in (200, 504)
    assert answer.messages[-1]["type"] == "http.response.body"


def test_a_cancellation_from_outside_is_no_timeout() -> None:
    async def main() -> None:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            await never()

        middleware = RequestTimeoutMiddleware(app, timeout=timedelta(minutes=1))
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        task = asyncio.create_task(middleware(http_scope(), asyncio.Event().wait, send))  # type: ignore[arg-type]  # never called
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert sent == []

    asyncio.run(main())


def test_scopes_of_anyio_and_contextvars_stay_whole() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="")
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        token = variable.set("set")
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(never)
                await never()
        finally:
            seen.append(variable.get())
            variable.reset(token)

    assert timed(app).status == 504
    assert seen == ["set"]


def test_exempt_paths_and_websockets_have_no_limit() -> None:
    async def patient(scope: Scope, receive: Receive, send: Send) -> None:
        await past_the_limit()
        await responding()(scope, receive, send)

    app = RequestTimeoutMiddleware(patient, timeout=SHORT, exempt=["/slow/*"])
    assert exchange(app, http_scope("/slow/a")).status == 200
    assert exchange(app, http_scope("/other")).status == 504
    assert exchange(app, websocket_scope("/other")).status == 200


def test_fastapi_endpoints_async_and_in_threads() -> None:
    app = FastAPI()
    release = threading.Event()

    @app.get("/async")
    async def slow() -> None:
        await never()

    @app.get("/thread")
    def blocked() -> None:
        release.wait(10)

    with TestClient(RequestTimeoutMiddleware(app, timeout=SHORT)) as client:
        assert client.get("/async").status_code == 504
        threading.Timer(0.1, release.set).start()
        assert client.get("/thread").status_code == 504


@pytest.mark.parametrize("between", [False, True], ids=["direct", "inside BaseHTTPMiddleware"])
def test_threads_stay_as_many_as_they_are_and_every_client_is_told_in_time(between: bool) -> None:
    """160 requests whose functions hang: 504 for all before the first thread is free."""
    app = FastAPI()
    release = threading.Event()
    log: list[str] = []

    @app.get("/thread")
    def blocked() -> str:
        release.wait(20)
        log.append("worked")
        return "late"

    if between:
        app.add_middleware(BaseHTTPMiddleware, dispatch=_passing)
    limited = RequestTimeoutMiddleware(app, timeout=timedelta(milliseconds=100))
    told: list[int] = []

    async def one() -> None:
        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                told.append(message["status"])
                if len(told) == 160:
                    everybody.set()

        await limited(http_scope("/thread"), asyncio.Event().wait, send)  # type: ignore[arg-type]  # never called

    async def main() -> int:
        requests = asyncio.gather(*(one() for _ in range(160)))
        async with asyncio.timeout(15):
            await everybody.wait()
        count = sum(thread.name == "AnyIO worker thread" for thread in threading.enumerate())
        assert "worked" not in log
        release.set()
        await requests
        return count

    everybody = asyncio.Event()
    assert asyncio.run(main()) <= 40
    assert told == [504] * 160


def test_a_dependency_stays_open_for_the_function_that_uses_it() -> None:
    app = FastAPI()
    log: list[str] = []

    def dependency() -> Iterator[None]:
        try:
            yield
        finally:
            log.append("closed")

    @app.get("/thread", dependencies=[Depends(dependency)])
    def blocked() -> str:
        threading.Event().wait(0.1)
        log.append("worked")
        return "late"

    answer = exchange(RequestTimeoutMiddleware(app, timeout=SHORT), http_scope("/thread"))
    assert answer.status == 504
    assert log == ["worked", "closed"]


async def _passing(request: Request, call_next: Any) -> Any:
    return await call_next(request)


def test_what_an_unheard_function_answers_goes_nowhere_and_ends_there() -> None:
    app = FastAPI()
    release = threading.Event()
    ran: list[str] = []

    @app.get("/thread")
    def blocked(tasks: BackgroundTasks) -> str:
        tasks.add_task(ran.append, "background")
        release.wait(5)
        return "late"

    threading.Timer(0.1, release.set).start()
    answer = exchange(RequestTimeoutMiddleware(app, timeout=SHORT), http_scope("/thread"))
    assert [message.get("status") for message in answer.messages] == [504, None]
    assert ran == []


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta(seconds=-1)])
def test_refuses_no_time(timeout: timedelta) -> None:
    with pytest.raises(ValueError):
        RequestTimeoutMiddleware(responding(), timeout=timeout)
