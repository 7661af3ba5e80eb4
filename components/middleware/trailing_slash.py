"""A request for `/items/` -> the same request for `/items`, without a redirect.

In: `path` and `raw_path` of HTTP and websocket scopes. Out: both without the slashes at their end, in
the same scope, so that what stands further out still sees the route. Left alone: the root, the given
prefixes with all beneath them, and an encoded slash (`%2F`), which is part of a segment. No `Location`
is ever made of the path, so `//evil.example/` cannot lead anywhere; a router further in that makes one
of the request's own URL, and so of whatever its `Host` says, has its scheme and host taken out.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Annotated, Any
from urllib.parse import quote, unquote

from pydantic import AfterValidator, Field
from starlette.datastructures import URL
from starlette.routing import Host, Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.openapi import Offer
from components.http.paths import app_path
from components.middleware.header_layer import NOTHING, Fields, HeaderLayer, Rule, Step

_MOST_LOOKED_AT = (
    256  # layers, and what functions have closed over, between this one and the router
)
_MOST_LEARNED = 1024
_KEPT_BY_REDIRECTS = ":/%#?=@[]!$&'()*+,;"  # of Starlette's RedirectResponse


def _prefix(text: str) -> str:
    if not text.startswith("/") or not text.strip("/") or "*" in text:
        raise ValueError(f"`exempt` is not a path prefix such as `/mcp`: {text!r}")
    return text


PathPrefix = Annotated[str, AfterValidator(_prefix)]


class StripTrailingSlashMiddleware(HeaderLayer):
    """Lets routes that are declared without a slash at the end answer with one too.

    A route that exists only with the slash, and a mount's root, answer too: the router further in is
    asked which form of the path it has. Redirects to the host that was asked keep their path alone,
    as a client may name any host.

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
            Sequence[PathPrefix],
            Field(description="prefixes such as `/mcp` that keep their slashes, with all beneath"),
        ] = (),
    ) -> None:
        if isinstance(exempt, str):
            raise TypeError("`exempt` is a list of path prefixes, not one text")
        for prefix in exempt:
            _prefix(prefix)
        self.app = app
        self._router = _router_in(app)
        self._slashed: set[str] = set()
        self._exempt = tuple(prefix.rstrip("/") + "/" for prefix in exempt)
        self._join(touches=(b"location",))

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The other path at which a route answers."""
        if path.endswith("/") or f"{path}/".startswith(self._exempt):
            return None
        return {"x-also-at": [f"{path}/"]}

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        if scope["path"].endswith("/") and (stripped := self._stripped(scope)):
            return Step(app=partial(self._without, stripped))
        return _KEEP_HOST_OUT if scope["type"] == "http" else NOTHING

    async def _without(
        self, stripped: dict[str, Any], scope: Scope, receive: Receive, send: Send
    ) -> None:
        path = scope["path"]
        if not self._is_served_with_slash(scope, stripped):
            scope.update(stripped)
        if scope["type"] == "websocket":
            await self.app(scope, receive, send)
            return

        async def send_with_path_alone(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = _PATH_ALONE.edit(message.get("headers", ()), message["status"], scope)
                message = {**message, "headers": fields}
                if message["status"] in (307, 308) and scope["path"] != path:
                    self._learn(path, fields)
            await send(message)

        await self.app(scope, receive, send_with_path_alone)

    def _is_served_with_slash(self, scope: Scope, stripped: dict[str, Any]) -> bool:
        router = self._router
        if router is None and scope.get("app_root_path") is None:
            router = scope.get("app")  # something between hides it
        if router is None:
            return scope["path"] in self._slashed
        return _wants_slash(router.routes, dict(scope), {**scope, **stripped})

    def _learn(self, path: str, fields: Fields) -> None:
        """Note that a router which cannot be asked sends back to the slash: the client comes again."""
        located = [
            unquote(value.decode("latin-1").partition("?")[0])
            for name, value in fields
            if name.lower() == b"location"
        ]
        if located == [path]:
            if len(self._slashed) >= _MOST_LEARNED:
                self._slashed.clear()
            self._slashed.add(path)

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


def _wants_slash(routes: Iterable[Any], came: Scope, stripped: Scope) -> bool:
    """Whether a router with these routes would serve the path as it came, and not without its slash.

    The first route that takes either form decides, as if each had been declared with a slash that may
    be left out. What has no routes to ask, such as a folder of files, is given what came, and so is
    a router without a route for either: neither can then lead round and round.
    """
    by_method = None
    for route in _flat(routes):
        (match, child), (bare_match, bare_child) = route.matches(came), route.matches(stripped)
        if Match.FULL not in (match, bare_match):
            if by_method is None and Match.PARTIAL in (match, bare_match):
                by_method = bare_match is not Match.PARTIAL
            continue
        place = getattr(route, "starlette_route", None) or route
        if bare_match is not Match.FULL or not isinstance(place, Mount | Host):
            return bare_match is not Match.FULL
        inner = _router_in(place.app)
        if inner is None or match is not Match.FULL:
            return inner is None
        return _wants_slash(inner.routes, {**came, **child}, {**stripped, **bare_child})
    return by_method is not False


def _flat(routes: Iterable[Any]) -> Iterator[Any]:
    """Routes, and those that FastAPI (0.140 and later) has included as one."""
    for route in routes:
        included = getattr(route, "effective_route_contexts", None)
        if included is None:
            yield route
        else:
            yield from included()


def _router_in(app: Any) -> Any:
    """The nearest application within a stack that has routes, or None where none can be seen."""
    waiting: list[Any] = [app]
    seen: dict[int, Any] = {}
    while waiting and len(seen) < _MOST_LOOKED_AT:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(getattr(each, "routes", None), Sequence):
            return each
        waiting += reversed(list(_inner(each)))
    return None


def _inner(app: Any) -> Iterator[Any]:
    """What an application may hand requests on to: its `app`, or what a function has closed over."""
    yield getattr(app, "app", None)
    for cell in getattr(app, "__closure__", None) or ():
        with suppress(ValueError):  # an empty cell
            if callable(cell.cell_contents):
                yield cell.cell_contents
