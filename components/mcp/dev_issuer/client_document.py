"""A URL that a stranger gave -> the client's metadata that stands there.

In: a client identifier that is a URL (OAuth Client ID Metadata Document). Out: the JSON value, within
five seconds and 10 KiB. Refused: URLs of another shape than the draft's, and any address that is not
public, whatever name leads there: every address is judged after it was looked up, and the connection
goes to the very address that was judged. Redirects are not followed, proxies not used.
"""

import asyncio
import ipaddress
import json
import re
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

from components.mcp.dev_issuer.messages import OAuthError
from components.mcp.dev_issuer.redirect_uri import is_loopback

Fetch = Callable[[str], Awaitable[object]]
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LONGEST_URL = 500
_MOST_BYTES = 10 * 1024
_SECONDS = 5
_URL = re.compile(r"https?://[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")
# an IPv4 address may hide in one of these (RFC 6052, RFC 3056, RFC 4380)
_TRANSLATED = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32"))
)


def is_document_url(client_id: str) -> bool:
    """Whether an identifier reads as a URL; no identifier of ours does."""
    return client_id.startswith(("https://", "http://"))


async def fetch_document(url: str, *, allow_loopback: bool = False) -> object:
    """The JSON value at `url`; with `allow_loopback` also at plain http on this machine.

    Raises:
        OAuthError: `invalid_client`, with words that tell nothing of the network.
    """
    parts = _checked(url, allow_loopback=allow_loopback)
    try:
        async with asyncio.timeout(_SECONDS):
            address = await _address_of(parts, allow_loopback=allow_loopback)
            body = await _body(parts, address)
    except TimeoutError:
        raise _refused("took too long") from None
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _refused("is no JSON") from None


def _checked(url: str, *, allow_loopback: bool) -> SplitResult:
    """The parts of a URL that may be an identifier (draft, section 3)."""
    try:
        if len(url) > _LONGEST_URL or not _URL.fullmatch(url):
            raise _refused("has a URL that cannot be an identifier")
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise _refused("has a URL that cannot be read") from None
    plain = parts.scheme == "http" and not (allow_loopback and is_loopback(host))
    dots = {".", ".."} & set(parts.path.lower().replace("%2e", ".").split("/"))
    if plain or not host or "@" in parts.netloc or parts.path in {"", "/"} or dots:
        raise _refused("must have an https URL with a path, without user names or dot segments")
    return parts


async def _address_of(parts: SplitResult, *, allow_loopback: bool) -> str:
    """An address of the host, when all that it has may be called."""
    loop, port = asyncio.get_running_loop(), parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = await loop.getaddrinfo(parts.hostname or "", port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise _refused("cannot be reached") from None
    addresses = [ipaddress.ip_address(entry[4][0]) for entry in found]
    may_loop = allow_loopback and is_loopback(parts.hostname or "")
    if not all(_is_public(address) or (may_loop and address.is_loopback) for address in addresses):
        raise _refused("cannot be reached")
    return str(addresses[0])


def _is_public(address: _Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return _is_public(address.ipv4_mapped)
        if any(address in network for network in _TRANSLATED):
            return False
    return address.is_global and not address.is_multicast


async def _body(parts: SplitResult, address: str) -> bytes:
    """What stands at the URL on that address; the certificate must be of the URL's host."""
    import httpx2  # noqa: PLC0415  # with the first client that needs it

    host = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    url = parts._replace(netloc=host + port, fragment="").geturl()
    # as it is sent: a compressed body could grow beyond any bound
    headers = {"Host": parts.netloc, "Accept": "application/json", "Accept-Encoding": "identity"}
    extensions = {"sni_hostname": parts.hostname}
    body = bytearray()
    try:
        async with (
            httpx2.AsyncClient(trust_env=False, follow_redirects=False) as client,
            client.stream("GET", url, headers=headers, extensions=extensions) as response,
        ):
            media = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            if response.status_code != 200 or not re.fullmatch(r"application/(.+\+)?json", media):
                raise _refused("is not answered with 200 and JSON")
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > _MOST_BYTES:
                    raise _refused("is too large")
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError):
        raise _refused("cannot be reached") from None
    return bytes(body)


def _refused(why: str) -> OAuthError:
    return OAuthError("invalid_client", f"the client's metadata document {why}")
