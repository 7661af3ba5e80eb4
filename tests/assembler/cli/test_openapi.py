"""`openapi` prints what a server would give and keeps a committed copy true; `diff --openapi` compares."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.assembler.command import ENVIRONMENT, run, write

SHOP = '''
from fastapi import APIRouter
router = APIRouter()
@router.get("/orders")
async def orders(limit: int = 5) -> list[str]:
    """Bidi \\u202e, café and \\x1b[31m."""
    return []
'''
FILES = {
    "shop/__init__.py": "",
    "shop/api.py": SHOP,
    "dev.yaml": "manifest: 1\napp: {title: Shop}\nroutes: [{use: shop.api.router}]\n",
    "other.yaml": "manifest: 1\napp: {title: Shop}\nroutes: [{use: shop.api.router, prefix: /v2}]\n",
}  # fmt: skip
OLD = """\
openapi: 3.1.0
info: {title: Shop, version: "1"}
paths:
  /orders:
    get: {responses: {200: {description: Fine}}}
  /carts:
    get: {responses: {200: {description: Fine}}}
"""
NEW = OLD.replace("/carts", "/baskets")


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    write(tmp_path, FILES)
    return tmp_path


def printed(folder: Path, *arguments: str) -> str:
    shown = run("openapi", *arguments, folder=folder)
    assert (shown.status, shown.err) == (0, "")
    return shown.out


def test_the_document_is_what_the_application_gives(shop: Path) -> None:
    text = printed(shop, "dev.yaml")
    document: dict[str, Any] = json.loads(text)
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Shop"
    assert list(document["paths"]) == ["/orders"]
    assert yaml.safe_load(printed(shop, "dev.yaml", "--format", "yaml")) == document
    assert printed(shop, "dev.yaml") == text
    assert "café" in text
    assert "\u202e" not in text + printed(shop, "dev.yaml", "--format", "yaml")
    assert "\x1b" not in text


@pytest.mark.parametrize("name", ["api.json", "api.yaml", "api.yml"])
def test_a_committed_copy_is_true_whatever_it_is_written_in(shop: Path, name: str) -> None:
    form = "json" if name.endswith("json") else "yaml"
    text = printed(shop, "dev.yaml", "--format", form)
    if form == "json":
        text = json.dumps(json.loads(text), sort_keys=True)
    write(shop, {name: text})
    assert printed(shop, "dev.yaml", "--check", name) == f"{name}: ok\n"


def test_a_stale_copy_is_told_with_what_differs_and_how_to_renew_it(shop: Path) -> None:
    write(shop, {"api docs.yaml": printed(shop, "other.yaml", "--format", "yaml")})
    shown = run("openapi", "dev.yaml", "--check", "api docs.yaml", folder=shop)
    assert shown.status == 1
    assert shown.out.startswith("--- api docs.yaml\n+++ dev.yaml\n@@ ")
    assert {"-  /v2/orders:", "+  /orders:"} <= set(shown.out.splitlines())
    assert shown.err == (
        "error: `api docs.yaml` is not what `dev.yaml` gives\n"
        "  = help: run `assembler openapi dev.yaml --format yaml > 'api docs.yaml'`\n"
    )


def test_what_differs_is_told_in_short(shop: Path) -> None:
    write(
        shop,
        {"api.json": json.dumps({"openapi": "3.1.0", "paths": {f"/{at}": {} for at in range(99)}})},
    )
    shown = run("openapi", "dev.yaml", "--check", "api.json", folder=shop)
    assert shown.status == 1
    assert len(shown.out.splitlines()) == 41
    assert shown.out.splitlines()[-1].startswith("… and ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, (2, "error: cannot read `api.json`: No such file or directory\n")),
        ("{", (1, "error[json-syntax]: ")),
        ("[", (1, "error[json-syntax]: ")),
        ("{}", (1, "error[bad-value]: is no document of OpenAPI 3")),
    ],
)
def test_a_copy_that_is_none_is_told(
    shop: Path, text: str | None, expected: tuple[int, str]
) -> None:
    write(shop, {} if text is None else {"api.json": text})
    shown = run("openapi", "dev.yaml", "--check", "api.json", folder=shop)
    assert (shown.status, shown.out) == (expected[0], "")
    assert shown.err.startswith(expected[1])


def test_a_document_that_is_no_json_is_told(shop: Path) -> None:
    text = (
        "def odd(app):\n    app.openapi = lambda: {'openapi': '3.1.0', 'x-limit': float('inf')}\n"
    )
    write(
        shop, {"shop/odd.py": text, "odd.yaml": "manifest: 1\nconfigure: [{use: shop.odd.odd}]\n"}
    )
    shown = run("openapi", "odd.yaml", folder=shop)
    assert shown.status == 2
    assert shown.err.startswith("error: the document of `odd.yaml` is no JSON: ")


def test_a_component_that_exits_while_the_document_is_made_is_told(shop: Path) -> None:
    text = (
        "import sys\nclass Layer:\n    def __init__(self, app):\n        self.app = app\n"
        "    async def __call__(self, *asgi):\n        await self.app(*asgi)\n"
        "    def openapi_operation(self, method, path):\n        sys.exit(3)\n"
    )
    layers = "middleware: [{use: shop.leaves.Layer}]\n"
    write(shop, {"shop/leaves.py": text, "leaves.yaml": FILES["dev.yaml"] + layers})
    shown = run("openapi", "leaves.yaml", folder=shop)
    assert (shown.status, shown.out) == (2, "")
    assert shown.err.startswith(
        "error: the document of `leaves.yaml` cannot be made: SystemExit: 3"
    )


def compared(folder: Path, *arguments: str) -> tuple[int, str]:
    shown = run("diff", "--openapi", *arguments, folder=folder)
    assert shown.err == ""
    return shown.status, shown.out


def test_documents_are_compared_in_every_form(tmp_path: Path) -> None:
    old = json.dumps(yaml.safe_load(OLD.replace("200", "'200'")), indent=2)
    write(tmp_path, {"old.json": old, "new.yaml": NEW})
    files = ("old.json", "new.yaml")
    status, text = compared(tmp_path, *files)
    assert status == 1
    assert "old.json → new.yaml" in text
    assert "breaks-callers  `/carts`: is gone: GET" in text
    assert "old.json:17" in text
    assert text.endswith("1 breaks-callers, 1 compatible\n")
    told = json.loads(compared(tmp_path, *files, "--format", "json")[1])
    assert told["worst"] == "breaks-callers"
    assert [each["rule"] for each in told["findings"]] == ["api-path", "api-path"]
    markdown = compared(tmp_path, *files, "--format", "markdown")[1]
    assert markdown.startswith("<!-- assembler-diff-openapi -->\n## API review: 1 breaks-callers")
    assert "Breaks-callers: requests that were right are refused" in markdown
    page = compared(tmp_path, *files, "--format", "html")[1]
    assert "<h1>API review</h1>" in page
    assert '<li class="finding breaks-callers"' in page
    assert "tightened</dt>" not in page
    sarif = json.loads(compared(tmp_path, *files, "--format", "sarif")[1])
    assert sarif["runs"][0]["automationDetails"]["id"] == "assembler-diff-openapi/"
    assert sarif["runs"][0]["properties"]["worst"] == "breaks-callers"
    assert (
        "title=api-path::`/carts`: is gone" in compared(tmp_path, *files, "--format", "github")[1]
    )
    gitlab = json.loads(compared(tmp_path, *files, "--format", "gitlab")[1])
    assert [issue["check_name"] for issue in gitlab] == ["api-path", "api-path"]


@pytest.mark.parametrize(
    ("gate", "expected"),
    [(None, 0), ("loosened", 0), ("breaks-readers", 0), ("compatible", 1), ("never", 0)],
)
def test_the_gate_is_the_mildest_grade_that_gives_status_1(
    tmp_path: Path, gate: str | None, expected: int
) -> None:
    write(tmp_path, {"old.yaml": OLD.replace("/carts", "/orders/{id}"), "new.yaml": OLD})
    more = "  /carts/{id}: {get: {responses: {200: {description: Fine}}}}\n"
    write(tmp_path, {"old.yaml": OLD, "new.yaml": OLD + more})
    options = [] if gate is None else ["--fail-on", gate]
    assert compared(tmp_path, "old.yaml", "new.yaml", *options)[0] == expected


def test_what_cannot_be_compared_is_never_clean(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.json": '{"openapi": "3.1.0",\n "paths": }'})
    shown = run("diff", "--openapi", "old.yaml", "new.json", "--format", "json", folder=tmp_path)
    assert shown.status == 2
    assert "error[json-syntax]: expecting value\n --> new.json:2:11" in shown.err.replace(
        "  -->", " -->"
    )
    told = json.loads(shown.out)
    assert (told["worst"], told["findings"]) == ("unknown", [])
    assert told["failures"] == ["new.json cannot be compared: it is no OpenAPI document"]
    for files in (["old.yaml"], [], ["old.yaml", "new.json", "x"], ["old.yaml", "missing.yaml"]):
        shown = run("diff", "--openapi", *files, folder=tmp_path)
        assert shown.status == 2
        assert shown.err.startswith("error: ")


def test_the_old_side_may_be_a_commit(tmp_path: Path) -> None:
    write(tmp_path, {"docs/api.yaml": OLD})
    for line in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "a"],
    ):
        subprocess.run(["git", *line], cwd=tmp_path, check=True, timeout=60)
    write(tmp_path, {"docs/api.yaml": NEW, "docs/new.yaml": OLD})
    status, text = compared(tmp_path, "--base", "HEAD", "docs/api.yaml")
    assert status == 1
    assert "docs/api.yaml\n" in text
    shown = run("diff", "--openapi", "--base", "HEAD", "docs/new.yaml", folder=tmp_path)
    assert (shown.status, shown.err) == (
        2,
        "error: cannot read `docs/new.yaml`: `HEAD` does not have it\n",
    )


def test_a_comparison_of_documents_imports_no_framework(tmp_path: Path) -> None:
    write(tmp_path, {"old.yaml": OLD, "new.yaml": NEW})
    code = (
        "import sys\nfrom assembler.cli import main\n"
        "try: main(['diff', '--openapi', 'old.yaml', 'new.yaml'])\nexcept SystemExit: pass\n"
        "print(sorted({'fastapi', 'starlette', 'uvicorn'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"


def test_who_makes_no_document_is_named_without_what_it_was_given(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_TOKEN", "canary-of-the-shop")
    layer = """
class Layer:
    def __init__(self, app, *, token: str) -> None:
        self.app, self.token = app, token
    async def __call__(self, scope, receive, send) -> None:
        await self.app(scope, receive, send)
    def openapi_operation(self, method: str, path: str) -> None:
        raise ValueError(f"bad {self.token}\\x1b[2J\\nerror: forged")
"""
    manifest = """manifest: 1
middleware: [{use: shop.loud.Layer, with: {token: "${SHOP_TOKEN}"}}]
routes: [{use: shop.loud_api.one, path: /one}]
"""
    api = "def one() -> int:\n    return 1\n"
    write(shop, {"shop/loud.py": layer, "shop/loud_api.py": api, "loud.yaml": manifest})
    shown = run("openapi", "loud.yaml", folder=shop)
    assert shown.status == 2
    assert shown.err == (
        "error: the document of `loud.yaml` cannot be made: ValueError: bad ${SHOP_TOKEN}"
        r"\u001b[2J error: forged (`shop.loud.Layer` was asked what it adds to GET /one)" + "\n"
    )
