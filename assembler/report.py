"""What happened at start and stop → `app.state.assembly`, and one readable table.

In: the outcome of each step as it ends. Out: an `Assembly` that pages, probes and tests read.
Refuses nothing; the words of errors have had their secrets taken out before they come here.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Phase = Literal["resource", "startup", "router", "mount", "scheduler", "shutdown", "close"]
Outcome = Literal["ok", "skipped", "warned", "degraded", "failed", "timeout"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the start or the stop: its outcome, its time, and what went wrong."""

    id: str
    phase: Phase
    outcome: Outcome
    milliseconds: float
    error: str | None = None


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
class Assembly:
    """The state of one assembled application, from build to stop.

    `steps` are those of the last start and stop, in order; `ready` is true from the end of the
    start to the beginning of the stop; `degraded` maps the ids of what is away to the reason;
    `lazy` maps the ids of lazy mounts to what became of them.
    """

    manifest: str
    hash: str
    dispatch: str = ""
    steps: list[Step] = field(default_factory=list)
    ready: bool = False
    degraded: dict[str, str] = field(default_factory=dict)
    lazy: dict[str, LazyState] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict, repr=False)  # id(route) → id of its entry

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON has it."""
        return {
            "manifest": self.manifest,
            "hash": self.hash,
            "dispatch": self.dispatch,
            "ready": self.ready,
            "degraded": dict(self.degraded),
            "lazy": [asdict(state) for state in self.lazy.values()],
            "steps": [
                {
                    "id": step.id,
                    "phase": step.phase,
                    "outcome": step.outcome,
                    "milliseconds": step.milliseconds,
                    "error": step.error,
                }
                for step in self.steps
            ],
        }


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
        lines.append(f"{line}  {' '.join(step.error.split())}" if step.error else line)
    return "\n".join(lines)


def _cells(step: Step) -> tuple[str, str, str, str]:
    return step.phase, step.id, step.outcome, f"{step.milliseconds:.1f}"
