"""The start and the stop of built applications, driven as a server drives them."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.diagnostics.errors import StartupError
from assembler.runtime import report, task
from assembler.runtime.hooks import Opening
from assembler.runtime.report import Step
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.steps import Collapsing, Entered
from tests.assembler.sample_app.world import (
    Server,
    assembly_of,
    built,
    cycle,
    failing_start,
    lifespan_of,
    planned,
    until,
)


@pytest.fixture(autouse=True)
def _empty_journal_and_short_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    events.clear()
    monkeypatch.setattr(task, "_GRACE_SECONDS", 0.02)


def steps_of(app: FastAPI) -> list[tuple[str, str, str]]:
    return [(step.phase, step.id, step.outcome) for step in assembly_of(app).steps]


def step_of(app: FastAPI, phase: str, name: str) -> Step:
    steps = assembly_of(app).steps
    [found] = [step for step in steps if (step.phase, step.id) == (phase, name)]
    return found


THREE = """
    resources:
      one: {use: $parts.steps.Entered, with: {name: one}}
      two: {use: $parts.steps.Entered, with: {name: two}}
      three: {use: $parts.steps.Entered, with: {name: three}}
    startup:
      - {id: first, use: $parts.steps.say, with: {word: first}}
      - {id: second, use: $parts.steps.say_in_thread, with: {word: second}}
    shutdown:
      - {id: last, use: $parts.steps.say, with: {word: last}}
      - {id: very-last, use: $parts.steps.say_in_thread, with: {word: very last}}
"""


def test_opening_is_in_order_and_closing_in_reverse(tmp_path: Path) -> None:
    app = built(tmp_path, THREE)
    asyncio.run(cycle(app))
    assert events == [
        *("one opened", "two opened", "three opened"),
        *("first", "second in assembler-step"),
        *("last", "very last in assembler-step"),
        *("three closed", "two closed", "one closed"),
    ]


def test_who_waits_for_the_start_is_told_each_step_before_it_runs(tmp_path: Path) -> None:
    app = built(tmp_path, THREE)
    lifespan_of(app).reached = events.append
    asyncio.run(cycle(app))
    assert events[:6] == [
        *("resource `one`", "one opened", "resource `two`", "two opened"),
        *("resource `three`", "three opened"),
    ]
    assert events[6:11] == [
        *("startup `first`", "first", "startup `second`", "second in assembler-step"),
        "router `routers`",
    ]


def test_what_works_by_itself_is_entered_last_and_left_before_the_hooks(tmp_path: Path) -> None:
    app = built(tmp_path, THREE)
    lifespan = lifespan_of(app)
    for name in ("jobs", "consumer"):
        thing = Entered(name=name)
        span = lifespan.inner[0].span
        opening = Opening(name, "scheduler", thing.__aenter__, thing.__aexit__, span)
        lifespan.running.append(opening)
    asyncio.run(cycle(app))
    assert events[4:10] == [
        *("second in assembler-step", "jobs opened", "consumer opened"),
        *("consumer closed", "jobs closed", "last"),
    ]


def test_the_report_has_every_step_with_its_time(tmp_path: Path) -> None:
    app = built(tmp_path, THREE)
    asyncio.run(cycle(app))
    assert steps_of(app) == [
        *(("resource", name, "ok") for name in ("one", "two", "three")),
        *(("startup", name, "ok") for name in ("first", "second")),
        ("router", "routers", "ok"),
        *(("shutdown", name, "ok") for name in ("last", "very-last")),
        *(("close", name, "ok") for name in ("routers", "three", "two", "one")),
    ]
    assert all(step.milliseconds >= 0 and step.error is None for step in assembly_of(app).steps)


def test_the_application_is_ready_from_the_end_of_the_start_to_the_stop(tmp_path: Path) -> None:
    app = built(tmp_path, THREE)

    async def main() -> None:
        server = Server(app)
        assert not assembly_of(app).ready
        await server.start()
        assert assembly_of(app).ready
        assert str(server.state["one"]) == "<one>"
        await server.stop()
        assert not assembly_of(app).ready

    asyncio.run(main())


def test_a_failing_third_startup_step_closes_the_first_two_once_in_reverse(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          one: {use: $parts.steps.Entered, with: {name: one}}
          two: {use: $parts.steps.Entered, with: {name: two}}
          three: {use: $parts.steps.Entered, with: {name: three, fails: 1}}
        startup: [{use: $parts.steps.say}]
        shutdown: [{use: $parts.steps.say, with: {word: a hook}}]
        """,
    )
    message = asyncio.run(failing_start(app))
    assert events == [
        *("one opened", "two opened", "three fails to open"),
        *("two closed", "one closed"),
    ]
    assert message.startswith(
        "the start failed\nerror[startup-failed]: resource `three` failed: ConnectionError: cannot reach three\n"
    )
    assert "manifest.yaml:5:16" in message
    assert 'raise ConnectionError(f"cannot reach {self.url or self.name}")' in message
    assert "Traceback" not in message
    assert "assembler/lifespan.py" not in message
    assert not assembly_of(app).ready


