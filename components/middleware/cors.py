"""Starlette's CORSMiddleware with the cost taken out of ordinary requests.

In and out as Starlette's: its constructor, its preflights, its judgement of origins. Only the way the
headers get onto an answer is its own: ready bytes appended in one pass, where Starlette scans and
decodes all headers of the answer several times. `Vary` gets `Origin` once, token-wise; Starlette may say it twice.
"""

from collections.abc import Awaitable, Iterable, Sequence
from functools import lru_cache
from typing import Annotated

from pydantic import Field
from starlette.middleware.cors import CORSMiddleware as StarletteCORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_Fields = list[tuple[bytes, bytes]]
_More = Field(json_schema_extra={"looser": "longer"})


class CORSMiddleware(StarletteCORSMiddleware):
    """Answers preflights, and says on other answers which origins may read them."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        allow_origins: Annotated[Sequence[str], _More] = (),
        allow_methods: Annotated[Sequence[str], _More] = ("GET",),
        allow_headers: Annotated[Sequence[str], _More] = (),
        allow_credentials: Annotated[bool, Field(json_schema_extra={"looser": "true"})] = False,
        allow_origin_regex: str | None = None,
        allow_private_network: Annotated[bool, Field(json_schema_extra={"looser": "true"})] = False,
        expose_headers: Annotated[Sequence[str], _More] = (),
        max_age: Annotated[int, Field(ge=0, description="seconds")] = 600,
    ) -> None:
        if isinstance(allow_origins, str) or isinstance(allow_methods, str):
            raise TypeError("`allow_origins` and `allow_methods` are lists, not one text")
        super().__init__(
            app,
            allow_origins=allow_origins,
            allow_methods=allow_methods,
            allow_headers=allow_headers,
            allow_credentials=allow_credentials,
            allow_origin_regex=allow_origin_regex,
            allow_private_network=allow_private_network,
            expose_headers=expose_headers,
            max_age=max_age,
        )
        self._simple: _Fields = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.simple_headers.items()
        ]
        # With credentials `*` is not allowed in the answer: the origin itself stands there.
        self._names_origin = not self.allow_all_origins or self.allow_credentials

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        if (
            origin is not None
            and scope["method"] == "OPTIONS"
            and b"access-control-request-method" in headers
        ):
            await super().__call__(scope, receive, send)
            return
        fields = [] if origin is None else self._granted(origin)

        def send_granted(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = _with_vary(message.get("headers", ()), fields)
            return send(message)

        await self.app(scope, receive, send_granted)

    def _granted(self, origin: bytes) -> _Fields:
        if self._names_origin and self.is_allowed_origin(origin.decode("latin-1")):
            named = (b"access-control-allow-origin", origin)
            return [field for field in self._simple if field[0] != named[0]] + [named]
        return self._simple


def _with_vary(headers: Iterable[tuple[bytes, bytes]], granted: _Fields) -> _Fields:
    """The answer's headers, with those that are granted in place of its own."""
    fields = list(headers)
    present = dict(fields)
    if len(present) < len(fields) or not present.keys().isdisjoint(dict(granted)):
        names = dict(granted)
        fields = [field for field in fields if field[0] not in names]
        values = [value for name, value in fields if name == b"vary"]
        fields = [field for field in fields if field[0] != b"vary"] + granted
        return [*fields, (b"vary", _varied(b", ".join(values)))] 
    vary = present.get(b"vary")
    if vary is None:
        return [*fields, *granted, (b"vary", b"Origin")]
    fields[fields.index((b"vary", vary))] = (b"vary", _varied(vary))
    return fields + granted


@lru_cache(maxsize=64)
def _varied(vary: bytes) -> bytes:
    known = {token.strip().lower() for token in vary.split(b",")} - {b""}
    if b"origin" in known or b"*" in known:
        return vary
    return vary + b", Origin" if known else b"Origin"
