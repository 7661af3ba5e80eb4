"""The command `assembler`: what it prints, where, and with which status."""

import json
import shlex
from pathlib import Path

import pytest

import assembler.review.matrix
from tests.assembler.command import PROJECT, Outcome, run, write

GOLDEN = sorted(PROJECT.parent.glob("*.txt"))
COMMANDS = [
    "check",
    "format",
    "audit",
    "matrix",
    "render",
    "explain",
    "routes",
    "openapi",
    "jobs",
    "test",
    "schema",
    "export",
    "serve",
    "doctor",
    "init",
]


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
    style = (Path(assembler.review.matrix.__file__).parent / "page.css").read_text("utf-8")
    page = outcome.out.replace(style, "[page.css]\n")
    return f"{page}{errors}---- status {outcome.status}\n"


def test_each_format_is_pinned_by_a_golden_file() -> None:
    lines = {path.read_text("utf-8").partition("\n")[0] for path in GOLDEN}
    for command, formats in {
        "check": ["json", "github", "sarif", "gitlab"],
        "render": ["json"],
        "explain": ["json", "mermaid"],
        "routes": ["json"],
        "jobs": ["json"],
        "audit": ["json", "github", "gitlab", "sarif"],
        "matrix": ["json", "markdown", "html"],
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


def test_a_url_asks_for_the_routes_of_its_host(tmp_path: Path) -> None:
    routes = "[{use: shop.router, host: a.example.com}]"
    write(
        tmp_path,
        {
            "shop.py": "from fastapi import APIRouter\nrouter = APIRouter()\n"
            "@router.get('/x')\ndef read(): ...\n",
            "m.yaml": f"manifest: 1\napp: {{title: Shop}}\nroutes: {routes}\n",
        },
    )
    for asked, answer in {
        "https://a.example.com/x": "shop.read",
        "http://a.example.com:8080/x": "shop.read",
        "https://b.example.com/x": "404",
        "/x": "404",
    }.items():
        for words in ([asked], ["GET", asked]):
            shown = run("explain", "m.yaml", *words, folder=tmp_path)
            assert (shown.status, shown.err) == (0, "")
            assert answer in shown.out


@pytest.mark.parametrize(
    "failure",
    [
        RuntimeError("it was hunter22-hunter22 at db://shop:pa55word@host"),
        FileNotFoundError(2, "no such file", "/hunter22-hunter22?token=pa55word"),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_what_nobody_foresaw_is_told_without_credentials(
    failure: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise failure

    monkeypatch.setattr("assembler.cli.command", broken)
    environment = {"API_TOKEN": "hunter22-hunter22"}
    shown = run("doctor", folder=tmp_path, environment=environment)
    assert (shown.status, shown.out) == (2, "")
    assert "${API_TOKEN}" in shown.err
    assert "hunter22" not in shown.err
    assert "pa55word" not in shown.err


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
            "m.yaml": "manifest: 1\nconfigure: [{use: odd.setup, with: {a: 1}}]\n",
            "odd.py": "wrap = print\n\n\n@wrap\ndef setup(app, a): ...\n",
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
        *(["check", f"bad{HOSTILE}.yaml", f"--format={name}"] for name in ("json", "sarif", "gitlab")),
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
