"""Errors that arrive at a Sentry of the tests' own."""

import asyncio
import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from components import sentry
from tests.components.clients.serving import Service, serving
from tests.servers import start_uvicorn

ROOT = Path(__file__).parents[3]
MANIFEST = """
manifest: 1
resources:
  sentry:
    use: components.sentry.init
    with: {dsn: "${TEST_DSN}", environment: test, release: shop@1, traces_sample_rate: 1.0}
routes:
  - {use: tests.components.sentry.sentry_app.router}
"""


async def accept(_request: Request) -> Response:
    return JSONResponse({"id": "1"})


def items(service: Service) -> list[dict[str, Any]]:
    """The payloads of all envelopes that came, each with its item's type as `_type`."""
    found = []
    for seen in service.seen:
        body = seen.body
        if seen.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        lines = body.decode().splitlines()
        for head, payload in zip(lines[1::2], lines[2::2], strict=False):
            found.append({**json.loads(payload), "_type": json.loads(head)["type"]})
    return found


def events_of(target: str, *arguments: str, **environment: str) -> list[dict[str, Any]]:
    """What arrives when a request fails and the server is told to end."""
    with serving(accept) as service:
        dsn = service.url.replace("http://", "http://public@") + "/1"
        with start_uvicorn(
            target, *arguments, environment={"TEST_DSN": dsn, **environment}
        ) as port:
            url = f"http://127.0.0.1:{port}/fail/price?token=queryword&page=2"
            headers = {"Authorization": "Bearer headword", "X-API-Key": "keyword"}
            assert httpx2.get(url, headers=headers, timeout=30).status_code == 500
        return items(service)


CATCH_ALL = "exception_handlers: [{catch: Exception, use: components.errors.unexpected}]\n"


@pytest.mark.parametrize("way", ["bare", "manifest", "manifest with a catch-all"])
def test_an_unhandled_error_arrives_once_and_without_secrets(way: str, tmp_path: Path) -> None:
    if way == "bare":
        found = events_of("tests.components.sentry.sentry_app:app", "--factory")
    else:
        (tmp_path / "manifest.yaml").write_text(MANIFEST + CATCH_ALL * ("catch-all" in way))
        found = events_of("assembler:app", ASSEMBLY=str(tmp_path / "manifest.yaml"))
    (event,) = [item for item in found if item["_type"] == "event"]
    error = event["exception"]["values"][-1]
    assert error["type"] == "LookupError"
    assert error["mechanism"]["handled"] is False
    assert error["value"] == "no price at postgresql://user:[Filtered]@host/db"
    assert (event["environment"], event["release"]) == ("test", "shop@1")
    assert event["transaction"] == "/fail/{what}"
    assert event["request"]["query_string"] == "token=[Filtered]&page=2"
    (transaction,) = [item for item in found if item["_type"] == "transaction"]
    assert transaction["transaction"] == "/fail/{what}"
    text = json.dumps(found)
    for secret in ("urlword", "queryword", "headword", "keyword"):
        assert secret not in text
    frames = error["stacktrace"]["frames"]
    assert not any("vars" in frame for frame in frames)


@pytest.mark.parametrize("dsn", ["None", "''"])
def test_without_a_dsn_nothing_is_imported(dsn: str) -> None:
    code = (
        "import asyncio, sys; from components import sentry\n"
        f"off = sentry.init(dsn={dsn})\n"
        "asyncio.run(off.open()); asyncio.run(off.aclose())\n"
        "sys.exit(off.is_on or 'sentry_sdk' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, timeout=100).returncode
        == 0
    )


def test_what_waits_is_sent_at_the_end_and_nothing_after_it() -> None:
    import sentry_sdk  # noqa: PLC0415  # the SDK is one in a process

    async def story(dsn: str) -> None:
        watched = sentry.init(dsn=dsn)
        for word in ("first", "second"):
            await watched.open()
            sentry_sdk.capture_message(word)
            await watched.aclose()
            sentry_sdk.capture_message("too late")
        await watched.aclose()

    with serving(accept) as service:
        asyncio.run(story(service.url.replace("http://", "http://public@") + "/1"))
        assert [item["message"] for item in items(service)] == ["first", "second"]


def test_what_is_no_dsn_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="`dsn` is no Sentry DSN") as caught:
        sentry.init(dsn="https://secretword/")
    assert "secretword" not in str(caught.value)
    assert caught.value.__suppress_context__
