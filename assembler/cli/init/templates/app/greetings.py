"""The routes that greet."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field


class Greeting(BaseModel):
    """What a caller reads."""

    message: str


def greetings_router(
    *,
    greeting: Annotated[str, Field(min_length=1, description="the word before the name")] = "Hello",
) -> APIRouter:
    """Return the routes; the manifest gives the arguments under `with`."""
    router = APIRouter(tags=["greetings"])

    @router.get("/{name}")
    async def greet(name: str) -> Greeting:
        """Greet one person."""
        return Greeting(message=f"{greeting}, {name}!")

    return router
