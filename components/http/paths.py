"""Patterns of options -> tests of a request's path, or of its method and path.

`/docs` is that path alone, `/health/*` is all beneath it, and a `*` in place of a segment is any
one segment (`/users/*/photo`); `POST /login` and `GET,HEAD /a/*` name methods too. Refuses patterns
that do not begin with `/`, stars elsewhere, methods in lower case, and what no path has as
applications see it (`{id}`, `%20`, a query, segments of dots), for it would guard nothing. Paths
are judged as the application sees them, without the `root_path` that a proxy has cut off.

A path is not read alike by all who take it: a router's `$` also matches before a last newline, a
layer further inside takes slashes off, static files remove `.`, `..` and `//` and answer for a
folder with its index, and some disks do not care for case. Who guards cannot know who will read, so
a guard or a limit holds where ANY of these `readings` is meant, and an exemption only where ALL
are.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Literal

from pydantic import AfterValidator
from starlette.types import Scope

PathTest = Callable[[str], bool]
"""Says whether a path is meant."""

RequestTest = Callable[[str, str], bool]
"""Says whether a method and a path are meant."""

_REQUEST = re.compile(r"(?:([A-Z]+(?:,[A-Z]+)*) +)?(/\S*)")
# A slash at the end or before another, a segment of dots, a newline: all else is read in one way.
_ODD = re.compile(r"/\.{0,2}(?:/|\Z)|\n")
_PARAMETER = re.compile(r"\{[^{}:]+(?::([^{}]*))?\}")
_ESCAPED = re.compile(r"%[0-9A-Fa-f]{2}")
_BACKSLASHES = frozenset({"win32", "cygwin"})
_CASELESS = _BACKSLASHES | {"darwin"}
# A path with `..` that is longer has too many readings: it is meant by every guard, by no exemption.
_MOST_SEGMENTS = 32
_INDEX = "index.html"  # with which Starlette's StaticFiles answers for a folder
_LONGEST = 4096


def guards(option: str, patterns: Iterable[str], *, platform: str = sys.platform) -> RequestTest:
    """The test whether a request is meant by a guard or a limit on one of `patterns`.

    Any reading of the path will do, `/admin/*` is `/admin` too, and `/login` is `/login/`. A pattern
    without a method means all, and GET is HEAD too. `post` is POST: some servers hand a method on as
    it came, and some applications, those of WSGI for one, do not care for its case.

    Args:
        option: whose patterns they are, for messages.
        patterns: `/search`, `POST /auth/*`, `GET,HEAD /users/*/photo`.
        platform: as `sys.platform`, whose disks say what else is the same path.

    Raises:
        TypeError: `patterns` is a single text.
        ValueError: one of them is not a pattern.
    """
    is_caseless = platform in _CASELESS
    tests = [
        (methods, _guard_test(option, disk_form(path, platform=platform)))
        for methods, path in _requests(option, patterns)
    ]

    def is_guarded(method: str, path: str) -> bool:
        method = method.upper()
        meant = [test for methods, test in tests if not methods or method in methods]
        if not meant:
            return False
        if not is_caseless:
            if any(test(path) for test in meant):
                return True
            if not _ODD.search(path):
                return False
        found = [disk_form(each, platform=platform) for each in readings(path, platform=platform)]
        return not found or any(test(each) for test in meant for each in found)

    return is_guarded


def exempts(option: str, patterns: Iterable[str], *, platform: str = sys.platform) -> RequestTest:
    """The test whether a request is meant by an exemption for `patterns`: by all readings of its path.

    Takes and raises what `guards` does. No word reaches further than it says: `/a/*` is not `/a`.
    """
    tests = [(methods, path_test(option, path)) for methods, path in _requests(option, patterns)]

    def is_exempt(method: str, path: str) -> bool:
        meant = [test for methods, test in tests if not methods or method in methods]
        return _by_all(meant, path, platform)

    return is_exempt


def exempts_path(option: str, patterns: Iterable[str], *, platform: str = sys.platform) -> PathTest:
    """The test whether a path is meant by an exemption for `patterns`: by all its readings.

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
    others = any(0 <= text.find("*") < len(text) - 1 for text in texts)
    all_tests = tuple(tests.values())

    def is_exempt(path: str) -> bool:
        # Nearly no path is exempt, which these say at once.
        if path in exact or path.startswith(beneath) or others:
            return _by_all(all_tests, path, platform)
        return False

    return is_exempt


