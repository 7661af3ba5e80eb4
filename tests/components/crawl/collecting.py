"""A process of its own that collects one source: `python -m …collecting DATABASE REDIS URL`."""

import asyncio
import sys
from datetime import timedelta

from components.cache import redis_cache
from components.crawl.crawler import Crawler
from components.database import engine
from components.estate.jobs import collect_market_data


async def main(database: str, redis: str, url: str) -> None:
    db = engine(url=database)
    cache = redis_cache(url=redis)
    crawler = Crawler(store=cache, interval=timedelta(seconds=1))
    await crawler.open()
    try:
        await collect_market_data(db=db, crawler=crawler, url=url, allow_private=["127.0.0.1"])
    finally:
        await cache.aclose()
        await db.dispose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
