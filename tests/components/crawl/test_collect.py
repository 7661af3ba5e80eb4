"""A source is collected from a real server, with its faults, and nothing is lost or doubled."""

import asyncio
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from components.cache import redis_cache
from components.crawl.collect import CollectionFault, Parsed
from components.crawl.crawler import BudgetAway, Crawler
from components.crawl.tables import HOSTS
from components.database import engine, transaction
from components.estate import seed
from components.estate.jobs import collect_market_data
from components.estate.market import MarketSearch, find, parse_table
from components.rate_limit.memory import MemoryCounter, MemoryStore
from components.rate_limit.store import Limit
from tests.components.clients.serving import serving_app, slow
from tests.components.crawl.site import Site, page
from tests.servers import free_port


class Clock:
    """Hours that pass when a test says so; the budget's interval is over at each look at it."""

    def __init__(self) -> None:
        self.ns = 0
        self.at = datetime(2026, 6, 1, tzinfo=UTC)

    def ns_now(self) -> int:
        self.ns += 5 * 10**9
        return self.ns

    def now(self) -> datetime:
        return self.at


@dataclass
class World:
    db: AsyncEngine
    site: Site
    url: str
    clock: Clock
    crawler: Crawler

    async def collect(self, path: str = "/a", **options: Any) -> dict[str, int]:
        given = {"allow_private": ["127.0.0.1"], "source": "s", **options}
        return await collect_market_data(
            db=self.db, crawler=self.crawler, url=f"{self.url}{path}", **given
        )

    async def figures(self) -> dict[str, Any]:
        async with transaction(self.db, write=False) as session:
            found = await find(session, MarketSearch(limit=100))
        assert found.total == len(found.items)
        return {one.city: one for one in found.items}


@pytest.fixture
def site() -> Iterator[tuple[Site, str]]:
    played = Site()
    with serving_app(played) as url:
        yield played, url


Enter = Callable[..., Any]


@pytest.fixture
def world(site: tuple[Site, str], tmp_path: Path) -> Enter:
    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[World]:
        db = engine(url=f"sqlite:///{tmp_path}/estate.db")
        await seed.prepare(db=db, listings=0, posts=0)
        clock = Clock()
        store = MemoryStore(clock_ns=clock.ns_now)
        crawler = Crawler(store=store, now=clock.now, **options)
        yield World(db, *site, clock, crawler)
        await db.dispose()

    return opened


