"""A document and its manifest → what the rules of the audit look at.

In: a merged document, its models, the profile. Out: a `Subject` with its entries. Runs no code that
the manifest names and reads no variables. Of code that cannot be found in the source, no signature
is known.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from assembler.diagnostics.errors import AssemblerError, Diagnostic
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import Span
from assembler.document.extends import DISK, Shelf
from assembler.document.interpolation import Resolver
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, NodePath, locate
from assembler.document.sections import ENTRIES, SCOPED
from assembler.manifest import Manifest
from assembler.manifest.sections import entries_of
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.closing_layers import ATTRIBUTE, closes_send
from assembler.plan.signature import Target
from assembler.plan.sql.lint import SqlFinding, findings
from assembler.plan.sql.statement import SqlStep, read_sql
from assembler.plan.static import SourceReader
from assembler.plan.static.module import EarlierTree
from assembler.review.audit.item import Item, first_line, item_of, texts_of
from assembler.review.audit.rule import Profile, Sighting
from assembler.review.roles import role_of


@dataclass(frozen=True)
class Subject:
    """One manifest under one profile; `outer` is the one in which it is mounted, by `mount`.

    Its layers are those of all manifests around it and its own: a request passes them in that order.
    What says how the process runs is the outermost's.
    """

    document: Document = field(repr=False)
    manifest: Manifest = field(repr=False)  # where a variable would tell, a sample stands
    profile: Profile
    imports: ImportList
    shelf: Shelf = DISK  # where its files are read from
    tree: EarlierTree | None = None  # where its code is read from, if not from the disk
    outer: "Subject | None" = field(default=None, repr=False)
    mount: int = 0  # the index of the route in the outer one
    inner: "list[Subject]" = field(default_factory=list, repr=False)

    @property
    def everyone(self) -> "Iterator[Subject]":
        """This manifest, and those that are mounted in it."""
        yield self
        for one in self.inner:
            yield from one.everyone

    @property
    def outermost(self) -> "Subject":
        return self if self.outer is None else self.outer.outermost

    @cached_property
    def front(self) -> str:
        """The path under which it is mounted, empty for the outermost."""
        if self.outer is None:
            return ""
        return f"{self.outer.front}{str(self.outer.manifest.routes[self.mount].mount).rstrip('/')}"

    @cached_property
    def around(self) -> tuple[Item, ...]:
        """The layers of the manifests around it, and of its mount."""
        if self.outer is None:
            return ()
        place = ("routes", self.mount)
        scope = (one for one in self.outer.scoped if one.path[:2] == place)
        return (*self.outer.middleware, *(one for one in scope if one.section == "middleware"))

    def resource(self, name: str | None) -> Item | None:
        """Return a resource that it may name: its own, or one of a manifest around it."""
        found = next((one for one in self.resources if one.id == name), None)
        return found or (None if self.outer is None else self.outer.resource(name))

    @property
    def root(self) -> MappingNode:
        """The merged tree."""
        return self.document.root

    @cached_property
    def sections(self) -> dict[str, tuple[Item, ...]]:
        """The entries of each section, by its name."""
        return {name: tuple(self._items(name)) for name in ENTRIES}

    @property
    def resources(self) -> tuple[Item, ...]:
        return self.sections["resources"]

    @property
    def jobs(self) -> tuple[Item, ...]:
        return self.sections["scheduler.jobs"]

    @property
    def middleware(self) -> tuple[Item, ...]:
        return (*self.around, *self.sections["middleware"])

    @property
    def routes(self) -> tuple[Item, ...]:
        return self.sections["routes"]

    @cached_property
    def items(self) -> tuple[Item, ...]:
        """Every entry."""
        every = (item for section in self.sections.values() for item in section)
        return (*every, *self.scoped)

    @cached_property
    def scoped(self) -> tuple[Item, ...]:
        """The layers and handlers that routes have of their own."""
        found = []
        for index, route in enumerate(self.manifest.routes):
            for key in SCOPED:
                for at, model in enumerate(getattr(route, key)):
                    path = ("routes", index, key, at)
                    node, _ = locate(self.root, path)
                    found.append(item_of(key, path, node, str(model.id), self.front))
        return tuple(found)

    def scope_of(self, route: Item) -> list[Item]:
        """Return the layers that a route has of its own."""
        return [
            item
            for item in self.scoped
            if item.path[:2] == route.path and item.section == "middleware"
        ]

    @cached_property
    def sql(self) -> tuple[list[SqlStep], list[Diagnostic]]:
        """The statements of the start, and what is wrong with their texts and files."""
        resolver = Resolver(None, None, Secrets())
        above, outer = [], self.outer
        while outer is not None:
            above.append((outer.root, resolver))
            outer = outer.outer
        steps, faults = read_sql(self.manifest, self.document, resolver, self.shelf, above=above)
        return [step for step in steps if step.entry.enabled], faults

    @cached_property
    def sql_findings(self) -> tuple[SqlFinding, ...]:
        """What the linter of SQL finds."""
        return tuple(finding for _, _, finding in findings(self.sql[0]))

    @cached_property
    def server(self) -> Item:
        """The section `server`, its keys as options."""
        return self.section("server")

    @property
    def workers(self) -> int:
        value = self.server.value("workers", 1)
        return value if isinstance(value, int) else 1

    def section(self, *path: str) -> Item:
        """Return a section as an item; one that is not there is empty, at the top of the file."""
        if self.outer is not None and path[0] in ("server", "scheduler"):
            return self.outermost.section(*path)
        node, key = locate(self.root, path)
        if key is None or not isinstance(node, MappingNode):
            node = MappingNode({}, self.root.span)
        return Item(path[0], path, node, node, key or self.top)

    @property
    def top(self) -> Span:
        """The first word of the manifest: the place of what is nowhere in it."""
        member = self.root.members.get("manifest")
        return member.key if member else first_line(self.root.span)

    def place(self, *path: str | int) -> Span:
        """Return where the key of a section or value stands, or else the top."""
        node, key = locate(self.root, path)
        if key is not None:
            return key
        is_there = bool(path) and isinstance(path[-1], int)
        return first_line(node.span) if is_there else self.top

    def layers(self, *roles: str) -> list[tuple[int, Item]]:
        """Return the middleware of these roles, each with its index; the outermost has 0."""
        return [
            (index, item) for index, item in enumerate(self.middleware) if self.role(item) in roles
        ]

    def each_layer(self, *roles: str) -> list[Item]:
        """Return the layers of these roles, those that routes have of their own included."""
        layers = (*self.middleware, *(one for one in self.scoped if one.section == "middleware"))
        return [item for item in layers if self.role(item) in roles]

    def lacking(self, role: str, message: str) -> Iterator[Sighting]:
        """Yield that what has routes has no layer of a role."""
        if self._lacks(role):
            is_unsaid = any(not self.role(item) for item in self.middleware)
            more = f'; a class of your own says that it does so by `layer_role = "{role}"`'
            yield Sighting(self.place("middleware"), message, "", more if is_unsaid else "")

    def _lacks(self, role: str) -> bool:
        """Tell whether something answers without a layer; where all do, the outermost says so."""
        if self.outer is not None and self.outer._lacks(role):  # noqa: SLF001  # of this class
            return False
        answers = any(route.manifest is None for route in self.manifest.routes)
        return answers and not self.layers(role)

    def role(self, item: Item) -> str:
        """Return the id of what the code of an entry is for, empty where nobody has said it."""
        return self.role_at(item.use)

    def role_at(self, use: str) -> str:
        """Return the same by a path."""
        if use not in self._roles:
            found = role_of(use, self._everything) if use else None
            self._roles[use] = found.id if found else ""
        return self._roles[use]

    def closes_send(self, item: Item) -> bool:
        """Tell whether the answer to an exception passes a layer by."""
        try:
            return closes_send(*self._everything.lineage(item.use, ATTRIBUTE))
        except (ImportFault, RecursionError):
            return False

    def says(self, item: Item, attribute: str) -> bool:
        """Tell whether the class that an entry names, or gives, says `attribute = True`."""
        try:
            return bool(item.use) and self._everything.lineage(item.use, attribute)[1] is True
        except (AssemblerError, ImportFault, RecursionError):
            return False

    def posted_paths(self, item: Item) -> tuple[str, ...]:
        """Return the paths to which the router of an entry takes a POST, as its source shows them."""
        try:
            return self._everything.posted_paths(item.use) if item.use else ()
        except (AssemblerError, RecursionError):
            return ()

    def user_of(self, resource: str) -> Item | None:
        """Return the first entry that names a resource."""
        return self._users.get(f"${{resources.{resource}}}")

    def target(self, item: Item) -> Target | str:
        """Describe what an entry names by its source, or say why that cannot be done."""
        if item.use not in self._targets:
            try:
                self._targets[item.use] = self._reader.target(item.use)
            except ImportFault as fault:
                self._targets[item.use] = fault.message
            except AssemblerError as error:
                self._targets[item.use] = str(error)
        return self._targets[item.use]

    def takes(self, item: Item, option: str) -> bool:
        """Tell whether the code of an entry has such an option, as far as its source is known."""
        target = self.target(item)
        return (
            isinstance(target, str)
            or target.signature.open
            or option in target.signature.parameters
        )

    @cached_property
    def _users(self) -> dict[str, Item]:
        found: dict[str, Item] = {}
        for item in (item for one in self.everyone for item in one.items):
            for text in texts_of(item.node):
                found.setdefault(text, item)
        return found

    @cached_property
    def _reader(self) -> SourceReader:
        return SourceReader(self.imports, self.tree)

    @cached_property
    def _everything(self) -> SourceReader:
        """What tells roles: a layer that may not be imported is one all the same."""
        return SourceReader(ImportList(None, None), self.tree)

    @cached_property
    def _roles(self) -> dict[str, str]:
        return {}

    @cached_property
    def _targets(self) -> dict[str, Target | str]:
        return {}

    def models(self, section: str) -> list[Any]:
        """Return the models of the entries of a section, in the order of its items."""
        return [model for _, model in self._running(section)]

    def _running(self, section: str) -> Iterator[tuple[NodePath, Any]]:
        """Yield the entries of a section, without those that are switched off."""
        for path, model in entries_of(self.manifest, section):
            if getattr(model, "enabled", True):
                yield path, model

    def _items(self, section: str) -> Iterator[Item]:
        for path, model in self._running(section):
            node, _ = locate(self.root, path)
            name = str(model.id or getattr(model, "use", "") or "")
            yield item_of(str(path[0]), path, node, name, self.front)
