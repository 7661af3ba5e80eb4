"""The dev service in a process of its own, with a limit of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.servers import free_port, start_uvicorn


@contextmanager
def served(folder: Path, limit: str) -> Iterator[str]:
    """The dev service with a limit of its own; gives its URL."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        "LIMIT": limit,
        "PUBLIC_BASE_URL": url,
        "ESTATE_DATABASE_URL": f"sqlite+aiosqlite:///{folder / 'estate.db'}",
    }
    target = "tests.integration.documented_server:app"
    with start_uvicorn(target, environment=environment, port=port):
        yield url
