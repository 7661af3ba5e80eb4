"""Metrics over several workers of real servers: sums, dead workers, restarts, runs."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from components.metrics.run_directory import run_folder
from components.metrics.store import Values
from tests.components.numbers import ask, read, read_until, started, until, workers
from tests.servers import free_port

APP = "tests.components.metrics.metrics_app:app"
COUNTED = "http_requests_total/count"
UVICORN = ["-m", "uvicorn", APP, "--port", "PORT", "--workers", "3", "--log-level", "critical"]
GUNICORN = [
    *("-m", "gunicorn", APP, "-b", "127.0.0.1:PORT", "--workers", "3"),
    *("-k", "uvicorn_worker.UvicornWorker", "--log-level", "critical"),
]
GRANIAN = [
    *("-m", "granian", APP, "--interface", "asgi", "--host", "127.0.0.1", "--port", "PORT"),
    *("--workers", "3", "--log-level", "critical"),
]


@pytest.mark.parametrize(
    "command",
    [UVICORN, GUNICORN, [*GUNICORN, "--preload"], GRANIAN],
    ids=["uvicorn", "gunicorn", "gunicorn-preload", "granian"],
)
def test_every_worker_tells_the_sum_of_all(command: list[str], tmp_path: Path) -> None:
    with started(command, free_port(), tmp_path) as url:
        workers(url, 3)
        ask(f"{url}/count", 30)
        read_until(url, COUNTED, 30)
        told = [read(url)[COUNTED] for _ in range(10)]
    assert told == [30] * 10


def test_what_a_dead_worker_counted_stays_and_what_it_had_in_flight_goes(tmp_path: Path) -> None:
    with started(UVICORN, free_port(), tmp_path) as url:
        old = workers(url, 3)
        ask(f"{url}/count", 30)
        read_until(url, COUNTED, 30)
        held = [threading.Thread(target=_hold, args=(url,)) for _ in range(6)]
        for thread in held:
            thread.start()
        until(lambda: read(url)["http_requests_in_flight"] == 6)
        for process in old:
            os.kill(process, signal.SIGKILL)
        for thread in held:
            thread.join(20)
        # the parent starts new ones; a connection may still reach the socket of none
        until(lambda: _new_workers(url) >= 3)
        samples = read(url)
        assert samples["http_requests_in_flight"] == 0
        assert samples[COUNTED] == 30
        ask(f"{url}/count", 10)
        read_until(url, COUNTED, 40)
        (folder,) = tmp_path.glob("metrics-*/run-*/*")
        # the files of the dead became one
        names = {path.stem for path in folder.glob("*.db")}
        assert "past" in names
        assert not names & {str(process) for process in old}


def _hold(url: str) -> None:
    with suppress(httpx2.TransportError):
        httpx2.get(f"{url}/hold", timeout=60)


def _new_workers(url: str) -> int:
    try:
        return len(workers(url, 3))
    except httpx2.TransportError:
        return 0


def test_a_run_counts_nothing_of_the_one_before(tmp_path: Path) -> None:
    shared = tmp_path / "named"
    command = ["2" if word == "3" else word for word in UVICORN]
    cases: list[dict[str, str]] = [{}, {"PROMETHEUS_MULTIPROC_DIR": str(shared)}]
    for variables in cases:
        for _ in range(2):
            with started(command, free_port(), tmp_path, variables=variables) as url:
                ask(f"{url}/count", 5)
                read_until(url, COUNTED, 5)
    assert len(list(tmp_path.glob("metrics-*/run-*"))) == 1
    assert len(list(shared.glob("run-*"))) == 1


def test_a_folder_that_others_can_write_to_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("SERVER_SOFTWARE", "gunicorn/99")
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    base = tmp_path / f"metrics-{os.getuid()}"
    base.mkdir()
    base.chmod(0o777)
    with pytest.raises(PermissionError):
        run_folder(None)
    base.rmdir()
    base.symlink_to(tmp_path)
    with pytest.raises(PermissionError):
        run_folder(None)
    base.unlink()
    folder = run_folder(None)
    assert folder is not None
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_files_that_are_no_workers_are_passed_over(tmp_path: Path) -> None:
    values = Values(tmp_path)
    values.cell(("request", "a")).add(2)
    values.cell(("live", "a")).add(1)
    (file,) = tmp_path.glob("run-*/*/*.db")
    (file.parent / "1.db").touch()  # a worker that has just begun
    assert values.sums() == {("request", "a"): 2, ("live", "a"): 1}
    dead = file.parent / "999999999.db"
    dead.write_bytes(file.read_bytes())
    assert values.sums() == {("request", "a"): 4, ("live", "a"): 1}


def test_a_worker_with_the_number_of_a_dead_one_counts_on(tmp_path: Path) -> None:
    first = Values(tmp_path)
    first.cell(("request", "a")).add(2)
    first.cell(("live", "a")).add(1)
    second = Values(tmp_path)
    second._number = first._number
    second.cell(("request", "a")).add(1)
    second.cell(("live", "a"))
    assert second.sums() == {("request", "a"): 3, ("live", "a"): 0}
