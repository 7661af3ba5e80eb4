"""What a manifest names is read inside its project alone, by every command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assembler.diagnostics.errors import ManifestError, UsageError
from assembler.document.project import found_manifest, project_of
from assembler.plan.load import load, load_shape
from assembler.review.diff.side import read_side
from tests.assembler.command import run, write

SECRET = "canary_of_a_file_elsewhere"


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "secret.yaml").write_text(f"{SECRET}: 1\n")
    (folder / "secret.sql").write_text(f"SELECT '{SECRET}'; {SECRET} x\n")
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A git work tree, as far as its files tell."""
    folder = tmp_path / "project"
    (folder / "manifests").mkdir(parents=True)
    (folder / ".git").mkdir()
    (folder / "base.yaml").write_text("manifest: 1\n")
    return folder


def manifests_of(project: Path, elsewhere: Path) -> Iterator[tuple[str, str]]:
    """Yield manifests that would read a file elsewhere, each by its name."""
    (project / "manifests/link.yaml").symlink_to(elsewhere / "secret.yaml")
    (project / "manifests/folder").symlink_to(elsewhere)
    (project / "manifests/loop.yaml").symlink_to("loop.yaml")
    for name, base in {
        "environ": "/proc/self/environ",
        "environ2": "/proc/self/root/proc/self/environ",
        "device": "/dev/stdin",
        "system": "/sys/kernel/mm/transparent_hugepage/enabled",
        "absolute": str(elsewhere / "secret.yaml"),
        "upwards": "../../elsewhere/secret.yaml",
        "link": "link.yaml",
        "folder": "folder/secret.yaml",
        "back": "folder/../elsewhere/secret.yaml",
    }.items():
        yield name, f"manifest: 1\nextends: {base}\n"
        sql = base.replace(".yaml", ".sql") if "link" not in base else "link.yaml"
        yield (
            f"{name}-sql",
            f"""\
manifest: 1
resources: {{db: {{use: a.b}}}}
startup:
  - {{database: "${{resources.db}}", sql: [{{label: x, file: {sql}}}]}}
""",
        )


