"""A worker as its parent sees it, and the parent as its worker does.

In: a snapshot, an `WorkerOrder`. Out: a process, and words both ways over a pipe. The worker says how far
it has come: it has `planned`, it is at a `step`, it has `tried` the manifest, it is `serving`; or that it
`failed`, and why. The parent answers with sockets, `go`, and at the end `retire`. A worker whose
parent is gone ends by itself. The parent hears of everything on its loop, a worker by a thread of
its own, so that it answers while it imports.
"""

import asyncio
import multiprocessing
import os
import queue
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from socket import socket
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from assembler.plan.snapshot import Snapshot

Target = Callable[[Connection], None]

_context = multiprocessing.get_context("spawn")  # a fork would inherit threads and code
_KILL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Planned:
    """What a worker's plan says of the server, for its parent to bind and to compare."""

    options: dict[str, Any]
    max_header_bytes: int | None
    reload_timeout: float  # seconds
    stop_seconds: float | None  # the longest that an orderly stop takes, None where it has no end
    runtime_dir: str | None


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker did not come to serve; `status` is that of the command.

    `is_told` where the worker has logged it itself.
    """

    text: str
    status: int
    is_told: bool = False


@dataclass(frozen=True, slots=True)
class WorkerOrder:
    """What is special about one worker.

    `is_trial` where it waits for `go` once its resources are open; `holds_clock` where another
    process runs jobs that no store shares; `reloads` are how many there were, by outcome, and
    `last_reload` is what became of the last one.
    """

    is_trial: bool = False
    applies_sql: bool = True
    holds_clock: bool = False
    reloads: dict[str, int] = field(default_factory=dict)
    last_reload: dict[str, Any] | None = None


class WorkerError(Exception):
    """A worker did not come to serve."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure


@dataclass(frozen=True, slots=True)
class Spawned:
    """A process that was started, and imports what a worker needs until it is told what to serve."""

    process: SpawnProcess
    channel: Connection

    def discard(self) -> None:
        """End it before it was told anything."""
        self.process.kill()
        self.process.join()
        self.channel.close()


def spawn(target: Target) -> Spawned:
    """Start a process for a worker."""
    channel, theirs = _context.Pipe()
    process = _context.Process(target=target, args=(theirs,))
    # a worker opens its ears when it is ready to be interrupted without frames
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        theirs.close()
    return Spawned(process, channel)


