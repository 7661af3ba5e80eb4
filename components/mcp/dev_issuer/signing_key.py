"""A private key -> signed tokens and the public key that verifies them.

In: an EC P-256 key in PEM, or none, and one is made when it is first needed. Out: JWTs signed with
ES256, the JWK set, and the claims of tokens that this key signed. Refused: any other kind of key.
"""

import base64
import hashlib
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the libraries load with the first key: an application starts without them
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey


class SigningKey:
    """The key of an issuer.

    Raises:
        ValueError: `pem` is no unencrypted EC P-256 private key. It is not shown.
    """

    def __init__(self, pem: str | None = None) -> None:
        self._given = None if pem is None else _read(pem)

    def sign(self, claims: dict[str, Any]) -> str:
        """A token (RFC 9068) that says `claims`."""
        import jwt  # noqa: PLC0415  # with the first token

        headers = {"kid": self.jwk["kid"], "typ": "at+jwt"}
        return jwt.encode(claims, self._private, algorithm="ES256", headers=headers)

    def claims_of(self, token: str) -> dict[str, Any] | None:
        """What a token of this key says, old or not; None if it is not of this key."""
        import jwt  # noqa: PLC0415  # with the first token

        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self._private.public_key(),
                algorithms=["ES256"],
                options={"verify_exp": False, "verify_aud": False, "verify_iat": False},
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            return None
        return claims

    @cached_property
    def jwk(self) -> dict[str, str]:
        """The public key (RFC 7517), named by its thumbprint (RFC 7638)."""
        numbers = self._private.public_key().public_numbers()
        x, y = (_base64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
        # the thumbprint is of these members alone, in this order, without spaces
        public = {"crv": "P-256", "kty": "EC", "x": x, "y": y}
        text = json.dumps(public, separators=(",", ":"))
        kid = _base64url(hashlib.sha256(text.encode()).digest())
        return {**public, "kid": kid, "alg": "ES256", "use": "sig"}

    @cached_property
    def _private(self) -> "EllipticCurvePrivateKey":
        if self._given is not None:
            return self._given
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # as above

        return ec.generate_private_key(ec.SECP256R1())


def _read(pem: str) -> "EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415  # as above
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415  # as above
        load_pem_private_key,
    )

    wrong = "`signing_key` must be an EC P-256 private key in PEM, without a password"
    try:
        # a variable of one line has its line breaks as `\n`
        key = load_pem_private_key(pem.replace("\\n", "\n").encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # the library's own words may quote the key
        raise ValueError(wrong) from None
    if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise ValueError(wrong)


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()
