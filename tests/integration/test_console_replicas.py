"""A console over two workers and another replica: any process shows all, each carries orders out."""

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from assembler.runtime.operations.tables import upgrade
from assembler.runtime.scheduler.stores import store_of
from tests.servers import PostgresServer, free_port, wait_for_port

ROOT = Path(__file__).parents[2]
PARTS = "tests.integration.console_parts"
TOKEN = "operations-token-of-24-ch"
PATIENCE_SECONDS = 60
MANIFEST = f"""\
manifest: 1
app: {{title: Shop, version: "2.1"}}
resources:
  store: {{use: STORE, with: {{url: "${{STORE_URL}}"}}}}
middleware:
  - {{use: components.metrics.MetricsMiddleware, with: {{exempt: ["/_assembly", "/_assembly/*"]}}}}
routes:
  - {{use: {PARTS}.router, prefix: /api}}
  - {{id: console, use: components.console.router, prefix: /_assembly, with: {{token: "${{TOKEN}}", actions: true}}}}
scheduler:
  store: ${{resources.store}}
  jobs:
    - {{id: count, use: {PARTS}.count, cron: "0 4 1 1 *", with: {{file: "${{FILES}}/count"}}}}
server: {{port: PORT, workers: 2}}
"""
STORES = {
    "postgresql": "components.database.engine",
    "redis": "components.cache.redis_cache",
}


