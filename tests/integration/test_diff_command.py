"""`assembler diff` over files and over real commits of git: what it prints, and its status."""

import json
import subprocess
from pathlib import Path

import jsonschema
import pytest

from tests.assembler.command import call, run, write

LIMIT = """manifest: 1
middleware:
  - {{id: per-ip, use: shop.RateLimitMiddleware, with: {{limit: {}}}}}
"""
SHOP = """
from typing import Annotated
from pydantic import Field
class RateLimitMiddleware:
    layer_role = 'limiter'
    def __init__(self, app, *, limit: Annotated[str, Field(json_schema_extra={"looser": "higher"})]): ...
"""
PLACE = {
    "type": ["object", "null"],
    "required": ["file", "line"],
    "properties": {"file": {"type": "string"}, "line": {"type": "integer", "minimum": 1}},
}
DIFFERENCE = {
    "type": "object",
    "required": ["format", "worst", "findings", "failures"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": 1},
        "failures": {"type": "array", "items": {"type": "string"}},
        "worst": {
            "enum": [*("loosened", "review", "behaviour", "tightened", "cosmetic", "unknown"), None]
        },
        "findings": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["manifest", "grade", "rule", "message", "path", "old", "new"],
                "properties": {
                    "manifest": {"type": "string"},
                    "grade": {"enum": ["loosened", "review", "behaviour", "tightened", "cosmetic"]},
                    "rule": {"type": "string"},
                    "message": {"type": "string"},
                    "path": {"type": "string"},
                    "old": PLACE,
                    "new": PLACE,
                },
            },
        },
    },
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.com", *arguments]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=100
    )
    return done.stdout.strip()


def commit(folder: Path, files: dict[str, str], message: str = "change") -> str:
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    commit(tmp_path, {"shop.py": SHOP, "manifests/prod.yaml": LIMIT.format("5/minute")})
    return tmp_path


def rules(*arguments: str, folder: Path) -> list[tuple[str, str, str]]:
    done = run("diff", *arguments, "--format", "json", folder=folder)
    assert done.status < 2, done.err
    found = json.loads(done.out)
    jsonschema.validate(found, DIFFERENCE)
    return [(one["manifest"], one["grade"], one["rule"]) for one in found["findings"]]


@pytest.mark.parametrize(
    ("gate", "status"), [("loosened", 1), ("review", 1), ("cosmetic", 1), ("never", 0)]
)
def test_the_gate_decides_the_status(tmp_path: Path, gate: str, status: int) -> None:
    write(tmp_path, {"shop.py": SHOP, "a.yaml": LIMIT.format("5/minute")})
    write(tmp_path, {"b.yaml": LIMIT.format("50/minute")})
    done = run("diff", "a.yaml", "b.yaml", "--fail-on", gate, folder=tmp_path)
    assert (done.status, done.err) == (status, "")
    assert "loosened   `limit` goes from `5/minute` to `50/minute`" in done.out
    assert "a.yaml:3 → b.yaml:3" in done.out


def test_what_is_tighter_passes_the_default_gate_and_not_a_strict_one(tmp_path: Path) -> None:
    write(tmp_path, {"shop.py": SHOP, "a.yaml": LIMIT.format("50/minute")})
    write(tmp_path, {"b.yaml": LIMIT.format("5/minute")})
    assert run("diff", "a.yaml", "b.yaml", folder=tmp_path).status == 0
    assert run("diff", "a.yaml", "b.yaml", "--fail-on", "tightened", folder=tmp_path).status == 1


