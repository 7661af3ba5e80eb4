"""Manifests of several environments → one table: environments as columns, entries as rows.

In: merged documents, and what tells which values are secrets. Out: a `Matrix` of rows that are the
same, differ or have a gap, with texts that show references as written and no credential. The forms
for people and programs are in `pages`.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from assembler.document.merge import Document
from assembler.document.nodes import (
    MappingNode,
    Node,
    NodePath,
    ScalarNode,
    SequenceNode,
    as_written,
    locate,
)
from assembler.document.parser import plain_value
from assembler.document.sections import ENTRY_LISTS, ENTRY_PATHS, INNER, entry_id
from assembler.manifest import Manifest
from assembler.review.credentials import (
    IsSecret,
    is_harmless,
    literal_text,
    looks_secret,
    sets_cookie,
    veiled_text,
)
from assembler.review.report import UNKNOWN, worst_of

State = Literal["same", "differs", "gap"]
HIDDEN = "(written out)"
_STARS = re.compile(r"\*{2,}")
_LONGEST = 200  # characters of a value that is shown
_NAMING = frozenset({"id", "use", "catch", "mount", INNER})


@dataclass(frozen=True, slots=True)
class Column:
    """One environment: its own manifest, and by the ids of their mounts those inside it."""

    name: str
    document: Document
    is_secret: IsSecret
    inner: "Mapping[str, Column]" = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One entry or value; `cells` has a text for each column, None where it is not there."""

    section: str
    name: str
    depth: int  # 0: an entry or a value of a section; 1: a value of the entry above
    state: State
    cells: tuple[str | None, ...]
    is_entry: bool = False


@dataclass(frozen=True, slots=True)
class Matrix:
    """The columns' names, and the rows in the order of the format."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    failures: tuple[str, ...] = ()  # sentences that say which environment could not be read

    @property
    def worst(self) -> str | None:
        """`gap`, `differs`, or `unknown` where an environment is missing; None: all is the same."""
        states = {row.state for row in self.rows}
        worst = "gap" if "gap" in states else "differs" if "differs" in states else None
        return worst_of(worst, self.failures)

    @property
    def sections(self) -> dict[str, list[Row]]:
        """The rows by their sections."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.section, []).append(row)
        return found

    def counted(self) -> str:
        """Return `3 differ, 1 gap`, `unknown, 1 not compared`, or `all the same`."""
        states = [row.state for row in self.rows]
        differ, gaps = states.count("differs"), states.count("gap")
        failed = len(self.failures)
        parts = [UNKNOWN, f"{failed} not compared"] if failed else []
        parts += [f"{differ} differ"] * bool(differ) + [f"{gaps} gap{'s' * (gaps > 1)}"] * bool(
            gaps
        )
        return ", ".join(parts) or "all the same"


def matrix(
    columns: Sequence[Column], failures: Sequence[str] = (), *, whole: bool = False
) -> Matrix:
    """Compare the documents; with `whole` values that are the same everywhere are rows as well.

    `failures` are sentences that say which environment could not be read.
    """
    rows = list(_rows(columns))
    kept = (row for row in rows if whole or row.state != "same" or row.is_entry)
    return Matrix(tuple(column.name for column in columns), tuple(kept), tuple(failures))


def _rows(columns: Sequence[Column], at: str = "") -> Iterator[Row]:
    """Yield the rows of one manifest, then those of the manifests that are mounted in it."""
    for section in Manifest.model_fields:
        if section not in {"manifest", "extends"}:
            yield from (
                replace(row, section=f"{at}{section}") for row in _section(columns, section)
            )
    for name in _merged([list(column.inner) for column in columns]):
        nothing = (
            replace(column.document, root=column.document.root.having({})) for column in columns
        )
        inside = [
            column.inner.get(name) or Column(column.name, empty, column.is_secret)
            for column, empty in zip(columns, nothing, strict=True)
        ]
        yield from _rows(inside, f"{at}routes.{name}.{INNER}.")


def _section(columns: Sequence[Column], section: str) -> Iterator[Row]:
    lists = [path for path in ENTRY_PATHS if path[0] == section]
    if lists != [(section,)]:
        inside = {str(path[1]) for path in lists}
        yield from _values(columns, section, [(section,)] * len(columns), 0, skip=inside)
    for path in lists:
        yield from _entries(columns, section, path)


def _entries(columns: Sequence[Column], section: str, path: NodePath) -> Iterator[Row]:
    found = [_named(column.document.root, path) for column in columns]
    names = _merged([list(one) for one in found])
    shared = [[name for name in one if all(name in other for other in found)] for one in found]
    if path in ENTRY_LISTS and any(order != shared[0] for order in shared):
        cells = tuple(" → ".join(map(_shortened, order)) for order in shared)
        yield Row(section, "order", 0, "differs", cells)
    for name in names:
        paths = [one.get(name) for one in found]
        uses = [_use(column, at) for column, at in zip(columns, paths, strict=True)]
        yield Row(section, name, 0, _state(uses), tuple(uses), is_entry=True)
        yield from _values(columns, section, paths, 1, skip=_NAMING)


