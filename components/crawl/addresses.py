"""A URL → the address that its request may go to.

In: an absolute URL, and the networks of one's own that a source may be in. Out: a `CheckedTarget`, whose
address has been judged; the connection goes to it and to no other, so that a name which answers otherwise
the second time (DNS rebinding) leads nowhere. Refused, as `RefusedURL`: other schemes than http and https,
credentials in a URL, names that are not found, and names with any address that is not of the public
internet: private, link-local, loopback, shared, multicast, and IPv4 of these kinds inside IPv6.
"""

import asyncio
import re
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Annotated

import httpx2
from pydantic import AfterValidator

Network = IPv4Network | IPv6Network
_DEFAULT_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535
_NAT64 = ip_network("64:ff9b::/96")
# by IANA's registries of special purposes (RFC 6890 and its updates), which Pythons know in part
_SPECIAL = tuple(
    ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "3fff::/20", "5f00::/16", "fec0::/10")
)
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = re.compile(r"[A-Za-z0-9._~-]")


def _network(text: str) -> str:
    ip_network(text)
    return text


PrivateNetwork = Annotated[str, AfterValidator(_network)]
"""The type of an option that names addresses and networks such as `10.0.0.0/8`."""


class RefusedURL(Exception):  # noqa: N818  # what is refused is the URL, by rule
    """A URL that is not to be fetched."""


def _source_url(text: str) -> str:
    if text:
        try:
            canonical(text)
        except RefusedURL as error:
            raise ValueError(str(error)) from error
    return text


SourceURL = Annotated[str, AfterValidator(_source_url)]
"""The type of an option that names the first page of a source; none where it is empty."""


@dataclass(frozen=True, slots=True)
class CheckedTarget:
    """Where the request for a URL goes."""

    url: httpx2.URL
    address: str
    port: int

    @property
    def host(self) -> str:
        """The name in the URL, as it is looked up: other letters than ASCII's by IDNA 2008."""
        return self.url.raw_host.decode("ascii")

    @property
    def origin(self) -> str:
        """Scheme, name and port."""
        return origin_of(str(self.url))

    @property
    def dialled(self) -> httpx2.URL:
        """The URL with the address in place of the name."""
        return self.url.copy_with(host=self.address)


def networks(allowed: Iterable[str]) -> tuple[Network, ...]:
    """The networks of these texts; raises ValueError where one is none."""
    return tuple(ip_network(text) for text in allowed)


def canonical(url: str) -> str:
    """One text for all ways to write a URL (RFC 3986, 6.2.2 and 6.2.3): no fragment, no port that is
    understood, a path, no escape without need.

    Raises:
        RefusedURL: it is no absolute URL of http or https, or has credentials.
    """
    try:
        parsed = httpx2.URL(_ESCAPE.sub(_unescaped, url))
    except httpx2.InvalidURL as error:
        raise RefusedURL(f"`{url[:200]}` is no URL") from error
    if parsed.scheme not in _DEFAULT_PORTS or not parsed.host:
        raise RefusedURL(f"`{url[:200]}` is no URL of http or https")
    if parsed.userinfo:
        raise RefusedURL("a URL with credentials is not fetched")
    if parsed.port is not None and not 1 <= parsed.port <= _LAST_PORT:
        raise RefusedURL(f"`{url[:200]}` has no port of TCP")
    return f"{origin_of(str(parsed))}{parsed.raw_path.decode('ascii')}"


def _unescaped(found: re.Match[str]) -> str:
    """An escape as it is written best: not at all where the character needs none."""
    character = chr(int(found[1], 16))
    return character if _UNRESERVED.fullmatch(character) else found[0].upper()


def origin_of(url: str) -> str:
    """Scheme, name and port of a canonical URL."""
    parsed = httpx2.URL(url)
    return f"{parsed.scheme}://{parsed.netloc.decode('ascii')}"


async def target_of(url: str, allowed: Sequence[Network] = ()) -> CheckedTarget:
    """Look the name up, and judge every address that it has.

    Raises:
        RefusedURL: there is none, or one of them is not to be asked.
    """
    parsed = httpx2.URL(canonical(url))
    port = parsed.port or _DEFAULT_PORTS[parsed.scheme]
    # Python's own IDNA, of 2003, would look up another name than the request is for
    host = parsed.raw_host.decode("ascii")
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise RefusedURL(f"`{host}` has no address") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        if not is_public(address) and not _is_allowed(address, allowed):
            raise RefusedURL(f"`{host}` is at {address}, which is not of the public internet")
    if not addresses:
        raise RefusedURL(f"`{host}` has no address")
    return CheckedTarget(parsed, addresses[0], port)


def is_public(text: str) -> bool:
    """Whether an address is of the public internet, whatever it is wrapped in."""
    address = ip_address(text.partition("%")[0])
    if "%" in text:  # a zone: it is of one link
        return False
    inner = _inner(address)
    if inner is not None:
        return is_public(str(inner))
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not (
        address.is_multicast or address.is_reserved or address.is_unspecified
    )


def _inner(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _is_allowed(text: str, allowed: Sequence[Network]) -> bool:
    address = ip_address(text.partition("%")[0])
    return any(address in network for network in allowed)
