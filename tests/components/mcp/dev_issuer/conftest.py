"""A served issuer, one for all tests of a process that want one."""

from collections.abc import Iterator

import pytest

from tests.servers import free_port, start_uvicorn


@pytest.fixture(scope="session")
def issuer_url() -> Iterator[str]:
    """The base URL of `dev_issuer.app`, under uvicorn."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    target = "tests.components.mcp.dev_issuer.app:app"
    with start_uvicorn(target, environment={"ISSUER_URL": url}, port=port):
        yield url
