"""A request → whether its reader may see what an application tells of itself.

In: a request, and the token that readers send. Out: whether it has the token, whether it comes from
this machine. Refused: a token that no header can carry. What a proxy on this machine passes on
seems to come from here, so whatever says that it was forwarded does not.
"""

import hmac
import ipaddress

from pydantic import SecretStr
from starlette.requests import Request

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")


def token_of(option: str | SecretStr | None) -> bytes | None:
    """Return the token of an option; raises ValueError where no header can carry it."""
    text = option.get_secret_value() if isinstance(option, SecretStr) else option
    if text is None:
        return None
    if not (text.strip() and text.isascii() and text.isprintable()):
        raise ValueError("`token` must be printable ASCII, and not empty")
    return text.encode()


def has_token(request: Request, token: bytes) -> bool | None:
    """Tell whether the request has this bearer token; None where it has none at all."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    return hmac.compare_digest(given.strip().encode("latin-1", "replace"), token)


def is_local(request: Request) -> bool:
    """Tell whether the request comes from this machine, and not by a proxy that stands on it."""
    if request.client is None or any(name in request.headers for name in _FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
