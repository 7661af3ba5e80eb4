"""The providers of push and text messages, played on real sockets: what came is remembered.

Of each push message the `collapse_key` and the device are remembered, of each text message its text.
`faults` are answered first, in turn, and `hold` keeps every answer back.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from components.clients.fcm import FCMClient
from components.clients.sms import SMSClient
from tests.components.clients.serving import serving_app
from tests.components.clients.test_fcm import google_error, key_file
from tests.waiting import until

ACCOUNT = "AC0123456789abcdef0123456789abcdef"


@dataclass
class Providers:
    """FCM with Google's token endpoint, and Twilio, below one URL."""

    url: str = ""
    pushed: Counter[tuple[str, str]] = field(default_factory=Counter)
    pushes: list[dict[str, Any]] = field(default_factory=list)
    texts: list[dict[str, str]] = field(default_factory=list)
    faults: list[Response] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    asked: int = 0
    refuses: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    on_message: Any = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body = await request.body()
        answer = await self._answer(request, body)
        await answer(scope, receive, send)

    async def _answer(self, request: Request, body: bytes) -> Response:
        path = request.url.path
        if path == "/token":
            if self.refuses:
                return JSONResponse({"error": "invalid_grant"}, 400)
            return JSONResponse({"access_token": "t", "expires_in": 3600})
        if self.refuses:
            return JSONResponse({"code": 20003, "message": "no", "status": 401}, 401)
        if request.method == "GET":
            return JSONResponse({"sid": ACCOUNT})
        self.asked += 1
        if self.faults:
            return self.faults.pop(0)
        await until(lambda: not self.hold.is_set())
        if path.startswith("/v1/"):
            return await self._push((await request.json())["message"])
        return self._text({name: found[0] for name, found in parse_qs(body.decode()).items()})

    async def _push(self, message: dict[str, Any]) -> Response:
        if message["token"] in self.dead:
            return google_error(404, "NOT_FOUND", "UNREGISTERED")
        self.pushed[message["token"], message["android"]["collapse_key"]] += 1
        self.pushes.append(message)
        if self.on_message is not None:
            self.on_message(message)
        return JSONResponse({"name": f"projects/shop/messages/{len(self.pushes)}"})

    def _text(self, form: dict[str, str]) -> Response:
        self.texts.append(form)
        if self.on_message is not None:
            self.on_message(form)
        sid = f"SM{len(self.texts)}"
        return JSONResponse({"sid": sid, "status": "queued", "to": form["To"]}, 201)

    def fcm(self, **options: Any) -> FCMClient:
        key = SecretStr(key_file(self.url))
        given = {"credentials": key, "base_url": self.url, "retries": 0}
        return FCMClient(**{**given, **options})

    def sms(self, **options: Any) -> SMSClient:
        given = {"account": ACCOUNT, "token": "secret-word", "sender": "+15005550006"}
        return SMSClient(**{**given, "base_url": self.url, "retries": 0, **options})


@contextmanager
def providing() -> Iterator[Providers]:
    """Both providers on a free port."""
    made = Providers()
    with serving_app(made) as url:
        made.url = url
        yield made
