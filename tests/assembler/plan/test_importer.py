"""Import paths: what they name, why they name nothing, and what they may not reach."""

import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.errors import UsageError
from assembler.diagnostics.exceptions import failure_of, frame_of
from assembler.plan.allow_list import ImportFault, ImportList, read_import_list
from assembler.plan.importer import import_object
from tests.assembler.project import project

FREE = ImportList(None, None)


def fault_of(path: str, imports: ImportList = FREE) -> ImportFault:
    with pytest.raises(ImportFault) as caught:
        import_object(path, imports)
    return caught.value


def test_both_ways_of_writing_a_path_name_the_same_object() -> None:
    imports = ImportList(("starlette",), "pyproject.toml")
    one = import_object("starlette.middleware.gzip.GZipMiddleware", imports)
    assert import_object("starlette.middleware.gzip:GZipMiddleware", imports) is one


def test_a_module_is_imported_once(tmp_path: Path) -> None:
    source = "import sys\nsys.imported_times = getattr(sys, 'imported_times', 0) + 1\nX = 1\n"
    with project(tmp_path, {"once.py": source}):
        assert [import_object("once.X", FREE) for _ in range(3)] == [1, 1, 1]
    assert vars(sys).pop("imported_times") == 1


def test_what_is_printed_at_import_goes_to_standard_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with project(tmp_path, {"loud.py": "print('hello')\nX = 1\n"}):
        import_object("loud.X", FREE)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "hello\n")


def test_the_current_folder_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with project(tmp_path, {"here_only.py": "X = 1\n"}):
        monkeypatch.setattr(sys, "path", sys.path[1:])
        assert import_object("here_only.X", FREE) == 1
        assert sys.path.count(str(tmp_path)) == 1


def test_a_failure_inside_a_module_is_not_a_missing_module(tmp_path: Path) -> None:
    files = {"own.py": "import json\n\ndef load():\n    import no_such_module_here\n\nload()\n"}
    with project(tmp_path, files):
        fault = fault_of("own.X")
        assert fault.code == "import-failed"
        assert fault.trace == ("own.py:4: import no_such_module_here",)
        assert fault_of("own.X").code == "import-failed"  # a second try does not find half of it


def test_a_module_is_missing_where_the_path_ends_too_early(tmp_path: Path) -> None:
    with project(tmp_path, {"shop/api.py": "X = 1\n"}):
        assert fault_of("shop.apo.X").code == "module-not-found"
        assert fault_of("shop.api.Y").code == "attribute-not-found"
        assert fault_of("shop.api.X.real.nothing").code == "attribute-not-found"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("own.os.system", "import os"),
        ("own.system", "from os import system"),
        ("own.call", "import functools, os\ncall = functools.partial(os.system, 'true')"),
        ("own:os.system", "import os"),
        ("own.Path.cwd", "from pathlib import Path"),
        ("own.cached", "import functools, os\ncached = functools.lru_cache(os.system)"),
        ("own.thread.start", "import threading\nthread = threading.Thread()"),
        ("own.logging.os.system", "import logging"),
    ],
)
def test_the_real_definer_is_judged(path: str, source: str, tmp_path: Path) -> None:
    for imports in (FREE, ImportList(("own",), "pyproject.toml")):
        with project(tmp_path, {"own.py": source}):
            assert fault_of(path, imports).code == "import-not-allowed"


def test_what_the_list_names_is_allowed_whole() -> None:
    imports = ImportList(("os", "collections.abc"), "pyproject.toml")
    assert import_object("os.getcwd", imports)
    assert imports.allows("os.path")
    assert not imports.allows("ossify")
    assert not imports.allows("collections")


@given(st.lists(st.sampled_from(["a", "b", "ab", "a.b"]), max_size=3), st.sampled_from("ab"))
def test_a_package_allows_itself_and_what_lies_inside(packages: list[str], name: str) -> None:
    imports = ImportList(tuple(packages), "x")
    assert imports.allows(name) == (name in packages)
    assert imports.allows(f"{name}.b") == (name in packages or f"{name}.b" in packages)


@pytest.mark.parametrize(
    ("text", "packages"),
    [
        ('[tool.assembler]\nimports = ["a", "b.c"]\n', ("a", "b.c")),
        ("[tool.assembler]\nimports = []\n", ()),
        ("[tool.assembler]\n", None),
        ("[project]\nname = 'x'\n", None),
        ("", None),
    ],
)
def test_the_list_stands_in_the_nearest_pyproject(text: str, packages: Any, tmp_path: Path) -> None:
    (tmp_path / "conf" / "deep").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.assembler]\nimports = ["outer"]\n')
    (tmp_path / "conf" / "pyproject.toml").write_text(text)
    assert read_import_list(tmp_path / "conf" / "deep" / "m.yaml").packages == packages
    assert read_import_list(tmp_path / "m.yaml").packages == ("outer",)


@pytest.mark.parametrize("text", ["[tool", "[tool]\nassembler = 5\n", "tool = 5\n", "\x00"])
def test_a_list_that_cannot_be_read_is_a_usage_error(text: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UsageError, match=r"pyproject\.toml"):
        read_import_list(tmp_path / "m.yaml")


def test_a_failure_is_one_line() -> None:
    assert failure_of(ValueError("a\n  b")) == "ValueError: a b"
    assert failure_of(SystemExit()) == "SystemExit"


def test_an_interrupt_from_the_keyboard_is_no_fault(tmp_path: Path) -> None:
    files = {"stopped.py": "raise KeyboardInterrupt\n"}
    with project(tmp_path, files), pytest.raises(KeyboardInterrupt):
        import_object("stopped.router", FREE)


def test_a_failure_that_cannot_be_told_has_the_name_of_its_type() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    assert failure_of(Mute()) == "Mute"


def test_the_frame_is_the_innermost_of_the_users_own(tmp_path: Path) -> None:
    source = "import json\n\ndef f():\n    json.loads('{')\n"
    with project(tmp_path, {"framed.py": source}):
        function = import_object("framed.f", FREE)
        try:
            function()
        except ValueError as error:
            assert frame_of(error) == ("framed.py:4: json.loads('{')",)  # noqa: PT017  # the traceback is wanted
