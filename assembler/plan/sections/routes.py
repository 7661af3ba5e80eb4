"""The paths of a manifest → warnings where one of them keeps another from being reached.

In: the layers and routes of a plan, and the `app` section. Out: the folders of frontends;
`path-hidden` for a router or mount that stands below a mount which answers its path, and for a
documentation page that a layer sends under a policy which keeps it blank; `left-behind` for the
router of an application whose layers, handlers or state nothing here has.
"""

import inspect
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Note, Span
from assembler.document.extends import DISK
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, locate
from assembler.manifest import Manifest
from assembler.manifest.app import App
from assembler.plan.component import Component
from assembler.plan.path_patterns import exempts

if TYPE_CHECKING:
    from fastapi import FastAPI

POLICY = "docs_exempt_from"
"""Key of an option that lists pages to which the policy in the option that it names does not apply."""


@dataclass(frozen=True, slots=True)
class Frontend:
    """The files of a single-page app: where they answer, and the folder that they lie in."""

    id: str
    prefix: str
    folder: Path
    span: Span


def check_frontends(
    manifest: Manifest, document: Document, *, is_static: bool
) -> tuple[tuple[Frontend, ...], list[Diagnostic]]:
    """Return the frontends; with `is_static` nobody looks whether their folders are there."""
    files = {DISK.name(path): path for path in document.files}
    found: list[Frontend] = []
    faults: list[Diagnostic] = []
    for index, entry in enumerate(manifest.routes):
        if entry.frontend is None:
            continue
        node, _ = locate(document.root, ("routes", index, "frontend"))
        folder = files.get(node.span.file.name, document.path).parent / entry.frontend
        why = DISK.refusal(document.project, folder)
        if why is not None:
            message = f"cannot serve `{entry.frontend}`: {why}"
            faults.append(Diagnostic("outside-project", message, node.span))
        elif not is_static and not folder.is_dir():
            message = f"there is no folder `{entry.frontend}` beside the manifest"
            faults.append(Diagnostic("bad-value", message, node.span))
        found.append(Frontend(entry.id, entry.prefix or "/", folder, node.span))
    return tuple(found), faults


def check_routes(
    routes: Sequence[Component], frontends: Iterable[Frontend] = ()
) -> Iterator[Diagnostic]:
    """Warn of routes that a mount above them, and of files that any mount, answers in their place."""
    for frontend in frontends:
        for component in routes:
            where = component.entry.mount if component.role == "mount" else None
            if where is not None and f"{frontend.prefix}/".startswith(f"{where.rstrip('/')}/"):
                message = f"the files of `{frontend.id}` are never reached: the mount at `{where}` answers there"
                note = Note(component.span, f"`{where}` is mounted here")
                yield Diagnostic(
                    "path-hidden", message, frontend.span, notes=(note,), severity="warning"
                )
    mounts: list[Component] = []
    for component in routes:
        paths = list(_paths(component)) if mounts else []
        for mount in mounts:
            front = mount.entry.mount.rstrip("/")
            hidden = [path for path in paths if path == front or path.startswith(f"{front}/")]
            if not hidden:
                continue
            where = mount.entry.mount
            more = f" and {len(hidden) - 1} more are" if len(hidden) > 1 else " is"
            message = f"`{hidden[0]}`{more} never reached: the mount at `{where}` answers there"
            note = Note(mount.span, f"`{where}` is mounted here")
            remedy = "move the mount below it"
            span = component.span
            yield Diagnostic(
                "path-hidden", message, span, notes=(note,), help=remedy, severity="warning"
            )
            break
        if component.role == "mount" and component.entry.host is None:
            mounts.append(component)


def application_of(router: object) -> "FastAPI | None":
    """Return the application whose own router this is."""
    owner = getattr(router, "dependency_overrides_provider", None)
    if owner is None:
        return None
    from fastapi import FastAPI  # noqa: PLC0415  # a third of a static check, which has no router

    return owner if isinstance(owner, FastAPI) and owner.router is router else None


