"""One application and its manifest, and one change at a time: each kind of difference is found."""

from pathlib import Path
from typing import Any

import pytest

from assembler.adopt.equality.comparison import Compared, compare
from assembler.adopt.equality.subject import _reorder
from tests.assembler.adopt.equality.compared import (
    assembled,
    by_hand,
    compared,
    explained,
    seen,
    unexplained,
)
from tests.assembler.command import write

# What an exception by force interrupts may leave a stream open, in older versions of Starlette.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

APP = """
from contextlib import asynccontextmanager
import logging
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from app.parts import Stamp, key_error, later, missing, needs_name, opened

class Item(BaseModel):
    name: str = Field(max_length=20)
    price: float = 1.5

@asynccontextmanager
async def lifespan(app):
    app.state.opened = opened()
    yield {"shop": "open"}
    later()

router = APIRouter(prefix="/items", tags=["items"])

@router.get("/first")
async def first_item() -> Item:
    return Item(name="first")

@router.get("/{number}")
async def read_item(number: int, request: Request, part: str = "all") -> dict[str, object]:
    return {"number": number, "part": part, "shop": getattr(request.state, "shop", None)}

@router.post("", status_code=201)
async def add_item(item: Item) -> Item:
    return item

@router.get("/broken/now", include_in_schema=False)
async def broken() -> None:
    raise KeyError("broken")

secret = APIRouter(dependencies=[Depends(needs_name)])

@secret.get("/secret")
async def read_secret() -> str:
    return "secret"

inner = FastAPI(title="Inner", docs_url=None, redoc_url=None)
inner.add_middleware(Stamp, text="inner")

@inner.get("/hello")
async def hello() -> str:
    return "hello"

app = FastAPI(title="Shop", version="1", docs_url=None, redoc_url=None, lifespan=lifespan)
app.state.limit = 5
app.add_middleware(Stamp, text="outer")
app.add_middleware(GZipMiddleware, minimum_size=10)
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example"])
app.add_exception_handler(404, missing)
app.add_exception_handler(KeyError, key_error)
app.include_router(router)
app.include_router(secret)
app.mount("/inner", inner, name="inner")
"""
PARTS = """
import logging
from fastapi import Header, HTTPException
from fastapi.responses import JSONResponse

class Stamp:
    def __init__(self, app, *, text: str, more: bool = False) -> None:
        self.app, self.text, self.more = app, text, more
    async def __call__(self, scope, receive, send):
        async def stamped(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-stamp", self.text.encode())]
            await send(message)
        await self.app(scope, receive, stamped)

async def missing(request, error):
    return JSONResponse({"missing": request.url.path}, 404)

async def gone(request, error):
    return JSONResponse({"gone": request.url.path}, 404)

async def key_error(request, error):
    return JSONResponse({"key": str(error)}, 400)

def needs_name(x_name: str = Header("nobody")) -> None:
    if x_name == "":
        raise HTTPException(403)

def opened() -> str:
    logging.getLogger("app").warning("opened")
    return "yes"

def later() -> None:
    logging.getLogger("app").warning("closed")

def twice() -> None:
    opened()
"""
MANIFEST = """
manifest: 1
app:
  title: Shop
  version: "1"
  openapi: {docs: null, redoc: null}
  state: {limit: 5}
lifespan: [app.main.lifespan]
middleware:
  - use: starlette.middleware.cors.CORSMiddleware
    with: {allow_origins: ["https://shop.example"]}
  - {use: starlette.middleware.gzip.GZipMiddleware, with: {minimum_size: 10}}
  - {use: app.parts.Stamp, with: {text: outer}}
exception_handlers:
  - {catch: 404, use: app.parts.missing}
  - {catch: KeyError, use: app.parts.key_error}
routes:
  - {use: app.main.router}
  - {use: app.main.secret}
  - {mount: /inner, use: app.main.inner, name: inner}
"""
MEANT = {"control-characters", "error-answers", "layer-exceptions", "mount-slash"}

