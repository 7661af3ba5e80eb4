"""A mount that is made on its first request: made once, owned by one task, never poisoned."""

import asyncio
import contextlib
import contextvars
import gc
import logging
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp
from starlette.websockets import WebSocketDisconnect

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from assembler.runtime import lazy_mount as lazy
from assembler.runtime.lazy_mount import LazyMount
from assembler.runtime.report import LazyState
from tests.assembler.project import project
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import Server, assembly_of, built, cycle, planned, until

TOLD = contextvars.ContextVar("TOLD", default="nothing")
LATE = """\
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route


def app(*, word: str = "hello", db: object = None) -> Starlette:
    async def show(request):
        return JSONResponse({"word": word, "db": str(db), "root": request.scope["root_path"]})

    return Starlette(routes=[Route("/", show), Route("/inner", show)])
"""


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with project(tmp_path, {"late_shop/__init__.py": "", "late_shop/web.py": LATE}) as path:
        yield path


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Factory:
    """Counts its calls; fails as often as it is told; each application notes its lifespan."""

    def __init__(self, fails: int = 0, *, gate: threading.Event | None = None) -> None:
        self.fails = fails
        self.gate = gate
        self.calls = 0
        self.notes: list[Any] = []
        self.entered = threading.Event()

    def __call__(self) -> ASGIApp:
        self.calls += 1
        number = self.calls
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(20)
        if number <= self.fails:
            raise RuntimeError("the password is hunter2")

        @asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
            self.notes.append(("in", number, asyncio.current_task(), TOLD.get()))
            yield {"own": f"state of {number}"}
            self.notes.append(("out", number, asyncio.current_task(), TOLD.get()))

        async def show(request: Request) -> PlainTextResponse:
            return PlainTextResponse(f"app {number}, {request.state.own}")

        return Starlette(routes=[Route("/", show)], lifespan=lifespan)

    @property
    def steps(self) -> list[tuple[str, int]]:
        return [(note[0], note[1]) for note in self.notes]


def mounted(factory: Callable[[], ASGIApp], **options: Any) -> tuple[LazyMount, LazyState]:
    report = LazyState("/late", "shop.web.app")
    return LazyMount(factory, {}, report, **options), report


async def ask(mount: LazyMount, scope: dict[str, Any] | None = None) -> str:
    """The body of the answer, or the refusal."""
    body: list[bytes] = []

    async def send(message: Any) -> None:
        body.append(message.get("body", b""))

    base = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    try:
        await mount({**base, **(scope or {})}, _nothing_more, send)
    except HTTPException as error:
        return f"{error.status_code} after {(error.headers or {}).get('Retry-After')}"
    return b"".join(body).decode()


async def _nothing_more() -> Any:
    await asyncio.Event().wait()


# What is imported, and when


def test_what_a_lazy_mount_names_is_imported_by_the_first_request(folder: Path) -> None:
    text = """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes:
          - {use: $parts.api.router}
          - {mount: /late, use: late_shop.web.app, lazy: true, with: {word: ho, db: "${resources.db}"}}
        """
    app = built(folder, text)
    with TestClient(app) as client:
        assert client.get("/hello").status_code == 200
        assert client.get("/latest").status_code == 404
        assert "late_shop" not in sys.modules
        [report] = assembly_of(app).lazy.values()
        assert (report.id, report.use, report.built) == ("/late", "late_shop.web.app", False)
        for path in ("/late", "/late/", "/late/inner"):
            answer = client.get(path, follow_redirects=False).json()
            assert answer == {"word": "ho", "db": "<db>", "root": "/late"}
        assert client.head("/late").status_code == 200
        assert (report.built, report.builds, report.failures) == (True, 1, 0)
        assert report.milliseconds is not None
        assert report.milliseconds > 0
        assert assembly_of(app).as_dict()["lazy"][0]["builds"] == 1
    assert report.built is False


