"""Metrics: what is counted, under which labels, and who may read it."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Mount, Route, Router
from starlette.testclient import TestClient
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from components.metrics import MetricsMiddleware, exposition, page, router
from components.middleware.rate_limit import RateLimitMiddleware
from components.rate_limit.endpoint import EndpointRateLimiter
from tests.components.middleware.exchange import exchange, http_scope, responding

Samples = dict[tuple[str, ...], float]


def service(**options: Any) -> FastAPI:
    """An application with every kind of route."""
    app = FastAPI()
    items = APIRouter()

    @items.get("/items/{item_id}")
    def item(item_id: int) -> int:
        return item_id

    @items.get("/broken")
    def broken() -> None:
        raise RuntimeError("boom")

    @app.websocket("/talk/{room}")
    async def talk(socket: WebSocket, room: str) -> None:
        if room == "closed":
            await socket.close()
            return
        await socket.accept()
        await socket.receive_text()

    inner = FastAPI()
    inner.include_router(items, prefix="/v2")
    app.include_router(items, prefix="/api")
    app.mount("/inner", inner)
    app.mount("/of/{tenant}", inner)
    app.mount("/files", responding())
    app.include_router(router(public=True, others=False))
    app.add_middleware(MetricsMiddleware, **options)
    return app


def client(app: ASGIApp, **options: Any) -> TestClient:
    return TestClient(app, raise_server_exceptions=False, follow_redirects=False, **options)


def read(app: ASGIApp, path: str = "/metrics") -> Samples:
    """All samples by their name and the values of their labels, in the order of the labels' names."""
    answer = client(app).get(path)
    assert answer.status_code == 200
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in parse_text(answer.text)
        for sample in family.samples
    }


def requests(samples: Samples) -> Samples:
    return {key[1:]: n for key, n in samples.items() if key[0] == "http_requests_total"}


@pytest.mark.parametrize(
    ("path", "route", "status"),
    [
        ("/api/items/7", "/api/items/{item_id}", "200"),
        ("/api/items/x", "/api/items/{item_id}", "422"),
        ("/api/items/7/", "(unmatched)", "307"),
        ("/api/broken", "/api/broken", "500"),
        ("/nowhere/at/all", "(unmatched)", "404"),
        ("/inner/v2/items/7", "/inner/v2/items/{item_id}", "200"),
        ("/inner/nowhere", "/inner/*", "404"),
        ("/of/acme/v2/items/7", "/of/{tenant}/v2/items/{item_id}", "200"),
        ("/files/a/b", "/files/*", "200"),
    ],
)
def test_requests_are_told_apart_by_the_template_of_their_route(
    path: str, route: str, status: str
) -> None:
    app = service()
    client(app).get(path)
    client(app).get(path)
    assert requests(read(app)) == {("GET", route, status): 2}


def test_a_root_path_is_no_part_of_a_template() -> None:
    app = service()
    client(app, root_path="/proxied").get("/proxied/inner/v2/items/7")
    assert requests(read(app)) == {("GET", "/inner/v2/items/{item_id}", "200"): 1}


def test_a_wrong_method_is_counted_with_the_route_it_missed() -> None:
    app = service()
    client(app).request("PURGE", "/api/items/7")
    assert requests(read(app)) == {("other", "/api/items/{item_id}", "405"): 1}


def test_a_bare_starlette_application_is_measured_alike() -> None:
    def text(request: Request) -> Response:
        return PlainTextResponse("x")

    read_numbers = Route("/metrics", page(public=True, others=False))
    inner = Mount("/deep", routes=[Route("/x/{y}", text), Mount("/z", app=Router())])
    app: Any = Starlette(routes=[Route("/a/{b}", text), inner, read_numbers])
    app.add_middleware(MetricsMiddleware)
    for path in ("/a/1", "/deep/x/1", "/deep/z/1", "/other"):
        client(app).get(path)
    assert requests(read(app)) == {
        ("GET", "/a/{b}", "200"): 1,
        ("GET", "/deep/x/{y}", "200"): 1,
        ("GET", "/deep/z/*", "404"): 1,
        ("GET", "(unmatched)", "404"): 1,
    }


def _told(request: Request) -> Response:
    return PlainTextResponse("x")


class _Wrapped:
    """A layer around a mounted application, as a gate is."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)


class _Prefix:
    """No router, but it takes a part of the path, as some dispatchers do."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["root_path"] += scope["path"].removeprefix(scope["root_path"])[:2]
        await Router([Route("/x", _told)])(scope, receive, send)


