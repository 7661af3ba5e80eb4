"""What an event loses on its way: names of secrets, and what texts say of them."""

import json
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from components.sentry.scrub import Scrubber
from components.sentry.secret_names import Column, is_secret

NAMES: dict[str, list[str]] = yaml.safe_load(
    (Path(__file__).parents[2] / "secret_names.yaml").read_text("utf-8")
)
COLUMNS: tuple[Column, ...] = ("option", "parameter", "header")
EVERYWHERE = sorted(name for name, where in NAMES.items() if {*COLUMNS} <= {*where})
NOWHERE = sorted(name for name, where in NAMES.items() if not {*COLUMNS} & {*where})


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_a_secret_is_known_in_each_column(name: str, column: Column) -> None:
    assert is_secret(name, column) is (column in NAMES[name])


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("postgresql://u:p@h/db", "postgresql://u:[Filtered]@h/db"),
        ("https://token@h/1 and more", "https://[Filtered]@h/1 and more"),
        ("a=1&api_key=x&b=2", "a=1&api_key=[Filtered]&b=2"),
        ("GET /a?X-Amz-Signature=abc#top", "GET /a?X-Amz-Signature=[Filtered]#top"),
        ("GET /cb?code=4/P7q&state=x", "GET /cb?code=[Filtered]&state=x"),
        ("code=4/P7q&state=x", "code=[Filtered]&state=x"),
        ("/cb?co%64e=1&api%5Fkey=2", "/cb?co%64e=[Filtered]&api%5Fkey=[Filtered]"),
        ("user[password]=abc&page=2", "user[password]=[Filtered]&page=2"),
        ("key=x", "key=[Filtered]"),
        ("monkey=x keyboard=y", "monkey=x keyboard=y"),
        ("plain text", "plain text"),
        ("exit code=5, error code: 42", "exit code=5, error code: 42"),
        ("max_tokens=5 token_url=/a password_min_length: 8", None),
        ("Authorization: Bearer abc", "Authorization: [Filtered]"),
        ("authorization: Basic dXNlcjpwYXNz\r\nHost: x", "authorization: [Filtered]\r\nHost: x"),
        (
            "curl -H 'Authorization: Bearer abc' http://x",
            "curl -H 'Authorization: [Filtered]' http://x",
        ),
        ("Cookie: a=b; c=d\nHost: x", "Cookie: [Filtered]\nHost: x"),
        ("Set-Cookie: a=b; Path=/", "Set-Cookie: [Filtered]"),
        ("api_key: 'x y'", "api_key: '[Filtered]'"),
        ("f(api_key='x y', b=1)", "f(api_key='[Filtered]', b=1)"),
        ("Request(token=abc, page=2)", "Request(token=[Filtered], page=2)"),
        ("[token=abc] --token=abc", "[token=[Filtered]] --token=[Filtered]"),
        ("host=db password=abc", "host=db password=[Filtered]"),
        ("password = hunter2 was wrong", "password = [Filtered] was wrong"),
        ("PASSWORD := hunter2; token => abc", "PASSWORD := [Filtered]; token => [Filtered]"),
        ('{"token": "a\\"b", "n": 1}', '{"token": "[Filtered]", "n": 1}'),
        ('{"token":"ends in \\\\","n":1}', '{"token":"[Filtered]","n":1}'),
        (
            '"{\\"token\\": \\"a\\\\\\"b\\", \\"n\\": 1}"',
            '"{\\"token\\": \\"[Filtered]\\", \\"n\\": 1}"',
        ),
        ("{'password': 'it\\'s', 'u': 1}", "{'password': '[Filtered]', 'u': 1}"),
        ('{"token": "has no end', '{"token": "[Filtered]'),
        (
            "[(b'authorization', b'Bearer x'), (b'host', b'y')]",
            "[(b'authorization', b'[Filtered]'), (b'host', b'y')]",
        ),
        ("sent Bearer abc123def456 to it", "sent Bearer [Filtered] to it"),
        ("Basic authentication is off", "Basic authentication is off"),
        ("of eyJhbGciOiJIUzI1NiJ9.eyJhIjoxfQ.abc here", "of [Filtered] here"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
            "-----BEGIN RSA PRIVATE KEY-----[Filtered]-----END RSA PRIVATE KEY-----",
        ),
        ("secret==5 and KeyError: 'token'", "secret==5 and KeyError: 'token'"),
    ],
)
def test_secrets_are_taken_out_of_texts(text: str, scrubbed: str | None) -> None:
    assert Scrubber().text(text) == (text if scrubbed is None else scrubbed)


