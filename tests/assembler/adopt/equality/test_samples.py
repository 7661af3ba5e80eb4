"""Values that are drawn from a schema are taken by it, and are the same at every run."""

from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, Field, TypeAdapter

from assembler.adopt.equality.samples import Samples


class Shade(Enum):
    dark = "dark"
    light = "light"


class Leaf(BaseModel):
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}\d{3}$")]
    weight: Annotated[float, Field(gt=0, le=2.5)]


class Tree(BaseModel):
    name: Annotated[str, Field(min_length=3, max_length=5)]
    leaves: Annotated[list[Leaf], Field(min_length=1)]
    parent: "Tree | None" = None


TYPES: list[Any] = [
    int,
    Annotated[int, Field(ge=5, le=7)],
    Annotated[int, Field(gt=-3, lt=0)],
    Annotated[int, Field(multiple_of=7)],
    Annotated[float, Field(lt=-1)],
    bool,
    str,
    Annotated[str, Field(min_length=20)],
    Annotated[str, Field(pattern=r"^\w+@x$", max_length=20)],
    UUID,
    str | None,
    int | str,
    Literal["a", "b"],
    Shade,
    list[int],
    Annotated[list[Shade], Field(min_length=2, max_length=3)],
    tuple[int, str],
    dict[str, int],
    Leaf,
    Tree,
]


@pytest.mark.parametrize("kind", TYPES, ids=str)
def test_a_type_takes_what_is_drawn_from_its_schema(kind: Any) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    schema = adapter.json_schema()
    values = Samples().of(schema)
    assert values
    for value in values:
        adapter.validate_python(value, strict=False)
    assert Samples().of(schema) == values


def test_what_a_schema_says_of_values_comes_first() -> None:
    assert Samples(2).of({"type": "integer", "examples": [7, 8, 9]}) == [7, 8]
    assert Samples(2).of({"type": "string", "default": "plain"})[0] == "plain"


def test_a_schema_without_a_known_word_gives_some_value() -> None:
    assert Samples().of({"strange": True}) == ["sample"]
    assert Samples().of({"type": "string", "pattern": "(?<bad"}) == ["sample"]
    assert Samples().of({"$ref": "#/nowhere"}) == ["sample"]
    assert Samples().of({"type": "string", "minLength": 5, "maxLength": 2}) == ["sample"]
    assert Samples().of({"type": "string", "pattern": "^a$", "minLength": 5}) == ["sample"]
