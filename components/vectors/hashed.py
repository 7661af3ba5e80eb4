"""Embeddings without a model: words and parts of words, hashed.

In: texts. Out: for each a vector of unit length, always the same, from its words and from the runs of
three to five letters in them, so that `apartments` is near `apartment`. It knows no meaning: `flat`
is not near `apartment`. For laptops and tests, and `development_only` says so. The method is the
hashing trick (Weinberger et al., 2009) on the n-grams of fastText (Bojanowski et al., 2017).
"""

import hashlib
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar

from pydantic import Field

_WORD = re.compile(r"[^\W_]+")
_WORD_WEIGHT = 1.0  # as all its parts of one length together


class HashedEmbeddings:
    """Embeds on this machine, in place of a service with a model.

    Raises ValueError where `dimensions` is out of its range.
    """

    development_only: ClassVar[bool] = True
    is_on = True
    status_note = "embeddings are hashed words and parts of words, without a model"

    def __init__(
        self,
        *,
        dimensions: Annotated[
            int, Field(ge=8, le=4096, description="numbers of each vector")
        ] = 256,
    ) -> None:
        if not 8 <= dimensions <= 4096:
            raise ValueError(f"`dimensions` must be from 8 to 4096, not {dimensions}")
        self._dimensions = dimensions
        self.embedding_model = f"hashed-ngrams-{dimensions}"

    async def embed(self, texts: Sequence[str], *, model: str | None = None) -> list[list[float]]:
        """The embeddings of `texts`, in their order.

        Raises:
            ValueError: another model is asked for.
        """
        if model not in {None, self.embedding_model}:
            raise ValueError(f"there is no model `{model}` here")
        return [self._embedded(text) for text in texts]

    def _embedded(self, text: str) -> list[float]:
        vector = [0.0] * self._dimensions
        for feature, weight in _features(text):
            digest = hashlib.blake2b(feature.encode(), digest_size=8).digest()
            number = int.from_bytes(digest, "little")
            vector[(number >> 1) % self._dimensions] += weight if number & 1 else -weight
        length = math.sqrt(sum(x * x for x in vector))
        if not length:  # nothing to tell it by, or all of it cancels out
            vector[0], length = 1.0, 1.0
        return [x / length for x in vector]


def _features(text: str) -> Iterator[tuple[str, float]]:
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    for word in _WORD.findall(plain):
        yield f"={word}", _WORD_WEIGHT
        edged = f"<{word}>"
        for size in (3, 4, 5):
            parts = len(edged) - size + 1
            for at in range(parts):
                yield edged[at : at + size], 1 / math.sqrt(parts)
