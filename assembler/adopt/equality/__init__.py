"""An application that is written, and one that a manifest makes → whether they are the same.

In: `module:app`, the path of a manifest. Out: an `Equality`: what was compared, each difference with
the rule that covers it, and what was not compared. Each application runs in fresh guarded processes;
the written one in two, for what changes from one run to the next is no difference. The requests are
made from what the written application says of itself.

Refuses, as an `AssemblerError`, what cannot be compared: code that does not let itself be run, a
manifest that is wrong.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

from assembler.adopt.equality.comparison import Compared, Difference, compare, layer_order
from assembler.adopt.equality.inspection import inner_applications
from assembler.adopt.equality.rules import RULES, IntendedDifference, rule_of
from assembler.adopt.guarded_process import Outcome, run_guarded
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.suggest import did_you_mean

_SUBJECT = "assembler.adopt.equality.subject"
_SECONDS = 600.0  # of one run; a request that hangs has its own bound
# Between the runs, so that a second passes: what has the time in it is known by that.
_PAUSE_SECONDS = 0.6

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class EqualityOptions:
    """What is compared beside what is safe: starts and stops, requests that write, a network."""

    is_factory: bool = False
    lifespan: bool = False
    replay_writes: bool = False
    allow_network: bool = False
    accept: Collection[str] = ()
    headers: Sequence[tuple[str, str]] = ()
    """What every request has besides, such as a credential."""


@dataclass(frozen=True, slots=True)
class JudgedDifference:
    """A difference, with the rule that says that it is meant, and whether that is accepted."""

    difference: Difference
    rule: IntendedDifference | None
    is_accepted: bool


@dataclass(frozen=True, slots=True)
class Equality:
    """What came of a comparison."""

    left: str
    right: str
    compared: Compared
    judged: tuple[JudgedDifference, ...]
    is_started: bool
    """Whether both were started and stopped."""

    @property
    def is_equal(self) -> bool:
        """Tell whether no difference is left that no accepted rule covers."""
        return all(each.is_accepted for each in self.judged)


def equality(
    target: str,
    manifest: str,
    options: EqualityOptions,
    environment: Mapping[str, str],
    progress: Progress = lambda _: None,
) -> Equality:
    """Compare the application `target` names with the one that `manifest` makes.

    Raises `UsageError` where hypothesis is not installed, a rule is unknown, or a side is not made.
    """
    if find_spec("hypothesis") is None:
        raise UsageError("it needs hypothesis: pip install 'fastapi-assembler[adopt]'")
    for name in options.accept:
        if name not in RULES:
            known = did_you_mean(name, RULES) or f"the rules are {', '.join(RULES)}"
            raise UsageError(f"there is no rule `{name}`: {known}")
    return _Comparison(target, manifest, options, environment, progress).run()


class _Comparison:
    """One comparison as far as it has come."""

    def __init__(
        self,
        target: str,
        manifest: str,
        options: EqualityOptions,
        environment: Mapping[str, str],
        progress: Progress,
    ) -> None:
        self.options = options
        self.progress = progress
        # Sets in one order in all processes, so that what is made of them can be compared.
        self.environment = {**environment, "PYTHONHASHSEED": "0"}
        self.left = {"target": target, "factory": options.is_factory}
        self.right = {"target": manifest, "manifest": True}
        self.names = target, manifest

    def run(self) -> Equality:
        more: dict[str, Any] = {
            "probes": None,
            "lifespan": self.options.lifespan,
            "replay_writes": self.options.replay_writes,
            "headers": list(self.options.headers),
        }
        written = {**self.left, **more, "order": self.order()}
        self.progress(f"asking {self.names[0]}")
        first = self.guarded("run_subject", written)
        more |= {name: first.value[name] for name in ("probes", "composing")}
        self.progress(f"sending {len(more['probes'])} requests to {self.names[1]}")
        time.sleep(_PAUSE_SECONDS)
        again, other = self.both("run_subject", {**written, **more}, {**self.right, **more})
        compared = compare(first.value, again.value, other.value)
        for line in self.uncompared((first, again, other)):
            compared.uncompared[line] = None
        judged = tuple(self.judged(compared.differences))
        return Equality(*self.names, compared, judged, is_started=self.options.lifespan)

    def order(self) -> list[int] | None:
        """Return where the layers go, where their order in the manifest is accepted."""
        if "layer-order" not in self.options.accept:
            return None
        left, right = self.both("inspect_subject", self.left, self.right)
        return layer_order(left.value, right.value)

    def both(self, function: str, *arguments: Mapping[str, Any]) -> list[Outcome]:
        """Run processes side by side; what the first one refuses is what is told."""
        with ThreadPoolExecutor(len(arguments)) as threads:
            return list(threads.map(partial(self.guarded, function), arguments))

    def guarded(self, function: str, argument: Mapping[str, Any]) -> Outcome:
        """Run one function of `subject` in a process of its own."""
        return run_guarded(
            f"{_SUBJECT}:{function}",
            argument,
            environment=self.environment,
            allow_network=self.options.allow_network,
            seconds=_SECONDS,
        )

    def judged(self, differences: Sequence[Difference]) -> Iterator[JudgedDifference]:
        """Find the rule of each difference."""
        for difference in differences:
            rule = rule_of(difference)
            is_accepted = rule is not None and rule.name in self.options.accept
            yield JudgedDifference(difference, rule, is_accepted)

    def uncompared(self, runs: Sequence[Outcome]) -> Iterator[str]:
        """Say what was left out, and what asks for it."""
        facts = runs[0].value["facts"]
        routes = [each for app in (facts, *inner_applications(facts)) for each in app["routes"]]
        if not self.options.lifespan:
            yield "the start and the stop: `--lifespan` asks for them"
        if any(each["start"]["raises"] for each in runs[0].value["starts"]):
            yield "what comes after a start that succeeds: it fails here"
        if any(each.get("late") for each in runs[0].value["answers"]):
            yield "what requests to paths give that do not answer in time"
        writing = sum(not _SAFE.issuperset(each["methods"]) for each in routes)
        if writing and not self.options.replay_writes:
            yield f"what {_counted(writing, 'route')} that may write answer: `--replay-writes` asks"
        sockets = sum(each["kind"] == "websocket" for each in routes)
        if sockets:
            yield f"what {_counted(sockets, 'websocket')} say"
        if runs[2].value["loops"]:
            yield "jobs and loops, and the clock"
        answers = zip(runs[0].value["answers"], runs[2].value["answers"], strict=True)
        unforced = sum(not (a.get("forced", 1) and b.get("forced", 1)) for a, b in answers)
        if unforced:
            yield f"{_counted(unforced, 'exception')} by force at places that no request came to"
        for note in dict.fromkeys(each for run in runs for each in run.notes):
            if note.kind in {"network", "process"}:
                yield f"what the code does once it has what it {note.text()}"


_SAFE = frozenset(["GET", "HEAD", "OPTIONS"])


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
