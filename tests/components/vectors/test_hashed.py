"""Embeddings of hashed words and parts of words."""

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.clients.ai import AnthropicClient
from components.database import engine
from components.vectors import Vectors
from components.vectors.hashed import HashedEmbeddings


def embed(*texts: str, dimensions: int = 256) -> list[list[float]]:
    return asyncio.run(HashedEmbeddings(dimensions=dimensions).embed(texts))


def cosine(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


@given(st.text(max_size=40), st.integers(8, 300))
def test_every_text_has_a_vector_of_unit_length_and_always_the_same(
    text: str, dimensions: int
) -> None:
    (first,), (second,) = embed(text, dimensions=dimensions), embed(text, dimensions=dimensions)
    assert first == second
    assert len(first) == dimensions
    assert math.isclose(cosine(first, first), 1, rel_tol=1e-9)


def test_words_that_share_parts_are_nearer_than_those_that_share_none() -> None:
    asked, near, far = embed("apartments", "apartment", "warehouse")
    assert cosine(asked, near) > 0.4 > cosine(asked, far)


def test_case_and_accents_do_not_matter() -> None:
    one, other = embed("Parque das Nações", "PARQUE DAS NACOES")
    assert one == other


def test_another_model_is_refused() -> None:
    with pytest.raises(ValueError, match="no model `gpt`"):
        asyncio.run(HashedEmbeddings().embed(["a"], model="gpt"))


@pytest.mark.parametrize("dimensions", [0, 7, 4097])
def test_dimensions_out_of_range_are_refused(dimensions: int) -> None:
    with pytest.raises(ValueError, match="from 8 to 4096"):
        HashedEmbeddings(dimensions=dimensions)


def test_what_makes_no_embeddings_is_refused() -> None:
    with pytest.raises(TypeError, match="`embeddings` is an object of AnthropicClient"):
        Vectors(db=engine(url="sqlite://"), embeddings=AnthropicClient(api_key="k"))
