"""Items of the catalogue, options, and keys of the format → what a terminal shows of them.

In: an `CatalogueItem`, one of its options, or the address of a section or key. Out: text, and for the format
plain data, which is that of its JSON Schema: what editors complete and what is told here is one.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from textwrap import fill, indent
from typing import Any

from assembler.describe.catalogue import CatalogueItem, Option
from assembler.describe.schema.manifest import manifest_schema
from assembler.diagnostics.span import printable

_WIDTH = 100
_DEEPEST = 2  # levels of keys below a section


def as_list(items: Iterable[CatalogueItem], *, by_section: bool = True) -> str:
    """Return a line for each item, below the name of its section or with it."""
    lines: list[str] = []
    section = None
    for item in items:
        if by_section and item.sections[0] != section:
            section = item.sections[0]
            lines += ["", section] if lines else [section]
        where = [] if by_section else [", ".join(item.sections)]
        needs = [f"needs {', '.join(item.required)}"] if item.required else []
        extra = [f"extra {item.extra}"] if item.extra else []
        notes = f"  [{'; '.join([*where, *needs, *extra])}]" if where or needs or extra else ""
        lines.append(f"{'  ' if by_section else ''}{item.path}  {item.summary}{notes}".rstrip())
    return printable("\n".join(lines))


def as_page(item: CatalogueItem, findings: Sequence[str]) -> str:
    """Return all that is known of an item; `findings` is what the audit says of it."""
    where = " or ".join(f"`{section}`" for section in item.sections) or "no section"
    facts = [f"stands in {where}", f"defined at {item.place}"]
    facts += [f"is a layer of the role {item.role}"] if item.role else []
    facts += [f"needs the extra [{item.extra}]"] if item.extra else []
    lines = [item.path, f"  {'; '.join(facts)}", "", indent(item.doc or item.about, "  ")]
    if item.options:
        lines += ["", "options"]
        lines += [line for option in item.options for line in _option(option, 1)]
    if item.metrics:
        lines += ["", "metrics", *(f"  {name}" for name in item.metrics)]
    if findings:
        lines += ["", "audit", *(f"  {text}" for text in findings)]
    if item.uses:
        lines += ["", "used", *(f"  {use.place}  {use.section}.{use.id}" for use in item.uses)]
    return printable("\n".join(lines))


def as_option(item: CatalogueItem, option: Option) -> str:
    """Return all that is known of one option."""
    given = [
        f"  {use.place}  {option.name}: {use.given[option.name]}"
        for use in item.uses
        if option.name in use.given
    ]
    lines = [f"{item.path}.{option.name}", *_option(option, 0)[1:]]
    return printable("\n".join([*lines, *(["", "used", *given] if given else [])]))


def _option(option: Option, depth: int) -> list[str]:
    parts = [option.type, option.range, "required" if option.required else _default(option)]
    if option.looser:
        order = option.looser.removeprefix("order:").replace(",", " → ")
        is_order = option.looser.startswith("order:")
        parts.append(f"looser {order if is_order else _LOOSER.get(order, f'when {order}')}")
    pad = "  " * depth
    lines = [f"{pad}{option.name}", f"{pad}    {'; '.join(part for part in parts if part)}"]
    if option.description:
        lines.append(
            fill(
                option.description,
                _WIDTH,
                initial_indent=f"{pad}    ",
                subsequent_indent=f"{pad}    ",
            )
        )
    return lines + [line for inner in option.fields for line in _option(inner, depth + 2)]


def _default(option: Option) -> str:
    return f"default `{option.default}`" if option.default is not None else "optional"


_LOOSER = {
    "neither": "in neither direction",
}


def format_page(address: Sequence[str]) -> dict[str, Any] | None:
    """Return what the format says of a section or of a key below it; None where it has none.

    `("resources", "on_error")` is the key of each entry: ids and places of lists are left out.
    """
    schema = manifest_schema()
    node: Any = schema
    for step in address:
        forms = list(_forms(node, schema))
        found = [form["properties"][step] for form in forms if step in form.get("properties", {})]
        if not found:
            return None
        node = found[0]
    forms = list(_forms(node, schema))
    keys = {name: key for form in forms for name, key in form.get("properties", {}).items()}
    return {
        "path": ".".join(address),
        "description": _said(node, schema),
        "type": _type(node, schema),
        "default": node.get("default"),
        "examples": node.get("examples", []),
        "keys": {
            name: {
                "type": _type(key, schema),
                "description": _said(key, schema),
                "default": key.get("default"),
            }
            for name, key in keys.items()
            if isinstance(key, dict) and not name.startswith("$")
        },
    }


def format_addresses(key: str) -> list[str]:
    """Return the addresses of all sections and keys of that name, such as `resources.on_error`."""
    schema = manifest_schema()
    found: list[str] = []
    waiting: list[tuple[str, Any]] = [("", schema)]
    while waiting:
        address, node = waiting.pop(0)
        keys = {
            name: inner
            for form in _forms(node, schema)
            for name, inner in form.get("properties", {}).items()
        }
        found += [f"{address}{key}"] if key in keys else []
        if address.count(".") < _DEEPEST:  # a manifest may hold another one
            waiting += [(f"{address}{name}.", inner) for name, inner in keys.items()]
    return list(dict.fromkeys(found))


def as_format_page(page: dict[str, Any]) -> str:
    """Return the text of what `format_page` gives."""
    default = f"; default {_json(page['default'])}" if page["default"] is not None else ""
    lines = [page["path"], f"  {page['type']}{default}"]
    if page["description"]:
        lines += [
            "",
            fill(page["description"], _WIDTH, initial_indent="  ", subsequent_indent="  "),
        ]
    if page["keys"]:
        lines += ["", "keys"]
    for name, key in page["keys"].items():
        default = f"; default {_json(key['default'])}" if key["default"] is not None else ""
        lines += [f"  {name}", f"      {key['type']}{default}"]
        if key["description"]:
            text = key["description"]
            lines.append(fill(text, _WIDTH, initial_indent="      ", subsequent_indent="      "))
    lines += [f"  for example {_json(each)}" for each in page["examples"]]
    return printable("\n".join(lines))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _forms(node: Any, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the objects that may stand somewhere: behind references, in unions, lists, mappings."""
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        if name not in {"Reference", "Removed"}:
            yield from _forms(_target(node["$ref"], schema), schema)
    if "properties" in node:
        yield node
    for inner in (*node.get("anyOf", ()), node.get("items"), node.get("additionalProperties")):
        yield from _forms(inner, schema)


