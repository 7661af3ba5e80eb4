"""The whole application: layers, handlers and routes stand on `app`."""

import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import BackgroundTasks, FastAPI, HTTPException, Request, Response, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse

from app.store import Note, NoteIn, NoteMissing, store

logger = logging.getLogger("app.main")
Next = Callable[[Request], Awaitable[Response]]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    store.add(NoteIn(text="Welcome", tags=["first"]))
    app.state.started = True
    logger.info("notes are open")
    yield
    logger.info("%d notes are forgotten", len(store.notes))
    app.state.started = False
    store.clear()


app = FastAPI(title="Notes", description="One file, all on `app`.", lifespan=lifespan)


@app.middleware("http")
async def measure(request: Request, call_next: Next) -> Response:
    began = time.perf_counter()
    response = await call_next(request)
    response.headers["Server-Timing"] = f"app;dur={(time.perf_counter() - began) * 1000:.1f}"
    return response


@app.middleware("http")
async def identify(request: Request, call_next: Next) -> Response:
    request.state.request_id = request.headers.get("X-Request-ID") or uuid.uuid4().hex
    response = await call_next(request)
    response.headers["X-Request-ID"] = request.state.request_id
    return response


@app.middleware("http")
async def refuse_robots(request: Request, call_next: Next) -> Response:
    if "robot" in request.headers.get("User-Agent", "").lower():
        return PlainTextResponse("no robots", 403)
    return await call_next(request)


@app.exception_handler(NoteMissing)
async def note_missing(request: Request, error: NoteMissing) -> JSONResponse:
    return JSONResponse({"detail": f"no note {error.args[0]}"}, 404)


@app.exception_handler(405)
async def wrong_method(request: Request, error: HTTPException) -> JSONResponse:
    body = {"detail": f"{request.method} is not for {request.url.path}"}
    return JSONResponse(body, 405, headers=error.headers)


@app.get("/")
def root(request: Request) -> dict[str, object]:
    first = request.url_for("read_note", number=1)
    return {"notes": len(store.notes), "first": str(first), "title": request.app.title}


@app.get("/notes", tags=["notes"])
async def list_notes(tag: str | None = None) -> list[Note]:
    return [note for note in store.notes.values() if tag is None or tag in note.tags]


@app.post("/notes", status_code=201, tags=["notes"])
async def add_note(note: NoteIn, tasks: BackgroundTasks) -> Note:
    kept = store.add(note)
    tasks.add_task(logger.info, "note %d is kept", kept.id)
    return kept


@app.get("/notes/{number}", tags=["notes"])
async def read_note(number: int) -> Note:
    return store.get(number)


@app.get("/notes/{number}/raw", response_class=PlainTextResponse, tags=["notes"])
async def read_text(number: int) -> str:
    return store.get(number).text


@app.api_route("/echo", methods=["GET", "POST"], include_in_schema=False)
async def echo(request: Request) -> Response:
    return Response(await request.body(), media_type="application/octet-stream")


@app.get("/broken", include_in_schema=False)
async def broken() -> None:
    raise ZeroDivisionError("a note that nobody can read")


@app.websocket("/ws")
async def talk(websocket: WebSocket) -> None:
    await websocket.accept()
    async for text in websocket.iter_text():
        note = store.add(NoteIn(text=text))
        await websocket.send_json(note.model_dump())
