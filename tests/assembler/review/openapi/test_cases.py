"""Every `tests/openapi/*.case`: two documents in, the pinned findings out.

`pytest tests/assembler/review/openapi --update` rewrites the expected texts; read each of them.
"""

from pathlib import Path

import pytest

from assembler.review.finding import Grade
from tests.assembler.review.openapi.documents import SEPARATOR, compared, told

CASES = sorted((Path(__file__).parents[3] / "openapi").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_pair_of_documents_gives_the_expected_findings(
    path: Path, pytestconfig: pytest.Config
) -> None:
    given, _, expected = path.read_text("utf-8").partition(SEPARATOR)
    old, _, new = given.partition("=== new\n")
    found = compared(old, new)
    assert compared(old, old).findings == compared(new, new).findings == ()
    back = compared(new, old)
    assert (back.worst in {None, Grade.cosmetic}) == (found.worst in {None, Grade.cosmetic})
    if pytestconfig.getoption("--update"):
        path.write_text(given + SEPARATOR + told(found), "utf-8")
    else:
        assert told(found) == expected


def test_every_pair_of_documents_has_an_expected_text() -> None:
    assert len(CASES) >= 60
    assert [one.stem for one in CASES if one.read_text("utf-8").endswith(SEPARATOR)] == []
