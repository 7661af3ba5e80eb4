"""A batch of lines reaches the handlers of the logging tree as if each record had come alone."""

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.access_log.sink import LogSink

NAME = "tests.access_log.sink"
ENTRY = ("GET", None, "/", "", None, None, None, None, None)  # what `who` tells


class Counted(io.StringIO):
    """Counts its writes."""

    writes = 0

    def write(self, text: str) -> int:
        self.writes += 1
        return super().write(text)


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger(NAME)
    made.setLevel(logging.INFO)
    made.propagate = False
    yield made
    made.handlers.clear()
    made.filters.clear()
    made.disabled, made.propagate = False, True


def handed(*lines: tuple[int, str]) -> None:
    """Hand lines to a sink, each with its level, as one batch."""
    sink = LogSink("logging", logger=NAME, flush_interval=None)
    write: Callable[[Any], str] = lambda entry: entry[3]  # noqa: E731  # the line of an entry
    sink._write(
        [(level, write, 1.5, text, *ENTRY) for level, text in lines]
    )  # one batch, without a loop's timer


def stream_handler(level: int = logging.NOTSET) -> "logging.StreamHandler[Counted]":
    handler = logging.StreamHandler(Counted())
    handler.setLevel(level)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    return handler


LINES = [(logging.INFO, "a"), (logging.WARNING, "b"), (logging.INFO, "c")]


def test_a_standard_handler_gets_the_batch_in_one_write(logger: logging.Logger) -> None:
    handler = stream_handler()
    logger.handlers[:] = [handler]  # pytest gives each logger its own
    handed(*LINES)
    assert handler.stream.getvalue() == "INFO a\nWARNING b\nINFO c\n"
    assert handler.stream.writes == 1


def test_handlers_of_parents_get_it_too_each_by_its_level(logger: logging.Logger) -> None:
    parent = logging.getLogger(NAME.rpartition(".")[0])
    ours, theirs = stream_handler(), stream_handler(logging.WARNING)
    logger.handlers[:] = [ours]
    parent.handlers[:] = [theirs]
    logger.propagate, parent.propagate = True, False
    try:
        handed(*LINES)
    finally:
        parent.handlers.clear()
        parent.propagate = True
    assert ours.stream.getvalue().count("\n") == 3
    assert theirs.stream.getvalue() == "WARNING b\n"


class Own(logging.StreamHandler[Counted]):
    """A handler of a user that does more for each record."""

    def emit(self, record: logging.LogRecord) -> None:
        record.msg = f"<{record.msg}>"
        super().emit(record)


def drop_b(record: logging.LogRecord) -> bool:
    return record.msg != "b"


def emit_nothing(record: logging.LogRecord) -> None:
    del record


@pytest.mark.parametrize("where", ["handler", "logger", "class", "instance"])
def test_who_looks_at_each_record_sees_each(logger: logging.Logger, where: str) -> None:
    handler = Own(Counted()) if where == "class" else stream_handler()
    logger.handlers[:] = [handler]
    if where == "instance":
        handler.emit = emit_nothing  # type: ignore[method-assign]  # as a test of theirs may do
    if where in ("handler", "logger"):
        (handler if where == "handler" else logger).addFilter(drop_b)
    handed(*LINES)
    expected = {"class": "<a>\n<b>\n<c>\n", "instance": ""}
    assert handler.stream.getvalue() == expected.get(where, "INFO a\nINFO c\n")


def test_a_disabled_logger_stays_silent(logger: logging.Logger) -> None:
    handler = stream_handler()
    logger.handlers[:] = [handler]
    logger.disabled = True
    handed(*LINES)
    assert handler.stream.getvalue() == ""


def test_a_record_that_cannot_be_formatted_is_told_and_loses_no_other(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = stream_handler()
    logger.handlers[:] = [handler]
    told: list[str] = []
    monkeypatch.setattr(
        logging.StreamHandler, "handleError", lambda _, record: told.append(record.msg)
    )

    def refusing_b(record: logging.LogRecord) -> str:
        if record.msg == "b":
            raise ValueError("no b")
        return str(record.msg)

    monkeypatch.setattr(handler.formatter, "format", refusing_b)
    handed(*LINES)
    assert handler.stream.getvalue() == "a\nc\n"
    assert told == ["b"]


def test_a_stream_that_is_closed_is_told_and_nothing_raises(
    logger: logging.Logger, monkeypatch: pytest.MonkeyPatch
) -> None:
    handler = stream_handler()
    logger.handlers[:] = [handler]
    told: list[str] = []
    monkeypatch.setattr(
        logging.StreamHandler, "handleError", lambda _, record: told.append(record.msg)
    )
    handler.stream.close()
    handed(*LINES)
    assert told == ["c"]
