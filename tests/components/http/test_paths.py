"""Patterns, readings of paths, and what guards and exemptions make of them."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from components.http.paths import (
    PathPattern,
    RequestPattern,
    exempts,
    exempts_path,
    guards,
    means_route,
    reach,
    readings,
)

CASES = yaml.safe_load((Path(__file__).parents[2] / "guards.yaml").read_text())
PATHS = st.lists(
    st.sampled_from(["a", "b", "..", ".", "", "a\n", "\n", "*", "..."]), min_size=1, max_size=9
).map(lambda segments: "/" + "/".join(segments))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_guards_and_exemptions(case: dict[str, Any]) -> None:
    method, platform = case.get("method", "GET"), case.get("disk", "linux")
    found = {
        "guard": guards("paths", [case["pattern"]], platform=platform)(method, case["path"]),
        "exempt": exempts("exempt", [case["pattern"]], platform=platform)(method, case["path"]),
    }
    assert found == {name: case[name] for name in found}
    if " " not in case["pattern"]:
        by_path = exempts_path("exempt", [case["pattern"]], platform=platform)
        assert by_path(case["path"]) is case["exempt"]


@given(PATHS, st.sampled_from(["/a", "/a/*", "/a/*/b", "/*/b/*", "/", "/*"]))
def test_what_is_exempt_is_guarded_by_the_same_pattern(path: str, pattern: str) -> None:
    if exempts("x", [pattern])("GET", path):
        assert guards("x", [pattern])("GET", path)
        assert exempts_path("x", [pattern])(path)


@given(PATHS)
def test_the_path_as_it_stands_is_the_first_reading_and_each_is_a_path(path: str) -> None:
    found = readings(path)
    assert found[0] == path
    assert len(set(found)) == len(found)
    assert all(reading.startswith("/") for reading in found)


@pytest.mark.parametrize("path", ["/" + "../" * 33, "/../" + "a" * 5000, "/a" * 40 + "/../b"])
def test_a_path_with_too_many_readings_is_guarded_and_not_exempt(path: str) -> None:
    assert readings(path) == ()
    assert guards("x", ["/zzz"])("GET", path)
    assert not exempts("x", ["/*"])("GET", path)
    assert not exempts_path("x", ["/*"])(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/users/{id}", "write `*`"),
        ("/files/{path:path}", "write `*`"),
        ("/caf%C3%A9", "decoded"),
        ("/a%2fb/*", "decoded"),
        ("/search?q=1", "no part of a path"),
        ("/docs#top", "no part of a path"),
        ("/a/../b", "without"),
        ("/./a", "without"),
    ],
)
def test_refuses_what_no_path_is_like_since_it_would_guard_nothing(path: str, why: str) -> None:
    for text in (path, f"POST {path}"):
        for made in (guards, exempts):
            with pytest.raises(ValueError, match=why):
                made("paths", [text])
        with pytest.raises(ValidationError, match=why):
            TypeAdapter(RequestPattern).validate_python(text)
    with pytest.raises(ValueError, match=why):
        exempts_path("exempt", [path])
    with pytest.raises(ValidationError, match=why):
        TypeAdapter(PathPattern).validate_python(path)


@pytest.mark.parametrize("path", ["/100%", "/.well-known/*", "/a..b", "/x//y", "/é"])
def test_takes_what_a_path_may_be_like(path: str) -> None:
    assert guards("paths", [path])("GET", path)


def test_several_patterns_are_asked_of_each_reading() -> None:
    # one of them means the path as it stands, the other as a disk reads it
    assert exempts("x", ["/a/*", "/b/*"])("GET", "/a/../b/c")
    assert not guards("x", [])("GET", "/a")
    assert not exempts("x", [])("GET", "/a")


@pytest.mark.parametrize(
    ("patterns", "error"),
    [("/a", TypeError), (["a"], ValueError), (["/a*"], ValueError), (["get /a"], ValueError)],
)
def test_refuses_what_is_no_list_of_patterns(patterns: Any, error: type[Exception]) -> None:
    for make in (guards, exempts, exempts_path):
        with pytest.raises(error):
            make("paths", patterns)


SEGMENTS = st.sampled_from(["a", "b", "{x}", "a{x}", "{x:int}", "{x:path}"])
PATTERNS = st.lists(st.sampled_from(["a", "b", "ab", "7", "*"]), min_size=1, max_size=4)
WORDS = st.lists(st.sampled_from(["a", "b", "ab", "7", "q"]), min_size=1, max_size=2)


@given(st.lists(SEGMENTS, min_size=1, max_size=4), PATTERNS, WORDS)
def test_how_many_requests_of_a_route_a_pattern_means(
    segments: list[str], pattern: list[str], words: list[str]
) -> None:
    template, guarded = "/" + "/".join(segments), "/" + "/".join(pattern)
    path = template.replace("{x:path}", "/".join(words)).replace("{x:int}", "7")
    path = path.replace("{x}", words[0])
    test, reached = guards("paths", [guarded]), reach("paths", [guarded], "GET", template)
    if test("GET", path):
        assert reached != "none"
    if reached == "all":
        assert test("GET", path)
    exempt = exempts_path("exempt", [guarded])
    if means_route(exempt, template):
        assert exempt(path)


@pytest.mark.parametrize(
    ("pattern", "template", "reached"),
    [
        ("/items/5", "/items/{id}", "some"),
        ("/items/5", "/items/{id}/photo", "none"),
        ("/items/*", "/items", "all"),
        ("/items/*/photo", "/items/{id}/photo", "all"),
        ("/items/*/photo", "/items/{path:path}", "some"),
        ("/files/a/b/c", "/files/{path:path}", "some"),
        ("/files/*", "/files/{path:path}", "all"),
        ("/report.csv", "/{name}.csv", "some"),
        ("POST /items", "/items", "none"),
        ("/*", "/", "all"),
    ],
)
def test_reach(pattern: str, template: str, reached: str) -> None:
    assert reach("paths", [pattern], "GET", template) == reached
