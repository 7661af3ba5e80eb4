"""Exceptions -> answers in one shape: `{"error": {"code", "message", "details"}}`.

In: the request or websocket, and what was raised. Out: an `ErrorResponse`, which is problem+json where
the client prefers that, and closes a websocket that was accepted. Refuses to tell a client what was
not written for it: texts of unexpected exceptions, inputs, SQL.

Every handler is a class: `{catch: 401, use: components.errors.unauthorized}` in a manifest, with or
without options, and `app.add_exception_handler(401, unauthorized())` by hand.
"""

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketState

from components.errors.report import log, report
from components.errors.transient import transient_reason
from components.http.error_response import BodyOption, ErrorResponse, Fault, fault_of, valid_shape
from components.http.headers import HeaderValue, header_value
from components.http.openapi import COMPONENTS, HEADERS, Offer, content_of, refusals
from components.http.paths import app_path
from components.http.routes import allowed_methods

_MOST_ERRORS = 100
_INVALID = Fault(422, "validation_error", "the request is not valid")
_REFUSED_VALUE = Fault(422, "invalid_value", "a value is not acceptable")
_UNEXPECTED = "the request failed unexpectedly"


class BaseAPIException(HTTPException):
    """What a service raises to answer with a status, a code of its own, and details.

    `code` is for programs (`listing_not_found`), `message` for people. Without a handler for it, it is
    answered as any `HTTPException`, with its status and message.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str = "",
        details: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message or None, headers)
        self.code = code
        self.details = dict(details or {})


def _prefix(path: str) -> str:
    if not path.startswith("/") or "*" in path:
        raise ValueError(f"`challenges` has a path such as `/mcp`, not {path!r}")
    return path


class _Handler:
    """What handlers have in common; `status` is that of exceptions which have none."""

    status = 500

    def __init__(self, *, body: BodyOption = "accept") -> None:
        self._body = valid_shape(body)

    async def __call__(self, connection: HTTPConnection, error: Exception) -> ErrorResponse:
        """Answer `error`, as Starlette calls it."""
        accepted = (
            isinstance(connection, WebSocket)
            and connection.application_state is not WebSocketState.CONNECTING
        )
        fault = self.fault(connection, error)
        return ErrorResponse(fault, connection.scope, body=self._body, accepted=accepted)

    def openapi_operation(self, method: str, path: str) -> Offer | None:
        """The answers that may come, and the body of any."""
        return {"bodies": {"default": content_of(self._body)}, **self.answers()}

    def answers(self) -> Offer:
        """What is answered on any route, whatever it declares."""
        return refusals(self._body, Fault(self.status))

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """What the client may know."""
        return fault_of(error, self.status)


class _AnyStatus(_Handler):
    """A handler of exceptions that say their status."""

    def answers(self) -> Offer:
        """A refusal of any kind, where the route does not say it."""
        refused = {"description": "The request is refused", "content": content_of(self._body)}
        return {"responses": {"4XX": refused}, "components": COMPONENTS}


class http_exception(_AnyStatus):  # noqa: N801  # manifests name handlers like functions
    """`HTTPException` of Starlette and FastAPI, router's 404 and 405 among them.

    A dict with the key `error` is the answer as it stands, which OAuth clients need (RFC 6749, 5.2).
    The `Allow` of a router's 405 has the methods of all routes of that path.
    """

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """What the exception says, and the methods that would have been right."""
        fault = fault_of(error, self.status)
        allow = next((name for name in fault.headers if name.lower() == "allow"), None)
        if fault.status != 405 or allow is None:
            return fault
        said = {each.strip() for each in fault.headers[allow].split(",")}
        methods = sorted({*said, *allowed_methods(connection.scope)} - {""})
        return replace(fault, headers={**fault.headers, allow: ", ".join(methods)})


class api_exception(_AnyStatus):  # noqa: N801  # as above
    """`BaseAPIException`, with its code and details."""


class forbidden(_Handler):  # noqa: N801  # as above
    """403, and exceptions such as PermissionError, whose texts are not shown."""

    status = 403


class unauthorized(_Handler):  # noqa: N801  # as above
    """401; the answer has the exception's own WWW-Authenticate, else that of its path.

    Raises:
        ValueError: `challenges` has no path prefixes, or no header values.
    """

    status = 401

    def __init__(
        self,
        *,
        challenges: Annotated[
            Mapping[Annotated[str, AfterValidator(_prefix)], HeaderValue] | None,
            Field(description="WWW-Authenticate for a path such as `/mcp` and all beneath it"),
        ] = None,
        body: BodyOption = "accept",
    ) -> None:
        super().__init__(body=body)
        self._challenges: dict[str, str] = {}
        # the longest first: a mount inside a mount has its own
        for prefix, challenge in sorted((challenges or {}).items(), reverse=True):
            _prefix(prefix)
            header_value("challenges", challenge)
            self._challenges[prefix.rstrip("/") + "/"] = challenge

    def answers(self) -> Offer:
        """The challenge; who raises is not known here."""
        offer = super().answers()
        if self._challenges:
            offer["headers"] = {"401": {"WWW-Authenticate": HEADERS["WWW-Authenticate"]}}
        return offer

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """What the exception says, and how to authenticate."""
        fault = fault_of(error, self.status)
        if any(name.lower() == "www-authenticate" for name in fault.headers):
            return fault
        path = _outer_path(connection.scope).rstrip("/") + "/"
        for prefix, challenge in self._challenges.items():
            if path.startswith(prefix):
                return replace(fault, headers={**fault.headers, "WWW-Authenticate": challenge})
        return fault


class validation_error(_Handler):  # noqa: N801  # as above
    """FastAPI's `RequestValidationError`, and its sibling for websockets.

    Tells where and why, never the input: that may be a password, or nothing that JSON can hold.
    """

    status = 422

    def answers(self) -> Offer:
        """The 422, with the form of its details."""
        faults = [{"loc": ["query", "limit"], "msg": "Field required", "type": "missing"}]
        return refusals(
            self._body, replace(_INVALID, details={"errors": faults}), schema="InvalidRequest"
        )

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """The location, message and type of each error, as far as there are not too many."""
        errors: Sequence[Any] = getattr(error, "errors", list)()
        details: dict[str, Any] = {
            "errors": [
                {name: item.get(name) for name in ("loc", "msg", "type")}
                for item in errors[:_MOST_ERRORS]
            ]
        }
        if len(errors) > _MOST_ERRORS:
            details["omitted"] = len(errors) - _MOST_ERRORS
        return replace(_INVALID, details=details)


class value_error(_Handler):  # noqa: N801  # as above
    """`ValueError`, as services raise it for input that they do not accept.

    Many a bug is a ValueError too, so it is logged with its traceback.
    """

    status = 422

    def __init__(
        self,
        *,
        show_text: Annotated[
            bool,
            Field(
                description="show the texts of ValueError itself; those of its subclasses, such "
                "as pydantic's and json's, quote their input and are never shown",
                json_schema_extra={"looser": "true"},
            ),
        ] = False,
        body: BodyOption = "accept",
    ) -> None:
        super().__init__(body=body)
        self._show_text = show_text

    def answers(self) -> Offer:
        """The 422 of any route."""
        return refusals(self._body, _REFUSED_VALUE)

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """The text where that is allowed."""
        log(logging.WARNING, "refused", connection.scope, error)
        text = str(error) if self._show_text and type(error) is ValueError else ""
        return replace(_REFUSED_VALUE, message=text or _REFUSED_VALUE.message)


class unexpected(_Handler):  # noqa: N801  # as above
    """What nobody else caught: logged and sent to Sentry, where that runs, with the request's ID."""

    reports = True  # it logs what it answers; whoever calls it need not

    def __init__(
        self,
        *,
        debug: Annotated[
            bool,
            Field(
                description="show the exception and its traceback to the client",
                json_schema_extra={"looser": "true"},
            ),
        ] = False,
        body: BodyOption = "accept",
    ) -> None:
        super().__init__(body=body)
        self._debug = debug

    def answers(self) -> Offer:
        """The 500 of any route."""
        return refusals(self._body, Fault(500, message=_UNEXPECTED))

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """The request's ID, by which the log record is found."""
        details = report(connection.scope, error)
        if self._debug:
            details["traceback"] = "".join(traceback.format_exception(error)).splitlines()
        return Fault(500, message=_UNEXPECTED, details=details)


