"""The catalogue, the schema, the README and what `check` takes are one: no text of its own is stale."""

import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from assembler.cli.components import listed
from assembler.describe.catalogue import CatalogueItem, Option, item_of, matching, words_of
from assembler.describe.schema.generator import Schema
from assembler.describe.schema.options import options_schema
from assembler.describe.snippet import snippet
from assembler.document.dump import dump
from assembler.plan.allow_list import ImportList
from assembler.plan.load import load
from assembler.plan.static import SourceReader
from assembler.plan.targets import ModuleTargets
from tests.assembler.command import in_folder, run, write

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text("utf-8")


@cache
def shipped() -> tuple[CatalogueItem, ...]:
    with in_folder(ROOT):
        return tuple(item for item in listed([]) if item.path.startswith("components."))


def described(options: tuple[Option, ...], path: str) -> Iterator[tuple[str, str]]:
    for option in options:
        yield f"{path}.{option.name}", option.description
        yield from described(option.fields, f"{path}.{option.name}")


def test_every_shipped_option_has_a_description() -> None:
    pairs = [pair for item in shipped() for pair in described(item.options, item.path)]
    assert len(pairs) > 200
    assert [name for name, text in pairs if not text] == []


def test_every_shipped_component_says_what_it_does() -> None:
    assert [item.path for item in shipped() if not item.summary or len(item.summary) > 160] == []


def test_the_catalogue_and_the_schema_say_the_same() -> None:
    targets = ModuleTargets(ImportList(None, None))
    for item in shipped():
        leading = 1 if {"middleware", "configure"} & set(item.sections) else 0
        target = targets.target(item.path, leading=leading)
        if target.form == "instance":  # a router that is made already takes no options
            continue
        definitions: dict[str, Schema] = {}
        options_schema(target, "options", definitions, given=frozenset())
        properties = definitions["options"]["properties"]
        named = {option.name: option for option in item.options}
        assert set(named) == set(properties) - {"job", "$remove", "$replace"}, item.path
        parameters = target.signature.parameters
        assert [name for name in named if parameters[name].required] == list(item.required), (
            item.path
        )
        for name, option in named.items():
            said = properties[name].get("description")
            assert said in (None, option.description), f"{item.path}.{name}"
            default = properties[name].get("default")
            if isinstance(default, str | int | float | bool):
                told = str(default).lower() if isinstance(default, bool) else str(default)
                assert (option.default or "").strip('"') == told, f"{item.path}.{name}"


def test_the_snippet_of_each_shipped_component_passes_check() -> None:
    file = ROOT / "manifests" / ".snippet.yaml"
    items = shipped()
    try:
        for item in items:
            for section in item.sections:
                part = snippet(item, items, section=section)
                file.write_text(dump([{"manifest": 1, "app": {"title": "Snippet"}, **part}]))
                plan = load(file, environment={}, lazy=False)
                assert [each.message for each in plan.warnings] == [], item.path
    finally:
        file.unlink(missing_ok=True)


def test_a_snippet_passes_check_where_no_manifest_says_what_it_needs(tmp_path: Path) -> None:
    file = tmp_path / "m.yaml"
    every = {item.path: replace(item, uses=()) for item in shipped()}
    unlisted = {  # there, for these have neither a pair that opens and closes nor a manifest
        *("components.channels.tickets.Tickets", "components.crawl.crawler.Crawler"),
        *("components.vectors.Vectors", "components.vectors.hashed.HashedEmbeddings"),
        *("components.estate.stand_ins.LoggedPush", "components.estate.stand_ins.LoggedSMS"),
    }
    items = [item for path, item in every.items() if path not in unlisted]
    needy = [item for item in every.values() if item.required]
    assert unlisted < every.keys()
    assert len(needy) > 20
    for item in needy:
        part = snippet(item, items, find=every.get)
        file.write_text(dump([{"manifest": 1, "app": {"title": "Snippet"}, **part}]))
        load(file, environment={}, lazy=False)


@pytest.mark.parametrize(
    ("annotation", "words", "nested"),
    [
        ("Box", "an object of `Box`", []),
        ("Box | None", "an object of `Box`", []),
        ("list[Box]", "a list of an object of `Box`", []),
        ("Box | Bag", "an object of `Box` or `Bag`", []),
        ("Row", "a mapping", ["size"]),
        ("Point", "a mapping", ["x"]),
        ("Pair", "a mapping", ["left"]),
        ("dict[str, Row]", "a mapping of mappings", ["size"]),
        ("list[Point]", "a list of mappings", ["x"]),
        ("Any", "anything", []),
    ],
)
def test_an_object_is_told_by_its_class_and_a_mapping_by_its_keys(
    tmp_path: Path, annotation: str, words: str, nested: list[str]
) -> None:
    code = f"""\
from dataclasses import dataclass
from typing import Any, TypedDict
from pydantic import BaseModel
class Box: ...
class Bag: ...
class Row(BaseModel):
    size: int
@dataclass
class Point:
    x: int
class Pair(TypedDict):
    left: int
def made(*, it: {annotation}): ...
"""
    write(tmp_path, {"kinds.py": code})
    with in_folder(tmp_path):
        (option,) = item_of(SourceReader(ImportList(None, None)), "kinds.made", {}).options
    assert option.type == words
    assert [each.name for each in option.fields] == nested


