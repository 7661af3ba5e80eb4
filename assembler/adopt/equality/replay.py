"""Requests and an application in this process → its answers.

In: probes as `probes` writes them, the application, and what its start gave to requests. Out: an answer
for each, as data: status, headers, body, and what was raised to the server. A probe may force an
exception: inside a layer, in place of all that the layer passes requests to, or inside an endpoint, in
place of its function. Nothing is built anew for that: the one object that holds the way inwards gets
another one for the time of the request.

Each probe comes from an address of its own, so that limits by address let all of them through.
"""

import asyncio
import gzip
import hashlib
import inspect
import zlib
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote_to_bytes

import fastapi.routing
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assembler.adopt.equality.inspection import InspectedApp, inner_name, inner_of, maker_of
from assembler.adopt.equality.values import path_of
from assembler.diagnostics.exceptions import failure_of

SECONDS = 10.0
_LATE = f"gives no whole answer within {SECONDS:g} s"
_MOST_BYTES = 1 << 20  # of one answer that does not end
_MOST_SHOWN = 20_000  # characters of a body that are kept; a hash tells the rest
_FORCED: ContextVar[BaseException | None] = ContextVar("assembler.forced", default=None)


class ForcedError(RuntimeError):
    """What is raised where a probe says so, for which no application has a handler."""


