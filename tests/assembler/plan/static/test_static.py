"""What source alone tells must be what the running process would say, and nothing may run."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from assembler.manifest.coerce import convert
from assembler.plan.allow_list import ImportFault, ImportList
from assembler.plan.importer import import_object
from assembler.plan.signature import Parameter, Target, target_of
from assembler.plan.static import SourceReader

ANY = ImportList(None, None)

MODULE = """
from __future__ import annotations

import contextlib
import enum
import functools
import typing as t
from dataclasses import KW_ONLY, InitVar, dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Optional

from pydantic import BaseModel, BeforeValidator, Field
from pydantic_settings import BaseSettings

from .hints import Level, Text as Words
from .base import Base
from .star import *

if TYPE_CHECKING:
    from nowhere import Ghost

try:
    from nowhere import Fast
except ImportError:
    from .base import Slow as Fast

try:
    from nowhere import Rapid
except ImportError:
    Rapid = Base

raise RuntimeError("this module must not be run")

_LEAST = 2
_Port = Field(ge=_LEAST, le=10)


class Color(enum.StrEnum):
    RED = "red"
    BLUE = "blue"


def plain(a: int, b: "str" = "x", *, c: t.Optional[Level] = None, ghost: Ghost = 1) -> str: ...
def by_position(a, b, /, c=1): ...
def opened(a: int, **rest): ...
def hints(
    *,
    port: Annotated[int, _Port] = 3,
    late: Annotated[int, BeforeValidator(int)] = 1,
    wait: timedelta = timedelta(seconds=1),
    words: list[Words] = (),
    color: Color = Color.RED,
    pair: tuple[int, ...] = (),
    table: dict[str, float | None] = {},
    base: Base = None,
    key: Annotated[str, Field(pattern="^a", max_length=3)] = "a",
    either: t.Union[int, t.List[str]] = 1,
): ...


async def later(): ...
async def generator():
    yield 1


@contextlib.asynccontextmanager
async def managed(a: int):
    yield a


@functools.lru_cache(maxsize=None)
def cached(a: int): ...


def wrap(function): return lambda **options: function


@wrap
def wrapped(a): ...


class Child(Base): ...


class Methods:
    nested_value = 3

    def method(self, a): ...
    @classmethod
    def make(cls, a: int): ...
    @staticmethod
    def free(a: int): ...
    @property
    def shown(self): ...


class New:
    def __new__(cls, a): ...
    def __init__(self, *args): ...


class Meta(type): ...
class Strange(metaclass=Meta): ...
class Mystery(Ghost): ...


@dataclass
class Point:
    x: int
    y: "int" = 2
    kind: ClassVar[str] = "k"
    secret: int = field(init=False, default=0)
    seed: InitVar[int] = 0
    _: KW_ONLY
    tags: list[str] = field(default_factory=list)
    must: int = field()


@dataclass(kw_only=True)
class Point3(Point):
    z: int = 1
    x: float


class Model(BaseModel):
    name: str


class Shape(t.Protocol):
    def area(self) -> int: ...


class Env(BaseSettings):
    url: str
    count: int = 1


