"""Jobs on workers: queued in the transaction that claims them, and run once, whoever dies."""

import asyncio
import json
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from assembler.runtime.scheduler.claims import Claim, Retrial
from assembler.runtime.scheduler.fleet.connector import EngineConnector
from assembler.runtime.scheduler.fleet.store import FleetStore, Retry
from assembler.runtime.scheduler.run import Ending, State
from tests.assembler.command import run
from tests.assembler.runtime.scheduler.fleet_world import PATIENCE_SECONDS, Fleet, fleet
from tests.assembler.runtime.scheduler.processes import doubles
from tests.servers import start_postgres

pytestmark = pytest.mark.timeout(180)
TELL = '    - {id: tell, use: shop.jobs.tell, every: 1s, with: {word: "y"}}'
IDLE = "    - {id: idle, use: shop.jobs.tell_in_thread, every: 1h, grace: 1h}"


@pytest.fixture(params=["postgresql", "psycopg"])
def on_each_driver(
    request: pytest.FixtureRequest, url_of: Callable[[str], str], tmp_path: Path
) -> Iterator[Fleet]:
    with fleet(tmp_path, url_of(request.param)) as made:
        yield made


@pytest.fixture
def here(url_of: Callable[[str], str], tmp_path: Path) -> Iterator[Fleet]:
    with fleet(tmp_path, url_of("postgresql")) as made:
        yield made


def test_two_clocks_and_three_workers_run_each_tick_once(on_each_driver: Fleet) -> None:
    here = on_each_driver
    here.write(TELL + "\n    - {id: thread, use: shop.jobs.tell_in_thread, every: 1s}")
    workers = here.workers(3)
    clocks = here.clocks(2)
    here.until(lambda: len(here.lines()) >= 16)
    here.end(*clocks)
    here.until(lambda: not here.states().keys() & {"queued", "running"})
    assert here.end(*workers) == [0, 0, 0]
    assert here.states()["ok"] == len(here.lines())
    for job in ("tell", "thread"):
        lines = [line for line in here.lines() if line["job"] == job]
        assert doubles(lines) == []
        assert {line["pid"] for line in lines} <= {worker.pid for worker in workers}
    assert here.query("SELECT count(*) FROM procrastinate_jobs") == [(0,)]
    assert here.query("SELECT count(*) FROM procrastinate_workers") == [(0,)]


@pytest.mark.parametrize("on_crash", ["skip", "rerun"])
def test_a_run_whose_worker_is_killed_is_lost_and_runs_again_where_it_may(
    on_crash: str, here: Fleet
) -> None:
    here.write(f"    - {{id: hang, use: shop.jobs.hang_once, every: 1s, on_crash: {on_crash}}}")
    [first], clocks = here.workers(1), here.clocks(1)
    here.until(here.lines)
    [killed] = here.lines()
    first.kill()
    here.workers(1)
    here.until(lambda: here.states().get("lost"))
    if on_crash == "rerun":
        here.until(lambda: here.lines("ended"))
        again = [line["attempt"] for line in here.lines() if line["tick"] == killed["tick"]]
        assert again == [1, 2]
    else:
        here.until(lambda: len(here.lines()) > 1)  # the next tick has its turn
        assert doubles(here.lines()) == []
    here.end(*clocks)


def test_a_clock_that_dies_between_claim_and_queue_leaves_neither(here: Fleet) -> None:
    """Killed by itself at that very place, in its transaction."""
    here.write(TELL)
    die = (
        "import assembler.runtime.scheduler.fleet.store as store, os\n"
        "async def _enqueue(self, connection, job, run_id, wait=0.0):\n"
        "    await connection.exec_driver_sql('SELECT 1')\n"
        "    print('claimed', flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
        "store.FleetStore._enqueue = _enqueue\n"
    )
    died = here.start_clock(die)
    assert died.wait(PATIENCE_SECONDS) == -signal.SIGKILL
    assert died.stdout is not None
    assert died.stdout.read().endswith("claimed\n")
    assert here.states() == {}
    assert here.query("SELECT count(*) FROM procrastinate_jobs") == [(0,)]
    here.workers(1)
    here.clocks(1)
    here.until(here.lines)  # the next one is whole


def test_a_failed_run_is_tried_again_as_often_as_it_may(here: Fleet) -> None:
    here.write(
        "    - {id: fail, use: shop.jobs.fail_twice, every: 1h, grace: 1h, retries: 2, retry_wait: 250ms}"
    )
    here.tick("fail")
    here.workers(1)
    here.until(lambda: here.states() == {"failed": 2, "ok": 1})
    assert [line["attempt"] for line in here.lines()] == [1, 2, 3]
    listed = json.loads(here.run("jobs", "m.yaml", "--format", "json").stdout)
    last = listed["jobs"][0]["last"]
    assert (last["outcome"], last["attempt"]) == ("ok", 3)


