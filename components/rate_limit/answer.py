"""What a limited client is told.

In: a limit and a decision. Out: header fields and bodies as bytes, formatted from templates that
are made once.

The fields are those of draft-ietf-httpapi-ratelimit-headers-10: `RateLimit-Policy` gives each
policy's quota `q` and window `w` in seconds, `RateLimit` the units that remain (`r`) and the
seconds until more are free (`t`). A client that may wait is told how long by Retry-After.
"""

from dataclasses import replace

from starlette.types import Scope

from components.http.error_response import BodyShape, Fault, body_of, prefers_problem
from components.http.openapi import HEADERS, Offer, refusals, together
from components.rate_limit.store import Decision, Limit

TRY_AGAIN_LATER = 1013  # the close code of a websocket that is refused (RFC 6455's registry)

HeaderField = tuple[bytes, bytes]

_PROBLEMS = "https://iana.org/assignments/http-problem-types#"
_UNAVAILABLE_RETRY_SECONDS = 1
_SECONDS = b"\\u0000"  # a NUL, as JSON writes it


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
    """The answers 429 (over a limit) and 503 (the store is away and `on_store_error` is deny).

    Their bodies are written by `http.error_response` once, with places for the seconds.
    """

    def __init__(self, limits: tuple[Limit, ...], shape: BodyShape) -> None:
        self._shape = shape
        self._policy = policy_field(limits)
        self._fields = {limit: limit_template(limit) for limit in limits}
        faults: dict[Limit | None, Fault] = {limit: _over(limit) for limit in limits}
        faults[None] = _UNAVAILABLE
        self._bodies = {
            (limit, problem): _template(fault, problem=problem)
            for limit, fault in faults.items()
            for problem in (False, True)
        }

    def answer(self, decision: Decision, scope: Scope) -> tuple[int, list[HeaderField], bytes]:
        """Status, fields and body."""
        limit, shape = decision.limit, self._shape
        problem = shape == "problem" or (shape == "accept" and prefers_problem(scope))
        seconds = _UNAVAILABLE_RETRY_SECONDS if limit is None else seconds_up(decision.wait_ns)
        media, template, places = self._bodies[limit, problem]
        body = template % ((seconds,) * places)
        fields = [(b"content-type", media), (b"cache-control", b"no-store")]
        if shape == "accept":
            fields.append((b"vary", b"Accept"))
        if limit is not None:
            value = self._fields[limit] % (decision.remaining, seconds)
            fields += [self._policy, (b"ratelimit", value)]
        fields.append((b"retry-after", b"%d" % seconds))
        fields.append((b"content-length", b"%d" % len(body)))
        return 503 if limit is None else 429, fields, body


def offer_of(
    limits: tuple[Limit, ...], by: str, shape: BodyShape | None, *, fields: bool, is_denying: bool
) -> Offer:
    """What an OpenAPI document shows of limits (see `components.http.openapi`).

    Args:
        limits: all that hold.
        by: whose requests are counted together.
        shape: of the bodies; None where the application's own handlers write them.
        fields: whether answers to admitted requests have the fields.
        is_denying: whether requests are refused while the store is away.
    """
    told = {name: HEADERS[name] for name in ("RateLimit-Policy", "RateLimit")}
    after = {"Retry-After": "1"}
    faults = [replace(_example(limit), headers=after) for limit in limits]
    faults += [replace(_UNAVAILABLE, headers=after)] if is_denying else []
    shown = [
        {
            "quota": each.rate.quota,
            "seconds": each.rate.period_seconds,
            "policy": each.name,
            "by": by,
        }
        for each in limits
    ]
    offer = refusals(shape, *faults, limits={429: shown})
    offer["responses"]["429"]["headers"] |= told
    offer["responses"]["429"]["description"] = f"More than {_quotas(limits)}"
    return together(offer, {"headers": {"default": told}}) if fields else offer


def _quotas(limits: tuple[Limit, ...]) -> str:
    return ", or more than ".join(dict.fromkeys(str(limit.rate) for limit in limits))


def _example(limit: Limit) -> Fault:
    """A refusal of the limit, with its seconds."""
    fault = _over(limit)
    return replace(
        fault,
        message=fault.message.replace("\0", "1"),
        details={**fault.details, "retry_after": 1},
        problem={**fault.problem, "retry_after": 1},
    )


_UNAVAILABLE = Fault(
    503,
    "rate_limit_unavailable",
    "requests cannot be counted at the moment",
    problem={
        "type": _PROBLEMS + "temporary-reduced-capacity",
        "title": "Request cannot be satisfied due to temporary server capacity constraints",
    },
)


def _over(limit: Limit) -> Fault:
    """What a client over `limit` is told; a NUL stands for the seconds, as no name holds one."""
    return Fault(
        429,
        "rate_limited",
        "too many requests, try again in \0 s",
        {"policy": limit.name, "limit": str(limit.rate), "retry_after": "\0"},
        problem={
            "type": _PROBLEMS + "quota-exceeded",
            "title": "Request cannot be satisfied as assigned quota has been exceeded",
            "violated-policies": [limit.name],
            "retry_after": "\0",
        },
    )


def _template(fault: Fault, *, problem: bool) -> tuple[bytes, bytes, int]:
    """Media type and body, with so many places for the seconds: in a sentence, and as a number."""
    media, body = body_of(fault, problem=problem)
    places = body.count(_SECONDS)
    body = body.replace(b"%", b"%%").replace(b'"%b"' % _SECONDS, b"%d").replace(_SECONDS, b"%d")
    return media.encode(), body, places


def _quoted(name: str) -> str:
    """A structured field String (RFC 9651); names are printable ASCII already."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'