def _mounted() -> Starlette:
    """Mounts with every kind of parameter, inside each other and behind layers."""
    leaf = Mount("/t/{id}", routes=[Route("/x/{y}", _told)])
    hidden = Host("hidden.example", app=Router([Mount("/{all:path}", app=responding())]))
    host = Host("other.example", app=Router([Mount("/h/{id}", routes=[Route("/x", _told)])]))
    routes = [
        hidden,
        host,
        Mount("/years/{year:int}", routes=[Route("/", _told), Route("/x", _told)]),
        Mount("/of/{key:uuid}", routes=[Route("/x", _told)]),
        Mount("/price/{amount:float}", routes=[Route("/x", _told)]),
        Mount("/twice/{id}", routes=[leaf, Mount("/{id:int}", routes=[Route("/x", _told)])]),
        Mount("/deep/{rest:path}", routes=[Route("/x", _told)]),
        Mount("/gate/{id}", app=_Wrapped(Router([leaf]))),
        Mount("/slow/{id}", app=_Prefix()),
        Route("/metrics", page(public=True, others=False)),
        Mount("", routes=[Mount("/rooted/{id}", routes=[Route("/x", _told)])]),
    ]
    app = Starlette(routes=routes)
    app.add_middleware(MetricsMiddleware)
    return app


@pytest.mark.parametrize(
    ("paths", "template"),
    [
        (["/years/7/x", "/years/007/x", "/years/0007/x"], "/years/{year}/x"),
        (["/years/7/", "/years/007/"], "/years/{year}"),
        (["/years/7/y", "/years/007/z"], "/years/{year}/*"),
        (
            [
                "/of/123e4567-e89b-12d3-a456-426614174000/x",
                "/of/123E4567-E89B-12D3-A456-426614174000/x",
                "/of/123e4567-E89b-12d3-A456-426614174000/x",
            ],
            "/of/{key}/x",
        ),
        (["/price/1.50/x", "/price/1.5/x", "/price/01.500/x"], "/price/{amount}/x"),
        (["/twice/a/t/b/x/c", "/twice/b/t/b/x/b"], "/twice/{id}/t/{id}/x/{y}"),
        (["/twice/twice/007/x", "/twice/7/7/x"], "/twice/{id}/{id}/x"),
        (["/deep/a/b/x", "/deep/c/x"], "/deep/{rest}/x"),
        (["/gate/1/t/2/x/3", "/gate/t/t/t/x/x"], "/gate/{id}/t/{id}/x/{y}"),
        (["/slow/1/a/x", "/slow/2/b/x"], "/slow/{id}/*/x"),
        (["/rooted/1/x", "/rooted/%2E/x"], "/rooted/{id}/x"),
    ],
)
def test_what_a_mount_took_of_a_path_is_told_as_its_template(
    paths: list[str], template: str
) -> None:
    app = _mounted()
    for path in paths:
        client(app).get(path)
    assert {key[1] for key in requests(read(app))} == {template}


def test_mounts_under_a_host_and_in_an_included_router_are_told_as_their_templates() -> None:
    app = _mounted()
    client(app, base_url="http://other.example").get("/h/7/x")
    inner = APIRouter()
    inner.mount("/of/{tenant:int}", Router([Route("/x", _told)]))
    outer = FastAPI()
    outer.include_router(inner, prefix="/api")
    outer.include_router(router(public=True, others=False))
    outer.add_middleware(MetricsMiddleware)
    for path in ("/api/of/7/x", "/api/of/007/x"):
        client(outer).get(path)
    assert requests(read(app)) == {("GET", "/h/{id}/x", "200"): 1}
    assert requests(read(outer)) == {("GET", "/api/of/{tenant}/x", "200"): 2}


def test_any_number_of_paths_makes_a_bounded_number_of_series() -> None:
    app = service()
    made = client(app)
    for at in range(300):
        made.get(f"/api/items/{at}")
        made.get(f"/random/{at}")
        made.get(f"/of/{at}/v2/items/{at}")
        made.get(f"/of/{at}/nowhere")
    assert len(requests(read(app))) == 4


def test_what_is_remembered_of_methods_and_mounts_is_bounded() -> None:
    app = MetricsMiddleware(service())
    paths = ("/api/items/1", f"/of/{'x' * 5000}/v2/items/1")
    for number in range(50):
        for path in paths:
            exchange(app, http_scope(path, f"{'M' * 5000}{number}"))
    assert {method for _, method, *_ in app._remembered} == {"other"}
    assert len(app._remembered) == 1


