"""The calls by which an application is composed, and what they read → records with their places.

In: nothing; in a guarded process, before the application's module is imported. Out: a `Composition`: each
call of FastAPI's and Starlette's composing methods in order, with its arguments as they were, the
user's own line, and the names that were in reach there; each variable of the environment that was read,
each pydantic-settings object that was made, each job that was given to an APScheduler.

What the application is in the end tells its parts; the records tell where they come from.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

from assembler.diagnostics.exceptions import is_users, short_path

_OF_ENVIRON = ("os", "_collections_abc", "collections.abc", __name__)
_READS_ALL = frozenset(["pydantic_settings", "dotenv"])
_READERS = ("starlette.config", "decouple", "environs", "environ.", "prettyconf")
_OWN = ("fastapi", "starlette", "typing_extensions", "contextlib", "functools", __package__)


@dataclass(frozen=True, slots=True)
class UserPlace:
    """A line of the user's own code, and the names in reach there.

    `span` is that of the call in the source: line, last line, column and last column, where known;
    `function` is the qualified name of the function that it stands in, empty at the top of a module.
    """

    file: str
    line: int
    span: tuple[int, int, int, int] | None = None
    path: str = ""
    function: str = ""
    globals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    locals: Mapping[str, Any] = field(default_factory=dict, repr=False)
    through: tuple[
        tuple[str, int], ...
    ] = ()  # the user's lines that led there, by path, inmost first
    is_direct: bool = True  # the line itself makes the call, and no library that it calls

    @property
    def text(self) -> str:
        """Write it as comments and reports do."""
        return f"{self.file}:{self.line}" if self.line else self.file


NOWHERE = UserPlace("an unknown place", 0)


@dataclass(frozen=True, slots=True)
class Call:
    """One composing call: its kind, whose it is, its arguments by name, what it added."""

    kind: str
    owner: Any
    arguments: Mapping[str, Any]
    place: UserPlace
    added: tuple[Any, ...] = ()
    extra: tuple[Any, ...] = ()  # further arguments by position


@dataclass(slots=True)
class Composition:
    """All that was recorded, in order."""

    calls: list[Call] = field(default_factory=list)
    environment: dict[str, UserPlace] = field(default_factory=dict)
    settings: list[tuple[Any, UserPlace]] = field(default_factory=list)
    state: dict[tuple[int, str], UserPlace] = field(default_factory=dict)

    def of(self, *owners: Any) -> Iterator[Call]:
        """Yield the calls of these objects, in order."""
        ids = {id(owner) for owner in owners}
        return (call for call in self.calls if id(call.owner) in ids)


def user_place(depth: int = 1) -> UserPlace:
    """Return the innermost place of the user's own code at or above the caller."""
    frame: FrameType | None = sys._getframe(depth)  # noqa: SLF001  # what `inspect` itself takes
    is_direct = True
    while frame is not None and not is_users(frame.f_code.co_filename):
        name = str(frame.f_globals.get("__name__", ""))
        is_direct = is_direct and any(name == own or name.startswith(f"{own}.") for own in _OWN)
        frame = frame.f_back
    if frame is None:
        return NOWHERE
    code = frame.f_code
    is_module = code.co_name == "<module>"
    return UserPlace(
        file=short_path(code.co_filename),
        line=frame.f_lineno,
        span=_span(code, frame.f_lasti),
        path=code.co_filename,
        function="" if is_module else code.co_qualname,
        globals=frame.f_globals,
        locals={} if is_module else dict(frame.f_locals),
        through=tuple(_own_lines(frame)),
        is_direct=is_direct,
    )


def _own_lines(frame: FrameType | None) -> Iterator[tuple[str, int]]:
    while frame is not None:
        if is_users(frame.f_code.co_filename):
            yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back


