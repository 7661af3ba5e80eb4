"""Option texts -> the bytes of header names and values, once, when a middleware is made.

Refuses what could split a response: control characters, CR and LF above all, and text that HTTP
cannot carry (RFC 9110, sections 5.1 and 5.5).
"""

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator

_ORDINARY = frozenset(
    b"accept-ranges age allow cache-control content-encoding content-language content-length "
    b"content-type date etag expires last-modified link location ratelimit ratelimit-policy "
    b"retry-after server server-timing vary x-request-id".split()
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def header_name(option: str, text: str) -> bytes:
    """The name in lower case, as ASGI wants it.

    Raises:
        ValueError: `text` is not a token.
    """
    if not _NAME.fullmatch(text):
        raise ValueError(f"`{option}` is not a header name: {text!r}")
    return text.lower().encode("ascii")


def header_value(option: str, text: str) -> bytes:
    """The value as it goes on the wire.

    Raises:
        ValueError: `text` is empty, has control characters or is not latin-1.
    """
    value = text.strip()
    if not value or _CONTROL.search(value):
        raise ValueError(f"`{option}` is not a header value: {text!r}")
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError as error:
        raise ValueError(f"`{option}` is not latin-1 text: {text!r}") from error


def _name(text: str) -> str:
    try:
        header_name("", text)
    except ValueError:
        raise ValueError(f"takes the name of a header, not `{text}`") from None
    return text


def _value(text: str) -> str:
    try:
        header_value("", text)
    except ValueError:
        raise ValueError("takes the text of a header: one line of Latin letters") from None
    return text


HeaderName = Annotated[str, AfterValidator(_name)]
"""The type of an option that names a header, so that it is judged where it is written."""

HeaderValue = Annotated[str, AfterValidator(_value)]
"""The same for the text of one."""


def ordinary_names(besides: Iterable[bytes]) -> frozenset[bytes]:
    """Names of answers' headers, in lower case, that are surely not one of `besides`.

    Nearly all answers have no others, which is known without a call of `lower` for each name: that
    takes twice as long.
    """
    return _ORDINARY - {name.lower() for name in besides}
