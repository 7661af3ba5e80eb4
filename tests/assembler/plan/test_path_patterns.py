"""What the assembler says of patterns is what the guards of `components` do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from assembler.plan.path_patterns import exempts, guards


def plain(path: str) -> bool:
    return path == "/" or not (
        path.endswith("/") or set(path) & set("\n\t\\") or "/." in path or "//" in path
    )


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in yaml.safe_load((Path(__file__).parents[2] / "guards.yaml").read_text())
        if "disk" not in case and plain(case["path"])
        # the index of a folder is nothing that a manifest names
        if not case["pattern"].endswith("/index.html")
    ],
    ids=str,
)
def test_a_plain_path_is_judged_as_guards_judge_it(case: dict[str, Any]) -> None:
    asked = (case["pattern"], case["path"], case.get("method", "GET"))
    assert (guards(*asked), exempts(*asked)) == (case["guard"], case["exempt"])
