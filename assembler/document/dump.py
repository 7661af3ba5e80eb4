"""Values → YAML in block style, as this project writes it.

In: a dumper made from `BlockDumper`, which says how texts are quoted. Out: lists indented below their
key, nothing by reference, and each character that does not print as an escape. Refuses nothing.
"""

import re
from typing import Any

import yaml

_INVISIBLE = re.compile(r"[^\x20-\x7e\n]")


class BlockDumper(yaml.SafeDumper):
    """Indents lists below their key, and writes nothing by reference."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def escaped(text: str) -> str:
    """Write what does not print as an escape: the dumper put it in double quotes."""
    return _INVISIBLE.sub(_escape, text)


def _escape(match: re.Match[str]) -> str:
    if match[0].isprintable():
        return match[0]
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
