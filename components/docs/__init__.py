"""The OpenAPI document of an application -> a page that shows it, logs in and tries it out.

In: GET and HEAD requests. Out: `router`, with Swagger UI 5 and all that it loads from files of this
package and of `fastapi-swagger`: no other host is asked, and no script or style stands in the page. Its
policy is its own, and lets it ask this origin and those of `connect_to`, no other. `/client.json` below
the page is a client ID metadata document, so that an issuer which reads those lets the page log in by
PKCE without a registration. Refused: a page where there is no document (404).

A login comes back through a `BroadcastChannel`, not through `window.opener`, which a page under
`Cross-Origin-Opener-Policy: same-origin` does not have once the issuer's page has stood in the window.

Sources: draft-ietf-oauth-client-id-metadata-document; Swagger UI, "OAuth 2.0 configuration".
"""

import gzip
import hashlib
from collections.abc import Sequence
from functools import cache, partial
from html import escape
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from components.http.etag import is_known
from components.http.paths import app_path

_OWN = {"start.js": "text/javascript", "redirect.js": "text/javascript", "page.css": "text/css"}
_SWAGGER = {
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
    "favicon-32x32.png": "image/png",
}
_REDIRECT, _CLIENT = "/oauth2-redirect", "/client.json"
_Origin = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]-]+$")]
_Url = Annotated[str, Field(pattern=r"^https?://[A-Za-z0-9.:\[\]/~_-]+$")]


class DocsRouter(APIRouter):
    """Routes that show the OpenAPI document of the application to whoever asks."""

    shows_documentation = True


def router(
    *,
    path: Annotated[
        str,
        Field(
            pattern=r"^(/[A-Za-z0-9._~-]+)+$",
            description="where the page stands, below the router's prefix",
        ),
    ] = "/docs",
    document: Annotated[
        str | None,
        Field(
            pattern=r"^/[^?#\s]*$",
            description="path of the document; the application's own if none",
        ),
    ] = None,
    title: Annotated[
        str | None, Field(max_length=100, description="name of the page; the application's if none")
    ] = None,
    base_url: Annotated[
        _Url | None,
        Field(
            description="where browsers reach the application, such as `https://api.example`, for "
            "logins; what the request says if none"
        ),
    ] = None,
    client_id: Annotated[
        str | None,
        Field(
            description="what the issuer knows the page by; the URL of `client.json`, which an issuer "
            "may read, if none"
        ),
    ] = None,
    scopes: Annotated[
        Sequence[str], Field(description="what a login asks for unless its user picks otherwise")
    ] = (),
    connect_to: Annotated[
        Sequence[_Origin],
        Field(
            description="origins besides this one that the page may ask, such as the issuer's",
            json_schema_extra={"looser": "longer"},
        ),
    ] = (),
) -> DocsRouter:
    """Swagger UI 5 for the OpenAPI document, from files of a package, under a strict policy.

    "Authorize" logs in by PKCE without a registration.

    Raises:
        ModuleNotFoundError: fastapi-swagger, which has the files of Swagger UI, is not installed.
    """
    _check_installed()
    page = _Page(document, title, base_url, client_id, " ".join(scopes), connect_to)
    made = DocsRouter()
    shown: dict[str, Any] = {"": page.show, _REDIRECT: page.redirect, _CLIENT: page.client}
    for name, endpoint in shown.items():
        made.add_route(path + name, endpoint, ["GET", "HEAD"], include_in_schema=False)
    for name in (*_OWN, *_SWAGGER):
        endpoint = partial(_file, name)
        made.add_route(f"{path}/{name}", endpoint, ["GET", "HEAD"], include_in_schema=False)
    return made


def _check_installed() -> None:
    try:
        import fastapi_swagger  # type: ignore[import-untyped]  # noqa: F401, PLC0415  # for its files
    except ModuleNotFoundError:
        message = "the page needs Swagger UI: install fastapi-assembler[docs]"
        raise ModuleNotFoundError(message) from None


