"""The callable that `use` names → JSON Schema of what stands under `with`.

In: a `Target`. Out: a schema of its options, with their defaults and descriptions, and which of
them must be given. An option whose type cannot be described takes anything.
"""

import inspect
from datetime import timedelta
from enum import Enum
from typing import Any

from assembler.describe.schema.generator import Schema, SchemaGenerator, Shaper
from assembler.diagnostics.secrets import is_secret
from assembler.document.nodes import NodePath
from assembler.manifest.duration import duration_text
from assembler.plan.signature import Signature, Target


def options_schema(
    target: Target, name: str, definitions: dict[str, Schema], *, given: frozenset[str]
) -> dict[NodePath, list[str]]:
    """Add the schema of what `with` takes for `target` to `definitions`, as `name`.

    Returns the options that must be given, by path; `given` are those that the assembler fills in.
    """
    signature = target.signature
    described = _described(signature)
    defaults = _defaults(target)
    shape: Schema = {
        "type": "object",
        "properties": {
            key: {**schema, **({"default": defaults[key]} if key in defaults else {})}
            for key, schema in described["properties"].items()
        },
    }
    required = [
        key for key, item in signature.parameters.items() if item.required and key not in given
    ]
    if required:
        shape["required"] = required
    shaper = Shaper(described.get("$defs", {}), definitions, f"{name}.")
    shaped = shaper.form(shape, ("with",), merges=True, refers=True)
    definitions[name] = {
        **shaped,
        "type": ["object", "null"],
        "additionalProperties": signature.open,
    }
    return shaper.required


def _described(signature: Signature) -> Schema:
    try:
        schema = signature.adapter().json_schema(schema_generator=SchemaGenerator)
    except Exception:  # noqa: BLE001  # whatever a foreign type's schema hook raises
        return {"properties": {key: {} for key in signature.parameters}}
    models = schema.get("$defs", {})
    shape = models[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return {"properties": shape.get("properties", {}), "$defs": models}


def _defaults(target: Target) -> Schema:
    """Return the defaults that JSON can say; that of a secret is shown to nobody."""
    try:
        parameters = inspect.signature(target.value).parameters
    except (TypeError, ValueError):
        return {}
    said = {key: _plain(item.default) for key, item in parameters.items()}
    return {
        key: default
        for key, default in said.items()
        if default is not _UNSAID and not (default and is_secret(key, "option"))
    }


_UNSAID = object()


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, list | tuple):
        items = [_plain(item) for item in value]
        return _UNSAID if _UNSAID in items else items
    return value if value is None or type(value) in (str, int, float, bool) else _UNSAID
