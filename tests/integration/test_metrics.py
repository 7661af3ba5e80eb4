"""Metrics and OpenTelemetry by their names in a manifest, and what a check says of wrong options."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from components.request_context import RequestContextFilter
from tests.assembler.project import project
from tests.components.numbers import ask, read, read_until, started, workers
from tests.servers import free_port

LIST = """\
[tool.assembler]
imports = ["shop", "components", "opentelemetry.instrumentation.asgi"]
"""
SHOP = """\
import logging
import os

from fastapi import APIRouter

router = APIRouter()


class Cache:
    async def open(self):
        raise ConnectionError("refused")


def cache() -> Cache:
    return Cache()


def prepare(): ...


@router.get("/items/{item_id}")
async def item(item_id: int) -> int:
    logging.getLogger("shop").warning("reading")
    return item_id


@router.get("/pid")
async def pid() -> int:
    return os.getpid()


@router.get("/count")
async def count() -> None: ...
"""
MEASURED = """\
manifest: 1
resources: {cache: {use: shop.cache, on_error: degrade}}
middleware:
  - {use: components.metrics.MetricsMiddleware, with: {exempt: [/metrics, /pid], buckets: [0.1, 1]}}
  - {use: components.middleware.rate_limit.RateLimitMiddleware, with: {limit: 9/minute, exempt: [/count, /pid, /metrics]}}
routes:
  - {use: shop.router}
  - {use: components.metrics.router, with: {public: true, others: false}}
startup: [{id: prepare, use: shop.prepare}]
"""
TRACED = """\
manifest: 1
middleware:
  - use: opentelemetry.instrumentation.asgi.OpenTelemetryMiddleware
    with: {exclude_spans: [send, receive]}
  - {use: components.middleware.request_id.RequestIDMiddleware}
routes: [{use: shop.router}]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    files = {"shop.py": SHOP, "pyproject.toml": LIST, "measured.yaml": MEASURED}
    with project(tmp_path, {**files, "traced.yaml": TRACED}) as made:
        yield made


def test_the_page_tells_of_requests_limits_the_start_and_resources(folder: Path) -> None:
    with TestClient(build(load("measured.yaml"))) as client:
        statuses = {client.get("/items/7").status_code for _ in range(10)}
        text = client.get("/metrics").text
    assert statuses == {200, 429}
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    told = dict(line.rsplit(" ", 1) for line in lines)
    assert told['http_requests_total{method="GET",route="/items/{item_id}",status="200"}'] == "9.0"
    assert told['http_requests_total{method="GET",route="(unrouted)",status="429"}'] == "1.0"
    assert told['rate_limit_decisions_total{decision="admitted",policy="default"}'] == "9.0"
    assert told['rate_limit_decisions_total{decision="refused",policy="default"}'] == "1.0"
    assert told["app_ready"] == "1.0"
    assert told['app_resource_up{resource="cache"}'] == "0.0"
    steps = [name for name in told if name.startswith("app_startup_step_seconds")]
    assert any('step="prepare"' in name and 'outcome="ok"' in name for name in steps)
    assert any('step="cache"' in name and 'outcome="degraded"' in name for name in steps)


def test_mounts_with_parameters_are_one_route_each_lazy_or_not(folder: Path) -> None:
    inner = "def inner():\n    app = FastAPI()\n    app.include_router(router)\n    return app\n"
    shop = SHOP.replace("import APIRouter", "import APIRouter, FastAPI") + "\n\n" + inner
    (folder / "shop.py").write_text(shop)
    mounts = "  - {use: shop.inner, mount: '/of/{tenant:int}'}\n"
    mounts += "  - {use: shop.inner, mount: '/slow/{tenant:int}', lazy: true}\n"
    (folder / "mounted.yaml").write_text(MEASURED.replace("routes:\n", f"routes:\n{mounts}"))
    with TestClient(build(load("mounted.yaml"))) as client:
        for mount in ("of", "slow"):
            for tenant in ("7", "007"):
                assert client.get(f"/{mount}/{tenant}/items/1").status_code == 200
                assert client.get(f"/{mount}/{tenant}/nowhere").status_code == 404
        text = client.get("/metrics").text
    for mount in ("of", "slow"):
        for rest, status in (("items/{item_id}", 200), ("*", 404)):
            labels = f'method="GET",route="/{mount}/{{tenant}}/{rest}",status="{status}"'
            assert f"http_requests_total{{{labels}}} 2.0" in text


def test_one_manifest_is_built_and_started_many_times_in_one_process(folder: Path) -> None:
    plan = load("measured.yaml")
    for _ in range(3):
        app = build(plan)
        for start in (1, 2):
            with TestClient(app) as client:
                client.get("/items/7")
                text = client.get("/metrics").text
            assert f'route="/items/{{item_id}}",status="200"}} {start}.0' in text


def test_served_by_several_workers_the_numbers_are_sums(folder: Path, tmp_path: Path) -> None:
    port = free_port()
    server = f"\nserver: {{host: 127.0.0.1, port: {port}, workers: 3, log_level: critical}}\n"
    (folder / "served.yaml").write_text(MEASURED + server)
    command = ["-m", "assembler", "serve", "served.yaml"]
    (tmp_path / "temporary").mkdir()
    with started(command, port, tmp_path / "temporary", folder=folder) as url:
        workers(url, 3)
        ask(f"{url}/count", 20)
        read_until(url, "http_requests_total/count", 20)
        assert [read(url)["http_requests_total/count"] for _ in range(6)] == [20] * 6


class Kept(logging.Handler):
    """Keeps records as they were when they came."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[Any] = []
        self.addFilter(RequestContextFilter())

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def test_a_span_and_the_log_records_of_its_request_are_of_one_trace(folder: Path) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    kept = Kept()
    logger = logging.getLogger("shop")
    logger.addHandler(kept)
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    try:
        with TestClient(build(load("traced.yaml"))) as client:
            answer = client.get("/items/7", headers={"traceparent": traceparent})
    finally:
        logger.removeHandler(kept)
    (span,) = exporter.get_finished_spans()
    (record,) = kept.records
    assert span.context is not None
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == record.trace_id == traceparent[3:35]
    assert f"{span.parent.span_id:016x}" == record.span_id == traceparent[36:52]
    assert record.request_id == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("use", "options", "code", "message"),
    [
        ("MetricsMiddleware", "{buckets: [a]}", "bad-value", "`buckets.0`"),
        ("MetricsMiddleware", "{bucket: [1]}", "unknown-option", "has no option `bucket`"),
        ("MetricsMiddleware", "{exempt: /metrics}", "bad-value", "`exempt`"),
        ("router", "{public: 1}", "bad-value", "`public`"),
        ("router", "{path: metrics}", "bad-value", "`path`"),
        ("router", "{token: 5}", "bad-value", "`token`"),
    ],
)
def test_what_cannot_be_is_refused_by_the_check(
    folder: Path, use: str, options: str, code: str, message: str
) -> None:
    section = "routes" if use == "router" else "middleware"
    path = f"components.metrics.{use}"
    text = f"manifest: 1\n{section}: [{{use: {path}, with: {options}}}]\n"
    (folder / "wrong.yaml").write_text(text)
    with pytest.raises(ManifestError) as caught:
        load("wrong.yaml")
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert message in fault.message
