"""A fault, as a client may know it -> the answer on the wire, in one shape everywhere.

In: a `Fault` and the scope of its request. Out: a response `{"error": {"code", "message",
"details"}}`, or RFC 9457's `application/problem+json` where the client asks for it; a websocket is
refused with the same answer while that is possible, and closed with a code after that.
What JSON or HTTP cannot carry (NaN, lone surrogates, cycles, line breaks in a
header) is replaced or left out, as an answer to an error must not become another error.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic_core import to_jsonable_python
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from components.http.headers import header_name, header_value

BodyShape = Literal["accept", "error", "problem"]
BodyOption = Annotated[
    BodyShape,
    Field(
        description="`error`: {error: {code, message, details}}; `problem`: RFC 9457; `accept`: "
        "the second for clients whose Accept prefers application/problem+json, else the first"
    ),
]

# The standard library's phrases of these changed with Python 3.13; clients compare codes.
_PHRASES = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
_QUALITY = re.compile(r"q\s*=\s*(0(?:\.\d{0,3})?|1(?:\.0{0,3})?)")
_DEEPEST = 16
_WIDEST_INTEGER_BITS = 4096  # Python refuses to write integers of more than 4300 digits
_LONGEST_REASON_BYTES = 123  # of a close frame (RFC 6455, 5.5)


@dataclass(frozen=True, slots=True)
class Fault:
    """What went wrong. Without a code or message those of the status stand there.

    `payload` replaces the whole body, for protocols that have a shape of their own (OAuth). `problem`
    has members of problem details that a kind of problem defines (RFC 9457, 3.2).
    """

    status: int
    code: str = ""
    message: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: Any = None
    problem: Mapping[str, Any] = field(default_factory=dict)


def fault_of(error: Exception, status: int) -> Fault:
    """What an HTTPException says; of any other exception only `status`."""
    if not isinstance(error, HTTPException):
        return Fault(status)
    fault = Fault(error.status_code, headers=error.headers or {})
    # `BaseAPIException` and `RateLimited` have both
    code, details = getattr(error, "code", None), getattr(error, "details", None)
    if isinstance(code, str) and isinstance(details, Mapping):
        fault = replace(fault, code=code, details=details)
    detail: Any = error.detail
    if isinstance(detail, str):
        return replace(fault, message=detail)
    if not isinstance(detail, Mapping):
        return replace(fault, details={"detail": detail})
    if "error" in detail:
        return replace(fault, payload=detail)
    rest = dict(detail)
    said = {name: rest.pop(name) for name in ("code", "message") if isinstance(rest.get(name), str)}
    return replace(fault, details=rest, **said)


class ErrorResponse(Response):
    """The answer to a request or websocket; on an `accepted` websocket it is a close frame."""

    def __init__(
        self, fault: Fault, scope: Scope, *, body: BodyShape = "accept", accepted: bool = False
    ) -> None:
        self._accepted = accepted
        self._reason = fault.code or code_of(fault.status)
        headers = {"cache-control": "no-store", "vary": "Accept"} | _sendable(fault.headers)
        problem = body == "problem" or (body == "accept" and prefers_problem(scope))
        media: str | None
        media, content = body_of(fault, problem=problem)
        if fault.status < 200 or fault.status in {204, 205, 304}:
            media, content = None, b""
        super().__init__(content, fault.status, headers, media)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        if not self._accepted and "websocket.http.response" in (scope.get("extensions") or {}):
            # It fails where a mounted application has accepted with a `WebSocket` of its own.
            with suppress(RuntimeError):
                await super().__call__(scope, receive, send)
                return
        reason = self._reason.encode("utf-8", "replace")[:_LONGEST_REASON_BYTES]
        # The client may be gone already, and there is nobody left to be told.
        with suppress(RuntimeError, OSError):
            await send(
                {
                    "type": "websocket.close",
                    "code": close_code(self.status_code),
                    "reason": reason.decode("utf-8", "ignore"),
                }
            )


def body_of(fault: Fault, *, problem: bool) -> tuple[str, bytes]:
    """The media type and the body of an answer; the one place where errors get their shape."""
    if fault.payload is not None:
        return "application/json", _encode(fault.payload)
    if problem:
        return "application/problem+json", _problem(fault)
    return "application/json", _error(fault)


def prefers_problem(scope: Scope) -> bool:
    """Whether Accept names the type, and ranks it no lower than plain JSON (RFC 9110, 12.5.1)."""
    accept = _accepted_types(value for name, value in scope["headers"] if name == b"accept")
    wanted = accept.get("application/problem+json", 0.0)
    ranges = ("application/json", "application/*", "*/*")
    plain = next((accept[name] for name in ranges if name in accept), 0.0)
    return wanted > 0 and wanted >= plain


def valid_shape(body: BodyShape) -> BodyShape:
    """Give `body` back.

    Raises:
        ValueError: it is none.
    """
    if body not in get_args(BodyShape):
        raise ValueError(f"`body` must be one of {', '.join(get_args(BodyShape))}, not {body!r}")
    return body


def code_of(status: int) -> str:
    """The code of a status: its phrase, as `not_found`."""
    return re.sub(r"[^a-z]+", "_", _phrase(status).lower())


def close_code(status: int) -> int:
    """The websocket close code (RFC 6455, 7.4.1, and its registry) for an HTTP status."""
    if status in {429, 503}:
        return 1013  # try again later
    return 1008 if status < 500 else 1011


def _phrase(status: int) -> str:
    try:
        return _PHRASES.get(status) or HTTPStatus(status).phrase
    except ValueError:
        return "Server Error" if status >= 500 else "Error"


def _error(fault: Fault) -> bytes:
    about = {
        "code": fault.code or code_of(fault.status),
        "message": fault.message or _phrase(fault.status).lower(),
        "details": fault.details,
    }
    return _encode({"error": about})


def _problem(fault: Fault) -> bytes:
    about = {
        "type": "about:blank",
        "title": _phrase(fault.status),
        "status": fault.status,
        "detail": fault.message or _phrase(fault.status).lower(),
        "code": fault.code or code_of(fault.status),
        "details": fault.details,
        **fault.problem,
    }
    return _encode(about)


def _encode(content: Any) -> bytes:
    text = json.dumps(_plain(content, 0), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")  # a lone surrogate has no UTF-8


def _plain(value: Any, depth: int) -> Any:
    """`value` of what JSON has."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if value.bit_length() <= _WIDEST_INTEGER_BITS else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth >= _DEEPEST:
        return "..."
    try:
        if isinstance(value, Mapping):
            return {str(key): _plain(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [_plain(item, depth + 1) for item in value]
        return _plain(to_jsonable_python(value, serialize_unknown=True), depth + 1)
    except Exception:  # noqa: BLE001  # what an object's own methods raise
        return f"<{type(value).__name__}>"


def _sendable(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers that HTTP can carry, without those that describe the body, which is ours."""
    fields = {}
    for name, value in headers.items():
        with suppress(ValueError):
            key = header_name("headers", name).decode("ascii")
            if key not in {"content-length", "content-type", "content-encoding"}:
                fields[key] = header_value(name, str(value)).decode("latin-1")
    if "vary" in fields:
        fields["vary"] += ", Accept"
    return fields


def _accepted_types(values: Iterable[bytes]) -> dict[str, float]:
    found = {}
    for item in b",".join(values).decode("latin-1").lower().split(","):
        media, _, parameters = item.partition(";")
        quality = 1.0
        for parameter in parameters.split(";"):
            if parameter.strip().startswith("q"):
                match = _QUALITY.fullmatch(parameter.strip())
                quality = float(match[1]) if match else 0.0
        found[media.strip()] = quality
    return found
