"""An exception that a client must not see -> what the operators see of it.

In: the scope of its request. Out: a log record of the logger `components.errors`, and for what is
unexpected an event in Sentry, both with the request's ID. Refuses to fail: an answer depends on it.
"""

import logging
import sys
from contextlib import suppress
from typing import Any

from starlette.types import Scope

from components import request_context

logger = logging.getLogger("components.errors")


def report(scope: Scope, error: Exception) -> dict[str, Any]:
    """Tell all who want to know; returns what the client may be told to find it by."""
    request_id = _request_id(scope)
    # First, as it has the ID: Sentry drops the second event of one exception, the log record's.
    with suppress(Exception):
        _send_to_sentry(error, request_id)
    log(logging.ERROR, "unhandled", scope, error)
    return {"request_id": request_id} if request_id else {}


def log(level: int, verb: str, scope: Scope, error: Exception | None = None) -> None:
    """One record: what was done, in which request, and the exception with its traceback."""
    request_id = _request_id(scope) or "-"
    with suppress(Exception):  # a filter or handler of the application's may fail
        logger.log(
            level,
            "%s %s, request %s",
            f"{verb} {type(error).__name__} in" if error else verb,
            # the path is decoded, so it may hold line breaks
            f"{scope.get('method', 'websocket')} {scope.get('path', '')!a}",
            request_id,
            exc_info=error,
            extra={"request_id": request_id},
        )


def _send_to_sentry(error: Exception, request_id: str | None) -> None:
    sentry = sys.modules.get("sentry_sdk")
    if sentry is None or not sentry.get_client().is_active():
        return
    with sentry.new_scope() as scope:
        if request_id:
            scope.set_tag("request_id", request_id)
        # As what nobody else has handled: `capture_exception` would call it handled.
        event, hint = sentry.utils.event_from_exception(
            error,
            client_options=sentry.get_client().options,
            mechanism={"type": "components.errors", "handled": False},
        )
        scope.capture_event(event, hint)


def _request_id(scope: Scope) -> str | None:
    """The ID that RequestIDMiddleware gave; outside of it only the scope still knows."""
    found: str | None = (scope.get("state") or {}).get("request_id")
    return found or request_context.request_id()
