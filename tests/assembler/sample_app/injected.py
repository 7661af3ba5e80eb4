"""Routes, jobs and steps that ask for resources and dependencies in their signatures."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Annotated

from fastapi import APIRouter, Depends, Request, WebSocket

import assembler
from tests.assembler.sample_app.journal import note


class Store:
    name = "real"


class OtherStore(Store):
    name = "other"


StoreOf = Annotated[Store, assembler.Resource("store")]


async def session(store: StoreOf) -> AsyncIterator[str]:
    note("session opened")
    try:
        yield f"session of {store.name}"
    except ValueError:
        note("session saw the failure")
        raise
    finally:
        note("session closed")


def in_thread(store: StoreOf) -> Iterator[str]:
    note("thread opened")
    yield f"thread of {store.name}"
    note("thread closed")


Session = Annotated[str, Depends(session)]
router = APIRouter()


@router.get("/plain")
async def plain(store: StoreOf) -> str:
    return store.name


@router.get("/session")
def in_session(one: Session, two: Session) -> list[str]:
    return [one, two]


@router.websocket("/socket")
async def socket(websocket: WebSocket, store: StoreOf) -> None:
    await websocket.accept()
    await websocket.send_text(store.name)
    await websocket.close()


def made() -> APIRouter:
    """A router whose routes are known only when it is made."""
    lost = APIRouter()

    @lost.get("/lost")
    async def nobody(store: Annotated[Store, assembler.Resource("nobody")]) -> None: ...

    return lost


async def step(store: StoreOf, *, word: str, one: Session, two: str = Depends(session)) -> None:
    note(f"{word}: {store.name}, {one}, {two == one}")


def step_in_thread(one: Annotated[str, Depends(in_thread)], store: StoreOf) -> None:
    note(f"{one}, {store.name}")


async def failing(one: Session) -> None:
    raise ValueError("no")


async def hanging(one: Session) -> None:
    await asyncio.sleep(3600)


async def job(store: StoreOf, one: Session, job: assembler.JobContext) -> None:
    note(f"{job.id}: {store.name}, {one}")


def job_in_thread(store: StoreOf, one: Session) -> None:
    note(f"thread: {store.name}, {one}")


class Pool:
    """What an async function connects; it is open when it is there."""

    def __init__(self, name: str) -> None:
        self.name = name

    def ping(self) -> bool:
        return True

    async def connect(self) -> None:
        note("never")

    async def close(self) -> None:
        note(f"{self.name} closed")


refusals: list[Exception] = []  # what the next calls of `pool` raise


async def pool(store: Store, *, name: str = "pool") -> Pool:
    if refusals:
        raise refusals.pop()
    note(f"{name} made for {store.name}")
    return Pool(name)


async def above(pool: Pool) -> Pool:
    return Pool(f"above {pool.name}")


pool_router = APIRouter()


@pool_router.get("/pool")
async def read_pool(request: Request, pool: Annotated[Pool, assembler.Resource("pool")]) -> bool:
    return pool is request.state.pool


async def step_with_pool(pool: Pool, above: Annotated[Pool, assembler.Resource("above")]) -> None:
    note(f"step: {pool.name}, {above.name}")


async def job_with_pool(pool: Pool) -> None:
    note(f"job: {pool.name}")


crashes: list[Exception] = []  # what the next runs of `poll` raise


async def poll(store: StoreOf, *, word: str = "poll", ends: bool = False) -> None:
    note(f"{word} runs on {store.name}")
    if crashes:
        raise crashes.pop()
    if ends:
        return
    try:
        await asyncio.sleep(3600)
    finally:
        note(f"{word} ended")


def poll_in_thread() -> None: ...
