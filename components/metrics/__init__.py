"""Requests -> numbers for Prometheus.

In: HTTP requests and websockets. Out: counts and latencies by method, route template and status, what is
in flight, what rate limits decided, what pages for operators refused, what became of jobs; `router` and
`page` make what shows them, with how the start went and what is ready. Over several workers the numbers
are sums, without any set-up: see `components.metrics.run_directory`.

Place it outermost, so that it sees what other layers refuse. A rate limit is seen by the RateLimit field
on its answers: one with `fields: false` is not seen where it admits.
"""

from bisect import bisect_left
from collections.abc import Awaitable, Sequence
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.http.outcome import CLIENT_LEFT, at_end
from components.http.paths import PathPattern, app_path, exempts_path
from components.http.routes import matched_route
from components.metrics.exposition import KEY, page, router
from components.metrics.families import JOB, LIMIT, LIVE, REQUEST, SOCKET, SUM
from components.metrics.route_template import template
from components.metrics.store import Cell, Values

__all__ = ["MetricsMiddleware", "page", "router"]

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_METHODS = frozenset(
    {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}
)
_MOST_SERIES = 5000
_MOST_POLICIES = 100
_REMEMBERED, _LONGEST_REMEMBERED = 4096, 256


def _rising(buckets: Sequence[float]) -> Sequence[float]:
    bounds = [float(bound) for bound in buckets]
    rising = all(low < high for low, high in pairwise(bounds))
    if not bounds or not rising or not bounds[0] > 0 or bounds[-1] == float("inf"):
        raise ValueError("`buckets` must be positive, finite and rising")
    return buckets


