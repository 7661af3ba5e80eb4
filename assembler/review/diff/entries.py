"""One entry on both sides, or on one → what differs in it, key by key, or what is lost or gained.

In: a pair of entries or a single one, the sides they are of, what is known of code. Out: `Change`s. What
has a meaning of its own (`on_error`, `lazy`, `dependencies`, `sql`, a clock) has its own judge; all other
keys are compared as values. Of an entry that came or went a layer is judged by what it is for, code by
its being new, SQL by what it does.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from assembler.document.interpolation import parse
from assembler.document.nodes import (
    MappingNode,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    as_written,
    walk,
)
from assembler.document.sections import ENTRIES, INNER, SCOPED
from assembler.manifest.section import Section
from assembler.manifest.sections import ENTRY_MODELS
from assembler.plan.sql.lint import ParserBudget
from assembler.plan.static.looseness import OptionFacts
from assembler.review.diff.change import Change, change, direction, under
from assembler.review.diff.knowledge import Knowledge, default_of
from assembler.review.diff.matching import EntryNode, entries_at, match
from assembler.review.diff.options import compare_options, compare_value, is_code
from assembler.review.diff.order import RolePlaces, compare_chains
from assembler.review.diff.schedule import FireTeller, JobClock, compare_clocks
from assembler.review.diff.side import Side
from assembler.review.diff.sql import compare_statements
from assembler.review.finding import Grade
from assembler.review.roles import ROLES, LayerRole

_GUARDING = re.compile(
    r"auth|sign(?:ed)?_?in|logged|login|user|account|token|permi|scope|role|require|verif|guard"
    r"|admin|api_?key|session|secur|allow|limit|csrf|owner|member",
    re.IGNORECASE,
)
_TOLERANCE = {"fail": 0, "degrade": 1, "warn": 2}
_OUTCOMES = {
    "fail": "a failure ends the start",
    "degrade": "the application serves without it, and readiness says so",
    "warn": "the application serves without it, and only the log says so",
}
_CODE_KEYS = frozenset({"default_response_class", "responses"})  # name code themselves
_WITH_THE_APP = frozenset({"configure", "finish"})  # what their code adds, nobody sees here
_CLOCK = frozenset({"cron", "every", "timezone"})
_JUDGED_APART = _CLOCK | {
    *("id", "use", "with", "sql", "dependencies", "on_error", "on_degraded", "enabled"),
    *SCOPED,
}
_MAKERS = ("use", INNER, "frontend", "sql")  # of which an entry has one
_MEANINGS = MappingProxyType(
    {
        "manifest": "other code makes the application",
        "mount": "the application answers under another path",
        "prefix": "the routes answer under another path",
        "host": "the routes answer for other hosts",
        "path": "the endpoint answers under another path",
        "methods": "the endpoint answers other methods",
        "frontend": "other files are served",
        "name": "`url_for` calls it otherwise",
        "include_in_schema": "whether the documentation shows the routes",
        "deprecated": "whether the documentation advises against the routes",
        "responses": "which answers the documentation shows",
        "catch": "other exceptions are answered",
        "lazy": "a lazy mount is built on its first request, and a fault in it shows only then",
        "warmup": "a lazy mount is built in the background after the start",
        "overlap": "what a tick does while the last run goes on",
        "on_crash": "what becomes of what died",
        "backoff": "how long a loop that crashed waits",
        "once": "whether it runs in one process of all",
        "always": "whether the statements run at every start",
        "grace": "how late a tick may still run",
        "jitter": "by how much runs are delayed at random",
        "timeout": "how long it may take",
        "owned": "whether the application opens and closes it",
        "close_timeout": "how long its end may take",
        "lock_timeout": "how long a statement waits for a lock, and others wait behind it",
        "statement_timeout": "how long a statement may run",
        "tags": "where the documentation lists the routes",
        "dialect": "on which databases the statements run",
        "database": "the statements run on another database",
    }
)


@dataclass(frozen=True, slots=True)
class Judge:
    """Compares entries of two sides."""

    old: Side
    new: Side
    knowledge: Knowledge
    fires: FireTeller
    sql: ParserBudget = field(default_factory=ParserBudget)  # that is parsed

    def compare(self, before: EntryNode, after: EntryNode) -> Iterator[Change]:
        """Yield what differs between two entries that are the same one."""
        if before.node is after.node:
            return
        if before.id != after.id and _is_rename(before, after):
            yield _renamed(before, after)
        if before.section == "scheduler.jobs":  # its zone may be the scheduler's
            yield from self._clock(before, after)
        if _text_of(before) == _text_of(after) and not before.node.get("sql"):
            return
        yield from self._code(before, after)
        model = ENTRY_MODELS[after.section].model
        for key in {**before.node.members, **after.node.members}:
            if key == INNER and before.text(key) and after.text(key):
                continue  # what they say is compared, whatever their files are called
            if key in _MAKERS and _maker(before) != _maker(after):
                continue  # told as other code
            if key not in _JUDGED_APART:
                yield from _plain_key(model, key, before.node.get(key), after.node.get(key))
        sides = before.node.get("dependencies"), after.node.get("dependencies")
        found = compare_dependencies(f"`{after.id}`", *sides, self.knowledge)
        yield from under(found, "dependencies")
        yield from _on_error(before, after)
        yield from _listener(before, after)
        yield from _switch(before, after)
        for section in SCOPED if after.section == "routes" else ():
            yield from self._scope(section, before, after)
        read = self.old.statement, self.new.statement
        sides = before.node.get("sql"), after.node.get("sql")
        found = compare_statements(*sides, read, after.text("dialect"), self.sql)
        yield from under(found, "sql")

    def _code(self, before: EntryNode, after: EntryNode) -> Iterator[Change]:
        """Compare `use` and `with`."""
        old, new = (entry.node.get(_maker(entry)) for entry in (before, after))
        facts = self.knowledge.now(after.use) if after.use else None
        if before.use != after.use or _maker(before) != _maker(after):
            earlier = self.knowledge.before(before.use) if before.use else None
            is_same = facts and earlier and facts.defined and facts.defined == earlier.defined
            grade = Grade.cosmetic if is_same else Grade.review
            message = (
                f"`{after.id}` runs other code: {_made_of(after)} instead of {_made_of(before)}"
            )
            if is_same:
                message = f"`{after.id}` names the same code by another path: `{after.use}`"
            item = change(grade, "entry-replaced", message, old, new)
            yield from under([item], "use")
        is_missing = facts is not None and facts.missing is not None
        is_same = before.use == after.use and _says_same(before.options, after.options)
        if facts is not None and is_missing and not is_same:
            message = f"`{after.use}` is not found in the source: {facts.missing}"
            yield from under([change(Grade.review, "unknown-code", message, old, new)], "use")
        judges = self.knowledge.judges(before.use, after.use)
        yield from under(compare_options(before.options, after.options, judges), "with")

    def _scope(self, section: str, before: EntryNode, after: EntryNode) -> Iterator[Change]:
        """Compare the layers or handlers that a route has of its own."""
        old, new = (_scoped(entry, section) for entry in (before, after))
        matching = match(old, new)
        for entries, side, is_new in (
            (matching.gone, self.old, False),
            (matching.more, self.new, True),
        ):
            places = RolePlaces(new if is_new else old, self.knowledge)
            for entry in entries:
                found = compare_presence(entry, places, side, self, is_new=is_new)
                yield from under(found, section, entry.id)
        for pair in matching.pairs:
            yield from under(self.compare(*pair), section, pair[1].id)
        if section == "middleware":
            for pair, item in compare_chains(matching, self.knowledge):
                yield from under([item], section, pair[1].id)

    def _clock(self, before: EntryNode, after: EntryNode) -> Iterator[Change]:
        clocks = _clock(before, self.old), _clock(after, self.new)
        found = compare_clocks(after.id, *clocks, self.fires)
        if found is not None:
            key = "every" if clocks[1].every is not None else "cron"
            yield from under([found], key)


def _made_of(entry: EntryNode) -> str:
    """Say what an entry runs: a path, or what stands in its place on a mount or a step."""
    if entry.use:
        return f"`{entry.use}`"
    if entry.text(INNER):
        return f"the manifest `{entry.text(INNER)}`"
    if entry.text("frontend"):
        return f"the files in `{entry.text('frontend')}`"
    return "its SQL" if entry.node.get("sql") is not None else "nothing"


def _maker(entry: EntryNode) -> str:
    """Return the key that says what an entry runs."""
    return next((key for key in _MAKERS if entry.node.get(key) is not None), "use")


def compare_dependencies(
    whose: str, before: Node | None, after: Node | None, knowledge: Knowledge
) -> Iterator[Change]:
    """Compare what runs before routes; `whose` they are is said in the words of a sentence."""
    old, new = _named_in(before), _named_in(after)
    for use in {**old, **new}:
        sides = old.get(use), new.get(use)
        if sides[0] is not None and sides[1] is not None:
            options = [
                node.get("with") if isinstance(node, MappingNode) else None for node in sides
            ]
            found = compare_options(options[0], options[1], knowledge.judges(use))
            yield from under(found, use, "with")
            continue
        is_gone = sides[1] is None
        grade = direction(is_gone) if _GUARDING.search(use) else Grade.review
        rule = "dependency-removed" if is_gone else "dependency-added"
        verb = "no longer runs" if is_gone else "now runs"
        message = f"`{use}` {verb} before the routes of {whose}"
        yield from under([change(grade, rule, message, *sides)], use)
    if [use for use in old if use in new] != [use for use in new if use in old]:
        message = f"the dependencies of {whose} run in another order"
        yield change(Grade.behaviour, "order", message, before, after)


def guarding(
    side: Side, knowledge: Knowledge
) -> Iterator[tuple[EntryNode | None, NodePath, str, Node]]:
    """Yield the paths of the code that stands between callers and routes, each with its place.

    That is what layers, handlers of exceptions and functions that are given the app name, what runs
    before routes, and what the options of a guard name, by a resource or by the settings too. The
    place is an entry, or the path of a section's key, and the node that names the code.
    """
    app = side.node(("app", "dependencies"))
    for name, node in _named_in(app).items():
        yield None, ("app", "dependencies"), name, node
    routes = entries_at(side.root, ("routes",))
    seen: set[NodePath] = set()
    # What a process has once opens and runs things, and is asked by no request.
    for section in (one.name for one in ENTRIES.values() if not one.is_of_process):
        scoped = (one for route in routes for one in entries_at(route.node, (section,)))
        for entry in (*entries_at(side.root, (section,)), *scoped):
            use = entry.node.get("use")
            if section != "routes" and use is not None and entry.use is not None:
                yield entry, (), entry.use, use
            for name, node in _named_in(entry.node.get("dependencies")).items():
                yield entry, (), name, node
            role = knowledge.role(entry.use) if section == "middleware" else None
            if role is not None and role.guards and entry.options is not None:
                for name, node in _behind(entry.options, side, seen):
                    yield entry, (), name, node


def _behind(options: Node, side: Side, seen: set[NodePath]) -> Iterator[tuple[str, Node]]:
    """Yield the code that options name, and that of the resources and settings they refer to.

    What is in `seen` was told by another guard.
    """
    waiting = [(node, node) for _, node in walk(options)]
    while waiting:
        node, place = waiting.pop()
        text = node.value if isinstance(node, ScalarNode) else None
        if not isinstance(text, str):
            continue
        if is_code(text):
            yield text, place
        for reference in parse(text) if "${" in text else ():
            if isinstance(reference, str) or reference.kind not in ("resource", "settings"):
                continue
            path: NodePath = ("resources", reference.name)
            path = path if reference.kind == "resource" else ("settings",)
            found = None if path in seen else _nearest(side, path)
            seen.add(path)
            use = found.get("use") if isinstance(found, MappingNode) else found
            if isinstance(use, ScalarNode):  # a path, even where it looks like a host
                yield str(use.value), place
            waiting += [(inner, place) for _, inner in (walk(found) if found is not None else ())]


def _nearest(side: Side, path: NodePath) -> Node | None:
    """Return what stands at a path of a manifest, or of those in which it is mounted."""
    at: Side | None = side
    while at is not None:
        if (node := at.node(path)) is not None:
            return node
        at = at.outer
    return None


def _is_rename(before: EntryNode, after: EntryNode) -> bool:
    """Tell whether more than a derived name changed, or something is recorded under it."""
    sections = {"resources", "scheduler.jobs", "startup"}
    given = [entry.text("id") for entry in (before, after)]
    return after.section in sections or given != [None, None]


def _renamed(before: EntryNode, after: EntryNode) -> Change:
    grade, why = Grade.behaviour, "logs, reports and overlays name it so"
    if after.section == "resources":
        grade = Grade.review
        why = f"code that reads `request.state.{before.id}` no longer finds it"
    elif after.section in {"scheduler.jobs", "startup"}:
        why = "what was recorded under the old name does not count for it"
    message = f"`{before.id}` is now called `{after.id}`: {why}"
    return change(grade, "entry-renamed", message, before.node, after.node)


def _plain_key(
    model: type[Section], key: str, old: Node | None, new: Node | None
) -> Iterator[Change]:
    """Compare a key that is a plain value, beside the default of the format."""
    fact = OptionFacts(default=default_of(model, key), is_plain=key not in _CODE_KEYS)
    for item in compare_value(key, old, new, fact):
        meaning = _MEANINGS.get(key)
        if meaning is None or item.grade is Grade.cosmetic:
            yield item
            continue
        message = f"{item.message} ({meaning})"
        grade = Grade.review if key in ("frontend", INNER) else item.grade
        yield Change(grade, "section-changed", message, item.at, item.old, item.new)


def _on_error(before: EntryNode, after: EntryNode) -> Iterator[Change]:
    old, new = (entry.text("on_error") or "fail" for entry in (before, after))
    if old == new or old not in _TOLERANCE or new not in _TOLERANCE:
        return
    is_looser = _TOLERANCE[new] > _TOLERANCE[old]
    rule = "failure-tolerated" if is_looser else "failure-fatal"
    message = f"`{after.id}` is `{new}` instead of `{old}` on error: {_OUTCOMES[new]}"
    sides = before.node.get("on_error"), after.node.get("on_error")
    yield from under([change(direction(is_looser), rule, message, *sides)], "on_error")


def _listener(before: EntryNode, after: EntryNode) -> Iterator[Change]:
    old, new = before.text("on_degraded"), after.text("on_degraded")
    if old != new:
        told = f"`{new}` is told of its state" if new else f"`{old}` is told nothing more of it"
        message = f"`{after.id}`: {told}" + (f" instead of `{old}`" if old and new else "")
        sides = before.node.get("on_degraded"), after.node.get("on_degraded")
        grade = Grade.review if new else Grade.behaviour
        yield from under([change(grade, "section-changed", message, *sides)], "on_degraded")


def _switch(before: EntryNode, after: EntryNode) -> Iterator[Change]:
    """Judge whether an entry runs; where only a reference tells, it does."""
    sides = before.node.get("enabled"), after.node.get("enabled")
    old, new = (True if node is None else as_written(node) for node in sides)
    if old == new:
        return
    grade = Grade.behaviour
    if new is False:
        message = f"`{after.id}` is switched off"
    elif old is False:
        grade = Grade.review
        message = f"`{after.id}` is switched on: it runs `{after.use or 'its SQL'}`"
    else:
        message = f"whether `{after.id}` runs is said by {_value(new)} instead of {_value(old)}"
    if isinstance(new, str):
        message += ", as far as a review can tell" if old is False else ""
    yield from under([change(grade, "section-changed", message, *sides)], "enabled")


def _value(value: Any) -> str:
    return f"`{json.dumps(value) if isinstance(value, bool) else value}`"


def _clock(entry: EntryNode, side: Side) -> JobClock:
    zone = entry.text("timezone") or side.outermost.text(("scheduler", "timezone")) or "UTC"
    keys = ("cron", "every", "timezone")
    node = next((entry.node.get(key) for key in keys if entry.node.get(key)), None)
    return JobClock(entry.text("cron"), entry.text("every"), zone, node)


def _scoped(entry: EntryNode, section: str) -> list[EntryNode]:
    """Return the entries of one list that a route has of its own."""
    return entries_at(entry.node, (section,))


def _named_in(node: Node | None) -> dict[str, Node]:
    """Return what a list of dependencies names, by path."""
    found: dict[str, Node] = {}
    for item in node.items if isinstance(node, SequenceNode) else ():
        written = as_written(item)
        use = written.get("use") if isinstance(written, dict) else written
        found[str(use)] = item
    return found


def _text_of(entry: EntryNode) -> str:
    return json.dumps(as_written(entry.node), sort_keys=True)


def _says_same(old: Node | None, new: Node | None) -> bool:
    texts = [json.dumps(node and as_written(node), sort_keys=True) for node in (old, new)]
    return texts[0] == texts[1]


_Nodes = tuple[MappingNode | None, MappingNode | None]


def compare_presence(
    entry: EntryNode, places: RolePlaces, side: Side, judge: Judge, *, is_new: bool
) -> Iterator[Change]:
    """Judge an entry that is new, or one that is gone."""
    knowledge = judge.knowledge
    nodes: _Nodes = (None, entry.node) if is_new else (entry.node, None)
    facts = knowledge.now(entry.use) if entry.use and is_new else None
    if facts is not None and facts.missing is not None:
        message = f"`{entry.use}` is not found in the source: {facts.missing}"
        yield from under([change(Grade.review, "unknown-code", message, *nodes)], "use")
    if entry.section == "middleware":
        role = knowledge.role(entry.use)
        yield _layer(entry, role, places, nodes, is_new=is_new)
        for sentence in places.breaks(role, entry.index) if is_new and role else ():
            yield change(Grade.behaviour, "order", sentence, *nodes)
        return
    is_sql = "sql" in entry.node.members
    if is_sql:
        grade = Grade.behaviour
    else:
        grade = Grade.review if is_new or entry.section in _WITH_THE_APP else Grade.behaviour
    code = f": it {'runs' if is_new else 'ran'} `{entry.use}`" if entry.use else ""
    if entry.text(INNER):
        code = f": all of `{entry.text(INNER)}` is {'to be read' if is_new else 'gone with it'}"
    message = (
        f"{ENTRIES[entry.section].singular} `{entry.id}` is {'new' if is_new else 'gone'}{code}"
    )
    yield change(grade, "entry-added" if is_new else "entry-removed", message, *nodes)
    if entry.section == "routes" and entry.use and knowledge.shows_documentation(entry.use):
        rule = "documentation-exposed" if is_new else "documentation-hidden"
        verb = "now shows" if is_new else "no longer shows"
        message = f"route `{entry.id}` {verb} the OpenAPI document"
        yield change(direction(is_new), rule, message, *nodes)
    yield from _switches(entry, knowledge, is_new=is_new)
    if is_sql:
        old, new = (node and node.get("sql") for node in nodes)
        read = side.statement, side.statement
        yield from under(
            compare_statements(old, new, read, entry.text("dialect"), judge.sql), "sql"
        )


def _layer(
    entry: EntryNode, role: LayerRole | None, places: RolePlaces, nodes: _Nodes, *, is_new: bool
) -> Change:
    verb = "is new" if is_new else "is gone"
    rule = "entry-added" if is_new else "entry-removed"
    if role is None:
        message = f"layer `{entry.id}` {verb}, and what it does is not known here"
        return change(Grade.review, rule, message, *nodes)
    subject = f"{role.name} (`{entry.id}`) {_are(role, verb)}"
    who = f"{'they' if _is_plural(role) else 'it'} {'now' if is_new else 'no longer'}"
    if role.guards:
        grade = direction(not is_new)
        rule = "protection-added" if is_new else "protection-removed"
        return change(grade, rule, f"{subject}: {who} {role.guards}", *nodes)
    if role.grants:
        return change(direction(is_new), rule, f"{subject}: {who} {role.grants}", *nodes)
    if role.id == "proxy":
        guard = places.next_inside(entry.index, "limiter", "allow-list")
        return _proxy(entry, guard, subject, nodes, is_new=is_new)
    return change(Grade.behaviour, rule, subject, *nodes)


def _proxy(
    entry: EntryNode, guard: str | None, subject: str, nodes: _Nodes, *, is_new: bool
) -> Change:
    """Judge trust in the headers of a proxy: what stands inside counts clients by it."""
    rule = "entry-added" if is_new else "entry-removed"
    if "*" in str(as_written(entry.options) if entry.options else ""):
        message = f"{subject}, which {'believe' if is_new else 'believed'} any caller"
        return change(direction(is_new), rule, message, *nodes)
    if guard is not None:
        whose = "the client" if is_new else "the proxy"
        message = f"{subject}: {ROLES[guard].name} now sees the address of {whose}"
        return change(direction(not is_new), rule, message, *nodes)
    message = (
        f"{subject}: the address of the client is {'taken from them' if is_new else 'the proxy'}"
    )
    return change(Grade.review, rule, message, *nodes)


def _are(role: LayerRole, verb: str) -> str:
    return verb.replace("is ", "are ", 1) if _is_plural(role) else verb


def _is_plural(role: LayerRole) -> bool:
    return role.name.endswith(("headers", "tags", "metrics"))


def _switches(entry: EntryNode, knowledge: Knowledge, *, is_new: bool) -> Iterator[Change]:
    """Yield the options of a new entry that loosen what its code does without them."""
    if entry.options is None or entry.use is None:
        return
    old, new = (None, entry.options) if is_new else (entry.options, None)
    for item in under(compare_options(old, new, knowledge.judges(entry.use)), "with"):
        if item.grade is direction(is_new):
            yield item
