"""A manifest that another one mounts: one process, an application of its own."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from assembler.application.build import build
from assembler.describe.explain import explanation, routes_of
from assembler.describe.picture import as_text
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import Plan, load
from tests.assembler.project import project
from tests.assembler.sample_app.world import assembly_of, failing_start

CODE = """
import asyncio, contextlib
from typing import Annotated
from fastapi import APIRouter, FastAPI, Request, WebSocket
from starlette.responses import PlainTextResponse
from starlette.exceptions import HTTPException
import assembler

LOG = []

class Box:
    def __init__(self, *, name: str, other: "Box | None" = None, app: FastAPI = None):
        self.name, self.app = name, app
    async def __aenter__(self):
        LOG.append(f"open {self.name} for {self.app.title}")
    async def __aexit__(self, *_):
        LOG.append(f"close {self.name}")
    async def ping(self): ...

class Label:
    def __init__(self, app, *, name: str):
        self.app, self.name = app, name
    async def __call__(self, scope, receive, send):
        async def labelled(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"labels", self.name.encode())]
            await send(message)
        try:
            await self.app(scope, receive, labelled)
        except Exception as error:
            LOG.append(f"{self.name} saw {type(error).__name__}")
            raise

class Refuse:
    def __init__(self, app): ...
    async def __call__(self, scope, receive, send):
        raise HTTPException(404)

class Gate:
    def __init__(self, app): ...
    async def __call__(self, scope, receive, send):
        await PlainTextResponse("no", 401)(scope, receive, send)

def saying(*, text: str, status: int):
    return lambda request, error: PlainTextResponse(f"{text} in {request.app.title}", status)

router = APIRouter()

@router.get("/fine", name="fine")
def fine(request: Request, box: Annotated[Box, assembler.Resource("own")]):
    return [request.app.title, box.name, sorted(request.state._state), request.url.path]

@router.get("/raise/{name}")
def raising(name: str):
    raise {"value": ValueError, "key": KeyError, "index": IndexError}[name](name)

@router.get("/status/{status}")
def status(status: int):
    raise HTTPException(status)

@router.websocket("/socket")
async def socket(websocket: WebSocket):
    await websocket.accept()
    await websocket.send_text(websocket.app.title)
    await websocket.close()

outer_router = APIRouter()

@outer_router.get("/fine")
def outer_fine(request: Request):
    return [request.app.title, sorted(request.state._state)]

@outer_router.get("/api/hidden")
def hidden(): ...

async def step(app: FastAPI, *, name: str, box: Box):
    LOG.append(f"{name} of {app.title} with {box.name}")

async def loop():
    LOG.append("loop begun")
    await asyncio.sleep(3600)

async def job(): ...

@contextlib.asynccontextmanager
async def life(app):
    LOG.append(f"entered by {app.title}")
    yield {f"lived_{app.title.lower()}": True}

def add_route(app: FastAPI):
    LOG.append(f"configure {app.title}")
    app.add_api_route("/added", lambda: app.title)

def seen(app: FastAPI):
    LOG.append(f"finish {app.title}")

async def failing():
    raise ConnectionError("no")
"""
OUTER = """
manifest: 1
app: {title: Outer}
resources:
  shared: {use: mountedshop.Box, with: {name: shared}}
lifespan: [{id: outer-life, use: mountedshop.life}]
middleware: [{id: out, use: mountedshop.Label, with: {name: out}}]
exception_handlers:
  - {catch: KeyError, use: mountedshop.saying, with: {text: outer key, status: 410}}
  - {catch: 404, use: mountedshop.saying, with: {text: outer 404, status: 404}}
  - {catch: Exception, use: mountedshop.saying, with: {text: outer any, status: 500}}
configure: [{use: mountedshop.add_route}]
routes:
  - {use: components.health.router, prefix: /health}
  - {use: mountedshop.outer_router}
  - {mount: /api, name: api, manifest: inner/api.yaml}
  - {id: late, use: mountedshop.outer_router, prefix: /api}
