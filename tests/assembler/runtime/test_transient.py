"""Which failures of an opening may pass by themselves."""

import errno
import socket

import pytest
import redis.exceptions

from assembler.runtime.sql.faults import said
from assembler.runtime.transient import is_transient
from tests.transient_errors import CANCELLED, MAY_PASS, STAYS, caused


class Saying(Exception):
    def __init__(self, transient: bool) -> None:
        super().__init__()
        self.transient = transient


# Of what is no database: only the start asks whether it may pass.
OTHERS_MAY_PASS = {
    "redis, refused": caused(
        redis.exceptions.ConnectionError("Error 111"), ConnectionRefusedError(111, "refused")
    ),
    "redis, loading": redis.exceptions.BusyLoadingError("loading"),
    "says so": Saying(transient=True),
    "a group": ExceptionGroup("all", [ConnectionRefusedError(errno.ECONNREFUSED, "refused")]),
}
OTHERS_STAY = {
    "redis, no such host": caused(
        redis.exceptions.ConnectionError("-2"), socket.gaierror(socket.EAI_NONAME, "no host")
    ),
    "redis, a wrong password": redis.exceptions.AuthenticationError("wrong"),
    "says so, over what may pass": caused(Saying(transient=False), TimeoutError()),
}


@pytest.mark.parametrize("name", [*MAY_PASS, *OTHERS_MAY_PASS])
def test_what_may_pass(name: str) -> None:
    error = (MAY_PASS | OTHERS_MAY_PASS)[name]
    assert is_transient(error)
    assert is_transient(caused(RuntimeError("a driver's own"), error))


@pytest.mark.parametrize("name", [*STAYS, *OTHERS_STAY])
def test_what_stays(name: str) -> None:
    assert not is_transient((STAYS | OTHERS_STAY)[name])


@pytest.mark.parametrize("name", MAY_PASS)
def test_startup_sql_tries_again_what_may_pass(name: str) -> None:
    found = said(MAY_PASS[name])
    assert found.is_away != found.is_busy


@pytest.mark.parametrize("name", STAYS)
def test_startup_sql_gives_up_what_stays(name: str) -> None:
    found = said(STAYS[name])
    assert (found.is_away, found.is_busy) == (False, False)


def test_startup_sql_tries_a_statement_again_that_its_own_limit_cancelled() -> None:
    assert said(CANCELLED).is_busy
    assert not is_transient(CANCELLED)


def test_exceptions_that_cause_each_other_are_looked_at_once() -> None:
    first, second = ValueError(), TimeoutError()
    first.__cause__, second.__cause__ = second, first
    assert is_transient(first)
