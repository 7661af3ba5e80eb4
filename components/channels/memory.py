"""The log of channels in the memory of one process.

In: messages. Out: the same, at once, to who listens in this process. Begins anew with each opening.
"""

import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from components.channels.message import Deliver, History, Message, Position

_MOST_CHANNELS = 100_000  # the one that was longest without a message is forgotten first


@dataclass(slots=True)
class _Kept:
    epoch: str
    offset: int = 0
    messages: deque[tuple[float, Message]] = field(default_factory=deque)
    keys: dict[str, Position] = field(default_factory=dict)


class MemoryLog:
    """See `components.channels.Log`."""

    def __init__(
        self, *, size: int, ttl: timedelta, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._ttl_seconds = ttl.total_seconds()
        self._clock = clock
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._deliver: Deliver | None = None

    async def open(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        self._kept.clear()
        self._deliver = deliver

    async def aclose(self) -> None:
        self._deliver = None

    async def ping(self) -> None:
        """It is there."""

    async def append(self, channel: str, text: str, key: str | None) -> Position:
        kept = self._of(channel)
        if key is not None and key in kept.keys:
            return kept.keys[key]
        kept.offset += 1
        message = Message(Position(kept.epoch, kept.offset), text)
        kept.messages.append((self._clock(), message))
        if key is not None:
            kept.keys[key] = message.position
        self._trim(kept)
        if self._deliver is not None:
            self._deliver(channel, message)
        return message.position

    async def follow(self, channels: Sequence[str]) -> list[History]:
        found = []
        for channel in channels:
            kept = self._of(channel)
            self._trim(kept)
            top = Position(kept.epoch, kept.offset)
            found.append(History(top, tuple(message for _, message in kept.messages)))
        return found

    async def unfollow(self, channels: Sequence[str]) -> None:
        """Nothing was begun."""

    async def tops(self, channels: Sequence[str]) -> list[Position | None]:
        known = (self._kept.get(channel) for channel in channels)
        return [Position(kept.epoch, kept.offset) if kept else None for kept in known]

    async def renew(self, channel: str, epoch: str) -> None:
        self._kept.pop(channel, None)

    def _of(self, channel: str) -> _Kept:
        kept = self._kept.get(channel)
        if kept is None:
            kept = self._kept[channel] = _Kept(secrets.token_hex(6))
            if len(self._kept) > _MOST_CHANNELS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(channel)
        return kept

    def _trim(self, kept: _Kept) -> None:
        oldest = self._clock() - self._ttl_seconds
        messages = kept.messages
        while messages and (len(messages) > self._size or messages[0][0] < oldest):
            messages.popleft()
        while len(kept.keys) > self._size:
            del kept.keys[next(iter(kept.keys))]
