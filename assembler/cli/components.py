"""`components`: words → what may stand in a manifest and fits them, read from source.

In: a query, a section, packages. Out: a line for each class or function, or JSON. The packages are
those of the import list; without one `components`, those of the project, and those that are named.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.check import NoCache, own_manifests
from assembler.cli.output import INVALID, ListFormat, complain, show
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.sections import ENTRIES

if TYPE_CHECKING:
    from assembler.describe.catalogue import CatalogueItem, Use
    from assembler.document.merge import Document
    from assembler.manifest import Manifest
    from assembler.plan.static import SourceReader

SHIPPED = "components"
_NO_COMPONENTS = {"tests", "test", "docs", "setup", "conftest", "noxfile", "tasks"}


Packages = Annotated[
    list[str] | None,
    typer.Option("--package", metavar="NAME", help="A package besides those of the import list."),
]


def components(
    query: Annotated[
        list[str] | None,
        typer.Argument(help="Words of names, summaries or options.", show_default=False),
    ] = None,
    section: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What may stand there alone, such as `middleware`."),
    ] = None,
    package: Packages = None,
    format: Annotated[ListFormat, typer.Option(help="How to print.")] = ListFormat.text,
    no_cache: NoCache = False,
) -> None:
    """List what may stand in a manifest: what it does, what it needs, and the extra to install."""
    from assembler.describe.catalogue import matching
    from assembler.describe.handbook import as_list
    from assembler.plan.static.cache import kept

    if section is not None and section not in ENTRIES:
        raise UsageError(f"there is no section `{section}`: {', '.join(ENTRIES)}")
    with kept(anew=no_cache):
        items = listed(package or [])
    if section is not None:
        items = [item for item in items if section in item.sections]
    if query:
        items = matching(items, " ".join(query))
    if format is ListFormat.json:
        show(json.dumps({"format": 1, "components": [item.as_dict() for item in items]}, indent=2))
    elif items:
        show(as_list(items, by_section=not query))
    else:
        complain("nothing fits: `assembler components` lists all")
    if not items:
        raise typer.Exit(INVALID)


def listed(packages: list[str]) -> "list[CatalogueItem]":
    """Return the catalogue of the current folder's project."""
    from assembler.describe.catalogue import catalogue

    reader, uses = read_project()
    return catalogue(reader, dict.fromkeys([*_packages(), *packages]), uses)


def read_project() -> "tuple[SourceReader, dict[str, list[Use]]]":
    """Return what reads sources, any of them, and where the manifests of `manifests/` name what."""
    from assembler.describe.catalogue import uses_of
    from assembler.plan.allow_list import ImportList
    from assembler.plan.static import SourceReader

    uses: dict[str, list[Use]] = {}
    for document, manifest in shapes():
        for path, use in uses_of(document, manifest):
            known = uses.setdefault(path, [])
            if all((use.place, use.section) != (each.place, each.section) for each in known):
                known.append(use)
    return SourceReader(ImportList(None, None)), uses


def shapes() -> "Iterator[tuple[Document, Manifest]]":
    """Yield the manifests of the project; one with faults is left to `check`."""
    from assembler.plan.load import read_document, shapes_of

    try:
        paths = own_manifests()
    except UsageError:  # there is none yet
        return
    for path in paths:
        try:
            parts = shapes_of(read_document(path))
        except (ManifestError, UsageError):
            continue
        yield from ((document, manifest) for _, document, manifest in parts)


def _packages() -> list[str]:
    from assembler.plan.allow_list import read_import_list

    allowed = read_import_list(Path.cwd() / "manifest.yaml").packages
    if allowed is not None:
        return list(allowed)
    here = sorted(Path.cwd().iterdir())
    own = [each.name for each in here if (each / "__init__.py").is_file()]
    own += [each.stem for each in here if each.suffix == ".py" and each.is_file()]
    fit = [name for name in own if name.isidentifier() and not name.startswith(("_", "test_"))]
    return [SHIPPED, *(name for name in fit if name not in _NO_COMPONENTS)]
