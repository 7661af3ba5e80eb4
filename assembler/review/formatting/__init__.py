"""A manifest's file → its text in canonical order and style.

In: a `File`. Out: the text; the same one for what is in that form already. What the text says is
the same before and after, read by the reader of manifests itself: else nothing is given.

Refuses, with every fault, a text that is no manifest's. The shape is not looked at: a manifest with
an unknown key can be put in order.
"""

from collections import Counter

from assembler.diagnostics.errors import AssemblerError
from assembler.diagnostics.span import File
from assembler.document.extends import read_layer
from assembler.document.nodes import MappingNode, Node, NodePath, SequenceNode
from assembler.document.sections import ENTRY_PATHS
from assembler.review.formatting.key_order import put_in_order
from assembler.review.formatting.layout import text_of
from assembler.review.formatting.written import comment_owners, read_written


def formatted(file: File) -> str:
    """Return the canonical text of a manifest.

    Raises `ManifestError` with the faults of the text, `AssemblerError` where the form would change
    what the manifest says: a fault of this program, and no text is given.
    """
    before = read_layer(file)
    text = file.text.replace("\r\n", "\n").replace("\r", "\n")
    document = read_written(text)
    put_in_order(document)
    result = text_of(document)
    after = read_layer(File(file.name, result))
    if _said(before) != _said(after) or not _keep_their_entries(text, result):
        raise AssemblerError(f"`{file.name}` would not be the same, so it is left as it is")
    return result


def _said(node: Node) -> object:
    """Return what a tree says, `1` and `1.0` and `true` told apart, keys in any order."""
    if isinstance(node, MappingNode):
        return {key: _said(member.value) for key, member in node.members.items()}
    if isinstance(node, SequenceNode):
        return [_said(item) for item in node.items]
    return type(node.value), node.value


def _keep_their_entries(before: str, after: str) -> bool:
    """Tell whether every comment is still there, and about the same entry.

    One above the first key may be the file's or the key's.
    """
    old, new = (Counter(map(_of_entry, comment_owners(text))) for text in (before, after))
    lost, come = old - new, new - old
    lost_texts, come_texts = (
        sorted(text for _, text in found.elements()) for found in (lost, come)
    )
    if lost_texts != come_texts:
        return False
    of_file = {text for owner, text in (*lost, *come) if not owner}
    return all(text in of_file for _, text in lost)


def _of_entry(found: tuple[NodePath, str]) -> tuple[NodePath, str]:
    """Cut a path off at the entry: the keys of one may change places."""
    path, text = found
    length = 3 if path[:2] in ENTRY_PATHS else 2 if path[:1] in ENTRY_PATHS else 1
    return path[:length], text
