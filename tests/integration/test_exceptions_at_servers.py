"""What client, log, metrics and server see of each way in which a request can fail."""

import asyncio
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

import assembler
from tests.servers import free_port, wait_for_port

ORIGIN = "https://app.example"
MANIFEST = f"""\
manifest: 1
APP
middleware:
  - use: components.metrics.MetricsMiddleware
  - use: components.middleware.cors.CORSMiddleware
    with: {{allow_origins: ["{ORIGIN}"]}}
  - use: components.middleware.request_id.RequestIDMiddleware
  - use: components.middleware.request_logging.RequestLoggingMiddleware
    with: {{flush_interval: null}}
  - use: components.middleware.cache_control.CacheControlMiddleware
    with: {{rules: [{{match: "GET /*", cache: "public, max-age=60"}}]}}
  - use: tests.integration.raising.Raising
routes:
  - {{use: components.metrics.router, with: {{public: true}}, prefix: ""}}
  - {{use: tests.integration.raising.router}}
"""


class Kept(logging.Handler):
    """All records, by logger."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def of(self, name: str) -> list[logging.LogRecord]:
        return [record for record in self.records if record.name == name]


@dataclass
class Served:
    url: str
    port: int
    kept: Kept = field(default_factory=Kept)

    def ask(self, path: str) -> httpx2.Response | None:
        with suppress(httpx2.TransportError):
            return httpx2.get(self.url + path, headers={"origin": ORIGIN}, timeout=20, verify=False)
        return None

    def lines(self, path: str) -> list[dict[str, Any]]:
        """Of the access log, once there is one; a line may follow the answer."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            lines = [json.loads(each.getMessage()) for each in self.kept.of("components.access")]
            found[:] = [line for line in lines if line["path"] == path]
            return bool(found)

        wait_for(is_there)
        return found

    def wait_for_errors(self, *, own: int, server: int) -> None:
        """Both logs have as many records; they come from outside of the access log, after its line."""
        names = {"assembler.error": own, "uvicorn.error": server}
        wait_for(lambda: {name: len(self.kept.of(name)) for name in names} == names)

    def counted(self, path: str) -> str:
        """The status that the metrics have for a path."""
        page = httpx2.get(f"{self.url}/metrics", timeout=20, verify=False).text
        pattern = rf'^\w+_count{{[^}}]*route="{path}"[^}}]*status="(\d+)"'
        [status] = re.findall(pattern, page, re.MULTILINE)
        return str(status)


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it does not come about"
        time.sleep(0.01)


def build(folder: Path, app: str = "") -> Any:
    path = folder / "app.yaml"
    path.write_text(MANIFEST.replace("APP\n", app))
    return assembler.build(assembler.load(path))


