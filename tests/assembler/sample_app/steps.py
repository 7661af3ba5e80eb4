"""Resources, startup steps, hooks and configure functions of the sample application."""

import asyncio
import errno
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal, Self

import anyio
from fastapi import APIRouter, FastAPI, HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from tests.assembler.sample_app.journal import note
from tests.assembler.sample_app.layers import Label, Refusing, add_label

FOREVER = threading.Event()  # nobody sets it


class Entered:
    """Opened by `async with`; `fails` says which opening fails, of how many."""

    def __init__(self, *, name: str = "entered", fails: int = 0, url: str = "") -> None:
        self.name = name
        self.fails = fails
        self.url = url

    def __str__(self) -> str:
        return f"<{self.name}>"

    async def __aenter__(self) -> str:
        if self.fails:
            self.fails -= 1
            note(f"{self.name} fails to open")
            raise ConnectionError(f"cannot reach {self.url or self.name}")
        note(f"{self.name} opened")
        return "what nobody uses"

    async def __aexit__(self, *_: object) -> None:
        note(f"{self.name} closed")


class Late:
    """Refuses `fails` times, as a server does that is starting."""

    def __init__(self, *, fails: int) -> None:
        self.fails = fails

    async def open(self) -> None:
        if self.fails:
            self.fails -= 1
            note("late fails to open")
            raise ConnectionRefusedError(errno.ECONNREFUSED, "refused")
        note("late opened")

    async def aclose(self) -> None:
        note("late closed")


class Asked:
    """Answers a ping as it is told to."""

    answer: object = None

    async def ping(self) -> object:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class AskedInThread(Asked):
    def ping(self) -> object:  # type: ignore[override]  # a client without async
        return self.answer


class AskedForMore:
    def ping(self, host: str) -> None:
        note("never")


class Held:
    """Opened by `with`, in a thread; has both forms of names that are not to be called."""

    def __enter__(self) -> Self:
        note(f"held entered in {threading.current_thread().name}")
        return self

    def __exit__(self, *_: object) -> None:
        note("held left")

    def close(self) -> None:
        note("never")


class Both:
    """Has `async with` and `with`: the first is used."""

    async def __aenter__(self) -> None:
        note("both entered")

    async def __aexit__(self, *_: object) -> None:
        note("both left")

    def __enter__(self) -> None:
        note("never")

    def __exit__(self, *_: object) -> None:
        note("never")


class Opened:
    async def open(self) -> None:
        note("open")

    async def connect(self) -> None:
        note("never")

    async def aclose(self) -> None:
        note("aclose")

    def close(self) -> None:
        note("never")


class Connected:
    async def connect(self) -> None:
        note("connect")

    async def close(self) -> None:
        note("close")


class Started:
    async def start(self) -> None:
        note("start")

    def shutdown(self) -> None:
        note("shutdown")


class Engine:
    """Its plain `connect` hands out a connection, as SQLAlchemy's does."""

    def connect(self) -> None:
        note("never")

    async def dispose(self) -> None:
        note("dispose")


class Bare:
    """Nothing to open, nothing to close."""

    close = "a word"


class Scoped:
    """Holds an anyio cancel scope and a task group between its opening and its closing."""

    async def __aenter__(self) -> None:
        self.task = asyncio.current_task()
        self.group = await anyio.create_task_group().__aenter__()
        self.group.start_soon(anyio.sleep_forever)

    async def __aexit__(self, *_: object) -> None:
        assert asyncio.current_task() is self.task
        self.group.cancel_scope.cancel()
        await self.group.__aexit__(None, None, None)
        note("scope left")


class Collapsing:
    """A task group whose child fails while the application runs."""

    def __init__(self) -> None:
        self.trigger = asyncio.Event()

    async def __aenter__(self) -> None:
        self.group = await anyio.create_task_group().__aenter__()
        self.group.start_soon(self._child)

    async def __aexit__(self, *_: object) -> None:
        note("collapsed left")
        await self.group.__aexit__(None, None, None)

    async def _child(self) -> None:
        await self.trigger.wait()
        raise ValueError("the child failed")


class SlowToClose:
    async def aclose(self) -> None:
        note("closing slowly")
        await asyncio.sleep(3600)


class FailsToClose:
    def __init__(self, *, error: Literal["plain", "exit", "cancel"] = "plain") -> None:
        self.error = error

    async def aclose(self) -> None:
        note(f"fails to close: {self.error}")
        if self.error == "exit":
            raise SystemExit(4)
        if self.error == "cancel":
            raise asyncio.CancelledError
        raise OSError("the peer is gone")


