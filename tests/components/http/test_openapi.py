"""What our layers, handlers and dependencies tell of themselves, where they reach and no further."""

import hashlib
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import SecretStr

from components import errors
from components.cache import memory_cache
from components.channels.tickets import HandshakeTokens, Tickets
from components.http.error_response import Fault, body_of
from components.http.openapi import COMPONENTS
from components.mcp.gate import BearerGate
from components.mcp.protected import Mount
from components.mcp.resource_server import ResourceServer
from components.middleware.api_key import APIKeyMiddleware
from components.middleware.body_limit import BodyLimitMiddleware
from components.middleware.cache_control import CacheControlMiddleware
from components.middleware.ip_allow_list import IPAllowListMiddleware
from components.middleware.rate_limit import RateLimitMiddleware
from components.middleware.request_id import RequestIDMiddleware
from components.middleware.request_timeout import RequestTimeoutMiddleware
from components.middleware.trailing_slash import StripTrailingSlashMiddleware
from components.middleware.webhook_signature import WebhookSignatureMiddleware
from components.rate_limit.endpoint import EndpointRateLimiter

KEYS = {"ci": hashlib.sha256(b"a key").hexdigest()}
URLS: dict[str, Any] = {
    "authorization_url": "https://issuer.example/authorize",
    "token_url": "https://issuer.example/token",
}


async def app(scope: object, receive: object, send: object) -> None: ...


def gate(*, secret: bool = True, **options: Any) -> BearerGate:
    if secret:
        options["secret"] = SecretStr("what-tests-sign-their-tokens-with")
    server = ResourceServer(
        base_url="https://api.example",
        issuer="https://issuer.example",
        mounts={
            "/items": Mount(public_methods=("GET",), roles=("admin",)),
            "/items/5": Mount(),
            "/me": Mount(enforced=()),
        },
        **options,
    )
    return BearerGate(app, resource_server=server)


PARTS: dict[str, Any] = {
    "gate": gate(),
    "gate by keys": gate(secret=False),
    "keys": APIKeyMiddleware(app, keys=KEYS, exempt=["/health/*", "/items/5"]),
    "bearer keys": APIKeyMiddleware(app, keys=KEYS, header="Authorization"),
    "webhook": WebhookSignatureMiddleware(app, secrets=["secret"], paths=["POST /hooks/*"]),
    "addresses": IPAllowListMiddleware(app, allow=["10.0.0.0/8"], paths=["/admin/*"]),
    "everywhere": IPAllowListMiddleware(app, allow=["10.0.0.0/8"]),
    "limit": RateLimitMiddleware(
        app,
        limit="500/minute",
        exempt=["/health/*"],
        routes=[{"match": "POST /items", "limit": "5/minute", "on_store_error": "deny"}],
    ),
    "silent limit": RateLimitMiddleware(app, limit=["10/second", "500/minute"], fields=False),
    "endpoint": EndpointRateLimiter("3/minute", on_store_error="deny"),
    "body": BodyLimitMiddleware(app, max_bytes=10, exempt=["/uploads/*"]),
    "timeout": RequestTimeoutMiddleware(app, timeout=timedelta(seconds=30), exempt=["/slow"]),
    "request id": RequestIDMiddleware(app),
    "trusted id": RequestIDMiddleware(app, header="X-Id", trust="*"),
    "cache": CacheControlMiddleware(
        app,
        rules=[{"match": "GET /items/*", "cache": "public, max-age=9"}],  # type: ignore[list-item]  # as a manifest has it
    ),
    "etag": CacheControlMiddleware(app, etag="weak"),
    "slash": StripTrailingSlashMiddleware(app, exempt=["/raw"]),
    "tickets": HandshakeTokens(app, tickets=Tickets(store=memory_cache()), paths=["/events/*"]),
}


