"""A route whose answer the cache keeps."""

from datetime import timedelta

from fastapi import APIRouter, Request

from components.cache import Cache

router = APIRouter()


@router.get("/cached")
async def cached(request: Request) -> int:
    cache: Cache = request.state.cache
    found: int = await cache.get_or_set("answer", _answer, ttl=timedelta(minutes=1))
    return found


async def _answer() -> int:
    return 42