def test_a_lazy_mount_knows_the_root_path_of_the_application(folder: Path) -> None:
    text = (
        "app: {root_path: /api}\nroutes: [{mount: /late, use: late_shop.web.app, lazy: 1 == 1}]"
    ).replace("1 == 1", "true")
    with TestClient(built(folder, text)) as client:
        for path in ("/late", "/api/late/"):
            assert client.get(path).json()["root"] == "/api/late"


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("use: late_shop.wep.app", "module-not-found"),
        ("use: late_shop.web.ap", "attribute-not-found"),
        ("use: late_shop.web.app, with: {wort: ho}", "unknown-option"),
        ("use: late_shop.web.app, with: {word: 5}", "bad-value"),
        ("use: late_shop.web.LATE", "attribute-not-found"),
    ],
)
def test_check_tells_at_once_what_a_first_request_would_have_found(
    folder: Path, entry: str, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    text = f"routes: [{{mount: /late, lazy: true, {entry}}}]"
    app = built(folder, text)
    with pytest.raises(ManifestError) as caught:
        load(folder / "manifest.yaml", environment={}, lazy=False)
    assert [item.code for item in caught.value.diagnostics] == [code]
    with TestClient(app) as client:
        answer = client.get("/late")
        assert (answer.status_code, answer.json()) == (503, {"detail": "Service Unavailable"})
        assert answer.headers["retry-after"] == "1"
    [record] = [item for item in caplog.records if item.levelno == logging.ERROR]
    assert f"error[{code}]" in record.getMessage()
    assert "manifest.yaml:2:" in record.getMessage()
    [report] = assembly_of(app).lazy.values()
    assert report.failures == 1
    assert report.error == caught.value.diagnostics[0].message


def test_the_import_list_holds_for_lazy_mounts_at_the_start_and_late(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "pyproject.toml").write_text('[tool.assembler]\nimports = ["late_shop"]\n')
    (folder / "late_shop" / "alias.py").write_text("from os import system as app\n")
    with pytest.raises(ManifestError) as caught:
        planned(folder, "routes: [{mount: /x, use: os.system, lazy: true}]")
    assert caught.value.diagnostics[0].code == "import-not-allowed"
    app = built(folder, "routes: [{mount: /x, use: late_shop.alias.app, lazy: true}]")
    with TestClient(app) as client:
        assert client.get("/x").status_code == 503
    assert "import-not-allowed" in caplog.text


def test_a_secret_is_not_in_what_a_failing_factory_leaves_behind(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "late_shop" / "bad.py").write_text(
        "def app(*, key: str) -> object:\n    raise RuntimeError('no such key: ' + key)\n"
    )
    text = "routes: [{mount: /x, use: late_shop.bad.app, lazy: true, with: {key: '${KEY}'}}]"
    app = build(planned(folder, text, {"KEY": "hunter2hunter2"}))
    with TestClient(app) as client:
        assert "hunter2" not in client.get("/x").text
    [report] = assembly_of(app).lazy.values()
    assert "no such key: ${KEY}" in str(report.error)
    assert "no such key: ${KEY}" in caplog.text
    assert "hunter2" not in caplog.text


# One making for all who wait


def test_200_first_requests_at_once_are_one_making_and_all_answered(folder: Path) -> None:
    (folder / "late_shop" / "slow.py").write_text(
        "import time\nimport late_shop.web\nCALLS = []\n\n\n"
        "def app() -> object:\n"
        "    CALLS.append(1)\n    time.sleep(0.2)\n    return late_shop.web.app()\n"
    )
    app = built(folder, "routes: [{mount: /late, use: late_shop.slow.app, lazy: true}]")

    async def run() -> list[int]:
        server = Server(app)
        await server.start()
        transport = httpx2.ASGITransport(app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            answers = await asyncio.gather(*(client.get("/late") for _ in range(200)))
        await server.stop()
        return [answer.status_code for answer in answers]

    assert asyncio.run(run()) == [200] * 200
    assert sys.modules["late_shop.slow"].CALLS == [1]
    assert assembly_of(app).lazy["/late"].builds == 1


def test_a_failing_factory_with_50_waiting_is_one_attempt_and_50_refusals(
    caplog: pytest.LogCaptureFixture,
) -> None:
    factory, clock = Factory(fails=2), Clock()

    async def run() -> None:
        mount, report = mounted(factory, clock=clock)
        await mount.open()
        answers = await asyncio.gather(*(ask(mount) for _ in range(50)))
        assert answers == ["503 after 1"] * 50
        assert factory.calls == 1
        assert await ask(mount) == "503 after 1"  # within the pause nothing is tried
        assert (factory.calls, report.failures, report.built) == (1, 1, False)
        clock.now += 1
        assert await ask(mount) == "503 after 2"  # the pause doubles
        clock.now += 1.5
        assert await ask(mount) == "503 after 1"
        assert factory.calls == 2
        clock.now += 1
        assert await ask(mount) == "app 3, state of 3"
        assert (report.builds, report.failures, report.error) == (1, 2, None)
        await mount.aclose()

    asyncio.run(run())
    assert caplog.text.count("RuntimeError: the password is hunter2") == 2
    assert "tests/assembler/runtime/test_lazy_mount.py:" in caplog.text  # the line that raised it
    assert factory.steps == [("in", 3), ("out", 3)]


def test_the_pause_between_attempts_ends_at_a_minute() -> None:
    factory, clock = Factory(fails=20), Clock()

    async def run() -> None:
        mount, _ = mounted(factory, clock=clock)
        await mount.open()
        pauses = []
        for _ in range(9):
            pauses.append(await ask(mount))
            clock.now += 61
        assert [pause.removeprefix("503 after ") for pause in pauses] == [
            *("1", "2", "4", "8", "16", "32"),
            *("60", "60", "60"),
        ]
        await mount.aclose()

    asyncio.run(run())


def test_a_client_that_goes_away_does_not_end_the_making() -> None:
    gate = threading.Event()
    factory = Factory(gate=gate)

    async def run() -> None:
        mount, report = mounted(factory)
        await mount.open()
        first = asyncio.create_task(ask(mount))
        await until(factory.entered.is_set)
        first.cancel()
        await asyncio.wait({first})
        assert first.cancelled()
        assert report.building
        second = asyncio.create_task(ask(mount))
        gate.set()
        assert await second == "app 1, state of 1"
        assert factory.calls == 1
        await mount.aclose()

    asyncio.run(run())


# The owner of the lifespan


def test_one_task_with_a_clean_context_enters_and_leaves_each_lifespan() -> None:
    factory = Factory()

    async def first_request(mount: LazyMount) -> str:
        TOLD.set("a secret of the request")
        return await ask(mount)

    async def run() -> None:
        mount, report = mounted(factory)
        TOLD.set("something of the server")
        for number in range(1, 21):
            await mount.open()
            assert await asyncio.create_task(first_request(mount)) == (
                f"app {number}, state of {number}"
            )
            await mount.aclose()
            assert await ask(mount) == "503 after 1"  # closed, and not opened again
        assert (report.builds, report.built) == (20, False)

    asyncio.run(run())
    for number in range(1, 21):
        entered, left = (note for note in factory.notes if note[1] == number)
        assert (entered[0], left[0]) == ("in", "out")
        assert entered[2] is left[2]
        assert entered[3] == left[3] == "nothing"


def test_no_full_collection_falls_into_the_making_and_others_freezes_stay() -> None:
    before = gc.get_threshold()
    during: list[tuple[int, int, int]] = []

    def make() -> ASGIApp:
        during.append(gc.get_threshold())
        return Factory()()

    async def run() -> None:
        mounts = [mounted(make)[0] for _ in range(3)]
        for mount in mounts:
            await mount.open()
        await asyncio.gather(*map(ask, mounts))
        assert gc.get_threshold() == before
        for mount in mounts:
            await mount.aclose()

    gc.freeze()
    try:
        count = gc.get_freeze_count()
        asyncio.run(run())
        assert count > 10_000
        assert gc.get_freeze_count() >= count * 0.9  # less what was freed meanwhile
    finally:
        gc.unfreeze()
    assert [each[:2] for each in during] == [before[:2]] * 3
    assert all(each[2] > 1_000_000 for each in during)
    assert gc.get_threshold() == before


def test_a_mount_that_nobody_asked_for_is_closed_without_being_made() -> None:
    factory = Factory()

    async def run() -> None:
        mount, _ = mounted(factory)
        for _ in range(3):
            await mount.open()
            await mount.aclose()

    asyncio.run(run())
    assert factory.calls == 0


def test_a_stop_during_the_making_is_quick_and_refuses_who_waits() -> None:
    gate = threading.Event()
    factory = Factory(gate=gate)

    async def run() -> None:
        mount, report = mounted(factory)
        await mount.open()
        waiting = [asyncio.create_task(ask(mount)) for _ in range(3)]
        await until(factory.entered.is_set)
        async with asyncio.timeout(15):
            await mount.aclose()
        assert [await task for task in waiting] == ["503 after 1"] * 3
        assert not report.building
        gate.set()
        await mount.open()
        assert await ask(mount) == "app 2, state of 2"
        await mount.aclose()

    asyncio.run(run())
    assert factory.steps == [("in", 2), ("out", 2)]


def test_a_stop_before_the_making_has_begun_leaves_nobody_waiting() -> None:
    factory = Factory()

    async def run() -> None:
        mount, _ = mounted(factory)
        for pauses in range(4):
            await mount.open()
            waiting = asyncio.create_task(ask(mount))
            for _ in range(pauses):
                await asyncio.sleep(0)
            await mount.aclose()
            async with asyncio.timeout(15):
                assert await waiting == "503 after 1"

    asyncio.run(run())


def test_who_waits_is_refused_when_the_service_is_told_to_stop() -> None:
    gate = threading.Event()
    factory, ready = Factory(gate=gate), [True]

    async def run() -> None:
        mount, report = mounted(factory, is_ready=lambda: ready[0])
        await mount.open()
        waiting = asyncio.create_task(ask(mount))
        await until(factory.entered.is_set)
        ready[0] = False
        assert await waiting == "503 after 1"
        late = asyncio.create_task(ask(mount))  # while it drains, what can be served is
        gate.set()
        assert await late == "app 1, state of 1"
        assert report.builds == 1
        await mount.aclose()

    asyncio.run(run())


def test_a_stop_while_the_inner_lifespan_starts_is_quick_and_unwinds_it() -> None:
    ended: list[str] = []

    @asynccontextmanager
    async def hanging(app: Any) -> AsyncIterator[None]:
        try:
            ended.append("in")
            await asyncio.Event().wait()
            yield
        finally:
            ended.append("unwound")

    async def run() -> None:
        mount, _ = mounted(lambda: Starlette(lifespan=hanging))
        await mount.open()
        waiting = asyncio.create_task(ask(mount))
        await until(lambda: bool(ended))
        async with asyncio.timeout(15):
            await mount.aclose()
        assert await waiting == "503 after 1"
        await until(lambda: ended == ["in", "unwound"])

    asyncio.run(run())


def test_a_factory_that_hangs_is_given_up_after_a_time_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lazy, "_LIMIT", timedelta(milliseconds=50))
    gate = threading.Event()
    factory, clock = Factory(gate=gate), Clock()

    async def run() -> None:
        mount, report = mounted(factory, clock=clock)
        await mount.open()
        assert await ask(mount) == "503 after 1"
        assert report.error == "took longer than its timeout of 50ms"
        gate.set()
        clock.now += 1
        assert await ask(mount) == "app 2, state of 2"
        await mount.aclose()

    asyncio.run(run())


def test_an_inner_lifespan_that_fails_is_a_failed_making(folder: Path) -> None:
    text = "routes: [{mount: /x, use: $parts.api.broken_app, lazy: true}]"
    app = built(folder, text)
    with TestClient(app) as client:
        assert client.get("/x").status_code == 503
    report = assembly_of(app).lazy["/x"]
    assert (report.failures, report.error) == (1, "RuntimeError: no such table")
    assert {step.outcome for step in assembly_of(app).steps} == {"ok"}


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), StopIteration("x")])
def test_a_factory_that_wants_to_end_the_process_has_only_failed(raised: BaseException) -> None:
    def factory() -> ASGIApp:
        raise raised

    async def run() -> None:
        mount, report = mounted(factory)
        await mount.open()
        assert await ask(mount) == "503 after 1"
        assert report.failures == 1
        await mount.aclose()

    asyncio.run(run())


