"""A console over an assembled application: what it shows, what it orders, what it never tells."""

import asyncio
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import text as sql_text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.testclient import TestClient

import assembler
from assembler.runtime.operations.facade import Operations
from tests.assembler.command import run

PARTS = "tests.integration.console_parts"
CANARY = "canary-5up3r-s3cret"
TOKEN = "operations-token-of-24-ch"
OWN = {"origin": "http://127.0.0.1:8000"}
MANIFEST = f"""\
manifest: 1
app: {{title: Shop, version: "2.1"}}
resources:
  store: {{use: components.database.engine, with: {{url: "${{STORE_URL}}"}}}}
  away: {{use: {PARTS}.Broken, with: {{url: "https://u:${{CANARY}}@broken.example/?token=${{CANARY}}"}}, on_error: degrade}}
middleware:
  - {{id: metrics, use: components.metrics.MetricsMiddleware, with: {{exempt: ["/_assembly", "/_assembly/*"]}}}}
  - {{id: per-ip, use: components.middleware.rate_limit.RateLimitMiddleware, with: {{limit: 5/minute, exempt: ["/_assembly", "/_assembly/*"]}}}}
  - {{id: key, use: components.middleware.request_id.RequestIDMiddleware}}
routes:
  - {{use: {PARTS}.router, prefix: /api}}
  - {{mount: /inner, use: {PARTS}.inner, lazy: true}}
  - {{id: console, use: components.console.router, prefix: /_assembly, with: {{actions: true}}}}
scheduler:
  store: ${{resources.store}}
  jobs:
    - {{id: count, use: {PARTS}.count, cron: "0 4 1 1 *", with: {{file: "${{FILES}}/count"}}}}
    - {{id: flaky, use: {PARTS}.fail_once, cron: "0 4 1 1 *", with: {{file: "${{FILES}}/flaky", secret: "${{CANARY}}"}}}}
"""
ALONE = re.sub(r"  store: \$.*\n", "", MANIFEST)


@pytest.fixture
def start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., contextlib.AbstractContextManager[TestClient]]]:
    """Starts the service, any number of times over one database."""
    monkeypatch.setenv("STORE_URL", f"sqlite+aiosqlite:///{tmp_path}/store.db")
    monkeypatch.setenv("CANARY", CANARY)
    monkeypatch.setenv("FILES", str(tmp_path))

    @contextlib.contextmanager
    def started(text: str = MANIFEST) -> Iterator[TestClient]:
        path = tmp_path / "shop.yaml"
        path.write_text(text, "utf-8")
        app = assembler.build(assembler.load(path))
        with TestClient(
            app, "http://127.0.0.1:8000", client=("127.0.0.1", 5000), follow_redirects=False
        ) as client:
            yield client

    return started  # type: ignore[return-value]  # a fixture that yields nothing


def told(client: TestClient, name: str) -> Any:
    response = client.get(f"/_assembly/api/{name}")
    assert response.status_code == 200, response.text
    return response.json()


def order(client: TestClient, **said: Any) -> Any:
    response = client.post("/_assembly/api/orders", json=said, headers=OWN)
    assert response.status_code == 202, response.text
    return response.json()["order"]


def done(client: TestClient, id_: str) -> str:
    """What became of an order here, once it is known."""
    for _ in range(400):
        for each in told(client, "orders")["orders"]:
            if each["id"] == id_ and (what := next(iter(each["done"].values()), "")) not in {
                "",
                "begun",
            }:
                return str(what)
        client.portal.call(asyncio.sleep, 0.05)  # type: ignore[union-attr]  # it is started
    raise AssertionError("nothing became of it")


Start = Callable[..., contextlib.AbstractContextManager[TestClient]]