async def replay(
    app: ASGIApp,
    probes: Sequence[Mapping[str, Any]],
    inspected: InspectedApp,
    *,
    state: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Send the probes one after the other, and return what each gives.

    Who waits for an answer that does not come leaves, and asks that path no more: such answers are
    `late`, and what makes them goes on for as long as the process.
    """
    answers = []
    hanging: set[tuple[str, str]] = set()
    with _forcing_endpoints():
        for number, probe in enumerate(probes):
            place = probe["method"], probe["target"].partition("?")[0]
            if place in hanging:
                answers.append(_Exchanged(b"", _LATE).as_dict())
                continue
            answer = await _answer(app, probe, inspected, state, number)
            if answer["raises"] == _LATE:
                hanging.add(place)
            answers.append(answer)
    return answers


async def _answer(
    app: ASGIApp,
    probe: Mapping[str, Any],
    inspected: InspectedApp,
    state: Mapping[str, Any],
    number: int,
) -> dict[str, Any]:
    caller = _Exchanged(probe.get("body", "").encode())
    force = probe.get("force")
    scope = _scope(probe, state, number)
    with _forced(force, inspected) if force else _unforced() as reached:
        error = await _failure(app(scope, caller.receive, caller.send))
    caller.raised = failure_of(error) if isinstance(error, BaseException) else error
    answer = caller.as_dict()
    if isinstance(error, BaseException):
        answer["kinds"] = [path_of(kind) for kind in type(error).__mro__]
        if error.__cause__ is not None:  # Starlette's, for one that came after the answer
            answer["behind"] = [path_of(kind) for kind in type(error.__cause__).__mro__]
    if force:
        answer["forced"] = bool(reached)
    return answer


async def _failure(answering: Awaitable[None]) -> BaseException | str | None:
    """Wait for an application, and return what it raises, or that it does not answer."""
    task = asyncio.ensure_future(answering)
    done, _ = await asyncio.wait({task}, timeout=SECONDS)
    if not done:
        task.cancel()  # a thread that it waits for cannot be
        return _LATE
    try:
        task.result()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # an application may raise anything
        return error
    return None


class _Exchanged:
    """The other side of one request: gives the body, reads the answer, leaves when it may."""

    def __init__(self, body: bytes, raised: str | None = None) -> None:
        self.raised = raised
        self._body = body
        self._is_given = False
        self._left = asyncio.Event()
        self._status: int | None = None
        self._headers: list[tuple[str, str]] = []
        self._parts: list[bytes] = []
        self._size = 0
        self._has_ended = False

    async def receive(self) -> Message:
        if not self._is_given:
            self._is_given = True
            return {"type": "http.request", "body": self._body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            self._headers = [
                _field(name.decode("latin-1").lower(), value.decode("latin-1"))
                for name, value in message.get("headers", ())
            ]
            if self._is_stream():
                self._left.set()  # it goes on for as long as its reader stays
        elif message["type"] == "http.response.body":
            body = message.get("body", b"")
            self._parts.append(body)
            self._size += len(body)
            self._has_ended = not message.get("more_body", False)
            if self._has_ended or self._size > _MOST_BYTES:
                self._left.set()

    def _is_stream(self) -> bool:
        return any(
            name == "content-type" and value.startswith("text/event-stream")
            for name, value in self._headers
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the answer; a compressed body is told by what is in it."""
        answer: dict[str, Any] = {
            "status": self._status,
            "headers": sorted(self._headers),
            "raises": self.raised,
        }
        if self.raised == _LATE:
            answer["late"] = True
        if self._status is None:
            return answer
        if self._is_stream() or not self._has_ended:
            answer["stream"] = True
            return answer
        body = _decoded(b"".join(self._parts), dict(self._headers).get("content-encoding", ""))
        text = body.decode("utf-8", "backslashreplace")
        if text.startswith("Traceback (most recent call last)"):  # of `debug`: frames tell nothing
            text = text.strip().rpartition("\n")[2]
            answer["headers"] = [each for each in answer["headers"] if each[0] != "content-length"]
        answer["body"] = text[:_MOST_SHOWN]
        if len(text) > _MOST_SHOWN:
            answer["hash"] = hashlib.blake2b(body, digest_size=16).hexdigest()
        return answer


def _field(name: str, value: str) -> tuple[str, str]:
    """Return a field of a header; the methods of `Allow` are a set, which Starlette writes as such."""
    if name == "allow":
        value = ", ".join(sorted(each.strip() for each in value.split(",")))
    return name, value


def _decoded(body: bytes, encoding: str) -> bytes:
    """Unpack a body: what packs it writes the time of day into it."""
    with suppress(OSError, EOFError, zlib.error):
        if encoding == "gzip":
            return gzip.decompress(body)
        if encoding == "deflate":
            return zlib.decompress(body)
    return body


def _scope(probe: Mapping[str, Any], state: Mapping[str, Any], number: int) -> Scope:
    target: str = probe["target"]
    path, _, query = target.partition("?")
    raw = path.encode("ascii", "backslashreplace")
    client = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},  # from 2.4 on streams do not listen
        "http_version": "1.1",
        "scheme": "http",
        "method": probe["method"],
        "path": unquote_to_bytes(raw).decode("utf-8", "replace"),
        "raw_path": raw,
        "query_string": query.encode("ascii", "backslashreplace"),
        "root_path": "",
        "headers": [
            (name.lower().encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in probe["headers"]
        ],
        "client": (client, 50_000),
        "server": ("localhost", 80),
        "state": dict(state),
    }


# --- exceptions by force


@contextmanager
def _unforced() -> Iterator[list[None]]:
    yield []


@contextmanager
def _forcing_endpoints() -> Iterator[None]:
    """Have FastAPI raise in place of an endpoint where a probe says so."""
    module: Any = fastapi.routing
    original = getattr(module, "run_endpoint_function", None)
    if original is None:  # a later FastAPI: told as never reached
        yield
        return

    async def run_or_raise(**options: Any) -> Any:
        error = _FORCED.get()
        if error is not None:
            _REACHED.get().append(None)
            raise error
        return await original(**options)

    module.run_endpoint_function = run_or_raise
    try:
        yield
    finally:
        module.run_endpoint_function = original


_REACHED: ContextVar[list[None]] = ContextVar("assembler.reached")


