"""An import path → what is known of its options, from its source and the table of well-known ones.

In: the `use` of an entry, the sources that the old side has otherwise. Out: `Facts`, read once for each path. Nothing is imported or run, and
what cannot be found is told as such. Refuses nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from assembler.diagnostics.errors import UsageError
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.static import SourceReader
from assembler.plan.static.looseness import UNTOLD, OptionFacts
from assembler.plan.static.module import Earlier
from assembler.review.diff.known import KNOWN


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
    """Looks up callables: both sides are judged by the same facts.

    `sources` finds the texts that the old side has otherwise. What they say of an option holds, so
    that a change cannot turn the direction by which it is judged.
    """

    sources: Callable[[], Earlier | None] | None = None
    _facts: dict[str, Facts] = field(default_factory=dict)
    _readers: list[SourceReader] = field(default_factory=list)

    def of(self, use: str) -> Facts:
        """Return what is known of the callable that `use` names."""
        if use not in self._facts:
            self._facts[use] = self._looked_up(use)
        return self._facts[use]

    def _looked_up(self, use: str) -> Facts:
        if not self._readers:
            everything, earlier = ImportList(None, None), self.sources and self.sources()
            self._readers = [SourceReader(everything)]
            self._readers += [SourceReader(everything, earlier)] if earlier else []
        now, *before = (_read(reader, use) for reader in self._readers)
        if not before or not before[0].options or now.missing is not None:
            return now
        return replace(now, options=_held(before[0].options, now.options or {}))


def _read(reader: SourceReader, use: str) -> Facts:
    try:
        defined, options = reader.options(use)
    except ImportFault as fault:
        return Facts(missing=fault.message)
    except (UsageError, RecursionError) as error:
        return Facts(missing=str(error))
    known = KNOWN.get(defined, {})
    if options is None:
        return Facts(defined=defined)
    merged = {
        name: replace(fact, looser=fact.looser or known.get(name)) for name, fact in options.items()
    }
    return Facts(defined=defined, options=merged)


def _held(
    before: Mapping[str, OptionFacts], now: Mapping[str, OptionFacts]
) -> dict[str, OptionFacts]:
    """Return the earlier facts, and the new ones of what is new."""
    both = {name: _joined(fact, now[name]) for name, fact in before.items() if name in now}
    return {**before, **now, **both}


def _joined(before: OptionFacts, now: OptionFacts) -> OptionFacts:
    return replace(
        before,
        default=before.default if repr(before.default) == repr(now.default) else UNTOLD,
        is_secret=before.is_secret or now.is_secret,
        is_plain=before.is_plain and now.is_plain,
        fields=_held(before.fields, now.fields),
    )
