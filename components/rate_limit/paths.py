"""Patterns of requests, as `match` and `exempt` write them.

In: `POST /api/v1/auth/*`, `GET,HEAD /search`, `/health/*`, `/users/*/avatar`.
Out: a test of a method and a path; what else tells requests apart.
A `*` at the end stands for any rest, elsewhere for one segment. Without a method all match; GET
is HEAD too. Refuses: a path without its leading slash, a `*` inside a segment.
"""

import re
from collections.abc import Callable, Container

from starlette.types import Scope

Matcher = Callable[[str, str], bool]

_PATTERN = re.compile(r"(?:([A-Z]+(?:,[A-Z]+)*) +)?(/\S*)")


def matcher(pattern: str, *, slash: bool) -> Matcher:
    """Compile a pattern; with `slash`, a literal path matches with slashes behind it too.

    A limit must hold for `/login/`, which may be rewritten to `/login` further inside; an
    exemption must not reach further than its words.
    """
    found = _PATTERN.fullmatch(pattern)
    if found is None:
        raise ValueError(f"`{pattern}` is no pattern: write `/path`, `/path/*` or `POST /path`")
    methods = frozenset((found[1] or "").split(",")) - {""}
    if "GET" in methods:
        methods |= {"HEAD"}
    path = found[2]
    rest = path.endswith("/*")
    segments = (path[:-2] if rest else path.rstrip("/") if slash else path).split("/")
    if any("*" in segment and segment != "*" for segment in segments):
        raise ValueError(f"`{pattern}`: a `*` stands for a whole segment or the rest")
    text = "/".join("[^/]+" if part == "*" else re.escape(part) for part in segments)
    test = re.compile(text + ("/.*" if rest else "/*" if slash else ""), re.DOTALL).fullmatch
    return lambda method, path: (not methods or method in methods) and test(path) is not None


def route_path(scope: Scope) -> str:
    """The path that routes see: without the root path that a server or a mount put before it."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) :][:1] in {"/", ""}:
        return path[len(root) :]
    return path


def is_preflight(headers: Container[bytes]) -> bool:
    """Whether an OPTIONS request is a browser's question, judged as Starlette's CORS does."""
    return b"origin" in headers and b"access-control-request-method" in headers
