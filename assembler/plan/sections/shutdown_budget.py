"""The times of the stop → a warning where they are more than the platform waits.

In: the manifest and its tree. Out: a `stop-too-long` warning with the sum, or nothing. Times that
the manifest writes are counted, and the bound of open requests; those it leaves to their default
are cut at the stop to what is left.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import timedelta

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.document.nodes import MappingNode
from assembler.manifest import Manifest
from assembler.manifest.duration import duration_text
from assembler.manifest.entry import Resource
from assembler.manifest.step import Background, LifespanFunction

_KEYS = ("termination_grace", "drain", "timeout_graceful_shutdown")
_SECTIONS = {"hooks": "shutdown", "closes": "resources", "jobs": "scheduler"}  # others by name


def check_termination(
    manifest: Manifest, root: MappingNode, everyone: Sequence[Manifest]
) -> Iterator[Diagnostic]:
    """Warn where the stop may take longer than `termination_grace`.

    `everyone` are the manifest and those that are mounted in it, all of which are stopped.
    """
    server = manifest.server
    if server.timeout_graceful_shutdown is None:
        message = "one open stream can keep the process for ever, until the platform kills it"
        span = _place(root, ("timeout_graceful_shutdown",))
        remedy = "give it seconds, or leave it out for 10"
        yield Diagnostic("stop-too-long", message, span, help=remedy, severity="warning")
        return
    parts = {
        "drain": server.drain or timedelta(0),
        "open requests": timedelta(seconds=server.timeout_graceful_shutdown),
        "jobs": _jobs(manifest),
        "hooks": _sum(
            hook.timeout
            for each in everyone
            for hook in each.shutdown
            if hook.enabled and "timeout" in hook.model_fields_set
        ),
        "closes": _closes(one for each in everyone for one in each.resources.values()),
        "lifespan": _closes(one for each in everyone for one in each.lifespan),
        "background": _closes(
            loop for each in everyone for loop in each.background if loop.enabled
        ),
    }
    whole = _sum(parts.values())
    if whole <= server.termination_grace:
        return
    told = ", ".join(f"{name} {duration_text(time)}" for name, time in parts.items() if time)
    grace = duration_text(server.termination_grace)
    message = f"the stop may take {duration_text(whole)} and has {grace}: {told}"
    remedy = "lower them, or raise `termination_grace` of `server` to what the platform waits"
    longest = max(list(parts)[2:], key=lambda name: parts[name])  # those of a section
    span = _place(root, _KEYS, _SECTIONS.get(longest, longest))
    yield Diagnostic("stop-too-long", message, span, help=remedy, severity="warning")


def _jobs(manifest: Manifest) -> timedelta:
    """How long runs may go on, where the manifest says it of a scheduler that runs here."""
    scheduler = manifest.scheduler
    is_said = scheduler.runs and "close_timeout" in scheduler.model_fields_set
    return scheduler.close_timeout if is_said else timedelta(0)


def _closes(entries: Iterable[Resource | LifespanFunction | Background]) -> timedelta:
    return _sum(item.close_timeout for item in entries if "close_timeout" in item.model_fields_set)


def _sum(times: Iterable[timedelta]) -> timedelta:
    return sum(times, timedelta(0))


def _place(root: MappingNode, keys: tuple[str, ...], section: str = "server") -> Span:
    """Where the first of the server's keys stands, or else a section that has times."""
    server = root.get("server")
    members = server.members if isinstance(server, MappingNode) else {}
    for key in keys:
        if key in members:
            return members[key].key
    return root.members[section if section in root.members else "routes"].key