def test_pages_are_followed_and_each_figure_says_where_it_was_read(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {
                "/a": page("Pune", follow="/b#top"),
                "/b": page("Kochi", follow="/a"),
            }
            counts = await w.collect()
            assert counts == {"read": 2, "rows": 2}
            found = await w.figures()
            assert set(found) == {"Pune", "Kochi"}
            kochi = found["Kochi"]
            assert kochi.url == f"{w.url}/b"
            assert kochi.robots == "no robots.txt: 404"
            assert kochi.fetched_at == w.clock.at
            assert len(kochi.content_hash) == 64
            assert w.site.paths == ["/robots.txt", "/a", "/b"]
            assert w.site.asked[1][2]["user-agent"].startswith("estate-crawler")

    asyncio.run(run())


def test_what_has_not_changed_is_asked_for_with_its_validators_and_not_read_again(
    world: Enter,
) -> None:
    def validated(request: Request) -> Response:
        if request.headers.get("if-none-match") == '"1"':
            return Response(status_code=304)
        answer = page("Pune", follow="/b")
        answer.headers["ETag"] = '"1"'
        return answer

    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": validated, "/b": page("Kochi"), "/copy": page("Kochi")}
            await w.collect()
            assert await w.collect() == {"unchanged": 2}  # one by its tag, one by its hash
            assert await w.collect("/copy") == {"copies": 1}
            w.site.pages["/b"] = page("Kochi", price=150)
            assert await w.collect() == {"unchanged": 1, "read": 1, "rows": 1}
            assert (await w.figures())["Kochi"].price_per_m2 == 150

    asyncio.run(run())


ROBOTS = {
    "forbidden": Response("User-agent: *\nDisallow: /a\n"),
    "5xx": Response(status_code=500),
    "limit": Response(status_code=429),
    "late rule beyond nothing": Response("#" * 600_000 + "\nUser-agent: *\nDisallow: /\n"),
    "redirects": RedirectResponse("/robots.txt"),
}


@pytest.mark.parametrize("kind", ROBOTS)
def test_robots_decides_before_the_page_is_asked_for(world: Enter, kind: str) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": page("Pune"), "/robots.txt": ROBOTS[kind]}
            if kind in {"late rule beyond nothing", "redirects"}:
                await w.collect()
                assert set(await w.figures()) == {"Pune"}
            else:
                with pytest.raises(CollectionFault, match="robots"):
                    await w.collect()
                assert "/a" not in w.site.paths
            if kind == "redirects":
                assert w.site.paths.count("/robots.txt") == 6

    asyncio.run(run())


def test_a_robots_that_changes_is_read_anew_after_a_day_and_one_that_failed_at_once(
    world: Enter,
) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": page("Pune"), "/robots.txt": Response(status_code=503)}
            with pytest.raises(CollectionFault):
                await w.collect()
            w.site.pages["/robots.txt"] = Response("User-agent: *\nAllow: /\n")
            await w.collect()
            w.site.pages["/robots.txt"] = ROBOTS["forbidden"]
            w.clock.at += timedelta(hours=23)
            await w.collect()
            w.clock.at += timedelta(hours=2)
            with pytest.raises(CollectionFault, match="is forbidden: robots"):
                await w.collect()
            assert set(await w.figures()) == {"Pune"}

    asyncio.run(run())


FAULTS: dict[str, tuple[Any, str]] = {
    "rubbish": (Response("<p>moved to our new portal"), "no table of figures"),
    "binary": (Response(bytes(range(256)) * 40), "no table of figures"),
    "a row that is none": (page("Pune", price=-1), "row 1, `price_per_m2`"),
    "loop": (RedirectResponse("/a"), "more than 5 redirects"),
    "10 MB": (Response(b"x" * 10_000_000), "larger than"),
    "error": (Response(status_code=500), "answers 500"),
    "gone": (Response(status_code=404), "answers 404"),
    "empty": (Response(), "no table of figures"),
    "encoded": (Response(b"x", headers={"Content-Encoding": "gzip"}), "is encoded"),
    "slow": (slow, "no answer within"),
    "inside": (RedirectResponse("http://169.254.169.254/latest"), "not of the public internet"),
    "other scheme": (RedirectResponse("file:///etc/passwd"), "redirects to where nothing"),
    "a port that is none": (RedirectResponse("http://127.0.0.1:99999/"), "has no port"),
    "nested without end": (
        Response(b"<table><tr><td>" * 20_000, media_type="text/html"),
        "no table",
    ),
    "unreadable": (page("Z\ufffdrich"), "another charset"),
    "304 at once": (Response(status_code=304), "nothing was known"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_page_that_fails_keeps_what_was_there_and_the_others(world: Enter, kind: str) -> None:
    answer, message = FAULTS[kind]

    async def run() -> None:
        async with world(timeout=timedelta(seconds=2)) as w:
            w.site.pages = {"/first": page("Delhi", follow="/a"), "/a": page("Pune")}
            await w.collect("/first")
            before = await w.figures()
            if kind != "304 at once":
                w.site.pages["/a"] = answer
            else:
                w.site.pages = {"/first": page("Delhi", price=2, follow="/new"), "/new": answer}
            w.site.pages["/first"] = page(
                "Delhi", "Jaipur", follow="/new" if kind[0] == "3" else "/a"
            )
            with pytest.raises(CollectionFault, match=message):
                await w.collect("/first")
            after = await w.figures()
            assert after["Pune"] == before["Pune"]
            assert "Jaipur" in after
            w.site.pages |= {"/a": page("Pune", price=7), "/new": page("Pune", price=7)}
            await w.collect("/first")
            assert (await w.figures())["Pune"].price_per_m2 == 7

    asyncio.run(run())


CHARSETS = {
    "/header": ("iso-8859-1", "text/html; charset=ISO-8859-1", "", "Zürich"),
    "/quoted": ("cp1252", 'Text/HTML;charset="latin1"', "", "Orléans “Ouest”"),
    "/cyrillic": ("cp1251", "text/html; charset=windows-1251", "", "Москва"),
    "/japanese": ("shift_jis", "text/html; charset=Shift_JIS", "", "東京"),
    "/meta": ("iso-8859-2", "text/html", '<meta charset="iso-8859-2">', "Łódź"),
    "/header-first": ("utf-8", "text/html; charset=utf-8", '<meta charset="koi8-r">', "Köln"),
    "/mark-first": ("utf-16", "text/html; charset=utf-8", "", "São Paulo"),
    "/little": ("utf-16-le", "text/html; charset=utf-16", "", "Málaga"),
    "/none": ("utf-8", "text/html", "", "पुणे"),
    "/unknown": ("utf-8", "text/html; charset=punycode", "", "Kraków"),
    "/wrong-meta": ("utf-8", "text/html", '<meta charset="utf-16">', "Győr"),
}


def test_a_page_is_read_in_the_charset_that_it_is_in(world: Enter) -> None:
    def encoded(codec: str, kind: str, head: str, city: str) -> Response:
        text = head + bytes(page(city).body).decode()
        return Response(text.encode(codec), headers={"Content-Type": kind})

    async def run() -> None:
        async with world() as w:
            w.site.pages = {path: encoded(*case) for path, case in CHARSETS.items()}
            for path in CHARSETS:
                await w.collect(path)
            assert set(await w.figures()) == {case[3] for case in CHARSETS.values()}

    asyncio.run(run())


@pytest.mark.parametrize("fault", [AttributeError, ArithmeticError, RecursionError, KeyError])
def test_a_parser_that_breaks_at_a_page_keeps_no_other_back(
    world: Enter, fault: type[Exception]
) -> None:
    def parser(body: bytes, url: str) -> Parsed:
        if b"Kochi" in body:
            raise fault("of a user")
        return parse_table(body, url)

    async def run() -> None:
        async with world() as w:
            follow = page("Pune", follow="/b")
            follow.body = bytes(follow.body) + b'<a rel="next" href="/c">'
            follow.init_headers()
            w.site.pages = {"/a": follow, "/b": page("Kochi"), "/c": page("Delhi")}
            with pytest.raises(CollectionFault, match=f"/b` cannot be read: {fault.__name__}"):
                await w.collect(parser=parser)
            assert set(await w.figures()) == {"Pune", "Delhi"}

    asyncio.run(run())


def test_a_validator_that_no_request_can_carry_is_not_kept(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            answer = page("Pune")
            answer.headers["ETag"] = '"caf\xe9"'
            answer.headers["Last-Modified"] = "d\xe9cembre"
            w.site.pages = {"/a": answer}
            await w.collect()
            assert await w.collect() == {"unchanged": 1}
            assert not {"if-none-match", "if-modified-since"} & set(w.site.asked[-1][2])

    asyncio.run(run())


def test_a_source_that_moved_as_a_whole_is_followed_to_where_it_is(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {
                "/a": RedirectResponse(f"{there}/b"),
            }
            assert await w.collect() == {"read": 2, "rows": 2}
            assert await w.collect() == {"unchanged": 2}
            assert (await w.figures())["Kochi"].url == f"{there}/c"

    other = Site()
    with serving_app(other) as there:
        other.pages = {
            "/b": page("Pune", follow="/c"),
            "/c": page("Kochi", follow="http://elsewhere.example/"),
        }
        asyncio.run(run())


def test_a_page_that_got_another_name_leads_on_as_it_did(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {
                "/a": page("Pune", follow="/b"),
                "/b": page("Kochi", follow="/c"),
                "/c": page("Delhi", price=1),
            }
            await w.collect()
            w.site.pages |= {"/a": page("Pune", follow="/new"), "/c": page("Delhi", price=2)}
            w.site.pages["/new"] = w.site.pages.pop("/b")
            assert await w.collect() == {"read": 2, "rows": 2, "copies": 1}
            assert (await w.figures())["Delhi"].price_per_m2 == 2

    asyncio.run(run())


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_holds_the_host_for_all_runs(world: Enter, status: int) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": Response(status_code=status, headers={"Retry-After": "3600"})}
            with pytest.raises(CollectionFault, match=f"answers {status}"):
                await w.collect()
            w.site.pages = {"/a": page("Pune")}
            asked = len(w.site.asked)
            assert await w.collect() == {"put off": 1}
            assert len(w.site.asked) == asked
            w.clock.at += timedelta(hours=1, seconds=1)
            await w.collect()
            assert set(await w.figures()) == {"Pune"}
            async with transaction(w.db, write=False) as session:
                assert (await session.execute(select(HOSTS.c.origin))).all() == [(w.url,)]

    asyncio.run(run())


def test_private_addresses_are_refused_where_the_source_does_not_allow_them(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": page("Pune")}
            with pytest.raises(CollectionFault, match="not of the public internet"):
                await w.collect(allow_private=[])
            assert w.site.asked == []

    asyncio.run(run())


def test_where_the_store_of_the_budget_is_away_nothing_is_fetched(world: Enter) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": page("Pune")}
            cache = redis_cache(url=f"redis://127.0.0.1:{free_port()}")
            w.crawler = Crawler(store=cache)
            try:
                with pytest.raises(BudgetAway):
                    await w.collect()
            finally:
                await cache.aclose()
            assert w.site.asked == []

    asyncio.run(run())


@pytest.mark.parametrize("after", [1, 2, 3])
def test_a_run_that_dies_at_a_step_is_gone_on_with_by_the_next(world: Enter, after: int) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {
                "/a": page("Pune", follow="/b"),
                "/b": page("Kochi", follow="/c"),
                "/c": page("Delhi"),
            }
            dying = asyncio.create_task(w.collect())

            async def watch(request: Request) -> Response:
                dying.get_loop().call_soon_threadsafe(dying.cancel)
                await asyncio.sleep(0.1)
                return page("Half")

            real = w.site.pages[f"/{'abc'[after - 1]}"]
            w.site.pages[f"/{'abc'[after - 1]}"] = watch
            await asyncio.gather(dying, return_exceptions=True)
            assert dying.cancelled()
            assert len(await w.figures()) == after - 1
            w.site.pages[f"/{'abc'[after - 1]}"] = real
            await w.collect()
            assert set(await w.figures()) == {"Pune", "Kochi", "Delhi"}

    asyncio.run(run())


def test_four_processes_ask_a_host_once_in_an_interval(postgres: str, redis: str) -> None:
    played = Site()
    played.pages = {"/a": page("Pune", follow="/b"), "/b": page("Kochi")}

    async def prepare() -> None:
        db = engine(url=postgres)
        await seed.prepare(db=db, listings=0, posts=0)
        await db.dispose()

    async def figures() -> int:
        db = engine(url=postgres)
        async with transaction(db, write=False) as session:
            found = await find(session, MarketSearch())
        await db.dispose()
        return found.total

    asyncio.run(prepare())
    with serving_app(played) as url:
        command = [sys.executable, "-m", "tests.components.crawl.collecting"]
        processes = [subprocess.Popen([*command, postgres, redis, f"{url}/a"]) for _ in range(4)]
        assert [process.wait(90) for process in processes] == [0] * 4
    times = [at for _, at, _ in played.asked]
    assert len(times) >= 9
    # each is let through at its second, and arrives somewhat later: under load some seconds
    assert times[-1] - times[0] >= (len(times) - 1) / 2
    assert asyncio.run(figures()) == 2


def test_the_connection_goes_to_the_address_that_was_judged(
    world: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        async with world() as w:
            w.site.pages = {"/a": page("Pune")}
            port = w.url.rpartition(":")[2]
            loop = asyncio.get_running_loop()
            real, asked = loop.getaddrinfo, 0

            async def answers_otherwise_later(host: Any, *given: Any, **more: Any) -> Any:
                nonlocal asked
                if host not in {"site.example", b"site.example"}:
                    return await real(host, *given, **more)
                asked += 1
                address = "127.0.0.1" if asked <= 2 else "169.254.169.254"
                return [(2, 1, 6, "", (address, int(port)))]

            monkeypatch.setattr(loop, "getaddrinfo", answers_otherwise_later, raising=False)
            w.url = f"http://site.example:{port}"
            await w.collect()
            assert asked == 2  # for robots.txt and for the page: nobody looked again
            assert {headers["host"] for _, _, headers in w.site.asked} == {f"site.example:{port}"}
            with pytest.raises(CollectionFault, match="not of the public internet"):
                await w.collect()

    asyncio.run(run())


def test_a_longer_pause_that_the_site_asks_for_holds_beside_the_interval() -> None:
    asked: list[tuple[Limit, ...]] = []

    class Recording:
        def counter(self, limits: tuple[Limit, ...], *, on_error: str) -> MemoryCounter:
            assert on_error == "deny"
            asked.append(limits)
            return MemoryStore().counter(limits)

    crawler = Crawler(store=Recording())
    for delay in (0, 1, 2, 6.5, 10**9):
        crawler._counter(delay)
    periods = [[limit.rate.period_seconds for limit in limits] for limits in asked]
    assert periods == [[2], [2, 7], [2, 3600]]
    assert all(limits[0] is asked[0][0] for limits in asked)  # one budget of the host


def test_over_tls_the_certificate_is_that_of_the_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, key = self_signed("site.example", tmp_path)
    played = Site({"/a": page("Pune")})

    async def run() -> None:
        db = engine(url=f"sqlite:///{tmp_path}/e.db")
        await seed.prepare(db=db, listings=0, posts=0)
        crawler = Crawler(store=MemoryStore(clock_ns=Clock().ns_now))
        crawler._trust = ssl.create_default_context(cafile=str(certificate))
        loop = asyncio.get_running_loop()
        real = loop.getaddrinfo

        async def here(host: Any, *given: Any, **more: Any) -> Any:
            known = str(host).endswith(".example")
            return await real("127.0.0.1" if known else host, *given, **more)

        monkeypatch.setattr(loop, "getaddrinfo", here, raising=False)

        async def collect(name: str) -> dict[str, int]:
            return await collect_market_data(
                db=db,
                crawler=crawler,
                url=f"https://{name}:{port}/a",
                allow_private=["127.0.0.1"],
            )

        assert await collect("site.example") == {"read": 1, "rows": 1}
        with pytest.raises(CollectionFault, match="ConnectError"):
            await collect("other.example")
        await db.dispose()

    with serving_app(played, ssl_certfile=certificate, ssl_keyfile=key) as url:
        port = url.rpartition(":")[2]
        asyncio.run(run())


def self_signed(name: str, folder: Path) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    kind = serialization.PrivateFormat.PKCS8
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption())
    )
    return paths
