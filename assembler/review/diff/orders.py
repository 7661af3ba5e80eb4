"""Which layer belongs outside which, and what it means where it does not: one table.

In: nothing. Out: `BY_ROLES`, by the roles of both layers. Refuses nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Order:
    """`outer` belongs outside `inner`; `security` says whether more than behaviour hangs on it."""

    outer: str
    inner: str
    security: bool
    broken: str
    mended: str


_ANSWERS = ("limiter", "auth", "csrf", "signature", "allow-list", "host", "body-limit", "timeout")
_NAMES = {
    "limiter": "the rate limit",
    "auth": "the authentication",
    "csrf": "the CSRF check",
    "signature": "the signature check",
    "allow-list": "the address list",
    "host": "the host check",
    "body-limit": "the body limit",
    "timeout": "the time limit",
}

ORDERS: tuple[Order, ...] = (
    Order(
        *("proxy", "limiter", True),
        "the rate limit now runs before the proxy headers: all clients behind the proxy share one bucket",
        "the rate limit now runs after the proxy headers: each client has a bucket of its own",
    ),
    Order(
        *("proxy", "allow-list", True),
        "the address list now runs before the proxy headers: it judges the proxy, not the client",
        "the address list now runs after the proxy headers: it judges the client, not the proxy",
    ),
    Order(
        *("proxy", "https", False),
        "the redirect to HTTPS now runs before the proxy headers: it sees the scheme of the proxy",
        "the redirect to HTTPS now runs after the proxy headers: it sees the scheme of the client",
    ),
    Order(
        *("proxy", "logging", False),
        "the request log now runs before the proxy headers: its lines name the proxy",
        "the request log now runs after the proxy headers: its lines name the client",
    ),
    Order(
        *("limiter", "auth", True),
        "the rate limit now runs inside the authentication: failed sign-ins are not counted",
        "the rate limit now runs outside the authentication: failed sign-ins are counted",
    ),
    Order(
        *("limiter", "signature", True),
        "the rate limit now runs inside the signature check: forged requests are not counted",
        "the rate limit now runs outside the signature check: forged requests are counted",
    ),
    Order(
        *("body-limit", "signature", True),
        "the signature check now runs outside the body limit: it reads bodies of any length",
        "the signature check now runs inside the body limit: it reads bodies of bounded length",
    ),
    *(
        Order(
            *("slash", role, True),
            f"trailing slashes are now stripped inside {name}: its rules for a path miss `path/`",
            f"trailing slashes are now stripped outside {name}: its rules for a path hold for `path/`",
        )
        for role, name in (("limiter", "the rate limit"), ("auth", "the authentication"))
    ),
    *(
        Order(
            *("security-headers", role, True),
            f"the security headers are now set inside {_NAMES[role]}: its refusals lack them",
            f"the security headers are now set outside {_NAMES[role]}: its refusals have them",
        )
        for role in _ANSWERS
    ),
    Order(
        *("cors", "limiter", False),
        "CORS now runs inside the rate limit: browsers cannot read a 429, and preflights are counted",
        "CORS now runs outside the rate limit: browsers can read a 429, and preflights are not counted",
    ),
    *(
        Order(
            *("cors", role, False),
            f"CORS now runs inside {_NAMES[role]}: preflights may be refused, and browsers cannot read refusals",
            f"CORS now runs outside {_NAMES[role]}: preflights are answered first, and browsers can read refusals",
        )
        for role in _ANSWERS
        if role != "limiter"
    ),
    *(
        Order(
            *("logging", role, False),
            f"the request log now runs inside {_NAMES[role]}: its refusals are not logged",
            f"the request log now runs outside {_NAMES[role]}: its refusals are logged",
        )
        for role in _ANSWERS
    ),
    Order(
        *("request-id", "logging", False),
        "the request id is now set inside the request log: its lines may lack the id",
        "the request id is now set outside the request log: its lines have the id",
    ),
    *(
        Order(
            *("request-id", role, False),
            f"the request id is now set inside {_NAMES[role]}: its refusals lack the id",
            f"the request id is now set outside {_NAMES[role]}: its refusals have the id",
        )
        for role in _ANSWERS
    ),
    Order(
        *("etag", "compression", False),
        "the compression now runs outside the entity tags: one tag names several bodies",
        "the compression now runs inside the entity tags: each body has a tag of its own",
    ),
    *(
        Order(
            *("session", role, False),
            f"the session is now read inside {_NAMES[role]}, which finds none",
            f"the session is now read outside {_NAMES[role]}, which finds it",
        )
        for role in ("auth", "csrf")
    ),
)
BY_ROLES = {(order.outer, order.inner): order for order in ORDERS}
