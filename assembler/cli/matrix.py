"""`matrix`: manifests of several environments → one table of what they have and how it differs.

In: paths of manifests. Out: text, Markdown, HTML or JSON; status 2 where one is no manifest by its text,
shape and references: the others are compared all the same. Imports no code and reads no variables.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.check import read_each
from assembler.cli.output import USAGE, show
from assembler.diagnostics.errors import UsageError
from assembler.review import report as reports

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
    from assembler.review.matrix import matrix as compared
    from assembler.review.matrix import pages

    paths = list(dict.fromkeys(files))
    if len(paths) < 2:
        raise UsageError("name two manifests or more")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [path.as_posix() for path in paths]
    called = dict(zip(paths, names, strict=True))
    refusal = "cannot be compared: it is no valid manifest"
    columns, failures = read_each(paths, lambda path: _column(path, called[path]), refusal)
    table = compared(columns, failures, whole=whole)
    if format is MatrixFormat.json:
        show(reports.dumped(pages.as_dict(table)))
    elif format is MatrixFormat.html:
        show(pages.as_html(table).rstrip("\n"))
    elif format is MatrixFormat.markdown:
        show(pages.as_markdown(table))
    else:
        show(pages.as_text(table))
    if failures:
        raise typer.Exit(USAGE)


def _column(path: Path, name: str) -> "Column":
    from assembler.plan.allow_list import read_import_list
    from assembler.plan.load import load_shape
    from assembler.review.audit import subject_of
    from assembler.review.audit.literals import secret_test
    from assembler.review.audit.subject import Subject
    from assembler.review.matrix import Column

    document, manifest = load_shape(path)
    whole = subject_of(document, manifest, "prod", read_import_list(path))

    def column(subject: Subject) -> Column:
        inner = {subject.manifest.routes[one.mount].id: column(one) for one in subject.inner}
        return Column(name, subject.document, secret_test(subject), inner)

    return column(whole)
