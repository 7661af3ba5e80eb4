"""Text that may hold a password → the same text without it.

In: any line that is about to be shown. Out: the line with the password part of each URL, what
stands alone before a web address's `@`, and the value of each query parameter that is named like a
credential, covered by `*`, as wide as it was, so that a caret below still points right. A reference
such as `${PASSWORD}` stays: it is what one should write. Refuses nothing.
"""

import json
import re
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus

# Every run is bounded, so that no line, however hostile, takes long.
# Greedy up to the last `@`: SQLAlchemy reads `p@ss/word` in `://u:p@ss/word@host` as one password.
_INNER_QUOTE = r"[\"'](?![\s,;:)\]}]|$)"  # any other closes the text that the URL stands in
_URL_PASSWORD = re.compile(
    rf"(://(?:[^\s:/?#@\"']|{_INNER_QUOTE}){{0,256}}:)((?:[^\s\"']|{_INNER_QUOTE}){{0,1024}})(?=@)"
)
_URL_TOKEN = re.compile(r"(https?://)([^\s:/?#@\"']{1,1024})(?=@)", re.IGNORECASE)
_QUERY_SECRET = re.compile(
    r"([?&;#][^?&;#=\s\"']{0,128}?"
    r"(?:passw|pwd|token|secret|key|signature|credential"
    r"|(?<![a-z])(?:auth|authorization|pass|sig)(?![a-z]))"
    rf"[^?&;#=\s\"']{{0,128}}=)((?:[^&\s\"'#]|{_INNER_QUOTE})+)",
    re.IGNORECASE,
)
# Of variables: `DATABASE_URL`, `PGPASSWORD`; not `KEYBOARD`, not `TOKENIZERS_PARALLELISM`.
_CREDENTIAL = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|token|secret|key|credential|dsn|ur[il])s?(?:_|\d|$)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_SHORT = 6
_SHORTEST_CREDENTIAL = 4  # characters


def redact(text: str) -> str:
    """Cover URL passwords and credential-like query values in `text`, keeping its width."""
    if "://" in text:
        text = _URL_TOKEN.sub(_cover, _URL_PASSWORD.sub(_cover, text))
    if "=" in text:
        text = _QUERY_SECRET.sub(_cover, text)
    return text


def url_secrets(text: str) -> Iterable[str]:
    """Yield what `redact` would cover in `text`."""
    for pattern in (_URL_PASSWORD, _URL_TOKEN, _QUERY_SECRET):
        for match in pattern.finditer(text):
            if match[2] and not _REFERENCE.search(match[2]):
                yield match[2]


class Secrets:
    """Values that must not be shown, each with the reference that is shown in its place."""

    def __init__(self) -> None:
        self._shown: dict[str, str] = {}
        self._pattern: re.Pattern[str] | None = None

    def add(self, value: str, shown: str) -> None:
        """Show `shown` wherever `value` would appear; an empty value is no secret."""
        if value and value not in self._shown:
            for form in _forms(value):
                self._shown.setdefault(form, shown)
            self._pattern = None

    def add_credentials(self, environment: Mapping[str, str]) -> None:
        """Hide the variables that are named like credentials, which others' code reads itself."""
        for name, value in environment.items():
            if len(value) >= _SHORTEST_CREDENTIAL and _CREDENTIAL.search(name):
                for secret in (value, *url_secrets(value)):
                    self.add(secret, f"${{{name}}}")

    def scrub(self, text: str) -> str:
        """Return `text`, as an exception or a log line has it, with every secret replaced.

        A value of less than six characters is replaced only where it stands as a whole word:
        `PORT=80` must not turn every `80` inside other numbers into a reference.
        """
        if self._shown:
            self._pattern = self._pattern or re.compile("|".join(self._alternatives()))
            text = self._pattern.sub(lambda match: self._shown[match[0]], text)
        return redact(text)

    def _alternatives(self) -> Iterable[str]:
        for value in sorted(self._shown, key=len, reverse=True):
            escaped = re.escape(value)
            yield escaped if len(value) >= _SHORT else rf"(?<!\w){escaped}(?!\w)"


def _forms(value: str) -> Iterable[str]:
    """Yield `value` as it stands, and as messages, `repr`, JSON and URLs write it."""
    yield value
    if not value.strip():
        return
    written = (
        value,
        repr(value)[1:-1],
        repr(f'"{value}')[2:-1],  # inside a text that has quotes of both kinds
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        quote(value, errors="surrogatepass"),
        quote(value, safe="", errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
    )
    for form in written:
        yield form
        yield " ".join(form.split())  # a message is told in one line


def _cover(match: re.Match[str]) -> str:
    covered, at = [], 0
    for kept in _REFERENCE.finditer(match[2]):
        covered += ["*" * (kept.start() - at), kept[0]]
        at = kept.end()
    return match[1] + "".join(covered) + "*" * (len(match[2]) - at)
