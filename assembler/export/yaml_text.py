"""Plain data → YAML that readers of YAML 1.1 and 1.2 take for the same values.

In: mappings, lists and scalars. Out: documents, one after the other. A string that some reader
could take for another type stands in quotes, and so does one with a character that does not print.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*( [\w./-]+)*\Z", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}
_INVISIBLE = re.compile(r"[^\x20-\x7e\n]")


def documents(values: Iterable[Any]) -> str:
    """Write each value as one document."""
    text: str = yaml.dump_all(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=False,
        explicit_start=True,
        width=1000,
    )
    return _INVISIBLE.sub(_escape, text)


class _Dumper(yaml.SafeDumper):
    """Indents lists below their key, and writes nothing by reference."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_printable = all(char.isprintable() or char == "\n" for char in value)
    if not is_printable:
        style: str | None = '"'
    elif "\n" in value:
        style = "|"
    else:
        style = None if _PLAIN.match(value) and value.lower() not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _escape(match: re.Match[str]) -> str:
    """Write what does not print as an escape: it stands in double quotes."""
    if match[0].isprintable():
        return match[0]
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_Dumper.add_representer(str, _string)
