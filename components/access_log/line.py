"""The facts of a request -> one line of JSON, all ASCII.

In: facts that were taken from the ASGI scope when the request was over. Out: a text without line
breaks in which every field is bounded, and control, ANSI and bidirectional characters are escaped, so
that no input can forge a line. The path is the route's template; where no route matched, the path
itself. Query strings and headers are never written: they carry secrets.

Facts are taken during the request and written as text when the buffer is flushed, many in a row: that
takes less than half of the time, as the code is then in the processor's caches.
"""

import time
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Any

from starlette.routing import Mount
from starlette.types import Scope

from components.http.routes import matched_route
from components.http.user import user_of

Who = tuple[str, Any, str, str, str | None, str | None, Any, str | None, str | None]
"""Method, route, path, root_path, the outermost root_path, request ID, client, user, traceparent."""

Entry = tuple[Any, ...]
"""Level, function that makes the line of the entry, time, what that function needs, and the `Who`.

One flat tuple, as thousands wait: of three in each other the cache misses cost 1 µs more."""

_NO_STATE: dict[str, Any] = {}
_KEPT_HEADS, _LONGEST_KEPT = 4096, 512


def who(scope: Scope) -> Who:
    """What is known of a request or websocket when it is over; nothing here keeps its scope alive."""
    state: dict[str, Any] = scope.get("state") or _NO_STATE
    request_id, parent = state.get("request_id"), state.get("traceparent")
    user = None
    if "user" in scope or "user" in state:
        user = user_of(scope)
    return (
        scope.get("method", ""),
        matched_route(scope),
        scope["path"],
        scope.get("root_path", ""),
        scope.get("app_root_path"),
        None if request_id is None else str(request_id),
        scope.get("client"),
        user,
        parent if isinstance(parent, str) else None,
    )


class LogLine:
    """Writes lines whose texts are cut at `max_length` characters."""

    __slots__ = ("_heads", "_max_length")

    def __init__(self, *, max_length: int) -> None:
        self._max_length = max_length
        self._heads: dict[tuple[str, str], str] = {}

    def of_request(self, entry: Entry) -> str:
        """The line of an HTTP request: time, status, bytes, seconds, ready JSON, error's name."""
        _, _, now, status, size, seconds, marks, error, method, route, path, *rest = entry
        root_path, outermost, request_id, client, user, parent = rest
        if route is None:
            head = self._head(method, path)
        else:
            # Routes are few, so their part of the line is kept (0.5 µs of 2).
            template = _template(route, path, root_path, outermost)
            head = self._heads.get((method, template), "")
            if not head:
                head = self._kept_head(method, template)
        if error:
            marks = f'{marks},"error":{self._text(error)}'
        return (
            f'{{"time":"{_time(int(now * 1000))}"{head}{status},"bytes":{size}'
            f',"ms":{seconds * 1000:.3f}{self._who(request_id, client, user, parent)}{marks}}}'
        )

    def of_websocket(self, entry: Entry) -> str:
        """The line of a websocket: time, its event, numbers about it or None, error's name."""
        _, _, now, event, numbers, error, _, route, path, root_path, outermost, *rest = entry
        failed = f',"error":{self._text(error)}' if error else ""
        counted = "".join(f',"{name}":{value}' for name, value in (numbers or {}).items())
        return (
            f'{{"time":"{_time(int(now * 1000))}","event":"{event}"'
            f',"path":{self._text(_template(route, path, root_path, outermost))}'
            f"{counted}{self._who(*rest)}{failed}}}"
        )

    def _head(self, method: str, path: str) -> str:
        text = self._text
        return f',"event":"request","method":{text(method)},"path":{text(path)},"status":'

    def _kept_head(self, method: str, template: str) -> str:
        head = self._head(method, template)
        if len(method) + len(template) <= _LONGEST_KEPT:
            if len(self._heads) >= _KEPT_HEADS:  # whoever makes up methods fills it in vain
                self._heads.clear()
            self._heads[(method, template)] = head
        return head

    def _text(self, value: str) -> str:
        if len(value) > self._max_length:
            value = value[: self._max_length - 1] + "…"
        return encode_basestring_ascii(value)

    def _who(
        self, request_id: str | None, client: Any, user: str | None, parent: str | None
    ) -> str:
        text = "" if request_id is None else f',"request_id":{self._text(request_id)}'
        if client:
            text = f'{text},"client":{self._text(str(client[0]))}'
        if user:
            text += f',"user":{self._text(user)}'
        if parent:
            trace, span = self._text(parent[3:35]), self._text(parent[36:52])
            text += f',"trace_id":{trace},"span_id":{span}'
        return text


def _template(route: object, path: str, root_path: str, outermost: str | None) -> str:
    """`/mount/items/{id}` for the route that was taken, else the path that was asked for."""
    template = getattr(route, "path", None)
    if not isinstance(template, str) or isinstance(route, Mount):
        return path  # what is inside a mount, and is no route, has no template
    # A mount has moved its own path to the root_path; its root is that path.
    front = "" if outermost is None else root_path[len(outermost) :]
    return front if front and template == "/" else front + template


@lru_cache(maxsize=2)  # under load many requests end in the same millisecond
def _time(milliseconds: int) -> str:
    second, rest = divmod(milliseconds, 1000)
    return f"{_second(second)}.{rest:03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
