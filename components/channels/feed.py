"""One channel in one process: the end of its history, and those who read it.

In: what the log of the channels has (`History`), and its messages as they come. Out: for each reader
the messages after its place, in order, or a `Gap`. A reader has no queue of its own: it has a place in
the one history, so a thousand readers cost no more memory than one, and a slow one holds up nobody.
Refused: messages that do not follow the last one; then the feed must be loaded anew.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Literal, Self

from components.channels.message import Gap, History, Message, Position, Reason

Overflow = Literal["drop-oldest", "disconnect"]

RESTART = 1012  # close codes of RFC 6455 and its registry: the service goes away for a moment
TRY_LATER = 1013


class SubscriptionEnded(Exception):  # noqa: N818  # reads as what happened
    """A subscription was ended; `code` is a websocket's close code, the text its reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Subscription:
    """One reader's place in a feed. Read it in one task; end it with `aclose` or by `with`."""

    __slots__ = ("_allowed", "_ended", "_feed", "_place", "_queue", "_waiter", "on_end", "overflow")

    def __init__(
        self, feed: "Feed", since: Position | None, *, queue: int, overflow: Overflow
    ) -> None:
        self._feed = feed
        self._queue = queue
        self.overflow = overflow
        self._waiter: asyncio.Future[None] | None = None
        self._ended: SubscriptionEnded | None = None
        self.on_end: Callable[[], None] | None = None  # for who may be busy with something else
        self._place = feed.top if since is None else since
        # what was missed is no sign of a slow reader
        self._allowed = max(queue, feed.top.offset - self._place.offset)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.aclose()

    @property
    def position(self) -> Position:
        """Up to where this reader has read."""
        return self._place

    async def next(self, most: int = 64) -> list[Message | Gap]:
        """Wait for what comes next; at least one, at most `most`.

        Raises:
            SubscriptionEnded: it was ended by the service.
        """
        while True:
            found = self.take(most)
            if found:
                return found
            waiter = self._waiter = asyncio.get_running_loop().create_future()
            self._feed.waiting.add(waiter)
            try:
                await waiter
            except BaseException:
                self._feed.waiting.discard(waiter)
                raise

    def take(self, most: int = 64) -> list[Message | Gap]:
        """What is there now; raises `SubscriptionEnded`."""
        feed = self._feed
        if self._ended is not None:
            raise self._ended
        place, top = self._place, feed.top
        if place is top:
            return []
        if top.offset - place.offset == 1 and place.epoch == top.epoch and feed.messages:
            self._place = top  # nearly always it is the one that has just come
            return [feed.messages[-1]]
        if not feed.reaches(self._place):
            return [self._missed("history" if self._place.epoch == feed.top.epoch else "reset")]
        behind = feed.top.offset - self._place.offset
        if behind > self._allowed:
            return [self._missed("slow", keep=self._queue)]
        if behind <= self._queue:
            self._allowed = self._queue
        if not behind:
            return []
        found = feed.after(behind, most)
        self._place = found[-1].position
        return [*found]

    def judge(self) -> None:
        """End a reader that is too far behind, if that is how it wants it."""
        behind = self._feed.top.offset - self._place.offset
        if self.overflow == "disconnect" and behind > self._allowed:
            self.end(TRY_LATER, "too slow: resume from the last position")

    def end(self, code: int, reason: str) -> None:
        """Let `next` raise, now or when it is called."""
        if self._ended is None:
            self._ended = SubscriptionEnded(code, reason)
            self._wake()
            if self.on_end is not None:
                self.on_end()

    def aclose(self) -> None:
        """Leave the feed."""
        self._feed.leave(self)

    def _missed(self, reason: Reason, keep: int = 0) -> Gap:
        top = self._feed.top
        self._place = Position(top.epoch, max(0, top.offset - keep))
        self._allowed = max(self._queue, keep)
        return Gap(self._place, reason)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Feed:
    """The mirror of one channel; `size` messages are kept at most."""

    __slots__ = (
        "_pending",
        "channel",
        "idle_since",
        "messages",
        "readers",
        "tag",
        "top",
        "waiting",
    )

    def __init__(self, channel: str, size: int) -> None:
        self.channel = channel
        self.top = Position("", 0)
        self.tag = ""  # of the message at `top`
        self.readers: set[Subscription] = set()
        self.waiting: set[asyncio.Future[None]] = set()
        self.idle_since: float | None = None
        self.messages: deque[Message] = deque(maxlen=size)
        self._pending: list[Message] | None = []

    @property
    def is_loaded(self) -> bool:
        """Whether the history is here; until then messages are put aside."""
        return self._pending is None

    def begin_loading(self) -> None:
        """Put messages aside until `load`."""
        if self._pending is None:
            self._pending = []

    def load(self, history: History) -> bool:
        """Take over what the log has, and then what was put aside; False where that has a hole."""
        pending, self._pending = self._pending or [], None
        self._take_over(history)
        self._wake()
        return min(
            [self.put(message) for message in pending], default=True
        )  # all, without an early end

    def put(self, message: Message) -> bool:
        """Add the next message; False where others are missing before it."""
        if self._pending is not None:
            self._pending.append(message)
            return True
        epoch, offset = message.position
        if epoch == self.top.epoch and offset <= self.top.offset:
            return True  # it is here already
        if epoch != self.top.epoch or offset != self.top.offset + 1:
            return False
        self.messages.append(message)
        self.top, self.tag = message.position, message.tag
        self._wake()
        return True

    def reaches(self, place: Position) -> bool:
        """Whether all that follows `place` is here."""
        first = self.top.offset - len(self.messages)
        return place.epoch == self.top.epoch and first <= place.offset <= self.top.offset

    def after(self, behind: int, most: int) -> list[Message]:
        """Of the last `behind` messages the first `most`."""
        messages, start = self.messages, len(self.messages) - behind
        return [messages[at] for at in range(start, min(start + most, len(messages)))]

    def subscribe(self, since: Position | None, *, queue: int, overflow: Overflow) -> Subscription:
        """A new reader, after `since`, or after the last message."""
        made = Subscription(self, since, queue=queue, overflow=overflow)
        self.readers.add(made)
        self.idle_since = None
        return made

    def leave(self, reader: Subscription) -> None:
        """Forget a reader."""
        self.readers.discard(reader)
        if not self.readers:
            with contextlib.suppress(RuntimeError):  # after the loop there is nothing to count
                self.idle_since = asyncio.get_running_loop().time()

    def _take_over(self, history: History) -> None:
        top = history.top
        goes_on = top.epoch == self.top.epoch
        if goes_on and top.offset <= self.top.offset:
            return  # it was read before another reading of it, which is here already
        fresh = [one for one in history.messages if one.position.offset > self.top.offset]
        if goes_on and len(fresh) == top.offset - self.top.offset:
            self.messages.extend(fresh)
            self.top, self.tag = top, history.tag
            return
        self.messages.clear()
        self.messages.extend(history.messages)
        self.top, self.tag = top, history.tag

    def _wake(self) -> None:
        waiting, self.waiting = self.waiting, set()
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
        if len(waiting) < len(self.readers):
            for reader in [*self.readers]:
                reader.judge()
