"""The documents of a review, each pinned whole for a handful of comparisons.

`pytest tests/assembler/review/test_documents.py --update` rewrites them; read each of them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import assembler.review
from assembler.review.comment import as_markdown
from assembler.review.finding import RULES, Comparison, results_of, worst_of_all
from assembler.review.page import as_html
from assembler.review.report import as_sarif
from tests.assembler.comparisons import SAME, SETS

FOLDER = Path(__file__).parents[2] / "golden" / "review"
STYLE = (Path(assembler.review.__file__).parent / "page.css").read_text("utf-8")
FAILURES = ["`manifests/@test.yaml` cannot be compared: one side is no valid manifest"]


def sarif(comparisons: Sequence[Comparison], failures: Sequence[str] = ()) -> str:
    worst = worst_of_all(comparisons)
    return as_sarif(
        results_of(comparisons),
        RULES,
        category="assembler-diff",
        failures=failures,
        worst=None if worst is None else worst.name,
    )


FORMATS: dict[str, Callable[[Sequence[Comparison], Sequence[str]], str]] = {
    "md": as_markdown,
    "sarif": sarif,
    "html": as_html,
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", SETS)
def test_a_document_is_as_pinned(name: str, kind: str, pytestconfig: pytest.Config) -> None:
    golden = FOLDER / f"{name}.{kind}"
    written = FORMATS[kind](SETS[name], FAILURES if name == "failed" else ()) + "\n"
    written = written.replace(STYLE, "[page.css]")  # which is the same in every page
    if pytestconfig.getoption("--update"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(written, "utf-8")
    assert written == golden.read_text("utf-8")


@pytest.mark.parametrize("kind", FORMATS)
def test_nothing_compared_is_a_document_too(kind: str) -> None:
    assert FORMATS[kind]([], ())


@pytest.mark.parametrize("kind", FORMATS)
def test_what_was_not_compared_is_never_reported_as_clean(kind: str) -> None:
    text = FORMATS[kind]([SAME], FAILURES)
    assert "cannot be compared" in text
    assert "nothing differs" not in text.partition("<main>")[0].lower()
