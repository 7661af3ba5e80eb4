"""The format, and what the components of one manifest take → JSON Schema 2020-12 for editors.

In: the models of `manifest`, or a `Plan`. Out: a mapping in a fixed order, so that its text is the
same bytes each time. A manifest names it in its first line:

    # yaml-language-server: $schema=./manifest.schema.json

The schema accepts what loads, and asks two things more: `manifest: 1` in each file, and sections,
entries and `with` that are written out and not referred to. What only the merged document or the
imports can tell, it leaves to `check`: a file with `extends` is one layer of a document, so there
no entry lacks anything.
"""

import json
from collections.abc import Collection, Iterator, Mapping
from itertools import chain
from operator import attrgetter

from assembler.describe.schema.generator import ITEM, SHARED, VALUE, Schema, SchemaGenerator, Shaper
from assembler.describe.schema.options import options_schema
from assembler.document.nodes import NodePath
from assembler.document.sections import ENTRIES
from assembler.manifest import Manifest
from assembler.manifest.entry import KEYS_OF, SWITCHES, Route
from assembler.manifest.sections import ENTRY_MODELS
from assembler.plan.component import Component
from assembler.plan.load import Plan
from assembler.plan.sections.app import constructor_options
from assembler.plan.signature import Target, job_parameters, target_of

_EXTENDS: Schema = {
    "type": "string",
    "minLength": 1,
    "description": "The manifest that this one changes: a path, relative to this file.",
    "examples": ["base.yaml"],
    "not": {"pattern": r"\$\{"},
}
_IDENTIFIER = r"^([^\W\d]\w*|\$remove|\$replace)$"
_SQL_ONLY = ("database", "dialect", "lock_timeout", "statement_timeout", "always")


# What FastAPI's constructor takes since a version that a project may not have yet.
_LATER: dict[str, Schema] = {
    "strict_content_type": {
        "type": "boolean",
        "default": True,
        "description": "Take a JSON body only where its Content-Type says so.",
    },
    "max_body_size": {
        "anyOf": [{"type": "integer"}, {"type": "null"}],
        "default": None,
        "description": "Bytes that the body of a request may have.",
    },
}


def manifest_schema() -> Schema:
    """Return the schema of the format; `with` takes anything."""
    raw = Manifest.model_json_schema(schema_generator=SchemaGenerator)
    models = raw["$defs"]
    _refine(models)
    definitions: dict[str, Schema] = {}
    shaper = Shaper(models, definitions)
    sections = {
        key: _or_null(shaper.value(section, (key,), merges=True, refers=False))
        for key, section in raw["properties"].items()
        if key != "manifest"
    }
    sections["resources"]["anyOf"][0]["propertyNames"] = {"pattern": _IDENTIFIER}
    for section in filter(attrgetter("is_short"), ENTRIES.values()):
        entries = sections[section.name]["anyOf"][0]
        use = definitions[ENTRY_MODELS[section.name].model.__name__]["properties"]["use"]
        entries["items"] = {"anyOf": [use["anyOf"][0], entries["items"]]}
    version = raw["properties"]["manifest"]
    definitions["Mounted"] = _mounted(version, sections)
    places = definitions["Route"]["properties"]["manifest"]["anyOf"]
    places.insert(1, {"$ref": "#/$defs/Mounted"})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Assembler manifest",
        "description": raw["description"],
        "type": "object",
        "properties": {"manifest": version, "extends": _EXTENDS, **sections},
        "required": ["manifest"],
        "additionalProperties": False,
        "if": {"required": ["extends"]},
        "else": _complete(shaper.required),
        "$defs": {**SHARED, **definitions},
    }


def _complete(required: Mapping[NodePath, list[str]]) -> Schema:
    """Return what a manifest must have that extends no other one; `required` are keys by their path."""
    complete: Schema = {}
    for path, keys in required.items():
        _at(complete, path)["required"] = keys
    for path, rule in _RULES.items():
        _at(complete, path).update(rule)
    return complete


def _mounted(version: Schema, sections: dict[str, Schema]) -> Schema:
    """Return what may be written out under a mount: a manifest, or what an overlay changes of one."""
    keys = {
        key: {"description": section["description"], "$ref": f"#/properties/{key}"}
        for key, section in sections.items()
    }
    return {
        "type": "object",
        "description": "A manifest that is written out under its mount, or what changes of the one that stands there.",
        "properties": {"manifest": version, **keys},
        "additionalProperties": False,
    }


