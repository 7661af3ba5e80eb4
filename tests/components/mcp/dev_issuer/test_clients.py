"""The issuer under a real server, with a client that nobody here wrote, and by hand."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl

from tests.mcp_flow import CALLBACK, agree, log_in, pkce, register, request_of


class Storage:
    """What a host remembers."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Person:
    """Who sits before the host, and logs in."""

    def __init__(self, url: str, *, user: str = "u-ada") -> None:
        self._url = url
        self._user = user
        self._told: dict[str, str] = {}
        self.asked = 0

    async def open(self, url: str) -> None:
        self.asked += 1

        def visit() -> dict[str, str]:
            with httpx2.Client(base_url=self._url, timeout=60) as browser:
                return agree(browser, url, user=self._user)

        self._told = await anyio.to_thread.run_sync(visit)

    async def come_back(self) -> AuthorizationCodeResult:
        return AuthorizationCodeResult(**self._told)


def provider(
    url: str, storage: Storage, person: Person, path: str = "/mcp", **metadata: Any
) -> OAuthClientProvider:
    said = {"client_name": "SDK", "redirect_uris": [AnyUrl(CALLBACK)], **metadata}
    return OAuthClientProvider(
        url + path,
        OAuthClientMetadata(**said),
        storage,
        redirect_handler=person.open,
        callback_handler=person.come_back,
    )


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.parametrize("method", [None, "none", "client_secret_basic", "client_secret_post"])
async def test_the_official_sdk_logs_in_and_refreshes(issuer_url: str, method: str | None) -> None:
    storage, person = Storage(), Person(issuer_url)
    auth = provider(issuer_url, storage, person, token_endpoint_auth_method=method)
    async with httpx2.AsyncClient(auth=auth, timeout=60) as client:
        answer = await client.get(f"{issuer_url}/mcp")
    assert answer.json() == {
        "email": "ada@example.com",
        "scope": "mcp:read mcp:write",
        "aud": ["authenticated", f"{issuer_url}/mcp"],
    }
    assert storage.tokens is not None
    assert storage.client is not None
    assert str(storage.client.issuer) == issuer_url
    first = storage.tokens
    # a host that was started anew, with a token that is too old, asks nobody
    auth = provider(issuer_url, storage, person, token_endpoint_auth_method=method)
    await auth._initialize()
    auth.context.token_expiry_time = 1.0
    async with httpx2.AsyncClient(auth=auth, timeout=60) as client:
        answer = await client.get(f"{issuer_url}/mcp")
    assert answer.status_code == 200
    assert storage.tokens.refresh_token != first.refresh_token
    assert person.asked == 1


def test_of_many_that_show_one_code_one_succeeds(issuer_url: str) -> None:
    with httpx2.Client(base_url=issuer_url, timeout=60) as client:
        known, (verifier, challenge) = register(client), pkce()
        told = agree(client, "/authorize", request_of(known["client_id"], challenge), user="u-ada")
        form = {"grant_type": "authorization_code", "client_id": known["client_id"]}
        form |= {"code": told["code"], "code_verifier": verifier}
        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: client.post("/token", data=form), range(32)))
    assert sorted(answer.status_code for answer in answers) == [200] + [400] * 31


def test_a_login_by_hand_over_a_real_server(issuer_url: str) -> None:
    with httpx2.Client(base_url=issuer_url, timeout=60) as client:
        tokens = log_in(client, user="u-bob", resource=f"{issuer_url}/mcp")
        bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
        assert client.get("/mcp", headers=bearer).json()["email"] == "bob@example.com"
        assert client.get("/mcp").status_code == 401
