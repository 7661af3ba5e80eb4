"""An event on its way to Sentry -> the same event without secrets.

In: an event as the SDK serialized it: mappings, lists and texts. Out: the event with what stands under
a name like a secret's, passwords inside URLs and parameters of a query so named taken out, wherever
they stand: in messages of exceptions and breadcrumbs too, at which the SDK's own scrubber does not look.
"""

import re
from collections.abc import Sequence
from typing import Any

_FILTERED = "[Filtered]"
_NAMES = (
    r"passw|passphrase|pwd|token|secret|credential|signature|authorization|cookie|session"
    r"|api[-_]?key|private[-_]?key"
)
# Every run is bounded, so that no text, however hostile, takes long.
_URL_PASSWORD = re.compile(r"(://[^\s:/?#@\"']{0,256}:)[^\s\"']{1,1024}(?=@)")
_URL_TOKEN = re.compile(r"(https?://)[^\s:/?#@\"']{1,1024}(?=@)", re.IGNORECASE)


class Scrubber:
    """Takes secrets out of events; `more` are further words that names of secrets hold."""

    def __init__(self, more: Sequence[str] = ()) -> None:
        words = "|".join([_NAMES, *(re.escape(word) for word in more if word)])
        self._name = re.compile(rf"{words}|(?:^|[-_.])(?:key|auth|sig)$", re.IGNORECASE)
        self._parameter = re.compile(
            rf"((?:^|[?&;#\s])(?:[^?&;#=\s\"']{{0,64}}?(?:{words})[^?&;#=\s\"']{{0,64}}|key|sig)=)"
            r"[^&\s\"'#]{1,2048}",
            re.IGNORECASE,
        )

    def __call__(self, event: Any, _hint: object = None) -> Any:
        """Return the event scrubbed, as the SDK's `before_send` does."""
        if isinstance(event, dict):
            return {name: self._under(name, value) for name, value in event.items()}
        if isinstance(event, list):
            return [self(value) for value in event]
        return self.text(event) if isinstance(event, str) else event

    def text(self, text: str) -> str:
        """Return a text without passwords of URLs and secrets of queries."""
        if "://" in text:
            text = _URL_PASSWORD.sub(rf"\1{_FILTERED}", text)
            text = _URL_TOKEN.sub(rf"\1{_FILTERED}", text)
        if "=" in text:
            text = self._parameter.sub(rf"\1{_FILTERED}", text)
        return text

    def _under(self, name: str, value: Any) -> Any:
        # a mapping or list under such a name is looked into: `tokens: 5` is no secret
        if isinstance(value, str) and self._name.search(name):
            return _FILTERED
        return self(value)
