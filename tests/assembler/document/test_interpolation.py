"""References: reading them never fails, and what they bring stays data and stays secret."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr

from assembler.diagnostics.secrets import Secrets
from assembler.diagnostics.span import File
from assembler.document.interpolation import Reference, Resolver, parse
from assembler.document.interpolation_checks import (
    check_environment,
    check_resources,
    check_settings,
    check_syntax,
    mentions,
)
from assembler.document.nodes import MappingNode
from assembler.document.parser import read
from assembler.document.provenance import Held, ResourceRef, Text, Unknown
from tests.assembler.trees import SAFE, plain

PIECES = st.sampled_from(
    ["$", "${", "}", "$$", "A", ":-", ":?", "settings.", "resources.", "x", ".", " ", "${A}", "é"]
)


def tree(text: str) -> MappingNode:
    root = read(File("m.yaml", text))
    assert isinstance(root, MappingNode)
    return root


def resolve(text: str, environment: dict[str, str] | None = None, settings: Any = None) -> Any:
    return Resolver(environment or {}, settings, Secrets()).text(text)


@given(st.text() | st.lists(PIECES).map("".join))
def test_any_text_is_split_into_parts_that_make_it_up(text: str) -> None:
    parts = parse(text)
    written = [p.text if isinstance(p, Reference) else p.replace("$", "$$") for p in parts]
    assert "".join(written).replace("$$", "$") == text.replace("$$", "$")
    assert "" not in parts
    assert all(p.argument for p in parts if isinstance(p, Reference) and p.kind == "bad")


@given(st.text() | st.lists(PIECES).map("".join))
def test_doubled_dollar_signs_give_the_text_itself(text: str) -> None:
    assert "".join(str(part) for part in parse(text.replace("$", "$$"))) == text


@given(st.text() | st.lists(PIECES).map("".join))
def test_text_without_references_is_left_alone(text: str) -> None:
    plain_text = text.replace("$$", "").replace("${", "")
    if "$$" not in plain_text and "${" not in plain_text:
        assert "".join(str(part) for part in parse(plain_text)) == plain_text
        assert resolve(plain_text) == plain_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${A}", Reference("environment", "A", "${A}")),
        ("${A:-x:y}", Reference("environment", "A", "${A:-x:y}", "-", "x:y")),
        ("${A:?why\nnot}", Reference("environment", "A", "${A:?why\nnot}", "?", "why\nnot")),
        ("${settings.a.b}", Reference("settings", "a.b", "${settings.a.b}")),
        ("${resources.db}", Reference("resource", "db", "${resources.db}")),
        ("${settings}", Reference("settings", "", "${settings}")),
    ],
)
def test_each_form_is_read(text: str, expected: Reference) -> None:
    assert parse(text) == (expected,)


@pytest.mark.parametrize("text", ["${", "${}", "${a", "${a-b}", "${resources.a.b}", "${A:-${B}}"])
def test_what_cannot_be_read_says_why(text: str) -> None:
    kinds = [part.kind for part in parse(text) if isinstance(part, Reference)]
    assert kinds[0] == "bad"


BALANCED = st.recursive(
    st.text('abc:$ "', max_size=4).map(lambda text: text.replace("$", "")),
    lambda inner: st.lists(inner.map(lambda text: f"{{{text}}}") | inner, max_size=3).map("".join),
)


@given(BALANCED, BALANCED)
def test_a_default_may_hold_balanced_braces(one: str, other: str) -> None:
    assert resolve(f"${{A:-{one}}}") == one
    assert resolve(f"<${{A:-{one}}}|${{B:-{other}}}>") == f"<{one}|{other}>"


@given(st.text(SAFE, min_size=1), st.text(SAFE))
def test_a_value_of_the_environment_is_never_read_again(value: str, other: str) -> None:
    environment = {"A": value, "B": other}
    resolved = resolve("${A}", environment)
    assert isinstance(resolved, Text)
    assert (resolved, resolved.shown) == (value, "${A}")
    assert resolve("<${A}|${B}>", environment) == f"<{value}|{other}>"


@given(st.dictionaries(st.sampled_from("ABC"), st.text(SAFE), min_size=3))
def test_resolving_keeps_the_structure(environment: dict[str, str]) -> None:
    root = tree('x: ["${A}", {y: "${B} ${C}", n: 1}, $$, null]\n')
    data = Resolver(environment, None, Secrets()).data(root, ("resources", "a", "with"))
    one, two, three = (environment[name] for name in "ABC")
    assert data == {"x": [one, {"y": f"{two} {three}", "n": 1}, "$", None]}


def test_a_default_stands_for_what_is_not_set_or_empty() -> None:
    assert resolve("${A:-x}") == "x"
    assert resolve("${A:-x}", {"A": ""}) == "x"
    assert resolve("${A:-x}", {"A": "y"}) == "y"
    assert resolve("${A:-$$5}") == "$5"


def test_without_an_environment_nothing_is_known() -> None:
    resolver = Resolver(None, None, Secrets())
    assert isinstance(resolver.text("${A}"), Unknown)
    assert isinstance(resolver.text("${settings.a}"), Unknown)
    assert resolver.text("${resources.db}") == ResourceRef("db")
    assert resolver.text("a $ b") == "a $ b"


def test_settings_give_their_objects_and_keep_their_secrets() -> None:
    class Nested(BaseModel):
        port: int = 5

    class Settings(BaseModel):
        name: str = "estate"
        key: SecretStr = SecretStr("hidden-key")
        nested: Nested = Nested()

    secrets = Secrets()
    resolver = Resolver({}, Settings(), secrets)
    name, key = resolver.text("${settings.name}"), resolver.text("${settings.key}")
    assert (name, name.shown) == ("estate", "${settings.name}")
    assert isinstance(key, Held)
    assert resolver.text("${settings.nested.port}") == 5
    assert resolver.text("key=${settings.key}") == "key=hidden-key"
    assert secrets.scrub("it was hidden-key") == "it was ${settings.key}"


def test_the_whole_settings_keep_the_secrets_in_them() -> None:
    class Inner(BaseModel):
        token: SecretStr = SecretStr("tok-1234")

    class Whole(BaseModel):
        inner: Inner = Inner()
        url: str = "postgresql://me:hunter22@db/shop"
        title: str = "Shop"

    secrets = Secrets()
    whole = Whole()
    found = Resolver({}, whole, secrets).text("${settings}")
    assert isinstance(found, Held)
    assert found.value is whole
    assert secrets.scrub("Shop tok-1234 hunter22") == "Shop ${settings} ${settings}"


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, "x"), ("", "x"), ([], "x"), (SecretStr(""), "x"), (0, 0), (False, False), ("a", "a")],
)
def test_a_default_of_a_setting_stands_for_what_is_empty(value: object, found: object) -> None:
    settings = SimpleNamespace(field=value)
    assert Resolver({}, settings, Secrets()).text("${settings.field:-x}") == found


def test_passwords_inside_a_variable_are_secrets_of_their_own() -> None:
    secrets = Secrets()
    Resolver({"URL": "redis://:a-password@h/?token=a-token"}, None, secrets).text("${URL}")
    assert secrets.scrub("a-password and a-token") == "${URL} and ${URL}"


def test_the_values_of_code_paths_and_sql_are_left_alone() -> None:
    root = tree("startup: [{id: a, sql: [{run: 'DO $$ x $$ ${A}'}]}]\nsettings: a.b\n")
    data = Resolver({"A": "x"}, None, Secrets()).data(root)
    assert data["startup"][0]["sql"][0]["run"] == "DO $$ x $$ ${A}"
    assert list(check_syntax(mentions(root))) == []
    assert list(check_environment(mentions(root), {})) == []


def test_options_named_like_keys_of_the_format_take_references() -> None:
    root = tree('middleware: [{use: a.b, with: {use: "${A}", id: "${A}", sql: "${A}"}}]\n')
    assert list(check_syntax(mentions(root))) == []
    [entry] = Resolver({"A": "x"}, None, Secrets()).data(root)["middleware"]
    assert entry["with"] == {"use": "x", "id": "x", "sql": "x"}


def test_a_variable_that_is_no_text_is_refused() -> None:
    root = tree('app: {title: "${A}"}\n')
    [fault] = check_environment(
        mentions(root), {"A": b"caf\xe9".decode("utf-8", "surrogateescape")}
    )
    assert (fault.code, fault.message) == ("bad-value", "environment variable `A` is not UTF-8")


def test_a_setting_may_be_any_attribute_of_a_plain_object() -> None:
    class Plain:
        def __init__(self) -> None:
            self.title = "x"

    root = tree('app: {title: "${settings.title}", version: "${settings.titel}"}\n')
    [fault] = check_settings(mentions(root), Plain())
    assert (fault.code, fault.help) == ("unknown-setting", "did you mean `title`?")


@given(st.permutations(["a", "b", "c"]))
def test_only_resources_above_may_be_named(order: list[str]) -> None:
    uses = {"a": [], "b": ["a"], "c": ["a", "b"]}
    section = {
        name: {"use": "x.y", "with": {other: f"${{resources.{other}}}" for other in uses[name]}}
        for name in order
    }
    root = tree(json.dumps({"resources": section}))
    faults = list(check_resources(mentions(root), root.get("resources")))
    wrong = [(n, o) for n in order for o in uses[n] if order.index(o) > order.index(n)]
    assert [fault.code for fault in faults] == ["resource-order"] * len(wrong)
    assert plain(root)["resources"].keys() == section.keys()


def test_a_hundred_thousand_openings_are_one_fault() -> None:
    reference, rest = parse("${" * 100_000)
    assert isinstance(reference, Reference)
    assert (reference.kind, reference.text) == ("bad", "${")
    assert rest == "${" * 99_999


def test_a_huge_reference_that_cannot_be_read_is_not_repeated_in_full() -> None:
    (reference,) = parse("${" + "-" * 100_000 + "}")
    assert isinstance(reference, Reference)
    assert len(reference.argument) < 100
