"""OpenTelemetry's FastAPIInstrumentor().instrument(), before anything is imported."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHOP = """
from fastapi import APIRouter

items = APIRouter()


@items.get("/items/{number}")
async def item(number: int):
    return number


@items.get("/broken/{number}")
async def broken(number: int):
    raise LookupError("no such item")
"""
RUN = """
from opentelemetry import trace
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
FastAPIInstrumentor().instrument()

from starlette.testclient import TestClient

{app}
with TestClient(app, raise_server_exceptions=False) as client:
    for path in ("/items/1", "/broken/1", "/nowhere"):
        exporter.clear()
        client.get(path)
        for span in exporter.get_finished_spans():
            if span.kind is trace.SpanKind.SERVER:
                said = [event.attributes["exception.message"] for event in span.events]
                print(span.name, span.status.status_code.name, said)
"""
APPS = {
    "by hand": "import fastapi, shop\napp = fastapi.FastAPI()\napp.include_router(shop.items)",
    "assembled": "import assembler\napp = assembler.build(assembler.load('manifest.yaml'))",
}


@pytest.mark.parametrize("app", APPS.values(), ids=APPS.keys())
def test_routes_have_spans_and_exceptions_stand_in_them(tmp_path: Path, app: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP, "utf-8")
    (tmp_path / "manifest.yaml").write_text("manifest: 1\nroutes: [{use: shop.items}]\n", "utf-8")
    (tmp_path / "run.py").write_text(RUN.format(app=app), "utf-8")
    done = subprocess.run(
        [sys.executable, "run.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.stdout.splitlines() == [
        "GET /items/{number} UNSET []",
        "GET /broken/{number} ERROR ['no such item']",
        "GET UNSET []",
    ], done.stderr