class database_error(_Handler):  # noqa: N801  # as above
    """Errors of SQLAlchemy or a driver: 503 where trying again may help, else as `unexpected`.

    Raises:
        ValueError: `retry_after` is less than a second.
    """

    def __init__(
        self,
        *,
        retry_after: Annotated[
            timedelta, Field(ge=timedelta(seconds=1), description="what clients are told to wait")
        ] = timedelta(seconds=1),
        body: BodyOption = "accept",
    ) -> None:
        super().__init__(body=body)
        if retry_after < timedelta(seconds=1):
            raise ValueError("`retry_after` must be at least a second")
        self._away = Fault(
            503,
            "database_unavailable",
            "the database is not available at the moment",
            headers={"Retry-After": str(-(-retry_after // timedelta(seconds=1)))},
        )

    def answers(self) -> Offer:
        """The 503 and the 500 of any route."""
        return refusals(self._body, Fault(500, message=_UNEXPECTED), self._away)

    def fault(self, connection: HTTPConnection, error: Exception) -> Fault:
        """Nothing of the database's own words, which quote statements and values."""
        reason = transient_reason(error)
        if reason is None:
            return Fault(500, message=_UNEXPECTED, details=report(connection.scope, error))
        log(logging.WARNING, f"database away ({reason}), refused", connection.scope)
        return self._away


def _outer_path(scope: Scope) -> str:
    """The path as the outermost application sees it, whatever mounts the request has entered."""
    root = scope.get("app_root_path", scope.get("root_path", ""))
    return app_path({"path": scope["path"], "root_path": root})
