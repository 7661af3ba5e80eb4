"""What a job is told about its run, and how it asks whether the run is still its own.

In: one claimed run. Out: a `JobContext`, for a parameter of that type or of the name `job`. A run
that was paused for longer than its lease may have been given up for lost; before an effect that
must not happen twice, a job asks `still_mine`, or writes behind `fence`.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


class NotMineError(Exception):
    """The run no longer holds its claim: what it was about to write belongs to another one."""


@dataclass(frozen=True, slots=True)
class JobContext:
    """One run of a job.

    `fire_time` is the tick, an aware datetime in the job's zone, whenever the run really began;
    `attempt` is 2 where the process of the first one died, and counts on where workers try again
    what failed; records of `logger` carry `job`, `run_id` and, for formats made for requests,
    `request_id`.
    """

    id: str
    fire_time: datetime
    attempt: int
    run_id: str
    logger: "logging.LoggerAdapter[logging.Logger]"
    _holds: Callable[[], Awaitable[bool]] = field(repr=False)
    _fence: Callable[[Any], Awaitable[bool]] | None = field(default=None, repr=False)

    async def still_mine(self) -> bool:
        """Ask the store whether this run holds its claim now."""
        return await self._holds()

    async def fence(self, connection: Any) -> None:
        """Make the open transaction of `connection` this run's alone, or raise `NotMineError`.

        `connection` is an SQLAlchemy async connection or session of the database that keeps the
        claims. Until its transaction ends, nobody can take the run's place: what it writes is
        written by the one run that may. Heartbeats wait for it as well, so it should be shorter than
        a third of the lease. Elsewhere than in SQL no transaction can hold a claim, and it is only
        asked for.
        """
        holds = self._holds() if self._fence is None else self._fence(connection)
        if not await holds:
            raise NotMineError(f"run {self.run_id} of `{self.id}` no longer holds its claim")
