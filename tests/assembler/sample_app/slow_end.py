"""Steps for servers that are told to end: what they do is written to standard output."""

import asyncio
import threading


class Printed:
    """A resource that says when it is opened and closed."""

    async def __aenter__(self) -> None:
        print("resource opened", flush=True)

    async def __aexit__(self, *_: object) -> None:
        print("resource closed", flush=True)


async def hook() -> None:
    print("hook ran", flush=True)


def block_for_ever() -> None:
    """Keeps its thread for ever."""
    threading.Event().wait()


async def ignore_cancellation() -> None:
    """Goes on for ever, whoever cancels it."""
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            continue


async def hang_aloud() -> None:
    """Never ends by itself, and says that it has begun."""
    print("hangs aloud", flush=True)
    await asyncio.Event().wait()
