"""An application as a handler of Lambda's events: started once, stopped once."""

import base64
import gzip
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from assembler.aws_lambda import Instance
from tests.assembler.sample_app.world import built

ROOT = Path(__file__).parents[2]
EVENT: dict[str, Any] = {
    "version": "2.0",
    "rawPath": "/",
    "rawQueryString": "",
    "headers": {"host": "a.example"},
    "requestContext": {"http": {"method": "GET", "path": "/", "sourceIp": "192.0.2.1"}},
    "isBase64Encoded": False,
}


@contextmanager
def instance(app: Any) -> Iterator[Instance]:
    made = Instance(app)
    try:
        yield made
    finally:
        made.close()


def counting(events: list[str]) -> Starlette:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> Any:
        events.append("start")
        yield {"box": events}
        events.append("stop")

    async def root(request: Request) -> JSONResponse:
        request.state.seen = True
        return JSONResponse({"same": request.state.box is events, "client": request.client})

    return Starlette(routes=[Route("/", root)], lifespan=lifespan)


def test_an_application_starts_once_and_stops_once() -> None:
    events: list[str] = []
    with instance(counting(events)) as handler:
        assert events == ["start"]
        bodies = {handler(EVENT, None)["body"] for _ in range(5)}
        assert bodies == {'{"same":true,"client":["192.0.2.1",0]}'}
        assert events == ["start"]
    assert events == ["start", "stop"]


def test_closing_twice_is_closing_once() -> None:
    events: list[str] = []
    with instance(counting(events)) as handler:
        handler.close()
    assert events == ["start", "stop"]


@pytest.mark.parametrize(
    "forwarded", ["198.51.100.9", "1.1.1.1, 198.51.100.9", "a, b,198.51.100.9"]
)
def test_behind_a_load_balancer_the_client_is_who_it_saw(forwarded: str) -> None:
    event = {
        "requestContext": {"elb": {"targetGroupArn": "arn"}},
        "httpMethod": "GET",
        "path": "/",
        "queryStringParameters": {},
        "headers": {"host": "a.example", "x-forwarded-for": forwarded},
        "body": "",
        "isBase64Encoded": False,
    }
    with instance(counting([])) as handler:
        assert handler(event, None)["body"] == '{"same":true,"client":["198.51.100.9",0]}'


@pytest.mark.parametrize(
    ("kind", "body", "is_text"),
    [
        ("application/json", "{}", True),
        ("application/problem+json", '{"title": "é"}', True),
        ("application/problem+json; charset=utf-8", "{}", True),
        ("application/ld+json", "{}", True),
        ("application/vnd.api+json", "{}", True),
        ("application/manifest+json", "{}", True),
        ("application/feed+xml", "<a/>", True),
        ("application/atom+xml", "<a/>", True),
        ("image/svg+xml", "<svg/>", True),
        ("application/xml", "<a/>", True),
        ("application/x-ndjson", "{}\n", True),
        ("application/openapi+yaml", "a: 1", True),
        ("application/yaml", "a: 1", True),
        ("application/x-www-form-urlencoded", "a=1", True),
        ("text/event-stream", "data: 1\n\n", True),
        ("text/csv", "a,b", True),
        ("image/png", "PNG", False),
        ("application/pdf", "%PDF", False),
        ("application/octet-stream", "abc", False),
        ("application/zip", "PK", False),
    ],
)
def test_text_is_sent_as_it_is_and_all_else_as_base64(kind: str, body: str, is_text: bool) -> None:
    async def root(request: Request) -> Response:
        return Response(body, headers={"content-type": kind})

    with instance(Starlette(routes=[Route("/", root)])) as handler:
        answer = handler(EVENT, None)
    assert answer["isBase64Encoded"] is not is_text
    sent = answer["body"] if is_text else base64.b64decode(answer["body"]).decode()
    assert sent == body


def test_text_that_is_compressed_is_sent_as_base64() -> None:
    async def root(request: Request) -> Response:
        body = gzip.compress(b"{}")
        return Response(body, headers={"content-type": "application/problem+json"})

    with instance(Starlette(routes=[Route("/", root)])) as handler:
        answer = handler(EVENT, None)
    assert answer["isBase64Encoded"]
    assert gzip.decompress(base64.b64decode(answer["body"])) == b"{}"


def test_a_start_that_fails_says_why() -> None:
    async def refusing(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no database\nm.yaml:3"})

    with pytest.raises(RuntimeError, match=r"^no database\nm\.yaml:3$"):
        Instance(refusing)


def test_an_application_that_ends_by_itself_says_why() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise KeyError("box")

    with pytest.raises(RuntimeError, match=r"ended at `lifespan\.startup`") as caught:
        Instance(broken)
    assert isinstance(caught.value.__cause__, KeyError)


STEPS = """\
def began() -> None:
    print("began", flush=True)


def ended() -> None:
    print("ended", flush=True)
"""
MANIFEST = """\
manifest: 1
startup: [{use: steps.began}]
shutdown: [{use: steps.ended}]
"""


def python(folder: Path, code: str, manifest: str = MANIFEST) -> "subprocess.CompletedProcess[str]":
    (folder / "steps.py").write_text(STEPS, "utf-8")
    (folder / "m.yaml").write_text(manifest, "utf-8")
    return subprocess.run(
        [sys.executable, "-B", "-c", code],
        cwd=folder,
        env={**os.environ, "ASSEMBLY": "m.yaml", "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("end", ["", "import os, signal; os.kill(os.getpid(), signal.SIGTERM)"])
def test_the_manifest_of_the_environment_is_stopped_with_the_process(
    tmp_path: Path, end: str
) -> None:
    code = f"import assembler\nprint(assembler.handler({EVENT!r}, None)['statusCode'])\n{end}"
    done = python(tmp_path, code)
    assert done.stdout.split() == ["began", "404", "ended"], done.stderr
    assert done.returncode == 0


def test_a_manifest_that_is_refused_ends_the_process(tmp_path: Path) -> None:
    done = python(tmp_path, "import assembler; assembler.handler", "manifest: 2\n")
    assert done.returncode == 3
    assert "m.yaml:1:11" in done.stderr


def test_what_nobody_handled_is_an_answer_and_one_record(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, "routes: [{use: tests.integration.raising.router}]")
    event = {**EVENT, "rawPath": "/key"}
    event["requestContext"] = {"http": {"method": "GET", "path": "/key", "sourceIp": "192.0.2.1"}}
    with instance(app) as handler:
        answer = handler(event, None)
    assert (answer["statusCode"], answer["body"]) == (500, "Internal Server Error")
    assert [record.name for record in caplog.records if record.exc_info] == ["assembler.error"]