def test_a_failure_to_stop_is_recorded_and_keeps_nothing_else(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes: [{mount: /x, use: $parts.api.SeesShared, lazy: true, with: {fails: stop}}]
        """,
    )
    with TestClient(app) as client:
        assert client.get("/x").json() == {"db": "<db>"}
    errors = {step.id: step.error for step in assembly_of(app).steps if step.phase == "close"}
    assert errors == {"/x": "could not stop", "routers": None, "db": None}
    assert events[-1] == "db closed"


# Warming up


def test_warmup_makes_the_application_in_the_background() -> None:
    factory = Factory()

    async def run() -> None:
        mount, report = mounted(factory, warmup=True)
        await mount.open()
        assert not report.built
        await until(lambda: report.built)
        assert await ask(mount) == "app 1, state of 1"
        await mount.aclose()

    asyncio.run(run())


def test_a_warmup_that_fails_ends_no_start(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        routes:
          - {mount: /x, use: $parts.api.broken_app, lazy: true, warmup: true}
          - {use: $parts.api.router}
        """,
    )

    async def run() -> None:
        server = Server(app)
        assert (await server.start())["type"] == "lifespan.startup.complete"
        await until(lambda: assembly_of(app).lazy["/x"].failures == 1)
        assert assembly_of(app).ready
        await server.stop()

    asyncio.run(run())


