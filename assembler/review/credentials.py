"""Values of a manifest → which are credentials, and what a report may show of them.

In: a merged tree, paths and values in it. Out: the scalars whose literal text is, or holds, a
credential; the short text that a sentence may show of a value, or None for what may be a secret;
`veiled`, which gives files whose lines show none. What a name says stands in `diagnostics.secrets`;
here is what the place and the form of a value say. References stay: they are what one should write.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any

from assembler.diagnostics.secrets import (
    Column,
    holds_address,
    is_about,
    is_secret,
    redact,
    url_secrets,
)
from assembler.diagnostics.span import File, Span
from assembler.document.interpolation import Reference, parse
from assembler.document.nodes import MappingNode, NodePath, ScalarNode, walk
from assembler.document.parser import plain_value
from assembler.manifest.duration import is_duration

_ISSUED = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\b(?:sk-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,}|SG\.[\w-]{16,}\.[\w-]{16,}"
    r"|sk_live_\w{16,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
)
_IN_SQL = re.compile(r"\bPASSWORD\s+(E?'(?:[^']|''){1,256}')", re.IGNORECASE)
_NAMED = re.compile(r"""([\w.-]{1,64})["']?:[ \t]{1,64}(?=[^\s#&*|>{\[])""")
_DEFAULT = re.compile(r"\$\{([^{}:]{1,200}):-((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*|[^}]*)\}")
_REFERENCE = re.compile(r"\$\{[^}:]*\}")
_COVER = "*"
_COLUMNS: dict[str, Column] = {
    "header": "header",
    "headers": "header",
    "params": "parameter",
    "parameters": "parameter",
    "query": "parameter",
    "env": "variable",
    "environ": "variable",
    "environment": "variable",
}

IsSecret = Callable[[NodePath], bool]


def column_below(key: str) -> Column:
    """Return what the keys of a mapping under `key` are: `headers: {Authorization: …}`."""
    word = key.lower().rpartition("_")[2]
    return _COLUMNS.get(word, "option")


def is_secret_place(path: NodePath) -> bool:
    """Tell whether a key of `path` says so; ids of resources and paths of URLs are no keys."""
    keys = [str(key) for key in (path[2:] if path[:1] == ("resources",) else path)]
    named = [
        (key, is_secret(key, column_below(parent)))
        for parent, key in pairwise(["", *keys])
        if not key.isdecimal() and not key.startswith("/")
    ]
    if not named or named[-1][1] or is_about(named[-1][0]):
        return bool(named) and named[-1][1]
    return any(tells for _, tells in named)


def sets_cookie(key: str, value: object) -> bool:
    """Tell whether what stands under `cookie` is one, and not what it is called."""
    is_cookie = key.lower() in {"cookie", "cookies"}
    return is_cookie and isinstance(value, str) and "=" in literal_text(value)


def literal_text(value: object) -> str:
    """Return what stands literally in a value: its text without references, their defaults kept."""
    if not isinstance(value, str):
        return ""
    kept = (
        part if isinstance(part, str) else part.argument if part.operator == "-" else ""
        for part in parse(value)
    )
    return "".join(kept)


def defaulted_secrets(value: object) -> Iterator[Reference]:
    """Yield the references whose variable is named like a credential and has a default."""
    for part in parse(value) if isinstance(value, str) else ():
        is_default = isinstance(part, Reference) and part.operator == "-" and part.argument
        if isinstance(part, Reference) and is_default and is_secret_variable(part.name):
            yield part


def is_secret_variable(variable: str) -> bool:
    """Tell it by a variable's name; what an address holds, its form tells."""
    return is_secret(variable, "variable") and not holds_address(variable)


def issued(text: str) -> bool:
    """Tell whether a text has the form of a key that some service or tool has issued."""
    return _ISSUED.search(text) is not None


def sql_passwords(text: str) -> bool:
    """Tell whether a statement sets a password that stands in it."""
    return _IN_SQL.search(text) is not None


