"""Health: live, ready, startup and details, with an assembly and without."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from components.health import Health, router
from components.health.checks import Pings

LOCAL = ("127.0.0.1", 4000)
REMOTE = ("203.0.113.7", 4000)


class Check:
    """A check of an assembly: says `reason`, and counts."""

    def __init__(self, *, critical: bool = True) -> None:
        self.critical = critical
        self.reason: str | None = None
        self.asked = 0

    async def __call__(self) -> str | None:
        self.asked += 1
        return self.reason


def app_with(state: str = "started", **options: Any) -> tuple[FastAPI, dict[str, Check]]:
    checks = {"db": Check(), "cache": Check(critical=False)}
    app = FastAPI()
    app.state.assembly = SimpleNamespace(
        state=state,
        degraded={},
        checks=checks,
        as_dict=lambda: {"manifest": "m.yaml", "steps": [{"id": "db", "milliseconds": 1.5}]},
    )
    app.include_router(router(**{"cache": timedelta(0), **options}), prefix="/health")
    return app, checks


def get(app: Any, path: str, client: tuple[str, int] = LOCAL, **headers: str) -> Any:
    return TestClient(app, client=client, raise_server_exceptions=True).get(path, headers=headers)


def test_live_asks_nothing_whatever_the_state() -> None:
    app, checks = app_with("draining")
    answer = get(app, "/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"
    assert checks["db"].asked == 0


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        ("built", 503, "starting"),
        ("starting", 503, "starting"),
        ("failed", 503, "starting"),
        ("started", 200, "ready"),
        ("draining", 503, "draining"),
        ("stopping", 503, "draining"),
        ("stopped", 503, "draining"),
    ],
)
def test_readiness_follows_the_state_of_the_application(state: str, status: int, word: str) -> None:
    answer = get(app_with(state)[0], "/health/ready")
    assert (answer.status_code, answer.json()) == (status, {"status": word})


def test_a_critical_resource_that_is_away_makes_it_unavailable_until_it_is_back() -> None:
    app, checks = app_with()
    checks["db"].reason = "refused"
    answer = get(app, "/health/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "reasons": {"db": "refused"}}
    checks["db"].reason = None
    assert get(app, "/health/ready").json() == {"status": "ready"}


def test_one_that_may_be_away_makes_it_degraded() -> None:
    app, checks = app_with()
    checks["cache"].reason = "refused"
    answer = get(app, "/health/ready")
    assert answer.status_code == 200
    assert answer.json() == {"status": "degraded", "reasons": {"cache": "refused"}}


def test_what_could_not_be_opened_is_told_and_not_asked() -> None:
    app, checks = app_with()
    app.state.assembly.degraded["cache"] = "could not be opened"
    answer = get(app, "/health/ready")
    assert answer.json() == {"status": "degraded", "reasons": {"cache": "could not be opened"}}
    assert checks["cache"].asked == 0


@pytest.mark.parametrize(
    ("client", "headers", "sees"),
    [
        (LOCAL, {}, False),
        (("::1", 1), {}, False),
        (LOCAL, {"authorization": "Bearer t0ken"}, True),
        (REMOTE, {}, False),
        (("testclient", 1), {}, False),
        (REMOTE, {"authorization": "Bearer t0ken"}, True),
        (REMOTE, {"authorization": "bearer  t0ken"}, True),
        (REMOTE, {"authorization": "Bearer t0ke"}, False),
        (REMOTE, {"authorization": "Bearer tökén"}, False),
        (REMOTE, {"authorization": "Basic t0ken"}, False),
        (LOCAL, {"authorization": "Bearer wrong"}, False),
    ],
)
def test_with_a_token_details_are_for_the_token_from_everywhere(
    client: tuple[str, int], headers: dict[str, str], sees: bool
) -> None:
    app, checks = app_with(token=SecretStr("t0ken"))
    checks["db"].reason = "refused"
    raw = {name: value.encode("latin-1") for name, value in headers.items()}
    ask = TestClient(app, client=client).get
    assert ("reasons" in ask("/health/ready", headers=raw).json()) is sees  # type: ignore[arg-type]  # bytes are taken
    assert ("steps" in ask("/health/startup", headers=raw).json()) is sees  # type: ignore[arg-type]  # the same
    details = ask("/health/details", headers=raw)  # type: ignore[arg-type]  # the same
    assert details.status_code == (200 if sees else 401)
    assert ("manifest" in details.json()) is sees


def test_loopback_can_be_shut_out_and_without_a_token_nobody_is_asked_for_one() -> None:
    app, _ = app_with(loopback=False)
    answer = get(app, "/health/details")
    assert answer.status_code == 403
    assert "www-authenticate" not in answer.headers


def test_the_start_is_over_from_its_end_on() -> None:
    for state, status in (("starting", 503), ("started", 200), ("draining", 200)):
        answer = get(app_with(state)[0], "/health/startup")
        assert answer.status_code == status
        assert answer.json()["steps"] == [{"id": "db", "milliseconds": 1.5}]


def test_head_is_answered_and_openapi_says_nothing() -> None:
    app, _ = app_with()
    client = TestClient(app)
    for path in ("live", "ready", "startup"):
        assert client.head(f"/health/{path}").status_code == 200
    assert client.get("/openapi.json").json()["paths"] == {}


def test_dependencies_of_the_router_hold() -> None:
    def refuse() -> None:
        raise HTTPException(418)

    app = FastAPI()
    app.include_router(router(), dependencies=[Depends(refuse)])
    assert TestClient(app).get("/live").status_code == 418


async def away() -> None:
    raise ConnectionError("redis://user:pa55word@host is away")


def test_a_bare_application_gives_its_own_checks() -> None:
    health = Health(checks={"redis": away}, cache=timedelta(0))
    app = Starlette(routes=[Route("/ready", health.ready), Route("/details", health.details)])
    answer = get(app, "/ready")
    assert answer.status_code == 503
    assert answer.json() == {"status": "unavailable", "reasons": {"redis": "ConnectionError"}}
    assert get(app, "/details").status_code == 200
    assert get(Starlette(routes=[Route("/ready", Health().ready)]), "/ready").status_code == 200


@pytest.mark.parametrize("token", ["", "tökén", "a\nb"])
def test_a_token_that_no_header_can_carry_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="`token` must be printable ASCII"):
        router(token=SecretStr(token))


def test_times_that_are_not_positive_are_refused() -> None:
    with pytest.raises(ValueError, match="`timeout` must be positive"):
        router(timeout=timedelta(0))
    with pytest.raises(ValueError, match="`cache` must not be negative"):
        router(cache=timedelta(seconds=-1))


def asking(
    checks: Mapping[str, Callable[[], Awaitable[Any]]],
    *,
    timeout: timedelta = timedelta(seconds=30),
    clock: Callable[[], float] = lambda: 0.0,
) -> tuple[Pings, Mapping[str, Callable[[], Awaitable[Any]]]]:
    return Pings(timeout=timeout, cache=timedelta(seconds=1), clock=clock), checks


def test_a_thousand_requests_are_one_round_and_its_answer_is_kept_for_a_second() -> None:
    now = 0.0
    check = Check()
    pings, checks = asking({"db": check}, clock=lambda: now)

    async def main() -> None:
        nonlocal now
        await asyncio.gather(*(pings.reasons(checks) for _ in range(1000)))
        assert check.asked == 1
        now = 0.999
        await pings.reasons(checks)
        assert check.asked == 1
        now = 1.0
        await pings.reasons(checks)
        assert check.asked == 2

    asyncio.run(main())


def test_all_are_asked_at_once_and_one_that_hangs_is_asked_once() -> None:
    asked: list[str] = []
    both = asyncio.Event()

    async def one() -> None:
        asked.append("one")
        await both.wait()

    async def two() -> None:
        asked.append("two")
        both.set()

    async def stuck() -> None:
        asked.append("stuck")
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if len(asked) > 5:
                    raise

    pings, checks = asking(
        {"stuck": stuck, "one": one, "two": two}, timeout=timedelta(milliseconds=50)
    )
    pings._cache_seconds = 0

    async def main() -> None:
        for _ in range(2):
            assert await pings.reasons(checks) == {"stuck": "no answer within 0.05 s"}
        assert sorted(asked) == ["one", "one", "stuck", "two", "two"]
        asked.append("end")

    asyncio.run(main())


def test_who_goes_away_does_not_end_the_round_for_the_others() -> None:
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "away"

    pings, checks = asking({"db": slow})

    async def main() -> None:
        first = asyncio.create_task(pings.reasons(checks))
        second = asyncio.create_task(pings.reasons(checks))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait({first})
        release.set()
        assert await second == {"db": "away"}

    asyncio.run(main())


def test_another_loop_asks_anew() -> None:
    check = Check()
    pings, checks = asking({"db": check})
    for _ in range(2):
        asyncio.run(_ask_once(pings, checks))
    assert check.asked == 2


async def _ask_once(pings: Pings, checks: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
    await pings.reasons(checks)
