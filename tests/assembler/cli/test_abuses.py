"""Calls that make no sense end in one clear message, and never in Python frames."""

import os
from pathlib import Path

import pytest

from tests.assembler.command import run, write


@pytest.fixture
def odd_files(tmp_path: Path) -> Path:
    many = "".join(f"  - {{id: m{index}, use: stamp.Stamp}}\n" for index in range(10_000))
    write(
        tmp_path,
        {
            "empty.yaml": "",
            "folder.yaml/inner": "",
            "huge.yaml": "# " + "x" * (1 << 20),
            "cycle.yaml": "manifest: 1\nextends: cycle.yaml\n",
            "many.yaml": f"manifest: 1\nmiddleware:\n{many}",
            "deep.yaml": "a: " + "[" * 5000,
            "base-is-folder.yaml": "manifest: 1\nextends: folder.yaml\n",
            "base-is-pipe.yaml": "manifest: 1\nextends: pipe.yaml\n",
            "stamp.py": "class Stamp:\n    def __init__(self, app): ...\n",
            "broken-project/pyproject.toml": "[tool.assembler\n",
            "broken-project/m.yaml": "manifest: 1\nconfigure: [{use: a.b}]\n",
        },
    )
    (tmp_path / "binary.yaml").write_bytes(bytes(range(256)) * 40)
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "dangling.yaml").symlink_to(tmp_path / "nowhere.yaml")
    return tmp_path


ABUSES = {
    "check empty.yaml": 1,
    "check folder.yaml": 2,
    "check pipe.yaml": 2,
    "check base-is-pipe.yaml": 1,
    "check huge.yaml": 1,
    "check binary.yaml": 1,
    "check cycle.yaml": 1,
    "check deep.yaml": 1,
    "check many.yaml --static": 0,
    "check loop.yaml": 2,
    "check dangling.yaml": 2,
    "check base-is-folder.yaml": 1,
    "check broken-project/m.yaml": 2,
    "check .": 2,
    "check /dev/null": 2,
    "check missing/missing.yaml": 2,
    f"check {'x' * 5000}": 2,
    "render folder.yaml": 2,
    "render many.yaml": 0,
    "render cycle.yaml": 1,
    "render many.yaml --explain middleware.m9999.use": 0,
    "render many.yaml --explain ..": 2,
    "routes empty.yaml": 1,
    "explain folder.yaml GET /": 2,
    "schema folder.yaml": 2,
    "schema empty.yaml": 1,
    "serve folder.yaml": 2,
    "serve missing.yaml --reload": 2,
    "init empty.yaml": 2,
    "init empty.yaml/inner": 2,
}


@pytest.mark.parametrize("line", ABUSES, ids=lambda line: line[:60])
def test_no_call_shows_python_frames(line: str, odd_files: Path) -> None:
    shown = run(*line.split(), folder=odd_files)
    assert shown.status == ABUSES[line], shown.err
    text = shown.out + shown.err
    assert "Traceback" not in text
    assert "assembler/" not in text
    assert shown.status == 0 or "error" in text


def test_a_file_that_may_not_be_read_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "manifest: 1\n"})
    (tmp_path / "m.yaml").chmod(0)
    if os.access(tmp_path / "m.yaml", os.R_OK):  # the superuser may read all
        read_only = Path("/proc/self/mem")  # and even so not this
        shown = run("check", str(read_only), folder=tmp_path)
    else:
        shown = run("check", "m.yaml", folder=tmp_path)
    assert shown.status == 2
    assert shown.err.startswith("error: cannot read")
