"""Plan → application: order, faults with their lines, resources, many builds."""

import asyncio
import importlib
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

import assembler
from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.diagnostics.render import render
from assembler.plan.load import load
from tests.assembler.project import project
from tests.assembler.sample_app.api import noted
from tests.assembler.sample_app.journal import events
from tests.assembler.sample_app.layers import Label
from tests.assembler.sample_app.steps import Entered
from tests.assembler.sample_app.world import PARTS, assembly_of, built, cycle, planned, write


@pytest.fixture(autouse=True)
def _empty_journal() -> None:
    events.clear()


def faults_of(folder: Path, text: str, environment: dict[str, str] | None = None) -> list[str]:
    """The faults of planning and building `text`, each as `code line: message`."""
    with pytest.raises(ManifestError) as caught:
        build(planned(folder, text, environment))
    return [
        f"{fault.code} {fault.span.line if fault.span else 0}: {fault.message}"
        for fault in caught.value.diagnostics
    ]


def test_the_first_middleware_of_the_manifest_is_the_outermost(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        middleware:
          - {id: a, use: $parts.layers.Label, with: {name: first}}
          - {id: b, use: $parts.layers.Label, with: {name: second}}
          - {id: c, use: $parts.layers.Label, with: {name: third}}
        routes: [{use: $parts.api.router}]
        """,
    )
    response = TestClient(app).get("/hello")
    assert response.headers.get_list("x-labels") == ["third", "second", "first"]
    assert events == ["first in", "second in", "third in", "third out", "second out", "first out"]
    assert [layer.kwargs["name"] for layer in app.user_middleware] == ["first", "second", "third"]


def test_what_is_raised_and_no_exception_is_a_fault_too(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "resources: {a: {use: $parts.steps.panicking}}") == [
        "build-failed 2: `panicking` could not be made: Panic"
    ]
    assert faults_of(tmp_path, "middleware: [{use: $parts.steps.Panicking}]") == [
        "build-failed 2: `Panicking` could not be made: Panic"
    ]
    assert faults_of(tmp_path, "configure: [{use: $parts.steps.Panicking}]") == [
        "build-failed 2: `Panicking` failed: Panic"
    ]


def test_objects_that_raise_when_they_are_looked_at_are_faults(tmp_path: Path) -> None:
    assert faults_of(tmp_path, "resources: {a: {use: $parts.steps.LazyOpener}}") == [
        "build-failed 2: `LazyOpener` cannot be opened: LookupError: asked to open"
    ]
    [fault] = faults_of(tmp_path, "routes: [{use: $parts.steps.Hostile}]")
    assert fault.endswith("gives a Hostile, not a FastAPI router")


def test_what_only_a_constructor_refuses_shows_at_build_with_its_line(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        middleware:
          - {id: a, use: $parts.layers.Refusing, with: {even: 2}}
          - {id: b, use: $parts.layers.Refusing, with: {even: 3}}
          - {id: c, use: $parts.layers.Refusing, with: {even: 5}}
        """,
    ) == [
        "build-failed 4: `Refusing` could not be made: ValueError: even is 3, which is odd",
        "build-failed 5: `Refusing` could not be made: ValueError: even is 5, which is odd",
    ]


def test_a_fault_of_a_constructor_shows_the_line_of_its_author(tmp_path: Path) -> None:
    plan = planned(tmp_path, "middleware: [{use: $parts.layers.Refusing, with: {even: 3}}]")
    with pytest.raises(ManifestError) as caught:
        build(plan)
    text = render(caught.value.diagnostics[0])
    assert "tests/assembler/sample_app/layers.py" in text
    assert 'raise ValueError(f"even is {even}, which is odd")' in text


def test_every_object_that_cannot_be_made_is_reported_at_once(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        resources:
          one: {use: $parts.steps.broken_factory, with: {secret: a}}
          two: {use: $parts.steps.broken_factory, with: {secret: b}}
          after: {use: $parts.steps.uses, with: {other: "${resources.one}"}}
        exception_handlers:
          - {catch: 404, use: $parts.steps.broken_factory, with: {secret: c}}
        """,
    ) == [
        "build-failed 3: `broken_factory` could not be made: ValueError: cannot parse a",
        "build-failed 4: `broken_factory` could not be made: ValueError: cannot parse b",
        "build-failed 7: `broken_factory` could not be made: ValueError: cannot parse c",
    ]


def test_secrets_do_not_appear_in_faults(tmp_path: Path) -> None:
    text = "resources: {one: {use: $parts.steps.broken_factory, with: {secret: '${TOKEN}'}}}"
    [fault] = faults_of(tmp_path, text, {"TOKEN": "s3cr3t-value"})
    assert fault.endswith("cannot parse ${TOKEN}")


def test_a_resource_of_another_type_than_an_option_declares_is_a_fault(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        resources: {number: {use: $parts.steps.untyped}}
        startup:
          - use: $parts.steps.needs_text
            with:
              text: ${resources.number}
        """,
    ) == ["bad-value 6: `text` of `needs_text` must be a string, not `${resources.number}`"]


