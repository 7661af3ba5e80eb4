"""Where the issuer stands -> its identifier, byte for byte.

In: the base URL of the application. Out: the same text, and whether it names this machine. Refused:
a URL with more than an origin, or written otherwise than URL parsers write it, since clients compare
the issuer as text (RFC 8414, 3.3); and a host other than this machine, unless that is wanted.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"https?://(?:[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[1-9]\d{0,4})?")
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def issuer_of(base_url: str, *, anyone_may_log_in_as_anyone: bool) -> str:
    """`base_url`, if an issuer without passwords may stand there.

    Raises:
        ValueError: it is no origin, or not of this machine and nobody said that it may be.
    """
    if not _ORIGIN.fullmatch(base_url) or base_url.endswith(
        _DEFAULT_PORTS[base_url.partition(":")[0]]
    ):
        raise ValueError(
            "`base_url` must be an origin in lower case such as `http://localhost:8000`, without a "
            f"default port, a path or a slash at its end, not {base_url!r}"
        )
    try:
        host = urlsplit(base_url).hostname or ""
        urlsplit(base_url).port  # noqa: B018  # it is the property that judges
    except ValueError as error:
        raise ValueError(f"`base_url` is no URL: {error}") from error
    if not anyone_may_log_in_as_anyone and not is_loopback(host):
        raise ValueError(
            "here anyone logs in as anyone, without a password, and "
            f"`{base_url}` is not this machine: use a real issuer, or say "
            "`anyone_may_log_in_as_anyone: true`"
        )
    return base_url


def is_loopback(host: str) -> bool:
    """Whether a host of a URL always names this machine (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
