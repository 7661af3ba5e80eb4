"""How often and when a failed call is tried again: the arithmetic, without any client.

In: a number of retries, a deadline over all tries, what a server said in Retry-After. Out: waits that
grow and are spread at random, and the word that no try is left. Refused: a wait that would pass the
deadline, as its caller would have gone by then; and a Retry-After that is no number and no date.

    attempts = Attempts(retries=3, deadline=timedelta(seconds=30))
    while True:
        response = await send(timeout=attempts.remaining_seconds)
        if response.status_code != 503 or not await attempts.again(response.headers.get("retry-after")):
            return response
"""

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_FIRST_SECONDS = 0.5
_LONGEST_SECONDS = 20.0
_LONGEST_TOLD_SECONDS = 1e9  # what is added to a date must leave one


class Attempts:
    """The tries of one call; the first is under way when this is made.

    Args:
        retries: further tries after the first.
        deadline: of the call as a whole, waits included.
        clock: monotonic seconds.
        wait: sleeps for seconds.
        spread: gives numbers from 0 to 1; each wait is between half and all of its length.
    """

    __slots__ = ("_clock", "_end", "_left", "_seconds", "_spread", "_wait")

    def __init__(
        self,
        *,
        retries: int,
        deadline: timedelta,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], Awaitable[None]] = asyncio.sleep,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._spread = spread
        self._left = retries
        self._seconds = _FIRST_SECONDS
        self._end = clock() + deadline.total_seconds()

    @property
    def remaining_seconds(self) -> float:
        """Until the deadline; never below 0."""
        return max(0.0, self._end - self._clock())

    async def again(self, retry_after: str | None = None) -> bool:
        """Wait until the next try; False, at once, where there is none.

        A server's Retry-After holds where it is longer than the wait that is due.
        """
        wait = self._seconds * (1 + self._spread()) / 2
        told = retry_after_seconds(retry_after)
        if told is not None:
            wait = max(wait, told)
        if self._left <= 0 or wait >= self.remaining_seconds:
            return False
        self._left -= 1
        self._seconds = min(self._seconds * 2, _LONGEST_SECONDS)
        await self._wait(wait)
        return True


def retry_after_seconds(value: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After field asks for (RFC 9110, 10.2.3); None where it says nothing."""
    if value is None:
        return None
    text = value.strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), _LONGEST_TOLD_SECONDS)
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # a year, or an offset, beyond what a date can hold
        return None
    if date.tzinfo is None:
        date = date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())
