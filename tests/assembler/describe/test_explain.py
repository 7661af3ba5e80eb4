"""What `explain` says is what the application does."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Match
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

import assembler
from assembler.describe.explain import explanation, routes_of
from assembler.describe.picture import as_mermaid, as_text
from tests.assembler.command import PROJECT, in_folder, write


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Path]:
    with in_folder(tmp_path):
        yield tmp_path


def facts_of(folder: Path, manifest: str, *request: str, code: str = "") -> dict[str, Any]:
    write(folder, {"m.yaml": f"manifest: 1\n{manifest}", "own.py": code})
    plan = assembler.load("m.yaml")
    facts = explanation(plan, assembler.build(plan), *request)
    json.dumps(facts)  # programs read it
    return facts


API = """\
from fastapi import APIRouter, Depends, FastAPI, Request, WebSocket
from starlette.responses import PlainTextResponse

router = APIRouter()
inner = APIRouter(prefix="/inner")


def route(name, path, method="GET", to=router):
    def endpoint():
        return name
    endpoint.__name__ = endpoint.__qualname__ = name
    to.add_api_route(path, endpoint, methods=[method])


route("first", "/a/{x}")
route("second", "/a/b")
route("third", "/a/b", "POST")
route("whole", "/n/{n:int}")
route("rest", "/files/{rest:path}", "PUT")
route("slashed", "/s/")
route("deep", "/{y}", to=inner)
router.include_router(inner)


@router.websocket("/live/{room}")
async def live(socket: WebSocket, room: str):
    await socket.accept()
    await socket.send_text("live")
    await socket.close()


def mounted():
    async def app(scope, receive, send):
        if scope["type"] == "lifespan":
            return
        path = scope["path"].removeprefix(scope["root_path"])
        await PlainTextResponse("mounted " + path)(scope, receive, send)
    return app
"""
MANIFEST = """\
app: {openapi: {path: null}}
routes:
  - {id: api, use: own.router, prefix: /v1}
  - {id: again, use: own.router}
  - {mount: /m, use: own.mounted}
