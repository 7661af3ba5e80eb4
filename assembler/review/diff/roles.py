"""The path of a middleware → what it is for, as far as its name tells.

In: an import path. Out: a `Role`, or None for code of one's own with a name that tells nothing. By
name, since shipped layers, Starlette's and others' are to be judged alike. Refuses nothing.
"""

import re
from dataclasses import dataclass
from functools import cache


@dataclass(frozen=True, slots=True)
class Role:
    """What a layer is for. `guards` says what it does against callers, `grants` what it lets them do."""

    id: str
    name: str
    guards: str = ""
    grants: str = ""
    refuses: bool = False  # it may answer a request itself, so that layers inside never see it


_TABLE = (
    (
        r"ProxyHeaders|TrustedPe?ers?|TrustedProx|ForwardedFor|RealIP",
        Role("proxy", "the proxy headers"),
    ),
    (
        r"RateLimit|Limiter|SlowAPI|Throttl",
        Role(
            "limiter", "the rate limit", guards="bounds how often a client may call", refuses=True
        ),
    ),
    (
        r"CORS|CrossOrigin",
        Role("cors", "CORS", grants="lets pages of other origins read answers", refuses=True),
    ),
    (
        r"CSRF|XSRF",
        Role("csrf", "the CSRF check", guards="keeps out what other sites forge", refuses=True),
    ),
    (
        r"WebhookSignature|SignatureMiddleware|HMAC",
        Role(
            "signature", "the signature check", guards="keeps out what nobody signed", refuses=True
        ),
    ),
    (
        r"I[pP]AllowList|I[pP]Whitelist|AllowList|Firewall|IPFilter",
        Role("allow-list", "the address list", guards="keeps out other addresses", refuses=True),
    ),
    (
        r"SecurityHeaders|SecureHeaders|Helmet|HSTS|ContentSecurityPolicy|CSP",
        Role(
            "security-headers", "the security headers", guards="bound what browsers do with answers"
        ),
    ),
    (
        r"TrustedHost|AllowedHosts",
        Role("host", "the host check", guards="keeps out requests for other hosts", refuses=True),
    ),
    (
        r"HTTPSRedirect|ForceHTTPS|SSLRedirect",
        Role(
            "https", "the redirect to HTTPS", guards="keeps out requests without TLS", refuses=True
        ),
    ),
    (
        r"BodyLimit|BodySize|ContentSize|MaxBody|SizeLimit",
        Role("body-limit", "the body limit", guards="bounds how long a body may be", refuses=True),
    ),
    (
        r"Timeout",
        Role(
            "timeout", "the time limit", guards="bounds how long a request may take", refuses=True
        ),
    ),
    (
        r"Authenti|Authori[sz]|ApiKey|APIKey|JWT|Bearer|OAuth|OIDC|BasicAuth|Auth(?![a-z])|Login|Permission",
        Role(
            "auth",
            "the authentication",
            guards="keeps out callers who have not signed in",
            refuses=True,
        ),
    ),
    (r"Session", Role("session", "the session")),
    (r"RequestI[dD]|CorrelationI[dD]|TraceI[dD]", Role("request-id", "the request id")),
    (r"Logging|AccessLog|RequestLog", Role("logging", "the request log")),
    (r"GZip|Gzip|Brotli|Compress|Zstd", Role("compression", "the compression")),
    (r"EntityTag|ETag|Conditional", Role("etag", "the entity tags")),
    (r"CacheControl|HTTPCache|Cache", Role("cache", "the cache headers")),
    (r"TrailingSlash|StripSlash|Slash", Role("slash", "the trailing slash")),
    (r"Metrics|Prometheus|Timing|ServerTiming", Role("metrics", "the metrics")),
    (r"Sentry|OpenTelemetry|Tracing|Trace", Role("tracing", "the tracing")),
)
_PATTERNS = tuple((re.compile(pattern), role) for pattern, role in _TABLE)


@cache
def role_of(use: str | None) -> Role | None:
    """Return what a middleware is for, judged by the last part of its path."""
    name = (use or "").replace(":", ".").rpartition(".")[2]
    return next((role for pattern, role in _PATTERNS if pattern.search(name)), None)
