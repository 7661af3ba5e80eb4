"""A response -> the same response with the security headers that its route did not set itself.

In: header texts as options, `None` to leave one out. The defaults are the OWASP Secure Headers
Project's list of July 2026 (https://owasp.org/www-project-secure-headers/), without two that are not
for every answer: `Clear-Site-Data` (it would end every session) and `Cache-Control` (see
`cache_control`). `X-XSS-Protection` is not on that list any more, so it is sent only if asked for.
Refuses texts that could split a response, and an HSTS text without `max-age`.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from starlette.types import ASGIApp, Scope

from components.http.headers import HeaderValue, header_value
from components.http.paths import PathPattern, app_path, exempts_path
from components.middleware.header_layer import Fields, HeaderLayer, Rule, Step

DOCS_CSP = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net; "
    "style-src 'self' 'unsafe-inline' https://cdn.jsdelivr.net https://fonts.googleapis.com; "
    "font-src https://fonts.gstatic.com; "
    "img-src 'self' data: https://fastapi.tiangolo.com https://cdn.redoc.ly; "
    "connect-src 'self'; worker-src blob:; form-action 'self'; base-uri 'self'; "
    "frame-ancestors 'none'"
)
"""Lets FastAPI's Swagger UI and ReDoc pages run: inline start script, CDN assets, web worker."""

PERMISSIONS = (
    "accelerometer=(), autoplay=(), camera=(), cross-origin-isolated=(), display-capture=(), "
    "encrypted-media=(), fullscreen=(), geolocation=(), gyroscope=(), keyboard-map=(), "
    "magnetometer=(), microphone=(), midi=(), payment=(), picture-in-picture=(), "
    "publickey-credentials-get=(), screen-wake-lock=(), sync-xhr=(self), usb=(), web-share=(), "
    "xr-spatial-tracking=(), clipboard-read=(), clipboard-write=(), gamepad=(), hid=(), "
    "idle-detection=(), interest-cohort=(), serial=(), unload=()"
)
_Off = Field(json_schema_extra={"looser": "shorter"})  # null leaves a header out


def _hsts(text: str) -> str:
    if not _MAX_AGE.search(text):
        raise ValueError(f"`hsts` has no `max-age` in seconds: {text!r}")
    return text


_MAX_AGE = re.compile(r"(?i)(?:^|;)\s*max-age\s*=\s*\"?\d+")
Hsts = Annotated[HeaderValue, AfterValidator(_hsts)]


