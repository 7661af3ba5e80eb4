"""A request -> the same request, if its client's address is allowed.

In: `scope["client"]` and nothing else: behind a proxy, uvicorn's ProxyHeadersMiddleware further out makes
it true. IPv4 addresses inside IPv6 are unmapped. Out: 403 for all others, whose websockets are
refused before they are accepted. Refuses entries that are neither addresses nor networks.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from starlette.types import ASGIApp, Receive, Scope, Send

from components.http.error_response import BodyOption, ErrorResponse, Fault, valid_shape
from components.http.openapi import Offer, refusals
from components.http.paths import RequestPattern, app_path, guards, reach
from components.http.trusted_peers import Peer, TrustedPeers
from components.http.user import note_opened

_REFUSED = Fault(403, "address_not_allowed", "this address is not allowed here")


class IPAllowListMiddleware:
    """Lets only clients from `allow` pass, everywhere or on the given paths.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "allow-list"

    def __init__(
        self,
        app: ASGIApp,
        *,
        allow: Annotated[
            Sequence[Peer],
            Field(
                min_length=1,
                description="addresses, networks such as `10.0.0.0/8`, and `unix` for connections "
                "without an address",
                json_schema_extra={"looser": "longer"},
            ),
        ],
        paths: Annotated[
            Sequence[RequestPattern],
            Field(
                description="what is guarded: `/admin`, `/admin/*`, `POST /import`; all when empty",
            ),
        ] = (),
        body: BodyOption = "accept",
    ) -> None:
        if isinstance(allow, str) or isinstance(paths, str):
            raise TypeError("`allow` and `paths` are lists, not one text")
        if not allow:
            raise ValueError("`allow` is empty: nothing could pass")
        try:
            self._peers = TrustedPeers(allow)
        except ValueError as error:
            raise ValueError(f"`allow` takes networks: {error.__cause__}") from error
        self.app = app
        self._guards = guards("paths", paths) if paths else None
        self._patterns = tuple(paths)
        self._body = valid_shape(body)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The refusal of other addresses on a route that is guarded."""
        if self._patterns and reach("paths", self._patterns, method, path) == "none":
            return None
        return refusals(self._body, _REFUSED)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not self._guarded(scope):
            await self.app(scope, receive, send)
            return
        if self._peers.trusts(scope.get("client")):
            note_opened(scope)
            await self.app(scope, receive, send)
            return
        await ErrorResponse(_REFUSED, scope, body=self._body)(scope, receive, send)

    def _guarded(self, scope: Scope) -> bool:
        return self._guards is None or self._guards(scope.get("method", "GET"), app_path(scope))
