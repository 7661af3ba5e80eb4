"""A process that delivers notifications and kills itself at one step, for tests of its like.

Environment: WHERE is the step (`before claim`, …), or `deliver` to go on until it is killed; URL the
database; PROVIDERS where both providers are.
"""

import asyncio
import os
import signal
from datetime import timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from components.database import engine, transaction
from components.estate import notifications
from components.estate.delivery import Courier
from components.estate.notification_schemas import News
from tests.components.estate.providers import Providers

WHERE = os.environ["WHERE"]


def die(step: str) -> None:
    if step == WHERE:
        os.kill(os.getpid(), signal.SIGKILL)


def dying(name: str, function: Any) -> Any:
    """The function, and the end of the process before it, or after its last call."""
    left = 2 if name == "record" else 1

    async def call(*arguments: Any, **options: Any) -> Any:
        nonlocal left
        die(f"before {name}")
        result = await function(*arguments, **options)
        left -= 1
        if not left:
            die(f"after {name}")
        return result

    return call


class Client:
    """A client whose two messages have both gone out, or both not, when the process dies."""

    is_on = True
    sent = asyncio.Barrier(2)

    def __init__(self, client: Any) -> None:
        self._client = client

    async def send(self, *arguments: Any) -> Any:
        await self.sent.wait()
        die("before send")
        result = await self._client.send(*arguments)
        await self.sent.wait()
        die("after send")
        return result


async def tell(db: AsyncEngine) -> None:
    async with transaction(db, write=True) as session:
        told = News(event="e", kind="visit", title="Title", body="Body", link="/x")
        await notifications.notify(session, told, ["ann"])
        await session.flush()
        die("before commit")
    die("after commit")


async def main() -> None:
    db = engine(url=os.environ["URL"])
    providers = Providers(url=os.environ["PROVIDERS"])
    push: Any = providers.fcm(retries=3)
    sms: Any = providers.sms(retries=3)
    if WHERE == "deliver":
        while True:
            await Courier(db, push, sms, lease=timedelta(seconds=3), batch=40).deliver()
            await asyncio.sleep(0.1)
    await tell(db)
    for name in ("claim", "record"):
        setattr(Courier, name, dying(name, getattr(Courier, name)))
    await Courier(db, Client(push), Client(sms)).deliver()


if __name__ == "__main__":
    asyncio.run(main())
