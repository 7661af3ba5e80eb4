"""slowapi: a limiter on `app.state`, a handler, a layer, and limits on routes."""

from fastapi import FastAPI
from starlette.testclient import TestClient

FILES = {
    "shop.py": """
from fastapi import APIRouter, Request, Response
from slowapi import Limiter
from slowapi.util import get_remote_address

limiter = Limiter(key_func=get_remote_address, default_limits=["3/hour"], headers_enabled=True)
router = APIRouter()


async def default(request: Request):
    return {"limited": "by default"}


@router.get("/home")
@limiter.limit("2/minute")
async def home(request: Request, response: Response):
    return {"limited": "here"}


@router.get("/free")
@limiter.exempt
async def free(request: Request):
    return {"limited": "never"}
""",
    "main.py": """
from fastapi import FastAPI
from slowapi import _rate_limit_exceeded_handler
from slowapi.errors import RateLimitExceeded
from slowapi.middleware import SlowAPIMiddleware

from shop import default, limiter, router

limiter.reset()
app = FastAPI()
app.state.limiter = limiter
app.add_exception_handler(RateLimitExceeded, _rate_limit_exceeded_handler)
app.add_middleware(SlowAPIMiddleware)
app.add_api_route("/default", default)
app.include_router(router)
""",
    "manifest.yaml": """
manifest: 1
app: {state: {limiter: "${resources.limiter}"}}
resources:
  limiter: {use: shop.limiter, owned: false}
middleware:
  - {use: slowapi.middleware.SlowAPIMiddleware}
exception_handlers:
  - {catch: slowapi.errors.RateLimitExceeded, use: slowapi._rate_limit_exceeded_handler}
routes:
  - {path: /default, use: shop.default}
  - {use: shop.router}
""",
}


def test_a_route_has_its_own_limit(client: TestClient) -> None:
    answers = [client.get("/home") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["X-RateLimit-Remaining"] == "1"
    assert answers[2].json() == {"error": "Rate limit exceeded: 2 per 1 minute"}


def test_the_layer_limits_the_routes_of_the_app(client: TestClient) -> None:
    assert [client.get("/default").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_an_exempt_route_has_no_limit(client: TestClient) -> None:
    assert {client.get("/free").status_code for _ in range(6)} == {200}


def test_the_limiter_stands_on_the_app(app: FastAPI) -> None:
    assert type(app.state.limiter).__name__ == "Limiter"
