"""Path patterns of options -> tests of a request's path that cost one call each.

`/docs` is that path alone, `/health/*` is all beneath it, and a `*` in place of a segment is any one
segment (`/users/*/photo`). Refuses patterns that do not begin with `/` and stars elsewhere. Paths
are judged as the application sees them, without the `root_path` that a proxy has cut off.
"""

import re
from collections.abc import Callable, Iterable
from operator import methodcaller

from starlette.types import Scope

PathTest = Callable[[str], object]
"""Says by a true value that a path is meant."""


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


def app_path(scope: Scope) -> str:
    """The request's path without the `root_path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path