def check_left_behind(
    routers: Iterable[Component],
    layers: Sequence[Component],
    handlers: Sequence[Component],
    state: Collection[str],
) -> Iterator[Diagnostic]:
    """Warn of what an application has that its router does not bring, and the manifest has not."""
    for component in routers:
        app = application_of(component.target.value) if component.role == "router" else None
        if app is None:
            continue
        named = [(part.target.value, _option(part, "dispatch")) for part in layers]
        caught = {part.caught for part in handlers}
        behind = [
            getattr(layer.kwargs.get("dispatch") or layer.cls, "__name__", "a layer")
            for layer in app.user_middleware
            if (layer.cls, layer.kwargs.get("dispatch")) not in named
        ]
        behind += [
            f"the handler of {getattr(key, '__name__', key)}"
            for key, handler in app.exception_handlers.items()
            if key not in caught and not str(getattr(handler, "__module__", "")).startswith(_OWN)
        ]
        behind += [f"state.{name}" for name in sorted(app.state._state.keys() - state)]  # noqa: SLF001  # Starlette shows no names
        if behind:
            kept = ", ".join(f"`{name}`" for name in behind[:_SHOWN])
            more = f" and {len(behind) - _SHOWN} more" if len(behind) > _SHOWN else ""
            message = f"`{component.target.path}` brings no more than routes and lifespan: {kept}{more} stay behind"
            remedy = "write them into `middleware`, `exception_handlers` and `app: {state: …}`"
            span = component.span
            yield Diagnostic("left-behind", message, span, help=remedy, severity="warning")


_OWN = ("fastapi.", "starlette.")
_SHOWN = 5


def check_docs(
    layers: Iterable[Component], app: App, root: MappingNode, front: str = ""
) -> Iterator[Diagnostic]:
    """Warn of documentation pages that a layer sends under the policy of all other pages.

    `front` is the path under which the manifest is mounted, where the layers are of one around it.
    """
    pages = {"docs": app.openapi.docs, "redoc": app.openapi.redoc} if app.openapi.path else {}
    for component in layers:
        for name, parameter in component.target.signature.parameters.items():
            policy = parameter.facts.get(POLICY)
            if not isinstance(policy, str) or _option(component, policy) is None:
                continue
            patterns = _option(component, name) or ()
            for key, own in pages.items():
                page = own and f"{front}{own}"
                if page is None or any(exempts(text, page) for text in patterns):
                    continue
                message = f"`{page}` stays blank: `{policy}` of `{component.target.name}` blocks it"
                section, _ = locate(root, ("app", "openapi"))
                written = section.members if isinstance(section, MappingNode) else {}
                span = written[key].value.span if key in written else component.span
                remedy = f"add it to `{name}`, or write `app: {{openapi: {{{key}: null}}}}`"
                yield Diagnostic("path-hidden", message, span, help=remedy, severity="warning")


def _paths(component: Component) -> Iterator[str]:
    """Where an entry answers, as far as that is known without calling anything."""
    if component.role == "mount":
        yield component.entry.mount
        return
    if component.role == "endpoint":
        yield component.entry.path
        return
    prefix = component.entry.prefix
    found = list(_declared(getattr(component.target.value, "routes", ())))
    yield from (f"{prefix}{path}" for path in found)
    if not found and prefix:  # a factory: all of its routes are beneath
        yield prefix


def _declared(routes: Any, prefix: str = "") -> Iterator[str]:
    if not isinstance(routes, list):
        return
    for route in routes:
        included = getattr(route, "original_router", None)  # of FastAPI from 0.140 on
        if included is not None:
            more = getattr(getattr(route, "include_context", None), "prefix", "")
            yield from _declared(included.routes, prefix + more)
        elif isinstance(path := getattr(route, "path", None), str):
            yield prefix + path


def _option(component: Component, name: str) -> Any:
    """The value that an option has, where it was given or has a default."""
    given = component.options.value or component.options.data
    if name in given:
        return given[name]
    parameter = inspect.signature(component.target.value).parameters.get(name)
    return None if parameter is None else parameter.default
