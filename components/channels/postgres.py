"""The log of channels in PostgreSQL: two tables, and a word to who listens.

In: messages from any process. Out: the same to every process that follows their channel. A message
gets its offset under the lock of its channel's row, so offsets are in the order of commits. The word
follows the commit, in a statement of its own, and holds ids and offsets alone: NOTIFY takes 8000 bytes,
and within a transaction it makes commits wait for each other. One word tells of all that was committed
meanwhile. Who died before the word leaves it to the others, which compare positions now and then.

Refused: an engine of another database, and a listening connection that hears nothing, as behind a
pooler in transaction mode.
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import text as sql
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from components.channels.message import Deliver, History, Message, Position, history
from components.database import engine

logger = logging.getLogger("components.channels")

_WORD = "component_channels"  # the channel of NOTIFY
_LONGEST_WORD = 7500  # bytes, of the 8000 that NOTIFY takes
_LOCK = 0x6368616E6E656C73  # "channels"
_LONGEST_PAUSE_SECONDS = 2.0
_SILENCE_SECONDS = 5.0
_PROBE_SECONDS = 5.0
_TRIM_EVERY = 64  # messages of a channel

_TABLES = (
    """CREATE TABLE IF NOT EXISTS channel_heads (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, channel text NOT NULL UNIQUE,
        epoch text NOT NULL, top bigint NOT NULL, tag text NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS channel_messages (
        head bigint NOT NULL REFERENCES channel_heads (id) ON DELETE CASCADE,
        place bigint NOT NULL, tag text NOT NULL, body text NOT NULL, key text,
        created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (head, place))""",
    """CREATE UNIQUE INDEX IF NOT EXISTS channel_messages_by_key
        ON channel_messages (head, key) WHERE key IS NOT NULL""",
    """CREATE INDEX IF NOT EXISTS channel_messages_by_age ON channel_messages (created_at)""",
)
_EXIST = "SELECT to_regclass('channel_messages_by_age') IS NOT NULL"
_TAKE = """INSERT INTO channel_heads AS h (channel, epoch, top, tag)
    VALUES (:channel, :epoch, 1, :tag)
    ON CONFLICT (channel) DO UPDATE SET top = h.top + 1, tag = excluded.tag
    RETURNING id, epoch, top"""
_KNOWN = """SELECT h.epoch, m.place FROM channel_heads h JOIN channel_messages m ON m.head = h.id
    WHERE h.channel = :channel AND m.key = :key"""
_ADD = """INSERT INTO channel_messages (head, place, tag, body, key)
    VALUES (:id, :place, :tag, :body, :key)"""
_TRIM = "DELETE FROM channel_messages WHERE head = :id AND place <= :last"
_EXPIRE = "DELETE FROM channel_messages WHERE created_at < now() - make_interval(secs => :seconds)"
_HEADS = """INSERT INTO channel_heads (channel, epoch, top, tag)
    SELECT channel, epoch, 0, '' FROM unnest(CAST(:channels AS text[]), CAST(:epochs AS text[]))
        AS new (channel, epoch) ORDER BY channel
    ON CONFLICT (channel) DO NOTHING"""
_TOPS = "SELECT channel, id, epoch, top, tag FROM channel_heads WHERE channel = ANY(:channels)"
_AFTER = """SELECT m.head, m.place, m.tag, m.body
    FROM unnest(CAST(:ids AS bigint[]), CAST(:places AS bigint[])) AS known (id, place)
    JOIN channel_messages m ON m.head = known.id AND m.place > known.place
    ORDER BY m.head, m.place"""
_RENEW = "DELETE FROM channel_heads WHERE channel = :channel AND epoch = :epoch"


class PostgresLog:
    """See `components.channels.Log`."""

    def __init__(
        self, db: AsyncEngine, *, listen_url: str | None, size: int, ttl: timedelta
    ) -> None:
        if db.dialect.name != "postgresql":
            raise ValueError(f"`db` is no engine of PostgreSQL, but of {db.dialect.name}")
        self._db = db
        url = make_url(listen_url) if listen_url else db.url
        if url.drivername not in {"postgresql", "postgres", "postgresql+asyncpg"}:
            raise ValueError("`listen_url` is no URL for asyncpg, such as `postgresql://…`")
        self._listen_url = url.render_as_string(hide_password=False)
        self._size = size
        self._ttl_seconds = ttl.total_seconds()
        self._channels: dict[int, str] = {}  # what is followed, by the id of its row
        self._known: dict[str, tuple[int, Position]] = {}
        self._dirty: dict[int, int] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._wake_speaker = asyncio.Event()
        self._wake_reader = asyncio.Event()
        self._listening: tuple[AsyncEngine, AsyncConnection] | None = None
        self._probe: tuple[str, asyncio.Future[None]] | None = None
        self._deliver: Deliver | None = None
        self._lost: Callable[[], None] | None = None

    async def open(self, deliver: Deliver, lost: Callable[[], None]) -> None:
        self._deliver, self._lost = deliver, lost
        self._wake_speaker, self._wake_reader = asyncio.Event(), asyncio.Event()
        await self._make_tables()
        await self._listen()
        try:
            await self._hear_oneself()
        except BaseException:
            await self._stop_listening()
            raise
        loop = asyncio.get_running_loop()
        work = (
            self._whenever(self._wake_speaker, self._say_all),
            self._whenever(self._wake_reader, self._read_new),
            self._watch(),
            self._expire(),
        )
        self._tasks = [loop.create_task(one) for one in work]

    async def aclose(self) -> None:
        with contextlib.suppress(Exception):  # the others find it by comparing positions
            await self._say_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await self._stop_listening()
        self._channels.clear()
        self._known.clear()

    async def ping(self) -> None:
        if self._listening is None:
            raise ConnectionError("nothing is heard of the channels")
        async with self._db.connect() as connection:
            await connection.exec_driver_sql("SELECT 1")

    async def append(self, channel: str, text: str, key: str | None) -> Position:
        async with self._db.begin() as connection:
            tag = secrets.token_hex(4)
            values = {"channel": channel, "epoch": secrets.token_hex(6), "tag": tag}
            if key is not None:
                known = (await connection.execute(sql(_KNOWN), {**values, "key": key})).first()
                if known is not None:
                    return Position(*known)
            id_, epoch, top = (await connection.execute(sql(_TAKE), values)).one()
            if key is not None:  # another may have been before us with the same one
                known = (await connection.execute(sql(_KNOWN), {**values, "key": key})).first()
                if known is not None:
                    await connection.rollback()
                    return Position(*known)
            row = {"id": id_, "place": top, "tag": tag, "body": text, "key": key}
            await connection.execute(sql(_ADD), row)
            if top % _TRIM_EVERY == 0:
                await connection.execute(sql(_TRIM), {"id": id_, "last": top - self._size})
        self._dirty[id_] = top
        self._wake_speaker.set()
        return Position(epoch, top)

    async def follow(self, channels: Sequence[str]) -> list[History]:
        names = [*channels]
        await self._make_heads(names)
        async with self._db.begin() as connection:
            found = await connection.execute(sql(_TOPS), {"channels": names})
            heads = {row.channel: row for row in found}
            # from here on words of these rows are heard; what was committed before is read
            self._channels.update((row.id, row.channel) for row in heads.values())
            entries = await self._after(
                connection,
                [row.id for row in heads.values()],
                [max(0, row.top - self._size) for row in heads.values()],
            )
        histories = []
        for name in names:
            row = heads[name]
            kept = entries.get(row.id, [])
            last, tag = row.top, row.tag
            if kept and kept[-1][0] > last:  # committed between the two readings
                last, tag, _ = kept[-1]
            read = history(Position(row.epoch, last), tag, kept)
            self._known[name] = (row.id, read.top)
            histories.append(read)
        return histories

    async def unfollow(self, channels: Sequence[str]) -> None:
        for channel in channels:
            known = self._known.pop(channel, None)
            if known is not None:
                self._channels.pop(known[0], None)

    async def tops(self, channels: Sequence[str]) -> list[Position | None]:
        async with self._db.connect() as connection:
            rows = await connection.execute(sql(_TOPS), {"channels": [*channels]})
            found = {row.channel: Position(row.epoch, row.top) for row in rows}
        return [found.get(channel) for channel in channels]

    async def renew(self, channel: str, epoch: str) -> None:
        async with self._db.begin() as connection:
            await connection.execute(sql(_RENEW), {"channel": channel, "epoch": epoch})

    async def _make_tables(self) -> None:
        async with self._db.begin() as connection:
            if await connection.scalar(sql(_EXIST)):
                return
            await connection.execute(sql("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            for statement in _TABLES:
                await connection.execute(sql(statement))

    async def _make_heads(self, names: list[str]) -> None:
        """Make the rows of channels that have none, and have their words heard from now on."""
        async with self._db.begin() as connection:
            rows = (await connection.execute(sql(_TOPS), {"channels": names})).all()
            absent = [one for one in names if one not in {row.channel for row in rows}]
            if absent:
                epochs = [secrets.token_hex(6) for _ in absent]
                await connection.execute(sql(_HEADS), {"channels": absent, "epochs": epochs})
        self._channels.update((row.id, row.channel) for row in rows)

    async def _after(
        self, connection: AsyncConnection, ids: list[int], places: list[int]
    ) -> dict[int, list[tuple[int, str, str]]]:
        entries: dict[int, list[tuple[int, str, str]]] = {}
        for row in await connection.execute(sql(_AFTER), {"ids": ids, "places": places}):
            entries.setdefault(row.head, []).append((row.place, row.tag, row.body))
        return entries

    async def _listen(self) -> None:
        made = engine(url=self._listen_url, pool="none", application_name="channels")
        connection = made.connect()
        try:
            await connection.start()
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            raw: Any = (await connection.get_raw_connection()).driver_connection
            await raw.add_listener(_WORD, self._hear)
        except BaseException:
            await connection.close()
            await made.dispose()
            raise
        self._listening = (made, connection)

    async def _stop_listening(self) -> None:
        listening, self._listening = self._listening, None
        if listening is not None:
            made, connection = listening
            with contextlib.suppress(Exception):  # a connection that is broken is closed
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await connection.invalidate()
                    await connection.close()
            await made.dispose()

    async def _hear_oneself(self) -> None:
        """Say a word over the other connections; raises ValueError where it is not heard."""
        probe = f"probe {secrets.token_hex(8)}"
        heard: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._probe = (probe, heard)
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                await self._say(probe)
                await heard
        except TimeoutError:
            raise ValueError(
                "the listening connection hears nothing: behind a pooler in transaction mode, give "
                "`listen_url`, the URL of PostgreSQL itself"
            ) from None
        finally:
            self._probe = None

    def _hear(self, _connection: Any, _pid: int, _channel: str, word: str) -> None:
        if word.startswith("probe "):
            if self._probe is not None and word == self._probe[0] and not self._probe[1].done():
                self._probe[1].set_result(None)
            return
        if any(int(one.partition(":")[0]) in self._channels for one in word.split(",")):
            self._wake_reader.set()

    async def _whenever(self, wake: asyncio.Event, work: Callable[[], Awaitable[None]]) -> None:
        """Do what `wake` asks for, and once more where the database was away."""
        while True:
            await wake.wait()
            wake.clear()
            try:
                await work()
            except Exception as error:  # noqa: BLE001  # a driver may raise anything
                logger.warning("channels: the database is away (%s)", type(error).__name__)
                await asyncio.sleep(0.2)
                wake.set()

    async def _read_new(self) -> None:
        """Read what follows the last position of all that is followed: one query."""
        known = [*self._known.items()]
        ids = [id_ for _, (id_, _) in known]
        places = [place.offset for _, (_, place) in known]
        async with self._db.connect() as connection:
            entries = await self._after(connection, ids, places)
        for channel, (id_, place) in known:
            for number, tag, body in entries.get(id_, ()):
                position = Position(place.epoch, number)
                current = self._known.get(channel)
                if current is not None and current[0] == id_ and current[1].offset < number:
                    self._known[channel] = (id_, position)
                if self._deliver is not None:
                    self._deliver(channel, Message(position, body, tag))

    async def _say_all(self) -> None:
        while self._dirty:
            dirty, self._dirty = self._dirty, {}
            try:
                for word in _words(dirty):
                    await self._say(word)
            except BaseException:
                self._dirty = {**dirty, **self._dirty}
                raise

    async def _say(self, word: str) -> None:
        async with self._db.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
            await alone.execute(
                sql("SELECT pg_notify(:name, :word)"), {"name": _WORD, "word": word}
            )

    async def _watch(self) -> None:
        """See that the listening connection lives; make another, and tell, where it does not."""
        while True:
            await asyncio.sleep(_SILENCE_SECONDS if self._is_alive() else 0)
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    assert self._listening is not None  # noqa: S101  # it is, from the opening on
                    raw: Any = (await self._listening[1].get_raw_connection()).driver_connection
                    await raw.fetchval("SELECT 1")
            except Exception as error:  # noqa: BLE001  # whatever it was, words may have been missed
                logger.warning("channels: PostgreSQL is away (%s)", type(error).__name__)
                await self._stop_listening()
                await self._return()
                logger.warning("channels: PostgreSQL is back")
                if self._lost is not None:
                    self._lost()

    def _is_alive(self) -> bool:
        return self._listening is not None and not self._listening[1].closed

    async def _return(self) -> None:
        pause = 0.05
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._listen()
            except Exception:  # noqa: BLE001  # whatever it is, PostgreSQL is not back
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
            else:
                return

    async def _expire(self) -> None:
        """Delete what is too old, now and then."""
        pause = min(max(1.0, self._ttl_seconds / 10), 600.0)
        while True:
            await asyncio.sleep(pause * (0.5 + secrets.randbelow(1000) / 1000))
            with contextlib.suppress(Exception):  # the next time, or another process
                async with self._db.begin() as connection:
                    await connection.execute(sql(_EXPIRE), {"seconds": self._ttl_seconds})


def _words(dirty: dict[int, int]) -> Iterator[str]:
    """Texts of `id:offset`, none of them too long for NOTIFY."""
    word = ""
    for id_, top in dirty.items():
        one = f"{id_}:{top}"
        if word and len(word) + len(one) + 1 > _LONGEST_WORD:
            yield word
            word = ""
        word = f"{word},{one}" if word else one
    if word:
        yield word
