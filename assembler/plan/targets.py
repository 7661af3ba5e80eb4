"""Import paths → targets, once each.

In: a path of the manifest. Out: a `Target`. Refuses what the import stage refuses, as an
`ImportFault`. `ModuleTargets` imports; the reader of sources in `static` does without, and the
one in `late` leaves it to a first request.
"""

from typing import Protocol

from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import failed, import_object
from assembler.plan.signature import Target, target_of


class Targets(Protocol):
    """What turns an import path into a `Target`, or raises `ImportFault`."""

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Describe what `path` names; `leading` arguments are given by position."""
        ...


class ModuleTargets:
    """Imports what paths name, once each."""

    def __init__(self, imports: ImportList) -> None:
        self.imports = imports
        self._found: dict[tuple[str, int], Target | ImportFault] = {}

    def target(self, path: str, *, leading: int = 0) -> Target:
        """Import `path` and describe the object; raises `ImportFault`."""
        key = (path, leading)
        if key not in self._found:
            try:
                value = import_object(path, self.imports)
                self._found[key] = target_of(path, value, leading=leading)
            except ImportFault as fault:
                self._found[key] = fault
            except Exception as error:  # noqa: BLE001  # an object may raise when it is looked at
                self._found[key] = failed(path, error)
        found = self._found[key]
        if isinstance(found, ImportFault):
            raise found
        return found