class MetricsMiddleware:
    """Counts and times requests, for the page that `router` makes.

    Metrics: `http_requests_total`, `http_request_duration_seconds`, `http_requests_in_flight`,
    `websockets_open`, `websocket_handshakes_total`.

    Raises:
        TypeError, ValueError: an option is not what it should be.
    """

    layer_role = "metrics"
    send_outlives_call = True

    def __init__(
        self,
        app: ASGIApp,
        *,
        buckets: Annotated[
            Sequence[float],
            AfterValidator(_rising),
            Field(min_length=1, description="upper bounds of the latency histogram, in seconds"),
        ] = _BUCKETS,
        exempt: Annotated[
            Sequence[PathPattern],
            Field(description="paths that are not counted, such as `/health/*`"),
        ] = (),
        directory: Annotated[
            Path | None,
            Field(
                description="where several workers' numbers meet; PROMETHEUS_MULTIPROC_DIR, or a "
                "temporary folder of this user's own, if none"
            ),
        ] = None,
    ) -> None:
        bounds = [float(bound) for bound in _rising(buckets)]
        self.app = app
        self._bounds = bounds
        self._exempt = exempts_path("exempt", exempt)
        self._values = Values(directory)
        self._live: dict[str, Cell] = {}
        self._series: dict[tuple[str, ...], _Series] = {}
        self._remembered: dict[tuple[Any, ...], tuple[Any, _Series]] = {}
        self._sockets: dict[tuple[str, str], Cell] = {}
        self._policies: dict[tuple[bytes, bool], Cell] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = scope["type"]
        if kind not in ("http", "websocket"):
            await self._lifespan(scope, receive, send)
            return
        scope[KEY] = self._values
        if self._exempt(app_path(scope) if scope.get("root_path") else scope["path"]):
            await self.app(scope, receive, send)
        elif kind == "http":
            await self._request(scope, receive, send)
        else:
            await self._websocket(scope, receive, send)

    def figures(self) -> dict[str, Any]:
        """Return what this process has counted, as plain data; nothing is computed before that.

        `routes` has method, template, status, the counts of `bounds` and beyond, and the seconds.
        """
        sockets = self._live.get(SOCKET)
        requests = self._live.get(REQUEST)
        return {
            "bounds": self._bounds,
            "routes": [
                [*labels, [int(cell.value) for cell in series.buckets], round(series.sum.value, 6)]
                for labels, series in list(self._series.items())
            ],
            "limits": [
                [
                    policy.decode("latin-1").strip('" '),
                    "refused" if is_refused else "admitted",
                    int(cell.value),
                ]
                for (policy, is_refused), cell in list(self._policies.items())
            ],
            "in_flight": 0 if requests is None else max(0, int(requests.value)),
            "websockets": 0 if sockets is None else max(0, int(sockets.value)),
        }

    async def _lifespan(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let what runs jobs, where the application has it, tell what becomes of them."""

        def send_noting(message: Message) -> Awaitable[None]:
            if message["type"] == "lifespan.startup.complete":
                state = getattr(scope.get("app"), "state", None)
                jobs = getattr(getattr(state, "assembly", None), "jobs", None)
                if jobs is not None:
                    jobs.watch(self._note_job)
            return send(message)

        await self.app(scope, receive, send_noting)

    def _note_job(self, job: str, outcome: str, number: int) -> None:
        self._values.cell((JOB, job, outcome)).add(number)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        live = self._live.get(REQUEST) or self._live_cell(REQUEST)
        status = 0

        def send_noting(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._note_limits(message, status)
            return send(message)

        def end(outside: int) -> None:
            seconds = perf_counter() - start
            live.add(-1)
            series = self._series_of(scope, root, status or outside)
            series.buckets[bisect_left(self._bounds, seconds)].add(1)
            series.sum.add(seconds)

        live.add(1)
        start = perf_counter()
        try:
            await self.app(scope, receive, send_noting)
        except BaseException as error:
            at_end(scope, error, end)
            raise
        end(CLIENT_LEFT)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        root = scope.get("root_path", "")
        status = 0

        def decided(code: int) -> None:
            nonlocal status
            if status == 0:
                status = code
                route = template(
                    scope, matched_route(scope), scope.get("root_path", "")[len(root) :]
                )
                self._socket_cell(route, str(code)).add(1)

        def send_noting(message: Message) -> Awaitable[None]:
            kind = message["type"]
            if kind == "websocket.accept" and status == 0:
                decided(101)
                self._live_cell(SOCKET).add(1)
            elif kind == "websocket.close":
                decided(403)
            elif kind == "websocket.http.response.start":
                decided(message["status"])
                self._note_limits(message, message["status"])
            return send(message)

        try:
            await self.app(scope, receive, send_noting)
        except Exception:
            decided(500)
            raise
        finally:
            decided(CLIENT_LEFT)
            if status == 101:
                self._live_cell(SOCKET).add(-1)

    def _live_cell(self, kind: str) -> Cell:
        if kind not in self._live:
            self._live[kind] = self._values.cell((LIVE, kind))
        return self._live[kind]

    def _socket_cell(self, route: str, status: str) -> Cell:
        labels = (route, status)
        if labels not in self._sockets and len(self._sockets) >= _MOST_SERIES:
            labels = ("(other)", "other")
        if labels not in self._sockets:
            self._sockets[labels] = self._values.cell((SOCKET, *labels))
        return self._sockets[labels]

    def _series_of(self, scope: Scope, root: str, status: int) -> "_Series":
        matched = matched_route(scope)
        mounted_at = scope.get("root_path", "")[len(root) :]
        method = scope["method"] if scope["method"] in _METHODS else "other"
        key = (id(matched), method, status, mounted_at, "router" in scope)
        found = self._remembered.get(key)
        if found is not None:
            return found[1]
        series = self._series_for((method, template(scope, matched, mounted_at), str(status)))
        if len(mounted_at) <= _LONGEST_REMEMBERED:
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            # what matched is kept, so that nothing else gets its number
            self._remembered[key] = (matched, series)
        return series

    def _series_for(self, labels: tuple[str, str, str]) -> "_Series":
        if labels not in self._series and len(self._series) >= _MOST_SERIES:
            labels = ("other", "(other)", "other")
        if labels not in self._series:
            bounds = [*map(str, self._bounds), "+Inf"]
            cells = [self._values.cell((REQUEST, *labels, bound)) for bound in bounds]
            self._series[labels] = _Series(cells, self._values.cell((REQUEST, *labels, SUM)))
        return self._series[labels]

    def _note_limits(self, message: Message, status: int) -> None:
        """Count what limits have said of this request; the innermost, which is first, refused it."""
        refused = status == 429
        for name, value in message.get("headers", ()):
            if name == b"ratelimit":
                policy = value.partition(b";")[0]
                cell = self._policies.get((policy, refused)) or self._policy_cell(policy, refused)
                cell.add(1)
                refused = False

    def _policy_cell(self, policy: bytes, refused: bool) -> Cell:
        name = policy.decode("latin-1").strip('" ')
        if len(self._policies) >= _MOST_POLICIES:
            name = "(other)"
            policy = b""
        decision = "refused" if refused else "admitted"
        cell = self._policies[policy, refused] = self._values.cell((LIMIT, name, decision))
        return cell


class _Series:
    """The cells of one method, route and status."""

    __slots__ = ("buckets", "sum")

    def __init__(self, buckets: list[Cell], total: Cell) -> None:
        self.buckets = buckets
        self.sum = total
