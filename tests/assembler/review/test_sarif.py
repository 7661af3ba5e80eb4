"""Comparisons and diagnostics → SARIF, read by models that were made of the schema of OASIS."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from fluidattacks_core.sarif import SarifLog
from hypothesis import given

from assembler.review.finding import RULES, Comparison, Finding, Grade, Place, results_of
from assembler.review.report import as_sarif
from tests.assembler.comparisons import ADDED, MOVED, REMOVED, SHARED
from tests.assembler.hostile import COMPARISONS, FAILURES


def run_of(comparisons: Sequence[Comparison], failures: Sequence[str] = ()) -> dict[str, Any]:
    text = as_sarif(results_of(comparisons), RULES, category="assembler-diff", failures=failures)
    SarifLog.model_validate_json(text)
    run: dict[str, Any] = json.loads(text)["runs"][0]
    return run


def prints(comparisons: Sequence[Comparison]) -> list[str]:
    return [
        one["partialFingerprints"]["assemblerDiff/v1"] for one in run_of(comparisons)["results"]
    ]


def moved_down(place: Place | None) -> Place | None:
    return place and replace(place, line=place.line + 7, end_line=place.end_line + 7)


@given(COMPARISONS, FAILURES)
def test_hostile_manifests_come_out_inert(
    comparisons: Sequence[Comparison], failures: list[str]
) -> None:
    run = run_of(comparisons, failures)
    (invocation,) = run["invocations"]
    for told in run["results"] + invocation["toolExecutionNotifications"]:
        text = told["message"]["text"]
        assert "](" not in text
        assert "{0}" not in text.replace("{{0}}", "")
        assert text.count("\n") <= 3  # between the message and its details
        assert all(char.isprintable() or char == "\n" for char in text)
    for result in run["results"]:
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].isascii()


def test_results_stand_at_their_place_on_the_new_side() -> None:
    (result,) = run_of([SHARED[0]])["results"]
    assert result["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "manifests/base.yaml"},
        "region": {"startLine": 9, "startColumn": 7, "endLine": 9, "endColumn": 30},
    }


def test_what_was_removed_stands_at_the_manifest_and_tells_where_it_was() -> None:
    (result,) = run_of([REMOVED])["results"]
    place = result["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "manifests/old.yaml"}, "region": {"startLine": 1}}
    assert result["message"]["text"] == "the manifest is gone (was at manifests/old.yaml:1)"


def test_levels_follow_the_grades() -> None:
    levels = {one["properties"]["grade"]: one["level"] for one in run_of([MOVED])["results"]}
    assert levels == {
        "loosened": "error",
        "review": "warning",
        "behaviour": "warning",
        "tightened": "note",
        "cosmetic": "note",
    }


def test_rules_are_described_once_each() -> None:
    run = run_of([ADDED, MOVED, REMOVED])
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == sorted({rule["id"] for rule in rules})
    assert all(rule["shortDescription"]["text"] == RULES[rule["id"]] for rule in rules)
    assert all(rules[one["ruleIndex"]]["id"] == one["ruleId"] for one in run["results"])


def test_a_finding_stays_itself_where_lines_move() -> None:
    findings = [
        replace(one, old=moved_down(one.old), new=moved_down(one.new)) for one in MOVED.findings
    ]
    assert prints([replace(MOVED, findings=tuple(findings))]) == prints([MOVED])
    assert prints([replace(MOVED, findings=MOVED.findings[2:])]) == prints([MOVED])[2:]


def test_another_value_is_another_finding() -> None:
    finding = Finding("a", Grade.loosened, "option-loosened", "is `100`, it was `50`", "p")
    worse = replace(finding, message="is `1000`, it was `50`")
    one, other = (prints([Comparison("a", "a", "a", (each,))]) for each in (finding, worse))
    assert one != other


def test_findings_at_one_address_are_told_apart() -> None:
    finding = Finding(
        "a", Grade.loosened, "option-loosened", "differs", "p", new=Place("a", 1, 1, 1, 2)
    )
    twice = (finding, replace(finding, new=Place("a", 5, 1, 5, 2)))
    assert len(set(prints([Comparison("a", "a", "a", twice)]))) == 2


def test_manifests_that_share_a_finding_share_its_result() -> None:
    (result,) = run_of(SHARED)["results"]
    assert result["properties"]["manifests"] == [one.manifest for one in SHARED]


def test_a_run_that_could_not_compare_all_did_not_succeed() -> None:
    assert run_of([SHARED[0]])["invocations"][0]["executionSuccessful"]
    assert not run_of([], ["one side is no valid manifest"])["invocations"][0][
        "executionSuccessful"
    ]