def test_latencies_are_cumulative_and_their_count_is_that_of_requests() -> None:
    now = iter([0.0, 0.004, 1.0, 1.05, 2.0, 3.0, 10.0, 10.001])
    app = service(buckets=[0.01, 0.1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("components.metrics.perf_counter", lambda: next(now))
        for _ in range(3):
            client(app).get("/api/items/7")
        samples = read(app)
    labels = ("GET", "/api/items/{item_id}", "200")
    name = "http_request_duration_seconds"
    found = {le: samples[f"{name}_bucket", le, *labels] for le in ("0.01", "0.1", "+Inf")}
    assert found == {"0.01": 1, "0.1": 2, "+Inf": 3}
    assert samples[f"{name}_count", *labels] == 3
    assert samples[f"{name}_sum", *labels] == pytest.approx(1.054)


def test_what_is_in_flight_is_told_and_forgotten() -> None:
    app = service()
    assert read(app)["http_requests_in_flight",] == 1  # the reading itself
    client(app).get("/api/broken")
    assert read(app)["http_requests_in_flight",] == 1


def test_a_client_that_leaves_is_counted_as_that() -> None:
    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.Event().wait()

    layer = MetricsMiddleware(waiting)

    async def leave() -> None:
        task = asyncio.create_task(layer(http_scope(), _receive, _send))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(leave())
    asyncio.run(MetricsMiddleware(_nothing)(http_scope(), _receive, _send))
    keys = [key for key, value in layer._values.sums().items() if value == 1]
    assert keys[0][:4] == ("request", "GET", "(unrouted)", "499")


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(message: Any) -> None:
    pass


async def _nothing(scope: Scope, receive: Receive, send: Send) -> None:
    pass


def test_websockets_are_counted_and_open_ones_told() -> None:
    app = service()
    made = client(app)
    with made.websocket_connect("/talk/a") as socket:
        assert read(app)["websockets_open",] == 1
        socket.send_text("bye")
    for path in ("/talk/closed", "/nowhere"):
        with pytest.raises(WebSocketDisconnect), made.websocket_connect(path):
            pass
    samples = read(app)
    assert samples["websockets_open",] == 0
    assert samples["websocket_handshakes_total", "/talk/{room}", "101"] == 1
    assert samples["websocket_handshakes_total", "/talk/{room}", "403"] == 1
    assert samples["websocket_handshakes_total", "(unmatched)", "403"] == 1


def test_decisions_of_rate_limits_are_counted_by_policy() -> None:
    app = FastAPI()

    @app.get("/x", dependencies=[Depends(EndpointRateLimiter("2/minute", name="x"))])
    def x() -> None: ...

    app.include_router(router(public=True, others=False))
    app.add_middleware(RateLimitMiddleware, limit="4/minute", name="all", exempt=["/metrics"])
    app.add_middleware(MetricsMiddleware)
    statuses = [client(app).get("/x").status_code for _ in range(6)]
    assert statuses == [200, 200, 429, 429, 429, 429]
    samples = read(app)
    decisions = {key[1:]: n for key, n in samples.items() if key[0] == "rate_limit_decisions_total"}
    assert decisions == {
        ("admitted", "all"): 4,
        ("refused", "all"): 2,
        ("admitted", "x"): 2,
        ("refused", "x"): 2,
    }
    assert requests(samples)["GET", "(unrouted)", "429"] == 2


def test_fields_of_others_make_a_bounded_number_of_policies() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"ratelimit", scope["path"].encode() + b";r=1")]
        await responding(headers=headers)(scope, receive, send)

    layer = MetricsMiddleware(app)
    for at in range(300):
        exchange(layer, http_scope(f"/{at}"))
    limits = {key: n for key, n in layer._values.sums().items() if key[0] == "limit"}
    assert len(limits) == 101
    assert sum(limits.values()) == 300


def test_exempt_paths_are_not_counted() -> None:
    app = service(exempt=["/api/*", "/metrics"])
    client(app).get("/api/items/7")
    assert requests(read(app)) == {}


def test_the_start_and_the_resources_are_told() -> None:
    app = service()
    step = SimpleNamespace(id="db", phase="resource", outcome="ok", milliseconds=250.0)
    away = SimpleNamespace(id="cache", phase="resource", outcome="degraded", milliseconds=1.0)
    ended = SimpleNamespace(id="db", phase="close", outcome="ok", milliseconds=1.0)
    app.state.assembly = SimpleNamespace(
        ready=True, degraded={"cache": "refused"}, steps=[ended, step, away]
    )
    samples = read(app)
    assert samples["app_ready",] == 1
    assert samples["app_startup_step_seconds", "ok", "resource", "db"] == 0.25
    assert samples["app_resource_up", "db"] == 1
    assert samples["app_resource_up", "cache"] == 0
    assert ("app_startup_step_seconds", "ok", "close", "db") not in samples


def test_a_resource_that_went_after_the_start_is_told_to_be_away() -> None:
    app = service()
    opened = [
        SimpleNamespace(id=name, phase="resource", outcome="ok", milliseconds=1.0)
        for name in ("db", "cache")
    ]

    async def answers() -> None: ...

    async def is_away() -> str:
        return "refused"

    app.state.assembly = SimpleNamespace(
        ready=True, degraded={}, steps=opened, checks={"db": answers, "cache": is_away}
    )
    samples = read(app)
    assert samples["app_resource_up", "db"] == 1
    assert samples["app_resource_up", "cache"] == 0


