"""Sentry: what is raised is reported once, with its route as the transaction."""

import importlib
from typing import Any

import pytest
import sentry_sdk
from fastapi import FastAPI
from starlette.testclient import TestClient

SHOP = """
from fastapi import APIRouter
from starlette.responses import JSONResponse

items = APIRouter(prefix="/items")


@items.get("/{number}")
async def item(number: int):
    return number


@items.get("/{number}/broken")
async def broken(number: int):
    raise LookupError("no such item")


@items.get("/{number}/sync")
def sync(number: int):
    raise LookupError("no such item")


@items.get("/{number}/wrong")
async def wrong(number: int):
    raise ValueError("wrong")


async def bad_request(request, error):
    return JSONResponse(str(error), 400)
"""
FILES = {
    "shop.py": SHOP,
    "reports.py": """
from sentry_sdk.transport import Transport

ENVELOPES = []


class Memory(Transport):
    def capture_envelope(self, envelope):
        ENVELOPES.append(envelope)
""",
    "main.py": """
from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

import sentry_sdk

import reports
import shop

sentry_sdk.init(
    dsn="https://key@sentry.example.com/1", traces_sample_rate=1.0, transport=reports.Memory
)
app = FastAPI()
app.add_middleware(GZipMiddleware)
app.add_exception_handler(ValueError, shop.bad_request)
app.include_router(shop.items)
""",
    "manifest.yaml": """
manifest: 1
resources:
  transport: {use: reports.Memory, owned: false}
  sentry:  # what it gives is of no use: the SDK ends by itself
    use: sentry_sdk.init
    owned: false
    with:
      dsn: https://key@sentry.example.com/1
      traces_sample_rate: 1.0
      transport: ${resources.transport}
middleware:
  - {use: starlette.middleware.gzip.GZipMiddleware}
exception_handlers:
  - {catch: ValueError, use: shop.bad_request}
routes:
  - {use: shop.items}
""",
}


def reported(app: FastAPI, path: str) -> tuple[list[Any], list[Any]]:
    """Ask once, and give the events and the transactions that were reported."""
    reports = importlib.import_module("reports")
    reports.ENVELOPES.clear()
    with TestClient(app, raise_server_exceptions=False) as client:
        client.get(path)
    sentry_sdk.flush()
    events = [each.get_event() for each in reports.ENVELOPES if each.get_event()]
    traces = [each.get_transaction_event() for each in reports.ENVELOPES]
    return events, [trace for trace in traces if trace]


@pytest.mark.parametrize("word", ["broken", "sync"])
def test_an_exception_is_reported_once(app: FastAPI, word: str) -> None:
    events, _ = reported(app, f"/items/7/{word}")
    assert [event["exception"]["values"][-1]["value"] for event in events] == ["no such item"]
    assert events[0]["transaction"] == f"/items/{{number}}/{word}"
    assert events[0]["request"]["url"] == f"http://testserver/items/7/{word}"


def test_what_is_handled_is_not(app: FastAPI) -> None:
    assert reported(app, "/items/7/wrong")[0] == []


def test_a_transaction_has_the_name_of_its_route(app: FastAPI) -> None:
    _, traces = reported(app, "/items/7")
    assert [trace["transaction"] for trace in traces] == ["/items/{number}"]
