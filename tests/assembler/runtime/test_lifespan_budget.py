"""What the steps of a stop may take of the time that the platform waits."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from assembler.runtime.lifespan import StopBudget

SECOND = timedelta(seconds=1)


def test_a_step_has_its_own_timeout_where_there_is_time() -> None:
    budget = StopBudget(30 * SECOND, since=0, clock=lambda: 0)
    assert budget.limit(10 * SECOND, later=3) == 10 * SECOND


def test_what_has_passed_is_gone() -> None:
    budget = StopBudget(30 * SECOND, since=0, clock=lambda: 20)
    assert budget.limit(10 * SECOND, later=0) == 9 * SECOND  # one is the server's


def test_later_steps_keep_a_second_each() -> None:
    budget = StopBudget(11 * SECOND, since=0, clock=lambda: 0)
    assert budget.limit(60 * SECOND, later=4) == 6 * SECOND


def test_where_there_is_less_they_share_it() -> None:
    budget = StopBudget(5 * SECOND, since=0, clock=lambda: 0)
    assert budget.limit(60 * SECOND, later=7) == SECOND / 2


def test_a_late_step_has_a_little() -> None:
    budget = StopBudget(30 * SECOND, since=0, clock=lambda: 100)
    assert budget.limit(10 * SECOND, later=5) == SECOND / 10
    assert budget.limit(SECOND / 100, later=5) == SECOND / 100


@given(
    whole=st.integers(1, 300),
    timeouts=st.lists(st.integers(1, 600), min_size=1, max_size=30),
)
def test_steps_that_all_hang_end_in_the_budget(whole: int, timeouts: list[int]) -> None:
    now = 0.0
    budget = StopBudget(whole * SECOND, since=0, clock=lambda: now)
    for number, timeout in enumerate(timeouts, 1):
        limit = budget.limit(timeout * SECOND, len(timeouts) - number)
        assert SECOND / 10 <= limit <= timeout * SECOND
        now += limit.total_seconds()
    assert now <= max(whole - 1, 0) + 0.1 * len(timeouts) + 0.001
