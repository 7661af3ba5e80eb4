"""A layer → whether its `send` is of no use once an exception has passed it.

In: the paths of a class and of those that it inherits from, and what it says of itself. Out: True for
the few that are known, and for who says `send_outlives_call = False`. The answer to an exception
passes such a layer by: what the layer adds to answers is not on that one. `application` goes by
this, `explain` and `audit` say it.
"""

from collections.abc import Iterable

ATTRIBUTE = "send_outlives_call"

_CLOSING = frozenset(
    {
        # it closes the stream from which it sends on
        "starlette.middleware.base.BaseHTTPMiddleware",
        # it ends the span of which its `send` tells
        "opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware",
    }
)


def closes_send(paths: Iterable[str], said: object) -> bool:
    """Judge by paths, unless the class itself has `said` so or otherwise."""
    return said is False or (said is not True and not _CLOSING.isdisjoint(paths))


def class_closes_send(layer: object) -> bool:
    """Judge a class, or what else makes a layer."""
    lineage = getattr(layer, "__mro__", ())
    paths = (f"{each.__module__}.{each.__qualname__}" for each in lineage)
    return closes_send(paths, getattr(layer, ATTRIBUTE, None))
