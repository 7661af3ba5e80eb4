"""`openapi`: a manifest → the OpenAPI document of its application, without a server.

In: the path of a manifest. Out: JSON or YAML, the same text for the same application; or whether a
committed copy says the same, with what differs, status 1 where it is stale. The application is built, and
nothing is opened. Refuses what `check` refuses, and a copy that is no OpenAPI document.
"""

import json
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import Annotated, Any

import typer

from assembler.cli.output import INVALID, complain, named, results_apart, show
from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.exceptions import failure_of
from assembler.diagnostics.span import one_line, printable

_SHOWN = 40  # lines of what differs
_INVISIBLE = re.compile(r"[^\x20-\x7e\n]")


class DocumentFormat(StrEnum):
    """How `openapi` prints a document."""

    json = "json"
    yaml = "yaml"


def openapi(
    file: Annotated[Path, typer.Argument(help="A manifest.", show_default=False)],
    format: Annotated[
        DocumentFormat | None,
        typer.Option(help="How to print: `json` unless given.", show_default=False),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Tell whether this committed copy, JSON or YAML, says the same; status 1 where not.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Print the OpenAPI document of an application, or tell whether a committed copy is stale."""
    from assembler.review.openapi.document import read_document

    committed = None if check is None else read_document(check)
    document = _document(file)
    is_yaml = check is not None and check.suffix in {".yaml", ".yml"}
    form = format or (DocumentFormat.yaml if is_yaml else DocumentFormat.json)
    if check is None or committed is None:
        show(_text(document, form))
        return
    if _sorted(committed.data) == _sorted(document):
        show(f"{named(check)}: ok")
        return
    show("\n".join(_differing(committed.data, document, named(check), named(file), form)))
    option = " --format yaml" if form is DocumentFormat.yaml else ""
    remedy = f"assembler openapi {quote(str(file))}{option} > {quote(str(check))}"
    complain(f"error: `{named(check)}` is not what `{named(file)}` gives")
    complain(f"  = help: run `{remedy}`")
    raise typer.Exit(INVALID)


def _document(file: Path) -> dict[str, Any]:
    """Build the application and return its document, as a server would give it."""
    from assembler.application.build import build
    from assembler.plan.load import load

    with results_apart():
        plan = load(file)
        app = build(plan)
        try:
            document = app.openapi()
        except (Exception, SystemExit) as error:  # noqa: BLE001  # a component may raise anything
            notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
            said = one_line(plan.secrets.scrub(f"{failure_of(error)}{notes}"))
            raise UsageError(f"the document of `{named(file)}` cannot be made: {said}") from None
    try:
        made: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"the document of `{named(file)}` is no JSON: {error}") from None
    return made


def _text(document: Mapping[str, Any], form: DocumentFormat) -> str:
    """Write the document in its own order, with nothing that could deceive a terminal."""
    if form is DocumentFormat.yaml:
        from assembler.document.dump import dump

        return dump([document]).rstrip("\n")
    return _INVISIBLE.sub(_escape, json.dumps(document, indent=2, ensure_ascii=False))


def _escape(match: re.Match[str]) -> str:
    return match[0] if match[0].isprintable() else json.dumps(match[0])[1:-1]


def _sorted(document: Mapping[str, Any]) -> str:
    return json.dumps(document, sort_keys=True)


def _differing(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    old_name: str,
    new_name: str,
    form: DocumentFormat,
) -> Iterator[str]:
    """Yield the lines that differ, of both sides in one order of keys."""
    before, after = (_text(json.loads(_sorted(side)), form).splitlines() for side in (old, new))
    lines = list(unified_diff(before, after, old_name, new_name, lineterm="", n=2))
    yield from map(printable, lines[:_SHOWN])
    if len(lines) > _SHOWN:
        yield f"… and {len(lines) - _SHOWN} more lines"