router = object()
constant = {"a": 1}
part = functools.partial(plain, a=1)
first, second = 1, 2
alias = Methods.make
short = lambda a: a
"""

FILES = {
    "pkg/__init__.py": "from . import mod\nfrom .base import Base as Exported\nraise SystemExit\n",
    "pkg/mod.py": MODULE,
    "pkg/hints.py": "import typing\nLevel = typing.Literal['low', 'high']\nText = str\n",
    "pkg/base.py": (
        "class Base:\n    def __init__(self, a: int, b='x'): ...\n"
        "class Slow:\n    def __init__(self, slow: int): ...\n"
    ),
    "pkg/star.py": "__all__ = ['starred']\ndef starred(a): ...\ndef unlisted(): ...\n",
    "pkg/broken.py": "x = 1\ndef broken(:\n",
    "pkg/lazy.py": (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .base import Base\n"
        "def __getattr__(name): ...\n"
    ),
    "pkg/guarded.py": (
        "import typing as t\nfrom . import base as inner\n"
        "if t.TYPE_CHECKING:\n    from .guarded2 import Y\n"
        "if not t.TYPE_CHECKING:\n    def made(a): ...\nelse:\n    def made(b): ...\n"
        "def fill():\n    global late\n    from .base import Base as late\n"
    ),
    "pkg/guarded2.py": "import typing\nif typing.TYPE_CHECKING:\n    from .guarded import Y\n",
    "pkg/absent.py": "from nowhere import thing\n",
    "pkg/circle.py": "from .circle2 import x\n",
    "pkg/circle2.py": "from .circle import x\n",
    "pkg/stolen.py": "from os import system\nimport os\nimport functools\ncall = functools.partial(os.system, 'x')\n",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def running(folder: Path) -> Iterator[Path]:
    """The same package without what must not run, so that it can be imported for comparison."""
    (folder / "pkg/__init__.py").write_text("")
    text = MODULE.replace('raise RuntimeError("this module must not be run")', "")
    (folder / "pkg/mod.py").write_text(text.replace("class Mystery(Ghost): ...", ""))
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "pkg"]:
        del sys.modules[name]


def read(path: str, *, leading: int = 0, imports: ImportList = ANY) -> Target:
    return SourceReader(imports).target(path, leading=leading)


def described(target: Target) -> dict[str, Any]:
    return {
        "form": target.form,
        "callable": target.is_callable,
        "async": target.is_async,
        "parameters": {item.name: item.required for item in target.signature.parameters.values()},
        "open": target.signature.open,
        "unnamed": target.signature.unnamed,
    }


def faults(target: Target, options: dict[str, Any]) -> list[Any]:
    return convert(target.signature.adapter(), options)[1]


REAL: list[tuple[str, int, list[dict[str, Any]]]] = [
    (
        "starlette.middleware.cors.CORSMiddleware",
        1,
        [{"allow_origins": ["a"], "max_age": 5}, {"allow_origins": 5}, {"max_age": "5"}],
    ),
    ("starlette.middleware.trustedhost.TrustedHostMiddleware", 1, [{"allowed_hosts": [1]}, {}]),
    ("starlette.middleware.gzip.GZipMiddleware", 1, [{"minimum_size": "a"}, {"minimum_size": 1}]),
    ("starlette.middleware.sessions.SessionMiddleware", 1, [{"same_site": "no"}, {"path": 1}]),
    ("fastapi.middleware.cors.CORSMiddleware", 1, [{"allow_credentials": 1}]),
    ("uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware", 1, [{"trusted_hosts": 1}]),
    ("uvicorn.Config", 1, [{"port": "a", "loop": 3, "lifespan": "maybe"}, {"log_level": []}]),
    ("fastapi.FastAPI", 0, [{"title": 1, "debug": "x"}]),
    ("fastapi.APIRouter", 0, [{"prefix": 1}]),
    ("starlette.staticfiles.StaticFiles", 0, [{"html": 1}, {"directory": "x"}]),
]


@pytest.mark.parametrize(("path", "leading", "samples"), REAL, ids=[path for path, *_ in REAL])
def test_a_real_target_reads_as_it_runs(
    path: str, leading: int, samples: list[dict[str, Any]]
) -> None:
    static = read(path, leading=leading)
    runtime = target_of(path, import_object(path, ANY), leading=leading)
    assert static.value is None
    assert described(static) == described(runtime)
    for options in samples:
        assert faults(static, options) == faults(runtime, options)


PARITY = (
    "plain by_position opened hints later generator managed cached Child Fast Rapid Methods Methods.method"
    " Methods.make Methods.free Methods.shown New Point Point3 Shape constant alias starred Base"
)


@pytest.mark.parametrize("leading", [0, 1])
@pytest.mark.parametrize("name", PARITY.split())
@pytest.mark.usefixtures("running")
def test_a_users_target_reads_as_it_runs(name: str, leading: int) -> None:
    path = f"pkg.mod.{name}"
    runtime = target_of(path, import_object(path, ANY), leading=leading)
    assert described(read(path, leading=leading)) == described(runtime)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "options",
    [
        {"port": 1},
        {"port": 10, "wait": "5s", "words": ["a"], "color": "red", "pair": [1, 2]},
        {"port": 11, "wait": 5, "words": [1], "color": "green", "pair": ["a"]},
        {"table": {"a": None, "b": 1.5}, "key": "ab", "either": ["a"], "late": "1"},
        {"table": {"a": "x"}, "key": "b", "either": [1]},
        {"key": "abcd"},
    ],
)
def test_annotations_give_the_same_verdicts_as_at_run_time(options: dict[str, Any]) -> None:
    static = read("pkg.mod.hints")
    runtime = target_of("pkg.mod.hints", import_object("pkg.mod.hints", ANY))
    assert faults(static, options) == faults(runtime, options)


@pytest.mark.usefixtures("folder")
def test_nothing_is_imported_or_run() -> None:
    reader = SourceReader(ANY)
    for name in PARITY.split():
        reader.target(f"pkg.mod.{name}")
    reader.target("pkg.mod:plain")
    assert not [name for name in sys.modules if name.partition(".")[0] == "pkg"]


@pytest.mark.usefixtures("folder")
def test_re_exports_of_a_package_are_followed() -> None:
    assert list(read("pkg.Exported").signature.parameters) == ["a", "b"]
    assert list(read("pkg.lazy.Base").signature.parameters) == ["a", "b"]
    assert list(read("pkg.guarded.inner.Base").signature.parameters) == ["a", "b"]


@pytest.mark.usefixtures("folder")
def test_what_only_a_type_checker_sees_is_passed_over() -> None:
    assert list(read("pkg.guarded.made").signature.parameters) == ["a"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("try:\n    from .plain import made\nexcept ImportError:\n    from .other import made", None),
        ("try:\n    import json\n    def made(a): ...\nexcept ImportError:\n    def made(b): ...", None),
        ("try:\n    from .plain import made\nexcept ImportError:\n    made = None", None),
        ("try:\n    from nowhere import made\nexcept ImportError:\n    from .other import made", ["b"]),
        ("try:\n    from .plain import made\nexcept ImportError:\n    from nowhere import made", ["a"]),
        ("try:\n    from .plain import made\nexcept ImportError:\n    from .again import made", ["a"]),
        ("import os\nif os.getpid():\n    def made(a): ...\nelse:\n    def made(b): ...", None),
        ("import os\ndef made(a): ...\nif os.getpid():\n    def made(b): ...", None),
        ("import os\nif os.getpid():\n    def made(a): ...\ndef made(b): ...", ["b"]),
        ("import sys\nif sys.version_info >= (3,):\n    def made(a): ...\nelse:\n    def made(b): ...", ["a"]),
        ("import sys\nif not sys.version_info < (4,):\n    def made(a): ...\nelse:\n    def made(b): ...", ["b"]),
        ("import sys\nif sys.platform == 'plan9':\n    def made(a): ...\nelse:\n    def made(b): ...", ["b"]),
    ],
)  # fmt: skip
def test_a_name_of_two_arms_is_unknown_unless_one_of_them_cannot_hold(
    text: str, found: list[str] | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "plain": "def made(a): ...",
        "other": "def made(b): ...",
        "again": "from .plain import made",
    }
    (tmp_path / "twice").mkdir()
    for name, source in {**files, "__init__": "", "own": text}.items():
        (tmp_path / f"twice/{name}.py").write_text(f"{source}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    reader = SourceReader(ANY)
    target = reader.target("twice.own.made")
    assert target.signature.open is (found is None)
    assert (list(target.signature.parameters) if found else None) == found
    told = "is bound under a condition, and elsewhere to something else"
    assert reader.unknown.get("twice.own.made") == (told if found is None else None)


@pytest.mark.usefixtures("folder")
def test_what_a_function_returns_is_told_where_it_is_a_plain_type() -> None:
    assert read("pkg.mod.plain").signature.returns is str
    assert read("pkg.mod.later").signature.returns is None


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("path", "why", "form"),
    [
        ("pkg.mod.opened", "takes `**kwargs`", "function"),
        ("pkg.mod.router", "is made at run time", "instance"),
        ("pkg.mod.part", "is made at run time", "function"),
        ("pkg.mod.short", "is made at run time", "function"),
        ("pkg.mod.first", "is made at run time", "instance"),
        ("pkg.mod.wrapped", "is decorated with `wrap`", "function"),
        ("pkg.mod.Strange", "has the metaclass `Meta`", "class"),
        ("pkg.mod.Strange.anything", "is made at run time", "instance"),
        ("pkg.mod.Mystery", "inherits from `Ghost`, whose source does not tell", "class"),
        ("pkg.mod.Model", "inherits from `pydantic.BaseModel`", "class"),
        ("pkg.mod.Env", "takes `**kwargs`", "class"),
        ("pkg.mod.router.get", "is made at run time", "instance"),
        ("pkg.lazy.other", "is made at run time", "instance"),
        ("pkg.guarded.Y", "is made at run time", "instance"),
        ("pkg.guarded.late", "is made at run time", "instance"),
        ("pkg.absent.thing", "comes from a module that cannot be read", "instance"),
        ("pkg.circle.x", "comes from a module that cannot be read", "instance"),
        ("yaml._yaml.CParser", "is in a compiled module", "instance"),
    ],
)
def test_what_the_source_does_not_tell_takes_any_option(path: str, why: str, form: str) -> None:
    reader = SourceReader(ANY)
    target = reader.target(path)
    assert reader.unknown == {path: why}
    assert (target.form, target.is_callable, target.signature.open) == (form, True, True)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "path",
    [
        "nowhere.thing",
        "nowhere:thing",
        "pkg.bse:Base",
        "pkg.bse.Base",
        "pkg.nope",
        "pkg.base.Bsae",
        "pkg.base.Base.mkae",
        "pkg.base.nope.more",
        "pkg.base.sub:x",
        "pkg.mod.unlisted",
        "pkg.mod.plian",
        "os.system",
        "starlette.middleware.cors.CORSMiddlewar",
    ],
)
def test_a_wrong_path_is_refused_in_the_words_of_the_runtime(path: str) -> None:
    with pytest.raises(ImportFault) as static:
        read(path)
    with pytest.raises(ImportFault) as runtime:
        import_object(path, ANY)
    assert _facts(static.value) == _facts(runtime.value)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("path", "packages"),
    [
        ("logging.os.system", ("logging",)),
        ("pkg.stolen.system", ("pkg",)),
        ("pkg.stolen:call", ("pkg",)),
        ("fastapi.middleware.cors.CORSMiddleware", ("fastapi",)),
        ("pkg.mod.plain", ("components",)),
        ("pkg.mod.BeforeValidator", ("pkg",)),
    ],
)
def test_the_import_list_is_judged_by_the_real_definer(
    path: str, packages: tuple[str, ...]
) -> None:
    imports = ImportList(packages, "pyproject.toml")
    with pytest.raises(ImportFault) as static:
        read(path, imports=imports)
    with pytest.raises(ImportFault) as runtime:
        import_object(path, imports)
    assert _facts(static.value) == _facts(runtime.value)


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("path", ["pkg.broken.x", "pkg.broken:x"])
def test_a_text_that_is_not_python_fails_with_its_place(path: str) -> None:
    with pytest.raises(ImportFault) as static:
        read(path)
    with pytest.raises(ImportFault) as runtime:
        import_object(path, ANY)
    only_read, ran = (
        "the source of `pkg.broken` cannot be read",
        "`pkg.broken` failed while it was imported",
    )
    assert static.value.message.startswith(f"{only_read}: SyntaxError: ")
    assert runtime.value.message == static.value.message.replace(only_read, ran)
    assert _facts(static.value)[2:] == _facts(runtime.value)[2:]
    assert static.value.trace[0].endswith("broken.py:2: def broken(:")


@pytest.mark.parametrize("text", [b"x = 1\0", b"# -*- coding: nope -*-\n", b"x = '\xff'\n"])
def test_a_text_that_cannot_be_read_fails_as_an_import(folder: Path, text: bytes) -> None:
    (folder / "unreadable.py").write_bytes(text)
    with pytest.raises(ImportFault) as static:
        read("unreadable.x")
    assert static.value.code == "import-failed"


def test_definitions_in_circles_and_torn_annotations_take_anything(folder: Path) -> None:
    (folder / "torn.py").write_text(
        "from torn2 import X\nclass X(X): ...\nA = B\nB = A\n"
        "def made(a: A, b: 'list[', c: Literal[nowhere], d: int[str], e: 5): ...\n"
    )
    (folder / "torn2.py").write_text("from torn import X\n")
    assert {item.annotation for item in read("torn.made").signature.parameters.values()} == {Any}
    assert read("torn.X").signature.open
    assert read("torn.A").signature.open


def test_portions_of_a_namespace_package_are_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for portion in ("one", "two"):
        inner = tmp_path / portion / "spread" / "inner"
        inner.mkdir(parents=True)
        (inner / f"{portion}.py").write_text("def made(a): ...\n")
        monkeypatch.syspath_prepend(str(tmp_path / portion))
    for portion in ("one", "two"):
        assert list(read(f"spread.inner.{portion}.made").signature.parameters) == ["a"]


def test_a_package_that_hides_a_namespace_portion_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one/hidden").mkdir(parents=True)
    (tmp_path / "one/hidden/wanted.py").write_text("def made(): ...\n")
    (tmp_path / "two/hidden").mkdir(parents=True)
    (tmp_path / "two/hidden/__init__.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path / "one"))
    monkeypatch.syspath_prepend(str(tmp_path / "two"))
    with pytest.raises(ImportFault) as static:
        read("hidden.wanted.made")
    with pytest.raises(ImportFault) as runtime:
        import_object("hidden.wanted.made", ANY)
    assert _facts(static.value) == _facts(runtime.value)
    assert static.value.trace


def test_the_current_folder_is_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here_static.py").write_text("def made(a): ...\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry])
    assert list(read("here_static.made").signature.parameters) == ["a"]


def test_a_module_is_parsed_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visited = _visits(monkeypatch)
    reader = SourceReader(ANY)
    for name in ("plain", "Child", "Point"):
        reader.target(f"pkg.mod.{name}")
    assert sorted(set(visited)) == sorted(visited)


LEAN = """
import httpx2
from fastapi import APIRouter as Router, Depends, Query, Request
from starlette.responses import JSONResponse
from typing import IO, Annotated, TypedDict
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from .a import *
from .b import*
from .c import *

