"""A folder with a user's own manifest and modules, importable while the test runs."""

import importlib
import linecache
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def project(folder: Path, files: dict[str, str]) -> Iterator[Path]:
    """Write `files` into `folder`, go there, and forget the modules of it at the end."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    before = set(sys.modules)
    importlib.invalidate_caches()
    linecache.clearcache()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "path", [str(folder), *sys.path])
        patch.setattr(sys, "dont_write_bytecode", True)
        try:
            yield folder
        finally:
            forget(set(sys.modules) - before, folder)


def forget(names: set[str], folder: Path) -> None:
    """Take those modules of `names` that lie in `folder` out of the interpreter."""
    for name in names:
        module = sys.modules[name]
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place and Path(place).is_relative_to(folder) for place in places):
            del sys.modules[name]
