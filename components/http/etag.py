"""A response -> the same with an `ETag`, or 304 where the client has it already (RFC 9110, 8.8.3, 13).

In: the messages of one answer to GET or HEAD. Out: the messages to send instead. An ETag that the
route set is used as it is. Streams (a body in several parts, a file handed to the server), bodies
over the bound, errors, partial content and answers marked `no-store` pass through untouched. The
start of what has no Content-Length, or too long a one, is never held back: a stream's first part may
be long in coming.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Literal

from starlette.types import Message, Send

_TAG = re.compile(rb'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')
# What describes a body that a 304 does not carry (RFC 9110, 15.4.5).
_OF_BODY = frozenset(
    {b"content-length", b"content-type", b"content-encoding", b"content-language", b"content-range"}
)


def is_known(if_none_match: Iterable[bytes], tag: bytes) -> bool:
    """Whether a client that sent these `If-None-Match` fields has the entity with this tag.

    The comparison is weak (13.1.2): `W/` does not count.
    """
    text = b", ".join(if_none_match)
    if text.strip() == b"*":
        return True
    opaque = tag.removeprefix(b"W/")
    return any(found.group(1) == opaque for found in _TAG.finditer(text))


class ConditionalSend:
    """The `send` of one request: it holds a start back until it has seen the first of the body.

    Args:
        send: where the messages go on.
        head: the request is HEAD, so that an empty body says nothing about the entity.
        if_none_match: the request's fields of that name.
        strength: of the tags that are made.
        max_bytes: the longest body that is hashed.
    """

    __slots__ = ("_head", "_if_none_match", "_is_over", "_max_bytes", "_send", "_start", "_weak")

    def __init__(
        self,
        send: Send,
        *,
        head: bool,
        if_none_match: list[bytes],
        strength: Literal["weak", "strong"],
        max_bytes: int,
    ) -> None:
        self._send = send
        self._head = head
        self._if_none_match = if_none_match
        self._weak = strength == "weak"
        self._max_bytes = max_bytes
        self._start: Message | None = None
        self._is_over = False

    async def __call__(self, message: Message) -> None:
        if self._is_over:
            return
        kind = message["type"]
        if kind == "http.response.start":
            # A copy: an application may send the same message with every response.
            self._start = dict(message)
            if not self._may_be_tagged(self._start):
                await self._go_on(self._start)
            return
        if self._start is not None and kind == "http.response.body":
            message = self._judged(self._start, message)
        await self.finish()
        await self._send(message)

    async def finish(self) -> None:
        """Sends the start that is still held back, where no body ever came."""
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)

    def _may_be_tagged(self, start: Message) -> bool:
        """Whether the whole body is surely on its way, and short enough."""
        for name, value in start.get("headers", ()):
            if name.lower() == b"content-length":
                return self._head or not value.isdigit() or int(value) <= self._max_bytes
        return False

    async def _go_on(self, start: Message) -> None:
        """Sends the start of a stream; where it has the tag that the client knows, that is all."""
        headers = [(name.lower(), value) for name, value in start.get("headers", ())]
        tag = dict(headers).get(b"etag")
        if tag is not None and _may_be_known(start, headers) and self._is_known(tag):
            self._not_modified(start, headers)
            self._is_over = True
        await self.finish()
        if self._is_over:
            await self._send({"type": "http.response.body", "body": b""})

    def _judged(self, start: Message, body: Message) -> Message:
        """Puts the tag, or 304 instead of 200, into `start`; returns the body message to send."""
        headers = [(name.lower(), value) for name, value in start.get("headers", ())]
        if not _may_be_known(start, headers):
            return body
        tag = dict(headers).get(b"etag")
        if tag is None:
            content = body.get("body", b"")
            if (
                body.get("more_body")
                or len(content) > self._max_bytes
                or (self._head and not content)
                or start.get("trailers")
            ):
                return body
            tag = self._made(content)
            headers.append((b"etag", tag))
            start["headers"] = headers
        if body.get("more_body") or not self._is_known(tag):
            return body
        self._not_modified(start, headers)
        return {"type": "http.response.body", "body": b""}

    def _is_known(self, tag: bytes) -> bool:
        return is_known(self._if_none_match, tag)

    def _not_modified(self, start: Message, headers: list[tuple[bytes, bytes]]) -> None:
        start["status"] = 304
        start["headers"] = [field for field in headers if field[0] not in _OF_BODY]

    def _made(self, content: bytes) -> bytes:
        tag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
        return (f"W/{tag}" if self._weak else tag).encode("ascii")


def _may_be_known(start: Message, headers: list[tuple[bytes, bytes]]) -> bool:
    is_kept = b"no-store" not in dict(headers).get(b"cache-control", b"").lower()
    return bool(start["status"] == 200 and is_kept)
