"""What can go wrong with another service, as one small tree of exceptions.

    ClientError
    ├── AuthenticationError   401, 403: the credentials are wrong, or may not do this
    ├── RequestError          other 4xx: the same request would be refused again
    ├── LimitError            429: too many requests, still so after all retries
    ├── UnavailableError      5xx, no connection, no answer in time
    ├── AnswerError           an answer that the service's own documentation does not allow
    └── UnsupportedError      the service cannot do this at all; nothing was sent

In: what a service answered. Out: an exception whose text says which service, the status, its own code
and the request's ID there. Refused in that text: credentials (services quote them in their answers),
whatever is longer than a line, and what is no text.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import httpx2

_LONGEST_DETAIL = 300
_REQUEST_IDS = ("x-request-id", "request-id", "twilio-request-id")


class ClientError(Exception):
    """A call of another service failed.

    Attributes:
        provider: the service, such as `openai`.
        detail: what went wrong, without secrets.
        status: of the answer; None where there was none.
        code: the service's own, such as `rate_limit_exceeded`.
        request_id: that the service gave to the call, for its support.
        maybe_done: the service may have done what it was asked, though it did not say so.
    """

    def __init__(
        self,
        provider: str,
        detail: str,
        *,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        maybe_done: bool = False,
    ) -> None:
        self.provider = provider
        self.detail = detail
        self.status = status
        self.code = code
        self.request_id = request_id
        self.maybe_done = maybe_done
        facts = [str(status or ""), code or "", f"request {request_id}" if request_id else ""]
        known = ", ".join(fact for fact in facts if fact)
        super().__init__(f"{provider}: {detail}" + (f" ({known})" if known else ""))


class AuthenticationError(ClientError):
    """The credentials are wrong, or may not do this."""


class RequestError(ClientError):
    """The service refuses the request, and would again."""


class LimitError(ClientError):
    """Too many requests, also after all retries."""


class UnavailableError(ClientError):
    """The service failed, could not be reached, or did not answer in time."""


class AnswerError(ClientError):
    """The answer is not what the service's documentation promises."""


class UnsupportedError(ClientError):
    """The service has no such function; nothing was sent."""


def fault_of(provider: str, response: httpx2.Response, secrets: Iterable[str] = ()) -> ClientError:
    """The exception for an answer that is no success; its body has been read."""
    status = response.status_code
    error = error_object(response)
    code = _code_of(error, status)
    message = error.get("message")
    if status in {401, 403} or not isinstance(message, str):
        # a service that refuses a key may quote it, in part: its words are left out
        message = httpx2.codes.get_reason_phrase(status) or "no success"
    return _class_of(status)(
        provider,
        clean(message, secrets),
        status=status,
        code=clean(code, secrets) if code else None,
        request_id=request_id_of(response),
        maybe_done=status >= 500,
    )


def error_object(response: httpx2.Response) -> Mapping[str, Any]:
    """What the body says of the error: its `error` member, or the body itself; empty if neither."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        return {}
    error = body.get("error", body) if isinstance(body, dict) else {}
    return error if isinstance(error, dict) else {"message": str(error)}


def request_id_of(response: httpx2.Response) -> str | None:
    """The ID that the service gave to the request."""
    found = (response.headers.get(name) for name in _REQUEST_IDS)
    return next((clean(value) for value in found if value), None)


def clean(text: str, secrets: Iterable[str] = ()) -> str:
    """One line without secrets and control characters, of bounded length."""
    for secret in secrets:
        text = text.replace(secret, "***")
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _LONGEST_DETAIL else f"{line[: _LONGEST_DETAIL - 1]}…"


def _code_of(error: Mapping[str, Any], status: int) -> str | None:
    """The service's own code: Google has it in the details, and gives the status for `code`."""
    details = error.get("details")
    named = [error.get(key) for key in ("code", "type", "status")]
    if isinstance(details, list):
        named = [d.get("errorCode") for d in details if isinstance(d, dict)] + named
    return next((str(code) for code in named if code and code != status), None)


def _class_of(status: int) -> type[ClientError]:
    if status in {401, 403}:
        return AuthenticationError
    if status == 429:
        return LimitError
    return UnavailableError if status >= 500 or status == 408 else RequestError
