"""Who is in which room."""

import asyncio
import logging
from collections import defaultdict

from starlette.websockets import WebSocket

logger = logging.getLogger("app.rooms")


class Rooms:
    """The sockets of each room, and its strokes."""

    def __init__(self, longest: int = 100) -> None:
        self.longest = longest
        self.sockets: dict[str, list[WebSocket]] = defaultdict(list)
        self.strokes: dict[str, list[str]] = defaultdict(list)

    async def join(self, room: str, socket: WebSocket) -> None:
        """Let somebody in, and show what was drawn."""
        await socket.accept()
        self.sockets[room].append(socket)
        for stroke in self.strokes[room]:
            await socket.send_text(stroke)

    def leave(self, room: str, socket: WebSocket) -> None:
        """Let somebody go."""
        self.sockets[room].remove(socket)

    async def draw(self, room: str, stroke: str) -> None:
        """Show a stroke to all in the room."""
        self.strokes[room] = [*self.strokes[room], stroke][-self.longest :]
        await asyncio.gather(*(socket.send_text(stroke) for socket in self.sockets[room]))

    async def connect(self) -> None:
        """Open the rooms."""
        logger.info("rooms are open")

    async def close(self) -> None:
        """Close the rooms."""
        logger.info("%d rooms are closed", len(self.strokes))
        self.sockets.clear()
        self.strokes.clear()


rooms = Rooms()
