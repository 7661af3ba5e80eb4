"""Queues of log records → a thread that empties each of them, until the process ends.

In: the handlers that `logging` made. Out: every `QueueListener` of theirs is started; from Python
3.12 on `dictConfig` makes one with each `QueueHandler`, and leaves it to the application to start it.
What stands in a queue is written at the end of each stop, since a process that a signal ends runs
nothing more, and at the end of the process.
"""

import atexit
import logging
import logging.config
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from logging.handlers import QueueListener
from typing import Any

_LONGEST_SECONDS = 2.0  # for a queue to be written: a handler may wait for ever
_started: list[QueueListener] = []


def configure(options: dict[str, Any]) -> None:
    """Apply a configuration, and let its queues be emptied; those of the last one are done first.

    Raises what `dictConfig` does.
    """
    flush(restart=False)
    logging.config.dictConfig(options)
    found = [each for each in _listeners() if getattr(each, "_thread", None) is None]
    for listener in found:
        listener.start()
        _register()
    _started.extend(found)


def flush(*, restart: bool = True) -> None:
    """Write what stands in the queues, for a bounded time."""
    listeners, _started[:] = list(_started), []
    if not listeners:
        return
    threads = [threading.Thread(target=_stop, args=(each,), daemon=True) for each in listeners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(_LONGEST_SECONDS)
    if restart:
        written = [
            each for each, thread in zip(listeners, threads, strict=True) if not thread.is_alive()
        ]
        for listener in written:
            listener.start()
        _started.extend(written)


def _listeners() -> Iterator[QueueListener]:
    """Yield the listener of each handler, once."""
    loggers = [logging.root, *logging.root.manager.loggerDict.values()]
    seen = set()
    for logger in loggers:
        for handler in getattr(logger, "handlers", ()):
            listener = getattr(handler, "listener", None)
            if isinstance(listener, QueueListener) and id(listener) not in seen:
                seen.add(id(listener))
                yield listener


def _stop(listener: QueueListener) -> None:
    with suppress(Exception):  # a queue of one's own may be full, or gone
        listener.stop()


def _start_again() -> None:
    for listener in _started:  # threads do not live on in a process that was forked
        listener.start()


@cache
def _register() -> None:
    """Let the process write its queues at its end; once."""
    atexit.register(flush, restart=False)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_start_again)
