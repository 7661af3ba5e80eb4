"""Push notifications by Firebase Cloud Messaging, over its HTTP v1 API.

In: messages as FCM documents them, `{"token": "…", "notification": {"title": "…"}}`. Out: the name that
FCM gave to each, or a `PushError` with FCM's own code; `is_dead_token` says that a device is gone, and
its token should be forgotten. Refused before anything is sent: a message without one target, and data
that is not text, which FCM would refuse.

https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages
"""

import asyncio
import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from pydantic import Field, SecretStr

from components.clients.exchange import (
    BaseURL,
    Connections,
    Deadline,
    Exchange,
    OptionalClient,
    Retries,
    Timeout,
    verify,
)
from components.clients.faults import (
    AnswerError,
    AuthenticationError,
    ClientError,
    UnavailableError,
)
from components.clients.service_account import AccessTokens, ServiceAccount

_SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
_TARGETS = ("token", "topic", "condition")
OF_ONE_DEVICE = frozenset({"SENDER_ID_MISMATCH", "THIRD_PARTY_AUTH_ERROR"})
"""Codes of a refusal that says nothing of our credentials."""


logger = logging.getLogger("components.clients")


@dataclass(frozen=True, slots=True)
class PushResult:
    """What became of one of many messages: its `name` at FCM, or why it has none."""

    name: str | None = None
    error: ClientError | None = None

    @property
    def is_dead_token(self) -> bool:
        """Whether the device is gone: nothing will ever reach this token again."""
        return self.error is not None and self.error.code == "UNREGISTERED"


