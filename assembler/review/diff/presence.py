"""An entry that only one side has → what is lost or gained by it.

In: the entry, the chain it stands in, and whether it is new. Out: `Change`s. A layer is judged by
what it is for, code by its being new, SQL by what it does. Refuses nothing.
"""

from collections.abc import Iterator, Sequence

from assembler.document.nodes import MappingNode, as_written
from assembler.document.sections import ENTRIES
from assembler.review.diff.change import Change, change, direction, under
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.matching import Entry
from assembler.review.diff.options import compare_options
from assembler.review.diff.ordering import breaks
from assembler.review.diff.roles import Role, role_of
from assembler.review.diff.side import Side
from assembler.review.diff.statements import compare_statements
from assembler.review.finding import Grade

_Nodes = tuple[MappingNode | None, MappingNode | None]


def compare_presence(
    entry: Entry, chain: Sequence[Entry], side: Side, knowledge: Knowledge, *, is_new: bool
) -> Iterator[Change]:
    """Judge an entry that is new, or one that is gone."""
    nodes: _Nodes = (None, entry.node) if is_new else (entry.node, None)
    facts = knowledge.of(entry.use) if entry.use and is_new else None
    if facts is not None and facts.missing is not None:
        message = f"`{entry.use}` is not found in the source: {facts.missing}"
        yield from under([change(Grade.review, "unknown-code", message, *nodes)], "use")
    if entry.section == "middleware":
        yield _layer(entry, chain, nodes, is_new=is_new)
        for sentence in breaks(chain, entry) if is_new else ():
            yield change(Grade.behaviour, "order", sentence, *nodes)
        return
    is_sql = "sql" in entry.node.members
    if is_sql:
        grade = Grade.behaviour
    else:
        grade = Grade.review if is_new or entry.section == "configure" else Grade.behaviour
    code = f": it {'runs' if is_new else 'ran'} `{entry.use}`" if entry.use else ""
    message = (
        f"{ENTRIES[entry.section].singular} `{entry.id}` is {'new' if is_new else 'gone'}{code}"
    )
    yield change(grade, "entry-added" if is_new else "entry-removed", message, *nodes)
    yield from _switches(entry, knowledge, is_new=is_new)
    if is_sql:
        old, new = (node and node.get("sql") for node in nodes)
        read = side.statement, side.statement
        yield from under(compare_statements(old, new, read, entry.text("dialect")), "sql")


def _layer(
    entry: Entry,
    chain: Sequence[Entry],
    nodes: _Nodes,
    *,
    is_new: bool,
) -> Change:
    role = role_of(entry.use)
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
        return _proxy(entry, chain, subject, nodes, is_new=is_new)
    return change(Grade.behaviour, rule, subject, *nodes)


def _proxy(
    entry: Entry,
    chain: Sequence[Entry],
    subject: str,
    nodes: _Nodes,
    *,
    is_new: bool,
) -> Change:
    """Judge trust in the headers of a proxy: what stands inside counts clients by it."""
    rule = "entry-added" if is_new else "entry-removed"
    if "*" in str(as_written(entry.options) if entry.options else ""):
        message = f"{subject}, which {'believe' if is_new else 'believed'} any caller"
        return change(direction(is_new), rule, message, *nodes)
    inside = [role_of(other.use) for other in chain if other.index > entry.index]
    for role in inside:
        if role is not None and role.id in {"limiter", "allow-list"}:
            whose = "the client" if is_new else "the proxy"
            message = f"{subject}: {role.name} now sees the address of {whose}"
            return change(direction(not is_new), rule, message, *nodes)
    message = (
        f"{subject}: the address of the client is {'taken from them' if is_new else 'the proxy'}"
    )
    return change(Grade.review, rule, message, *nodes)


def _are(role: Role, verb: str) -> str:
    return verb.replace("is ", "are ", 1) if _is_plural(role) else verb


def _is_plural(role: Role) -> bool:
    return role.name.endswith(("headers", "tags", "metrics"))


def _switches(entry: Entry, knowledge: Knowledge, *, is_new: bool) -> Iterator[Change]:
    """Yield the options of a new entry that loosen what its code does without them."""
    if entry.options is None or entry.use is None:
        return
    facts = knowledge.of(entry.use)
    old, new = (None, entry.options) if is_new else (entry.options, None)
    for item in under(compare_options(old, new, facts), "with"):
        if item.grade is direction(is_new):
            yield item