def secret_scalars(root: MappingNode, is_secret: IsSecret) -> Iterator[tuple[NodePath, ScalarNode]]:
    """Yield the scalars whose literal text is, or holds, a credential."""
    for path, node in walk(root):
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            continue
        text = literal_text(node.value)
        is_told = (is_secret(path) and not _is_sql(path)) or sets_cookie(str(path[-1]), text)
        if text and (is_told or holds_secret(node.value)):
            yield path, node


def holds_secret(value: str) -> bool:
    """Tell whether a text has a credential in it, whatever it is called."""
    text = literal_text(value)
    return (
        issued(text)
        or sql_passwords(text)
        or any(True for _ in url_secrets(text))
        or any(True for _ in defaulted_secrets(value))
    )


def veiled_text(text: str) -> str:
    """Cover, in one line or text, all that looks like a credential by its form alone."""
    for pattern in (_ISSUED, _IN_SQL):
        text = pattern.sub(lambda match: _COVER * len(match[0]), text)
    if "${" in text:
        text = _DEFAULT.sub(_without_default, text)
    return redact(text)


def veiled(spans: Iterable[Span], secrets: Iterable[ScalarNode]) -> dict[int, File]:
    """Return, by the `id` of each span's file, the file as the lines of the spans may be shown."""
    shown: dict[int, set[int]] = {}
    files: dict[int, File] = {}
    for span in spans:
        files[id(span.file)] = span.file
        shown.setdefault(id(span.file), set()).add(span.line)
    lines = {key: list(file.lines) for key, file in files.items()}
    for scalar in secrets:
        key = id(scalar.span.file)
        if key in lines and not _is_veiled(scalar):
            _cover_span(lines[key], scalar.span, shown[key])
    covered = {}
    for key, file in files.items():
        for number in shown[key]:
            lines[key][number - 1] = _veiled_line(lines[key][number - 1])
        covered[key] = File(file.name, "\n".join(lines[key]))
    return covered


def _is_veiled(scalar: ScalarNode) -> bool:
    """Tell whether the line's own veil covers it: its credential shows by its form, as written."""
    span, value = scalar.span, str(scalar.value)
    written = span.file.lines[span.line - 1][span.column - 1 : span.end_column - 1]
    is_plain = span.line == span.end_line and written.strip("\"'") == value
    return is_plain and holds_secret(value)


def _without_default(match: re.Match[str]) -> str:
    if not is_secret_variable(match[1]):
        return match[0]
    return f"${{{match[1]}:-{_COVER * len(match[2])}}}"


def _veiled_line(line: str) -> str:
    """Cover what stands behind a key that is named like a credential, to the end of its value."""
    parts, at = [], 0
    for match in _NAMED.finditer(line):
        start = match.end()
        if start < at or not is_secret(match[1], "option"):
            continue
        end = _end_of(line, start)
        if not is_harmless(_value(line[start:end])):
            parts += [line[at:start], _covered(line[start:end])]
            at = end
    return veiled_text("".join([*parts, line[at:]]))


def _value(text: str) -> object:
    """Return what a plain scalar means: `true` and numbers are no secrets."""
    try:
        return plain_value(text.strip())
    except OverflowError:
        return text


def _end_of(line: str, start: int) -> int:
    if line[start] in "\"'":
        close = line.find(line[start], start + 1)
        return len(line) if close < 0 else close + 1
    if line.startswith("${", start):
        close = line.find("}", start)
        return len(line) if close < 0 else close + 1
    ends = [at for at in (line.find(", ", start), line.find("}", start)) if at >= 0]
    return min(ends, default=len(line))


def _cover_span(lines: list[str], span: Span, shown: Collection[int]) -> None:
    for number in range(span.line, min(span.end_line, len(lines)) + 1):
        if number in shown:
            line = lines[number - 1]
            low = span.column - 1 if number == span.line else 0
            high = span.end_column - 1 if number == span.end_line else len(line)
            lines[number - 1] = line[:low] + _covered(line[low:high]) + line[high:]


def _covered(text: str) -> str:
    """Cover a text but its references without a default and its quotes; the width stays."""
    covered, at = [], 0
    for kept in _REFERENCE.finditer(text):
        covered += [_stars(text[at : kept.start()]), kept[0]]
        at = kept.end()
    return "".join([*covered, _stars(text[at:])])


