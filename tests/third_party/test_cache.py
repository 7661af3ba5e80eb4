"""fastapi-cache2: a cache that is set up in the lifespan, and routes that are cached."""

from fastapi import FastAPI
from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from contextlib import asynccontextmanager

from fastapi import APIRouter
from fastapi_cache import FastAPICache
from fastapi_cache.backends.inmemory import InMemoryBackend
from fastapi_cache.decorator import cache

router = APIRouter()
count = 0


@router.get("/count")
@cache(expire=60)
async def read_count() -> dict[str, int]:
    global count
    count += 1
    return {"count": count}


@asynccontextmanager
async def lifespan(app):
    FastAPICache.reset()
    FastAPICache.init(InMemoryBackend(), prefix="shop")
    await FastAPICache.clear()
    yield
""",
    "main.py": """
from fastapi import FastAPI

from shop import lifespan, router

app = FastAPI(lifespan=lifespan)
app.include_router(router)
""",
    "manifest.yaml": """
manifest: 1
resources:
  cache: {use: fastapi_cache.backends.inmemory.InMemoryBackend}
routes:
  - {use: shop.router}
startup:
  - {use: fastapi_cache.FastAPICache.reset}
  - {use: fastapi_cache.FastAPICache.init, with: {backend: "${resources.cache}", prefix: shop}}
  - {use: fastapi_cache.FastAPICache.clear}
""",
}


def test_the_second_answer_comes_from_the_cache(client: TestClient) -> None:
    answers = [client.get("/count") for _ in range(2)]
    assert [answer.headers["X-FastAPI-Cache"] for answer in answers] == ["MISS", "HIT"]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["Cache-Control"] == "max-age=60"


def test_a_second_start_has_an_empty_cache(app: FastAPI) -> None:
    for _ in range(2):
        with TestClient(app) as client:
            assert client.get("/count").headers["X-FastAPI-Cache"] == "MISS"
