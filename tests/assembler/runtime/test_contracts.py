"""The page of contracts says what the code does."""

from pathlib import Path

import pytest

from assembler.runtime.contracts import CONTRACTS, Contract

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: str(contract.name))
def test_each_side_has_the_name_in_it(contract: Contract) -> None:
    assert contract.read_by
    for path in (*contract.told_by, *contract.read_by):
        file = ROOT / path
        if path.startswith("components/") and not (ROOT / "components").exists():
            continue  # the assembler works without them
        assert contract.name in file.read_text("utf-8"), f"{path} knows nothing of {contract.name}"


def test_no_name_is_agreed_upon_twice() -> None:
    names = [contract.name for contract in CONTRACTS]
    assert len(names) == len(set(names))
