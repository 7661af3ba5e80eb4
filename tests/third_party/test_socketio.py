"""python-socketio: an ASGI application that is mounted, over polling and over a websocket."""

import json

from starlette.testclient import TestClient

FILES = {
    "live.py": """
import socketio
from fastapi import APIRouter

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
router = APIRouter()


@sio.event
async def connect(sid, environ, auth):
    if auth != {"token": "let me in"}:
        raise socketio.exceptions.ConnectionRefusedError("no token")


@sio.event
async def say(sid, text):
    return text.upper()


@router.get("/health")
async def health():
    return "ok"


socket_app = socketio.ASGIApp(sio, socketio_path="/ws/socket.io")
""",
    "main.py": """
from fastapi import FastAPI

from live import router, socket_app

app = FastAPI()
app.include_router(router)
app.mount("/ws", socket_app)
""",
    "manifest.yaml": """
manifest: 1
routes:
  - {use: live.router}
  - {mount: /ws, use: live.socket_app}
""",
}
UPGRADE = {"Upgrade": "websocket"}  # which servers pass on, and the client for tests leaves out
PATH = "/ws/socket.io/?EIO=4&transport="


def test_a_session_is_opened_over_polling(client: TestClient) -> None:
    opened = client.get(f"{PATH}polling")
    assert opened.status_code == 200
    assert opened.text.startswith("0{")
    sid = json.loads(opened.text[1:])["sid"]
    path = f"{PATH}polling&sid={sid}"
    assert client.post(path, content='40{"token": "let me in"}').text == "OK"
    assert client.get(path).text.startswith('40{"sid":')


def test_events_are_answered_over_a_websocket(client: TestClient) -> None:
    with client.websocket_connect(f"{PATH}websocket", headers=UPGRADE) as socket:
        assert socket.receive_text().startswith("0{")
        socket.send_text('40{"token": "let me in"}')
        assert socket.receive_text().startswith('40{"sid":')
        socket.send_text('421["say","hello"]')
        assert socket.receive_text() == '431["HELLO"]'


def test_who_has_no_token_is_refused(client: TestClient) -> None:
    with client.websocket_connect(f"{PATH}websocket", headers=UPGRADE) as socket:
        socket.receive_text()
        socket.send_text("40")
        assert socket.receive_text() == '44{"message":"no token"}'
    assert client.get("/health").json() == "ok"
