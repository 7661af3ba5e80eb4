"""`format`: manifests → the same manifests in canonical order and style, in place.

In: paths of manifests. Out: the files, written whole or not at all; with `--check` or `--diff` what
would change, and status 1. Refuses a text with faults, which stays as it is, and a link that
leads outside the project, and still puts the other files in order.
"""

import difflib
import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from assembler.cli.check import own_manifests
from assembler.cli.output import INVALID, USAGE, complain, named, show, wants_color, warn
from assembler.diagnostics.errors import AssemblerError, ManifestError
from assembler.diagnostics.span import printable
from assembler.review import report as reports


def format(  # noqa: A001  # the command's name
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Manifests; without any, those in `manifests/`.", show_default=False),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; status 1 where a file would change.")
    ] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="Print what would change, and write nothing.")
    ] = False,
) -> None:
    """Put manifests in canonical order and style, in place; comments and meaning stay."""
    status = 0
    for path in dict.fromkeys(files or own_manifests(with_expectations=True)):
        try:
            before, after = _texts(path)
        except ManifestError as error:
            warn(reports.as_text(error.diagnostics, color=wants_color(sys.stderr)))
            status = max(status, INVALID)
            continue
        except AssemblerError as error:
            complain(f"error: {error}")
            status = USAGE
            continue
        if before == after:
            continue
        if diff:
            show(_difference(named(path), before, after))
        if not check and not diff:
            _replace(path, after)
            show(f"{named(path)}: formatted")
            continue
        if not diff:
            show(f"{named(path)}: not in canonical form")
        status = max(status, INVALID)
    if status:
        raise typer.Exit(status)


def _texts(path: Path) -> tuple[str, str]:
    from assembler.document.extends import shown_name
    from assembler.document.parser import read_file
    from assembler.document.project import found_manifest
    from assembler.review.formatting import formatted

    file = read_file(found_manifest(path), shown_name(path))
    return file.text, formatted(file)


def _difference(name: str, before: str, after: str) -> str:
    lines = difflib.unified_diff(before.split("\n"), after.split("\n"), name, name, lineterm="")
    return "\n".join(printable(line) for line in lines)


def _replace(path: Path, text: str) -> None:
    """Write a file whole or not at all; a link stays a link, and the permissions stay."""
    target = path.resolve()
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.")
    os.close(handle)
    fresh = Path(name)
    try:
        fresh.write_bytes(text.encode("utf-8"))
        fresh.chmod(stat.S_IMODE(target.stat().st_mode))
        fresh.replace(target)
    except BaseException:
        with suppress(OSError):
            fresh.unlink()
        raise
