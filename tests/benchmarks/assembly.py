"""What assembling costs beside the same application written by hand.

In: nothing. Out: for manifests of 10, 100 and 1000 entries the time to load, to build and to build
by hand; and the time from process start to the first 200 of the shipped dev manifest, under
uvicorn, beside `by_hand`, the same parts wired in Python. Both sides run alternately.

Run: `python -m tests.benchmarks.assembly`.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

import assembler
from tests.servers import free_port

ROUNDS = 7
STARTS = 15
ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    """Print both tables."""
    print(f"{'entries':>8} {'load ms':>9} {'build ms':>9} {'hand ms':>9} {'ms/entry':>9}")
    for entries in (10, 100, 1000):
        load, build, hand = _assembling(entries)
        print(f"{entries:>8} {load:>9.1f} {build:>9.1f} {hand:>9.1f} {load / entries:>9.3f}")
    ours, theirs = _starting()
    ratio = statistics.median(a / b for a, b in zip(ours, theirs, strict=True))
    print(f"\nprocess start to first 200, medians of {STARTS}: assembler ", end="")
    print(f"{statistics.median(ours):.0f} ms, by hand {statistics.median(theirs):.0f} ms", end="")
    print(f", ratio of pairs {ratio:.2f}")


def _assembling(entries: int) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.yaml"
        path.write_text(_manifest(entries))
        plan = assembler.load(path)
        load = _median(lambda: assembler.load(path))
        build = _median(lambda: assembler.build(plan))
        hand = _median(lambda: _by_hand(entries))
        return load, build, hand


def _manifest(entries: int) -> str:
    layers = (
        f"  - id: layer-{number}\n"
        "    use: starlette.middleware.gzip.GZipMiddleware\n"
        f"    with: {{minimum_size: {number}, compresslevel: 5}}\n"
        for number in range(entries)
    )
    return "manifest: 1\nmiddleware:\n" + "".join(layers)


def _by_hand(entries: int) -> None:
    app = FastAPI()
    for number in reversed(range(entries)):
        app.add_middleware(GZipMiddleware, minimum_size=number, compresslevel=5)
    app.middleware_stack = app.build_middleware_stack()


def _median(run: Callable[[], object]) -> float:
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)


def _starting() -> tuple[list[float], list[float]]:
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        for target in ("assembler:app", "tests.benchmarks.by_hand:app"):
            _first_answer(target, folder)  # writes the bytecode and the database
        for _ in range(STARTS):
            ours.append(_first_answer("assembler:app", folder))
            theirs.append(_first_answer("tests.benchmarks.by_hand:app", folder))
    return ours, theirs


def _first_answer(target: str, folder: str) -> float:
    port = free_port()
    environment = {
        **os.environ,
        "ASSEMBLY": str(ROOT / "manifests" / "dev.yaml"),
        "PYTHONPATH": str(ROOT),
        "ESTATE_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/estate.db",
    }
    began = time.perf_counter()
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), "--log-level", "error"]
    server = subprocess.Popen(
        command, cwd=folder, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    )
    try:
        _wait(f"http://127.0.0.1:{port}/api/v1/listings?limit=1", server)
        return (time.perf_counter() - began) * 1000
    finally:
        server.terminate()
        server.wait()


def _wait(url: str, server: "subprocess.Popen[bytes]") -> None:
    while server.poll() is None:
        try:
            with urllib.request.urlopen(url) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.002)
    raise SystemExit(f"the server ended with status {server.returncode}")


if __name__ == "__main__":
    main()
