"""A value of a manifest → the text that a report may show of it.

In: a key, a value as written. Out: a short text on one line, or None for
what may be a secret: what its key, its type or its own form says is one. References are shown
without their defaults. Refuses nothing.
"""

import json
import re
from typing import Any

from assembler.diagnostics.secrets import redact
from assembler.document.interpolation import Reference, parse
from assembler.document.parser import plain_value
from assembler.manifest.duration import is_duration

_LONGEST = 60  # characters of a value that a sentence shows
_LISTED = 6  # values of a list that a sentence shows
_KEY = re.compile(
    r"passw|passphrase|pwd|token|secret|credential|authorization|cookie|dsn|signature|salt"
    r"|(?:^|[_-])(?:pass|auth|pin|otp|sid|pepper|seed)(?:$|[_-])|(?<!public)(?<!primary)[_-]keys?$|^keys?$|api-?keys?$"
    r"|private|signing|encryption",
    re.IGNORECASE,
)
# `client_ip`, `header:X-Key`, `shop.keys.tenant`
_HARMLESS = re.compile(r"[a-z][a-z_]{0,24}(?::[A-Za-z-]{1,40}|(?:\.[a-z_]{1,24}){1,6})?\Z")
_FORMS = (
    re.compile(r"-----BEGIN|\beyJ[\w-]{8,}\."),
    re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|github_pat|glpat|xox[abprs]|AKIA|ASIA|AIza|hf|npm|SG)[-_.]?[A-Za-z0-9_-]{10,}"),
    re.compile(r"\b(?:bearer|basic)\s+\S", re.IGNORECASE),
    re.compile(r"\b(?:passw(?:or)?d|pwd|token|secret|api[-_ ]?key)\s*[=:]\s*\S", re.IGNORECASE),
)  # fmt: skip
_TOKEN = re.compile(r"[A-Za-z0-9+/=_-]{20,}")


def is_secret_key(key: str) -> bool:
    """Tell whether a key names something that must not be shown."""
    return _KEY.search(key) is not None


def is_harmless(key: str, value: Any, *, is_told: bool) -> bool:
    """Tell whether a value is no secret even below such a key: `token_ttl: 1h`.

    `key: client_ip` names how to tell clients apart, where the source tells of such an option.
    """
    if isinstance(value, str):
        is_word = is_told and key in {"key", "keys"} and _HARMLESS.match(value) is not None
        return is_word or is_duration(value)
    return value is None or isinstance(value, bool)


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
    if reference.kind == "settings":
        return f"${{settings.{reference.name}}}"
    return f"${{{reference.name}{':-…' if reference.operator == '-' else ''}}}"


def _is_random(word: str) -> bool:
    """Tell a key from a long name: letters and digits mixed, without words between dashes."""
    kinds = (str.isdigit, str.isupper, str.islower)
    count = sum(any(map(kind, word)) for kind in kinds)
    digits = sum(map(str.isdigit, word))
    return (count == 3 or digits >= 4) and max(map(len, re.split(r"[-_/]", word))) >= 16


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
