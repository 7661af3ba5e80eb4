from datetime import timedelta
from typing import Any

import pytest

from components.database import engine
from components.database.url import Target, target_of

DRIVERS = ("asyncpg", "psycopg")


def of(driver: str, query: str, hosts: str = "h") -> Target:
    return target_of(f"postgresql+{driver}://u:secret@{hosts}/name?{query}")


def connects(target: Target) -> dict[str, Any]:
    """What the driver's `connect` is called with, but for the time limit."""
    dialect = target.url.get_dialect()()
    arguments = {**dialect.create_connect_args(target.url)[1], **target.connect_args}
    return {k: v for k, v in arguments.items() if k not in {"timeout", "connect_timeout"}}


def test_an_asyncpg_connection_has_a_bounded_wait_and_a_name() -> None:
    target = target_of(
        "postgresql://u:p@h/name",
        connect_timeout=timedelta(seconds=2.5),
        application_name="shop",
    )
    assert target.connect_args == {"timeout": 2.5, "server_settings": {"application_name": "shop"}}


def test_what_libpq_knows_of_a_url_reaches_asyncpg_as_a_dsn() -> None:
    target = target_of("postgres://u:p@h/name?sslmode=require&sslrootcert=/a b.pem&host=h:1")
    assert target.connect_args["dsn"] == "postgresql://?sslmode=require&sslrootcert=%2Fa+b.pem"
    assert dict(target.url.query) == {"host": "h:1"}


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
    with pytest.raises(
        ValueError, match="asyncpg cannot keep what `channel_binding` of `url` demands"
    ):
        target_of("postgresql://h/name?channel_binding=require")
    assert not target_of("postgresql://h/name?channel_binding=prefer").url.query


def test_sqlite_is_asked_nothing_of_the_kind() -> None:
    target = target_of("sqlite:///file.db?mode=ro", pooler="transaction", application_name="shop")
    assert (target.connect_args, dict(target.url.query)) == ({}, {"mode": "ro"})


