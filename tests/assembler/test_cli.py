"""The command `assembler`: what it prints, where, and with which status."""

import json
import shlex
from pathlib import Path

import jsonschema
import pytest

from tests.assembler.command import PROJECT, Outcome, run, write

GOLDEN = sorted(PROJECT.parent.glob("*.txt"))
COMMANDS = ["check", "render", "explain", "routes", "schema", "serve", "init"]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_call_prints_the_expected_text(path: Path, request: pytest.FixtureRequest) -> None:
    """Each golden file is its own input; `--update` rewrites what stands below its first line."""
    expected = path.read_text("utf-8")
    line = expected.partition("\n")[0]
    arguments = shlex.split(line.removeprefix("$ assembler"))
    if line.endswith("--explain "):
        arguments.append("")
    actual = f"{line}\n{_shown(run(*arguments, folder=PROJECT))}"
    if request.config.getoption("--update", default=False):
        path.write_text(actual, "utf-8")
    else:
        assert actual == expected
    assert "sesame" not in actual
    assert "secret of older code" not in actual


def _shown(outcome: Outcome) -> str:
    errors = f"---- standard error\n{outcome.err}" if outcome.err else ""
    return f"{outcome.out}{errors}---- status {outcome.status}\n"


def test_each_format_is_pinned_by_a_golden_file() -> None:
    lines = {path.read_text("utf-8").partition("\n")[0] for path in GOLDEN}
    for command, formats in {
        "check": ["json", "github", "sarif"],
        "render": ["json"],
        "explain": ["json", "mermaid"],
        "routes": ["json"],
    }.items():
        for name in formats:
            assert any(f"{command} " in line and f"--format {name}" in line for line in lines)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_has_an_example_that_calls_it(command: str) -> None:
    shown = run(command, "--help", folder=PROJECT)
    assert shown.status == 0
    assert f"Example: assembler {command}" in shown.out
    assert shown.err == ""


def test_the_help_names_every_command() -> None:
    shown = run("--help", folder=PROJECT)
    assert shown.status == 0
    assert [name for name in COMMANDS if f" {name} " not in shown.out] == []


def test_without_a_command_the_help_is_shown_and_the_call_is_wrong() -> None:
    shown = run(folder=PROJECT)
    assert shown.status == 2
    assert "Usage: assembler" in shown.out + shown.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["chekc"],
        ["check", "--formt", "json"],
        ["check", "--format", "xml"],
        ["render"],
        ["render", "manifests/prod.yaml", "manifests/base.yaml"],
        ["explain", "manifests/prod.yaml", "GET", "items"],
        ["serve"],
    ],
    ids=" ".join,
)
def test_a_wrong_call_ends_with_status_2_and_says_so_on_standard_error(
    arguments: list[str],
) -> None:
    shown = run(*arguments, folder=PROJECT)
    assert shown.status == 2
    assert shown.out == ""
    assert "error" in shown.err.lower()


def test_check_without_files_needs_manifests(tmp_path: Path) -> None:
    shown = run("check", folder=tmp_path)
    assert shown == Outcome(2, "", "error: there is no manifest in `manifests/`: name one\n")


def test_check_without_files_takes_both_endings_and_nothing_else(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yml", "c.json", "d.yaml.bak"):
        write(tmp_path, {f"manifests/{name}": "manifest: 1\n"})
    shown = run("check", folder=tmp_path)
    assert shown == Outcome(0, "manifests/a.yaml: ok\nmanifests/b.yml: ok\n", "")


def test_a_fault_of_a_base_is_told_once(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "base.yaml": "manifest: 1\nrooms: {}\n",
            "a.yaml": "manifest: 1\nextends: base.yaml\n",
            "b.yaml": "manifest: 1\nextends: base.yaml\n",
        },
    )
    shown = run("check", "base.yaml", "a.yaml", "b.yaml", "a.yaml", folder=tmp_path)
    assert shown.status == 1
    assert shown.out.count("error[unknown-key]") == 1
    assert shown.out.endswith("\n1 error\n")


def test_static_needs_no_variables_and_imports_nothing(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.yaml": "manifest: 1\nconfigure: [{use: boom.setup, with: {key: '${NOT_SET}'}}]\n",
            "boom.py": "raise RuntimeError\n\ndef setup(app, *, key: str): ...\n",
        },
    )
    assert run("check", "m.yaml", "--static", folder=tmp_path) == Outcome(0, "m.yaml: ok\n", "")
    shown = run("check", "m.yaml", folder=tmp_path)
    assert shown.status == 1
    assert "error[missing-variable]" in shown.out


def test_warnings_alone_are_valid_and_are_told(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.yaml": "manifest: 1\nconfigure: [{use: odd.setup}]\n",
            "odd.py": "wrap = print\n\n\n@wrap\ndef setup(app): ...\n",
        },
    )
    shown = run("check", "m.yaml", "--static", folder=tmp_path)
    assert shown.status == 0
    assert shown.out.startswith("m.yaml: ok\nwarning[static-unknown]: ")
    assert shown.out.endswith("\n1 warning\n")


def test_what_user_code_prints_never_reaches_a_result(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "m.yaml": "manifest: 1\nresources: {noise: {use: noise.make}}\n",
            "noise.py": (
                "print('imported')\n\ndef make() -> list[int]:\n    print('made')\n    return []\n"
            ),
        },
    )
    shown = run("explain", "m.yaml", "--format", "json", folder=tmp_path)
    assert shown.err == "imported\nmade\n"
    assert json.loads(shown.out)["format"] == 1


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


HOSTILE = "\u202egnp\x1b[31m\u2028\x07"


def test_no_command_sends_control_characters_to_a_terminal(tmp_path: Path) -> None:
    text = json.dumps(HOSTILE)
    write(
        tmp_path,
        {
            f"bad{HOSTILE}.yaml": f"manifest: 1\n{text}: {text}\n",
            "m.yaml": (
                f"manifest: 1\napp: {{title: {text}}}\n"
                f"middleware: [{{id: {text}, use: stamp.Stamp, with: {{{text}: {text}}}}}]\n"
                f"routes: [{{mount: {json.dumps('/' + HOSTILE)}, use: stamp.Stamp, with: {{app: 1}}}}]\n"
            ),
            "stamp.py": (
                "class Stamp:\n    def __init__(self, app, **options): ...\n"
                "    async def __call__(self, *asgi): ...\n"
            ),
        },
    )
    calls = [
        ["check", f"bad{HOSTILE}.yaml", "m.yaml", f"missing{HOSTILE}.yaml"],
        *(["check", f"bad{HOSTILE}.yaml", f"--format={name}"] for name in ("json", "sarif")),
        ["check", f"bad{HOSTILE}.yaml", "--format=github"],
        ["render", "m.yaml"],
        ["render", "m.yaml", "--format=json"],
        ["render", "m.yaml", "--explain", ""],
        ["render", "m.yaml", "--explain", f"app.{HOSTILE}"],
        *(["explain", "m.yaml", "GET", f"/{HOSTILE}", f"--format={name}"] for name in ("text", "json", "mermaid")),
        *(["explain", "m.yaml", f"--format={name}"] for name in ("text", "json", "mermaid")),
        ["routes", "m.yaml"],
        ["routes", "m.yaml", "--format=json"],
    ]  # fmt: skip
    for call in calls:
        shown = run(*call, folder=tmp_path)
        text = shown.out + shown.err
        assert all(char.isprintable() or char == "\n" for char in text), call
        assert "Traceback" not in text
        assert "gnp" in text
