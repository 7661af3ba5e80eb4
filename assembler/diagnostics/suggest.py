"""A misspelt name → the one it was surely meant to be.

In: a name, and those that are known. Out: one of them, or None where no single one is certain.
Refuses nothing.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher

_NO = (0.0, "")  # a name that is like no other


def suggestion(wrong: str, known: Iterable[str]) -> str | None:
    """Return the one name of `known` that `wrong` was surely meant to be, or None."""
    near = [name for name in known if abs(len(name) - len(wrong)) <= 3]
    folded = [name.lower().replace("-", "_") for name in (wrong, *near)]
    likeness = [SequenceMatcher(None, folded[0], name).ratio() for name in folded[1:]]
    (best, name), (second, _) = sorted([*zip(likeness, near, strict=True), _NO, _NO])[:-3:-1]
    return name if best >= 0.75 and best - second >= 0.05 else None


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """Return the `help` of a misspelt name, or None where no name is certain."""
    name = suggestion(wrong, known)
    return f"did you mean `{name}`?" if name else None