@contextmanager
def _forced(force: Mapping[str, Any], inspected: InspectedApp) -> Iterator[list[None]]:
    """Raise inside a layer or endpoint while this lasts; yields what is filled once it was."""
    reached: list[None] = []
    app = inspected.apps.get(force["app"])
    error = None if app is None else _made(app, force["raise"])
    if app is None or error is None:
        yield reached
        return
    if "layer" in force:
        with _raising_inside(app, force["layer"], error, reached):
            yield reached
        return
    tokens = _FORCED.set(error), _REACHED.set(reached)
    try:
        yield reached
    finally:
        _FORCED.reset(tokens[0])
        _REACHED.reset(tokens[1])


@contextmanager
def _raising_inside(
    app: Starlette, depth: int, error: BaseException, reached: list[None]
) -> Iterator[None]:
    """Raise in place of all that the layer at `depth` (0 is the outermost) passes requests to."""

    async def raise_it(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(None)
        raise error

    holder = _holder(app, depth)
    name = None if holder is None else inner_name(holder)
    if holder is None or name is None:
        yield
        return
    inner = getattr(holder, name)
    setattr(holder, name, raise_it)
    try:
        yield
    finally:
        setattr(holder, name, inner)


def _holder(app: Starlette, depth: int) -> Any:
    """Return the object of the built stack that passes requests on from inside a layer."""
    if app.middleware_stack is None:
        try:
            app.middleware_stack = app.build_middleware_stack()
        except Exception:  # noqa: BLE001  # a layer that cannot be made: every request has told of it
            return None
    wanted = [maker_of(layer)[0] for layer in app.user_middleware]
    if depth >= len(wanted):
        return None
    node: Any = app.middleware_stack
    number = 0
    while node is not None:
        following = inner_of(node)
        if number < len(wanted) and _is_made_by(node, wanted[number]):
            if number == depth:
                # What the assembler puts inside a layer belongs to it.
                return following if type(following).__name__ == "_Waypoint" else node
            number += 1
        node = following
    return None


def _is_made_by(node: Any, maker: Any) -> bool:
    """Tell whether a layer is of a class; one that a function made is whatever that gave."""
    if isinstance(maker, type):
        return type(node) is maker or isinstance(node, maker)
    return not type(node).__module__.startswith(("starlette.", "assembler."))


def _made(app: Starlette, name: str) -> BaseException | None:
    """Make the exception of that name: a status, or a class for which the application has a handler."""
    if name == ForcedError.__name__:
        return ForcedError("forced")
    if name.isdecimal():
        return HTTPException(int(name), "forced")
    kind = next(
        (key for key in app.exception_handlers if isinstance(key, type) and path_of(key) == name),
        None,
    )
    if kind is None:
        return None
    if kind is Exception:
        return ForcedError("forced")
    return _instance(kind)


_WORDS: dict[Any, Any] = {int: 1, float: 1.0, bool: True, list: [], tuple: (), dict: {}}


def _instance(kind: Callable[..., Any]) -> BaseException | None:
    """Make an exception of a class whose constructor may want anything."""
    ways: list[tuple[list[Any], dict[str, Any]]] = [(["forced"], {}), ([], {}), ([[]], {})]
    with suppress(TypeError, ValueError):
        ways.insert(0, _arguments(inspect.signature(kind)))
    for args, options in ways:
        with suppress(Exception):
            made = kind(*args, **options)
            if isinstance(made, BaseException):
                str(made)
                return made
    return None


def _arguments(signature: inspect.Signature) -> tuple[list[Any], dict[str, Any]]:
    args: list[Any] = []
    options: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            continue
        if parameter.default is not parameter.empty:
            continue
        hint = str(parameter.annotation).lower()
        value: Any = _WORDS.get(parameter.annotation, "forced")
        if "status" in name:
            value = 418
        elif "sequence" in hint or hint.startswith(("list", "typing.list")):
            value = []
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[name] = value
        else:
            args.append(value)
    return args, options
