"""What a manifest says of MCP over HTTP -> what a mounted server takes and what it refuses.

In: the public URL, or else the gate's, and what else may be asked for or ask. Out: a resource, the
`HttpTransport`, which several servers share, and whose `guarded` puts its rules before one.
Stateless: a request is one POST, whichever worker or replica it reaches.

Refuses another Host (421), a foreign Origin (403), another method than POST (405), a body that is
too long (413) or a list (400; MCP has no batches, and to say what is wrong with each item of one
would hold the loop for seconds), and, unless `anonymous`, a request that no gate has let pass
(403): a mount that somebody forgot to protect is closed, not open, and so is one for administrators
whose gate lets all users pass. Makes no connection and imports nothing of the SDK.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field, SecretStr
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.mcp.protected import checked_url
from components.middleware.body_limit import BodyLimitMiddleware

_HOST = re.compile(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?:\d{1,5}|\*))?")
_PORT = re.compile(r":\d+$")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_SHORTEST_KEY_BYTES = 32
_BLANKS = b" \t\r\n"  # of JSON (RFC 8259, section 2)
_More = Field(json_schema_extra={"looser": "longer"})


def _url(text: str | None) -> str | None:
    return text if text is None else checked_url("base_url", text)


def _host(text: str) -> str:
    _checked_host(text)
    return text


def _origin(text: str) -> str:
    _checked_origin(text)
    return text


def _key(key: SecretStr) -> SecretStr:
    _checked_keys([key])
    return key


class HttpTransport:
    """The rules of MCP over HTTP for one application.

    Raises:
        ValueError, TypeError: an option is not what it should be.
    """

    def __init__(
        self,
        *,
        base_url: Annotated[
            str | None,
            AfterValidator(_url),
            Field(
                description="the public URL of this application, such as https://a.example; its host "
                "and its origin are allowed; if none, the one that the gate before the mount has"
            ),
        ] = None,
        hosts: Annotated[
            Sequence[Annotated[str, AfterValidator(_host)]],
            _More,
            Field(description="more values of Host; `a.example:*` is that host at any port"),
        ] = (),
        origins: Annotated[
            Sequence[Annotated[str, AfterValidator(_origin)]],
            _More,
            Field(description="more values of Origin, such as `http://localhost:*`"),
        ] = (),
        max_body_bytes: Annotated[
            int,
            Field(ge=1, description="the longest request", json_schema_extra={"looser": "higher"}),
        ] = 1024 * 1024,
        state_keys: Annotated[
            Sequence[Annotated[SecretStr, AfterValidator(_key)]],
            Field(
                description="secrets of 32 bytes or more that all workers and replicas share, so that "
                "a call which asks the user back may go on at another; the first one seals"
            ),
        ] = (),
        streams: Annotated[
            bool,
            Field(
                description="answers may be streams, which carry progress; else each is one JSON text"
            ),
        ] = False,
        anonymous: Annotated[
            bool,
            Field(
                description="serve requests that no gate has let pass",
                json_schema_extra={"looser": "true"},
            ),
        ] = False,
    ) -> None:
        if isinstance(hosts, str) or isinstance(origins, str):
            raise TypeError("`hosts` and `origins` are lists, not one text")
        if max_body_bytes < 1:
            raise ValueError(f"`max_body_bytes` must be at least 1: {max_body_bytes}")
        if anonymous and base_url is None:
            raise ValueError("`anonymous` needs a `base_url`: no gate tells it")
        self.state_keys = _checked_keys(state_keys)
        self.streams = streams
        self.anonymous = anonymous
        self.max_body_bytes = max_body_bytes
        self._hosts = [_checked_host(host) for host in hosts]
        self._origins = [_checked_origin(origin) for origin in origins]
        url = None if base_url is None else checked_url("base_url", base_url)
        self._own = None if url is None else self._allowed_at(url)
        self._known: dict[str, _Allowed] = {}

    def guarded(self, app: ASGIApp, *, for_roles: bool = False) -> ASGIApp:
        """`app` behind these rules; what is no HTTP request passes as it is.

        With `for_roles` only a gate that asks for a role opens it.
        """
        return _Guarded(app, self, for_roles=for_roles)

    def judge(self, scope: Scope, *, for_roles: bool = False) -> None:
        """Raise the refusal of a request that is not to be served."""
        state = scope.get("state", {})
        gate = state.get("protected")
        if for_roles and (gate is None or not gate.asks_for_role):
            raise HTTPException(403, "no gate that asks for a role stands before this mount")
        if (self._own or gate) is None or not (self.anonymous or "principal" in state):
            raise HTTPException(403, "no gate stands before this mount")
        allowed = self._own or self._allowed_by_gate(gate.url)
        hosts = _values(scope, b"host")
        if len(hosts) != 1 or hosts[0] not in allowed.hosts:
            raise HTTPException(421, "this host is not served here")
        if any(origin not in allowed.origins for origin in _values(scope, b"origin")):
            raise HTTPException(403, "this origin may not ask")
        if scope["method"] != "POST":
            raise HTTPException(405, headers={"Allow": "POST"})

    def _allowed_by_gate(self, url: str) -> "_Allowed":
        if url not in self._known:  # there are as many as there are mounts
            self._known[url] = self._allowed_at(url)
        return self._known[url]

    def _allowed_at(self, url: str) -> "_Allowed":
        scheme, _, rest = url.partition("://")
        host = rest.partition("/")[0].lower()
        port = _DEFAULT_PORTS[scheme]  # some clients say it
        own = {host, host.removesuffix(port), host if _PORT.search(host) else host + port}
        return _Allowed(
            _Names([*own, *self._hosts]),
            _Names([*(f"{scheme}://{name}" for name in own), *self._origins]),
        )


@dataclass(frozen=True, slots=True)
class _Allowed:
    hosts: "_Names"
    origins: "_Names"


class _Guarded:
    def __init__(self, app: ASGIApp, transport: HttpTransport, *, for_roles: bool) -> None:
        self.app = app
        self._for_roles = for_roles
        self._limited = BodyLimitMiddleware(_NoLists(app), max_bytes=transport.max_body_bytes)
        self._judge = transport.judge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        self._judge(scope, for_roles=self._for_roles)
        # Some servers leave the blanks after a value there, and the SDK compares (RFC 9110, 5.5).
        headers = [(name, value.strip(b" \t")) for name, value in scope["headers"]]
        await self._limited({**scope, "headers": headers}, receive, send)


class _NoLists:
    """Refuses a body that begins as a list, before anything is parsed."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun: list[Message] = []  # the message that has the first character, and blank ones before
        first, more = b"", True
        while not first and more:
            message = await receive()
            begun.append(message)
            first = message.get("body", b"").lstrip(_BLANKS)[:1]
            more = message.get("more_body", False)
        if first == b"[":
            raise HTTPException(400, "a request is one message: MCP has no batches")

        async def replay() -> Message:
            return begun.pop(0) if begun else await receive()

        await self.app(scope, replay, send)


