"""Pages for people."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse

from app.catalogue import PRODUCTS

router = APIRouter(default_response_class=HTMLResponse, include_in_schema=False)
health = APIRouter(tags=["operations"])


@router.get("/")
async def home(request: Request) -> str:
    """Show what is for sale."""
    items = "".join(f"<li>{product.name}</li>" for product in PRODUCTS.values())
    return f"<h1>{request.app.title}</h1><ul>{items}</ul>"


@router.get("/broken")
async def broken() -> str:
    """Fail."""
    raise RuntimeError("no page")


@health.get("/health")
async def alive() -> dict[str, str]:
    """Say that all is well."""
    return {"status": "ok"}


async def page_missing(request: Request, error: HTTPException) -> HTMLResponse:
    """Answer 404 as a page."""
    return HTMLResponse(f"<h1>No page {request.url.path}</h1>", 404)


async def wrong_value(request: Request, error: ValueError) -> JSONResponse:
    """Answer 400."""
    return JSONResponse({"detail": str(error)}, 400)