def test_a_worker_that_is_told_to_stop_lets_its_run_end(here: Fleet) -> None:
    here.write("    - {id: slow, use: shop.jobs.slow, every: 1h, grace: 1h}")
    here.tick("slow")
    [worker] = here.workers(1)
    here.until(here.lines)
    assert here.end(worker) == [0]
    assert here.states() == {"ok": 1}
    assert here.output(worker) == "1 run: 1 ok\n"


def test_a_run_that_outlasts_the_stop_is_cancelled_and_queued_where_it_may(here: Fleet) -> None:
    here.write(
        "    - {id: hang, use: shop.jobs.hang_once, every: 1h, grace: 1h, on_crash: rerun}",
        "close_timeout: 250ms",
    )
    here.tick("hang")
    [worker] = here.workers(1)
    here.until(here.lines)
    assert here.end(worker) == [0]
    assert here.states() == {"cancelled": 1, "queued": 1}
    done = here.run("worker", "m.yaml", "--once")
    assert (done.returncode, done.stdout) == (0, "1 run: 1 ok\n"), done.stderr
    assert [line["attempt"] for line in here.lines()] == [1, 2]


def test_once_runs_what_waits_and_its_status_tells(here: Fleet) -> None:
    here.write(
        "    - {id: fail, use: shop.jobs.fail_twice, every: 1h, grace: 1h}\n"
        "    - {id: thread, use: shop.jobs.tell_in_thread, every: 1h, grace: 1h}"
    )
    done = here.run("worker", "m.yaml", "--once")
    assert (done.returncode, done.stdout) == (0, "0 runs\n"), done.stderr
    here.tick("fail", "thread")
    assert here.states() == {"queued": 2}
    done = here.run("worker", "m.yaml", "--once")
    assert (done.returncode, done.stdout) == (1, "2 runs: 1 failed, 1 ok\n"), done.stderr
    assert "ValueError: not yet" in done.stderr


def test_run_job_runs_here_and_shares_the_claims(here: Fleet) -> None:
    here.write(IDLE)
    done = here.run("run-job", "m.yaml", "idle")
    assert (done.returncode, here.states()) == (0, {"ok": 1}), done.stderr
    here.tick("idle")
    [(fire,)] = here.query("SELECT fire_ms FROM assembler_job_runs WHERE state = 'queued'")
    at = datetime.fromtimestamp(fire / 1000, UTC).isoformat()
    done = here.run("run-job", "m.yaml", "idle", "--at", at)
    assert done.returncode == 0
    assert "has run, or runs, elsewhere already" in done.stdout


def test_what_was_fetched_and_never_begun_goes_back(here: Fleet) -> None:
    here.write(IDLE)
    here.tick("idle")
    here.query(
        "SELECT procrastinate_fetch_job_v2(NULL, id) FROM procrastinate_register_worker_v1() AS w(id)"
    )
    here.query("UPDATE procrastinate_events SET at = at - interval '1 hour'")
    here.workers(1)
    here.until(lambda: here.states() == {"ok": 1})


def test_what_somebody_took_out_of_the_queue_is_lost(here: Fleet) -> None:
    here.write(IDLE)
    here.tick("idle")
    here.query("DELETE FROM procrastinate_jobs")
    here.workers(1)
    here.until(lambda: here.states() == {"lost": 1})


@pytest.mark.parametrize("kind", ["postgresql", "psycopg"])
def test_news_of_the_queue_are_heard_outside_the_pool(
    kind: str, url_of: Callable[[str], str]
) -> None:
    channel = "procrastinate_queue_v1#mail"

    async def go() -> None:
        db = create_async_engine(url_of(kind), pool_size=1, max_overflow=0)
        connector = EngineConnector(db, limit_seconds=5, stopping=asyncio.Event())
        heard = asyncio.Event()

        async def hear(*, channel: str, payload: str) -> None:
            assert (channel, payload) == ("procrastinate_queue_v1#mail", "news")
            heard.set()

        listening = asyncio.create_task(connector.listen_notify(hear, [channel]))
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not heard.is_set():  # it may not listen yet
                async with db.begin() as connection:
                    await connection.execute(text(f"SELECT pg_notify('{channel}', 'news')"))
                await asyncio.sleep(0.05)
        listening.cancel()
        await asyncio.wait({listening})
        await db.dispose()

    asyncio.run(go())