class SecurityHeadersMiddleware(HeaderLayer):
    """Adds security headers to each HTTP answer (and to the refusal of a websocket).

    The options without a description are the headers of their names; null leaves one out. Pages under
    `docs_paths` load from CDNs, so they get no `Cross-Origin-Embedder-Policy`.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "security-headers"

    on_websockets = True
    reads_headers = False

    def __init__(
        self,
        app: ASGIApp,
        *,
        hsts: Annotated[
            Hsts | None,
            Field(
                description="`Strict-Transport-Security`, over https only (RFC 6797, 7.2)",
                json_schema_extra={"looser": "shorter"},
            ),
        ] = "max-age=63072000; includeSubDomains",
        hsts_over_http: Annotated[
            bool, Field(description="send it always, for a proxy that ends TLS and does not say so")
        ] = False,
        csp: Annotated[
            HeaderValue | None,
            Field(description="`Content-Security-Policy`", json_schema_extra={"looser": "shorter"}),
        ] = (
            "default-src 'self'; form-action 'self'; base-uri 'self'; object-src 'none'; "
            "frame-ancestors 'none'; upgrade-insecure-requests"
        ),
        docs_csp: Annotated[
            HeaderValue | None,
            Field(
                description="the policy of `docs_paths` instead of `csp`",
                json_schema_extra={"looser": "shorter"},
            ),
        ] = DOCS_CSP,
        docs_paths: Annotated[
            Sequence[PathPattern],
            Field(
                description="documentation pages, such as `/docs` or `/docs/*`",
                json_schema_extra={"looser": "longer", "docs_exempt_from": "csp"},
            ),
        ] = ("/docs", "/docs/*", "/redoc"),
        frame_options: Annotated[
            Literal["DENY", "SAMEORIGIN"] | None,
            Field(description="`X-Frame-Options`; null leaves it out"),
            _Off,
        ] = "DENY",
        content_type_options: Annotated[
            Literal["nosniff"] | None,
            Field(description="`X-Content-Type-Options`; null leaves it out"),
            _Off,
        ] = "nosniff",
        referrer_policy: Annotated[
            HeaderValue | None, Field(description="`Referrer-Policy`; null leaves it out"), _Off
        ] = "no-referrer",
        permissions_policy: Annotated[
            HeaderValue | None, Field(description="`Permissions-Policy`; null leaves it out"), _Off
        ] = PERMISSIONS,
        cross_origin_opener_policy: Annotated[
            HeaderValue | None,
            Field(description="`Cross-Origin-Opener-Policy`; null leaves it out"),
            _Off,
        ] = "same-origin",
        cross_origin_resource_policy: Annotated[
            HeaderValue | None,
            Field(description="`Cross-Origin-Resource-Policy`; null leaves it out"),
            _Off,
        ] = "same-origin",
        cross_origin_embedder_policy: Annotated[
            HeaderValue | None,
            Field(description="`Cross-Origin-Embedder-Policy`; null leaves it out"),
            _Off,
        ] = "require-corp",
        cross_domain_policies: Annotated[
            HeaderValue | None,
            Field(description="`X-Permitted-Cross-Domain-Policies`; null leaves it out"),
            _Off,
        ] = "none",
        dns_prefetch_control: Annotated[
            Literal["on", "off"] | None,
            Field(description="`X-DNS-Prefetch-Control`; null leaves it out"),
        ] = "off",
        origin_agent_cluster: Annotated[
            HeaderValue | None, Field(description="`Origin-Agent-Cluster`; null leaves it out")
        ] = "?1",
        xss_protection: Annotated[
            Literal["0"] | None, Field(description="`X-XSS-Protection`; null leaves it out")
        ] = None,
    ) -> None:
        if hsts is not None:
            _hsts(hsts)
        common = {
            "x-frame-options": frame_options,
            "x-content-type-options": content_type_options,
            "referrer-policy": referrer_policy,
            "permissions-policy": permissions_policy,
            "cross-origin-opener-policy": cross_origin_opener_policy,
            "cross-origin-resource-policy": cross_origin_resource_policy,
            "x-permitted-cross-domain-policies": cross_domain_policies,
            "x-dns-prefetch-control": dns_prefetch_control,
            "origin-agent-cluster": origin_agent_cluster,
            "x-xss-protection": xss_protection,
        }
        page = {"content-security-policy": csp, **common} | {
            "cross-origin-embedder-policy": cross_origin_embedder_policy
        }
        docs = {"content-security-policy": docs_csp, **common}
        secure = {"strict-transport-security": hsts}
        plain = secure if hsts_over_http else {}
        self.app = app
        self._is_docs = exempts_path("docs_paths", docs_paths)
        # The four answers there are, ready to be appended: (over http, over https) each.
        self._page = (Step(_Missing(page | plain)), Step(_Missing(page | secure)))
        self._docs = (Step(_Missing(docs | plain)), Step(_Missing(docs | secure)))
        self._docs_heads = tuple(pattern.partition("*")[0] for pattern in docs_paths)
        self._join(touches=[name.encode() for name in page | secure])

    def begin(self, scope: Scope, headers: dict[bytes, bytes]) -> Step:
        # Judged now: a router that enters a mount changes the scope's root_path.
        variants = self._page
        if (scope.get("root_path") or scope["path"].startswith(self._docs_heads)) and self._is_docs(
            app_path(scope)
        ):
            variants = self._docs
        return variants[scope.get("scheme") in ("https", "wss")]


class _Missing(Rule):
    """Adds those of its fields that an answer does not have."""

    __slots__ = ("_fields",)

    starts = frozenset({"http.response.start", "websocket.http.response.start"})

    def __init__(self, texts: dict[str, str | None]) -> None:
        self._fields = [
            (name.encode(), header_value(name, text))
            for name, text in texts.items()
            if text is not None
        ]

    def edit(self, fields: Fields, status: int, scope: Scope) -> Fields:
        present = {name.lower() for name, _ in fields}
        return fields + [field for field in self._fields if field[0] not in present]
