"""What is done by the clock, on a scheduler of this module."""

import logging

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.cron import CronTrigger
from sqlalchemy import func, select

from app.database import archive_engine, engine, report

logger = logging.getLogger("app.jobs")
scheduler = AsyncIOScheduler(timezone="Europe/Berlin")


@scheduler.scheduled_job("cron", id="publish", hour=6, minute=30)
async def publish() -> int:
    """Publish what is ready."""
    async with engine.begin() as connection:
        done = await connection.execute(
            report.update().where(report.c.state == "ready").values(state="published")
        )
    logger.info("%d reports are published", done.rowcount)
    return int(done.rowcount)


async def copy_to_archive(limit: int = 100) -> int:
    """Copy what is published into the archive."""
    async with engine.connect() as source, archive_engine.begin() as archive:
        rows = (await source.execute(select(report).limit(limit))).mappings().all()
        await archive.execute(report.delete())
        if rows:
            await archive.execute(report.insert(), [dict(row) for row in rows])
    return len(rows)


def heartbeat() -> None:
    """Say that the clock goes."""
    logger.info("the clock goes")


async def count(state: str = "draft") -> int:
    """Count reports."""
    query = select(func.count()).select_from(report).where(report.c.state == state)
    async with engine.connect() as connection:
        return int((await connection.execute(query)).scalar_one())


scheduler.add_job(
    copy_to_archive,
    CronTrigger.from_crontab("0 2 * * 1", timezone="Europe/Berlin"),  # a Tuesday, to APScheduler
    kwargs={"limit": 50},
    id="archive",
)
scheduler.add_job(heartbeat, "cron", minute="*/15", id="heartbeat", max_instances=1)
