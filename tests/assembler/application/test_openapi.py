"""The OpenAPI document: FastAPI's, and what the parts of the stack offer."""

import json
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from assembler.application.openapi import Stack, extended
from tests.assembler.sample_app.world import built, write

WHOLE = """
app: {openapi: {extend: %s}}
middleware:
  - {id: outer, use: $parts.documented.Guard, with: {name: outer, status: 413}}
  - {id: bare, use: $parts.documented.Bare}
  - {id: below, use: $parts.documented.Guard, with: {name: below, below: /items/}}
exception_handlers:
  - {catch: starlette.exceptions.HTTPException, use: $parts.documented.handler, with: {name: Failure}}
  - catch: fastapi.exceptions.RequestValidationError
    use: $parts.documented.handler
    with: {name: Invalid, statuses: [422]}
  - {catch: ValueError, use: $parts.documented.handler, with: {name: Odd, statuses: [409]}}
  - {catch: 404, use: $parts.documented.handler, with: {name: Missing, statuses: [404, 410]}}
routes:
  - {id: all, use: $parts.documented.router}
  - id: scoped
    use: $parts.documented.router
    prefix: /scoped
    middleware:
      - {use: $parts.documented.Guard, with: {name: scoped, status: 418}}
    exception_handlers:
      - {catch: KeyError, use: $parts.documented.handler, with: {name: Keyless, statuses: [400]}}
      - {catch: Exception, use: $parts.documented.handler, with: {name: Any, statuses: [500]}}
"""


@pytest.fixture(name="app")
def _app(tmp_path: Path) -> FastAPI:
    return built(tmp_path, WHOLE % "true")


