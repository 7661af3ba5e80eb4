"""Comparisons → one page of HTML that needs nothing else.

In: `Comparison`s. Out: a document without scripts whose policy forbids every request; for each
manifest its findings, the worst first, and its two stacks as a picture that they point into. Texts
are escaped, and what is invisible in them is made visible.
"""

from base64 import b64encode
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from importlib.resources import files

from assembler.review.finding import (
    MANIFESTS,
    MARKS,
    MEANINGS,
    Comparison,
    Finding,
    Grade,
    Place,
    ReviewKind,
    counted,
    findings_of,
    place_text,
    worst_first,
)
from assembler.review.markup import html_sentence, html_text
from assembler.review.stacks import Box, Pointer, as_svg, boxes_of

_DETAILS = 40  # lines below a finding


def as_html(
    comparisons: Sequence[Comparison],
    failures: Sequence[str] = (),
    *,
    subject: ReviewKind = MANIFESTS,
) -> str:
    """Write the page; findings are numbered through all manifests, the worst manifest first.

    `failures` are sentences that say what could not be compared; they come before all findings.
    """
    ordered = sorted(
        comparisons, key=lambda one: -1 if one.worst is None else one.worst, reverse=True
    )
    findings = findings_of(comparisons)
    first, sections = 1, []
    for index, one in enumerate(ordered):
        if one.findings:
            sections.append("\n".join(_section(one, f"m{index}", first)))
        first += len(one.findings)
    header = _header(subject.title, ordered, findings, failures)
    main = ("<main>", *sections, "</main>")
    title = f"{subject.title}: {counted(findings, failures)}"
    body = ("<body>", *header, *main, *_legend(subject), "</body>")
    return "\n".join(["<!doctype html>", '<html lang="en">', *_head(title), *body, "</html>"])


def _head(title: str) -> Iterator[str]:
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    digest = b64encode(sha256(style.encode()).digest()).decode()
    style_alone = f"default-src 'none'; style-src 'sha256-{digest}'"
    policy = f"{style_alone}; base-uri 'none'; form-action 'none'"
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="referrer" content="no-referrer">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield f"<title>{title}</title>"
    yield f"<style>{style}</style>"
    yield "</head>"


def _header(
    title: str,
    comparisons: Sequence[Comparison],
    findings: Sequence[Finding],
    failures: Sequence[str],
) -> Iterator[str]:
    yield "<header>"
    yield f"<h1>{title}</h1>"
    if failures:
        items = "".join(f"<li>{html_sentence(sentence)}</li>" for sentence in failures)
        yield f'<ul class="failures" aria-label="Not compared">{items}</ul>'
    if findings:
        yield f'<ul class="counts" aria-label="Findings by grade">{_counts(findings)}</ul>'
    elif not failures:
        yield "<p>Nothing differs.</p>"
    if len(comparisons) > 1:
        yield '<nav aria-label="Manifests"><ul>'
        for index, one in enumerate(comparisons):
            mark = _mark(one.worst or Grade.cosmetic)
            name = _code(one.manifest)
            link = f'<a href="#m{index}">{name}</a>' if one.findings else name
            yield f"<li>{mark} {link} {counted(one.findings)}</li>"
        yield "</ul></nav>"
    yield "</header>"


def _counts(findings: Sequence[Finding]) -> str:
    counts = Counter(finding.grade for finding in findings)
    return "".join(
        f'<li class="{grade.word}">{_mark(grade)} <b>{counts[grade]}</b> {grade.word}</li>'
        for grade in sorted(counts, reverse=True)
    )


def _mark(grade: Grade) -> str:
    return f'<span class="mark {grade.word}" aria-hidden="true">{MARKS[grade]}</span>'


