"""The sections that are no lists of entries → what differs in them.

In: both sides. Out: `Change`s, each placed below its section's name.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator

from assembler.document.nodes import MappingNode, Node, ScalarNode, SequenceNode, as_written, walk
from assembler.manifest.app import App, OpenAPI, Server
from assembler.manifest.step import Scheduler
from assembler.plan.static.looseness import OptionFacts
from assembler.review.credentials import shown
from assembler.review.diff.change import Change, change, direction, under
from assembler.review.diff.entries import compare_dependencies
from assembler.review.diff.knowledge import FASTAPI, SERVER, Knowledge, default_of, looser_of
from assembler.review.diff.options import compare_value
from assembler.review.diff.side import Side
from assembler.review.finding import Grade

_TLS = frozenset({"ssl_certfile", "ssl_keyfile", "ssl_ca_certs"})
_CODE = frozenset(
    {"state", "default_response_class", "generate_unique_id_function", "responses"}
    | {"callbacks", "webhooks"}
)
_CODE_KEYS = frozenset({"()", "class", "factory"})


def compare_sections(old: Side, new: Side, knowledge: Knowledge) -> Iterator[Change]:
    """Compare `app`, `settings`, `logging`, `server`, `scheduler`, `audit` and `expect`."""
    yield from under(_app(old, new, knowledge), "app")
    yield from under(_settings(old, new), "settings")
    yield from under(_logging(old, new), "logging")
    yield from under(_server(old, new, knowledge), "server")
    yield from under(_scheduler(old, new), "scheduler")
    yield from under(_audit(old, new), "audit", "suppress")
    yield from under(_expect(old, new), "expect")


def _keys(old: Side, new: Side, *path: str) -> Iterator[tuple[str, Node | None, Node | None]]:
    sides = [side.node(path) for side in (old, new)]
    before, after = (node.members if isinstance(node, MappingNode) else {} for node in sides)
    for key in {**before, **after}:
        values = [members[key].value if key in members else None for members in (before, after)]
        yield key, values[0], values[1]


def _app(old: Side, new: Side, knowledge: Knowledge) -> Iterator[Change]:
    for key, before, after in _keys(old, new, "app"):
        if key == "dependencies":
            found = compare_dependencies("the app", before, after, knowledge)
            yield from under(found, key)
        elif key in App.model_fields and key != "openapi":
            fact = OptionFacts(
                default=default_of(App, key), looser=looser_of(App, key), is_plain=key not in _CODE
            )
            yield from compare_value(key, before, after, fact)
        elif key != "openapi":
            fact = knowledge.now(FASTAPI).of(key) or OptionFacts()
            yield from compare_value(key, before, after, fact)
    names = {"path": "the OpenAPI document", "docs": "Swagger UI", "redoc": "ReDoc"}
    for key, before, after in _keys(old, new, "app", "openapi"):
        default = default_of(OpenAPI, key)
        values = [default if node is None else as_written(node) for node in (before, after)]
        if key not in names or (values[0] is None) == (values[1] is None):
            fact = OptionFacts(default=default, is_plain=True)
            yield from under(compare_value(key, before, after, fact), "openapi")
            continue
        is_served = values[1] is not None
        rule = "documentation-exposed" if is_served else "documentation-hidden"
        where = shown(values[1] if is_served else values[0]) or "its path"
        message = f"{names[key]} is {'now' if is_served else 'no longer'} served at {where}"
        yield from under(
            [change(direction(is_served), rule, message, before, after)], "openapi", key
        )


def _settings(old: Side, new: Side) -> Iterator[Change]:
    before, after = old.node(("settings",)), new.node(("settings",))
    texts = [None if node is None else as_written(node) for node in (before, after)]
    if texts[0] != texts[1]:
        message = f"settings come from {shown(texts[1])} instead of {shown(texts[0])}"
        yield change(Grade.review, "entry-replaced", message, before, after)


def _logging(old: Side, new: Side) -> Iterator[Change]:
    for key, before, after in _keys(old, new, "logging"):
        for item in compare_value(key, before, after, OptionFacts(is_plain=True)):
            nodes = [side.node(("logging", *item.at)) for side in (old, new)]
            is_code = item.at[-1] in _CODE_KEYS or any(map(_names_code, nodes))
            grade = Grade.review if is_code and item.grade is not Grade.cosmetic else item.grade
            yield Change(grade, item.rule, item.message, item.at, item.old, item.new)


def _names_code(node: Node | None) -> bool:
    """Tell whether a part of `logging` that one side has brings code of its own."""
    found = {
        str(inner.value)
        for path, inner in (walk(node) if node is not None else ())
        if path and path[-1] in _CODE_KEYS and isinstance(inner, ScalarNode)
    }
    return any(not name.startswith("logging.") for name in found)


def _server(old: Side, new: Side, knowledge: Knowledge) -> Iterator[Change]:
    pairs = list(_keys(old, new, "server"))
    facts = knowledge.now(SERVER) if pairs else None
    for key, before, after in pairs:
        own = default_of(Server, key)
        fact = (facts.of(key) if facts else None) or OptionFacts()
        if key in Server.model_fields:
            fact = OptionFacts(default=own, looser=looser_of(Server, key), is_plain=True)
        if key == "host":
            yield from _host(before, after)
        elif key in _TLS and (before is None or after is None):
            is_gone = after is None
            message = f"the server {'no longer' if is_gone else 'now'} has a `{key}` for TLS"
            rule = "protection-removed" if is_gone else "protection-added"
            yield from under([change(direction(is_gone), rule, message, before, after)], key)
        else:
            yield from compare_value(key, before, after, fact)


def _host(old: Node | None, new: Node | None) -> Iterator[Change]:
    default = default_of(Server, "host")
    hosts = [default if node is None else as_written(node) for node in (old, new)]
    reach = [_is_local(host) for host in hosts]
    if reach[0] is None or reach[1] is None or reach[0] == reach[1]:
        fact = OptionFacts(default=default, is_plain=True)
        yield from compare_value("host", old, new, fact)
        return
    grade = direction(not reach[1])
    rule = "option-loosened" if grade is Grade.loosened else "option-tightened"
    who = "only this machine" if reach[1] else "other machines"
    message = f"`host` goes from `{hosts[0]}` to `{hosts[1]}`: {who} can reach the server now"
    yield from under([change(grade, rule, message, old, new)], "host")


def _is_local(host: object) -> bool | None:
    """Tell whether an address is this machine's alone; None where its text does not tell."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return None


