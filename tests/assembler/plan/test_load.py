"""The plan: all of a manifest resolved and checked, and nothing of it called."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import assembler
from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.diagnostics.span import File
from assembler.document.merge import Document
from assembler.document.nodes import MappingNode, as_written
from assembler.document.parser import read
from assembler.plan.load import load
from tests.assembler.project import project
from tests.assembler.trees import VALUES

MANIFEST = """\
manifest: 1
app: {title: "${TITLE:-Shop}"}
resources:
  db: {use: shop.Database, with: {url: "${DATABASE_URL}"}}
middleware:
  - {id: limit, use: shop.Limit, with: {limit: 5, store: "${resources.db}"}}
exception_handlers:
  - {catch: ValueError, use: shop.handler}
  - {catch: 404, use: shop.make_handler, with: {debug: true}}
configure: [{use: shop.configure}]
routes:
  - {use: shop.router, prefix: /v1, dependencies: [shop.check]}
  - {mount: /asgi, use: shop.asgi}
startup: [{use: shop.step, with: {db: "${resources.db}"}}]
scheduler: {jobs: [{id: tick, use: shop.run, every: 5s}]}
shutdown: [{use: shop.close}]
server: {port: 9000}
"""
SHOP = """\
from fastapi import APIRouter

def never(*args, **kwargs):
    raise AssertionError("a plan calls nothing")

class Database:
    def __init__(self, url: str):
        never()

class Limit:
    def __init__(self, app, limit: int, store: Database):
        never()

    async def __call__(self, scope, receive, send):
        never()

def make_handler(debug: bool):
    never()

handler = asgi = step = run = close = configure = check = never

async def asgi(scope, receive, send):
    never()

def step(db: Database):
    never()

