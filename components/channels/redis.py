"""The log of channels in Redis: a stream for each, and words to who listens.

In: messages from any process. Out: the same to every process that follows their channel. One script
gives the offset, adds to the stream and publishes, so all three are in one order. Listening has one
connection of its own; when that breaks, all that is followed is read anew, and what is missing then
shows. An epoch begins where Redis knows nothing of a channel: where it lost its data, was flushed, or
dropped the key. Redis that has no room for a message refuses it, and the publisher is told.

Redis 5 or later, or what speaks as it does; Sentinel and Cluster too (see `components.redis.address`).
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from components.channels.message import Deliver, History, Message, Position, history
from components.redis.address import address_of

logger = logging.getLogger("components.channels")

_KEY_MILLISECONDS = 300_000  # how long a message with a key is known
_LONGEST_PAUSE_SECONDS = 2.0
_SILENCE_SECONDS = 5.0  # after which the listening connection is asked

# KEYS: head, stream, and the key of the message if it has one
_APPEND = """
if KEYS[3] then
  local was = redis.call('GET', KEYS[3])
  if was then return was end
end
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch)
end
local offset = redis.call('HINCRBY', KEYS[1], 'offset', 1)
redis.call('HSET', KEYS[1], 'tag', ARGV[8])
redis.call('XADD', KEYS[2], 'MAXLEN', ARGV[2], string.format('%.0f-0', offset), ARGV[8], ARGV[6])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
local position = epoch .. ':' .. string.format('%.0f', offset)
if KEYS[3] then redis.call('SET', KEYS[3], position, 'PX', ARGV[7]) end
redis.call('PUBLISH', ARGV[5], position .. ' ' .. ARGV[8] .. ' ' .. ARGV[6])
return position
"""
_READ = """
local epoch = redis.call('HGET', KEYS[1], 'epoch')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'epoch', epoch, 'offset', 0)
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return {epoch, redis.call('HGET', KEYS[1], 'offset') or '0', redis.call('HGET', KEYS[1], 'tag') or '',
        redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', ARGV[2])}
"""
_RENEW = """
if redis.call('HGET', KEYS[1], 'epoch') == ARGV[1] then redis.call('DEL', KEYS[1], KEYS[2]) end
"""


class RedisLog:
    """See `components.channels.Log`. Serves one event loop between `open` and `aclose`."""

    def __init__(
        self, url: str, *, prefix: str, size: int, ttl: timedelta, timeout: timedelta
    ) -> None:
        self._address = address_of(url)
        self._prefix = f"{prefix}channel"
        self._size = size
        self._ttl_milliseconds = max(1, ttl // timedelta(milliseconds=1))
        # a head must outlive its stream by far, or a reader that comes back meets another epoch
        self._head_milliseconds = max(self._ttl_milliseconds * 24, 86_400_000)
        self._timeout_seconds = timeout.total_seconds()
        self._client: Any = None  # redis-py's types do not tell its async calls
        self._sentinel: Sentinel | None = None
        self._pubsub: Any = None
        self._listening: asyncio.Task[None] | None = None
        self._followed: set[str] = set()
        self._heard: set[str] = set()  # of what is followed, what Redis has confirmed
        self._unheard: dict[str, asyncio.Future[None]] = {}
        self._is_listening = False
        self._deliver: Deliver = _unheard
        self._lost: Callable[[], None] = _nothing

    async def open(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        self._deliver, self._lost = deliver, lost
        options: dict[str, Any] = {"retry": Retry(NoBackoff(), 0)}
        if self._address.is_cluster:
            self._client = self._address.cluster(**options)
        else:
            self._client, self._sentinel = self._address.server(**options)
        try:
            await self._listen()
        except BaseException:
            await self.aclose()
            raise
        self._listening = asyncio.get_running_loop().create_task(self._hear())

    async def aclose(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._stop_listening()
        for lent in (self._client, self._sentinel):
            if lent is not None:
                with contextlib.suppress(Exception):  # a connection that is broken is closed
                    await lent.aclose()
        self._client = self._sentinel = self._listening = None
        self._followed.clear()

    async def ping(self) -> None:
        if not self._is_listening:
            raise ConnectionError("Redis is away: nothing is heard of the channels")
        await self._bounded(self._client.ping())

    async def append(self, channel: str, text: str, key: str | None) -> Position:
        keys = [*self._keys(channel), *([self._of(channel, f"key:{key}")] if key else [])]
        arguments = (secrets.token_hex(6), self._size, self._ttl_milliseconds)
        word, tag = self._of(channel, "word"), secrets.token_hex(4)
        more = (self._head_milliseconds, word, text, _KEY_MILLISECONDS, tag)
        answer = await self._bounded(
            self._client.eval(_APPEND, len(keys), *keys, *arguments, *more)
        )
        return _position(answer)

    async def follow(self, channels: Sequence[str]) -> list[History]:
        await self._subscribe([one for one in channels if one not in self._followed])
        self._followed.update(channels)
        await self._bounded(self._confirmed(channels))
        asked = [
            (_READ, 2, *self._keys(one), secrets.token_hex(6), self._size, self._head_milliseconds)
            for one in channels
        ]
        answers = await self._all([("eval", call) for call in asked])
        return [_history(answer) for answer in answers]

    async def unfollow(self, channels: Sequence[str]) -> None:
        self._followed.difference_update(channels)
        self._heard.difference_update(channels)
        if self._is_listening and channels:
            await self._bounded(
                self._pubsub.unsubscribe(*(self._of(one, "word") for one in channels))
            )

    async def tops(self, channels: Sequence[str]) -> list[Position | None]:
        asked = [("hmget", (self._keys(one)[0], ["epoch", "offset"])) for one in channels]
        return [
            Position(epoch.decode(), int(offset or 0)) if epoch else None
            for epoch, offset in await self._all(asked)
        ]

    async def renew(self, channel: str, epoch: str) -> None:
        await self._bounded(self._client.eval(_RENEW, 2, *self._keys(channel), epoch))

    async def _all(self, calls: list[tuple[str, tuple[Any, ...]]]) -> list[Any]:
        """Ask at once; in a cluster the servers that each key lives on."""
        if self._address.is_cluster:
            many = asyncio.gather(*(getattr(self._client, name)(*args) for name, args in calls))
            return list(await self._bounded(many))
        pipeline = self._client.pipeline(transaction=False)
        for name, args in calls:
            getattr(pipeline, name)(*args)
        answers: list[Any] = await self._bounded(pipeline.execute())
        return answers

    async def _bounded(self, call: Awaitable[Any]) -> Any:
        async with asyncio.timeout(self._timeout_seconds):
            return await call

    async def _listen(self) -> None:
        """Connect, and say again what is followed."""
        self._pubsub = self._client.pubsub()
        # a subscription makes the connection; this one is for asking whether it lives
        await self._bounded(self._pubsub.subscribe(f"{self._prefix}:{{}}:life"))
        self._is_listening = True
        await self._subscribe([*self._followed])

    async def _subscribe(self, channels: Sequence[str]) -> None:
        if not self._is_listening:
            raise ConnectionError("Redis is away")
        if channels:
            names = [self._of(one, "word") for one in channels]
            await self._bounded(self._pubsub.subscribe(*names))

    async def _confirmed(self, channels: Sequence[str]) -> None:
        """Wait until Redis listens: what is published before may be read, what follows is heard."""
        loop = asyncio.get_running_loop()
        for channel in channels:
            while channel not in self._heard:
                waiting = self._unheard.setdefault(channel, loop.create_future())
                await asyncio.shield(waiting)

    async def _stop_listening(self) -> None:
        self._is_listening = False
        self._heard.clear()
        unheard, self._unheard = self._unheard, {}
        for waiting in unheard.values():
            if not waiting.done():
                waiting.set_exception(ConnectionError("Redis went away"))
                waiting.exception()  # perhaps nobody waits any more
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(Exception):  # a connection that is broken is closed
                await pubsub.aclose()

    async def _hear(self) -> None:
        while True:
            try:
                await self._hear_until_broken()
            except Exception as error:  # noqa: BLE001  # whatever it was, words may have been missed
                logger.warning("channels: Redis is away (%s)", type(error).__name__)
            await self._stop_listening()
            await self._return()
            logger.warning("channels: Redis is back")
            self._lost()

    async def _return(self) -> None:
        pause = 0.05
        while True:
            try:
                await self._listen()
            except Exception:  # noqa: BLE001  # whatever it is, Redis is not back
                await self._stop_listening()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def _hear_until_broken(self) -> None:
        asked = False
        while True:
            word = await self._pubsub.get_message(
                ignore_subscribe_messages=False, timeout=_SILENCE_SECONDS
            )
            if word is None:
                if asked:
                    raise ConnectionError("no answer")
                await self._bounded(self._pubsub.ping())
                asked = True
                continue
            asked = False
            channel = word["channel"] and self._channel(word["channel"])
            if word["type"] == "message":
                position, tag, text = word["data"].split(b" ", 2)
                message = Message(_position(position), text.decode(), tag.decode())
                self._deliver(channel, message)
            elif word["type"] == "subscribe":
                self._heard.add(channel)
                waiting = self._unheard.pop(channel, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(None)

    def _channel(self, name: bytes) -> str:
        return name.decode().removeprefix(f"{self._prefix}:{{").partition("}")[0]

    def _keys(self, channel: str) -> tuple[str, str]:
        return self._of(channel, "head"), self._of(channel, "log")

    def _of(self, channel: str, what: str) -> str:
        # the braces keep all keys of a channel on one server of a cluster
        return f"{self._prefix}:{{{channel}}}:{what}"


def _position(text: bytes) -> Position:
    found = Position.parse(text.decode())
    if found is None:
        raise ConnectionError("Redis gave no position")
    return found


def _history(answer: Any) -> History:
    epoch, offset, tag, newest_first = answer
    entries = [
        (int(name.partition(b"-")[0]), fields[0].decode(), fields[1].decode())
        for name, fields in reversed(newest_first)
    ]
    return history(Position(epoch.decode(), int(offset)), tag.decode(), entries)


def _unheard(_channel: str, _message: Message) -> None:
    """Before `open` nobody listens."""


def _nothing() -> None:
    """Before `open` nothing can be lost."""
