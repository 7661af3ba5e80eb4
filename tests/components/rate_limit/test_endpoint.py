import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.applications import Starlette
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Mount
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from components.metrics import MetricsMiddleware
from components.metrics.exposition import router as metrics_router
from components.rate_limit.endpoint import EndpointRateLimiter, RateLimited
from tests.components.rate_limit.play import Answer, play


def answer(app: ASGIApp, path: str, **more: Any) -> Answer:
    return asyncio.run(play(app, path, **more))


def statuses(app: ASGIApp, *paths: str, **more: Any) -> list[int]:
    return [answer(app, path, **more).status for path in paths]


def router(limiter: EndpointRateLimiter) -> APIRouter:
    routes = APIRouter()

    @routes.get("/users/{user}", dependencies=[Depends(limiter)])
    async def read(user: str) -> dict[str, str]:
        return {"user": user}

    @routes.get("/teams/{team}", dependencies=[Depends(limiter)])
    async def team(team: str) -> dict[str, str]:
        return {"team": team}

    return routes


def flat(limiter: EndpointRateLimiter) -> tuple[ASGIApp, str]:
    app = FastAPI()
    app.include_router(router(limiter))
    return app, ""


def nested(limiter: EndpointRateLimiter) -> tuple[ASGIApp, str]:
    middle, outer, app = APIRouter(prefix="/b"), APIRouter(prefix="/a"), FastAPI()
    middle.include_router(router(limiter), prefix="/{tenant}")
    outer.include_router(middle)
    app.include_router(outer, prefix="/v1")
    return app, "/v1/a/b/t1"


def mounted(limiter: EndpointRateLimiter) -> tuple[ASGIApp, str]:
    inner = FastAPI()
    inner.include_router(router(limiter))
    return Starlette(routes=[Mount("/sub", inner)]), "/sub"


def on_the_app(limiter: EndpointRateLimiter) -> tuple[ASGIApp, str]:
    inner = APIRouter()

    @inner.get("/users/{user}")
    async def read(user: str) -> dict[str, str]:
        return {"user": user}

    @inner.get("/teams/{team}")
    async def team(team: str) -> dict[str, str]:
        return {"team": team}

    app = FastAPI(dependencies=[Depends(limiter)])
    app.include_router(inner, prefix="/x")
    return app, "/x"


@pytest.mark.parametrize("make", [flat, nested, mounted, on_the_app])
@pytest.mark.parametrize("root_path", ["", "/root"])
def test_each_route_counts_apart_by_its_template(make: Any, root_path: str) -> None:
    app, prefix = make(EndpointRateLimiter("2/minute"))
    users = [f"{root_path}{prefix}/users/{n}" for n in (1, 2, 3)]
    teams = [f"{root_path}{prefix}/teams/{n}" for n in (1, 2, 3)]
    assert statuses(app, *users, root_path=root_path) == [200, 200, 429]
    assert statuses(app, *teams, root_path=root_path) == [200, 200, 429]
    assert statuses(app, users[0], root_path=root_path, client="198.51.100.1") == [200]


def test_a_parameter_of_a_prefix_gives_no_new_quota() -> None:
    app, _ = nested(EndpointRateLimiter("1/minute"))
    assert statuses(app, "/v1/a/b/t1/users/1", "/v1/a/b/t2/users/1") == [200, 429]


def test_a_parameter_of_a_mount_or_the_root_path_gives_no_new_quota() -> None:
    inner, _ = flat(EndpointRateLimiter("1/minute"))
    app = Starlette(routes=[Mount("/{tenant}", inner)])
    assert statuses(app, "/t1/users/1", "/t2/users/1") == [200, 429]
    assert statuses(inner, "/r/users/1", root_path="/r") == [429]


def test_another_method_of_a_route_gives_no_new_quota() -> None:
    app, limiter = FastAPI(), EndpointRateLimiter("1/minute")

    @app.api_route("/both", methods=["GET", "HEAD"], dependencies=[Depends(limiter)])
    async def both() -> str:
        return "both"

    assert statuses(app, "/both") == [200]
    assert statuses(app, "/both", method="HEAD") == [429]


def test_a_router_included_twice_counts_each_place() -> None:
    routes, app = router(EndpointRateLimiter("1/minute")), FastAPI()
    app.include_router(routes, prefix="/v1")
    app.include_router(routes, prefix="/v2")
    assert statuses(app, "/v1/users/1", "/v2/users/1", "/v1/users/2") == [200, 200, 429]


def test_fields_stand_on_both_answers_and_the_refusal_is_http() -> None:
    app, _ = flat(EndpointRateLimiter("1/minute", name="reads"))
    admitted, refused = answer(app, "/users/1"), answer(app, "/users/1")
    assert admitted.headers["ratelimit-policy"] == '"reads";q=1;w=60'
    assert admitted.headers["ratelimit"].startswith('"reads";r=0;t=')
    assert refused.headers["ratelimit-policy"] == '"reads";q=1;w=60'
    assert refused.headers["ratelimit"].endswith(";t=" + refused.headers["retry-after"])
    assert refused.json["detail"].startswith("too many requests")


def test_a_handler_may_shape_the_refusal() -> None:
    app, _ = flat(EndpointRateLimiter("1/minute"))
    assert isinstance(app, FastAPI)

    @app.exception_handler(RateLimited)
    async def shaped(request: Request, error: RateLimited) -> Response:
        return JSONResponse({"code": error.code, **error.details}, error.status_code)

    answer(app, "/users/1")
    refused = answer(app, "/users/1")
    assert refused.json["code"] == "rate_limited"
    assert 0 < refused.json["retry_after"] <= 62


