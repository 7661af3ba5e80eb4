"""Sums and the report of the application -> families of metrics, as Prometheus' client has them.

In: the sums of `components.metrics.store`; the object on `app.state.assembly`, where there is one. Out:
metric families, in a fixed order. Refused: parts of a report that have another form; they are left out.
"""

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping
from typing import Any

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from components.metrics.store import Key

REQUEST, SOCKET, LIMIT, LIVE, JOB = "request", "websocket", "limit", "live", "job"
REFUSAL = "refusal"  # as `components.health.access` has it
SUM = "sum"
_ROUTE = ("method", "route", "status")
_ENDED = frozenset({"shutdown", "close"})


def counted(sums: Mapping[Key, float]) -> Iterator[Metric]:
    """What requests did: how many, how long, how many now, and what limits decided; and jobs."""
    parts: dict[str, dict[Key, float]] = defaultdict(dict)
    for key, value in sums.items():
        parts[key[0]][key[1:]] = value
    yield from _requests(parts[REQUEST])
    now = parts[LIVE]
    text = "HTTP requests that are being answered"
    yield GaugeMetricFamily("http_requests_in_flight", text, now.get((REQUEST,), 0))
    yield GaugeMetricFamily("websockets_open", "Open websockets", now.get((SOCKET,), 0))
    text = "Websocket handshakes; 101 is accepted"
    yield _counters("websocket_handshakes", text, ("route", "status"), parts[SOCKET])
    text = "Requests that a rate limit has admitted or refused"
    yield _counters("rate_limit_decisions", text, ("policy", "decision"), parts[LIMIT])
    text = "Ticks of jobs by what became of them, each counted by one process"
    yield _counters("job_ticks", text, ("job", "outcome"), parts[JOB])
    text = "Requests that pages for operators have refused"
    yield _counters("page_refusals", text, ("page", "status"), parts[REFUSAL])


def reported(report: Any, lost: Container[str] = ()) -> Iterator[Metric]:
    """What the application says of its start and of its resources; `lost` ones do not answer now."""
    if report is None:
        return
    ready = getattr(report, "ready", None)
    if ready is not None:
        text = "1 while the process that answers takes requests"
        yield GaugeMetricFamily("app_ready", text, float(bool(ready)))
    reloads = getattr(getattr(report, "supervision", None), "reloads", None)
    if reloads is not None:
        text = "Reloads of the service since its parent started, by what became of them"
        family = CounterMetricFamily("app_reloads", text, labels=("outcome",))
        for outcome, number in sorted(reloads.items()):
            family.add_metric((outcome,), number)
        yield family
    text = "Time of each step of the start, in the process that answers"
    labels = ("phase", "step", "outcome")
    durations = GaugeMetricFamily("app_startup_step_seconds", text, labels=labels)
    text = "1 while a resource is there, in the process that answers"
    resources = GaugeMetricFamily("app_resource_up", text, labels=("resource",))
    degraded = getattr(report, "degraded", {})
    steps = {(step.phase, step.id): step for step in getattr(report, "steps", ())}
    for (phase, name), step in steps.items():
        if phase not in _ENDED:
            durations.add_metric((phase, name, step.outcome), step.milliseconds / 1000)
        if phase == "resource":
            resources.add_metric((name,), float(name not in degraded and name not in lost))
    yield durations
    yield resources
    yield from _loops(getattr(report, "loops", {}))


def _loops(loops: Mapping[str, Any]) -> Iterator[Metric]:
    if not loops:
        return
    text = "1 while a background loop runs in the process that answers"
    running = GaugeMetricFamily("app_background_running", text, labels=("loop",))
    text = "Crashes of background loops, in the process that answers"
    crashes = CounterMetricFamily("app_background_crashes", text, labels=("loop",))
    for name, state in sorted(loops.items()):
        running.add_metric((name,), float(state.status == "running"))
        crashes.add_metric((name,), state.crashes)
    yield running
    yield crashes


def _requests(parts: Mapping[Key, float]) -> Iterator[Metric]:
    """The histogram, and its counts once more as a counter under its usual name."""
    text = "HTTP requests that were answered"
    counts = CounterMetricFamily("http_requests", text, labels=_ROUTE)
    text = "Time until the last byte of an answer was sent"
    times = HistogramMetricFamily("http_request_duration_seconds", text, labels=_ROUTE)
    series: dict[Key, dict[str, float]] = defaultdict(dict)
    for key, value in parts.items():
        series[key[:-1]][key[-1]] = value
    for labels, values in sorted(series.items()):
        total, buckets = 0.0, []
        for bound in sorted(values.keys() - {SUM}, key=float):
            total += values[bound]
            buckets.append((bound, total))
        counts.add_metric(labels, total)
        times.add_metric(labels, buckets, values.get(SUM, 0.0))
    yield counts
    yield times


def _counters(name: str, text: str, labels: Key, parts: Mapping[Key, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in sorted(parts.items()):
        family.add_metric(values, value)
    return family
