"""Which way the options of Starlette, FastAPI and uvicorn loosen: one table.

Their signatures carry no such metadata, so it stands here. In: the path where a callable is
defined. Out: for each of its options a direction. Refuses nothing. Sources: the docstrings and
settings pages of these packages; a test holds the names equal to the signatures.
"""

from collections.abc import Mapping
from types import MappingProxyType

_CORS = {
    "allow_origins": "longer",
    "allow_origin_regex": "longer",
    "allow_methods": "longer",
    "allow_headers": "longer",
    "allow_credentials": "true",
    "allow_private_network": "true",
    "expose_headers": "longer",
}
_OPENAPI_DOCS = {"debug": "true"}

KNOWN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "starlette.middleware.cors.CORSMiddleware": _CORS,
        "starlette.middleware.trustedhost.TrustedHostMiddleware": {"allowed_hosts": "longer"},
        "starlette.middleware.sessions.SessionMiddleware": {
            "max_age": "higher",
            "https_only": "false",
            "same_site": "order:strict,lax,none",
        },
        "starlette.middleware.errors.ServerErrorMiddleware": {"debug": "true"},
        "starlette.staticfiles.StaticFiles": {"follow_symlink": "true", "check_dir": "false"},
        "fastapi.applications.FastAPI": _OPENAPI_DOCS,
        "starlette.applications.Starlette": _OPENAPI_DOCS,
        "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware": {"trusted_hosts": "longer"},
        "uvicorn.config.Config": {
            "backlog": "higher",
            "forwarded_allow_ips": "longer",
            "h11_max_incomplete_event_size": "higher",
            "limit_concurrency": "higher",
            "proxy_headers": "true",
            "reload": "true",
            "server_header": "true",
            "timeout_keep_alive": "higher",
            "timeout_worker_healthcheck": "higher",
            "ws_max_queue": "higher",
            "ws_max_size": "higher",
        },
    }
)
SERVER = "uvicorn.config.Config"
