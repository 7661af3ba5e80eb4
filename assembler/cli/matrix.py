"""`matrix`: manifests of several environments → one table of what they have and how it differs.

In: paths of manifests. Out: text, Markdown, HTML or JSON. Refuses what is no manifest by its text,
shape and references; imports no code and reads no variables.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import show
from assembler.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from assembler.review.matrix import Column


class MatrixFormat(StrEnum):
    """How `matrix` prints its table."""

    text = "text"
    markdown = "markdown"
    html = "html"
    json = "json"


def matrix(
    files: Annotated[list[Path], typer.Argument(help="Manifests.", show_default=False)],
    whole: Annotated[
        bool, typer.Option("--whole", help="Show values that are the same everywhere, too.")
    ] = False,
    format: Annotated[MatrixFormat, typer.Option(help="How to print.")] = MatrixFormat.text,
) -> None:
    """Compare environments: a column for each manifest, gaps and differences marked."""
    from assembler.review.matrix import matrix as compared  # noqa: PLC0415  # loaded if needed
    from assembler.review.matrix import pages  # noqa: PLC0415

    paths = list(dict.fromkeys(files))
    if len(paths) < 2:
        raise UsageError("name two manifests or more")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in paths]
    table = compared(
        [_column(path, name) for path, name in zip(paths, names, strict=True)], whole=whole
    )
    if format is MatrixFormat.json:
        show(json.dumps(pages.as_dict(table), indent=2))
    elif format is MatrixFormat.html:
        show(pages.as_html(table).rstrip("\n"))
    elif format is MatrixFormat.markdown:
        show(pages.as_markdown(table))
    else:
        show(pages.as_text(table))


def _column(path: Path, name: str) -> "Column":
    from assembler.plan.allow_list import read_import_list  # noqa: PLC0415  # as above
    from assembler.plan.load import load_shape  # noqa: PLC0415
    from assembler.review.audit.literals import secret_test  # noqa: PLC0415
    from assembler.review.audit.subject import Subject  # noqa: PLC0415
    from assembler.review.matrix import Column  # noqa: PLC0415

    document, manifest = load_shape(path)
    subject = Subject(document, manifest, "prod", read_import_list(path))
    return Column(name, document, secret_test(subject))
