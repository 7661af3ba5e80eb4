"""Every `tests/cases/*.case`: a manifest in, its pinned text out.

`pytest tests/assembler/test_cases.py --update` rewrites the expected texts; read each of them.
"""

from pathlib import Path

import pytest

from tests.assembler.case import SEPARATOR, outcome, read_case

CASES = sorted((Path(__file__).parents[1] / "cases").glob("*.case"))


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_manifest_gives_the_expected_text(
    path: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    case = read_case(path.read_text("utf-8"))
    if "use: components." in case.given:
        pytest.importorskip("components")  # the assembler is tested without them, too
    actual = outcome(case, tmp_path)
    if pytestconfig.getoption("--update"):
        path.write_text(case.given + SEPARATOR + actual, "utf-8")
    else:
        assert actual == case.expected
    if "canary" in case.given:
        assert "canary" not in actual
    assert str(tmp_path) not in actual


def test_every_case_has_an_expected_text() -> None:
    assert len(CASES) >= 130
    assert [path.stem for path in CASES if not read_case(path.read_text("utf-8")).expected] == []