def test_a_cost_and_a_key_of_ones_own() -> None:
    app, _ = flat(EndpointRateLimiter("5/minute", cost=2, key="header:X-Api-Key"))
    one, other = {"X-Api-Key": "1"}, {"X-Api-Key": "2"}
    assert statuses(app, *["/users/1"] * 3, headers=one) == [200, 200, 429]
    assert statuses(app, "/users/1", headers=other) == [200]


def test_a_websocket_is_refused_before_it_is_accepted() -> None:
    app = FastAPI()
    limiter = EndpointRateLimiter("1/minute")
    inner = APIRouter()

    @inner.websocket("/ws/{room}")
    async def talk(socket: WebSocket, limited: Annotated[None, Depends(limiter)]) -> None:
        await socket.accept()
        await socket.close()

    app.include_router(inner, prefix="/x")
    first = answer(app, "/x/ws/1", kind="websocket")
    assert first.sent[0]["type"] == "websocket.accept"
    second = answer(app, "/x/ws/2", kind="websocket")
    assert [(m["type"], m["code"]) for m in second.sent] == [("websocket.close", 1013)]
    third = answer(app, "/x/ws/2", kind="websocket", extensions={"websocket.http.response": {}})
    assert third.status == 429


def test_dependency_overrides_can_lift_it() -> None:
    limiter = EndpointRateLimiter("1/minute")
    app, _ = flat(limiter)
    assert isinstance(app, FastAPI)
    app.dependency_overrides[limiter] = lambda: None
    assert statuses(app, *["/users/1"] * 3) == [200, 200, 200]


@pytest.mark.parametrize(
    "options", [{"limit": "x"}, {"cost": 0}, {"cost": 6}, {"on_store_error": "no"}, {"key": "ip"}]
)
def test_a_bad_option_shows_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`"):
        EndpointRateLimiter(**{"limit": "5/minute", **options})


SHARED = Response("shared")


async def streamed() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


@pytest.mark.parametrize("is_included", [False, True])
def test_a_response_of_the_endpoints_own_says_the_limits_too(
    is_included: bool, tmp_path: Path
) -> None:
    (tmp_path / "file.txt").write_text("file")
    minute, hour = (
        EndpointRateLimiter("9/minute", name="m"),
        EndpointRateLimiter("99/hour", name="h"),
    )
    routes = APIRouter(dependencies=[Depends(minute), Depends(hour)])
    routes.add_api_route("/plain", lambda: Response("plain"))
    routes.add_api_route("/shared", lambda: SHARED)
    routes.add_api_route("/file", lambda: FileResponse(tmp_path / "file.txt"))
    routes.add_api_route("/stream", lambda: StreamingResponse(streamed()))
    routes.add_api_route("/data", lambda: {"made": "by FastAPI"})

    @routes.get("/later")
    async def later(response: Response) -> Response:
        response.headers["x-other"] = "is FastAPI's to drop"
        return JSONResponse({"later": True}, headers={"x-own": "yes"})

    app = FastAPI()
    if is_included:
        app.include_router(routes)
    else:
        app.router = routes
    said = [
        '"m";q=9;w=60',
        '"h";q=99;w=3600',
    ]
    for path in ("/plain", "/shared", "/file", "/stream", "/later", "/data"):
        with TestClient(app) as client:
            for left in (8, 7):
                answer = client.get(path)
                assert answer.status_code == 200
                assert answer.headers.get_list("ratelimit-policy") == said
                limits = answer.headers.get_list("ratelimit")
                assert [text.partition(";t=")[0] for text in limits] == [
                    f'"m";r={left}',
                    f'"h";r={left + 90}',
                ]
    assert "ratelimit" not in SHARED.headers
    with TestClient(app) as client:
        answer = client.get("/later")
        assert (answer.headers["x-own"], answer.json()) == ("yes", {"later": True})
        assert client.get("/stream").text == "one two"
        assert client.get("/file").text == "file"


def test_a_decision_about_such_a_route_is_counted(tmp_path: Path) -> None:
    app = FastAPI()
    limiter = EndpointRateLimiter("1/minute", name="own")
    app.add_api_route("/plain", lambda: Response("plain"), dependencies=[Depends(limiter)])
    app.include_router(metrics_router(public=True))
    app.add_middleware(MetricsMiddleware, directory=tmp_path)
    with TestClient(app, client=("127.0.0.1", 1)) as client:
        assert [client.get("/plain").status_code for _ in range(2)] == [200, 429]
        text = client.get("/metrics").text
    for decision in ("admitted", "refused"):
        [line] = [x for x in text.splitlines() if f'decision="{decision}"' in x and '"own"' in x]
        assert float(line.rpartition(" ")[2]) == 1


def test_an_inner_request_of_an_endpoint_keeps_its_fields_to_itself() -> None:
    inner, app = FastAPI(), FastAPI()
    small, large = (
        EndpointRateLimiter("3/minute", name="in"),
        EndpointRateLimiter("5/minute", name="out"),
    )
    inner.add_api_route("/in", lambda: Response("in"), dependencies=[Depends(small)])

    @app.get("/out", dependencies=[Depends(large)])
    async def out() -> Response:
        return Response((await play(inner, "/in")).headers["ratelimit"])

    found = answer(app, "/out")
    assert found.headers["ratelimit"].startswith('"out";r=4')