@contextmanager
def serving(app: Any, http: Any) -> Iterator[Served]:
    """uvicorn in a thread, its log kept; our own loggers' too."""
    port = free_port()
    config = uvicorn.Config(app, port=port, http=http, log_config=None, log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()), daemon=True)
    served = Served(f"http://127.0.0.1:{port}", port)
    loggers = [
        logging.getLogger(n) for n in ("uvicorn.error", "assembler.error", "components.access")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(served.kept)
        logger.setLevel(logging.INFO)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
            assert thread.is_alive()
        yield served
    finally:
        server.should_exit = True
        thread.join(20)
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(served.kept)
            logger.setLevel(level)


@pytest.fixture(scope="module", params=["h11", "httptools"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    with serving(build(tmp_path_factory.mktemp("served")), request.param) as served:
        yield served


@dataclass(frozen=True)
class Row:
    """What is seen of one path. Client None: the answer breaks off."""

    path: str
    client: int | None
    log: tuple[int, str | None]
    metrics: str
    own: int
    """Our records of the exception."""
    server: int
    """The server's records of it."""


TABLE = [
    Row("/fine", 200, (200, None), "200", 0, 0),
    Row("/key", 500, (500, "KeyError"), "500", 1, 0),
    Row("/abort", 500, (500, "Abort"), "500", 1, 0),
    Row("/group", 500, (500, "ExceptionGroup"), "500", 1, 0),
    Row("/cancelled-other", 500, (500, "CancelledError"), "500", 1, 0),
    Row("/cancelled-self", 500, (499, "CancelledError"), "499", 0, 1),
    Row("/generator-exit", 500, (499, "GeneratorExit"), "499", 0, 1),
    Row("/stream", None, (200, "RuntimeError"), "200", 1, 0),
    Row("/background", 200, (200, "RuntimeError"), "200", 1, 0),
    Row("/exit", 200, (200, "OSError"), "200", 1, 0),
    Row("/layer-http", 418, (418, "HTTPException"), "418", 0, 0),
    Row("/layer-group", 418, (418, "ExceptionGroup"), "418", 0, 0),
    Row("/layer-key", 500, (500, "KeyError"), "500", 1, 0),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: str(row.path[1:]))
def test_the_table(server: Served, row: Row) -> None:
    server.kept.records.clear()
    answer = server.ask(row.path)
    assert (None if answer is None else answer.status_code) == row.client
    [line] = server.lines(row.path)
    assert (line["status"], line.get("error")) == row.log
    server.wait_for_errors(own=row.own, server=row.server)
    template = row.path if not row.path.startswith("/layer") else "(unrouted)"
    assert template.startswith("(") or server.counted(row.path) == row.metrics
    if answer is not None and answer.status_code >= 500 and not row.server:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["x-request-id"] == line["request_id"]
        assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/upload", "/numbers"])
def test_a_client_that_leaves_during_an_upload_is_499_and_no_error(
    server: Served, path: str
) -> None:
    server.kept.records.clear()
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
        client.sendall(f"{head}content-length: 1000\r\n\r\n[1,".encode())
        time.sleep(0.05)
    [line] = server.lines(path)
    assert (line["status"], line["disconnected"]) == (499, True)
    assert server.kept.of("assembler.error") == server.kept.of("uvicorn.error") == []


def test_our_record_has_the_request_id(server: Served) -> None:
    server.kept.records.clear()
    answer = server.ask("/key")
    assert answer is not None
    server.wait_for_errors(own=1, server=0)
    [record] = server.kept.of("assembler.error")
    assert record.__dict__["request_id"] == answer.headers["x-request-id"]


def test_a_log_that_is_off_leaves_the_traceback_to_the_server(server: Served) -> None:
    server.kept.records.clear()
    logger = logging.getLogger("assembler.error")
    logger.setLevel(logging.CRITICAL)
    try:
        server.ask("/key")
        server.wait_for_errors(own=0, server=1)
    finally:
        logger.setLevel(logging.INFO)


@pytest.mark.parametrize("silent", [False, True])
def test_a_test_client_sees_the_exception_unless_the_manifest_wants_silence(
    tmp_path: Path, silent: bool
) -> None:
    app = build(tmp_path, "app: {raise_unhandled: false}\n" if silent else "")
    with TestClient(app) as client:
        if silent:
            assert client.get("/key").status_code == 500
        else:
            with pytest.raises(KeyError, match="secretword"):
                client.get("/key")


@pytest.mark.parametrize("server", ["gunicorn", "granian"])
def test_other_servers_write_no_second_traceback(server: str, tmp_path: Path) -> None:
    manifest = tmp_path / "app.yaml"
    manifest.write_text(MANIFEST.replace("APP\n", ""))
    port = free_port()
    commands = {
        "gunicorn": f"gunicorn assembler:app -b 127.0.0.1:{port} -k uvicorn_worker.UvicornWorker "
        "--no-control-socket",
        "granian": f"granian --interface asgi assembler:app --port {port}",
    }
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *commands[server].split()],
            cwd=Path(__file__).parents[2],
            env={**os.environ, "ASSEMBLY": str(manifest)},
            stdout=output,
            stderr=output,
        )
    try:
        wait_for_port(port, process)
        served = Served(f"http://127.0.0.1:{port}", port)
        statuses = [answer and answer.status_code for answer in map(served.ask, ("/key", "/abort"))]
        served.ask("/stream")
    finally:
        process.terminate()
        process.wait(60)
    assert statuses == [500, 500]
    text = log.read_text()
    assert [
        text.count(f"\n{word}") for word in ("KeyError: ", "tests.integration.raising.Abort")
    ] == [1, 1]
    assert text.count("\nRuntimeError: the stream broke") == 1
