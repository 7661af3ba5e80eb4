"""Descriptions: what is the same is told alike, what is not is told apart, no secret is told."""

import enum
import functools
import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import PurePosixPath
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import BaseModel, SecretStr

from assembler.adopt.equality.values import describe, shown, written


class Shade(enum.Enum):
    dark = 1
    light = 2


class Own:
    def __init__(self, size: int, inner: Any = None) -> None:
        self.size = size
        self._inner = inner

    def method(self) -> None: ...


class Slotted:
    __slots__ = ("size",)

    def __init__(self, size: int) -> None:
        self.size = size


@dataclass
class Data:
    name: str


class Model(BaseModel):
    name: str


class Shouting:
    def __repr__(self) -> str:
        raise AssertionError("nobody asks")

    __str__ = __repr__


def made(limit: Any) -> Any:
    def inner() -> Any:
        return limit

    return inner


def endless() -> Any:
    found = Own(1)
    found._inner = found
    return found


SAME = [
    (["a"], ("a",)),
    ({"b", "a"}, {"a", "b"}),
    (Own(1), Own(1)),
    (made(1), made(1)),
    (endless(), endless()),
    (functools.partial(made, limit=1), functools.partial(made, limit=1)),
    (FastAPI(title="One"), FastAPI(title="Two")),  # compared part by part
    (re.compile("a"), re.compile("a")),
    (Shouting(), Shouting()),
    (Slotted(1), Slotted(1)),
]
OTHERS = [
    (1, 2),
    (1, "1"),
    (["a", "b"], ["b", "a"]),
    (Own(1), Own(2)),
    (Own(1, Own(1)), Own(1, Own(2))),
    (Slotted(1), Slotted(2)),
    (made(1), made(2)),
    (made, endless),
    (Own(1).method, Own(2).method),
    (functools.partial(made, 1), functools.partial(made, 2)),
    (Shade.dark, Shade.light),
    (Data("a"), Data("b")),
    (Model(name="a"), Model(name="b")),
    (SecretStr("a"), SecretStr("b")),
    (timedelta(1), timedelta(2)),
    (PurePosixPath("a"), PurePosixPath("b")),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (list[int], list[str]),
    ({"key": 1}, {"key": 2}),
    ({1: 1}, {2: 1}),
    (b"a", b"b"),
    (Own, Slotted),
]


@pytest.mark.parametrize(("left", "right"), SAME)
def test_what_is_the_same_is_told_alike(left: Any, right: Any) -> None:
    assert written(describe(left)) == written(describe(right))


@pytest.mark.parametrize(("left", "right"), OTHERS)
def test_what_is_not_is_told_apart(left: Any, right: Any) -> None:
    assert written(describe(left)) != written(describe(right))


@pytest.mark.parametrize(
    "value",
    [
        {"password": "canary"},
        {"secret_key": "canary"},
        SecretStr("canary"),
        "postgresql://user:canary@host/db",
        [{"token": ["canary"]}],
        Own(1, {"api_key": "canary"}),
        functools.partial(made, limit={"password": "canary"}),
    ],
)
def test_no_secret_is_told(value: Any) -> None:
    description = describe(value)
    assert "canary" not in written(description) + shown(description)
    assert "secret" in written(description)
