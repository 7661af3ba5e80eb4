"""Plain data → YAML that this format and readers of YAML 1.1 and 1.2 take for the same values.

In: mappings, lists and scalars. Out: block style, lists indented below their key, nothing by
reference, no text broken over lines. A string that some reader could take for another type stands
in quotes, and so does one with a character that does not print, which becomes an escape.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from assembler.document.parser import plain_value

_INVISIBLE = re.compile(r"[^\x20-\x7e\n]")
_WORDS = {"y", "n"}  # of YAML 1.1; the dumper knows its other words
_NUMBER = re.compile(r"[-+.]*[0-9][0-9a-fxo_.:+-]*\Z", re.IGNORECASE)  # `0o17`, `1e3`, `1:30`
_ENDLESS = 1 << 30


def dump(values: Iterable[Any], *, is_marked: bool = False, is_flow: bool = False) -> str:
    """Write each value as one document; `is_marked` puts `---` before the first as well.

    With `is_flow` each stands on one line, its collections in brackets.
    """
    text: str = yaml.dump_all(
        values,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=is_flow,
        explicit_start=is_marked or None,
        width=_ENDLESS,
    )
    return _INVISIBLE.sub(_escape, text)  # what does not print stands in double quotes


class _Dumper(yaml.SafeDumper):
    def increase_indent(self, flow: bool = False, indentless: bool = False) -> Any:
        return super().increase_indent(flow, False)

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def choose_scalar_style(self) -> Any:
        """Take double quotes where nothing needs an escape, as `format` does."""
        style: Any = super().choose_scalar_style()
        scalar: Any = self.event
        return '"' if style == "'" and not {'"', "\\"} & set(scalar.value) else style


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    lines = value.split("\n")
    style = None
    if not all(map(str.isprintable, lines)):
        style = '"'
    elif len(lines) > 1 and not value.startswith(" "):
        style = "|"
    elif _reads_otherwise(value):
        style = "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _reads_otherwise(value: str) -> bool:
    try:
        is_text = isinstance(plain_value(value), str)
    except OverflowError:
        return True
    return not is_text or value.lower() in _WORDS or _NUMBER.match(value) is not None


def _escape(match: re.Match[str]) -> str:
    if match[0].isprintable():
        return match[0]
    code = ord(match[0])
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


_Dumper.add_representer(str, _string)
