"""The table of commands says what the commands are, and answers a shell without importing any."""

import enum
import inspect
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from typer.models import OptionInfo

from assembler.cli.commands import COMMANDS, Command, completed
from tests.assembler.command import ENVIRONMENT, run

HEAVY = ("typer", "pydantic", "yaml", "griffe", "rich")


def options_of(function: Any) -> dict[str, tuple[str, ...]]:
    """Return the options of a command and the values that each may take."""
    found: dict[str, tuple[str, ...]] = {}
    for item in inspect.signature(function, eval_str=True).parameters.values():
        for info in (each for each in get_args(item.annotation) if isinstance(each, OptionInfo)):
            given = [name for each in info.param_decls or () for name in each.split("/")]
            names = [name for name in given if name.startswith("-")]
            kinds = [get_args(item.annotation)[0], *get_args(get_args(item.annotation)[0])]
            enums = (
                each for each in kinds if inspect.isclass(each) and issubclass(each, enum.Enum)
            )
            values = tuple(member.value for each in enums for member in each)
            found |= dict.fromkeys(names or [f"--{item.name.replace('_', '-')}"], values)
    return found


@pytest.mark.parametrize(("name", "row"), COMMANDS.items(), ids=list(COMMANDS))
def test_the_table_says_what_the_command_is(name: str, row: Command) -> None:
    module = import_module(f"assembler.cli.{row.module}")
    function = getattr(module, name.replace("-", "_"))
    assert row.summary == (inspect.getdoc(function) or "").splitlines()[0]
    assert dict(row.options) == options_of(function)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], [*COMMANDS, "--version", "--help"]),
        (["ch"], ["check"]),
        (["check", "--st"], ["--static"]),
        (["check", "--static", "--"], ["--format", "--no-cache", "--help"]),
        (["check", "--format", "g"], ["github", "gitlab"]),
        (["check", "--format=s"], ["--format=sarif"]),
        (["check", "--format=json", "x.yaml", "--h"], ["--help"]),
        (["check", "man"], []),
        (["diff", "--base", "ma"], []),
        (["completion", ""], ["bash", "zsh", "fish"]),
        (["nothing", ""], []),
    ],
)
def test_a_shell_is_told_what_may_stand_there(words: list[str], expected: list[str]) -> None:
    assert list(completed(words, shell="bash")) == expected


def test_zsh_and_fish_are_told_the_meaning_as_well() -> None:
    assert list(completed(["forma"], shell="fish")) == [f"format\t{COMMANDS['format'].summary}"]


@pytest.mark.parametrize("words", [["--version"], ["--help"], [], ["che"]], ids=str)
def test_what_the_table_tells_imports_no_library(words: list[str]) -> None:
    code = (
        (
            "import sys\nfrom assembler.cli import main\ntry: main()\nexcept SystemExit: pass\n"
            f"print(sorted({HEAVY} & sys.modules.keys()), file=sys.stderr)"
        )
        .replace("sorted((", "sorted({")
        .replace(") &", "} &")
    )
    environment = ENVIRONMENT | ({"ASSEMBLER_COMPLETE": "bash"} if words == ["che"] else {})
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == "[]\n"
    assert done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_what_is_typed(tmp_path: Path) -> None:
    script = run("completion", "bash", folder=tmp_path).out
    wrapper = tmp_path / "assembler"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} -m assembler "$@"\n')
    wrapper.chmod(0o755)
    asked = (
        f"{script}\nCOMP_WORDS=(assembler check --format gi); COMP_CWORD=3; _assembler\n"
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    environment = ENVIRONMENT | {"PATH": f"{tmp_path}:{ENVIRONMENT['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", asked],
        env=environment, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout == "github\ngitlab\n"