VALUES = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=12, max_size=40)
FORMS = [
    *("{name}: {value}", "x {name}={value} y", "/p?a=1&{name}={value}&b=2", "{name} = {value}"),
    *("{{'{name}': '{value}'}}", "{name}='{value}'", "(b'{name}', b'{value}')"),
    *(
        '{{"{name}":"{value}"}}',
        '{name}: "{value}',
        "{name}: Bearer {value}",
        "GET\n{name}: {value}",
    ),
]


@given(st.sampled_from(EVERYWHERE), VALUES, st.sampled_from(FORMS))
def test_a_named_secret_leaves_every_form(name: str, value: str, form: str) -> None:
    text = form.format(name=name, value=value)
    for shown in (text, json.dumps(text), json.dumps({"body": text}), json.dumps(json.dumps(text))):
        assert value not in Scrubber().text(shown)


@given(st.sampled_from(NOWHERE), VALUES, st.sampled_from(FORMS[:9]))
def test_what_is_about_a_secret_stays(name: str, value: str, form: str) -> None:
    text = form.format(name=name, value=value)
    assert Scrubber().text(text) == text


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
@example("a\\")
@example('"')
@example("\\'")
def test_a_secret_of_any_characters_leaves_json_and_repr(value: str) -> None:
    marked = f"qqqq{value}qqqq"
    for text in (json.dumps({"token": marked, "n": 1}), repr({"token": marked, "n": 1})):
        scrubbed = Scrubber().text(text)
        assert "qqqq" not in scrubbed
        assert "'n': 1}" in scrubbed or '"n": 1}' in scrubbed


def test_what_stands_under_the_name_of_a_secret_is_taken_out() -> None:
    event = {
        "request": {
            "headers": [["X-API-Key", "x"], ["accept", "y"], ["Cookie", "a=b"]],
            "data": {"code": "x", "password": ["x", "y"], "page": "1"},
            "query_string": "code=x&page=1",
        },
        "extra": {
            "tokens": 5,
            "code": "ECONNRESET",
            "list": [{"Password": "x", "iban": "x"}],
            "credentials": {"user": "x", "more": [{"any": "x"}], "n": 1},
        },
        "exception": {"value": "X-Api-Key: x"},
    }
    assert Scrubber(["iban"])(event) == {
        "request": {
            "headers": [["X-API-Key", "[Filtered]"], ["accept", "y"], ["Cookie", "[Filtered]"]],
            "data": {"code": "[Filtered]", "password": ["[Filtered]"] * 2, "page": "1"},
            "query_string": "code=[Filtered]&page=1",
        },
        "extra": {
            "tokens": 5,
            "code": "ECONNRESET",
            "list": [{"Password": "[Filtered]", "iban": "[Filtered]"}],
            "credentials": {"user": "[Filtered]", "more": [{"any": "[Filtered]"}], "n": 1},
        },
        "exception": {"value": "X-Api-Key: [Filtered]"},
    }


def test_lines_of_source_lose_literals_alone() -> None:
    frame = {
        "context_line": "token = read_token(password=password)",
        "pre_context": ["password = 'hunter2'", "url = 'postgresql://u:p@h/db'"],
        "vars": {"password": "hunter2"},
    }
    assert Scrubber()(frame) == {
        "context_line": "token = read_token(password=password)",
        "pre_context": ["password = '[Filtered]'", "url = 'postgresql://u:[Filtered]@h/db'"],
        "vars": {"password": "[Filtered]"},
    }


@given(st.text(max_size=200))
def test_a_text_without_marks_of_a_secret_stays(text: str) -> None:
    if not any(mark in text for mark in (":", "=", ",")):
        assert Scrubber().text(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("://" * 20_000, "?token" * 10_000 + "=", "a=" * 30_000, "://a:" * 10_000),
        *("token='" * 10_000, "token:" * 10_000, 'token="' + '\\"' * 30_000, "a." * 30_000),
        *("token=" + "\\" * 60_000, "eyJ" + "a" * 60_000, "eyJaaaaaaaa." * 6_000),
        *("Bearer " * 10_000, "Basic" + " " * 60_000, "-----BEGIN PRIVATE KEY-----" * 3_000),
        *("'token' , " * 6_000, "cookie: " * 8_000, "_" * 60_000, "%" * 60_000),
    ],
)
def test_a_hostile_text_takes_no_long_time(text: str) -> None:
    begin = time.monotonic()
    Scrubber().text(text)
    assert time.monotonic() - begin < 20  # on a loaded machine; alone it is half a second at most