def _scheduler(old: Side, new: Side) -> Iterator[Change]:
    for key, before, after in _keys(old, new, "scheduler"):
        if key == "jobs":
            continue
        fact = OptionFacts(default=default_of(Scheduler, key), is_plain=key != "context")
        for item in compare_value(key, before, after, fact):
            grade, message = item.grade, item.message
            if key == "store" and (before is None or after is None):
                grade = Grade.review
                who = "each process runs every tick" if after is None else "a tick runs once"
                message = f"{message}: {who}"
            yield Change(grade, item.rule, message, item.at, item.old, item.new)


def _audit(old: Side, new: Side) -> Iterator[Change]:
    before, after = (_named(side, ("audit", "suppress"), "rule") for side in (old, new))
    for name in {**before, **after}:
        sides = before.get(name), after.get(name)
        rule = shown(name[0]) or "a rule"
        if sides[0] is None or sides[1] is None:
            is_more = sides[0] is None
            code = "suppression-added" if is_more else "suppression-removed"
            message = f"the audit {'is now silent' if is_more else 'is no longer silent'} on {rule}"
            yield from under([change(direction(is_more), code, message, *sides)], name[0])
            continue
        ends = [_word(node, "until") for node in sides]
        if ends[0] != ends[1]:
            is_longer = ends[1] > ends[0]  # ISO dates sort as text
            code = "suppression-added" if is_longer else "suppression-removed"
            message = f"the audit is silent on {rule} until {ends[1]} instead of {ends[0]}"
            yield from under([change(direction(is_longer), code, message, *sides)], name[0])
        elif as_written(sides[0]) != as_written(sides[1]):
            message = f"the reason for silence on {rule} has other words"
            yield from under([change(Grade.cosmetic, "section-changed", message, *sides)], name[0])


def _expect(old: Side, new: Side) -> Iterator[Change]:
    before, after = (_named(side, ("expect",), "request") for side in (old, new))
    for name in {**before, **after}:
        sides = before.get(name), after.get(name)
        request = shown(name[0]) or "a request"
        if sides[0] is None:
            message = f"{request} is now tried by `assembler test`"
            item = change(Grade.cosmetic, "expectation-changed", message, *sides)
        elif sides[1] is None:
            message = f"{request} is no longer tried by `assembler test`"
            item = change(Grade.review, "expectation-changed", message, *sides)
        elif as_written(sides[0]) != as_written(sides[1]):
            message = f"{request} must give something else"
            item = change(Grade.review, "expectation-changed", message, *sides)
        else:
            continue
        yield from under([item], name[0])


def _named(side: Side, path: tuple[str, ...], key: str) -> dict[tuple[str, int], MappingNode]:
    """Return the mappings of a list by one of their keys; of one name, the first is the first."""
    node = side.node(path)
    found: dict[tuple[str, int], MappingNode] = {}
    counts: Counter[str] = Counter()
    for item in node.items if isinstance(node, SequenceNode) else ():
        if isinstance(item, MappingNode):
            name = _word(item, key)
            found[name, counts[name]] = item
            counts[name] += 1
    return found


def _word(node: Node | None, key: str) -> str:
    value = node.get(key) if isinstance(node, MappingNode) else None
    return str(value.value) if isinstance(value, ScalarNode) else ""
