"""What is said about a run → records of the logger `assembler.job`.

In: which run it is. Out: its logger, whose records carry `job`, `run_id` and, for formats that were
made for requests, `request_id`; and records of failures, whose traceback begins in the job and has
had its secrets taken out. The exception itself stays on the record, for Sentry's logging
integration.
"""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from assembler.diagnostics.span import printable
from assembler.runtime.scheduler.run import moment

_LOGGER = logging.getLogger("assembler.job")
_PACKAGE = str(Path(__file__).parents[2])


class Voice:
    """Speaks of one run."""

    def __init__(self, job_id: str, fire_ms: int, run_id: str, scrub: Callable[[str], str]) -> None:
        self._about = f"job `{job_id}`, tick {moment(fire_ms).isoformat()}"
        self._facts = {"job": job_id, "run_id": run_id, "request_id": run_id}
        self._scrub = scrub
        self.logger = logging.LoggerAdapter(_LOGGER, self._facts)

    def say(self, level: int, text: str, error: BaseException | None = None) -> None:
        """Log it, with the traceback of `error`."""
        if not _LOGGER.isEnabledFor(level):
            return
        info = (type(error), error, error.__traceback__) if error is not None else None
        message = f"{self._about}: {text}"
        record = _LOGGER.makeRecord(
            _LOGGER.name, level, __file__, 0, message, (), info, extra=self._facts
        )
        if error is not None:  # formatters print `exc_text` where it is there
            lines = traceback.format_exception(type(error), error, _users(error.__traceback__))
            record.exc_text = printable(self._scrub("".join(lines).rstrip()))
        _LOGGER.handle(record)


def _users(trace: TracebackType | None) -> TracebackType | None:
    """Return the part of a traceback that begins in the job; all of it where nothing does."""
    at = trace
    while at is not None and at.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        at = at.tb_next
    return at or trace