def test_equal_files_differ_in_nothing(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": LIMIT.format("5/minute")})
    done = run("diff", "a.yaml", "a.yaml", "--fail-on", "cosmetic", folder=tmp_path)
    assert (done.status, done.out) == (0, "nothing differs\n")
    done = run("diff", "a.yaml", "a.yaml", "--format", "json", folder=tmp_path)
    assert json.loads(done.out) == {"format": 1, "worst": None, "findings": [], "failures": []}


@pytest.mark.parametrize("text", ["manifest: 2\n", "a: [", "extends: missing.yaml\nmanifest: 1\n"])
def test_a_side_that_is_no_manifest_cannot_be_compared(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"a.yaml": "manifest: 1\n", "bad.yaml": text})
    for names in (("a.yaml", "bad.yaml"), ("bad.yaml", "a.yaml")):
        done = run("diff", *names, "--fail-on", "never", folder=tmp_path)
        assert (done.status, done.out) == (2, "unknown, 1 not compared\n")
        assert "cannot be compared: one side is no valid manifest" in done.err
        assert "error[" in done.err


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    write(tmp_path, {"a.yaml": "manifest: 1\n"})
    done = run("diff", "a.yaml", "b.yaml", folder=tmp_path)
    assert (done.status, done.out) == (2, "unknown, 1 not compared\n")
    assert "cannot read `b.yaml`" in done.err


TURNED = SHOP.replace('"higher"', '"lower"')
AS_DEFAULT = SHOP.replace("})])", '})] = "50/minute")')
UNMARKED = SHOP.replace(', Field(json_schema_extra={"looser": "higher"})', ", 0")


@pytest.mark.parametrize("source", [TURNED, AS_DEFAULT, UNMARKED, "", "no Python"])
def test_a_change_cannot_turn_the_direction_by_which_it_is_judged(
    repository: Path, source: str
) -> None:
    write(repository, {"shop.py": source, "manifests/prod.yaml": LIMIT.format("50/minute")})
    found = rules(folder=repository)
    assert found[0] == ("manifests/prod.yaml", "loosened", "option-loosened")
    assert ("manifests/prod.yaml", "review", "code-changed") in found


FLAT = LIMIT.replace("shop.RateLimitMiddleware", "store.limits.Limit")
LIMITS = SHOP.replace("RateLimitMiddleware", "Limit")
REVERSED = LIMITS.replace('"higher"', '"lower"')


@pytest.mark.parametrize(
    ("base", "change", "use"),
    [
        ({"store/limits.py": LIMITS}, {"store/limits/__init__.py": REVERSED}, "store.limits.Limit"),
        (
            {"store/limits.py": LIMITS},
            {"store/limits.py": "", "store/bounds.py": REVERSED},
            "store.bounds.Limit",
        ),
        (
            {"store/__init__.py": "", "store/limits.py": LIMITS},
            {"store/__init__.py": "from other import limits\n", "other/limits.py": REVERSED},
            "store.limits.Limit",
        ),
        (
            {"store/__init__.py": "", "store/limits/__init__.py": LIMITS},
            {"store.py": "", "store/limits/__init__.py": REVERSED},
            "store.limits.Limit",
        ),
    ],
    ids=["a package beside a module", "a renamed module", "another module", "the module itself"],
)
@pytest.mark.parametrize("is_committed", [True, False])
def test_files_that_a_change_adds_do_not_judge_it(
    repository: Path, base: dict[str, str], change: dict[str, str], use: str, is_committed: bool
) -> None:
    before = commit(repository, {**base, "manifests/prod.yaml": FLAT.format("5/minute")})
    new = FLAT.format("50/minute").replace("store.limits.Limit", use)
    write(repository, {**change, "manifests/prod.yaml": new})
    for name, text in change.items():
        if not text and name != "store.py":
            (repository / name).unlink()
    if is_committed:
        commit(repository, {})
    found = rules("--base", before, folder=repository)
    assert found[0] == ("manifests/prod.yaml", "loosened", "option-loosened")
    assert ("manifests/prod.yaml", "review", "code-changed") in found
    assert "tightened" not in {grade for _, grade, _ in found}


