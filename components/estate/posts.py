"""What can be done with posts.

In: a session whose transaction the caller began, and checked values. Out: what is to be answered,
free of the session; None where there is no such post. Refused, as `PublishedError`: another time
for a post that is public already.
"""

from datetime import UTC, datetime

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from components.estate import notifications
from components.estate.models import Post
from components.estate.post_schemas import PostIn, PostOut, PostPage, PostSearch

PUBLIC = "published"  # the status of what everybody may see


class PublishedError(Exception):
    """The post is public, and cannot be scheduled any more."""


async def create(session: AsyncSession, written: PostIn) -> PostOut:
    """Keep a new draft."""
    now = datetime.now(UTC)
    post = Post(**written.model_dump(), status="draft", created_at=now, updated_at=now)
    session.add(post)
    await session.flush()
    return PostOut.model_validate(post)


async def read(session: AsyncSession, post_id: int, *, only_public: bool = False) -> PostOut | None:
    """One post; `only_public` is for those who may not see what is to come."""
    post = await session.get(Post, post_id)
    if post is None or (only_public and post.status != PUBLIC):
        return None
    return PostOut.model_validate(post)


async def search(
    session: AsyncSession, wanted: PostSearch, *, page_size: int, only_public: bool = False
) -> PostPage:
    """One page of posts, the newest first; `page_size` is for a search that has no limit."""
    limit = wanted.limit or page_size
    filters = [] if wanted.status is None else [Post.status == wanted.status]
    if only_public:
        filters.append(Post.status == PUBLIC)
    total = await session.scalar(select(func.count()).select_from(Post).where(*filters))
    order = (Post.created_at.desc(), Post.id.desc())
    chosen = select(Post).where(*filters).order_by(*order)
    found = await session.scalars(chosen.limit(limit).offset(wanted.offset))
    return PostPage(
        items=[PostOut.model_validate(post) for post in found],
        total=total or 0,
        limit=limit,
        offset=wanted.offset,
    )


async def schedule(session: AsyncSession, post_id: int, publish_at: datetime) -> PostOut | None:
    """Have it published at that time, or at another one than before. Raises `PublishedError`."""
    post = await session.get(Post, post_id, with_for_update=True)
    if post is None:
        return None
    if post.status == "published":
        raise PublishedError(post_id)
    post.status, post.publish_at = "scheduled", publish_at.astimezone(UTC)
    await session.flush()
    return PostOut.model_validate(post)


async def publish(session: AsyncSession, post_id: int) -> PostOut | None:
    """Publish it now; one that is public stays as it is."""
    post = await session.get(Post, post_id, with_for_update=True)
    if post is None:
        return None
    if post.status != "published":
        post.status, post.published_at = "published", datetime.now(UTC)
        await session.flush()
        await notifications.post_published(session, post)
    return PostOut.model_validate(post)


async def publish_due(session: AsyncSession, now: datetime) -> list[int]:
    """Publish every scheduled post whose time has come; return their ids, in order.

    One statement: of two at the same moment, the second waits for the first, looks again, and
    finds these posts published.
    """
    due = (Post.status == "scheduled", Post.publish_at <= now)
    change = update(Post).where(*due).values(status="published", published_at=now, updated_at=now)
    found = await session.scalars(
        change.returning(Post), execution_options={"synchronize_session": False}
    )
    published = sorted(found, key=lambda post: post.id)
    for post in published:
        await notifications.post_published(session, post)
    return [post.id for post in published]
