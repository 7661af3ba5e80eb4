"""A Google service account -> access tokens, one at a time and always fresh.

In: the JSON key that Google issues, as text or as a file. Out: the value of an Authorization header.
A token is asked for when there is none, five minutes before it ends, and when a service refused it;
callers that come meanwhile wait for the same one. Refused: a file that is no such key.

https://developers.google.com/identity/protocols/oauth2/service-account#authorizingrequests
"""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from components.clients.exchange import Exchange, base_url, secret_text
from components.clients.faults import AnswerError, AuthenticationError, ClientError, RequestError

_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_LIFE_SECONDS = 3600
_LONGEST_LIFE_SECONDS = 86_400.0
_EARLY_SECONDS = 300


@dataclass(frozen=True, slots=True)
class ServiceAccount:
    """What of a key is needed to sign with it."""

    email: str
    key_id: str
    token_uri: str
    project: str | None
    private_key: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> "ServiceAccount":
        """Read a key.

        Raises:
            ValueError: it is none; its text is not repeated.
        """
        import jwt  # noqa: PLC0415  # takes 160 ms, and only senders need it

        try:
            data: Any = json.loads(text)
            kind = data["type"]
            account = cls(
                email=data["client_email"],
                key_id=data["private_key_id"],
                token_uri=base_url("token_uri", data["token_uri"]),
                project=data.get("project_id"),
                private_key=data["private_key"],
            )
            account.assertion("", 0)
        except (LookupError, TypeError, ValueError, jwt.PyJWTError):
            kind = ""
        if kind != "service_account":
            # nothing is chained: errors quote what they could not read
            raise ValueError("the credentials are no JSON key of a service account")
        return account

    def assertion(self, scope: str, now: int) -> str:
        """A signed request for a token."""
        import jwt  # noqa: PLC0415  # as above

        claims = {
            "iss": self.email,
            "scope": scope,
            "aud": self.token_uri,
            "iat": now,
            "exp": now + _LIFE_SECONDS,
        }
        return jwt.encode(claims, self.private_key, "RS256", headers={"kid": self.key_id})


class AccessTokens:
    """The current token of an account, for one scope.

    Args:
        account: whose token it is.
        scope: what it is for.
        exchange: by which it is fetched.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        account: ServiceAccount,
        scope: str,
        exchange: Exchange,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._account = account
        self._scope = scope
        self._exchange = exchange
        self._clock = clock
        self._token = ""
        self._renewed_at = float("-inf")
        self._fetching: asyncio.Task[None] | None = None

    async def authorization(self) -> str:
        """The value of the Authorization header.

        Raises:
            ClientError: there was no token to be had.
        """
        if self._clock() >= self._renewed_at:
            task = self._fetching
            if task is None or task.done() or task.get_loop() is not asyncio.get_running_loop():
                task = self._fetching = asyncio.create_task(self._fetch())
            # shielded: one caller that is cancelled must not take the token from the others
            await asyncio.shield(task)
        return f"Bearer {self._token}"

    def refused(self, authorization: str) -> None:
        """A service did not take this value: the next caller gets a new one."""
        if authorization == f"Bearer {self._token}":
            self._renewed_at = float("-inf")

    async def aclose(self) -> None:
        """Stop fetching."""
        task, self._fetching = self._fetching, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _fetch(self) -> None:
        assertion = self._account.assertion(self._scope, int(time.time()))
        asked = self._clock()
        try:
            response = await self._exchange.request(
                "POST",
                self._account.token_uri,
                data={"grant_type": _GRANT, "assertion": assertion},
            )
        except RequestError as error:  # 400 `invalid_grant` is how a wrong key is refused
            raise _refused(error) from error
        try:
            token, life = _read(response.json())
        except (LookupError, TypeError, ValueError, OverflowError, AttributeError) as error:
            provider = self._exchange.provider
            raise AnswerError(provider, "the token cannot be read", status=200) from error
        self._token = token
        self._renewed_at = asked + max(life - _EARLY_SECONDS, life / 2)


def _read(body: Any) -> tuple[str, float]:
    """A token, and the seconds for which it holds; raises where one of them is none."""
    token, seconds = body["access_token"], float(body.get("expires_in", _LIFE_SECONDS))
    if not isinstance(token, str):
        raise TypeError("`access_token` is no text")
    if not seconds >= 0:  # nor is it a number
        raise ValueError("`expires_in` is no time")
    return secret_text("access_token", token), min(seconds, _LONGEST_LIFE_SECONDS)


def _refused(error: RequestError) -> ClientError:
    return AuthenticationError(
        error.provider,
        f"no token was given: {error.detail}",
        status=error.status,
        code=error.code,
        request_id=error.request_id,
    )
