"""A mebibyte of hostile YAML is judged in five seconds at most, whatever it holds.

Each text is one of a kind that took longest, or that took longer than that before: many names to
choose a suggestion from, places that depend on each other, faults without end.
"""

import time
from pathlib import Path

import pytest

from assembler.diagnostics.errors import ManifestError
from assembler.document.parser import MAX_BYTES
from assembler.plan.load import load

SECONDS = 5  # of the processor: other tests run beside this one


def numbered(head: str, line: str, count: int, tail: str = "") -> str:
    """Repeat a line with numbers in it, as far as a manifest may be long."""
    text = head + "".join(line.format(i=i, j=i + 1) for i in range(count)) + tail
    cut = text.encode()[: MAX_BYTES - 1].decode("utf-8", "ignore")
    return cut.rpartition("\n")[0] + "\n"


HOSTILE = {
    "unknown keys": numbered("manifest: 1\n", "midleware{i}: 1\n", 90_000),
    "places in a chain": numbered("manifest: 1\nmiddleware:\n", "  - {{id: m{i}, use: a.b, $after: m{j}}}\n", 20_000),
    "places beside nothing": numbered("manifest: 1\nmiddleware:\n", "  - {{id: name{i}, use: a.b, $before: nmae{i}}}\n", 20_000),
    "names that are nearly there": numbered("manifest: 1\nresources:\n", "  resource{i}: {{use: a.b, with: {{x: '${{resources.resourze{i}}}'}}}}\n", 12_000),
    "zones that are none": numbered("manifest: 1\nscheduler:\n  jobs:\n", "    - {{use: a.b{i}, every: 5s, timezone: a/b{i}}}\n", 17_000),
    "options of a server": numbered("manifest: 1\nserver:\n", "  workres{i}: 1\n", 70_000),
    "braces that are not closed": 'manifest: 1\napp: {title: "' + "${A:-{" * 150_000 + '"}\n',
    "references": 'manifest: 1\napp: {title: "' + "${A}" * 250_000 + '"}\n',
    "references that are none": 'manifest: 1\napp: {title: "' + "${A b}" * 160_000 + '"}\n',
    "aliases": "manifest: 1\na0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 60)),
    "brackets": "manifest: 1\nx: " + "[" * 1_000_000,
    "dashes": "manifest: 1\nx:\n  " + "- " * 500_000,
    "digits": "manifest: 1\nx: " + "9" * 1_000_000 + "\n",
    "manifests in a manifest": numbered("manifest: 1\nroutes:\n", "  - {{mount: /a{i}, manifest: {{manifest: 1}}}}\n", 24_000),
    "manifests in one another": "manifest: 1\n" + "routes: [{mount: /a, manifest: {manifest: 1, " * 30 + "app: {}" + "}}]" * 30,
    "a path": "manifest: 1\nroutes: [{use: " + "a." * 500_000 + "b}]\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_judged_in_time(name: str, tmp_path: Path) -> None:
    text = HOSTILE[name]
    assert len(text.encode()) <= MAX_BYTES
    file = tmp_path / "m.yaml"
    file.write_text(text, encoding="utf-8")
    start = time.process_time()
    try:
        load(file, static=True)
    except ManifestError as error:
        told = str(error)
    else:
        told = ""
    assert time.process_time() - start < SECONDS
    assert len(told) < 1_000_000


def numbered_files(folder: Path, count: int, mounts: int) -> Path:
    """Write manifests, each of which mounts the next one so many times; return the first."""
    for number in range(count):
        entries = "".join(
            f"  - {{mount: /m{at}, manifest: m{number + 1}.yaml}}\n" for at in range(mounts)
        )
        text = f"manifest: 1\nroutes:\n{entries}"
        (folder / f"m{number}.yaml").write_text(text, encoding="utf-8")
    (folder / f"m{count}.yaml").write_text("manifest: 1\n", encoding="utf-8")
    return folder / "m0.yaml"


@pytest.mark.parametrize(
    ("count", "mounts", "told"),
    [(12, 20, "is mounted twice"), (1000, 1, "more than 100 manifests are mounted")],
    ids=["that multiply", "in a row"],
)
def test_manifests_that_mount_others_are_judged_in_time(
    count: int, mounts: int, told: str, tmp_path: Path
) -> None:
    first = numbered_files(tmp_path, count, mounts)
    start = time.process_time()
    with pytest.raises(ManifestError, match=told):
        load(first, static=True)
    assert time.process_time() - start < SECONDS


def test_a_hundred_manifests_in_a_row_are_one_application(tmp_path: Path) -> None:
    plan = load(numbered_files(tmp_path, 100, 1), static=True)
    assert plan.name.endswith("m0.yaml")
