"""What tools of MCP servers ask for is proven before any of them is called."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assembler.application.build import build
from assembler.diagnostics.errors import ManifestError
from assembler.plan.load import load
from assembler.runtime.lazy_mount import maker
from tests.assembler.project import project

TOOLS = """
from typing import Annotated
import assembler
from fastapi import APIRouter, FastAPI
from components.mcp.http_transport import HttpTransport
from components.mcp.server import http_app, mcp_server
from toolshop.more import add

class Engine: ...
def make() -> Engine: return Engine()
Bd = Annotated[Engine, assembler.Resource("bd")]

def listed(size: int, db: Annotated[str, assembler.Resource("db")]) -> int: return size

def tools():
    transport = HttpTransport()
    server = mcp_server("shop", transport=transport)
    add(server)
    server.add_tool(listed)
    @server.tool()
    async def nested(db: Bd) -> str: return "x"
    return http_app(server, transport=transport)

def router() -> APIRouter:
    made = APIRouter()
    @made.get("/x")
    def endpoint(db: Bd): ...
    return made
"""
MORE = """
from typing import Annotated
import assembler
from assembler import Resource

def add(server):
    @server.tool()
    async def search(word: str, db: Annotated[str, Resource("bdd")]) -> str: return word
    @server.tool()
    async def good(word: str, db: Annotated[object, assembler.Resource("db")]) -> str: return word
"""
MANIFEST = """
manifest: 1
resources: {db: {use: toolshop.make}}
routes:
"""
ASKED = [
    "`listed` asks for a `str`, and the resource `db` is a `Engine`",
    "`nested` asks for the resource `bd`, and there is none",
    "`search` asks for the resource `bdd`, and there is none",
]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    files = {"toolshop/__init__.py": TOOLS, "toolshop/more.py": MORE}
    with project(tmp_path_factory.mktemp("tools"), files) as folder:
        yield folder


def refused(text: str, *, checks: bool) -> list[str]:
    Path("m.yaml").write_text(MANIFEST + text, "utf-8")
    with pytest.raises(ManifestError) as caught:
        build(load("m.yaml", environment={}, lazy=not checks))
    return sorted(fault.message for fault in caught.value.diagnostics)


@pytest.mark.parametrize("checks", [True, False])
def test_tools_of_a_factory_are_proven_by_its_source_and_by_what_it_makes(
    shop: Path, checks: bool
) -> None:
    assert refused("  - {mount: /mcp, use: toolshop.tools}\n", checks=checks) == ASKED


def test_routes_of_a_factory_are_proven_by_its_source(shop: Path) -> None:
    told = refused("  - {use: toolshop.router, prefix: /r}\n", checks=True)
    assert told == ["`endpoint` asks for the resource `bd`, and there is none"]


def test_a_lazy_mount_is_proven_by_check_and_where_it_is_made(shop: Path) -> None:
    text = "  - {mount: /mcp, use: toolshop.tools, lazy: true}\n"
    assert refused(text, checks=True) == ASKED
    plan = load("m.yaml", environment={})
    app = build(plan)
    with pytest.raises(ManifestError) as caught:
        maker(plan.routes[0], plan, app, {"db": object()})()
    assert len(caught.value.diagnostics) == len(ASKED)
