"""One application with a call of every kind: what is written, what is told, what never is."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi import FastAPI

from tests.assembler.command import in_folder, run

SHOP = Path(__file__).parent / "shop"
EXPECTED = SHOP / "expected"
CANARIES = {"CANARY_TOKEN": "canary-of-the-environment"}


def shop(folder: Path) -> Path:
    """Write the application into a folder."""
    (folder / "shop" / "static").mkdir(parents=True)
    (folder / "files").mkdir()
    (folder / "shop" / "__init__.py").touch()
    for name in ("main", "settings"):
        (folder / "shop" / f"{name}.py").write_text((SHOP / f"{name}.txt").read_text())
    return folder


def test_every_kind_of_call_is_written_or_bridged_and_no_secret_is(
    tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    folder = shop(tmp_path)
    outcome = run("adopt", "shop.main:app", "-o", "m.yaml", folder=folder, environment=CANARIES)
    assert outcome.status == 0, outcome.out + outcome.err
    found = {path.name: path.read_text() for path in sorted(folder.glob("m*.yaml"))}
    found["assembly.py"] = (folder / "shop" / "assembly.py").read_text()
    found["report"] = outcome.out
    for name, text in found.items():
        expected = EXPECTED / f"{name}.txt"
        if pytestconfig.getoption("--update"):
            expected.write_text(text)
        assert text == expected.read_text(), name
        assert "canary" not in text.lower().replace("canary_token", "")
    assert sorted(each.name for each in EXPECTED.iterdir()) == sorted(f"{n}.txt" for n in found)
    again = run("adopt", "shop.main:app", "-o", "m.yaml", folder=folder, environment=CANARIES)
    assert again.status == 2
    assert "`m.yaml` is there already, and nothing is written over" in again.err
    assert (folder / "m.yaml").read_text() == found["m.yaml"]


def test_an_application_of_odd_calls_is_equal_to_what_was_adopted(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "index.html").write_text("<h1>x</h1>")
    (tmp_path / "odd.py").write_text((SHOP / "odd.txt").read_text())
    outcome = run("adopt", "odd:app", "-o", "m.yaml", "--format", "json", folder=tmp_path)
    assert outcome.status == 0, outcome.out + outcome.err
    report = json.loads(outcome.out)
    frontends = int(hasattr(FastAPI, "frontend"))  # older ones have none
    assert report["counts"] == {"written": 18 + frontends, "bridged": 5, "refused": 0}
    rules = [word for rule in report["accept"] for word in ("--accept", rule)]
    equal = run("equal", "odd:app", "m.yaml", *rules, folder=tmp_path)
    assert equal.status == 0, equal.out + equal.err


FACTORY = """
from fastapi import APIRouter, Depends, FastAPI, Request

LIMIT = 3


def create_app(title: str = "Plain") -> FastAPI:
    app = FastAPI(title=title)
    names = ["a list that functions share"]
    count = 0

    def who() -> str:
        return title

    def double(number: int) -> int:
        return number * 2 + LIMIT

    @app.get("/title", tags=["a"])
    def read_title(name: str = Depends(who)) -> str:
        return name + title

    @app.get("/double", status_code=202)
    def read_double(number: int) -> int:
        return double(number)

    @app.get("/names")
    def read_names() -> list[str]:
        return names

    @app.get("/count")
    def read_count() -> int:
        nonlocal count
        count += 1
        return count

    @app.get("/app")
    def read_app() -> str:
        return app.title

    @app.exception_handler(KeyError)
    async def missing(request: Request, error: KeyError):
        raise error

    router = APIRouter(prefix="/inner")

    @router.get("/x")
    def read_inner() -> int:
        return LIMIT

    app.include_router(router, tags=["inner"])
    return app
