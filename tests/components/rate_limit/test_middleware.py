import asyncio
import subprocess
import sys
from collections.abc import Awaitable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from components.middleware.rate_limit import RateLimitMiddleware, RouteLimit
from components.rate_limit.memory import MemoryStore
from components.rate_limit.store import Counter, Decision, Limit, OnStoreError, Store
from tests.components.rate_limit.play import Answer, ok, play


def statuses(app: ASGIApp, count: int, path: str = "/", **more: Any) -> list[int]:
    async def all_of_them() -> list[int]:
        return [(await play(app, path, **more)).status for _ in range(count)]

    return asyncio.run(all_of_them())


def answer(app: ASGIApp, path: str = "/", **more: Any) -> Answer:
    return asyncio.run(play(app, path, **more))


def test_a_client_over_its_limit_is_told_so() -> None:
    app = RateLimitMiddleware(ok, limit="2/minute")
    first, second, third = (answer(app) for _ in range(3))
    assert (first.status, second.status, third.status) == (200, 200, 429)
    assert first.headers["ratelimit-policy"] == '"default";q=2;w=60'
    assert first.headers["ratelimit"].startswith('"default";r=1;t=')
    assert first.headers["x-app"] == "yes"
    assert third.headers["ratelimit"].startswith('"default";r=0;t=')
    assert third.headers["ratelimit"].endswith(f";t={third.headers['retry-after']}")
    assert 58 <= int(third.headers["retry-after"]) <= 62
    assert third.headers["content-length"] == str(len(third.body))
    seconds = int(third.headers["retry-after"])
    assert third.json == {
        "error": {
            "code": "rate_limited",
            "message": f"too many requests, try again in {seconds} s",
            "details": {"policy": "default", "limit": "2/minute", "retry_after": seconds},
        }
    }


def test_a_refusal_can_be_a_problem_document() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute", body="problem", name='10 % "off" in %s s')
    statuses(app, 1)
    refused = answer(app)
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["ratelimit-policy"] == r'"10 % \"off\" in %s s";q=1;w=60'
    assert refused.json["type"].endswith("#quota-exceeded")
    assert refused.json["status"] == 429
    assert refused.json["violated-policies"] == ['10 % "off" in %s s']


def test_a_refusal_has_the_form_that_its_client_prefers() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute", body="accept", name="100%d")
    statuses(app, 1)
    problem = answer(app, headers={"accept": "application/problem+json"})
    plain = answer(app, headers={"accept": "*/*"})
    assert problem.headers["content-type"] == "application/problem+json"
    assert (problem.json["code"], problem.json["violated-policies"]) == ("rate_limited", ["100%d"])
    assert problem.json["retry_after"] == int(problem.headers["retry-after"])
    assert plain.json["error"]["details"]["policy"] == "100%d"
    assert problem.headers["vary"] == plain.headers["vary"] == "Accept"


def test_a_retry_after_is_never_too_short() -> None:
    clock = [10**15]
    app = RateLimitMiddleware(ok, limit="1/second", store=MemoryStore(clock_ns=lambda: clock[0]))
    statuses(app, 1)
    wait = int(answer(app).headers["retry-after"])
    clock[0] += wait * 1_000_000_000
    assert statuses(app, 1) == [200]


def test_every_entry_that_matches_adds_its_limit() -> None:
    app = RateLimitMiddleware(
        ok,
        limit="6/minute",
        routes=[
            {"match": "POST /api/*", "limit": "3/minute"},
            {"match": "POST /api/login", "limit": "1/minute"},
        ],
    )
    assert statuses(app, 2, "/api/login", method="POST") == [200, 429]
    assert statuses(app, 3, "/api/other", method="POST") == [200, 200, 429]
    assert statuses(app, 4, "/api/login") == [200, 200, 200, 429]  # 6 in all: refusals cost nothing


def test_the_fields_name_the_limit_that_is_nearest() -> None:
    app = RateLimitMiddleware(
        ok, limit="100/minute", routes=[{"match": "/a", "limit": ["5/second", "9/hour"]}]
    )
    fields = answer(app, "/a").headers
    assert fields["ratelimit-policy"] == (
        '"default";q=100;w=60, "/a 5/second";q=5;w=1, "/a 9/hour";q=9;w=3600'
    )
    assert fields["ratelimit"].startswith('"/a 5/second";r=4;t=')


@pytest.mark.parametrize("path", ["/login", "/login/", "/login//"])
def test_a_trailing_slash_escapes_no_limit(path: str) -> None:
    app = RateLimitMiddleware(
        ok, limit="9/minute", routes=[{"match": "POST /login", "limit": "1/minute"}]
    )
    assert statuses(app, 1, "/login", method="POST") == [200]
    assert statuses(app, 1, path, method="POST") == [429]


