"""Redis URLs as hosts and other libraries write them."""

import asyncio
import ssl
from datetime import timedelta
from typing import Any

import pytest

from components.cache import redis_cache
from components.redis.address import address_of
from components.redis.circuit_breaker import Breaker


def options(url: str) -> dict[str, Any]:
    """The options with which the client of a server connects."""
    made: dict[str, Any] = address_of(url).server()[0].connection_pool.connection_kwargs
    return made


@pytest.mark.parametrize(
    "more",
    [
        "decode_responses=true",
        "encoding=latin-1",
        "encoding_errors=ignore",
        "protocol=3",
        "max_connections=5",
        "timeout=20",
        "skip_full_coverage_check=true",
        "ssl_cert_reqs=none",
        "ssl_cert_reqs=CERT_NONE",
        "ssl=false",
        "tls=0",
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster"])
def test_what_says_nothing_of_the_server_changes_nothing(scheme: str, more: str) -> None:
    path = "/main" if "sentinel" in scheme else ""
    plain, full = (address_of(f"{scheme}://u:p@a.example:7000{path}{q}") for q in ("", f"?{more}"))
    assert plain.options == full.options
    if not plain.is_cluster:
        pools: list[Any] = [each.server()[0].connection_pool for each in (plain, full)]
        assert pools[0].max_connections == pools[1].max_connections
        assert "decode_responses" not in pools[1].connection_kwargs
        assert "protocol" not in pools[1].connection_kwargs


@pytest.mark.parametrize(
    ("more", "name", "value"),
    [
        ("db=3", "db", 3),
        ("socket_timeout=1.5", "socket_timeout", 1.5),
        ("socket_connect_timeout=2", "socket_connect_timeout", 2.0),
        ("socket_keepalive=yes", "socket_keepalive", True),
        ("health_check_interval=30", "health_check_interval", 30),
        ("client_name=shop", "client_name", "shop"),
        ("decode_responses=true&client_name=a%26b", "client_name", "a&b"),
    ],
)
def test_what_tells_how_to_connect_is_kept(more: str, name: str, value: object) -> None:
    assert options(f"redis://a.example?{more}")[name] == value


def test_user_password_and_database_stay() -> None:
    kept = options("redis://u%40:p%2F@a.example:7000/4?decode_responses=true")
    names = ("username", "password", "host", "port", "db")
    assert [kept[name] for name in names] == ["u@", "p/", "a.example", 7000, 4]
    assert options("unix:///run/redis.sock?db=2&decode_responses=1")["path"] == "/run/redis.sock"


@pytest.mark.parametrize(
    ("written", "mode"),
    [
        ("none", ssl.CERT_NONE),
        ("CERT_NONE", ssl.CERT_NONE),
        ("ssl.CERT_REQUIRED", ssl.CERT_REQUIRED),
        ("Optional", ssl.CERT_OPTIONAL),
    ],
)
def test_how_far_a_certificate_is_looked_at_is_said_in_many_ways(written: str, mode: int) -> None:
    made: Any = address_of(f"rediss://a.example?ssl_cert_reqs={written}").server()[0]
    assert made.connection_pool.make_connection().ssl_context.cert_reqs == mode


@pytest.mark.parametrize("scheme", ["rediss+sentinel", "rediss+cluster"])
def test_options_of_tls_and_time_reach_every_kind_of_server(scheme: str) -> None:
    url = f"{scheme}://a.example/main?ssl_cert_reqs=CERT_NONE&socket_timeout=1"
    if "cluster" in scheme:
        url = url.replace("/main", "")
    address = address_of(url)
    assert address.options == {"ssl": True, "ssl_cert_reqs": "none", "socket_timeout": 1.0}
    if address.is_cluster:

        async def made() -> None:
            await address.cluster(socket_timeout=None, protocol=2).aclose()

        asyncio.run(made())
    else:
        assert address.server(socket_timeout=None)[0] is not None


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("redis://h?nonsense=1", "does not take: `nonsense`$"),
        ("redis://h?family=6", "does not take: `family`$"),
        ("redis://h?sentinelMasterId=main", "does not take: `sentinelMasterId`$"),
        ("redis://h?$(x)=1", "does not take: that$"),
        ("redis://h?tls=true", "told by its scheme: write rediss://$"),
        ("redis://h?ssl=1", "told by its scheme"),
        ("redis://h?ssl_ca_certs=a.pem", "`ssl_ca_certs` of `url` needs TLS"),
        ("redis://h?ssl_cert_reqs=required", "`ssl_cert_reqs` of `url` needs TLS"),
        ("rediss://h?ssl_cert_reqs=maybe", "must be none, optional or required"),
        ("redis://h?max_connections=0", "must be a number of 1 or more"),
        ("redis://h?max_connections=many", "must be a number of 1 or more"),
        ("redis://h?socket_timeout=soon", "`socket_timeout` of `url` has a value"),
        ("redis+cluster://h/3", "a Redis cluster has no databases"),
        ("redis+cluster://h?db=3", "a Redis cluster has no databases"),
        ("rediss+cluster://h?ssl_ca_path=/a", "a cluster does not take: `ssl_ca_path`"),
        ("redis://u:secret?word=1@h", "`url` is no Redis URL"),
        ("http://h", "`url` is no Redis URL"),
        ("redis+sentinel://h", "`url` is no Redis URL"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_without_its_value(url: str, text: str) -> None:
    with pytest.raises(ValueError, match=text) as refused:
        address_of(url)
    assert "secret" not in str(refused.value)
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


@pytest.mark.parametrize("most", [1, 5])
def test_forty_readers_of_a_bounded_cache_wait_for_each_other(redis: str, most: int) -> None:
    async def story() -> None:
        cache = redis_cache(url=f"{redis}?max_connections={most}&decode_responses=true")
        await cache.set("a", "word")
        assert await asyncio.gather(*(cache.get("a") for _ in range(40))) == ["word"] * 40
        await cache.aclose()

    opened: list[Exception] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Breaker, "failed", lambda _self, error, **_: opened.append(error))
        asyncio.run(story())
    assert opened == []


def test_a_cache_may_have_more_connections_than_a_pool_has_by_itself(redis: str) -> None:
    async def story() -> str:
        cache = redis_cache(url=redis, max_connections=150, timeout=timedelta(seconds=30))
        await asyncio.gather(*(cache.set(str(number), number) for number in range(400)))
        state = cache.state
        await cache.aclose()
        return str(state)

    assert asyncio.run(story()) == "ok"
