"""Routes with layers, handlers or a host of their own."""

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from assembler.describe.explain import explanation
from assembler.describe.picture import as_mermaid, as_text
from assembler.diagnostics.errors import ManifestError
from tests.assembler.sample_app.world import built, planned

TEXT = """
middleware: [{id: outer, use: $parts.layers.Label, with: {name: outer}}]
exception_handlers:
  - {catch: KeyError, use: $parts.options.saying, with: {text: app key, status: 410}}
  - {catch: 404, use: $parts.options.saying, with: {text: app 404, status: 404}}
  - {catch: Exception, use: $parts.options.saying, with: {text: app any, status: 500}}
routes:
  - id: api
    use: $parts.options.scoped
    prefix: /api
    middleware:
      - {id: one, use: $parts.layers.Label, with: {name: one}}
      - {id: two, use: $parts.layers.Label, with: {name: two}}
    exception_handlers:
      - {catch: ValueError, use: $parts.options.saying, with: {text: own value, status: 409}}
  - {use: $parts.options.router, prefix: /api}
  - mount: /inner
    name: inner
    use: $parts.options.everything
    middleware: [{use: $parts.layers.Label, with: {name: inner}}]
  - path: /one
    use: $parts.options.plain
    middleware: [{use: $parts.layers.Label, with: {name: single}}]
  - id: any
    use: $parts.options.scoped
    prefix: /any
    exception_handlers:
      - {catch: Exception, use: $parts.options.saying, with: {text: own any, status: 500}}
  - id: refused
    use: $parts.options.scoped
    prefix: /refused
    middleware:
      - {use: $parts.layers.Label, with: {name: before}}
      - {use: $parts.options.Refuse, with: {status: 404}}
"""


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    return TestClient(built(tmp_path, TEXT), raise_server_exceptions=False)


OUTER, SCOPED = ["outer"], ["two", "one", "outer"]


@pytest.mark.parametrize(
    ("request_line", "status", "labels", "text"),
    [
        ("GET /api/fine", 200, SCOPED, '"http://testserver/api/fine"'),
        ("GET /api/raise/value", 409, SCOPED, "own value"),
        ("GET /api/raise/key", 410, SCOPED, "app key"),
        ("GET /api/raise/index", 500, SCOPED, "app any"),
        ("GET /api/nowhere", 404, SCOPED, "app 404"),
        ("POST /api/fine", 405, SCOPED, '{"detail":"Method Not Allowed"}'),
        ("GET /api/fine/", 307, SCOPED, ""),
        ("GET /api/plain", 200, OUTER, '"plain"'),
        ("POST /api/plain", 405, OUTER, '{"detail":"Method Not Allowed"}'),
        ("GET /apiary", 404, OUTER, "app 404"),
        ("GET /inner/x", 200, ["inner", "outer"], "/inner/x"),
        ("GET /inner", 200, ["inner", "outer"], "/inner/"),
        ("GET /one", 200, ["single", "outer"], '"plain"'),
        ("PUT /one", 405, ["single", "outer"], '{"detail":"Method Not Allowed"}'),
        ("GET /any/raise/index", 500, OUTER, "own any"),
        ("GET /any/raise/key", 500, OUTER, "own any"),
        ("GET /any/nowhere", 404, OUTER, "app 404"),
        ("GET /refused/fine", 404, ["before", "outer"], "app 404"),
        ("GET /refused/nowhere", 404, ["before", "outer"], "app 404"),
    ],
)
def test_what_answers_and_which_layers_it_passes(
    client: TestClient, request_line: str, status: int, labels: list[str], text: str
) -> None:
    method, path = request_line.split()
    answer = client.request(method, path, follow_redirects=False)
    found = (answer.status_code, answer.headers.get_list("x-labels"), answer.text)
    assert found == (status, labels, text)


def test_what_nobody_was_meant_for_is_raised_on_from_a_scope_too(tmp_path: Path) -> None:
    app = built(tmp_path, TEXT)
    with pytest.raises(IndexError):
        TestClient(app).get("/any/raise/index")
    quiet = built(tmp_path, TEXT + "\napp: {raise_unhandled: false}")
    assert TestClient(quiet).get("/any/raise/index").text == "own any"


def test_the_document_has_the_routes_of_scopes(client: TestClient) -> None:
    document = client.get("/openapi.json").json()["paths"]
    assert list(document) == [
        *("/api/fine", "/api/raise/{name}", "/api/plain", "/one"),
        *("/any/fine", "/any/raise/{name}", "/refused/fine", "/refused/raise/{name}"),
    ]


def test_websockets_pass_the_layers(client: TestClient) -> None:
    with client.websocket_connect("/api/socket") as socket:
        assert socket.receive_text() == "hello"


HOSTED = """
routes:
  - {id: tenants, use: $parts.options.scoped, host: "{tenant}.example.com"}
  - {id: a, mount: /files, use: $parts.options.everything, host: files.example.com}
  - {id: b, mount: /files, use: $parts.options.everything, host: other.example.com}
"""


def test_a_host_shuts_others_out_and_gives_its_parameters(tmp_path: Path) -> None:
    app = built(tmp_path, HOSTED)
    for host, status in (("a.example.com:80", 200), ("A.EXAMPLE.COM", 200), ("example.com", 404)):
        client = TestClient(app, base_url=f"http://{host}")
        assert client.get("/fine").status_code == status
    tenant = TestClient(app, base_url="http://acme.example.com").get("/tenant/x")
    assert tenant.json() == {"tenant": "acme", "word": "x"}
    assert TestClient(app, base_url="http://other.example.com").get("/files/x").text == "/files/x"
    plan = planned(tmp_path, HOSTED)
    for url, found in (("http://a.example.com/fine", "tenants"), ("/fine", None)):
        route = explanation(plan, app, "GET", url)["route"]
        assert (route and route["id"]) == found


def test_explain_draws_the_scope(tmp_path: Path) -> None:
    plan, app = planned(tmp_path, TEXT), built(tmp_path, TEXT)
    facts = explanation(plan, app, "GET", "/api/fine")
    assert [layer["id"] for layer in facts["route"]["middleware"]] == ["one", "two"]
    assert [one["catch"] for one in facts["route"]["handlers"]] == ["ValueError"]
    text = as_text(facts)
    assert "through  one: " in text
    assert "ValueError" in text
    assert "scoped0_1" in as_mermaid(facts)
    refused: Any = explanation(plan, app, "GET", "/api/nowhere")
    assert refused["answer"] == "404: no route has this path, through the layers of `api`"
    whole = as_text(explanation(plan, app))
    assert whole.count("through  one: ") == 1


def test_a_layer_of_a_scope_that_cannot_be_made_has_its_line(tmp_path: Path) -> None:
    text = """
    routes:
      - use: $parts.options.router
        middleware: [{use: $parts.steps.Panicking}]
    """
    with pytest.raises(ManifestError) as caught:
        built(tmp_path, text)
    (fault,) = caught.value.diagnostics
    assert (fault.code, fault.span and fault.span.line) == ("build-failed", 4)


def test_a_lazy_mount_has_its_layers_from_the_start(tmp_path: Path) -> None:
    text = """
    routes:
      - mount: /late
        lazy: true
        use: $parts.options.everything
        middleware: [{id: x, use: $parts.layers.Label, with: {name: late}}]
    """
    with TestClient(built(tmp_path, text)) as client:
        answer = client.get("/late/x")
        assert (answer.text, answer.headers["x-labels"]) == ("/late/x", "late")
