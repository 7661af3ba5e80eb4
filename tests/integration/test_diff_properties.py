"""What holds for every pair of manifests: of nothing, of words, of directions, of compositions."""

import json
import random
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.span import File
from assembler.document.extends import Shelf
from assembler.document.parser import decoded
from assembler.review.diff.knowledge import Knowledge
from assembler.review.diff.side import Side, read_side
from assembler.review.finding import Comparison, Grade, as_dict
from tests.assembler.project import project
from tests.integration.diff_case import compared, directions, grades, told

SHOP = """
from typing import Annotated
from pydantic import Field, SecretStr
class Layer:
    def __init__(self, app, *, size: Annotated[int, Field(json_schema_extra={"looser": "higher"})] = 5,
                 label: str = "x", token: SecretStr | None = None): ...
class TenantMiddleware(Layer): ...
class AuthenticationMiddleware(Layer): layer_role = 'auth'
class RequestLoggingMiddleware(Layer): layer_role = 'logging'
class RateLimitMiddleware:
    layer_role = 'limiter'
    def __init__(self, app, *, limit: Annotated[str | list[str], Field(json_schema_extra={"looser": "higher"})]): ...
def signed_in(): ...
def tidy(): ...
"""
RATES = ["5/minute", "300/hour", "2/second", "90/minute", ["5/minute", "1/second"]]
CORS = "starlette.middleware.cors.CORSMiddleware"


KNOWLEDGE = Knowledge()  # the modules of this file stay the same ones


def told_apart(old: Side, new: Side) -> Comparison:
    return compared(old, new, KNOWLEDGE)


