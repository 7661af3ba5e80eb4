"""The entry of a lazy mount → a `Component` that is imported and checked when it is first needed.

In: the entry as every stage up to the references found it right. Out: a `Component` that knows its
path and what it may be given, and whose `late` does the stages of imports and options, afresh on
each call. Refuses at once only a path outside the import list; what it really names is judged late.
"""

from collections.abc import Mapping
from dataclasses import replace

from assembler.diagnostics.errors import raise_faults
from assembler.document.interpolation import Resolver
from assembler.document.nodes import MappingNode
from assembler.plan.allow_list import ImportList
from assembler.plan.component import Component, ResolvedEntry, resolve_entry
from assembler.plan.options import OptionsChecker
from assembler.plan.signature import Signature, Target
from assembler.plan.targets import ModuleTargets


class LateTargets:
    """Judges paths by their text alone: what they name is imported when it is needed."""

    def __init__(self, imports: ImportList) -> None:
        self.imports = imports

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Describe something that takes any option; raises `ImportFault` outside the import list."""
        self.imports.check(path, path.partition(":")[0])
        signature = Signature(path.replace(":", ".").rpartition(".")[2], {}, open=True)
        return Target(path, None, "class", is_callable=True, is_async=False, signature=signature)


def with_late(
    component: Component,
    part: ResolvedEntry,
    root: MappingNode,
    imports: ImportList,
    types: Mapping[str, type | None],
    resolver: Resolver,
) -> Component:
    """Give `component` its `late`; `types` are the declared classes of resources, by id."""

    def late() -> Component:
        targets = ModuleTargets(imports)
        again, faults = resolve_entry(root, targets, part.role, part.path, part.entry)
        raise_faults(fault.scrubbed(resolver.secrets.scrub) for fault in faults)
        made, faults = again.checked(OptionsChecker(types, targets.target), resolver)
        raise_faults(fault.scrubbed(resolver.secrets.scrub) for fault in faults)
        return made

    return replace(component, late=late)
