"""Types → JSON Schema of what a manifest may say in their place.

In: the JSON Schema that `SchemaGenerator` gives for a type. Out: the same with all that a manifest's
text may hold besides: a reference where no string is wanted, and in mappings the directives of
overlays. A type without a JSON Schema takes anything, and one that only an object has takes a
reference.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode

from assembler.document.nodes import NodePath
from assembler.document.sections import list_at
from assembler.manifest.duration import DURATION_SCHEMA, duration_text

Schema = dict[str, Any]

ITEM = "[]"  # stands in a path for every item of a list
VALUE = "{}"  # and for every value of a mapping whose keys are free
_OBJECT: Schema = {"type": "string", "pattern": r"\$\{"}
_CALLABLE: Schema = {"type": "string", "pattern": r"\$\{|^[A-Za-z_]\w*([.:][A-Za-z_]\w*)+$"}
_REFERENCE: Schema = {"$ref": "#/$defs/Reference"}
_REMOVED: Schema = {"$ref": "#/$defs/Removed"}
SHARED: dict[str, Schema] = {
    "Reference": {
        **_OBJECT,
        "description": "`${NAME}`, `${NAME:-default}`, `${settings.field}` or `${resources.id}`.",
    },
    "Removed": {
        "type": "object",
        "description": "Takes out what the extended manifest says here.",
        "properties": {"$remove": {"const": True}},
        "required": ["$remove"],
        "additionalProperties": False,
    },
}
_DIRECTIVES: Schema = {
    "$remove": {"type": "boolean", "description": "Take out what the extended manifest says here."},
    "$replace": {
        "type": "boolean",
        "description": "Put this in the place of what the extended manifest says, not into it.",
    },
}
_PLACES: Schema = {
    "$before": {"type": "string", "description": "Place this entry before the one of this id."},
    "$after": {"type": "string", "description": "Place this entry after the one of this id."},
}
_WRITTEN_OUT = frozenset(
    {"use", "id", "catch", "mount", "with", "sql", "jobs", "dependencies"}
    | {"default_response_class", "generate_unique_id_function", "webhooks", "callbacks"}
)
_ABOUT = ("description", "default", "examples", "deprecated")


class SchemaGenerator(GenerateJsonSchema):
    """pydantic's generator in the format's words: `10s` is a duration, an object is a reference."""

    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012  # the base's type

    def generate(self, schema: Any, mode: JsonSchemaMode = "validation") -> Schema:
        """Return the schema, in the same words under every version of pydantic."""
        flat: Schema = _flat(super().generate(schema, mode))
        return flat

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Set none: a key needs no second name."""
        return False

    def encode_default(self, dft: Any) -> Any:
        """Write a duration as a manifest does."""
        return duration_text(dft) if isinstance(dft, timedelta) else super().encode_default(dft)

    def timedelta_schema(self, schema: Any) -> Schema:
        """Take the format's durations, wherever one stands."""
        return dict(DURATION_SCHEMA)

    def is_instance_schema(self, schema: Any) -> Schema:
        """Take a reference: no text gives an object."""
        return dict(_OBJECT)

    def callable_schema(self, schema: Any) -> Schema:
        """Take an import path, or a reference."""
        return dict(_CALLABLE)

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
        """Take anything where JSON Schema has no word for the type."""
        return {}


