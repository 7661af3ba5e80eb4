"""A `Comparison` → its two stacks of middleware side by side, as an SVG picture.

In: a comparison, and the numbers of the findings that point at each of its layers. Out: one `<svg>`
element whose boxes are anchors and link back to the findings; its colours stand in `page.css`. A
box tells its state by a sign, a word and the style of its border too.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from assembler.review.finding import Comparison, Grade, Layer, short_name
from assembler.review.markup import html_text

_WIDTH = 660
_BOX = 276
_LEFT, _RIGHT = 0, _WIDTH - _BOX
_HEIGHT = 48
_STEP = 64
_TOP = 78  # of the first box: above it are the names of the sides and the request
_STRIP = 28  # of the sign
_CHIP = 22
_ID_CELL = 8.0  # pixels of one character of a fixed-width font
_USE_CELL = 6.7
_SIGNS = {"added": "+", "removed": "−", "moved": "↕", "changed": "≠", "": "="}  # noqa: RUF001  # as wide as the plus
_CHIPS = 4  # beyond that, the last one says how many more


class Pointer(NamedTuple):
    """A finding that points at a layer, by its number in the page."""

    number: int
    grade: Grade


@dataclass(frozen=True, slots=True)
class Box:
    """One layer as it is drawn: `anchor` is its id in the page, `state` a key of the signs."""

    layer: Layer
    anchor: str
    state: str
    x: int
    y: int
    pointers: tuple[Pointer, ...] = ()


def boxes_of(
    comparison: Comparison, prefix: str, pointed: Mapping[str, list[Pointer]]
) -> list[Box]:
    """Place every layer of both sides.

    `pointed` maps addresses of layers to findings. These are shown on the new side of a
    layer, or on its old one where it was removed.
    """
    boxes = []
    for row, (old, new) in enumerate(comparison.rows):
        y = _TOP + row * _STEP
        if old:
            after = comparison.new_chain[old.peer] if old.peer is not None else None
            pointers = pointed.get((after or old).address, [])
            state = _state(old, "removed", is_changed=bool(pointers))
            anchor = f"{prefix}-old-{row}"
            boxes.append(Box(old, anchor, state, _LEFT, y, () if after else tuple(pointers)))
        if new:
            pointers = pointed.get(new.address, [])
            state = _state(new, "added", is_changed=bool(pointers))
            boxes.append(Box(new, f"{prefix}-new-{row}", state, _RIGHT, y, tuple(pointers)))
    return boxes


def as_svg(comparison: Comparison, prefix: str, boxes: list[Box]) -> str:
    """Draw `boxes`, the outermost first, with a line between the two sides of each layer."""
    bottom = _TOP + len(comparison.rows) * _STEP
    head = (
        f'viewBox="-3 0 {_WIDTH + 6} {bottom + 44}" role="group" aria-labelledby="{prefix}-title"'
    )
    title = "The middleware before and after, the outermost first"
    return "\n".join(
        [
            f'<svg class="stacks" {head}>',
            f'<title id="{prefix}-title">{title}</title>',
            *_side("before", comparison.old_name, _LEFT, bottom),
            *_side("after", comparison.new_name, _RIGHT, bottom),
            *_lines(comparison, boxes),
            *(line for box in boxes for line in _drawn(box)),
            "</svg>",
        ]
    )


def _state(layer: Layer, alone: str, *, is_changed: bool) -> str:
    if layer.peer is None:
        return alone
    return "moved" if layer.moved else "changed" if is_changed else ""


def _side(title: str, name: str | None, x: int, bottom: int) -> Iterator[str]:
    shown = _fitted(name or "no manifest", _BOX - 60, _USE_CELL, keeps_end=True)
    text = f'{title}<tspan class="use" dx="8">{shown}</tspan>'
    yield f'<text class="side" x="{x}" y="14">{text}</text>'
    if name is None:
        return
    middle = x + _BOX // 2
    yield f'<path class="flow" d="M{middle} 50V{bottom + 6}"/>'
    yield f'<text class="end" x="{middle}" y="42">request ↓</text>'
    yield f'<rect class="app" x="{x}" y="{bottom}" width="{_BOX}" height="34" rx="17"/>'
    yield f'<text class="end" x="{middle}" y="{bottom + 22}">routes</text>'


def _lines(comparison: Comparison, boxes: list[Box]) -> Iterator[str]:
    """Draw what joins the same layer on both sides; what moved comes last, above the rest."""
    old = {box.layer.address: box for box in boxes if box.x == _LEFT}
    joined = [
        (old[comparison.old_chain[box.layer.peer].address], box)
        for box in boxes
        if box.x == _RIGHT and box.layer.peer is not None
    ]
    for left, right in sorted(joined, key=lambda pair: pair[1].layer.moved):
        start, end = _LEFT + _BOX, _RIGHT
        y, to = left.y + _HEIGHT // 2, right.y + _HEIGHT // 2
        bend = (end - start) // 2
        path = f"M{start} {y}C{start + bend} {y} {end - bend} {to} {end} {to}"
        yield f'<path class="join {right.state or "kept"}" d="{path}"/>'
        if right.layer.moved:
            yield f'<path class="tip" d="M{end} {to}l-10 -6v12Z"/>'


def _drawn(box: Box) -> Iterator[str]:
    layer, state = box.layer, box.state or "kept"
    name = short_name(layer)
    below = layer.use if layer.id != layer.use else layer.use[: -len(name) - 1]
    chips = min(len(box.pointers), _CHIPS)
    room = _BOX - _STRIP - 18
    first = _fitted(name, room - chips * _CHIP, _ID_CELL)
    word = f"{state} · " if box.state else ""
    second = _fitted(below, room - len(word) * _USE_CELL, _USE_CELL, keeps_end=True)
    yield f'<g class="box {state}" id="{box.anchor}" transform="translate({box.x} {box.y})">'
    yield f"<title>{html_text(f'{state}: {layer.id} ({layer.use})')}</title>"
    yield f'<rect class="frame" width="{_BOX}" height="{_HEIGHT}" rx="7"/>'
    yield f'<path class="strip" d="M7 0H{_STRIP}V{_HEIGHT}H7Q0 {_HEIGHT} 0 {_HEIGHT - 7}V7Q0 0 7 0Z"/>'
    yield f'<text class="sign" x="{_STRIP // 2}" y="30">{_SIGNS[box.state]}</text>'
    yield f'<text class="id" x="{_STRIP + 9}" y="20">{first}</text>'
    yield f'<text class="use" x="{_STRIP + 9}" y="37"><tspan class="state">{word}</tspan>{second}</text>'
    for index, (number, grade) in enumerate(box.pointers[:_CHIPS]):
        x = _BOX - 15 - (chips - 1 - index) * _CHIP
        is_more = index == _CHIPS - 1 and len(box.pointers) > _CHIPS
        label = f"+{len(box.pointers) - index}" if is_more else str(number)
        yield f'<a class="{grade.word}" href="#f{number}" aria-label="finding {number}">'
        yield f'<circle class="chip" cx="{x}" cy="15" r="10"/>'
        yield f'<text class="number" x="{x}" y="19">{label}</text></a>'
    yield "</g>"


def _fitted(text: str, pixels: float, cell: float, *, keeps_end: bool = False) -> str:
    """Return `text` as XML, without what does not fit into `pixels`."""
    room = int(pixels / cell)
    if _cells(text) > room:
        kept = list(text[::-1] if keeps_end else text)[:room]
        while kept and _cells("".join(kept)) > room - 1:
            kept.pop()
        text = "…" + "".join(reversed(kept)) if keeps_end else "".join(kept) + "…"
    return html_text(text)


def _cells(text: str) -> int:
    """Count the widths of characters: those of East Asia take two, invisible ones six."""
    return sum(
        6 if not char.isprintable() else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )
