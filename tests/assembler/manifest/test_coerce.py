"""Conversion: strict for what a person wrote, by the wanted type for what came from elsewhere."""

import json
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum, IntEnum
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, SecretStr, TypeAdapter

from assembler.document.provenance import Held, ResourceRef, Text, Unknown, shown
from assembler.manifest.coerce import convert
from assembler.manifest.duration import Duration, parse_duration
from assembler.manifest.pydantic_errors import Fault
from tests.assembler.trees import VALUES


class Color(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Pool(BaseModel):
    size: int


@dataclass
class Retry:
    times: int


class Thing:
    pass


def value_of(wanted: Any, data: Any) -> Any:
    value, faults = convert(adapter_of(wanted), data)
    assert faults == []
    return value


def reason_of(wanted: Any, data: Any) -> str:
    value, faults = convert(adapter_of(wanted), data)
    assert value is None
    return " / ".join(fault.reason for fault in faults)


def adapter_of(wanted: Any) -> TypeAdapter[Any]:
    try:
        return TypeAdapter(wanted, config={"arbitrary_types_allowed": True})
    except Exception:  # a type that brings its own configuration takes none
        return TypeAdapter(wanted)


def text(value: str) -> Text:
    return Text(value, "${NAME}")


@given(st.integers(1, 8784), st.sampled_from(["ms", "s", "m", "h"]))
def test_durations_are_read(number: int, unit: str) -> None:
    seconds = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit]
    assert parse_duration(f"{number}{unit}") == timedelta(seconds=number * seconds)


@given(st.text("0123456789mshd .-+PT", max_size=14) | st.integers() | st.none() | st.booleans())
def test_anything_else_is_no_duration(value: Any) -> None:
    try:
        found = parse_duration(value)
    except ValueError as error:
        assert str(error).startswith("must be a duration")  # noqa: PT017  # both are right
    else:
        assert timedelta(milliseconds=1) <= found <= timedelta(days=366)


def test_a_timedelta_is_a_duration() -> None:
    assert parse_duration(timedelta(seconds=1)) == timedelta(seconds=1)


@given(VALUES)
def test_a_value_that_is_json_stays_what_it_is(value: Any) -> None:
    assert json.dumps(value_of(Any, value)) == json.dumps(value)


@given(VALUES, st.sampled_from([int, float, bool, str, list[int], dict[str, str], int | None]))
def test_no_value_changes_its_type(value: Any, wanted: Any) -> None:
    found, faults = convert(adapter_of(wanted), value)
    if not faults:
        # A whole number beyond 2^53 is the float nearest to it.
        assert found == (float(value) if wanted is float else value)
        assert type(found) is type(value) or (wanted is float and type(value) is int)


