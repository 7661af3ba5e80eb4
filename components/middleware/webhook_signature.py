"""A webhook call -> the same call, if its sender signed it a moment ago.

In: HTTP requests to the given paths, with a Unix time and the HMAC-SHA256 (in hex) of that time, a dot
and the body, in a header each. Out: the request with its whole body in one message; 403 for a
signature that is missing, wrong or too old, 413 for a body that is too long to be kept. A websocket to
one of the paths is refused before it is accepted: what it will carry cannot be signed. The same call
may come again within the window: what a call does must bear that.
"""

import hmac
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Annotated

from pydantic import Field, SecretStr
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.headers import HeaderName, header_name
from components.http.openapi import Offer, refusals, secured, together
from components.http.paths import RequestPattern, app_path, guards, reach
from components.http.user import note_opened
from components.middleware.body_limit import declared_bytes

_UNSIGNED = "the signature or its time is missing"
_MOST_DIGITS = 12  # of a time; more are milliseconds, or no time at all


class WebhookSignatureMiddleware:
    """Lets only calls pass that one of `secrets` signed within the last `window`.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "signature"

    def __init__(
        self,
        app: ASGIApp,
        *,
        secrets: Annotated[
            Sequence[Annotated[str | SecretStr, Field(min_length=1)]],
            Field(
                min_length=1,
                description="any of them may sign, so that they can be changed",
                json_schema_extra={"looser": "longer"},
            ),
        ],
        paths: Annotated[
            Sequence[RequestPattern],
            Field(
                min_length=1,
                description="what is guarded, such as `POST /hooks/*`",
                json_schema_extra={"looser": "shorter"},
            ),
        ],
        signature_header: Annotated[
            HeaderName, Field(description="the signature, in hex")
        ] = "X-Webhook-Signature",
        timestamp_header: Annotated[
            HeaderName, Field(description="seconds since 1970")
        ] = "X-Webhook-Timestamp",
        window: Annotated[
            timedelta,
            Field(
                gt=timedelta(0),
                description="how far the time may be from ours, either way",
                json_schema_extra={"looser": "higher"},
            ),
        ] = timedelta(minutes=5),
        max_bytes: Annotated[
            int,
            Field(ge=0, description="the longest body", json_schema_extra={"looser": "higher"}),
        ] = 1_048_576,
        body: BodyOption = "accept",
        clock: Annotated[
            Callable[[], float], Field(description="gives seconds since 1970, for tests")
        ] = time.time,
    ) -> None:
        if isinstance(secrets, str) or isinstance(paths, str):
            raise TypeError("`secrets` and `paths` are lists, not one text")
        if not secrets or not paths:
            raise ValueError("`secrets` and `paths` must not be empty")
        if window <= timedelta(0) or max_bytes < 0:
            raise ValueError("`window` must be more than nothing, `max_bytes` not negative")
        texts = [
            item.get_secret_value() if isinstance(item, SecretStr) else item for item in secrets
        ]
        if not all(texts):
            raise ValueError("an empty secret would let anyone sign")
        self.app = app
        self._secrets = [text.encode() for text in texts]
        self._guards = guards("paths", paths)
        self._patterns = tuple(paths)
        self._shown_names = signature_header, timestamp_header
        self._names = (
            header_name("signature_header", signature_header),
            header_name("timestamp_header", timestamp_header),
        )
        self._window_seconds = window.total_seconds()
        self._max_bytes = max_bytes
        text = f"the body is longer than {max_bytes} bytes"
        self._too_long = Fault(413, "body_too_large", text)
        self._body = valid_shape(body)
        self._clock = clock

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The signature that is asked for on a route, and the refusals."""
        reached = reach("paths", self._patterns, method, path)
        if reached == "none":
            return None
        signature, timestamp = self._shown_names
        about = f"HMAC-SHA256, in hex, of the time in `{timestamp}`, a dot and the body"
        scheme = {"type": "apiKey", "in": "header", "name": signature, "description": about}
        time_parameter = {
            "name": timestamp,
            "in": "header",
            "required": reached == "all",
            "description": "Seconds since 1970 when the call was signed",
            "schema": {"type": "string", "pattern": "^[0-9]{1,12}$"},
        }
        limits = {413: [{"bytes": self._max_bytes}]}
        return together(
            refusals(self._body, _invalid(_UNSIGNED).fault, self._too_long, limits=limits),
            secured("webhook_signature", scheme, is_needed=reached == "all"),
            {"parameters": [time_parameter]},
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._guarded(scope):
            await self.app(scope, receive, send)
            return
        try:
            content = await self._verified(scope, receive)
        except _RefusedError as refused:
            answer = ErrorResponse(refused.fault, scope, body=self._body)
            await answer(scope, receive, send)
            return
        if content is None:
            return  # the client has gone, so there is nobody to answer
        note_opened(scope)
        replayed = False

        async def receive_again() -> Message:
            nonlocal replayed
            if replayed:
                return await receive()
            replayed = True
            return {"type": "http.request", "body": content, "more_body": False}

        await self.app(scope, receive_again, send)

    def _guarded(self, scope: Scope) -> bool:
        return self._guards(scope.get("method", "GET"), app_path(scope))

    async def _verified(self, scope: Scope, receive: Receive) -> bytes | None:
        """The body, if it is signed; what can be refused without it is not read."""
        if scope["type"] == "websocket":
            raise _invalid("a websocket cannot be signed")
        signature, timestamp = (_only(scope, name) for name in self._names)
        if signature is None or timestamp is None:
            raise _invalid(_UNSIGNED)
        if (
            not timestamp.isdigit()
            or len(timestamp) > _MOST_DIGITS
            or abs(self._clock() - int(timestamp)) > self._window_seconds
        ):
            raise _invalid("the time of the signature is too far from ours")
        content = await self._read(scope, receive)
        if content is not None and not self._is_signed(timestamp + b"." + content, signature):
            raise _invalid("the signature does not match")
        return content

    async def _read(self, scope: Scope, receive: Receive) -> bytes | None:
        size, content = declared_bytes(scope), bytearray()
        while size <= self._max_bytes:
            message = await receive()
            if message["type"] != "http.request":
                return None
            content += message.get("body", b"")
            size = len(content)
            if size <= self._max_bytes and not message.get("more_body", False):
                return bytes(content)
        raise _RefusedError(self._too_long)

    def _is_signed(self, content: bytes, signature: bytes) -> bool:
        """Every secret is tried, whichever matches."""
        given = signature.lower()
        matches = [
            hmac.compare_digest(hmac.new(secret, content, "sha256").hexdigest().encode(), given)
            for secret in self._secrets
        ]
        return any(matches)


class _RefusedError(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def _invalid(message: str) -> _RefusedError:
    return _RefusedError(Fault(403, "invalid_signature", message))


def _only(scope: Scope, wanted: bytes) -> bytes | None:
    """The value of a header that was given once."""
    values = [value for name, value in scope["headers"] if name == wanted]
    return values[0] if len(values) == 1 else None
