"""Channels: messages that any process publishes, and readers in any process follow.

In: a name, and a value that is JSON. Out: for each reader all messages after its place, in order,
each with its position `epoch:offset`, from which a reader that comes back goes on; or a `Gap`, where
what it missed is no longer there. Nothing is lost in silence: not by a slow reader, nor by a server
that restarts without its data, nor while the connection to it is away.

    await channels.publish("listings", {"id": 7, "price": 250_000})

    with await channels.subscribe("listings", since=position) as subscription:
        for item in await subscription.next(): ...

`memory_channels` is one process's own, `redis_channels` and `postgres_channels` join any number.
`endpoint.ChannelEndpoint` serves them to browsers over a websocket or an event stream, where `?since=`
goes on from a position and `{"type": "gap"}` says that the history does not reach back; a browser gets a
ticket for a channel that wants a login (`tickets`). A drain closes with 1012, spread over its time. Each
process mirrors the history of the channels that are read in it, so resuming asks no server, however
many come back at once.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any, Protocol

from pydantic import AfterValidator, Field, SecretStr

from components.channels.feed import (
    RESTART,
    Feed,
    Overflow,
    Subscription,
    SubscriptionEnded,
)
from components.channels.message import (
    Deliver,
    Gap,
    History,
    Message,
    Position,
    checked_name,
    json_text,
)

__all__ = [
    "Channels",
    "ChannelsClosed",
    "Gap",
    "MemoryChannels",
    "Message",
    "Position",
    "Subscription",
    "SubscriptionEnded",
    "memory_channels",
    "postgres_channels",
    "redis_channels",
]

logger = logging.getLogger("components.channels")

_SWEEP_SECONDS = 5.0
_BATCH = 500  # channels that are read at once

HistorySize = Annotated[
    int, Field(ge=1, le=100_000, description="messages that a channel keeps at most")
]
HistoryTTL = Annotated[
    timedelta, Field(gt=timedelta(0), description="how long a channel keeps messages")
]
Linger = Annotated[
    timedelta,
    Field(ge=timedelta(0), description="how long a process follows a channel without a reader"),
]
CheckInterval = Annotated[
    timedelta,
    Field(gt=timedelta(0), description="how often positions are compared, in case a word was lost"),
]


class ChannelsClosed(ConnectionError):  # noqa: N818  # reads as what happened
    """The channels are closed, or are being drained: nobody can subscribe here any more."""


class Log(Protocol):
    """Where the messages of all processes are kept. Each method raises what the server's client does."""

    async def open(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        """Begin to listen; `lost` is called when words may have been missed."""
        ...

    async def aclose(self) -> None: ...
    async def ping(self) -> None: ...
    async def append(self, channel: str, text: str, key: str | None) -> Position: ...
    async def follow(self, channels: Sequence[str]) -> list[History]:
        """Listen to these channels, then read what they keep; in their order."""
        ...

    async def unfollow(self, channels: Sequence[str]) -> None: ...
    async def tops(self, channels: Sequence[str]) -> list[Position | None]:
        """The last positions; None where there is none any more."""
        ...

    async def renew(self, channel: str, epoch: str) -> None:
        """Begin another epoch, unless that was done: messages of this one were lost."""
        ...


class Channels:
    """All channels of one application in this process.

    A resource: `open` begins, `aclose` ends every subscription with the close code 1012, `on_drain` ends
    them one by one within a time, `ping` asks the server.
    """

    def __init__(
        self,
        log: Log,
        *,
        history: int,
        linger: timedelta,
        check_interval: timedelta | None,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self._log = log
        self._size = history
        self._linger_seconds = linger.total_seconds()
        self._check_seconds = check_interval.total_seconds() if check_interval else None
        self._spread = spread
        self._feeds: dict[str, Feed] = {}
        self._loading: dict[str, asyncio.Future[None]] = {}
        self._wanted: list[str] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = False  # for readers
        self._can_publish = False

    async def open(self) -> None:
        """Begin to listen."""
        await self._log.open(self._deliver, self._lost)
        self._is_open = self._can_publish = True
        self._start(self._sweep())
        if self._check_seconds is not None:
            self._start(self._check(self._check_seconds))

    async def ping(self) -> None:
        """Raise where the server does not answer."""
        await self._log.ping()

    @property
    def readers(self) -> int:
        """Subscriptions in this process."""
        return sum(len(feed.readers) for feed in self._feeds.values())

    async def publish(self, channel: str, value: Any, *, key: str | None = None) -> Position:
        """Add a message, and return its position; it is kept when this returns.

        Args:
            channel: its name.
            value: what JSON can say.
            key: of the message; one with a key that the channel saw a short while ago (for Redis
                five minutes, else as long as the message is kept) is not added again.

        Raises:
            TypeError, ValueError: the value has no JSON, or the name is none.
            Exception: what the server's client raises; the message may or may not be kept.
        """
        if not self._can_publish:
            raise ChannelsClosed("the channels are not open")
        return await self._log.append(checked_name(channel), json_text(value), key)

    async def subscribe(
        self,
        channel: str,
        *,
        since: Position | None = None,
        queue: int = 256,
        overflow: Overflow = "drop-oldest",
    ) -> Subscription:
        """Follow a channel.

        Args:
            channel: its name.
            since: the position after which to begin; without one after the last message.
            queue: how many messages a reader may be behind.
            overflow: what becomes of a reader that is further behind.

        Raises:
            ChannelsClosed: at the end of the service.
            Exception: what the server's client raises.
        """
        feed = await self._feed(checked_name(channel))
        return feed.subscribe(since, queue=queue, overflow=overflow)

    def on_drain(self, seconds: float) -> None:
        """End all subscriptions, spread over `seconds`: their readers do not all return at once."""
        if not self._is_open:
            return
        self._is_open = False
        loop = asyncio.get_running_loop()
        for reader in self._all_readers():
            # the last ones a little earlier, so that their goodbye is on its way before the end
            pause = 0.9 * seconds * self._spread()
            loop.call_later(pause, reader.end, RESTART, "the service restarts")

    async def aclose(self) -> None:
        """End all subscriptions, and stop to listen."""
        self._is_open = False
        for reader in self._all_readers():
            reader.end(RESTART, "the service restarts")
        self._can_publish = False
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for loading in self._loading.values():
            loading.cancel()
        self._feeds, self._loading, self._wanted = {}, {}, []
        await self._log.aclose()

    def _all_readers(self) -> list[Subscription]:
        return [reader for feed in self._feeds.values() for reader in feed.readers]

    async def _feed(self, channel: str) -> Feed:
        if not self._is_open:
            raise ChannelsClosed("the channels are closed")
        feed = self._feeds.get(channel)
        if feed is None:
            feed = self._feeds[channel] = Feed(channel, self._size)
            feed.idle_since = asyncio.get_running_loop().time()
        if not feed.is_loaded:
            await self._load(channel)
        return feed

    async def _load(self, channel: str) -> None:
        """Wait until the history is here; all who ask at once share one reading of many channels."""
        loading = self._loading.get(channel)
        if loading is None:
            loading = self._loading[channel] = asyncio.get_running_loop().create_future()
            self._wanted.append(channel)
            if len(self._wanted) == 1:
                self._start(self._load_wanted())
        await asyncio.shield(loading)

    async def _load_wanted(self) -> None:
        await asyncio.sleep(0)  # others that ask in this turn of the loop are read with it
        wanted, self._wanted = self._wanted, []
        for first in range(0, len(wanted), _BATCH):
            batch = wanted[first : first + _BATCH]
            try:
                await self._read(batch)
            except Exception as error:  # noqa: BLE001  # told to each who waits
                self._settle(batch, error)
            else:
                self._settle(batch, None)

    def _settle(self, channels: Iterable[str], error: Exception | None) -> None:
        for channel in channels:
            loading = self._loading.pop(channel, None)
            if error is not None:
                self._forget_unless_read(channel)
            if loading is not None and not loading.done():
                if error is None:
                    loading.set_result(None)
                else:
                    loading.set_exception(error)
                    loading.exception()  # a reader that went away leaves nobody to hear it

    def _forget_unless_read(self, channel: str) -> None:
        feed = self._feeds.get(channel)
        if feed is not None and not feed.readers:
            del self._feeds[channel]

    async def _read(self, channels: Sequence[str]) -> None:
        """Load these feeds from the log, again where one has a hole or its history went back."""
        for _ in range(5):
            feeds = [self._feeds[one] for one in channels if one in self._feeds]
            channels = [feed.channel for feed in feeds]
            for feed in feeds:
                feed.begin_loading()
            before = [(feed.top, feed.tag) for feed in feeds]
            found = await self._log.follow(channels)
            again = []
            for feed, (was, tag), read in zip(feeds, before, found, strict=True):
                if read.top.epoch == was.epoch and _has_lost(read, was.offset, tag):
                    logger.warning("channel `%s` has lost messages: it begins anew", feed.channel)
                    await self._log.renew(feed.channel, read.top.epoch)
                    again.append(feed.channel)
                elif not feed.load(read):
                    again.append(feed.channel)
            if not again:
                return
            channels = again
        raise ConnectionError("the history of a channel could not be read")

    def _deliver(self, channel: str, message: Message) -> None:
        feed = self._feeds.get(channel)
        if feed is not None and not feed.put(message):
            feed.begin_loading()
            self._reload([channel])

    def _lost(self) -> None:
        """Read all channels anew: words may have been missed."""
        self._reload([*self._feeds])

    def _reload(self, channels: Sequence[str]) -> None:
        self._start(self._reloaded(channels))

    async def _reloaded(self, channels: Sequence[str]) -> None:
        pause = 0.05
        waiting = [one for one in channels if one in self._feeds]
        while waiting:
            batch, rest = waiting[:_BATCH], waiting[_BATCH:]
            try:
                await self._read(batch)
            except Exception as error:  # noqa: BLE001  # a client may raise anything; tried again
                logger.debug("channels could not be read: %s", type(error).__name__)
                await asyncio.sleep(pause * (1 + self._spread()))
                pause = min(pause * 2, 2.0)
            else:
                waiting = rest
            waiting = [one for one in waiting if one in self._feeds]

    async def _check(self, interval: float) -> None:
        """Compare positions now and then: a word may be lost without any error."""
        while True:
            await asyncio.sleep(interval)
            followed = [feed for feed in self._feeds.values() if feed.is_loaded]
            known = {feed.channel: feed.top for feed in followed}
            with contextlib.suppress(Exception):  # told by `ping`, and by who listens
                for first in range(0, len(followed), _BATCH):
                    names = [feed.channel for feed in followed[first : first + _BATCH]]
                    tops = await self._log.tops(names)
                    self._reload_changed(known, dict(zip(names, tops, strict=True)))

    def _reload_changed(self, known: dict[str, Position], tops: dict[str, Position | None]) -> None:
        behind = []
        for channel, top in tops.items():
            feed = self._feeds.get(channel)
            if feed is None or not feed.is_loaded or top == feed.top:
                continue
            came_since = feed.top != known[channel]
            is_behind = top is None or top.epoch != feed.top.epoch or top.offset > feed.top.offset
            if is_behind or not came_since:
                behind.append(channel)
        if behind:
            self._reload(behind)

    async def _sweep(self) -> None:
        """Leave channels that nobody has read for a while."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, max(0.05, self._linger_seconds)))
            now = loop.time()
            idle = [
                feed.channel
                for feed in self._feeds.values()
                if feed.idle_since is not None
                and not feed.readers
                and now - feed.idle_since >= self._linger_seconds
                and feed.channel not in self._loading
            ]
            for channel in idle:
                del self._feeds[channel]
            if idle:
                with contextlib.suppress(Exception):  # a word for nobody is dropped
                    await self._log.unfollow(idle)

    def _start(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("channels: a task failed", exc_info=task.exception())


def _has_lost(read: History, offset: int, tag: str) -> bool:
    """Whether a message that was here is not in the log any more, or another one is in its place."""
    return read.top.offset < offset or read.tag_at(offset) not in {None, tag}


class MemoryChannels(Channels):
    """Channels of one process: another process has others."""

    single_process = True


def memory_channels(
    *, history: HistorySize = 1000, history_ttl: HistoryTTL = timedelta(hours=1)
) -> MemoryChannels:
    """Make channels in this process's memory: for a laptop, for tests, for one worker."""
    from components.channels.memory import MemoryLog  # noqa: PLC0415  # each kind loads its own

    log = MemoryLog(size=history, ttl=history_ttl)
    return MemoryChannels(log, history=history, linger=timedelta(minutes=1), check_interval=None)


def _readable(url: str | SecretStr) -> str | SecretStr:
    from components.redis.address import address_of  # noqa: PLC0415  # only channels in Redis need it

    address_of(url.get_secret_value() if isinstance(url, SecretStr) else url)
    return url


def redis_channels(
    *,
    url: Annotated[
        str | SecretStr,
        AfterValidator(_readable),
        Field(description="`redis://host:6379/0`; Sentinel and Cluster too"),
    ],
    prefix: Annotated[str, Field(description="what the names of its keys begin with")] = "",
    history: HistorySize = 1000,
    history_ttl: HistoryTTL = timedelta(hours=1),
    linger: Linger = timedelta(minutes=1),
    check_interval: CheckInterval = timedelta(seconds=10),
    timeout: Annotated[
        timedelta, Field(gt=timedelta(0), description="longest wait for an answer of Redis")
    ] = timedelta(seconds=5),
) -> Channels:
    """Make channels whose history is a Redis stream each.

    Where Redis writes each message down (`appendfsync always`) and evicts none, nothing is lost when it
    restarts; else each reader is told of a gap. Raises ValueError for what is no Redis URL.
    """
    from components.channels.redis import RedisLog  # noqa: PLC0415  # each kind loads its own

    text = url.get_secret_value() if isinstance(url, SecretStr) else url
    log = RedisLog(text, prefix=prefix, size=history, ttl=history_ttl, timeout=timeout)
    return Channels(log, history=history, linger=linger, check_interval=check_interval)


def postgres_channels(
    *,
    db: Annotated[
        Any,
        Field(
            description="the `components.database.engine` of the database in which messages are kept"
        ),
    ],
    listen_url: Annotated[
        str | SecretStr | None,
        Field(description="URL of one direct connection that listens; that of `db` if none"),
    ] = None,
    history: HistorySize = 1000,
    history_ttl: HistoryTTL = timedelta(hours=1),
    linger: Linger = timedelta(minutes=1),
    check_interval: CheckInterval = timedelta(seconds=5),
) -> Channels:
    """Make channels in two tables of PostgreSQL, which are made where they are absent.

    One connection of each process listens, and must be to PostgreSQL itself: behind a pooler in
    transaction mode it would hear nothing, so that is refused when it is opened. Raises ValueError
    where `db` is no engine of PostgreSQL, or has such a pooler and no `listen_url` is given.
    """
    from components.channels.postgres import PostgresLog  # noqa: PLC0415  # each kind loads its own

    text = listen_url.get_secret_value() if isinstance(listen_url, SecretStr) else listen_url
    log = PostgresLog(db, listen_url=text, size=history, ttl=history_ttl)
    return Channels(log, history=history, linger=linger, check_interval=check_interval)
