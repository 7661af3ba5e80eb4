"""prod.yaml as it is served: a release job, then four workers over a real PostgreSQL and Redis.

What it sends elsewhere, such as to Sentry, arrives at servers of the tests' own.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from sqlalchemy import create_engine, inspect

from assembler.testing import RedisServer
from components.estate.models import Base
from tests.components.clients.serving import Service, serving
from tests.components.mcp.issuer import SECRET, token
from tests.components.sentry.test_sentry import accept, items
from tests.integration.production import OPERATIONS_TOKEN, ORIGINS, variables
from tests.servers import free_port

ROOT = Path(__file__).parents[2]
LISTING = {
    "title": "Flat by the sea",
    "description": "",
    "kind": "apartment",
    "purpose": "sale",
    "status": "active",
    "price": 250_000,
    "area_m2": 80,
    "city": "Lisbon",
    "locality": "Alfama",
    "amenities": [],
}
OPERATOR = {"authorization": f"Bearer {OPERATIONS_TOKEN}"}


def environment(database: str, redis: str, **more: str) -> dict[str, str]:
    given = variables(database, REDIS_URL=redis, ASSEMBLY="manifests/prod.yaml")
    return {**os.environ, **given, **more}


def apply(database: str) -> str:
    """What the release job says."""
    done = subprocess.run(
        [sys.executable, "-m", "assembler", "sql", "--apply"],
        cwd=ROOT,
        env=environment(database, "redis://redis.invalid"),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.1)


@pytest.fixture
def reports() -> Iterator[Service]:
    """A Sentry."""
    with serving(accept) as started:
        yield started


@pytest.fixture
def service(postgres: str, redis: str, reports: Service, tmp_path: Path) -> Iterator[httpx2.Client]:
    """A client of the whole service, which ends well."""
    apply(postgres)
    port = free_port()
    dsn = f"{reports.url.replace('http://', 'http://public@')}/1"
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "assembler", "serve"],
            cwd=ROOT,
            env=environment(
                postgres,
                redis,
                PORT=str(port),
                SENTRY_DSN=dsn,
                RELEASE="1.2.3",
                SUPABASE_JWT_SECRET=SECRET,
            ),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        until(lambda: log.read_text().count("started manifests") == 4, "four workers")
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
            yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) in {0, -signal.SIGTERM}, log.read_text()
        assert log.read_text().count("stopped manifests") == 4, log.read_text()
    finally:
        process.kill()
        process.wait(20)


@pytest.mark.timeout(180)
def test_it_serves_what_the_manifest_promises(
    service: httpx2.Client, redis_server: RedisServer, reports: Service, postgres: str
) -> None:
    admin = {"authorization": f"Bearer {token(app_metadata={'role': 'admin'})}"}
    for given, status in (({}, 401), ({"authorization": f"Bearer {token()}"}, 403)):
        refused = service.post("/api/v1/listings", json=LISTING, headers=given)
        assert refused.status_code == status
    created = service.post("/api/v1/listings", json=LISTING, headers=admin)
    assert created.status_code == 201
    draft = service.post("/api/v1/listings", json={**LISTING, "status": "draft"}, headers=admin)
    assert service.get(draft.headers["location"]).status_code == 404
    assert service.get(draft.headers["location"], headers=admin).status_code == 200
    assert service.get("/api/v1/listings").json()["total"] == 1
    assert service.get(created.headers["location"]).json()["city"] == "Lisbon"
    assert service.get("/api/v1/listings/0").status_code == 422

    headers = service.get("/api/v1/listings", headers={"origin": ORIGINS[1]}).headers
    assert headers["access-control-allow-origin"] == ORIGINS[1]
    assert headers["access-control-allow-credentials"] == "true"
    assert headers["strict-transport-security"].startswith("max-age=63072000")
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["x-request-id"]
    foreign = service.get("/api/v1/listings", headers={"origin": "https://evil.example"}).headers
    assert "access-control-allow-origin" not in foreign

    for path in ("/api/v1/docs", "/api/v1/redoc", "/api/v1/openapi.json", "/docs", "/openapi.json"):
        assert service.get(path).status_code == 404
    too_long = service.post("/api/v1/listings", content=b"x" * 1_048_577, headers=admin)
    assert too_long.status_code == 413

    assert service.get("/health/ready").json()["status"] == "ready"
    proxied = {"x-forwarded-for": "192.0.2.1"}
    assert service.get("/metrics", headers=proxied).status_code == 401
    assert "estate" not in service.get("/health/details", headers=proxied).text.lower()
    assert service.get("/metrics", headers=OPERATOR).text.count("http_requests") > 0
    off = dict.fromkeys(("push", "sms"), "off: no credentials")
    notes = service.get("/health/details", headers=OPERATOR).json()["notes"]
    assert {id_: notes[id_] for id_ in off} == off
    steps = service.get("/health/startup", headers=OPERATOR).json()["steps"]
    assert "schema" in {step["id"] for step in steps}

    with psycopg.connect(postgres) as connection:
        connection.execute("DROP TABLE listings CASCADE")
    failed = service.get("/api/v1/listings/1", headers={"origin": ORIGINS[0]})
    assert failed.status_code == 500
    assert "listings" not in failed.json()["error"]["message"]
    assert failed.headers["access-control-allow-origin"] == ORIGINS[0]
    until(lambda: bool(items(reports)), "a report")
    event = next(item for item in items(reports) if item["_type"] == "event")
    assert (event["environment"], event["release"]) == ("prod", "1.2.3")

    with ThreadPoolExecutor(8) as pool:  # within the minute also where much else runs
        counts = Counter(pool.map(lambda _: service.get("/nowhere").status_code, range(520)))
    assert 0 < counts[429] <= 520  # of all workers together: each alone would admit 500
    assert counts[404] < 500

    redis_server.freeze()
    try:
        until(lambda: state(service) == "degraded", "a degraded cache")
        assert service.get("/health/ready").status_code == 200
    finally:
        redis_server.thaw()
    until(lambda: state(service) == "ready", "the cache's return")


def state(service: httpx2.Client) -> Any:
    return service.get("/health/ready").json()["status"]


def test_the_release_job_makes_the_tables_of_the_models_once(postgres: str) -> None:
    assert apply(postgres) != apply(postgres)
    assert shape(postgres) == shape_of_models(postgres)


def shape_of_models(postgres: str) -> Any:
    """The same tables, made by SQLAlchemy in the same server."""
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    Base.metadata.create_all(engine)
    engine.dispose()
    return shape(postgres)


def shape(postgres: str) -> Any:
    engine = create_engine(postgres.replace("postgresql:", "postgresql+psycopg:"))
    found = inspect(engine)
    shapes = {
        table: {
            "columns": [
                {**column, "type": repr(column["type"])} for column in found.get_columns(table)
            ],
            "primary key": found.get_pk_constraint(table),
            "foreign keys": found.get_foreign_keys(table),
            "checks": sorted(found.get_check_constraints(table), key=str),
            "indexes": sorted(found.get_indexes(table), key=str),
        }
        for table in found.get_table_names()
        if not table.startswith("assembler_")
    }
    engine.dispose()
    return shapes
