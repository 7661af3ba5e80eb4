"""Text that may hold a password → the same text without it.

In: any line that is about to be shown. Out: the line with the password part of each URL, and
the value of each query parameter that is named like a credential, covered by `*`, as wide as it
was, so that a caret below still points right. A reference such as `${PASSWORD}` stays: it is
what one should write. Refuses nothing.
"""

import re
from collections.abc import Iterable

# Greedy up to the last `@`: SQLAlchemy reads `p@ss/word` in `://u:p@ss/word@host` as one password.
_URL_PASSWORD = re.compile(r"(://[^\s:/?#@\"']*:)([^\s\"']*)(?=@)")
_QUERY_SECRET = re.compile(
    r"([?&;][^=&\s\"']*(?:passw|pwd|token|secret|key|signature|credential)[^=&\s\"']*=)([^&\s\"'#]+)",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\$\{[^}]*\}")
_SHORT = 6


def redact(text: str) -> str:
    """Cover URL passwords and credential-like query values in `text`, keeping its width."""
    if "://" in text:
        text = _URL_PASSWORD.sub(_cover, text)
    if "=" in text:
        text = _QUERY_SECRET.sub(_cover, text)
    return text


def url_secrets(text: str) -> Iterable[str]:
    """Yield what `redact` would cover in `text`."""
    for pattern in (_URL_PASSWORD, _QUERY_SECRET):
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
            self._shown[value] = shown
            self._pattern = None

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


def _cover(match: re.Match[str]) -> str:
    covered, at = [], 0
    for kept in _REFERENCE.finditer(match[2]):
        covered += ["*" * (kept.start() - at), kept[0]]
        at = kept.end()
    return match[1] + "".join(covered) + "*" * (len(match[2]) - at)