_NAMED = "`app.parts.needs_name`"
CHANGES = {
    # what is changed in the manifest, and what is said of it
    "a title": ("title: Shop", "title: Shops", "attributes | `title` | `Shop` | `Shops`"),
    "a page": ("docs: null", "docs: /docs", "routes | `GET, HEAD /docs` | nothing | is there"),
    "an attribute": (
        "state: {limit: 5}",
        "state: {limit: 5}\n  redirect_slashes: false",
        "attributes | `router.redirect_slashes` | true | false",
    ),
    "a value of the state": ("limit: 5", "limit: 6", "state | `limit` | 5 | 6"),
    "a type of the state": ("limit: 5", 'limit: "5"', "state | `limit` | 5 | `5`"),
    "a name of the state": ("{limit: 5}", "{most: 5}", "state | `most` | nothing | 5"),
    "an option of a layer": (
        "minimum_size: 10",
        "minimum_size: 20",
        "layers | `GZipMiddleware.minimum_size` | 10 | 20",
    ),
    "a default of a layer": (
        "{text: outer}",
        "{text: outer, more: true}",
        "layers | `Stamp.more` | false | true",
    ),
    "a layer that is missing": (
        "  - {use: app.parts.Stamp, with: {text: outer}}\n",
        "",
        "layers | layer 3 | `app.parts.Stamp` | nothing",
    ),
    "a layer that is more": (
        "exception_handlers:",
        "  - {id: more, use: app.parts.Stamp, with: {text: more}}\nexception_handlers:",
        "layers | layer 4 | nothing | `app.parts.Stamp`",
    ),
    "a handler": (
        "use: app.parts.missing",
        "use: app.parts.gone",
        "handlers | 404 | `app.parts.missing` | `app.parts.gone`",
    ),
    "a handler that is missing": (
        "  - {catch: KeyError, use: app.parts.key_error}\n",
        "",
        "handlers | KeyError | `app.parts.key_error` | nothing",
    ),
    "a handler of another class": (
        "catch: KeyError",
        "catch: LookupError",
        "handlers | LookupError | nothing | `app.parts.key_error`",
    ),
    "a route that is missing": (
        "  - {use: app.main.secret}\n",
        "",
        "routes | `GET /secret` | is there | nothing",
    ),
    "a prefix": (
        "{use: app.main.secret}",
        "{use: app.main.secret, prefix: /v1}",
        "routes | `GET /v1/secret` | nothing | is there",
    ),
    "an order of routes": (
        "  - {use: app.main.router}\n  - {use: app.main.secret}\n",
        "  - {use: app.main.secret}\n  - {use: app.main.router}\n",
        "routes | order | `GET /items/first` comes first | `GET /secret` comes first",
    ),
    "a dependency": (
        "{use: app.main.secret}",
        "{use: app.main.secret, dependencies: [app.parts.twice]}",
        f"routes | `GET /secret`: dependencies | [{_NAMED}] | [`app.parts.twice`, {_NAMED}]",
    ),
    "a tag": (
        "{use: app.main.secret}",
        "{use: app.main.secret, tags: [more]}",
        "openapi | /paths/~1secret/get/tags | nothing | [`more`]",
    ),
    "a route that is not shown": (
        "{use: app.main.secret}",
        "{use: app.main.secret, include_in_schema: false}",
        "routes | `GET /secret`: include_in_schema | true | false",
    ),
    "a mount at another path": (
        "mount: /inner",
        "mount: /outer",
        "routes | `mount /inner` | is there | nothing",
    ),
    "a name of a mount": (
        "name: inner",
        "name: within",
        "routes | `mount /inner`: name | `inner` | `within`",
    ),
    "layers of a route alone": (
        "{use: app.main.secret}",
        "{use: app.main.secret, middleware: [{use: app.parts.Stamp, with: {text: own}}]}",
        "requests | GET /secret (request 1): header `x-stamp` | outer | outer, own",
    ),
    "a lifespan that is missing": (
        "lifespan: [app.main.lifespan]\n",
        "",
        "lifespan | first start calls `app.parts.opened` | once | nothing",
    ),
    "an effect of the start": (
        "routes:",
        "startup: [{use: app.parts.twice}]\nroutes:",
        "lifespan | second start logs WARNING `app`: opened | once | 2 times",
    ),
    "an effect of the stop": (
        "routes:",
        "shutdown: [{use: app.parts.twice}]\nroutes:",
        "lifespan | first stop logs WARNING `app`: opened | nothing | once",
    ),
}


def folder_of(folder: Path, manifest: str = MANIFEST, app: str = APP) -> Path:
    files = {
        "app/__init__.py": "",
        "app/main.py": app,
        "app/parts.py": PARTS,
        "manifest.yaml": manifest,
    }
    write(folder, files)
    return folder


