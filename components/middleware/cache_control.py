"""A response -> the same response with the `Cache-Control` that its path and its request call for.

In: rules by method and path, the first that matches wins. Out, on successful answers (2xx and 304)
without a `Cache-Control` of their own: the rule's text, a CDN's header (RFC 9213), and `Vary`
completed; `private, no-store` for requests with `Authorization` or a session cookie and for answers
that set a cookie. Optionally an ETag, and 304 where the client has that (see `entity_tag`).
Refuses rules that are not `METHOD /path` and texts that could split a response.
"""

import re
from collections.abc import Awaitable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.etag import ConditionalSend
from components.http.headers import HeaderName, HeaderValue, header_name, header_value
from components.http.openapi import Offer
from components.http.paths import (
    PathTest,
    RequestPattern,
    app_path,
    exempts_path,
    guards,
    means_route,
)
from components.http.user import is_personal
from components.middleware.header_layer import NOTHING, Fields, HeaderLayer, Rule, Step

_NOT_FOR_ALL = re.compile(r"(?i)\b(?:private|no-store)\b")
_REMEMBERED_PATHS, _LONGEST_REMEMBERED = 4096, 256
_DECISIVE = frozenset({b"cache-control", b"set-cookie", b"vary"})


class CacheRule(BaseModel):
    """What answers to some requests may be cached for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: RequestPattern = Field(
        description="`GET /public/*`; without a method it is GET, which is HEAD too"
    )
    cache: HeaderValue = Field(description="the text of `Cache-Control`")
    cdn: HeaderValue | None = Field(default=None, description="the text of the CDN's header")


class CacheControlMiddleware(HeaderLayer):
    """Says of each answer who may keep it, and for how long.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "cache"

    decides_late = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        rules: Annotated[
            Sequence[CacheRule], Field(description="the first that matches wins")
        ] = (),
        private: Annotated[
            HeaderValue, Field(description="`Cache-Control` of what belongs to one user")
        ] = "private, no-store",
        session_cookies: Annotated[
            Sequence[str],
            Field(
                description="cookies that make a request belong to a user",
                json_schema_extra={"looser": "shorter"},
            ),
        ] = ("session",),
        cdn_header: Annotated[
            HeaderName,
            Field(description="the header of a rule's `cdn`, such as `Surrogate-Control`"),
        ] = "CDN-Cache-Control",
        vary: Annotated[
            Sequence[HeaderName] | None,
            Field(
                description="what an answer by a rule depends on; by default on what would make it "
                "private: `Authorization`, and `Cookie` where session cookies are named"
            ),
        ] = None,
        etag: Annotated[
            Literal["weak", "strong"] | None,
            Field(
                description="make ETags and answer 304; `strong` only where nothing further out "
                "changes bodies, as GZip does"
            ),
        ] = None,
        etag_max_bytes: Annotated[
            int, Field(ge=0, description="the longest body that is hashed")
        ] = 1_048_576,
    ) -> None:
        if etag not in (None, "weak", "strong"):
            raise ValueError(f"`etag` is `weak`, `strong` or nothing, not {etag!r}")
        if etag_max_bytes < 0:
            raise ValueError(f"`etag_max_bytes` must not be negative: {etag_max_bytes}")
        if isinstance(session_cookies, str) or isinstance(vary, str):
            raise TypeError("`session_cookies` and `vary` are lists, not one text")
        self.app = app
        self._cookies = frozenset(name.encode("latin-1") for name in session_cookies)
        if vary is None:
            vary = ["Authorization", "Cookie"] if self._cookies else ["Authorization"]
        self._private = _Governed([(b"cache-control", header_value("private", private))])
        self._rules = _by_method(rules, header_name("cdn_header", cdn_header), vary, self._private)
        self._remembered: dict[tuple[str, str], _Governed | None] = {}
        self._etag = etag
        self._etag_max_bytes = etag_max_bytes
        self._join(touches=_DECISIVE)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The headers of successful answers of a route, and 304 where ETags are made."""
        governed = (
            policy for meant, policy in self._rules.get(method, ()) if means_route(meant, path)
        )
        policy = next(governed, self._private)
        headers: dict[str, Any] = {
            name.decode().title(): {
                "schema": {"type": "string"},
                "example": value.decode("latin-1"),
            }
            for name, value in policy.fields
        }
        headers["Cache-Control"]["description"] = "Who may keep the answer, and for how long"
        if policy.vary:
            headers["Vary"] = {"schema": {"type": "string"}}
        if self._etag is None or method not in ("GET", "HEAD"):
            return {"headers": {"2XX": headers}}
        text = {"schema": {"type": "string"}}
        tag = {"ETag": {"description": "What the answer is, in short", **text}}
        asked = {
            "name": "If-None-Match",
            "in": "header",
            "description": "The ETag of what you have",
        }
        return {
            "headers": {"2XX": {**headers, **tag}},
            "responses": {"304": {"description": "You have it", "headers": {**headers, **tag}}},
            "parameters": [{**asked, **text}],
        }

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        policy = self._policy(scope, headers)
        if self._etag is not None and scope["method"] in ("GET", "HEAD"):
            return Step(app=partial(self._conditional, self._etag, policy))
        return NOTHING if policy is None else policy.step

    async def _conditional(
        self,
        strength: Literal["weak", "strong"],
        policy: "_Governed | None",
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        conditional = ConditionalSend(
            send,
            head=scope["method"] == "HEAD",
            if_none_match=[value for name, value in scope["headers"] if name == b"if-none-match"],
            strength=strength,
            max_bytes=self._etag_max_bytes,
        )

        def send_governed(message: Message) -> Awaitable[None]:
            if policy is not None and message["type"] == "http.response.start":
                fields = list(message.get("headers", ()))
                fields = policy.at(scope).edit(fields, message["status"], scope)
                message = {**message, "headers": fields}
            return conditional(message)

        await self.app(scope, receive, send_governed)
        await conditional.finish()

    def _policy(self, scope: Scope, headers: dict[bytes, bytes]) -> "_Governed | None":
        if b"authorization" in headers or (b"cookie" in headers and self._has_session(scope)):
            return self._private
        path = app_path(scope) if scope.get("root_path") else scope["path"]
        request = (scope["method"], path)
        try:
            return self._remembered[request]
        except KeyError:
            return self._choose(request)

    def _choose(self, request: tuple[str, str]) -> "_Governed | None":
        method, path = request
        rules = self._rules.get(method, ())
        found = next((policy for is_meant, policy in rules if is_meant(path)), None)
        if len(method) + len(path) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _REMEMBERED_PATHS:
                self._remembered.clear()
            self._remembered[request] = found
        return found

    def _has_session(self, scope: Scope) -> bool:
        return any(
            cookie.partition(b"=")[0].strip() in self._cookies
            for name, value in scope["headers"]
            if name == b"cookie"
            for cookie in value.split(b";")
        )


class _Governed(Rule):
    """The fields of a rule, and what they make an answer depend on, for successful answers.

    What a guard of the stack opened, or was asked by somebody who is known, is private: that is told
    by the scope when the answer begins, as guards may stand further in.
    """

    __slots__ = ("_private", "fields", "step", "vary")

    def __init__(
        self, fields: Fields, vary: bytes = b"", private: "_Governed | None" = None
    ) -> None:
        self.fields = fields
        self.vary = vary
        self._private = private or self
        self.step = Step(self)

    def at(self, scope: Scope) -> "_Governed":
        return self._private if is_personal(scope) else self

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        if not (200 <= status < 300 or status == 304):
            return fields
        policy = self
        vary = []
        for name, value in fields:
            if (lower := name.lower()) not in _DECISIVE:
                continue
            if lower == b"cache-control":
                return fields
            if lower == b"set-cookie":
                policy = self._private
            else:
                vary.append(value)
        if not policy.vary:
            return fields + policy.fields
        if vary:
            fields = [field for field in fields if field[0].lower() != b"vary"]
        return [*fields, (b"vary", _joined(vary, policy.vary)), *policy.fields]


def _by_method(
    rules: Sequence[CacheRule | Mapping[str, object]],
    cdn: bytes,
    vary: Sequence[str],
    private: _Governed,
) -> dict[str, list[tuple[PathTest, _Governed]]]:
    dependencies = ", ".join(header_name("vary", name).decode().title() for name in vary)
    found: dict[str, list[tuple[PathTest, _Governed]]] = {}
    for given in rules:
        rule = CacheRule.model_validate(given)
        method, _, path = rule.match.strip().rpartition(" ")
        method = method.strip().upper() or "GET"
        if not method.isalpha():
            raise ValueError(
                f"`match` is not a method and a path, such as `GET /x`: {rule.match!r}"
            )
        fields = [(b"cache-control", header_value("cache", rule.cache))]
        if rule.cdn is not None:
            fields.append((cdn, header_value("cdn", rule.cdn)))
        entry = (_path_test(path, rule.cache), _Governed(fields, dependencies.encode(), private))
        for each in ("GET", "HEAD") if method == "GET" else (method,):
            found.setdefault(each, []).append(entry)
    return found


def _path_test(path: str, cache: str) -> PathTest:
    """What may be kept by all must be meant by every reading of a path, what must not, by any."""
    is_public = exempts_path("match", [path])
    if not _NOT_FOR_ALL.search(cache):
        return is_public
    is_guarded = guards("match", [path])
    return lambda path: is_guarded("GET", path)


def _joined(present: list[bytes], added: bytes) -> bytes:
    """One `Vary` of all: `*` says everything, and names do not care for case."""
    text = b", ".join(present)
    known = {token.strip().lower() for token in text.split(b",")}
    if b"*" in known:
        return text
    new = [token for token in added.split(b", ") if token.lower() not in known]
    return b", ".join([text, *new] if text else new)
