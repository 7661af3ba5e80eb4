"""Share pages: what previews, search engines, phones and people get of a listing."""

import asyncio
import html
import inspect
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from starlette.testclient import TestClient

from components.cache import memory_cache
from components.database import engine, transaction
from components.estate import listings, share_image
from components.estate.schemas import ListingIn, ListingOut, ListingPatch
from components.estate.share import _indian, _script_text, price_text, share_router
from components.estate.share_image import Card, default_font, draw, drawable, fitting_facts
from tests.components.estate.conftest import MakeApp

BASE = "https://estate.example"
EVIL = '</title><script>alert("1")</script>\u2028" onload=x \'<b>'
LISTING: dict[str, Any] = {
    "title": "3-bedroom flat by the sea",
    "description": "Bright.\nQuiet.",
    "kind": "apartment",
    "purpose": "sale",
    "status": "active",
    "price": 48_500_000,
    "currency": "INR",
    "bedrooms": 3,
    "bathrooms": 1,
    "area_m2": 118.5,
    "city": "Mumbai",
    "locality": "Bandra West",
    "latitude": 19.05,
    "longitude": 72.82,
    "amenities": ["lift", "balcony"],
}
FINGERPRINT = ":".join(["AB"] * 32)


class World:
    """The service with share pages, and its database."""

    def __init__(self, client: TestClient, url: str) -> None:
        self.client = client
        self._url = url

    def offer(self, **changes: Any) -> int:
        async def create() -> int:
            db = engine(url=self._url)
            async with transaction(db, write=True) as session:
                made = await listings.create(
                    session, ListingIn(**{**LISTING, **changes}), currency="INR"
                )
            await db.dispose()
            return made.id

        return asyncio.run(create())

    def change(self, id: int, **changes: Any) -> None:
        async def update() -> None:
            db = engine(url=self._url)
            async with transaction(db, write=True) as session:
                await listings.update(session, id, ListingPatch(**changes))
            await db.dispose()

        asyncio.run(update())


@pytest.fixture
def world(make_app: MakeApp, url: str) -> Iterator[World]:
    app: FastAPI = make_app()
    app.include_router(
        share_router(
            base_url=BASE,
            ios_apps=["ABCDE12345.com.example.estate"],
            android_package="com.example.estate",
            android_fingerprints=[FINGERPRINT],
            ios_store="https://apps.apple.com/app/id1",
            android_store="https://play.google.com/store/apps/details?id=com.example.estate",
        )
    )
    with TestClient(app, follow_redirects=False) as client:
        yield World(client, url)


def meta(page: str) -> dict[str, str]:
    """What the meta elements of a page say, by property or name."""
    found = re.findall(r'<meta (?:property|name)="([^"]+)" content="([^"]*)">', page)
    return {name: html.unescape(content) for name, content in found}