def test_a_failed_start_raises_in_a_test_client(tmp_path: Path) -> None:
    app = built(tmp_path, "startup: [{id: step, use: $parts.steps.boom}]")
    with pytest.raises(StartupError, match="startup `step` failed: ValueError: boom"):
        TestClient(app).__enter__()


def test_hooks_do_not_run_after_a_failed_step(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        startup:
          - {use: $parts.steps.boom}
          - {use: $parts.steps.say}
        shutdown: [{use: $parts.steps.say}]
        """,
    )
    message = asyncio.run(failing_start(app))
    assert events == ["db opened", "raises boom", "db closed"]
    assert "startup `tests.assembler.sample_app.steps.boom` failed: ValueError: boom" in message


def test_an_application_may_start_after_it_failed_to(tmp_path: Path) -> None:
    app = built(
        tmp_path, "resources: {db: {use: $parts.steps.Entered, with: {name: db, fails: 1}}}"
    )
    asyncio.run(failing_start(app))
    asyncio.run(cycle(app))
    assert events == ["db fails to open", "db opened", "db closed"]
    assert [step.outcome for step in assembly_of(app).steps] == ["ok"] * 4


def test_a_start_that_fails_by_its_timeout_says_so(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        startup: [{id: slow, use: $parts.steps.hang, timeout: 20ms}]
        """,
    )
    message = asyncio.run(failing_start(app))
    first = "the start failed\nerror[startup-timeout]: startup `slow` took longer than its timeout of 20ms\n"
    assert message.startswith(first)
    assert steps_of(app)[-2:] == [("startup", "slow", "timeout"), ("close", "db", "ok")]


@pytest.mark.parametrize("use", ["quit_process", "quit_in_thread"])
def test_a_step_that_raises_system_exit_has_failed_and_all_is_unwound(
    tmp_path: Path, use: str
) -> None:
    app = built(
        tmp_path,
        f"""
        resources: {{db: {{use: $parts.steps.Entered, with: {{name: db}}}}}}
        startup: [{{id: step, use: $parts.steps.{use}}}]
        """,
    )
    message = asyncio.run(failing_start(app))
    assert "startup `step` failed: SystemExit: 7" in message
    assert events[-1] == "db closed"


@pytest.mark.parametrize(
    ("use", "told"),
    [("interrupt", "KeyboardInterrupt"), ("panic", "Panic"), ("panicking", "Panic")],
)
def test_a_step_that_raises_what_is_no_exception_has_failed_and_all_is_unwound(
    tmp_path: Path, use: str, told: str
) -> None:
    app = built(
        tmp_path,
        f"""
        resources: {{db: {{use: $parts.steps.Entered, with: {{name: db}}}}}}
        startup: [{{id: step, use: $parts.steps.{use}}}]
        """,
    )
    message = asyncio.run(failing_start(app))
    assert f"startup `step` failed: {told}" in message
    assert events[-1] == "db closed"


def test_a_mounted_application_that_wants_to_end_the_process_has_failed(tmp_path: Path) -> None:
    app = built(tmp_path, "routes: [{mount: /in, use: $parts.api.leaving_app}]")
    assert "mount `/in` failed: SystemExit: 7" in asyncio.run(failing_start(app))


def test_a_step_that_raises_stop_iteration_has_failed(tmp_path: Path) -> None:
    app = built(tmp_path, "startup: [{id: step, use: $parts.steps.stop_iteration}]")
    message = asyncio.run(failing_start(app))
    assert "startup `step` failed: StopIteration: no more" in message


