"""Starlette's CORSMiddleware with the cost taken out of ordinary requests.

In and out as Starlette's: its constructor, its preflights, its judgement of origins. Only the way
the headers get onto an answer is its own: ready bytes appended in one pass, where Starlette scans
and decodes all headers of the answer several times. `Vary` gets `Origin` once, token-wise;
Starlette may say it twice. `public` paths are an option of its own: there every origin may read,
with any header, without credentials, as OAuth metadata wants it that browsers ask for with a
preflight.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from inspect import signature
from typing import Annotated

from pydantic import AfterValidator, Field
from starlette.middleware.cors import CORSMiddleware as StarletteCORSMiddleware
from starlette.types import ASGIApp, Scope

from components.http.paths import PathPattern, app_path, exempts_path
from components.middleware.header_layer import Fields, HeaderLayer, Rule, Step

_ALLOW_ORIGIN = b"access-control-allow-origin"
_REMEMBERED_ORIGINS = 256
_More = Field(json_schema_extra={"looser": "longer"})
_KNOWS_PRIVATE_NETWORK = "allow_private_network" in signature(StarletteCORSMiddleware).parameters
_HOST_END = re.compile(r"[/?#]")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def sendable_origin(text: str) -> str:
    """Give an origin back that a browser may send, `*` and `null` among them.

    Browsers write the scheme, the host in lower case and ASCII, and a port that is not the scheme's
    own (https://html.spec.whatwg.org/multipage/browsers.html#ascii-serialisation-of-an-origin).

    Raises:
        ValueError: nothing sends it, so it would never match.
    """
    if text in ("*", "null"):
        return text
    scheme, separator, rest = text.partition("://")
    if not separator:
        raise ValueError(f"must begin with its scheme, as `https://{text}` does")
    if "*" in text:
        raise ValueError("must have no `*` within, which matches nothing: use `allow_origin_regex`")
    scheme = scheme.lower()
    host = _HOST_END.split(rest, maxsplit=1)[0].rpartition("@")[2].lower()
    host = host.removesuffix(_DEFAULT_PORTS.get(scheme, ":"))
    if not host.isascii():
        name, colon, port = host.partition(":")
        with suppress(UnicodeError):
            host = name.encode("idna").decode() + colon + port
    sent = f"{scheme}://{host}"
    if sent != text or (scheme in _DEFAULT_PORTS and not host):
        raise ValueError(f"must be as browsers send it: `{sent}`, not `{text}`")
    return text


def _regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"takes a regular expression: {error}") from None
    return text


Origin = Annotated[str, AfterValidator(sendable_origin)]
Regex = Annotated[str, AfterValidator(_regex)]


class CORSMiddleware(HeaderLayer, StarletteCORSMiddleware):
    """Answers preflights, and says on other answers which origins may read them."""

    layer_role = "cors"

    def __init__(
        self,
        app: ASGIApp,
        *,
        allow_origins: Annotated[
            Sequence[Origin],
            Field(
                description="origins that may read answers, such as `https://shop.example`, or `*`"
            ),
            _More,
        ] = (),
        allow_methods: Annotated[
            Sequence[str], Field(description="methods besides GET, HEAD and POST, or `*`"), _More
        ] = ("GET",),
        allow_headers: Annotated[
            Sequence[str], Field(description="request headers that scripts may set, or `*`"), _More
        ] = (),
        allow_credentials: Annotated[
            bool,
            Field(
                description="let cookies and Authorization travel",
                json_schema_extra={"looser": "true"},
            ),
        ] = False,
        allow_origin_regex: Annotated[
            Regex | None, Field(description="a pattern that whole origins may match instead"), _More
        ] = None,
        allow_private_network: Annotated[
            bool,
            Field(
                description="let public pages call a private network",
                json_schema_extra={"looser": "true"},
            ),
        ] = False,
        expose_headers: Annotated[
            Sequence[str], Field(description="response headers that scripts may read"), _More
        ] = (),
        max_age: Annotated[
            int,
            Field(ge=0, description="seconds for which a browser keeps the answer to a preflight"),
        ] = 600,
        public: Annotated[
            Sequence[PathPattern],
            Field(
                description="paths such as `/.well-known/*` that every origin may read",
                json_schema_extra={"looser": "longer"},
            ),
        ] = (),
    ) -> None:
        if isinstance(allow_origins, str) or isinstance(allow_methods, str):
            raise TypeError("`allow_origins` and `allow_methods` are lists, not one text")
        if allow_private_network and not _KNOWS_PRIVATE_NETWORK:
            raise ValueError("`allow_private_network` needs Starlette 0.51")
        StarletteCORSMiddleware.__init__(
            self,
            app,
            allow_origins=allow_origins,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
            allow_credentials=allow_credentials,
            allow_origin_regex=allow_origin_regex,
            **({"allow_private_network": True} if allow_private_network else {}),
            expose_headers=expose_headers,
            max_age=max_age,
        )
        self._simple: Fields = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.simple_headers.items()
        ]
        # With credentials `*` is not allowed in the answer: the origin itself stands there.
        self._names_origin = not self.allow_all_origins or self.allow_credentials
        self._unasked = Step(_Granted([]))
        self._granted_to_all = Step(_Granted(self._simple))
        self._granted_to: dict[bytes, Step] = {}
        self._is_public = exempts_path("public", public) if public else None
        self._granted_publicly = Step(_Granted([(_ALLOW_ORIGIN, b"*")]))
        self._for_all = StarletteCORSMiddleware(
            app, allow_origins=["*"], allow_methods=["GET", "HEAD"], allow_headers=["*"]
        )
        self._preflight = Step(app=partial(StarletteCORSMiddleware.__call__, self))
        self._preflight_of_all = Step(app=self._for_all)
        self._join(touches=[b"vary", _ALLOW_ORIGIN, *dict(self._simple)])

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        if b"origin" not in headers:
            return self._unasked
        # Of two the first counts, as in Starlette, whose preflights are ours; `headers` has the last.
        origin = b""
        for name, value in scope["headers"]:  # a generator takes three times as long
            if name == b"origin":
                origin = value
                break
        is_public = self._is_public is not None and self._is_public(app_path(scope))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            return self._preflight_of_all if is_public else self._preflight
        if is_public:
            return self._granted_publicly
        if not self._names_origin:
            return self._granted_to_all
        return self._granted_to.get(origin) or self._judge(origin)

    def _judge(self, origin: bytes) -> Step:
        if not self.is_allowed_origin(origin.decode("latin-1")):
            return self._granted_to_all
        if len(self._granted_to) >= _REMEMBERED_ORIGINS:
            self._granted_to.clear()
        others = [field for field in self._simple if field[0] != _ALLOW_ORIGIN]
        granted = _Granted([*others, (_ALLOW_ORIGIN, origin)])
        step = self._granted_to[origin] = Step(granted)
        return step


class _Granted(Rule):
    """Puts what is granted in place of an answer's own, and `Origin` into its `Vary`."""

    __slots__ = ("_fields", "_names")

    def __init__(self, fields: Fields) -> None:
        self._fields = fields
        self._names = {*dict(fields), b"vary"}

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        vary = b", ".join([value for name, value in fields if name == b"vary"])
        known = {token.strip().lower() for token in vary.split(b",")}
        if not vary:
            vary = b"Origin"
        elif b"origin" not in known and b"*" not in known:
            vary += b", Origin"
        others = [field for field in fields if field[0] not in self._names]
        return [*others, *self._fields, (b"vary", vary)]
