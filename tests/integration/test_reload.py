"""Reloads of real servers under keep-alive load, and what is refused."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from tests.assembler.command import write
from tests.integration.keep_alive import Traffic
from tests.servers import free_port, wait_for_port

pytestmark = pytest.mark.timeout(240)  # seconds for what takes twenty, where much else runs
MANIFEST = """\
manifest: 1
app: {title: TITLE, openapi: {path: null}}
resources:
  note: {use: parts.Note, with: {word: WORD}}
middleware: [{id: metrics, use: components.metrics.MetricsMiddleware}]
routes:
  - {use: components.health.router, prefix: /health}
  - {use: tests.integration.streaming.router}
  - {use: components.metrics.router, with: {public: true, others: false}}
  - {use: parts.router}
  - {mount: /part, manifest: part.yaml}
startup: [{id: step, use: parts.step}]
server: {port: PORT, workers: WORKERS, reload_timeout: 60s, runtime_dir: run, MORE}
"""
PART = """\
manifest: 1
resources: {inside: {use: parts.Note, with: {word: before}}}
routes: [{use: parts.inner}]
"""
PARTS = """\
import asyncio
import os
import time

from fastapi import APIRouter, Request

router = APIRouter()
inner = APIRouter()


class Note:
    def __init__(self, *, word: str, hangs: bool = False) -> None:
        self.word = word
        self.hangs = hangs

    async def __aenter__(self) -> "Note":
        print(f"opens {self.word}", flush=True)
        if self.hangs:
            await asyncio.sleep(600)
        return self

    async def __aexit__(self, *_: object) -> None:
        print(f"closes {self.word}", flush=True)


def step() -> None:
    print("step runs", flush=True)
    while os.path.exists("hold"):
        time.sleep(0.01)


def boom(*, after: int) -> None:
    with open("count", "a") as file:
        file.write("x")
    if os.path.getsize("count") > after:
        raise ValueError("boom")


def noted(job, *, place: str) -> None:
    with open(place, "a") as file:
        file.write(f"{os.getpid()} {int(job.fire_time.timestamp())}\\n")


async def slow(*, place: str) -> None:
    with open(place, "a") as file:
        file.write(f"begins {os.getpid()}\\n")
    await asyncio.sleep(1.5)
    with open(place, "a") as file:
        file.write(f"ends {os.getpid()}\\n")


@router.get("/word")
async def word(request: Request) -> str:
    return request.state.note.word


@inner.get("/inside")
async def inside(request: Request) -> list[str]:
    return [request.state.note.word, request.state.inside.word]


@router.get("/pid")
async def pid() -> int:
    return os.getpid()
