"""An item of the catalogue → an entry that stands in a manifest and passes `check`.

In: the item, and all items, some of which it may need. Out: plain data in the form of a manifest. A
value that must be given is what a manifest already says, or an example of the option's description,
or a sample of its type; a secret is a reference with a default, to be changed.
"""

import builtins
import re
from collections.abc import Mapping, Sequence
from typing import Any

from assembler.describe.catalogue import CatalogueItem, Option
from assembler.manifest.section import resource_id

_DEEPEST = 4  # resources that need resources
_SAMPLES: Mapping[str, Any] = {
    "an integer": 1,
    "a number": 1.0,
    "true or false": True,
    "a duration": "10s",
    "a list": [],
    "a mapping": {},
    "a path": "data",
    "the import path of a function": "builtins.print",
}


def snippet(
    item: CatalogueItem, items: Sequence[CatalogueItem], *, section: str | None = None
) -> dict[str, Any]:
    """Return a manifest's part with one entry for `item`, and the resources that it needs."""
    resources: dict[str, Any] = {}
    chosen = section or item.sections[0]
    entry = _entry(item, items, resources, 0)
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


def _entry(
    item: CatalogueItem, items: Sequence[CatalogueItem], resources: dict[str, Any], depth: int
) -> dict[str, Any]:
    given = {
        option.name: _value(option, item, items, resources, depth)
        for option in item.options
        if option.required
    }
    return {"use": item.path, **({"with": given} if given else {})}


def _value(
    option: Option,
    item: CatalogueItem,
    items: Sequence[CatalogueItem],
    resources: dict[str, Any],
    depth: int,
) -> Any:
    for use in item.uses:
        said = use.given.get(option.name)
        resource = resource_id(said)
        if resource is not None and _add_resource(resource, items, resources, depth):
            return said
        bare = re.sub(
            r"\$\{\w+:-[^}]*\}", "", str(said)
        )  # a reference with a default needs no variable
        if said is not None and "${" not in bare:
            return said
    return _sample(option, items, resources, depth)


def _sample(
    option: Option, items: Sequence[CatalogueItem], resources: dict[str, Any], depth: int
) -> Any:
    if option.type == "a secret":
        shown = re.findall(r"`([^`]+)`", option.description)
        default = (
            shown[0]
            if "url" in option.name and shown
            else "change this before anybody can reach it"
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
    if option.type.startswith("a list of"):
        return [examples[0] if examples else "example"]
    if option.type.startswith("a mapping of"):
        return {"name": examples[0] if examples else "example"}
    if option.type.startswith("text"):
        is_address = "url" in option.name or "issuer" in option.name
        return examples[0] if examples else "https://host.example" if is_address else option.name
    if _add_resource(option.name, items, resources, depth):
        return f"${{resources.{option.name}}}"
    return examples[0] if examples else f"${{resources.{option.name}}}"


def _add_resource(
    name: str, items: Sequence[CatalogueItem], resources: dict[str, Any], depth: int
) -> bool:
    """Add the resource that manifests call `name`, with what it needs itself."""
    if name in resources:
        return True
    for item in items:
        if depth < _DEEPEST and any(
            use.section == "resources" and use.id == name for use in item.uses
        ):
            entry = _entry(item, items, resources, depth + 1)
            resources[name] = entry
            return True
    return False


def _name(item: CatalogueItem) -> str:
    """Return what an entry is called: `db` where a manifest says so, else by its path."""
    used = next((use.id for use in item.uses if use.section == "resources"), None)
    if used:
        return used
    *_, module, last = item.path.split(".")
    plain = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", last).lower()
    return module if plain in {"router", "client", "init", "engine", "pool"} else plain
