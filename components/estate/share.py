"""Pages for who gets a link: what people, other sites' previews and search engines read of a listing.

In: requests whose lifespan state carries an `AsyncEngine` as `db`; `cache` and `threads` where they are
there. Out: server-rendered pages with Open Graph, Twitter card and JSON-LD, the picture that they name,
the documents by which phones open the app in place of a page, and a redirect to the app's store. Pages
and pictures may be kept by everybody, under an ETag. Refused: a draft, or what never was, by 404; a
listing that has ended, by 410. What a title holds is text, wherever it stands.

Open Graph: https://ogp.me. https://schema.org/RealEstateListing. Apple's and Google's documents:
https://developer.apple.com/documentation/xcode/supporting-associated-domains,
https://developer.android.com/training/app-links/verify-android-applinks
"""

import asyncio
import base64
import hashlib
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, RedirectResponse, Response

from components.database import transaction
from components.estate import listings
from components.estate.schemas import OFFERED, ListingOut
from components.estate.share_image import HEIGHT, WIDTH, Card, default_font, draw
from components.http.etag import is_known

_TEMPLATES = Path(__file__).with_name("templates")
_PICTURE_VERSION = "2"  # of the drawing: another one is another picture
_KINDS = {"apartment": "Apartment", "house": "House", "villa": "House"}
_SYMBOLS = {"INR": "₹", "EUR": "€", "GBP": "£", "USD": "$"}
_GONE = {
    404: ("There is no such listing", "Perhaps the link was cut when it was copied."),
    410: ("This listing has ended", "It was sold or rented, or its owner took it back."),
}
_ID = re.compile(r"[1-9][0-9]{0,14}")  # as links are made, and what a database holds
_URL = r"^https?://[!#-;=?-Z\[\]_a-z~]+$"
_BaseUrl = Annotated[
    str, Field(pattern=r"^https?://[A-Za-z0-9._~:\[\]/%-]+$")
]  # it stands in a policy


def share_router(
    *,
    base_url: Annotated[_BaseUrl, Field(description="the public URL of this application")],
    name: Annotated[str, Field(min_length=1, max_length=60, description="of the site")] = "Estate",
    font: Annotated[
        Path | None, Field(description="file of the pictures' font; Noto Sans if none")
    ] = None,
    cache_for: Annotated[
        timedelta, Field(ge=timedelta(0), description="how long others may keep a page")
    ] = timedelta(minutes=5),
    ios_apps: Annotated[
        Sequence[Annotated[str, Field(pattern=r"^[A-Z0-9]{10}\.[A-Za-z0-9.-]+$")]],
        Field(description="apps that open listings, as `TEAMID.bundle.id`"),
    ] = (),
    android_package: Annotated[
        str,
        Field(
            pattern=r"^([A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+)?$",
            description="the Android app that opens listings",
        ),
    ] = "",
    android_fingerprints: Annotated[
        Sequence[Annotated[str, Field(pattern=r"^([0-9A-F]{2}:){31}[0-9A-F]{2}$")]],
        Field(description="SHA-256 fingerprints of the certificates that sign the Android app"),
    ] = (),
    ios_store: Annotated[
        str, Field(pattern=rf"{_URL}|^$", description="page of the app in Apple's store")
    ] = "",
    android_store: Annotated[
        str, Field(pattern=rf"{_URL}|^$", description="page of the app in Google's store")
    ] = "",
) -> APIRouter:
    """The routes below `/share` and two documents below `/.well-known`.

    Raises ValueError where an Android app has no fingerprint, and OSError where `font` is no font.
    """
    if bool(android_package) != bool(android_fingerprints):
        raise ValueError("`android_package` and `android_fingerprints` belong together")
    pages = _Pages(base_url.rstrip("/"), name, font, cache_for)
    made = APIRouter(include_in_schema=False)
    made.add_api_route(
        "/share/app",
        _store_redirect(ios_store, android_store, pages.base_url),
        methods=["GET", "HEAD"],
    )
    made.add_api_route("/share/listings/{id}", pages.listing, methods=["GET", "HEAD"])
    made.add_api_route("/share/listings/{id}/image.png", pages.image, methods=["GET", "HEAD"])
    associated = _apple_document(ios_apps)
    links = _android_document(android_package, android_fingerprints)
    for path, document in (
        ("apple-app-site-association", associated),
        ("assetlinks.json", links),
    ):
        made.add_api_route(f"/.well-known/{path}", _document(document), methods=["GET", "HEAD"])
    return made