"""


@dataclass(slots=True)
class Service:
    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8")

    def edit(self, old: str, new: str) -> None:
        text = (self.folder / "m.yaml").read_text("utf-8")
        assert old in text
        (self.folder / "m.yaml").write_text(text.replace(old, new), "utf-8")

    def reload(self, *more: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return command(self.folder, "reload", "m.yaml", *more, **environment)

    def words(self, count: int = 20) -> set[str]:
        return {json.loads(self.get("/word")) for _ in range(count)}

    def get(self, path: str) -> bytes:
        async def ask() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            head = f"GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n"
            writer.write(head.encode())
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            return answer.partition(b"\r\n\r\n")[2]

        return asyncio.run(ask())

    def reloads(self) -> dict[str, int]:
        """How many there were, by outcome, as a worker tells it."""
        found = re.findall(
            r'app_reloads_total\{outcome="(\w+)"\} (\d+)', self.get("/metrics").decode()
        )
        return {outcome: int(number) for outcome, number in found}

    def until(self, text: str, times: int = 1) -> None:
        end = time.monotonic() + 60
        while self.log.count(text) < times:
            assert time.monotonic() < end, f"{text!r} does not appear {times} times"
            time.sleep(0.02)


def environment(folder: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join([str(folder), str(Path(__file__).parents[2])])
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", **more}


def command(folder: Path, *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "assembler", *words],
        cwd=folder,
        env=environment(folder, **more),
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@contextmanager
def serving(
    folder: Path,
    workers: int = 1,
    more: str = "host: 127.0.0.1",
    *,
    is_awaited: bool = True,
    **variables: str,
) -> Iterator[Service]:
    port = free_port()
    words = {"PORT": str(port), "WORKERS": str(workers), "MORE": more}
    text = MANIFEST.replace("WORD", "first").replace("TITLE", "Words")
    for key, value in words.items():
        text = text.replace(key, value)
    (folder / "run").mkdir(mode=0o700, exist_ok=True)
    write(folder, {"m.yaml": text, "part.yaml": PART, "parts.py": PARTS})
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "assembler", "serve", "m.yaml"],
            cwd=folder,
            env=environment(folder, **variables),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    service = Service(folder, port, process)
    try:
        if is_awaited:
            service.until("Uvicorn running on")
            wait_for_port(port, process)
        yield service
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait(10)


@pytest.fixture(scope="module", params=[1, 2])
def service(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Service]:
    """One server for all tests that leave it as they found it."""
    with serving(tmp_path_factory.mktemp("reload"), request.param) as found:
        yield found


def test_a_valid_edit_goes_live_under_load_without_a_failed_request(service: Service) -> None:
    async def main() -> Traffic:
        async with Traffic(service.port) as traffic:
            for word in ("second", "first"):
                old = "first" if word == "second" else "second"
                service.edit(f"word: {old}", f"word: {word}")
                told = await asyncio.to_thread(service.reload)
                assert told.returncode == 0, told.stderr
                assert "with.word" in told.stdout
                assert await asyncio.to_thread(service.words) == {word}
        return traffic

    traffic = asyncio.run(main())
    assert traffic.failures == []
    assert traffic.answers > 100
    assert traffic.closes > 0
    # an old worker that said nothing would close each of its connections on a request
    assert traffic.repeats < traffic.connections


def test_an_edit_of_a_mounted_manifest_goes_live_and_what_is_wrong_in_it_does_not(
    service: Service,
) -> None:
    assert json.loads(service.get("/part/inside")) == ["first", "before"]
    file = service.folder / "part.yaml"
    file.write_text(PART.replace("before", "after"), "utf-8")
    assert json.loads(service.get("/part/inside")) == ["first", "before"]
    told = service.reload()
    assert told.returncode == 0, told.stderr
    assert "routes./part.manifest.resources.inside.with.word" in told.stdout
    assert json.loads(service.get("/part/inside")) == ["first", "after"]
    file.write_text(PART.replace("word: before", "wrod: before"), "utf-8")
    told = service.reload()
    assert (told.returncode, "part.yaml:2" in told.stderr) == (1, True)
    file.write_text(PART, "utf-8")
    assert service.reload().returncode == 0
    assert json.loads(service.get("/part/inside")) == ["first", "before"]


def test_a_broken_manifest_and_a_killed_worker_change_nothing(service: Service) -> None:
    text = (service.folder / "m.yaml").read_text()
    killed, steps = service.log.count("died"), service.log.count("step runs")
    (service.folder / "m.yaml").write_text("manifest: [")
    try:
        os.kill(int(service.get("/pid")), signal.SIGKILL)
        service.until("died", killed + 1)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                assert service.words(5) == {"first"}
                break
            except (OSError, ValueError):
                time.sleep(0.05)
        service.until("step runs", steps + 1)  # the replacement starts with what was live
        assert service.process.poll() is None
    finally:
        (service.folder / "m.yaml").write_text(text)


BAD = {
    "text": ("manifest: 1", "manifest: [", "error[yaml-syntax]"),
    "a key": ("resources:", "resuorces:", "error[unknown-key]"),
    "an import": ("use: parts.step", "use: parts.setp", "error[attribute-not-found]"),
    "an option": ("word: first", "wrod: first", "error[unknown-option]"),
    "a variable": ("word: first", "word: '${NOT_SET_ANYWHERE}'", "error[missing-variable]"),
    "a step": ("use: parts.step", "use: parts.boom, with: {after: 0}", "ValueError: boom"),
    "the address": ("127.0.0.1", "127.0.0.2", "`server.host` goes from"),
    "the workers": ("workers: ", "workers: 1", "`server.workers` goes from"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_cannot_go_live_is_refused_and_told(kind: str, service: Service) -> None:
    old, new, message = BAD[kind]
    steps = service.log.count("step runs")
    service.edit(old, new)
    try:
        told = service.reload()
        assert (told.returncode, message in told.stderr) == (1, True), told.stderr
        assert "Traceback" not in told.stderr
        assert service.words(6) == {"first"}
    finally:
        service.edit(new, old)
    assert service.log.count("step runs") == steps


def test_a_gate_refuses_what_review_would(service: Service) -> None:
    service.edit("/health}", "/health, with: {token: aaaaaaaaaaaaaaaa}}")
    try:
        told = service.reload("--fail-on", "cosmetic")
        assert told.returncode == 1
        assert "not reloaded: `--fail-on cosmetic`" in told.stderr
        assert "reloaded" not in told.stdout
    finally:
        service.edit("/health, with: {token: aaaaaaaaaaaaaaaa}}", "/health}")


def test_nobody_there_is_status_2(service: Service, tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    told = command(tmp_path, "reload", "m.yaml", XDG_RUNTIME_DIR=str(tmp_path))
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("error: nobody serves `m.yaml`")
    assert told.stderr.endswith("; `assembler serve m.yaml` does\n")
    told = command(tmp_path, "reload", "--socket", "no.sock")
    assert (told.returncode, "nobody serves behind `no.sock`" in told.stderr) == (2, True)
    told = command(service.folder, "reload", "m.yaml", "--pid", "1")
    assert told.returncode == 2


def test_only_its_user_can_reach_the_socket(service: Service) -> None:
    [path] = (service.folder / "run").glob("*.sock")
    assert path.stat().st_mode & 0o777 == 0o600


NO_REQUESTS = [
    *(b"", b"[]", b"null", b"3", b"words", b"\xff\xfe", b"[" * 100_000, b'{"op": ["status"]}'),
    *(b'{"op": "environment"}', b'{"op": "environment", "names": 3, "key": "k"}'),
    *(b'{"op": "environment", "names": [3], "key": "k"}', b'{"op": "snapshot", "digest": {}}'),
    *(b'{"op": "reload", "to": []}', b'{"op": "reload", "expected": 5}'),
]


def test_what_is_no_request_is_told_so_and_harms_nobody(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    [path] = (service.folder / "run").glob("*.sock")
    monkeypatch.chdir(path.parent)  # an address has no more than some 100 characters
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(30)
        asking.connect(path.name)
        with asking.makefile("rb") as answers:
            for said in NO_REQUESTS:
                asking.sendall(said + b"\n")
                assert json.loads(answers.readline()) == {"error": "that is not understood"}, said
            asking.sendall(b'{"op": "status"}\n')
            assert json.loads(answers.readline())["pid"] == service.process.pid
    assert "Unhandled exception" not in service.log


def test_what_was_live_before_comes_back_by_its_digest(service: Service) -> None:
    service.edit("word: first", "word: third")
    told = service.reload()
    assert told.returncode == 0, told.stderr
    before = told.stdout.rpartition("live, ")[2].split()[0]
    assert service.words(6) == {"third"}
    assert service.reloads()["ok"] >= 1
    service.edit("word: third", "word: first")
    assert service.words(6) == {"third"}
    told = service.reload("--to", before)
    assert told.returncode == 0, told.stderr
    assert service.words(6) == {"first"}
    assert service.reload("--to", "feedfeed").returncode == 2


def test_several_signals_are_one_more_reload_to_the_last_manifest(service: Service) -> None:
    lives, opened = service.log.count("is live"), service.log.count("opens fourth")
    hold = service.folder / "hold"
    hold.touch()  # the first of them is under way as long as this is there
    try:
        service.edit("word: first", "word: fourth")
        service.process.send_signal(signal.SIGHUP)
        service.until("opens fourth", opened + 1)
        service.edit("word: fourth", "word: first")
        for _ in range(5):
            service.process.send_signal(signal.SIGHUP)
            time.sleep(0.02)
    finally:
        hold.unlink()
    service.until("is live", lives + 2)
    assert service.words(6) == {"first"}
    time.sleep(1)
    assert service.log.count("is live") == lives + 2


def test_a_worker_that_fails_late_takes_those_before_it_back(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        (tmp_path / "count").write_text("")
        service.edit("use: parts.step", "use: parts.boom, with: {after: 1}")
        service.edit("word: first", "word: second")
        told = service.reload()
        assert told.returncode == 1
        assert "ValueError: boom" in told.stderr
        assert "1 replaced worker went back; startup SQL that was applied stays" in told.stderr
        assert service.words(30) == {"first"}
        assert "reload refused" in service.log


def test_a_worker_that_hangs_is_given_up_and_nothing_changes(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        service.edit("reload_timeout: 60s", "reload_timeout: 3s")
        service.edit("word: first}", "word: second, hangs: true}")
        told = service.reload()
        assert told.returncode == 1
        late = r"did not serve within 3 s \(`server.reload_timeout`\): it was at (.+)"
        [place] = re.findall(late, told.stderr)
        assert place in {"resource `note`", "its imports and constructors"}  # if it is as busy
        assert service.words(6) == {"first"}
        assert service.log.count("step runs") == 1
        # a manifest that names another folder is refused by the server, where that can be found
        service.edit("runtime_dir: run", "runtime_dir: other")
        (tmp_path / "assembler").symlink_to("run")
        told = service.reload(XDG_RUNTIME_DIR=str(tmp_path))
        assert told.returncode == 1
        assert "`server.runtime_dir` goes from `run` to `other`" in told.stderr


def test_what_is_asked_during_the_start_goes_live_after_it(tmp_path: Path) -> None:
    more = "host: 127.0.0.1, timeout_worker_healthcheck: 600"
    (tmp_path / "hold").touch()
    with serving(tmp_path, 1, more, is_awaited=False) as service:
        wait_until(lambda: any((tmp_path / "run").glob("*.sock")))
        service.edit("word: first", "word: second")
        service.edit("healthcheck: 600", "healthcheck: 1")
        asking = subprocess.Popen(
            [sys.executable, "-m", "assembler", "reload", "m.yaml"],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            text=True,
        )
        with asking:
            assert asking.stdout is not None
            assert "m.yaml as it runs" in asking.stdout.readline()  # it has found the server
            (tmp_path / "hold").unlink()
            assert "is live" in asking.communicate(timeout=60)[0]
        wait_until(lambda: service.words(6) == {"second"})
        os.kill(int(service.get("/pid")), signal.SIGSTOP)  # the parent goes by the new bound
        service.until("hangs, and is killed")


@pytest.mark.parametrize("workers", [1, 2])
def test_streams_end_whole_and_websockets_with_1012(workers: int, tmp_path: Path) -> None:
    """An event stream has its last chunk, and a download that is not over is not ended as if.

    With two workers eight connections are open, so that each worker has some.
    """
    more = "drain: 1s, timeout_keep_alive: 1"
    with serving(tmp_path, workers, more) as service:

        async def streamed(opened: asyncio.Barrier) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
            writer.write(b"GET /events HTTP/1.1\r\nhost: here\r\n\r\n")
            await reader.readuntil(b"data: on")
            await opened.wait()
            rest = await reader.read()
            writer.close()
            return rest

        async def talked(opened: asyncio.Barrier) -> int | None:
            async with connect(f"ws://127.0.0.1:{service.port}/echo") as websocket:
                await websocket.send("word")
                assert await websocket.recv() == "word"
                await opened.wait()
                await websocket.wait_closed()
            return websocket.close_code

        async def main() -> tuple[list[bytes], list[int | None]]:
            count = 1 if workers == 1 else 4
            opened = asyncio.Barrier(2 * count + 1)
            async with asyncio.timeout(60):
                streams = [asyncio.create_task(streamed(opened)) for _ in range(count)]
                sockets = [asyncio.create_task(talked(opened)) for _ in range(count)]
                await opened.wait()
                told = await asyncio.to_thread(service.reload)
                assert told.returncode == 0, told.stderr
                return await asyncio.gather(*streams), await asyncio.gather(*sockets)

        rests, codes = asyncio.run(main())
        assert {rest[-7:] for rest in rests} == {b"\r\n0\r\n\r\n"}
        assert set(codes) == {1012}
        service.until("stopped m.yaml", workers)
        assert "Traceback" not in service.log


JOBS = """
scheduler:
  jobs:
    - {id: tick, use: parts.noted, with: {place: PLACE}, every: 1s, grace: 30s}
    - {id: slow, use: parts.slow, with: {place: PLACE.slow}, every: 1s, grace: 30s}
