"""A request that has raised -> how it ended, once that is known.

In: the scope, the exception, what is to be done at the end. Out: one call with a status. Under the
assembler the exception may still be answered by a layer further out, or after it has left all of
them: `assembler.exchange` in the scope tells when all is over. Elsewhere it is judged by itself: 500,
or 499 (as nginx has it) where nobody waits for an answer any more.
"""

import asyncio
from collections.abc import Callable

from starlette.requests import ClientDisconnect
from starlette.types import Scope

CLIENT_LEFT = 499


def at_end(scope: Scope, error: BaseException, end: Callable[[int], None]) -> None:
    """Have `end` called once with the status of the request that `error` leaves just now."""
    judged = _status_of(error)
    exchange = scope.get("assembler.exchange")
    if exchange is None:
        end(judged)
    else:
        exchange.at_end(lambda status: end(status or judged))


def _status_of(error: BaseException) -> int:
    is_left = isinstance(error, ClientDisconnect | GeneratorExit) or (
        isinstance(error, asyncio.CancelledError) and _is_cancelled()
    )
    return CLIENT_LEFT if is_left else 500


def _is_cancelled() -> bool:
    """Whether this very task was cancelled, and not one that it waited for."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # another event loop (trio)
        return True
    return task is None or task.cancelling() > 0
