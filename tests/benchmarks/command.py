"""The command at the prompt: milliseconds of processor time, beside `python -c pass` in the same run.

    python -m tests.benchmarks.command

Processor time of whole processes, the best of several, since a machine that does other things as well
stretches the clock on the wall. Issue 21 promises on an idle core: version and completion 100 ms,
the help 1.5 times the import of typer, `format --check` 200 ms, `check --static` of `dev.yaml`
250 ms warm and 600 ms cold, `diff` 300 ms warm.
"""

import compileall
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROUNDS = 5
ASSEMBLER = [sys.executable, "-m", "assembler"]
MANIFEST = "manifests/dev.yaml"
ROWS: dict[str, tuple[list[str], str]] = {
    "python -c pass": ([sys.executable, "-c", "pass"], ""),
    "ruff --version": (["ruff", "--version"], ""),
    "import typer": ([sys.executable, "-c", "import typer"], ""),
    "--version": ([*ASSEMBLER, "--version"], "100 ms"),
    "completion of the shell": ([*ASSEMBLER, "check", "--fo"], "100 ms"),
    "--help": ([*ASSEMBLER, "--help"], "1.5 x import typer"),
    "format --check": ([*ASSEMBLER, "format", "--check", MANIFEST], "200 ms"),
    "check --static, cold": ([*ASSEMBLER, "check", "--static", "--no-cache", MANIFEST], "600 ms"),
    "check --static, warm": ([*ASSEMBLER, "check", "--static", MANIFEST], "250 ms"),
    "diff, warm": ([*ASSEMBLER, "diff", MANIFEST, "manifests/test.yaml"], "300 ms"),
    "components, warm": ([*ASSEMBLER, "components", "cors"], ""),
}


def processor_milliseconds(command: list[str], environment: dict[str, str]) -> float:
    """Run a command; return what it and its children used of the processor."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return used * 1000


def main() -> None:
    """Measure and print."""
    compileall.compile_dir(ROOT / "assembler", quiet=1)  # as pip leaves it
    with tempfile.TemporaryDirectory() as folder:
        common = {**os.environ, "XDG_CACHE_HOME": folder, "PYTHONPATH": str(ROOT)}
        best = dict.fromkeys(ROWS, float("inf"))
        for _ in range(ROUNDS):  # the rows in turn: what else runs falls on all of them
            for name, (command, _) in ROWS.items():
                asked = {"ASSEMBLER_COMPLETE": "bash"} if name.startswith("completion") else {}
                best[name] = min(best[name], processor_milliseconds(command, common | asked))
    for name, (_, aim) in ROWS.items():
        ratio = best[name] / best["python -c pass"]
        print(f"{name:24} {best[name]:5.0f} ms  {ratio:5.1f} x python -c pass  {aim}")
    print(f"--help / import typer: {best['--help'] / best['import typer']:.2f}")


if __name__ == "__main__":
    main()