def test_a_page_says_what_previews_look_for(world: World) -> None:
    id_ = world.offer()
    answer = world.client.get(f"/share/listings/{id_}")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    said = meta(answer.text)
    url = f"{BASE}/share/listings/{id_}"
    assert said["og:url"] == url
    assert f'<link rel="canonical" href="{url}">' in answer.text
    assert said["og:title"] == said["twitter:title"] == LISTING["title"]
    assert said["og:image"] == said["twitter:image"]
    assert said["og:image"].startswith(f"{url}/image.png?v=")
    assert (said["og:image:width"], said["og:image:height"]) == ("1200", "630")
    assert said["twitter:card"] == "summary_large_image"
    assert "₹4,85,00,000" in said["og:description"]
    (text,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', answer.text)
    data = json.loads(text)
    assert data["@type"] == "RealEstateListing"
    assert data["offers"]["price"] == 48_500_000
    assert data["mainEntity"]["numberOfBedrooms"] == 3
    assert data["url"] == url


def test_a_picture_has_its_size_and_is_the_same_for_the_same_listing(world: World) -> None:
    id_ = world.offer()
    first = world.client.get(f"/share/listings/{id_}/image.png")
    assert first.headers["content-type"] == "image/png"
    assert first.headers["cross-origin-resource-policy"] == "cross-origin"
    picture = Image.open(io.BytesIO(first.content))
    assert picture.size == (1200, 630)
    assert world.client.get(f"/share/listings/{id_}/image.png").content == first.content


def test_pages_and_pictures_are_kept_by_everybody_until_the_listing_changes(world: World) -> None:
    id_ = world.offer()
    for tail in ("", "/image.png"):
        path = f"/share/listings/{id_}{tail}"
        answer = world.client.get(path)
        assert answer.headers["cache-control"] == "public, max-age=300"
        tag = answer.headers["etag"]
        again = world.client.get(path, headers={"if-none-match": f'"other", {tag}'})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == tag
        world.change(id_, price=world_price(answer.text) if not tail else 47_000_000)
        changed = world.client.get(path, headers={"if-none-match": tag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != tag
        head = world.client.head(path)
        assert (head.status_code, head.content) == (200, b"")


def world_price(page: str) -> int:
    """Another price than the page says."""
    return 48_000_000 if "48,0" not in page else 47_500_000


@pytest.mark.parametrize(
    ("status", "code"),
    [("draft", 404), ("sold", 410), ("rented", 410), ("withdrawn", 410), ("active", 200)],
)
def test_what_is_not_on_offer_says_so(world: World, status: str, code: int) -> None:
    id_ = world.offer(status=status, title="Secret title")
    for tail in ("", "/image.png"):
        answer = world.client.get(f"/share/listings/{id_}{tail}")
        assert answer.status_code == code
        if code != 200:
            assert "Secret" not in answer.text
            assert "<h1>" in answer.text


@pytest.mark.parametrize("tail", ["", "/image.png"])
@pytest.mark.parametrize(
    "cut", ["999999", "0", "-1", "1.0", "+1", "%201", "01", "1x", "x", "9" * 40, "\u0661"]
)
def test_a_link_that_names_no_listing_says_so_to_a_person(
    world: World, cut: str, tail: str
) -> None:
    world.offer()
    answer = world.client.get(f"/share/listings/{cut}{tail}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<h1>There is no such listing</h1>" in answer.text


@pytest.mark.parametrize("field", ["title", "description", "city", "locality", "amenities"])
def test_whatever_a_listing_holds_is_text(world: World, field: str) -> None:
    evil: Any = [EVIL[:60]] if field == "amenities" else EVIL
    answer = world.client.get(f"/share/listings/{world.offer(**{field: evil})}")
    assert answer.status_code == 200
    assert "<script>alert" not in answer.text
    assert answer.text.count("<script") == 1
    assert answer.text.count("</script") == 1
    assert "<b>" not in answer.text
    (text,) = re.findall(r"<script[^>]*>(.*?)</script>", answer.text, re.DOTALL)
    json.loads(text)


@settings(max_examples=100)
@given(st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_json_in_a_page_cannot_end_its_element(value: Any) -> None:
    text = _script_text(value)
    assert json.loads(text) == value
    assert not set(text) & set("<>&\u2028\u2029")


def test_the_policy_of_a_page_lets_its_own_style_alone(world: World) -> None:
    answer = world.client.get(f"/share/listings/{world.offer()}")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "script-src" not in policy


def test_phones_find_the_documents_that_lead_to_the_app(world: World) -> None:
    apple = world.client.get("/.well-known/apple-app-site-association")
    assert apple.status_code == 200
    assert apple.headers["content-type"] == "application/json"
    (details,) = apple.json()["applinks"]["details"]
    assert details["appIDs"] == ["ABCDE12345.com.example.estate"]
    assert details["components"][0]["/"] == "/share/listings/*"
    android = world.client.get("/.well-known/assetlinks.json")
    assert android.headers["content-type"] == "application/json"
    (link,) = android.json()
    assert link["target"]["sha256_cert_fingerprints"] == [FINGERPRINT]


IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15"
PIXEL = "Mozilla/5.0 (Linux; Android 16; Pixel 10) AppleWebKit/537.36"
DESKTOP = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"


@pytest.mark.parametrize(
    ("agent", "host"),
    [
        (IPHONE, "https://apps.apple.com/"),
        (PIXEL, "https://play.google.com/"),
        (DESKTOP, BASE),
        ("", BASE),
    ],
)
def test_the_app_is_got_from_the_platforms_store(world: World, agent: str, host: str) -> None:
    answer = world.client.get("/share/app", headers={"user-agent": agent})
    assert answer.status_code == 302
    assert answer.headers["location"].startswith(host)
    assert answer.headers["cache-control"] == "no-store"
    looked = world.client.head("/share/app", headers={"user-agent": agent})
    assert (looked.status_code, looked.headers) == (302, answer.headers)
    page = world.client.get(f"/share/listings/{world.offer()}", headers={"user-agent": agent})
    assert page.status_code == 200


def test_without_an_app_there_are_no_documents_of_one(make_app: MakeApp) -> None:
    app = make_app()
    app.include_router(share_router(base_url=BASE))
    with TestClient(app) as client:
        assert client.get("/.well-known/assetlinks.json").status_code == 404
        assert client.get("/.well-known/apple-app-site-association").status_code == 404


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        ("https://estate.example", True),
        ("http://[::1]:8000/below/", True),
        ("estate.example", False),
        ("https://estate.example/?a=1", False),
        ("https://estate.example/#a", False),
        ("https://u:p@estate.example", False),
        ("https://estate.example; script-src *", False),
        ("https://estate.example;script-src", False),
    ],
)
def test_links_and_the_policy_are_made_of_a_plain_url(url: str, is_taken: bool) -> None:
    option = TypeAdapter(inspect.get_annotations(share_router)["base_url"])
    if is_taken:
        assert option.validate_python(url) == url
    else:
        with pytest.raises(ValidationError):
            option.validate_python(url)


def test_half_an_app_and_a_font_that_is_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="belong together"):
        share_router(base_url=BASE, android_package="com.example.estate")
    with pytest.raises(OSError, match="names no file"):
        share_router(base_url=BASE, font=tmp_path / "absent.ttf")


@pytest.mark.parametrize(
    "text", ["₹4,85,00,000", "मुंबई में घर: नमस्ते", "Straße, Łódź, Ñandú", "Київ Αθήνα", "€ £ $ ₽"]
)
def test_the_default_font_has_every_glyph(text: str) -> None:
    assert drawable(text, default_font()) == text


def test_what_the_font_has_no_glyph_for_is_left_out() -> None:
    assert drawable("Sea 🌊 view 東京\x07 ₹", default_font()) == "Sea view ₹"


def test_devanagari_is_shaped() -> None:
    """With its vowel sign before the letter, and conjuncts: narrower than letter by letter."""
    font = share_image._font(default_font(), 60, 400)
    assert font.getlength("क्ष") < font.getlength("क") + font.getlength("ष") + 1


def test_the_longest_texts_stay_inside_the_picture() -> None:
    long = "Wonderful " * 40
    card = Card("Estate", "villa", long, "₹" + "9" * 30, long, (long, long))
    picture = Image.open(io.BytesIO(draw(card, default_font())))
    assert picture.size == (1200, 630)
    right = picture.crop((1180, 120, 1200, 500)).getcolors()
    assert right is not None
    assert len(right) == 1


def test_a_title_that_cannot_be_shown_is_the_kind_and_a_place_has_no_comma_alone() -> None:
    font = default_font()
    rest = ("₹1", ("80 m²",))
    shown = draw(
        Card("Estate", "villa", "\N{HOUSE BUILDING}", rest[0], "دبي, Dubai", rest[1]), font
    )
    assert shown == draw(Card("Estate", "villa", "Villa", rest[0], "Dubai", rest[1]), font)


def test_facts_that_have_no_room_are_left_out_whole() -> None:
    facts = ("160.5 m²", "3 bedrooms", "2 bathrooms", "House")
    font = default_font()
    shown = [fitting_facts(font, facts, 32, 400, room) for room in range(200, 1000, 50)]
    whole = [" · ".join(facts[:count]) for count in (1, 2, 3, 4)]
    assert list(dict.fromkeys(shown)) == whole
    assert fitting_facts(font, (), 32, 400, 900) == ""


def test_a_picture_is_drawn_once_for_all_who_ask(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    drawn: list[Card] = []

    def counted(card: Card, font: Path) -> bytes:
        drawn.append(card)
        return draw(card, font)

    monkeypatch.setattr("components.estate.share.draw", counted)
    app = make_app()
    app.include_router(share_router(base_url=BASE))
    cache = memory_cache()

    @app.middleware("http")
    async def with_cache(request: Any, call: Any) -> Any:
        request.state.cache = cache
        return await call(request)

    with TestClient(app) as client:
        world = World(client, url)
        id_ = world.offer()
        for _ in range(3):
            client.get(f"/share/listings/{id_}/image.png")
        assert len(drawn) == 1
        world.change(id_, title="Another title")
        client.get(f"/share/listings/{id_}/image.png")
        assert [card.title for card in drawn] == [LISTING["title"], "Another title"]


@pytest.mark.parametrize(
    ("price", "currency", "purpose", "text"),
    [
        (48_500_000, "INR", "sale", "₹4,85,00,000"),
        (999, "INR", "rent", "₹999 a month"),
        (0, "EUR", "sale", "€0"),
        (2_500_000, "AED", "sale", "AED 2,500,000"),
    ],
)
def test_prices_are_written_as_people_do(
    price: int, currency: str, purpose: str, text: str
) -> None:
    said: Any = {"price": price, "currency": currency, "purpose": purpose}
    assert price_text(ListingOut.model_construct(None, **said)) == text


@given(st.integers(0, 10**15))
def test_groups_of_digits_are_only_digits_and_commas(number: int) -> None:
    text = _indian(number)
    assert text.replace(",", "") == str(number)
    assert all(len(group) == 2 for group in text.split(",")[1:-1])
    assert len(text.split(",")[-1]) == min(3, len(str(number)))
