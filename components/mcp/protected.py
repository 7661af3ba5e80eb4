"""A mount and its rules -> what clients are told of it: metadata (RFC 9728) and challenges (RFC 6750).

In: the public URL, the mount's path, scopes and roles. Out: a `Protected`, whose texts are made
once. Refuses, as ValueError, paths, URLs and scopes that cannot stand in them.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field

from components.mcp.principal import Principal

WELL_KNOWN = "/.well-known/oauth-protected-resource"

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 3.3
_METHOD = re.compile(r"[A-Z]+")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")
_URL = re.compile(r"https?://[!#$%&'*+,\-./0-9:;=?@A-Z\[\]_a-z~]+")  # nothing that ends a header


@dataclass(frozen=True)
class Mount:
    """The rules of one mount; scopes that it does not say are the server's."""

    roles: Annotated[
        tuple[str, ...],
        Field(
            description="the user's role must be one of these; `*` stands for any, and for none",
            json_schema_extra={"looser": "longer"},
        ),
    ] = ("*",)
    name: Annotated[str, Field(description="what people read when they are asked to log in")] = ""
    public_methods: Annotated[
        tuple[str, ...],
        Field(
            description="methods such as GET that need no token and no rights; one that comes is "
            "judged, so that the endpoint knows who asks",
            json_schema_extra={"looser": "longer"},
        ),
    ] = ()
    advertised: Annotated[
        tuple[str, ...] | None,
        Field(description="in the place of the server's `scopes_advertised`"),
    ] = None
    challenged: Annotated[
        tuple[str, ...] | None,
        Field(description="in the place of the server's `scopes_challenged`"),
    ] = None
    enforced: Annotated[
        tuple[str, ...] | None,
        Field(
            description="in the place of the server's `scopes_enforced`",
            json_schema_extra={"looser": "shorter"},
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class Protected:
    """One protected mount: its URL, its rules, and the document that describes it."""

    path: str
    url: str
    metadata_path: str
    metadata: Mapping[str, Any]
    metadata_url: str
    roles: frozenset[str]
    enforced: tuple[str, ...]
    challenged: tuple[str, ...]
    public_methods: frozenset[str]

    @property
    def asks_for_role(self) -> bool:
        """Whether only users of some roles get in: `*` is everybody, with a role or without."""
        return bool(self.roles) and "*" not in self.roles

    def lacking(self, principal: Principal) -> str | None:
        """Say what `principal` lacks to use the mount, or None."""
        if not principal.scopes.issuperset(self.enforced):
            return "the token lacks a scope"
        if "*" not in self.roles and principal.role not in self.roles:
            return "the user has none of the roles that are needed"
        return None

    def challenge(self, error: str | None = None, description: str | None = None) -> str:
        """The value of WWW-Authenticate; `error` only where a token came (RFC 6750, 3.1)."""
        scopes = self.challenged
        if error == "insufficient_scope":  # a client that asks for these must get what it needs
            scopes = tuple(dict.fromkeys([*self.challenged, *self.enforced]))
        fields = {
            "resource_metadata": self.metadata_url,
            "scope": " ".join(scopes),
            "error": error,
            "error_description": description,
        }
        return "Bearer " + ", ".join(f'{name}="{text}"' for name, text in fields.items() if text)


def protected(
    base_url: str, issuer: str, path: str, mount: Mount, scopes: Mapping[str, tuple[str, ...]]
) -> Protected:
    """Make the texts of the mount at `path`; `scopes` stand for those that it does not say.

    Raises ValueError for a path or a scope that is none.
    """
    if not _PATH.fullmatch(path):
        raise ValueError(f"`mounts` has a path such as `/mcp`, not {path!r}")
    said = {
        "advertised": mount.advertised,
        "challenged": mount.challenged,
        "enforced": mount.enforced,
    }
    own = {
        name: scopes[name] if value is None else checked_scopes(f"mounts.{path}.{name}", value)
        for name, value in said.items()
    }
    url = base_url + path
    parts = urlsplit(url)
    metadata_path = WELL_KNOWN + parts.path
    return Protected(
        path=path,
        url=url,
        metadata_path=metadata_path,
        metadata=document(url, issuer, own["advertised"], mount.name),
        metadata_url=f"{parts.scheme}://{parts.netloc}{metadata_path}",
        roles=frozenset(mount.roles),
        enforced=own["enforced"],
        challenged=own["challenged"],
        public_methods=_checked_methods(f"mounts.{path}.public_methods", mount.public_methods),
    )


def _checked_methods(option: str, methods: Sequence[str]) -> frozenset[str]:
    if isinstance(methods, str) or not all(_METHOD.fullmatch(method) for method in methods):
        raise ValueError(f"`{option}` must be a list of methods such as `GET`")
    return frozenset(methods)


def document(url: str, issuer: str, scopes: Sequence[str], name: str = "") -> dict[str, Any]:
    """The metadata of a protected resource (RFC 9728, 2)."""
    about: dict[str, Any] = {
        "resource": url,
        "authorization_servers": [issuer],
        "scopes_supported": list(scopes),
        "bearer_methods_supported": ["header"],
        "resource_name": name,
    }
    return {key: value for key, value in about.items() if value}


def checked_url(option: str, url: str) -> str:
    """Give `url` back; raises ValueError where it is none that clients can be sent to."""
    try:
        parts = urlsplit(url)
        is_plain = not (parts.query or parts.fragment or "@" in parts.netloc or parts.port == 0)
    except ValueError:
        is_plain = False
    if not is_plain or not parts.hostname or not _URL.fullmatch(url) or url.endswith(("?", "#")):
        raise ValueError(f"`{option}` must be a URL such as https://a.example, not {url!r}")
    return url


def checked_scopes(option: str, scopes: Sequence[str]) -> tuple[str, ...]:
    """Give `scopes` back; raises ValueError where one could not stand in a challenge."""
    if isinstance(scopes, str) or not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise ValueError(f"`{option}` must be a list of scopes such as `mcp:read`")
    return tuple(scopes)
