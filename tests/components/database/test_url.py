from datetime import timedelta

import pytest

from components.database.url import target_of


def test_an_asyncpg_connection_has_a_bounded_wait_and_a_name() -> None:
    target = target_of(
        "postgresql://u:p@h/name",
        connect_timeout=timedelta(seconds=2.5),
        application_name="shop",
    )
    assert target.connect_args == {"timeout": 2.5, "server_settings": {"application_name": "shop"}}


def test_what_libpq_knows_of_a_url_reaches_asyncpg_as_a_dsn() -> None:
    target = target_of("postgres://u:p@h/name?sslmode=require&sslrootcert=/a b.pem&ssl=x&host=h:1")
    assert target.connect_args["dsn"] == "postgresql://?sslmode=require&sslrootcert=%2Fa+b.pem"
    assert dict(target.url.query) == {"ssl": "x", "host": "h:1"}


def test_a_timeout_of_the_url_gives_way_to_the_option() -> None:
    assert not target_of("postgresql://h/name?connect_timeout=3").url.query


def test_behind_a_pooler_asyncpg_keeps_no_statement_and_gives_none_a_name_twice() -> None:
    for target in (
        target_of("postgresql://h/name?prepared_statement_cache_size=100", pooler="transaction"),
        target_of("postgresql://h/name?pgbouncer=true"),
    ):
        assert not target.url.query
        assert target.connect_args["statement_cache_size"] == 0
        assert target.connect_args["prepared_statement_cache_size"] == 0
        name = target.connect_args["prepared_statement_name_func"]
        assert name() != name()


def test_psycopg_reads_a_url_by_itself_and_prepares_nothing_behind_a_pooler() -> None:
    target = target_of(
        "postgresql+psycopg://h/name?sslmode=require&channel_binding=require",
        pooler="transaction",
        connect_timeout=timedelta(milliseconds=20),
        application_name="shop",
    )
    assert dict(target.url.query) == {"sslmode": "require", "channel_binding": "require"}
    assert target.connect_args == {
        "connect_timeout": 1,
        "application_name": "shop",
        "prepare_threshold": None,
    }


def test_channel_binding_is_refused_where_it_could_not_be_kept() -> None:
    with pytest.raises(ValueError, match="asyncpg has no channel binding"):
        target_of("postgresql://h/name?channel_binding=require")
    assert not target_of("postgresql://h/name?channel_binding=prefer").url.query


def test_sqlite_is_asked_nothing_of_the_kind() -> None:
    target = target_of("sqlite:///file.db?mode=ro", pooler="transaction", application_name="shop")
    assert (target.connect_args, dict(target.url.query)) == ({}, {"mode": "ro"})
