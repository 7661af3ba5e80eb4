"""A listing's title, price and place -> the picture that other sites show of it.

In: texts, and the file of a font. Out: a PNG of 1200 by 630 pixels, the same for the same texts.
Refused: a file that is no font. A character that the font has no glyph for is left out, so that no
picture shows empty boxes; what the default font lacks, emoji and Chinese for example, another one may
have (option `font`).

The default is Noto Sans, which has Latin, Greek, Cyrillic and Devanagari letters and the signs of
currencies; Pillow shapes them by HarfBuzz, where its build has Raqm.
"""

import importlib.util
import io
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 1200, 630

_MARGIN = 72
_PALETTE = {
    "apartment": (11, 97, 87),
    "house": (120, 72, 28),
    "villa": (110, 40, 80),
    "plot": (62, 96, 30),
    "office": (36, 70, 124),
    "shop": (150, 56, 36),
    "warehouse": (70, 74, 84),
}
_PAPER, _INK, _SOFT = (251, 250, 247), (29, 37, 40), (84, 98, 106)
_LONGEST = 300  # characters of a text that are looked at
_NO_CHARACTER = "\U0010fffe"  # no font has a glyph for it


@dataclass(frozen=True, slots=True)
class Card:
    """What the picture says."""

    name: str
    kind: str
    title: str
    price: str
    place: str
    facts: tuple[str, ...]


def default_font() -> Path:
    """The file of Noto Sans; raises ModuleNotFoundError where its package is not installed."""
    found = importlib.util.find_spec("fontpkg_noto_sans")
    if found is None or not found.origin:
        raise ModuleNotFoundError("pictures need a font: install fastapi-assembler[pages]")
    return Path(found.origin).with_name("files") / "NotoSans[wdth,wght].ttf"


def draw(card: Card, font: Path) -> bytes:
    """Draw the picture: some 50 ms of work, for a thread. Raises OSError for what is no font."""
    from PIL import Image, ImageDraw  # noqa: PLC0415  # heavy, and only pictures need it

    colour = _PALETTE.get(card.kind, _INK)
    picture = Image.new("RGB", (WIDTH, HEIGHT), _PAPER)
    pen = ImageDraw.Draw(picture)
    pen.rectangle((0, 0, 28, HEIGHT), fill=colour)
    pen.rectangle((0, HEIGHT - 110, WIDTH, HEIGHT), fill=colour)
    room = WIDTH - 2 * _MARGIN
    _line(pen, font, (_MARGIN, 56), card.name, 34, 700, colour, room)
    bottom = 130
    title = drawable(card.title, font) or card.kind.capitalize()
    place = drawable(card.place, font).strip(", ")  # where a part of it cannot be shown
    for line in _lines(font, title, 62, 700, room, most=3):
        _line(pen, font, (_MARGIN, bottom), line, 62, 700, _INK, room)
        bottom += 84
    _line(pen, font, (_MARGIN, bottom + 10), place, 38, 400, _SOFT, room)
    white = (255, 255, 255)
    price = _fitting(font, card.price, 44, 700, room // 2)
    _line(pen, font, (_MARGIN, HEIGHT - 86), price, 44, 700, white, room)
    left = room - int(_font(font, 44, 700).getlength(price)) - 40
    facts = fitting_facts(font, card.facts, 32, 400, left)
    start = WIDTH - _MARGIN - int(_font(font, 32, 400).getlength(facts))
    _line(pen, font, (start, HEIGHT - 78), facts, 32, 400, white, room)
    out = io.BytesIO()
    picture.save(out, "PNG", optimize=True)
    return out.getvalue()


def drawable(text: str, font: Path) -> str:
    """The text without what the font cannot show, on one line."""
    line = " ".join(text[:_LONGEST].split())
    return " ".join("".join(one for one in line if _has(font, one)).split())


@lru_cache(maxsize=4096)
def _has(font: Path, character: str) -> bool:
    """Whether the font has a glyph, or the character is none that is seen."""
    if character == " " or character in "\u200c\u200d":  # joiners, which shaping uses up
        return True
    if not character.isprintable():
        return False
    made = _font(font, 40, 400)
    return bool(made.getmask(character).getbbox()) and _shape(made, character) != _shape(
        made, _NO_CHARACTER
    )


def _shape(font: Any, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@lru_cache(maxsize=32)
def _font(path: Path, size: int, weight: int) -> Any:
    from PIL import ImageFont  # noqa: PLC0415  # heavy, and only pictures need it

    made = ImageFont.truetype(str(path), size)
    try:
        axes = made.get_variation_axes()
    except OSError:
        return made  # it has one weight
    made.set_variation_by_axes(
        [
            min(max(weight, axis["minimum"] or 0), axis["maximum"] or weight)
            if axis["name"] in (b"Weight", "Weight")
            else axis["default"] or 0
            for axis in axes
        ]
    )
    return made


def _lines(path: Path, text: str, size: int, weight: int, room: int, *, most: int) -> list[str]:
    """The text in lines that fit; what is too long ends with an ellipsis."""
    font = _font(path, size, weight)
    lines: list[str] = []
    words = drawable(text, path).split()
    while words and len(lines) < most:
        line = words.pop(0)
        while words and font.getlength(f"{line} {words[0]}") <= room:
            line = f"{line} {words.pop(0)}"
        if len(lines) == most - 1 and words:
            line = f"{line} {' '.join(words)}"
        lines.append(_fitting(path, line, size, weight, room))
    return lines


def fitting_facts(path: Path, facts: tuple[str, ...], size: int, weight: int, room: int) -> str:
    """As many of the facts as fit, none of them cut unless it is the only one."""
    while len(facts) > 1 and _font(path, size, weight).getlength(" · ".join(facts)) > room:
        facts = facts[:-1]
    return _fitting(path, " · ".join(facts), size, weight, room)


def _fitting(path: Path, text: str, size: int, weight: int, room: int) -> str:
    font = _font(path, size, weight)
    text = drawable(text, path)
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"{text}…") > room:
        text = text[:-1].rstrip()
    return f"{text}…"


def _line(
    pen: Any,
    path: Path,
    place: tuple[int, int],
    text: str,
    size: int,
    weight: int,
    colour: tuple[int, int, int],
    room: int,
) -> None:
    text = _fitting(path, text, size, weight, room)
    pen.text(place, text, font=_font(path, size, weight), fill=colour)
