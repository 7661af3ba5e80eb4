"""python-socketio around the application, as its document shows it: a layer that is outermost."""

from starlette.testclient import TestClient

FILES = {
    "live.py": """
import socketio
from fastapi import APIRouter

sio = socketio.AsyncServer(async_mode="asgi")
router = APIRouter()


@sio.event
async def say(sid, text):
    return text.upper()


@router.get("/health")
async def health():
    return "ok"


def sockets(app, *, path: str = "socket.io"):
    return socketio.ASGIApp(sio, app, socketio_path=path)
""",
    "main.py": """
import socketio
from fastapi import FastAPI

from live import router, sio

api = FastAPI()
api.include_router(router)
app = socketio.ASGIApp(sio, api, socketio_path="live")
""",
    "manifest.yaml": """
manifest: 1
middleware:
  - {use: live.sockets, with: {path: live}}
routes:
  - {use: live.router}
""",
}


def test_events_and_routes_are_answered(client: TestClient) -> None:
    assert client.get("/health").json() == "ok"
    assert client.get("/live/?EIO=4&transport=polling").text.startswith("0{")
    path, headers = "/live/?EIO=4&transport=websocket", {"Upgrade": "websocket"}
    with client.websocket_connect(path, headers=headers) as socket:
        assert socket.receive_text().startswith("0{")
        socket.send_text("40")
        assert socket.receive_text().startswith('40{"sid":')
        socket.send_text('421["say","hello"]')
        assert socket.receive_text() == '431["HELLO"]'