@pytest.mark.parametrize(
    ("wanted", "data", "expected"),
    [
        (Color, "red", Color.RED),
        (Size, 1, Size.SMALL),
        (Pool, {"size": 1}, Pool(size=1)),
        (Retry, {"times": 1}, Retry(times=1)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (set[int], [1, 2, 1], {1, 2}),
        (date, "2027-01-31", date(2027, 1, 31)),
        (Duration, "10s", timedelta(seconds=10)),
        (timedelta, "10s", timedelta(seconds=10)),
        (list[timedelta], ["1s", "1m"], [timedelta(seconds=1), timedelta(minutes=1)]),
        (float, 5, 5.0),
    ],
)
def test_literals_become_the_types_that_json_can_say(wanted: Any, data: Any, expected: Any) -> None:
    assert value_of(wanted, data) == expected


@pytest.mark.newest
@pytest.mark.parametrize(
    ("wanted", "data", "reason"),
    [
        (int, "5", 'must be an integer, not `"5"`'),
        (int, 5.0, "must be an integer, not `5.0`"),
        (int, True, "must be an integer, not `true`"),
        (bool, "yes", 'must be `true` or `false`, not `"yes"`'),
        (bool, 1, "must be `true` or `false`, not `1`"),
        (str, 5, "must be a string, not `5`"),
        (list[int], "1,2", 'must be a list, not `"1,2"`'),
        (Literal["a", "b"], "c", 'must be `a` or `b`, not `"c"`'),
        (Color, "blue", 'must be `red`, not `"blue"`'),
        (int | str, None, "must be an integer or a string, not `null`"),
        (Annotated[int, Field(ge=1)], 0, "must be at least 1, not `0`"),
        (Pool, [], "must be a mapping, not a list"),
        (Thing, "x", 'must be a reference to an object, such as `${resources.name}`, not `"x"`'),
        (str, "x" * 100 + "\n", ""),
    ],
)
def test_a_refusal_says_what_is_wanted_and_what_was_given(
    wanted: Any, data: Any, reason: str
) -> None:
    if reason:
        assert reason_of(wanted, data) == reason
    else:
        assert value_of(wanted, data) == data


@given(st.integers(-(10**12), 10**12))
def test_an_integer_of_the_environment_is_one_where_one_is_wanted(number: int) -> None:
    given_text = text(str(number))
    assert value_of(int, given_text) == number
    assert value_of(str, given_text) == str(number)
    assert value_of(int | None, given_text) == number
    assert value_of(list[int], text(f"{number}, {number}")) == [number, number]
    assert value_of(list[int], text(f"[{number}]")) == [number]
    assert value_of(Pool, text(f'{{"size": {number}}}')) == Pool(size=number)


@pytest.mark.parametrize(
    ("wanted", "given_text", "expected"),
    [
        (str, "007", "007"),
        (int, "007", 7),
        (float, "1e3", 1000.0),
        (bool, "TRUE", True),
        (bool, "off", False),
        (list[str], "a, b,,c", ["a", "b", "c"]),
        (list[str], '["a, b"]', ["a, b"]),
        (list[str], "", []),
        (set[int], "1,2", {1, 2}),
        (dict[str, str], '{"a": "b"}', {"a": "b"}),
        (Literal[1, 2], "2", 2),
        (Literal["a"], "a", "a"),
        (Size, "1", Size.SMALL),
        (Duration, "250ms", timedelta(milliseconds=250)),
        (timedelta, "250ms", timedelta(milliseconds=250)),
        (int | str, "5", "5"),
    ],
)
def test_text_of_the_environment_becomes_the_wanted_type(
    wanted: Any, given_text: str, expected: Any
) -> None:
    found = value_of(wanted, text(given_text))
    assert found == expected
    assert type(found) is type(expected)


@given(st.text(), st.sampled_from([int, float, bool, Color, Size, Pool, Retry, date, Duration]))
def test_text_of_the_environment_is_never_shown(value: str, wanted: Any) -> None:
    found, faults = convert(adapter_of(wanted), text("canary" + value))
    assert found is None
    assert all("canary" not in fault.reason and "`${NAME}`" in fault.reason for fault in faults)


@given(VALUES)
def test_what_is_shown_is_one_short_line(value: Any) -> None:
    words = shown(value)
    assert len(words) < 80
    assert "\n" not in words


def test_marks_are_shown_as_their_references() -> None:
    assert shown(text("secret")) == "`${NAME}`"
    assert shown(Held(5, "${settings.x}")) == "`${settings.x}`"
    assert shown(ResourceRef("db")) == "`${resources.db}`"
    assert shown("pg://u:p@h") == '`"pg://u:*@h"`'


def test_an_unknown_value_fits_everywhere() -> None:
    for wanted in (int, Color, Pool, list[int]):
        assert convert(adapter_of(wanted), Unknown("${A}"))[1] == []


def test_held_objects_are_taken_as_they_are_and_secrets_as_text() -> None:
    secret = Held(SecretStr("hidden"), "${settings.key}")
    assert value_of(SecretStr, secret) is secret.value
    assert value_of(str, secret) == "hidden"
    assert value_of(Thing, Held(thing := Thing(), "${settings.thing}")) is thing
    assert reason_of(int, secret) == "must be an integer, not `${settings.key}`"


def test_a_resource_is_what_stands_for_it() -> None:
    thing = Thing()
    value, faults = convert(
        adapter_of(dict[str, Thing]), {"a": ResourceRef("x")}, stand=lambda ref: thing
    )
    assert (value, faults) == ({"a": thing}, [])


def test_the_fault_inside_a_union_is_told_and_not_the_other_arm() -> None:
    _, faults = convert(adapter_of(str | Pool), {"sise": 1})
    assert faults == [Fault((), "missing", "size")]
    _, faults = convert(adapter_of(int | list[int]), ["x"])
    assert faults == [Fault((0,), "bad", 'must be an integer, not `"x"`')]


def test_faults_of_several_places_are_told_together() -> None:
    _, faults = convert(adapter_of(dict[str, int]), {"a": "x", "b": 1, "c": None})
    assert [fault.path for fault in faults] == [("a",), ("c",)]
