"""A merged tree → which of its literal texts are credentials, and its files without them.

In: names of options, values, documents. Out: whether a name says that its value is a secret, the
scalars that hold one, and `veiled`, which gives files whose lines show none. References stay: they
are what one should write. Refuses nothing.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache

from assembler.diagnostics.secrets import redact, url_secrets
from assembler.diagnostics.span import File, Span
from assembler.document.interpolation import Reference, parse
from assembler.document.nodes import MappingNode, NodePath, ScalarNode, walk
from assembler.document.parser import plain_value

_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_SECRET = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|apikey|credential|authorization)s?"
)
_KEYS = re.compile(r"api|private|secret|signing|access|encryption|account|hmac|jwt")
# `token_url` and `secret_name` tell about a secret, and hold none.
_ABOUT = re.compile(
    r"(?:ur[il]|header|name|lifetime|ttl|path|file|scope|type|field|cookie|env|parameter|bytes"
    r"|prefix|algorithm|endpoint|issuer|audience|timeout|id|limit|length|expire|expiry|second"
    r"|minute|day|size|count|max|min|required|enabled)s?"
)
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

IsSecret = Callable[[NodePath], bool]


@cache
def is_secret_name(name: str) -> bool:
    """Tell whether `name` says that its value is a credential: `password`, `apiKey`, `jwt_secret`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or _ABOUT.fullmatch(words[-1]):
        return False
    if words[-1] in {"key", "keys"} and len(words) > 1 and _KEYS.fullmatch(words[-2]):
        return True
    return any(_SECRET.fullmatch(word) for word in words)


def is_secret_place(path: NodePath) -> bool:
    """Tell whether a key of `path` says so; ids of resources are no keys."""
    keys = path[2:] if path[:1] == ("resources",) else path
    if not keys:
        return False
    last = next((key for key in reversed(keys) if isinstance(key, str)), "")
    if _ABOUT.fullmatch(last.lower()):
        return False
    return any(is_secret_name(key) for key in keys if isinstance(key, str))


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
        if isinstance(part, Reference) and is_default and is_secret_name(part.name):
            yield part


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
        if text and ((is_secret(path) and not _is_sql(path)) or holds_secret(node.value)):
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
    if not is_secret_name(match[1]):
        return match[0]
    return f"${{{match[1]}:-{_COVER * len(match[2])}}}"


def _veiled_line(line: str) -> str:
    """Cover what stands behind a key that is named like a credential, to the end of its value."""
    parts, at = [], 0
    for match in _NAMED.finditer(line):
        start = match.end()
        if start < at or not is_secret_name(match[1]):
            continue
        end = _end_of(line, start)
        if isinstance(_value(line[start:end]), str):
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