@pytest.mark.parametrize(
    ("part", "request_line", "statuses"),
    [
        ("gate", "GET /items", "400 401"),  # a token that comes is judged
        ("gate", "GET /items/{id}", "400 401 403"),  # `/items/5` wants one, with scopes
        ("gate", "POST /items", "400 401 403"),
        ("gate", "POST /me", "400 401"),
        ("gate", "GET /other", None),
        ("gate by keys", "POST /me", "400 401 503"),
        ("keys", "GET /health/live", None),
        ("keys", "GET /items/{id}", "401"),  # one of them is exempt
        ("webhook", "POST /hooks/{name}", "403 413"),
        ("webhook", "GET /hooks/{name}", None),
        ("webhook", "POST /{name}", "403 413"),  # which may be `/hooks`
        ("addresses", "GET /admin/{path:path}", "403"),
        ("addresses", "GET /items", None),
        ("everywhere", "GET /items", "403"),
        ("limit", "GET /items", "429"),
        ("limit", "POST /items", "429 503"),
        ("limit", "GET /health/{name}", None),
        ("silent limit", "GET /items", "429"),
        ("endpoint", "GET /items", "429 503"),
        ("body", "POST /items", "413"),
        ("body", "GET /items", None),
        ("body", "PUT /uploads/{name}", None),
        ("timeout", "GET /items", "504"),
        ("timeout", "GET /slow", None),
        ("request id", "GET /items", ""),
        ("cache", "GET /items/{id}", ""),
        ("etag", "GET /items", "304"),
        ("etag", "POST /items", ""),
        ("slash", "GET /items", ""),
        ("slash", "GET /raw/{name}", None),
        ("slash", "GET /", None),
        ("tickets", "GET /events/{name}", ""),
        ("tickets", "GET /items", None),
    ],
)
def test_answers_of_a_route(part: str, request_line: str, statuses: str | None) -> None:
    method, _, path = request_line.partition(" ")
    offer = PARTS[part].openapi_operation(method, path)
    found = None if offer is None else " ".join(sorted(offer.get("responses", {})))
    assert found == statuses


@pytest.mark.parametrize(
    ("part", "request_line", "security"),
    [
        ("gate", "GET /items", [{}, {"bearer": []}]),
        ("gate", "GET /items/{id}", [{}, {"bearer": []}]),
        ("gate", "POST /items/{id}", [{"bearer": []}]),
        ("gate", "POST /{name}", [{}, {"bearer": []}]),  # it may be `/items`
        ("keys", "GET /items", [{"api_key": []}]),
        ("webhook", "POST /hooks/{name}", [{"webhook_signature": []}]),
        ("webhook", "POST /{name}", [{}, {"webhook_signature": []}]),
    ],
)
def test_security_of_a_route(part: str, request_line: str, security: object) -> None:
    method, _, path = request_line.partition(" ")
    assert PARTS[part].openapi_operation(method, path)["security"] == security


def test_clients_are_told_where_to_log_in() -> None:
    offer = gate(**URLS).openapi_operation("POST", "/items")
    assert offer is not None
    assert offer["security"] == [{"oauth2": ["mcp:read", "mcp:write"]}]
    flow = offer["components"]["securitySchemes"]["oauth2"]["flows"]["authorizationCode"]
    assert flow == {
        "authorizationUrl": URLS["authorization_url"],
        "tokenUrl": URLS["token_url"],
        "scopes": {"mcp:read": "", "mcp:write": ""},
    }
    with pytest.raises(ValueError, match="`authorization_url` and `token_url` belong together"):
        gate(token_url="https://issuer.example/token")


def test_a_key_in_authorization_is_a_bearer_token() -> None:
    offer = PARTS["bearer keys"].openapi_operation("GET", "/items")
    assert offer["components"]["securitySchemes"]["api_key"] == {"type": "http", "scheme": "bearer"}


def test_limits_are_told_in_numbers() -> None:
    told = {
        name: PARTS[name].openapi_operation("POST", "/items")["responses"][status]["x-limits"]
        for name, status in {"limit": "429", "body": "413", "timeout": "504"}.items()
    }
    assert told == {
        "limit": [
            {"quota": 500, "seconds": 60, "policy": "default", "by": "client_ip"},
            {"quota": 5, "seconds": 60, "policy": "POST /items", "by": "client_ip"},
        ],
        "body": [{"bytes": 10}],
        "timeout": [{"seconds": 30}],
    }


