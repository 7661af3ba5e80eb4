"""What the source told of a path → the same answer in the next process, while that source stands.

In: a question to the reader of sources, and the names of the modules that the answer came from. Out:
the answer, where each of those modules is still the same file with the same content, and what was no
module is still none. One file a folder from which commands are called, in the user's cache folder:
bounded, replaced whole, so that of two processes the last one holds and neither harms the other. It
holds data in JSON, nothing that runs. Refuses, by reading sources anew, a folder that is another
user's or lies inside the current one, whose author must not answer for their own code.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from assembler.plan.signature import Parameter, Signature, Target
from assembler.plan.static.hints import Limits, Mark, limited
from assembler.plan.static.looseness import UNTOLD, OptionFacts
from assembler.plan.static.vocabulary import TYPES

_MOST_ANSWERS = 2000  # of one file; the oldest go first
_MOST_VARIANTS = 3  # of one question: a working tree, and the commit that it is compared with
_MOST_FILES = 50
_LARGEST = 16 * 1024 * 1024  # bytes of a file that are read
_PATHS = {kind: path for path, kind in reversed(TYPES.items())}
_MARKS: dict[Any, str] = {
    Any: "any",
    None: "untold",
    NoneType: "none",
    ...: "...",
}
_MARKED = {text: kind for kind, text in _MARKS.items()}
_PLAIN = (NoneType, bool, int, float, str)
_RECORDS: dict[str, type[Any]] = {
    kind.__name__: kind for kind in (Target, Signature, Parameter, OptionFacts)
}
_HINTS = {
    ("Parameter", "annotation"),
    ("Signature", "returns"),
    ("OptionFacts", "hint"),
}  # fields that hold a type
_CURRENT: ContextVar[Answers | None] = ContextVar("answers", default=None)

Fingerprint = tuple[str | None, str] | None  # a module's file and the hash of what it says
Fingerprints = Callable[[str], Fingerprint]


class _Untellable(Exception):  # noqa: N818  # it never leaves this module
    """An answer that JSON cannot hold."""


@contextlib.contextmanager
def kept(*, anew: bool = False) -> Iterator[None]:
    """Let readers of sources use what was kept, and keep what they find; with `anew` neither."""
    file = None if anew else _file()
    answers = None if file is None else Answers(file)
    token = _CURRENT.set(answers)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        if answers is not None:
            answers.write()


def current() -> Answers | None:
    """Return the answers that are kept, None where nobody asked for that."""
    return _CURRENT.get()


class Answers:
    """The answers that one file keeps; read when the first question is asked."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._is_changed = False
        self._variants: dict[str, list[tuple[dict[str, Fingerprint], Any]]] | None = None

    def get(self, question: str, fingerprint: Fingerprints) -> Any:
        """Return the answer whose modules are what they were; `UNTOLD` where there is none."""
        for modules, told in self._read().get(question, ()):
            if all(fingerprint(name) == was for name, was in modules.items()):
                with contextlib.suppress(KeyError, TypeError, ValueError, IndexError):
                    return _decoded(told)
        return UNTOLD

    def put(self, question: str, modules: Mapping[str, Fingerprint], answer: Any) -> None:
        """Keep an answer, unless JSON cannot hold it."""
        with contextlib.suppress(_Untellable):
            told = _encoded(answer)
            others = [each for each in self._read().pop(question, ()) if each[0] != modules]
            self._read()[question] = [(dict(modules), told), *others][:_MOST_VARIANTS]
            self._is_changed = True

    def write(self) -> None:
        """Replace the file; a folder that cannot be written to is no fault."""
        if self._is_changed:
            newest = dict(list(self._read().items())[-_MOST_ANSWERS:])
            with contextlib.suppress(OSError):
                _replace(self._file, json.dumps(_as_document(newest)))
                _forget_oldest(self._file.parent)

    def _read(self) -> dict[str, list[tuple[dict[str, Fingerprint], Any]]]:
        if self._variants is None:
            self._variants = {}
            with contextlib.suppress(
                OSError, ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError
            ):  # no such file yet, or one that was not written here
                if self._file.stat().st_size <= _LARGEST:
                    self._variants = _from_document(json.loads(self._file.read_bytes()))
        return self._variants


def _as_document(variants: Mapping[str, Any]) -> dict[str, Any]:
    """Write each module once: the answers name them by number."""
    numbers: dict[tuple[str, Fingerprint], int] = {}
    answers = {
        question: [
            [[numbers.setdefault(item, len(numbers)) for item in modules.items()], told]
            for modules, told in each
        ]
        for question, each in variants.items()
    }
    return {"modules": list(numbers), "answers": answers}


def _from_document(document: Any) -> dict[str, list[tuple[dict[str, Fingerprint], Any]]]:
    modules = [(name, was and tuple(was)) for name, was in document["modules"]]
    return {
        question: [(dict(modules[number] for number in used), told) for used, told in each]
        for question, each in document["answers"].items()
    }


