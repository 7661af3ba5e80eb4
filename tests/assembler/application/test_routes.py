"""Kinds of routes: mounts with a name, single endpoints, frontends, folders, options of routers."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from assembler.describe.explain import routes_of
from assembler.diagnostics.errors import ManifestError
from tests.assembler.sample_app.world import built, planned

TEXT = """
routes:
  - {mount: /files, name: files, use: starlette.staticfiles.StaticFiles, with: {directory: DIR, html: true}}
  - {path: "/named/{word}", name: named, use: $parts.options.addresses, tags: [x], responses: {"404": {description: gone}}}
  - {path: /both, methods: [GET, POST], use: $parts.options.plain, dependencies: [$parts.options.refuse], include_in_schema: false}
  - {path: /socket, methods: [WEBSOCKET], use: $parts.options.socket}
  - {use: $parts.options.router, prefix: /old, deprecated: true, default_response_class: starlette.responses.PlainTextResponse}
  - {use: $parts.options.hooks, include_in_schema: false}
  - {frontend: web, prefix: /web}
  - {mount: /, use: $parts.options.everything}
"""


# Frontends are there since FastAPI 0.138.
needs_frontends = pytest.mark.skipif(
    not hasattr(FastAPI, "frontend"), reason="a FastAPI without frontends"
)


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    for folder in ("web", "files"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "index.html").write_text(f'<a href="x.txt">{folder}</a>', "utf-8")
        (tmp_path / folder / "x.txt").write_text("x", "utf-8")
    text = TEXT.replace("DIR", str(tmp_path / "files"))
    return TestClient(
        built(tmp_path, text.replace("  - {mount: /, use: $parts.options.everything}\n", ""))
    )


@needs_frontends
def test_mounts_and_endpoints_have_names(client: TestClient) -> None:
    found = client.get("/named/a").json()
    assert found == ["http://testserver/files/x.txt", "http://testserver/named/b"]


@needs_frontends
def test_relative_links_of_a_folder_lead_into_it(client: TestClient) -> None:
    first = client.get("/files?a=b", follow_redirects=False)
    assert (first.status_code, first.headers["location"]) == (307, "http://testserver/files/?a=b")
    page = client.get("/files")
    assert "files</a>" in page.text
    assert client.get(str(page.url.join("x.txt"))).text == "x"


@needs_frontends
def test_an_endpoint_has_its_methods_and_dependencies(client: TestClient) -> None:
    assert [client.request(method, "/both").status_code for method in ("GET", "PUT")] == [418, 405]
    assert client.post("/both").status_code == 418
    with client.websocket_connect("/socket") as socket:
        assert socket.receive_text() == "hello"


@needs_frontends
def test_options_of_a_router_reach_its_routes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()["paths"]
    assert document["/old/plain"]["get"]["deprecated"] is True
    assert document["/named/{word}"]["get"]["tags"] == ["x"]
    assert document["/named/{word}"]["get"]["responses"]["404"] == {"description": "gone"}
    assert "/hook" not in document
    assert client.post("/hook").status_code == 200
    assert client.get("/old/plain").text == "plain"


@needs_frontends
def test_a_frontend_answers_where_no_route_does(client: TestClient) -> None:
    page = {"accept": "text/html"}
    assert client.get("/web/x.txt").text == "x"
    assert "web</a>" in client.get("/web/some/page", headers=page).text
    assert client.get("/elsewhere", headers=page).status_code == 404


def test_a_mount_at_the_root_answers_what_stands_nowhere_above(tmp_path: Path) -> None:
    text = """
    routes:
      - {path: /first, use: $parts.options.plain}
      - {mount: /, use: $parts.options.everything}
    """
    client = TestClient(built(tmp_path, text))
    assert [client.get(path).text for path in ("/first", "/", "/x/y")] == ['"plain"', "/", "/x/y"]
    plan = planned(tmp_path, text)
    listed = {route.path: route.id for route in routes_of(plan, built(tmp_path, text))}
    assert listed["/first"] == "GET /first"


def test_what_fastapi_refuses_has_its_line(tmp_path: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        built(tmp_path, "routes: [{path: /x, use: $parts.options.odd}]")
    (fault,) = caught.value.diagnostics
    assert fault.code == "build-failed"
    assert fault.message.startswith("`odd` cannot answer at `/x`: ")
