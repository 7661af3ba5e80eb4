"""Options: checked when they are read, and once more with the objects in them."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import AfterValidator

from assembler.diagnostics.errors import Diagnostic
from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import File, Span
from assembler.document.interpolation import Resolver
from assembler.document.parser import read
from assembler.manifest.pydantic_errors import Fault
from assembler.plan.options import Options, OptionsChecker
from assembler.plan.signature import target_of
from tests.assembler.trees import VALUES

USE = Span(File("m.yaml", "use: shop.make"), 1, 6, 1, 15)
NONE_GIVEN: frozenset[str] = frozenset()


class Engine: ...


class Cache: ...


def make(db: Engine, size: int = 1, names: tuple[str, ...] = ()) -> None: ...


def takes_anything(**options: Any) -> None: ...


def takes_app(app: Any, x: int = 1) -> None: ...


def check(
    value: Any,
    text: str,
    *,
    types: dict[str, type | None] | None = None,
    given_names: frozenset[str] = NONE_GIVEN,
) -> tuple[Options, list[Diagnostic]]:
    node = read(File("m.yaml", text))
    data = Resolver({"SIZE": "5", "WORD": "canary"}, None, Secrets()).data(node, ("with",))
    target = target_of("shop.make", value)
    return OptionsChecker(types or {}).check(target, node, data, USE, given_names)


def test_converted_options_are_the_arguments() -> None:
    options, faults = check(make, '{db: "${resources.db}", size: "${SIZE}", names: [a]}')
    assert faults == []
    assert options.names == {"db"}
    engine = Engine()
    arguments, late = options.arguments({"db": engine})
    assert late == []
    assert arguments == {"db": engine, "size": 5, "names": ("a",)}
    assert arguments["db"] is engine


def test_an_object_of_another_type_is_a_fault_when_it_is_there() -> None:
    options, faults = check(make, '{db: "${resources.db}"}')
    assert faults == []
    arguments, [fault] = options.arguments({"db": Cache()})
    assert arguments == {}
    assert fault.path == ("db",)
    assert fault.reason == "must be an object of type `Engine`, not `${resources.db}`"


def test_a_declared_type_is_a_fault_before_there_is_an_object() -> None:
    _, [fault] = check(make, '{db: "${resources.db}"}', types={"db": Cache})
    assert fault.message.endswith("not `${resources.db}` of type `Cache`")
    assert check(make, '{db: "${resources.db}"}', types={"db": Engine})[1] == []
    assert check(make, '{db: "${resources.db}"}', types={"db": None})[1] == []


def test_arguments_are_fresh_for_every_call() -> None:
    options, _ = check(takes_anything, "{x: 1}")
    first, _ = options.arguments({})
    first["x"] = 2
    assert options.arguments({})[0] == {"x": 1}


@pytest.mark.parametrize("word", ["app", "job"])
def test_what_the_assembler_gives_is_not_missing(word: str) -> None:
    def function(app: Any, job: Any) -> None: ...

    _, faults = check(function, "{}", given_names=frozenset({word}))
    other = {"app": "job", "job": "app"}[word]
    assert [fault.message for fault in faults] == [f"`make` needs the option `{other}`"]


def test_what_the_assembler_gives_may_still_be_given() -> None:
    options, faults = check(takes_app, "{app: x}", given_names=frozenset({"app"}))
    assert faults == []
    assert options.arguments({})[0] == {"app": "x"}


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES))
def test_an_open_callable_takes_any_options_as_they_are(data: dict[str, Any]) -> None:
    target = target_of("shop.make", takes_anything)
    options, faults = OptionsChecker({}).check(target, None, data, USE, NONE_GIVEN)
    assert faults == []
    assert options.arguments({}) == (data, [])


@given(st.dictionaries(st.text(min_size=1, max_size=8), VALUES))
def test_no_options_make_the_check_fail_itself(data: dict[str, Any]) -> None:
    target = target_of("shop.make", make)
    _, faults = OptionsChecker({}).check(target, None, data, USE, NONE_GIVEN)
    assert any(fault.code == "missing-option" for fault in faults) == ("db" not in data)


def test_faults_of_one_call_are_told_together_and_at_their_places() -> None:
    _, faults = check(make, "{size: x,\n colour: 1,\n names: [a, 5]}")
    places = {(fault.code, fault.span.line if fault.span else 0) for fault in faults}
    assert places == {
        ("missing-option", 1),
        ("bad-value", 1),
        ("unknown-option", 2),
        ("bad-value", 3),
    }


def test_values_of_the_environment_are_not_in_the_faults() -> None:
    _, faults = check(make, '{db: "${WORD}", size: "${WORD}", names: "${WORD}"}')
    assert len(faults) == 2
    assert "canary" not in repr(faults)


def test_options_do_not_show_their_values() -> None:
    options, _ = check(takes_anything, '{x: "${WORD}"}')
    assert "canary" not in repr(options)


def test_a_late_fault_names_the_reference() -> None:
    def numbers(x: list[int]) -> None: ...

    options, _ = check(numbers, '{x: ["${resources.a}"]}')
    assert options.arguments({"a": "text"})[1] == [
        Fault(("x", 0), "bad", "must be an integer, not `${resources.a}`")
    ]


@dataclass
class Deep:
    inner: "Deep | None" = None
    unknown: "NowhereDefined" = None  # type: ignore[name-defined]  # noqa: F821  # what a type checker alone would import


@given(VALUES)
def test_any_value_may_be_given_to_a_nested_type(value: Any) -> None:
    def function(deep: Deep) -> None: ...

    target = target_of("shop.make", function)
    _, faults = OptionsChecker({}).check(target, None, {"deep": value}, USE, NONE_GIVEN)
    if isinstance(value, dict) and not value.keys() & {"inner", "unknown"}:
        unknown = [fault for fault in faults if fault.code == "unknown-option"]
        assert len(unknown) == len(value)


def test_a_validator_that_raises_is_asked_once_its_object_is_there() -> None:
    def refuse(engine: Engine) -> Engine:
        raise LookupError(type(engine).__name__)

    def takes(db: Annotated[Engine, AfterValidator(refuse)], number: int = 1) -> None: ...

    options, faults = check(takes, '{db: "${resources.db}", number: 2}', types={"db": Engine})
    assert faults == []
    [fault] = options.arguments({"db": Engine()})[1]
    assert (fault.path, fault.reason) == (("db",), "cannot be judged: LookupError: Engine")
