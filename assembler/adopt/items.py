"""One recorded call → an item: what a manifest says of it, or why it cannot, and its place.

In: the application and what was recorded of it. Out: what all readers of its parts have in common:
arguments under `with`, dependencies, what is lifted out of a function, what is taken from the application
as it was.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from assembler.adopt import expressions
from assembler.adopt.lifting import Lifter, UnliftedError, is_local
from assembler.adopt.naming import (
    NAME,
    ImportPaths,
    Value,
    described,
    is_said,
    listed,
    made,
    mapping,
    parts,
    unnamed,
)
from assembler.adopt.recording import Call, Composition, UserPlace
from assembler.plan.component import DATA


class ItemReader:
    """What the readers of an application's parts share; `items` grows as they read."""

    def __init__(
        self, argument: Mapping[str, Any], app: Any, root: str, recording: Composition
    ) -> None:
        self.argument = argument
        self.app = app
        self.recording = recording
        self.names = ImportPaths(root)
        self.names.app = app
        self.lifter = Lifter(self.names, recording)
        self.items: list[dict[str, Any]] = []
        self.unseen: list[tuple[str, int, int]] = []  # lines of functions that are called again
        self.of_calls: dict[int, dict[str, Any]] = {}  # the item of each call

    def item(self, kind: str, place: UserPlace, what: str, section: str) -> dict[str, Any]:
        """Begin an item."""
        item: dict[str, Any] = {
            "kind": kind,
            "place": place.text,
            "what": what,
            "section": section,
            "entry": None,
            "bridge": None,
            "note": "",
            "bridged": False,
        }
        self.items.append(item)
        return item

    def calls(self, *kinds: str) -> Iterator[Call]:
        """Yield the calls on the application and its router, of these kinds."""
        found = self.recording.of(self.app, self.app.router)
        return (call for call in found if call.kind in kinds)

    def responses(self, given: Mapping[Any, Any]) -> Value:
        """Write responses; a model is the path of a class."""
        return mapping(
            {
                str(status): mapping(
                    {
                        key: self.names.code(each) if key == "model" else self.names.value(each)
                        for key, each in said.items()
                    }
                )
                for status, said in given.items()
            }
        )

    def dependencies(self, given: Iterable[Any], place: UserPlace | None = None) -> Value:
        """Write dependencies as a manifest does: the path of what `Depends` has."""
        from fastapi import params  # noqa: PLC0415  # the process alone needs it

        found = []
        for each in given or ():
            is_plain = type(each) is params.Depends and each.use_cache
            is_plain = is_plain and getattr(each, "scope", None) is None
            code = self.names.code(each.dependency)
            if is_plain and code["is"] == "path":
                found.append({**code, "form": "function"})
            elif is_plain and is_local(each.dependency) and place is not None:
                found.append(self.lifted_dependency(each.dependency, place))
            else:
                found.append(unnamed(described(each.dependency) if is_plain else "a `Security`"))
        return listed(found)

    def lifted_dependency(self, dependency: Any, place: UserPlace) -> Value:
        try:
            code = self.lifter.function(dependency, place)
        except UnliftedError as error:
            return unnamed(f"`{short_name(dependency)}`, which stays where it is: {error}")
        options = options_of(code)
        return mapping({"use": code, **options}) if options else code

    def with_of(
        self,
        target: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        leading: int,
        of: tuple[str, UserPlace, dict[str, Any]] | None = None,
    ) -> dict[str, Value] | str:
        """Write arguments under `with`, or say why that cannot be; `of` says who has them."""
        given = expressions.by_name(target, tuple(args), kwargs, leading=leading)
        if given is None:
            return "its arguments have no names"
        of = of if not args else None
        said = {}
        for name, value in given.items():
            written = self.names.value(value)
            if written["is"] == "app":
                return f"`{name}` is the application"
            if written["is"] == "unnamed" and of is not None and not isinstance(value, DATA):
                written = self.named_part(value, name, of, f"kwargs[{name!r}]".replace("'", '"'))
            if not is_said(written):
                return f"`{name}` is {why_unsaid(written)}"
            if not expressions.is_read_back(target, name, value, written, leading=leading):
                return f"`{name}` takes no import path"
            said[name] = written
        return said

    def named_part(
        self, value: Any, name: str, of: tuple[str, UserPlace, dict[str, Any]], where: str
    ) -> Value:
        """Lift a local function that is an argument, or take it from who has it."""
        code, place, item = of
        lifted = self.lifted(value, place, item)
        if lifted is not None and not lifted["with"]:
            return lifted
        item["note"] = item["note"] or f"`{name}` is {described(value)}"
        return self.part(value, name, f"{code}.{where}")

    def lifted(self, value: Any, place: UserPlace, item: dict[str, Any]) -> Value | None:
        """Lift a local function, or say in the item why that cannot be."""
        if not is_local(value):
            return None
        try:
            return self.lifter.function(value, place)
        except UnliftedError as error:
            item["note"] = f"`{short_name(value)}` stays where it is: {error}"
            return None

    def part(self, value: Any, name: str, code: str) -> Value:
        """Write what the application as it was has, by the code that takes it from there."""
        own = getattr(value, "__name__", name)
        called = name if "<" in own else own
        line = f"{NAME} = {code}"
        return made(str(id(value)), called, line, value, uses_old=True)


def options_of(code: Value) -> dict[str, Value]:
    """Return the key `with` for what is made with options."""
    options = code.get("with")
    return {"with": mapping(options)} if options else {}


def why_unsaid(value: Value) -> str:
    """Return what keeps a value from being said."""
    for each in parts(value):
        if each["is"] == "unnamed":
            return str(each["what"])
        if each["is"] == "app":
            return "the application itself"
    return "nothing that a manifest can say"


def first_reason(entry: Mapping[str, Value]) -> str:
    """Return which key of an entry cannot be said, and why."""
    for key, each in entry.items():
        if not is_said(each):
            return f"`{key}` is {why_unsaid(each)}"
    return ""


def short_name(value: Any) -> str:
    """Return the name of a class or function, without where it stands."""
    while isinstance(value, functools.partial):
        value = value.func
    return str(getattr(value, "__qualname__", None) or type(value).__name__).rpartition(
        "<locals>."
    )[2]
