"""An item of the catalogue → an entry that stands in a manifest and passes `check`.

In: the item, and all items, some of which it may need. Out: plain data in the form of a manifest. A
value that must be given is what a manifest already says, or an example of the option's description,
or a sample of its type; a secret is a reference with a default, to be changed.
"""

import builtins
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from assembler.describe.catalogue import CatalogueItem, Option
from assembler.manifest.section import resource_id

Find: TypeAlias = Callable[[str], CatalogueItem | None]

_DEEPEST = 4  # resources that need resources
_SAMPLES: Mapping[str, Any] = {
    "an integer": 1,
    "a number": 1.0,
    "true or false": True,
    "a duration": "10s",
    "a list": [],
    "a path": "data",
    "the import path of a function": "builtins.print",
}


def snippet(
    item: CatalogueItem,
    items: Sequence[CatalogueItem],
    *,
    section: str | None = None,
    find: Find = lambda path: None,
) -> dict[str, Any]:
    """Return a manifest's part with one entry for `item`, and the resources that it needs.

    `find` returns what a path names and `items` do not have.
    """
    parts = _Parts(items, find)
    chosen = section or item.sections[0]
    entry = parts.entry(item)
    resources = parts.resources
    if chosen == "resources":
        return {"resources": {**resources, _name(item): entry}}
    part: dict[str, Any] = {"resources": resources} if resources else {}
    if chosen == "scheduler.jobs":
        return part | {"scheduler": {"jobs": [{"id": _name(item), **entry, "cron": "0 3 * * *"}]}}
    return part | {chosen: [_placed(item, chosen, entry)]}


def _placed(item: CatalogueItem, section: str, entry: dict[str, Any]) -> dict[str, Any]:
    if section == "exception_handlers":
        name = "".join(word.title() for word in _name(item).split("_"))
        caught = getattr(builtins, name, None)
        is_class = isinstance(caught, type) and issubclass(caught, Exception)
        return {"catch": name if is_class else 500, **entry}
    if section == "routes":
        kind = "prefix" if item.is_router else "path" if item.is_endpoint else "mount"
        return {kind: f"/{_name(item).replace('_', '-')}", **entry}
    return entry


class _Parts:
    """Makes entries, and the resources that they need."""

    def __init__(self, items: Sequence[CatalogueItem], find: Find) -> None:
        self.resources: dict[str, Any] = {}
        self._items = items
        self._find = find

    def entry(self, item: CatalogueItem, depth: int = 0) -> dict[str, Any]:
        """Give each option that must be given a value."""
        given = {
            option.name: self._value(option, item, depth)
            for option in item.options
            if option.required
        }
        return {"use": item.path, **({"with": given} if given else {})}

    def _value(self, option: Option, item: CatalogueItem, depth: int) -> Any:
        for use in item.uses:
            said = use.given.get(option.name)
            resource = resource_id(said)
            if resource is not None and self._has_resource(resource, option, depth):
                return said
            bare = re.sub(
                r"\$\{\w+:-[^}]*\}", "", str(said)
            )  # a reference with a default needs no variable
            if said is not None and "${" not in bare:
                return said
        if option.type.startswith(("an object", "anything")):
            self._has_resource(option.name, option, depth)
            return f"${{resources.{option.name}}}"
        return _sample(option)

    def _has_resource(self, name: str, option: Option, depth: int) -> bool:
        """Add the resource `name`, with what it needs itself; False where nothing is known to be it.

        It is what manifests call so, else a component that the option's description names, one that
        gives an object of its class, or that class.
        """
        if name in self.resources:
            return True
        fitting = next(self._fitting(name, option), None) if depth < _DEEPEST else None
        if fitting is not None:
            self.resources[name] = self.entry(fitting, depth + 1)
        return fitting is not None

    def _fitting(self, name: str, option: Option) -> Iterator[CatalogueItem]:
        for item in self._items:
            if any(use.section == "resources" and use.id == name for use in item.uses):
                yield item
        for path in re.findall(r"`([\w.]+\.\w+)`", option.description):
            yield from filter(None, [self._find(path)])
        places = {place for place, _, _ in (each.partition(" ") for each in option.objects)}
        for item in sorted(self._items, key=lambda each: (len(each.required), each.path)):
            if "resources" in item.sections and not places.isdisjoint(item.gives):
                yield item
        for module, _, name_ in (re.split(r":\d+( )", each) for each in option.objects):
            yield from filter(None, [self._find(f"{module}.{name_}")])


def _sample(option: Option) -> Any:
    if option.type == "a secret":
        shown = re.findall(r"`([^`]+)`", option.description)
        default = (
            shown[0]
            if "url" in option.name and shown
            else "change-this-before-anybody-can-reach-it"
        )
        return f"${{{option.name.upper()}:-{default}}}"
    choice = re.match(r"`([^`]+)`", option.type)
    if choice:
        return choice[1]
    examples = re.findall(r"`([^`]+)`", option.description)
    least = re.search(r"(?:at least|more than) (-?\d+)", option.range)
    if option.type.startswith("an integer") and least:
        return int(least[1]) + ("more than" in option.range)
    if option.type in _SAMPLES:
        return _SAMPLES[option.type]
    if option.type == "a mapping":
        return _nested(option)
    if option.type.startswith("a list of"):
        example = examples[0] if examples else "example"
        return [_nested(option) if "mappings" in option.type else example]
    if option.type.startswith("a mapping of"):
        example = examples[0] if examples else "example"
        return {"name": _nested(option) if "mappings" in option.type else example}
    is_address = "url" in option.name or option.name == "issuer"
    fitting = [each for each in examples if "://" in each or not is_address]
    return fitting[0] if fitting else "https://host.example" if is_address else option.name


def _nested(option: Option) -> dict[str, Any]:
    return {each.name: _sample(each) for each in option.fields if each.required}


def _name(item: CatalogueItem) -> str:
    """Return what an entry is called: `db` where a manifest says so, else by its path."""
    used = next((use.id for use in item.uses if use.section == "resources"), None)
    if used:
        return used
    *_, module, last = item.path.split(".")
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", last).lower()
    return module if plain in {"router", "client", "init", "engine", "pool"} else plain