"""


def test_no_tick_is_lost_or_doubled_across_reloads_without_a_store(tmp_path: Path) -> None:
    """The job notes the process; intervals fire at whole seconds, in every process the same ones."""
    place = tmp_path / "ticks"
    with serving(tmp_path) as service:
        text = (tmp_path / "m.yaml").read_text() + JOBS.replace("PLACE", str(place))
        (tmp_path / "m.yaml").write_text(text)
        assert service.reload().returncode == 0
        wait_until(place.exists)
        for number in range(3):
            told = service.reload()
            assert told.returncode == 0, told.stderr
            wait_until(lambda number=number: len({pid for pid, _ in ran(place)}) == number + 2)  # type: ignore[misc]  # a default
        assert_each_tick_ran_once(place)
        slow = Path(f"{place}.slow")
        wait_until(lambda: slow.read_text().count("begins") >= 3)
        assert "another worker runs the jobs" not in service.log
    runs = [line.split() for line in slow.read_text().splitlines()]
    begun, ended = runs[::2], runs[1::2]
    assert {word for word, _ in begun} == {"begins"}, runs
    # None begins while one of another worker goes on; the last may be cut off by the stop.
    assert [pid for _, pid in begun][: len(ended)] == [pid for _, pid in ended]


SHARED = """
scheduler:
  store: ${resources.claims}
  jobs:
    - {id: tick, use: parts.noted, with: {place: PLACE}, every: 1s, grace: 30s}
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_each_tick_runs_once_across_reloads_of_two_workers(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    place = tmp_path / "ticks"
    url = f"sqlite+aiosqlite:///{tmp_path}/claims.db"
    if kind == "postgres":
        url = request.getfixturevalue("postgres")
    with serving(tmp_path, 2, CLAIMS=url) as service:
        claims = 'claims: {use: components.database.engine, with: {url: "${CLAIMS}"}}'
        service.edit("resources:\n", f"resources:\n  {claims}\n")
        text = (tmp_path / "m.yaml").read_text() + SHARED.replace("PLACE", str(place))
        (tmp_path / "m.yaml").write_text(text)
        told = service.reload()
        assert told.returncode == 0, told.stderr
        wait_until(place.exists)
        for _ in range(2):
            told = service.reload()
            assert told.returncode == 0, told.stderr
        assert_each_tick_ran_once(place)

        def are_both_told_of() -> (
            bool
        ):  # and no more of those before them, which may be ending still
            told = command(tmp_path, "drift", "m.yaml", CLAIMS=url)
            assert told.returncode == 0, told.stdout + told.stderr
            return len(told.stdout.splitlines()[0].split(", ")) == 3  # both, and that it is so

        wait_until(are_both_told_of)
        assert "lost" not in service.log


def test_systemd_hears_of_a_reload(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.settimeout(60)
        notify.bind(str(tmp_path / "notify"))
        with serving(tmp_path, NOTIFY_SOCKET=str(tmp_path / "notify")) as service:
            assert notify.recv(4096).startswith(b"READY=1\nSTATUS=serves ")
            service.process.send_signal(signal.SIGHUP)
            reloading = notify.recv(4096).decode().splitlines()
            assert reloading[0] == "RELOADING=1"
            assert reloading[1].startswith("MONOTONIC_USEC=")
            since = int(reloading[1].partition("=")[2]) / 1e6
            assert 0 <= time.monotonic() - since < 30
            assert notify.recv(4096).startswith(b"READY=1\nSTATUS=serves ")
        assert notify.recv(4096) == b"STOPPING=1"


IN_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "assembler", "serve", "m.yaml"])
"""


def test_a_terminal_that_is_closed_ends_what_runs_in_it(tmp_path: Path) -> None:
    """It sends the signal that otherwise means a reload."""
    port = free_port()
    text = "manifest: 1\nserver: {port: PORT, runtime_dir: run}\n".replace("PORT", str(port))
    write(tmp_path, {"m.yaml": text})
    master, slave = os.openpty()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", IN_TERMINAL],
            cwd=tmp_path,
            env=environment(tmp_path),
            stdin=slave,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    os.close(slave)
    try:
        Service(tmp_path, port, process).until("Uvicorn running on")
        os.close(master)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)
    log_text = (tmp_path / "log").read_text()
    assert "Application shutdown complete" in log_text
    assert "reload" not in log_text


def test_an_order_to_stop_ends_a_reload_that_hangs(tmp_path: Path) -> None:
    with serving(tmp_path, 2) as service:
        service.edit("word: first}", "word: second, hangs: true}")
        service.process.send_signal(signal.SIGHUP)
        service.until("opens second")
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert service.log.count("closes first") == 2
        assert "Traceback" not in service.log


def test_an_environment_that_differs_is_named_and_refused(tmp_path: Path) -> None:
    with serving(tmp_path, WORD_HERE="told") as service:
        service.edit("word: first", "word: '${WORD_HERE}'")
        told = service.reload(WORD_HERE="another")
        assert told.returncode == 1
        assert "the server runs with another `WORD_HERE` than is set here" in told.stderr
        assert "another" not in told.stderr.replace("another `WORD_HERE`", "")
        assert service.words(6) == {"first"}
        assert service.reload().returncode == 0
        assert service.words(6) == {"told"}


def test_answers_are_not_delayed_by_the_hand_over_of_the_socket(service: Service) -> None:
    """A socket without its protocol has no TCP_NODELAY: asyncio asks for it by that."""

    async def main() -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        times = []
        for _ in range(200):
            began = time.perf_counter()
            writer.write(b"GET /pid HTTP/1.1\r\nhost: here\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await reader.read(100)
            times.append(time.perf_counter() - began)
        writer.close()
        return sorted(times)[
            20
        ]  # where much else runs most take longer; the first are never delayed

    assert asyncio.run(main()) < 0.035  # a delayed acknowledgement takes 40 ms


def ran(place: Path) -> list[tuple[str, int]]:
    """The process and the tick of each run, as `parts.noted` wrote them."""
    words = [line.split() for line in place.read_text().splitlines()]
    return [(pid, int(tick)) for pid, tick in words]


def assert_each_tick_ran_once(place: Path) -> None:
    """None twice, and none lost up to now, which is waited for."""
    now = time.time()
    wait_until(lambda: max(tick for _, tick in ran(place)) > now)
    ticks = [tick for _, tick in ran(place)]
    assert len(set(ticks)) == len(ticks)
    # a process that gets no processor for a second gives one tick up for the next
    assert len(set(range(min(ticks), max(ticks))) - set(ticks)) <= 1


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
