"""One entry changed among 1000, compared with a commit: seconds and memory of the whole command.

    python tests/benchmarks/diff.py

Prints the time beside that of `check --static` over the same manifest, and the peak memory. Issue
7 promises under 1 s and under 150 MB.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ENTRIES = 1000
LAYER = (
    "  - {{id: layer-{0}, use: shop.Layer, with: {{size: {0}, label: some text of layer {0}}}}}\n"
)
SHOP = """
from typing import Annotated
from pydantic import Field
class Layer:
    def __init__(self, app, *, size: Annotated[int, Field(json_schema_extra={"looser": "higher"})], label: str): ...
"""


def large_manifest(entries: int = ENTRIES) -> str:
    """Return a manifest with that many layers."""
    return "manifest: 1\nmiddleware:\n" + "".join(LAYER.format(number) for number in range(entries))


def prepare(folder: Path) -> None:
    """Commit a large manifest, then change one entry of it."""
    (folder / "manifests").mkdir()
    file = folder / "manifests/prod.yaml"
    (folder / "shop.py").write_text(SHOP)
    file.write_text(large_manifest())
    git = ["git", "-c", "user.name=b", "-c", "user.email=b@example.com"]
    for arguments in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "all"]):
        subprocess.run([*git, *arguments], cwd=folder, check=True)
    file.write_text(large_manifest().replace("{size: 500,", "{size: 5000,"))


def timed(folder: Path, *arguments: str) -> tuple[float, int]:
    """Run the command; return the seconds that it took and its status."""
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-m", "assembler", *arguments]
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=False)
    return time.perf_counter() - start, done.returncode


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder)
        best = min(timed(folder, "diff")[0] for _ in range(5))
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        peer = min(timed(folder, "check", "--static", "manifests/prod.yaml")[0] for _ in range(3))
    print(f"diff, 1 of {ENTRIES} entries, git base: {best:.2f} s, {peak:.0f} MB")
    print(f"check --static of the same manifest: {peer:.2f} s; ratio {best / peer:.2f}")


if __name__ == "__main__":
    main()