finish: [{use: mountedshop.seen}]
startup: [{id: outer-step, use: mountedshop.step, with: {name: outer step, box: "${resources.shared}"}}]
shutdown: [{id: outer-last, use: mountedshop.step, with: {name: outer last, box: "${resources.shared}"}}]
"""
INNER = """
manifest: 1
app: {title: Inner, version: "7", state: {box: "${resources.own}"}}
resources:
  own: {use: mountedshop.Box, with: {name: own, other: "${resources.shared}"}}
lifespan: [{id: inner-life, use: mountedshop.life}]
middleware: [{id: in, use: mountedshop.Label, with: {name: in}}]
exception_handlers:
  - {catch: ValueError, use: mountedshop.saying, with: {text: inner value, status: 409}}
configure: [{use: mountedshop.add_route}]
routes:
  - id: v1
    use: mountedshop.router
    prefix: /v1
    middleware: [{id: scope, use: mountedshop.Label, with: {name: scope}}]
  - {use: mountedshop.router}
  - id: gated
    use: mountedshop.router
    prefix: /gated
    middleware: [{id: gate, use: mountedshop.Gate}]
  - id: refused
    path: /refused
    use: mountedshop.hidden
    middleware: [{id: refuse, use: mountedshop.Refuse}]
  - {mount: /deep, manifest: deep.yaml}
finish: [{use: mountedshop.seen}]
startup: [{id: inner-step, use: mountedshop.step, with: {name: inner step, box: "${resources.own}"}}]
scheduler: {jobs: [{id: hourly, use: mountedshop.job, every: 1h}]}
background: [{id: loop, use: mountedshop.loop}]
shutdown: [{id: inner-last, use: mountedshop.step, with: {name: inner last, box: "${resources.own}"}}]
"""
DEEP = """
manifest: 1
app: {title: Deep, openapi: {path: null}}
middleware: [{id: depth, use: mountedshop.Label, with: {name: deep}}]
exception_handlers:
  - {catch: Exception, use: mountedshop.saying, with: {text: deep any, status: 503}}
