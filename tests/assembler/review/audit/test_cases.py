"""Every `tests/audits/RULE.case`: a manifest that breaks the rule beside one that does not.

The files of a case stand under headings as in `tests/cases`: those of `bad` and `good` are named by
their profile. After `----` stands what the audit says of the bad one by that rule.
`pytest tests/assembler/review/audit/test_cases.py --update` rewrites it; read each of them.
"""

from datetime import date
from pathlib import Path

import pytest

from assembler.diagnostics.render import render
from assembler.plan.load import load_shape
from assembler.review.audit import Report, audit
from assembler.review.audit.rule import profile_of
from assembler.review.audit.table import RULES
from tests.assembler.case import SEPARATOR, read_case
from tests.assembler.project import project

CASES = sorted((Path(__file__).parents[3] / "audits").glob("*.case"))
TODAY = date(2027, 1, 1)
LAYERS = {
    "BearerGate": "auth",
    "BodyLimitMiddleware": "body-limit",
    "IPAllowListMiddleware": "allow-list",
    "RateLimitMiddleware": "limiter",
    "RequestIDMiddleware": "request-id",
    "RequestTimeoutMiddleware": "timeout",
    "SecurityHeadersMiddleware": "security-headers",
}
# What each manifest of a case may name: layers of one's own, which say what they are for.
SOURCE = "".join(
    f"class {name}:\n    layer_role = {role!r}\n    def __init__(self, app, **options): ...\n"
    for name, role in LAYERS.items()
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_rule_is_broken_by_one_manifest_and_not_by_the_one_beside_it(
    path: Path, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    case = read_case(path.read_text("utf-8"))
    files = {name: content.decode() for name, content in case.files.items()}
    with project(tmp_path, {"app/layers.py": SOURCE, **files}):
        bad, good = (audited(side) for side in ("bad", "good"))
    actual = "".join(f"{render(one)}\n\n" for one in bad.findings if one.rule == path.stem)
    if pytestconfig.getoption("--update"):
        path.write_text(case.given + SEPARATOR + actual.removesuffix("\n"), "utf-8")
    else:
        assert actual == case.expected + "\n"
    assert actual
    assert [one.message for one in good.findings if one.rule == path.stem] == []
    assert "hunter2" not in "".join(map(render, bad.findings))


def test_every_rule_has_a_case() -> None:
    assert sorted(path.stem for path in CASES) == sorted(RULES)


def audited(side: str) -> Report:
    (path,) = Path(side).glob("*.yaml")
    document, manifest = load_shape(path)
    return audit(document, manifest, profile_of(path), today=TODAY)