def test_what_is_no_router_is_a_fault_with_a_remedy(tmp_path: Path) -> None:
    [fault] = faults_of(tmp_path, "routes: [{use: $parts.api.starlette_app}]")
    assert "gives a Starlette, not a FastAPI router" in fault
    [fault] = faults_of(tmp_path, "routes: [{use: $parts.api.numbers}]")
    assert "not a FastAPI router" in fault


def test_what_a_factory_gives_must_be_callable_where_it_is_called(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        exception_handlers: [{catch: 404, use: $parts.steps.needs_text, with: {text: a}}]
        """,
    ) == [f"not-callable 2: `{PARTS}.steps.needs_text` gives a str, which cannot be called"]
    assert faults_of(
        tmp_path,
        """
        middleware: [{use: $parts.layers.forgetful}]
        routes:
          - {mount: /x, use: $parts.api.numbers}
          - {use: $parts.api.router, dependencies: [{use: $parts.api.numbers, with: {}}]}
        """,
    ) == [
        (
            "build-failed 2: `forgetful` could not be made: "
            "TypeError: it gives a NoneType, not an ASGI application"
        ),
        f"not-callable 4: `{PARTS}.api.numbers` gives a tuple_iterator, which cannot be called",
        f"not-callable 5: `{PARTS}.api.numbers` gives a tuple_iterator, which cannot be called",
    ]


def test_configure_functions_run_in_order_and_legacy_calls_work_in_them(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        middleware: [{use: $parts.layers.Label, with: {name: manifest}}]
        configure:
          - {id: one, use: $parts.steps.configure_word, with: {word: one}}
          - {use: $parts.steps.configure_all}
          - {id: two, use: $parts.steps.configure_word, with: {word: two}}
        routes: [{use: $parts.api.router}]
        """,
    )
    assert events == ["configured one", "configured", "configured two"]
    assert app.state.word == "two"
    response = TestClient(app).get("/legacy")
    assert (response.status_code, response.json()) == (418, {"handler": "legacy"})
    # `add_middleware` puts its layer outside of those before it, as it always did.
    assert response.headers.get_list("x-labels") == ["legacy"]
    assert events[3:] == ["legacy in", "manifest in", "manifest out", "legacy out"]


FUNCTIONS = """
from contextlib import asynccontextmanager

SEEN = []


def first(application, size: int):
    SEEN.append(("first", application, size))


def later(container: int, app):
    SEEN.append(("later", app, container))


def by_name(*, container: int, app):
    SEEN.append(("by_name", app, container))


def without(dsn: str, rate: int = 1):
    SEEN.append(("without", dsn, rate))


def twice(application, app=None):
    SEEN.append(("twice", application, app))


@asynccontextmanager
async def lifespan(container: int, app):
    SEEN.append(("lifespan", app, container))
    yield
"""


def test_functions_get_the_app_where_they_take_it(tmp_path: Path) -> None:
    text = """
manifest: 1
configure:
  - {use: functions.first, with: {size: 1}}
  - {use: functions.later, with: {container: 2}}
  - {use: functions.by_name, with: {container: 3}}
  - {use: functions.without, with: {dsn: x}}
  - {use: functions.twice}
finish:
  - {use: functions.later, with: {container: 4, app: 5}}
lifespan:
  - {use: functions.lifespan, with: {container: 6}}
"""
    with project(tmp_path, {"functions.py": FUNCTIONS, "manifest.yaml": text}):
        app = build(load("manifest.yaml"))
        with TestClient(app):
            assert [
                ("first", app, 1),
                ("later", app, 2),
                ("by_name", app, 3),
                ("without", "x", 1),
                ("twice", app, app),
                ("later", 5, 4),
                ("lifespan", app, 6),
            ] == importlib.import_module("functions").SEEN