"""


def test_what_a_factory_has_in_closures_is_lifted_where_that_is_safe(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "main.py").write_text(FACTORY)
    words = ("adopt", "own.main:create_app", "--factory", "--format", "json", "-o")
    first = run(*words, "one.yaml", folder=tmp_path)
    assert first.status == 0, first.out + first.err
    report = json.loads(first.out)
    ends = {call["what"]: (call["outcome"], call["reason"]) for call in report["calls"]}
    assert ends == {
        "FastAPI": ("written", ""),
        "KeyError": ("written", ""),
        "GET /title": ("written", ""),
        "GET /double": ("written", ""),
        "GET /names": (
            "bridged",
            "`read_names` stays where it is: `names` is an object of `list`, made in the same function",
        ),
        "GET /count": (
            "bridged",
            "`read_count` stays where it is: it assigns a variable of the function around it",
        ),
        "GET /app": (
            "bridged",
            "`read_app` stays where it is: it uses the application itself",
        ),
        "router": ("written", ""),
        "read_app": ("bridged", "it names the application, and has its state from now on"),
    }  # fmt: skip
    text = (tmp_path / "one.yaml").read_text()
    assert "use: own.assembly.make_read_title" in text
    second = run(*words, "two.yaml", folder=tmp_path)
    assert second.status == 0, second.out + second.err
    assert (tmp_path / "two.yaml").read_text() == text
    assert not (tmp_path / "own" / "assembly_2.py").exists()  # it would be the same


@pytest.mark.parametrize(
    ("text", "target", "told"),
    [
        ("import sys\nsys.exit(3)", "own:app", "error: `own:app` exits: `sys.exit(3)` (own.py:2)"),
        (
            "import os\napp = os.environ['SHOP_KEY']",
            "own:app",
            "error: `own:app` needs the variable `SHOP_KEY` (own.py:2): set it, or name a file that does by `--env-file`",
        ),
    ],
)
def test_an_application_that_cannot_be_recorded_is_told_and_nothing_is_written(
    text: str, target: str, told: str, tmp_path: Path
) -> None:
    (tmp_path / "own.py").write_text(text)
    outcome = run("adopt", target, folder=tmp_path)
    assert (outcome.status, outcome.out, outcome.err) == (2, "", f"{told}\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own.py"]


def test_variables_come_from_a_file_too(tmp_path: Path) -> None:
    missing = run("adopt", "own:app", "--env-file", "nowhere", folder=tmp_path)
    assert (missing.status, missing.err) == (2, "error: there is no file `nowhere`\n")
    text = "import os\nfrom fastapi import FastAPI\napp = FastAPI(title=os.environ['TITLE_OF'])\n"
    (tmp_path / "own.py").write_text(text)
    (tmp_path / "variables").write_text("TITLE_OF=of the file\n")
    outcome = run("adopt", "own:app", "--env-file", "variables", folder=tmp_path)
    assert outcome.status == 0, outcome.out + outcome.err
    assert (tmp_path / "manifests" / "app.yaml").read_text() == (
        'manifest: 1\napp: {title: "${TITLE_OF}"}  # own.py:3\n'
    )


def test_layers_are_replaced_where_asked_and_what_is_lost_gives_status_1(tmp_path: Path) -> None:
    text = """
from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

ORIGINS = ["https://a.example"]

class Own(FastAPI):
    def build_middleware_stack(self):
        return super().build_middleware_stack()

app = Own()
app.add_middleware(CORSMiddleware, allow_origins=ORIGINS)
app.add_middleware(CORSMiddleware, allow_origins=["https://A.example"])  # no browser sends that
"""
    (tmp_path / "own.py").write_text(text)
    outcome = run("adopt", "own:app", "-o", "m.yaml", "--prefer", "ours", folder=tmp_path)
    assert outcome.status == 1
    assert "  3 calls: 2 written, 0 bridged, 1 refused" in outcome.out
    assert (
        "own.py:11  Own: `Own` is a class of its own, with `build_middleware_stack`" in outcome.out
    )
    assert "in place of `starlette.middleware.cors.CORSMiddleware`: `Vary` has" in outcome.out
    manifest = (tmp_path / "m.yaml").read_text()
    ours, theirs = "components.middleware.cors", "starlette.middleware.cors"
    assert (manifest.count(f"use: {ours}"), manifest.count(f"use: {theirs}")) == (1, 1)


WRAPPED = """
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app):
    yield {"opened": True}


def create():
    app = FastAPI(title="Wrapped", lifespan=lifespan)
    app.add_middleware(GZipMiddleware)

    @app.get("/stream")
    async def stream():
        return StreamingResponse(iter(["a", "b"]))

    return GZipMiddleware(CORSMiddleware(app, allow_origins=["*"]), minimum_size=5)
"""


def test_an_application_that_layers_are_wrapped_around_is_equal_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "wrapped.py").write_text(WRAPPED)
    words = ("wrapped:create", "--factory", "--format", "json")
    outcome = run("adopt", *words, "-o", "m.yaml", folder=tmp_path)
    assert outcome.status == 0, outcome.out + outcome.err
    rules = [word for rule in json.loads(outcome.out)["accept"] for word in ("--accept", rule)]
    equal = run("equal", *words[:2], "m.yaml", "--lifespan", *rules, folder=tmp_path)
    assert equal.status == 0, equal.out + equal.err


def test_what_is_no_fastapi_application_is_mounted_as_a_whole(tmp_path: Path) -> None:
    text = """
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