class WorkerProcess:
    """One worker process, in its parent; `ended` is called once it is gone."""

    def __init__(
        self,
        spawned: Spawned,
        snapshot: "Snapshot",
        order: WorkerOrder,
        ended: Callable[["WorkerProcess"], None],
    ) -> None:
        self.snapshot = snapshot
        self.is_serving = False
        self.is_retiring = False
        self.failure: Failure | None = None
        self.on_idle: Callable[[str | None], None] | None = None
        """Is told the job of a run that went on after the clock was handed over; None: all of them."""
        self.on_replaced: Callable[[str], None] | None = None
        """Is told the job of a run here that takes the place of one of the worker before."""
        self.heard_at = time.monotonic()
        self.has_spoken = False
        self.step: str | None = None
        """Of its start, the one that it has come to."""
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._reached: dict[str, asyncio.Future[Any]] = {}
        self._gone = asyncio.Event()
        self._channel, self._process = spawned.channel, spawned.process
        with suppress(OSError):  # it has ended already
            self._channel.send((snapshot, order))
        self._sentinel = self._process.sentinel
        self._loop.add_reader(self._channel.fileno(), self._hear)
        self._loop.add_reader(self._sentinel, self._reap)

    @property
    def pid(self) -> int:
        """Its process."""
        return self._process.pid or 0

    @property
    def exitcode(self) -> int | None:
        """Its status, once it is gone."""
        return self._process.exitcode

    @property
    def is_gone(self) -> bool:
        """Whether the process has ended."""
        return self._gone.is_set()

    async def reached(self, milestone: str) -> Any:
        """Wait for a word of the worker; return what it says with it. Raises `WorkerError`."""
        if self._gone.is_set() and milestone not in self._reached:
            raise WorkerError(self._failure())
        return await asyncio.shield(self._future(milestone))

    def tell(self, word: str, said: Any = None) -> None:
        """Say something; a worker that is gone hears nothing."""
        with suppress(OSError, ValueError):
            self._channel.send((word, said))

    def admit(self, sockets: Sequence[socket]) -> None:
        """Give it the sockets on which it is to listen.

        Each goes with its family, type and protocol: a socket that is made of a descriptor by
        guess may lose its protocol, and then asyncio sets no TCP_NODELAY.
        """
        self.tell("sockets", [(each.family, each.type, each.proto) for each in sockets])
        for each in sockets:
            with suppress(OSError, ValueError):
                reduction.send_handle(self._channel, each.fileno(), self.pid)

    def signal(self, number: int) -> None:
        """Send a signal."""
        if not self._gone.is_set() and self._process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def gone(self) -> None:
        """Wait for its end."""
        await self._gone.wait()

    async def end(self, seconds: float = _KILL_SECONDS) -> None:
        """Tell it to stop, and kill it where it has not after `seconds`."""
        self.is_retiring = True
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await self._gone.wait()
        except TimeoutError:
            self.kill()
            await self._gone.wait()

    def kill(self) -> None:
        """End it at once."""
        self.signal(signal.SIGKILL)

    def _future(self, milestone: str) -> "asyncio.Future[Any]":
        if milestone not in self._reached:
            self._reached[milestone] = self._loop.create_future()
        return self._reached[milestone]

    def _hear(self) -> None:
        try:
            while self._channel.poll():
                word, said = self._channel.recv()
                self._take(word, said)
        except (EOFError, OSError):
            self._loop.remove_reader(self._channel.fileno())

    def _take(self, word: str, said: Any) -> None:
        self.heard_at = time.monotonic()
        self.has_spoken = True
        if word == "failed":
            self.failure = said
            self._fail()
        elif word == "step":
            self.step = said
        elif word == "idle":
            if self.on_idle is not None:
                self.on_idle(said)
        elif word == "replaced":
            if self.on_replaced is not None:
                self.on_replaced(said)
        elif word != "pong":
            if word == "serving":
                self.is_serving = True
            future = self._future(word)
            if not future.done():
                future.set_result(said)

    def _reap(self) -> None:
        self._process.join()
        self._loop.remove_reader(self._sentinel)
        self._hear()  # its last words
        self._loop.remove_reader(self._channel.fileno())
        self._channel.close()
        self._gone.set()
        self.is_serving = False
        if self.on_idle is not None:
            self.on_idle(None)
        self._fail()
        self._ended(self)

    def _failure(self) -> Failure:
        if self.failure is not None:
            return self.failure
        return Failure(f"worker [{self.pid}] {_how(self.exitcode)} before it served", 1)

    def _fail(self) -> None:
        for future in self._reached.values():
            if not future.done():
                future.set_exception(WorkerError(self._failure()))
                future.exception()  # it is no error that nobody waits


def _how(status: int | None) -> str:
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"


class Parent:
    """The parent, in one of its workers."""

    def __init__(self, channel: Connection) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._words: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._hear: Callable[[str, Any], None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        threading.Thread(target=self._listen, name="assembler-parent", daemon=True).start()

    def tell(self, word: str, said: Any = None) -> None:
        """Say something; a parent that is gone hears nothing."""
        with self._lock, suppress(OSError, ValueError):
            self._channel.send((word, said))

    def wait(self, word: str) -> Any:
        """Wait, before there is a loop, for a word; an interrupt raises KeyboardInterrupt."""
        while True:
            heard, said = self._words.get()
            if heard == word:
                return said
            if heard == "interrupt":
                raise KeyboardInterrupt

    def attend(self, hear: Callable[[str, Any], None]) -> None:
        """Call `hear` on the running loop from now on."""
        self._hear = hear
        self._loop = asyncio.get_running_loop()
        while not self._words.empty():
            hear(*self._words.get())

    def _listen(self) -> None:
        while True:
            try:
                word, said = self._channel.recv()
            except (EOFError, OSError):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            if word == "ping":
                self.tell("pong")
                continue
            if word == "sockets":
                said = [
                    socket(family, kind, protocol, reduction.recv_handle(self._channel))
                    for family, kind, protocol in said
                ]
            self._words.put((word, said))
            if self._loop is not None:
                with suppress(RuntimeError):  # the loop is closed
                    self._loop.call_soon_threadsafe(self._pass_on)

    def _pass_on(self) -> None:
        while self._hear is not None and not self._words.empty():
            self._hear(*self._words.get())