def test_a_get_limit_holds_for_head_and_a_segment_for_one_segment() -> None:
    app = RateLimitMiddleware(
        ok, limit="9/minute", routes=[{"match": "GET /users/*/avatar", "limit": "1/minute"}]
    )
    assert statuses(app, 1, "/users/7/avatar") == [200]
    assert statuses(app, 1, "/users/8/avatar", method="HEAD") == [429]
    assert statuses(app, 1, "/users/8/9/avatar") == [200]


def test_a_cost_takes_several_units() -> None:
    app = RateLimitMiddleware(ok, limit="10/minute", routes=[{"match": "/export", "cost": 4}])
    assert statuses(app, 3, "/export") == [200, 200, 429]
    assert statuses(app, 3) == [200, 200, 429]


def test_a_cost_that_another_entry_could_never_pay_takes_all_of_it() -> None:
    app = RateLimitMiddleware(
        ok,
        limit="10/minute",
        routes=[{"match": "/a/*", "cost": 8}, {"match": "/a/b", "limit": "2/minute"}],
    )
    assert statuses(app, 2, "/a/b") == [200, 429]


def test_what_is_exempt_is_not_counted_and_nothing_near_it_is_exempt() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute", exempt=["/health/*", "/mcp", "/mcp/*"])
    for path in ("/health/live", "/health/a/b", "/mcp", "/mcp/", "/mcp/x"):
        assert statuses(app, 3, path) == [200, 200, 200]
        assert "ratelimit" not in answer(app, path).headers
    assert statuses(app, 1, "/healthy") == [200]
    assert statuses(app, 1, "/health") == [429]
    assert statuses(app, 1, "/mcpx") == [429]


def test_a_root_path_changes_no_match() -> None:
    app = RateLimitMiddleware(
        ok, limit="9/minute", exempt=["/health"], routes=[{"match": "/login", "limit": "1/minute"}]
    )
    assert statuses(app, 2, "/v1/login", root_path="/v1") == [200, 429]
    assert statuses(app, 1, "/login") == [429]
    assert statuses(app, 20, "/v1/health", root_path="/v1") == [200] * 20


def test_a_preflight_is_not_counted_and_a_plain_options_is() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute")
    preflight = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    assert statuses(app, 5, method="OPTIONS", headers=preflight) == [200] * 5
    assert statuses(app, 2, method="OPTIONS") == [200, 429]


def test_a_refusal_inside_cors_can_be_read_by_scripts() -> None:
    limited = RateLimitMiddleware(ok, limit="1/minute")
    app = CORSMiddleware(limited, allow_origins=["https://a.example"])
    origin = {"Origin": "https://a.example"}
    assert answer(app, headers=origin).status == 200
    refused = answer(app, headers=origin)
    assert refused.status == 429
    assert refused.headers["access-control-allow-origin"] == "https://a.example"


def test_a_websocket_is_counted_and_refused_before_it_is_accepted() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute", routes=[{"match": "GET /ws"}])
    first = answer(app, "/ws", kind="websocket")
    assert [message["type"] for message in first.sent] == ["websocket.accept"]
    second = answer(app, "/ws", kind="websocket")
    assert second.sent == [{"type": "websocket.close", "code": 1013, "reason": "rate limit"}]
    third = answer(app, "/ws", kind="websocket", extensions={"websocket.http.response": {}})
    assert third.status == 429
    assert "retry-after" in third.headers
    assert third.json["error"]["code"] == "rate_limited"


def test_other_scopes_pass_untouched() -> None:
    seen: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    lifespan = {"type": "lifespan"}

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        pass

    asyncio.run(RateLimitMiddleware(app, limit="1/minute")(lifespan, receive, send))
    assert seen == [lifespan]


def test_fields_can_be_left_out_of_what_is_admitted() -> None:
    app = RateLimitMiddleware(ok, limit="1/minute", fields=False)
    assert "ratelimit" not in answer(app).headers
    assert "ratelimit" in answer(app).headers


def test_an_app_that_sends_one_message_object_again_collects_no_fields() -> None:
    start: Message = {"type": "http.response.start", "status": 200, "headers": []}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body"})

    limited = RateLimitMiddleware(app, limit="9/minute")
    statuses(limited, 3)
    assert start["headers"] == []


def test_each_middleware_counts_for_itself() -> None:
    app = RateLimitMiddleware(RateLimitMiddleware(ok, limit="3/minute"), limit="3/minute")
    assert statuses(app, 4) == [200, 200, 200, 429]


@given(st.text(max_size=30), st.sampled_from(["GET", "POST", "OPTIONS", "M-SEARCH"]))
@settings(max_examples=300, deadline=None)
def test_no_path_is_an_error(path: str, method: str) -> None:
    app = RateLimitMiddleware(
        ok, limit="9/minute", exempt=["/a/*"], routes=[{"match": "/*/b/*", "limit": "5/minute"}]
    )
    assert asyncio.run(_with_path(app, "/" + path, method)).status == 200


async def _with_path(app: ASGIApp, path: str, method: str) -> Answer:
    async def moved(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": path}, receive, send)

    return await play(moved, "/", method=method)


def test_what_is_remembered_of_paths_is_bounded() -> None:
    app = RateLimitMiddleware(ok, limit="100000/minute")
    statuses(app, 1, "/" + "x" * 5000)
    for number in range(5000):
        app._choose(("GET", f"/{number}"))
    app._choose(("M" * 5000, "/"))  # some servers take any word as a method
    assert len(app._remembered) <= 4096
    assert all(len(method) + len(path) <= 256 for method, path in app._remembered)


class Away:
    """A store that cannot be asked; the Redis store makes these decisions by itself."""

    def __init__(self) -> None:
        self.modes: list[str] = []

    def counter(self, limits: tuple[Limit, ...], *, on_error: OnStoreError) -> Counter:
        self.modes.append(on_error)
        return _Answers(Decision(on_error == "allow", None, 0, 0))


class _Answers:
    def __init__(self, decision: Decision) -> None:
        self.decision = decision

    def hit(self, subject: str, cost: int = 1, /) -> Awaitable[Decision]:
        async def later() -> Decision:
            await asyncio.sleep(0)
            return self.decision

        return later()


def test_of_several_modes_the_strictest_holds_and_deny_is_a_503() -> None:
    store = Away()
    app = RateLimitMiddleware(
        ok,
        limit="5/minute",
        store=store,
        on_store_error="allow",
        routes=[
            {"match": "/a/*", "on_store_error": "local"},
            {"match": "/a/b", "on_store_error": "deny"},
        ],
    )
    assert answer(app, "/").status == 200
    refused = answer(app, "/a/b")
    assert store.modes[-1] == "deny"
    assert refused.status == 503
    assert refused.headers["retry-after"] == "1"
    assert refused.json["error"]["code"] == "rate_limit_unavailable"
    problem = RateLimitMiddleware(
        ok, limit="5/minute", store=store, on_store_error="deny", body="problem"
    )
    assert answer(problem).json["type"].endswith("#temporary-reduced-capacity")


def test_a_store_is_what_has_a_counter() -> None:
    assert isinstance(MemoryStore(), Store)
    assert isinstance(Away(), Store)
    assert not isinstance(object(), Store)


@pytest.mark.parametrize(
    "options",
    [
        {"limit": "5"},
        {"limit": []},
        {"limit": "5/minute", "key": "ip"},
        {"limit": "5/minute", "exempt": ["health"]},
        {"limit": "5/minute", "exempt": ["/a*b"]},
        {"limit": "5/minute", "on_store_error": "ignore"},
        {"limit": "5/minute", "body": "text"},
        {"limit": "5/minute", "name": "caf\u00e9"},
        {"limit": "5/minute", "name": ""},
        {"limit": "5/minute", "routes": [{"limit": "1/minute"}]},
        {"limit": "5/minute", "routes": [{"match": "/a", "limt": "1/minute"}]},
        {"limit": "5/minute", "routes": [{"match": "get /a"}]},
        {"limit": "5/minute", "routes": [{"match": "/a", "cost": 0}]},
        {"limit": "5/minute", "routes": [{"match": "/a", "cost": 6}]},
    ],
)
def test_a_bad_option_shows_when_it_is_made(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="`"):
        RateLimitMiddleware(ok, **options)


def test_a_text_in_place_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="are lists"):
        RateLimitMiddleware(ok, limit="5/minute", exempt="/health")


def test_an_entry_of_routes_is_checked_by_its_hints() -> None:
    adapter = TypeAdapter(RouteLimit)
    adapter.validate_python({"match": "POST /a", "limit": "5/minute", "cost": 2}, strict=True)
    for bad in ({"match": "/a", "cost": "2"}, {"match": "/a", "limt": "x"}, {"limit": "5/minute"}):
        with pytest.raises(ValidationError):
            adapter.validate_python(bad, strict=True)


def test_without_a_redis_store_redis_is_not_imported() -> None:
    code = (
        "import sys, components.middleware.rate_limit, components.rate_limit.endpoint; "
        "sys.exit(any(name.partition('.')[0] in {'redis', 'fastapi'} for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=100).returncode == 0
