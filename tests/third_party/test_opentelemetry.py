"""OpenTelemetry's FastAPIInstrumentor: spans by the pattern of their route, exceptions in them."""

from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from fastapi import APIRouter, FastAPI
from opentelemetry import trace
from starlette.responses import JSONResponse

items = APIRouter(prefix="/items")
office = FastAPI()


@items.get("/{number}")
async def item(number: int):
    with trace.get_tracer("shop").start_as_current_span("look up"):
        return number


@items.get("/{number}/broken")
async def broken(number: int):
    raise LookupError("no such item")


@items.get("/{number}/wrong")
async def wrong(number: int):
    raise ValueError("wrong")


@office.get("/desk/{number}")
async def desk(number: int):
    return number


async def bad_request(request, error):
    return JSONResponse(str(error), 400)
""",
    "main.py": """
from fastapi import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.middleware.gzip import GZipMiddleware

import shop

app = FastAPI()
app.add_middleware(GZipMiddleware)
app.add_exception_handler(ValueError, shop.bad_request)
app.include_router(shop.items)
app.mount("/office", shop.office)
FastAPIInstrumentor.instrument_app(app, excluded_urls="health")
""",
    "manifest.yaml": """
manifest: 1
middleware:
  - {use: starlette.middleware.gzip.GZipMiddleware}
exception_handlers:
  - {catch: ValueError, use: shop.bad_request}
routes:
  - {use: shop.items}
  - {mount: /office, use: shop.office}
finish:
  - use: opentelemetry.instrumentation.fastapi.FastAPIInstrumentor.instrument_app
    with: {excluded_urls: health}
""",
}
EXPORTER = InMemorySpanExporter()


@pytest.fixture(scope="module", autouse=True)
def provider() -> Iterator[None]:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(EXPORTER))
    trace.set_tracer_provider(provider)
    yield
    provider.shutdown()


def spans(app: FastAPI, path: str) -> dict[str, ReadableSpan]:
    """Ask once, and give the spans of it by name."""
    EXPORTER.clear()
    with TestClient(app, raise_server_exceptions=False) as client:
        client.get(path)
    return {span.name: span for span in EXPORTER.get_finished_spans() if wanted(span)}


def wanted(span: ReadableSpan) -> bool:
    """Leave out what FastAPI and the layer tell of their own steps."""
    return not span.name.startswith("fastapi.") and " http " not in span.name


def test_a_span_has_the_name_of_its_route(app: FastAPI) -> None:
    found = spans(app, "/items/1")
    server = found["GET /items/{number}"]
    assert dict(server.attributes or {})["http.route"] == "/items/{number}"
    inner = found["look up"]
    assert inner.parent is not None
    assert server.context is not None
    assert inner.parent.span_id == server.context.span_id


def test_an_exception_is_recorded_in_it(app: FastAPI) -> None:
    server = spans(app, "/items/1/broken")["GET /items/{number}/broken"]
    assert server.status.status_code is trace.StatusCode.ERROR
    assert [dict(event.attributes or {})["exception.message"] for event in server.events] == [
        "no such item"
    ]


def test_what_is_handled_is_no_error(app: FastAPI) -> None:
    server = spans(app, "/items/1/wrong")["GET /items/{number}/wrong"]
    assert dict(server.attributes or {})["http.status_code"] == 400
    assert server.status.status_code is trace.StatusCode.UNSET


def test_a_mount_is_named_by_its_path(app: FastAPI) -> None:
    assert "GET /office" in spans(app, "/office/desk/1")


def test_what_is_left_out_has_none(app: FastAPI) -> None:
    assert spans(app, "/health") == {}