app = Starlette(routes=[Route("/x", lambda request: PlainTextResponse("x"))])
"""
    (tmp_path / "own.py").write_text(text)
    outcome = run("adopt", "own:app", "-o", "m.yaml", folder=tmp_path)
    assert outcome.status == 0, outcome.out + outcome.err
    assert "{mount: /, use: own.app}" in (tmp_path / "m.yaml").read_text()
    with in_folder(tmp_path):
        from starlette.testclient import TestClient  # noqa: PLC0415  # as above

        import assembler  # noqa: PLC0415  # within the folder

        with TestClient(assembler.build(assembler.load("m.yaml"))) as client:
            assert client.get("/x").text == "x"
            assert client.get("/docs").status_code == 404
    assert os.environ.get("CANARY_TOKEN") is None


LAYERS = """
import enum
import os
import re
from functools import partial

from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import PlainTextResponse

STAGE = os.getenv("STAGE", "dev")
NUMBERS = frozenset({1, 2})


class Tone(str, enum.Enum):
    LOW = "low"



app = FastAPI(
    title={"blue": "Blue"}.get(os.getenv("COLOR", "blue"), "Other"),
    docs_url=None if STAGE.lower() == "production" else "/docs",
    debug=os.getenv("DEBUG", "0") == "1",
    root_path_in_servers=False,
    separate_input_output_schemas=False,
)


class Stamp:
    def __init__(self, name, value=""):
        self.name, self.value = name, value

    async def __call__(self, request, call_next):
        answer = await call_next(request)
        answer.headers[self.name] = self.value
        return answer

    async def method(self, request, call_next):
        return await self(request, call_next)

    @classmethod
    async def of_class(cls, request, call_next):
        return await cls("x-class")(request, call_next)

    @staticmethod
    async def of_nobody(request, call_next):
        return await call_next(request)


async def stamp(request, call_next, *, value):
    return await Stamp("x-partial", value)(request, call_next)


def made(value):
    async def stamp(request, call_next):
        return await Stamp("x-made", value)(request, call_next)

    return stamp


class Pattern:
    def __init__(self, app, pattern=None, *, text=""):
        self.app, self.pattern, self.text = app, pattern, text

    async def __call__(self, scope, receive, send):
        async def answered(message):
            if message["type"] == "http.response.start" and self.pattern.search(scope["path"]):
                message["headers"] = [*message["headers"], (b"x-text", self.text.encode())]
            await send(message)

        await self.app(scope, receive, answered if self.pattern else send)


def wrap(app, *, text="x"):
    return Pattern(app, re.compile("a"), text=text)


named = Stamp("x-named", "n")


def install(app: FastAPI, prefix: str) -> None:
    @app.middleware("http")
    async def local(request: Request, call_next):
        answer = await call_next(request)
        answer.headers["x-local"] = prefix
        return answer

    app.middleware("http")(made(prefix))


@app.middleware("http")
async def plain(request: Request, call_next):
    return await call_next(request)


install(app, "p")
app.middleware("http")(Stamp("x-object", "o"))
app.middleware("http")(named)
app.middleware("http")(named.method)
app.middleware("http")(Stamp.of_class)
app.middleware("http")(Stamp.of_nobody)
app.middleware("http")(partial(stamp, value="t"))
app.middleware("http")(partial(partial(stamp), value="u"))
app.middleware("http")(lambda request, call_next: call_next(request))
app.add_middleware(BaseHTTPMiddleware, dispatch=made("m"))
app.add_middleware(wrap, text="w")
app.add_middleware(partial(wrap, text="v"))
app.add_middleware(partial(GZipMiddleware, minimum_size=9))
app.add_middleware(lambda app: wrap(app, text="l"))
app.add_middleware(Pattern, re.compile("b"), text="b")
app.add_middleware(Pattern, pattern=re.compile("k"), text="k")
app.add_middleware(Pattern, text=Tone.LOW)
app.add_middleware(Pattern, text=NUMBERS)
app.add_middleware(Pattern, text=[str(number) for number in range(20_000)])
for number, value in enumerate([(1, 2), {"a"}, {"x": (1,)}, Tone.LOW, NUMBERS, b"x", [1, None], {"a": {"b": 2.5}}]):
    setattr(app.state, f"value_{number}", value)
app.add_middleware(TrustedHostMiddleware, allowed_hosts=os.getenv("HOSTS", "*").split(","))
app.add_middleware(Pattern, text={"dev": "d"}.get(STAGE, "p"))
app.state.headers = [["x-api-key", "canary-of-a-list-0123456789abcdef"]]
if STAGE in ("staging", "production"):
    app.middleware("http")(named)


@app.exception_handler(500)
async def broken(request, error):
    return PlainTextResponse("broken", 500)


@app.get("/abk")
async def abk(number: int = 1) -> int:
    return number