def test_every_shutdown_step_runs_though_one_hangs_and_one_raises(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          db: {use: $parts.steps.Entered, with: {name: db}}
          slow: {use: $parts.steps.SlowToClose, close_timeout: 20ms}
          plain: {use: $parts.steps.FailsToClose}
          leaving: {use: $parts.steps.FailsToClose, with: {error: exit}}
          cancelling: {use: $parts.steps.FailsToClose, with: {error: cancel}}
        shutdown:
          - {use: $parts.steps.hang, timeout: 20ms}
          - {use: $parts.steps.boom}
          - {use: $parts.steps.quit_process}
          - {use: $parts.steps.block, timeout: 20ms}
          - {use: $parts.steps.say}
        """,
    )
    asyncio.run(cycle(app))
    assert events == [
        *("db opened", "hangs", "raises boom", "quits", "blocks", "said"),
        *("fails to close: cancel", "fails to close: exit", "fails to close: plain"),
        *("closing slowly", "db closed"),
    ]
    outcomes = {step.id.rpartition(".")[2]: step for step in assembly_of(app).steps[6:]}
    assert {name: (step.outcome, step.error) for name, step in outcomes.items()} == {
        "hang": ("timeout", "took longer than its timeout of 20ms"),
        "boom": ("failed", "ValueError: boom"),
        "quit_process": ("failed", "SystemExit: 7"),
        "block": ("timeout", "took longer than its timeout of 20ms"),
        "say": ("ok", None),
        "routers": ("ok", None),
        "cancelling": ("failed", "was cancelled"),
        "leaving": ("failed", "SystemExit: 4"),
        "plain": ("failed", "OSError: the peer is gone"),
        "slow": ("timeout", "took longer than its timeout of 20ms"),
        "db": ("ok", None),
    }


def test_a_hook_that_ignores_its_cancellation_is_abandoned(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        shutdown:
          - {id: stubborn, use: $parts.steps.ignore_cancellation, timeout: 20ms}
          - {use: $parts.steps.say}
        """,
    )

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        await cycle(app)

    asyncio.run(main())
    assert events == ["ignores", "ignored a cancellation", "said"]
    error = "took longer than its timeout of 20ms, and ignored its cancellation"
    assert step_of(app, "shutdown", "stubborn").error == error


def test_warn_logs_the_step_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    app = built(
        tmp_path,
        """
        resources: {cache: {use: $parts.steps.Entered, with: {name: cache, fails: 1}, on_error: warn}}
        startup:
          - {id: shaky, use: $parts.steps.boom, on_error: warn}
          - {use: $parts.steps.say}
        """,
    )
    with caplog.at_level(logging.INFO, "assembler"):
        asyncio.run(cycle(app))
    assert events == ["cache fails to open", "raises boom", "said"]  # and nothing to close
    assert step_of(app, "resource", "cache").outcome == "warned"
    assert step_of(app, "startup", "shaky").error == "ValueError: boom"
    assert assembly_of(app).degraded == {}
    [started] = [text for text in caplog.messages if text.startswith("started")]
    assert "warned" in started
    [record] = [record for record in caplog.records if record.getMessage() == started]
    assert record.levelno == logging.WARNING


def clock(turns: int) -> tuple[Callable[[float], Any], list[float]]:
    """A wait that passes `turns` times at once, and then for ever waits; and what it was asked."""
    asked: list[float] = []

    async def wait(seconds: float) -> None:
        asked.append(seconds)
        if len(asked) > turns:
            await asyncio.Event().wait()

    return wait, asked


def test_a_degraded_resource_comes_back_in_the_background_and_closes_in_its_place(
    tmp_path: Path,
) -> None:
    app = built(
        tmp_path,
        """
        resources:
          db: {use: $parts.steps.Entered, with: {name: db}}
          cache: {use: $parts.steps.Entered, with: {name: cache, fails: 3}, on_error: degrade}
          last: {use: $parts.steps.Entered, with: {name: last}}
        """,
    )
    lifespan_of(app).wait, asked = clock(3)

    async def main() -> None:
        server = Server(app)
        await server.start()
        assembly = assembly_of(app)
        assert assembly.ready
        assert assembly.degraded == {"cache": "ConnectionError: cannot reach cache"}
        await until(lambda: not assembly.degraded)
        await server.stop()

    asyncio.run(main())
    assert asked == [0.5, 1.0, 2.0]
    assert events == [
        *("db opened", "cache fails to open", "last opened"),
        *("cache fails to open", "cache fails to open", "cache opened"),
        *("last closed", "cache closed", "db closed"),
    ]
    assert step_of(app, "resource", "cache").outcome == "degraded"


