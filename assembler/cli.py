"""The command `assembler`: the only room that prints and exits.

In: arguments. Out: the result on standard output, all else on standard error, and a status: 0 for
yes, 1 for a manifest that is wrong, 2 for a call that is. Never shows Python frames of its own.
"""

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from assembler.errors import AssemblerError, Diagnostic, ManifestError, UsageError
from assembler.review import diagnostics as reports

app = typer.Typer(
    name="assembler",
    help="Assemble a FastAPI application from a YAML manifest, and check every line of it first.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)

_INVALID = 1
_USAGE = 2


class CheckFormat(StrEnum):
    """How `check` prints what it found."""

    text = "text"
    json = "json"
    github = "github"
    sarif = "sarif"


class DataFormat(StrEnum):
    """How `render` prints a manifest."""

    yaml = "yaml"
    json = "json"


class PictureFormat(StrEnum):
    """How `explain` prints a trip."""

    text = "text"
    json = "json"
    mermaid = "mermaid"


class ListFormat(StrEnum):
    """How `routes` prints its list."""

    text = "text"
    json = "json"


File = Annotated[Path, typer.Argument(help="A manifest.", show_default=False)]


def main() -> None:
    """Run the command; every error of ours becomes one message and a status."""
    try:
        app()
    except ManifestError as error:
        color = sys.stderr.isatty() and "NO_COLOR" not in os.environ
        _complain(reports.as_text(error.diagnostics, color=color))
        raise SystemExit(_INVALID) from None
    except AssemblerError as error:
        _complain(f"error: {error}")
        raise SystemExit(_USAGE) from None
    except BrokenPipeError:  # the reader has seen enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(_INVALID) from None


@app.command(epilog="Example: assembler check manifests/*.yaml --static --format github")
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Manifests; without any, those in `manifests/`.", show_default=False),
    ] = None,
    static: Annotated[
        bool,
        typer.Option("--static", help="Read source instead of importing it, and no variables."),
    ] = False,
    format: Annotated[CheckFormat, typer.Option(help="How to print.")] = CheckFormat.text,
) -> None:
    """Check manifests: text, shape, references, imports and options. Status 1 where one is wrong."""
    found: list[Diagnostic] = []
    paths = files or _own_manifests()
    for path in paths:
        checked = _checked(path, static=static)
        found += checked
        if format is CheckFormat.text and not any(item.severity == "error" for item in checked):
            _print(f"{path}: ok")
    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ
    unique = list(dict.fromkeys(found))
    if format is CheckFormat.text:
        text = reports.as_text(unique, color=color)
    else:
        text = getattr(reports, f"as_{format.value}")(unique)
    if text:
        _print(text)
    if any(item.severity == "error" for item in found):
        raise typer.Exit(_INVALID)


@app.command(epilog="Example: assembler render manifests/prod.yaml --explain resources.db.with")
def render(
    file: File,
    explain: Annotated[
        str | None,
        typer.Option(metavar="PATH", help="Tell where the values at and below PATH came from."),
    ] = None,
    format: Annotated[DataFormat, typer.Option(help="How to print.")] = DataFormat.yaml,
) -> None:
    """Print the whole manifest of one environment, its overlays merged, its references as written."""
    from assembler.address import path_of  # noqa: PLC0415  # each command loads what it needs
    from assembler.plan import load_shape  # noqa: PLC0415
    from assembler.review import rendering  # noqa: PLC0415
    from assembler.source import locate  # noqa: PLC0415

    document, _ = load_shape(file)
    if explain is not None:
        path = path_of(document.root, explain) if explain else ()
        lines = list(rendering.origins(document, path))
        node, _ = locate(document.root, path[:-1])
        if not lines or not _has(node, path):
            raise UsageError(f"`{explain}` is not in {file}")
        _print("\n".join(lines))
    elif format is DataFormat.json:
        _print(rendering.as_json(document))
    else:
        _print(rendering.as_yaml(document).rstrip("\n"))