def _span(code: CodeType, instruction: int) -> tuple[int, int, int, int] | None:
    positions = _positions(code)[instruction // 2]
    line, last, column, end = positions
    if line is None or last is None or column is None or end is None:
        return None
    return line, last, column, end


@functools.lru_cache(maxsize=256)
def _positions(code: CodeType) -> tuple[tuple[int | None, int | None, int | None, int | None], ...]:
    return tuple(code.co_positions())


@contextmanager
def recorded() -> Iterator[Composition]:
    """Record what is composed; for the life of the process."""
    recording = Composition()
    _record_composition(recording)
    _record_environment(recording)
    _record_settings(recording)
    _record_state(recording)
    _record_attributes(recording)
    _record_jobs(recording)
    yield recording


def _record_composition(recording: Composition) -> None:
    from fastapi import APIRouter, FastAPI  # noqa: PLC0415  # the process alone needs it
    from starlette.applications import Starlette  # noqa: PLC0415  # as above
    from starlette.routing import Router  # noqa: PLC0415  # as above

    watched = _Watched(recording)
    watched.watch(FastAPI, "__init__", "app")
    watched.watch(Starlette, "__init__", "app")
    watched.watch(APIRouter, "__init__", "new router")
    watched.watch(Starlette, "add_middleware", "layer", lambda app: app.user_middleware)
    watched.watch(Starlette, "add_exception_handler", "handler")
    for kind, name in (
        ("router", "include_router"),
        ("endpoint", "add_api_route"),
        ("websocket", "add_api_websocket_route"),
        ("frontend", "frontend"),
        ("event", "add_event_handler"),
    ):
        watched.watch(APIRouter, name, kind, _routes)
    for kind, name in (
        ("route", "add_route"),
        ("websocket route", "add_websocket_route"),
        ("mount", "mount"),
        ("host", "host"),
        ("event", "add_event_handler"),  # of Starlette before 1
    ):
        watched.watch(Router, name, kind, _routes)


def _routes(router: Any) -> list[Any]:
    found: list[Any] = router.routes
    return found


class _Watched:
    """Methods that record each call which is no part of another one."""

    def __init__(self, recording: Composition) -> None:
        self._recording = recording
        self._is_inside = False

    def watch(
        self,
        owner: type,
        name: str,
        kind: str,
        grows: Callable[[Any], list[Any]] | None = None,
    ) -> None:
        """Record calls of one method; `grows` gives the list that it adds to."""
        original = owner.__dict__.get(name)
        if original is None:  # of another version, or inherited from one that is watched
            return
        signature = inspect.signature(original)

        @functools.wraps(original)
        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            if watched._is_inside:
                return original(self, *args, **kwargs)
            before = [] if grows is None else list(grows(self))
            place = user_place(2)
            watched._is_inside = True
            try:
                result = original(self, *args, **kwargs)
            finally:
                watched._is_inside = False
            known = {id(each) for each in before}
            added = () if grows is None else (e for e in grows(self) if id(e) not in known)
            arguments, extra = _bound(signature, self, args, kwargs)
            watched._recording.calls.append(Call(kind, self, arguments, place, tuple(added), extra))
            return result

        watched = self
        setattr(owner, name, method)


def _bound(
    signature: inspect.Signature, owner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[dict[str, Any], tuple[Any, ...]]:
    """Return the arguments by name, those of `**kwargs` among them, and those of `*args`."""
    bound = signature.bind(owner, *args, **kwargs).arguments
    found: dict[str, Any] = {}
    extra: tuple[Any, ...] = ()
    for index, (name, value) in enumerate(bound.items()):
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            found.update(value)
        elif kind is inspect.Parameter.VAR_POSITIONAL:
            extra = tuple(value)
        elif index:
            found[name] = value
    return found, extra


def _record_environment(recording: Composition) -> None:
    """Note each variable that the user's code asks for, by whatever way it takes."""
    kind = type(os.environ)
    get = kind.__getitem__

    def noted(environ: Any, key: str) -> str:
        if environ is os.environ and key not in recording.environment:
            place = _asked_at()
            if place is not None:
                recording.environment[key] = place
        return get(environ, key)

    kind.__getitem__ = noted  # type: ignore[method-assign]  # meant to be seen


def _asked_at() -> UserPlace | None:
    """Return who asks for one variable; None where all are read, or a library asks for its own."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  # as above
    while frame is not None and frame.f_globals.get("__name__") in _OF_ENVIRON:
        if frame.f_code.co_name == "__iter__":
            return None
        frame = frame.f_back
    name = "" if frame is None else str(frame.f_globals.get("__name__", ""))
    if name.partition(".")[0] in _READS_ALL:
        return None
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith(_READERS):
        frame = frame.f_back
    if frame is None or not is_users(frame.f_code.co_filename):
        return None
    place = user_place(3)
    return None if place is NOWHERE else place


def _record_settings(recording: Composition) -> None:
    from pydantic_settings import BaseSettings  # noqa: PLC0415  # the process alone needs it

    original = BaseSettings.__init__

    @functools.wraps(original)
    def made(self: Any, *args: Any, **kwargs: Any) -> None:
        place = user_place(2)
        original(self, *args, **kwargs)
        recording.settings.append((self, place))

    setattr(BaseSettings, "__init__", made)  # noqa: B010  # a checker would ask for the same parameters


def _record_state(recording: Composition) -> None:
    from starlette.datastructures import State  # noqa: PLC0415  # the process alone needs it

    original = State.__setattr__

    def noted(self: Any, key: Any, value: Any) -> None:
        if key != "_state":
            recording.state[id(self), str(key)] = user_place(2)
        original(self, key, value)

    State.__setattr__ = noted  # type: ignore[method-assign]  # meant to be seen


def _record_attributes(recording: Composition) -> None:
    """Note who sets what on an application, its overrides of dependencies among it."""
    from fastapi import FastAPI  # noqa: PLC0415  # the process alone needs it

    original = FastAPI.__setattr__

    def noted(self: Any, key: str, value: Any) -> None:
        place = user_place(2)
        recording.state[id(self), key] = place
        if key == "dependency_overrides" and type(value) is dict:
            value = _Overrides(recording, id(self), value)
        original(self, key, value)

    FastAPI.__setattr__ = noted  # type: ignore[method-assign]  # meant to be seen


class _Overrides(dict[Any, Any]):
    """Overrides of dependencies that remember who sets them."""

    def __init__(self, recording: Composition, owner: int, given: dict[Any, Any]) -> None:
        super().__init__(given)
        self._recording = recording
        self._owner = owner

    def __setitem__(self, key: Any, value: Any) -> None:
        self._recording.state[self._owner, f"override {id(key)}"] = user_place(2)
        super().__setitem__(key, value)


def _record_jobs(recording: Composition) -> None:
    """Note the jobs of any APScheduler, where it is installed and the application uses it."""
    try:
        from apscheduler.schedulers.base import BaseScheduler  # noqa: PLC0415  # it may not be there
    except ImportError:
        return
    watched = _Watched(recording)
    watched.watch(BaseScheduler, "add_job", "job")