def path_test(option: str, pattern: str) -> PathTest:
    """The test for one pattern, of a path as it stands.

    Raises:
        ValueError: `pattern` is not one.
    """
    head, star, tail = pattern.partition("*")
    segments = pattern.split("/")
    if segments[0] or any("*" in segment and segment != "*" for segment in segments):
        raise ValueError(
            f"`{option}` is not a path pattern such as `/docs` or `/docs/*`: {pattern!r}"
        )
    if why := _why_never(pattern):
        raise ValueError(f"`{option}` has a pattern that no path is like, {pattern!r}: {why}")
    if not star:
        return pattern.__eq__
    if not tail:
        return lambda path: path.startswith(head)
    rest = "/.*" if segments[-1] == "*" else ""
    inner = segments[:-1] if rest else segments
    matches = re.compile(
        "/".join("[^/]+" if segment == "*" else re.escape(segment) for segment in inner) + rest,
        re.DOTALL,
    ).fullmatch
    return lambda path: matches(path) is not None


def means_route(test: PathTest, template: str) -> bool:
    """Whether `test` is true of all paths of a route, such as `/items/{id}` or `/files/{path:path}`."""
    return all(test(path) for path in _samples(template))


def reach(
    option: str, patterns: Iterable[str], method: str, template: str
) -> Literal["all", "some", "none"]:
    """How many requests of a route are meant by a guard or a limit on one of `patterns`.

    Takes and raises what `guards` does; `template` is the route's path, such as `/items/{id}`.
    """
    texts = list(patterns)
    test = guards(option, texts)
    if all(test(method, path) for path in _samples(template)):
        return "all"
    segments = template.strip("/").split("/")
    for methods, path in _requests(option, texts):
        if (not methods or method in methods) and _may_meet(path.strip("/").split("/"), segments):
            return "some"
    return "none"


def _samples(template: str) -> tuple[str, ...]:
    """Paths of a route which a pattern means only where it means all of them.

    No pattern has their character but by a star.
    """
    whole = _PARAMETER.sub("\ue000", template)
    deep = _PARAMETER.sub(
        lambda found: "\ue000/\ue000" if found[1] == "path" else "\ue000", template
    )
    return (whole,) if deep == whole else (whole, deep)


def _may_meet(pattern: Sequence[str], template: Sequence[str]) -> bool:
    """Whether a path can be both; a star at the end is all beneath, and the path itself."""
    if list(pattern) == ["*"]:
        return True
    if not pattern or not template:
        return not pattern and not template
    first, *rest = template
    if any(found[1] == "path" for found in _PARAMETER.finditer(first)):
        taken = range(1, len(pattern) + 1)
        return pattern[-1] == "*" or any(_may_meet(pattern[count:], rest) for count in taken)
    texts = enumerate(_PARAMETER.split(first))  # every second one is a converter
    shape = "".join(".+" if index % 2 else re.escape(text) for index, text in texts)
    is_one = pattern[0] == "*" or re.fullmatch(shape, pattern[0], re.DOTALL) is not None
    return is_one and _may_meet(pattern[1:], rest)


def readings(path: str, *, platform: str = sys.platform) -> tuple[str, ...]:
    """What `path` may be taken for, as it stands first; nothing where that cannot be said."""
    found = [path]
    if platform in _BACKSLASHES:
        found.append(_on_windows(path))
    elif not _ODD.search(path):
        return (path,)
    for each in tuple(found):
        bare = each.rstrip("/")
        found.append(bare or "/")
        if bare.endswith("\n"):
            found.append(bare[:-1].rstrip("/") or "/")
    for each in tuple(found):
        segments = [segment for segment in each.split("/") if segment not in ("", ".")]
        if ".." not in segments:
            found.append("/" + "/".join(segments))
        elif len(segments) > _MOST_SEGMENTS or len(path) > _LONGEST:
            return ()
        else:
            found += _climbing(segments)
    return tuple(dict.fromkeys(found))


