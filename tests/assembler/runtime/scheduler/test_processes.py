"""Each tick once, whatever becomes of the processes: counted on real servers."""

import asyncio
import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from tests.assembler.runtime.scheduler.conftest import driven, opened
from tests.assembler.runtime.scheduler.processes import crew, doubles
from tests.servers import start_postgres

Urls = Callable[[str], str]


def last_states(kind: str, url: str) -> dict[str, int]:
    async def go() -> dict[str, int]:
        async with opened(kind, url) as store:
            counted: dict[str, dict[str, int]] = await store.counts()
            return counted.get("job", {})

    return asyncio.run(go())


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["postgresql", "redis", "sqlite"])
def test_eight_processes_run_each_tick_once(kind: str, url_of: Urls, tmp_path: Path) -> None:
    url = url_of(kind)
    with crew(tmp_path / "journal", kind=kind, url=url, every=1.0) as made:
        for number in range(8):
            # two of the clocks are wrong; the store's decides
            made.add(offset={0: 5.0, 1: -5.0}.get(number, 0.0))
        made.await_start()
        made.until(lambda: len(made.lines()) >= 10)
        made.stop()
        lines = made.lines()
    ticks = sorted(line["tick"] for line in lines)
    assert doubles(lines) == []
    assert min(line["lag"] for line in lines) > -0.05  # nobody ran ahead of the store's clock
    states = last_states(kind, url)
    assert states["ok"] == len(ticks)
    # with all eight starved of a processor a tick may be late; none goes without a trace
    assert len(ticks) + sum(states.get(state, 0) for state in ("missed", "skipped")) >= (
        ticks[-1] - ticks[0]
    )


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["postgresql", "redis", "sqlite"])
def test_a_run_whose_process_is_killed_is_lost_and_the_job_goes_on(
    kind: str, url_of: Urls, tmp_path: Path
) -> None:
    url = url_of(kind)
    options = {"kind": kind, "url": url, "every": 1.0, "first_takes": 60, "lease": 3.0}
    with crew(tmp_path / "journal", **options) as made:
        for _ in range(3):
            made.add()
        made.await_start()
        made.until(made.lines)
        [killed] = made.lines()[:1]
        made.send(killed["pid"], signal.SIGKILL)
        made.until(lambda: [each for each in made.lines() if each["pid"] != killed["pid"]])
        made.stop()
        lines = made.lines()
    assert doubles(lines) == []
    assert last_states(kind, url)["lost"] == 1


@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["postgresql", "redis", "sqlite"])
def test_a_killed_run_that_wants_it_runs_again_once(
    kind: str, url_of: Urls, tmp_path: Path
) -> None:
    url = url_of(kind)
    options = {"kind": kind, "url": url, "every": 1.0, "first_takes": 60, "lease": 3.0}
    with crew(tmp_path / "journal", **options, rerun=True) as made:
        for _ in range(3):
            made.add()
        made.await_start()
        made.until(made.lines)
        [killed] = made.lines()[:1]
        made.send(killed["pid"], signal.SIGKILL)
        made.until(lambda: [each for each in made.lines() if each["attempt"] == 2])
        made.stop()
        again = [each for each in made.lines() if each["tick"] == killed["tick"]]
    assert [each["attempt"] for each in again] == [1, 2]


@pytest.mark.timeout(180)
def test_a_paused_run_that_comes_back_writes_nothing(url_of: Urls, tmp_path: Path) -> None:
    """SIGSTOP past the lease, and SIGCONT: the effect stands behind a fence."""
    url = url_of("postgresql")

    async def prepare() -> None:
        async with opened("postgresql", url) as store, store.engine.begin() as connection:
            await connection.execute(text("CREATE TABLE effects (number integer)"))

    async def effects() -> int:
        async with opened("postgresql", url) as store, store.engine.begin() as connection:
            count: int = (await connection.execute(text("SELECT count(*) FROM effects"))).scalar()
            return count

    asyncio.run(prepare())
    options = {"kind": "postgresql", "url": url, "every": 2.0, "first_takes": 2.0, "lease": 2.0}
    with crew(tmp_path / "journal", **options, fenced=True) as made:
        for _ in range(2):
            made.add()
        made.await_start()
        made.until(made.lines)
        [paused] = made.lines()[:1]
        made.send(paused["pid"], signal.SIGSTOP)
        made.until(lambda: [each for each in made.lines("ended") if each["pid"] != paused["pid"]])
        made.send(paused["pid"], signal.SIGCONT)
        made.until(lambda: last_states("postgresql", url).get("ok", 0) >= 3)
        made.stop()
        ended = [each for each in made.lines("ended") if each["tick"] == paused["tick"]]
        whole = len(made.lines("ended")) - len(made.lines("fenced"))
    assert last_states("postgresql", url)["lost"] == 1
    assert len(ended) <= 1
    assert asyncio.run(effects()) == whole == last_states("postgresql", url)["ok"]


@pytest.mark.timeout(180)
def test_while_the_store_is_away_nothing_runs_and_ticks_within_the_grace_run_once(
    url_of: Urls, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = url_of("redis")
    server: Any = request.getfixturevalue("redis_server")
    options = {"kind": "redis", "url": url, "every": 2.0, "grace": 60, "lease": 3.0}
    with crew(tmp_path / "journal", **options, overlap="allow") as made:
        for _ in range(3):
            made.add()
        made.await_start()
        made.until(made.lines)
        server.freeze()
        frozen = time.time()
        before = len(made.lines())
        time.sleep(5)  # some ticks long: that nothing runs meanwhile is the promise
        away = [each for each in made.lines()[before:] if each["tick"] > frozen]
        server.thaw()
        assert away == []
        made.until(lambda: [e for e in made.lines() if frozen < e["tick"] < frozen + 3])
        made.stop()
    assert doubles(made.lines()) == []


@pytest.mark.timeout(180)
def test_a_database_that_was_killed_and_is_back_has_each_tick_run_once(tmp_path: Path) -> None:
    with start_postgres(port=True) as server:
        url = driven(server.url, "postgresql")
        options = {"kind": "postgresql", "url": url, "every": 1.0, "grace": 60, "lease": 6.0}
        with crew(tmp_path / "journal", **options, overlap="allow") as made:
            for _ in range(3):
                made.add()
            made.await_start()
            made.until(made.lines)
            server.kill()
            killed = time.time()
            before = len(made.lines())
            time.sleep(4)  # as above
            away = [each for each in made.lines()[before:] if each["tick"] > killed]
            server.start()
            assert away == []
            wanted = {float(tick) for tick in range(int(killed) + 1, int(killed) + 4)}
            made.until(lambda: wanted <= {each["tick"] for each in made.lines()})
            made.stop()
            lines = made.lines()
        assert doubles(lines) == []


def test_the_journal_is_read_as_it_was_written(tmp_path: Path) -> None:
    with crew(tmp_path / "journal") as made:
        made.journal.write_text(json.dumps({"event": "began", "tick": 1.0}) + "\n")
        assert doubles(made.lines() * 2) == [1.0]
