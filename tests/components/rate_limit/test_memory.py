import gc
import random
from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.rate_limit.memory import MemoryCounter, MemoryStore, Table
from components.rate_limit.rates import Rate, parse_rates
from components.rate_limit.store import Limit, name_limits

SECOND = 1_000_000_000


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 10**15

    def __call__(self) -> int:
        return self.now


def counter(limit: str | list[str], clock: Clock, max_keys: int = 100_000) -> MemoryCounter:
    store = MemoryStore(max_keys=max_keys, clock_ns=clock)
    return store.counter(name_limits("test", parse_rates(limit)))


hits = st.lists(
    st.tuples(st.integers(0, 40 * SECOND) | st.integers(0, SECOND // 5), st.integers(1, 3)),
    max_size=200,
)


@settings(max_examples=300, deadline=None)
@given(st.integers(3, 70), st.integers(1, 90), hits)
def test_no_window_ever_sees_more_than_the_quota(
    quota: int, seconds: int, hits: list[tuple[int, int]]
) -> None:
    clock = Clock()
    hit = MemoryStore(clock_ns=clock).counter((Limit("x", Rate(quota, seconds)),)).hit
    log: deque[tuple[int, int]] = deque()
    for gap, cost in hits:
        clock.now += gap
        decision = hit("a", cost)
        while log and log[0][0] < clock.now - seconds * SECOND:
            log.popleft()
        used = sum(c for _, c in log)
        if decision.admitted:
            assert used + cost <= quota
            log.append((clock.now, cost))
        else:
            # what is refused is at most 1/30 of the window too old to count
            assert 0 < decision.wait_ns <= (seconds + seconds / 30) * SECOND + 31
            clock.now += decision.wait_ns
            log.append((clock.now, cost))
            assert hit("a", cost).admitted  # the wait that was told is enough


@given(st.integers(3, 40), st.integers(1, 40), hits)
@settings(max_examples=150, deadline=None)
def test_several_limits_hold_together_and_a_refusal_charges_none(
    few: int, many: int, hits: list[tuple[int, int]]
) -> None:
    clock = Clock()
    rates = (Rate(few, 1), Rate(few + many, 60))
    limits = tuple(Limit(str(rate), rate) for rate in rates)
    store = MemoryStore(clock_ns=clock)
    both, alone = store.counter(limits), [store._table(limit) for limit in limits]
    logs: list[list[tuple[int, int]]] = [[], []]
    for gap, cost in hits:
        clock.now += gap
        free = [_free(table, rate) for table, rate in zip(alone, rates, strict=True)]
        decision = both.hit("a", cost)
        if not decision.admitted:
            assert free == [_free(table, rate) for table, rate in zip(alone, rates, strict=True)]
            clock.now += decision.wait_ns
            assert both.hit("a", cost).admitted
        for log, rate in zip(logs, rates, strict=True):
            log.append((clock.now, cost))
            start = clock.now - rate.period_seconds * SECOND
            assert sum(c for at, c in log if at >= start) <= rate.quota


def _free(table: Table, rate: Rate) -> int:
    return next(n for n in range(rate.quota, -1, -1) if not n or table.refusal("a", n) is None)


@pytest.mark.parametrize(("quota", "jitter"), [(20, 0), (100, 0.2), (500, 0.5)])
def test_a_client_at_95_percent_of_its_limit_is_admitted(quota: int, jitter: float) -> None:
    clock, chance = Clock(), random.Random(quota)
    hit = counter(f"{quota}/minute", clock).hit
    gap = 60 * SECOND / (quota * 0.95)
    admitted = 0
    for _ in range(20_000):
        clock.now += int(gap * chance.uniform(1 - jitter, 1 + jitter))
        admitted += hit("a").admitted
    assert admitted >= 0.99 * 20_000


def test_the_answer_tells_what_remains_and_when_more_is_free() -> None:
    clock = Clock()
    hit = counter("2/minute", clock).hit
    first = hit("a")
    assert (first.admitted, first.remaining) == (True, 1)
    clock.now += 10 * SECOND
    assert hit("a").remaining == 0
    refused = hit("a")
    assert not refused.admitted
    assert 50 * SECOND <= refused.wait_ns <= 52 * SECOND
    clock.now += refused.wait_ns - 1
    assert not hit("a").admitted
    clock.now += 1
    assert hit("a").admitted


def test_clients_do_not_share_a_quota() -> None:
    hit = counter("1/minute", Clock()).hit
    assert hit("a").admitted
    assert hit("b").admitted
    assert not hit("a").admitted


def test_of_two_limits_the_one_that_waits_longest_refuses() -> None:
    clock = Clock()
    hit = counter(["1/second", "1/hour"], clock).hit
    assert hit("a").admitted
    refused = hit("a")
    assert refused.limit is not None
    assert refused.limit.rate == Rate(1, 3600)
    clock.now += 2 * SECOND
    assert not hit("a").admitted


def test_keys_are_bounded_and_swept_when_their_window_has_passed() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=4096, clock_ns=clock)
    limits = name_limits("x", parse_rates("5/second"))
    table = store._table(limits[0])
    for number in range(20_000):
        table.hit(f"first-{number}")
    assert len(table) <= 4096
    clock.now += 3 * SECOND
    for number in range(2000):
        table.hit(f"second-{number}")
    assert len(table) < 3500  # the first ones went while the second ones came


def test_churning_through_addresses_resets_nobody() -> None:
    clock = Clock()
    hit = counter("3/minute", clock, max_keys=1024).hit
    for _ in range(3):
        assert hit("known").admitted
    for number in range(20_000):
        hit(f"hostile-{number}")
    assert not hit("known").admitted
    # a newcomer at the bound shares a counter: it gets at most its quota, never more
    assert sum(hit("newcomer").admitted for _ in range(10)) <= 3


def test_a_subject_that_leaves_an_overflow_counter_takes_its_counts_along() -> None:
    clock = Clock()
    store = MemoryStore(max_keys=1024, clock_ns=clock)
    table = store._table(Limit("x", Rate(3, 60)))
    for number in range(3000):
        table.hit(f"early-{number}")
    clock.now += 55 * SECOND
    admitted = sum(table.hit("late").admitted for _ in range(5))
    clock.now += 7 * SECOND  # the early ones have left, `late` has not
    table.hit("sweeps")
    admitted += sum(table.hit("late").admitted for _ in range(5))
    assert admitted <= 3


def test_the_garbage_collector_has_no_client_to_walk() -> None:
    table = MemoryStore()._table(Limit("x", Rate(500, 60)))
    for number in range(5000):
        table.hit(f"a-{number}")
    assert not any(gc.is_tracked(shard) for shard in table._shards)


def test_a_shard_stays_small_enough_for_a_short_sweep() -> None:
    for most in (1024, 5000, 200_000, 1_000_000):
        table = MemoryStore(max_keys=most)._table(Limit("x", Rate(5, 60)))
        assert 500 <= table._room <= 2048
        assert (table._room + 16) * len(table._shards) <= most


def test_a_bound_that_is_too_low_is_refused() -> None:
    with pytest.raises(ValueError, match="max_keys"):
        MemoryStore(max_keys=10)


@pytest.mark.parametrize("quota", range(1, 31))
@pytest.mark.parametrize("seconds", [1, 60, 86_400])
def test_a_client_one_percent_slower_than_a_small_quota_is_never_refused(
    quota: int, seconds: int
) -> None:
    clock = Clock()
    clock.now += 123_456_789
    hit = MemoryStore(clock_ns=clock).counter((Limit("x", Rate(quota, seconds)),)).hit
    step = int(seconds * SECOND * 1.01 / quota)
    for _ in range(200):
        assert hit("a").admitted
        clock.now += step


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 2), hits)
def test_nor_does_the_smallest_quota_admit_more(quota: int, hits: list[tuple[int, int]]) -> None:
    clock = Clock()
    hit = MemoryStore(clock_ns=clock).counter((Limit("x", Rate(quota, 7)),)).hit
    admitted: list[int] = []
    for gap, _ in hits:
        clock.now += gap
        if hit("a").admitted:
            admitted.append(clock.now)
            assert sum(at > clock.now - 7 * SECOND for at in admitted) <= quota
