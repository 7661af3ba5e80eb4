"""What property costs, as others publish it.

In: pages of a source, a session. Out: figures per square metre with where, when and by whose leave each
was read. One figure of a source is one row, whichever page and run brought it: a later page changes it.
Refused: pages that have no table of figures, and rows in it that are none.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from components.crawl.collect import Parsed, Provenance
from components.crawl.tables import upsert
from components.estate import full_text
from components.estate.models import MarketFigure
from components.estate.schemas import Currency, Kind, PageSize, Place, Purpose

if TYPE_CHECKING:
    from selectolax.lexbor import LexborNode

_COLUMNS = ("city", "kind", "purpose", "month", "currency", "price_per_m2")
_UNREADABLE = "\N{REPLACEMENT CHARACTER}"
_KEYS = ("source", "city", "kind", "purpose", "currency", "month")

Month = Annotated[str, Field(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$", description="as 2026-06")]


class Figure(BaseModel):
    """What a square metre costs: for sale, or for rent a month."""

    model_config = ConfigDict(from_attributes=True)

    city: Place
    kind: Kind
    purpose: Purpose
    month: Month
    currency: Currency
    price_per_m2: Annotated[float, Field(gt=0, le=10**12, allow_inf_nan=False)]


class FigureOut(Figure):
    """A figure, and where it was read; `robots` says by what the page might be fetched."""

    source: str
    url: str
    fetched_at: datetime
    content_hash: str
    robots: str


class MarketSearch(BaseModel):
    """Which figures; a filter that is absent lets everything pass."""

    city: Annotated[Place | None, Field(description="name of the city, in any case")] = None
    kind: Kind | None = None
    purpose: Purpose | None = None
    month: Month | None = None
    limit: PageSize = 50
    offset: Annotated[int, Field(ge=0, le=10**9, description="figures to skip")] = 0


class MarketPage(BaseModel):
    """A part of what was found: `items` from `offset` on, of `total`, the latest month first."""

    items: list[FigureOut]
    total: int
    limit: int
    offset: int


def parse_table(body: bytes, url: str) -> Parsed:
    """Read the first table whose head names the columns of a figure, and the link to the next page.

    Raises:
        ValueError: there is none, it is empty, or a row of it is no figure.
    """
    from selectolax.lexbor import LexborHTMLParser  # noqa: PLC0415  # only the job parses

    tree = LexborHTMLParser(body)
    for table in tree.css("table:not(:has(table))"):  # others only lay the page out
        head, *rows = [_cells(row) for row in table.css("tr")] or [[]]
        if set(_COLUMNS) <= set(head):
            figures = [_figure(head, row, number) for number, row in enumerate(rows, 1)]
            if not figures:
                raise ValueError("the table of figures is empty")
            links = [a.attributes.get("href") for a in tree.css("a[rel=next]")]
            return Parsed(figures, [link for link in links if link])
    raise ValueError("the page has no table of figures")


async def keep(session: AsyncSession, read: Provenance, figures: Sequence[Figure]) -> None:
    """Keep the figures of a page; of two of one month on it the last one holds."""
    rows: dict[tuple[Any, ...], dict[str, Any]] = {}
    for figure in figures:
        row = {
            **figure.model_dump(),
            "source": read.source,
            "url": read.url,
            "fetched_at": read.fetched_at,
            "content_hash": read.content_hash,
            "robots": read.robots,
        }
        rows[tuple(row[key] for key in _KEYS)] = row
    # in one order, so that two processes wait for each other and not in a ring
    ordered = [rows[key] for key in sorted(rows)]
    await upsert(session, MarketFigure.__table__, ordered, keys=_KEYS)


async def find(session: AsyncSession, wanted: MarketSearch) -> MarketPage:
    """One page of figures, the latest month first."""
    conditions = [
        getattr(MarketFigure, name) == value
        for name in ("kind", "purpose", "month")
        if (value := getattr(wanted, name)) is not None
    ]
    if wanted.city is not None:
        conditions.append(full_text.in_any_case(MarketFigure.city, wanted.city))
    total = await session.scalar(select(func.count()).select_from(MarketFigure).where(*conditions))
    found = await session.scalars(
        select(MarketFigure)
        .where(*conditions)
        .order_by(MarketFigure.month.desc(), MarketFigure.city, MarketFigure.id)
        .limit(wanted.limit)
        .offset(wanted.offset)
    )
    return MarketPage(
        items=[FigureOut.model_validate(figure) for figure in found],
        total=total or 0,
        limit=wanted.limit,
        offset=wanted.offset,
    )


def _cells(row: "LexborNode") -> list[str]:
    return [" ".join(cell.text().split()) for cell in row.css("td, th")]


def _figure(head: list[str], row: list[str], number: int) -> Figure:
    values = dict(zip(head, row, strict=False))
    if _UNREADABLE in values.get("city", ""):
        raise ValueError(f"row {number}, `city`: the page is in another charset than it says")
    try:
        return Figure.model_validate({name: values.get(name) for name in _COLUMNS})
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        raise ValueError(f"row {number}, `{fault['loc'][0]}`: {fault['msg']}") from error
