"""Covering: as wide as before, and the secret is gone."""

import json
from pathlib import Path
from typing import get_args
from urllib.parse import quote, quote_plus

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from assembler.diagnostics.secrets import Column, Secrets, is_secret, redact, url_secrets

URLS = st.sampled_from(["postgresql://app:", "redis://:", "https://user.name:"])
TOKEN_NAMES = ["auth", "sig", "pass", "x_auth", "AUTH", "authorization"]
AROUND = st.sampled_from(["", "url: ", '"', "with: {url: '"])
PASSWORDS = st.text(st.characters(min_codepoint=33, exclude_characters="\"'*", codec="utf-8"))
PASSWORDS = PASSWORDS.filter(lambda text: bool(text.strip()) and not any(c.isspace() for c in text))


@given(AROUND, URLS, PASSWORDS, st.sampled_from(["@db/x", "@h:5432/x?a=b", "@h"]))
def test_the_password_of_a_url_is_covered(
    before: str, scheme: str, password: str, after: str
) -> None:
    line = f"{before}{scheme}canary{password}{after}"
    shown = redact(line)
    assert len(shown) == len(line)
    assert "canary" not in shown
    assert shown.startswith(before + scheme)
    assert shown.endswith(after)


@pytest.mark.parametrize(
    "name", ["password", "token", "api_key", "client_secret", "Signature", "passwd", "X-Api-Key"]
)
def test_the_value_of_a_query_parameter_named_like_a_credential_is_covered(name: str) -> None:
    line = f"https://x/?a=1&{name}=canary&b=2#end"
    assert redact(line) == line.replace("canary", "******")


@pytest.mark.parametrize(
    "line",
    [
        "https://example.com/a?b=1&page=2",
        "redis://${USER}:${PASSWORD}@h",
        "https://x/?token=${TOKEN}",
        "a: b@c",
        "limit: 5/minute",
    ],
)
def test_what_is_no_secret_stays(line: str) -> None:
    assert redact(line) == line


def test_a_reference_beside_a_literal_password_stays() -> None:
    assert redact("redis://:ab${X}cd@h") == "redis://:**${X}**@h"


def test_the_password_ends_at_the_last_at_sign() -> None:
    assert redact("pg://u:ca@nary/x@host/db") == "pg://u:*********@host/db"


@pytest.mark.parametrize("name", TOKEN_NAMES)
def test_short_names_of_credentials_count_as_whole_words(name: str) -> None:
    assert redact(f"https://x/?{name}=canary&b=2") == f"https://x/?{name}=******&b=2"


@pytest.mark.parametrize("name", ["author", "signal", "design", "passenger", "compass"])
def test_longer_words_are_no_names_of_credentials(name: str) -> None:
    assert redact(f"https://x/?{name}=value") == f"https://x/?{name}=value"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('url: "pg://u:it\'s@h/x"', 'url: "pg://u:****@h/x"'),
        ("url: 'pg://u:it''s@h/x'", "url: 'pg://u:*****@h/x'"),
        ("pg://u:'quoted'@h", "pg://u:********@h"),
        ("{a:'pg://u:p@h',b:'c@d'}", "{a:'pg://u:*@h',b:'c@d'}"),
        ("{a:'http://h:80',b:'c@d'}", "{a:'http://h:80',b:'c@d'}"),
        ("https://TOKEN@host/x", "https://*****@host/x"),
        ("https://${TOKEN}@host/x", "https://${TOKEN}@host/x"),
        ("postgresql://app@db/x", "postgresql://app@db/x"),
        ("https://x/#access_token=canary", "https://x/#access_token=******"),
        ("https://x/?token=can'ary", "https://x/?token=*******"),
        ("['https://x/?token=one', 'b']", "['https://x/?token=***', 'b']"),
    ],
)
def test_what_is_covered_keeps_its_width(line: str, shown: str) -> None:
    assert redact(line) == shown


def test_url_secrets_are_what_is_covered() -> None:
    assert [*url_secrets("pg://u:one@h/?token=two&x=3")] == ["one", "two"]
    assert [*url_secrets("pg://u:${ONE}@h/")] == []


