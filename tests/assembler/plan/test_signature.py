"""Signatures: which options a callable takes, and of which types."""

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Protocol, TypedDict, TypeVar, runtime_checkable

import pytest
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from assembler.manifest.coerce import convert
from assembler.plan.signature import class_of, signature_of, target_of

T = TypeVar("T")


@dataclass
class Data:
    x: int
    y: str = "a"


class Model(BaseModel):
    x: int
    y: str = "a"


class Plain:
    def __init__(self, app: Any, x: int, *, y: str = "a") -> None: ...


class Child(Plain): ...


class Bare: ...


class Caller:
    def __call__(self, x: int, y: str = "a") -> None: ...


class Options(TypedDict, total=False):
    x: int


@runtime_checkable
class Store(Protocol):
    def get(self) -> int: ...


class Loose(Protocol):
    def get(self) -> int: ...


def plain(x: int, y: str = "a") -> Data: ...  # type: ignore[empty-body]  # only its signature is read


def generic(x: T, y: list[T]) -> T: ...  # type: ignore[empty-body]  # only its signature is read


@functools.wraps(plain)
def wrapped(*args: Any, **kwargs: Any) -> Any: ...


def accepts(annotation: Any, value: Any) -> bool:
    def function(value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    _, faults = convert(signature_of(function, "f").adapter(), {"value": value})
    return not faults


@pytest.mark.parametrize(
    ("value", "leading"),
    [
        (plain, 0),
        (Data, 0),
        (Model, 0),
        (Plain, 1),
        (Child, 1),
        (Caller(), 0),
        (wrapped, 0),
        (functools.partial(Plain, None), 0),
    ],
)
def test_every_kind_of_callable_tells_its_options(value: Any, leading: int) -> None:
    signature = signature_of(value, "it", leading=leading)
    assert {name: item.required for name, item in signature.parameters.items()} == {
        "x": True,
        "y": False,
    }
    assert not signature.open
    _, faults = convert(signature.adapter(), {"x": "1", "y": 1})
    assert [fault.path for fault in faults] == [("x",), ("y",)]


def test_a_class_without_options_takes_none() -> None:
    assert signature_of(Bare, "Bare").parameters == {}
    assert not signature_of(Bare, "Bare").open


def test_a_callable_that_does_not_tell_takes_anything() -> None:
    assert signature_of(dict, "dict").open


def test_arguments_of_a_partial_are_no_options() -> None:
    assert [*signature_of(functools.partial(plain, 1), "p").parameters] == ["y"]
    assert not signature_of(functools.partial(plain, x=1), "p").parameters["x"].required


@pytest.mark.parametrize("kind", [Data, Plain, Model])
def test_a_partial_of_a_class_gives_that_class(kind: type) -> None:
    made = functools.partial(functools.partial(kind), y=1)
    assert signature_of(made, "p").returns is kind


def test_parameters_by_position_only_cannot_be_given() -> None:
    def function(app: Any, x: int, /, y: int) -> None: ...

    assert signature_of(function, "f").unnamed == "app"
    assert signature_of(function, "f", leading=1).unnamed == "x"
    assert [*signature_of(function, "f", leading=1).parameters] == ["y"]


def test_third_party_middleware_is_read() -> None:
    cors = signature_of(CORSMiddleware, "cors", leading=1)
    assert "app" not in cors.parameters
    assert not any(item.required for item in cors.parameters.values())
    assert [*signature_of(ProxyHeadersMiddleware, "proxy", leading=1).parameters] == [
        "trusted_hosts"
    ]


@pytest.mark.parametrize(
    ("annotation", "value", "fits"),
    [
        (Sequence[str], ["a"], True),
        (Sequence[str], "a", False),
        (Collection[int], [1], True),
        (Iterable[int], ["a"], False),
        (Mapping[str, int], {"a": 1}, True),
        (timedelta, "10s", True),
        (timedelta | None, "10s", True),
        (timedelta, 10, False),
        (dict[str, timedelta], {"a": "5m"}, True),
        (tuple[timedelta, ...], ["5m", "1h"], True),
        (Annotated[timedelta, Field(ge=timedelta(seconds=1))], "5ms", False),
        (Annotated[int, Field(ge=1)] | None, 0, False),
        (Options, {"x": 1}, True),
        (Options, {}, True),
        (Options, {"y": 1}, False),
        (Options | None, {"x": "1"}, False),
        (T, object, True),
        (Callable[[int], str], "x", False),
        (Bare, 5, False),
        (Store, 5, False),
        (Loose, 5, True),
        ("NotDefinedAnywhere", 5, True),
    ],
)
def test_annotations_are_fitted_to_what_yaml_can_say(
    annotation: Any, value: Any, fits: bool
) -> None:
    assert accepts(annotation, value if value is not object else 5) is fits


def test_one_type_that_cannot_be_checked_lets_the_others_be_checked() -> None:
    class Odd:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
            raise RuntimeError("no schema today")

    def function(odd: Odd, number: int) -> None: ...

    _, faults = convert(signature_of(function, "f").adapter(), {"odd": 5, "number": "5"})
    assert [fault.path for fault in faults] == [("number",)]


def test_patterns_that_python_alone_knows_are_judged_and_others_stay_exact() -> None:
    def function(
        end: Annotated[str, Field(pattern=r"^a\Z")],
        ahead: list[Annotated[str | None, Field(pattern="^(?!no)")]],
        behind: Annotated[str, Field(pattern="(?<=a)b", max_length=3)],
        plain: Annotated[str, Field(pattern="^a$")],
        broken: Annotated[str, Field(pattern="(")],
    ) -> None: ...

    adapter = signature_of(function, "f").adapter()
    right = {"end": "a", "ahead": ["x", None], "behind": "ab", "plain": "a", "broken": "any"}
    assert convert(adapter, right) == (right, [])
    wrong = {"end": "a\n", "ahead": ["x", "no"], "behind": "b", "plain": "a\n", "broken": "any"}
    _, faults = convert(adapter, wrong)
    assert [fault.path for fault in faults] == [("end",), ("ahead", 1), ("behind",), ("plain",)]


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Data, Data),
        (list[int], list),
        (Annotated[Data, 1], Data),
        (Data | None, None),
        (Any, None),
        (object, None),
        (None, None),
        ("Data", None),
    ],
)
def test_the_class_of_an_annotation_is_known_where_there_is_one(
    annotation: Any, expected: Any
) -> None:
    assert class_of(annotation) is expected


def test_the_return_type_of_a_factory_is_told() -> None:
    assert signature_of(plain, "plain").returns is Data
    assert signature_of(Data, "Data").returns is Data
    assert signature_of(lambda: 1, "it").returns is None


def test_a_target_tells_how_it_is_called() -> None:
    async def connect() -> None: ...

    class Async:
        async def __call__(self) -> None: ...

    targets = {
        path: target_of(path, value)
        for path, value in {
            "a.plain": plain,
            "a.connect": connect,
            "a.partial": functools.partial(connect),
            "a.Data": Data,
            "a.number": 5,
            "a.Async": Async(),
            "a.method": Caller().__call__,
        }.items()
    }
    assert {path: (it.form, it.is_async, it.is_callable) for path, it in targets.items()} == {
        "a.plain": ("function", False, True),
        "a.connect": ("function", True, True),
        "a.partial": ("function", True, True),
        "a.Data": ("class", False, True),
        "a.number": ("instance", False, False),
        "a.Async": ("instance", True, True),
        "a.method": ("function", False, True),
    }
    assert target_of("a.b:C.d", plain).name == "d"
