"""Who a hit is counted against.

In: an ASGI scope. Out: a subject, a text that begins with its kind (`ip:`, `user:`, `header:`,
`own:`), so that no header value can pass for an address.
Refuses: an unknown kind.

A client is `scope["client"]` and nothing else: X-Forwarded-For is the client's own word until
uvicorn's ProxyHeadersMiddleware has checked who says it. A header counts whatever stands in it:
where nobody checked it further out, a new value is a new client; add a limit by address. What a
kind cannot find (nobody logged in, no such header, None from a function) is counted by client
address, never let through.
"""

import hashlib
import socket
from collections.abc import Callable
from typing import Annotated

from pydantic import Field
from starlette.types import Scope

from components.http.user import user_of

KeyFunction = Callable[[Scope], str | None]
Kind = Annotated[str, Field(pattern=r"^(client_ip|user|header:[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")]
KeyOption = Annotated[
    Kind | KeyFunction,
    Field(description="`client_ip`, `user`, `header:NAME`, or a function's import path"),
]
Subject = Callable[[Scope], str]

_IPV4_MAPPED = bytes(10) + b"\xff\xff"
_LONGEST = 64  # a longer subject is hashed, so that nobody fills the store with long ones


def subject_of(key: str | KeyFunction) -> Subject:
    """Give the function for `client_ip`, `user`, `header:NAME` or one's own; raises ValueError."""
    if callable(key):
        return _or_client(key, "own:")
    if key == "client_ip":
        return client_ip
    if key == "user":
        return _or_client(user_of, "user:")
    if key.startswith("header:"):
        name = key.removeprefix("header:").strip().lower()
        if not name or not name.isascii():
            raise ValueError(f"`{key}` names no header")
        return _or_client(_header(name.encode()), f"header:{name}:")
    raise ValueError(f"`{key}` is no key: write `client_ip`, `user` or `header:NAME`")


def shown_key(key: str | KeyFunction) -> str:
    """The kind of the key, as people read it; a function's name."""
    return getattr(key, "__name__", type(key).__name__) if callable(key) else key


def client_ip(scope: Scope) -> str:
    """The client's address; IPv4-mapped addresses are IPv4, other IPv6 ones count by their /64."""
    client = scope.get("client")
    if not client:
        return "ip:"  # a Unix socket says nothing: its clients share one subject
    host: str = client[0]
    if ":" not in host:
        return "ip:" + host if len(host) <= _LONGEST else "ip:" + _digest(host)
    try:
        packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    except (OSError, ValueError):  # a NUL or a surrogate is a ValueError
        return "ip:" + _digest(host)
    if packed.startswith(_IPV4_MAPPED):
        return "ip:" + socket.inet_ntop(socket.AF_INET, packed[12:])
    return f"ip:{packed[:8].hex()}/64"


def _or_client(find: KeyFunction, kind: str) -> Subject:
    def subject(scope: Scope) -> str:
        found = find(scope)
        if not found:
            return client_ip(scope)
        return kind + (found if len(found) <= _LONGEST else _digest(found))

    return subject


def _header(name: bytes) -> KeyFunction:
    def value(scope: Scope) -> str | None:
        for key, content in scope["headers"]:
            if key == name:
                # mostly a secret: it must not stand in a store's keys
                return _digest(content)
        return None

    return value


def _digest(value: str | bytes) -> str:
    data = value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=16).hexdigest()