routes: [{use: mountedshop.router}]
"""
FILES = {"mountedshop.py": CODE, "m.yaml": OUTER, "inner/api.yaml": INNER, "inner/deep.yaml": DEEP}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with project(tmp_path_factory.mktemp("mounted"), FILES) as found:
        yield found


@pytest.fixture(scope="module")
def plan(folder: Path) -> Plan:
    return load("m.yaml", environment={})


@pytest.fixture(scope="module")
def app(plan: Plan) -> FastAPI:
    return build(plan)


@pytest.fixture(scope="module")
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


OUT, IN = ["out"], ["in", "out"]
SCOPE, DEEPEST = ["scope", "in", "out"], ["deep", "in", "out"]


@pytest.mark.parametrize(
    ("request_line", "status", "labels", "text"),
    [
        ("GET /fine", 200, OUT, '["Outer",["lived_outer","own","shared"]]'),
        ("GET /api/fine", 200, IN, '["Inner","own",["lived_inner","lived_outer","own","shared"],"/api/fine"]'),
        ("GET /api/v1/fine", 200, SCOPE, '"/api/v1/fine"]'),
        ("GET /api/deep/fine", 200, DEEPEST, '["Deep","own"'),
        ("GET /api/added", 200, IN, '"Inner"'),
        ("GET /added", 200, OUT, '"Outer"'),
        ("GET /api/raise/value", 409, IN, "inner value in Inner"),
        ("GET /api/v1/raise/value", 409, SCOPE, "inner value in Inner"),
        ("GET /api/raise/key", 410, IN, "outer key in Inner"),
        ("GET /api/v1/raise/key", 410, SCOPE, "outer key in Inner"),
        ("GET /api/raise/index", 500, IN, "outer any in Inner"),
        ("GET /api/deep/raise/value", 503, DEEPEST, "deep any in Deep"),
        ("GET /api/deep/raise/index", 503, DEEPEST, "deep any in Deep"),
        ("GET /api/nowhere", 404, IN, "outer 404 in Inner"),
        ("GET /api/v1/nowhere", 404, SCOPE, "outer 404 in Inner"),
        ("GET /api/deep/nowhere", 404, DEEPEST, "outer 404 in Deep"),
        ("GET /api/refused", 404, IN, "outer 404 in Inner"),
        ("GET /api", 404, IN, "outer 404 in Inner"),
        ("GET /api/hidden", 200, OUT, "null"),
        ("POST /api/fine", 405, IN, "Method Not Allowed"),
        ("GET /api/status/418", 418, IN, "I'm a Teapot"),
        ("GET /nowhere", 404, OUT, "outer 404 in Outer"),
        ("GET /api/openapi.json", 200, IN, '"title":"Inner"'),
        ("GET /api/deep/openapi.json", 404, DEEPEST, "outer 404"),
        ("GET /apiary", 404, OUT, "outer 404 in Outer"),
    ],
)  # fmt: skip
def test_an_inner_application_has_layers_and_handlers_of_its_own_inside_the_outer_ones(
    client: TestClient, request_line: str, status: int, labels: list[str], text: str
) -> None:
    answer = client.request(*request_line.split())
    assert (answer.status_code, answer.headers.get_list("labels")) == (status, labels)
    assert text in answer.text


def test_an_exception_leaves_through_the_layers_of_both_and_is_raised_on(
    client: TestClient, app: FastAPI
) -> None:
    import mountedshop  # type: ignore[import-not-found]  # noqa: PLC0415  # of the test's folder

    mountedshop.LOG.clear()
    with pytest.raises(IndexError):
        TestClient(app).get("/api/v1/raise/index")
    assert [f"{name} saw IndexError" for name in ("scope", "in", "out")] == mountedshop.LOG


def test_a_websocket_reaches_the_inner_application(client: TestClient) -> None:
    with client.websocket_connect("/api/socket") as socket:
        assert socket.receive_text() == "Inner"


def test_a_whole_start_and_stop_is_one(plan: Plan) -> None:
    import mountedshop  # noqa: PLC0415  # as above

    mountedshop.LOG.clear()
    app = build(plan)
    assert mountedshop.LOG == [
        "configure Outer", "configure Inner", "finish Inner", "finish Outer",
    ]  # fmt: skip
    mountedshop.LOG.clear()
    for _ in range(2):
        with TestClient(app):
            steps = {step.id for step in assembly_of(app).steps}
    assert mountedshop.LOG[: len(mountedshop.LOG) // 2] == [
        "open shared for Outer",
        "open own for Inner",
        "entered by Outer",
        "entered by Inner",
        "outer step of Outer with shared",
        "inner step of Inner with own",
        "loop begun",
        "outer last of Outer with shared",
        "inner last of Inner with own",
        "close own",
        "close shared",
    ]
    assert {"own", "inner-life", "inner-step", "loop", "jobs", "routers of /api/deep"} <= steps


def test_health_and_the_report_tell_of_what_the_inner_manifest_opens(
    client: TestClient, app: FastAPI
) -> None:
    assert client.get("/health/ready").status_code == 200
    found = assembly_of(app).as_dict()
    assert {"shared", "own", "inner-step"} <= {step["id"] for step in found["steps"]}
    assert assembly_of(app).checks.keys() >= {"shared", "own", "background loop"}
    assert assembly_of(app).jobs is not None


def test_a_step_of_the_inner_manifest_that_fails_unwinds_all(folder: Path) -> None:
    import mountedshop  # noqa: PLC0415  # as above

    change = {"routes./api.manifest.startup": [{"use": "mountedshop.failing"}]}
    app = build(load("m.yaml", change, environment={}))
    mountedshop.LOG.clear()
    assert "startup `mountedshop.failing` failed" in asyncio.run(failing_start(app))
    closed = [line for line in mountedshop.LOG if line.startswith("close ")]
    assert closed == ["close own", "close shared"]


def test_tests_replace_resources_and_dependencies_of_the_inner_manifest(plan: Plan) -> None:
    import mountedshop  # noqa: PLC0415  # as above

    mine = mountedshop.Box(name="mine")
    with TestClient(build(plan, {"own": mine})) as client:
        assert client.get("/api/fine").json()[1] == "mine"


def test_a_layer_of_the_inner_manifest_that_cannot_be_made_is_told_at_its_line(
    folder: Path,
) -> None:
    change = {"routes./api.manifest.middleware.in.use": "mountedshop.loop"}
    with pytest.raises(ManifestError) as caught:
        build(load("m.yaml", change, environment={}))
    assert "mountedshop.loop" in str(caught.value)


def test_url_for_finds_the_mount_by_its_name(app: FastAPI) -> None:
    assert app.url_path_for("api", path="/fine") == "/api/fine"


def test_a_mount_of_a_manifest_has_a_host_layers_and_handlers_of_its_own(folder: Path) -> None:
    scope = [{"id": "around", "use": "mountedshop.Label", "with": {"name": "around"}}]
    caught = [{"catch": "IndexError", "use": "mountedshop.saying", "with": {"text": "scoped", "status": 418}}]  # fmt: skip
    change = {
        "routes./api.host": "{tenant}.example.com",
        "routes./api.middleware": scope,
        "routes./api.exception_handlers": caught,
    }
    app = build(load("m.yaml", change, environment={}))
    with TestClient(app, base_url="http://a.example.com", raise_server_exceptions=False) as client:
        assert client.get("/api/fine").headers.get_list("labels") == ["in", "around", "out"]
        assert client.get("/api/raise/index").text == "scoped in Inner"
        answer = client.get("/api/nowhere")
        assert (answer.status_code, answer.headers.get_list("labels")) == (404, ["in", "around", "out"])  # fmt: skip
        other = client.get("http://example.com/api/fine")
        assert (other.json()[0], other.headers.get_list("labels")) == ("Outer", OUT)


def test_explain_draws_the_inner_stack_inside(plan: Plan, app: FastAPI) -> None:
    text = as_text(explanation(plan, app, "GET", "/api/v1/fine"))
    for drawn in (
        """
  │
  ├─ out: mountedshop.Label
  │    name: "out"
  │
  ├─ /api: inner/api.yaml
  │  │
  │  ├─ in: mountedshop.Label
  │  │    name: "in"
  │
