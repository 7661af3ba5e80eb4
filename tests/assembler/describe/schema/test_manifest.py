"""The JSON Schema says what the models say: what loads validates, and what is wrong fails in both."""

import json
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field

from assembler.describe.schema.manifest import manifest_schema, schema_for, schema_text
from assembler.describe.schema.options import options_schema
from assembler.diagnostics.errors import ManifestError
from assembler.manifest.duration import duration_text, parse_duration
from assembler.plan.load import load, load_shape
from assembler.plan.signature import target_of

MANIFESTS = Path(__file__).parents[4] / "manifests"
SCHEMA = manifest_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
BASE: dict[str, Any] = {
    "manifest": 1,
    "app": {"title": "Shop", "contact": {"name": "Ann"}},
    "resources": {"db": {"use": "shop.db.engine", "with": {"url": "${DATABASE_URL}"}}},
    "middleware": [{"id": "a", "use": "shop.web.A"}, {"use": "shop.web:B"}],
    "exception_handlers": [{"catch": 404, "use": "shop.errors.missing"}],
    "routes": [{"id": "api", "use": "shop.api.router", "prefix": "/api"}],
    "startup": [{"id": "seed", "use": "shop.data.seed", "timeout": "5s"}],
    "scheduler": {"jobs": [{"id": "tick", "use": "shop.jobs.tick", "every": "30s"}]},
    "server": {"port": 8000, "log_level": "info"},
}
FULL: dict[str, Any] = {
    "manifest": 1,
    "app": {
        "title": "Shop",
        "version": "1.0",
        "license": {"name": "MIT"},
        "servers": [{"url": "https://api.example.com", "variables": {"a": {"default": 1}}}],
        "openapi": {"path": None, "docs": "/docs"},
        "tags": [{"name": "x", "externalDocs": {"url": "https://example.com"}}],
    },
    "settings": "shop.settings:Settings",
    "logging": {"version": 1, "root": {"level": "${LEVEL:-INFO}"}},
    "resources": {
        "db": {"use": "shop.db.engine", "with": None, "on_error": "degrade", "timeout": "250ms"},
        "cache": {
            "use": "shop.db.cache",
            "with": {"db": "${resources.db}"},
            "close_timeout": "1h",
        },
    },
    "lifespan": ["shop.main:lifespan", {"use": "shop.broker.connected", "close_timeout": "5s"}],
    "middleware": [{"use": "shop.web.A", "with": {"limits": [1, None, {"a": True}]}}],
    "exception_handlers": [
        {"catch": 401, "use": "shop.errors.a"},
        {"catch": "ValueError", "use": "shop.errors.b"},
        {"catch": "shop.errors:Base", "use": "shop.errors.c", "with": {"debug": False}},
    ],
    "configure": [{"use": "shop.legacy.register"}],
    "routes": [
        {"use": "shop.api.router", "prefix": "/api", "tags": ["x"]},
        {"use": "shop.api.more", "prefix": "", "dependencies": ["shop.a.b", {"use": "shop.a.c"}]},
        {"mount": "/mcp", "use": "shop.mcp.app", "lazy": True, "warmup": True},
        {"mount": "/", "use": "shop.web.app", "lazy": False},
    ],
    "startup": [
        {"use": "shop.data.seed", "on_error": "warn", "sql": None},
        {
            "id": "enum",
            "database": "${resources.db}",
            "sql": [{"label": "a", "run": "SELECT '${NOT}'"}, {"label": "b", "file": "b.sql"}],
            "lock_timeout": "1s",
            "always": True,
        },
    ],
    "scheduler": {
        "timezone": "Asia/Kolkata",
        "enabled": False,
        "store": "${resources.db}",
        "jobs": [
            {"use": "shop.jobs.a", "cron": "*/5 * * * *", "overlap": "replace", "enabled": "${A}"},
            {"use": "shop.jobs.b", "every": "30s", "jitter": "1s", "on_crash": "rerun"},
        ],
    },
    "background": [{"use": "shop.jobs.poll", "on_crash": "fail", "backoff": "1s", "once": False}],
    "shutdown": [{"use": "shop.web.close", "timeout": "5s"}],
    "server": {"port": 8000, "drain": "5s", "proxy_headers": True},
    "audit": {"suppress": [{"rule": "a", "reason": "b", "until": "2027-01-31"}]},
    "expect": [{"request": "GET /x", "status": 200, "headers": {"a": "${B}"}, "passes": ["a"]}],
}
OVERLAY: dict[str, Any] = {
    "manifest": 1,
    "extends": "base.yaml",
    "app": {"title": {"$remove": True}, "contact": {"$replace": True, "email": "a@example.com"}},
    "resources": {"db": {"with": {"url": "sqlite://"}}, "cache": {"use": "shop.db.cache"}},
    "middleware": [
        {"id": "a", "$remove": True},
        {"id": "c", "use": "shop.web.C", "$before": "shop.web:B"},
        {"id": "d", "use": "shop.web.D", "$after": "c"},
    ],
    "exception_handlers": [{"catch": 404, "$replace": True, "use": "shop.errors.other"}],
    "routes": [{"id": "api", "with": {"a": 1}}],
    "startup": [{"id": "seed", "timeout": "1s"}],
    "scheduler": {"jobs": [{"id": "tick", "timeout": "2m"}]},
    "server": {"$remove": True},
}
REFERRING: dict[str, Any] = {
    "manifest": 1,
    "app": {"openapi": {"docs": "${DOCS}"}, "tags": "${TAGS}", "contact": "${CONTACT}"},
    "resources": {"db": {"use": "shop.db.engine", "timeout": "${T}", "on_error": "${ON_ERROR}"}},
    "routes": [
        {"mount": "/mcp", "use": "shop.mcp.app", "lazy": "${LAZY}"},
        {"use": "shop.api.router", "prefix": "${PREFIX}"},
    ],
    "scheduler": {"enabled": "${JOBS:-true}", "timezone": "${ZONE}"},
    "server": {"port": "${PORT:-8000}", "drain": "${DRAIN}"},
    "expect": [{"request": "GET /x", "status": "${STATUS}"}],
}
EMPTY = {key: None for key in FULL if key not in {"manifest", "settings"}}
RIGHT = [
    FULL,
    REFERRING,
    BASE,
    OVERLAY,
    {"manifest": 1},
    {"manifest": 1, **EMPTY},
    {"manifest": 1, "settings": None},
]
WRONG = [
    "app: {}",
    "manifest: 2",
    "manifest: true",
    "manifest: '1'",
    "manifest:",
    "- manifest",
    "{manifest: 1, apps: {}}",
    "{manifest: 1, $remove: true}",
    "{manifest: 1, extends: 1}",
    "{manifest: 1, extends: }",
    "{manifest: 1, app: []}",
    "{manifest: 1, app: {titel: x}}",
    "{manifest: 1, app: {debug: 1}}",
    "{manifest: 1, app: {state: [1]}}",
    "{manifest: 1, app: {dependencies: [plain]}}",
    "{manifest: 1, finish: [{id: a}]}",
    "{manifest: 1, routes: [{prefix: /a}]}",
    "{manifest: 1, routes: [{path: a, use: a.b}]}",
    "{manifest: 1, routes: [{path: /a, prefix: /b, use: a.b}]}",
    "{manifest: 1, routes: [{path: /a, methods: [GT], use: a.b}]}",
    "{manifest: 1, routes: [{frontend: a, use: a.b}]}",
    "{manifest: 1, routes: [{use: a.b, name: a}]}",
    "{manifest: 1, routes: [{mount: /a, use: a.b, deprecated: true}]}",
    "{manifest: 1, app: {title: 1}}",
    "{manifest: 1, app: {title: }}",
    "{manifest: 1, app: {openapi: {path: true}}}",
    "{manifest: 1, app: {tags: [{description: x}]}}",
    "{manifest: 1, app: {tags: [{name: x, $remove: true}]}}",
    "{manifest: 1, settings: Settings}",
    "{manifest: 1, settings: '${SETTINGS}'}",
    "{manifest: 1, logging: true}",
    "{manifest: 1, resources: [{use: shop.db}]}",
    "{manifest: 1, resources: {db: }}",
    "{manifest: 1, resources: {d-b: {use: shop.db}}}",
    "{manifest: 1, resources: {db: {with: {}}}}",
    "{manifest: 1, resources: {db: {use: shop.db, on_error: ignore}}}",
    "{manifest: 1, resources: {db: {use: shop.db, timeout: 5}}}",
    "{manifest: 1, resources: {db: {use: shop.db, timeout: 5d}}}",
    "{manifest: 1, resources: {db: {use: shop.db, $before: x}}}",
    "{manifest: 1, middleware: {use: shop.web}}",
    "{manifest: 1, middleware: [{id: a}]}",
    "{manifest: 1, middleware: [{use: shop}]}",
    "{manifest: 1, middleware: [{use: shop.web, with: []}]}",
    "{manifest: 1, middleware: [{use: shop.web, id: 5}]}",
    "{manifest: 1, middleware: [{use: shop.web, id: '${ID}'}]}",
    "{manifest: 1, middleware: [{use: '${USE}'}]}",
    "{manifest: 1, middleware: [{use: shop.web, $remove: 1}]}",
    "{manifest: 1, middleware: [shop.web]}",
    "{manifest: 1, exception_handlers: [{use: shop.web}]}",
    "{manifest: 1, exception_handlers: [{use: shop.web, catch: 200}]}",
    "{manifest: 1, exception_handlers: [{use: shop.web, catch: '${STATUS}'}]}",
    "{manifest: 1, routes: [{use: shop.web, prefix: api}]}",
    "{manifest: 1, routes: [{use: shop.web, prefix: /}]}",
    "{manifest: 1, routes: [{use: shop.web, mount: /a/}]}",
    "{manifest: 1, routes: [{use: shop.web, mount: /a, tags: [x]}]}",
    "{manifest: 1, routes: [{use: shop.web, lazy: true}]}",
    "{manifest: 1, routes: [{use: shop.web, mount: /a, warmup: true}]}",
    "{manifest: 1, routes: [{use: shop.web, dependencies: [web]}]}",
    "{manifest: 1, routes: [{use: shop.web, dependencies: [{with: {}}]}]}",
    "{manifest: 1, routes: [{use: shop.web, tags: x}]}",
    "{manifest: 1, startup: [{id: a}]}",
    "{manifest: 1, startup: [{use: shop.a, always: true}]}",
    "{manifest: 1, startup: [{id: a, sql: []}]}",
    "{manifest: 1, startup: [{database: x, sql: [{label: a}]}]}",
    "{manifest: 1, startup: [{database: x, sql: [{label: a, run: b, file: c}]}]}",
    "{manifest: 1, startup: [{database: x, sql: [{run: b}]}]}",
    "{manifest: 1, startup: [{database: x, sql: [], with: {}}]}",
    "{manifest: 1, startup: [{database: x, sql: '${SQL}'}]}",
    "{manifest: 1, scheduler: {jobs: [{use: shop.a}]}}",
    "{manifest: 1, scheduler: {jobs: [{use: shop.a, cron: '* * * * *', every: 5s}]}}",
    "{manifest: 1, scheduler: {jobs: [{use: shop.a, every: 5s, overlap: maybe}]}}",
    "{manifest: 1, scheduler: {jobs: [{cron: '* * * * *'}]}}",
    "{manifest: 1, scheduler: {enabled: 'yes'}}",
    "{manifest: 1, server: {port: '8000'}}",
    "{manifest: 1, server: {port: 70000}}",
    "{manifest: 1, server: {workers: 0}}",
    "{manifest: 1, audit: {suppress: [{rule: a, reason: '', until: 2027-01-31}]}}",
    "{manifest: 1, audit: {suppress: [{rule: a, reason: b}]}}",
    "{manifest: 1, expect: [{status: 200}]}",
    "{manifest: 1, expect: [{request: get}]}",
    "{manifest: 1, expect: [{request: GET /, status: 99}]}",
    "{manifest: 1, extends: base.yaml, middleware: [{use: 5}]}",
    "{manifest: 1, extends: base.yaml, resources: {db: {$replace: 1}}}",
    "{manifest: 1, extends: base.yaml, expect: [{status: 200}]}",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("manifests")
    (path / "base.yaml").write_text(json.dumps(BASE))
    return path


def loads(folder: Path, text: str) -> bool:
    path = folder / "manifest.yaml"
    path.write_text(text)
    try:
        load_shape(path)
    except ManifestError:
        return False
    return True


@pytest.mark.newest
def test_the_shipped_schema_is_the_one_that_the_models_give() -> None:
    assert (MANIFESTS / "manifest.schema.json").read_text("utf-8") == schema_text(SCHEMA)


def test_the_text_is_the_same_each_time() -> None:
    assert schema_text(manifest_schema()) == schema_text(SCHEMA)
    assert schema_text(SCHEMA).endswith("}\n")


def test_it_is_a_schema_of_draft_2020_12() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert "$id" not in SCHEMA


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_shipped_manifests_validate(path: Path) -> None:
    VALIDATOR.validate(
        yaml.load(path.read_text("utf-8"), Loader=yaml.BaseLoader) and _as_read(path)
    )


def _as_read(path: Path) -> Any:
    document = yaml.safe_load(path.read_text("utf-8"))
    assert document["manifest"] == 1
    return document


def test_every_section_and_key_is_described() -> None:
    described = {"properties": SCHEMA["properties"], "$defs": SCHEMA["$defs"]}
    lacking = [name for name, schema in _keys(described) if len(schema.get("description", "")) < 8]
    assert lacking == []


def _keys(schema: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every definition and every property of the format itself."""
    for kind in ("properties", "$defs"):
        for key, item in schema.get(kind, {}).items():
            yield f"{name}.{key}", item if key != "$remove" else {"description": "said once"}
            yield from _keys(item, f"{name}.{key}")


def test_defaults_are_written_as_in_a_manifest() -> None:
    resource = SCHEMA["$defs"]["Resource"]["properties"]
    assert resource["timeout"]["default"] == "30s"
    assert SCHEMA["$defs"]["Job"]["properties"]["grace"]["default"] == "1m"
    assert SCHEMA["$defs"]["Server"]["properties"]["port"]["default"] == 8000


@given(st.integers(1, 999_999_999))
def test_a_duration_is_read_back_from_its_text(milliseconds: int) -> None:
    duration = timedelta(milliseconds=milliseconds)
    assert parse_duration(duration_text(duration)) == duration


@pytest.mark.parametrize("document", RIGHT, ids=lambda document: ",".join(document)[:40])
def test_what_loads_validates(folder: Path, document: dict[str, Any]) -> None:
    assert loads(folder, json.dumps(document))
    assert [error.message for error in VALIDATOR.iter_errors(document)] == []


@pytest.mark.parametrize("text", WRONG)
def test_what_is_wrong_fails_in_both(folder: Path, text: str) -> None:
    assert not loads(folder, text)
    # Dates are strings in a manifest, as to an editor that follows YAML 1.2.
    document = json.loads(json.dumps(yaml.safe_load(text), default=str))
    assert not VALIDATOR.is_valid(document)


@pytest.mark.parametrize("section", sorted(set(FULL) - {"manifest"}))
def test_a_section_is_written_out(section: str) -> None:
    assert not VALIDATOR.is_valid({"manifest": 1, section: "${SECTION}"})


PLAIN = [None, True, False, 0, 1, 401, 1.5, "", "x", "shop.a.b", "/x", "5s", "2027-01-31", "warn"]
FORMS = [
    [],
    {},
    ["x"],
    {"x": "y"},
    {"x": 1},
    {"use": "shop.a.b"},
    {"$remove": True},
    {"$replace": True},
]
JUNK: st.SearchStrategy[Any] = st.sampled_from([*PLAIN, *FORMS]).map(deepcopy)
KEYS = ["id", "use", "with", "mount", "timeout", "lazy", "sql", "every", "x"]


@given(st.data())
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=400
)
def test_whatever_loads_validates(folder: Path, data: st.DataObject) -> None:
    document = deepcopy(data.draw(st.sampled_from([FULL, BASE, OVERLAY])))
    for _ in range(data.draw(st.integers(1, 3))):
        # What stands beside a `$remove` goes with it, whatever it is.
        places = [place for place in _places(document) if "$remove" not in place[0]]
        holder, key = data.draw(st.sampled_from(places))
        match data.draw(st.sampled_from(["replace", "drop", "add"])):
            case "replace":
                holder[key] = data.draw(JUNK)
            case "drop" if key != "manifest":
                del holder[key]
            case "add" if isinstance(holder, dict) and holder is not document:
                holder[data.draw(st.sampled_from(KEYS))] = data.draw(JUNK)
    if loads(folder, json.dumps(document)):
        assert [error.message for error in VALIDATOR.iter_errors(document)] == []


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield value, key
        if isinstance(item, dict | list):
            yield from _places(item)


class Mode(Enum):
    FAST = "fast"


class Nested(BaseModel):
    name: str
    size: int = 1


class Opaque:
    pass


@dataclass
class Engine:
    url: str


class Layer:
    def __init__(  # type: ignore[no-untyped-def]  # one option is untyped on purpose
        self,
        app: Any,
        *,
        limit: Annotated[int, Field(ge=1, description="requests in a minute")],
        mode: Literal["strict", "loose"] = "strict",
        how: Mode = Mode.FAST,
        wait: timedelta = timedelta(seconds=90),
        nested: Nested | None = None,
        many: list[Nested] | None = None,
        engine: Engine | None = None,
        opaque: Opaque | str = "",
        untyped=None,
    ) -> None:
        pass

    async def __call__(self, *args: Any) -> None: ...


def opened(*args: Any, **options: Any) -> Any:
    return lambda app: None


def client(*, token: str = "canary", key: str = "client_ip", max_tokens: int = 5) -> None:
    pass


def step(engine: Opaque, *, app: Any) -> None:
    pass


LAYER = f"{__name__}.Layer"


@pytest.fixture
def described(tmp_path: Path) -> Draft202012Validator:
    path = tmp_path / "manifest.yaml"
    document = {
        "manifest": 1,
        "resources": {"db": {"use": f"{__name__}.Opaque"}},
        "middleware": [{"id": "limit", "use": LAYER, "with": {"limit": 5}}],
        "configure": [{"use": f"{__name__}.opened", "with": {"any": 1}}],
        "startup": [{"use": f"{__name__}.step", "with": {"engine": "${resources.db}"}}],
    }
    path.write_text(json.dumps(document))
    schema = schema_for(load(path))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    validator.validate(document)
    return validator


def layer(options: Any, **more: Any) -> dict[str, Any]:
    return {"manifest": 1, "middleware": [{"use": LAYER, "with": options}], **more}


@pytest.mark.parametrize(
    "options",
    [
        {"limit": 5},
        {"limit": "${LIMIT}"},
        {"limit": 5, "mode": "loose", "how": "fast", "wait": "10s", "untyped": [1, {}]},
        {
            "limit": 5,
            "mode": "${MODE}",
            "nested": {"name": "x"},
            "many": [{"name": "x", "size": 2}],
        },
        {"limit": 5, "nested": "${NESTED}", "engine": {"url": "x"}, "opaque": "x"},
    ],
)
def test_options_that_fit_validate(described: Draft202012Validator, options: Any) -> None:
    assert [error.message for error in described.iter_errors(layer(options))] == []


@pytest.mark.parametrize(
    "options",
    [
        None,
        {},
        {"limit": 0},
        {"limit": "5"},
        {"limit": 5, "limits": 5},
        {"limit": 5, "mode": "lax"},
        {"limit": 5, "how": "slow"},
        {"limit": 5, "wait": 10},
        {"limit": 5, "nested": {"size": 1}},
        {"limit": 5, "many": [{"size": 1}]},
        {"limit": 5, "nested": {"name": 1}},
    ],
)
def test_options_that_do_not_fit_fail(described: Draft202012Validator, options: Any) -> None:
    assert not described.is_valid(layer(options))


def test_an_overlay_gives_some_of_the_options_and_none_that_do_not_fit(
    described: Draft202012Validator,
) -> None:
    assert described.is_valid(layer({"mode": "loose", "nested": {"size": 3}}, extends="base.yaml"))
    assert described.is_valid(layer({"mode": {"$remove": True}}, extends="base.yaml"))
    for entry in ({"use": LAYER}, {"id": "limit"}):
        document = {
            "manifest": 1,
            "extends": "base.yaml",
            "middleware": [{**entry, "with": {"limit": "x"}}],
        }
        assert not described.is_valid(document)
    document = {"manifest": 1, "extends": "base.yaml", "resources": {"db": {"with": {"x": 1}}}}
    assert not described.is_valid(document)


def test_an_object_is_given_by_a_reference_and_app_is_not_asked_for(
    described: Draft202012Validator,
) -> None:
    entry = {"use": f"{__name__}.step", "with": {"engine": "here"}}
    assert not described.is_valid({"manifest": 1, "startup": [entry]})
    assert described.is_valid(
        {"manifest": 1, "startup": [{**entry, "with": {"engine": "${resources.db}"}}]}
    )


def test_other_code_takes_anything(described: Draft202012Validator) -> None:
    entries = [
        {"use": f"{__name__}.opened", "with": {"x": [1]}},
        {"use": "shop.other", "with": {"x": 1}},
    ]
    assert described.is_valid({"manifest": 1, "configure": entries})


def test_the_default_of_a_secret_is_shown_to_nobody() -> None:
    target = target_of(f"{__name__}.client", client)
    definitions: dict[str, Any] = {}
    options_schema(target, "client", definitions, given=frozenset())
    properties = definitions["client"]["properties"]
    shown = {name: properties[name].get("default") for name in ("token", "key", "max_tokens")}
    assert shown == {"token": None, "key": "client_ip", "max_tokens": 5}
    assert "canary" not in json.dumps(definitions)


def test_the_format_s_own_schema_stays_as_it_was(described: Draft202012Validator) -> None:
    assert schema_text(manifest_schema()) == schema_text(SCHEMA)
    assert described.schema != SCHEMA


def test_options_are_described_with_their_defaults(described: Draft202012Validator) -> None:
    schema: Any = described.schema
    options = schema["$defs"][f"Middleware.{LAYER}"]["properties"]
    assert options["limit"]["description"] == "requests in a minute"
    assert options["wait"]["default"] == "90s"
    assert options["how"]["default"] == "fast"
    assert options["mode"]["default"] == "strict"


def test_the_server_takes_the_options_of_uvicorn(described: Draft202012Validator) -> None:
    assert described.is_valid({"manifest": 1, "server": {"log_level": "info", "drain": "5s"}})
    assert not described.is_valid({"manifest": 1, "server": {"log_levels": "info"}})
    assert not described.is_valid({"manifest": 1, "server": {"proxy_headers": "yes"}})


def test_what_could_deceive_a_terminal_is_escaped_in_the_text_of_a_schema() -> None:
    said = {"description": "a\u202eb \U000e0041 é\n"}
    text = schema_text(said)
    assert json.loads(text) == said
    assert "é" in text
    assert all(char.isprintable() or char == "\n" for char in text)
