"""What runs by the clock."""

from typing import Any


async def publish(job: Any, *, limit: int = 100) -> None:
    """Publish what is due."""


def tidy() -> None:
    """Put things in order."""