def _section(comparison: Comparison, prefix: str, first: int) -> Iterator[str]:
    """Write one manifest, whose findings are numbered from `first`."""
    numbered = list(enumerate(worst_first(comparison.findings), first))
    pointed: dict[str, list[Pointer]] = {}
    for number, finding in numbered:
        pointed.setdefault(finding.entry, []).append(Pointer(number, finding.grade))
    boxes = boxes_of(comparison, prefix, pointed)
    anchors = {one.number: box.anchor for box in boxes for one in box.pointers}
    yield f'<section id="{prefix}" aria-labelledby="{prefix}-name">'
    yield f'<h2 id="{prefix}-name"><code>{html_text(comparison.manifest)}</code></h2>'
    yield f'<p class="verdict">{_verdict(comparison)}</p>'
    yield f'<div class="{"sides" if boxes else ""}"><div class="findings">'
    yield from _findings(numbered, anchors)
    yield "</div>"
    yield from _figure(comparison, prefix, boxes)
    yield "</div>"
    yield "</section>"


def _figure(comparison: Comparison, prefix: str, boxes: list[Box]) -> Iterator[str]:
    if boxes:
        name = f"{prefix}-title {prefix}-name"  # of the picture, and of the manifest
        yield f'<figure tabindex="0" role="region" aria-labelledby="{name}">'
        yield as_svg(comparison, prefix, boxes)
        yield "</figure>"


def _verdict(comparison: Comparison) -> str:
    words = counted(comparison.findings)
    old, new = comparison.old_name, comparison.new_name
    if old and new and old != new:
        return f"{words}; was <code>{html_text(old)}</code>"
    return words


def _findings(numbered: list[tuple[int, Finding]], anchors: dict[int, str]) -> Iterator[str]:
    telling = [one for one in numbered if one[1].grade is not Grade.cosmetic]
    cosmetic = numbered[len(telling) :]
    if telling:
        yield "<ol>"
        for number, finding in telling:
            yield from _finding(number, finding, anchors.get(number))
        yield "</ol>"
    if cosmetic:
        yield f"<details><summary>{_mark(Grade.cosmetic)} {len(cosmetic)} cosmetic</summary><ol>"
        for number, finding in cosmetic:
            yield from _finding(number, finding, anchors.get(number))
        yield "</ol></details>"


def _finding(number: int, finding: Finding, anchor: str | None) -> Iterator[str]:
    grade = finding.grade
    yield f'<li class="finding {grade.word}" id="f{number}">'
    yield (
        f'<p class="head"><span class="number">{number}</span> {_mark(grade)}'
        f' <b class="grade">{grade.word}</b> <code class="rule">{html_text(finding.rule)}</code></p>'
    )
    yield f'<p class="message">{html_sentence(finding.message)}</p>'
    if finding.details:
        lines = [html_sentence(line) for line in finding.details[:_DETAILS]]
        more = len(finding.details) - _DETAILS
        lines += [f"and {more} more lines"] if more > 0 else []
        yield f'<ul class="details">{"".join(f"<li>{line}</li>" for line in lines)}</ul>'
    link = f'<a class="point" href="#{anchor}">in the picture</a>' if anchor else ""
    facts = " · ".join(filter(None, [_code(finding.path), _places(finding)]))
    yield f'<p class="facts">{facts} {link}</p>'
    yield "</li>"


def _places(finding: Finding) -> str:
    old, new = finding.old, finding.new
    if old and new:
        sides = dict.fromkeys((_place(old), _place(new)))
        return " → ".join(sides)
    return f"was {_place(old)}" if old else f"new at {_place(new)}" if new else ""


def _place(place: Place) -> str:
    return _code(place_text(place))


def _code(text: str) -> str:
    return text and f"<code>{html_text(text)}</code>"


def _legend(subject: ReviewKind) -> Iterator[str]:
    yield "<footer><dl>"
    for grade in subject.grades:
        yield f"<div><dt>{_mark(grade)} {grade.word}</dt><dd>{MEANINGS[grade]}</dd></div>"
    yield "</dl></footer>"
