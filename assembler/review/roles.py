"""A layer → what it is for: by what its class says of itself, or by one table of well-known paths.

In: the path that an entry names, and a reader of sources. Out: a `LayerRole`, or None where nobody has
said what it is for: a name alone tells nothing. A class says it by the attribute `layer_role`, a text
that its source shows; classes below it say the same. `diff` and `audit` both judge by this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from assembler.plan.allow_list import ImportFault
from assembler.plan.static import SourceReader

ATTRIBUTE = "layer_role"


@dataclass(frozen=True, slots=True)
class LayerRole:
    """What a layer is for. `guards` says what it does against callers, `grants` what it lets them do."""

    id: str
    name: str
    guards: str = ""
    grants: str = ""


ROLES: Mapping[str, LayerRole] = MappingProxyType(
    {
        role.id: role
        for role in (
            LayerRole("proxy", "the proxy headers"),
            LayerRole("limiter", "the rate limit", guards="bounds how often a client may call"),
            LayerRole("cors", "CORS", grants="lets pages of other origins read answers"),
            LayerRole("csrf", "the CSRF check", guards="keeps out what other sites forge"),
            LayerRole("signature", "the signature check", guards="keeps out what nobody signed"),
            LayerRole("allow-list", "the address list", guards="keeps out other addresses"),
            LayerRole(
                "security-headers",
                "the security headers",
                guards="bound what browsers do with answers",
            ),
            LayerRole("host", "the host check", guards="keeps out requests for other hosts"),
            LayerRole("https", "the redirect to HTTPS", guards="keeps out requests without TLS"),
            LayerRole("body-limit", "the body limit", guards="bounds how long a body may be"),
            LayerRole("timeout", "the time limit", guards="bounds how long a request may take"),
            LayerRole(
                "auth", "the authentication", guards="keeps out callers who have not signed in"
            ),
            LayerRole("session", "the session"),
            LayerRole("request-id", "the request id"),
            LayerRole("logging", "the request log"),
            LayerRole("compression", "the compression"),
            LayerRole("etag", "the entity tags"),
            LayerRole("cache", "the cache headers"),
            LayerRole("slash", "the trailing slash"),
            LayerRole("metrics", "the metrics"),
            LayerRole("tracing", "the tracing"),
            LayerRole("console", "the console", grants="shows operators what runs"),
        )
    }
)
# Layers whose classes say nothing of this format, by the paths where they are defined, and by those
# that their manuals import.
WELL_KNOWN: Mapping[str, str] = MappingProxyType(
    {
        "starlette.middleware.authentication.AuthenticationMiddleware": "auth",
        "starlette.middleware.cors.CORSMiddleware": "cors",
        "starlette.middleware.gzip.GZipMiddleware": "compression",
        "starlette.middleware.httpsredirect.HTTPSRedirectMiddleware": "https",
        "starlette.middleware.sessions.SessionMiddleware": "session",
        "starlette.middleware.trustedhost.TrustedHostMiddleware": "host",
        "fastapi.middleware.cors.CORSMiddleware": "cors",
        "fastapi.middleware.gzip.GZipMiddleware": "compression",
        "fastapi.middleware.httpsredirect.HTTPSRedirectMiddleware": "https",
        "fastapi.middleware.trustedhost.TrustedHostMiddleware": "host",
        "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware": "proxy",
        "fastapi_limiter.depends.RateLimiter": "limiter",
        "hypercorn.middleware.ProxyFixMiddleware": "proxy",
        "hypercorn.middleware.proxy_fix.ProxyFixMiddleware": "proxy",
        "hypercorn.middleware.HTTPToHTTPSRedirectMiddleware": "https",
        "hypercorn.middleware.http_to_https.HTTPToHTTPSRedirectMiddleware": "https",
        "asgi_correlation_id.CorrelationIdMiddleware": "request-id",
        "asgi_correlation_id.middleware.CorrelationIdMiddleware": "request-id",
        "brotli_asgi.BrotliMiddleware": "compression",
        "ddtrace.contrib.asgi.TraceMiddleware": "tracing",
        "elasticapm.contrib.starlette.ElasticAPM": "tracing",
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware": "tracing",
        "piccolo_api.csp.middleware.CSPMiddleware": "security-headers",
        "piccolo_api.csrf.middleware.CSRFMiddleware": "csrf",
        "piccolo_api.rate_limiting.middleware.RateLimitingMiddleware": "limiter",
        "prometheus_fastapi_instrumentator.middleware.PrometheusInstrumentatorMiddleware": "metrics",
        "ratelimit.RateLimitMiddleware": "limiter",
        "ratelimit.core.RateLimitMiddleware": "limiter",
        "sentry_sdk.integrations.asgi.SentryAsgiMiddleware": "tracing",
        "slowapi.middleware.SlowAPIASGIMiddleware": "limiter",
        "slowapi.middleware.SlowAPIMiddleware": "limiter",
        "starlette_compress.CompressMiddleware": "compression",
        "starlette_csrf.CSRFMiddleware": "csrf",
        "starlette_csrf.middleware.CSRFMiddleware": "csrf",
        "starlette_exporter.PrometheusMiddleware": "metrics",
        "starlette_exporter.middleware.PrometheusMiddleware": "metrics",
        "starsessions.SessionMiddleware": "session",
        "starsessions.middleware.SessionMiddleware": "session",
    }
)


def role_of(use: str, reader: SourceReader) -> LayerRole | None:
    """Return what the layer at a path is for; a package that is not there is known by its path."""
    try:
        paths, said = reader.lineage(use, ATTRIBUTE)
    except (ImportFault, RecursionError):
        paths, said = (), None
    if isinstance(said, str):
        return ROLES.get(said)
    found = (WELL_KNOWN.get(path) for path in (use.replace(":", "."), *paths))
    return ROLES.get(next(filter(None, found), ""))
