"""Plain data → YAML that readers of YAML 1.1 and 1.2 take for the same values.

In: mappings, lists and scalars. Out: documents, one after the other. A string that some reader
could take for another type stands in quotes, and so does one with a character that does not print.
"""

import re
from collections.abc import Iterable
from typing import Any

import yaml

from assembler.document.dump import BlockDumper, escaped

_PLAIN = re.compile(r"[A-Za-z/][\w./-]*( [\w./-]+)*\Z", re.ASCII)
_WORDS = {"true", "false", "yes", "no", "on", "off", "y", "n", "null"}


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
    return escaped(text)


class _Dumper(BlockDumper):
    """Quotes what any reader of YAML could take for something else."""


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    is_printable = all(char.isprintable() or char == "\n" for char in value)
    if not is_printable:
        style: str | None = '"'
    elif "\n" in value:
        style = "|"
    else:
        style = None if _PLAIN.match(value) and value.lower() not in _WORDS else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _string)
