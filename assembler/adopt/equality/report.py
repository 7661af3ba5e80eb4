"""An `Equality` → the text that a person reads, and the JSON that a program does.

In: what was compared, and a function that takes secrets out of a text. Out: one line for each part, the
differences grouped so that they fit a screen, what was not compared, and what to do next. Every text is
made inert.
"""

from collections.abc import Callable, Iterator
from typing import Any

from assembler.adopt.equality import Equality, JudgedDifference
from assembler.adopt.equality.comparison import PARTS
from assembler.diagnostics.span import one_line
from assembler.review.report import dumped

_MOST_GROUPS, _MOST_BY_RULE = 12, 2
_MOST_UNCOMPARED = 8
_MOST_ROWS = 2  # that are shown of what differs at one place
_MOST_COLUMNS = 70  # of both sides in one line

Scrub = Callable[[str], str]


def as_dict(result: Equality, scrub: Scrub) -> dict[str, Any]:
    """Return the keys of `equal --format json`."""

    def text(value: str) -> str:
        return one_line(scrub(value))

    return {
        "format": 1,
        "application": text(result.left),
        "manifest": text(result.right),
        "equal": result.is_equal,
        "compared": {part: result.compared.counts[part] for part in PARTS},
        "differences": [
            {
                "part": each.difference.part,
                "place": text(each.difference.place),
                "application": text(each.difference.left),
                "manifest": text(each.difference.right),
                "rule": each.rule.name if each.rule else None,
                "accepted": each.is_accepted,
            }
            for each in result.judged
        ],
        "not_compared": [text(each) for each in result.compared.uncompared],
    }


def as_json(result: Equality, scrub: Scrub) -> str:
    """Return the same as text."""
    return dumped(as_dict(result, scrub))


def as_text(result: Equality, scrub: Scrub) -> str:
    """Return what fits a screen."""
    lines = [f"{result.left} and {result.right}", "", *_table(result)]
    for title, groups in _groups(result).items():
        lines += ["", title, *_shown_groups(groups)]
    uncompared = list(result.compared.uncompared)
    if uncompared:
        lines += ["", "not compared", *(f"  {each}" for each in uncompared[:_MOST_UNCOMPARED])]
        rest = len(uncompared) - _MOST_UNCOMPARED
        lines += [f"  and {rest} more: `--format json` has all"] if rest > 0 else []
    lines += ["", *_conclusion(result)]
    return "\n".join(one_line_kept(scrub(line)) for line in lines)


def one_line_kept(line: str) -> str:
    """Make a line inert, its indentation kept."""
    body = line.lstrip(" ")
    return " " * (len(line) - len(body)) + one_line(body)


def _table(result: Equality) -> Iterator[str]:
    for part in PARTS:
        count = result.compared.counts[part]
        found = [each for each in result.judged if each.difference.part == part]
        open_ = sum(not each.is_accepted for each in found)
        if part == "lifespan" and not result.is_started:
            said = "not started"
        elif not found:
            said = "equal"
        else:
            said = f"{open_} {'differs' if open_ == 1 else 'differ'}" if open_ else "equal"
            accepted = len(found) - open_
            said += f", {accepted} accepted" if accepted else ""
        yield f"  {part:<11}{count:>6}  {said}"


Group = list[list[JudgedDifference]]
"""Places that differ in one and the same way, with the differences of each."""


def _groups(result: Equality) -> dict[str, list[Group]]:
    """Put together what differs in one way: first what no rule covers, then rule by rule."""
    titles: dict[str, dict[Any, list[JudgedDifference]]] = {}
    ordered = sorted(result.judged, key=lambda each: (each.rule is not None, each.is_accepted))
    for each in ordered:
        if each.rule is None:
            title = f"{each.difference.part}"
        else:
            accepted = ", accepted" if each.is_accepted else ""
            title = f"by the rule `{each.rule.name}`{accepted}: {each.rule.meaning}"
        titles.setdefault(title, {}).setdefault(_place(each), []).append(each)
    found: dict[str, list[Group]] = {}
    for title, places in titles.items():
        groups: dict[Any, Group] = {}
        for differences in places.values():
            key = tuple((_what(each), *_both(each)) for each in differences)
            groups.setdefault(key, []).append(differences)
        found[title] = list(groups.values())
    return found


def _place(each: JudgedDifference) -> str:
    """Return where a difference is, without what differs there."""
    difference = each.difference
    what = difference.detail.get("what")
    return difference.place if what is None else difference.place.removesuffix(f": {what}")


def _what(each: JudgedDifference) -> str:
    """Return what differs; of other parts than requests the place says it."""
    difference = each.difference
    return str(difference.detail.get("what", difference.place))


def _both(each: JudgedDifference) -> tuple[str, str]:
    return each.difference.left, each.difference.right


def _shown_groups(groups: list[Group]) -> Iterator[str]:
    first = groups[0][0][0]
    is_accepted = first.is_accepted
    most = 1 if is_accepted else _MOST_GROUPS if first.rule is None else _MOST_BY_RULE
    for group in groups[:most]:
        more = f", and {len(group) - 1} more like it" if len(group) > 1 else ""
        yield f"  {_place(group[0][0])}{more}"
        if not is_accepted:
            yield from _rows(group[0])
    rest = sum(map(len, groups[most:]))
    if rest:
        yield f"  and {rest} more: `--format json` has all"


def _rows(differences: list[JudgedDifference]) -> Iterator[str]:
    """Show what differs at one place: headers last, and by name alone where there is much."""
    ordered = sorted(differences, key=lambda each: _what(each).startswith("header"))
    for each in ordered[:_MOST_ROWS]:
        what = each.difference.detail.get("what")
        named = "" if what is None else f"{what}: "
        left, right = _both(each)
        if len(named) + len(left) + len(right) < _MOST_COLUMNS:
            yield f"    {named}{left} in the application, {right} in the manifest"
        else:
            indent = " " * len(named)
            yield f"    {named}{left} in the application,"
            yield f"    {indent}{right} in the manifest"
    rest = [_what(each) for each in ordered[_MOST_ROWS:]]
    if rest:
        yield f"    and {', '.join(rest)}"


def _conclusion(result: Equality) -> Iterator[str]:
    left = [each for each in result.judged if not each.is_accepted]
    if not left:
        accepted = sorted({each.rule.name for each in result.judged if each.rule})
        by = f", but for what is accepted: {', '.join(accepted)}" if accepted else ""
        yield f"equal{by}"
        return
    count = len(left)
    yield f"not equal: {count} difference{'' if count == 1 else 's'}"
    names = sorted({each.rule.name for each in left if each.rule})
    if names:
        every = sum(each.rule is not None for each in left)
        options = " ".join(f"--accept {name}" for name in names)
        yield f"  = help: {every} of them may be meant: `{options}` lets them pass"
