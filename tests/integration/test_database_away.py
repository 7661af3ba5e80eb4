"""PostgreSQL that is late, refuses, or dies for a while under load."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx2
import psycopg
import pytest
from starlette.testclient import TestClient

import assembler
from tests.assembler.sample_app.world import Server, assembly_of, built, cycle, failing_start
from tests.assembler.sample_app.world import until as eventually
from tests.integration.load import load
from tests.integration.production import variables
from tests.integration.serving import Running, serving, until
from tests.servers import PostgresServer, start_postgres

MANIFEST = """
    resources: {{db: {{use: tests.integration.rows.engine, with: {{url: "URL"}}}}}}
    exception_handlers:
      - {{catch: sqlalchemy.exc.SQLAlchemyError, use: components.errors.database_error}}
      - {{catch: OSError, use: components.errors.database_error}}
    routes:
      - {{use: components.health.router, prefix: /health}}
      - {{use: tests.integration.rows.router}}
    server: {{port: {port}, workers: {workers}, {server}}}
"""
ONE = 'resources: {db: {use: tests.integration.rows.engine, with: {url: "URL"}, timeout: 20s}}'


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with start_postgres(port=True) as server:
        yield server


def connections(postgres: PostgresServer) -> int:
    with psycopg.connect(postgres.url) as admin:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_database_that_dies_under_load_makes_503_and_comes_back_without_a_restart(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    text = MANIFEST.replace("URL", postgres.url)
    with serving("uvicorn", tmp_path, "log_level: info", text) as server:
        with load(f"{server.url}/rows") as asked:
            until(lambda: asked.answers[200] >= 20, "answers")
            postgres.kill()
            until(lambda: server.status("/health/ready") == 503, "readiness to say no")
            until(lambda: asked.answers[503] >= 100, "refusals")
            assert server.status("/health/live") == 200
            reasons = httpx2.get(f"{server.url}/health/ready", timeout=30).json()
            assert reasons["status"] == "unavailable"
            assert "db" in reasons["reasons"]
            postgres.start()
            until(lambda: server.status("/health/ready") == 200, "readiness to say yes")
            before = asked.answers[200]
            until(lambda: asked.answers[200] >= before + 20, "answers")
        assert asked.answers.keys() == {200, 503}
        assert asked.without_retry_after == 0
        assert_no_connection_is_lost(server, postgres)


def assert_no_connection_is_lost(server: Running, postgres: PostgresServer) -> None:
    pool = httpx2.get(f"{server.url}/pool", timeout=30).json()
    assert pool["out"] == 0
    assert connections(postgres) <= pool["most"]


@pytest.mark.parametrize("way", ["port", "socket"])
def test_the_manifest_of_production_answers_503_while_its_database_is_away(
    postgres: PostgresServer, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    socket = f"postgresql://postgres@/postgres?host={postgres.folder}&port={postgres.port}"
    for name, value in variables(postgres.url if way == "port" else socket).items():
        monkeypatch.setenv(name, value)
    plan = assembler.load("manifests/prod.yaml", override={"scheduler.enabled": False})
    with TestClient(assembler.build(plan)) as client:
        assert client.get("/api/v1/listings").status_code == 200
        postgres.kill()
        try:
            for _ in range(7):  # more than the pool has connections
                answer = client.get("/api/v1/listings")
                assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        finally:
            postgres.start()
        assert client.get("/api/v1/listings").status_code == 200


def test_a_database_that_is_not_there_yet_is_awaited(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, ONE.replace("URL", postgres.url))

    async def main() -> None:
        server = Server(app)
        server.begin()
        await eventually(lambda: any("`db` is awaited: " in text for text in caplog.messages))
        assert assembly_of(app).state == "starting"
        await asyncio.to_thread(postgres.start)
        await eventually(lambda: assembly_of(app).ready)
        await server.stop()

    postgres.kill()
    asyncio.run(main())


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("postgresql://postgres@127.0.0.1:PORT/nowhere", "does not exist"),
        ("postgresql://nobody@127.0.0.1:PORT/postgres", "does not exist"),
        ("postgresql://postgres@nowhere.invalid:PORT/postgres", "gaierror"),
    ],
)
def test_what_waiting_does_not_mend_fails_at_once(
    postgres: PostgresServer, tmp_path: Path, url: str, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, ONE.replace("URL", url.replace("PORT", str(postgres.port))))
    assert told in asyncio.run(failing_start(app))
    assert not any("is awaited" in text for text in caplog.messages)


def test_a_full_server_is_awaited(
    postgres: PostgresServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = built(tmp_path, ONE.replace("URL", postgres.url.replace("postgres@", "guest@")))
    with psycopg.connect(postgres.url, autocommit=True) as admin:
        admin.execute("CREATE ROLE guest LOGIN CONNECTION LIMIT 0")

        async def main() -> None:
            server = Server(app)
            server.begin()
            await eventually(lambda: any("`db` is awaited: " in text for text in caplog.messages))
            admin.execute("ALTER ROLE guest CONNECTION LIMIT 10")
            await eventually(lambda: assembly_of(app).ready)
            await server.stop()

        asyncio.run(main())
        admin.execute("DROP ROLE guest")
    asyncio.run(cycle(built(tmp_path, ONE.replace("URL", postgres.url))))