def test_what_runs_is_shown(start: Start) -> None:
    with start() as client:
        for id_ in (1, 2, 500, 3, 4, 5, 6):
            client.get(f"/api/things/{id_}")
        view = told(client, "overview")
        (instance,) = view["instances"]
        assert (instance["version"], instance["ready"], instance["state"]) == (
            "2.1",
            True,
            "started",
        )
        states = {each["id"]: each["state"] for each in view["resources"]}
        assert states == {"store": "open", "away": "degraded"}
        assert view["jobs"]["jobs"][0]["id"] == "count"
        assert view["lazy"][0]["processes"][0]["built"] is False
        trip = told(client, "explain")
        numbers = {layer["id"]: layer["figures"] for layer in trip["middleware"]}
        assert numbers["metrics"]["requests"] == 7
        assert numbers["metrics"]["errors"] == 1
        assert numbers["per-ip"] == {"admitted": 5, "refused": 2}
        assert numbers["key"] is None
        route = next(each for each in trip["routes"] if each["path"] == "/api/things/{id}")
        assert (route["figures"]["requests"], route["figures"]["errors"]) == (5, 1)
        assert route["figures"]["p99_milliseconds"] >= route["figures"]["p50_milliseconds"] > 0
        assert trip["figures"]["unrouted"]["(unrouted)"]["requests"] == 2
        (limit,) = told(client, "limits")["limits"]
        assert (limit["quota"], limit["period_seconds"]) == (5, 60)
        assert (limit["admitted"], limit["refused"]) == (5, 2)
        ((hash_, number),) = [(each["hash"], each["refused"]) for each in limit["refused_keys"]]
        assert number == 2
        assert re.fullmatch(r"[0-9a-f]{12}", hash_)
        options = {each["path"]: each for each in told(client, "options")["options"]}
        url = options["resources.store.with.url"]
        assert url["value"] == '"${STORE_URL}"'
        assert (url["file"].rpartition("/")[2], url["line"]) == ("shop.yaml", 4)
        steps = told(client, "start")["steps"]
        assert [step["id"] for step in steps][:2] == ["store", "away"]
        begun = [step["began"] for step in steps]
        assert begun == sorted(begun)
        assert begun[0] >= 0


def test_without_metrics_nothing_is_made_up(start: Start) -> None:
    text = "".join(
        line for line in MANIFEST.splitlines(keepends=True) if "MetricsMiddleware" not in line
    )
    with start(text) as client:
        client.get("/api/things/1")
        trip = told(client, "explain")
        assert {layer["figures"] and 1 for layer in trip["middleware"]} == {None}
        assert {route["figures"] and 1 for route in trip["routes"]} == {None}
        assert told(client, "limits")["limits"][0]["admitted"] is None
        assert "not measured" in client.get("/_assembly/explain").text
        assert "not measured" in client.get("/_assembly/limits").text