def _file() -> Path | None:
    """Return the file for the current folder, None where nothing may be kept."""
    try:
        folder, here = _folder(), Path.cwd()
        if folder.resolve().is_relative_to(here.resolve()):
            return None
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
            return None
        key = hashlib.sha256(_code())
        key.update(f"{sys.version}\0{sys.platform}\0{here}".encode(errors="replace"))
        return folder / f"{key.hexdigest()[:32]}.json"
    except (OSError, RuntimeError):  # no home, no current folder, a disk that is full
        return None


def _folder() -> Path:
    """Return the user's folder for what can be made again (XDG Base Directory; Apple's and Microsoft's)."""
    said = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(said):  # noqa: PTH117  # the specification wants others passed over
        return Path(said) / "fastapi-assembler"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/fastapi-assembler"
    if sys.platform == "win32" and os.environ.get("LOCALAPPDATA"):
        return Path(os.environ["LOCALAPPDATA"]) / "fastapi-assembler" / "Cache"
    return Path.home() / ".cache/fastapi-assembler"


def _code() -> bytes:
    """Return the text of what answers: another reader may answer otherwise."""
    here = Path(__file__)
    files = [*here.parent.glob("*.py"), here.parents[1] / "signature.py"]
    return b"\0".join(file.read_bytes() for file in sorted(files))


def _replace(file: Path, text: str) -> None:
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".new")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as fresh:
            fresh.write(text)
        Path(name).replace(file)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise


def _forget_oldest(folder: Path) -> None:
    """Bound the folder; what another process forgets at the same moment is gone as well."""
    ages = {file: file.stat().st_mtime for file in folder.glob("*.json")}
    for file in sorted(ages, key=ages.__getitem__)[:-_MOST_FILES]:
        file.unlink(missing_ok=True)


def _encoded(value: Any) -> Any:
    """Write a value as JSON: what is no plain one is a list that begins with what it is."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, str):
        return str(value)
    if value is UNTOLD:
        return ["untold"]
    name = type(value).__name__
    if name in _RECORDS:
        held = {field.name: getattr(value, field.name) for field in fields(value)}
        return [name, {
            key: _encoded_hint(item) if (name, key) in _HINTS else _encoded(item)
            for key, item in held.items()
        }]  # fmt: skip
    if isinstance(value, list | tuple):
        return [name, [_encoded(item) for item in value]]
    if isinstance(value, dict):
        return ["dict", [[_encoded(key), _encoded(item)] for key, item in value.items()]]
    if isinstance(value, timedelta):
        return ["timedelta", [value.days, value.seconds, value.microseconds]]
    raise _Untellable


def _decoded(told: Any) -> Any:
    if not isinstance(told, list):
        return told
    match told:
        case ["untold"]:
            return UNTOLD
        case ["list", held]:
            return [_decoded(item) for item in held]
        case ["tuple", held]:
            return tuple(_decoded(item) for item in held)
        case ["dict", held]:
            return {_decoded(key): _decoded(item) for key, item in held}
        case ["timedelta", held]:
            return timedelta(*held)
    name, held = told
    made = {
        key: _decoded_hint(item) if (name, key) in _HINTS else _decoded(item)
        for key, item in held.items()
    }
    return _RECORDS[name](**made)


def _encoded_hint(hint: Any) -> Any:
    """Write a type, of which `Hints` makes few kinds."""
    is_named = isinstance(hint, Hashable)
    if is_named and hint in _MARKS:
        return [_MARKS[hint]]
    if is_named and hint in _PATHS:
        return ["type", _PATHS[hint]]
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ["literal", [_encoded(item) for item in arguments]]
    if origin is Annotated:
        told = _encoded_hint(arguments[0])
        for item in hint.__metadata__:
            if isinstance(item, Limits):
                told = ["limited", told, _encoded(dict(item.given))]
            elif isinstance(item, Mark):
                inner = [[name, _encoded_hint(each)] for name, each in item.inner.items()]
                told = ["marked", told, item.resource_id, inner]
        return told
    inner = [_encoded_hint(item) for item in arguments]
    if origin in (Union, UnionType):
        return ["union", inner]
    if origin in _PATHS:
        return ["generic", _PATHS[origin], inner]
    raise _Untellable


def _decoded_hint(told: Any) -> Any:
    match told:
        case [str(mark)]:
            return _MARKED[mark]
        case ["type", path]:
            return TYPES[path]
        case ["literal", values]:
            return Literal[tuple(_decoded(item) for item in values)]
        case ["limited", inner, given]:
            return limited(_decoded_hint(inner), _decoded(given))
        case ["marked", hint, id_, needs]:
            needed = {name: _decoded_hint(each) for name, each in needs}
            return Annotated[_decoded_hint(hint), Mark(id_, needed)]
        case ["union", arms]:
            return Union[tuple(_decoded_hint(item) for item in arms)]  # noqa: UP007  # built from a tuple
        case ["generic", path, arguments]:
            return TYPES[path][tuple(_decoded_hint(item) for item in arguments)]
    raise ValueError(told)
