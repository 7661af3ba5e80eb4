"""Levels of loggers that end by themselves."""

import logging
from collections.abc import Iterator

import pytest

from assembler.runtime.operations.levels import Levels, known_loggers

NAME = "tests.of.levels"


@pytest.fixture(autouse=True)
def _logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.NOTSET)
    yield logger
    logger.setLevel(logging.NOTSET)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_level_ends_when_its_time_is_over(_logger: logging.Logger) -> None:  # noqa: PT019  # the fixture's value
    clock = Clock()
    levels = Levels(clock)
    levels.change(NAME, "DEBUG", 60)
    assert _logger.level == logging.DEBUG
    assert levels.as_dict() == {NAME: {"level": "DEBUG", "before": "NOTSET", "seconds": 60}}
    clock.now += 30
    levels.change(NAME, "ERROR", 60)  # instead of the first, and back to what was before it
    clock.now += 59
    levels.end()
    assert _logger.level == logging.ERROR
    clock.now += 2
    levels.end()
    assert _logger.level == logging.NOTSET
    assert levels.as_dict() == {}


def test_a_level_that_nobody_wants_any_more_ends(_logger: logging.Logger) -> None:  # noqa: PT019  # as above
    levels = Levels(Clock())
    levels.change(NAME, "DEBUG", 60)
    levels.end({NAME})
    assert _logger.level == logging.DEBUG
    levels.end(set())
    assert _logger.level == logging.NOTSET


def test_a_level_that_something_else_has_set_stays(_logger: logging.Logger) -> None:  # noqa: PT019  # as above
    levels = Levels(Clock())
    levels.change(NAME, "DEBUG", 60)
    _logger.setLevel(logging.CRITICAL)
    levels.end(())
    assert _logger.level == logging.CRITICAL


def test_loggers_tell_the_level_that_holds() -> None:
    found = {each["name"]: each for each in known_loggers()}
    assert found[NAME]["level"] is None
    assert found[NAME]["effective"] == logging.getLevelName(logging.root.getEffectiveLevel())
    assert "root" in found
