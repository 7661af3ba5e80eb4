"""Market data over HTTP, and the site that it comes from on a laptop.

In: requests whose lifespan state carries an `AsyncEngine` as `db`. Out: `router` with `/market`; and
`sample_site`, a few pages with a robots.txt, for a manifest of development: their figures are made up.
"""

from pathlib import Path
from typing import Annotated, ClassVar

from fastapi import APIRouter, HTTPException, Query, Response
from fastapi.responses import FileResponse

from components.estate.api import Reading
from components.estate.market import MarketPage, MarketSearch, find

router = APIRouter(tags=["market"])

_PAGES = Path(__file__).with_name("sample_site")


@router.get("/market", summary="What property costs")
async def read_market(session: Reading, wanted: Annotated[MarketSearch, Query()]) -> MarketPage:
    """Figures per square metre that others publish, the latest month first, with their sources."""
    return await find(session, wanted)


class SampleSite(APIRouter):
    """A site with market data that nobody published."""

    development_only: ClassVar[bool] = True


def sample_site() -> SampleSite:
    """The routes `/robots.txt` and `/sample-site/{page}`."""
    made = SampleSite(include_in_schema=False)

    @made.get("/robots.txt")
    def robots() -> Response:
        return FileResponse(_PAGES / "robots.txt", media_type="text/plain")

    @made.get("/sample-site/{page}")
    def page(page: str) -> Response:
        if page not in {"index.html", "page-2.html"}:
            raise HTTPException(404, "no such page")
        return FileResponse(_PAGES / page, media_type="text/html")

    return made