def test_headers_of_all_answers() -> None:
    limit = PARTS["limit"].openapi_operation("GET", "/items")
    assert limit["headers"]["default"].keys() == {"RateLimit", "RateLimit-Policy"}
    refused = limit["responses"]["429"]["headers"]
    assert refused.keys() == {"RateLimit", "RateLimit-Policy", "Retry-After"}
    assert "headers" not in PARTS["silent limit"].openapi_operation("GET", "/items")
    known = PARTS["request id"].openapi_operation("GET", "/items")
    assert known["headers"]["default"].keys() == {"X-Request-ID"}
    assert [each["name"] for each in known["parameters"]] == ["traceparent"]
    trusted = PARTS["trusted id"].openapi_operation("GET", "/items")
    assert [each["name"] for each in trusted["parameters"]] == ["X-Id", "traceparent"]
    cached = PARTS["cache"].openapi_operation("GET", "/items/{id}")["headers"]["2XX"]
    assert cached["Cache-Control"]["example"] == "public, max-age=9"
    private = PARTS["cache"].openapi_operation("POST", "/items")["headers"]["2XX"]
    assert private["Cache-Control"]["example"] == "private, no-store"
    conditional = PARTS["etag"].openapi_operation("GET", "/items")
    assert "ETag" in conditional["responses"]["304"]["headers"]
    assert [each["name"] for each in conditional["parameters"]] == ["If-None-Match"]
    assert PARTS["slash"].openapi_operation("GET", "/items") == {"x-also-at": ["/items/"]}
    ticket = PARTS["tickets"].openapi_operation("GET", "/events/{name}")["parameters"]
    assert [(each["name"], each["in"]) for each in ticket] == [("ticket", "query")]


HANDLERS: dict[str, Any] = {
    "http": errors.http_exception(),
    "api": errors.api_exception(body="error"),
    "forbidden": errors.forbidden(body="problem"),
    "unauthorized": errors.unauthorized(challenges={"/mcp": "Bearer"}),
    "invalid": errors.validation_error(),
    "value": errors.value_error(),
    "unexpected": errors.unexpected(),
    "database": errors.database_error(retry_after=timedelta(seconds=7)),
}


@pytest.mark.parametrize(
    ("handler", "statuses"),
    [
        ("http", "4XX"),
        ("api", "4XX"),
        ("forbidden", "403"),
        ("unauthorized", "401"),
        ("invalid", "422"),
        ("value", "422"),
        ("unexpected", "500"),
        ("database", "500 503"),
    ],
)
def test_answers_of_a_handler(handler: str, statuses: str) -> None:
    offer = HANDLERS[handler].openapi_operation("GET", "/items")
    assert " ".join(sorted(offer["responses"])) == statuses
    assert offer["bodies"]["default"]


def test_the_shape_that_was_chosen_is_the_one_that_is_told() -> None:
    def media(name: str) -> set[str]:
        return set(HANDLERS[name].openapi_operation("GET", "/")["bodies"]["default"])

    assert media("http") == {"application/json", "application/problem+json"}
    assert media("api") == {"application/json"}
    assert media("forbidden") == {"application/problem+json"}


@pytest.mark.parametrize("part", [*PARTS, *HANDLERS])
def test_every_example_is_of_its_schema(part: str) -> None:
    offer = {**PARTS, **HANDLERS}[part].openapi_operation("POST", "/items")
    if part == "webhook":
        offer = PARTS[part].openapi_operation("POST", "/hooks/one")
    for response in ((offer or {}).get("responses") or {}).values():
        for media in response.get("content", {}).values():
            for example in media.get("examples", {}).values():
                _validator(media["schema"]).validate(example["value"])


@pytest.mark.parametrize("problem", [False, True])
@pytest.mark.parametrize(
    "fault", [Fault(404), Fault(429, "rate_limited", "slower", {"retry_after": 1}), Fault(599)]
)
def test_bodies_are_of_their_schemas(fault: Fault, problem: bool) -> None:
    schema = {"$ref": f"#/components/schemas/{'Problem' if problem else 'Error'}"}
    _validator(schema).validate(json.loads(body_of(fault, problem=problem)[1]))


def _validator(schema: Mapping[str, Any]) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": dict(COMPONENTS)})
