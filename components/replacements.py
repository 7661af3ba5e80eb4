"""The table of replacements: a layer of others → the one here that does the same, and what differs.

In: the import path of a layer, its options as objects, what `app.state` has. Out: a `Replacement`, or
None where the meaning would not be kept. `assembler adopt --prefer ours` asks it; it imports nothing of
those others.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Replacement:
    """What stands in for a layer: its import path, options of its own, and what it does otherwise.

    `kept` are options that both have by one name, and that keep their values.
    """

    use: str
    differs: tuple[str, ...]
    kept: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def replacement(
    path: str, options: Mapping[str, Any], state: Mapping[str, Any]
) -> Replacement | None:
    """Return what stands in for the layer at `path` with these options; `state` is `app.state`'s."""
    make = _TABLE.get(path)
    return None if make is None else make(options, state)


def _cors(options: Mapping[str, Any], state: Mapping[str, Any]) -> Replacement:
    return Replacement(
        "components.middleware.cors.CORSMiddleware",
        ("`Vary` has `Origin` once, where Starlette may say it twice",),
        kept=tuple(options),
    )


def _slowapi(options: Mapping[str, Any], state: Mapping[str, Any]) -> Replacement | None:
    """Take over limits of the whole application by address; those of single routes mean more."""
    limiter = state.get("limiter")
    rates = list(_rates(getattr(limiter, "_application_limits", None) or ()))
    is_plain = (
        not getattr(limiter, "_default_limits", None)
        and getattr(getattr(limiter, "_key_func", None), "__name__", "") == "get_remote_address"
        and str(getattr(limiter, "_storage_uri", None) or "memory://").startswith("memory")
    )
    if not rates or not is_plain:
        return None
    return Replacement(
        "components.middleware.rate_limit.RateLimitMiddleware",
        (
            "a limit holds in any window, not in those that begin with the clock",
            "an IPv6 address counts with its /64 network",
            "a refusal is answered by the layer, and not by the handler of `RateLimitExceeded`",
            "limits of decorators stay slowapi's",
        ),
        options={"limit": rates[0] if len(rates) == 1 else rates},
    )


def _rates(groups: Any) -> Iterator[str]:
    for group in groups:
        for each in group:
            rate = each.limit
            unit = rate.GRANULARITY.name
            many = f"{rate.multiples} {unit}s" if rate.multiples > 1 else unit
            yield f"{rate.amount}/{many}"


_TABLE: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Replacement | None]] = {
    "starlette.middleware.cors.CORSMiddleware": _cors,
    "slowapi.middleware.SlowAPIMiddleware": _slowapi,
    "slowapi.middleware.SlowAPIASGIMiddleware": _slowapi,
}
