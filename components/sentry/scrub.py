"""An event on its way to Sentry -> the same event without secrets.

In: an event as the SDK serialized it: mappings, lists and texts. Out: the event without what stands
under the name of a secret, and its texts (messages of exceptions and breadcrumbs too, at which the
SDK's own scrubber does not look) without passwords of URLs, private keys, JSON web tokens, what
follows `Bearer`, and the values that a text itself names as secrets: `name: value`, `name=value`,
parameters of a query, JSON, Python's `repr` of a mapping, header lines and pairs. Lines of source
code lose literals alone: `token = read()` tells nothing.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote_plus

from components.sentry.secret_names import is_secret

_FILTERED = "[Filtered]"
_SOURCE = frozenset({"context_line", "pre_context", "post_context"})
_MOST = 16_384  # characters of one value
# Every run is bounded, so that no text, however hostile, takes long.
_PLAIN = (  # each with the words of which one must be there
    (("://",), re.compile(r"(://[^\s:/?#@\"']{0,256}:)[^\s\"']{1,1024}(?=@)")),
    (("://",), re.compile(r"(https?://)[^\s:/?#@\"']{1,1024}(?=@)", re.IGNORECASE)),
    (("-----BEGIN",), re.compile(rf"(-----BEGIN [A-Z ]{{0,40}}PRIVATE KEY-----)[^-]{{1,{_MOST}}}")),
    (("eyJ",), re.compile(r"()\beyJ[\w-]{8,4096}\.[\w-]{2,4096}(?:\.[\w-]{0,4096}){0,3}")),
    (
        ("earer", "EARER", "asic", "ASIC"),
        re.compile(r"(\b(?:Bearer|Basic) {1,8})(?=\D{0,64}\d)[\w.~+/=-]{8,4096}", re.IGNORECASE),
    ),
)
# A name, then what joins it to its value; a comma joins two quoted texts of a pair.
_HEAD = re.compile(
    r"(?<!\w)([A-Za-z_][\w%.\-\[\]]{0,255})"
    r"(?:(\\{0,4}[\"'])[ \t]{0,8}(,|=>|:)|[ \t]{0,8}(=>|:=|[=:](?!=)))[ \t]{0,8}"
)
_QUOTE = re.compile(r"(?:[bru]{0,2})(\\{0,4})([\"'])", re.IGNORECASE)
_PARAMETER_VALUE = re.compile(rf"[^&\s\"'#;,]{{1,{_MOST}}}")
_WORD_VALUE = re.compile(
    rf"(?:(?:Bearer|Basic|Digest|Token|ApiKey)\s+)?[^\s\"',;&}})\]]{{1,{_MOST}}}"
)
_LINE_VALUE = re.compile(rf"[^\r\n\"']{{1,{_MOST}}}")


class Scrubber:
    """Takes secrets out of events; `more` are further words that names of secrets hold."""

    def __init__(self, more: Sequence[str] = ()) -> None:
        words = [re.escape(word) for word in more if word]
        self._more = re.compile("|".join(words) or r"(?!)", re.IGNORECASE)

    def __call__(self, event: Any, _hint: object = None) -> Any:
        """Return the event scrubbed, as the SDK's `before_send` does."""
        return self._value(event, in_request=False)

    def text(self, text: str, *, is_source: bool = False) -> str:
        """Return a text without the secrets that its own words show."""
        parts, at = [], 0
        for start, end in self._named_values(text, is_source=is_source):
            parts += [text[at:start], _FILTERED]
            at = end
        text = "".join([*parts, text[at:]])
        for signs, pattern in _PLAIN:
            if any(sign in text for sign in signs):
                text = pattern.sub(rf"\1{_FILTERED}", text)
        return text

    def _value(self, value: Any, *, in_request: bool) -> Any:
        if isinstance(value, dict):
            return {
                name: self._under(str(name), inner, in_request=in_request)
                for name, inner in value.items()
            }
        if isinstance(value, list | tuple):
            if len(value) == 2 and all(isinstance(item, str) for item in value):
                name, inner = value  # a header, or a parameter, as a pair
                return [self.text(name), self._under(name, inner, in_request=True)]
            return [self._value(item, in_request=in_request) for item in value]
        return self.text(value) if isinstance(value, str) else value

    def _under(self, name: str, value: Any, *, in_request: bool) -> Any:
        if self._is_secret(name, in_request=in_request):
            return _without_texts(value)
        if name in _SOURCE:
            lines = value if isinstance(value, list) else [value]
            kept = [
                self.text(one, is_source=True) if isinstance(one, str) else one for one in lines
            ]
            return kept if isinstance(value, list) else kept[0]
        return self._value(value, in_request=in_request or name == "request")

    def _is_secret(self, name: str, *, in_request: bool) -> bool:
        return (
            is_secret(name, "option")
            or is_secret(name, "header")
            or (in_request and is_secret(name, "parameter"))
            or self._more.search(name) is not None
        )

    def _named_values(self, text: str, *, is_source: bool) -> Iterator[tuple[int, int]]:
        """Yield where the values of secrets stand, in order."""
        if not any(mark in text for mark in ("=", ":", ",")):
            return
        last = 0
        for head in _HEAD.finditer(text):
            if head.start() < last:
                continue
            in_query = head[4] == "=" and (head.start() == 0 or text[head.start() - 1] in "?&;#")
            name = unquote_plus(head[1])
            names = {name}
            if text[max(0, head.start() - 1) : head.start()] == "\\":  # a line's end, in JSON
                names |= {name[1:]} if name[0] in "nrt" else set()
            if not any(self._is_secret(each, in_request=in_query) for each in names):
                continue
            found = _quoted(text, head.end())
            if found is None and head[3] != "," and not is_source:
                found = _bare(text, head.end(), name, in_query=in_query)
            if found is not None and text[found[0] : found[1]] != _FILTERED:
                last = found[1]
                yield found


def _quoted(text: str, at: int) -> tuple[int, int] | None:
    """Return where the inside of a quoted text stands, up to its end or that of the whole."""
    quote = _QUOTE.match(text, at)
    if quote is None:
        return None
    start = position = quote.end()
    escape, mark = len(quote[1]), quote[2]
    while 0 <= (position := text.find(mark, position)) < start + _MOST:
        first = position
        while first > start and text[first - 1] == "\\":
            first -= 1
        # inside a text that is `escape` levels deep, a mark of its own has more in front of it
        if (position - first - escape) % (2 * escape + 2) == 0:
            return start, position - escape
        position += 1
    return start, min(len(text), start + _MOST)


def _bare(text: str, at: int, name: str, *, in_query: bool) -> tuple[int, int] | None:
    pattern = _PARAMETER_VALUE if in_query else _WORD_VALUE
    if name.lower() in {"cookie", "set-cookie"}:
        pattern = _LINE_VALUE
    match = pattern.match(text, at)
    return match.span() if match else None


def _without_texts(value: Any) -> Any:
    """Numbers stay: `tokens: 5` is no secret."""
    if isinstance(value, dict):
        return {name: _without_texts(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_without_texts(inner) for inner in value]
    return _FILTERED if isinstance(value, str) and value else value
