"""Patterns of options -> tests of a request's path, or of its method and path.

`/docs` is that path alone, `/health/*` is all beneath it, and a `*` in place of a segment is any one
segment (`/users/*/photo`); `POST /login` and `GET,HEAD /a/*` name methods too. Refuses patterns that
do not begin with `/`, stars elsewhere, and methods in lower case. Paths are judged as the application
sees them, without the `root_path` that a proxy has cut off.
"""

import re
from collections.abc import Callable, Iterable
from operator import methodcaller

from starlette.types import Scope

PathTest = Callable[[str], object]
"""Says by a true value that a path is meant."""

RequestTest = Callable[[str, str], bool]
"""Says whether a method and a path are meant."""

_REQUEST = re.compile(r"(?:([A-Z]+(?:,[A-Z]+)*) +)?(/\S*)")


def path_test(option: str, pattern: str) -> PathTest:
    """The test for one pattern.

    Raises:
        ValueError: `pattern` is not one.
    """
    head, star, tail = pattern.partition("*")
    segments = pattern.split("/")
    if segments[0] or any("*" in segment and segment != "*" for segment in segments):
        raise ValueError(
            f"`{option}` is not a path pattern such as `/docs` or `/docs/*`: {pattern!r}"
        )
    if not star:
        return pattern.__eq__
    if not tail:
        return methodcaller("startswith", head)
    rest = "/.*" if segments[-1] == "*" else ""
    inner = segments[:-1] if rest else segments
    return re.compile(
        "/".join("[^/]+" if segment == "*" else re.escape(segment) for segment in inner) + rest,
        re.DOTALL,
    ).fullmatch


def any_path_test(option: str, patterns: Iterable[str]) -> PathTest:
    """The test whether a path is meant by one of `patterns`.

    Raises:
        TypeError: `patterns` is a single text.
        ValueError: one of them is not a pattern.
    """
    if isinstance(patterns, str):
        raise TypeError(f"`{option}` is a list of path patterns, not one text")
    texts = list(patterns)
    tests = {text: path_test(option, text) for text in texts}
    exact = frozenset(text for text in texts if "*" not in text)
    beneath = tuple(text[:-1] for text in texts if text.find("*") == len(text) - 1)
    others = [test for text, test in tests.items() if 0 <= text.find("*") < len(text) - 1]
    if not beneath and not others:
        return exact.__contains__
    if not others:
        return lambda path: path in exact or path.startswith(beneath)
    return lambda path: (
        path in exact or path.startswith(beneath) or any(test(path) for test in others)
    )


def matcher(pattern: str, *, slash: bool) -> RequestTest:
    """The test for a pattern that may name methods; without one all are meant, and GET is HEAD too.

    Args:
        pattern: `/search`, `POST /auth/*` or `GET,HEAD /users/*/photo`.
        slash: `/login` means `/login/` too. So must a limit, as a layer further inside may take the
            slash away; an exemption must not reach further than its words.

    Raises:
        ValueError: `pattern` is not one.
    """
    found = _REQUEST.fullmatch(pattern)
    if found is None:
        raise ValueError(f"`{pattern}` is no pattern: write `/path`, `/path/*` or `POST /path`")
    methods = frozenset((found[1] or "").split(",")) - {""}
    if "GET" in methods:
        methods |= {"HEAD"}
    path = found[2]
    if slash and not path.endswith("/*"):
        test = path_test("match", path.rstrip("/") or "/")
        return lambda method, path: (
            (not methods or method in methods) and bool(test(path.rstrip("/") or "/"))
        )
    test = path_test("match", path)
    return lambda method, path: (not methods or method in methods) and bool(test(path))


def app_path(scope: Scope) -> str:
    """The request's path without the `root_path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path
