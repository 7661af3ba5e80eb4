"""Every store keeps the same promises: one claim, one lease, one end."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import StaticPool

from assembler.runtime.operations.orders import new_order
from assembler.runtime.operations.tables import upgrade
from assembler.runtime.scheduler.claims import Claim, ClaimAnswer, Retrial, Store
from assembler.runtime.scheduler.namespaced_store import named
from assembler.runtime.scheduler.redis_scripts import PREFIX
from assembler.runtime.scheduler.redis_store import RedisStore
from assembler.runtime.scheduler.run import Ending, RunQuery
from assembler.runtime.scheduler.stores import store_of
from tests.assembler.runtime.scheduler.conftest import SHARED, STORES, opened

Test = Callable[[Any], Awaitable[None]]


@pytest.fixture(params=STORES)
def on_store(
    request: pytest.FixtureRequest, url_of: Callable[[str], str]
) -> Callable[[Test], None]:
    return _runner(request.param, url_of)


@pytest.fixture(params=SHARED)
def on_shared(
    request: pytest.FixtureRequest, url_of: Callable[[str], str]
) -> Callable[[Test], None]:
    return _runner(request.param, url_of)


def _runner(kind: str, url_of: Callable[[str], str]) -> Callable[[Test], None]:
    url = None if kind == "memory" else url_of(kind)

    def go(test: Test) -> None:
        async def inside() -> None:
            async with opened(kind, url) as store:
                await store.prepare()
                await test(store)

        asyncio.run(inside())

    return go


async def claim(store: Store, *, since: int = 0, **options: Any) -> tuple[str, ClaimAnswer]:
    """Claim the tick that was `since` milliseconds ago; return the run's ID and the answer."""
    fire = options.pop("fire", None) or await store.now() - since
    facts = {
        "job": "job",
        "fire_ms": fire,
        "run_id": uuid.uuid4().hex,
        "owner": "me",
        "grace_ms": 60_000,
        "lease_ms": 30_000,
        "overlap": "forbid",
        "rerun": False,
        **options,
    }
    return facts["run_id"], await store.claim(Claim(**facts))


OK = Ending("ok", 1, 2)


