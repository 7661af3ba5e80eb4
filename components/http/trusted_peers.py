"""A list of addresses and networks -> whether the peer of a connection is one of them.

In: `scope["client"]` as the server (or uvicorn's ProxyHeadersMiddleware, where that runs further
out) gives it. IPv4 addresses inside IPv6 are unmapped. A connection over a unix socket has no
address: only `"*"` or the word `unix` trusts it. Refuses entries that are neither.
"""

from collections.abc import Iterable
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Annotated

from pydantic import AfterValidator

_REMEMBERED = 1024


def _peer(text: str) -> str:
    try:
        TrustedPeers([text])
    except ValueError as error:
        raise ValueError(f"takes addresses, networks and `unix`: {error.__cause__}") from None
    return text


Peer = Annotated[str, AfterValidator(_peer)]
"""The type of an option that names addresses, so that each is judged where it is written."""


class TrustedPeers:
    """The peers that `entries` name.

    Args:
        entries: `"*"` for everyone, or addresses, networks in CIDR form, and `unix`.

    Raises:
        TypeError: `entries` is another text.
        ValueError: an entry is not an address, a network or `unix`.
    """

    __slots__ = ("_everyone", "_known", "_networks", "_unix")

    def __init__(self, entries: Iterable[str]) -> None:
        self._everyone = entries == "*"
        if isinstance(entries, str) and not self._everyone:
            raise TypeError('`trust` is "*" or a list of addresses and networks')
        names = [] if self._everyone else list(entries)
        self._unix = "unix" in names
        try:
            self._networks = [ip_network(name) for name in names if name != "unix"]
        except ValueError as error:
            raise ValueError(f"`trust` takes addresses, networks and `unix`: {error}") from error
        self._known: dict[str, bool] = {}

    def trusts(self, client: object) -> bool:
        """Whether `scope["client"]` is one of them."""
        if self._everyone:
            return True
        if not isinstance(client, tuple | list) or not client or not client[0]:
            return self._unix
        host = str(client[0])
        known = self._known.get(host)
        if known is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = self._known[host] = self._contains(host)
        return known

    def _contains(self, host: str) -> bool:
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)