@pytest.mark.parametrize("text", [MANIFEST, ALONE], ids=["sqlite", "memory"])
def test_orders_are_carried_out_and_written_down(start: Start, tmp_path: Path, text: str) -> None:
    with start(text) as client:
        run_ = order(client, kind="run", target="count")
        assert done(client, run_["id"]) == "ok"
        assert (tmp_path / "count").read_text("utf-8") == "run\n"
        failed = order(client, kind="run", target="flaky")
        assert done(client, failed["id"]) == "failed"
        (bad,) = told(client, "runs?job=flaky&state=failures")["runs"]
        assert CANARY not in bad["error"]
        again = order(client, kind="retry", target=bad["run_id"])
        assert done(client, again["id"]) == "ok"
        attempts = [
            (each["attempt"], each["outcome"]) for each in told(client, "runs?job=flaky")["runs"]
        ]
        assert attempts == [(2, "ok"), (1, "failed")]
        opened = order(client, kind="open", target="/inner")
        assert done(client, opened["id"]) == "carried out"
        level = order(client, kind="level", target="assembler.job", value="DEBUG", minutes=1)
        change = {each["name"]: each["change"] for each in told(client, "loggers")["loggers"]}
        assert change["assembler.job"]["level"] == "DEBUG"
        given = told(client, "orders")["orders"]
        assert sorted(each["kind"] for each in given) == ["level", "open", "retry", "run", "run"]
        given.sort(key=lambda each: each["kind"] != "level")
        assert {each["actor"] for each in given} == {"local"}
        assert given[0]["until_ms"] - given[0]["at_ms"] == 60_000
        assert level["stands"]
        assert "job=flaky" in client.get("/_assembly").text


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"kind": "run", "target": "nobody"}, "no job is called `nobody`"),
        ({"kind": "pause", "target": ""}, "no job is called ``"),
        ({"kind": "retry", "target": "nobody"}, "there is no such run"),
        ({"kind": "open", "target": "/else"}, "no lazy mount is called `/else`"),
        ({"kind": "level", "target": "nobody.at.all", "value": "INFO"}, "no logger is called"),
        ({"kind": "level", "target": "root", "value": "LOUD", "minutes": 5}, "a level is one of"),
        ({"kind": "level", "target": "root", "value": "INFO"}, "a level lasts for a time"),
        ({"kind": "level", "target": "root", "value": "INFO", "minutes": 9999}, "at most 24 hours"),
        ({"kind": "level", "target": "root", "value": "INFO", "minutes": "²"}, "at most 24 hours"),
        ({"kind": "erase", "target": "count"}, "no order is called `erase`"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(start: Start, said: Any, why: str) -> None:
    with start() as client:
        response = client.post("/_assembly/api/orders", json=said, headers=OWN)
        assert response.status_code == 422
        assert why in response.json()["error"]
        assert told(client, "orders")["orders"] == []


def test_a_pause_holds_over_a_restart(start: Start, tmp_path: Path) -> None:
    with start() as client:
        order(client, kind="pause", target="count")
        (job, _) = told(client, "jobs")["jobs"]
        assert job["paused"]["by"] == "local"
    with start() as client:
        (job, other) = told(client, "jobs")["jobs"]
        assert job["paused"] is not None
        assert other["paused"] is None
        jobs = client.app.state.assembly.jobs  # type: ignore[attr-defined]  # of FastAPI

        async def tick() -> str:
            jobs.due("count", [jobs.jobs["count"].schedule.latest(jobs._now())])
            (task,) = jobs._tasks
            return str((await task).outcome)

        assert client.portal.call(tick) == "paused"  # type: ignore[union-attr]  # it is started
        order(client, kind="run", target="count")  # by hand it runs all the same
        order(client, kind="resume", target="count")
        assert told(client, "jobs")["jobs"][0]["paused"] is None
    path = str(tmp_path / "shop.yaml")
    with start() as client:
        order(client, kind="pause", target="count")
    asked = run("run-job", path, "count", "--at", "2026-01-01T04:00:00+00:00", folder=tmp_path)
    assert (asked.status, "an operator has paused" in asked.out) == (0, True)


def test_no_secret_is_told(start: Start, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with start() as client:
        failed = order(client, kind="run", target="flaky")
        assert done(client, failed["id"]) == "failed"
        seen = []
        for page in (
            "",
            "explain",
            "runs?job=flaky",
            "limits",
            "start",
            "options",
            "loggers",
            "orders",
        ):
            seen.append(client.get(f"/_assembly/{page}").text)
            name = page or "overview"
            seen.append(client.get(f"/_assembly/api/{name}").text)
        operations: Operations = client.app.state.assembly.operations  # type: ignore[attr-defined]  # of FastAPI
        seen.append(json.dumps(client.portal.call(operations.this_instance)))  # type: ignore[union-attr]  # started
        seen.append(json.dumps(operations.own_figures()))
        page = "".join(seen)
        assert "nobody answers at" in page  # so that the text of errors is among it
        assert "cannot reach" in page
        assert CANARY not in page
        assert str(tmp_path / "store.db") not in page
    assert CANARY not in caplog.text


def test_no_layer_and_no_work_stand_on_the_path_of_requests(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stack(client: TestClient) -> list[str]:
        found, app = [], client.app.middleware_stack  # type: ignore[attr-defined]  # of FastAPI
        while app is not None:
            found.append(type(app).__name__)
            app = getattr(app, "app", None)
        return found

    plain = "".join(
        line for line in MANIFEST.splitlines(keepends=True) if "id: console" not in line
    )
    with start(plain) as client:
        without = stack(client)
        assert client.app.state.assembly.operations is None  # type: ignore[attr-defined]  # of FastAPI
    with start() as client:
        assert stack(client) == without
        with monkeypatch.context() as patch:
            for name in vars(Operations):
                if not name.startswith("__") and callable(getattr(Operations, name)):
                    patch.setattr(Operations, name, _forbidden)
            assert client.get("/api/things/1").json() == 1
            assert client.get("/api/nothing").status_code == 404


def _forbidden(*_: Any, **__: Any) -> Any:
    raise AssertionError("a request has called the console")


def test_an_order_is_seen_though_somebody_was_just_looking(start: Start) -> None:
    """What was read before it is kept for nobody who looks after it."""

    async def story(operations: Operations) -> Any:
        orders: Any = operations._orders
        read, may_go_on = asyncio.Event(), asyncio.Event()

        async def read_late(service: str) -> Any:
            found = await orders.open_orders(service)
            read.set()
            await may_go_on.wait()
            return found

        operations._orders = SimpleNamespace(open_orders=read_late, give=orders.give)
        looking = asyncio.create_task(operations.jobs())
        await read.wait()
        operations._orders = orders
        await operations.order("pause", "count", actor="Ann")
        may_go_on.set()
        await looking
        return await operations.jobs()

    with start() as client:
        assert client.portal is not None
        operations = client.app.state.assembly.operations  # type: ignore[attr-defined]  # of FastAPI
        (job, _) = client.portal.call(story, operations)["jobs"]
        assert job["paused"]["by"] == "Ann"


def test_a_store_that_goes_away_is_told_and_comes_back(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("assembler.runtime.operations.link._AWAY_SECONDS", 600.0)
    with start() as client:
        assert told(client, "overview")["store"]["away"] is None
        operations: Operations = client.app.state.assembly.operations  # type: ignore[attr-defined]  # of FastAPI
        store: Any = operations._store
        asked = store.instances

        async def away(service: str) -> Any:
            raise ConnectionRefusedError(f"no route to {CANARY}")

        store.instances = away
        operations._kept.clear()
        view = told(client, "overview")
        assert "no route to" in view["store"]["away"]
        assert CANARY not in view["store"]["away"]
        assert len(view["instances"]) == 1
        page = client.get("/_assembly")
        assert page.status_code == 200
        assert "The store does not answer" in page.text
        refused = client.post(
            "/_assembly/api/orders", json={"kind": "run", "target": "count"}, headers=OWN
        )
        assert refused.status_code == 503
        store.instances = asked
        operations._kept.clear()
        operations._link._ask_again = 0.0
        assert told(client, "overview")["store"]["away"] is None


def test_tables_of_an_earlier_version_are_brought_up(start: Start, tmp_path: Path) -> None:
    path = str(tmp_path / "shop.yaml")
    with start() as client:
        told(client, "orders")
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path}/store.db")

    async def change(*statements: str) -> None:
        async with engine.begin() as connection:
            for statement in statements:
                await connection.execute(sql_text(statement))
        await engine.dispose()

    asyncio.run(
        change(
            *("DROP TABLE assembler_orders", "DROP TABLE assembler_versions"),
            "DROP INDEX assembler_job_runs_states",
        )
    )
    shown = run("sql", path, folder=tmp_path)
    assert "the scheduler's tables  store  version 1 of 2, the rest is pending" in shown.out
    applied = run("sql", path, "--apply", "--format", "json", folder=tmp_path)
    assert applied.status == 0
    assert json.loads(applied.out)["tables"] == {
        "store": "store",
        "version": 2,
        "wanted": 2,
        "error": None,
    }
    with start() as client:
        assert order(client, kind="pause", target="count")["at_ms"] > 0
