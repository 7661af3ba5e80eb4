"""What a guard names is never reached unguarded, however its path is spelled.

Random routes, mounts, static folders and guards by random spellings, in process and under uvicorn with
both of its parsers. Every resource answers with its own canonical URL, so that whoever reads the answer
knows whether a guard should have stood before it.
"""

import asyncio
import http.client
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi import APIRouter, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from assembler.application.mount import SlashMount
from components.mcp.gate import BearerGate
from components.mcp.protected import Mount as Rules
from components.mcp.resource_server import ResourceServer
from components.middleware.api_key import APIKeyMiddleware
from components.middleware.cache_control import CacheControlMiddleware
from components.middleware.ip_allow_list import IPAllowListMiddleware
from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from components.middleware.webhook_signature import WebhookSignatureMiddleware
from tests.components.middleware.exchange import http_scope
from tests.servers import free_port, serve, start_uvicorn

SECRET = SecretStr("a-secret-of-at-least-thirty-two-bytes-and-more")
PATTERNS = (
    "/admin",
    "/admin/*",
    "/files/private/*",
    "/files/private/b.txt",
    "/*/files/private/*",
    "/hooks/paid",
    "/hooks/*",
    "/sub/*",
    "/sub/deep",
    "/live",
    "/users/*/photo",
    "/mounted",
    "/mounted/*",
    "/",
)
FILES = ("public/a.txt", "private/b.txt", "admin", "admin/x", "hooks/paid", "files/private/b.txt")


@dataclass(frozen=True)
class World:
    """What an application is made of."""

    parts: frozenset[str]
    guard: str
    patterns: tuple[str, ...]
    strips: bool


WORLDS = st.builds(
    World,
    parts=st.frozensets(
        st.sampled_from(["routes", "included", "sub", "mounted", "files", "tenants", "root"]),
        min_size=1,
    ),
    guard=st.sampled_from(["allow", "exempt", "limit", "webhook", "gate", "cache"]),
    patterns=st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=3, unique=True).map(tuple),
    strips=st.booleans(),
)
URLS = st.sampled_from(
    [
        "/",
        "/admin",
        "/admin/x",
        "/hooks/paid",
        "/hooks/slashed/",
        "/live",
        "/users/7/photo",
        "/files/private/b.txt",
        "/files/public/a.txt",
        "/acme/files/private/b.txt",
        "/sub",
        "/sub/deep",
        "/sub/slashed/",
        "/mounted",
        "/mounted/x",
        "/files/../static/private/b.txt",
        "/acme/files/../static/private/b.txt",
    ]
)
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *[(".",), ("",), ("x", ".."), ("..",), ("..", "static"), ("health", "..")],
                *[("..", "..", "srv", "static"), ("public", ".."), ("...",)],
            ]
        ),
        st.integers(0, 6),
    ),
    max_size=3,
)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """A path that may lead to a resource."""
    segments = draw(URLS).split("/")
    for more, place in draw(CHANGES):
        at = 1 + place % len(segments)
        segments[at:at] = more
    end = draw(st.sampled_from(["", "", "", "/", "\n", "//", "\n/", "/\n", "/.", "/x/.."]))
    return "/".join(segments) + end


async def itself(request: Request) -> PlainTextResponse:
    """The template of the route, with the values that it has taken."""
    text = request.scope["canonical"]
    for name, value in request.path_params.items():
        text = text.replace(f"{{{name}}}", value)
    return PlainTextResponse(text)


def route(path: str, canonical: str | None = None) -> Route:
    async def endpoint(request: Request) -> PlainTextResponse:
        request.scope["canonical"] = canonical or path
        return await itself(request)

    return Route(path, endpoint, methods=["GET", "POST"])


def static(folder: Path) -> ASGIApp:
    """The folder, whose files say where they are, with where it is mounted before that."""
    files = StaticFiles(directory=folder, html=True)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        front = scope.get("root_path", "")

        async def send_whole(message: Message) -> None:
            if message["type"] == "http.response.start":
                fields = [*message["headers"], (b"x-mounted-at", quote(front).encode())]
                message = {**message, "headers": fields}
            await send(message)

        await files(scope, receive, send_whole)

    return app


def routes_of(parts: frozenset[str], folder: Path) -> list[Any]:
    found: list[Any] = []
    if "routes" in parts:
        paths = ["/admin", "/hooks/paid", "/hooks/slashed/", "/live", "/users/{id}/photo", "/"]
        found += [route(path) for path in paths]
    if "sub" in parts:
        inner = [
            route("/", "/sub"),
            route("/deep", "/sub/deep"),
            route("/slashed/", "/sub/slashed"),
        ]
        found.append(Mount("/sub", Starlette(routes=inner)))
    if "mounted" in parts:
        own = [route("/", "/mounted"), route("/x", "/mounted/x")]
        found.append(SlashMount("/mounted", Starlette(routes=own)))
    if "files" in parts:
        found.append(Mount("/files", static(folder / "srv" / "static")))
    if "tenants" in parts:
        found.append(Mount("/{tenant}/files", static(folder / "srv" / "static")))
    if "root" in parts:
        found.append(Mount("", static(folder / "srv" / "static")))
    return found


