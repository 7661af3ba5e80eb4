"""prometheus-fastapi-instrumentator, exposed from the lifespan, as its document shows it."""

from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from contextlib import asynccontextmanager

from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from prometheus_fastapi_instrumentator import Instrumentator

instrumentator = Instrumentator(registry=CollectorRegistry())
items = APIRouter(prefix="/items")


@items.get("/{number}")
async def item(number: int):
    return number


@asynccontextmanager
async def lifespan(app):
    instrumentator.expose(app)
    yield
""",
    "main.py": """
from fastapi import FastAPI

from shop import instrumentator, items, lifespan

app = FastAPI(lifespan=lifespan)
app.include_router(items)
instrumentator.instrument(app)
""",
    "manifest.yaml": """
manifest: 1
lifespan: [shop.lifespan]
routes:
  - {use: shop.items}
finish:
  - {use: shop.instrumentator.instrument}
""",
}


def test_a_route_that_the_start_adds_is_found(client: TestClient) -> None:
    assert client.get("/items/1").json() == 1
    assert 'handler="/items/{number}"' in client.get("/metrics").text
