"""A request for `/items/` -> the same request for `/items`, without a redirect.

In: `path` and `raw_path` of HTTP and websocket scopes. Out: both without the slashes at their end, in
the same scope, so that what stands further out still sees the route. Left alone: the root, the given
prefixes with all beneath them, and an encoded slash (`%2F`), which is part of a segment. No `Location`
is ever made of the path, so `//evil.example/` cannot lead anywhere; a router further in that makes one
of the request's own URL, and so of whatever its `Host` says, has its scheme and host taken out.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, unquote

from pydantic import Field
from starlette.datastructures import URL
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.paths import app_path
from components.middleware.header_layer import NOTHING, Fields, HeaderLayer, Rule, Step

_KEPT_BY_REDIRECTS = ":/%#?=@[]!$&'()*+,;"  # of Starlette's RedirectResponse


class StripTrailingSlashMiddleware(HeaderLayer):
    """Lets routes that are declared without a slash at the end answer with one too.

    A route that exists only with the slash, and a mount's root, answer too: their router would
    redirect the stripped path to the very path that came, round and round, so the request is then
    given to the application a second time, as it came. Other redirects to the host that was asked
    keep their path alone, as a client may name any host.

    Raises:
        TypeError, ValueError: `exempt` is not a list of paths.
    """

    layer_role = "slash"

    on_websockets = True
    reads_headers = False

    def __init__(
        self,
        app: ASGIApp,
        *,
        exempt: Annotated[
            Sequence[str],
            Field(description="prefixes such as `/mcp` that keep their slashes, with all beneath"),
        ] = (),
    ) -> None:
        if isinstance(exempt, str):
            raise TypeError("`exempt` is a list of path prefixes, not one text")
        for prefix in exempt:
            if not prefix.startswith("/") or not prefix.strip("/") or "*" in prefix:
                raise ValueError(f"`exempt` is not a path prefix such as `/mcp`: {prefix!r}")
        self.app = app
        self._exempt = tuple(prefix.rstrip("/") + "/" for prefix in exempt)
        self._join(touches=(b"location",))

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        if scope["path"].endswith("/") and (stripped := self._stripped(scope)):
            return Step(app=partial(self._without, stripped))
        return _KEEP_HOST_OUT if scope["type"] == "http" else NOTHING

    async def _without(
        self, stripped: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        came = dict(scope)
        scope.update(stripped)
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return
        turned_back = False

        async def send_unless_turned_back(message: Message) -> None:
            nonlocal turned_back
            if message["type"] == "http.response.start" and _leads_to(message, came["path"]):
                turned_back = True
            if not turned_back:
                await send(_with_path_alone(message, came))

        await self.app(scope, receive, send_unless_turned_back)
        if turned_back:
            # All of it: a mount that was entered has left its root_path.
            scope.clear()
            scope.update(came)

            async def send_again(message: Message) -> None:
                await send(_with_path_alone(message, came))

            await self.app(scope, receive, send_again)

    def _stripped(self, scope: Scope) -> dict[str, Any]:
        """What changes in the scope; nothing for a path that keeps its slashes."""
        path = app_path(scope)
        if path == "/" or path.startswith(self._exempt):
            return {}
        raw: bytes | None = scope.get("raw_path")
        end = path if raw is None else raw.decode("latin-1")
        count = len(end) - len(end.rstrip("/"))
        # What is all slashes is the root, written carelessly.
        count = min(count, len(path) - (0 if path.strip("/") else 1))
        if count < 1 or not path.endswith("/" * count):
            return {}
        changed: dict[str, Any] = {"path": scope["path"][:-count]}
        if raw is not None:
            changed["raw_path"] = raw[:-count]
        return changed


class _PathAlone(Rule):
    """A `Location` at the host that the request names -> its path and query."""

    __slots__ = ()

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        return [
            (name, _without_host(value, scope)) if name.lower() == b"location" else (name, value)
            for name, value in fields
        ]


_PATH_ALONE = _PathAlone()
_KEEP_HOST_OUT = Step(_PATH_ALONE)


def _with_path_alone(message: Message, scope: Scope) -> Message:
    if message["type"] != "http.response.start":
        return message
    fields = _PATH_ALONE.edit(message.get("headers", ()), message["status"], scope)
    return {**message, "headers": fields}


def _without_host(location: bytes, scope: Scope) -> bytes:
    asked = {
        "scheme": scope.get("scheme", "http"),
        "server": scope.get("server"),
        "headers": scope["headers"],
    }
    base = str(URL(scope={**asked, "path": "/"})).removesuffix("/")
    text = location.decode("latin-1")
    for prefix in (base, quote(base, safe=_KEPT_BY_REDIRECTS)):
        if prefix and text.startswith(f"{prefix}/"):
            # One slash: what follows two would be a host again.
            path = text[len(prefix) :].lstrip("/\\")
            return f"/{path}".encode("latin-1")
    return location


def _leads_to(message: Message, path: str) -> bool:
    """Whether this answer is a router's redirect to `path`."""
    if message["status"] not in (307, 308):
        return False
    for name, value in message.get("headers", ()):
        if name.lower() == b"location":
            # Only the path counts: all between `//` and the next slash is the host.
            _, _, rest = value.decode("latin-1").partition("?")[0].partition("//")
            return unquote("/" + rest.partition("/")[2]) == path
    return False
