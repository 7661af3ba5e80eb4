"""The numbers of an application -> the page on which Prometheus reads them.

In: GET and HEAD requests inside a `MetricsMiddleware`. Out: the text format, or OpenMetrics for a reader
that accepts it. Refused: readers without the token (401) or, where there is none, from other machines
(403), as `components.health.access` says.
"""

import os
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector
from pydantic import Field, SecretStr
from starlette.responses import PlainTextResponse

from components.health.access import Access, PrintableToken
from components.health.checks import Pings
from components.metrics.families import counted, reported
from components.metrics.store import Values

KEY = "components.metrics"
"""Where the middleware puts the numbers into a request's scope."""

_PING_LIMIT = timedelta(seconds=1)
_REFUSED = {
    401: "a token is needed\n",
    403: "only this machine may read this\n",
    429: "refused too often\n",
}

Token = Annotated[
    str | SecretStr | None,
    PrintableToken,
    Field(
        description="what readers send as `Authorization: Bearer …`",
        json_schema_extra={"advised_min_length": 16},
    ),
]
Public = Annotated[
    bool,
    Field(
        description="without a token, answer other machines too",
        json_schema_extra={"looser": "true"},
    ),
]
Others = Annotated[
    bool, Field(description="show what else is in the default registry of Prometheus' client")
]


def router(
    *,
    path: Annotated[str, Field(pattern="^/", description="where the page is")] = "/metrics",
    token: Token = None,
    public: Public = False,
    others: Others = True,
) -> APIRouter:
    """Make a router with the page alone, for FastAPI; it is not in the OpenAPI schema.

    Metrics: `app_ready`, `app_startup_step_seconds`, `app_resource_up`,
    `app_background_running`, `app_background_crashes_total`, `app_reloads_total`, `job_ticks_total`,
    `page_refusals_total`, besides those of the middleware.

    Raises:
        ValueError: the token is empty or not plain ASCII.
    """
    made = APIRouter()
    read = page(token=token, public=public, others=others)
    made.add_api_route(path, read, methods=["GET", "HEAD"], include_in_schema=False)
    return made


def page(
    *, token: Token = None, public: Public = False, others: Others = True
) -> Callable[[Request], Awaitable[Response]]:
    """Make the page, for a route of Starlette: `Route("/metrics", page(token=…))`.

    Of several workers `others` shows what PROMETHEUS_MULTIPROC_DIR, set before the start, collects;
    without it nothing, as each worker would tell other numbers.

    Raises:
        ValueError: the token is empty or not plain ASCII.
    """
    access = Access(token, page="metrics", public=public)
    pings = Pings(timeout=_PING_LIMIT, cache=_PING_LIMIT)

    async def metrics(request: Request) -> Response:
        refusal = access.refusal(request)
        if refusal is not None:
            headers = {**refusal.headers, "cache-control": "no-store"}
            return PlainTextResponse(_REFUSED[refusal.status], refusal.status, headers)
        values = request.scope.get(KEY)
        if values is None:
            return PlainTextResponse("there is no MetricsMiddleware around this page\n", 500)
        report = getattr(request.app.state, "assembly", None)
        lost = await pings.reasons(_open_ones(report))
        scrape = _Scrape(values, report, lost, others=others)
        if "application/openmetrics-text" in request.headers.get("accept", ""):
            body = openmetrics.generate_latest(scrape)  # type: ignore[no-untyped-call]  # it has no hints
            media = openmetrics.CONTENT_TYPE_LATEST
        else:
            body, media = generate_latest(scrape), CONTENT_TYPE_LATEST
        headers = {"Content-Type": media, "Cache-Control": "no-store", "Vary": "Accept"}
        return Response(body, headers=headers)

    return metrics


class _Scrape(Collector):
    """What one reading gives; of two families with one name the first."""

    def __init__(
        self, values: Values, report: Any, lost: Mapping[str, str], *, others: bool
    ) -> None:
        self._values = values
        self._report = report
        self._lost = lost
        self._others = others

    def collect(self) -> Iterator[Metric]:
        names = set()
        for source in (
            counted(self._values.sums()),
            reported(self._report, self._lost),
            self._rest(),
        ):
            for family in source:
                if family.name not in names:
                    names.add(family.name)
                    yield family

    def _rest(self) -> Iterator[Metric]:
        if not self._others:
            return
        if not self._values.is_shared:
            yield from REGISTRY.collect()
        elif os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            collector = MultiProcessCollector(None)  # type: ignore[no-untyped-call]  # it has no hints
            yield from collector.collect()  # type: ignore[no-untyped-call]  # the same


def _open_ones(report: Any) -> dict[str, Any]:
    """What can be asked how it is; that the others are away is in the report."""
    checks = getattr(report, "checks", {}) if getattr(report, "ready", False) else {}
    return {name: check for name, check in checks.items() if name not in report.degraded}
