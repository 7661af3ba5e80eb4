"""Many websocket clients in one process, which come back when they are cut off.

In: a port, and what becomes of the server meanwhile. Out: what each client saw, in order: numbers, and
the word `gap`.
"""

import asyncio
import json
import os
import random
import signal
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil  # type: ignore[import-untyped]  # has no types of its own

from components.channels import Channels, redis_channels
from tests.servers import RedisServer

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Client:
    """One client: the least that speaks websocket."""

    def __init__(self, port: int, path: str = "/ws") -> None:
        self._port = port
        self._path = path
        self.place = ""
        self.seen: list[Any] = []
        self.is_ready = asyncio.Event()
        self.connects = 0

    async def run(self, until: Callable[[list[Any]], bool]) -> None:
        """Follow, and come back when cut off, until enough was seen."""
        while not until(self.seen):
            with suppress(OSError, asyncio.IncompleteReadError, ValueError):
                await self._follow(until)
            await asyncio.sleep(random.random() * 0.5)

    async def _follow(self, until: Callable[[list[Any]], bool]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            since = f"?since={self.place}" if self.place else ""
            head = f"GET {self._path}{since} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
            more = f"Connection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13"
            writer.write(f"{head}{more}\r\n\r\n".encode())
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 101 " not in answer:
                return
            self.connects += 1
            while not until(self.seen):
                opcode, payload = await frame(reader)
                if opcode == 8:
                    return
                if opcode == 1:
                    self._hear(json.loads(payload))
        finally:
            writer.close()

    def _hear(self, word: dict[str, Any]) -> None:
        self.is_ready.set()
        if word["type"] == "message":
            self.seen.append(word["data"])
        elif word["type"] == "gap":
            self.seen.append("gap")
        self.place = word["position"] if word["type"] != "ready" or not self.place else self.place


async def frame(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One frame of the server."""
    first, length = await reader.readexactly(2)
    if length == 126:
        (length,) = struct.unpack("!H", await reader.readexactly(2))
    elif length == 127:
        (length,) = struct.unpack("!Q", await reader.readexactly(8))
    return first & 15, await reader.readexactly(length)


async def play(
    port: int, parent: int, server: RedisServer, *, clients: int, messages: int, pause: float
) -> list[Client]:
    """Publish numbers; after a third a worker is killed, after two thirds Redis is restarted."""
    made = [Client(port) for _ in range(clients)]
    last = messages - 1
    running = [
        asyncio.create_task(client.run(lambda seen: bool(seen) and seen[-1] == last))
        for client in made
    ]
    await asyncio.gather(*(client.is_ready.wait() for client in made))
    channels: Channels = redis_channels(url=server.url)
    await channels.open()
    for number in range(messages):
        if number == messages // 3:
            kill_a_worker(parent)
        if number == 2 * messages // 3:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
        while True:
            try:
                await channels.publish("c", number, key=f"number-{number}")
            except Exception:
                await asyncio.sleep(0.05)
            else:
                break
        await asyncio.sleep(pause)
    await asyncio.wait_for(asyncio.gather(*running), 90)
    await channels.aclose()
    return made


def kill_a_worker(parent: int) -> None:
    """At once, the worker that serves the most; the parent starts another."""
    workers = [
        child
        for child in psutil.Process(parent).children()
        if "spawn_main" in " ".join(child.cmdline())
    ]
    busiest = max(workers, key=lambda worker: len(worker.net_connections()))
    os.kill(busiest.pid, signal.SIGKILL)


def losses(seen: list[Any], messages: int) -> tuple[int, int, int]:
    """How many numbers were lost in silence, doubled, and how often a gap was told."""
    lost = doubled = gaps = 0
    expected = 0
    may_jump = False
    for item in seen:
        if item == "gap":
            gaps, may_jump = gaps + 1, True
            continue
        if item < expected:
            doubled += 1
            continue
        if item > expected and not may_jump:
            lost += item - expected
        expected, may_jump = item + 1, False
    return lost + (0 if expected == messages else messages - expected), doubled, gaps
