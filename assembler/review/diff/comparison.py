"""Two sides of a manifest → a `Comparison`: all that differs, and both chains of middleware.

In: the sides, one of which may not be there, and the moment from which fires are told. Out: the
comparison. Equal hashes prove that two sides mean the same; what differs and no judge knows is
still told.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple

from assembler.diagnostics.secrets import redact
from assembler.document.nodes import NodePath
from assembler.document.sections import ENTRIES, INNER
from assembler.review.diff.change import Change, change
from assembler.review.diff.entries import Judge, compare_presence, guarding
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.matching import EntryNode, Matching, entries_at, match, renamed
from assembler.review.diff.order import MOST_PAIRS, RolePlaces, compare_chains
from assembler.review.diff.schedule import FireTeller
from assembler.review.diff.sections import compare_sections
from assembler.review.diff.side import Side
from assembler.review.finding import Comparison, Finding, Grade, Layer, Place


def compare_sides(
    name: str, old: Side | None, new: Side | None, knowledge: Knowledge, now: datetime
) -> Comparison:
    """Compare two sides of the manifest that findings call `name`."""
    if old is None or new is None:
        return _whole(name, old, new)
    names = old.name, new.name
    parts = list(_parts(old, new))
    whole = parts[0][1]
    chains = _chains(whole.old, whole.new, whole.matchings["middleware",])
    seen: set[str] = set()
    behind = [
        _finding(name, *one, at)
        for at, part in parts
        for one in _changed_code(part.old, part.new, knowledge, seen)
    ]
    if old.hash == new.hash:
        same = [] if old.texts == new.texts else [_same_meaning(name, old, new)]
        return Comparison(name, *names, (*same, *behind), *chains)
    fires = FireTeller(now)
    found = [
        finding for at, part in parts for finding in _of_part(name, at, part, knowledge, fires)
    ]
    if not found:
        message = "the manifest says something else, and no rule knows what that means"
        told = change(Grade.review, "section-changed", message, old.root, new.root)
        found = [_finding(name, None, told)]
    return Comparison(name, *names, tuple(dict.fromkeys([*found, *behind])), *chains)


class _Part(NamedTuple):
    """One manifest of both sides by itself, the outermost or one that is mounted."""

    matchings: dict[NodePath, Matching]
    old: Side
    new: Side


def _parts(old: Side, new: Side, at: str = "") -> Iterator[tuple[str, _Part]]:
    """Yield the manifests that both sides have, each with its address; others their mounts tell."""
    old = _following_renames(old, new)
    (before, old_inner), (after, new_inner) = old.apart(), new.apart()
    matchings = {
        section.path: match(*(entries_at(side.root, section.path) for side in (before, after)))
        for section in ENTRIES.values()
    }
    yield at, _Part(matchings, before, after)
    for one, other in matchings["routes",].pairs:
        if one.index in old_inner and other.index in new_inner:
            sides = old_inner[one.index], new_inner[other.index]
            yield from _parts(*sides, f"{at}{other.address}.{INNER}.")


def _of_part(
    name: str, at: str, part: _Part, knowledge: Knowledge, fires: FireTeller
) -> Iterator[Finding]:
    """Yield what differs in one manifest, without those that are mounted in it."""
    judge = Judge(part.old, part.new, knowledge, fires)
    for item in compare_sections(part.old, part.new, knowledge):
        yield _finding(name, None, item, at)
    for path, matching in part.matchings.items():
        for one in _of_list(path, matching, judge):
            yield _finding(name, *one, at)


def with_rename(found: Comparison) -> Comparison:
    """Add that the manifest has another name than before."""
    message = f"`{found.old_name}` is now called `{found.new_name}`: commands must name it so"
    told = Finding(found.manifest, Grade.behaviour, "manifest-renamed", message, "")
    return dataclasses.replace(found, findings=(told, *found.findings))


def _whole(name: str, old: Side | None, new: Side | None) -> Comparison:
    side = new or old
    if side is None:
        raise ValueError("one side must be there")
    rule = "manifest-removed" if new is None else "manifest-added"
    message = (
        "this manifest is gone" if new is None else "this manifest is new: all of it is to be read"
    )
    nodes = (side.root, None) if new is None else (None, side.root)
    found = _finding(name, None, change(Grade.review, rule, message, *nodes))
    chain = tuple(
        Layer(entry.address, entry.id, entry.use or "")
        for entry in entries_at(side.root, ("middleware",))
    )
    none: tuple[Layer, ...] = ()
    old_name = None if old is None else old.name
    new_name = None if new is None else new.name
    return Comparison(
        name,
        old_name,
        new_name,
        (found,),
        none if old is None else chain,
        none if new is None else chain,
    )


def _same_meaning(name: str, old: Side, new: Side) -> Finding:
    message = f"the text differs, and the manifest says the same (SHA-256 {new.hash[:12]})"
    told = change(Grade.cosmetic, "same-meaning", message, old.root, new.root)
    return _finding(name, None, told)


def _following_renames(old: Side, new: Side) -> Side:
    """Return the old side with references to renamed resources as the new one writes them.

    What a rename means is told once, at the resource.
    """
    pairs = match(*(entries_at(side.root, ("resources",)) for side in (old, new))).pairs
    names = {
        f"${{resources.{before.id}}}": f"${{resources.{after.id}}}"
        for before, after in pairs
        if before.id != after.id
    }
    if not names:
        return old
    root = renamed(old.root, names)
    return dataclasses.replace(old, document=dataclasses.replace(old.document, root=root))


def _changed_code(
    old: Side, new: Side, knowledge: Knowledge, seen: set[str]
) -> Iterator[tuple[EntryNode | None, Change]]:
    """Yield once each module of the project that stands between callers and routes, and differs.

    What a router does is the change itself; what guards it is not seen in a manifest.
    """
    for side in (new, old):
        for entry, at, use, node in guarding(side, knowledge):
            for module in knowledge.changed_modules(use):
                if module not in seen:
                    seen.add(module)
                    who = entry.id if entry else ".".join(map(str, at))
                    message = f"`{module}`, which `{who}` runs, is not as it was: read what it does"
                    nodes = (None, node) if side is new else (node, None)
                    told = change(Grade.review, "code-changed", message, *nodes)
                    yield entry, dataclasses.replace(told, at=tuple(map(str, at)))


def _of_list(
    path: NodePath, matching: Matching, judge: Judge
) -> Iterator[tuple[EntryNode, Change]]:
    """Yield what differs in one list of entries, each with its entry."""
    for entries, side, is_new in (
        (matching.gone, judge.old, False),
        (matching.more, judge.new, True),
    ):
        places = RolePlaces(entries_at(side.root, path) if entries else (), judge.knowledge)
        for entry in entries:
            for item in compare_presence(entry, places, side, judge, is_new=is_new):
                yield entry, item
    for before, after in matching.pairs:
        for item in judge.compare(before, after):
            yield after, item
    if path == ("middleware",):
        yield from ((pair[1], item) for pair, item in compare_chains(matching, judge.knowledge))
    else:
        yield from _moves(matching)


def _moves(matching: Matching) -> Iterator[tuple[EntryNode, Change]]:
    order = [after for _, after in matching.pairs]
    catches = Counter(filter(None, (after.text("catch") for after in order)))
    is_searched = len(matching.moved) * len(matching.pairs) <= MOST_PAIRS
    for place in sorted(matching.moved):
        before, after = matching.pairs[place]
        nodes = before.node, after.node
        if not ENTRIES[after.section].in_order and catches[after.text("catch") or ""] < 2:
            message = f"`{after.id}` stands elsewhere in the list, whose order has no meaning"
            yield after, change(Grade.cosmetic, "order", message, *nodes)
            continue
        where = f"after `{order[place - 1].id}`" if place else "first"
        message = f"`{after.id}` is now {ENTRIES[after.section].in_order or 'tried'} {where}"
        grade = Grade.behaviour
        if after.section == "routes" and (not is_searched or _may_shadow(matching, place)):
            grade = Grade.review
            message += ": a request that it shares with others may be answered by another route"
        yield after, change(grade, "order", message, *nodes)


def _may_shadow(matching: Matching, place: int) -> bool:
    """Tell whether a route passed one that may match the same request."""
    before, after = matching.pairs[place]
    return any(
        (old.index < before.index) != (new.index < after.index) and _overlap(new, after)
        for old, new in matching.pairs
    )


def _overlap(one: EntryNode, other: EntryNode) -> bool:
    paths = [
        (entry.text("mount") or entry.text("path") or entry.text("prefix") or "").rstrip("/") + "/"
        for entry in (one, other)
    ]
    return paths[0].startswith(paths[1]) or paths[1].startswith(paths[0])


def _chains(
    old: Side, new: Side, matching: Matching
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    moved = {id(entry) for place in matching.moved for entry in matching.pairs[place]}
    peers: dict[int, int] = {}
    for before, after in matching.pairs:
        peers[id(before)] = after.index
        peers[id(after)] = before.index
    sides = (
        [pair[0] for pair in matching.pairs] + list(matching.gone),
        [pair[1] for pair in matching.pairs] + list(matching.more),
    )
    chains = [
        tuple(
            Layer(
                entry.address, entry.id, entry.use or "", peers.get(id(entry)), id(entry) in moved
            )
            for entry in sorted(entries, key=lambda entry: entry.index)
        )
        for entries in sides
    ]
    return chains[0], chains[1]


def _finding(manifest: str, entry: EntryNode | None, item: Change, at: str = "") -> Finding:
    """Place a change below `at`; what a text may still hold of a URL's password is covered last."""
    address = redact(at[:-1] if entry is None else f"{at}{entry.address}")
    return Finding(
        manifest=manifest,
        grade=item.grade,
        rule=item.rule,
        message=redact(item.message),
        path=redact(".".join([*filter(None, [address]), *item.at])),
        entry=address,
        old=None if item.old is None else Place.of(item.old),
        new=None if item.new is None else Place.of(item.new),
        details=tuple(map(redact, item.details)),
    )