@pytest.fixture(name="document")
def _document(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def check(document: dict[str, Any]) -> None:
    """Raise where the document is no OpenAPI 3.1."""
    pytest.importorskip("openapi_spec_validator").OpenAPIV31SpecValidator(document).validate()


def operation(document: dict[str, Any], method: str, path: str) -> Any:
    return document["paths"][path][method]


def schema_of(document: dict[str, Any], response: dict[str, Any]) -> str:
    """The title of the body's schema."""
    name = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    title: str = document["components"]["schemas"][name]["title"]
    return title


def titles(document: dict[str, Any], method: str, path: str) -> dict[str, str]:
    responses = operation(document, method, path)["responses"]
    return {status: schema_of(document, each) for status, each in responses.items()}


def test_each_layer_and_handler_adds_its_answers_where_it_reaches(document: dict[str, Any]) -> None:
    assert titles(document, "get", "/items/{number}") == {
        "200": "Item",
        "400": "Failure",  # a control character in the path, which no layer sees to
        "401": "Said by below",
        "403": "Failure",  # raised by the layer: the handler makes the body
        "409": "Odd",
        "413": "Said by outer",
        "422": "Invalid",
    }
    assert operation(document, "get", "/items/{number}")["x-guards"] == ["below", "outer"]
    assert operation(document, "get", "/counted")["x-guards"] == ["outer"]
    assert operation(document, "get", "/counted")["responses"].keys() == {
        *("200", "403", "409", "413", "429"),  # no 422, as there is nothing to be invalid
    }


def test_the_answer_to_a_path_with_a_control_character_is_told(app: FastAPI) -> None:
    told = app.openapi()["paths"]
    assert "400" in told["/items/{number}"]["get"]["responses"]
    assert "400" not in told["/counted"]["get"]["responses"]  # that would be another path
    with TestClient(app) as client:
        assert client.get("/items/%07").text == "Failure"  # whose body the document shows


def test_what_a_route_declares_stays(document: dict[str, Any]) -> None:
    found = titles(document, "post", "/scoped/items")
    assert found["401"] == "Own"
    assert found["404"] == "Missing"  # which the route gives no body: that is the handler's
    declared = operation(document, "post", "/items")["responses"]["404"]
    assert declared["description"] == "No such shop"
    assert "410" not in found  # of a handler for 404


def test_headers_stand_on_the_answers_from_further_in(document: dict[str, Any]) -> None:
    responses = operation(document, "get", "/items/{number}")["responses"]
    seen = {status: set(each.get("headers", ())) for status, each in responses.items()}
    inside = {"X-Seen-below", "X-Seen-outer"}
    assert seen == {
        **dict.fromkeys(("200", "400", "409", "422"), inside),
        "401": {"X-Seen-outer"},
        "403": {"X-Seen-outer"},
        "413": set(),
    }
    counted = operation(document, "get", "/counted")["responses"]
    assert "X-Left" in counted["200"]["headers"]
    assert "X-Left" not in counted["429"].get("headers", {})


def test_what_all_ask_for_must_hold_together(document: dict[str, Any]) -> None:
    below = operation(document, "get", "/items/{number}")
    assert below["security"] == [{"below": [], "outer": []}]
    names = [each["name"] for each in below["parameters"]]
    assert names == ["number", "x-below", "x-outer"]
    assert document["components"]["securitySchemes"].keys() == {"below", "outer", "scoped"}


def test_a_scope_has_its_own_layers_and_handlers_inside(document: dict[str, Any]) -> None:
    assert titles(document, "post", "/scoped/items") == {
        "200": "Item",
        "400": "Keyless",
        "403": "Failure",
        "413": "Said by outer",
        "401": "Own",
        "404": "Missing",
        "418": "Said by scoped",
        "422": "Invalid",
        "500": "Any",
    }
    assert "418" not in operation(document, "get", "/counted")["responses"]
    responses = operation(document, "get", "/scoped/counted")["responses"]
    assert "X-Seen-outer" in responses["418"]["headers"]


def test_parts_of_one_name_and_another_content_get_names_of_their_own(
    document: dict[str, Any],
) -> None:
    said = {
        each["title"]
        for name, each in document["components"]["schemas"].items()
        if name.startswith("Said")
    }
    assert said == {"Said by below", "Said by outer", "Said by scoped"}


def test_the_whole_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    check(json.loads(json.dumps(document)))
    text = json.dumps(document)
    assert "HTTPValidationError" not in text  # nobody gives it any more
    assert "/hidden" not in text


def test_extend_false_is_fastapi_s_document_alone(tmp_path: Path) -> None:
    plain = built(tmp_path, WHOLE % "false").openapi()
    text = "routes: [{use: $parts.documented.router}]\napp: {openapi: {extend: false}}"
    bare = built(tmp_path, text).openapi()
    assert plain["paths"]["/items"] == bare["paths"]["/items"]
    assert "securitySchemes" not in plain["components"]


def test_without_offers_it_is_fastapi_s_document(tmp_path: Path) -> None:
    text = "routes: [{use: $parts.documented.router}]\napp: {openapi: {extend: %s}}"
    ours, theirs = (built(tmp_path, text % each).openapi() for each in ("true", "false"))
    counted = ours["paths"].pop("/counted")
    theirs["paths"].pop("/counted")
    assert counted["get"]["responses"]["429"]["content"]  # FastAPI's `detail`
    ours["components"]["schemas"].pop("HTTPException")
    assert ours == theirs


def test_it_is_made_once_and_anew_for_another_stack(app: FastAPI) -> None:
    first = app.openapi()
    assert app.openapi() is first is app.openapi_schema
    app.middleware_stack = app.build_middleware_stack()  # as instrumentation does
    assert app.openapi() is not first
    assert app.openapi() == first


def test_what_others_set_is_the_document(app: FastAPI) -> None:
    app.openapi()
    app.openapi_schema = {"openapi": "3.1.0"}
    assert app.openapi() == {"openapi": "3.1.0"}


@pytest.mark.parametrize(
    ("offer", "message"),
    [
        (
            "key",
            "`openapi_operation` of `tests.assembler.sample_app.documented.Wrong` gives `response`",
        ),
        ("list", "gives a list, not a mapping"),
    ],
)
def test_an_offer_of_another_form_is_refused(tmp_path: Path, offer: str, message: str) -> None:
    text = f"""
    middleware: [{{use: $parts.documented.Wrong, with: {{offer: {offer}}}}}]
    routes: [{{use: $parts.documented.router}}]
    """
    with pytest.raises(TypeError, match=message):
        built(tmp_path, text).openapi()


def test_who_raises_when_asked_is_named(tmp_path: Path) -> None:
    text = """
    middleware:
      - {use: $parts.documented.Proxy}
      - {use: $parts.documented.Wrong, with: {offer: raise}}
    routes: [{use: $parts.documented.router}]
    """
    with pytest.raises(LookupError) as caught:
        built(tmp_path, text).openapi()
    assert caught.value.__notes__ == [
        "`tests.assembler.sample_app.documented.Wrong` was asked what it adds to GET /items/{number:int}"
    ]


MOUNTED = """
app: {openapi: {extend: %s}}
middleware:
  - {id: outer, use: $parts.documented.Guard, with: {name: outer, below: /shop/items}}
routes:
  - mount: /shop
    use: $parts.documented.inner
    middleware: [{use: $parts.documented.Guard, with: {name: scoped, status: 418}}]
"""


def test_a_mounted_application_tells_what_stands_around_it(tmp_path: Path) -> None:
    with TestClient(built(tmp_path, MOUNTED % "true")) as client:
        document = client.get("/shop/openapi.json").json()
    made = operation(document, "post", "/items")
    assert schema_of(document, made["responses"]["418"]) == "Said by scoped"
    assert operation(document, "post", "/items")["x-guards"] == ["scoped", "outer"]
    assert operation(document, "get", "/counted")["x-guards"] == ["scoped"]
    check(document)
    again = built(tmp_path, MOUNTED % "true")  # the same application in another one
    with TestClient(again) as client:
        assert client.get("/shop/openapi.json").json() == document
        assert again.openapi()["paths"] == {}
    with TestClient(built(tmp_path, MOUNTED % "false")) as client:
        plain = client.get("/shop/openapi.json").json()
    assert "x-guards" not in operation(plain, "post", "/items")


def test_a_mounted_manifest_tells_of_its_own_stack_and_of_those_around_it(tmp_path: Path) -> None:
    write(
        tmp_path,
        """
        middleware: [{use: $parts.documented.Guard, with: {name: inside, status: 418, below: /items}}]
        exception_handlers:
          - {catch: ValueError, use: $parts.documented.handler, with: {name: Odd, statuses: [409]}}
        routes: [{use: $parts.documented.router}]
        """,
    ).rename(tmp_path / "inner.yaml")
    outer = """
    middleware: [{use: $parts.documented.Guard, with: {name: outer, status: 413, below: /shop}}]
    exception_handlers:
      - {catch: starlette.exceptions.HTTPException, use: $parts.documented.handler, with: {name: Failure}}
      - {catch: ValueError, use: $parts.documented.handler, with: {name: Hidden, statuses: [410]}}
      - {catch: KeyError, use: $parts.documented.handler, with: {name: Keyless, statuses: [400]}}
    routes:
      - mount: /shop
        manifest: inner.yaml
        middleware: [{use: $parts.documented.Guard, with: {name: scoped, status: 411}}]
    """
    with TestClient(built(tmp_path, outer)) as client:
        document = client.get("/shop/openapi.json").json()
    check(document)
    assert operation(document, "post", "/items")["x-guards"] == ["inside", "scoped", "outer"]
    assert operation(document, "get", "/counted")["x-guards"] == ["scoped", "outer"]
    found = titles(document, "post", "/items")
    assert found["409"] == "Odd"
    assert "410" not in found  # the manifest's own handler comes first
    assert found["400"] in {"Keyless", "Failure"}
    assert (
        found["404"] == "Failure"
    )  # which the outer application answers, as the inner one has none
    assert (found["411"], found["413"], found["418"]) == (
        *("Said by scoped", "Said by outer", "Said by inside"),
    )


STATUSES = st.sampled_from(["200", "401", "404", "422", "429", "4XX", "500", "default"])
CONTENT = st.sampled_from(["One", "Two", None])
ANSWERS = st.dictionaries(STATUSES, CONTENT, max_size=3)


def _answers(found: dict[str, str | None], text: str) -> dict[str, Any]:
    def content(name: str | None) -> dict[str, Any]:
        schema = {"$ref": f"#/components/schemas/{name}"}
        return {} if name is None else {"content": {"application/json": {"schema": schema}}}

    return {status: {"description": text, **content(name)} for status, name in found.items()}


class _Layer:
    def __init__(self, number: int, answers: dict[str, str | None], header: str, *, named: bool):
        self.number, self.answers, self.header, self.named = number, answers, header, named

    def openapi_operation(self, method: str, path: str) -> dict[str, Any]:
        titles = (f"{each} of {self.number if self.named else 'all'}" for each in ("One", "Two"))
        schemas = {
            name: {"title": title} for name, title in zip(("One", "Two"), titles, strict=True)
        }
        return {
            "responses": _answers(self.answers, f"by layer {self.number}"),
            "headers": {self.header: {"X-Seen": {"schema": {"type": "string"}}}},
            "components": {"schemas": schemas},
        }


LAYERS = st.lists(st.tuples(ANSWERS, STATUSES, st.booleans()), max_size=4)


@settings(max_examples=25, deadline=None)
@given(ANSWERS, LAYERS)
def test_whatever_is_offered_the_whole_is_valid_and_the_route_is_kept(
    declared: dict[str, str | None], layers: list[tuple[dict[str, str | None], str, bool]]
) -> None:
    app = FastAPI()
    schemas = {"One": {"title": "One of the route"}, "Two": {"title": "Two of the route"}}
    said = _answers(declared, "of the route")
    app.get("/{number}", openapi_extra={"responses": said})(_numbered)
    plain = app.openapi()
    plain.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    before = json.loads(json.dumps(plain))["paths"]["/{number}"]["get"]["responses"]
    made = [_Layer(number, *each[:2], named=each[2]) for number, each in enumerate(layers)]
    document = extended(plain, [(app.routes[-1], [Stack(made, {})])])
    check(document)
    after = document["paths"]["/{number}"]["get"]["responses"]
    for status, response in before.items():
        assert after[status]["description"].startswith(response["description"])
        assert after[status].get("content", {}).items() >= response.get("content", {}).items() or (
            status == "422" and declared.get("422") is None  # the body is FastAPI's
        )
    added = {status for each in layers for status in each[0]} | ({"400"} if layers else set())
    assert after.keys() == before.keys() | added
    for number, layer in enumerate(made):
        for status in layer.answers.keys() - before.keys():
            assert f"layer {number}" in after[status]["description"]


def _numbered(number: int) -> str:
    return str(number)
