"""A misspelt name → the one it was surely meant to be.

In: a name, and those that are known. Out: one of them, or None where no single one is certain. A
text of 1 MiB can have 100 000 misspelt names, so what is looked at is bounded.
"""

from collections.abc import Iterable
from difflib import SequenceMatcher, get_close_matches

MAX_TOLD = 200  # faults of one stage: nobody reads more
_MOST = 500  # names of like length: among more, none is certain
_LIKE, _APART = 0.75, 0.05  # how like the name must be, and how much more than the next one


def suggestion(wrong: str, known: Iterable[str]) -> str | None:
    """Return the one name of `known` that `wrong` was surely meant to be, or None."""
    near = {_folded(name): name for name in known if abs(len(name) - len(wrong)) <= 3}
    if len(near) > _MOST:
        return None
    meant = _folded(wrong)
    best = get_close_matches(meant, near, n=2, cutoff=_LIKE - _APART)
    scores = [SequenceMatcher(None, name, meant).ratio() for name in best]
    if not scores or scores[0] < _LIKE or (len(scores) > 1 and scores[0] - scores[1] < _APART):
        return None
    return near[best[0]]


def did_you_mean(wrong: str, known: Iterable[str], *, told: int = 0) -> str | None:
    """Return the `help` of a misspelt name, or None where no name is certain.

    `told` is how many faults the stage has found before: what is not told needs no help.
    """
    name = suggestion(wrong, known) if told < MAX_TOLD else None
    return f"did you mean `{name}`?" if name else None


def _folded(name: str) -> str:
    return name.lower().replace("-", "_")
