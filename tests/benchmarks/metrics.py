"""What counting a request costs: the component, in one process and over several, and its peers.

Run `python -m tests.benchmarks.metrics`. In process: median µs per request over alternating rounds, less
those of the bare FastAPI application. The peers, prometheus-fastapi-instrumentator and starlette-exporter,
are measured where they are installed; they count the same: requests and latencies by method, template
and status.
"""

import asyncio
import gc
import statistics
import tempfile
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import uvloop
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp

from components.metrics import MetricsMiddleware
from tests.benchmarks.stack import HEADERS, _round, application

ROUNDS, REQUESTS = 60, 400


def stacks(folder: Path) -> dict[str, ASGIApp]:
    shared = partial(MetricsMiddleware, directory=folder)
    made = {
        "bare": application([]),
        "ours": application([MetricsMiddleware]),
        "ours shared": application([shared]),
    }
    for name, add in (("instrumentator", _instrumentator), ("exporter", _exporter)):
        try:
            app: Any = application([])
            add(app)
            made[name] = app
        except ImportError:
            print(f"{name} is not installed: it was not measured")
    return made


def _instrumentator(app: FastAPI) -> None:
    module = import_module("prometheus_fastapi_instrumentator")
    module.Instrumentator(registry=CollectorRegistry()).instrument(app)


def _exporter(app: FastAPI) -> None:
    module = import_module("starlette_exporter")
    app.add_middleware(module.PrometheusMiddleware)


async def measure(apps: dict[str, ASGIApp]) -> None:
    times: dict[str, list[float]] = {name: [] for name in apps}
    for at in range(ROUNDS + 1):
        for name, app in apps.items():
            gc.collect()
            took = await _round(app, HEADERS, REQUESTS)
            if at:  # the first round warms up
                times[name].append(took)
        await asyncio.sleep(0)
    bare = statistics.median(times["bare"])
    ours = statistics.median(times["ours"]) - bare
    print(f"{'stack':16} {'µs':>8} {'added':>8} {'/ ours':>8}")
    for name, taken in times.items():
        median = statistics.median(taken)
        print(f"{name:16} {median:8.1f} {median - bare:8.1f} {(median - bare) / ours:8.2f}")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        uvloop.run(measure(stacks(Path(made))))