def schema_for(plan: Plan) -> Schema:
    """Return the schema of the format in which `with` takes what the plan's components take."""
    schema = manifest_schema()
    described: set[str] = set()
    for component in _components(plan):
        model = type(component.entry).__name__
        use = component.target.path
        name = f"{model}.{use}"
        if name not in described:
            described.add(name)
            given = frozenset({"app"})
            if component.role == "job":
                given |= job_parameters(component.target.signature)
            required = options_schema(component.target, name, schema["$defs"], given=given)
            is_used = {"properties": {"use": {"const": use}}, "required": ["use"]}
            _add(schema["$defs"][model], is_used, name)
            if required:
                place = _at(schema["else"], _PLACES[model])
                place.setdefault("allOf", []).append({"if": is_used, "then": _demands(required)})
        _name(schema, component, name)
    _add_app(schema)
    _add_server(schema)
    return schema


def schema_text(schema: Schema) -> str:
    """Return the text of a schema as it stands in a file."""
    text = json.dumps(schema, indent=2, ensure_ascii=False)
    # Docstrings may hold what deceives a terminal; JSON has escapes for all of it.
    return "".join(map(_inert, text)) + "\n"


def _inert(char: str) -> str:
    return char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1]


def _refine(models: dict[str, Schema]) -> None:
    """Say in the schema what the models say in validators."""
    for name, model in models.items():
        properties = model["properties"]
        if "with" in properties and name != "Dependency":
            properties["with"] = _or_null(properties["with"])
        for key in ("id", "catch", "mount"):
            said = properties.get(key, {})
            for form in said.get("anyOf", [said]):
                if form.get("type") == "string":
                    form["not"] = {"pattern": r"\$\{"}
    for key in ("name", "frontend", "path", "host", "manifest"):
        text = models["Route"]["properties"][key]["anyOf"][0]
        text["not"] = {"pattern": r"\$\{"}
    app = models["App"]
    app["properties"] |= _LATER
    app["additionalProperties"] = False  # what newer ones take, `schema FILE` knows
    jobs = models["Scheduler"]["properties"]
    jobs["jobs"] = _or_null(jobs["jobs"])
    models["Handler"]["properties"]["catch"]["anyOf"][0] |= {"minimum": 400, "maximum": 599}
    models["Statement"]["oneOf"] = [_given("run"), _given("file")]


def _given(key: str) -> Schema:
    return {"properties": {key: {"not": {"type": "null"}}}, "required": [key]}


def _only_kind(kind: str) -> Schema:
    """Return what is true of a route of one kind: for a router, that it is none of the others."""
    if kind == "mount":  # of an application: a manifest has keys of its own
        return {"allOf": [_given(kind), {"not": _given("manifest")}]}
    if kind:
        return _given(kind)
    return {"not": {"anyOf": [_given(other) for other in KEYS_OF if other]}}


def _closed_to(allowed: Collection[str]) -> Schema:
    """Refuse all other keys of a route, but for a value that says nothing."""
    null: Schema = {"const": None}
    keys = {field.alias or name for name, field in Route.model_fields.items()}
    others = sorted(keys - {"id"} - set(allowed))
    off: dict[str, Schema] = {key: {"enum": [None, value]} for key, value in SWITCHES.items()}
    return {key: off.get(key, null) for key in others}


_RULES: dict[NodePath, Schema] = {
    ("routes", ITEM): {
        "anyOf": [
            _given("use"),
            _given("frontend"),
            {"allOf": [_given("manifest"), _given("mount")]},
        ],
        "allOf": [
            {"if": _only_kind(kind), "then": {"properties": _closed_to(allowed)}}
            for kind, (_, allowed) in KEYS_OF.items()
        ],
        "dependentSchemas": {
            "warmup": {
                "anyOf": [
                    {"properties": {"warmup": {"not": {"const": True}}}},
                    {"properties": {"lazy": {"not": {"const": False}}}, "required": ["lazy"]},
                ]
            },
            "owned": {
                "anyOf": [
                    {"properties": {"owned": {"not": {"const": False}}}},
                    {"properties": {"lazy": {"not": {"const": True}}}},
                ]
            },
        },
    },
    ("startup", ITEM): {
        "oneOf": [
            {"allOf": [_given("use"), {"properties": dict.fromkeys(_SQL_ONLY, False)}]},
            {
                "allOf": [
                    _given("sql"),
                    _given("database"),
                    {"properties": {"with": {"type": "null"}}},
                ]
            },
        ]
    },
    ("scheduler", "jobs", ITEM): {"oneOf": [_given("cron"), _given("every")]},
}
# Where the entries of each model stand.
_PLACES: dict[str, NodePath] = {
    ENTRY_MODELS[name].model.__name__: (*section.path, VALUE if section.is_mapping else ITEM)
    for name, section in ENTRIES.items()
} | {"Dependency": ("routes", ITEM, "dependencies", ITEM)}


