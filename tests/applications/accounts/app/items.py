"""What users have."""

from typing import Annotated

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from app.users import User, current_active_user, current_superuser

router = APIRouter(dependencies=[Depends(current_active_user)])


class Item(BaseModel):
    """A thing."""

    name: str
    owner: str


@router.get("/mine")
async def mine(user: Annotated[User, Depends(current_active_user)]) -> list[Item]:
    """List what one has."""
    return [Item(name=f"badge of {user.name or user.email}", owner=user.email)]


@router.get("/all", dependencies=[Depends(current_superuser)])
async def everything() -> list[Item]:
    """List what there is."""
    return [Item(name="badge", owner="everybody")]
