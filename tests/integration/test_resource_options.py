"""The resources that ship, in a manifest: what is checked, and that they open and close twice."""

from pathlib import Path

import pytest
from starlette.responses import PlainTextResponse
from starlette.testclient import TestClient

import assembler
from assembler.diagnostics.errors import ManifestError
from tests.assembler.project import project
from tests.components.clients.serving import serving
from tests.servers import start_redis

LIST = '[tool.assembler]\nimports = ["components", "shop"]\n'
SHOP = """
from fastapi import APIRouter, Request

router = APIRouter()


@router.get("/")
async def read(request: Request) -> list[str]:
    state = request.state
    await state.cache.set("a", "cached")
    async with state.db.connect() as connection:
        row = (await connection.exec_driver_sql("SELECT 'queried'")).scalar()
    answer = await state.shop.get("/")
    return [row, await state.cache.get("a"), answer.text, await state.mail.run(str, "mailed")]
"""
MANIFEST = """
manifest: 1
resources:
  sentry: {use: components.sentry.init, with: {dsn: "${DSN:-}"}}
  db: {use: components.database.engine, with: {url: "sqlite:///${FOLDER}/shop.db"}}
  cache: {use: components.cache.redis_cache, with: {url: "${REDIS_URL}", timeout: 10s}}
  shop: {use: components.clients.http.client, with: {base_url: "${SHOP_URL}", retries: 0}}
  mail: {use: components.threads.pool, with: {workers: 2, drain_timeout: 1s}}
middleware:
  - use: components.middleware.rate_limit.RateLimitMiddleware
    with: {limit: 5/minute, store: "${resources.cache}"}
routes: [{use: shop.router}]
startup:
  - {use: components.dns.prewarm, with: {url: "${SHOP_URL}", client: "${resources.shop}"}}
shutdown:
  - {use: components.clients.close_all}
  - {id: early, use: components.clients.close_all, with: {clients: ["${resources.shop}"]}}
"""


def test_all_of_them_serve_one_lifespan_after_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"manifest.yaml": MANIFEST, "shop.py": SHOP, "pyproject.toml": LIST}
    with (
        start_redis() as redis,
        serving(PlainTextResponse("fetched")) as service,
        project(tmp_path, files),
    ):
        monkeypatch.setenv("FOLDER", str(tmp_path))
        monkeypatch.setenv("REDIS_URL", redis.url)
        monkeypatch.setenv("SHOP_URL", service.url)
        app = assembler.build(assembler.load("manifest.yaml"))
        for turn in range(2):
            with TestClient(app) as client:
                found = client.get("/")
                assert found.json() == ["queried", "cached", "fetched", "mailed"]
                # counted in Redis, so the second lifespan goes on
                assert f"r={4 - turn};" in found.headers["ratelimit"]
            steps = app.state.assembly.steps
            assert [s for s in steps if s.outcome != "ok"] == []


@pytest.mark.parametrize(
    ("entry", "code", "message"),
    [
        ("{use: components.clients.http.client, with: {retries: -1}}", "bad-value", "`retries`"),
        ("{use: components.clients.http.client, with: {timeout: 5}}", "bad-value", "`timeout`"),
        (
            "{use: components.clients.http.client, with: {baseurl: x}}",
            "unknown-option",
            "`baseurl`",
        ),
        ("{use: components.threads.pool, with: {workers: 0}}", "bad-value", "`workers`"),
        ("{use: components.threads.pool, with: {max_waiting: '9'}}", "bad-value", "`max_waiting`"),
        ("{use: components.sentry.init, with: {sample_rate: 2}}", "bad-value", "`sample_rate`"),
        ("{use: components.sentry.init, with: {request_bodies: all}}", "bad-value", "`request_bod"),
    ],
)
def test_what_cannot_be_is_refused_by_the_check(
    entry: str, code: str, message: str, tmp_path: Path
) -> None:
    files = {
        "manifest.yaml": f"manifest: 1\nresources:\n  it: {entry}\n",
        "pyproject.toml": LIST,
    }
    with project(tmp_path, files), pytest.raises(ManifestError) as caught:
        assembler.load("manifest.yaml")
    (fault,) = caught.value.diagnostics
    assert fault.code == code
    assert message in fault.message