class Memory(Shelf):
    """One text, wherever it is asked for."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, path: Path) -> File:
        return decoded(self._text.encode(), "m.yaml")


def side(manifest: dict[str, Any] | str) -> Side:
    text = manifest if isinstance(manifest, str) else json.dumps(manifest)
    return read_side(Path("m.yaml"), Memory(text))


@st.composite
def manifests(draw: st.DrawFn, *, everywhere: bool = False) -> dict[str, Any]:
    """A manifest of a family; without `everywhere`, all of it have the same entries."""
    layers = [
        {"id": "cors", "use": CORS, "with": {"allow_origins": draw(subsets(["a", "b", "*"])), "allow_credentials": draw(st.booleans())}},
        {"id": "proxy", "use": "uvicorn.middleware.proxy_headers.ProxyHeadersMiddleware"},
        {"id": "limit", "use": "shop.RateLimitMiddleware", "with": {"limit": draw(st.sampled_from(RATES))}},
        {"id": "auth", "use": "shop.AuthenticationMiddleware", "with": {"size": draw(st.integers(1, 9))}},
        {"id": "log", "use": "shop.RequestLoggingMiddleware", "with": {"label": draw(st.sampled_from("xyz"))}},
        {"id": "own", "use": "shop.TenantMiddleware"},
    ]  # fmt: skip
    layers = draw(st.permutations(layers))
    jobs = [{"id": "j", "use": "shop.tidy", "cron": draw(st.sampled_from(["0 9 * * *", "*/5 * * * *", "0 9 * * 0", "0 9 * * 7"]))}]  # fmt: skip
    resources = {name: {"use": "shop.tidy", "on_error": draw(st.sampled_from(["fail", "warn", "degrade"]))} for name in draw(st.permutations(["db", "cache"]))}  # fmt: skip
    if everywhere:
        layers = draw(st.permutations(layers))[: draw(st.integers(0, 6))]
        jobs = jobs[: draw(st.integers(0, 1))]
        resources = dict(list(resources.items())[: draw(st.integers(0, 2))])
    return {
        "manifest": 1,
        "app": {"openapi": {"docs": draw(st.sampled_from([None, "/docs", "/other"]))}},
        "server": {"host": draw(st.sampled_from(["127.0.0.1", "0.0.0.0", "localhost"])), "limit_concurrency": draw(st.integers(1, 3))},
        "middleware": layers,
        "resources": resources,
        "routes": [{"id": "api", "use": "shop.tidy", "prefix": "/api", "dependencies": draw(subsets(["shop.signed_in", "shop.tidy"]))}],
        "scheduler": {"jobs": jobs},
    }  # fmt: skip


def subsets(items: list[str]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(items), unique=True)


@pytest.fixture(scope="module", autouse=True)
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with project(tmp_path_factory.mktemp("shop"), {"shop.py": SHOP}):
        yield


FEW = settings(max_examples=40, deadline=None)


@FEW
@given(manifests(everywhere=True))
def test_a_manifest_does_not_differ_from_itself(manifest: dict[str, Any]) -> None:
    assert told_apart(side(manifest), side(deepcopy(manifest))).findings == ()


@FEW
@given(manifests(everywhere=True), st.randoms(use_true_random=False))
def test_order_of_keys_comments_and_quotes_are_cosmetic(
    manifest: dict[str, Any], shuffle: random.Random
) -> None:
    def mixed(value: Any, *, is_ordered: bool = False) -> Any:
        if isinstance(value, list):
            return [mixed(item) for item in value]
        if not isinstance(value, dict):
            return value
        keys = list(value)
        if not is_ordered:
            shuffle.shuffle(keys)
        return {key: mixed(value[key], is_ordered=key == "resources") for key in keys}

    text = "# a comment\n" + json.dumps(mixed(manifest), indent=2).replace(",\n", ", # why\n")
    assert {*grades(told_apart(side(manifest), side(text)))} <= {Grade.cosmetic}


@FEW
@given(manifests(everywhere=True), manifests(everywhere=True))
def test_swapping_the_sides_swaps_looser_and_tighter(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    forth, back = (told_apart(side(a), side(b)) for a, b in ((first, second), (second, first)))
    assert directions(back, swapped=True) == directions(forth)


@FEW
@given(manifests(), manifests(), manifests())
def test_a_change_in_steps_is_graded_no_milder_than_its_net_effect(
    first: dict[str, Any], second: dict[str, Any], third: dict[str, Any]
) -> None:
    sides = side(first), side(second), side(third)
    steps = [told_apart(sides[0], sides[1]).worst, told_apart(sides[1], sides[2]).worst]
    net = told_apart(sides[0], sides[2]).worst
    assert net is None or net <= max(step for step in steps if step is not None)


@FEW
@given(manifests(), manifests(), st.sampled_from(["app", "server", "middleware", "routes"]))
def test_a_mixed_change_is_graded_no_milder_than_each_of_its_parts(
    first: dict[str, Any], second: dict[str, Any], section: str
) -> None:
    part = {**first, section: second[section]}
    whole = told_apart(side(first), side(second)).worst
    alone = told_apart(side(first), side(part)).worst
    assert alone is None or (whole is not None and whole >= alone)


SECRETS = [
    {"resources": {"a": {"use": "shop.Layer", "with": {"token": "canary"}}}},
    {"resources": {"a": {"use": "gone.Layer", "with": {"password": "canary", "api_key": "canary"}}}},
    {"resources": {"a": {"use": "shop.Layer", "with": {"label": "http://u:canary@h/?token=canary"}}}},
    {"resources": {"a": {"use": "shop.Layer", "with": {"label": "${TOKEN:-canary}"}}}},
    {"resources": {"a": {"use": "shop.Layer", "with": {"headers": {"Authorization": "canary"}}}}},
    {"resources": {"a": {"use": "shop.Layer", "with": {"headers": [{"name": "http://x:canary@h"}]}}}},
    {"resources": {"a": {"use": "shop.Layer", "with": {"secrets": ["canary", "canary-2"]}}}},
    {"server": {"ssl_keyfile_password": "canary"}},
    {"logging": {"version": 1, "handlers": {"m": {"credentials": ["me", "canary"]}}}},
    {"app": {"servers": [{"url": "https://u:canary@h"}]}},
    {"routes": [{"use": "shop.tidy", "prefix": "/a", "with": {"signing_secret": "canary"}}]},
]  # fmt: skip


@pytest.mark.parametrize("extra", SECRETS, ids=range(len(SECRETS)))
def test_a_planted_secret_appears_in_no_output(extra: dict[str, Any]) -> None:
    plain = {"manifest": 1}
    full = {"manifest": 1, **extra}
    other = json.loads(json.dumps(full).replace("canary", "CANARY"))
    empty = json.loads(json.dumps(full).replace("canary", ""))
    for pair in ((plain, full), (full, plain), (full, other), (other, full), (empty, full)):
        found = told_apart(side(pair[0]), side(pair[1]))
        assert found.findings
        assert "canary" not in (told(found) + json.dumps(as_dict([found]))).lower()


EVIL = "\x1b[31mred\x1b[0m\r\n## @everyone\u202e\u2066<script>\x07|`x`\u0000"


def test_hostile_texts_come_out_inert() -> None:
    entry = {"id": f"i{EVIL}", "use": "shop.Layer", "with": {f"k{EVIL}": EVIL, "label": EVIL}}
    manifest = {
        "manifest": 1,
        "app": {"title": EVIL, "tags": [{"name": EVIL}]},
        "middleware": [entry, {**entry, "id": "b"}],
        "startup": [{"id": EVIL, "use": "shop.tidy"}],
        "expect": [{"request": "GET /", "headers": {EVIL: EVIL}}],
        "logging": {"version": 1, EVIL: EVIL},
        "audit": {"suppress": [{"rule": EVIL, "reason": EVIL, "until": "2027-01-31"}]},
    }
    plain = {"manifest": 1, "middleware": [{"use": "shop.Layer"}]}
    moved = {**manifest, "middleware": [{**entry, "id": "b"}, {**entry, "with": {"label": "x"}}]}
    for pair in ((plain, manifest), (manifest, plain), (manifest, moved)):
        found = told_apart(side(pair[0]), side(pair[1]))
        assert all(line.isprintable() for line in told(found).split("\n"))
        assert not any(line.startswith("#") for line in told(found).split("\n"))
        for text in texts(as_dict([found])):
            assert text.isprintable()


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        yield from texts(inner)
