"""Whatever fails and hangs, starts and stops keep their order."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import StartupError
from assembler.plan.load import Plan
from assembler.runtime import task
from assembler.runtime.hooks import Opening
from assembler.runtime.lifespan import Lifespan
from assembler.runtime.recorder import Running
from assembler.runtime.report import Assembly, Phase
from tests.assembler.sample_app.world import planned

SHORT = timedelta(milliseconds=5)
Way = Literal["well", "raises", "hangs"]
WAYS: st.SearchStrategy[Way] = st.sampled_from(["well", "well", "well", "raises", "hangs"])


@dataclass(frozen=True)
class Thing:
    """One thing to open and close, or to run: how it goes at both ends."""

    first: Way
    last: Way
    on_error: str


THINGS = st.lists(
    st.builds(Thing, first=WAYS, last=WAYS, on_error=st.sampled_from(["fail", "warn", "degrade"])),
    max_size=4,
)


class Play:
    """A lifespan of things that write down what happens to them."""

    def __init__(self, plan: Plan, **phases: list[Thing]) -> None:
        self.journal: list[str] = []
        self.well: dict[str, list[str]] = {}
        self.ends = False
        span = plan.document.root.span
        opened: dict[str, list[Opening]] = {}
        run: dict[str, list[Running]] = {}
        for name, phase in PHASES.items():
            for number, thing in enumerate(phases[name]):
                label = f"{name}{number}"
                if phase in {"startup", "shutdown"}:
                    way = thing.first
                    on_error = thing.on_error if phase == "startup" else "fail"
                    run.setdefault(name, []).append(
                        Running(label, phase, self.step(label, "ran", way), span, SHORT, on_error)
                    )
                else:
                    on_error = thing.on_error if phase == "resource" else "fail"
                    opening = Opening(
                        label,
                        phase,
                        self.step(label, "opened", thing.first),
                        self.step(label, "closed", thing.last),
                        span,
                        SHORT,
                        SHORT,
                        on_error,
                    )
                    opened.setdefault(name, []).append(opening)
        self.lifespan = Lifespan(
            plan,
            Assembly("m.yaml", "hash"),
            opened.get("resource", []),
            run.get("step", []),
            opened.get("mount", []),
            run.get("hook", []),
            opened.get("job", []),
            wait=lambda _: asyncio.Event().wait(),  # type: ignore[arg-type,return-value]  # never ends
        )

    def step(self, label: str, did: str, way: Way):  # type: ignore[no-untyped-def]  # a coroutine function
        async def run() -> None:
            self.journal.append(f"{label} {did}" if way == "well" else f"{label} {did}?")
            if way == "raises":
                raise ValueError(label)
            if way == "hangs":
                await asyncio.Event().wait()

        return run


PHASES: dict[str, Phase] = {
    "resource": "resource",
    "step": "startup",
    "mount": "mount",
    "job": "scheduler",
    "hook": "shutdown",
}


def expected(phases: dict[str, list[Thing]]) -> tuple[bool, list[str]]:
    """What the specification says: whether the start goes well, and the whole journal."""
    journal, opened = [], []
    is_up = True
    for name in ("resource", "step", "mount", "job"):
        for number, thing in enumerate(phases[name]):
            did = "ran" if name == "step" else "opened"
            is_well = thing.first == "well"
            journal.append(f"{name}{number} {did}{'' if is_well else '?'}")
            if is_well and name != "step":
                opened.append((name, number, thing))
            fails = name in {"mount", "job"} or thing.on_error == "fail"
            if not is_well and fails:
                is_up = False
                break
        if not is_up:
            break

    def close(which: list[tuple[str, int, Thing]]) -> list[str]:
        return [
            f"{name}{number} closed{'' if thing.last == 'well' else '?'}"
            for name, number, thing in reversed(which)
        ]

    if not is_up:
        return False, journal + close(opened)
    hooks = [
        f"hook{number} ran{'' if thing.first == 'well' else '?'}"
        for number, thing in enumerate(phases["hook"])
    ]
    jobs = [item for item in opened if item[0] == "job"]
    rest = [item for item in opened if item[0] != "job"]
    return True, journal + close(jobs) + hooks + close(rest)


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return planned(tmp_path_factory.mktemp("order"), "app: {title: order}")


@given(phases=st.fixed_dictionaries(dict.fromkeys(PHASES, THINGS)))
@settings(max_examples=60, deadline=None)
def test_order_holds_whatever_fails_and_hangs(plan: Plan, phases: dict[str, list[Thing]]) -> None:
    is_up, journal = expected(phases)
    play = Play(plan, **phases)

    async def main() -> None:
        for _ in range(2):  # the same one may start again
            play.journal.clear()
            try:
                await play.lifespan.start()
            except StartupError:
                assert not is_up
            else:
                assert is_up
                assert play.lifespan.assembly.ready
                await play.lifespan.stop()
            assert play.journal == journal
            assert len(play.lifespan.assembly.steps) == len(journal)
            assert asyncio.all_tasks() == {asyncio.current_task()}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_GRACE_SECONDS", 0.5)
        asyncio.run(main())


def test_phases_are_in_the_report(plan: Plan, tmp_path: Path) -> None:
    well = Thing("well", "well", "fail")
    play = Play(plan, **{name: [well] for name in PHASES})

    async def main() -> None:
        await play.lifespan.start()
        await play.lifespan.stop()

    asyncio.run(main())
    phases = [step.phase for step in play.lifespan.assembly.steps]
    assert phases[:5] == ["resource", "startup", "mount", "scheduler", "close"]
    assert phases[5:] == ["shutdown", "close", "close"]
