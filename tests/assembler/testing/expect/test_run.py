"""`assembler test`: what requests give, how far they come, and what is told where they do not."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from assembler import build, load
from assembler.diagnostics.errors import ManifestError
from assembler.testing.expect.exchange import started
from assembler.testing.expect.run import Result, expectations_of, run
from tests.assembler.command import in_folder, write
from tests.assembler.command import run as command

SHOP = """
import asyncio
import sys
from fastapi import APIRouter, FastAPI, Request, WebSocket
from fastapi.responses import PlainTextResponse, StreamingResponse

class Mark:
    def __init__(self, app, *, name: str) -> None:
        self.app, self.name = app, name

    async def __call__(self, scope, receive, send):
        async def marked(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-mark", self.name.encode())]
            await send(message)
        await self.app(scope, receive, marked)

class Gate:
    def __init__(self, app, *, key: str) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope, receive, send):
        given = dict(scope.get("headers", [])).get(b"x-key", b"").decode()
        if scope["type"] == "http" and given != self.key:
            await PlainTextResponse("no", status_code=401)(scope, receive, send)
        else:
            await self.app(dict(scope), receive, send)

class Strip:
    def __init__(self, app) -> None:
        self.app = app

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            scope = {**scope, "path": scope["path"][3:]}
        await self.app(scope, receive, send)

class Shelf:
    async def open(self):
        self.books = 3
    async def close(self):
        print("closed")

one, two = APIRouter(), APIRouter()
inner = FastAPI()

@one.get("/books")
async def books(request: Request):
    return request.state.shelf.books

@one.get("/boom")
async def boom():
    raise RuntimeError("boom")

@one.get("/hang")
async def hang():
    await asyncio.sleep(60)

@one.get("/late")
async def late():
    async def parts():
        yield "a"
        raise RuntimeError("too late")
    return StreamingResponse(parts())

@one.get("/leaves")
async def leaves():
    sys.exit(3)

@one.get("/events")
async def events():
    async def parts():
        while True:
            yield "data: x\\n\\n"
            await asyncio.sleep(0.01)
    return StreamingResponse(parts(), media_type="text/event-stream")

@one.websocket("/ws")
async def ws(socket: WebSocket):
    await socket.accept()
    await socket.receive()

@two.get("/{any}")
async def any(any: str):
    return any

@inner.get("/")
async def root():
    return 1
"""
MANIFEST = """
manifest: 1
resources:
  shelf: {use: shop.Shelf}
middleware:
  - {id: outer, use: shop.Mark, with: {name: o}}
  - {id: gate, use: shop.Gate, with: {key: "${KEY}"}}
  - {id: strip, use: shop.Strip}
routes:
  - {id: one, use: shop.one}
  - {mount: /in, use: shop.inner}
  - {id: two, use: shop.two, prefix: /two}
"""
SCOPED = """
  - id: own
    use: shop.one
    prefix: /own
    middleware: [{id: mine, use: shop.Mark, with: {name: m}}]
  - id: closed
    use: shop.one
    prefix: /closed
    middleware: [{id: before, use: shop.Mark, with: {name: b}}, {id: shut, use: shop.Gate, with: {key: never}}]
  - mount: /inner
    middleware: [{id: around, use: shop.Mark, with: {name: a}}]
    manifest:
      manifest: 1
      middleware: [{id: within, use: shop.Mark, with: {name: w}}]
      routes:
        - {id: inside, use: shop.one, middleware: [{id: deepest, use: shop.Mark, with: {name: d}}]}
        - mount: /shut
          manifest: {manifest: 1, middleware: [{id: door, use: shop.Gate, with: {key: never}}], routes: [{id: far, use: shop.one}]}
