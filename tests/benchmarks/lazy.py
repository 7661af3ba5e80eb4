"""What lazy mounts save a start, and what the first request pays.

In: nothing. Out: for the shipped `base.yaml`, with its MCP mounts lazy and eager in turn, each in a
fresh process: the time from the import of `assembler` to the end of the startup; then of the lazy one
the first 401, what the mount cost, and how long anything kept the event loop meanwhile, with one
request waiting for the mount and with 200, whose answers then follow each other.

Run: `python -m tests.benchmarks.lazy`.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.components.mcp.issuer import SECRET, token

ROUNDS = 7
ROOT = Path(__file__).resolve().parents[2]
OVERLAY = """\
manifest: 1
extends: {base}
routes:
  - {{id: /mcp, lazy: {lazy}}}
  - {{id: /mcp-admin, lazy: {lazy}}}
"""


def main() -> None:
    """Print one table of starts, and one of first requests."""
    with tempfile.TemporaryDirectory() as folder:
        lazy, eager = (_written(Path(folder), is_lazy=is_lazy) for is_lazy in (True, False))
        for manifest in (lazy, eager):
            _story(manifest, 1)  # writes the bytecode and the database
        rounds = [
            [_story(path, count) for path, count in ((lazy, 1), (lazy, 200), (eager, 1))]
            for _ in range(ROUNDS)
        ]
    one, many, at_once = (list(stories) for stories in zip(*rounds, strict=True))
    saved = [b["start_ms"] - a["start_ms"] for a, b in zip(one, at_once, strict=True)]
    ratio = statistics.median(
        b["start_ms"] / a["start_ms"] for a, b in zip(one, at_once, strict=True)
    )
    print(f"start, medians of {ROUNDS}: lazy {_median(one, 'start_ms'):.0f} ms, ", end="")
    print(f"eager {_median(at_once, 'start_ms'):.0f} ms, ratio of pairs {ratio:.2f}, ", end="")
    print(f"saved {statistics.median(saved):.0f} ms\n")
    print(f"{'waiting':>8} {'401 ms':>8} {'mount ms':>9} {'lag ms':>8} {'worst lag':>10}")
    for count, stories in ((1, one), (200, many)):
        cost = statistics.median(story["lazy"][0]["milliseconds"] for story in stories)
        worst = max(story["lag_ms"] for story in stories)
        print(f"{count:>8} {_median(stories, 'cold_ms'):>8.1f} {cost:>9.0f}", end="")
        print(f" {_median(stories, 'lag_ms'):>8.1f} {worst:>10.1f}")


def _written(folder: Path, *, is_lazy: bool) -> Path:
    text = json.dumps(is_lazy)
    path = folder / f"lazy-{text}.yaml"
    path.write_text(OVERLAY.format(base=json.dumps(str(ROOT / "manifests/base.yaml")), lazy=text))
    return path


def _story(manifest: Path, requests: int) -> dict[str, Any]:
    environment = {
        **os.environ,
        "PUBLIC_BASE_URL": "https://a.example",
        "SUPABASE_URL": "https://project.example",
        "SUPABASE_JWT_SECRET": SECRET,
        "ESTATE_DATABASE_URL": f"sqlite+aiosqlite:///{manifest.parent}/estate.db",
    }
    command = [sys.executable, "-m", "tests.integration.cold_start", str(manifest)]
    done = subprocess.run(
        [*command, token(scope=None), str(requests)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    facts: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return facts


def _median(stories: list[dict[str, Any]], name: str) -> float:
    return float(statistics.median(story[name] for story in stories))


if __name__ == "__main__":
    main()
