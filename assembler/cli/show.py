"""`render`, `explain`, `routes`, `schema`: one manifest → what it says, does, answers and may say.

In: the path of a manifest. Out: text, or JSON for programs. Refuses what `check` refuses, and a
part of the manifest or a request that cannot be read.
"""

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import ListFormat, named, results_apart, show
from assembler.diagnostics.errors import UsageError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from assembler.plan.load import Plan


class DataFormat(StrEnum):
    """How `render` prints a manifest."""

    yaml = "yaml"
    json = "json"


class PictureFormat(StrEnum):
    """How `explain` prints a trip."""

    text = "text"
    json = "json"
    mermaid = "mermaid"


File = Annotated[Path, typer.Argument(help="A manifest.", show_default=False)]


def render(
    file: File,
    explain: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Tell where the values at and below PATH came from."),
    ] = None,
    format: Annotated[DataFormat, typer.Option(help="How to print.")] = DataFormat.yaml,
) -> None:
    """Print the whole manifest of one environment, its overlays merged, its references as written."""
    from assembler.document.address import path_of, stands
    from assembler.plan.load import load_shape
    from assembler.review import render as rendering

    document, _ = load_shape(file)
    if explain is not None:
        path = path_of(document.root, explain)
        if not stands(document.root, path):
            raise UsageError(f"`{explain}` is not in {named(file)}")
        show("\n".join(rendering.origins(document, path)))
    elif format is DataFormat.json:
        show(rendering.as_json(document))
    else:
        show(rendering.as_yaml(document).rstrip("\n"))


def explain(
    file: File,
    method: Annotated[
        str | None,
        typer.Argument(help="GET unless given; POST, …, or WEBSOCKET.", show_default=False),
    ] = None,
    path: Annotated[
        str | None,
        typer.Argument(
            help="The path of a request, or its URL where a route asks for a host.",
            show_default=False,
        ),
    ] = None,
    format: Annotated[PictureFormat, typer.Option(help="How to print.")] = PictureFormat.text,
) -> None:
    """Draw the trip of a request: server, middleware from outside in, routes, handlers."""
    from assembler.describe import picture
    from assembler.describe.explain import explanation

    targets = ("/", "http://", "https://")
    if method is not None and path is None and method.startswith(targets):
        method, path = "GET", method
    if method is not None and (path is None or not path.startswith(targets)):
        raise UsageError("give METHOD and PATH, such as `GET /health/live`")
    facts = explanation(*_built(file), method, path)
    if format is PictureFormat.json:
        show(json.dumps(facts, indent=2))
    elif format is PictureFormat.mermaid:
        show(picture.as_mermaid(facts))
    else:
        show(picture.as_text(facts))


def routes(
    file: File,
    format: Annotated[ListFormat, typer.Option(help="How to print.")] = ListFormat.text,
) -> None:
    """List the routes, in the order in which they are tried."""
    from assembler.describe import picture
    from assembler.describe.explain import routes_of

    found = [route.as_dict() for route in routes_of(*_built(file))]
    if format is ListFormat.json:
        show(json.dumps({"format": 1, "routes": found}, indent=2))
    elif found:
        show(picture.as_list(found))


def schema(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Describe the options of what this manifest uses as well.", show_default=False
        ),
    ] = None,
) -> None:
    """Print the JSON Schema of the format, for editors."""
    from assembler.describe.schema.manifest import manifest_schema, schema_for, schema_text
    from assembler.plan.load import load

    with results_apart():
        described = manifest_schema() if file is None else schema_for(load(file, lazy=False))
    show(schema_text(described).rstrip("\n"))


def _built(file: Path) -> "tuple[Plan, FastAPI]":
    from assembler.application.build import build
    from assembler.plan.load import load

    with results_apart():
        plan = load(file)
        return plan, build(plan)