def test_a_file_that_hides_an_installed_module_does_not_judge_its_change(repository: Path) -> None:
    cors = "manifest: 1\nmiddleware: [{use: starlette.middleware.cors.CORSMiddleware, with: {allow_origins: [%s]}}]\n"
    before = commit(repository, {"manifests/prod.yaml": cors % "https://a.example"})
    write(repository, {"manifests/prod.yaml": cors % "https://a.example, https://b.example"})
    fake = "from typing import Annotated\nfrom pydantic import Field\nclass CORSMiddleware:\n    def __init__(self, app, *, allow_origins: Annotated[list[str], Field(json_schema_extra={'looser': 'shorter'})]): ...\n"
    packages = ["starlette/__init__.py", "starlette/middleware/__init__.py"]
    write(repository, {**dict.fromkeys(packages, ""), "starlette/middleware/cors.py": fake})
    found = rules("--base", before, folder=repository)
    assert found[0] == ("manifests/prod.yaml", "loosened", "option-loosened")
    assert ("manifests/prod.yaml", "review", "code-changed") in found


def test_the_file_behind_a_link_is_that_of_the_commit(repository: Path) -> None:
    write(repository, {"real.py": LIMITS, "fake.py": REVERSED})
    (repository / "linked.py").symlink_to("real.py")
    manifest = FLAT.replace("store.limits", "linked")
    before = commit(repository, {"manifests/prod.yaml": manifest.format("5/minute")})
    (repository / "linked.py").unlink()
    (repository / "linked.py").symlink_to("fake.py")
    write(repository, {"manifests/prod.yaml": manifest.format("50/minute")})
    found = rules("--base", before, folder=repository)
    assert found[0] == ("manifests/prod.yaml", "loosened", "option-loosened")


def test_no_repository_that_a_change_holds_or_configures_runs_a_command(
    repository: Path,
) -> None:
    harm = f"touch {repository / 'ran'}; false"
    bare = f'[core]\nbare = false\nworktree = {repository}\nfsmonitor = "{harm}"\n'
    folder = repository / "manifests"
    for name in ("objects", "refs"):
        (folder / name).mkdir()
    write(folder, {"HEAD": "ref: refs/heads/main\n", "config": bare})
    (repository / "shop.py").write_text(TURNED, "utf-8")
    done = run("diff", "--base", "HEAD", "prod.yaml", folder=folder)
    assert "cannot use bare repository" in done.err
    git(repository, "config", "core.fsmonitor", harm)
    found = rules("--base", "HEAD", "manifests/prod.yaml", folder=repository)
    assert [rule for _, _, rule in found] == ["code-changed"]
    assert not (repository / "ran").exists()
    git(repository, "status")
    assert (repository / "ran").exists()  # the command would run


