"""Commands over a manifest that another one mounts."""

import json
import subprocess
from pathlib import Path

import pytest

from assembler.plan.snapshot import take_snapshot
from tests.assembler.command import run, write

FILES = {
    "manifests/app.yaml": """\
manifest: 1
resources: {db: {use: innershop.db}}
routes: [{mount: /api, manifest: parts/api.yaml}]
""",
    "manifests/parts/api.yaml": """\
manifest: 1
app: {title: Inner}
startup:
  - {database: "${resources.db}", dialect: sqlite, sql: [{label: first, file: first.sql}]}
routes: [{use: innershop.router}]
""",
    "manifests/parts/first.sql": "CREATE TABLE IF NOT EXISTS one (id INTEGER)",
    "innershop.py": """\
from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
router = APIRouter()
@router.get("/fine")
def fine(): ...
def db() -> AsyncEngine:
    return create_async_engine("sqlite+aiosqlite://")
""",
}


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write(tmp_path, FILES)
    return tmp_path


def test_check_takes_both_together_and_the_inner_one_not_alone(shop: Path) -> None:
    write(shop, {"manifests/api.yaml": FILES["manifests/parts/api.yaml"]})
    (shop / "manifests/first.sql").write_text("CREATE TABLE IF NOT EXISTS one (id INTEGER)")
    text = FILES["manifests/app.yaml"].replace("parts/api.yaml", "api.yaml")
    write(shop, {"manifests/app.yaml": text})
    assert run("check", folder=shop).out == "manifests/app.yaml: ok\n"
    assert run("check", "--static", folder=shop).out == "manifests/app.yaml: ok\n"
    found = json.loads(run("audit", "--format", "json", folder=shop).out)["findings"]
    assert {"manifests/app.yaml", "manifests/api.yaml"} >= {one["file"] for one in found}


def test_what_render_writes_is_the_same_manifest(shop: Path) -> None:
    text = run("render", "manifests/app.yaml", folder=shop).out
    write(shop, {"manifests/whole.yaml": text.replace("first.sql", "parts/first.sql")})
    assert run("check", "manifests/whole.yaml", folder=shop).status == 0
    again = run("render", "manifests/whole.yaml", folder=shop).out
    assert again.replace("parts/first.sql", "first.sql") == text
    shown = run(
        "render", "manifests/app.yaml", "--explain", "routes./api.manifest.app", folder=shop
    )
    assert (
        shown.out == 'routes./api.manifest.app.title = "Inner"  # manifests/parts/api.yaml:2:14\n'
    )


def test_startup_sql_is_listed_and_exported_with_its_file(shop: Path) -> None:
    assert "first" in run("sql", "manifests/app.yaml", folder=shop).out
    bundle = run("export", "manifests/app.yaml", "--to", "kubernetes", folder=shop).out
    for name in ("app.yaml", "parts_api.yaml", "parts_first.sql"):
        assert f"{name}:" in bundle


def test_a_snapshot_has_the_inner_files_and_knows_when_they_differ(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    before = take_snapshot(Path("manifests/app.yaml"), {})
    write(shop, {"manifests/parts/api.yaml": "manifest: 1\napp: {title: Other}\n"})
    assert take_snapshot(Path("manifests/app.yaml"), {}).digest != before.digest
    document, sql = before.document_and_sql()
    assert [step.statements[0].label for step in sql] == ["first"]
    assert len(document.files) == 2


def test_diff_sees_a_change_of_the_inner_manifest_through_the_outer_one(shop: Path) -> None:
    for words in (
        ["init", "-q"], ["config", "user.email", "a@b"], ["config", "user.name", "a"],
        ["add", "."], ["commit", "-qm", "first"],
    ):  # fmt: skip
        subprocess.run(["git", *words], cwd=shop, check=True, timeout=60, capture_output=True)
    text = FILES["manifests/parts/api.yaml"].replace("Inner", "Other")
    write(shop, {"manifests/parts/api.yaml": text})
    for files in ([], ["manifests/app.yaml"]):
        told = run("diff", "--base", "HEAD", *files, "--format", "json", folder=shop)
        (found,) = json.loads(told.out)["findings"]
        assert (found["manifest"], found["path"]) == (
            "manifests/app.yaml",
            "routes./api.manifest.app.title",
        )


def test_format_orders_what_is_written_out_under_a_mount(shop: Path) -> None:
    text = """\
manifest: 1

routes:
  - manifest:
      routes: [{use: innershop.router}]
      manifest: 1
    mount: /a
"""
    write(shop, {"m.yaml": text})
    run("format", "m.yaml", folder=shop)
    assert (
        (shop / "m.yaml").read_text("utf-8")
        == """\
manifest: 1

routes:
  - mount: /a
    manifest:
      manifest: 1
      routes: [{use: innershop.router}]
"""
    )


def test_the_handbook_knows_the_key(shop: Path) -> None:
    assert "Another manifest" in run("describe", "routes.manifest", folder=shop).out
