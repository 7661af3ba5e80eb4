"""What a layer is for: by its class's own word, or by the one table of paths, and else by nothing."""

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

import assembler.review
from assembler.plan.allow_list import ImportList
from assembler.plan.static import SourceReader
from assembler.review.diff.order import ORDERS
from assembler.review.roles import ATTRIBUTE, ROLES, WELL_KNOWN, role_of
from tests.assembler.project import project

COMPONENTS = Path(__file__).parents[3] / "components"
SHOP = """
from starlette.middleware.cors import CORSMiddleware as Base
class Gate:
    layer_role = "auth"
    def __init__(self, app): ...
class Inner(Gate): ...
class Other(Gate):
    layer_role = "limiter"
class Cors(Base): ...
class RateLimitMiddleware: ...
class Session: ...
class Wrong:
    layer_role = "no such role"
class Late:
    layer_role = "".join(["au", "th"])
def gate(app): ...
one = Gate(None)
"""


@pytest.mark.parametrize(
    ("use", "role"),
    [
        ("shop.Gate", "auth"),
        ("shop:Gate", "auth"),
        ("shop.Inner", "auth"),
        ("shop.Other", "limiter"),
        ("shop.Cors", "cors"),
        ("shop.one", "auth"),
        ("shop.RateLimitMiddleware", None),
        ("shop.Session", None),
        ("shop.Wrong", None),
        ("shop.Late", None),
        ("shop.gate", None),
        ("shop.missing", None),
        ("nowhere.RateLimitMiddleware", None),
        ("nowhere.SessionMiddleware", None),
        ("starlette.middleware.sessions.SessionMiddleware", "session"),
        ("starlette.middleware.sessions:SessionMiddleware", "session"),
        ("fastapi.middleware.cors.CORSMiddleware", "cors"),
        ("uvicorn.middleware.proxy_headers:ProxyHeadersMiddleware", "proxy"),
        ("slowapi.middleware.SlowAPIMiddleware", "limiter"),
        ("asgi_correlation_id.CorrelationIdMiddleware", "request-id"),
    ],
)
def test_a_role_is_said_by_the_class_or_by_the_table(
    tmp_path: Path, use: str, role: str | None
) -> None:
    with project(tmp_path, {"shop.py": SHOP}):
        found = role_of(use, SourceReader(ImportList(None, None)))
    assert (found.id if found else None) == role


def said() -> dict[str, str]:
    """Return the paths of the classes of `components` that say their role."""
    found = {}
    for file in sorted(COMPONENTS.rglob("*.py")):
        if ATTRIBUTE not in file.read_text("utf-8"):
            continue
        name = ".".join(file.relative_to(COMPONENTS.parent).with_suffix("").parts)
        module: Any = importlib.import_module(name.removesuffix(".__init__"))
        for key, value in vars(module).items():
            is_own = inspect.isclass(value) and value.__module__ == module.__name__
            if is_own and ATTRIBUTE in vars(value):
                found[f"{module.__name__}.{key}"] = getattr(value, ATTRIBUTE)
    return found


def test_every_layer_of_components_says_a_role_that_the_source_shows() -> None:
    reader, roles = SourceReader(ImportList(None, None)), said()
    assert len(roles) >= 15
    for use, role in roles.items():
        assert role in ROLES
        found = role_of(use, reader)
        assert found is not None
        assert found.id == role
    layers = {
        f"components.middleware.{file.stem}.{node.name}"
        for file in (COMPONENTS / "middleware").glob("*.py")
        for node in ast.parse(file.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.endswith("Middleware")
    }
    assert layers <= set(roles)


def test_the_tables_name_roles_that_there_are() -> None:
    assert set(WELL_KNOWN.values()) <= set(ROLES)
    assert {name for order in ORDERS for name in (order.outer, order.inner)} <= set(ROLES)


@pytest.mark.parametrize(
    "path",
    [path for path in WELL_KNOWN if path.partition(".")[0] in ("starlette", "fastapi", "uvicorn")],
)
def test_the_paths_of_the_table_lead_to_classes(path: str) -> None:
    module, _, name = path.rpartition(".")
    assert inspect.isclass(getattr(importlib.import_module(module), name))


def test_diff_and_audit_judge_by_the_same_roles() -> None:
    folder = Path(assembler.review.__file__).parent
    readers = [file for file in folder.rglob("*.py") if "role_of(" in file.read_text("utf-8")]
    names = {file.relative_to(folder).as_posix() for file in readers}
    assert names == {"roles.py", "audit/subject.py", "diff/knowledge.py"}