def guarded(world: World, app: ASGIApp) -> ASGIApp:
    patterns = list(world.patterns)
    if world.guard == "allow":
        return IPAllowListMiddleware(app, allow=["10.0.0.1"], paths=patterns)
    if world.guard == "exempt":
        return APIKeyMiddleware(app, keys={"a": "0" * 64}, exempt=patterns)
    if world.guard == "limit":
        limits: Any = [{"match": pattern, "limit": "100000/minute"} for pattern in patterns]
        return RateLimitMiddleware(app, limit="1000000/day", routes=limits)
    if world.guard == "webhook":
        return WebhookSignatureMiddleware(app, secrets=["s"], paths=patterns)
    if world.guard == "cache":
        rules: Any = [
            {"match": f"GET {pattern}", "cache": "public, max-age=9"} for pattern in patterns
        ]
        return CacheControlMiddleware(app, rules=rules)
    mounts = {p.removesuffix("/*"): Rules() for p in patterns if "*" not in p[:-1] and p != "/"}
    server = ResourceServer(
        base_url="https://a.example",
        issuer="https://i.example",
        secret=SECRET,
        mounts=mounts or {"/nowhere": Rules()},
    )
    return BearerGate(app, resource_server=server)


def application(world: World, folder: Path) -> ASGIApp:
    routes = routes_of(world.parts, folder)
    if "included" in world.parts:
        api = FastAPI(openapi_url=None)
        router = APIRouter(prefix="/admin")
        router.routes += [route("/x", "/admin/x")]
        api.include_router(router)
        api.router.routes += routes
        inner: Any = api
    else:
        inner = Starlette(routes=routes)
    if world.strips:
        inner.add_middleware(StripTrailingSlashMiddleware)
    inner.user_middleware.insert(0, Middleware(lambda app: guarded(world, app)))
    whole: ASGIApp = inner
    return whole


def names(pattern: str, url: str, *, bare: bool) -> bool:
    """Whether the words of a pattern mean a canonical URL; `bare`: `/a/*` is `/a` too."""
    wanted, have = pattern.rstrip("/").split("/"), url.rstrip("/").split("/")
    if wanted[-1] == "*":
        if len(have) < len(wanted) - bare:
            return False
        wanted, have = wanted[:-1], have[: len(wanted) - 1]
    return len(wanted) == len(have) and all(
        want in ("*", found) for want, found in zip(wanted, have, strict=True)
    )


def judge(world: World, spelled: str, status: int, headers: dict[str, str], text: str) -> None:
    """Fail where the answer is of a resource that a guard should have stood before."""
    if status != 200:
        return
    url = text
    if "x-mounted-at" in headers:
        # Starlette leaves a slash there where a last newline was cut off.
        url = f"{headers['x-mounted-at'].rstrip('/')}/{text}"
    is_named = any(names(pattern, url, bare=world.guard != "exempt") for pattern in world.patterns)
    told = (world, spelled, url, headers)
    if world.guard == "exempt":
        assert is_named, told
    elif world.guard == "limit":
        limits = headers.get("ratelimit-policy", "")
        for pattern in world.patterns:
            assert f'"{pattern}"' in limits or not names(pattern, url, bare=True), told
    elif world.guard == "cache":
        exact = any(names(pattern, url, bare=False) for pattern in world.patterns)
        assert exact or "public" not in headers.get("cache-control", ""), told
    elif world.guard == "gate":
        mounts = [p.removesuffix("/*") for p in world.patterns if "*" not in p[:-1] and p != "/"]
        assert not any(f"{url.rstrip('/')}/".startswith(f"{mount}/") for mount in mounts), told
    else:
        assert not is_named, told


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("served")
    for name in FILES:
        path = made / "srv" / "static" / name
        if path.name == "admin":
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return made


@settings(max_examples=400)
@given(world=WORLDS, paths=st.lists(spellings(), min_size=4, max_size=12))
def test_what_a_guard_names_is_never_reached_unguarded(
    folder: Path, world: World, paths: list[str]
) -> None:
    app = application(world, folder)
    for path in paths:
        judge(world, path, *in_process(app, path))