def disk_form(path: str, *, platform: str = sys.platform) -> str:
    """The form in which two names of one file are equal, on disks that ignore case and composition."""
    return unicodedata.normalize("NFC", path.casefold()) if platform in _CASELESS else path


def app_path(scope: Scope) -> str:
    """The request's path without the `root_path`."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/"):
        return path[len(root) :] or "/"
    return path


def _path_pattern(text: str) -> str:
    try:
        path_test("", text)
    except ValueError:
        raise ValueError(
            f"takes patterns such as `/docs` or `/docs/*`, not `{text}`{_because(text)}"
        ) from None
    return text


def _request_pattern(text: str) -> str:
    try:
        guards("", [text])
    except ValueError:
        raise ValueError(
            f"takes patterns such as `/docs/*` or `POST /docs`, not `{text}`{_because(text)}"
        ) from None
    return text


PathPattern = Annotated[str, AfterValidator(_path_pattern)]
"""The type of an option that takes a pattern of paths, so that it is judged where it is written."""

RequestPattern = Annotated[str, AfterValidator(_request_pattern)]
"""The same for a pattern that may name methods."""


def _why_never(pattern: str) -> str:
    """Why no path is like `pattern`; nothing where one may be."""
    if "{" in pattern or "}" in pattern:
        return "for a segment of any text write `*`"
    if _ESCAPED.search(pattern):
        return "paths are judged decoded, so write the character itself"
    if "?" in pattern or "#" in pattern:
        return "a query or a fragment is no part of a path"
    if {".", ".."} & set(pattern.split("/")):
        return "write the path without `.` and `..`"
    return ""


def _because(text: str) -> str:
    why = _why_never(text.rpartition(" ")[2])
    return why and f": {why}"


def _requests(option: str, patterns: Iterable[str]) -> list[tuple[frozenset[str], str]]:
    """The methods (none for all) and the path that each pattern names."""
    if isinstance(patterns, str):
        raise TypeError(f"`{option}` is a list of patterns such as `POST /path`, not one text")
    found = []
    for pattern in patterns:
        match = _REQUEST.fullmatch(pattern)
        if match is None:
            raise ValueError(f"`{pattern}` is no pattern: write `/path`, `/path/*` or `POST /path`")
        methods = frozenset((match[1] or "").split(",")) - {""}
        found.append((methods | {"HEAD"} if "GET" in methods else methods, match[2]))
    return found


def _guard_test(option: str, pattern: str) -> PathTest:
    if pattern == "/*":
        return lambda path: True
    bare = pattern.removesuffix("/*").rstrip("/") or "/"
    tests = [path_test(option, pattern)]
    if bare != pattern:
        tests.append(path_test(option, bare))
    if pattern.endswith(f"/{_INDEX}"):
        is_folder = path_test(option, pattern.removesuffix(_INDEX))
        tests.append(lambda path: is_folder(path.rstrip("/") + "/"))
    return lambda path: any(test(path) for test in tests)


def _by_all(tests: Sequence[PathTest], path: str, platform: str) -> bool:
    if not any(test(path) for test in tests):
        return False
    if platform not in _BACKSLASHES and not _ODD.search(path):
        return True  # read in one way
    found = readings(path, platform=platform)
    return bool(found) and all(any(test(reading) for test in tests) for reading in found)


def _climbing(segments: list[str]) -> Iterator[str]:
    """The paths that are left when `..` is removed below each place where a folder may be mounted.

    What climbs out of a mounted folder is served where it comes back: `/files/../static/x`, with the
    folder `static` at `/files`, is `/files/x`. Others hold it at the root, as RFC 3986, 5.2.4 does.
    """
    for depth in range(len(segments) + 1):
        names: list[str] = []
        climbed = 0
        for segment in segments[depth:]:
            if segment != "..":
                names.append(segment)
            elif names:
                names.pop()
            else:
                climbed += 1
        yield "/" + "/".join([*segments[:depth], *names])
        yield "/" + "/".join([*segments[:depth], *names[climbed:]])


def _on_windows(path: str) -> str:
    """The path as Windows opens it, but for short names: no dots or blanks at the end of a name, no
    stream."""
    return "/".join(
        name if not name.strip(".") else name.partition(":")[0].rstrip(". ")
        for name in path.replace("\\", "/").split("/")
    )