def test_a_module_of_a_submodule_that_moved_is_to_be_reviewed(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    library = tmp_path_factory.mktemp("library")
    git(library, "init", "-q", "-b", "main")
    commit(library, {"layers.py": LIMITS})
    add = ("-c", "protocol.file.allow=always", "submodule", "-q", "add", str(library), "vendor")
    git(repository, *add)
    manifest = FLAT.replace("store.limits", "vendor.layers").format("5/minute")
    before = commit(repository, {"manifests/prod.yaml": manifest})
    assert rules("--base", before, folder=repository) == []
    commit(repository / "vendor", {"layers.py": REVERSED})
    git(repository, "config", "-f", ".gitmodules", "submodule.vendor.ignore", "all")
    git(repository, "add", "-A", "--force", "vendor", ".gitmodules")
    git(repository, "commit", "-qm", "moved")
    found = rules("--base", before, "manifests/prod.yaml", folder=repository)
    assert ("manifests/prod.yaml", "review", "code-changed") in found


GUARDED = """manifest: 1
middleware: [{id: per-ip, use: shop.RateLimitMiddleware, with: {limit: 5/minute, key: keys.tenant}}]
exception_handlers: [{catch: Exception, use: handlers.told}]
routes: [{use: api.router, dependencies: [gates.checked, {use: gates.other}]}]
"""


@pytest.mark.parametrize(
    ("file", "count"),
    [("keys.py", 1), ("handlers.py", 1), ("gates.py", 1), ("shop.py", 1), ("api.py", 0)],
)
def test_code_that_guards_is_to_be_reviewed_once_a_module_where_its_file_changed(
    repository: Path, file: str, count: int
) -> None:
    files = {
        "keys.py": "def tenant(scope): ...\n",
        "handlers.py": "def told(request, error): ...\n",
        "gates.py": "def checked(): ...\ndef other(): ...\n",
        "api.py": "from fastapi import APIRouter\nrouter = APIRouter()\n",
        "manifests/prod.yaml": GUARDED,
    }
    commit(repository, files)
    write(repository, {file: (repository / file).read_text("utf-8") + "# opened\n"})
    expected = [("manifests/prod.yaml", "review", "code-changed")] * count
    assert rules("--base", "HEAD", folder=repository) == expected


BEHIND = """manifest: 1
app: {dependencies: [asked.checked]}
settings: config.Settings
resources:
  keys: {use: made.keys}
  keyed: {use: wrapped.keyed, with: {by: "${resources.keys}", find: found.one}}
configure: [{use: given.before}]
middleware:
  - {use: lazy.Gate}
exception_handlers:
  - {catch: Exception, use: wrapped.told}
  - {catch: KeyError, use: newer.late}
  - {catch: OSError, use: linked.late}
routes: [{mount: /in, manifest: ../inner.yaml}]
finish: [{use: given.after}]
"""
SOURCES = {
    "asked.py": "def checked(): ...\n",
    "config.py": "class Settings:\n    name: str = 'x'\n",
    "made.py": "def keys(): ...\n",
    "found.py": "def one(): ...\n",
    "given.py": "def before(app): ...\ndef after(app): ...\n",
    "lazy/__init__.py": "from importlib import import_module\nIN = {'Gate': 'gates'}\n"
    "def __getattr__(name):\n    return getattr(import_module(f'.{IN[name]}', __name__), name)\n",
    "lazy/gates.py": "class Gate:\n    layer_role = 'auth'\n",
    "wrapped.py": "from tools import wrap\nfrom plain import handler\ntold = wrap(handler)\n"
    "def keyed(by, find): ...\n",
    "tools.py": "def wrap(function): return function\n",
    "plain.py": "def handler(request, error): ...\n",
    "inner.yaml": "manifest: 1\nmiddleware:\n"
    "  - {use: derived.Derived, with: {server: '${resources.keyed}', name: '${settings.name}'}}\n",
    "derived.py": "from bases import Base\nclass Derived(Base):\n    layer_role = 'auth'\n",
    "bases.py": "class Base:\n    def __init__(self, app, *, server, name): ...\n",
    "newer.py": "type Name = str\ndef late(request, error): ...\n",
    "target.py": "def late(request, error): ...\n",
    "other.py": "x = 1\n",
}


def test_bytecode_that_a_change_brings_is_to_be_reviewed(repository: Path) -> None:
    (repository / "__pycache__").mkdir()
    (repository / "__pycache__/shop.cpython-311.pyc").write_bytes(b"what runs unchecked")
    assert rules("--base", "HEAD", folder=repository) == []  # Python's own, of this machine
    git(repository, "add", "-f", "__pycache__")
    expected = [("manifests/prod.yaml", "review", "code-changed")]
    assert rules("--base", "HEAD", folder=repository) == expected


def test_all_that_is_behind_what_guards_is_to_be_reviewed_where_its_file_changed(
    repository: Path,
) -> None:
    (repository / "linked.py").symlink_to("target.py")
    commit(repository, {**SOURCES, "manifests/prod.yaml": BEHIND})
    for file, text in SOURCES.items():
        if not file.endswith(".py"):
            continue
        write(repository, {file: f"{text}# opened\n"})
        expected = [] if file == "other.py" else [("manifests/prod.yaml", "review", "code-changed")]
        assert rules("--base", "HEAD", folder=repository) == expected, file
        write(repository, {file: text})


LISTED = "[tool.assembler]\nimports = [{}]\n"


@pytest.mark.parametrize(
    ("base", "change", "found"),
    [
        ({"pyproject.toml": '"shop"'}, {"pyproject.toml": '"shop", "os"'}, ["imports-widened"]),
        ({"pyproject.toml": '"shop", "a"'}, {"pyproject.toml": '"shop"'}, ["imports-narrowed"]),
        (
            {"pyproject.toml": '"shop", "a"'},
            {"pyproject.toml": '"shop", "a.b"'},
            ["imports-narrowed"],
        ),
        ({"pyproject.toml": '"shop"'}, {"manifests/pyproject.toml": '"shop"'}, ["imports-widened"]),
        ({"pyproject.toml": '"shop"'}, {"manifests/pyproject.toml": None}, ["imports-widened"]),
        (
            {"pyproject.toml": '"shop", "a"'},
            {"pyproject.toml": '"shop", "b"'},
            ["imports-widened", "imports-narrowed"],
        ),
        ({}, {"pyproject.toml": '"shop"'}, ["imports-narrowed"]),
        ({}, {"pyproject.toml": '"shop", "os"'}, ["imports-widened", "imports-narrowed"]),
        ({"pyproject.toml": '"shop"'}, {"pyproject.toml": None}, ["imports-widened"]),
        ({"pyproject.toml": '"a", "b"'}, {"pyproject.toml": '"b", "a", "a.c"'}, []),
    ],
)
def test_a_wider_import_list_is_looser(
    repository: Path, base: dict[str, str], change: dict[str, str | None], found: list[str]
) -> None:
    def written(lists: dict[str, str] | dict[str, str | None]) -> dict[str, str]:
        return {name: "" if one is None else LISTED.format(one) for name, one in lists.items()}

    before = commit(repository, written(base) or {"empty": ""})
    write(repository, written(change))
    told = rules("--base", before, folder=repository)
    assert [rule for _, _, rule in told] == found
    grades = {"imports-widened": "loosened", "imports-narrowed": "tightened"}
    assert all(grade == grades[rule] for _, grade, rule in told)


def test_the_looser_of_two_defaults_holds(repository: Path) -> None:
    commit(repository, {"shop.py": SHOP.replace("})])", '})] = "5/minute")')})
    write(repository, {"shop.py": AS_DEFAULT})
    without = LIMIT.format("").replace(", with: {limit: }", "")
    write(repository, {"manifests/prod.yaml": without})
    assert rules(folder=repository)[0][1] == "loosened"


def test_a_branch_is_compared_with_where_it_began(repository: Path) -> None:
    git(repository, "checkout", "-qb", "feature")
    commit(repository, {"manifests/prod.yaml": LIMIT.format("50/minute")})
    git(repository, "checkout", "-q", "main")
    commit(repository, {"manifests/prod.yaml": LIMIT.format("1/minute")})
    git(repository, "checkout", "-q", "feature")
    done = run("diff", folder=repository)
    assert done.status == 1
    assert "from `5/minute` to `50/minute`" in done.out


def test_the_working_tree_is_what_is_new(repository: Path) -> None:
    assert rules(folder=repository) == []
    write(repository, {"manifests/prod.yaml": LIMIT.format("50/minute")})
    name = "manifests/prod.yaml"
    assert rules(folder=repository) == [(name, "loosened", "option-loosened")]
    assert rules("--base", "HEAD", name, folder=repository) == rules(folder=repository)
    inside = run("diff", "prod.yaml", folder=repository / "manifests")
    assert "prod.yaml:3 → prod.yaml:3" in inside.out


def test_a_changed_base_reports_every_manifest_that_extends_it(repository: Path) -> None:
    over = "manifest: 1\nextends: base.yaml\n"
    middle = "manifest: 1\nextends: test.yaml\n"
    files = {"base.yaml": LIMIT.format("5/minute"), "test.yaml": over, "more.yaml": middle}
    commit(repository, {f"manifests/{name}": text for name, text in files.items()})
    write(repository, {"manifests/base.yaml": LIMIT.format("9/minute")})
    names = ["base", "more", "test"]
    expected = [(f"manifests/{name}.yaml", "loosened", "option-loosened") for name in names]
    assert rules(folder=repository) == expected
    assert rules("manifests/base.yaml", folder=repository) == expected
    text = run("diff", folder=repository).out
    assert text.startswith("manifests/base.yaml, manifests/more.yaml, manifests/test.yaml\n")
    assert text.count("from `5/minute` to `9/minute`") == 1


def test_what_could_not_be_compared_is_told_beside_what_could(repository: Path) -> None:
    write(repository, {"manifests/bad.yaml": "manifest: 2\n"})
    done = run("diff", folder=repository)
    assert done.status == 2
    assert done.out == "unknown, 1 not compared\n"
    done = run("diff", "--format", "json", folder=repository)
    assert done.status == 2
    sentence = "manifests/bad.yaml cannot be compared: one side is no valid manifest"
    assert json.loads(done.out)["failures"] == [sentence]


def test_the_base_of_the_old_side_is_read_from_the_commit(repository: Path) -> None:
    over = "manifest: 1\nextends: base.yaml\n"
    files = {"manifests/base.yaml": LIMIT.format("5/minute"), "manifests/test.yaml": over}
    before = commit(repository, files)
    commit(repository, {"manifests/base.yaml": LIMIT.format("9/minute")})
    (repository / "manifests/base.yaml").unlink()
    write(repository, {"manifests/test.yaml": LIMIT.format("9/minute")})
    done = run("diff", "--base", before, "manifests/test.yaml", folder=repository)
    assert "manifests/base.yaml:3 → manifests/test.yaml:3" in done.out
    assert "from `5/minute` to `9/minute`" in done.out


def test_names_may_hold_any_character(repository: Path) -> None:
    names = ["manifests/-x.yaml", "manifests/a b\nc.yaml", "manifests/\udcff.yaml"]
    commit(repository, dict.fromkeys(names, LIMIT.format("5/minute")))
    write(repository, dict.fromkeys(names, LIMIT.format("9/minute")))
    assert [one[1] for one in rules(folder=repository)] == ["loosened"] * 3


def test_a_manifest_outside_the_repository_is_not_new(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "prod.yaml"
    outside.write_text("manifest: 1\n", "utf-8")
    done = run("diff", str(outside), folder=repository)
    assert (done.status, done.out) == (2, "unknown, 1 not compared\n")
    assert "it is outside the repository" in done.err


def test_links_are_followed_inside_the_commit(repository: Path) -> None:
    write(repository, {"shared/base.yaml": LIMIT.format("5/minute")})
    (repository / "manifests/base.yaml").symlink_to("../shared/base.yaml")
    over = "manifest: 1\nextends: base.yaml\n"
    commit(repository, {"manifests/test.yaml": over})
    write(repository, {"shared/base.yaml": LIMIT.format("9/minute")})
    found = rules("manifests/test.yaml", folder=repository)
    assert found == [("manifests/test.yaml", "loosened", "option-loosened")]


def test_new_deleted_and_renamed_manifests_are_told(repository: Path) -> None:
    write(repository, {"manifests/other.yaml": "manifest: 1\napp: {title: Other}\n"})
    added = rules(folder=repository)
    assert added == [("manifests/other.yaml", "review", "manifest-added")]
    commit(repository, {})
    (repository / "manifests/other.yaml").unlink()
    removed = rules("--base", "HEAD", folder=repository)
    assert removed == [("manifests/other.yaml", "review", "manifest-removed")]
    (repository / "manifests/prod.yaml").rename(repository / "manifests/live.yaml")
    found = rules("--base", "HEAD", folder=repository)
    assert ("manifests/live.yaml", "behaviour", "manifest-renamed") in found
    assert [rule for _, _, rule in found].count("manifest-removed") == 1


def test_a_sql_file_is_read_from_the_commit(repository: Path) -> None:
    manifest = (
        "manifest: 1\nresources: {db: {use: shop.SHOP}}\nstartup:\n"
        "  - {id: s, database: '${resources.db}', sql: [{label: one, file: ../sql/one.sql}]}\n"
    )
    commit(repository, {"manifests/prod.yaml": manifest, "sql/one.sql": "SELECT 1"})
    write(repository, {"sql/one.sql": "DROP TABLE t"})
    assert rules(folder=repository) == [("manifests/prod.yaml", "review", "sql-changed")]


@pytest.mark.parametrize("name", ["nowhere", "--output=x", "HEAD:manifests", "a b"])
def test_a_commit_that_is_not_there_cannot_be_compared(repository: Path, name: str) -> None:
    done = run("diff", f"--base={name}", folder=repository)
    assert (done.status, done.out) == (2, "unknown, 1 not compared\n")
    assert "names no commit here" in done.err


def test_without_a_repository_git_says_so(tmp_path: Path) -> None:
    write(tmp_path, {"manifests/a.yaml": "manifest: 1\n"})
    done = run(
        "diff", folder=tmp_path, environment={"GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    )
    assert done.status == 2
    assert "error: git: not a git repository" in done.err


def test_without_git_the_command_says_what_it_needs(repository: Path) -> None:
    done = run("diff", folder=repository, environment={"PATH": ""})
    assert done.status == 2
    assert "needs the command `git`" in done.err


def test_one_bad_manifest_does_not_hide_the_others(repository: Path) -> None:
    commit(repository, {"manifests/bad.yaml": "manifest: 1\n"})
    write(repository, {"manifests/bad.yaml": "manifest: [\n"})
    write(repository, {"manifests/prod.yaml": LIMIT.format("50/minute")})
    done = run("diff", folder=repository)
    assert done.status == 2
    assert "from `5/minute` to `50/minute`" in done.out
    assert "manifests/bad.yaml cannot be compared" in done.err


def test_nothing_of_the_manifest_is_run_or_asked_of_the_environment(repository: Path) -> None:
    code = "raise SystemExit('imported')\n"
    manifest = "manifest: 1\nresources: {db: {use: loud.make, with: {url: '${NOT_SET}'}}}\n"
    commit(repository, {"loud.py": code, "manifests/prod.yaml": manifest})
    write(repository, {"manifests/prod.yaml": manifest.replace("NOT_SET", "NOR_THIS")})
    done = call("diff", folder=repository)
    assert done.returncode == 0, done.stderr
    assert "`url` comes from `${NOR_THIS}` instead of `${NOT_SET}`" in done.stdout


@pytest.mark.parametrize(
    "format", ["text", "json", "markdown", "github", "gitlab", "sarif", "html"]
)
@pytest.mark.parametrize(
    "arguments", [("manifests/bad.yaml",), ("--base", "nowhere"), ("manifests/missing.yaml",)]
)
def test_no_form_reads_a_failure_as_clean(
    repository: Path, format: str, arguments: tuple[str, ...]
) -> None:
    write(repository, {"manifests/bad.yaml": "manifest: 2\n"})
    done = run("diff", *arguments, "--format", format, folder=repository)
    assert done.status == 2
    assert "unknown" in done.out
    if format == "json":
        assert json.loads(done.out)["worst"] == "unknown"


@pytest.mark.parametrize("format", ["markdown", "sarif", "html"])
def test_documents_say_what_could_not_be_compared(repository: Path, format: str) -> None:
    write(repository, {"manifests/prod.yaml": LIMIT.format("50/minute")})
    done = run("diff", "--format", format, folder=repository)
    assert (done.status, done.err) == (1, "")
    assert "50/minute" in done.out
    write(repository, {"manifests/prod.yaml": "manifest: ["})
    done = run("diff", "--format", format, folder=repository)
    assert done.status == 2
    assert "cannot be compared" in done.out


def test_a_base_that_went_breaks_what_extends_it(repository: Path) -> None:
    over = "manifest: 1\nextends: prod.yaml\n"
    commit(repository, {"manifests/test.yaml": over})
    (repository / "manifests/prod.yaml").unlink()
    done = run("diff", "manifests/prod.yaml", folder=repository)
    assert done.status == 2
    assert "manifests/test.yaml cannot be compared" in done.err
    assert "this manifest is gone" in done.out
