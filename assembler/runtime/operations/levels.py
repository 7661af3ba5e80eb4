"""Loggers at another level for a while.

In: the name of a logger, a level, how long it lasts. Out: the logger at that level, and at its own one
again when the time is over or nobody wants it any more. A level that something else has set meanwhile
stays.
"""

import logging
import time
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from typing import Any

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
ROOT = "root"


@dataclass(frozen=True, slots=True)
class _Change:
    level: int
    before: int
    until: float


@dataclass(slots=True)
class Levels:
    """The changes of one process; `clock` gives monotonic seconds."""

    clock: Callable[[], float] = time.monotonic
    _changes: dict[str, _Change] = field(default_factory=dict)

    def change(self, name: str, level: str, seconds: float) -> None:
        """Set a logger to a level for that long; a change that it has already is replaced."""
        logger = logging.getLogger(None if name == ROOT else name)
        known = self._changes.get(name)
        before = logger.level if known is None else known.before
        number = logging.getLevelNamesMapping()[level]
        self._changes[name] = _Change(number, before, self.clock() + seconds)
        if logger.level != number:
            logger.setLevel(number)

    def end(self, wanted: Container[str] | None = None) -> None:
        """Take back what is over, and where `wanted` is given all that it does not name."""
        now = self.clock()
        for name, change in list(self._changes.items()):
            if now < change.until and (wanted is None or name in wanted):
                continue
            logger = logging.getLogger(None if name == ROOT else name)
            if logger.level == change.level:
                logger.setLevel(change.before)
            del self._changes[name]

    def as_dict(self) -> dict[str, dict[str, Any]]:
        """Return the changes that hold, by logger, with the seconds that are left."""
        now = self.clock()
        return {
            name: {
                "level": logging.getLevelName(change.level),
                "before": logging.getLevelName(change.before),
                "seconds": max(0, round(change.until - now)),
            }
            for name, change in self._changes.items()
        }


def known_loggers() -> list[dict[str, Any]]:
    """Return the loggers of the process by name: their own level, and the one that holds."""
    named = logging.root.manager.loggerDict
    found: list[tuple[str, logging.Logger]] = [(ROOT, logging.root)]
    found += sorted(
        (name, logger) for name, logger in list(named.items()) if isinstance(logger, logging.Logger)
    )
    return [
        {
            "name": name,
            "level": None if logger.level == logging.NOTSET else logging.getLevelName(logger.level),
            "effective": logging.getLevelName(logger.getEffectiveLevel()),
        }
        for name, logger in found
    ]
