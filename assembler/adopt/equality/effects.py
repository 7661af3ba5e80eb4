"""A start or a stop that runs → what it did that others can see, in order.

In: a block of code in the main thread's event loop. Out: a list of lines: which functions of the
user's own were called, what was logged, which connections and files were opened for writing, and
which tasks and threads are left. That is more than any application says of itself, and the same for an
application that is written and for one that is assembled, but for the functions that compose: those
are named by the caller and left out.
"""

import asyncio
import functools
import logging
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import assembler
from assembler.diagnostics.exceptions import is_users, short_path

_MOST = 2_000
_QUIET_SECONDS, _MOST_WAITS = 0.05, 20
_QUIET = ("asyncio", "assembler")
_HOUSE = os.path.dirname(assembler.__file__) + os.sep  # noqa: PTH120  # a string
# Methods of APScheduler's; the last is the decorator of what stops that of an event loop before 3.11.
_SCHEDULERS = {"start": "starts", "shutdown": "stops", "wrapper": "stops"}
_LAYER = re.compile(r"(\.__call__)\.<locals>.*")
_LISTENERS: list[Callable[[str], None]] = []


class Effects(list[str]):
    """What was done, in order; once it settles, what was told already is not told again."""

    is_settling = False
    is_over = False

    def note(self, line: str) -> None:
        """Add a line; threads that were begun may still ask for it when all is over."""
        is_told = self.is_over or (self.is_settling and line in self)
        if not is_told and len(self) < _MOST:
            self.append(line)

    async def settle(self) -> None:
        """Let tasks and threads that were begun take their first steps, however many the loop had."""
        self.is_settling = True
        for _ in range(_MOST_WAITS):
            count = len(self)
            await asyncio.sleep(_QUIET_SECONDS)
            if len(self) == count:
                return


@contextmanager
def effects_of(composing: frozenset[str] = frozenset()) -> Iterator[Effects]:
    """Record what the block does; `composing` names functions whose calls are no effect."""
    found = Effects()
    note = found.note
    threads = set(threading.enumerate())
    tasks = _tasks()

    _watch_once()
    _LISTENERS.append(note)
    profile = _calls(note, composing)
    sys.setprofile(profile)
    threading.setprofile(profile)
    try:
        with _logs_heard():
            yield found
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        _LISTENERS.remove(note)
        found.is_over = True
        left = _tasks() - tasks
        found += sorted(f"leaves the task {_task_name(each)}" for each in left if _is_foreign(each))
        started = set(threading.enumerate()) - threads
        found += sorted(
            f"leaves a thread of {type(each).__name__}" for each in started if _is_foreign(each)
        )


def _tasks() -> "set[asyncio.Task[Any]]":
    try:
        return asyncio.all_tasks()
    except RuntimeError:  # no loop runs: an application is built
        return set()


def _is_foreign(left: Any) -> bool:
    """Tell whether a task or thread runs code that is not the assembler's own."""
    if isinstance(left, asyncio.Task):
        file = getattr(getattr(left.get_coro(), "cr_code", None), "co_filename", "")
        return not str(file).startswith(_HOUSE)
    module = getattr(getattr(left, "_target", None), "__module__", "") or ""
    return not module.startswith("assembler.")


def _task_name(task: "asyncio.Task[Any]") -> str:
    coroutine = task.get_coro()
    return f"`{getattr(coroutine, '__qualname__', type(coroutine).__name__)}`"


def _calls(
    note: Callable[[str], None], composing: frozenset[str]
) -> Callable[[FrameType, str, Any], None]:
    """Return a profile function that notes each first entry into a function of the user's."""

    def profile(frame: FrameType, event: str, argument: Any) -> None:
        if event != "call":
            return
        code = frame.f_code
        if "apscheduler" in code.co_filename:
            does = _SCHEDULERS.get(_asked(frame))
            caller = _caller(frame) if does else None
            if caller is not None:
                note(f"{does} a scheduler in `{caller}`")
            return
        name = _own_name(code)
        if name is None or _is_resumed(frame):
            return
        path = f"{_module(frame)}.{name}"
        # What a layer defines in its `__call__` belongs to that.
        if path not in composing and _LAYER.sub(r"\1", path) not in composing:
            note(f"calls `{path}`")

    return profile


def _asked(frame: FrameType) -> str:
    """Return the name of a method of APScheduler's; some versions leave its call to the loop."""
    name = frame.f_code.co_name
    if name != "wrapper":
        return name
    return str(getattr(frame.f_locals.get("func"), "__name__", ""))


def _caller(frame: FrameType) -> str | None:
    """Return the name of the function that calls a library, where it is the user's."""
    above = frame.f_back
    name = None if above is None else _own_name(above.f_code)
    return None if above is None or name is None else f"{_module(above)}.{name}"


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


@functools.cache
def _own_name(code: CodeType) -> str | None:
    """Return the name of a function of the user's; parts of one, such as comprehensions, are none."""
    if code.co_name.startswith("<") or not is_users(code.co_filename):
        return None
    return code.co_qualname


def _is_resumed(frame: FrameType) -> bool:
    """Tell whether a generator or coroutine goes on, rather than begins."""
    code = frame.f_code
    if not code.co_flags & _GENERATORS:
        return False
    return frame.f_lasti > _first_resume(code)


_GENERATORS = 0x20 | 0x80 | 0x200  # CO_GENERATOR, CO_COROUTINE, CO_ASYNC_GENERATOR


@functools.cache
def _first_resume(code: CodeType) -> int:
    """Return the offset of the instruction at which a generator stands before it has begun."""
    import dis  # noqa: PLC0415  # a start alone is looked at so

    for instruction in dis.get_instructions(code):
        if instruction.opname == "RESUME":
            return instruction.offset
    return 0


@functools.cache
def _watch_once() -> None:
    """Hear of connections and files, for the life of the process: a hook cannot be taken off."""
    sys.addaudithook(_heard)


@contextmanager
def _logs_heard() -> Iterator[None]:
    """Hear of log records."""
    handle = logging.Logger.handle

    def handled(logger: logging.Logger, record: logging.LogRecord) -> None:
        if not record.name.startswith(_QUIET):
            _tell(f"logs {record.levelname} `{record.name}`: {record.msg}")
        handle(logger, record)

    logging.Logger.handle = handled  # type: ignore[method-assign, assignment]  # meant to be heard
    try:
        yield
    finally:
        logging.Logger.handle = handle  # type: ignore[method-assign]  # as it was


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if not _LISTENERS:
        return
    if event == "socket.connect" and isinstance(arguments[1], tuple | str | bytes):
        address = arguments[1]
        named = ":".join(map(str, address[:2])) if isinstance(address, tuple) else str(address)
        _tell(f"connects to {named}")
    elif event == "sqlite3.connect":
        _tell(f"opens the database {short_path(str(arguments[0]))}")
    elif event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        _tell(f"writes {short_path(str(arguments[0]))}")


def _tell(line: str) -> None:
    for listener in _LISTENERS:
        listener(line)
