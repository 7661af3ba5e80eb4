"""What layers have counted in each process → the numbers of a service.

In: the stack of an application, whose layers say by a method `figures` what they have counted in this
process (see `assembler.runtime.contracts`); the same of other processes, as they told it. Out: requests,
errors and latencies in all and by route, and what limits decided. Of keys that a limit refused only a
hash leaves a process. Nothing is counted here: it is read when somebody looks, or tells others.
"""

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assembler.plan.component import Component

_DEEPEST = 200  # layers, and what stands between them
_TOP = 10  # refused keys that are told
_CONVERTER = re.compile(r":[a-zA-Z_]\w*(?=\})")
Stack = tuple[Any, Sequence[Component]]  # the outermost application, and the layers of the manifest
Number = dict[str, Any]


def own_figures(stacks: Iterable[Stack], key: bytes) -> dict[str, Any]:
    """Ask the layers of this process; `key` is that of the hashes."""
    metrics: dict[str, Any] | None = None
    layers: dict[str, Any] = {}
    for app, components in stacks:
        for id_, layer in _layers(app, components):
            ask = getattr(layer, "figures", None)
            if not callable(ask):
                continue
            told = ask()
            if "routes" in told:
                metrics = metrics or {**told, "layer": id_}
            else:
                layers[id_] = _hashed(told, key)
    return {"metrics": metrics, "layers": layers}


def merged(told: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Add up the figures of several processes; `measured` where one of them counts requests."""
    metrics = [each["metrics"] for each in told if each.get("metrics")]
    routes: dict[tuple[str, str], _Counted] = defaultdict(_Counted)
    total = _Counted()
    limits: dict[str, dict[str, float]] = defaultdict(lambda: {"admitted": 0, "refused": 0})
    for each in metrics:
        bounds = [*each["bounds"], None]
        for method, route, status, counts, seconds in each["routes"]:
            for counted in (routes[method, route], total):
                counted.add(status, bounds, counts, seconds)
        for policy, decision, number in each["limits"]:
            limits[policy][decision] += number
    return {
        "measured": bool(metrics),
        "layer": metrics[0]["layer"] if metrics else None,
        "total": total.as_dict(),
        "in_flight": sum(each["in_flight"] for each in metrics),
        "websockets": sum(each["websockets"] for each in metrics),
        "routes": routes,
        "policies": dict(limits),
        "layers": _merged_layers(each.get("layers") or {} for each in told),
    }


def of_routes(
    figures: Mapping[str, Any], listed: Iterable[tuple[str, Sequence[str]]]
) -> list[Number]:
    """Return the numbers of each route of the application, by path and methods, in their order.

    What was counted is given once: to the first route that could have answered.
    """
    left: dict[tuple[str, str], _Counted] = dict(figures["routes"])
    found = []
    for path, methods in listed:
        counted = _Counted()
        template = _CONVERTER.sub("", path) if "{" in path else path
        if list(methods) == ["MOUNT"]:
            below = template.rstrip("/") + "/"
            keys = [key for key in left if key[1] == template or key[1].startswith(below)]
        else:
            keys = [(method, template) for method in methods if (method, template) in left]
        for key in keys:
            counted.join(left.pop(key))
        found.append(counted.as_dict())
    return found


def unrouted(figures: Mapping[str, Any]) -> dict[str, Number]:
    """Return the numbers of requests that no route answered, by what is said instead of one."""
    parts: dict[str, _Counted] = defaultdict(_Counted)
    for (_, route), counted in figures["routes"].items():
        if route.startswith("("):
            parts[route].join(counted)
    return {name: counted.as_dict() for name, counted in sorted(parts.items())}


@dataclass(slots=True)
class _Counted:
    """Requests by status and by the bound of their latency."""

    requests: int = 0
    errors: int = 0
    refused: int = 0
    seconds: float = 0.0
    buckets: "dict[float | None, float] | None" = None

    def add(
        self, status: str, bounds: Sequence[float | None], counts: Sequence[float], seconds: float
    ) -> None:
        number = int(sum(counts))
        self.requests += number
        self.errors += number if status.startswith("5") else 0
        self.refused += number if status.startswith("4") else 0
        self.seconds += seconds
        mine = self.buckets = {} if self.buckets is None else self.buckets
        for bound, count in zip(bounds, counts, strict=False):
            if count:
                mine[bound] = mine.get(bound, 0) + count

    def join(self, other: "_Counted") -> None:
        self.requests += other.requests
        self.errors += other.errors
        self.refused += other.refused
        self.seconds += other.seconds
        mine = self.buckets = {} if self.buckets is None else self.buckets
        for bound, count in (other.buckets or {}).items():
            mine[bound] = mine.get(bound, 0) + count

    def as_dict(self) -> Number:
        return {
            "requests": self.requests,
            "errors": self.errors,
            "client_errors": self.refused,
            "p50_milliseconds": self._quantile(0.5),
            "p99_milliseconds": self._quantile(0.99),
        }

    def _quantile(self, share: float) -> float | None:
        """Estimate it as Prometheus does: evenly spread in its bucket, the last bound beyond all."""
        if not self.buckets or not self.requests:
            return None
        rank, seen, low = share * self.requests, 0.0, 0.0
        bounds = sorted(bound for bound in self.buckets if bound is not None)
        for bound in bounds:
            count = self.buckets[bound]
            if seen + count >= rank:
                return round((low + (bound - low) * (rank - seen) / count) * 1000, 3)
            seen, low = seen + count, bound
        return round(low * 1000, 3) if bounds else None


def _layers(app: Any, components: Sequence[Component]) -> Iterator[tuple[str, Any]]:
    """Find the objects of layers in a stack: each stands inside of the one before it."""
    chain, waiting = list(_chain(app)), list(components)
    for layer in chain:
        for place, component in enumerate(waiting):
            if type(layer) is component.target.value:
                yield component.id, layer
                del waiting[: place + 1]
                break


def _chain(app: Any) -> Iterator[Any]:
    for _ in range(_DEEPEST):
        if app is None:
            return
        yield app
        app = getattr(app, "app", None)


def _hashed(told: Mapping[str, Any], key: bytes) -> dict[str, Any]:
    refused = sorted(told.get("refused_keys", ()), key=lambda pair: -pair[1])[:_TOP]
    return {
        **told,
        "refused_keys": [
            [
                hashlib.blake2b(
                    subject.encode("utf-8", "replace"), key=key, digest_size=6
                ).hexdigest(),
                n,
            ]
            for subject, n in refused
        ],
    }


def _merged_layers(told: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for layers in told:
        for id_, said in layers.items():
            known = found.setdefault(id_, {"limits": said.get("limits", []), "refused_keys": {}})
            for hash_, number in said.get("refused_keys", ()):
                known["refused_keys"][hash_] = known["refused_keys"].get(hash_, 0) + number
    for known in found.values():
        top = sorted(known["refused_keys"].items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP]
        known["refused_keys"] = [{"hash": hash_, "refused": number} for hash_, number in top]
    return found