""",
        """
  ╰─▶ GET /api/v1/fine  mountedshop.fine
        entry    v1
        through  scope: mountedshop.Label
""",
        "    ValueError                       mountedshop.saying  in inner/api.yaml\n",
    ):
        assert drawn in text


@pytest.mark.parametrize(
    ("request_line", "route", "answer"),
    [
        ("GET /api/fine", "mountedshop.router", None),
        ("GET /api/v1/fine", "v1", None),
        ("GET /api/deep/fine", "mountedshop.router", None),
        ("POST /api/fine", None, "405: this path takes GET, through the layers of `inner/api.yaml`"),
        ("GET /api/x", None, "404: no route has this path, through the layers of `inner/api.yaml`"),
        ("GET /api/fine/", None, "307: redirects to /api/fine, unless a middleware rewrites the path, through the layers of `inner/api.yaml`"),
        ("GET /api/deep/x", None, "404: no route has this path, through the layers of `deep.yaml`"),
        ("WEBSOCKET /api/socket", "mountedshop.router", None),
        ("GET /fine", "mountedshop.outer_router", None),
    ],
)  # fmt: skip
def test_explain_finds_what_answers_inside(
    plan: Plan, app: FastAPI, request_line: str, route: str | None, answer: str | None
) -> None:
    facts = explanation(plan, app, *request_line.split())
    assert (facts["route"] and facts["route"]["id"], facts["answer"]) == (route, answer)


def test_routes_lists_the_inner_ones_with_their_whole_paths(plan: Plan, app: FastAPI) -> None:
    found = [(route.path, route.id) for route in routes_of(plan, app)]
    inside = found[found.index(("/api", "/api")) :]
    assert ("/api/v1/fine", "v1") in inside
    assert ("/api/deep/fine", "mountedshop.router") in inside
    assert ("/fine", "mountedshop.outer_router") not in inside


LAYERS = st.lists(st.sampled_from(["Label", "Catch", "Refuse", "Raise"]), max_size=3)
CAUGHT = st.lists(st.sampled_from(["KeyError", "LookupError", "Exception", 404, 418]), unique=True, max_size=3)  # fmt: skip
PATHS = ["/fine", "/raise/key", "/raise/index", "/raise/value", "/status/418", "/status/404", "/nowhere"]  # fmt: skip
KINDS = """
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from fastapi import APIRouter