# What each driver is to connect with beside host, user, password and name; an empty mapping where
# the parameter says nothing to it, and None where it is refused.
PARAMETERS: list[tuple[str, dict[str, Any] | None, dict[str, Any] | None]] = [
    ("sslmode=require", {"dsn": "postgresql://?sslmode=require"}, {"sslmode": "require"}),
    ("ssl=require", {"dsn": "postgresql://?sslmode=require"}, {"sslmode": "require"}),
    ("ssl=true", {"dsn": "postgresql://?sslmode=require"}, {"sslmode": "require"}),
    ("ssl=false", {"dsn": "postgresql://?sslmode=disable"}, {"sslmode": "disable"}),
    ("requiressl=1", {"dsn": "postgresql://?sslmode=require"}, {"sslmode": "require"}),
    ("requiressl=0", {}, {}),
    ("sslrootcert=system", {"ssl": True}, {"sslrootcert": "system"}),
    (
        "sslrootcert=system&sslmode=verify-full",
        {"ssl": True},
        {"sslrootcert": "system", "sslmode": "verify-full"},
    ),
    ("sslsni=1", {}, {"sslsni": "1"}),
    ("sslsni=0", None, {"sslsni": "0"}),
    ("gssencmode=disable", {}, {"gssencmode": "disable"}),
    ("gssencmode=prefer", {}, {"gssencmode": "prefer"}),
    ("gssencmode=require", None, {"gssencmode": "require"}),
    ("channel_binding=prefer", {}, {"channel_binding": "prefer"}),
    ("channel_binding=require", None, {"channel_binding": "require"}),
    ("require_auth=scram-sha-256", None, {"require_auth": "scram-sha-256"}),
    ("keepalives=1", {}, {"keepalives": "1"}),
    ("keepalives_idle=30", {}, {"keepalives_idle": "30"}),
    ("keepalives_interval=10", {}, {"keepalives_interval": "10"}),
    ("keepalives_count=3", {}, {"keepalives_count": "3"}),
    ("tcp_user_timeout=1000", {}, {"tcp_user_timeout": "1000"}),
    ("client_encoding=utf8", {}, {"client_encoding": "utf8"}),
    ("client_encoding=UTF-8", {}, {"client_encoding": "UTF-8"}),
    ("client_encoding=latin1", None, {"client_encoding": "latin1"}),
    ("load_balance_hosts=disable", {}, {"load_balance_hosts": "disable"}),
    ("load_balance_hosts=random", None, {"load_balance_hosts": "random"}),
    ("replication=database", None, {"replication": "database"}),
    ("hostaddr=192.0.2.1", None, {"hostaddr": "192.0.2.1"}),
    (
        "application_name=shop",
        {"server_settings": {"application_name": "shop"}},
        {"application_name": "shop"},
    ),
    (
        "fallback_application_name=shop",
        {"server_settings": {"application_name": "shop"}},
        {"fallback_application_name": "shop"},
    ),
    (
        "options=-cstatement_timeout%3D5",
        {"dsn": "postgresql://?options=-cstatement_timeout%3D5"},
        {"options": "-cstatement_timeout=5"},
    ),
    ("connect_timeout=3", {}, {}),
    ("connection_limit=1&pool_timeout=0", {}, {}),
    ("schema=public", {}, {}),
    ("schema=shop", None, None),
    ("sslaccept=accept_invalid_certs", {}, {}),
    ("sslaccept=strict", None, None),
    ("statement_cache_size=100", {"statement_cache_size": 100}, {}),
    ("statement_cache_size=0", {"statement_cache_size": 0}, {"prepare_threshold": None}),
    ("prepared_statement_cache_size=7", {"prepared_statement_cache_size": 7}, {}),
    ("prepare_threshold=3", {}, {"prepare_threshold": 3}),
    ("statement_cache_size=none", None, None),
    ("command_timeout=30", {"command_timeout": 30}, None),
    ("search_path=shop", None, None),
    ("nonsense=1", None, None),
]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(("query", "asyncpg", "psycopg"), PARAMETERS, ids=str)
def test_a_parameter_is_translated_left_out_or_refused_by_name(
    driver: str, query: str, asyncpg: dict[str, Any] | None, psycopg: dict[str, Any] | None
) -> None:
    expected = asyncpg if driver == "asyncpg" else psycopg
    if expected is None:
        with pytest.raises(ValueError, match=f"`{query.partition('=')[0]}`") as refused:
            of(driver, query)
        assert "secret" not in str(refused.value)
        return
    assert connects(of(driver, query)) == connects(of(driver, "")) | expected


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("query", ["pgbouncer=true&connection_limit=1", "prepareThreshold=0"])
def test_what_others_say_of_a_pooler_holds(driver: str, query: str) -> None:
    arguments = of(driver, query).connect_args
    arguments.pop("prepared_statement_name_func", None)
    behind = target_of(f"postgresql+{driver}://h/name", pooler="transaction").connect_args
    behind.pop("prepared_statement_name_func", None)
    assert arguments == behind


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("hosts", "query", "names", "ports"),
    [
        ("a,b", "", ["a", "b"], [5432, 5432]),
        ("a:1,b", "", ["a", "b"], [1, 5432]),
        ("a:1,b:2,[::1]:3", "", ["a", "b", "::1"], [1, 2, 3]),
        ("", "host=a:1&host=b", ["a", "b"], [1, 5432]),
        ("", "host=a,b", ["a", "b"], [5432, 5432]),
        ("", "host=a,b&port=1,2", ["a", "b"], [1, 2]),
        ("", "host=/run/a,/run/b", ["/run/a", "/run/b"], [5432, 5432]),
    ],
)
def test_several_hosts_are_tried(
    driver: str, hosts: str, query: str, names: list[str], ports: list[int]
) -> None:
    found = connects(of(driver, f"{query}&target_session_attrs=read-write", hosts))
    if driver == "asyncpg":
        assert (found["host"], found["port"]) == (names, ports)
        assert found["dsn"] == "postgresql://?target_session_attrs=read-write"
    else:
        assert (found["host"], found["port"]) == (",".join(names), ",".join(map(str, ports)))
        assert found["target_session_attrs"] == "read-write"
    assert (found["user"], found["password"]) == ("u", "secret")


@pytest.mark.parametrize("driver", DRIVERS)
def test_parts_of_the_url_may_stand_in_its_query(driver: str) -> None:
    plain = connects(target_of(f"postgresql+{driver}://u:p@h:7/name"))
    parts = "host=h&port=7&user=u&password=p&dbname=name"
    assert connects(target_of(f"postgresql+{driver}://?{parts}")) == plain


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ("sslrootcert=system&sslmode=require", "needs `sslmode=verify-full`"),
        ("sslrootcert=system&sslcert=a.pem", "no `sslcert` beside `sslrootcert=system`"),
        ("connection_limit=0", "`connection_limit` of `url` must be a number of 1 or more"),
    ],
)
def test_what_asyncpg_cannot_do_together_is_refused(query: str, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        of("asyncpg", query)


@pytest.mark.parametrize(
    ("limit", "size", "overflow"), [(1, 1, 0), (3, 3, 0), (8, 5, 3), (100, 5, 10)]
)
def test_a_limit_of_connections_holds_beside_our_own(limit: int, size: int, overflow: int) -> None:
    pool: Any = engine(url=f"postgresql://h/name?connection_limit={limit}").pool
    assert (pool.size(), pool._max_overflow) == (size, overflow)


@pytest.mark.parametrize("text", ["postgresql://u:p@a,b:x/n", "postgresql://a,,b/n", "nonsense"])
def test_what_is_no_url_is_not_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="is no database URL") as refused:
        target_of(text)
    assert text not in str(refused.value)
