"""What a limited client is told.

In: a limit and a decision. Out: header fields and bodies as bytes, formatted from templates that
are made once.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` gives each
policy's quota `q` and window `w` in seconds, `RateLimit` the units that remain (`r`) and the
seconds until more are free (`t`). A client that may wait is told how long by Retry-After.
"""

import json
from typing import Literal

from components.rate_limit.store import Decision, Limit

BodyShape = Literal["error", "problem"]
TRY_AGAIN_LATER = 1013  # the close code of a websocket that is refused (RFC 6455's registry)

HeaderField = tuple[bytes, bytes]

_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
_UNAVAILABLE_RETRY_SECONDS = 1


def policy_field(limits: tuple[Limit, ...]) -> HeaderField:
    """The RateLimit-Policy field; it never changes while a set of limits holds."""
    items = [f"{_quoted(x.name)};q={x.rate.quota};w={x.rate.period_seconds}" for x in limits]
    return b"ratelimit-policy", ", ".join(items).encode()


def limit_template(limit: Limit) -> bytes:
    """The RateLimit field's value, to be formatted with the units and the seconds."""
    return _quoted(limit.name).replace("%", "%%").encode() + b";r=%d;t=%d"


def seconds_up(wait_ns: int) -> int:
    """Whole seconds that are never too few."""
    return -(-wait_ns // 1_000_000_000)


class Refusals:
    """The answers 429 (over a limit) and 503 (the store is away and `on_store_error` is deny)."""

    def __init__(self, limits: tuple[Limit, ...], shape: BodyShape) -> None:
        media = "application/problem+json" if shape == "problem" else "application/json"
        self._policy = policy_field(limits)
        self._fixed: list[HeaderField] = [
            (b"content-type", media.encode()),
            (b"cache-control", b"no-store"),
        ]
        body = _problem if shape == "problem" else _error
        self._bodies = {limit: body(limit).encode() for limit in limits}
        self._fields = {limit: limit_template(limit) for limit in limits}
        self._unavailable = body(None).encode()

    def answer(self, decision: Decision) -> tuple[int, list[HeaderField], bytes]:
        """Status, fields and body."""
        limit, fields = decision.limit, [*self._fixed]
        if limit is None:
            status, seconds, body = 503, _UNAVAILABLE_RETRY_SECONDS, self._unavailable
        else:
            status, seconds = 429, seconds_up(decision.wait_ns)
            body = self._bodies[limit] % (seconds, seconds)
            value = self._fields[limit] % (decision.remaining, seconds)
            fields += [self._policy, (b"ratelimit", value)]
        fields.append((b"retry-after", b"%d" % seconds))
        fields.append((b"content-length", b"%d" % len(body)))
        return status, fields, body


def _error(limit: Limit | None) -> str:
    if limit is None:
        message = "requests cannot be counted at the moment"
        return _json(
            {"error": {"code": "rate_limit_unavailable", "message": message, "details": {}}}
        )
    details = {"policy": limit.name, "limit": str(limit.rate), "retry_after": "\0"}
    message = "too many requests, try again in \0 s"
    return _template({"error": {"code": "rate_limited", "message": message, "details": details}})


def _problem(limit: Limit | None) -> str:
    if limit is None:
        return _json(
            {
                "type": _PROBLEMS + "temporary-reduced-capacity",
                "title": "Request cannot be satisfied due to temporary server capacity constraints",
                "status": 503,
            }
        )
    return _template(
        {
            "type": _PROBLEMS + "quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "status": 429,
            "detail": "too many requests, try again in \0 s",
            "violated-policies": [limit.name],
            "retry_after": "\0",
        }
    )


def _template(content: dict[str, object]) -> str:
    """JSON with two places for the seconds: in a sentence, then as a number."""
    # no name holds a NUL, so nothing but our own places can be one
    text = _json(content).replace("%", "%%")
    return text.replace('"\\u0000"', "%d").replace("\\u0000", "%d")


def _json(content: dict[str, object]) -> str:
    return json.dumps(content, separators=(",", ":"))


def _quoted(name: str) -> str:
    """A structured field String (RFC 9651); names are printable ASCII already."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