"""
REQUESTS = [
    f"{method} {path}"
    for method in ("GET", "POST", "PUT", "HEAD", "DELETE")
    for path in (
        *("/", "/v1/a/b", "/v1/a/c", "/a/b", "/a/b/", "/v1/n/7", "/v1/n/x", "/v1/n/7/"),
        *("/v1/files/x/y", "/v1/s", "/v1/s/", "/s", "/v1/inner/z", "/inner/z/", "/v1"),
        *("/m", "/m/", "/m/x/y", "/mm", "/v1/a/b?x=1", "/v1/a/%62", "/v1/a/b%2Fc", "/live/1"),
    )
]


def test_every_verdict_is_what_the_application_answers(project: Path) -> None:
    write(project, {"m.yaml": f"manifest: 1\n{MANIFEST}", "own.py": API})
    plan = assembler.load("m.yaml")
    app = assembler.build(plan)
    with TestClient(app) as client:
        for line in REQUESTS:
            method, path = line.split(" ")
            facts = explanation(plan, app, method, path)
            answer = client.request(method, path, follow_redirects=False)
            if facts["route"] is None:
                assert facts["answer"].startswith(f"{answer.status_code}:"), line
                if answer.status_code == 307:
                    target = answer.headers["location"].removeprefix("http://testserver")
                    assert facts["answer"] == f"307: redirects to {target.partition('?')[0]}"
            elif facts["route"]["methods"] == ["MOUNT"]:
                if method != "HEAD":
                    assert answer.text == f"mounted {facts['route']['inside']}", line
            elif answer.status_code != 422:
                assert facts["route"]["endpoint"] == f"own.{answer.json()}", line


def test_a_websocket_goes_to_its_route_or_is_refused(project: Path) -> None:
    write(project, {"m.yaml": f"manifest: 1\n{MANIFEST}", "own.py": API})
    plan = assembler.load("m.yaml")
    app = assembler.build(plan)
    facts = explanation(plan, app, "websocket", "/v1/live/7")
    assert facts["route"] == {
        "id": "api",
        "path": "/v1/live/{room}",
        "methods": ["WEBSOCKET"],
        "endpoint": "own.live",
        "dependencies": [],
        "parameters": {"room": "7"},
    }
    assert explanation(plan, app, "WEBSOCKET", "/v1/s/")["answer"].startswith("403: ")
    with TestClient(app) as client:
        with client.websocket_connect("/v1/live/7") as socket:
            assert socket.receive_text() == "live"
        with pytest.raises(WebSocketDisconnect), client.websocket_connect("/v1/s/"):
            pass


def test_shadowed_routes_are_those_that_would_have_answered_too(project: Path) -> None:
    facts = facts_of(project, MANIFEST, "GET", "/v1/a/b", code=API)
    assert facts["route"]["endpoint"] == "own.first"
    assert [route["endpoint"] for route in facts["shadowed"]] == ["own.second"]
    assert facts["route"]["parameters"] == {"x": "b"}


def test_routes_know_the_entry_that_they_came_from(project: Path) -> None:
    write(project, {"m.yaml": f"manifest: 1\n{MANIFEST}", "own.py": API})
    plan = assembler.load("m.yaml")
    found = routes_of(plan, assembler.build(plan))
    assert [route.id for route in found] == ["api"] * 8 + ["again"] * 8 + ["/m"]
    assert found[-1].endpoint == "own.mounted"


def test_asking_sends_no_request_and_leaves_no_trace(project: Path) -> None:
    write(project, {"m.yaml": f"manifest: 1\n{MANIFEST}", "own.py": API})
    plan = assembler.load("m.yaml")
    app = assembler.build(plan)
    assert explanation(plan, app, "GET", "/v1/s") == explanation(plan, app, "GET", "/v1/s")
    assert app.state.assembly.steps == []


def test_a_root_path_is_no_part_of_a_route(project: Path) -> None:
    manifest = "app: {root_path: /api, openapi: {path: null}}\nroutes: [{use: own.router}]\n"
    for path in ("/api/s/", "/s/"):
        facts = facts_of(project, manifest, "GET", path, code=API)
        assert facts["route"]["endpoint"] == "own.slashed"


@pytest.mark.newest
def test_the_files_of_a_frontend_come_last(project: Path) -> None:
    write(project, {"dist/index.html": "home", "dist/a.txt": "file"})
    code = """\
from fastapi import APIRouter

router = APIRouter()
router.frontend("/site", directory="dist")
router.add_api_route("/site/{x}", lambda x: x, methods=["GET"])
"""
    manifest = "app: {openapi: {path: null}}\nroutes: [{use: own.router}]\n"
    for path in ("/site/a/b.txt", "/site"):
        answer = facts_of(project, manifest, "GET", path, code=code)["answer"]
        assert answer == "no route has this path: the files of a frontend may"
    assert facts_of(project, manifest, "GET", "/site/a.txt", code=code)["route"]


SECRET = "canary"
SECRETIVE = """\
from fastapi import APIRouter


def hook(*, key: str) -> APIRouter:
    router = APIRouter()
    router.add_api_route("/hook/" + key, lambda: 1)
    return router


class Keyed:
    def __init__(self, app, *, key: str, url: str) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)


def legacy(app, *, key: str) -> None:
    app.add_middleware(Keyed, key=key, url="")
"""


@pytest.mark.parametrize("request_line", [(), ("GET", "/hook/canary")])
def test_what_came_from_the_environment_is_never_shown(
    project: Path, monkeypatch: pytest.MonkeyPatch, request_line: tuple[str, ...]
) -> None:
    monkeypatch.setenv("KEY", SECRET)
    monkeypatch.setenv("HOST", "canary.example")
    facts = facts_of(
        project,
        """\
