"""A snapshot is what the files were: plans of it read no manifest of the disk."""

import os
import shutil
from pathlib import Path

import pytest

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.plan.load import load
from assembler.plan.snapshot import Snapshot, take_snapshot
from tests.assembler.command import write

FILES = {
    "manifests/m.yaml": "extends: base.yaml\napp: {title: One}\n",
    "manifests/base.yaml": """\
manifest: 1
app: {title: Base}
resources: {db: {use: sqlalchemy.ext.asyncio.create_async_engine, with: {url: "sqlite+aiosqlite://"}}}
startup:
  - {database: "${resources.db}", sql: [{label: first, file: first.sql}], dialect: sqlite}
""",
    "manifests/first.sql": "CREATE TABLE IF NOT EXISTS one (id INTEGER)",
    "pyproject.toml": '[tool.assembler]\nimports = ["sqlalchemy"]\n',
}


def taken(folder: Path, **variables: str) -> Snapshot:
    write(folder, FILES)
    return take_snapshot(folder / "manifests/m.yaml", variables)


def test_a_plan_of_it_is_the_plan_of_the_moment(tmp_path: Path) -> None:
    snapshot = taken(tmp_path)
    whole = load(tmp_path / "manifests/m.yaml")
    assert whole.digest == snapshot.digest
    for name in FILES:
        (tmp_path / name).write_text("broken: [")
    plan = snapshot.load()
    assert plan.manifest.app.title == "One"
    assert plan.sql[0].statements[0].text == FILES["manifests/first.sql"]
    assert (plan.hash, plan.digest) == (whole.hash, snapshot.digest)
    shutil.rmtree(tmp_path / "manifests")
    assert snapshot.load().digest == snapshot.digest


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_part_of_the_digest(name: str, tmp_path: Path) -> None:
    before = taken(tmp_path).digest
    changed = {
        "pyproject.toml": FILES["pyproject.toml"].replace('"sqlalchemy"', '"sqlalchemy", "more"')
    }.get(name, FILES[name] + " ")
    write(tmp_path, {name: changed})
    assert take_snapshot(tmp_path / "manifests/m.yaml", {}).digest != before


def test_another_checkout_and_another_environment_have_the_same_digest(tmp_path: Path) -> None:
    digests = {taken(tmp_path / name, NAME=name).digest for name in ("one", "two")}
    assert len(digests) == 1


def test_a_link_that_moves_changes_nothing(tmp_path: Path) -> None:
    taken(tmp_path / "one")
    write(tmp_path / "two", {"manifests/m.yaml": "manifest: 1\napp: {title: Two}\n"})
    (tmp_path / "current").symlink_to("one")
    path = tmp_path / "current/manifests/m.yaml"
    snapshot = take_snapshot(path, {})
    (tmp_path / "current").unlink()
    (tmp_path / "current").symlink_to("two")
    assert snapshot.load().manifest.app.title == "One"
    assert take_snapshot(path, {}).load().manifest.app.title == "Two"


def test_its_environment_is_that_of_the_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TITLE", "told")
    write(tmp_path, {"m.yaml": "manifest: 1\napp: {title: '${TITLE}'}\n"})
    snapshot = take_snapshot(tmp_path / "m.yaml", os.environ)
    monkeypatch.setenv("TITLE", "other")
    assert snapshot.load().manifest.app.title == "told"


def test_what_cannot_be_read_is_refused_as_it_is_from_the_disk(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        take_snapshot(tmp_path / "no.yaml", {})
    write(tmp_path, {**FILES, "manifests/first.sql": ""})
    (tmp_path / "manifests/first.sql").unlink()
    snapshot = take_snapshot(tmp_path / "manifests/m.yaml", {})
    messages = []
    for read in (snapshot.load, lambda: load(tmp_path / "manifests/m.yaml")):
        with pytest.raises(ManifestError) as caught:
            read()
        messages.append([(fault.code, fault.message) for fault in caught.value.diagnostics])
    assert messages[0] == messages[1]
    assert messages[0][0][0] == "sql-not-found"