class Label:
    def __init__(self, app, *, name: str):
        self.app, self.name = app, name
    async def __call__(self, scope, receive, send):
        async def labelled(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"labels", self.name.encode())]
            await send(message)
        await self.app(scope, receive, labelled)

class Catch(Label):
    async def __call__(self, scope, receive, send):
        try:
            await super().__call__(scope, receive, send)
        except KeyError:
            await PlainTextResponse(f"{self.name} caught", 422)(scope, receive, send)

class Refuse(Label):
    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("/fine"):
            raise HTTPException(418)
        await super().__call__(scope, receive, send)

class Raise(Label):
    async def __call__(self, scope, receive, send):
        if scope["path"].endswith("/fine"):
            raise KeyError("layer")
        await super().__call__(scope, receive, send)

def saying(*, text: str, status: int):
    return lambda request, error: PlainTextResponse(text, status)

router = APIRouter()

@router.get("/fine")
def fine(): ...

@router.get("/raise/{name}")
def raising(name: str):
    raise {"value": ValueError, "key": KeyError, "index": IndexError}[name](name)

@router.get("/status/{status}")
def status(status: int):
    raise HTTPException(status)
"""


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with project(tmp_path_factory.mktemp("kinds"), {"kindshop.py": KINDS}) as found:
        yield found


@given(LAYERS, LAYERS, CAUGHT, CAUGHT)
@settings(max_examples=15, deadline=None)
def test_a_mounted_manifest_answers_as_a_router_with_the_same_layers_and_handlers_of_its_own(
    kinds: Path,
    outside: list[str],
    inside: list[str],
    outer_caught: list[str | int],
    inner_caught: list[str | int],
) -> None:
    def layers(kinds: list[str], where: str) -> list[dict[str, Any]]:
        return [
            {"id": f"{where}{n}", "use": f"kindshop.{kind}", "with": {"name": f"{where}{n}"}}
            for n, kind in enumerate(kinds)
        ]

    def handlers(caught: list[str | int], where: str) -> list[dict[str, Any]]:
        return [
            {
                "catch": one,
                "use": "kindshop.saying",
                "with": {"text": f"{where} {one}", "status": 499},
            }
            for one in caught
        ]

    own = {"middleware": layers(inside, "in"), "exception_handlers": handlers(inner_caught, "in")}
    route = {"use": "kindshop.router"}
    answers = []
    for entry in (
        {"mount": "/api", "manifest": {"manifest": 1, "routes": [route], **own}},
        {**route, "prefix": "/api", **own},
    ):
        whole = {
            "manifest": 1,
            "middleware": layers(outside, "out"),
            "exception_handlers": handlers(outer_caught, "out"),
            "routes": [entry],
        }
        (kinds / "same.yaml").write_text(json.dumps(whole), "utf-8")
        app = build(load(kinds / "same.yaml", environment={}))
        client = TestClient(app, raise_server_exceptions=False)
        found = [client.get(f"/api{path}") for path in PATHS]
        answers.append([(one.status_code, one.text, one.headers.get_list("labels")) for one in found])  # fmt: skip
    assert answers[0] == answers[1]
