"""A redirect URI -> whether it may be registered, and whether it is the one that was.

In: URIs as text. Out: why one is not acceptable, or whether two are the same, compared as text
(OAuth 2.1, 2.3.1), but for the port of a loopback URI, which native clients pick when they start
(RFC 8252, 7.3). Refused: fragments, user names, plain http to other machines, and the schemes by
which a browser would run or show what is in the URI itself.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_LONGEST = 2000
# what RFC 3986 has, without `#`
_CHARACTERS = re.compile(r"[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+")
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*")
# what a browser or the system would run, show or send by itself
_NOT_A_CLIENTS = frozenset(
    {"about", "blob", "chrome", "chrome-extension", "data", "devtools", "file", "filesystem"}
    | {"ftp", "intent", "jar", "javascript", "mailto", "resource", "sms", "tel", "vbscript"}
    | {"view-source", "ws", "wss"}
)
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\]|localhost)(?::\d{1,5})?([/?].*)?")


def redirect_fault(uri: str) -> str | None:
    """Why `uri` cannot be registered, if it cannot."""
    if len(uri) > _LONGEST or not _CHARACTERS.fullmatch(uri):
        return "a redirect URI is too long, or has a fragment or characters that URIs do not have"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "a redirect URI cannot be read"
    if not _SCHEME.fullmatch(uri.partition(":")[0]) or parts.scheme in _NOT_A_CLIENTS:
        return "a redirect URI must have the scheme https, http on loopback, or one of the client"
    if "@" in parts.netloc:
        return "a redirect URI must not name a user"
    if parts.scheme in {"http", "https"} and not host:
        return "a redirect URI has no host"
    if parts.scheme == "http" and not is_loopback(host or ""):
        return "a redirect URI may use http on loopback only"
    if not parts.netloc and not parts.path:
        return "a redirect URI says nothing but its scheme"
    return None


def same_redirect(registered: str, given: str) -> bool:
    """Whether `given` is the URI that was registered."""
    if registered == given:
        return True
    ours, theirs = _LOOPBACK.fullmatch(registered), _LOOPBACK.fullmatch(given)
    return bool(
        ours and theirs and ours.groups() == theirs.groups() and redirect_fault(given) is None
    )


def form_action(uri: str) -> str:
    """What a policy must allow so that a form's answer may lead to `uri` (CSP 3, `form-action`).

    Browsers hold every further redirect against it too, and a client's https page may send its
    visitor on to another host; so https is allowed as a whole.
    """
    parts = urlsplit(uri)
    # no source of a policy can name an IPv6 address
    if parts.scheme != "http" or "[" in parts.netloc:
        return "https:" if parts.scheme == "https" else f"https: {parts.scheme}:"
    return f"https: http://{parts.netloc}"


def is_loopback(host: str) -> bool:
    """Whether a host of a URL always names this machine (RFC 6761, 6.3)."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
