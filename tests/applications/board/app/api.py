"""The routes of the board: its sockets, and its data."""

from typing import Annotated

from fastapi import APIRouter, Depends, Query, WebSocketException
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.rooms import Rooms, rooms

router = APIRouter()


def get_rooms() -> Rooms:
    """Return the rooms."""
    return rooms


async def guest(websocket: WebSocket, name: Annotated[str | None, Query()] = None) -> str:
    """Return who comes; nobody comes without a name."""
    if not name:
        raise WebSocketException(code=1008, reason="say your name")
    return name


@router.get("/api/rooms/{room}/strokes")
async def strokes(room: str, all_rooms: Annotated[Rooms, Depends(get_rooms)]) -> list[str]:
    """List what was drawn."""
    return all_rooms.strokes.get(room, [])


@router.post("/api/rooms/{room}/strokes", status_code=201)
async def draw(
    room: str, stroke: Annotated[str, Query()], all_rooms: Annotated[Rooms, Depends(get_rooms)]
) -> dict[str, int]:
    """Draw."""
    await all_rooms.draw(room, stroke)
    return {"strokes": len(all_rooms.strokes[room])}


@router.websocket("/ws/{room}")
async def enter(
    websocket: WebSocket,
    room: str,
    name: Annotated[str, Depends(guest)],
    all_rooms: Annotated[Rooms, Depends(get_rooms)],
) -> None:
    """Draw together."""
    await all_rooms.join(room, websocket)
    try:
        async for text in websocket.iter_text():
            await all_rooms.draw(room, f"{name}: {text}")
    except WebSocketDisconnect:
        pass
    finally:
        all_rooms.leave(room, websocket)
