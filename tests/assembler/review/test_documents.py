"""The documents of a review, each pinned whole for a handful of comparisons.

`pytest tests/assembler/review/test_documents.py --update` rewrites them; read each of them.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from assembler.review.comment import as_markdown
from assembler.review.finding import Comparison
from assembler.review.page import as_html
from assembler.review.sarif import as_sarif
from tests.assembler.comparisons import SAME, SETS

FOLDER = Path(__file__).parents[2] / "golden" / "review"
FAILURES = ["`manifests/@test.yaml` cannot be compared: one side is no valid manifest"]
FORMATS: dict[str, Callable[[Sequence[Comparison], Sequence[str]], str]] = {
    "md": as_markdown,
    "sarif": as_sarif,
    "html": as_html,
}


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("name", SETS)
def test_a_document_is_as_pinned(name: str, kind: str, pytestconfig: pytest.Config) -> None:
    golden = FOLDER / f"{name}.{kind}"
    written = FORMATS[kind](SETS[name], FAILURES if name == "failed" else ()) + "\n"
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
