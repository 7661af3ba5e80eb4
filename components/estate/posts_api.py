"""The posts over HTTP.

In: requests whose lifespan state carries an `AsyncEngine` as `db`. Out: `router`, and
`posts_router` that makes it with another default. Refused: what the
schemas refuse, as FastAPI's 422, an id that names no post, as 404, and another time for a post that
is public already, as 409. Who may write, and see what is not public, is as for listings.
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request, Response
from pydantic import Field

from components.estate import posts
from components.estate.api import Changing, OnlyOffered, Reading
from components.estate.post_schemas import PostIn, PostOut, PostPage, PostSearch, ScheduleIn
from components.estate.schemas import PageSize

PostId = Annotated[int, Path(ge=1, le=2**53 - 1)]


def posts_router(
    *,
    page_size: Annotated[
        PageSize, Field(description="posts on a page when the request does not say")
    ] = 20,
) -> APIRouter:
    """The routes `/posts`, `/posts/{post_id}`, and what schedules and publishes one."""
    made = APIRouter(tags=["posts"])

    @made.get("/posts", summary="List posts")
    async def list_posts(
        session: Reading, search: Annotated[PostSearch, Query()], only_public: OnlyOffered
    ) -> PostPage:
        """The posts that pass the filter, the newest first, a page at a time."""
        return await posts.search(session, search, page_size=page_size, only_public=only_public)

    made.include_router(_routes)
    return made


_routes = APIRouter()
_MISSING: dict[int | str, dict[str, Any]] = {404: {"description": "No such post"}}


@_routes.post(
    "/posts",
    summary="Write a post",
    status_code=201,
    responses={
        201: {
            "headers": {"Location": {"description": "The new post", "schema": {"type": "string"}}}
        }
    },
)
async def create_post(
    written: PostIn, session: Changing, request: Request, response: Response
) -> PostOut:
    """Write a post. It is a draft until it is scheduled or published."""
    created = await posts.create(session, written)
    # a path of its own, since a host would be taken from a header that anyone can forge
    response.headers["Location"] = f"{request.url.path.rstrip('/')}/{created.id}"
    return created


@_routes.get("/posts/{post_id}", summary="Read a post", responses=_MISSING)
async def read_post(post_id: PostId, session: Reading, only_public: OnlyOffered) -> PostOut:
    return _found(await posts.read(session, post_id, only_public=only_public))


@_routes.post(
    "/posts/{post_id}/schedule",
    summary="Schedule a post",
    responses={**_MISSING, 409: {"description": "The post is published already"}},
)
async def schedule_post(post_id: PostId, wanted: ScheduleIn, session: Changing) -> PostOut:
    """Have it published at a time; before that it can be given another one."""
    try:
        return _found(await posts.schedule(session, post_id, wanted.publish_at))
    except posts.PublishedError:
        raise HTTPException(status_code=409, detail="the post is published already") from None


@_routes.post("/posts/{post_id}/publish", summary="Publish a post", responses=_MISSING)
async def publish_post(post_id: PostId, session: Changing) -> PostOut:
    """Publish it now; one that is published already stays as it is."""
    return _found(await posts.publish(session, post_id))


def _found(post: PostOut | None) -> PostOut:
    if post is None:
        raise HTTPException(status_code=404, detail="no such post")
    return post


router = posts_router()
