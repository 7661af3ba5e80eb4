"""prometheus-fastapi-instrumentator: a layer and a route, by `instrument` and `expose`."""

import re

import pytest
from starlette.testclient import TestClient

SHOP = """
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

registry = CollectorRegistry()
instrumentator = Instrumentator(registry=registry, excluded_handlers=["/metrics"])
items = APIRouter(prefix="/items")


@items.get("/{number}")
async def item(number: int):
    return number


async def lifespan_of(app):
    instrumentator.expose(app)
"""
FILES = {
    "shop.py": SHOP,
    "main.py": """
from fastapi import FastAPI

from shop import instrumentator, items

app = FastAPI()
app.include_router(items)
instrumentator.instrument(app, metric_namespace="shop").expose(app, include_in_schema=False)
""",
    "manifest.yaml": """
manifest: 1
routes:
  - {use: shop.items}
finish:
  - {use: shop.instrumentator.instrument, with: {metric_namespace: shop}}
  - {use: shop.instrumentator.expose, with: {include_in_schema: false}}
""",
}


@pytest.fixture
def page(client: TestClient) -> str:
    for path in ("/items/1", "/items/2", "/items/x", "/nowhere"):
        client.get(path)
    return client.get("/metrics").text


def test_requests_are_counted_by_the_pattern_of_their_route(page: str) -> None:
    found = dict(re.findall(r"^shop_http_requests_total\{(.*)\} (.*)$", page, re.MULTILINE))
    assert found == {
        'handler="/items/{number}",method="GET",status="2xx"': "2.0",
        'handler="/items/{number}",method="GET",status="4xx"': "1.0",
        'handler="none",method="GET",status="4xx"': "1.0",
    }


def test_the_page_is_no_part_of_the_api(client: TestClient) -> None:
    assert sorted(client.get("/openapi.json").json()["paths"]) == ["/items/{number}"]