def test_a_run_that_is_to_be_tried_once_more_waits_for_a_worker(
    url_of: Callable[[str], str],
) -> None:
    async def go() -> None:
        db = create_async_engine(url_of("postgresql"))
        store = FleetStore(db, queue="q", retries={})
        await store.prepare()
        now = await store.now()
        claim = Claim("job", now, "first", "me", 60_000, 30_000, "forbid", rerun=False)
        assert (await store.claim(claim)).verdict == "queued"
        assert await store.begin("first", "worker", 30_000) is not None
        assert await store.finish("first", Ending("failed", 1, 2, "no"))
        tries = [Retrial("first", f"again {n}", "me", 30_000, "forbid", rerun=False) for n in "ab"]
        given = [each for each in [await store.again(each) for each in tries] if each is not None]
        assert [(each.attempt, each.is_queued) for each in given] == [(2, True)]
        kept = await store.run("again a")
        assert kept is not None
        assert kept.state == "queued"
        begun = await store.begin("again a", "worker", 30_000)
        assert begun is not None
        assert begun[:2] == (now, 2)
        async with db.connect() as connection:
            queued = "SELECT count(*) FROM procrastinate_jobs WHERE queueing_lock = 'again a'"
            assert (await connection.execute(text(queued))).scalar() == 1
        await db.dispose()

    asyncio.run(go())


def test_a_worker_outlives_a_database_that_is_away(tmp_path: Path) -> None:
    with start_postgres() as server:
        url = server.url.replace("postgresql://", "postgresql+asyncpg://")
        with fleet(tmp_path, url) as here:
            here.write(TELL)
            [worker], clocks = here.workers(1), here.clocks(1)
            here.until(here.lines)
            server.kill()
            before = len(here.lines())
            server.start()
            here.until(lambda: len(here.lines()) > before + 2)
            here.end(*clocks)
            assert here.end(worker) == [0]
            assert doubles(here.lines()) == []


def test_a_job_that_a_worker_does_not_know_waits_for_one_that_does(here: Fleet) -> None:
    here.write(IDLE)
    here.tick("idle")
    here.write(TELL)
    done = here.run("worker", "m.yaml", "--once")
    assert (done.returncode, done.stdout) == (0, "0 runs\n"), done.stderr
    assert here.states() == {"queued": 1}
    here.write(IDLE)
    here.workers(1)
    here.until(lambda: here.states() == {"ok": 1})


def test_tables_of_another_procrastinate_are_refused(here: Fleet) -> None:
    here.write(IDLE)
    here.tick("idle")
    here.query("DROP FUNCTION procrastinate_fetch_job_v2")
    done = here.run("worker", "m.yaml", "--once")
    assert done.returncode == 2
    assert "there is no function `procrastinate_fetch_job_v2`; apply its migrations" in done.stderr


def test_eight_processes_make_the_tables_at_once(here: Fleet) -> None:
    async def prepare() -> None:
        engines = [create_async_engine(here.url) for _ in range(8)]
        stores = [FleetStore(engine, queue="q", retries={}) for engine in engines]
        await asyncio.gather(*(store.prepare() for store in stores))
        for engine in engines:
            await engine.dispose()

    asyncio.run(prepare())
    assert here.query("SELECT count(*) FROM procrastinate_jobs") == [(0,)]


def test_a_worker_without_a_fleet_says_so(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("manifest: 1\n")
    done = run("worker", "m.yaml", folder=tmp_path)
    assert done.status == 2
    assert "queues nothing: its `scheduler` has no `engine: procrastinate`" in done.err


def test_a_missing_library_is_told_with_its_remedy(
    here: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write(IDLE)
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    done = run("check", "m.yaml", folder=here.folder, environment={"DATABASE_URL": here.url})
    assert done.status == 1
    assert "error[module-not-found]: `engine: procrastinate` needs Procrastinate" in done.out
    assert "= help: pip install 'fastapi-assembler[fleet]'" in done.out


@pytest.mark.parametrize("value", [create_async_engine("sqlite+aiosqlite://"), object()])
def test_a_queue_needs_an_engine_of_postgresql(value: Any) -> None:
    with pytest.raises(ValueError, match="a queue is kept in PostgreSQL"):
        FleetStore(value, queue="q", retries={})


@pytest.mark.parametrize(
    ("state", "attempt", "may_rerun", "wait"),
    [
        ("ok", 1, True, None),
        ("failed", 1, False, 10),
        ("timeout", 3, False, 40),
        ("failed", 4, False, None),
        ("lost", 1, False, None),
        ("lost", 1, True, 0),
        ("cancelled", 4, True, None),
    ],
)
def test_when_a_run_is_tried_again(
    state: State, attempt: int, may_rerun: bool, wait: float | None
) -> None:
    assert Retry(3).after(state, attempt, may_rerun=may_rerun) == wait
    assert Retry(100).after("failed", 100, may_rerun=False) == 3600
    assert Retry().after("lost", 1, may_rerun=True) == 0
