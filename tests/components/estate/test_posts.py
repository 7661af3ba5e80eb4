"""Posts are written, scheduled and published; each is published once, whoever does it."""

import asyncio
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.testclient import TestClient

from components.database import engine, transaction
from components.estate import posts, posts_api, seed
from components.estate.jobs import publish_due_posts
from components.estate.models import Post
from components.estate.post_schemas import PostIn
from tests.components.estate.conftest import MakeApp

POSTS = "/api/v1/posts"
PAST, FUTURE = "2026-01-15T09:00:00+05:30", "2099-01-15T09:00:00+05:30"
_PUBLISH = """
import asyncio, sys
from components.database import engine
from components.estate.jobs import publish_due_posts

async def main():
    db = engine(url=sys.argv[1])
    await db.open()
    print("ready", flush=True)
    sys.stdin.readline()
    print(*await publish_due_posts(db=db))
    await db.dispose()

asyncio.run(main())
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path}/posts.db"
    server = make_url(request.getfixturevalue("postgres"))
    name = f"posts_{uuid.uuid4().hex}"
    admin = create_engine(server.set(drivername="postgresql+psycopg"))
    with admin.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    admin.dispose()
    return server.set(database=name).render_as_string(hide_password=False)


def on(url: str, story: Callable[[AsyncEngine], Any]) -> Any:
    """Run a story on a database that has the tables, and no rows."""

    async def go() -> Any:
        db = engine(url=url)
        try:
            await seed.prepare(db=db, listings=0, posts=0)
            return await story(db)
        finally:
            await db.dispose()

    return asyncio.run(go())


async def scheduled(db: AsyncEngine, count: int, at: datetime) -> list[int]:
    async with transaction(db, write=True) as session:
        made = [await posts.create(session, PostIn(title=f"Post {n}")) for n in range(count)]
        for post in made:
            await posts.schedule(session, post.id, at)
    return [post.id for post in made]


async def _kept(db: AsyncEngine, post: Post) -> None:
    async with transaction(db, write=True) as session:
        session.add(post)


@pytest.fixture
def client(make_app: MakeApp) -> Iterator[TestClient]:
    with TestClient(make_app(router=posts_api.router), raise_server_exceptions=False) as made:
        yield made


def write(client: TestClient, title: str = "Quiet streets") -> dict[str, Any]:
    answer = client.post(POSTS, json={"title": title, "body": "Three of them."})
    assert answer.status_code == 201, answer.text
    post: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"{POSTS}/{post['id']}"
    return post


def test_a_post_is_a_draft_then_scheduled_then_published(client: TestClient) -> None:
    post = write(client)
    assert (post["status"], post["publish_at"], post["published_at"]) == ("draft", None, None)
    path = f"{POSTS}/{post['id']}"
    assert client.get(path).json() == post
    post = client.post(f"{path}/schedule", json={"publish_at": FUTURE}).json()
    assert (post["status"], post["publish_at"]) == ("scheduled", "2099-01-15T03:30:00Z")
    post = client.post(f"{path}/schedule", json={"publish_at": PAST}).json()
    assert (post["status"], post["publish_at"]) == ("scheduled", "2026-01-15T03:30:00Z")
    post = client.post(f"{path}/publish").json()
    assert (post["status"], post["published_at"] is None) == ("published", False)
    assert client.post(f"{path}/publish").json() == post
    refused = client.post(f"{path}/schedule", json={"publish_at": FUTURE})
    assert refused.status_code == 409
    assert client.get(path).json() == post


def test_posts_are_listed_by_status_a_page_at_a_time(client: TestClient) -> None:
    ids = [write(client, f"Post {number}")["id"] for number in range(3)]
    client.post(f"{POSTS}/{ids[1]}/publish")
    page = client.get(POSTS, params={"limit": 2}).json()
    assert ([post["id"] for post in page["items"]], page["total"]) == (ids[:0:-1], 3)
    page = client.get(POSTS, params={"status": "published"}).json()
    assert ([post["id"] for post in page["items"]], page["total"]) == ([ids[1]], 1)
    assert client.get(POSTS, params={"offset": 2, "status": "draft"}).json()["items"] == []


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("", {"title": "x"}),
        ("", {"title": "Post", "status": "published"}),
        ("", {"title": "Po\0st"}),
        ("/1/schedule", {}),
        ("/1/schedule", {"publish_at": "2026-01-15T09:00:00"}),
        ("/1/schedule", {"publish_at": "0001-01-01T00:00:00+14:00"}),
        ("/1/schedule", {"publish_at": "9999-12-31T23:59:59-14:00"}),
        ("/0/publish", {}),
    ],
)
def test_what_cannot_be_kept_is_refused(client: TestClient, path: str, body: Any) -> None:
    write(client)
    assert client.post(f"{POSTS}{path}", json=body).status_code == 422
    assert client.get(POSTS, params={"status": "gone"}).status_code == 422


def test_a_post_that_is_not_there_is_a_404(client: TestClient) -> None:
    for answer in (
        client.get(f"{POSTS}/7"),
        client.post(f"{POSTS}/7/publish"),
        client.post(f"{POSTS}/7/schedule", json={"publish_at": PAST}),
    ):
        assert (answer.status_code, answer.json()) == (404, {"detail": "no such post"})


def test_the_document_says_what_each_route_takes_and_answers(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    paths = {path: set(item) for path, item in document["paths"].items() if "posts" in path}
    assert paths == {
        POSTS: {"get", "post"},
        f"{POSTS}/{{post_id}}": {"get"},
        f"{POSTS}/{{post_id}}/schedule": {"post"},
        f"{POSTS}/{{post_id}}/publish": {"post"},
    }
    schedule = document["paths"][f"{POSTS}/{{post_id}}/schedule"]["post"]
    assert set(schedule["responses"]) == {"200", "404", "409", "422"}
    for item in document["paths"].values():
        assert all(operation["tags"] for operation in item.values())


def test_the_job_publishes_what_is_due_and_nothing_twice(database: str) -> None:
    async def story(db: AsyncEngine) -> None:
        now = datetime.now(UTC)
        due = await scheduled(db, 3, now - timedelta(minutes=1))
        later = await scheduled(db, 1, now + timedelta(hours=1))
        assert await publish_due_posts(db=db) == due
        assert await publish_due_posts(db=db) == []
        async with transaction(db, write=True) as session:
            first = await posts.read(session, due[0])
            assert first is not None
            assert first.status == "published"
            assert first.published_at is not None
            assert now <= first.published_at == first.updated_at
            assert await posts.publish_due(session, now + timedelta(hours=2)) == later

    on(database, story)


def test_two_processes_publish_each_post_once(database: str) -> None:
    async def story(db: AsyncEngine) -> list[int]:
        return await scheduled(db, 50, datetime.now(UTC) - timedelta(minutes=1))

    due = on(database, story)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PUBLISH, database],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sorted(int(number) for numbers in said for number in numbers) == due


def test_the_database_refuses_a_post_without_its_time(database: str) -> None:
    async def story(db: AsyncEngine) -> None:
        now = datetime.now(UTC)
        for status in ("scheduled", "published"):
            facts = {"title": "Post", "body": "", "created_at": now, "updated_at": now}
            with pytest.raises(IntegrityError):
                await _kept(db, Post(**facts, status=status))

    on(database, story)


def test_every_seeded_post_is_one_that_the_service_would_take() -> None:
    rows = seed.generate_posts(30, seed=7)
    assert rows == seed.generate_posts(40, seed=7)[:30]
    assert {row["status"] for row in rows} == {"published", "draft"}
    for row in rows:
        PostIn.model_validate({"title": row["title"], "body": row["body"]})
        assert (row["published_at"] is not None) == (row["status"] == "published")
