"""The signals of a server → readiness that says no, a time to drain, and the server's own end.

In: the state of the application, how long to drain, how long open requests may take then. Out: a
`Drain` around one start and stop. SIGTERM turns readiness off at once and reaches the server only
after the drain, since servers close their listeners the moment they hear it; SIGINT, or a SIGTERM
that comes again, ends the drain early; either one ends a start that is still under way. So does an
order that the server heard before, while it imported the application: uvicorn only remembers it.

Where there is no server whose handlers can be chained (another thread, a loop that handles signals
itself), signals stay as they are, and a drain that cannot be kept is logged.
"""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from types import FrameType
from typing import Any, Self

from assembler.manifest.duration import duration_text
from assembler.runtime.report import Assembly, log
from assembler.runtime.supervision.retirement import close_kept_connections

# systemd signals all processes of a service, and a server's parent then signals its workers again.
_SAME_ORDER_SECONDS = 2.0


class Drain:
    """Stands between the signals and the server, from the start to the end of the stop.

    `told_at` is when the first signal came, on the clock of `time.perf_counter`.
    """

    def __init__(
        self, assembly: Assembly, *, drain: timedelta | None, graceful_seconds: int | None
    ) -> None:
        self.assembly = assembly
        self.drain = drain
        self.graceful_seconds = graceful_seconds
        self.told_at: float | None = None
        self.previous: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting: asyncio.Task[Any] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._passed = False
        self._server: Any = None  # of uvicorn

    def __enter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        if threading.current_thread() is threading.main_thread():
            self._install()
        return self

    def __exit__(self, *_: object) -> None:
        self._end_timer()
        self._passed = True  # whoever still holds our handler reaches the one before it
        for number, previous in self.previous.items():
            self._uninstall(number, previous)

    async def start(self, start: Callable[[Callable[[], None]], Awaitable[None]]) -> bool:
        """Run `start`; return False where a signal ended it, which it must unwind itself.

        It is given a function to call before each of its steps, which raises CancelledError where
        the server was told to end by ways that do not lead through here.
        """
        task = self._starting = asyncio.current_task()
        try:
            await start(self._look)
        except asyncio.CancelledError:
            if task is None or self.told_at is None:
                raise
            task.uncancel()
            return False
        finally:
            self._starting = None
        if self.told_at is not None:  # too late to end the start
            self.assembly.state = "stopping"
        return True

    def address(self, otherwise: tuple[str, int]) -> str:
        """Return the URL of the server that was found, or of the host and port that are given."""
        config = getattr(self._server, "config", None)
        host = getattr(config, "host", None) or otherwise[0]
        port = getattr(config, "port", None) or otherwise[1]
        scheme = "https" if getattr(config, "is_ssl", False) else "http"
        host = "127.0.0.1" if host in {"0.0.0.0", ""} else host  # noqa: S104  # told, not bound
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def _look(self) -> None:
        if self.told_at is None and self._is_server_told():
            self.told_at = time.perf_counter()
            raise asyncio.CancelledError

    def _is_server_told(self) -> bool:
        """Tell whether the server below, or another application's drain, has heard the order."""
        owner: Any = self
        while isinstance(owner, Drain):
            if owner.told_at is not None:
                return True
            owner = getattr(owner.previous.get(signal.SIGTERM), "__self__", None)
        return getattr(owner, "should_exit", False) is True  # of uvicorn

    def _install(self) -> None:
        previous = signal.getsignal(signal.SIGTERM)
        if not callable(previous):  # nobody to pass it on to: it ends the process
            return
        owner = getattr(previous, "__self__", None)
        if owner is self._loop or getattr(previous, "__module__", "") == "asyncio.unix_events":
            if self.drain:
                text = "`drain` has no effect under a server that takes SIGTERM by its loop"
                log(logging.WARNING, text)
            return
        for number in (signal.SIGTERM, signal.SIGINT):
            handler = signal.getsignal(number)
            if callable(handler):
                self.previous[number] = handler
                signal.signal(number, self._on_signal)
        self._server = owner
        # Without a bound uvicorn waits for ever while one stream is open. Its configuration is
        # public; a bound that the command line gives stays.
        config = getattr(owner, "config", None)
        if getattr(config, "timeout_graceful_shutdown", 0) is None:
            config.timeout_graceful_shutdown = self.graceful_seconds  # type: ignore[union-attr]  # it has the attribute

    def _uninstall(self, number: int, previous: Callable[[int, FrameType | None], Any]) -> None:
        """Put the previous handler back, also where another application's stands on ours."""
        if signal.getsignal(number) == self._on_signal:
            signal.signal(number, previous)
            return
        above = getattr(signal.getsignal(number), "__self__", None)
        while isinstance(above, Drain) and number in above.previous:
            if above.previous[number] == self._on_signal:
                above.previous[number] = previous
                return
            above = getattr(above.previous[number], "__self__", None)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        """Runs in the main thread between two steps of whatever the loop does."""
        now = time.perf_counter()
        if self._passed:
            self.previous[number](number, frame)
        elif self.told_at is None:
            self.told_at = now
            self._first(number, frame)
        elif number == signal.SIGINT or now - self.told_at >= _SAME_ORDER_SECONDS:
            self._pass_on(signal.SIGTERM, frame)

    def _first(self, number: int, frame: FrameType | None) -> None:
        is_serving = self.assembly.state == "started"
        waits = self.drain if is_serving and number == signal.SIGTERM else None
        if waits:
            self.assembly.state = "draining"
        assert self._loop is not None  # noqa: S101  # handlers are there from `__enter__` on
        try:
            self._loop.call_soon_threadsafe(self._begin, waits)
        except RuntimeError:  # the loop is closed
            waits = None
        if not waits:
            self._pass_on(number, frame)

    def _begin(self, waits: timedelta | None) -> None:
        if self._starting is not None:
            self._starting.cancel()
        elif waits and not self._passed and self._loop is not None:
            log(logging.INFO, f"draining for {duration_text(waits)}: readiness says no")
            close_kept_connections(self._server)
            self.assembly.tell_resources("on_drain", waits.total_seconds())
            self._timer = self._loop.call_later(
                waits.total_seconds(), self._pass_on, signal.SIGTERM, None
            )

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._passed:
            return
        self._passed = True
        self._end_timer()
        if self.assembly.state in {"started", "draining"}:
            self.assembly.state = "stopping"
        self.previous[number](number, frame)

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