def test_the_readme_names_what_ships() -> None:
    table = README.partition("## What ships in `components`")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+(?:\.\w+)*)`", table))
    missing = [
        item.path
        for item in shipped()
        if not item.path.startswith("components.estate.")
        and not any(f"{item.path}.".startswith(f"components.{name}.") for name in named)
    ]
    assert missing == []
    gone = [
        name
        for name in named
        if not (ROOT / "components" / name.replace(".", "/")).is_dir()
        and not (ROOT / "components" / f"{name.replace('.', '/')}.py").is_file()
    ]
    assert gone == []


def test_each_metric_that_is_shown_is_named_by_a_component() -> None:
    text = (ROOT / "components/metrics/families.py").read_text("utf-8")
    shown = re.findall(r'(?:MetricFamily|_counters)\(\s*"(\w+)"', text)
    named = {name for item in shipped() for name in item.metrics}
    assert shown
    assert {name for name in shown if not {name, f"{name}_total"} & named} == set()


@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("cors", "components.middleware.cors.CORSMiddleware"),
        ("429", "components.middleware.rate_limit.RateLimitMiddleware"),
        ("retry", "components.clients.http.client"),
        ("rate limit", "components.middleware.rate_limit.RateLimitMiddleware"),
        ("ratelimit", "components.middleware.rate_limit.RateLimitMiddleware"),
        ("cachecontrl", "components.middleware.cache_control.CacheControlMiddleware"),
        ("request id", "components.middleware.request_id.RequestIDMiddleware"),
        ("hsts", "components.middleware.security_headers.SecurityHeadersMiddleware"),
        ("prometheus", "components.metrics.router"),
        ("webhook", "components.middleware.webhook_signature.WebhookSignatureMiddleware"),
    ],
)
def test_words_find_what_they_mean(query: str, first: str) -> None:
    found = [item.path for item in matching(shipped(), query)]
    assert first in found[:3]


def test_nothing_fits_a_word_that_nobody_says() -> None:
    assert matching(shipped(), "xyzzyplugh") == []


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "an integer or null"),
        (list[str], "a list of text"),
        (dict[str, int], "a mapping of an integer"),
        (bool, "true or false"),
        (tuple[str, ...], "a list of text"),
    ],
)
def test_types_are_told_in_words(hint: object, words: str) -> None:
    assert words_of(hint) == words


SHOP = {
    "pyproject.toml": '[tool.assembler]\nimports = ["shop"]\n',
    "shop/__init__.py": "raise SystemExit('imported')\n",
    "shop/parts.py": '''\
from fastapi import APIRouter, FastAPI
from typing import Protocol

class Layer:
    """Paints answers."""
    def __init__(self, app, *, colour: str) -> None: ...
    async def __call__(self, scope, receive, send): ...

class Base(Layer):
    """Inherits all of it."""

class Pool:
    """Opened and closed."""
    async def __aenter__(self): ...
    async def __aexit__(self, *error): ...

class Connecting:
    """Connects."""
    async def connect(self): ...
    async def aclose(self): ...

class Asked(Protocol):
    """What code expects."""
    async def __aenter__(self): ...
    async def __aexit__(self, *error): ...

class Data:
    """Nothing to a manifest."""

router = APIRouter()
def made(*, prefix: str = "") -> APIRouter:
    """Make routes."""
def register(app: FastAPI) -> None:
    """Change the app."""
async def answer(request, error):
    """Answer an error."""
async def nightly(*, job, days: int = 1) -> None:
    """Clean up."""
async def warm(*, url: str) -> None:
    """Look up."""
def _private(*, url: str) -> None: ...
def twice(number: int) -> int: ...
''',
}
WHERE = {
    "Layer": "middleware",
    "Base": "middleware",
    "Pool": "resources",
    "Connecting": "resources",
    "router": "routes",
    "made": "routes",
    "register": "configure",
    "answer": "exception_handlers",
    "nightly": "scheduler.jobs",
    "warm": "startup",
}


def test_a_users_own_code_is_listed_by_its_form_and_never_run(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    with in_folder(tmp_path):
        found = {item.path.removeprefix("shop.parts."): item.sections[0] for item in listed([])}
    assert found == WHERE


def test_without_a_list_the_projects_packages_are_listed_beside_what_ships(tmp_path: Path) -> None:
    write(tmp_path, {name: text for name, text in SHOP.items() if name != "pyproject.toml"})
    shown = run("components", "--section", "configure", folder=tmp_path)
    assert (shown.status, shown.out) == (0, "configure\n  shop.parts.register  Change the app\n")


def test_what_a_manifest_names_is_listed_whatever_its_form(tmp_path: Path) -> None:
    manifest = "manifest: 1\napp: {title: T}\nresources: {d: {use: shop.parts.Data}}\n"
    write(tmp_path, {**SHOP, "manifests/dev.yaml": manifest})
    with in_folder(tmp_path):
        (data,) = [item for item in listed([]) if item.path == "shop.parts.Data"]
    assert data.sections == ("resources",)
    assert [(use.place, use.id) for use in data.uses] == [("manifests/dev.yaml:3", "d")]


def test_a_package_may_be_named_besides(tmp_path: Path) -> None:
    write(tmp_path, {**SHOP, "other.py": SHOP["shop/parts.py"]})
    shown = run("components", "paints", "--package", "other", folder=tmp_path)
    assert [line.split()[0] for line in shown.out.splitlines()] == [
        "other.Layer",
        "shop.parts.Layer",
    ]
