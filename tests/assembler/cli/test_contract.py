"""What programs read of the command has the keys that the contract of the format names."""

import json

import jsonschema
import pytest

from tests.assembler.command import PROJECT, run

DIAGNOSTICS = {
    "type": "object",
    "required": ["format", "diagnostics"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": 1},
        "diagnostics": {
            "type": "array",
            "items": {
                "type": "object",
                "required": [
                    *("code", "severity", "message", "file", "line", "column"),
                    *("end_line", "end_column", "help"),
                ],
                "additionalProperties": False,
                "properties": {
                    "code": {"type": "string"},
                    "severity": {"enum": ["error", "warning"]},
                    "message": {"type": "string"},
                    "file": {"type": ["string", "null"]},
                    "line": {"type": ["integer", "null"], "minimum": 1},
                    "column": {"type": ["integer", "null"], "minimum": 1},
                    "end_line": {"type": ["integer", "null"], "minimum": 1},
                    "end_column": {"type": ["integer", "null"], "minimum": 1},
                    "help": {"type": ["string", "null"]},
                },
            },
        },
    },
}
AUDIT = {
    "type": "object",
    "required": ["format", "findings"],
    "properties": {
        "format": {"const": 1},
        "findings": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["rule", "severity", "message", "file", "line", "fix"],
                "properties": {
                    "rule": {"type": "string"},
                    "severity": {"enum": ["high", "medium", "low"]},
                    "message": {"type": "string"},
                    "file": {"type": "string"},
                    "line": {"type": "integer", "minimum": 1},
                    "fix": {"type": "string", "minLength": 1},
                },
            },
        },
    },
}
ROUTE = {
    "type": "object",
    "required": ["id", "path", "methods", "endpoint"],
    "properties": {
        "id": {"type": "string"},
        "path": {"type": "string"},
        "methods": {"type": "array", "items": {"type": "string"}, "minItems": 1},
        "endpoint": {"type": "string"},
    },
}
EXPLANATION = {
    "type": "object",
    "required": ["format", "middleware", "route", "shadowed", "handlers"],
    "properties": {
        "format": {"const": 1},
        "middleware": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["id", "use", "options"],
                "properties": {
                    "id": {"type": "string"},
                    "use": {"type": "string"},
                    "options": {"type": "object"},
                },
            },
        },
        "route": {"anyOf": [ROUTE, {"type": "null"}]},
        "shadowed": {"type": "array", "items": ROUTE},
        "routes": {"type": "array", "items": ROUTE},
        "handlers": {"type": "array", "items": {"required": ["id", "catch", "use"]}},
    },
}


@pytest.mark.parametrize("name", ["broken", "prod"])
def test_check_gives_programs_exactly_the_keys_of_the_contract(name: str) -> None:
    shown = run("check", f"manifests/{name}.yaml", "--format", "json", folder=PROJECT)
    jsonschema.validate(json.loads(shown.out), DIAGNOSTICS)


@pytest.mark.parametrize(
    "request_line", [[], ["GET", "/shop/items/new"], ["GET", "/nothing"], ["GET", "/pages"]]
)
def test_explain_gives_programs_the_keys_of_the_contract(request_line: list[str]) -> None:
    shown = run("explain", "manifests/prod.yaml", *request_line, "--format=json", folder=PROJECT)
    jsonschema.validate(json.loads(shown.out), EXPLANATION)


def test_routes_give_programs_the_keys_of_the_contract() -> None:
    shown = run("routes", "manifests/prod.yaml", "--format", "json", folder=PROJECT)
    listed = json.loads(shown.out)
    assert listed["format"] == 1
    jsonschema.validate(listed["routes"], {"type": "array", "items": ROUTE, "minItems": 7})


def test_audit_gives_programs_the_keys_of_the_contract() -> None:
    shown = run("audit", "environments/prod.yaml", "--format", "json", folder=PROJECT)
    jsonschema.validate(json.loads(shown.out), AUDIT)


def test_schema_is_a_schema_that_every_manifest_fits() -> None:
    shown = run("schema", folder=PROJECT)
    schema = json.loads(shown.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    for name in ("base", "prod", "smallest"):
        rendered = run("render", f"manifests/{name}.yaml", "--format", "json", folder=PROJECT)
        jsonschema.Draft202012Validator(schema).validate(json.loads(rendered.out))


def test_schema_of_a_manifest_knows_the_options_of_what_it_uses() -> None:
    plain = run("schema", folder=PROJECT)
    shown = run("schema", "manifests/prod.yaml", folder=PROJECT)
    assert shown.status == 0
    schema = json.loads(shown.out)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert "allow_credentials" in shown.out
    assert "allow_credentials" not in plain.out
    rendered = json.loads(run("render", "manifests/prod.yaml", "--format=json", folder=PROJECT).out)
    jsonschema.Draft202012Validator(schema).validate(rendered)
    rendered["middleware"][0]["with"]["allow_credentials"] = "maybe"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(rendered)
