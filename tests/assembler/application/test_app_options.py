"""What `app`, `configure` and `finish` give the application."""

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.world import built


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


def test_the_state_has_objects_variables_and_plain_values(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        app: {state: {limit: 3, box: "${resources.box}", names: [a, "${resources.box}"]}}
        resources: {box: {use: $parts.steps.Entered}}
        """,
    )
    assert app.state.limit == 3
    assert app.state.box.name == "entered"
    assert app.state.names == ["a", app.state.box]


def test_dependencies_of_the_app_run_before_routes_that_code_adds_too(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        app: {dependencies: [$parts.options.mark, {use: $parts.options.marking, with: {name: b}}]}
        configure: [{use: $parts.options.add_early}]
        routes: [{use: $parts.options.router}]
        finish: [{use: $parts.options.add_late}]
        """,
    )
    client = TestClient(app)
    for path in ("/early", "/plain", "/late"):
        events.clear()
        assert client.get(path).status_code == 200
        assert events == ["mark", "b"]


def test_what_fastapi_takes_reaches_it(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        app:
          default_response_class: starlette.responses.PlainTextResponse
          generate_unique_id_function: $parts.options.operation
          separate_input_output_schemas: false
          swagger_ui_parameters: {persistAuthorization: true}
          swagger_ui_oauth2_redirect_url: null
          redirect_slashes: false
          responses: {"404": {description: gone, model: $parts.options.Problem}}
          callbacks: [$parts.options.back]
          webhooks: $parts.options.hooks
        routes: [{use: $parts.options.router}]
        """,
    )
    client = TestClient(app)
    assert client.get("/plain").headers["content-type"].startswith("text/plain")
    assert client.get("/plain/").status_code == 404
    assert client.get("/docs/oauth2-redirect").status_code == 404
    assert "persistAuthorization" in client.get("/docs").text
    document = client.get("/openapi.json").json()
    said = document["paths"]["/plain"]["get"]
    assert said["operationId"] == "operation of plain"
    assert said["responses"]["404"]["description"] == "gone"
    assert "/back" in str(said["callbacks"])
    assert list(document["webhooks"]) == ["/hook"]


def test_a_response_is_json_of_the_environment_too(tmp_path: Path) -> None:
    text = """
        app: {responses: {"404": '${GONE:-{"description": "gone"}}'}}
        routes:
          - {use: $parts.options.router, responses: {"409": '${GONE:-{"description": "gone"}}'}}
        """
    document = TestClient(built(tmp_path, text)).get("/openapi.json").json()
    said = document["paths"]["/plain"]["get"]["responses"]
    assert [said[status]["description"] for status in ("404", "409")] == ["gone", "gone"]


def test_debug_answers_with_the_traceback(tmp_path: Path) -> None:
    text = "app: {debug: DEBUG, raise_unhandled: false}\nroutes: [{use: $parts.options.router}]"
    answers = []
    for debug in ("true", "false"):
        app = built(tmp_path, text.replace("DEBUG", debug))
        answers.append(TestClient(app, raise_server_exceptions=False).get("/broken"))
    assert [answer.status_code for answer in answers] == [500, 500]
    assert ["Traceback" in answer.text for answer in answers] == [True, False]


def test_finish_sees_the_routes_and_configure_does_not(tmp_path: Path) -> None:
    built(
        tmp_path,
        """
        configure: [{use: $parts.options.note_routes}, {use: $parts.options.note_nothing}]
        routes: [{use: $parts.options.router, prefix: /api}]
        finish:
          - {id: first, use: $parts.options.note_routes}
          - {id: second, use: $parts.options.note_nothing, with: {word: last}}
          - {id: third, use: $parts.options.by_name}
        """,
    )
    assert events == ["no routes", "nothing", "routes", "last", "Application"]
