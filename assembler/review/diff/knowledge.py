"""An import path → what is known of its options, from its source and the table of well-known ones.

In: the `use` of an entry. Out: `Facts`, read once for each path. Nothing is imported or run, and
what cannot be found is told as such. Refuses nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from assembler.errors import UsageError
from assembler.import_list import ImportFault, ImportList
from assembler.review.diff.known import KNOWN
from assembler.static import SourceReader
from assembler.static.looseness import OptionFacts


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a callable: why it was not found, where it is defined, its options."""

    missing: str | None = None
    defined: str = ""
    options: Mapping[str, OptionFacts] | None = None

    def of(self, name: str) -> OptionFacts | None:
        """Return the facts of one option, None where the source tells of no such option."""
        return (self.options or {}).get(name)


@dataclass(slots=True)
class Knowledge:
    """Looks up callables of the working tree; both sides are judged by the same signatures."""

    _facts: dict[str, Facts] = field(default_factory=dict)
    _reader: SourceReader | None = None

    def of(self, use: str) -> Facts:
        """Return what is known of the callable that `use` names."""
        if use not in self._facts:
            self._facts[use] = self._read(use)
        return self._facts[use]

    def _read(self, use: str) -> Facts:
        self._reader = self._reader or SourceReader(ImportList(None, None))
        try:
            defined, options = self._reader.options(use)
        except ImportFault as fault:
            return Facts(missing=fault.message)
        except (UsageError, RecursionError) as error:
            return Facts(missing=str(error))
        known = KNOWN.get(defined, {})
        if options is None:
            return Facts(defined=defined)
        merged = {
            name: replace(fact, looser=fact.looser or known.get(name))
            for name, fact in options.items()
        }
        return Facts(defined=defined, options=merged)
