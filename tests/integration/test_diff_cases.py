"""Every `tests/diffs/*.case`: two manifests in, the pinned findings out.

`pytest tests/integration/test_diff_cases.py --update` rewrites the expected texts; read each.
"""

from pathlib import Path

import pytest

from assembler.review.diff.knowledge import Knowledge
from tests.assembler.project import project
from tests.integration.diff_case import SEPARATOR, compared, directions, read_case, sides, told

CASES = sorted((Path(__file__).parents[1] / "diffs").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_pair_gives_the_expected_findings(
    path: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    case = read_case(path.read_text("utf-8"))
    with project(tmp_path, case.files):
        old, new = sides()
        knowledge = Knowledge()
        found = compared(old, new, knowledge)
        back = compared(new, old, knowledge)
        assert compared(old, old).findings == compared(new, new).findings == ()
    actual = told(found)
    if pytestconfig.getoption("--update"):
        path.write_text(case.given + SEPARATOR + actual, "utf-8")
    else:
        assert actual == case.expected
    assert directions(back, swapped=True) == directions(found)
    if "canary" in case.given:
        assert "canary" not in actual + told(back)
    assert str(tmp_path) not in actual


def test_every_pair_has_an_expected_text() -> None:
    assert len(CASES) >= 150
    assert [path.stem for path in CASES if not read_case(path.read_text("utf-8")).expected] == []