"""


def adopted_whole(folder: Path, name: str, source: str) -> dict[str, Any]:
    """Adopt a module's `app` as `m.yaml`, of which nothing may be refused; return the report."""
    (folder / f"{name}.py").write_text(source)
    outcome = run("adopt", f"{name}:app", "-o", "m.yaml", "--format", "json", folder=folder)
    report: dict[str, Any] = json.loads(outcome.out)
    assert (outcome.status, report["counts"]["refused"]) == (0, 0), outcome.out + outcome.err
    return report


def test_layers_of_every_kind_of_callable_are_equal_and_facts_without_a_word_come_along(
    tmp_path: Path,
) -> None:
    report = adopted_whole(tmp_path, "many", LAYERS)
    bridged = [each for each in report["calls"] if each["outcome"] == "bridged"]
    large = [each["place"] for each in bridged if "at least 20000 values" in each["reason"]]
    line = 1 + LAYERS[: LAYERS.index("range(20_000)")].count("\n")
    assert large == [f"many.py:{line}"]
    assert all(each["reason"] for each in bridged), bridged
    assert "allowed_hosts: ${HOSTS:-*}" in (tmp_path / "m.yaml").read_text().replace('"', "")
    assert "debug: true" in (tmp_path / "m.debug.yaml").read_text()
    assert "app.title = old.title" in (tmp_path / "assembly.py").read_text()
    rules = [word for rule in report["accept"] for word in ("--accept", rule)]
    assert "`STAGE` was turned to `production`; not tried: `staging`" in report["remarks"]
    assert not any("canary" in path.read_text() for path in tmp_path.glob("m*.yaml"))
    other = {"COLOR": "red", "HOSTS": "*.example,testserver", "STAGE": "production"}
    other |= dict.fromkeys(report["variables"], "canary-of-a-list-0123456789abcdef")
    equal = run("equal", "many:app", "m.stage.yaml", *rules, folder=tmp_path, environment=other)
    assert equal.status == 0, equal.out + equal.err


EVENTS = """
import asyncio
from functools import partial, wraps

from fastapi import APIRouter, Depends, FastAPI, Request

seen = []


def repeat_every(*, seconds, wait_first=None, max_repetitions=None, on_complete=None):
    # As fastapi-utils has it: a start begins a loop of its own.
    def decorator(function):
        @wraps(function)
        async def wrapped():
            async def loop():
                await asyncio.sleep(wait_first or 0)
                for _ in range(max_repetitions or 10**9):
                    await function()
                    await asyncio.sleep(seconds)
                on_complete and on_complete()

            kept.append(asyncio.ensure_future(loop()))

        wrapped.told = seconds, wait_first, max_repetitions, on_complete
        return wrapped

    return decorator


kept = []


def need(word):
    def inner(request: Request):
        request.state.words = [*getattr(request.state, "words", []), word]
        return word

    return inner


app = FastAPI(title="Events", dependencies=[Depends(need("all"))])


@app.on_event("startup")
@repeat_every(seconds=60)
async def each_minute():
    seen.append("minute")


@app.on_event("startup")
@repeat_every(seconds=3600, wait_first=5)
async def each_hour():
    seen.append("hour")


@app.on_event("startup")
@repeat_every(seconds=1, max_repetitions=2)
async def twice():
    seen.append("twice")


@app.on_event("startup")
@repeat_every(seconds=3600, on_complete=seen.clear)
async def ends():
    seen.append("ends")


@app.on_event("shutdown")
def stop():
    for task in kept:
        task.cancel()
    kept.clear()


app.router.on_startup.append(partial(seen.append, "by hand"))
app.router.on_shutdown.append(lambda: seen.append("a lambda"))
router = APIRouter()


@router.get("/words", dependencies=[Depends(need("own"))])
def words(request: Request) -> list[str]:
    return request.state.words


app.include_router(router, generate_unique_id_function=lambda route: route.name)
"""


def test_what_repeats_for_ever_is_a_job_and_events_put_there_by_hand_come_along(
    tmp_path: Path,
) -> None:
    report = adopted_whole(tmp_path, "events", EVENTS)
    manifest = yaml.safe_load((tmp_path / "m.yaml").read_text())
    jobs = {each["id"]: each["every"] for each in manifest["scheduler"]["jobs"]}
    assert jobs == {"each_minute": "1m", "each_hour": "1h"}
    steps = [each["use"].rpartition(".")[2] for each in manifest["startup"]]
    assert steps == ["twice", "ends", "list_append"]
    assert len(manifest["shutdown"]) == 2
    rules = [word for rule in report["accept"] for word in ("--accept", rule)]
    equal = run("equal", "events:app", "m.yaml", "--lifespan", *rules, folder=tmp_path)
    assert equal.status == 0, equal.out + equal.err
