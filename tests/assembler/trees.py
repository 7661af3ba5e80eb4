"""Small helpers over node trees, and strategies for what manifests hold."""

from typing import Any

from hypothesis import strategies as st

from assembler.document.nodes import MappingNode, Node, ScalarNode, SequenceNode

SAFE = st.characters(
    codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\u2028\u2029\ufeff"
)
TEXTS = st.text(SAFE, max_size=12)
KEYS = TEXTS.filter(lambda text: bool(text) and not text.startswith("$"))
SCALARS = (
    TEXTS
    | st.booleans()
    | st.none()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def plain(node: Node) -> Any:
    """Return a tree as plain data."""
    if isinstance(node, MappingNode):
        return {key: plain(member.value) for key, member in node.members.items()}
    if isinstance(node, SequenceNode):
        return [plain(item) for item in node.items]
    return node.value


def text_at(node: Node) -> str:
    """Return the text that the span of a node of one line covers."""
    span = node.span
    assert span.line == span.end_line
    return span.file.lines[span.line - 1][span.column - 1 : span.end_column - 1]


def scalars(node: Node) -> list[ScalarNode]:
    """Return every scalar of a tree, in order."""
    if isinstance(node, MappingNode):
        return [leaf for member in node.members.values() for leaf in scalars(member.value)]
    if isinstance(node, SequenceNode):
        return [leaf for item in node.items for leaf in scalars(item)]
    return [node]