def test_waits_between_retries_grow_to_half_a_minute(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        "resources: {cache: {use: $parts.steps.Entered, with: {fails: 99}, on_error: degrade}}",
    )
    lifespan_of(app).wait, asked = clock(8)

    async def main() -> None:
        server = Server(app)
        await server.start()
        await until(lambda: len(asked) == 9)
        await server.stop()

    asyncio.run(main())
    assert asked == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert "closed" not in " ".join(events)


def test_what_may_pass_is_tried_again_within_the_time_of_its_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, "resources: {db: {use: $parts.steps.Late, with: {fails: 7}}}")
    lifespan_of(app).wait, asked = clock(99)
    asyncio.run(cycle(app))
    assert events == [*["late fails to open"] * 7, "late opened", "late closed"]
    assert asked == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    awaited = [text for text in caplog.messages if "is awaited" in text]
    assert awaited == ["resource `db` is awaited: ConnectionRefusedError: [Errno 111] refused"]


def test_what_stays_away_fails_when_its_time_is_over(tmp_path: Path) -> None:
    app = built(
        tmp_path, "resources: {db: {use: $parts.steps.Late, with: {fails: 999}, timeout: 1s}}"
    )
    message = asyncio.run(failing_start(app))
    assert "resource `db` failed: ConnectionRefusedError" in message
    assert len(events) > 1


@pytest.mark.parametrize("on_error", ["degrade", "warn"])
def test_what_may_be_away_is_not_waited_for(tmp_path: Path, on_error: str) -> None:
    app = built(
        tmp_path,
        f"resources: {{db: {{use: $parts.steps.Late, with: {{fails: 1}}, on_error: {on_error}}}}}",
    )
    lifespan_of(app).wait, _ = clock(0)
    asyncio.run(cycle(app))
    assert events == ["late fails to open"]


def test_steps_of_the_stop_share_what_the_termination_grace_leaves(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          db: {use: $parts.steps.Entered, with: {name: db}}
          slow: {use: $parts.steps.SlowToClose, close_timeout: 10m}
        shutdown:
          - {id: first, use: $parts.steps.hang, timeout: 10m}
          - {id: second, use: $parts.steps.hang, timeout: 10ms}
        server: {termination_grace: 1400ms}
        """,
    )
    asyncio.run(cycle(app))
    assert events == ["db opened", "hangs", "hangs", "closing slowly", "db closed"]
    first, slow = step_of(app, "shutdown", "first"), step_of(app, "close", "slow")
    for step in (first, slow):
        assert step.outcome == "timeout"
        assert (step.error or "").endswith("that `termination_grace` left it")
        assert step.milliseconds < 20_000  # of ten minutes
    error = "took longer than its timeout of 10ms"
    assert step_of(app, "shutdown", "second").error == error


def test_the_states_of_an_application_follow_its_life(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db, fails: 1}}}
        """,
    )
    assembly = assembly_of(app)
    states = [assembly.state]
    asyncio.run(failing_start(app))
    states.append(assembly.state)

    async def main() -> None:
        server = Server(app)
        await server.start()
        states.append(assembly.state)
        await server.stop()
        states.append(assembly.state)

    asyncio.run(main())
    assert states == ["built", "failed", "started", "stopped"]


def test_a_degraded_step_is_reported_and_not_repeated(tmp_path: Path) -> None:
    app = built(tmp_path, "startup: [{id: warm, use: $parts.steps.boom, on_error: degrade}]")
    asyncio.run(cycle(app))
    assert events == ["raises boom"]
    assert assembly_of(app).degraded == {"warm": "ValueError: boom"}


def test_cancel_scopes_and_task_groups_live_in_one_task(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          one: {use: $parts.steps.Scoped}
          two: {use: $parts.steps.Scoped}
        """,
    )
    asyncio.run(cycle(app))
    assert events == ["scope left", "scope left"]
    assert {step.outcome for step in assembly_of(app).steps} == {"ok"}


def test_a_task_group_that_collapses_is_reported_at_the_stop(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          db: {use: $parts.steps.Entered, with: {name: db}}
          group: {use: $parts.steps.Collapsing}
        """,
    )

    async def main() -> None:
        server = Server(app)
        await server.start()
        group: Collapsing = server.state["group"]
        group.trigger.set()
        await server.stop()

    asyncio.run(main())
    assert events == ["db opened", "collapsed left", "db closed"]
    step = step_of(app, "close", "group")
    assert step.outcome == "failed"
    assert "ExceptionGroup" in (step.error or "")


