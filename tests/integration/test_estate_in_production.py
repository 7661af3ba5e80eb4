"""prod.yaml talks: PostgreSQL, Redis, two workers, and providers that the test plays."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.components.clients.test_fcm import key_file
from tests.components.estate.providers import ACCOUNT, Providers, providing
from tests.components.mcp.issuer import SECRET, token
from tests.integration.production import OPERATIONS_TOKEN, ORIGINS, variables
from tests.integration.test_estate_talks import LISTING
from tests.integration.test_production_manifest import apply, until
from tests.servers import free_port

ROOT = Path(__file__).parents[2]


def bearer(user: str, **claims: Any) -> dict[str, str]:
    text = token(SECRET, iss="https://project.example/auth/v1", sub=user, **claims)
    return {"authorization": f"Bearer {text}"}


ADMIN = bearer("root", app_metadata={"role": "admin"})
ANN = bearer("ann")


async def story(port: int, providers: Providers, process: subprocess.Popen[bytes]) -> None:
    base, ws = f"http://127.0.0.1:{port}", f"ws://127.0.0.1:{port}/api/v1/ws"
    async with (
        httpx2.AsyncClient(base_url=base, timeout=20) as client,
        websockets.connect(f"{ws}/listings", origin=ORIGINS[0]) as listings,  # type: ignore[arg-type]  # any text
        websockets.connect(f"{ws}/notifications", additional_headers=ANN) as own,
    ):
        with pytest.raises(InvalidStatus):
            await websockets.connect(f"{ws}/listings", origin="https://evil.example")  # type: ignore[arg-type]  # any text
        made = await client.post("/api/v1/listings", json=LISTING, headers=ADMIN)
        path = made.headers["location"]
        id_ = made.json()["id"]
        device = {"token": "a-device-of-ann", "platform": "android"}
        await client.post("/api/v1/me/devices", json=device, headers=ANN)
        settings = {"timezone": "UTC", "phone": "+919876543210"}
        await client.put("/api/v1/me/settings", json=settings, headers=ANN)
        always = {"push": True, "sms": "always", "digest": False}
        await client.put("/api/v1/me/preferences/price", json=always, headers=ANN)
        assert (await client.put(f"/api/v1/me/saved/{id_}", headers=ANN)).status_code == 204
        await client.patch(path, json={"price": 200_000}, headers=ADMIN)
        words = [json.loads(await asyncio.wait_for(listings.recv(), 20)) for _ in range(3)]
        assert [word["type"] for word in words] == ["ready", "message", "message"]
        assert [word["data"]["event"] for word in words[1:]] == ["listed", "changed"]
        words = [json.loads(await asyncio.wait_for(own.recv(), 20)) for _ in range(2)]
        assert words[1]["data"]["kind"] == "price"
        await asyncio.to_thread(until, lambda: bool(providers.pushes and providers.texts), "news")
        assert providers.pushes[0]["token"] == "a-device-of-ann"
        assert providers.texts[0]["To"] == "+919876543210"

        page = await client.get(f"/share/listings/{id_}")
        assert page.headers["cache-control"] == "public, max-age=300"
        assert "script-src" not in page.headers["content-security-policy"]
        picture = await client.get(f"/share/listings/{id_}/image.png")
        assert picture.headers["content-type"] == "image/png"
        operator = {"authorization": f"Bearer {OPERATIONS_TOKEN}"}
        details = (await client.get("/health/details", headers=operator)).json()
        assert details["status"] == "ready"
        assert not {"push", "sms"} & details["notes"].keys()

        process.send_signal(signal.SIGTERM)  # and the drain closes both
        for connection in (listings, own):
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(connection.recv(), 20)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1012


@pytest.mark.timeout(180)
def test_news_go_out_and_changes_are_told_in_production(
    postgres: str, redis: str, tmp_path: Path
) -> None:
    apply(postgres)
    port, log = free_port(), tmp_path / "log"
    with providing() as providers, log.open("wb") as output:
        environment = variables(
            postgres,
            REDIS_URL=redis,
            PORT=str(port),
            SUPABASE_JWT_SECRET=SECRET,
            PROVIDERS_URL=providers.url,
            FCM_CREDENTIALS=key_file(providers.url),
            TWILIO_ACCOUNT_SID=ACCOUNT,
            TWILIO_AUTH_TOKEN="secret-word",
            TWILIO_SENDER="+15005550006",
        )
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "assembler", "serve"),
                "tests/integration/prod-with-providers.yaml",
            ],
            cwd=ROOT,
            env={**os.environ, **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            until(lambda: log.read_text().count("started tests") == 2, "two workers")
            asyncio.run(asyncio.wait_for(story(port, providers, process), 120))
            assert process.wait(60) in {0, -signal.SIGTERM}
        finally:
            process.kill()
            process.wait(timeout=30)
    text = log.read_text()
    assert "secret-word" not in text
    assert "PRIVATE KEY" not in text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"FCM_PROJECT": "shop"}, "`project` is given, and no `credentials` are"),
        ({"FCM_CREDENTIALS": "{}"}, "no JSON key of a service account"),
        ({"TWILIO_ACCOUNT_SID": ACCOUNT}, "`sender` is empty"),
        ({"TWILIO_AUTH_TOKEN": "secret-word"}, "`account` is no account's SID"),
        ({"TWILIO_ACCOUNT_SID": ACCOUNT, "TWILIO_SENDER": "Shop"}, "`token` is empty"),
    ],
)
def test_half_given_credentials_fail_the_start(given: dict[str, str], words: str) -> None:
    """They fail where the client is made, or opened."""
    script = (
        "import asyncio, assembler\n"
        "from assembler.diagnostics.errors import ManifestError\n"
        "app = assembler.build(assembler.load('manifests/prod.yaml'))\n"
        "resources = app.state.assembly.resources\n"
        "asyncio.run(resources['push'].open())\n"
        "asyncio.run(resources['sms'].open())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **variables(), **given},
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode != 0
    assert words in done.stderr
    assert "secret-word" not in done.stderr