def test_a_tick_is_claimed_once(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        fire = await store.now()
        run, first = await claim(store, fire=fire)
        assert first.verdict == "claimed"
        assert 0 <= first.milliseconds < 60_000
        assert (await claim(store, fire=fire))[1].verdict == "taken"
        assert await store.finish(run, OK)
        assert (await claim(store, fire=fire))[1].verdict == "taken"

    on_store(test)


def test_of_many_at_once_one_gets_the_tick(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        for overlap in ("forbid", "allow", "replace"):
            fire = await store.now()
            tries = [claim(store, job=overlap, fire=fire, overlap=overlap) for _ in range(20)]
            answers = await asyncio.gather(*tries)
            verdicts = sorted(answer.verdict for _, answer in answers)
            assert verdicts == ["claimed", *["taken"] * 19]

    on_store(test)


def test_the_same_claim_twice_is_one_claim(on_shared: Callable[[Test], None]) -> None:
    """The answer to the first may have been lost on its way."""

    async def test(store: Store) -> None:
        fire = await store.now()
        run, _ = await claim(store, fire=fire)
        assert (await claim(store, fire=fire, run_id=run))[1].verdict == "claimed"

    on_shared(test)


def test_the_stores_clock_decides_what_is_early_and_late(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        _, early = await claim(store, since=-60_000)
        assert early.verdict == "early"
        assert 30_000 < early.milliseconds <= 59_000
        assert (await claim(store, since=61_000))[1].verdict == "late"
        _, soon = await claim(store, since=-1900)
        assert soon.verdict == "claimed"
        assert -1900 <= soon.milliseconds < 10_000
        assert (await claim(store, job="other", since=40_000))[1].verdict == "claimed"

    on_store(test)


def test_forbid_skips_a_tick_while_the_last_run_goes_on(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store, since=2000)
        fire = await store.now()
        _, first = await claim(store, fire=fire)
        _, second = await claim(store, fire=fire)
        assert (first.verdict, first.recorded) == ("skipped", True)
        assert second.verdict == "taken"
        assert (await claim(store, job="another"))[1].verdict == "claimed"
        assert await store.finish(run, OK)
        assert (await claim(store, since=500))[1].verdict == "claimed"
        assert (await store.counts())["job"] == {"ok": 1, "skipped": 1, "running": 1}

    on_store(test)


def test_a_tick_that_is_early_waits_for_the_last_run(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        await claim(store, since=2000)
        _, answer = await claim(store, since=-1500)
        assert answer.verdict == "early"
        assert 0 < answer.milliseconds <= 1500

    on_store(test)


def test_a_run_holds_its_claim_however_many_ticks_are_skipped(
    on_store: Callable[[Test], None],
) -> None:
    async def test(store: Store) -> None:
        now = await store.now()
        run, _ = await claim(store, fire=now)
        for tick in range(now - 120, now):
            assert (await claim(store, fire=tick))[1].verdict == "skipped"
        assert await store.heartbeat(run, 30_000)
        assert await store.state(run) == "running"
        assert await store.finish(run, OK)
        assert (await claim(store, fire=now + 1))[1].verdict == "claimed"

    on_store(test)


@pytest.mark.parametrize("does", ["claim", "miss"])
def test_a_tick_that_ran_is_known_after_its_grace(
    does: str, on_store: Callable[[Test], None]
) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store, since=40_000)
        await store.finish(run, OK)
        fire = (await store.last_runs(["job"]))["job"].fire_ms
        if isinstance(store, RedisStore):  # as Redis does it in time
            await store._client.delete(f"{PREFIX}tick:job:{fire}")
        if does == "claim":
            assert (await claim(store, fire=fire, grace_ms=1000))[1].verdict == "taken"
        else:
            assert await store.miss("job", [fire], 1000) == {fire: False}
        assert (await store.counts())["job"] == {"ok": 1}

    on_store(test)


def test_allow_runs_beside(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        await claim(store, since=3000, overlap="allow")
        await claim(store, since=2000, overlap="allow", lease_ms=1)
        await _until_stale(store)
        assert (await claim(store, overlap="allow"))[1].verdict == "claimed"

    on_store(test)


def test_replace_ends_the_last_run(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store, since=2000, overlap="replace")
        newer, answer = await claim(store, overlap="replace")
        assert answer.verdict == "claimed"
        assert await store.state(run) == "replaced"
        assert not await store.heartbeat(run, 1000)
        assert not await store.finish(run, OK)
        assert await store.heartbeat(newer, 1000)
        # an older tick that comes late never takes the place of a newer one
        assert (await claim(store, since=1000, overlap="replace"))[1].verdict == "skipped"
        assert await store.state(newer) == "running"

    on_store(test)


def test_of_many_that_replace_one_another_at_once_the_latest_is_left(
    on_store: Callable[[Test], None],
) -> None:
    async def test(store: Store) -> None:
        now = await store.now()
        for round_ in range(5):
            fires = [now - 100 * round_ - n for n in range(8)]
            made = await asyncio.gather(
                *(claim(store, job=f"{round_}", fire=fire, overlap="replace") for fire in fires)
            )
            states = [await store.state(run) for run, _ in made]
            assert states[0] == "running"
            assert states.count("running") == 1

    on_store(test)


def test_a_run_ends_once(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store)
        assert await store.state(run) == "running"
        assert await store.finish(run, Ending("failed", 3, 4, "ValueError: no"))
        assert not await store.finish(run, OK)
        assert not await store.heartbeat(run, 1000)
        assert await store.state(run) == "failed"
        assert await store.state("nobody") is None
        [last] = (await store.last_runs(["job", "unknown"])).values()
        assert (last.state, last.lag_ms, last.duration_ms) == ("failed", 3, 4)
        assert (last.owner, last.error, last.attempt) == ("me", "ValueError: no", 1)
        assert last.finished_ms is not None
        assert last.finished_ms >= last.started_ms

    on_store(test)


async def _until_stale(store: Store) -> None:
    end = await store.now() + 10
    while await store.now() <= end:  # noqa: ASYNC110  # a database's clock sets no event
        await asyncio.sleep(0.005)


def test_a_run_whose_lease_ran_out_is_lost(on_shared: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store, since=2000, lease_ms=1)
        held, _ = await claim(store, job="held", lease_ms=1)
        assert await store.heartbeat(held, 30_000)
        await claim(store, job="foreign", lease_ms=1)
        await _until_stale(store)
        assert (await claim(store))[1].verdict == "stale"
        own = {"job": False, "held": False}
        [[lost], again] = [await store.sweep("sweeper", 30_000, own) for _ in range(2)]
        assert (lost.job, lost.attempt, lost.run_id, lost.owner) == ("job", 1, run, "me")
        assert lost.rerun_id is None
        assert again == []
        assert await store.state(run) == "lost"
        assert not await store.heartbeat(run, 1000)
        assert not await store.finish(run, OK)
        assert (await claim(store))[1].verdict == "claimed"
        # what another service keeps in the same store is its own
        assert (await store.counts())["foreign"] == {"running": 1}

    on_shared(test)


def test_who_sweeps_runs_a_lost_tick_again_once(on_shared: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        fire = await store.now()
        await claim(store, fire=fire, lease_ms=1, rerun=True)
        await _until_stale(store)
        sweeps = [store.sweep("sweeper", 30_000, {"job": True}) for _ in range(5)]
        [lost] = [each for found in await asyncio.gather(*sweeps) for each in found]
        assert lost.rerun_id is not None
        assert await store.state(lost.rerun_id) == "running"
        assert (await claim(store, fire=fire))[1].verdict == "taken"
        await store.heartbeat(lost.rerun_id, 1)
        await _until_stale(store)
        [second] = await store.sweep("sweeper", 1, {"job": True})
        assert (second.fire_ms, second.attempt, second.rerun_id) == (fire, 2, None)
        [last] = (await store.last_runs(["job"])).values()
        assert (last.attempt, last.state, last.owner) == (2, "lost", "sweeper")

    on_shared(test)


def test_several_lost_ticks_of_one_job_run_again(on_shared: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        now = await store.now()
        for fire in (now - 1, now):
            await claim(store, fire=fire, lease_ms=1, rerun=True, overlap="allow")
        await _until_stale(store)
        lost = await store.sweep("sweeper", 30_000, {"job": True})
        assert len({each.rerun_id for each in lost if each.rerun_id}) == 2

    on_shared(test)


def test_a_missed_tick_is_recorded_once_and_not_before_its_grace_is_over(
    on_store: Callable[[Test], None],
) -> None:
    async def test(store: Store) -> None:
        now = await store.now()
        claimed = now - 1000
        await claim(store, fire=claimed)
        fires = [now - 90_000, now - 80_000, claimed, now]
        assert await store.miss("job", fires, 60_000) == dict.fromkeys(fires[:2], True)
        assert await store.miss("job", fires, 60_000) == dict.fromkeys(fires[:2], False)
        assert (await store.counts())["job"] == {"missed": 2, "running": 1}
        assert (await claim(store, fire=fires[0], grace_ms=200_000))[1].verdict == "taken"

    on_store(test)


def test_services_of_two_names_share_a_store_and_no_tick(
    on_shared: Callable[[Test], None],
) -> None:
    async def test(store: Store) -> None:
        shop, estate = named(store, "shop"), named(store, "estate")
        fire = await store.now()
        run, mine = await claim(shop, fire=fire, lease_ms=1, rerun=True)
        _, other = await claim(estate, fire=fire)
        assert (mine.verdict, other.verdict) == ("claimed", "claimed")
        await _until_stale(store)
        assert await estate.sweep("me", 1000, {"job": True}) == []
        [lost] = await shop.sweep("me", 1000, {"job": True})
        assert (lost.job, lost.run_id) == ("job", run)
        assert await shop.counts() == {"job": {"lost": 1, "running": 1}}
        assert (await estate.last_runs(["job"]))["job"].attempt == 1
        assert await shop.miss("job", [fire - 90_000], 60_000) == {fire - 90_000: True}
        assert "missed" not in (await estate.counts())["job"]
        assert await shop.prune("job", 0) in {0, 1, 2}
        assert (await estate.last_runs(["job"]))["job"].job == "job"

    on_shared(test)


def test_old_runs_are_forgotten_and_the_last_one_is_not(on_shared: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        for since in (50_000, 40_000, 30_000):
            run, _ = await claim(store, since=since, overlap="allow")
            await store.finish(run, OK)
        await store.prune("job", 35_000)
        await store.prune("job", 1)
        [last] = (await store.last_runs(["job"])).values()
        assert last.state == "ok"
        assert await store.now() - last.fire_ms < 40_000

    on_shared(test)


@pytest.mark.parametrize("url", ["", "/:memory:", "/file:x?mode=memory&uri=true"])
def test_a_database_in_memory_is_shared_with_nobody(url: str) -> None:
    engine = create_async_engine(f"sqlite+aiosqlite://{url}", poolclass=StaticPool)
    assert not store_of(engine).shared
    assert store_of(create_async_engine("sqlite+aiosqlite:///claims.db")).shared


def test_eight_processes_may_prepare_at_once(url_of: Callable[[str], str]) -> None:
    async def test(kind: str, url: str) -> None:
        async def prepare() -> None:
            async with opened(kind, url) as store:
                await store.prepare()
                await store.prepare()

        await asyncio.gather(*(prepare() for _ in range(8)))

    for kind in ("postgresql", "psycopg", "sqlite"):
        asyncio.run(test(kind, url_of(kind)))


def test_runs_are_found_by_state_and_time(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        now = await store.now()
        hour = 3_600_000
        hours = [("ok", 9), ("failed", 7), ("timeout", 5), ("failed", 3)]
        endings = [(state, since * hour) for state, since in hours]
        for state, since in endings:
            run, _ = await claim(store, fire=now - since, overlap="allow", grace_ms=24 * hour)
            assert await store.finish(run, Ending(state, 1, 2, f"{state}!"))  # type: ignore[arg-type]  # a state
        await claim(store, job="other", fire=now - 100)

        async def found(**query: Any) -> list[tuple[str, int, str | None]]:
            runs = await store.runs(RunQuery("job", **query))
            return [(run.state, now - run.fire_ms, run.error) for run in runs]

        every = [(state, since, f"{state}!") for state, since in endings[::-1]]
        assert await found() == every
        assert await found(states=("failed",)) == [every[0], every[2]]
        assert await found(states=("failed", "timeout")) == every[:3]
        assert await found(states=("failed", "timeout"), limit=2) == every[:2]
        assert await found(since_ms=now - 7 * hour, until_ms=now - 3 * hour) == every[1:3]
        assert await found(states=("lost",)) == []
        assert await store.runs(RunQuery("nobody")) == []
        assert await store.failures(["job", "other", "nobody"], 8 * hour) == {"job": 3}
        assert await store.failures(["job"], 6 * hour) == {"job": 2}
        first = (await store.runs(RunQuery("job")))[0]
        assert await store.run(first.run_id) == first
        assert await store.run("nobody") is None

    on_store(test)


def test_a_bad_run_is_tried_once_more_by_one(on_store: Callable[[Test], None]) -> None:
    async def test(store: Store) -> None:
        run, _ = await claim(store)
        retrials = [
            Retrial(run, uuid.uuid4().hex, "other", 30_000, "forbid", rerun=False) for _ in range(5)
        ]
        assert await store.again(retrials[0]) is None  # it goes on
        assert await store.finish(run, Ending("failed", 1, 2))
        given = await asyncio.gather(*(store.again(each) for each in retrials))
        (won,) = [each for each in given if each is not None]
        fresh = retrials[given.index(won)].fresh
        kept = await store.run(fresh)
        assert kept is not None
        assert (won.job, won.attempt, kept.state, kept.owner) == ("job", 2, "running", "other")
        assert (await claim(store, fire=await store.now() + 1))[1].verdict != "claimed"
        assert await store.finish(fresh, OK)
        assert await store.again(retrials[0]) is None  # a later attempt went well
        assert await store.again(Retrial(fresh, "x", "other", 1000, "allow", rerun=False)) is None

    on_store(test)


def test_orders_stand_until_others_end_them(on_shared: Callable[[Test], None]) -> None:
    async def test(store: Any) -> None:
        if hasattr(store, "engine"):
            state = await upgrade(store, store.engine)
            assert state is not None
            assert state.is_current
        assert (
            await store.open_orders("shop") == (0, []) or (await store.open_orders("shop"))[1] == []
        )

        async def standing() -> list[tuple[str, str]]:
            now, orders = await store.open_orders("shop")
            return sorted((each.kind, each.target) for each in orders if each.holds(now))

        pause = await store.give("shop", new_order("pause", "a", "Ann"))
        await store.give("shop", new_order("pause", "b", "Ann"))
        await store.give("other", new_order("pause", "c", "Ann"))
        level = new_order("level", "a", "Bob", "DEBUG", 3_600_000)
        assert (await store.give("shop", level)).until_ms is not None
        assert pause.at_ms > 0
        assert await standing() == [("level", "a"), ("pause", "a"), ("pause", "b")]
        await store.give("shop", new_order("resume", "a", "Ann"))
        await store.give("shop", new_order("level", "a", "Bob", "INFO", 1))
        await asyncio.sleep(0.01)
        assert await standing() == [("pause", "b")]
        last = await store.orders("shop", 100)
        assert [each.kind for each in last].count("pause") == 2
        assert {each.actor for each in last} == {"Ann", "Bob"}
        assert len(await store.orders("shop", 2)) == 2
        _, recent = await store.open_orders("shop")
        assert len(recent) == 5  # all of this minute are read by whoever has not seen them

    on_shared(test)
