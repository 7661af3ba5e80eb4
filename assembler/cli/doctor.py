"""`doctor`: the environment → the versions of what matters, and what is known against them.

In: nothing but what is installed; no manifest, no network. Out: text, or JSON for programs; status 1
where something is known that a newer version mends.
"""

import json
import platform
from typing import TYPE_CHECKING, Annotated

import typer

from assembler.cli.output import INVALID, ListFormat, show

if TYPE_CHECKING:
    from assembler.describe.versions import Trouble


def doctor(
    format: Annotated[ListFormat, typer.Option(help="How to print.")] = ListFormat.text,
) -> None:
    """Tell the versions of what matters, which break together, and which have known advisories."""
    from assembler.application.route_index import unsupported
    from assembler.describe.versions import KNOWN_ON, WATCHED, installed, troubles

    python = platform.python_version()
    versions = installed()
    # Pairs name a few besides those that are listed.
    found = troubles(versions | installed(_besides(WATCHED)), python=python)
    index = unsupported()
    if format is ListFormat.json:
        facts = {
            "format": 1,
            "known_on": KNOWN_ON,
            "python": python,
            "versions": versions,
            "route_index": index or "on",
            "troubles": [trouble.as_dict() for trouble in found],
        }
        show(json.dumps(facts, indent=2, ensure_ascii=False))
    else:
        show("\n".join(_lines(python, versions, index, found, KNOWN_ON)))
    if found:
        raise typer.Exit(INVALID)


def _besides(watched: tuple[str, ...]) -> list[str]:
    from packaging.requirements import Requirement

    from assembler.describe.versions import PAIRS

    named = {Requirement(text).name for pair in PAIRS for text in (pair.one, pair.other)}
    return sorted(named - set(watched) - {"python"})


def _lines(
    python: str, versions: dict[str, str], index: str | None, found: list["Trouble"], known_on: str
) -> list[str]:
    width = max(map(len, versions), default=0)
    lines = [f"{name:{width}}  {text}" for name, text in {"python": python, **versions}.items()]
    lines += ["", f"routes are tried one by one: {index}" if index else "routes have their index"]
    for trouble in found:
        lines += ["", f"{trouble.package} {trouble.version}: {trouble.what}"]
        lines += [f"  = {_KINDS[trouble.kind]}: {trouble.source}"]
        lines += [f"  = help: take `{trouble.mended}`"]
    count = f"{len(found)} known" if found else "nothing is known against them"
    return [*lines, "", f"{count}, by the tables of {known_on}"]


_KINDS = {"conflict": "required by", "pair": "see", "advisory": "advisory"}
