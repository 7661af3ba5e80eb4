"""Text messages by Twilio, and by services with the same API.

In: a number and a text. Out: the message's ID and status; delivery is asked for with `fetch`, or told to
`status_callback`. Refused before anything is sent: numbers that are not E.164 (`+4915112345678`), texts
that are empty or too long. A message that may have been accepted is never sent again by itself: only
429, and connections that never came about, are tried again. Where that stays open, the error says
`maybe_done`.

https://www.twilio.com/docs/messaging/api/message-resource
"""

import base64
import logging
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

import httpx2
from pydantic import Field, SecretStr

from components.clients.exchange import (
    BaseURL,
    Connections,
    Deadline,
    Exchange,
    OptionalClient,
    Retries,
    Timeout,
    secret_text,
    verify,
)
from components.clients.faults import (
    AnswerError,
    UnavailableError,
    clean,
    request_id_of,
)

logger = logging.getLogger("components.clients")

_E164 = re.compile(r"\+[1-9][0-9]{1,14}")  # ITU-T E.164: at most 15 digits, none of them 0 at first
_LONGEST = 1600  # characters, which Twilio sends as up to ten segments
_MESSAGE_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
_ENDED = frozenset({"delivered", "undelivered", "failed", "read", "received", "canceled"})


@dataclass(frozen=True, slots=True)
class SMS:
    """A message as the service knows it.

    `status` is `queued`, `sent`, `delivered`, `undelivered`, `failed`, …; `error_code` is the service's.
    """

    id: str
    status: str
    to: str
    segments: int
    error_code: int | None = None

    @property
    def is_final(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in _ENDED


class SMSClient(OptionalClient):
    """Sends text messages for one account; off without account, token and sender.

    Raises:
        ValueError: an option is not what it should be, or only some of those three are given.
    """

    critical = False  # what it would send can wait

    def __init__(
        self,
        *,
        account: Annotated[
            str, Field(pattern="^[0-9A-Za-z]*$", description="the account's SID")
        ] = "",
        token: Annotated[
            str | SecretStr, Field(description="the account's auth token, or the API key's secret")
        ] = "",
        sender: Annotated[
            str,
            Field(description="a number, an alphanumeric sender, or a messaging service (`MG…`)"),
        ] = "",
        api_key: Annotated[
            str | None, Field(description="the SID of an API key, where `token` is its secret")
        ] = None,
        status_callback: Annotated[
            str | None, Field(description="the URL that is told how a message fares")
        ] = None,
        base_url: BaseURL = "https://api.twilio.com",
        timeout: Timeout = timedelta(seconds=10),
        deadline: Deadline = timedelta(seconds=30),
        retries: Retries = 2,
        max_connections: Connections = 20,
        verify_credentials: Annotated[
            bool, Field(description="ask for the account at the start; where that is refused, fail")
        ] = False,
    ) -> None:
        text = token.get_secret_value() if isinstance(token, SecretStr) else token
        super().__init__(is_on=any((account, text, sender)))
        self._account_path = f"2010-04-01/Accounts/{account}"
        self._verifies = verify_credentials
        secret, basic = _credentials(account, text, sender, api_key) if self.is_on else ("", "")
        self._exchange = Exchange(
            "sms",
            base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            max_connections=max_connections,
            headers={"Authorization": f"Basic {basic}"},
            secrets=(secret, basic) if self.is_on else (),
        )
        self._path = f"{self._account_path}/Messages"
        is_service = re.fullmatch(r"MG[0-9a-fA-F]{32}", sender) is not None
        self._fixed = {"MessagingServiceSid" if is_service else "From": sender}
        if status_callback is not None:
            self._fixed["StatusCallback"] = status_callback

    async def open(self) -> None:
        """Begin; raises AuthenticationError where credentials are to be verified, and are refused."""
        if not self.is_on:
            logger.info("text messages are off: there are no credentials")
        elif self._verifies:
            account = self._exchange.request("GET", f"{self._account_path}.json")
            await verify(account, "sms: the account", self.aclose)

    async def send(self, to: str, body: str) -> SMS:
        """Send a text, once.

        Args:
            to: the number, in the form of E.164.
            body: 1 to 1600 characters.

        Raises:
            ValueError: `to` or `body` is not that.
            ClientError: it was not sent, or, where `maybe_done`, perhaps was.
        """
        if not _E164.fullmatch(to):
            raise ValueError("`to` is no number in the form of E.164, such as `+4915112345678`")
        if not body.strip() or len(body) > _LONGEST:
            raise ValueError(f"`body` must have from 1 to {_LONGEST} characters")
        if not self.is_on:
            raise UnavailableError("sms", "it is off: there are no credentials")
        with self._noting_refusals():
            response = await self._exchange.request(
                *("POST", f"{self._path}.json"),
                once=True,
                data={**self._fixed, "To": to, "Body": body},
            )
        return self._read(response)

    async def fetch(self, message_id: str) -> SMS:
        """Ask how a message fares.

        Raises:
            ValueError: `message_id` cannot be one.
            ClientError: it could not be told.
        """
        if not _MESSAGE_ID.fullmatch(message_id):
            raise ValueError("`message_id` is no message's ID")
        path = f"{self._path}/{quote(message_id, safe='')}.json"
        return self._read(await self._exchange.request("GET", path))

    async def aclose(self) -> None:
        """Close all connections; a later call opens new ones."""
        await self._exchange.aclose()

    def _read(self, response: httpx2.Response) -> SMS:
        try:
            body: Any = response.json()
            code = body.get("error_code")
            return SMS(
                id=clean(body["sid"]),
                status=clean(body["status"]),
                to=clean(body["to"]),
                segments=int(body.get("num_segments") or 0),
                error_code=None if code is None else int(code),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise AnswerError(
                "sms",
                "the answer is no message",
                status=response.status_code,
                request_id=request_id_of(response),
                maybe_done=True,
            ) from error


def _credentials(account: str, token: str, sender: str, api_key: str | None) -> tuple[str, str]:
    """The secret, and user and secret as Basic has them; raises ValueError where one is missing."""
    if not re.fullmatch(r"[0-9A-Za-z]+", account):
        raise ValueError("`account` is no account's SID")
    if not sender:
        raise ValueError("`sender` is empty")
    secret = secret_text("token", token)
    user = secret_text("api_key", api_key or account)
    return secret, base64.b64encode(f"{user}:{secret}".encode()).decode()