@given(st.dictionaries(st.text(min_size=1), st.sampled_from(["${A}", "${B}"])), st.text())
def test_any_text_can_be_scrubbed(known: dict[str, str], text: str) -> None:
    secrets = Secrets()
    for value, shown in known.items():
        secrets.add(value, shown)
    for value in known:
        if len(value) >= 6 and not any(value in shown for shown in known.values()):
            assert value not in secrets.scrub(f"{text}{value}{text}").replace("${A}", "\x00")


def test_the_longest_secret_is_replaced_first() -> None:
    secrets = Secrets()
    secrets.add("hunter2", "${A}")
    secrets.add("hunter2-and-more", "${B}")
    assert secrets.scrub("hunter2-and-more, hunter2") == "${B}, ${A}"


def test_a_short_secret_is_replaced_only_as_a_word() -> None:
    secrets = Secrets()
    secrets.add("80", "${PORT}")
    assert secrets.scrub("port 80, not 8080 or x80") == "port ${PORT}, not 8080 or x80"


def test_nothing_is_no_secret_and_the_first_name_stays() -> None:
    secrets = Secrets()
    secrets.add("", "${EMPTY}")
    secrets.add("same-value", "${A}")
    secrets.add("same-value", "${B}")
    assert secrets.scrub("same-value") == "${A}"
    assert Secrets().scrub("pg://u:p@h") == "pg://u:*@h"


@given(st.text(min_size=6).filter(lambda text: bool(text.strip())))
def test_a_secret_is_known_in_every_way_that_a_message_writes_it(value: str) -> None:
    secrets = Secrets()
    secrets.add(f"canary{value}canary", "${A}")
    whole = f"canary{value}canary"
    for written in (
        whole,
        repr(whole),
        repr(["'\"", whole]),
        repr(f"'\"{whole}"),
        json.dumps(whole),
        json.dumps(whole, ensure_ascii=False),
        quote(whole),
        quote(whole, safe=""),
        quote_plus(whole),
    ):
        assert "canary" not in secrets.scrub(written)
        assert "canary" not in secrets.scrub(" ".join(written.split()))


def test_variables_named_like_credentials_are_secret() -> None:
    secrets = Secrets()
    secrets.add_credentials(
        {
            "PGPASSWORD": "canary-1",
            "API_KEY_2": "canary-2",
            "SENTRY_DSN": "https://canary-3@h/1",
            "TOKENIZERS_PARALLELISM": "false",
            "KEYBOARD": "qwerty",
            "TOKEN": "on",
        }
    )
    told = secrets.scrub("canary-1 canary-2 canary-3 false qwerty on")
    assert told == "${PGPASSWORD} ${API_KEY_2} ${SENTRY_DSN} false qwerty on"


NAMES = yaml.safe_load((Path(__file__).parents[2] / "secret_names.yaml").read_text("utf-8"))


@pytest.mark.parametrize("column", get_args(Column))
@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_a_secret_where_the_table_says_so(name: str, column: Column) -> None:
    assert is_secret(name, column) is (column in NAMES[name])


def test_the_table_of_answers_is_of_some_size() -> None:
    assert len(NAMES) >= 100


@given(st.text(max_size=40), st.sampled_from(get_args(Column)))
def test_any_name_is_judged(name: str, column: Column) -> None:
    assert is_secret(name, column) in {True, False}


def test_the_current_folder_is_no_credential() -> None:
    secrets = Secrets()
    secrets.add_credentials({"PWD": "/srv/shop", "OLDPWD": "/srv/older", "DB_PWD": "canary"})
    assert (
        secrets.scrub("/srv/shop/a.py /srv/older canary") == "/srv/shop/a.py /srv/older ${DB_PWD}"
    )


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("https://x/?code=canary&zip_code=1", "https://x/?code=******&zip_code=1"),
        ("https://x/?keyword=a;token=canary", "https://x/?keyword=a;token=******"),
        ("https://x/?user%5Btoken%5D=canary", "https://x/?user%5Btoken%5D=******"),
        ("https://x/?max_tokens=5&page=2", "https://x/?max_tokens=5&page=2"),
        ("host=db user=u password=canary port=1", "host=db user=u password=****** port=1"),
        ("Endpoint=sb://x;AccountKey=canary", "Endpoint=sb://x;AccountKey=******"),
    ],
)
def test_parameters_are_covered_by_their_names(line: str, shown: str) -> None:
    assert redact(line) == shown
