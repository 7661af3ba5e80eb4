"""The canonical form: comments stay at their entries, and a manifest says what it said before."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from assembler.diagnostics.errors import AssemblerError, ManifestError
from assembler.diagnostics.span import File
from assembler.document.extends import read_layer
from assembler.document.nodes import MappingNode
from assembler.review import formatting as room
from assembler.review.formatting import formatted
from assembler.review.formatting.written import comment_owners, read_written
from tests.assembler.trees import KEYS, VALUES, plain

ROOT = Path(__file__).parents[4]
CASES = sorted((Path(__file__).parents[3] / "formats").glob("*.case"))


def form(text: str) -> str:
    return formatted(File("m.yaml", text))


def said(text: str) -> Any:
    return plain(read_layer(File("m.yaml", text)))


def strictly(text: str) -> str:
    """Tell `1` from `1.0` and from `true`, whatever the order of keys."""
    return json.dumps(said(text), sort_keys=True)


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_a_text_takes_the_expected_form(path: Path, request: pytest.FixtureRequest) -> None:
    """Each case is what is written, `----`, and its form; `--update` writes the form."""
    text = path.read_text("utf-8")
    written, _, expected = text.partition("----\n")
    actual = form(written)
    if request.config.getoption("--update", default=False):
        path.write_text(f"{written}----\n{actual}", "utf-8")
    else:
        assert actual == expected
    assert form(actual) == actual


@pytest.mark.parametrize(
    "path",
    sorted(
        [
            *ROOT.glob("manifests/*.yaml"),
            *ROOT.glob("assembler/cli/init/templates/manifests/*.yaml"),
        ]
    ),
    ids=str,
)
def test_what_ships_is_in_canonical_form(path: Path) -> None:
    assert form(path.read_text("utf-8")) == path.read_text("utf-8")


def test_line_ends_of_other_systems_become_newlines() -> None:
    assert form("manifest: 1\r\napp:  # x\r\n    title: >\r\n        a\r\n\r\n        b\r\n") == (
        "manifest: 1\n\napp:  # x\n  title: >\n    a\n\n    b\n"
    )
    assert form("manifest: 1\rextends: a.yaml\r") == "manifest: 1\nextends: a.yaml\n"


@pytest.mark.parametrize("text", ["", "\n\n", "# only this\n", "\n# a\n\n\n# b\n", "---\n", "~\n"])
def test_an_empty_manifest_keeps_its_comments(text: str) -> None:
    assert read_written(form(text)).comments == read_written(text).comments
    assert form(form(text)) == form(text)


def test_what_resources_and_options_say_keeps_its_order() -> None:
    text = form(
        "resources: {b: {with: {z: 1, id: 2, use: 3}, use: x.y}, a: {use: x.y}}\n"
        "logging: {root: {}, version: 1}\nmanifest: 1\n"
    )
    found = said(text)
    assert list(found) == ["manifest", "logging", "resources"]
    assert list(found["resources"]) == ["b", "a"]
    assert list(found["resources"]["b"]) == ["use", "with"]
    assert list(found["resources"]["b"]["with"]) == ["z", "id", "use"]
    assert list(found["logging"]) == ["root", "version"]


def test_keys_stay_where_an_alias_would_come_before_its_anchor() -> None:
    written = "routes: [{use: a.b, tags: &t [x]}]\napp: {tags: *t}\nmanifest: 1\n"
    assert list(said(form(written))) == ["routes", "app", "manifest"]
    twice = "server: {a: &t 1}\napp: {b: &t 2}\nmanifest: 1\nexpect: *t\n"
    assert list(said(form(twice))) == ["server", "app", "manifest", "expect"]
    assert strictly(form(twice)) == strictly(twice)


def test_other_readers_of_yaml_read_strings_where_this_one_does() -> None:
    words = ["no", "Yes", "on", "010", "0o17", "0x1F", "1:30", "1_000", ".inf", "2026-01-31", "="]
    words += ["True", "Null", "<<", "+1", "1."]
    text = form("app:\n" + "".join(f"  k{n}: {word}\n" for n, word in enumerate(words)))
    assert list(yaml.safe_load(text)["app"].values()) == words
    assert list(said(text)["app"].values()) == words


@pytest.mark.parametrize(
    "text", ["a: [", "a: 1\na: 2\n", "a: !x 1\n", "- 1\n", "a: 1\n---\nb: 1\n", "a: \x01\n"]
)
def test_a_text_with_faults_has_no_form(text: str) -> None:
    with pytest.raises(ManifestError):
        form(text)


def test_a_form_that_would_say_something_else_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for other in ("app: {title: b}  # c\n", "app: {title: a}\n"):
        monkeypatch.setattr(room, "text_of", lambda _, other=other: other)
        with pytest.raises(AssemblerError, match="left as it is"):
            form("app: {title: a}  # c\n")


def test_long_strings_stay_on_their_line() -> None:
    long = "word " * 60 + "end"
    assert form(f"app: {{title: {long}}}\n") == f"app:\n  title: {long}\n"
    key = "k" * 2000
    assert said(form(f"app:\n  ? {key}\n  : [1]\n")) == {"app": {key: [1]}}


def test_deep_nesting_and_many_comments_do_not_hurt() -> None:
    deep = "a: " + "[" * 98 + "]" * 98 + "\n"
    assert said(form(deep)) == said(deep)
    many = "manifest: 1\n" + "".join(f"# {n}\nk{n}: 1  # {n}\n" for n in range(20_000))
    assert form(many) == many


# Random manifests: the words of the format around random values, in random styles.

ENTRIES = st.lists(
    st.fixed_dictionaries(
        {"use": st.sampled_from(["a.b", "c.d:e"])},
        optional={"id": KEYS, "with": VALUES, "on_error": KEYS, "prefix": KEYS, "other": VALUES},
    ),
    max_size=3,
)
MANIFESTS = st.fixed_dictionaries(
    {},
    optional={
        "manifest": st.just(1),
        "extends": KEYS,
        "app": st.fixed_dictionaries({}, optional={"version": KEYS, "title": VALUES, "x": VALUES}),
        "resources": st.dictionaries(KEYS, VALUES, max_size=3),
        "middleware": ENTRIES,
        "routes": ENTRIES,
        "startup": VALUES,
        "server": VALUES,
        "unknown": VALUES,
    },
).flatmap(lambda data: st.permutations(list(data.items())).map(dict))
STYLES = st.fixed_dictionaries(
    {
        "default_flow_style": st.sampled_from([True, False, None]),
        "default_style": st.sampled_from([None, None, '"', "'", "|", ">"]),
        "width": st.sampled_from([20, 80, 10_000]),
        "indent": st.sampled_from([2, 4, 7]),
        "allow_unicode": st.booleans(),
        "explicit_start": st.booleans(),
    }
)


class _Dumper(yaml.SafeDumper):
    """Writes no tags: what a text then says is as good as any."""

    def process_tag(self) -> None:
        if isinstance(self.event, yaml.ScalarEvent) and self.style is None:
            self.style = self.choose_scalar_style()


def _with_comments(text: str, seed: int) -> str:
    """Put comments and blank lines wherever they do not change what the text says."""
    chance = random.Random(seed)
    wanted = strictly(text)
    for number in range(chance.randint(0, 8)):
        lines = text.split("\n")
        at = chance.randrange(len(lines))
        kind = chance.randrange(3)
        if kind == 0:
            lines[at] += f" # {number}"
        elif kind == 1:
            lines.insert(at, " " * chance.randint(0, 6) + f"# {number}")
        else:
            lines.insert(at, "")
        tried = "\n".join(lines)
        try:
            if strictly(tried) == wanted:
                text = tried
        except ManifestError:
            continue
    return text


@st.composite
def texts(draw: st.DrawFn) -> str:
    data = draw(MANIFESTS)
    style: dict[str, Any] = draw(STYLES)
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, **style)
    try:
        strictly(text)
    except ManifestError:  # a style that our reader takes for another type of key
        text = json.dumps(data, ensure_ascii=False)
    return _with_comments(text, draw(st.integers(0, 2**32)))


@given(texts())
@settings(max_examples=300)
def test_the_form_says_the_same_keeps_the_comments_and_is_its_own_form(text: str) -> None:
    result = form(text)
    assert strictly(result) == strictly(text)
    assert sorted(read_written(result).comments) == sorted(read_written(text).comments)
    assert form(result) == result
    if not set(text) & {"|", ">", "\\"}:
        assert not [line for line in result.split("\n") if line != line.rstrip(" \t")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n  - use: b\n  - # why\n    use: c\n", [(("a", 1), "# why")]),
        ("a:\n- # one\n  use: b\n- &x # two\n  use: c\n", [(("a", 0), "# one"), (("a", 1), "# two")]),
        ("a:\n  -\n    # why\n    - b\n    - # item\n      c\n", [(("a", 0, 0), "# why"), (("a", 0, 1), "# item")]),
        ("a: # of a\n  # above\n  b: 1\n  # end of a\nc: 2\n# end\n", [
            (("a",), "# of a"), (("a", "b"), "# above"), (("a",), "# end of a"), ((), "# end"),
        ]),
        ("a: [ # of a\n  {b: 1}, # zero\n     # above one\n  {b: 2}\n  # end\n]\n", [
            (("a",), "# of a"), (("a", 0), "# zero"), (("a", 1), "# above one"), (("a",), "# end"),
        ]),
        ("# top\n\na: 1\n", [((), "# top")]),
    ],
)  # fmt: skip
def test_a_comment_is_about_what_it_stands_at(text: str, expected: list[Any]) -> None:
    assert comment_owners(text) == expected


DASHED = st.lists(
    st.tuples(st.booleans(), st.sampled_from(["", " # inline", " # why"]), st.booleans()),
    min_size=1,
    max_size=4,
)


@given(DASHED)
def test_a_comment_behind_a_dash_stays_at_its_entry(
    items: list[tuple[bool, str, bool]],
) -> None:
    lines = ["middleware:"]
    for number, (is_alone, comment, is_turned) in enumerate(items):
        keys = [f"id: i{number}", f"use: a.b{number}"][:: -1 if is_turned else 1]
        marked = f"{comment} {number}" if comment else ""
        lines += [f"  -{marked}", f"    {keys[0]}"] if is_alone else [f"  - {keys[0]}{marked}"]
        lines.append(f"    {keys[1]}")
    result = form("\n".join(lines) + "\n")
    at = {
        line.split("id: ")[-1].split(" ")[0]: number
        for number, line in enumerate(result.split("\n"))
    }
    for number, (_, comment, _) in enumerate(items):
        if comment:
            place = next(
                n
                for n, line in enumerate(result.split("\n"))
                if f"{comment} {number}" in f" {line}"
            )
            assert at[f"i{number}"] - 2 <= place <= at[f"i{number}"] + 1


@given(texts(), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_the_order_of_known_keys_does_not_depend_on_how_they_were_written(
    text: str, chance: random.Random
) -> None:
    node = read_layer(File("m.yaml", text))
    assert isinstance(node, MappingNode)
    keys = list(plain(node).items())
    chance.shuffle(keys)
    one = list(said(form(json.dumps(dict(keys), ensure_ascii=False))))
    known = [key for key in one if key != "unknown"]
    assert known == [
        key for key in said(form(json.dumps(plain(node), ensure_ascii=False))) if key != "unknown"
    ]
