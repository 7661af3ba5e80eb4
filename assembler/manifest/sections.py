"""What the entries of each section are: their model, and the role of the code that they name.

In: the names of `document.sections`, which has the rest of the facts. Out: `ENTRY_MODELS`, and the
entries of a manifest, section by section.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from assembler.document.nodes import NodePath
from assembler.document.sections import ENTRIES
from assembler.manifest import Manifest
from assembler.manifest.entry import Configure, Finish, Handler, Middleware, Resource, Route
from assembler.manifest.section import Section
from assembler.manifest.step import Background, Job, LifespanFunction, Shutdown, Startup

Role = Literal[
    "resource",
    "lifespan",
    "middleware",
    "handler",
    "configure",
    "finish",
    "router",
    "mount",
    "endpoint",
    "dependency",
    "listener",
    "startup",
    "job",
    "background",
    "shutdown",
]


class EntryModel(NamedTuple):
    """The model of an entry, and the role of what it names; a route with `mount` is a mount."""

    model: type[Section]
    role: Role


ENTRY_MODELS: Mapping[str, EntryModel] = MappingProxyType(
    {
        "resources": EntryModel(Resource, "resource"),
        "lifespan": EntryModel(LifespanFunction, "lifespan"),
        "middleware": EntryModel(Middleware, "middleware"),
        "exception_handlers": EntryModel(Handler, "handler"),
        "configure": EntryModel(Configure, "configure"),
        "routes": EntryModel(Route, "router"),
        "finish": EntryModel(Finish, "finish"),
        "startup": EntryModel(Startup, "startup"),
        "scheduler.jobs": EntryModel(Job, "job"),
        "background": EntryModel(Background, "background"),
        "shutdown": EntryModel(Shutdown, "shutdown"),
    }
)


def entries_of(manifest: Manifest, name: str) -> Iterator[tuple[NodePath, Any]]:
    """Yield the entries of one section, each with its path in the document."""
    section: Any = manifest
    for key in ENTRIES[name].path:
        section = getattr(section, str(key))
    pairs = section.items() if ENTRIES[name].is_mapping else enumerate(section)
    for key, entry in pairs:
        yield (*ENTRIES[name].path, key), entry
