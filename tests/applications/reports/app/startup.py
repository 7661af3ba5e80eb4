"""The start and the end."""

import logging

from sqlalchemy import text

from app import config
from app.database import STATEMENTS, archive_engine, engine, metadata
from app.jobs import scheduler

logger = logging.getLogger("app.startup")


async def create_tables() -> None:
    """Make the tables of both databases."""
    for each in (engine, archive_engine):
        async with each.begin() as connection:
            await connection.run_sync(metadata.create_all)
    logger.info("tables are there")


async def run_statements() -> None:
    """Make what the tables do not say of themselves."""
    for label, sql in STATEMENTS:
        async with engine.begin() as connection:
            await connection.execute(text(sql))
        logger.info("%s is there", label)


def start_jobs() -> None:
    """Start the clock, where this process has it."""
    if config.JOBS:
        scheduler.start()


def stop_jobs() -> None:
    """Stop the clock."""
    if scheduler.running:
        scheduler.shutdown(wait=False)


async def close_engines() -> None:
    """Give all connections back."""
    await archive_engine.dispose()
    await engine.dispose()
    logger.info("engines are closed")
