"""Comparisons of manifests whose every string tries to be more than text, for property tests."""

from hypothesis import strategies as st

from assembler.review.finding import RULES, Comparison, Finding, Grade, Layer, Place

FRAGMENTS = [
    "-->",
    "<!-- assembler-diff -->",
    "</details>",
    "<script>alert(1)</script>",
    "</style><img src=x onerror=alert(1)>",
    "<a href=https://evil.example>",
    "&lt;b&gt;",
    "@everyone",
    "@org/team",
    "someone@evil.example",
    "mailto:a@evil.example",
    "xmpp:a@evil.example",
    "#1",
    "GH-1",
    "owner/name#1",
    "a5c3785ed8d6a35868bc169f07e40e889087fd2e",
    "https://evil.example/x",
    "www.evil.example",
    "[click](https://evil.example)",
    "![x](https://evil.example/x.png)",
    "[here](1)",
    "{0}",
    "[x]: https://evil.example",
    "`",
    "``",
    "```",
    "`````\n",
    "~~~",
    "~~gone~~",
    "**bold**",
    "__bold__",
    "_em_",
    "$x$",
    "$`x`$",
    ":smile:",
    "| a | b |",
    "\n# heading",
    "\n- item",
    "1. item",
    "1) item",
    "\n> quote",
    "\n---\n",
    "\n===\n",
    "    indented",
    "\t",
    "\\",
    "\\`",
    "&#96;",
    "\x1b[31mred\x1b[0m",
    "\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "\x00",
    "\x85",
    "\u2028",
    "\u202ereversed",
    "\u2066isolated\u2069",
    "\ufeff",
    "\U000e0041",
    "\udc80",
    '" onload="alert(1)',
    "' onload='alert(1)",
    "]]>",
    "/close",
    "plain words",
    "`code`",
    " ",
    "",
]
TEXT = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=12), max_size=6).map("".join)
FAILURES = st.lists(TEXT, max_size=2)
_LINE = st.integers(1, 1000)
_PLACE = st.builds(Place, TEXT, _LINE, _LINE, _LINE, _LINE) | st.none()
_ENTRY = st.sampled_from(["middleware.a", "middleware.b", ""])
_FINDING = st.builds(
    Finding,
    manifest=TEXT,
    grade=st.sampled_from(Grade),
    rule=st.sampled_from(sorted(RULES)),
    message=TEXT,
    path=TEXT,
    entry=_ENTRY,
    old=_PLACE,
    new=_PLACE,
    details=st.lists(TEXT, max_size=3).map(tuple),
)
_SIDES = st.tuples(TEXT, TEXT, TEXT, TEXT).map(
    lambda texts: (
        (
            Layer("middleware.a", texts[0], texts[1], 1, True),
            Layer("middleware.c", texts[2], "u", 0),
        ),
        (
            Layer("middleware.c", texts[3], "u", 1),
            Layer("middleware.a", texts[0], texts[1], 0, True),
        ),
    )
)


def _comparison(
    names: tuple[str, str | None, str | None],
    findings: list[Finding],
    sides: tuple[tuple[Layer, ...], tuple[Layer, ...]],
) -> Comparison:
    return Comparison(*names, tuple(findings), *sides)


COMPARISONS = st.lists(
    st.builds(
        _comparison,
        st.tuples(TEXT, TEXT | st.none(), TEXT | st.none()),
        st.lists(_FINDING, max_size=4),
        _SIDES | st.just(((), ())),
    ),
    max_size=3,
)