class _Names:
    """A set of hosts or origins; `:*` at the end of one is any port."""

    def __init__(self, names: Sequence[str]) -> None:
        self._exact = {name for name in names if not name.endswith(":*")}
        self._any_port = {name[:-2] for name in names if name.endswith(":*")}

    def __contains__(self, text: object) -> bool:
        if text in self._exact or text in self._any_port:
            return True
        name, colon, port = str(text).rpartition(":")
        return bool(colon) and name in self._any_port and port.isascii() and port.isdigit()


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1").lower() for key, value in scope["headers"] if key == name]


def _checked_host(host: str) -> str:
    if not _HOST.fullmatch(host.lower()):
        raise ValueError(f"`hosts` has names such as `a.example` or `a.example:*`, not {host!r}")
    return host.lower()


def _checked_origin(origin: str) -> str:
    scheme, separator, host = origin.lower().partition("://")
    if not (separator and re.fullmatch(r"[a-z][a-z0-9+.-]*", scheme) and _HOST.fullmatch(host)):
        raise ValueError(f"`origins` has texts such as `https://a.example`, not {origin!r}")
    return origin.lower()


def _checked_keys(keys: Sequence[SecretStr]) -> tuple[str, ...]:
    # A variable that is not set leaves an empty text.
    texts = [text for key in keys if (text := key.get_secret_value())]
    if any(len(text.encode()) < _SHORTEST_KEY_BYTES for text in texts):
        raise ValueError(f"each of `state_keys` must be of {_SHORTEST_KEY_BYTES} bytes or more")
    if len(set(texts)) != len(texts):
        raise ValueError("`state_keys` has a key twice")
    return tuple(texts)