class FCMClient(OptionalClient):
    """Sends notifications for one project.

    Without `credentials` the key is the file that the variable `GOOGLE_APPLICATION_CREDENTIALS`
    names, as for Google's own libraries; it is read when the client is opened, or first used. With
    empty credentials, as a variable that is not set leaves them, and without that file, it is off.

    Raises:
        ValueError: an option is not what it should be.
    """

    critical = False  # what it would send can wait

    def __init__(
        self,
        *,
        project: Annotated[
            str | None, Field(description="the Firebase project's ID; that of the key if none")
        ] = None,
        credentials: Annotated[
            SecretStr | str | Path | None,
            Field(
                description="the service account's JSON key, or the path of its file; off where "
                "this is empty, and the variable of Google's libraries names none"
            ),
        ] = None,
        verify_credentials: Annotated[
            bool, Field(description="ask for a token at the start; a key that is refused fails it")
        ] = False,
        base_url: BaseURL = "https://fcm.googleapis.com",
        timeout: Timeout = timedelta(seconds=10),
        deadline: Deadline = timedelta(seconds=60),
        retries: Retries = 4,
        concurrency: Connections = 50,
    ) -> None:
        self._project = project or None
        self._credentials = credentials
        self._verifies = verify_credentials
        super().__init__(is_on=_is_given(credentials))
        if not self.is_on and project:
            raise ValueError("`project` is given, and no `credentials` are")
        self._at_once = concurrency
        self._exchange = Exchange(
            "fcm",
            base_url,
            timeout=timeout,
            deadline=deadline,
            retries=retries,
            max_connections=concurrency,
        )
        self._tokens: AccessTokens | None = None
        self._path = ""

    async def open(self) -> None:
        """Read the key, so that a wrong one shows at the start.

        Raises:
            ValueError, OSError: there is no key, or it is none.
            AuthenticationError: it is refused, where that is to be verified.
        """
        if not self.is_on:
            logger.info("push messages are off: there are no credentials")
            return
        tokens = await self._opened()
        if self._verifies:
            await verify(tokens.authorization(), "push: the key", self.aclose)

    async def aclose(self) -> None:
        """Close all connections; a later call opens new ones."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            await tokens.aclose()
        await self._exchange.aclose()

    async def send(self, message: Mapping[str, Any], *, validate_only: bool = False) -> str:
        """Send one message, and return its name.

        Retried as FCM asks for: on 429, 500 and 503. A message may therefore, rarely, arrive twice;
        a `collapse_key` or `tag` of its own prevents that it is shown twice.

        Args:
            message: the `message` of FCM's documentation.
            validate_only: FCM checks it, and delivers nothing.

        Raises:
            ValueError: it has not one target, data that is not text, or what JSON cannot say.
            ClientError: it was not sent; `code` is FCM's, such as `UNREGISTERED`.
        """
        _check(message)
        if not self.is_on:
            raise UnavailableError("fcm", "it is off: there are no credentials")
        with self._noting_refusals(but=OF_ONE_DEVICE):
            return await self._sent(message, validate_only=validate_only)

    async def _sent(self, message: Mapping[str, Any], *, validate_only: bool) -> str:
        tokens = await self._opened()
        body = {"message": dict(message), **({"validate_only": True} if validate_only else {})}
        authorization = await tokens.authorization()
        try:
            return await self._post(body, authorization)
        except AuthenticationError as error:
            # the other 401 is about the certificate at Apple: no token of ours would help
            if error.status != 401 or error.code == "THIRD_PARTY_AUTH_ERROR":
                raise
        # a token may be withdrawn before its time: once more, with a new one
        tokens.refused(authorization)
        return await self._post(body, await tokens.authorization())

    async def send_each(self, messages: Iterable[Mapping[str, Any]]) -> list[PushResult]:
        """Send many messages, `concurrency` at a time; the results are in their order.

        Raises:
            ValueError: one of them could not be sent; then none is.
        """
        waiting = list(messages)
        for message in waiting:
            _check(message)
        await self._opened()
        results = [PushResult()] * len(waiting)
        left = iter(enumerate(waiting))

        async def work() -> None:
            for at, message in left:
                try:
                    results[at] = PushResult(name=await self.send(message))
                except ClientError as error:
                    results[at] = PushResult(error=error)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._at_once, len(waiting))):
                group.create_task(work())
        return results

    async def send_to_tokens(
        self, tokens: Sequence[str], message: Mapping[str, Any]
    ) -> list[PushResult]:
        """Send one message to many devices; the results are in the order of their tokens."""
        return await self.send_each({**message, "token": token} for token in tokens)

    async def _post(self, body: Mapping[str, Any], authorization: str) -> str:
        headers = {"Authorization": authorization}
        response = await self._exchange.request("POST", self._path, json=body, headers=headers)
        try:
            return str(response.json()["name"])
        except (LookupError, TypeError, ValueError) as error:
            detail = "the answer has no name of the message"
            raise AnswerError("fcm", detail, status=response.status_code) from error

    async def _opened(self) -> AccessTokens:
        if self._tokens is None:
            text = await asyncio.to_thread(_key_text, self._credentials)
            account = ServiceAccount.parse(text)
            project = self._project or account.project
            if not project:
                raise ValueError("no `project` was given, and the key names none")
            self._path = f"v1/projects/{quote(project, safe='')}/messages:send"
            self._tokens = AccessTokens(account, _SCOPE, self._exchange)
        return self._tokens


def _is_given(credentials: SecretStr | str | Path | None) -> bool:
    """Whether there is a key to look for; None leaves it to the variable, which must be set then."""
    if isinstance(credentials, SecretStr):
        credentials = credentials.get_secret_value()
    return credentials != "" or bool(os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"))


def _key_text(credentials: SecretStr | str | Path | None) -> str:
    if isinstance(credentials, SecretStr):
        credentials = credentials.get_secret_value()
    if isinstance(credentials, str) and credentials.lstrip().startswith("{"):
        return credentials
    path = credentials or os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if not path:
        raise ValueError("no `credentials` were given, nor GOOGLE_APPLICATION_CREDENTIALS set")
    return Path(path).read_text("utf-8")


def _check(message: Mapping[str, Any]) -> None:
    targets = [name for name in _TARGETS if message.get(name)]
    if len(targets) != 1:
        raise ValueError("a message needs one of `token`, `topic` and `condition`")
    data = message.get("data") or {}
    if not isinstance(data, Mapping) or not all(isinstance(text, str) for text in data.values()):
        raise ValueError("the values of a message's `data` must be text")
    try:
        json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError("the message holds what JSON cannot say") from error
