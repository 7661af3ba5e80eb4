"""What stands in for the providers of push and text messages on a laptop.

In: the messages that would be sent. Out: a line of the log, and a row of `sent_messages`, for each.
Refuses what the real clients refuse before they send. For development alone: a message that was
"sent" here reached nobody, so `development_only` says so, and the audit of a manifest reports it.
"""

import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

from pydantic import Field
from sqlalchemy import String, Table, Text
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.schema import CreateTable

from components.clients.sms import SMS
from components.database import for_writing, transaction
from components.estate.models import UtcDateTime

logger = logging.getLogger("components.estate")


class _Development(DeclarativeBase):
    """Tables that the service itself has none of."""


class SentMessage(_Development):
    """What would have been sent."""

    __tablename__ = "sent_messages"

    id: Mapped[int] = mapped_column(primary_key=True)
    way: Mapped[str] = mapped_column(String(10))
    to: Mapped[str] = mapped_column(String(4096))
    text: Mapped[str] = mapped_column(Text)
    sent_at: Mapped[datetime] = mapped_column(UtcDateTime)


class _Logged:
    """What the two have in common."""

    development_only: ClassVar[bool] = True
    is_on = True

    def __init__(
        self, *, db: Annotated[AsyncEngine, Field(description="the engine of the database")]
    ) -> None:
        self._db = db

    async def open(self) -> None:
        """Make the table."""
        table = SentMessage.__table__
        assert isinstance(table, Table)  # noqa: S101  # it is, of a declared class
        async with for_writing(self._db).begin() as connection:
            await connection.execute(CreateTable(table, if_not_exists=True))

    async def _keep(self, way: str, to: str, text: str) -> None:
        logger.info("%s to %s: %s", way, to, " ".join(text.split()))
        async with transaction(self._db, write=True) as session:
            session.add(SentMessage(way=way, to=to, text=text, sent_at=datetime.now(UTC)))


class LoggedPush(_Logged):
    """Takes push messages and sends none."""

    status_note = "push messages go to the log and to the table `sent_messages`"

    async def send(self, message: Mapping[str, Any]) -> str:
        """Keep one message, and return a name for it."""
        told = message.get("notification", {})
        name = f"log/{uuid.uuid4()}"
        text = f"{told.get('title', '')}: {told.get('body', '')}"
        await self._keep("push", str(message["token"]), text)
        return name


class LoggedSMS(_Logged):
    """Takes text messages and sends none."""

    status_note = "text messages go to the log and to the table `sent_messages`"

    async def send(self, to: str, body: str) -> SMS:
        """Keep one message."""
        await self._keep("sms", to, body)
        return SMS(id=str(uuid.uuid4()), status="delivered", to=to, segments=1)