def test_what_is_the_same_is_equal_but_for_what_is_meant(tmp_path: Path) -> None:
    found = compared(folder_of(tmp_path), lifespan=True, replay_writes=True)
    assert unexplained(found) == []
    assert explained(found) == MEANT
    assert found.counts["routes"] == 9
    assert found.counts["layers"] == 4
    assert not found.uncompared


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Any, Any]]:
    """What is seen of the application as it is written, with and without starts, twice."""
    folder = folder_of(tmp_path_factory.mktemp("written"))
    found = {}
    for lifespan in (False, True):
        left = seen(by_hand, folder, lifespan=lifespan)
        found[lifespan] = left, seen(by_hand, folder, left, lifespan=lifespan)
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_manifest_is_found(
    tmp_path: Path, written: dict[bool, tuple[Any, Any]], change: str
) -> None:
    before, after, said = CHANGES[change]
    assert before in MANIFEST
    folder = folder_of(tmp_path, MANIFEST.replace(before, after, 1))
    lifespan = said.startswith("lifespan |")
    left, again = written[lifespan]
    right = seen(assembled, folder, left, lifespan=lifespan)
    assert said in unexplained(compare(left, again, right))


def test_layers_in_another_order_are_one_difference_that_can_be_accepted(tmp_path: Path) -> None:
    stamp = "  - {use: app.parts.Stamp, with: {text: outer}}\n"
    manifest = MANIFEST.replace(stamp, "").replace("middleware:\n", f"middleware:\n{stamp}")
    found = compared(folder_of(tmp_path, manifest))
    assert unexplained(found) != []  # the answers differ as well, until the order is accepted
    (order,) = [each for each in found.differences if each.part == "layers"]
    assert order.left == "outermost first: `CORSMiddleware`, `GZipMiddleware`, `Stamp`"
    assert order.right == "outermost first: `Stamp`, `CORSMiddleware`, `GZipMiddleware`"
    again = seen_in_order(tmp_path, order.detail["order"])
    assert [each for each in unexplained(again) if not each.startswith("layers | order")] == []


def seen_in_order(folder: Path, order: list[int]) -> Compared:
    def reordered() -> Any:
        app = by_hand()
        _reorder(app, order)
        return app

    left = seen(by_hand, folder)
    mine, again = (seen(reordered, folder, left) for _ in range(2))
    return compare(mine, again, seen(assembled, folder, left))


VARYING = """
import itertools, os, uuid
from fastapi.responses import StreamingResponse
count = itertools.count()

@app.get("/random")
async def random_value():
    return JSONResponse({"id": uuid.uuid4().hex, "fixed": [1, 2]}, headers={"X-ID": uuid.uuid4().hex})

@app.get("/events")
async def events():
    async def lines():
        while True:
            yield "data: x\\n\\n"
            await asyncio.sleep(0.001)
    return StreamingResponse(lines(), media_type="text/event-stream")

def set_fixed(app):
    @app.get("/random")
    async def random_value():
        return JSONResponse({"id": uuid.uuid4().hex, "fixed": [1, 3]})
"""


def test_what_changes_from_run_to_run_is_no_difference_and_is_told(tmp_path: Path) -> None:
    app = "import asyncio\n" + APP + VARYING
    routes = '  - {use: "app.main:app.router"}\n'
    whole = MANIFEST[: MANIFEST.index("  - {use: app.main.router}")] + routes
    found = compared(folder_of(tmp_path, whole.replace("lifespan: [app.main.lifespan]\n", ""), app))
    assert unexplained(found) == []
    assert set(found.uncompared) == {
        "values of the header `x-id`, which change from run to run",
        "values in bodies that change from run to run",
        "what stands in answers that are streams",
    }


def test_beside_what_changes_all_else_is_compared(tmp_path: Path) -> None:
    routes = '  - {use: "app.main:app.router"}\n'
    whole = MANIFEST[: MANIFEST.index("  - {use: app.main.router}")] + routes
    manifest = whole.replace("routes:", "configure: [{use: app.main.set_fixed}]\nroutes:")
    found = unexplained(compared(folder_of(tmp_path, manifest, "import asyncio\n" + APP + VARYING)))
    assert "requests | GET /random (request 1): body | 2 at /fixed/1 | 3 at /fixed/1" in found
    assert "requests | GET /random (request 1): header `x-id` |" in "\n".join(found)


def test_what_each_start_made_may_be_made_once(tmp_path: Path) -> None:
    app = APP.replace("    later()\n", "    later()\n") + "\ndef made():\n    return opened()\n"
    manifest = MANIFEST.replace("{limit: 5}", '{limit: 5, opened: "${resources.opened}"}').replace(
        "lifespan: [app.main.lifespan]\n",
        "resources:\n  opened: {use: app.parts.Opened}\n",
    )
    parts = (
        "\nclass Opened(str):\n    def __new__(cls):\n        return str.__new__(cls, opened())\n"
    )
    folder = folder_of(tmp_path, manifest, app)
    (folder / "app/parts.py").write_text(PARTS + parts, "utf-8")
    found = compared(folder, lifespan=True)
    assert "made-once" in explained(found)