"""
KEY = {"x-key": "sesame-open"}
ALL = ["outer", "gate", "strip"]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    write(tmp_path, {"shop.py": SHOP})
    monkeypatch.setenv("KEY", "sesame-open")
    with in_folder(tmp_path):
        yield tmp_path


def results(*expected: dict[str, Any], timeout_seconds: float = 30) -> list[Result]:
    text = f"{MANIFEST}{SCOPED}expect:\n" + "".join(f"  - {json.dumps(one)}\n" for one in expected)
    Path("m.yaml").write_text(text, "utf-8")

    async def gathered() -> list[Result]:
        plan = load("m.yaml")
        app = build(plan)
        async with started(app) as state:
            listed = expectations_of(plan, {"KEY": "sesame-open"})
            return await run(plan, app, listed, state=state, timeout_seconds=timeout_seconds)

    return asyncio.run(gathered())


def words(*expected: dict[str, Any], **options: float) -> list[str]:
    return [fault.message for result in results(*expected, **options) for fault in result.faults]


def met(request: str, **wanted: Any) -> dict[str, Any]:
    return {"request": request, "headers": KEY, **wanted}


@pytest.mark.parametrize(
    "expectation",
    [
        met("GET /books", status=200, route="one", passes=ALL, response_headers={"X-Mark": "o"}),
        met("GET /v1/books?x=1", status=200, route="one", passes=ALL),
        met("GET /two/x", status=200, route="two"),
        met("GET /in", status=200, route="/in", passes=ALL),
        met("GET /gone", status=404, passes=ALL, response_headers={"X-Other": None}),
        met("POST /books", status=405),
        met("GET /boom", status=500, route="one", response_headers={"x-mark": "o"}),
        met("GET /events", status=200),
        met("WEBSOCKET /ws", status=101, route="one", passes=ALL),
        met("WEBSOCKET /none", status=403),
        {"request": "GET /books", "status": 401, "passes": ["outer"]},
        {"request": "GET /books", "headers": {"X-Key": "${KEY}"}, "status": 200},
        met("GET /books"),
        met("GET /own/books", route="own", passes=[*ALL, "mine"]),
        met("GET /own/gone", status=404, passes=[*ALL, "mine"]),
        met("GET /closed/books", status=401, passes=[*ALL, "before"]),
        met("GET /inner/books", route="inside", passes=[*ALL, "around", "within", "deepest"]),
        met("GET /inner/gone", status=404, route="/inner", passes=[*ALL, "around", "within"]),
        met("GET /inner/shut/books", status=401, passes=[*ALL, "around", "within"]),
        met("WEBSOCKET /inner/ws", status=101, route="inside"),
    ],
    ids=str,
)
def test_what_is_so_is_met(shop: Path, expectation: dict[str, Any]) -> None:
    assert words(expectation) == []


def test_a_result_tells_what_the_request_gave(shop: Path) -> None:
    (result,) = results(met("GET /books"))
    assert (result.request, result.status, result.route) == ("GET /books", 200, "one")
    assert result.passes == tuple(ALL)
    assert result.span.place == "m.yaml:32:17"
    (early,) = results({"request": "GET /books"})
    assert (early.status, early.route, early.passes) == (401, None, ("outer",))


@pytest.mark.parametrize(
    ("expectation", "told"),
    [
        (met("GET /books", status=404), "`GET /books` gives 200, not 404"),
        (met("GET /books", route="two"), "`GET /books` is answered by `one`, not by `two`"),
        (met("GET /gone", route="two"), "`GET /gone` is answered by no route, not by `two`"),
        (
            met("GET /books", passes=["gate", "outer", "strip"]),
            "`GET /books` passes `outer`, `gate`, `strip`",
        ),
        (
            {"request": "GET /books", "passes": ALL},
            "`GET /books` passes `outer`, and `gate` answers it",
        ),
        (
            met("GET /closed/books", route="closed"),
            "`GET /closed/books` is answered by no route, not by `closed`",
        ),
        (
            met("GET /closed/books", passes=ALL),
            "`GET /closed/books` passes `outer`, `gate`, `strip`, `before`, and `shut` answers it",
        ),
        (met("GET /books", response_headers={"X-A": "b"}), "`X-A` is not in the answer"),
        (met("GET /books", response_headers={"X-Mark": "b"}), "`X-Mark` is `o`, not `b`"),
        (
            met("GET /books", response_headers={"X-Mark": None}),
            "`X-Mark` is in the answer, as `o`",
        ),
    ],
)
def test_what_is_not_so_is_told(shop: Path, expectation: dict[str, Any], told: str) -> None:
    assert words(expectation) == [told]


def test_an_unknown_id_is_told_with_the_one_that_was_meant(shop: Path) -> None:
    found = results(
        met("GET /books", passes=["outer", "gaet", "strip"]), met("GET /in", route="ones")
    )
    assert [result.faults[0].help for result in found] == [
        "did you mean `gate`?",
        "did you mean `one`?",
    ]


def test_what_ends_badly_or_never_is_told(shop: Path) -> None:
    begun = time.monotonic()
    assert words(met("GET /hang"), timeout_seconds=0.2) == [
        "`GET /hang` gives no whole answer within 0.2s"
    ]
    assert time.monotonic() - begun < 20
    assert words(met("GET /late", status=200)) == ["`GET /late` raises RuntimeError: too late"]
    told = words(met("GET /leaves", status=500), met("GET /books"))
    assert told == ["`GET /leaves` raises SystemExit: 3"]


def test_requests_go_one_after_the_other_through_one_application(shop: Path) -> None:
    found = results(*(met("GET /books") for _ in range(3)))
    assert [result.status for result in found] == [200, 200, 200]


def test_a_failing_start_is_told_as_by_a_server(shop: Path) -> None:
    Path("m.yaml").write_text(
        f"{MANIFEST}startup: [{{use: shop.boom}}]\nexpect: [{{request: GET /}}]\n", "utf-8"
    )
    shown = command("test", "m.yaml", folder=shop, environment={"KEY": "sesame-open"})
    assert shown.status == 1
    assert "error[startup-failed]" in shown.err
    assert shown.out == ""


BESIDE = "expect:\n  - {request: GET /books, headers: {x-key: '${KEY}'}, status: 200}\n"


def test_expectations_stand_beside_the_manifest_as_well(shop: Path) -> None:
    write(shop, {"m.yaml": MANIFEST, "m.expect.yaml": BESIDE})
    shown = command("test", "m.yaml", "--format", "json", folder=shop)
    facts = json.loads(shown.out)
    assert shown.status == 0
    (row,) = facts["results"]
    assert (row["file"], row["line"], row["met"]) == ("m.expect.yaml", 2, True)
    assert "closed" in shown.err


@pytest.mark.parametrize(
    ("beside", "code"),
    [
        ("app: {}\n", "unknown-key"),
        ("expect: [{status: 200}]\n", "missing-key"),
        ("expect: [{request: GET /, status: 99}]\n", "bad-value"),
        ("expect: [{request: GET /, headers: {a: '${NOT_SET_AT_ALL}'}}]\n", "missing-variable"),
        ("expect: [{request: GET /, headers: {a: '${'}}]\n", "bad-reference"),
        ("expect: [\n", "yaml-syntax"),
        ("- a\n", "bad-value"),
    ],
)
def test_faults_beside_the_manifest_are_told_there(shop: Path, beside: str, code: str) -> None:
    write(shop, {"m.yaml": MANIFEST, "m.expect.yaml": beside})
    shown = command("test", "m.yaml", folder=shop)
    assert shown.status == 1
    assert f"error[{code}]" in shown.err
    assert "m.expect.yaml:" in shown.err


@pytest.mark.parametrize("beside", [None, "", "expect:\n", "expect: []\n"])
def test_a_manifest_that_expects_nothing_is_a_wrong_call(shop: Path, beside: str | None) -> None:
    write(shop, {"m.yaml": MANIFEST})
    if beside is not None:
        write(shop, {"m.expect.yaml": beside})
    shown = command("test", "m.yaml", folder=shop)
    assert (shown.status, shown.out) == (2, "")
    assert "expects nothing" in shown.err


def test_the_results_are_told_in_three_formats(shop: Path) -> None:
    beside = BESIDE + "  - {request: GET /books, status: 200}\n"
    write(shop, {"m.yaml": MANIFEST, "m.expect.yaml": beside})
    shown = command("test", "m.yaml", folder=shop)
    assert shown.status == 1
    lines = shown.out.splitlines()
    assert lines[0].startswith("ok      GET /books  200  ")
    assert lines[1].startswith("failed  GET /books  401  ")
    assert "error[unmet-expectation]: `GET /books` gives 401, not 200" in lines
    assert " --> m.expect.yaml:3:35" in lines
    assert lines[-1] == "1 of 2 expectations met"
    suite = ET.fromstring(command("test", "m.yaml", "--format", "junit", folder=shop).out)
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "`GET /books` gives 401, not 200"
    facts = json.loads(command("test", "m.yaml", "--format", "json", folder=shop).out)
    assert [row["met"] for row in facts["results"]] == [True, False]
    (fault,) = facts["results"][1]["diagnostics"]
    assert (fault["code"], fault["line"]) == ("unmet-expectation", 3)


def test_no_secret_is_told_and_nothing_deceives_a_terminal(shop: Path) -> None:
    beside = (
        "expect:\n  - {request: 'GET /two/${KEY}\u2067', headers: {x-key: '${KEY}'}, status: 404,\n"
        "     response_headers: {x-mark: '${KEY}', a: \"\\e[31m\"}}\n"
    )
    write(shop, {"m.yaml": MANIFEST, "m.expect.yaml": beside})
    for form in ("text", "json", "junit"):
        shown = command("test", "m.yaml", "--format", form, folder=shop)
        assert shown.status == 1
        assert "sesame" not in shown.out + shown.err
        assert all(char.isprintable() or char == "\n" for char in shown.out)


def test_a_fault_of_the_manifest_itself_is_told_as_by_check(shop: Path) -> None:
    write(shop, {"m.yaml": MANIFEST.replace("shop.Strip", "shop.Stripp")})
    shown = command("test", "m.yaml", folder=shop)
    assert shown.status == 1
    assert "error[attribute-not-found]" in shown.err
    with pytest.raises(ManifestError):
        load("m.yaml")