def test_faults_of_configure_functions_have_lines(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        configure:
          - {use: $parts.steps.configure_broken}
          - {use: $parts.steps.configure_bad_layer}
        """,
    ) == [
        "build-failed 2: `Refusing` could not be made: ValueError: even is 3, which is odd",
        "build-failed 3: `configure_broken` failed: LookupError: no such plugin",
    ]


def test_a_sealed_application_refuses_further_middleware(tmp_path: Path) -> None:
    app = built(tmp_path, "app: {title: Sealed}")
    with pytest.raises(RuntimeError, match="Cannot add middleware"):
        app.add_middleware(Label, name="late")


RESOURCES = """
    resources:
      db: {use: $parts.steps.Entered, with: {name: db}}
      second: {use: $parts.steps.uses, with: {other: "${resources.db}"}}
    routes:
      - {use: $parts.api.router}
      - use: $parts.api.router_with
        prefix: /made
        with: {greeting: hello, db: "${resources.db}"}
    startup:
      - {use: $parts.steps.note_db, with: {db: "${resources.db}"}}
"""


def test_resources_stand_on_the_state_of_requests_and_websockets(tmp_path: Path) -> None:
    with TestClient(built(tmp_path, RESOURCES)) as client:
        assert client.get("/state").json() == {"db": "<db>", "second": "<uses db>"}
        with client.websocket_connect("/state") as socket:
            assert socket.receive_json() == {"db": "<db>", "second": "<uses db>"}
        assert client.get("/made/greeting").json()["db"] == "<db>"
    assert "db is <db>" in events


def test_given_resources_are_neither_opened_nor_closed(tmp_path: Path) -> None:
    mine = Entered(name="mine")
    with TestClient(built(tmp_path, RESOURCES, db=mine)) as client:
        assert client.get("/state").json() == {"db": "<mine>", "second": "<uses mine>"}
    assert events == ["uses mine opened", "db is <mine>", "uses mine closed"]


def test_a_given_resource_of_an_unknown_id_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no resource `bd` to replace"):
        built(tmp_path, RESOURCES, bd=None)


def test_a_parameter_named_app_receives_the_application(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        app: {title: The title}
        middleware: [{use: $parts.layers.WithApp}]
        routes: [{use: $parts.api.router_with, with: {greeting: hi}}]
        startup: [{use: $parts.steps.use_app}]
        shutdown: [{use: $parts.steps.use_app}]
        """,
    )
    with TestClient(app) as client:
        assert client.get("/greeting").json()["title"] == "The title"
    assert events == ["made around _Waypoint, limit None", "title The title", "title The title"]


