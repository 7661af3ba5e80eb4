"""A circuit breaker that learns of a recovery by itself.

In: the outcomes of calls. Out: `is_open`, and one background probe while it is.
A refused connection opens it at once, three failures in a row do so too. No request is ever sent
as a trial: only the probe is.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

FAILURES_IN_A_ROW = 3


class Breaker:
    """`probe` raises while the server is away; it is called every `interval_seconds`.

    The log says once that `name` is away and `meanwhile` what, and once that it is back.
    """

    def __init__(
        self,
        probe: Callable[[], Awaitable[None]],
        interval_seconds: float,
        *,
        name: str,
        meanwhile: str,
        logger: logging.Logger,
    ) -> None:
        self.is_open = False
        self._probe = probe
        self._interval_seconds = interval_seconds
        self._name = name
        self._meanwhile = meanwhile
        self._logger = logger
        self._failures = 0
        self._task: asyncio.Task[None] | None = None

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, error: Exception, *, refused: bool = False) -> None:
        """Count a failure; must be called in the event loop that is to run the probe."""
        self._failures += 1
        if self.is_open or not (refused or self._failures >= FAILURES_IN_A_ROW):
            return
        self.is_open = True
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
        self._logger.warning("%s is away (%s); %s", self._name, reason, self._meanwhile)
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def close(self) -> None:
        """Stop the probe; the breaker is as new."""
        task = self.forget()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def forget(self) -> asyncio.Task[None] | None:
        """Begin anew without the probe, whose event loop may be gone."""
        task, self._task = self._task, None
        self.is_open, self._failures = False, 0
        return task

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval_seconds)
            try:
                await self._probe()
            except Exception as error:  # noqa: BLE001  # whatever it is, the server is not back
                self._logger.debug("%s is still away: %s", self._name, error)
                continue
            self.is_open, self._failures, self._task = False, 0, None
            self._logger.warning("%s is back", self._name)
            return