def test_lazy_mounts_warm_up_when_all_else_is_open(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        routes:
          - {mount: /a, use: $parts.api.starlette_app, lazy: true, warmup: true}
          - {mount: /b, use: $parts.api.starlette_app, with: {name: eager}}
        """,
    )
    asyncio.run(cycle(app))
    steps = [step.id for step in assembly_of(app).steps if step.phase == "mount"]
    assert steps == ["/b", "/a"]


# Websockets, and servers without lifespans


def test_a_websocket_can_be_the_first_request(tmp_path: Path) -> None:
    app = built(tmp_path, "routes: [{mount: /ws, use: $parts.api.starlette_app, lazy: true}]")
    with TestClient(app) as client:
        for path in ("/ws", "/ws/"):
            with client.websocket_connect(path) as socket:
                assert socket.receive_json() == {"path": "/ws/", "root_path": "/ws"}


def test_a_websocket_is_refused_while_the_application_cannot_be_made(tmp_path: Path) -> None:
    app = built(tmp_path, "routes: [{mount: /ws, use: $parts.api.broken_app, lazy: true}]")
    with TestClient(app) as client:
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect("/ws"),
        ):
            pass
        assert denied.value.status_code == 503
        assert denied.value.headers["retry-after"] == "1"

        async def without_extension(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "extensions": {}}, receive, send)

        with (
            pytest.raises(WebSocketDisconnect) as closed,
            TestClient(without_extension).websocket_connect("/ws"),
        ):
            pass
        assert closed.value.code == 1013


def test_without_a_lifespan_the_first_request_of_each_loop_makes_the_application() -> None:
    factory = Factory()
    mount, report = mounted(factory)

    async def run() -> list[str]:
        return list(await asyncio.gather(*(ask(mount) for _ in range(5))))

    assert asyncio.run(run()) == ["app 1, state of 1"] * 5
    assert not report.built
    assert asyncio.run(run()) == ["app 2, state of 2"] * 5


def test_other_scopes_are_refused(tmp_path: Path) -> None:
    async def run() -> None:
        mount, _ = mounted(Factory())
        with pytest.raises(RuntimeError, match="serves no scope of type 'lifespan'"):
            await mount({"type": "lifespan"}, _nothing_more, _nothing_sent)

    asyncio.run(run())


async def _nothing_sent(message: Any) -> None:
    raise AssertionError(message)


def test_what_a_test_gives_in_place_of_a_resource_reaches_a_lazy_mount(folder: Path) -> None:
    text = """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes: [{mount: /late, use: late_shop.web.app, lazy: true, with: {db: "${resources.db}"}}]
        """
    app: FastAPI = built(folder, text, db="mine")
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(TestClient(app))
        assert client.get("/late").json()["db"] == "mine"