def test_dependencies_are_plain_paths_or_made_with_options(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        routes:
          - use: $parts.api.router
            prefix: /api
            tags: [sample]
            dependencies:
              - $parts.api.noted
              - $parts.api.Paged
              - {use: $parts.api.require_word, with: {word: please}}
        """,
    )
    client = TestClient(app)
    assert client.get("/api/hello").status_code == 403
    assert client.get("/api/hello?page=3", headers={"x-word": "please"}).status_code == 200
    assert events == [
        *("dependency ran", "page 1", "checked please"),
        *("dependency ran", "page 3", "checked please"),
    ]
    assert client.get("/openapi.json").json()["paths"]["/api/hello"]["get"]["tags"] == ["sample"]


def test_a_dependency_that_cannot_be_made_is_one_fault(tmp_path: Path) -> None:
    assert faults_of(
        tmp_path,
        """
        routes:
          - use: $parts.api.router
            dependencies:
              - {use: $parts.steps.broken_factory, with: {secret: a}}
        """,
    ) == ["build-failed 5: `broken_factory` could not be made: ValueError: cannot parse a"]


def test_two_builds_of_one_manifest_share_nothing(tmp_path: Path) -> None:
    plan = planned(tmp_path, RESOURCES)
    one, two = build(plan), build(plan)
    with TestClient(one) as first:
        assert assembly_of(one).ready
        assert not assembly_of(two).ready
        with TestClient(two) as second:
            states = [client.get("/state").json() for client in (first, second)]
            assert states[0] == states[1]
        assert (assembly_of(one).ready, assembly_of(two).ready) == (True, False)
        assert first.get("/hello").status_code == 200
    one.state.mine = 1
    assert not hasattr(two.state, "mine")
    assert one.exception_handlers is not two.exception_handlers
    assert one.router.routes != two.router.routes or one.router is not two.router
    assert one.openapi() == two.openapi()


def test_one_application_lives_through_many_lifespans(tmp_path: Path) -> None:
    app = built(tmp_path, RESOURCES)
    for _ in range(5):
        events.clear()
        asyncio.run(cycle(app))
        assert events == [
            *("db opened", "uses db opened", "db is <db>"),
            *("uses db closed", "db closed"),
        ]
    assert len(assembly_of(app).steps) == 7


def test_openapi_paths_of_null_are_off(tmp_path: Path) -> None:
    client = TestClient(built(tmp_path, "app: {openapi: {docs: null, redoc: null}}"))
    paths = ("/openapi.json", "/docs", "/docs/oauth2-redirect", "/redoc")
    assert [client.get(path).status_code for path in paths] == [200, 404, 404, 404]
    client = TestClient(built(tmp_path, "app: {openapi: {path: null}}"))
    assert [client.get(path).status_code for path in paths] == [404, 404, 404, 404]
    moved = "app: {openapi: {path: /api/o.json, docs: /api/docs, redoc: null}}"
    client = TestClient(built(tmp_path, moved))
    assert client.get("/api/o.json").status_code == 200
    assert "/api/o.json" in client.get("/api/docs").text
    assert client.get("/docs").status_code == 404


def test_the_facts_of_the_application_are_in_its_openapi(tmp_path: Path) -> None:
    app = built(
        tmp_path,
        """
        app:
          title: Facts
          version: "2.1"
          contact: {name: Someone}
          license: {name: MIT}
          servers: [{url: "https://api.example.com"}]
          tags: [{name: sample, description: Of the sample, externalDocs: {url: "https://x.y/"}}]
        """,
    )
    facts = app.openapi()
    assert (facts["info"]["title"], facts["info"]["version"]) == ("Facts", "2.1")
    assert facts["info"]["license"] == {"name": "MIT"}
    assert facts["servers"] == [{"url": "https://api.example.com"}]
    assert facts["tags"][0]["externalDocs"] == {"url": "https://x.y/"}


@pytest.fixture
def _loggers_as_before() -> Iterator[None]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    loggers = [
        each for each in root.manager.loggerDict.values() if isinstance(each, logging.Logger)
    ]
    disabled = [each.disabled for each in loggers]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers
    for each, was_disabled in zip(loggers, disabled, strict=True):
        each.disabled = was_disabled


@pytest.mark.usefixtures("_loggers_as_before")
def test_logging_is_applied_and_keeps_the_loggers_that_are_there(tmp_path: Path) -> None:
    there = logging.getLogger("tests.sample.there")
    built(
        tmp_path,
        """
        logging:
          version: 1
          loggers: {tests.sample.named: {level: ERROR}}
        """,
    )
    assert logging.getLogger("tests.sample.named").level == logging.ERROR
    assert not there.disabled
    built(tmp_path, "logging: {version: 1, disable_existing_loggers: true}")
    assert there.disabled


def test_a_logging_section_that_is_refused_is_a_fault(tmp_path: Path) -> None:
    text = "logging: {version: 1, handlers: {x: {class: logging.StreamHandler, colour: no}}}"
    [fault] = faults_of(tmp_path, text)
    assert fault.startswith(
        "build-failed 2: `logging` is refused: Unable to configure handler 'x': TypeError: "
    )


def test_values_are_overridden_by_path(tmp_path: Path) -> None:
    path = write(tmp_path, RESOURCES)
    plan = load(
        path,
        override={"resources.db.with.name": "other", "app.title": "Overridden"},
        environment={},
    )
    app = build(plan)
    assert app.title == "Overridden"
    with TestClient(app) as client:
        assert client.get("/state").json()["db"] == "<other>"


def test_the_documented_names_are_those_of_the_package(tmp_path: Path) -> None:
    path = write(tmp_path, "routes: [{use: $parts.api.router}]")
    app = assembler.build(assembler.load(path))
    assert TestClient(app).get("/hello").status_code == 200
    assert isinstance(app.state.assembly, assembler.Assembly)
    assert all(hasattr(assembler, name) for name in assembler.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = assembler.nothing


def test_dependency_overrides_of_fastapi_work(tmp_path: Path) -> None:
    text = "routes: [{use: $parts.api.router, dependencies: [$parts.api.noted]}]"
    app = built(tmp_path, text)
    app.dependency_overrides[noted] = lambda: events.append("overridden")
    TestClient(app).get("/hello")
    assert events == ["overridden"]


@pytest.mark.parametrize(
    "path", ["/hello%0A", "/hello%0a/", "/%00hello", "/hello%7F", "/no%1Bwhere"]
)
def test_a_path_with_a_control_character_is_refused_inside_the_layers(
    tmp_path: Path, path: str
) -> None:
    app = built(
        tmp_path,
        """
        middleware: [{use: $parts.layers.Label, with: {name: first}}]
        routes: [{use: $parts.api.router}, {mount: /hello, use: $parts.api.starlette_app}]
        """,
    )
    client = TestClient(app)
    for method in ("GET", "POST", "OPTIONS"):
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["x-labels"]) == (400, "first")
    with (
        pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)),
        client.websocket_connect(path),
    ):
        pass
    assert client.get("/hello%C2%85").status_code == 404