@asynccontextmanager
async def generator() -> AsyncIterator[None]:
    note("generator in")
    yield
    note("generator out")


def uses(other: Entered) -> Entered:
    """A resource that is made with another one."""
    return Entered(name=f"uses {other.name}")


def needs_text(text: str) -> str:
    return text


def untyped() -> object:
    """Nobody can tell what it gives before it is made."""
    return 5


def broken_factory(secret: str) -> object:
    raise ValueError(f"cannot parse {secret}")


async def say(word: str = "said") -> None:
    note(word)


def say_in_thread(word: str) -> None:
    note(f"{word} in {threading.current_thread().name}")


def use_app(app: FastAPI) -> None:
    note(f"title {app.title}")


async def boom(text: str = "boom") -> None:
    note(f"raises {text}")
    raise ValueError(text)


async def quit_process() -> None:
    note("quits")
    raise SystemExit(7)


def quit_in_thread() -> None:
    note("quits in a thread")
    raise SystemExit(7)


class Panic(BaseException):
    """No `Exception`, and not one of Python's own either."""


async def interrupt() -> None:
    raise KeyboardInterrupt


async def panic() -> None:
    raise Panic


def panicking() -> object:
    raise Panic


class Panicking:
    def __init__(self, app: object) -> None:
        raise Panic

    async def __call__(self, *args: object) -> None: ...


class Hostile:
    @property
    def __class__(self) -> type:
        raise LookupError("asked for its class")

    @__class__.setter
    def __class__(self, value: type) -> None: ...


class LazyOpener:
    """Has an opener that nobody can get at."""

    def __getattribute__(self, name: str) -> object:
        if name == "open":
            raise LookupError("asked to open")
        return object.__getattribute__(self, name)

    async def open(self) -> None: ...


def stop_iteration() -> None:
    raise StopIteration("no more")


async def hang() -> None:
    note("hangs")
    await asyncio.sleep(3600)


async def ignore_cancellation() -> None:
    """Goes on for ever, whoever cancels it."""
    note("ignores")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("ignored a cancellation")


def block() -> None:
    note("blocks")
    FOREVER.wait()


def note_db(db: Any) -> None:
    note(f"db is {db}")


def configure_all(app: FastAPI) -> None:
    note("configured")
    app.add_middleware(Label, name="legacy")
    app.middleware("http")(add_label)

    @app.exception_handler(KeyError)
    async def on_key(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"handler": "legacy"}, status_code=418)

    extra = APIRouter()

    @extra.get("/legacy")
    async def legacy() -> str:
        raise KeyError("legacy")

    app.include_router(extra)


def configure_word(app: FastAPI, *, word: str) -> None:
    note(f"configured {word}")
    app.state.word = word


def configure_broken(app: FastAPI) -> None:
    raise LookupError("no such plugin")


def configure_bad_layer(app: FastAPI) -> None:
    app.add_middleware(Refusing, even=3)


async def forbidden(request: Request, error: Exception) -> PlainTextResponse:
    assert isinstance(error, HTTPException)
    return PlainTextResponse(f"handled {error.status_code}", status_code=error.status_code)


@asynccontextmanager
async def lifespan(
    app: FastAPI, *, name: str = "lifespan", fails: bool = False
) -> AsyncIterator[dict[str, str]]:
    """What an application written by hand has, as FastAPI takes it."""
    note(f"{name} entered with {app.title}")
    if fails:
        raise ConnectionError("no broker")
    yield {"broker": name}
    note(f"{name} left")


@asynccontextmanager
async def lifespan_without_app() -> AsyncIterator[None]:
    note("without the app")
    yield


@asynccontextmanager
async def lifespan_of_a_number(app: FastAPI) -> AsyncIterator[int]:
    yield 3
    note("number left")


def lifespan_untyped(app: FastAPI):  # type: ignore[no-untyped-def]  # as nobody declared it
    return 3


@asynccontextmanager
async def lifespan_that_hangs(app: FastAPI) -> AsyncIterator[None]:
    await asyncio.sleep(3600)
    yield


refusals: list[Exception] = []  # what the next openings of `connected` raise


@asynccontextmanager
async def connected() -> AsyncIterator[None]:
    if refusals:
        raise refusals.pop()
    note("connected")
    yield
    note("disconnected")


there = Entered(name="there")  # an object of the module, which a manifest may name


async def told_of_state(app: FastAPI, resource: str, reason: str | None) -> None:
    app.state.reason = reason
    note(f"{resource}: {reason}")


def told_and_fails(reason: str | None, *, size: int = 3) -> None:
    raise LookupError(f"told {reason}")