def test_no_command_reads_a_file_elsewhere(
    project: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A_CANARY", SECRET)
    files = []
    for name, text in manifests_of(project, elsewhere):
        (project / f"manifests/{name}.yaml").unlink(missing_ok=True)
        if name != "link":
            files.append(project / f"manifests/{name}.yaml")
            files[-1].write_text(text)
    for file in files:
        short = str(file.relative_to(project))
        for command in (
            ("check", "--static", short),
            ("audit", short),
            ("render", short),
            ("matrix", short, "base.yaml"),
            ("diff", "base.yaml", short),
            ("diff", short, "base.yaml"),
            ("sql", short),
            ("export", short, "--to", "kubernetes", "--image", "x"),
            ("format", "--check", short),
        ):
            shown = run(*command, folder=project)
            assert SECRET not in shown.out + shown.err, command
            assert "Traceback" not in shown.out + shown.err


def test_what_leads_elsewhere_is_told_at_its_place(project: Path, elsewhere: Path) -> None:
    said = {}
    for name, text in manifests_of(project, elsewhere):
        file = project / f"manifests/of-{name}.yaml"
        file.write_text(text)
        with pytest.raises(ManifestError) as caught:
            load(file, static=True)
        found = [fault for fault in caught.value.diagnostics if fault.code == "outside-project"]
        assert len(found) == 1
        assert found[0].span is not None
        assert found[0].span.line in {2, 4}
        said[name] = found[0].message.partition(": ")[2]
    assert set(said.values()) == {
        "it is no regular file",
        "it lies outside the project",
        "it is a link that leads outside the project",
    }
    assert said["link"] == said["folder"] == "it is a link that leads outside the project"


def test_the_project_is_the_work_tree_or_the_folder_of_pyproject_or_the_manifests_own(
    tmp_path: Path,
) -> None:
    inner = tmp_path / "a/b/c"
    inner.mkdir(parents=True)
    file = inner / "m.yaml"
    file.write_text("manifest: 1\n")
    assert project_of(file).folders == (inner, inner)
    (tmp_path / "a/pyproject.toml").write_text("")
    assert project_of(file).folders == (tmp_path / "a", inner)
    (tmp_path / ".git").write_text("gitdir: elsewhere")  # of a worktree it is a file
    assert project_of(file).folders == (tmp_path, inner)


def test_a_config_map_is_read_through_its_links(tmp_path: Path) -> None:
    """As Kubernetes mounts one: `m.yaml` → `..data/m.yaml`, `..data` → a folder with a date."""
    (tmp_path / "..2026_11_30").mkdir()
    for name, text in {
        "m.yaml": "manifest: 1\nextends: base.yaml\n",
        "base.yaml": "app: {title: t}\n",
    }.items():
        (tmp_path / "..2026_11_30" / name).write_text(text)
        (tmp_path / name).symlink_to(f"..data/{name}")
    (tmp_path / "..data").symlink_to("..2026_11_30")
    assert load_shape(tmp_path / "m.yaml")[1].app.title == "t"


def test_a_manifest_that_is_named_may_stand_anywhere_and_its_folder_counts(
    project: Path, elsewhere: Path
) -> None:
    (elsewhere / "m.yaml").write_text("manifest: 1\nextends: base.yaml\n")
    (elsewhere / "base.yaml").write_text("app: {title: t}\n")
    link = project / "manifests/m.yaml"
    link.symlink_to(elsewhere / "m.yaml")
    (project / "manifests/base.yaml").symlink_to(elsewhere / "base.yaml")
    assert load_shape(link)[1].app.title == "t"
    with pytest.raises(UsageError, match="is a link that leads outside the project"):
        found_manifest(link)


@pytest.mark.parametrize("name", ["/proc/self/environ", "/dev/null", "/proc/self/fd/0"])
def test_a_process_is_no_manifest_even_if_it_is_named(name: str) -> None:
    with pytest.raises(UsageError, match="is no regular file"):
        read_side(Path(name))


def test_format_writes_no_file_elsewhere(project: Path, elsewhere: Path) -> None:
    target = elsewhere / "m.yaml"
    target.write_text("app: {title: t}\nmanifest: 1\n")
    (project / "manifests/m.yaml").symlink_to(target)
    before = target.read_text()
    for command in (
        ("format",),
        ("format", "manifests/m.yaml"),
        ("format", "--diff", "manifests/m.yaml"),
    ):
        shown = run(*command, folder=project)
        assert (shown.status, shown.out) == (2, "")
        assert "is a link that leads outside the project" in shown.err
    assert target.read_text() == before
    assert (project / "manifests/m.yaml").readlink() == target


def test_expectations_beside_a_manifest_are_the_projects_own(
    project: Path, elsewhere: Path
) -> None:
    (project / "m.yaml").write_text("manifest: 1\n")
    (project / "m.expect.yaml").symlink_to(elsewhere / "secret.yaml")
    shown = run("test", "m.yaml", folder=project)
    assert shown.status == 2
    assert SECRET not in shown.out + shown.err


def test_a_module_that_is_a_link_out_of_the_project_is_not_read(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"elsewhere/keys": "key = OPEN SESAME\n", "shop/pyproject.toml": ""})
    write(tmp_path / "shop", {"a.yaml": "manifest: 1\nroutes: [{use: linked.router}]\n"})
    (tmp_path / "shop/linked.py").symlink_to(tmp_path / "elsewhere/keys")
    shown = run("check", "--static", "a.yaml", folder=tmp_path / "shop")
    assert shown.status == 1
    assert "is a link that leads outside the project" in shown.out + shown.err
    assert "SESAME" not in shown.out + shown.err
