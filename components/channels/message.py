"""What travels on a channel, and where in it a reader stands.

In: the text of a position as a client sends it back, JSON texts. Out: `Position`, `Message`, `Gap`,
and the texts of them that go on the wire, each made once for all who read it. Refused: what is no
position, as None, since a client that sends rubbish is told of a gap, and nothing else.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

Reason = Literal["history", "slow", "reset"]
"""Why messages are missing: the history does not reach back, the reader was too slow, or the
channel begins anew."""

_POSITION = re.compile(r"([A-Za-z0-9_-]{1,32}):([0-9]{1,15})")
_NAME = re.compile(r"[A-Za-z0-9_.:@|-]{1,200}")


class Position(NamedTuple):
    """A place in a channel: the life of its history (`epoch`), and how many messages it had."""

    epoch: str
    offset: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> "Position | None":
        """Read `epoch:offset`; None for anything else."""
        found = _POSITION.fullmatch(text)
        return cls(found[1], int(found[2])) if found else None


@dataclass(frozen=True)
class Message:
    """One message; `text` is its JSON.

    `tag` is random: where two messages have one position, a server has lost the first, and went on.
    """

    position: Position
    text: str = field(repr=False)
    tag: str = field(default="", repr=False)

    @cached_property
    def data(self) -> Any:
        """The value: one object for all readers of this process, which must not change it."""
        return json.loads(self.text)

    @cached_property
    def frame(self) -> str:
        """What a websocket sends."""
        return f'{{"type":"message","position":"{self.position}","data":{self.text}}}'

    @cached_property
    def event(self) -> bytes:
        """What an event stream sends: JSON has no line breaks."""
        return f"id: {self.position}\ndata: {self.text}\n\n".encode()


Deliver = Callable[[str, Message], None]
"""Takes the name of a channel, and a message of it."""


@dataclass(frozen=True)
class Gap:
    """Messages before `position` are missing: read the state anew; what comes is from there on."""

    position: Position
    reason: Reason

    @cached_property
    def frame(self) -> str:
        """What a websocket sends."""
        return f'{{"type":"gap","position":"{self.position}","reason":"{self.reason}"}}'

    @cached_property
    def event(self) -> bytes:
        """What an event stream sends."""
        text = f'event: gap\nid: {self.position}\ndata: {{"reason":"{self.reason}"}}\n\n'
        return text.encode()


@dataclass(frozen=True, slots=True)
class History:
    """What a channel keeps: the last messages, in order, up to `top`, whose tag is `tag`."""

    top: Position
    messages: tuple[Message, ...] = ()
    tag: str = ""

    def tag_at(self, offset: int) -> str | None:
        """The tag of the message there; None where it is not kept."""
        if offset == self.top.offset:
            return self.tag
        at = offset - self.top.offset + len(self.messages) - 1
        return self.messages[at].tag if 0 <= at < len(self.messages) else None


def history(top: Position, tag: str, entries: list[tuple[int, str, str]]) -> History:
    """The unbroken end of `entries` (offset, tag and text, in order) that leads up to `top`."""
    kept: list[Message] = []
    expected = top.offset
    for offset, mark, text in reversed(entries):
        if offset != expected:
            if offset > expected:
                continue  # came after `top` was read
            break
        kept.append(Message(Position(top.epoch, offset), text, mark))
        expected -= 1
    return History(top, tuple(reversed(kept)), tag)


def json_text(value: Any) -> str:
    """The JSON of a value, on one line; raises TypeError or ValueError where it has none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def checked_name(channel: str) -> str:
    """Give the name of a channel back; raises ValueError where it is none."""
    if not _NAME.fullmatch(channel):
        raise ValueError(
            "the name of a channel has 1 to 200 letters, digits and `_.:@|-`, and nothing else"
        )
    return channel