def _stars(text: str) -> str:
    return re.sub(r"[^\s\"'|>]", _COVER, text)


def _is_sql(path: NodePath) -> bool:
    return path[:1] == ("startup",) and "sql" in path[2:3]


_LONGEST = 60  # characters of a value that a sentence shows
_LISTED = 6  # values of a list that a sentence shows
_FORMS = (
    re.compile(r"-----BEGIN|\beyJ[\w-]{8,}\."),
    re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abprs]|AKIA|ASIA|AIza|hf|npm|SG)[-_.]?[A-Za-z0-9_-]{10,}"),
    re.compile(r"\b(?:bearer|basic)\s+\S", re.IGNORECASE),
    re.compile(r"\b(?:passw(?:or)?d|pwd|token|secret|api[-_ ]?key)\s*[=:]\s*\S", re.IGNORECASE),
)  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{20,}")


def is_harmless(value: object) -> bool:
    """Tell whether a value is no secret even under a secret's name: null, a switch, `1h`."""
    return (
        value is None or isinstance(value, bool) or (isinstance(value, str) and is_duration(value))
    )


def looks_secret(text: str) -> bool:
    """Tell whether a text has the form of a credential: a known prefix, or a long random word."""
    return any(form.search(text) for form in _FORMS) or any(
        _is_random(match[0]) for match in _TOKEN.finditer(text)
    )


def shown(value: Any, *, is_secret: bool = False) -> str | None:
    """Return the text of a value in backticks, or None where it may be a secret."""
    if isinstance(value, str):
        text = _text(value, is_secret=is_secret)
        return None if text is None else f"`{_cut(text)}`"
    if value is None or isinstance(value, bool | int | float):
        is_hidden = is_secret and not (value is None or isinstance(value, bool))
        return None if is_hidden else f"`{json.dumps(value)}`"
    if isinstance(value, list):
        if not value:
            return "an empty list"
        texts = [shown(item, is_secret=is_secret) for item in value]
        if len(texts) > _LISTED or any(text is None or text[0] != "`" for text in texts):
            return f"a list of {len(value)}"
        return ", ".join(text for text in texts if text)
    return "a mapping" if value else "an empty mapping"


def reference_text(value: Any) -> str | None:
    """Return the references of a text, without defaults, or None where it has none."""
    if not isinstance(value, str) or "${" not in value:
        return None
    parts = [part for part in parse(value) if isinstance(part, Reference)]
    return " ".join(f"`{_bare(part)}`" for part in parts) or None


def _text(value: str, *, is_secret: bool) -> str | None:
    parts = parse(value) if "${" in value else (value,)
    literal = "".join(part for part in parts if isinstance(part, str))
    if literal and (is_secret or looks_secret(literal)):
        return None
    text = "".join(part if isinstance(part, str) else _bare(part) for part in parts)
    covered = redact(text)
    if covered != text:
        return re.sub(r"\*{2,}", "***", covered)
    return json.dumps(text) if _reads_otherwise(text) else text


def _reads_otherwise(text: str) -> bool:
    """Tell whether a text would read as nothing, or as another value, without its quotes."""
    try:
        return not text.strip() or not isinstance(plain_value(text), str)
    except OverflowError:
        return True


def _bare(reference: Reference) -> str:
    if reference.kind == "bad":
        return "${…}"
    if reference.kind == "resource":
        return f"${{resources.{reference.name}}}"
    name = reference.name
    if reference.kind == "settings":
        name = f"settings.{name}" if name else "settings"
    return f"${{{name}{':-…' if reference.operator == '-' else ''}}}"


def _is_random(word: str) -> bool:
    """Tell a key from a long name: letters and digits mixed, without words between dashes."""
    kinds = (str.isdigit, str.isupper, str.islower)
    count = sum(any(map(kind, word)) for kind in kinds)
    digits = sum(map(str.isdigit, word))
    return (count == 3 or digits >= 4) and max(map(len, re.split(r"[-_/]", word))) >= 16


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