def test_cancellation_during_the_start_unwinds(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          one: {use: $parts.steps.Entered, with: {name: one}}
          two: {use: $parts.steps.Entered, with: {name: two}}
        startup: [{use: $parts.steps.hang}]
        shutdown: [{use: $parts.steps.say}]
        """,
    )

    async def main() -> None:
        server = Server(app)
        server.begin()
        await until(lambda: "hangs" in events)
        assert server.task is not None
        server.task.cancel()
        await server.end()
        assert isinstance(server.ended, asyncio.CancelledError)

    asyncio.run(main())
    assert events == ["one opened", "two opened", "hangs", "two closed", "one closed"]


def test_cancellation_during_the_stop_still_closes_everything(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources:
          one: {use: $parts.steps.Entered, with: {name: one}}
          two: {use: $parts.steps.SlowToClose}
        shutdown: [{use: $parts.steps.hang}]
        """,
    )

    async def main() -> None:
        server = Server(app)
        await server.start()
        stopping = asyncio.create_task(server.stop())
        assert server.task is not None
        await until(lambda: "hangs" in events)
        server.task.cancel()
        await until(lambda: "closing slowly" in events)
        server.task.cancel()
        await server.end()
        stopping.cancel()
        assert isinstance(server.ended, asyncio.CancelledError)

    asyncio.run(main())
    assert events == ["one opened", "hangs", "closing slowly", "one closed"]


def test_each_object_is_opened_and_closed_by_the_methods_it_has(tmp_path: Path) -> None:
    expected = {
        "Entered": ["entered opened", "entered closed"],
        "Held": ["held entered in assembler-step", "held left"],
        "Both": ["both entered", "both left"],
        "Opened": ["open", "aclose"],
        "Connected": ["connect", "close"],
        "Started": ["start", "shutdown"],
        "Engine": ["dispose"],
        "Bare": [],
        "generator": ["generator in", "generator out"],
    }
    for name, wanted in expected.items():
        events.clear()
        asyncio.run(cycle(built(tmp_path, f"resources: {{it: {{use: $parts.steps.{name}}}}}")))
        assert (name, events) == (name, wanted)


def test_secrets_appear_in_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    plan = planned(
        tmp_path,
        """
        resources:
          db: {use: $parts.steps.Entered, with: {fails: 9, url: "${URL}"}, on_error: degrade}
        startup: [{use: $parts.steps.boom, with: {text: "bad ${TOKEN}"}}]
        """,
        {"URL": "postgres://user:pa55-word@db/x", "TOKEN": "t0ken-value"},
    )
    app = build(plan)
    lifespan_of(app).wait, _ = clock(0)
    message = asyncio.run(failing_start(app))
    assert "bad ${TOKEN}" in message
    assert assembly_of(app).degraded == {"db": "ConnectionError: cannot reach ${URL}"}
    shown = " ".join([message, *caplog.messages, str(assembly_of(app).as_dict())])
    assert "pa55" not in shown
    assert "t0ken" not in shown


def test_start_and_stop_are_logged_as_one_table_each(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, THREE)
    with caplog.at_level(logging.INFO, "assembler"):
        asyncio.run(cycle(app))
    started, stopped = [record for record in caplog.records if record.name == "assembler"]
    lines = started.getMessage().splitlines()
    assert lines[0].startswith("started ")
    assert [line.split()[:3] for line in lines[1:4]] == [
        ["resource", "one", "ok"],
        ["resource", "two", "ok"],
        ["resource", "three", "ok"],
    ]
    assert stopped.getMessage().startswith("stopped ")
    assert len(stopped.getMessage().splitlines()) == 7


def test_without_logging_the_table_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report.logger, "propagate", False)
    asyncio.run(cycle(built(tmp_path, THREE)))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("started ") == err.count("stopped ") == 1


def test_a_failed_start_is_logged_with_what_was_unwound(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        startup: [{id: step, use: $parts.steps.boom}]
        """,
    )
    asyncio.run(failing_start(app))
    [text] = caplog.messages
    assert text.startswith("failed to start ")
    assert [line.split()[:3] for line in text.splitlines()[1:]] == [
        ["resource", "db", "ok"],
        ["startup", "step", "failed"],
        ["close", "db", "ok"],
    ]


def test_a_given_resource_may_be_open_already(tmp_path: Path) -> None:
    text = "resources: {db: {use: $parts.steps.Entered, with: {fails: 9}}}"
    asyncio.run(cycle(built(tmp_path, text, db=Entered())))
    assert events == []