class _Page:
    """The answers that depend on the options."""

    def __init__(
        self,
        document: str | None,
        title: str | None,
        base_url: str | None,
        client_id: str | None,
        scopes: str,
        connect_to: Sequence[str],
    ) -> None:
        self._document = document
        self._title = title
        self._base_url = base_url
        self._client_id = client_id
        self._scopes = scopes
        self._policy = "; ".join(
            [
                *("default-src 'none'", "script-src 'self'", "style-src 'self'"),
                "img-src 'self' data:",  # the icons of Swagger UI's style sheet
                " ".join(["connect-src 'self'", *connect_to]),
                *("form-action 'none'", "base-uri 'none'", "frame-ancestors 'none'"),
            ]
        )

    async def show(self, request: Request) -> Response:
        """The page."""
        document = self._document or getattr(request.app, "openapi_url", None)
        if document is None:
            raise HTTPException(404, "the application gives no OpenAPI document")
        root, page = _place(request)
        public = self._public(request) + page
        settings = {
            "document": root + document,
            "client": self._client_id or public + _CLIENT,
            "redirect": public + _REDIRECT,
            "page": public,
            "scopes": self._scopes,
        }
        data = "".join(f' data-{name}="{escape(text)}"' for name, text in settings.items())
        here = escape(root + page)
        return self._html(
            self._name(request),
            here,
            f"""<noscript><p class="note">The page needs JavaScript. The document itself is at
<a href="{escape(root + document)}">{escape(root + document)}</a>.</p></noscript>
<p class="note" id="elsewhere" hidden>Logins work at <a href="{escape(public)}">{escape(public)}</a>.</p>
<main id="swagger-ui"{data}></main>
<script src="{here}/swagger-ui-bundle.js"></script><script src="{here}/start.js"></script>""",
        )

    async def redirect(self, request: Request) -> Response:
        """The page to which an issuer sends the browser back."""
        root, here = _place(request, _REDIRECT)
        script = f'<script src="{escape(root + here)}/redirect.js"></script>'
        text = '<p class="note">The login has been handed on. This window may be closed.</p>'
        return self._html(self._name(request), escape(root + here), text + script)

    async def client(self, request: Request) -> Response:
        """What an issuer is told of the page that wants to log its user in."""
        _, page = _place(request, _CLIENT)
        public = self._public(request) + page
        told = {
            "client_id": public + _CLIENT,
            "client_name": f"{self._name(request)}: documentation",
            "client_uri": public,
            "redirect_uris": [public + _REDIRECT],
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }
        return JSONResponse(told, headers={"cache-control": "no-store"})

    def _name(self, request: Request) -> str:
        return self._title or str(getattr(request.app, "title", "") or "API")

    def _public(self, request: Request) -> str:
        """The URL below which browsers find the application."""
        if self._base_url is not None:
            return self._base_url.rstrip("/")
        return f"{request.url.scheme}://{request.url.netloc}{_root(request)}"

    def _html(self, title: str, here: str, body: str) -> HTMLResponse:
        text = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex"><link rel="icon" href="{here}/favicon-32x32.png">
<link rel="stylesheet" href="{here}/swagger-ui.css"><link rel="stylesheet" href="{here}/page.css"></head>
<body>{body}</body></html>"""
        headers = {
            "content-security-policy": self._policy,
            "cache-control": "no-store",
            "referrer-policy": "no-referrer",
            "x-content-type-options": "nosniff",
        }
        return HTMLResponse(text, headers=headers)


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _place(request: Request, below: str = "") -> tuple[str, str]:
    """Where the application stands, and where the page stands in it."""
    return _root(request), app_path(request.scope).rstrip("/").removesuffix(below)


def _file(name: str, request: Request) -> Response:
    """One file; compressed where that is welcome, and not at all where it is known already."""
    body, packed, tag = _content(name)
    wants_packed = "gzip" in request.headers.get("accept-encoding", "") and len(packed) < len(body)
    tag = f'"{tag}-gzip"' if wants_packed else f'"{tag}"'
    headers = {"etag": tag, "cache-control": "public, no-cache", "vary": "Accept-Encoding"}
    known = [text.encode("latin-1") for text in request.headers.getlist("if-none-match")]
    if is_known(known, tag.encode()):
        return Response(status_code=304, headers=headers)
    headers |= {"content-encoding": "gzip"} if wants_packed else {}
    media = (_OWN | _SWAGGER)[name]
    headers |= {"x-content-type-options": "nosniff"}
    return Response(packed if wants_packed else body, headers=headers, media_type=media)


@cache
def _content(name: str) -> tuple[bytes, bytes, str]:
    """A file, the same compressed, and what tells it from others; read when it is asked for first."""
    package = __package__ if name in _OWN else "fastapi_swagger.resources"
    body = files(package).joinpath(name).read_bytes()
    return body, gzip.compress(body, mtime=0), hashlib.sha256(body).hexdigest()[:32]
