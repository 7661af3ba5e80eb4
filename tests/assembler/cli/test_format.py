"""`assembler format`: what it writes, what it leaves, and with which status."""

import stat
from pathlib import Path
from unittest import mock

import pytest

from tests.assembler.command import Outcome, run, write

MESSY = "app:  {title: 'x'} # a\nmanifest: 1\n"
NEAT = 'manifest: 1\napp: {title: "x"}  # a\n'


def test_a_manifest_is_written_in_place_and_then_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": MESSY, "n.yaml": NEAT})
    (tmp_path / "m.yaml").chmod(0o640)
    shown = run("format", "m.yaml", "n.yaml", folder=tmp_path)
    assert shown == Outcome(0, "m.yaml: formatted\n", "")
    assert (tmp_path / "m.yaml").read_bytes() == NEAT.encode()
    assert stat.S_IMODE((tmp_path / "m.yaml").stat().st_mode) == 0o640
    before = (tmp_path / "m.yaml").stat()
    assert run("format", "m.yaml", "n.yaml", folder=tmp_path) == Outcome(0, "", "")
    assert (tmp_path / "m.yaml").stat().st_mtime_ns == before.st_mtime_ns
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.yaml", "n.yaml"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    write(tmp_path, {"real/m.yaml": MESSY})
    (tmp_path / "m.yaml").symlink_to("real/m.yaml")
    assert run("format", "m.yaml", folder=tmp_path).status == 0
    assert (tmp_path / "m.yaml").is_symlink()
    assert (tmp_path / "real/m.yaml").read_text("utf-8") == NEAT


@pytest.mark.parametrize("option", ["--check", "--diff"])
def test_check_and_diff_write_nothing(tmp_path: Path, option: str) -> None:
    write(tmp_path, {"m.yaml": MESSY, "n.yaml": NEAT})
    shown = run("format", "m.yaml", "n.yaml", option, folder=tmp_path)
    assert (shown.status, shown.err) == (1, "")
    assert "m.yaml" in shown.out
    assert "n.yaml" not in shown.out
    assert (tmp_path / "m.yaml").read_text("utf-8") == MESSY
    assert run("format", "n.yaml", option, folder=tmp_path) == Outcome(0, "", "")


def test_the_difference_is_a_patch(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": MESSY})
    shown = run("format", "m.yaml", "--diff", "--check", folder=tmp_path)
    assert shown.out == (
        "--- m.yaml\n+++ m.yaml\n@@ -1,3 +1,3 @@\n"
        "-app:  {title: 'x'} # a\n manifest: 1\n+app: {title: \"x\"}  # a\n \n"
    )


def test_a_text_with_faults_is_left_and_the_others_are_not(tmp_path: Path) -> None:
    write(tmp_path, {"bad.yaml": "a: 1\na:   2\n", "m.yaml": MESSY})
    shown = run("format", "bad.yaml", "m.yaml", folder=tmp_path)
    assert shown.status == 1
    assert shown.out == "m.yaml: formatted\n"
    assert "error[duplicate-key]" in shown.err
    assert (tmp_path / "bad.yaml").read_text("utf-8") == "a: 1\na:   2\n"


def test_a_file_that_cannot_be_read_is_a_wrong_call(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": MESSY})
    shown = run("format", "gone.yaml", "m.yaml", folder=tmp_path)
    assert shown.status == 2
    assert shown.out == "m.yaml: formatted\n"
    assert "gone.yaml" in shown.err


def test_without_files_the_manifests_are_formatted_and_what_lies_beside_them(
    tmp_path: Path,
) -> None:
    write(tmp_path, {"manifests/a.yaml": MESSY, "manifests/a.expect.yaml": "expect:   []\n"})
    shown = run("format", "--check", folder=tmp_path)
    assert shown.out == (
        "manifests/a.expect.yaml: not in canonical form\nmanifests/a.yaml: not in canonical form\n"
    )
    assert run("check", folder=tmp_path).out == "manifests/a.yaml: ok\n"


def test_a_write_that_fails_leaves_the_file_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": MESSY})
    with mock.patch.object(Path, "replace", side_effect=OSError(28, "No space left on device")):
        shown = run("format", "m.yaml", folder=tmp_path)
    assert (shown.status, shown.err) == (2, "error: No space left on device\n")
    assert (tmp_path / "m.yaml").read_text("utf-8") == MESSY
    assert [path.name for path in tmp_path.iterdir()] == ["m.yaml"]


def test_what_would_deceive_a_terminal_is_shown_as_escapes(tmp_path: Path) -> None:
    write(tmp_path, {"m.yaml": "app:   {title: '\u2067gnp'}\n"})
    shown = run("format", "m.yaml", "--diff", folder=tmp_path)
    assert "\\u2067gnp" in shown.out
    assert "\u2067" not in shown.out
