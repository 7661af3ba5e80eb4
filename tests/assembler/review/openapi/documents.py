"""Pairs of OpenAPI documents for tests, and what is told of them.

A case is the old document, a line `=== new`, the new one, a line `----`, and what is told.
"""

from assembler.review.diff.text import as_text
from assembler.review.finding import Comparison
from assembler.review.openapi.comparison import compare_documents
from assembler.review.openapi.document import document_of

SEPARATOR = "----\n"


def compared(old: str | bytes, new: str | bytes, suffix: str = "yaml") -> Comparison:
    sides = [text if isinstance(text, bytes) else text.encode() for text in (old, new)]
    first, second = (
        document_of(raw, f"{name}.{suffix}")
        for raw, name in zip(sides, ("old", "new"), strict=True)
    )
    return compare_documents(first, second)


def told(found: Comparison) -> str:
    return as_text([found]) + "\n"
