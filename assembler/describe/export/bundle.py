"""A document → the files that it needs to be read again somewhere else.

In: a `Plan`. Out: each manifest of the chain, the SQL files that it names, and the import list, at
paths relative to one folder, so that `extends` and `file` still lead where they did. Refuses
nothing; the text of each file is as it stands.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assembler.document.extends import shown_name
from assembler.document.interpolation import is_sql
from assembler.document.merge import Document
from assembler.document.nodes import ScalarNode, walk
from assembler.plan.allow_list import read_import_list

_NOT_IN_KEYS = re.compile(r"[^-._a-zA-Z0-9]")


@dataclass(frozen=True, slots=True)
class BundledFile:
    """One file: its path below the folder, its key in a flat store, its text."""

    path: str
    key: str
    text: str


def bundle(document: Document) -> tuple[list[BundledFile], str]:
    """Return the files, and the path of the manifest itself among them."""
    paths = list(dict.fromkeys([*map(_whole, document.files), *_sql_files(document)]))
    top = Path(os.path.commonpath([path.parent for path in paths]))
    texts = {path.relative_to(top).as_posix(): path.read_bytes().decode() for path in paths}
    packages = read_import_list(document.path).packages
    if packages is not None:  # without it, more could be imported there than here
        texts["pyproject.toml"] = f"[tool.assembler]\nimports = {json.dumps(packages)}\n"
    own = _whole(document.path).relative_to(top).as_posix()
    if "/" in own:  # what it extends lies above it, and there is no git: this marks the project
        texts.setdefault("pyproject.toml", "[tool.assembler]\n")
    return list(_keyed(texts)), own


def _whole(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100  # `resolve` would leave by a link's target


def _sql_files(document: Document) -> Iterator[Path]:
    """Yield the files of statements, each relative to the manifest that says it."""
    folders = {shown_name(path): _whole(path).parent for path in document.files}
    for path, node in walk(document.root):
        if is_sql(path) and path[-1] == "file" and isinstance(node, ScalarNode):
            yield _whole(folders[node.span.file.name] / str(node.value))


def _keyed(texts: dict[str, str]) -> Iterator[BundledFile]:
    used: set[str] = set()
    for path, text in texts.items():
        key = plain = _NOT_IN_KEYS.sub("_", path)[:240]
        number = 2
        while key in used or key in {".", ".."}:
            key, number = f"{plain}-{number}", number + 1
        used.add(key)
        yield BundledFile(path, key, text)
