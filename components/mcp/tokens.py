"""A bearer token -> its claims, when all of them hold.

In: a JSON Web Token (RFC 7519) as it came, and who it may be for. Out: its claims. Either a shared
secret verifies it, and then only HS256 is taken, or the issuer's published keys do, and then only
ES256 and RS256: the algorithm is never the token's choice, so a public key cannot pass for a
secret. The header parameters `jku`, `jwk`, `x5u` and `x5c` are not looked at.

Refuses, as `InvalidToken` with a reason that is safe to show, a token that is not well formed, not
signed by the issuer, not from it, not for us, expired or not yet valid. Nothing is logged of it.
`jwt` is imported, in a thread, when the first token comes.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from components.mcp.keys import KeySet, UnknownKey

if TYPE_CHECKING:
    import jwt  # at run time only when the first token comes

_LONGEST_TOKEN = 8192
_LONGEST_KID = 256
_LONGEST_SUBJECT = 255
_LATEST = 1e12  # seconds; NaN and endless integers are not below it
_TYPES = {"jwt", "at+jwt", "application/at+jwt"}  # others are not meant for access (RFC 8725, 3.11)


class InvalidToken(Exception):  # noqa: N818  # reads as what happened
    """A token is not one that this server takes; the text is why, and repeats nothing of it."""


class TokenVerifier:
    """Verifies the tokens of one issuer, by `secret` or by `keys`.

    `now` is the time of day in seconds; `leeway` is how far the issuer's clock may be from it.
    """

    def __init__(
        self,
        issuer: str,
        *,
        secret: str | None,
        keys: KeySet,
        leeway: timedelta,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._issuer = issuer
        self._secret = secret
        self._keys = keys
        self._leeway = leeway.total_seconds()
        self._now = now
        self._signatures: _Signatures | None = None

    async def claims(self, token: str, audiences: Collection[str]) -> dict[str, Any]:
        """The claims of `token`, which must be for one of `audiences`.

        Raises `InvalidToken`, or `KeysUnavailable` where nobody can tell.
        """
        if len(token) > _LONGEST_TOKEN:
            _refuse("the token is too long")
        if self._signatures is None:
            self._signatures = await asyncio.to_thread(_Signatures)
        header = self._signatures.header(token)
        key = await self._key(header)
        algorithm = "HS256" if isinstance(key, str) else key.algorithm_name
        claims = self._signatures.verified(token, key, algorithm)
        self._check_source(claims, audiences)
        self._check_times(claims)
        return claims

    async def aclose(self) -> None:
        """End a fetch of keys that runs."""
        await self._keys.aclose()

    async def _key(self, header: dict[str, Any]) -> "jwt.PyJWK | str":
        algorithm, kid = header.get("alg"), header.get("kid")
        allowed = ("ES256", "RS256") if self._secret is None else ("HS256",)
        if algorithm not in allowed:
            _refuse("the token is signed by an algorithm that is not taken here")
        if self._secret is not None:
            return self._secret
        if kid is not None and (not isinstance(kid, str) or len(kid) > _LONGEST_KID):
            _refuse("the token names no key")
        try:
            return await self._keys.key(kid, str(algorithm))
        except UnknownKey:
            _refuse("the token is signed by a key that its issuer does not publish")

    def _check_source(self, claims: dict[str, Any], audiences: Collection[str]) -> None:
        if claims.get("iss") != self._issuer:
            _refuse("the token is from another issuer")
        named = claims.get("aud")
        named = [named] if isinstance(named, str) else named
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            _refuse("the token is for nobody")
        if not set(named) & set(audiences):
            _refuse("the token is for another audience")
        subject = claims.get("sub")
        if not isinstance(subject, str) or not _is_name(subject):
            _refuse("the token speaks for nobody")

    def _check_times(self, claims: dict[str, Any]) -> None:
        now = self._now()
        if _time(claims, "exp", needed=True) + self._leeway <= now:
            _refuse("the token has expired")
        if max(_time(claims, "nbf"), _time(claims, "iat")) - self._leeway > now:
            _refuse("the token is not valid yet")


class _Signatures:
    """What `jwt` does for us; to make one imports it."""

    def __init__(self) -> None:
        import jwt  # noqa: PLC0415  # takes 160 ms

        self._jws = jwt.PyJWS()
        # Text that nests deep or holds endless digits ends in one of the last two.
        self._errors = (jwt.PyJWTError, ValueError, RecursionError)

    def header(self, token: str) -> dict[str, Any]:
        try:
            header = self._jws.get_unverified_header(token)
        except self._errors:
            _refuse("the token is not well formed")
        kind = header.get("typ", "JWT")
        # `crit` names what must be understood, and nothing that it may name is (RFC 7515, 4.1.11).
        if not isinstance(kind, str) or kind.lower() not in _TYPES or {"crit", "b64"} & {*header}:
            _refuse("the token is of another type")
        return header

    def verified(self, token: str, key: "jwt.PyJWK | str", algorithm: str) -> dict[str, Any]:
        try:
            payload = self._jws.decode(token, key, algorithms=[algorithm])
            claims = json.loads(payload)
        except self._errors:
            _refuse("the token is not signed by its issuer")
        if not isinstance(claims, dict):
            _refuse("the token is not well formed")
        return claims


def _refuse(reason: str) -> NoReturn:
    raise InvalidToken(reason) from None


def _is_name(subject: str) -> bool:
    return 0 < len(subject) <= _LONGEST_SUBJECT and subject.isprintable()


def _time(claims: dict[str, Any], name: str, *, needed: bool = False) -> float:
    """The value of a NumericDate, or the beginning of time where it may be missing."""
    value = claims.get(name)
    if value is None and not needed:
        return -math.inf
    if isinstance(value, int | float) and type(value) is not bool and abs(value) < _LATEST:
        return value
    _refuse("the token has no end" if value is None else "the token is not well formed")