@dataclass(frozen=True, slots=True)
class Shaper:
    """Turns pydantic's schema of `models` into the manifest's, filling `definitions`.

    Overlays merge mappings, so no layer has to hold all keys: `required` receives, by path, those
    that must be there in the end.
    """

    models: Mapping[str, Schema]
    definitions: dict[str, Schema]
    prefix: str = ""
    required: dict[NodePath, list[str]] = field(default_factory=dict)

    def value(self, schema: Schema, path: NodePath, *, merges: bool, refers: bool) -> Schema:
        """Return what may stand at `path`: in a mapping that `merges`, where text `refers`."""
        about = _about(schema)
        core = {key: item for key, item in schema.items() if key not in _ABOUT}
        choices = core.get("anyOf") or core.get("oneOf") or [core]
        arms = [self.form(choice, path, merges=merges, refers=refers) for choice in choices]
        objects = [choice for choice in choices if self._is_mapping(choice)]
        if {} in arms:
            return about
        if len(objects) > 1:
            self._forget(path)
        if refers and {"type": "string"} not in arms and _REFERENCE not in arms:
            arms.append(_REFERENCE)
        if merges and not objects:
            arms.append(_REMOVED)
        if "$ref" in core and objects:
            about.pop("default", None)  # its keys tell theirs
            about = {**_about(self._model(core)), **about}
        return {**about, **(arms[0] if len(arms) == 1 else {"anyOf": arms})}

    def form(self, schema: Schema, path: NodePath, *, merges: bool, refers: bool) -> Schema:
        """Return one of the forms of a value, and shape all that is in it."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return {"$ref": self._define(name, path, merges=merges)}
        if schema == _OBJECT:
            return _REFERENCE
        shaped = {key: item for key, item in schema.items() if key != "title"}
        if "items" in schema:
            at, items = (*path, ITEM), schema["items"]
            if list_at(path):
                shaped["items"] = self.form(items, at, merges=True, refers=False)
            elif isinstance(items, dict):
                shaped["items"] = self.value(items, at, merges=False, refers=refers)
        if "prefixItems" in schema:
            items = schema["prefixItems"]
            shaped["prefixItems"] = [
                self.value(item, (*path, ITEM), merges=False, refers=refers) for item in items
            ]
        if schema.get("type") == "object":
            self._mapping(shaped, path, merges=merges, refers=refers)
        return shaped

    def _mapping(self, shaped: Schema, path: NodePath, *, merges: bool, refers: bool) -> None:
        properties = {
            key: self.value(
                item,
                (*path, key),
                merges=merges,
                refers=key not in _WRITTEN_OUT or path[0] == "with",
            )
            for key, item in shaped.get("properties", {}).items()
        }
        inside: dict[str, Any] = {"path": (*path, VALUE), "merges": merges, "refers": refers}
        if isinstance(rest := shaped.get("additionalProperties"), dict):
            shaped["additionalProperties"] = self.value(rest, **inside)
        for pattern, item in shaped.get("patternProperties", {}).items():
            shaped["patternProperties"] = {pattern: self.value(item, **inside)}
        shaped.pop("propertyNames", None)  # the directives are no such names
        if merges:
            properties |= _DIRECTIVES | (_PLACES if list_at(path[:-1]) else {})
            if "required" in shaped:
                self.required[path] = shaped.pop("required")
        if properties:
            shaped["properties"] = properties

    def _define(self, name: str, path: NodePath, *, merges: bool) -> str:
        # In a list nothing is merged, so there the same model demands its keys at once.
        defined = f"{self.prefix}{name}" + (".item" if self.prefix and not merges else "")
        if defined not in self.definitions:
            self.definitions[defined] = {}  # a model may hold itself
            model = self.models[name]
            self.definitions[defined] = self.form(model, path, merges=merges, refers=True)
        return f"#/$defs/{defined}"

    def _is_mapping(self, choice: Schema) -> bool:
        return self._model(choice).get("type") == "object"

    def _model(self, schema: Schema) -> Schema:
        return self.models[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def _forget(self, path: NodePath) -> None:
        """Demand nothing where one of several mappings may stand."""
        for known in [known for known in self.required if known[: len(path)] == path]:
            del self.required[known]


def _flat(value: Any) -> Any:
    """Say what older versions of pydantic say as the newest does.

    Before 2.9 a reference with more beside it stands in an `allOf` of one.
    """
    if isinstance(value, list):
        return [_flat(item) for item in value]
    if not isinstance(value, dict):
        return value
    items = {key: _flat(item) for key, item in value.items()}
    match items.get("allOf"):
        case [{"$ref": str(target), **others}] if not others:
            del items["allOf"]
            items["$ref"] = target
    if items.get("enum") == [items.get("const")]:
        del items["enum"]
    if items.get("type") == "object" and "properties" not in items:
        items.setdefault("additionalProperties", True)
    return items


def _about(schema: Schema) -> Schema:
    return {key: schema[key] for key in _ABOUT if key in schema}
