"""The office: an application of its own, with a lifespan, made by a function."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI, Header, HTTPException, Request
from starlette.middleware.trustedhost import TrustedHostMiddleware

from app.catalogue import STOCK

logger = logging.getLogger("app.admin")


def clerk(x_clerk: str = Header()) -> str:
    """Return who works."""
    if x_clerk not in {"ann", "bob"}:
        raise HTTPException(403, "no clerk of ours")
    return x_clerk


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open the office."""
    logger.info("the office opens")
    yield {"desk": "front desk"}
    logger.info("the office closes")


def create_admin(hosts: list[str], *, title: str = "Office") -> FastAPI:
    """Make the application of the office for these hosts."""
    admin = FastAPI(title=title, dependencies=[Depends(clerk)], lifespan=lifespan)
    admin.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)

    @admin.get("/stock")
    async def stock(request: Request) -> dict[str, object]:
        return {"stock": STOCK, "desk": getattr(request.state, "desk", None)}

    @admin.put("/stock/{sku}")
    async def fill(sku: str, count: int, who: str = Depends(clerk)) -> dict[str, object]:
        logger.info("%s puts %d of %s", who, count, sku)
        return {"sku": sku, "count": count, "by": who}

    return admin