middleware: [{use: own.Keyed, with: {key: "${KEY}", url: "https://u:canary@x"}}]
configure: [{use: own.legacy, with: {key: "${KEY}"}}]
routes: [{use: own.hook, with: {key: "${KEY}"}}]
server: {host: "${HOST}", ssl_certfile: own.pem, ssl_keyfile_password: "${KEY}"}
""",
        *request_line,
        code=SECRETIVE,
    )
    for text in (json.dumps(facts), as_text(facts), as_mermaid(facts)):
        assert SECRET not in text
    assert facts["server"]["host"] == "${HOST}"
    assert "/hook/${KEY}" in as_text(facts)


def test_middleware_and_handlers_that_code_added_are_shown_where_they_are(project: Path) -> None:
    facts = facts_of(
        project,
        """\
middleware: [{use: own.Plain}, {id: inner, use: own.Plain}]
configure: [{use: own.legacy}]
exception_handlers: [{catch: 404, use: own.answer}]
""",
        code="""\
class Plain:
    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, *asgi): ...


class Outer(Plain): ...


def answer(request, error): ...


def legacy(app) -> None:
    app.add_middleware(Outer)
    app.add_exception_handler(KeyError, answer)
""",
    )
    assert [layer["id"] for layer in facts["middleware"]] == ["own.Outer", "own.Plain", "inner"]
    own = [one for one in facts["handlers"] if one.get("added_by") != "fastapi"]
    assert own == [
        {"id": "404", "catch": 404, "use": "own.answer"},
        {"id": "KeyError", "catch": "KeyError", "use": "own.answer", "added_by": "code"},
    ]


def test_names_are_told_without_what_nobody_can_import(project: Path) -> None:
    code = """\
import functools
from fastapi import APIRouter, Depends
from fastapi.security import HTTPBearer


def made() -> APIRouter:
    def inside(): ...

    class Callable:
        def __call__(self): ...

    router = APIRouter()
    router.add_api_route("/f", inside, dependencies=[Depends(HTTPBearer())])
    router.add_api_route("/p", functools.partial(inside))
    router.add_api_route("/c", Callable())
    return router
"""
    manifest = "app: {openapi: {path: null}}\nroutes: [{use: own.made}]\n"
    routes = facts_of(project, manifest, code=code)["routes"]
    assert [route["endpoint"] for route in routes] == [
        "own.made.inside",
        "own.made.inside",
        "own.made.Callable",
    ]
    assert routes[0]["dependencies"] == ["fastapi.security.http.HTTPBearer"]


def test_the_project_of_the_golden_files_matches_in_full() -> None:
    with in_folder(PROJECT):
        plan = assembler.load("manifests/prod.yaml")
        app = assembler.build(plan)
        scope = {"type": "http", "method": "GET", "path": "/shop/items/new", "root_path": ""}
        full = [
            route.endpoint
            for route in routes_of(plan, app)
            if route.matches({**scope, "headers": []})[0] is Match.FULL
        ]
        facts = explanation(plan, app, "GET", "/shop/items/new")
    assert full == [route["endpoint"] for route in (facts["route"], *facts["shadowed"])]


CLOSING = """\
from starlette.middleware.base import BaseHTTPMiddleware


class Branded(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        return await call_next(request)


class Kept(Branded):
    send_outlives_call = True
"""


def test_what_an_answer_to_an_exception_passes_by_is_told(project: Path) -> None:
    text = "middleware: [{id: brand, use: own.Branded}, {id: kept, use: own.Kept}]"
    facts = facts_of(project, text, code=CLOSING)
    assert [one.get("passed_by", False) for one in facts["middleware"]] == [True, False]
    picture = as_text(facts)
    told = picture.partition("nothing that these layers add\n")[2].splitlines()
    assert told[0].strip() == "brand: own.Branded"
    assert not any("own.Kept" in line for line in told)
