"""How a login travels, and what it is worth: transports, strategies, and both as a backend."""

import base64
import hashlib
import hmac
from collections.abc import Callable
from typing import Protocol

from fastapi.responses import JSONResponse
from fastapi.security import OAuth2PasswordBearer
from starlette.responses import Response


class Strategy(Protocol):
    """Writes tokens, and reads them."""

    def write(self, user_id: int) -> str:
        """Return the token of a user."""

    def read(self, token: str) -> int | None:
        """Return the user of a token, None where it is no token of ours."""


class SignedStrategy:
    """Tokens that a secret signs."""

    def __init__(self, secret: str) -> None:
        self.secret = secret.encode()

    def write(self, user_id: int) -> str:
        """Return the token of a user."""
        return f"{user_id}.{self._sign(str(user_id))}"

    def read(self, token: str) -> int | None:
        """Return the user of a token, None where the signature is not ours."""
        number, _, signature = token.partition(".")
        return int(number) if hmac.compare_digest(signature, self._sign(number)) else None

    def _sign(self, text: str) -> str:
        digest = hmac.new(self.secret, text.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


class BearerTransport:
    """The header `Authorization`."""

    def __init__(self, token_url: str) -> None:
        self.scheme = OAuth2PasswordBearer(token_url, auto_error=False)

    def answer(self, token: str) -> Response:
        """Return what a login is answered with."""
        return JSONResponse({"access_token": token, "token_type": "bearer"})


class Backend:
    """A transport and the strategy of its tokens, made for each request."""

    def __init__(
        self, name: str, transport: BearerTransport, get_strategy: Callable[[], Strategy]
    ) -> None:
        self.name = name
        self.transport = transport
        self.get_strategy = get_strategy
