"""APIKeyMiddleware."""

import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.middleware import api_key
from components.middleware.api_key import APIKeyMiddleware
from components.rate_limit.keys import subject_of
from tests.components.middleware.exchange import exchange, http_scope, responding, websocket_scope


def hashed(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


KEYS = {"ci": hashed("key of ci"), "partner": hashed("key of partner").upper()}


def scope_with(*keys: str | bytes, name: bytes = b"x-api-key", **more: Any) -> dict[str, Any]:
    fields = [(name, key if isinstance(key, bytes) else key.encode()) for key in keys]
    return http_scope(headers=fields, **more)


@pytest.mark.parametrize("name", KEYS)
def test_a_valid_key_names_its_holder(name: str) -> None:
    scope = scope_with(f"key of {name}")
    assert exchange(APIKeyMiddleware(responding(), keys=KEYS), scope).status == 200
    assert scope["state"]["user"] == name
    assert scope["user"].is_authenticated
    assert scope["user"].identity == scope["user"].display_name == name
    assert scope["auth"].scopes == ["authenticated"]
    assert subject_of("user")(scope) == f"user:{name}"


@pytest.mark.parametrize(
    "keys", [(), ("",), ("wrong",), ("key of ci", "key of ci"), (b"\xff\x00",)]
)
def test_anything_else_is_401(keys: Any) -> None:
    scope = scope_with(*keys)
    answer = exchange(APIKeyMiddleware(responding(), keys=KEYS), scope)
    assert (answer.status, answer.one("www-authenticate")) == (401, "APIKey")
    assert json.loads(answer.body)["error"]["code"] == "unauthorized"
    assert "user" not in scope["state"]


@given(st.binary(max_size=80))
def test_no_text_passes_for_a_key_nor_fails(key: bytes) -> None:
    assert exchange(APIKeyMiddleware(responding(), keys=KEYS), scope_with(key)).status == 401


def test_the_hash_itself_is_no_key() -> None:
    app = APIKeyMiddleware(responding(), keys=KEYS)
    assert exchange(app, scope_with(KEYS["ci"])).status == 401


def test_every_key_is_compared_whichever_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return hmac.compare_digest(one, other)

    class Counting:
        compare_digest = staticmethod(compare)

    monkeypatch.setattr(api_key, "hmac", Counting)
    for key in ("key of ci", "key of partner", "wrong"):
        compared.clear()
        exchange(APIKeyMiddleware(responding(), keys=KEYS), scope_with(key))
        assert len(compared) == 2


def test_a_bearer_key() -> None:
    app = APIKeyMiddleware(responding(), keys=KEYS, header="Authorization")
    for text in ("Bearer key of ci", "bearer  key of ci"):
        assert exchange(app, scope_with(text, name=b"authorization")).status == 200
    for text in ("key of ci", "Basic key of ci", "Bearer"):
        answer = exchange(app, scope_with(text, name=b"authorization"))
        assert (answer.status, answer.one("www-authenticate")) == (401, "Bearer")


def test_exempt_paths_need_no_key_and_name_nobody() -> None:
    app = APIKeyMiddleware(responding(), keys=KEYS, exempt=["/health/*", "/"])
    scope = http_scope("/health/live")
    assert exchange(app, scope).status == 200
    assert "user" not in scope["state"]
    assert exchange(app, http_scope("/api", root_path="/api")).status == 200
    for path in ("/health", "/healthy", "//health/live"):
        assert exchange(app, http_scope(path)).status == 401


def test_websockets_are_refused_before_they_are_accepted() -> None:
    app = APIKeyMiddleware(responding(), keys=KEYS)
    closed = exchange(app, websocket_scope()).messages
    assert [(item["type"], item["code"]) for item in closed] == [("websocket.close", 1008)]
    answer = exchange(app, websocket_scope(extensions={"websocket.http.response": {}}))
    assert answer.messages[0]["type"] == "websocket.http.response.start"
    assert answer.status == 401
    allowed = websocket_scope(headers=[(b"x-api-key", b"key of ci")])
    assert exchange(app, allowed).status == 200
    exchange(app, {"type": "lifespan"})


@pytest.mark.parametrize(
    "options",
    [
        {"keys": {}},
        {"keys": {"ci": "a plain key"}},
        {"keys": {"ci": "0" * 63}},
        {"keys": KEYS, "header": "X Key"},
        {"keys": KEYS, "body": "html"},
    ],
)
def test_refuses_what_is_no_hash_without_repeating_it(options: Any) -> None:
    with pytest.raises(ValueError) as refused:
        APIKeyMiddleware(responding(), **options)
    assert "a plain key" not in str(refused.value)
