"""Inventories of one application in several environments → one, with references in it.

In: what the first run found, and each other run with its environment. Out: the items as a manifest says
them, literals told from references: what changes with the environment is a reference to what it came
from, or, where no reference gives it, is left to a bridge. What stands in one run only, or has another
value there, becomes an overlay of its switch, or `enabled`. A literal that may be a credential is never
written: a variable's reference is.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from assembler.adopt.environment import (
    ValueSource,
    Variation,
    default_at,
    reference_for,
    sources,
)
from assembler.adopt.expressions import is_of_this_machine
from assembler.adopt.naming import Value, parts
from assembler.diagnostics.secrets import is_secret
from assembler.plan.allow_list import ImportList
from assembler.review.credentials import holds_secret, looks_secret

Key = tuple[str, str, int]
MADE = "\x05"
"""Stands around the key of what the module beside the manifest names, until it has a name there."""
_TOLD_PLAINLY = frozenset({"title", "description", "summary", "version"})
_MAY_BE_ENABLED = frozenset({"startup", "shutdown", "jobs"})


class UnsaidError(Exception):
    """A value that changes with the environment as no reference does; `run` is where it differs."""

    def __init__(self, message: str, run: int | None = None) -> None:
        super().__init__(message)
        self.run = run


@dataclass(frozen=True, slots=True)
class VariedRun:
    """One recording: what was varied for it, and what it found."""

    variation: Variation
    taken: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(slots=True)
class AdoptedCall:
    """One recorded call, as it ends: `written`, `bridged` or `refused`."""

    kind: str
    place: str
    what: str
    section: str
    entry: dict[str, Any] | None
    bridge: Mapping[str, Any] | None
    note: str
    outcome: str = "written"
    code: str | None = None
    proposed: str = ""
    pieces: list[dict[str, Any]] = field(default_factory=list)  # of a lifespan: proposals
    scheduler: str = ""
    runs_own_code: bool = False  # to make a layer
    only_in: str = ""  # the section of what stands in an overlay alone
    before: "AdoptedCall | None" = None  # which such an entry stands before
    overlays: dict[str, dict[str, Any] | None] = field(
        default_factory=dict
    )  # by switch; None: gone


@dataclass(slots=True)
class Merged:
    """All items, and what the manifest needs besides."""

    items: list[AdoptedCall]
    resources: dict[str, str]  # the path of each object, by the id of its resource
    made: dict[
        str, Value
    ]  # what the module beside the manifest names, by the text that stands for it
    settings: str | None
    needs: dict[str, tuple[str, str]]  # variables for what stood there as a literal: value, place
    remarks: list[str]


def merge(first: VariedRun, others: list[VariedRun], imports: ImportList) -> Merged:
    """Join the runs; what lies outside the import list is named by no entry."""
    return _RunMerger(first, others, imports).merged()


class _RunMerger:
    def __init__(self, first: VariedRun, others: list[VariedRun], imports: ImportList) -> None:
        self.imports = imports
        self.first = first
        self.others = others
        self.known = [
            sources(first.taken, run.taken, (first.environment, run.environment)) for run in others
        ]
        if not others:
            pair = (first.environment, first.environment)
            self.known = [sources(first.taken, None, pair)]
        self.resources: dict[str, str] = {}
        self.made: dict[str, Value] = {}
        self.needs: dict[str, tuple[str, str]] = {}
        self.remarks: list[str] = []
        self.uses_settings = False
        self.item: Mapping[str, Any] = {}

    def merged(self) -> Merged:
        runs = [dict(keyed(run.taken["items"])) for run in self.others]
        items = []
        for key, item in keyed(self.first.taken["items"]):
            items.append(self.one(item, [run.get(key) for run in runs]))
        own = {key for key, _ in keyed(self.first.taken["items"])}
        for run, found in zip(self.others, runs, strict=True):
            for key, item in found.items():
                if key not in own:
                    items.append(self.added(item, run, items))
        settings = self.first.taken["settings"]
        use = settings["use"] if settings and self.uses_settings else None
        return Merged(items, self.resources, self.made, use, self.needs, self.remarks)

    def one(self, item: Mapping[str, Any], others: list[Mapping[str, Any] | None]) -> AdoptedCall:
        """Merge one item with what it is in other runs; None where it is not there."""
        made = _item(item)
        self.item = item
        for kind in ("preferred", "entry"):
            if made.entry is None and item.get(kind) is not None:
                entries = [None if other is None else other.get(kind) for other in others]
                made.entry = self.entry(made, item[kind], entries)
                if made.entry is not None and kind == "preferred":
                    made.note = item["differs"]
        made.pieces = [self.piece(each) for each in item.get("pieces", ())]
        self.settle(made, item)
        for run, other in zip(self.others, others, strict=True):
            if other is None:
                self.gone(made, run)
        return made

    def piece(self, piece: Mapping[str, Any]) -> dict[str, Any]:
        """Write a proposal for a piece of a lifespan; what is used by it alone is no resource yet."""
        before = dict(self.resources), self.uses_settings, dict(self.needs), self.imports
        why = piece["why"]
        for imports in (self.imports, ImportList(None, None)):
            self.imports = imports
            try:
                entry = {key: self.said(each, [], (key,)) for key, each in piece["entry"].items()}
                more = {
                    name: path for name, path in self.resources.items() if name not in before[0]
                }
            except UnsaidError as error:
                why = str(error)
                continue
            finally:
                self.resources, self.uses_settings, self.needs, self.imports = before
            return {**piece, "entry": entry, "more": more, "why": why}
        return {**piece, "entry": {}, "section": "", "why": f"it stays: {why}", "more": {}}

    def entry(
        self,
        made: AdoptedCall,
        entry: Mapping[str, Value],
        others: list[Mapping[str, Value] | None],
    ) -> dict[str, Any] | None:
        found: dict[str, Any] = {}
        for key, value in entry.items():
            values = [None if other is None else other.get(key) for other in others]
            try:
                found[key] = self.key(made, key, value, values)
                if _is_default(value, found[key]):
                    del found[key]
            except UnsaidError as error:
                if made.section != "app":
                    made.note = str(error)
                    return None
                self.bridge_fact(made, key, str(error))
        return found

    def bridge_fact(self, made: AdoptedCall, key: str, why: str) -> None:
        """Have a fact of the application taken from the one that there was, where code may set it."""
        made.note = "; ".join(filter(None, [made.note, why]))
        attribute = self.item.get("facts", {}).get(key)
        if attribute is None:
            made.outcome = "refused"
            return
        bridge = made.bridge or {}
        made.bridge = {"is": "facts", "names": [*bridge.get("names", ()), attribute]}
        if made.outcome == "written":
            made.outcome = "bridged"

    def key(self, made: AdoptedCall, key: str, value: Value, values: list[Value | None]) -> Any:
        """Return what one key of an entry says; another value under a switch goes to its overlay."""
        while True:
            try:
                return self.said(value, values, (key,))
            except UnsaidError as error:
                switch = "" if error.run is None else self.others[error.run].variation.switch
                if not switch or error.run is None:
                    raise
                theirs = values[error.run]
                assert theirs is not None  # noqa: S101  # it was found to differ
                change = made.overlays.setdefault(switch, {})
                if change is not None:
                    change[key] = self.differing(value, theirs, key)
                values[error.run] = None
                made.proposed = f"`{key}` is another one where `{switch}` is turned"

    def differing(self, value: Value, theirs: Value, key: str) -> Any:
        """Return what a key says in another run; of a mapping, what differs."""
        if value["is"] != "mapping" or theirs["is"] != "mapping":
            return self.said(theirs, [], (key,))
        mine = value["items"]
        return {
            name: self.said(each, [], (key, name))
            for name, each in theirs["items"].items()
            if mine.get(name) != each
            and {**each, "default": 0} != {**mine.get(name, {}), "default": 0}
        }

    def settle(self, made: AdoptedCall, item: Mapping[str, Any]) -> None:
        """Say how the item ends, as far as its own parts tell."""
        if item.get("refused"):
            made.outcome = "refused"
        elif made.entry is None and made.code is None:
            made.outcome = "bridged" if made.bridge or item["bridged"] else "refused"
        elif item["bridged"]:
            made.outcome = "bridged"

    def gone(self, made: AdoptedCall, run: VariedRun) -> None:
        """Note that an item is not there where a switch is turned."""
        switch = run.variation.switch
        if not switch:
            self.remarks.append(f"{made.place}: `{made.what}` stands only in this environment")
            return
        if not self.enabled_by_setting(made, run, first=True):
            made.overlays[switch] = None

    def added(
        self, item: Mapping[str, Any], run: VariedRun, items: list[AdoptedCall]
    ) -> AdoptedCall:
        """Make an item of what is there only where a switch is turned."""
        made = _item(item)
        self.item = item
        switch = run.variation.switch
        if item["entry"] is not None:
            try:
                made.entry = {k: self.said(v, [], (k,)) for k, v in item["entry"].items()}
            except UnsaidError as error:
                made.note = str(error)
        if self.enabled_by_setting(made, run, first=False):
            self.settle(made, item)
            return made
        made.overlays[switch or "other"] = made.entry
        made.outcome = "written" if made.entry else "refused"
        made.proposed = f"only where `{switch}` is turned"
        made.entry, made.only_in, made.section = None, made.section, ""
        made.before = self.next_of(item, run, items)
        return made

    def next_of(
        self, item: Mapping[str, Any], run: VariedRun, items: list[AdoptedCall]
    ) -> AdoptedCall | None:
        """Return what comes next in the same section, of what stands in every environment."""
        known = {(each.kind, each.place, each.what): each for each in items if each.section}
        theirs = run.taken["items"]
        after = theirs[theirs.index(item) + 1 :]
        same = (each for each in after if each["section"] == item["section"])
        found = (known.get((each["kind"], each["place"], each["what"])) for each in same)
        return next((each for each in found if each is not None), None)

    def enabled_by_setting(self, made: AdoptedCall, run: VariedRun, *, first: bool) -> bool:
        """Let a setting that was `first` say whether what may be `enabled` runs; tell if it can."""
        reference = self.switch_of(run)
        if made.section not in _MAY_BE_ENABLED or not made.entry:
            return False
        if reference is None or reference.first is not first:
            return False
        self.uses_settings = True
        made.entry["enabled"] = f"${{{reference.reference}}}"
        made.proposed = f"only where `{run.variation.switch}` is on"
        return True

    def switch_of(self, run: VariedRun) -> ValueSource | None:
        """Return the setting that a switch is."""
        place = self.others.index(run)
        name = run.variation.switch
        settings = run.taken["settings"] or {"variables": {}}
        variables = {f"settings.{k}": v["variable"] for k, v in settings["variables"].items()}
        for source in self.known[place]:
            if variables.get(source.reference, "").lower() == name.lower():
                return source if isinstance(source.first, bool) else None
        return None

    # --- values

    def said(self, value: Value, others: list[Value | None], path: tuple[str, ...]) -> Any:
        """Return what a manifest says of a value; raises `UnsaidError`."""
        kind = value["is"]
        if kind == "settings":
            self.uses_settings = True
            return "${settings}"
        if kind == "resource":
            return f"${{resources.{value['name']}}}"
        if kind == "setting":
            self.uses_settings = True
            return f"${{settings.{value['path']}}}"
        if kind in {"path", "made"}:
            return self.path(value, path)
        if kind == "folder":
            return value
        if all(each["is"] in {"literal", "list"} for each in parts(value)):
            return self.literal(value, others, path)
        if kind == "list":
            return [
                self.said(each, [_at(other, n) for other in others], (*path, str(n)))
                for n, each in enumerate(value["items"])
            ]
        found = {
            key: self.said(each, [_at(other, key) for other in others], (*path, key))
            for key, each in value["items"].items()
        }
        items = value["items"]
        return {key: each for key, each in found.items() if not _is_default(items[key], each)}

    def path(self, value: Value, path: tuple[str, ...]) -> str:
        is_code = path[-1] in {"use", "catch"} or value["form"] != "object"
        is_code = is_code or path[0] in {"default_response_class", "webhooks"}
        if value["is"] == "made":
            key = f"{MADE}{value['key']}{MADE}"
            self.made[key] = value
            name = str(value["name"])
            return key if is_code else f"${{resources.{self.resource(key, name)}}}"
        text = str(value["path"])
        module = text.partition(":")[0] if ":" in text else text.rpartition(".")[0]
        for each in (module, value.get("definer") or module):
            if not self.imports.allows(each):
                raise UnsaidError(f"`{each}` is outside the import list")
        if is_code:
            return text
        return f"${{resources.{self.resource(text)}}}"

    def resource(self, path: str, wanted: str = "") -> str:
        """Return the id of the resource that is the object at a path."""
        for name, known in self.resources.items():
            if known == path:
                return name
        base = re.sub(r"\W", "_", wanted or re.split(r"[.:]", path)[-1]).strip("_") or "object"
        name, number = base, 1
        while name in self.resources:
            number += 1
            name = f"{base}_{number}"
        self.resources[name] = path
        return name

    def literal(self, value: Value, others: list[Value | None], path: tuple[str, ...]) -> Any:
        mine = plain(value)
        differs: int | None = None
        for place, other in enumerate(others):
            if other is None:
                continue
            theirs = plain(other) if _is_plain(other) else None
            if theirs == mine and type(theirs) is type(mine):
                continue
            differs = place
            further = (
                (plain(each), known)
                for each, known in zip(others, self.known, strict=True)
                if each is not None and _is_plain(each)
            )
            reference = reference_for(mine, theirs, self.known[place], further)
            if reference is not None:
                self.uses_settings = self.uses_settings or "${settings" in reference
                self.need_what_is_unset(reference)
                return reference
        if differs is not None:
            if value["is"] == "list" and all(
                other is None or (_is_plain(other) and len(_items(other)) == len(value["items"]))
                for other in others
            ):
                return [
                    self.said(each, [_at(other, n) for other in others], (*path, str(n)))
                    for n, each in enumerate(value["items"])
                ]
            raise UnsaidError(
                f"`{path[-1]}` changes with the environment as no reference does", differs
            )
        hidden = self.hidden(mine)
        if hidden is not None:
            return hidden
        return self.open_literal(mine, path)

    def need_what_is_unset(self, reference: str) -> None:
        """Have a secret variable be set whose default stands in the source, and nowhere else."""
        read = self.first.taken["environment"]
        settings = self.first.taken["settings"] or {}
        others = {each["variable"]: each["value"] for each in settings.get("others", ())}
        for name in re.findall(r"\$\{(\w+)\}", reference):
            if name in others and name not in self.first.environment:
                self.needs[name] = str(others[name]), str(settings["place"])
            default = default_at(name, read[name]) if name in read else None
            if name not in self.first.environment and default is not None:
                self.needs[name] = default, read[name]

    def hidden(self, value: Any) -> str | None:
        """Return the reference for a secret that did not change, as it could not be varied."""
        for source in self.known[0]:
            if source.is_hidden and source.first and source.first == value:
                self.uses_settings = self.uses_settings or source.reference.startswith("settings.")
                return f"${{{source.reference}}}"
        return None

    def open_literal(self, value: Any, path: tuple[str, ...]) -> Any:
        """Return a literal that may be shown, or the reference to a variable that has it."""
        if isinstance(value, list):
            return [self.open_literal(each, path) for each in value]
        names = [each for each in path if not each.isdigit()]
        if isinstance(value, str) and is_of_this_machine(value):
            raise UnsaidError(f"`{names[-1]}` is a path of this machine")
        if isinstance(value, str) and value and _may_be_secret(names, value):
            return self.needed(value, names)
        return _escaped(value)

    def needed(self, text: str, names: list[str]) -> str:
        """Have a variable stand for a literal that may be a credential."""
        owner = re.sub(r"Middleware$", "", str(self.item.get("what", ""))).split(" ")[0]
        last = names[-1] if names[-1] not in {"with", "use"} else "secret"
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", f"{owner}_{last}")
        base = re.sub(r"\W+", "_", words).strip("_").upper()
        name, number = base, 1
        while name in self.needs and self.needs[name][0] != text:
            number += 1
            name = f"{base}_{number}"
        self.needs[name] = (text, str(self.item["place"]))
        return f"${{{name}}}"


def keyed(items: list[Mapping[str, Any]]) -> Iterator[tuple[Key, Mapping[str, Any]]]:
    """Yield each item with what it is found by in another run: its kind, its place, its number."""
    seen: Counter[tuple[str, str]] = Counter()
    for item in items:
        name = item["kind"], item["place"]
        yield (*name, seen[name]), item
        seen[name] += 1


def plain(value: Value) -> Any:
    """Return a value of literals and lists as it is."""
    return [plain(each) for each in value["items"]] if value["is"] == "list" else value["value"]


def _is_plain(value: Value) -> bool:
    return all(each["is"] in {"literal", "list"} for each in parts(value))


def _items(value: Value) -> list[Value]:
    found = value.get("items", [])
    return found if isinstance(found, list) else []


def _at(value: Value | None, key: int | str) -> Value | None:
    items = None if value is None else value.get("items")
    if isinstance(items, dict):
        return items.get(key)
    if isinstance(items, list) and isinstance(key, int) and key < len(items):
        found: Value = items[key]
        return found
    return None


def _item(item: Mapping[str, Any]) -> AdoptedCall:
    return AdoptedCall(
        kind=item["kind"],
        place=item["place"],
        what=item["what"],
        section=item["section"],
        entry=None,
        bridge=item["bridge"],
        note=item["note"],
        code=item.get("code"),
        proposed=item.get("proposed", ""),
        scheduler=item.get("scheduler", ""),
        runs_own_code=item.get("runs_own_code", False),
    )


def _may_be_secret(names: list[str], text: str) -> bool:
    if any(is_secret(name, "option") for name in names):
        return True
    return holds_secret(text) or (names[0] not in _TOLD_PLAINLY and looks_secret(text))


def _is_default(value: Value, said: Any) -> bool:
    """Tell whether a fact needs no saying: FastAPI has it by itself, in every environment."""
    if value["is"] == "mapping" and said == {} and value["items"]:
        return all(each.get("default") for each in value["items"].values())
    return bool(value.get("default")) and not (isinstance(said, str) and "${" in said)


def _escaped(value: Any) -> Any:
    """Write a literal so that no reference is seen in it."""
    return value.replace("${", "$${") if isinstance(value, str) else value
