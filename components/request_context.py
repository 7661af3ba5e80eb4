"""What is known about the request that runs now, for code and log records that are not handed it.

In: the request ID and W3C `traceparent` that `RequestIDMiddleware` puts into `CONTEXT`. Out: the
functions below, and a logging filter that puts both on every record. Outside a request, and in a
thread that did not inherit the context, everything is None. Nothing here trusts input: what is in
`CONTEXT` was validated by the one who put it there.
"""

import logging
from contextvars import ContextVar

CONTEXT: ContextVar[tuple[str, str | None] | None] = ContextVar("request_context", default=None)
"""`(request ID, traceparent or None)`: one variable and a plain tuple, as each request sets it."""


def request_id() -> str | None:
    """The ID of the running request."""
    context = CONTEXT.get()
    return context[0] if context else None


def set_request_id(id: str) -> None:
    """Begin a context of its own for work that is no request, such as a run of a job.

    It holds for the task or thread that calls it, and for those that begin in it. As `context` of a
    manifest's `scheduler`, the log lines of a run carry the run's ID.
    """
    CONTEXT.set((id, None))


def traceparent() -> str | None:
    """The caller's valid `traceparent`, to be passed on with outgoing requests."""
    context = CONTEXT.get()
    return context[1] if context else None


def trace_id() -> str | None:
    """The 32 hex digits of the trace that the caller is part of."""
    parent = traceparent()
    return parent[3:35] if parent else None


def span_id() -> str | None:
    """The 16 hex digits of the caller's span (no span of our own is opened)."""
    parent = traceparent()
    return parent[36:52] if parent else None


class RequestContextFilter(logging.Filter):
    """Puts `request_id`, `trace_id` and `span_id` on every record; it never drops one.

    It belongs on handlers: a logger's filters do not see the records of its children. In dictConfig:
    `filters: {context: {"()": components.request_context.RequestContextFilter}}`.

    Args:
        missing: what stands where there is no request or no trace.
    """

    def __init__(self, *, missing: str = "-") -> None:
        super().__init__()
        self._missing = missing

    def filter(self, record: logging.LogRecord) -> bool:
        found = {"request_id": request_id(), "trace_id": trace_id(), "span_id": span_id()}
        for name, value in found.items():
            # A record that was buffered or queued already says which request it is about.
            if not hasattr(record, name):
                setattr(record, name, value or self._missing)
        return True