LIMIT = int("5")
router = Router()

class Client(httpx2.AsyncClient): ...
class Row(TypedDict):
    id: int

def made(engine: AsyncEngine, client: Client, row: Row, request: "Request", file: IO[str],
         count: int = LIMIT, *, wide: Wide = 1) -> JSONResponse: ...
@router.get("/")
async def listed(session: Annotated[AsyncSession, Depends(made)], page: int = Query(1)): ...
"""


def test_what_no_manifest_can_write_is_not_read_for_a_hint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lean").mkdir()
    (tmp_path / "lean/__init__.py").write_text(LEAN)
    (tmp_path / "lean/a.py").write_text("from .d import \\\n  *\n")
    (tmp_path / "lean/b.py").write_text("B = 1\n")
    (tmp_path / "lean/c.py").write_text("C = 1\n")
    (tmp_path / "lean/d.py").write_text("from typing import Literal\nWide = Literal[1, 2]\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    visited = _visits(monkeypatch)
    reader = SourceReader(ANY)
    options = reader.target("lean.made").signature.parameters
    assert list(options) == ["engine", "client", "row", "request", "file", "count", "wide"]
    assert sorted(visited) == ["a", "d", "lean"]
    assert _refuses(options["wide"], 3)
    assert reader.asked_resources("lean.router") == ()
    assert sorted(visited) == ["a", "b", "c", "d", "lean"]


QUOTED = """
from typing import Annotated, Literal
from assembler import Resource
from pydantic import BaseModel, Field

