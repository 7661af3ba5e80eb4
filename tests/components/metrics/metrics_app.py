"""An application whose numbers are read from outside, for several workers."""

import asyncio
import os

from fastapi import FastAPI

from components.metrics import MetricsMiddleware, router

app = FastAPI()
app.include_router(router())
app.add_middleware(MetricsMiddleware, exempt=["/metrics", "/pid"])


@app.get("/pid")
async def pid() -> int:
    return os.getpid()


@app.get("/count")
async def count() -> None: ...


@app.get("/hold")
async def hold() -> None:
    await asyncio.sleep(600)