def _target(reference: str, schema: dict[str, Any]) -> Any:
    """Follow a reference such as `#/$defs/Route`; None where it leads nowhere."""
    found: Any = schema
    for step in reference.removeprefix("#/").split("/"):
        found = found.get(step) if isinstance(found, dict) else None
    return found


def _said(node: dict[str, Any], schema: dict[str, Any]) -> str:
    inner = (form.get("description") for form in _forms(node, schema))
    return str(node.get("description") or next(filter(None, inner), ""))


def _type(node: dict[str, Any], schema: dict[str, Any]) -> str:
    if "$ref" in node:
        name = node["$ref"].rpartition("/")[2]
        is_shared = name in {"Reference", "Removed"}
        return "" if is_shared else _type(_target(node["$ref"], schema), schema)
    if "enum" in node or "const" in node:
        return " | ".join(f"`{each}`" for each in node.get("enum", [node.get("const")]))
    arms = [_type(arm, schema) for arm in node.get("anyOf", ())]
    if arms:
        is_told = bool(node.get("default"))  # where null is not what stands there anyway
        return " or ".join(dict.fromkeys(arm for arm in arms if arm and (is_told or arm != "null")))
    words = {"string": "text", "object": "a mapping", "array": "a list", "integer": "an integer",
             "number": "a number", "boolean": "true or false", "null": "null"}  # fmt: skip
    kinds = node.get("type", [])
    named = [words[kind] for kind in ([kinds] if isinstance(kinds, str) else kinds)]
    bounds = [
        f"{word} {node[key]}"
        for key, word in (("minimum", "at least"), ("maximum", "at most"))
        if key in node
    ]
    return " ".join([" or ".join(named) or "anything", ", ".join(bounds)]).strip()