@contextlib.contextmanager
def starting(
    folder: Path, manifest: str, *words: str, **variables: str
) -> "Iterator[tuple[int, subprocess.Popen[bytes]]]":
    """A server of the manifest in a process of its own; gives its port."""
    port = free_port()
    path = folder / f"{port}.yaml"
    path.write_text(manifest.replace("PORT", str(port)), "utf-8")
    command = [word.replace("PORT", str(port)).replace("FILE", str(path)) for word in words]
    with (folder / f"{port}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **variables, "TOKEN": TOKEN, "ASSEMBLY": str(path)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield port, process
    finally:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait(10)


def until(look: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < end, f"still waiting for {what}"
        time.sleep(0.1)


@pytest.fixture(params=STORES)
def replicas(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[list[httpx2.Client], Path]]:
    """Clients of a server of two workers and of another one, over one store."""
    kind = request.param
    with contextlib.ExitStack() as stack:
        if kind == "redis":
            url = request.getfixturevalue("redis")
        else:
            server: PostgresServer = request.getfixturevalue("postgres_server")
            url = stack.enter_context(server.database())
        variables = {"STORE_URL": url, "FILES": str(tmp_path)}
        manifest = MANIFEST.replace("STORE,", f"{STORES[kind]},")
        serve = ("-m", "assembler", "serve", "FILE")
        bare = ("-m", "uvicorn", "assembler:app", "--port", "PORT", "--no-access-log")
        servers = [
            stack.enter_context(starting(tmp_path, manifest, *command, **variables))
            for command in (serve, bare)
        ]
        for port, process in servers:
            wait_for_port(port, process)
        bearer = {"authorization": f"Bearer {TOKEN}"}
        clients = [
            stack.enter_context(
                httpx2.Client(
                    base_url=f"http://127.0.0.1:{port}", headers=bearer, timeout=20, verify=False
                )
            )
            for port, _ in servers
        ]
        yield clients, tmp_path


def test_any_process_shows_all_and_each_carries_orders_out(
    replicas: tuple[list[httpx2.Client], Path],
) -> None:
    clients, folder = replicas

    def told(client: httpx2.Client, name: str) -> Any:
        def looked() -> Any:
            response = client.get(f"/_assembly/api/{name}")
            assert response.status_code in {200, 503}, response.text
            return response.status_code == 200 and response.json()

        return until(looked, "a store that answers within its bound")

    def seen(client: httpx2.Client) -> set[str]:
        return {each["instance"] for each in told(client, "overview")["instances"]}

    for client in clients:
        until(lambda client=client: len(seen(client)) == 3, "three processes")  # type: ignore[misc]  # a default
    for client in clients:
        for id_ in range(5):
            assert client.get(f"/api/things/{id_}").status_code == 200

    def order(client: httpx2.Client, **said: Any) -> str:
        response = until(
            lambda: (r := client.post("/_assembly/api/orders", json=said)).status_code == 202 and r,
            "a store that takes orders",
        )
        return str(response.json()["order"]["id"])

    def done(id_: str) -> dict[str, str]:
        (found,) = [o for o in told(clients[1], "orders")["orders"] if o["id"] == id_]
        return dict(found["done"])

    ran = order(clients[0], kind="run", target="count")
    until(lambda: len(done(ran)) == 3 and "begun" not in done(ran).values(), "a run by one")
    assert sorted(done(ran).values()) == ["elsewhere", "elsewhere", "ok"]
    assert (folder / "count").read_text("utf-8") == "run\n"
    level = order(clients[1], kind="level", target="assembler.job", value="DEBUG", minutes=5)
    until(lambda: list(done(level).values()) == ["carried out"] * 3, "a level everywhere")

    # an order lets each process tell at once what it has counted
    def requests(client: httpx2.Client) -> int:
        return int(told(client, "explain")["figures"]["total"]["requests"])

    for client in clients:
        until(lambda client=client: requests(client) == 10, "the figures of all")  # type: ignore[misc]  # as above
    drift = until(lambda: (d := told(clients[0], "overview")["drift"])["known"] and d, "drift")
    assert drift["groups"]
    order(clients[0], kind="pause", target="count")
    for client in clients:
        paused = until(lambda client=client: told(client, "jobs")["jobs"][0]["paused"], "a pause")  # type: ignore[misc]  # as above
        assert paused["by"] == "token"
    logs = "".join(path.read_text("utf-8") for path in folder.glob("*.log"))
    assert re.search(r"console: http://127\.0\.0\.1:\d+/_assembly\b", logs)
    assert TOKEN not in logs


def test_a_role_without_rights_is_told_what_to_run(
    postgres_server: PostgresServer, tmp_path: Path
) -> None:
    with postgres_server.database() as url:
        owner = create_async_engine(url.replace("postgresql:", "postgresql+asyncpg:"))

        async def go() -> None:
            store: Any = store_of(owner)
            await store.prepare()
            async with owner.begin() as connection:
                await connection.execute(text("REVOKE CREATE ON SCHEMA public FROM public"))
                await connection.execute(text("DROP ROLE IF EXISTS plain_role"))
                await connection.execute(text("CREATE ROLE plain_role LOGIN"))
                await connection.execute(
                    text(
                        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain_role"
                    )
                )
            plain = create_async_engine(owner.url.set(username="plain_role"))
            try:
                limited: Any = store_of(plain)
                state = await upgrade(limited, plain)
                assert state is not None
                assert not state.is_current
                assert "permission denied" in str(state.error)
                assert "CREATE INDEX CONCURRENTLY" in str(state.sql)
                await limited.prepare()
                assert await limited.last_runs(["job"]) == {}  # jobs go on
                assert await limited.open_orders("shop") == (0, [])
                for statement in str(state.sql).split(";"):  # what a person runs
                    if statement.strip():
                        async with owner.connect() as connection:
                            await connection.execution_options(isolation_level="AUTOCOMMIT")
                            await connection.execute(text(statement))
                async with owner.begin() as connection:
                    await connection.execute(
                        text(
                            "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO plain_role"
                        )
                    )
                state = await upgrade(limited, plain)
                assert state is not None
                assert state.is_current
            finally:
                await plain.dispose()
                async with owner.begin() as connection:
                    await connection.execute(text("DROP OWNED BY plain_role"))
                    await connection.execute(text("DROP ROLE plain_role"))
                await owner.dispose()

        asyncio.run(go())
