"""`init`: a folder → a small project that runs.

In: the folder, which need not exist. Out: the files that were written: two manifests and their
schema, a package with a router and a middleware, a test, a pyproject.toml. Refuses, before it
writes anything, a folder in which one of them is already there.
"""

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from assembler.cli.output import named, show
from assembler.diagnostics.errors import UsageError

_TEMPLATES = (
    "pyproject.toml",
    "manifests/base.yaml",
    "manifests/dev.yaml",
    "app/__init__.py",
    "app/greetings.py",
    "app/timing.py",
    "tests/test_app.py",
)
_SCHEMA = "manifests/manifest.schema.json"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Where to write.", show_default="here")
    ] = Path(),
) -> None:
    """Write a starting project: a commented manifest, a router, a test; nothing is overwritten."""
    for path in write_starter(folder):
        show(named(path))
    prefix = f"cd {folder} && " if folder != Path() else ""
    show(f"\nserve it:  {prefix}assembler serve manifests/dev.yaml --reload")
    show(f"test it:   {prefix}python -m pytest    (needs pytest and httpx2)")
    show("adopt one: assembler adopt app.main:app    (where an application exists already)")


def write_starter(folder: Path) -> list[Path]:
    """Write the starting project into `folder` and return its files.

    Raises `UsageError` where one of them exists, or where the folder cannot be written.
    """
    from assembler.describe.schema.manifest import manifest_schema, schema_text

    templates = files("assembler.cli.init") / "templates"
    texts = {name: templates.joinpath(name).read_text("utf-8") for name in _TEMPLATES}
    texts[_SCHEMA] = schema_text(manifest_schema())
    if (folder / "pyproject.toml").is_file():
        del texts["pyproject.toml"]  # the project's own; without a list of imports all is allowed
    taken = [name for name in texts if (folder / name).exists() or (folder / name).is_symlink()]
    if taken:
        names = ", ".join(f"`{folder / name}`" for name in taken)
        raise UsageError(f"nothing is overwritten, and there is already {names}")
    try:
        return [_write(folder / name, text) for name, text in texts.items()]
    except OSError as error:
        raise UsageError(f"cannot write `{error.filename}`: {error.strerror}") from error


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("x", encoding="utf-8", newline="\n") as file:
        file.write(text)
    return path
