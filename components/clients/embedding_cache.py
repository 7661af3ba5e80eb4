"""Texts whose embeddings are known -> those embeddings, without asking anyone again.

In: a model, a text, its embedding. Out: the embedding, as long as it is among the last ones used.
Kept is the SHA-256 of the text, not the text, and eight bytes a number. Refuses nothing.
"""

import hashlib
from array import array


class EmbeddingCache:
    """The last `entries` embeddings that were used; with 0 none."""

    def __init__(self, entries: int) -> None:
        if entries < 0:
            raise ValueError(f"`embedding_cache` must not be negative: {entries}")
        self._entries = entries
        self._known: dict[bytes, array[float]] = {}  # the least recently used first

    def get(self, model: str, text: str) -> list[float] | None:
        """The embedding, in a list of its own."""
        key = _key(model, text)
        found = self._known.pop(key, None)
        if found is None:
            return None
        self._known[key] = found
        return found.tolist()

    def put(self, model: str, text: str, embedding: list[float]) -> None:
        """Keep an embedding."""
        self._known[_key(model, text)] = array("d", embedding)
        while len(self._known) > self._entries:
            del self._known[next(iter(self._known))]

    def __len__(self) -> int:
        return len(self._known)


def _key(model: str, text: str) -> bytes:
    return hashlib.sha256(f"{model}\0{text}".encode("utf-8", "surrogatepass")).digest()