def in_process(app: ASGIApp, path: str) -> tuple[int, dict[str, str], str]:
    """One exchange, whose client stays until the end: files are not sent to those who have gone."""
    sent: list[Message] = []

    async def run() -> None:
        gone = asyncio.Event()
        asked = False

        async def receive() -> Message:
            nonlocal asked
            if asked:
                await gone.wait()
            asked = True
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Message) -> None:
            sent.append(message)

        await app(http_scope(path, headers=[(b"host", b"a.example")]), receive, send)

    asyncio.run(run())
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    text = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], headers, text


@pytest.mark.parametrize(
    ("parts", "path"),
    [
        ("files", "/files/../static/private/b.txt"),
        ("files", "/files/public/../../static/private/b.txt"),
        ("files", "/files//private/./b.txt"),
        ("tenants", "/a/files/../static/private/b.txt"),
        ("tenants", "/../files/public/../private/b.txt"),
        ("root", "/../static/private/b.txt"),
        ("root", "//private/b.txt"),
    ],
)
def test_a_folder_serves_what_comes_back_to_it_to_those_who_may(
    folder: Path, parts: str, path: str
) -> None:
    served = application(World(frozenset({parts}), "allow", ("/nowhere",), strips=False), folder)
    assert in_process(served, path)[::2] == (200, "private/b.txt")
    patterns = ("/files/private/*", "/*/files/private/*", "/private/*")
    held = application(World(frozenset({parts}), "allow", patterns, strips=False), folder)
    assert in_process(held, path)[0] == 403


class Holder:
    """What the server serves just now."""

    app: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self.app(scope, receive, send)


@contextmanager
def serving(app: ASGIApp, parser: Any) -> Iterator[int]:
    port = free_port()
    with serve(app, port=port, http=parser, lifespan="off", loop="asyncio"):
        yield port


Ask = Callable[..., tuple[int, dict[str, str], str]]


@contextmanager
def asked(port: int) -> Iterator[Ask]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:

        def ask(path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read().decode()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, body

        yield ask


@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_nor_under_a_real_server(folder: Path, parser: str) -> None:
    holder = Holder()
    with serving(holder, parser) as port, asked(port) as ask:

        @settings(max_examples=60)
        @given(
            world=WORLDS,
            paths=st.lists(st.tuples(spellings(), st.booleans()), min_size=4, max_size=8),
        )
        def check(world: World, paths: list[tuple[str, bool]]) -> None:
            holder.app = application(world, folder)
            for path, is_veiled in paths:
                written = quote(path, safe="/")
                if is_veiled:
                    written = written[0] + written[1:].replace(".", "%2e").replace("/x", "%2Fx")
                judge(world, path, *ask(written))

        check()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v1/listings", 401),
        ("POST", "/api/v1/listings%0A", 401),
        ("POST", "/api/v1/listings%0a/", 401),
        ("POST", "//api/v1/listings", 401),
        ("POST", "/x/../api/v1/listings", 401),
        ("POST", "/api/./v1/listings", 401),
        ("GET", "/api/v1/visits%0A", 401),
        ("GET", "/api/v1/listings", 200),
        ("GET", "/api/v1/listings%0A", 400),
        ("POST", "/mcp%0A", 401),
        ("POST", "/health/../mcp", 401),
        ("GET", "/health/live%7F", 400),
        ("GET", "/no//such", 404),
    ],
)
@pytest.mark.parametrize("parser", ["h11", "httptools"])
def test_the_shipped_service(
    service: dict[str, int], parser: str, method: str, path: str, status: int
) -> None:
    with asked(service[parser]) as ask:
        found, headers, _ = ask(path, method)
    assert found == status
    assert headers["x-request-id"]  # whatever is refused goes through the layers


@pytest.fixture(scope="module")
def service() -> Iterator[dict[str, int]]:
    environment = {"ASSEMBLY": "manifests/test.yaml"}
    with (
        start_uvicorn("assembler:app", "--http", "h11", environment=environment) as first,
        start_uvicorn("assembler:app", "--http", "httptools", environment=environment) as second,
    ):
        yield {"h11": first, "httptools": second}


@pytest.mark.parametrize("path", ["/api/v1/listings/", "/api/v1/visits/", "/mcp/", "/health/live/"])
def test_a_slash_at_the_end_runs_the_shipped_layers_once(
    service: dict[str, int], path: str
) -> None:
    with asked(service["h11"]) as ask:
        status, headers, _ = ask(path)
        assert status in {200, 401}
        before = headers.get("ratelimit", "")
        _, headers, _ = ask(path)
    left = [
        int(text.partition("r=")[2].partition(";")[0] or 0)
        for text in (before, headers.get("ratelimit", ""))
    ]
    assert left[0] - left[1] <= 1  # less where earlier ones have left the window meanwhile
