"""A manifest that is mounted in another one → what only the outermost may say, and shared ids.

In: trees and models. Out: diagnostics. Refuses the sections of the process (one server, one scheduler,
one configuration of logging), and the review's, in a manifest that is mounted; and ids of what the
process has once, where two of the manifests use one.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.span import Span
from assembler.document.merge import duplicate_id
from assembler.document.nodes import MappingNode, Node, locate
from assembler.document.sections import ENTRIES
from assembler.manifest import Manifest
from assembler.manifest.sections import entries_of

_SECTIONS = {
    "server": "one server runs all of them",
    "logging": "one configuration holds for the process",
    "audit": "its suppressions hold for what is mounted, too",
    "expect": "its requests travel through all of them",
}
_OF_APP = {
    "root_path": "the path of its mount is the one of this",
    "raise_unhandled": "what is raised leaves through all of them",
}
_ONE_SCHEDULER = "one scheduler runs the jobs of all of them"


def of_the_outermost(root: MappingNode) -> Iterator[Diagnostic]:
    """Find what a manifest that is mounted cannot say."""
    for name, why in _SECTIONS.items():
        if name in root.members and _says_something(root.members[name].value):
            yield _refused(f"`{name}`", why, root.members[name].key)
    app = root.get("app")
    said = app.members if isinstance(app, MappingNode) else {}
    for key in _OF_APP.keys() & said.keys():
        yield _refused(f"`{key}` of `app`", _OF_APP[key], said[key].key)
    scheduler = root.get("scheduler")
    members = scheduler.members if isinstance(scheduler, MappingNode) else {}
    for key, member in members.items():
        if key != "jobs":
            yield _refused(f"`{key}` of `scheduler`", _ONE_SCHEDULER, member.key)


def shared_ids(manifests: Iterable[tuple[MappingNode, Manifest]]) -> Iterator[Diagnostic]:
    """Find ids of resources, steps, jobs and loops that two of the manifests use.

    Resources, the report and the store of claims know all of them by these.
    """
    first: dict[tuple[str, str], tuple[int, Node]] = {}
    for number, (root, manifest) in enumerate(manifests):
        for section in (name for name, one in ENTRIES.items() if one.is_of_process):
            for path, entry in entries_of(manifest, section):
                name = str(path[-1]) if section == "resources" else entry.id
                node, key = locate(root, path)
                place = MappingNode({}, key) if section == "resources" and key is not None else node
                owner, known = first.setdefault((section, name), (number, place))
                if owner != number:
                    yield _shared(section, name, known, place)


def _shared(section: str, name: str, first: Node, second: Node) -> Diagnostic:
    fault = duplicate_id(tuple(section.split(".")), name, first, second)
    message = f"{fault.message}: a process has those of all its manifests"
    remedy = fault.help
    if section == "resources":
        remedy = (
            "rename one of them, or leave this one out: those of the outer manifest are here, too"
        )
    return replace(fault, message=message, help=remedy)


def _says_something(node: Node) -> bool:
    return (
        not (isinstance(node, MappingNode) and not node.members)
        and getattr(node, "value", "") is not None
    )


def _refused(what: str, why: str, span: Span) -> Diagnostic:
    message = f"{what} belongs to the outermost manifest: {why}"
    return Diagnostic("outermost-only", message, span)