class Item(BaseModel):
    size: Annotated[int, Field(description="size", json_schema_extra={"looser": "higher"})] = 1

def made(
    db: Annotated[object, Resource("db")], *,
    key: Annotated[str, Field(pattern="abc", description="key")] = "abc",
    kind: Annotated[Literal["a", "b"], Field(description="Which.")] | None = None,
    name: "Annotated[str, Field(pattern='abc')]" = "abc",
    item: "Item | None" = None,
    many: "list[Annotated[int, Field(ge=2, description='count')]]" = (),
    row: Annotated["Item", Field(description="row")] = Item(),
): ...
"""


@pytest.mark.parametrize("first", ["", "from __future__ import annotations\n"])
def test_a_text_inside_an_annotation_stays_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    (tmp_path / "quoted.py").write_text(first + QUOTED)
    monkeypatch.syspath_prepend(str(tmp_path))
    reader = SourceReader(ANY)
    options = reader.target("quoted.made").signature.parameters
    for name, value in {"key": "b", "kind": "c", "name": "b", "many": [1]}.items():
        assert _refuses(options[name], value), name
    assert not _refuses(options["kind"], "b")
    assert options["db"].annotation.__metadata__[0].resource_id == "db"
    _, facts = reader.options("quoted.made")
    assert facts is not None
    said = {name: fact.description for name, fact in facts.items() if fact.description}
    assert said == {"key": "key", "kind": "Which.", "row": "row"}
    for name in ("item", "row"):
        assert facts[name].fields["size"].description == "size"
        assert facts[name].fields["size"].looser == "higher"


ELSEWHERE = """
from pydantic import AfterValidator, Field
from assembler import Resource
LEAST = 3
Size = Field(ge=LEAST)
Advised = Field(json_schema_extra={"advised_min_length": 16})
Db = Resource("db")
def seen(value): return value
Seen = AfterValidator(seen)
"""
NAMED = """
from typing import Annotated
from elsewhere import Advised, Db, Seen, Size
def made(
    *,
    db: Annotated[object, Db],
    size: Annotated[int, Seen, Size] = 3,
    token: Annotated[str, Seen, Advised] = "",
): ...
"""


def test_what_a_name_marks_is_read_in_the_module_that_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    (tmp_path / "named.py").write_text(NAMED)
    monkeypatch.syspath_prepend(str(tmp_path))
    options = SourceReader(ANY).target("named.made").signature.parameters
    assert _refuses(options["size"], 2)
    assert _refuses(options["size"], "a")
    assert not _refuses(options["size"], 3)
    assert options["token"].advised_length == 16
    assert options["db"].annotation.__metadata__[0].resource_id == "db"


def test_routes_that_a_star_brings_into_the_module_of_their_router_are_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "api").mkdir()
    (tmp_path / "api/__init__.py").write_text(
        "from fastapi import APIRouter\nrouter = APIRouter()\n"
        "from .starred import *\nfrom .named import by_name\nfrom time import sleep\n"
    )
    for module, name in (("starred", "by_star"), ("named", "by_name")):
        (tmp_path / f"api/{module}.py").write_text(
            "from typing import Annotated\nfrom assembler import Resource\nfrom api import router\n"
            f"@router.get('/{name}')\ndef {name}(db: Annotated[object, Resource('db')]): ...\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    asked = SourceReader(ANY).asked_resources("api.router")
    assert asked == (("by_name", "db"), ("by_star", "db"))


def _refuses(option: Parameter, value: Any) -> bool:
    adapter: TypeAdapter[Any] = TypeAdapter(option.annotation)
    return bool(convert(adapter, value)[1])


def _visits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the names of the modules that are visited from now on."""
    import griffe  # noqa: PLC0415  # the test below needs a module that does not

    visited: list[str] = []
    visit = griffe.visit

    def counting(name: str, *args: Any, **options: Any) -> Any:
        visited.append(name)
        return visit(name, *args, **options)

    monkeypatch.setattr(griffe, "visit", counting)
    return visited


def test_griffe_is_not_imported_before_a_source_is_read() -> None:
    code = "import sys, assembler.plan.static; sys.exit('griffe' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=100).returncode == 0


def _facts(fault: ImportFault) -> tuple[Any, ...]:
    return fault.code, fault.message, fault.trace, fault.help
