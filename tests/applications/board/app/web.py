"""The page and its files."""

from pathlib import Path

from fastapi import Request
from fastapi.responses import FileResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "static"

static_files = StaticFiles(directory=FOLDER)


async def robots() -> FileResponse:
    """Keep robots out."""
    return FileResponse(FOLDER / "robots.txt", media_type="text/plain")


async def page(rest: str) -> FileResponse:
    """Give the page to whatever its own router is to find."""
    if rest.startswith("api/"):
        raise HTTPException(404, f"no data at /{rest}")
    return FileResponse(FOLDER / "index.html")


async def http_error(request: Request, error: HTTPException) -> Response:
    """Answer with JSON to scripts, with a page to people."""
    if "text/html" in request.headers.get("Accept", ""):
        return Response(f"<h1>{error.status_code}</h1>", error.status_code, media_type="text/html")
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)
