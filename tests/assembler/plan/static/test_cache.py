"""What the source told is told again while that source stands, and anew when anything of it changed."""

import json
import multiprocessing
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.static import SourceReader, cache
from assembler.plan.static.module import Source
from tests.assembler.command import in_folder, write

EVERYTHING = ImportList(None, None)
LAYER = """\
from typing import Annotated, Literal
from pydantic import Field
from shop.kinds import Mode
class Layer:
    layer_role = "limiter"
    def __init__(
        self, app, *, limit: Annotated[int, Field(ge=1, json_schema_extra={"looser": "higher"})],
        mode: Mode = "a", tags: list[str] | None = None, more: tuple[int, ...] = (),
    ) -> None: ...
"""
SHOP = {
    "shop/__init__.py": "",
    "shop/layers.py": LAYER,
    "shop/kinds.py": 'from typing import Literal\nMode = Literal["a", "b"]\n',
}


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "project"
    write(folder, SHOP)
    with in_folder(folder):
        yield folder


def asked(*, anew: bool = False) -> Any:
    """Ask each question of a reader of its own, as a process of its own would."""
    with cache.kept(anew=anew):
        reader = SourceReader(EVERYTHING)
        path = "shop.layers.Layer"
        target = reader.target(path, leading=1)
        hints = {name: repr(item.annotation) for name, item in target.signature.parameters.items()}
        return (
            hints,
            {name: item.required for name, item in target.signature.parameters.items()},
            target.form,
            reader.options(path),
            reader.lineage(path, "layer_role"),
            [source.name for source in reader.modules(path)],
            dict(reader.unknown),
        )


@pytest.fixture
def visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the modules whose text was parsed."""
    seen: list[str] = []
    parsed = Source.__dict__["tree"].func

    def tree(self: Source) -> Any:
        seen.append(self.name)
        return parsed(self)

    monkeypatch.setattr(Source, "tree", property(tree))
    return seen


def test_the_second_time_nothing_is_parsed_and_the_answer_is_the_same(
    shop: Path, visits: list[str]
) -> None:
    first = asked()
    assert "shop.kinds" in visits
    visits.clear()
    assert asked() == first
    assert visits == []
    assert asked(anew=True) == first
    assert visits


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("shop/layers.py", LAYER.replace("ge=1", "ge=2"), "limit"),
        ("shop/kinds.py", 'from typing import Literal\nMode = Literal["c"]\n', "mode"),
        ("typing.py", "", "mode"),  # hides the standard library's, as an import would find it
        ("shop/kinds/__init__.py", "Mode = int\n", "mode"),  # a package wins over the module
    ],
)
def test_what_changed_is_read_anew(shop: Path, file: str, text: str, changed: str) -> None:
    before = asked()
    write(shop, {file: text})
    after = asked()
    assert after == asked(anew=True)
    assert after[0][changed] != before[0][changed] or file == "typing.py"


def test_a_module_that_was_missing_is_found_when_it_comes(shop: Path) -> None:
    write(
        shop,
        {
            "shop/layers.py": "try:\n    from extra import f\nexcept ImportError:\n    def f(x: int): ...\n"
        },
    )

    def parameters() -> list[str]:
        with cache.kept():
            return list(SourceReader(EVERYTHING).target("shop.layers.f").signature.parameters)

    assert parameters() == ["x"]
    assert parameters() == ["x"]
    write(shop, {"extra.py": "def f(y: str): ...\n"})
    with cache.kept(anew=True):
        anew = list(SourceReader(EVERYTHING).target("shop.layers.f").signature.parameters)
    assert parameters() == anew != ["x"]


def test_a_fault_is_never_kept(shop: Path) -> None:
    for _ in range(2):
        with cache.kept(), pytest.raises(ImportFault, match="has no `Leyer`"):
            SourceReader(EVERYTHING).target("shop.layers.Leyer")


def test_another_import_list_is_another_question(shop: Path) -> None:
    asked()
    with cache.kept(), pytest.raises(ImportFault, match="outside"):
        SourceReader(ImportList(("other",), "pyproject.toml")).target(
            "shop.layers.Layer", leading=1
        )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"modules": 5}', '{"modules": [], "answers": {"a": [[[0], 1]]}}',
             "[" * 100_000, "\0"],
)  # fmt: skip
def test_a_file_that_nobody_of_us_wrote_is_passed_over(shop: Path, text: str) -> None:
    first = asked()
    (file,) = kept_files(shop)
    file.write_text(text)
    assert asked() == first
    assert json.loads(file.read_text())["answers"]


def test_answers_that_cannot_be_read_are_asked_anew(shop: Path) -> None:
    first = asked()
    (file,) = kept_files(shop)
    document = json.loads(file.read_text())
    for variants in document["answers"].values():
        variants[0][1] = ["Target", {"path": ["what", 1, 2, 3]}]
    file.write_text(json.dumps(document))
    assert asked() == first


def kept_files(shop: Path) -> list[Path]:
    return list((shop.parent / "cache/fastapi-assembler").glob("*"))


def test_the_folder_and_the_file_are_the_users_alone_and_bounded(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked()
    (file,) = kept_files(shop)
    assert file.stat().st_mode & 0o077 == 0
    assert file.parent.stat().st_mode & 0o077 == 0
    monkeypatch.setattr(cache, "_MOST_FILES", 2)
    for number in range(4):
        (file.parent / f"{number}.json").write_text("{}")
        os.utime(file.parent / f"{number}.json", (number, number))
    write(shop, {"shop/kinds.py": "Mode = int\n"})
    asked()
    assert sorted(kept_files(shop)) == sorted([file, file.parent / "3.json"])
    monkeypatch.setattr(cache, "_MOST_ANSWERS", 1)
    write(shop, {"shop/kinds.py": "Mode = str\n"})
    asked()
    assert len(json.loads(file.read_text())["answers"]) == 1


def test_a_folder_inside_the_current_one_is_not_used(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(shop / ".cache"))
    asked()
    assert not (shop / ".cache").exists()


def test_a_folder_that_cannot_be_written_is_no_fault(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = shop.parent / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert asked() == asked(anew=True)


def test_two_processes_at_once_harm_neither_each_other_nor_the_file(shop: Path) -> None:
    context = multiprocessing.get_context("spawn")
    sys.path.insert(0, str(Path(__file__).parents[4]))
    try:
        with context.Pool(2) as pool:
            answers = [pool.apply_async(asked) for _ in range(6)]
            found = [answer.get(100) for answer in answers]
    finally:
        sys.path.pop(0)
    told = [(*answer[:3], *answer[4:]) for answer in found]  # the third holds a mark of one process
    assert all(each == told[0] for each in told)
    (file,) = kept_files(shop)
    assert json.loads(file.read_text())["answers"]


def test_every_shipped_component_is_told_the_same_from_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = Path(__file__).parents[4]
    texts = [file.read_text() for file in (root / "manifests").glob("*.yaml")]
    paths = sorted(set(re.findall(r"use: (components[\w.:]+)", "".join(texts))))
    assert len(paths) > 20
    with in_folder(root):
        told: list[list[Any]] = []
        for anew in (False, False, True):
            with cache.kept(anew=anew):
                reader = SourceReader(EVERYTHING)
                told.append([(repr(reader.target(path)), reader.options(path)) for path in paths])
    assert told[0] == told[1] == told[2]