def test_two_applications_in_one_process_count_apart() -> None:
    one, other = service(), service()
    client(one).get("/api/items/7")
    assert len(requests(read(one))) == 1
    assert requests(read(other)) == {}


def test_an_application_that_starts_again_counts_on() -> None:
    app = service()
    for _ in range(3):
        with client(app) as made:
            made.get("/api/items/7")
    assert requests(read(app))["GET", "/api/items/{item_id}", "200"] == 3


def test_the_reader_chooses_the_format() -> None:
    app = service()
    client(app).get("/api/items/7")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
    answer = client(app).get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    assert "http_requests" in {family.name for family in parse_openmetrics(answer.text)}  # type: ignore[no-untyped-call]  # it has no hints
    answer = client(app).get("/metrics", headers={"accept": "text/plain"})
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert (answer.headers["cache-control"], answer.headers["vary"]) == ("no-store", "Accept")
    assert client(app).head("/metrics").status_code == 200


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    made = CollectorRegistry()
    monkeypatch.setattr(exposition, "REGISTRY", made)
    return made


def test_what_else_is_registered_is_shown_and_ours_go_first(registry: CollectorRegistry) -> None:
    Counter("orders", "Orders", registry=registry).inc(3)
    Counter("http_requests", "Of somebody else", registry=registry).inc(99)
    app = FastAPI()
    app.include_router(router(public=True))
    app.add_middleware(MetricsMiddleware)
    samples = read(app)
    assert samples["orders_total",] == 3
    assert ("http_requests_total",) not in samples


def guarded(**options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(router(others=False, **options))
    app.add_middleware(MetricsMiddleware)
    return app


@pytest.mark.parametrize(
    ("address", "headers", "status"),
    [
        ("127.0.0.1", {}, 200),
        ("::1", {}, 200),
        ("127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, 403),
        ("127.0.0.1", {"forwarded": "for=203.0.113.9"}, 403),
        ("127.0.0.1", {"via": "1.1 a-proxy"}, 403),
        ("::ffff:127.0.0.1", {}, 200),
        ("203.0.113.9", {}, 403),
        ("203.0.113.9", {"x-forwarded-for": "127.0.0.1"}, 403),
        ("testclient", {}, 403),
    ],
)
def test_without_a_token_only_this_machine_reads(
    address: str, headers: dict[str, str], status: int
) -> None:
    made = client(guarded(), client=(address, 50000))
    assert made.get("/metrics", headers=headers).status_code == status


@pytest.mark.parametrize("token", ["s3cret", SecretStr("s3cret")])
def test_with_a_token_it_is_needed_from_everywhere(token: str | SecretStr) -> None:
    made = client(guarded(token=token), client=("127.0.0.1", 50000))
    answer = made.get("/metrics")
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    for wrong in ("Bearer s3cre", "Bearer ", "s3cret", "Bearer s3cret2", "Bearer é"):
        given = {"authorization": wrong.encode()}
        assert made.get("/metrics", headers=given).status_code == 401  # type: ignore[arg-type]  # bytes
    assert made.get("/metrics", headers={"authorization": "Bearer s3cret"}).status_code == 200


def test_the_page_is_not_in_the_schema_and_may_be_elsewhere() -> None:
    app = guarded(public=True, path="/internal/numbers")
    assert read(app, "/internal/numbers")
    assert app.openapi()["paths"] == {}


def test_a_page_without_the_middleware_says_so() -> None:
    app = FastAPI()
    app.include_router(router(public=True))
    answer = client(app).get("/metrics")
    assert (answer.status_code, "no MetricsMiddleware" in answer.text) == (500, True)


@pytest.mark.parametrize("buckets", [[], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [float("inf")], [-1]])
def test_wrong_buckets_are_refused(buckets: list[float]) -> None:
    with pytest.raises(ValueError, match="positive, finite and rising"):
        MetricsMiddleware(responding(), buckets=buckets)


def test_other_wrong_options_are_refused() -> None:
    with pytest.raises(TypeError, match="`exempt` is a list"):
        MetricsMiddleware(responding(), exempt="/x")
    with pytest.raises(ValueError, match="`token` must be printable ASCII"):
        router(token="")


def test_a_folder_that_cannot_be_is_said_and_numbers_stay_here(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    app = service(directory=tmp_path / "file")
    client(app).get("/api/items/7")
    assert requests(read(app))["GET", "/api/items/{item_id}", "200"] == 1
    assert caplog.text.count("no folder can be shared") == 1


def test_the_lifespan_passes_through() -> None:
    seen = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(dict(scope))

    asyncio.run(MetricsMiddleware(app)({"type": "lifespan"}, _receive, _send))
    assert seen == [{"type": "lifespan"}]
