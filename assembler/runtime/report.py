"""What happened at start and stop → `app.state.assembly`, one readable table, the log.

In: the outcome of each step as it ends. Out: an `Assembly` that pages, probes and tests read.
The words of errors have had their secrets taken out before they come here.
"""

import logging
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

logger = logging.getLogger("assembler")

Phase = Literal[
    "resource",
    "lifespan",
    "startup",
    "router",
    "mount",
    "scheduler",
    "background",
    "shutdown",
    "close",
]
State = Literal["built", "starting", "started", "draining", "stopping", "stopped", "failed"]
Outcome = Literal["ok", "skipped", "warned", "degraded", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start or the stop: its outcome, its time, and what went wrong.

    A statement of SQL has the id of its entry and a `label` of its own; `detail` says more of one
    that went well, such as why it was skipped; `began` is when it began, in milliseconds since the
    start or the stop that it is a step of.
    """

    id: str
    phase: Phase
    outcome: Outcome
    milliseconds: float
    error: str | None = None
    label: str | None = None
    detail: str | None = None
    began: float | None = None

    @property
    def name(self) -> str:
        """The id, and the label where there is one."""
        return named(self.id, self.label)


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step may return to say more than that it went well."""

    outcome: Literal["ok", "skipped"]
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """Asks a resource whether it answers: awaiting a call gives the reason where it does not.

    `critical` where the service is of no use without it.
    """

    ask: Callable[[], Awaitable[str | None]]
    critical: bool

    async def __call__(self) -> str | None:
        """Return None where the resource answers, else what it said, without secrets."""
        return await self.ask()


@dataclass(slots=True)
class LazyState:
    """What became of a mount that is made on its first request; `builds` and `failures` count up.

    `milliseconds` is what the last making took, imports and its lifespan's start included; `error`
    is why the last one failed, None where it went well.
    """

    id: str
    use: str
    built: bool = False
    building: bool = False
    builds: int = 0
    failures: int = 0
    milliseconds: float | None = None
    error: str | None = None


@dataclass(slots=True)
class LoopState:
    """What became of a loop of `background`; `crashes` count up, `error` is why the last one was.

    `status` is `built`, `running`, `waiting` for a restart, `standing by` while another process
    runs it, `ended` by itself, `crashed` for good, or `stopped`.
    """

    id: str
    status: str = "built"
    crashes: int = 0
    error: str | None = None


@dataclass(slots=True)
class Supervision:
    """What a process knows of the parent that started it.

    `digest` is that of the snapshot; `reloads` are how many there were by outcome, `ok` and
    `failed`; `last_reload` is what became of the last one, with `outcome`, `at` (ISO), `seconds`,
    `digest` and `text`; `holds_clock` while another process still runs jobs that no store shares.
    """

    digest: str
    reloads: dict[str, int] = field(default_factory=dict)
    last_reload: dict[str, Any] | None = None
    holds_clock: bool = False


@dataclass(slots=True)
class Assembly:
    """The state of one assembled application, from build to stop.

    `steps` are those of the last start and stop, in order; `state` goes from `built` by `starting`
    to `started`, by `draining` while it serves on after SIGTERM and `stopping` once the server ends,
    to `stopped`, or else to `failed`; `degraded` maps the ids of what could not be opened to the
    reason; `checks` ask open resources by id; `lazy` maps the ids of lazy mounts to what became of them.
    """

    manifest: str
    hash: str
    dispatch: str = ""
    steps: list[Step] = field(default_factory=list)
    state: State = "built"
    degraded: dict[str, str] = field(default_factory=dict)
    checks: dict[str, Check] = field(default_factory=dict, repr=False)
    lazy: dict[str, LazyState] = field(default_factory=dict)
    loops: dict[str, LoopState] = field(default_factory=dict)
    supervision: "Supervision | None" = None  # where a parent of ours started the process
    registry: Any = None  # what the process runs, for `drift`: `as_dict`, and `aclose` to withdraw
    jobs: Any = None  # what runs them: `tick`, `run_now`, and the `tally` of what became of them
    operations: Any = (
        None  # what operators see and order, where a router says `layer_role = "console"`
    )
    consoles: list[str] = field(default_factory=list)  # the prefixes of such routers
    lazy_mounts: dict[str, Any] = field(default_factory=dict, repr=False)  # by id: have `want`
    started_at: float | None = None  # seconds since the epoch, once it takes requests
    step_base: float = 0.0  # when the start or stop began, on the clock of `time.perf_counter`
    owners: dict[int, str] = field(default_factory=dict, repr=False)  # id(route) → id of its entry
    resources: Mapping[str, Any] = field(default_factory=dict, repr=False)  # objects by id

    @property
    def ready(self) -> bool:
        """True from the end of the start until the first signal, or the beginning of the stop."""
        return self.state == "started"

    def tell_resources(self, word: str, value: Any) -> None:
        """Call the method `word` of each resource that has one; what it raises is logged.

        A method of theirs returns at once: what takes time it does in a task of its own.
        """
        for id_, resource in self.resources.items():
            method = getattr(type(resource), word, None)
            if not callable(method):
                continue
            try:
                method(resource, value)
            except Exception as error:  # noqa: BLE001  # a resource may raise anything
                log(logging.WARNING, f"`{word}` of resource `{id_}`: {type(error).__name__}")

    @property
    def notes(self) -> dict[str, str]:
        """What resources say of themselves, by their ids, such as that one is off."""
        found = {id_: getattr(one, "status_note", None) for id_, one in self.resources.items()}
        return {id_: note for id_, note in found.items() if isinstance(note, str) and note}

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "manifest": self.manifest,
            "hash": self.hash,
            "dispatch": self.dispatch,
            "ready": self.ready,
            "state": self.state,
            "degraded": dict(self.degraded),
            "notes": self.notes,
            "lazy": [asdict(state) for state in self.lazy.values()],
            "background": [asdict(state) for state in self.loops.values()],
            "steps": [
                {
                    "id": step.id,
                    "phase": step.phase,
                    "outcome": step.outcome,
                    "milliseconds": step.milliseconds,
                    "error": step.error,
                    "label": step.label,
                    "detail": step.detail,
                    "began": step.began,
                }
                for step in self.steps
            ],
            "instance": None if self.registry is None else self.registry.as_dict(),
            "jobs": None if self.jobs is None else self.jobs.as_dict(),
        }


def named(id: str, label: str | None) -> str:
    """Return how a step is called in messages."""
    return f"{id}: {label}" if label else id


def table(title: str, steps: list[Step]) -> str:
    """Draw steps as aligned lines under a title; errors stand in the last column."""
    if not steps:
        return title
    widths = [max(len(row[column]) for row in map(_cells, steps)) for column in range(4)]
    lines = [title]
    for step in steps:
        phase, name, outcome, milliseconds = _cells(step)
        line = (
            f"  {phase:<{widths[0]}}  {name:<{widths[1]}}  "
            f"{outcome:<{widths[2]}}  {milliseconds:>{widths[3]}} ms"
        )
        more = step.error or step.detail
        lines.append(f"{line}  {' '.join(more.split())}" if more else line)
    return "\n".join(lines)


def log(level: int, text: str) -> None:
    """Log through the `assembler` logger; where nobody set up logging, write to standard error."""
    if logger.hasHandlers():
        logger.log(level, text)
    else:  # a start without a word would look like a hang; one write, as workers share the stream
        sys.stderr.write(f"{text}\n")


def _cells(step: Step) -> tuple[str, str, str, str]:
    return step.phase, step.name, step.outcome, f"{step.milliseconds:.1f}"
