"""The first content of an estate database.

In: an engine, the numbers of listings and posts, and a seed. Out: the tables, and in an empty one that
many plausible rows, always the same for the same seed. A table with content is
left as it is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Annotated, Any, get_args

from pydantic import Field
from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import for_writing
from components.estate import full_text
from components.estate.models import Base, Listing, Post
from components.estate.schemas import Kind

_ADVISORY_LOCK = 0x657374617465  # "estate"
_LATEST = datetime(2026, 6, 30, 18, 0, tzinfo=UTC)
_MINUTES_IN_A_YEAR = 365 * 24 * 60


async def prepare(
    *,
    db: Annotated[AsyncEngine, Field(description="the engine of the database")],
    listings: Annotated[int, Field(ge=0, le=100_000, description="listings to begin with")] = 300,
    posts: Annotated[int, Field(ge=0, le=10_000, description="posts to begin with")] = 12,
    seed: Annotated[int, Field(description="another seed gives other listings")] = 7,
) -> None:
    """Create the tables that are absent, and fill the empty ones.

    Any number of processes may do this at once: each waits for the one before, on SQLite by the
    lock that an engine of `components.database` takes. IF NOT EXISTS would not do: on PostgreSQL
    it fails when two look at the same moment.
    """
    async with for_writing(db).begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        await connection.run_sync(Base.metadata.create_all)
        await connection.run_sync(full_text.prepare)  # of a database from before it
        empty = await connection.scalar(select(Listing.id).limit(1)) is None
        if empty and listings:
            await connection.execute(insert(Listing), generate(listings, seed=seed))
        empty = await connection.scalar(select(Post.id).limit(1)) is None
        if empty and posts:
            await connection.execute(insert(Post), generate_posts(posts, seed=seed))


def generate(count: int, *, seed: int) -> list[dict[str, Any]]:
    """That many rows of `Listing`, without ids: the database gives them, and goes on from there."""
    chance = Random(seed)  # noqa: S311  # repeatable is what is wanted
    return [_listing(chance) for _ in range(count)]


def generate_posts(count: int, *, seed: int) -> list[dict[str, Any]]:
    """That many rows of `Post`, without ids: two of three published, then a draft."""
    chance = Random(seed)  # noqa: S311  # repeatable is what is wanted
    return [_post(chance, number) for number in range(count)]


def _post(chance: Random, number: int) -> dict[str, Any]:
    city = chance.choice(_CITIES)
    created = _LATEST - timedelta(minutes=chance.randrange(_MINUTES_IN_A_YEAR))
    published = created + timedelta(days=1) if number % 3 < 2 else None
    return {
        "title": chance.choice(_HEADLINES).format(city=city.name),
        "body": f"A walk through {' and '.join(city.localities[:2])}, with prices and a map.",
        "status": "draft" if published is None else "published",
        "publish_at": published,
        "published_at": published,
        "created_at": created,
        "updated_at": published or created,
    }


@dataclass(frozen=True, slots=True)
class _City:
    name: str
    currency: str
    latitude: float
    longitude: float
    price_per_m2: int
    localities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Form:
    """What a kind of property is like: how often, how large, and how dear beside an apartment."""

    weight: int
    smallest_m2: int
    largest_m2: int
    price_factor: float
    m2_per_bedroom: int | None
    amenities: tuple[str, ...]


_CITIES = (
    _City("Mumbai", "INR", 19.076, 72.878, 260_000, ("Bandra West", "Powai", "Andheri", "Worli")),
    _City("Bengaluru", "INR", 12.972, 77.595, 95_000, ("Indiranagar", "Whitefield", "Jayanagar")),
    _City("Delhi", "INR", 28.614, 77.209, 150_000, ("Dwarka", "Saket", "Vasant Kunj")),
    _City("Pune", "INR", 18.520, 73.857, 85_000, ("Koregaon Park", "Baner", "Kothrud")),
    _City("Hyderabad", "INR", 17.385, 78.487, 80_000, ("Gachibowli", "Banjara Hills", "Kondapur")),
    _City("Chennai", "INR", 13.083, 80.271, 90_000, ("Adyar", "Velachery", "Besant Nagar")),
    _City("Kolkata", "INR", 22.573, 88.364, 65_000, ("Salt Lake", "New Town", "Ballygunge")),
    _City("Kochi", "INR", 9.931, 76.267, 60_000, ("Kakkanad", "Fort Kochi", "Edappally")),
    _City("Jaipur", "INR", 26.912, 75.787, 50_000, ("Malviya Nagar", "C-Scheme", "Vaishali Nagar")),
    _City("Panaji", "INR", 15.491, 73.828, 90_000, ("Dona Paula", "Miramar", "Fontainhas")),
    _City("Dubai", "AED", 25.205, 55.271, 16_000, ("Dubai Marina", "Jumeirah", "Al Barsha")),
    _City("London", "GBP", 51.507, -0.128, 9_500, ("Camden", "Greenwich", "Clapham")),
    _City("Lisbon", "EUR", 38.722, -9.139, 5_600, ("Alfama", "Chiado", "Parque das Nações")),
    _City("Singapore", "SGD", 1.352, 103.820, 18_000, ("Tiong Bahru", "Bedok", "Holland Village")),
    _City(
        "Toronto", "CAD", 43.653, -79.383, 9_000, ("The Annex", "Leslieville", "Liberty Village")
    ),
)
_HEADLINES = (
    "What a home costs in {city} this year",
    "Five quiet streets in {city}",
    "Renting in {city}: what to ask first",
    "{city} for families: schools, parks and the way to work",
)
_HOME = ("lift", "covered parking", "power backup", "balcony", "gym", "pool", "playground")
_WORK = ("lift", "visitor parking", "power backup", "fibre internet", "air conditioning")
_FORMS: dict[Kind, _Form] = {
    "apartment": _Form(48, 38, 210, 1.0, 38, _HOME),
    "house": _Form(14, 90, 320, 0.9, 48, ("garden", "garage", "solar panels", "terrace")),
    "villa": _Form(9, 180, 650, 1.3, 75, ("pool", "garden", "garage", "terrace", "guest room")),
    "plot": _Form(9, 120, 2000, 0.45, None, ("corner plot", "road access", "water connection")),
    "office": _Form(9, 40, 900, 0.95, None, _WORK),
    "shop": _Form(8, 15, 180, 1.4, None, ("street front", "storage room", "shutter")),
    "warehouse": _Form(3, 300, 5000, 0.3, None, ("loading dock", "high ceiling", "truck access")),
}
_CONDITIONS = ("Newly built", "Recently renovated", "Well kept", "Bright and airy", "Quiet")
_SURROUNDINGS = (
    "close to the metro",
    "on a tree-lined street",
    "five minutes from the market",
    "near good schools",
    "with a view over the city",
    "in a gated neighbourhood",
)


def _listing(chance: Random) -> dict[str, Any]:
    city = chance.choice(_CITIES)
    locality = chance.choice(city.localities)
    kind: Kind = chance.choices(get_args(Kind), [_FORMS[k].weight for k in get_args(Kind)])[0]
    form = _FORMS[kind]
    area_m2 = round(chance.triangular(form.smallest_m2, form.largest_m2), 1)
    bedrooms = form.m2_per_bedroom and max(1, round(area_m2 / form.m2_per_bedroom))
    rent = kind != "plot" and chance.random() < 0.35
    condition, surroundings = chance.choice(_CONDITIONS), chance.choice(_SURROUNDINGS)
    created_at = _LATEST - timedelta(minutes=chance.randrange(_MINUTES_IN_A_YEAR))
    what = f"{bedrooms}-bedroom {kind}" if bedrooms else kind.capitalize()
    return {
        "title": f"{what} in {locality}",
        "description": f"{condition} {kind} of {area_m2:g} m² in {locality}, {city.name}, "
        f"{surroundings}.",
        "kind": kind,
        "purpose": "rent" if rent else "sale",
        "status": _status(chance, rent=rent),
        "price": _price(city.price_per_m2 * form.price_factor * area_m2, chance, rent=rent),
        "currency": city.currency,
        "bedrooms": bedrooms,
        "bathrooms": bedrooms and max(1, bedrooms - chance.randrange(2)),
        "area_m2": area_m2,
        "floor_plan": _floor_plan(area_m2, bedrooms) if chance.random() < 0.4 else None,
        "city": city.name,
        "locality": locality,
        "latitude": round(city.latitude + chance.uniform(-0.05, 0.05), 6),
        "longitude": round(city.longitude + chance.uniform(-0.05, 0.05), 6),
        "amenities": sorted(chance.sample(form.amenities, chance.randint(1, 3))),
        "created_at": created_at,
        "updated_at": created_at,
    }


def _status(chance: Random, *, rent: bool) -> str:
    taken = "rented" if rent else "sold"
    return chance.choices(("active", "draft", taken, "withdrawn"), (80, 8, 9, 3))[0]


def _price(value: float, chance: Random, *, rent: bool) -> int:
    """A round sum near the value; a month's rent is about a 280th of it."""
    exact = value * chance.uniform(0.8, 1.25) / (280 if rent else 1)
    step: int = 10 ** max(0, len(str(int(exact))) - 3)
    return max(1, round(exact / step)) * step


def _floor_plan(area_m2: float, bedrooms: int | None) -> str | None:
    if bedrooms is None:
        return None
    living, kitchen, sleeping = area_m2 * 0.35, area_m2 * 0.12, area_m2 * 0.4 / bedrooms
    return (
        f"Living room {living:.0f} m², kitchen {kitchen:.0f} m², "
        f"{bedrooms} bedroom{'s' if bedrooms > 1 else ''} of about {sleeping:.0f} m²."
    )
