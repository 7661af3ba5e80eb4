"""What the factory has in closures, for the manifest to name."""

from fastapi import APIRouter

from app.main import create_app


def create_router(title: str) -> APIRouter:
    """Return the routes of the factory; what its lifespan does, the manifest says."""
    return APIRouter(routes=create_app(title).router.routes)
