"""The shop around its parts."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from app import pages
from app.admin.main import create_admin
from app.api.main import api
from app.layers import HeaderMiddleware

logger = logging.getLogger("app.main")
admin = create_admin(["testserver", "office.example.com"])


@asynccontextmanager
async def open_shop(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open the shop."""
    logger.info("the shop opens")
    yield {"shop": "open"}
    logger.info("the shop closes")


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, object]]:
    """Open the shop, and then the office: a mounted application's own lifespan does not run."""
    async with AsyncExitStack() as stack:
        state = {**await stack.enter_async_context(open_shop(app))}
        state.update(await stack.enter_async_context(admin.router.lifespan_context(admin)) or {})
        yield state


app = FastAPI(title="Shop", lifespan=lifespan, openapi_url=None)
app.add_middleware(HeaderMiddleware, name="X-Shop", value="open")
app.add_middleware(CORSMiddleware, allow_origins=["https://shop.example.com"])
app.add_exception_handler(404, pages.page_missing)
app.add_exception_handler(ValueError, pages.wrong_value)
app.include_router(pages.health)
app.mount("/api/v1", api, name="api")
app.mount("/office", admin)
app.include_router(pages.router)
