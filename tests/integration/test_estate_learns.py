"""Search by meaning and market data, as the shipped manifests serve them.

dev.yaml with nothing beside it, by a real server and the tools of MCP; prod.yaml on PostgreSQL with
pgvector and Redis, with a server that speaks OpenAI's API and a site that publishes figures.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from assembler.testing import Assembled
from tests.components.clients.serving import serving_app
from tests.components.crawl.site import Site, page
from tests.components.mcp.issuer import SECRET
from tests.components.vectors.provider import Provider
from tests.integration.production import variables
from tests.integration.test_production_manifest import apply, environment
from tests.mcp_flow import log_in
from tests.servers import free_port, start_uvicorn

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    """The shipped `dev.yaml`, served."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    given = {
        "ASSEMBLY": "manifests/dev.yaml",
        "PUBLIC_BASE_URL": url,
        "ESTATE_DATABASE_URL": f"sqlite:///{tmp_path_factory.mktemp('estate')}/estate.db",
    }
    with (
        start_uvicorn("assembler:app", environment=given, port=port),
        httpx2.Client(base_url=url, timeout=60) as client,
    ):
        yield client


@cache
def token_of(url: str, path: str, user: str) -> str:
    """What a person's login gives, which is not asked for too often."""
    with httpx2.Client(base_url=url, timeout=60) as browser:
        token: str = log_in(browser, user=user, resource=f"{url}{path}")["access_token"]
    return token


def call(client: httpx2.Client, path: str, user: str, name: str, **arguments: Any) -> Any:
    """The structured content of a tool's answer."""
    token = token_of(str(client.base_url).rstrip("/"), path, user)
    answer = client.post(
        path,
        json={
            "jsonrpc": "2.0",
            "id": 1,
            "method": "tools/call",
            "params": {"name": name, "arguments": arguments},
        },
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    assert answer.status_code == 200, answer.text
    result = answer.json()["result"]
    assert not result["isError"], result
    return result["structuredContent"]


def run_job(client: httpx2.Client, job: str) -> None:
    """Run a job of the service now; its own clock may have it at work at this moment."""
    for _ in range(20):
        ran = call(client, "/mcp-admin", "8d9a3f52-admin", "run_job", job=job)
        if ran["outcome"] == "ok":
            return
        time.sleep(1)
    raise AssertionError(ran)


def test_a_laptop_searches_by_meaning_and_has_market_data_of_its_own_site(
    dev: httpx2.Client,
) -> None:
    run_job(dev, "sync-vectors")
    found = dev.get("/api/v1/listings/search", params={"q": "apartmnt with balconys"}).json()
    assert found["ranked_by"] == "meaning and words"
    assert found["items"][0]["kind"] == "apartment"
    by_tool = call(dev, "/mcp", "41c7be06-buyer", "search_listings", q="apartmnt with balconys")
    assert by_tool["ranked_by"] == "meaning and words"
    assert by_tool["items"][0]["id"] == found["items"][0]["id"]
    run_job(dev, "collect-market-data")
    market = dev.get("/api/v1/market", params={"city": "lisbon"}).json()
    assert market["total"] == 2
    assert market["items"][0]["robots"] == "robots.txt"
    figures = call(dev, "/mcp", "41c7be06-buyer", "market_data", city="Lisbon")
    assert figures["items"] == market["items"]
    paths = dev.get("/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/listings/search", "/api/v1/market"} <= paths.keys()


def run_job_of_prod(database: str, redis: str, job: str, **more: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "run-job", "manifests/prod.yaml", job],
        cwd=ROOT,
        env=environment(database, redis, SUPABASE_JWT_SECRET=SECRET, **more),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


INSERT = """
    INSERT INTO listings (title, description, kind, purpose, status, price, currency, area_m2, city,
        locality, amenities, created_at, updated_at)
    VALUES (%s, '', 'house', 'sale', 'active', 1, 'INR', 1, 'Panaji', 'Miramar', '[]', now(), now())
"""


def test_production_searches_by_a_provider_and_pgvector_and_without_them_by_words(
    assembled: Assembled, monkeypatch: pytest.MonkeyPatch, postgres: str, redis: str
) -> None:
    apply(postgres)
    with psycopg.connect(postgres, autocommit=True) as connection:
        for title in ("A lighthouse on a cliff", "A barn among the fields"):
            connection.execute(INSERT, [title])
    provider = Provider()
    with serving_app(provider) as url:
        given = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": url, "EMBEDDING_MODEL": "small"}
        run_job_of_prod(postgres, redis, "sync-vectors", **given)
        assert len(provider.texts) == 2
        run_job_of_prod(postgres, redis, "sync-vectors", **given)
        assert len(provider.texts) == 2
        settings = variables(postgres, REDIS_URL=redis, SUPABASE_JWT_SECRET=SECRET, **given)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        quiet = {"logging": None, "scheduler.enabled": False}
        client = assembled("manifests/prod.yaml", quiet)
        asked = {"q": "lighthuose on clif"}
        found = client.get("/api/v1/listings/search", params=asked).json()
        assert found["ranked_by"] == "meaning and words"
        assert found["items"][0]["title"] == "A lighthouse on a cliff"
        assert client.get("/health/ready").json()["status"] == "ready"
        with psycopg.connect(postgres, autocommit=True) as connection:
            connection.execute("DROP EXTENSION vector CASCADE")
        words = {"q": "barn"}
        found = client.get("/api/v1/listings/search", params=words).json()
        assert (found["ranked_by"], found["total"]) == ("words", 1)
        again = assembled("manifests/prod.yaml", quiet)
        assert again.get("/health/ready").json()["status"] == "degraded"


def test_production_collects_a_source_that_a_variable_names(postgres: str, redis: str) -> None:
    apply(postgres)
    site = Site({"/a": page("Pune")})
    with serving_app(site) as url:
        refused = subprocess.run(
            [
                *(sys.executable, "-m", "assembler", "run-job", "manifests/prod.yaml"),
                "collect-market-data",
            ],
            cwd=ROOT,
            env=environment(postgres, redis, SUPABASE_JWT_SECRET=SECRET, MARKET_URL=f"{url}/a"),
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )
    assert refused.returncode != 0
    assert "not of the public internet" in refused.stdout + refused.stderr
    assert site.asked == []
    assert ": ok" in run_job_of_prod(postgres, redis, "collect-market-data")