def _values(
    columns: Sequence[Column],
    section: str,
    paths: Sequence[NodePath | None],
    depth: int,
    skip: Iterable[str],
) -> Iterator[Row]:
    """Yield a row for each value below `paths`, one path for each column."""
    leaves: list[dict[str, tuple[object, str]]] = []
    for column, path in zip(columns, paths, strict=True):
        node, key = locate(column.document.root, path or ())
        is_there = path is not None and (key is not None or isinstance(path[-1], int))
        own = _leaves(column, path or (), node, (), skip) if is_there else ()
        leaves.append(dict(own))
    for name in _merged([list(one) for one in leaves]):
        given = [one.get(name) for one in leaves]
        present = [
            each
            for each, path in zip(given, paths, strict=True)
            if path is not None  # an entry that is away has told so in its own row
        ]
        raw = {json.dumps(one and one[0], sort_keys=True) for one in present}
        state: State = "gap" if None in present else "differs" if len(raw) > 1 else "same"
        yield Row(section, name, depth, state, tuple(one[1] if one else None for one in given))


def _leaves(
    column: Column, at: NodePath, node: Node, below: NodePath, skip: Iterable[str]
) -> Iterator[tuple[str, tuple[object, str]]]:
    if isinstance(node, MappingNode) and (node.members or not below):
        for key, member in node.members.items():
            if below or key not in skip:
                yield from _leaves(column, at, member.value, (*below, key), ())
        return
    name = ".".join(map(str, below)) or str(at[-1])
    path = (*at, *below)
    yield name, (as_written(node), _shown(column, path, node))


def _shown(column: Column, path: NodePath, node: Node) -> str:
    text = _text(column, path, node)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _text(column: Column, path: NodePath, node: Node) -> str:
    if isinstance(node, SequenceNode):
        inner = (_text(column, (*path, i), item) for i, item in enumerate(node.items))
        return f"[{', '.join(inner)}]"
    if isinstance(node, MappingNode):
        members = node.members.items()
        shown = (f"{key}: {_text(column, (*path, key), one.value)}" for key, one in members)
        return f"{{{', '.join(shown)}}}"
    literal = literal_text(node.value) if isinstance(node.value, str) else node.value
    is_told = column.is_secret(path) or sets_cookie(str(path[-1]), node.value)
    if literal != "" and is_told and not is_harmless(literal):
        return HIDDEN
    if not isinstance(node.value, str):
        return json.dumps(node.value)
    if looks_secret(literal_text(node.value)) and veiled_text(node.value) == node.value:
        return HIDDEN
    text = _STARS.sub("***", veiled_text(node.value))
    return text if _reads_as_text(text) else json.dumps(text, ensure_ascii=False)


def _reads_as_text(text: str) -> bool:
    try:
        return isinstance(plain_value(text), str)
    except OverflowError:
        return False


def _named(root: MappingNode, path: NodePath) -> dict[str, NodePath]:
    """Return the paths of a section's entries, by their ids."""
    node, key = locate(root, path)
    if key is None:
        return {}
    if isinstance(node, MappingNode):
        return {name: (*path, name) for name in node.members}
    items = node.items if isinstance(node, SequenceNode) else ()
    return {entry_id(path, item) or str(index): (*path, index) for index, item in enumerate(items)}


def _use(column: Column, path: NodePath | None) -> str | None:
    """Return what an entry names; SQL and expectations name no code."""
    if path is None:
        return None
    node, _ = locate(column.document.root, path)
    use = node.get("use") if isinstance(node, MappingNode) else None
    text = str(use.value) if isinstance(use, ScalarNode) else "SQL" if path[0] == "startup" else "—"
    mount, inner = (
        node.get(key) if isinstance(node, MappingNode) else None for key in ("mount", INNER)
    )
    text = str(inner.value) if isinstance(inner, ScalarNode) else text
    return f"{text} at {mount.value}" if isinstance(mount, ScalarNode) else text


def _state(cells: Sequence[str | None]) -> State:
    if None in cells:
        return "gap"
    return "same" if len(set(cells)) == 1 else "differs"


def _merged(lists: Sequence[list[str]]) -> list[str]:
    """Join lists of names so that each keeps its order as far as all agree."""
    merged: list[str] = []
    for names in lists:
        at = 0
        for name in names:
            if name in merged:
                at = merged.index(name) + 1
            else:
                merged.insert(at, name)
                at += 1
    return merged


def _shortened(name: str) -> str:
    return name.rpartition(".")[2] if "/" not in name else name