router = APIRouter()
"""
ENVIRONMENT = {"DATABASE_URL": "sqlite://"}


@pytest.fixture
def shop(tmp_path: Path) -> Any:
    with project(tmp_path, {"manifest.yaml": MANIFEST, "shop.py": SHOP}) as folder:
        yield folder


def test_a_plan_holds_every_section_in_order_and_calls_nothing(shop: Path) -> None:
    plan = load("manifest.yaml", environment=ENVIRONMENT)
    sections = {
        "resources": plan.resources,
        "middleware": plan.middleware,
        "handlers": plan.handlers,
        "configure": plan.configure,
        "routes": plan.routes,
        "startup": plan.startup,
        "jobs": plan.jobs,
        "shutdown": plan.shutdown,
    }
    assert {name: [part.id for part in parts] for name, parts in sections.items()} == {
        "resources": ["db"],
        "middleware": ["limit"],
        "handlers": ["ValueError", "404"],
        "configure": ["shop.configure"],
        "routes": ["shop.router /v1", "/asgi"],
        "startup": ["shop.step"],
        "jobs": ["tick"],
        "shutdown": ["shop.close"],
    }
    assert [part.caught for part in plan.handlers] == [ValueError, 404]
    assert [part.called for part in plan.handlers] == [False, True]
    assert [part.called for part in plan.routes] == [False, False]
    assert [part.id for part in plan.routes[0].dependencies] == ["shop.check"]
    assert plan.manifest.app.title == "Shop"
    assert plan.name == "manifest.yaml"
    assert plan.warnings == ()
    assert plan.server["port"] == 9000


def test_the_process_environment_is_the_default(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "from-the-process")
    monkeypatch.setenv("TITLE", "Title")
    plan = load("manifest.yaml")
    assert plan.manifest.app.title == "Title"
    assert plan.resources[0].options.arguments({})[0] == {"url": "from-the-process"}


def test_a_given_environment_stands_for_the_process(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "from-the-process")
    with pytest.raises(ManifestError, match=r"error\[missing-variable\]"):
        load("manifest.yaml", environment={})


def test_values_are_overridden_by_address(shop: Path) -> None:
    override = {"resources.db.with.url": "other", "middleware.limit.with.limit": 7}
    plan = assembler.load(shop / "manifest.yaml", override)
    assert plan.resources[0].options.arguments({})[0] == {"url": "other"}
    assert plan.document.root != load("manifest.yaml", environment=ENVIRONMENT).document.root


def test_a_wrong_override_is_shown_with_its_own_text(shop: Path) -> None:
    with pytest.raises(ManifestError) as caught:
        load("manifest.yaml", {"middleware.limit.with.limit": "x"}, environment=ENVIRONMENT)
    assert '1 | middleware.limit.with.limit: "x"' in str(caught.value)


def test_a_file_that_is_not_there_is_a_usage_error(shop: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read `missing\.yaml`"):
        load("missing.yaml")


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("dev.yaml", "manifests/dev.yaml"),
        ("manifest/dev.yaml", "manifests/dev.yaml"),
        ("manifests/dev.yml", "manifests/dev.yaml"),
        ("manifests/staging.yaml", "manifests/stagin.yaml"),
        ("manifests/manifest.yaml", "manifest.yaml"),
        ("somewhere/else.yaml", None),
        ("manifests/notes.txt", None),
        ("dev.yaml/more", None),
    ],
)
def test_a_file_that_is_not_there_is_looked_for_nearby(
    shop: Path, named: str, meant: str | None
) -> None:
    (shop / "manifests").mkdir()
    for name in ("dev.yaml", "stagin.yaml", "notes.text"):
        (shop / "manifests" / name).write_text("manifest: 1\n")
    with pytest.raises(UsageError) as caught:
        load(named)
    assert str(caught.value).partition("; ")[2] == (f"did you mean `{meant}`?" if meant else "")


def test_a_name_that_is_asked_for_cannot_forge_a_line(shop: Path) -> None:
    (shop / "manifests").mkdir()
    (shop / "manifests/de\nv.yaml").write_text("manifest: 1\n")
    with pytest.raises(UsageError) as caught:
        load("de\nv.yaml")
    assert str(caught.value).endswith(r"did you mean `manifests/de\u000av.yaml`?")
    assert "\n" not in str(caught.value)


def test_secrets_are_not_in_what_a_plan_shows(shop: Path) -> None:
    plan = load("manifest.yaml", environment={"DATABASE_URL": "pg://u:canary@h", "TITLE": "canary"})
    assert "canary" not in repr(plan.resources)
    assert plan.secrets.scrub("canary pg://u:canary@h") == "${TITLE:-Shop} ${DATABASE_URL}"


def test_an_import_that_fails_does_not_tell_what_a_with_will_hold(shop: Path) -> None:
    Path("broken.py").write_text("raise RuntimeError('no access with canary-1')\n")
    text = MANIFEST.replace("startup: [", "startup: [{use: broken.step}, ")
    Path("manifest.yaml").write_text(text)
    with pytest.raises(ManifestError) as caught:
        load("manifest.yaml", environment={"DATABASE_URL": "canary-1"})
    assert "no access with ${DATABASE_URL}" in str(caught.value)


def test_a_manifest_is_planned_again_as_the_same(shop: Path) -> None:
    plans = [load("manifest.yaml", environment=ENVIRONMENT) for _ in range(2)]
    assert plans[0].hash == plans[1].hash
    assert plans[0].resources[0].target.value is plans[1].resources[0].target.value


def test_only_the_first_stage_with_faults_is_told(shop: Path) -> None:
    text = MANIFEST + "extra: 1\n"
    (shop / "manifest.yaml").write_text(text.replace("shop.step", "shop.missing"))
    with pytest.raises(ManifestError) as caught:
        load("manifest.yaml", environment={})
    assert [fault.code for fault in caught.value.diagnostics] == ["unknown-key"]


def hash_of(text: str) -> str:
    root = read(File("m.yaml", text))
    assert isinstance(root, MappingNode)
    return Document(root, Path("m.yaml"), ()).hash


def test_the_hash_is_of_what_a_manifest_says() -> None:
    text = "manifest: 1\napp: {title: a, version: b}\n"
    assert hash_of(text) == hash_of(
        "# a comment\napp:\n  version: 'b'\n  title: \"a\"\nmanifest: 1\n"
    )
    assert hash_of(text) != hash_of(text.replace("b", "c"))
    assert hash_of('manifest: 1\napp: {title: "${A}"}') != hash_of("manifest: 1\napp: {title: A}")


@given(VALUES)
@settings(max_examples=50)
def test_a_document_is_written_as_it_was_read(value: Any) -> None:
    text = json.dumps({"value": value}, ensure_ascii=False)
    root = read(File("m.yaml", text))
    assert json.dumps(as_written(root), ensure_ascii=False) == text


@given(st.permutations(["app", "middleware", "routes"]))
def test_the_order_of_sections_means_nothing(order: list[str]) -> None:
    sections = {"app": "{title: x}", "middleware": "[{use: a.b}]", "routes": "[{use: a.c}]"}
    text = "".join(f"{name}: {sections[name]}\n" for name in order)
    assert hash_of(text) == hash_of("".join(f"{k}: {v}\n" for k, v in sections.items()))


def test_the_order_of_entries_means_something() -> None:
    assert hash_of("middleware: [{id: a}, {id: b}]") != hash_of("middleware: [{id: b}, {id: a}]")


def test_without_imports_nothing_is_run(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP + "\nraise RuntimeError('imported')\n")
    plan = load("manifest.yaml", static=True)
    assert plan.is_static
    assert [part.id for part in plan.middleware] == ["limit"]
    (shop / "manifest.yaml").write_text(MANIFEST.replace("limit: 5", "limit: x"))
    with pytest.raises(ManifestError, match="`limit` of `Limit` must be an integer"):
        load("manifest.yaml", static=True)


def test_the_core_names_no_component() -> None:
    for path in Path(assembler.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert "components." not in node.value, path.name
            if isinstance(node, ast.Import | ast.ImportFrom):
                modules = [getattr(node, "module", "") or "", *(name.name for name in node.names)]
                assert "components" not in {module.partition(".")[0] for module in modules}


def test_what_a_plan_shows_of_itself_has_no_value_of_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "m.yaml"
    path.write_text('manifest: 1\napp: {title: "${TITLE}"}\n')
    plan = load(path, environment={"TITLE": "canary"})
    assert plan.manifest.app.title == "canary"
    assert "canary" not in repr(plan)
