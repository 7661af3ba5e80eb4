"""The command, run inside the process of the tests or in one of its own.

In: arguments, and the folder where it runs. Out: its status and what it printed. What it changes
of the process (the folder, the path, the variables, the modules of the folder) is put back.
"""

import contextlib
import importlib
import io
import linecache
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from assembler.cli import main

PROJECT = Path(__file__).parents[1] / "golden" / "project"
COMMAND = [sys.executable, "-m", "assembler"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(Path(__file__).parents[2]),
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call gave."""

    status: int
    out: str
    err: str


def run(*arguments: str, folder: Path, environment: dict[str, str] | None = None) -> Outcome:
    """Run `assembler` with `arguments` in `folder`; `environment` adds to the variables."""
    out, err = io.StringIO(), io.StringIO()
    variables = {"COLUMNS": "100", "TERM": "dumb", **(environment or {})}
    with in_folder(folder), mock.patch.dict(os.environ, variables):
        status = 0
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(arguments)
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 1
    return Outcome(status, out.getvalue(), err.getvalue())


def call(
    *arguments: str | bytes, folder: Path = PROJECT, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run `python -m assembler` in a process of its own."""
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=110,
        check=False,
    )


def write(folder: Path, files: dict[str, str]) -> None:
    """Write each text at its path below `folder`."""
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, "utf-8")


@contextlib.contextmanager
def in_folder(folder: Path) -> Iterator[None]:
    """Work in `folder`, and forget its modules afterwards."""
    before, here = set(sys.modules), Path.cwd()
    importlib.invalidate_caches()
    linecache.clearcache()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "path", [str(folder), *sys.path]),
            mock.patch.object(sys, "dont_write_bytecode", new=True),
        ):
            yield
    finally:
        os.chdir(here)
        for name in set(sys.modules) - before:
            places = [getattr(sys.modules[name], "__file__", None)]
            places += getattr(sys.modules[name], "__path__", ())
            if any(place and Path(place).is_relative_to(folder) for place in places):
                del sys.modules[name]
