"""A `Matrix` → text, Markdown, one page of HTML, or plain data.

In: the rows. Out: each form with its gaps and differences marked by a sign as well as by colour.
What is invisible or could be taken for markup is made visible or escaped: a value stands in
Markdown as code, with `│` for its `|`, and in HTML as text on a page without scripts.
"""

import re
from importlib.resources import files
from typing import Any

from assembler.diagnostics.span import one_line
from assembler.review.markup import code, html_sentence, html_text, markdown
from assembler.review.matrix import Matrix, Row
from assembler.review.report import UNKNOWN

_SIGNS = {"same": " ", "differs": "≠", "gap": "○"}
_WIDEST = 40  # characters of a column of text
_AWAY = "—"
_LEGEND = "≠ differs  ○ is not in all of them"


def as_text(matrix: Matrix) -> str:
    """Draw the table for a terminal."""
    rows = [("", "", *map(one_line, matrix.columns))]
    for section, inside in matrix.sections.items():
        rows.append(("", section, *[""] * len(matrix.columns)))
        rows += [_cells(row) for row in inside]
    widths = [min(max(map(len, column)), _WIDEST) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            f"{_cut(cell, width):<{width}}" for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]
    unknown = [f"{UNKNOWN}: {one_line(failure)}" for failure in matrix.failures]
    return "\n".join([*lines, "", *unknown, f"{matrix.counted()}    {_LEGEND}"])


def as_markdown(matrix: Matrix) -> str:
    """Write a table for each section."""
    lines = [f"**{matrix.counted()}** ({_LEGEND})"]
    lines += [""] * bool(matrix.failures) + [
        f"- {markdown(failure)}" for failure in matrix.failures
    ]
    heads = " | ".join(_code(name) for name in matrix.columns)
    for section, inside in matrix.sections.items():
        lines += ["", f"### {section}", "", f"| | | {heads} |"]
        lines.append("|" + "---|" * (len(matrix.columns) + 2))
        for row in inside:
            indent = "&nbsp;&nbsp;" * row.depth
            cells = " | ".join(_AWAY if one is None else _code(one) for one in row.cells)
            lines.append(f"| {_SIGNS[row.state].strip()} | {indent}{_code(row.name)} | {cells} |")
    return "\n".join(lines)


def as_html(matrix: Matrix) -> str:
    """Write one page that loads nothing."""
    style = files(__package__).joinpath("page.css").read_text("utf-8")
    heads = "".join(f'<th scope="col">{html_text(name)}</th>' for name in matrix.columns)
    body = "".join(_section(matrix, section, rows) for section, rows in matrix.sections.items())
    title = "Environments side by side"
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{title}</h1>\n<p>{html_text(matrix.counted())}</p>\n{_failures(matrix)}"
        '<ul class="legend"><li><span class="sign">≠</span> differs</li>'
        '<li><span class="sign">○</span> is not in all of them</li></ul>\n'
        '<div class="scroll" tabindex="0" role="region" aria-label="The table">\n<table>\n'
        f'<thead><tr><th scope="col">Entry</th>{heads}</tr></thead>\n{body}</table>\n</div>\n'
        "</main>\n</body>\n</html>\n"
    )


def as_dict(matrix: Matrix) -> dict[str, Any]:
    """Return the mapping that programs read; `entry` is the entry that a value belongs to."""
    rows: list[dict[str, Any]] = []
    entry: str | None = None
    for row in matrix.rows:
        entry = entry if row.depth else one_line(row.name)
        rows.append(
            {
                "section": row.section,
                "entry": entry if row.depth else None,
                "name": one_line(row.name),
                "state": row.state,
                "cells": [None if cell is None else one_line(cell) for cell in row.cells],
            }
        )
    return {
        "format": 1,
        "worst": matrix.worst,
        "failures": [one_line(failure) for failure in matrix.failures],
        "columns": [one_line(name) for name in matrix.columns],
        "rows": rows,
    }


def _failures(matrix: Matrix) -> str:
    items = "".join(f"<li>{html_sentence(failure)}</li>" for failure in matrix.failures)
    return f"<ul>{items}</ul>\n" if items else ""


def _cells(row: Row) -> tuple[str, ...]:
    name = "  " * (row.depth + 1) + one_line(row.name)
    shown = (_AWAY if cell is None else one_line(cell) for cell in row.cells)
    return (_SIGNS[row.state], name, *shown)


def _cut(text: str, width: int) -> str:
    """Keep the end of a path, and the beginning of all else."""
    if len(text) <= width:
        return text
    is_path = re.fullmatch(r"[\w.:]+", text) is not None
    return f"…{text[1 - width :]}" if is_path else f"{text[: width - 1]}…"


def _code(text: str) -> str:
    return code(text.replace("|", "│"))


def _section(matrix: Matrix, section: str, rows: list[Row]) -> str:
    lines = "".join(_line(row) for row in rows)
    width = len(matrix.columns) + 1
    head = f'<th scope="rowgroup" colspan="{width}">{html_text(section)}</th>'
    return f'<tbody>\n<tr class="section">{head}</tr>\n{lines}</tbody>\n'


def _line(row: Row) -> str:
    sign = _SIGNS[row.state].strip()
    words = {"differs": "differs: ", "gap": "not in all: "}.get(row.state, "")
    hidden = f'<span class="only-read">{words}</span>' if words else ""
    mark = f'<span class="sign" aria-hidden="true">{sign}</span>{hidden}'
    cells = "".join(
        '<td class="away"><span class="only-read">not there</span>' + _AWAY + "</td>"
        if cell is None
        else f"<td><code>{html_text(cell)}</code></td>"
        for cell in row.cells
    )
    name = f'<th scope="row" class="depth{row.depth}">{mark}<code>{html_text(row.name)}</code></th>'
    return f'<tr class="{row.state}">{name}{cells}</tr>\n'
