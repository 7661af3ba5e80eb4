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

Who = tuple[str, Any, str, str, str | None, str | None, Any, str | None, str | None]
"""Method, route, path, root_path, the outermost root_path, request ID, client, user, traceparent."""

_NO_STATE: dict[str, Any] = {}


def who(scope: Scope) -> Who:
    """What is known of a request or websocket when it is over; nothing here keeps its scope alive."""
    state: dict[str, Any] = scope.get("state") or _NO_STATE
    route = scope.get("route")
    # Below `include_router` FastAPI leaves the route as it was declared, without the prefixes; its
    # own context of the request knows the whole.
    if (fastapi := scope.get("fastapi")) is not None:
        context = fastapi.get("effective_route_context")
        if context is not None and getattr(context, "original_route", None) is route:
            route = context
    request_id, parent = state.get("request_id"), state.get("traceparent")
    user = None
    if "user" in scope or "user" in state:
        user = _user_name(scope.get("user")) or _user_name(state.get("user"))
    return (
        scope.get("method", ""),
        route,
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

    __slots__ = ("_max_length",)

    def __init__(self, *, max_length: int) -> None:
        self._max_length = max_length

    def of_request(
        self,
        now: float,
        about: Who,
        status: int,
        size: int,
        seconds: float,
        marks: str = "",
        error: str | None = None,
    ) -> str:
        """The line of an HTTP request; `now` in seconds since 1970, `marks` as ready JSON."""
        text = self._text
        path = about[2] if about[1] is None else path_template(about)
        if error:
            marks = f'{marks},"error":{text(error)}'
        return (
            f'{{"time":"{_time(now)}","event":"request","method":{text(about[0])}'
            f',"path":{text(path)},"status":{status},"bytes":{size}'
            f',"ms":{seconds * 1000:.3f}{self._who(about)}{marks}}}'
        )

    def of_websocket(
        self,
        now: float,
        about: Who,
        event: str,
        numbers: dict[str, float] | None = None,
        error: str | None = None,
    ) -> str:
        """The line of a websocket's `event`."""
        failed = f',"error":{self._text(error)}' if error else ""
        counted = "".join(f',"{name}":{value}' for name, value in (numbers or {}).items())
        return (
            f'{{"time":"{_time(now)}","event":"{event}","path":{self._text(path_template(about))}'
            f"{counted}{self._who(about)}{failed}}}"
        )

    def _text(self, value: str) -> str:
        if len(value) > self._max_length:
            value = value[: self._max_length - 1] + "…"
        return encode_basestring_ascii(value)

    def _who(self, about: Who) -> str:
        request_id, client, user, parent = about[5:]
        text = "" if request_id is None else f',"request_id":{self._text(request_id)}'
        if client:
            text = f'{text},"client":{self._text(str(client[0]))}'
        if user:
            text += f',"user":{self._text(user)}'
        if parent:
            trace, span = self._text(parent[3:35]), self._text(parent[36:52])
            text += f',"trace_id":{trace},"span_id":{span}'
        return text


def path_template(about: Who) -> str:
    """`/mount/items/{id}` for the route that was taken, else the path that was asked for."""
    _, route, path, root_path, outermost, *_ = about
    template = getattr(route, "path", None)
    if not isinstance(template, str) or isinstance(route, Mount):
        return path  # what is inside a mount, and is no route, has no template
    # A mount has moved its own path to the root_path.
    return template if outermost is None else root_path[len(outermost) :] + template


def _user_name(user: Any) -> str | None:
    if user is None or isinstance(user, str | int):
        return str(user) if user else None
    for name in ("display_name", "username", "id"):
        try:
            value = getattr(user, name, None)
        except Exception:  # noqa: BLE001 - a user's class may do anything; its line is still written
            return None
        if value:
            return str(value)
    return None


def _time(now: float) -> str:
    second = int(now)
    return f"{_second(second)}.{int((now - second) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