@app.command(epilog="Example: assembler explain manifests/dev.yaml GET /api/v1/listings")
def explain(
    file: File,
    method: Annotated[str | None, typer.Argument(help="GET, POST, …, or WEBSOCKET.")] = None,
    path: Annotated[str | None, typer.Argument(help="The path of a request.")] = None,
    format: Annotated[PictureFormat, typer.Option(help="How to print.")] = PictureFormat.text,
) -> None:
    """Draw the trip of a request: server, middleware from outside in, routes, handlers."""
    from assembler import explain as picture  # noqa: PLC0415

    if method is not None and (path is None or not path.startswith("/")):
        raise UsageError("give METHOD and PATH, such as `GET /health/live`")
    plan, built = _built(file)
    facts = picture.explanation(plan, built, method, path)
    _print(getattr(picture, f"as_{format.value}")(facts))


@app.command(epilog="Example: assembler routes manifests/dev.yaml --format json")
def routes(
    file: File,
    format: Annotated[ListFormat, typer.Option(help="How to print.")] = ListFormat.text,
) -> None:
    """List the routes, in the order in which they are tried."""
    import json  # noqa: PLC0415

    from assembler.explain import routes_of  # noqa: PLC0415

    _, built = _built(file)
    found = routes_of(built)
    if format is ListFormat.json:
        facts = [route.as_dict() for route in found]
        _print(json.dumps({"format": 1, "routes": facts}, indent=2, ensure_ascii=False))
        return
    rows = [(",".join(route.methods), route.path, route.endpoint, route.id) for route in found]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    for row in rows:
        cells = (f"{cell:<{width}}" for cell, width in zip(row, (*widths, 0), strict=True))
        _print("  ".join(cells).rstrip())


@app.command(epilog="Example: assembler schema > manifests/manifest.schema.json")
def schema(
    file: Annotated[
        Path | None,
        typer.Argument(help="Describe the options of what this manifest uses as well."),
    ] = None,
) -> None:
    """Print the JSON Schema of the format, for editors."""
    import json  # noqa: PLC0415

    from assembler.plan import load  # noqa: PLC0415
    from assembler.schema import manifest_schema, schema_for  # noqa: PLC0415

    described = manifest_schema() if file is None else schema_for(load(file))
    _print(json.dumps(described, indent=2, ensure_ascii=False))


@app.command(epilog="Example: assembler serve manifests/dev.yaml --reload")
def serve(
    file: File,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when code or a manifest changes.")
    ] = False,
) -> None:
    """Serve a manifest with uvicorn, by its `server` section."""
    import uvicorn  # noqa: PLC0415

    from assembler.plan import load  # noqa: PLC0415

    plan = load(file)
    options: dict[str, Any] = dict(plan.server)
    if reload:
        options |= _reloading({path.parent for path in plan.document.files})
    os.environ["ASSEMBLY"] = str(file)
    uvicorn.run("assembler:app", **options)


@app.command(epilog="Example: assembler init shop && cd shop && assembler serve manifests/dev.yaml")
def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write.")] = Path(),
) -> None:
    """Write a starting project: a commented manifest, a router, a test; nothing is overwritten."""
    from assembler.starter import write_starter  # noqa: PLC0415

    for path in write_starter(folder):
        _print(str(path))


def _checked(path: Path, *, static: bool) -> list[Diagnostic]:
    from assembler.plan import load  # noqa: PLC0415

    try:
        return list(load(path, static=static).warnings)
    except ManifestError as error:
        return list(error.diagnostics)


def _own_manifests() -> list[Path]:
    found = sorted(path for path in Path("manifests").glob("*") if path.suffix in {".yaml", ".yml"})
    if not found:
        raise UsageError("there is no manifest in `manifests/`: name one")
    return found


def _built(file: Path) -> Any:
    from assembler.build import build  # noqa: PLC0415
    from assembler.plan import load  # noqa: PLC0415

    plan = load(file)
    return plan, build(plan)


def _has(node: Any, path: tuple[str | int, ...]) -> bool:
    return not path or isinstance(path[-1], int) or path[-1] in getattr(node, "members", {})


def _reloading(folders: Iterable[Path]) -> dict[str, Any]:
    """Let uvicorn watch the manifests as well; only its watchfiles reloader takes patterns."""
    try:
        import watchfiles  # noqa: F401, PLC0415
    except ImportError:
        _complain("note: manifests are watched with `pip install 'fastapi-assembler[server]'`")
        return {"reload": True, "workers": 1}
    watched = sorted({str(folder.resolve()) for folder in folders} | {str(Path.cwd())})
    patterns = ["*.py", "*.yaml", "*.yml"]
    return {"reload": True, "workers": 1, "reload_includes": patterns, "reload_dirs": watched}


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(text + "\n")