def _or_null(schema: Schema) -> Schema:
    about: Schema = {
        key: schema[key] for key in ("description", "default", "examples") if key in schema
    }
    core = {key: item for key, item in schema.items() if key not in about}
    arms = core.get("anyOf", [core])
    return {**about, "anyOf": [*arms, *([] if {"type": "null"} in arms else [{"type": "null"}])]}


def _at(schema: Schema, path: NodePath) -> Schema:
    """Return the schema of what stands at `path` of `schema`, made where there is none."""
    for step in path:
        if step == ITEM:
            schema = schema.setdefault("items", {})
        elif step == VALUE:
            schema = schema.setdefault("additionalProperties", {})
        else:
            schema = schema.setdefault("properties", {}).setdefault(step, {})
    return schema


def _demands(required: dict[NodePath, list[str]]) -> Schema:
    demands: Schema = {}
    if ("with",) in required:
        demands = {"properties": {"with": {"type": "object"}}, "required": ["with"]}
    for path, keys in required.items():
        _at(demands, path)["required"] = keys
    return demands


def _components(plan: Plan) -> Iterator[Component]:
    """Yield what is called with options, dependencies after the router that names them."""
    of_all = (plan.resources, plan.lifespan, plan.startup, plan.jobs, plan.background)
    apps = (
        section
        for part in plan.parts
        for section in (
            *(part.app.dependencies, part.middleware, part.handlers, part.configure, part.routes),
            part.finish,
        )
    )
    for component in chain(*apps, *of_all, plan.shutdown):
        for part in (component, *component.dependencies, *component.scoped):
            if part.called and type(part.entry).__name__ in _PLACES:
                yield part


def _add(schema: Schema, condition: Schema, options: str) -> None:
    then = {"properties": {"with": {"$ref": f"#/$defs/{options}"}}}
    schema.setdefault("allOf", []).append({"if": condition, "then": then})


def _name(schema: Schema, component: Component, options: str) -> None:
    """Describe the options of an entry in a layer that names it without its `use`."""
    without_use = {"not": {"required": ["use"]}}
    name = component.id
    if component.role == "resource":
        section = schema["properties"]["resources"]["anyOf"][0]
        entry = section["properties"].setdefault(name, {"$ref": "#/$defs/Resource"})
        _add(entry, without_use, options)
    elif component.role != "dependency" and name != component.target.path:
        named = {"properties": {"id": {"const": name}}, "required": ["id"], **without_use}
        _add(schema["$defs"][type(component.entry).__name__], named, options)


def _add_app(schema: Schema) -> None:
    """Describe what the FastAPI that is installed takes beside the format's own."""
    target = Target("app", None, "class", True, False, constructor_options())
    definitions: dict[str, Schema] = {}
    options_schema(target, "App", definitions, given=frozenset())
    options = definitions.pop("App")
    app = schema["$defs"]["App"]
    app["properties"] = {**options["properties"], **app["properties"]}
    schema["$defs"].update(definitions)


def _add_server(schema: Schema) -> None:
    """Describe uvicorn's options beside the format's own."""
    from uvicorn import Config  # noqa: PLC0415  # only who asks for a plan's schema needs it

    target = target_of("server", Config, leading=1)
    definitions: dict[str, Schema] = {}
    options_schema(target, "Server", definitions, given=frozenset())
    options = definitions.pop("Server")
    server = schema["$defs"]["Server"]
    server["properties"] = {**options["properties"], **server["properties"]}
    server["additionalProperties"] = False
    schema["$defs"].update(definitions)