class _Pages:
    """What is the same for every page."""

    def __init__(self, base_url: str, name: str, font: Path | None, cache_for: timedelta) -> None:
        self.base_url = base_url
        self.name = name
        self._given_font = font
        self._cache = f"public, max-age={int(cache_for.total_seconds())}"
        if font is not None and not font.is_file():
            raise FileNotFoundError(f"`font` names no file: `{font}`")

    async def listing(self, id: str, request: Request) -> Response:
        """The page of a listing."""
        found = await self._found(request, id)
        if isinstance(found, int):
            return self._gone(found)
        text = self._template("listing.html").render(self._said(found))
        return self._answer(request, text.encode(), "text/html; charset=utf-8", self._policy)

    async def image(self, id: str, request: Request) -> Response:
        """The picture of a listing."""
        found = await self._found(request, id)
        if isinstance(found, int):
            return self._gone(found)
        picture = await self._drawn(request, found)
        headers = {"cross-origin-resource-policy": "cross-origin"}  # others show it in their pages
        return self._answer(request, picture, "image/png", headers)

    async def _found(self, request: Request, id: str) -> ListingOut | int:
        """The listing, or the status that says why there is none; a link may have been cut anywhere."""
        if not _ID.fullmatch(id):
            return 404
        async with transaction(request.state.db, write=False) as session:
            listing = await listings.read(session, int(id))
        if listing is None or listing.status == "draft":
            return 404
        return listing if listing.status == OFFERED else 410

    def _said(self, listing: ListingOut) -> dict[str, Any]:
        url = f"{self.base_url}/share/listings/{listing.id}"
        image = f"{url}/image.png?v={_version(listing)}"
        price = price_text(listing)
        summary = f"{price} · {listing.locality}, {listing.city}. {listing.description}"
        summary = " ".join(summary.split())
        return {
            **self._common,
            "listing": listing,
            "url": url,
            "image": image,
            "width": WIDTH,
            "height": HEIGHT,
            "alt": f"{listing.title}, {price}, {listing.locality}, {listing.city}",
            "price": price,
            "summary": summary if len(summary) <= 200 else f"{summary[:199]}…",
            "facts": [(term, fact) for term, fact, _ in _facts(listing)],
            "json_ld": _script_text(_json_ld(listing, url, image)),
        }

    def _gone(self, status: int) -> Response:
        title, text = _GONE[status]
        page = self._template("gone.html").render({**self._common, "title": title, "text": text})
        headers = {"cache-control": "public, max-age=60", **self._policy}
        return Response(page, status, headers, "text/html; charset=utf-8")

    def _answer(
        self, request: Request, content: bytes, media_type: str, more: dict[str, str]
    ) -> Response:
        tag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
        headers = {"etag": tag, "cache-control": self._cache, **more}
        known = [value.encode("latin-1") for value in request.headers.getlist("if-none-match")]
        if known and is_known(known, tag.encode()):
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    async def _drawn(self, request: Request, listing: ListingOut) -> bytes:
        """The picture, drawn once for all who ask, and kept where there is a cache."""
        card = Card(
            name=self.name,
            kind=listing.kind,
            title=listing.title,
            price=price_text(listing),
            place=f"{listing.locality}, {listing.city}",
            facts=_picture_facts(listing),
        )

        async def make() -> bytes:
            threads = getattr(request.state, "threads", None)
            run = asyncio.to_thread if threads is None else threads.run
            drawn: bytes = await run(draw, card, self._font)
            return drawn

        cache = getattr(request.state, "cache", None)
        if cache is None:
            return await make()
        key = f"{listing.id}-{_version(listing)}"
        kept: bytes = await cache.namespace("share-images").get_or_set(
            key, make, ttl=timedelta(hours=1)
        )
        return kept

    @cached_property
    def _font(self) -> Path:
        return self._given_font or default_font()

    @cached_property
    def _style(self) -> str:
        return (_TEMPLATES / "page.css").read_text("utf-8").strip()

    @cached_property
    def _policy(self) -> dict[str, str]:
        """What a page may load: its own picture and this very style, and no script at all."""
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        policy = (
            f"default-src 'none'; img-src 'self' {self.base_url}; style-src 'sha256-{digest}'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return {"content-security-policy": policy}

    @cached_property
    def _common(self) -> dict[str, Any]:
        return {"name": self.name, "base_url": self.base_url, "style": self._style}

    @cached_property
    def _environment(self) -> Any:
        import jinja2  # noqa: PLC0415  # only where a page is shown

        loader = jinja2.FileSystemLoader(_TEMPLATES)
        return jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)

    def _template(self, name: str) -> Any:
        return self._environment.get_template(name)


