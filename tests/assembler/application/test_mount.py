"""Applications under a path: with and without the final slash, with their own lifespans."""

import asyncio
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import assembly_of, built, cycle, failing_start


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


@pytest.mark.parametrize("factory", ["starlette_app", "fastapi_app"])
def test_a_mount_answers_with_and_without_the_slash_and_never_redirects(
    tmp_path: Path, factory: str
) -> None:
    app = built(tmp_path, f"routes: [{{mount: /mcp, use: $parts.api.{factory}}}]")
    client = TestClient(app, follow_redirects=False)
    for path in ("/mcp", "/mcp/"):
        response = client.get(path)
        assert response.status_code == 200
        answer = response.json()
        assert (answer["path"], answer["root_path"]) == ("/mcp/", "/mcp")
    assert client.get("/mcp/inner").json()["path"] == "/mcp/inner"
    assert client.get("/mcp?x=1").status_code == 200
    assert client.get("/mcpx").status_code == 404
    assert client.get("/mc").status_code == 404


def test_websockets_reach_a_mount_with_and_without_the_slash(tmp_path: Path) -> None:
    client = TestClient(built(tmp_path, "routes: [{mount: /ws, use: $parts.api.starlette_app}]"))
    for path in ("/ws", "/ws/"):
        with client.websocket_connect(path) as socket:
            assert socket.receive_json() == {"path": "/ws/", "root_path": "/ws"}


def test_the_path_of_a_mount_may_have_parameters(tmp_path: Path) -> None:
    mount = "routes: [{mount: '/tenants/{tenant:int}/files', use: $parts.api.starlette_app}]"
    client = TestClient(built(tmp_path, mount))
    for path in ("/tenants/7/files", "/tenants/7/files/", "/tenants/7/files/inner"):
        answer = client.get(path).json()
        assert answer["params"] == {"tenant": 7}
        assert answer["root_path"] == "/tenants/7/files"
    assert client.get("/tenants/x/files").status_code == 404


def test_a_mount_at_the_root_takes_what_the_routes_above_it_leave(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        "routes: [{use: $parts.api.router}, {mount: /, use: $parts.api.starlette_app}]",
    )
    client = TestClient(app)
    assert client.get("/hello").json()["path"] == "/hello"
    assert client.get("/").json()["root_path"] == ""
    assert client.get("/inner").json()["path"] == "/inner"
    behind = TestClient(app, root_path="/api")
    assert behind.get("/api").json()["root_path"] == "/api"


def test_a_mount_knows_the_root_path_of_the_application(tmp_path: Path) -> None:
    app = built(
        tmp_path, "app: {root_path: /api}\nroutes: [{mount: /in, use: $parts.api.starlette_app}]"
    )
    client = TestClient(app)
    for path in ("/in", "/in/", "/api/in", "/api/in/"):  # with and without what a proxy strips
        answer = client.get(path).json()
        assert (answer["root_path"], answer["path"]) == ("/api/in", "/api/in/")


def test_routes_and_mounts_are_matched_from_top_to_bottom(tmp_path: Path) -> None:
    mount = "{mount: /hello, use: $parts.api.plain_app}"
    router = "{use: $parts.api.router}"
    first = built(tmp_path, f"routes: [{mount}, {router}]")
    second = built(tmp_path, f"routes: [{router}, {mount}]")
    assert TestClient(first).get("/hello").text == "plain /hello/"
    assert TestClient(second).get("/hello").json()["path"] == "/hello"


def test_the_lifespans_of_mounts_run_and_their_state_is_theirs_alone(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes:
          - {use: $parts.api.router}
          - {mount: /one, use: $parts.api.starlette_app, with: {name: one}}
          - {mount: /two, use: $parts.api.fastapi_app, with: {name: two}}
        """,
    )
    with TestClient(app) as client:
        assert events == ["db opened", "one in", "two in"]
        assert client.get("/state").json() == {"db": "<db>"}
        assert client.get("/one").json()["state"] == {"db": "<db>", "own": "one"}
        assert client.get("/two").json()["state"] == {"db": "<db>", "own": "two"}
        assert client.get("/state").json() == {"db": "<db>"}
    assert events[3:] == ["two out", "one out", "db closed"]


def test_a_mount_sees_the_shared_resources_in_its_own_lifespan(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes: [{mount: /sees, use: $parts.api.SeesShared}]
        """,
    )
    with TestClient(app) as client:
        assert client.get("/sees").json() == {"db": "<db>"}
    assert events == ["db opened", "sees ['db']", "mount ended", "db closed"]


def test_an_application_without_a_lifespan_is_served(tmp_path: Path) -> None:
    app = built(tmp_path, "routes: [{mount: /plain, use: $parts.api.plain_app}]")
    with TestClient(app) as client:
        assert client.get("/plain/x").text == "plain /plain/x"
    assert {step.outcome for step in assembly_of(app).steps} == {"ok"}


def test_a_mount_whose_startup_fails_fails_the_start_at_its_line(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes:
          - {mount: /ok, use: $parts.api.starlette_app}
          - {mount: /broken, use: $parts.api.broken_app}
        shutdown: [{use: $parts.steps.say}]
        """,
    )
    message = asyncio.run(failing_start(app))
    assert "error[startup-failed]: mount `/broken` failed: RuntimeError: no such table" in message
    assert "manifest.yaml:5:27" in message
    assert "sample_app/api.py" in message
    assert 'raise RuntimeError("no such table")' in message
    assert events == ["db opened", "starlette in", "starlette out", "db closed"]


def test_a_mount_that_says_that_it_failed_is_believed(tmp_path: Path) -> None:
    mount = "routes: [{mount: /x, use: $parts.api.SeesShared, with: {fails: start}}]"
    message = asyncio.run(failing_start(built(tmp_path, mount)))
    assert "mount `/x` failed: KeyError: 'x'" in message


def test_a_mount_that_fails_to_stop_is_reported_and_keeps_nothing_else(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes: [{mount: /x, use: $parts.api.SeesShared, with: {fails: stop}}]
        """,
    )
    asyncio.run(cycle(app))
    assert events[-1] == "db closed"
    errors = {step.id: step.error for step in assembly_of(app).steps if step.phase == "close"}
    assert errors == {"/x": "could not stop", "routers": None, "db": None}


def test_the_lifespans_of_routers_run_and_their_state_is_on_the_request(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        resources: {db: {use: $parts.steps.Entered, with: {name: db}}}
        routes: [{use: $parts.api.router}, {use: $parts.api.living, prefix: /living}]
        """,
    )
    for _ in range(2):
        events.clear()
        with TestClient(app) as client:
            state = client.get("/state").json()
            assert state == {"db": "<db>", "from_router": "router state"}
        assert events == ["db opened", "router lifespan in", "router lifespan out", "db closed"]


def test_a_router_whose_lifespan_fails_fails_the_start(tmp_path: Path) -> None:
    app = built(tmp_path, "routes: [{use: $parts.api.broken_router}]")
    message = asyncio.run(failing_start(app))
    assert "router `routers` failed: RuntimeError: no such table" in message
    assert "manifest.yaml:2:1" in message
