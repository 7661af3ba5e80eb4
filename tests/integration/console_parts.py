"""What the services with a console are made of."""

from pathlib import Path

from fastapi import APIRouter, FastAPI, HTTPException

from components.middleware.rate_limit import RateLimitMiddleware

router = APIRouter()


@router.get("/things/{id}")
async def thing(id: int) -> int:
    """Answers, or breaks."""
    if id == 500:
        raise HTTPException(503)
    return id


def count(*, file: str) -> None:
    """Write a line for each run."""
    with Path(file).open("a", encoding="utf-8") as lines:
        lines.write("run\n")


def fail_once(*, file: str, secret: str = "") -> None:
    """Fail the first time, with a secret in the text."""
    path = Path(file)
    if not path.exists():
        path.write_text("failed\n", "utf-8")
        raise RuntimeError(f"cannot reach postgres://user:{secret}@db/shop")


def inner() -> FastAPI:
    """A mount that is made on demand."""
    return FastAPI()


class OwnLimit(RateLimitMiddleware):
    """Somebody's own limiter."""


class Broken:
    """A resource that cannot be opened, and says a secret."""

    def __init__(self, *, url: str) -> None:
        self.url = url

    async def open(self) -> None:
        """Fail."""
        raise ConnectionError(f"nobody answers at {self.url}")

    async def aclose(self) -> None:
        """There is nothing to close."""