def price_text(listing: ListingOut) -> str:
    """The price for people: `₹4,85,00,000`, `$1,200 a month`, `AED 2,500,000`."""
    number = _indian(listing.price) if listing.currency == "INR" else f"{listing.price:,}"
    symbol = _SYMBOLS.get(listing.currency, f"{listing.currency} ")
    return f"{symbol}{number}" + (" a month" if listing.purpose == "rent" else "")


def _indian(number: int) -> str:
    """Lakhs and crores: after the last three digits, groups of two."""
    head, tail = str(number)[:-3], str(number)[-3:]
    groups = [tail]
    while head:
        groups.insert(0, head[-2:])
        head = head[:-2]
    return ",".join(groups)


def _facts(listing: ListingOut) -> list[tuple[str, str, str]]:
    """Terms, what is to be said of each beside its term, and without it."""
    area = f"{listing.area_m2:g} m²"
    facts = [
        ("Kind", listing.kind.capitalize(), listing.kind.capitalize()),
        ("For", listing.purpose.capitalize(), listing.purpose.capitalize()),
        ("Area", area, area),
    ]
    for term, number in (("Bedrooms", listing.bedrooms), ("Bathrooms", listing.bathrooms)):
        if number is not None:
            what = term.lower() if number != 1 else term[:-1].lower()
            facts.append((term, str(number), f"{number} {what}"))
    return facts


def _picture_facts(listing: ListingOut) -> tuple[str, ...]:
    """What the picture says beside the price, the most telling first; titles mostly name the kind."""
    phrases = {term: phrase for term, _, phrase in _facts(listing)}
    order = ("Area", "Bedrooms", "Bathrooms", "Kind")
    return tuple(phrases[term] for term in order if term in phrases)


def _version(listing: ListingOut) -> str:
    text = f"{_PICTURE_VERSION} {listing.updated_at.isoformat()} {listing.model_dump_json()}"
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def _place(listing: ListingOut) -> dict[str, Any]:
    place: dict[str, Any] = {
        "@type": _KINDS.get(listing.kind, "Place"),
        "name": listing.title,
        "address": {
            "@type": "PostalAddress",
            "addressLocality": listing.city,
            "streetAddress": listing.locality,
        },
    }
    if listing.kind in _KINDS:
        place["floorSize"] = {
            "@type": "QuantitativeValue",
            "value": listing.area_m2,
            "unitCode": "MTK",
        }
        if listing.bedrooms is not None:
            place["numberOfBedrooms"] = listing.bedrooms
    if listing.latitude is not None and listing.longitude is not None:
        place["geo"] = {
            "@type": "GeoCoordinates",
            "latitude": listing.latitude,
            "longitude": listing.longitude,
        }
    return place


def _json_ld(listing: ListingOut, url: str, image: str) -> dict[str, Any]:
    return {
        "@context": "https://schema.org",
        "@type": "RealEstateListing",
        "name": listing.title,
        "description": listing.description,
        "url": url,
        "image": image,
        "datePosted": listing.created_at.isoformat(),
        "mainEntity": _place(listing),
        "offers": {
            "@type": "Offer",
            "price": listing.price,
            "priceCurrency": listing.currency,
            "availability": "https://schema.org/InStock",
            "businessFunction": "http://purl.org/goodrelations/v1#"
            + ("LeaseOut" if listing.purpose == "rent" else "Sell"),
            "url": url,
        },
    }


def _script_text(value: Any) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(value, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _apple_document(apps: Sequence[str]) -> dict[str, Any] | None:
    if not apps:
        return None
    components = [{"/": "/share/listings/*", "comment": "the page of a listing"}]
    return {"applinks": {"details": [{"appIDs": [*apps], "components": components}]}}


def _android_document(package: str, fingerprints: Sequence[str]) -> list[Any] | None:
    if not package:
        return None
    target = {
        "namespace": "android_app",
        "package_name": package,
        "sha256_cert_fingerprints": [*fingerprints],
    }
    return [{"relation": ["delegate_permission/common.handle_all_urls"], "target": target}]


def _document(content: Any) -> Any:
    async def document() -> Response:
        if content is None:
            return JSONResponse({"error": "this service has no such app"}, 404)
        return JSONResponse(content, headers={"cache-control": "public, max-age=3600"})

    return document


def _store_redirect(ios: str, android: str, otherwise: str) -> Any:
    async def store(request: Request) -> Response:
        """To the store of the platform that asks; elsewhere to the site itself."""
        agent = request.headers.get("user-agent", "")
        target = otherwise
        if "Android" in agent:
            target = android or otherwise
        elif any(word in agent for word in ("iPhone", "iPad", "iPod")):
            target = ios or otherwise
        headers = {"cache-control": "no-store", "vary": "User-Agent"}
        return RedirectResponse(target, 302, headers)

    return store
