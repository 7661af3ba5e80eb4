"""The report of the start and the stop, as pages and logs show it."""

import json

import pytest

from assembler.runtime.report import Assembly, Step, table


def test_the_table_is_aligned_and_errors_stand_last() -> None:
    steps = [
        Step("db", "resource", "ok", 12.34),
        Step("components.dns.prewarm", "startup", "warned", 1234.5, "OSError: no route"),
    ]
    assert table("started dev.yaml in 1247 ms", steps) == (
        "started dev.yaml in 1247 ms\n"
        "  resource  db                      ok        12.3 ms\n"
        "  startup   components.dns.prewarm  warned  1234.5 ms  OSError: no route"
    )


def test_without_steps_there_is_only_the_title() -> None:
    assert table("stopped dev.yaml in 0 ms", []) == "stopped dev.yaml in 0 ms"


def test_a_statement_is_told_with_its_label_and_what_became_of_it() -> None:
    text = table("title", [Step("types", "startup", "skipped", 1, None, "kind", "applied before")])
    assert text.splitlines()[1] == "  startup  types: kind  skipped  1.0 ms  applied before"


def test_an_error_of_several_lines_stays_in_its_row() -> None:
    text = table("title", [Step("db", "close", "failed", 1, "first\nsecond")])
    assert text.splitlines() == ["title", "  close  db  failed  1.0 ms  first second"]


def test_the_report_is_json() -> None:
    assembly = Assembly("manifests/dev.yaml", "abc", dispatch="indexed")
    assembly.steps.append(Step("db", "resource", "degraded", 1.5, "away"))
    assembly.degraded["db"] = "away"
    shown = json.loads(json.dumps(assembly.as_dict()))
    assert shown == {
        "manifest": "manifests/dev.yaml",
        "hash": "abc",
        "dispatch": "indexed",
        "ready": False,
        "state": "built",
        "degraded": {"db": "away"},
        "notes": {},
        "lazy": [],
        "background": [],
        "steps": [
            {
                "id": "db",
                "phase": "resource",
                "outcome": "degraded",
                "milliseconds": 1.5,
                "error": "away",
                "label": None,
                "detail": None,
                "began": None,
            }
        ],
        "instance": None,
        "jobs": None,
    }


class Listening:
    """A resource that hears of the start and the drain."""

    status_note = "off: no credentials"

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_started(self, assembly: object) -> None:
        self.heard.append(assembly)

    def on_drain(self, seconds: float) -> None:
        self.heard.append(seconds)


class Failing:
    status_note = None

    def on_drain(self, seconds: float) -> None:
        raise ValueError("secret words")


def test_resources_hear_of_the_start_and_of_a_drain_and_one_that_fails_keeps_no_other_from_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listening = Listening()
    assembly = Assembly("m.yaml", "hash")
    assembly.resources = {"bad": Failing(), "none": object(), "good": listening}
    assembly.tell_resources("on_started", assembly)
    assembly.tell_resources("on_drain", 5.0)
    assert listening.heard == [assembly, 5.0]
    assert [record.getMessage() for record in caplog.records] == [
        "`on_drain` of resource `bad`: ValueError"
    ]
    assert assembly.as_dict()["notes"] == {"good": "off: no credentials"}
