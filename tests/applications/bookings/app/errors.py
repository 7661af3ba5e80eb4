"""Exceptions of the service, and what they are answered with."""

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse


class RoomNotFoundError(Exception):
    """There is no such room."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no room {number}")


class RoomTakenError(Exception):
    """Somebody has the room."""

    def __init__(self, until: str) -> None:
        super().__init__(f"the room is taken until {until}")
        self.until = until


async def room_not_found(request: Request, error: RoomNotFoundError) -> JSONResponse:
    """Answer 404."""
    return JSONResponse({"error": "room_not_found", "message": str(error)}, 404)


async def room_taken(request: Request, error: RoomTakenError) -> JSONResponse:
    """Answer 409, and say when to come again."""
    body = {"error": "room_taken", "message": str(error), "until": error.until}
    return JSONResponse(body, 409, headers={"X-Room-Free": error.until})


async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    """Answer 422 in the shape that the other errors have."""
    fields = [".".join(str(part) for part in fault["loc"]) for fault in error.errors()]
    return JSONResponse({"error": "invalid", "fields": fields}, 422)
