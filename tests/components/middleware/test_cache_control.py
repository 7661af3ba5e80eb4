"""CacheControlMiddleware and its entity tags."""

import hashlib
from typing import Any

import pytest
from starlette.authentication import SimpleUser
from starlette.types import ASGIApp, Receive, Scope, Send

from components.http.etag import is_known
from components.middleware.api_key import APIKeyMiddleware
from components.middleware.cache_control import CacheControlMiddleware, CacheRule
from components.middleware.ip_allow_list import IPAllowListMiddleware
from tests.components.middleware.exchange import Answer, exchange, http_scope, responding

RULES = [
    CacheRule(match="GET /public/news", cache="public, max-age=5"),
    CacheRule(match="GET /public/*", cache="public, max-age=60", cdn="max-age=600"),
    CacheRule(match="GET /users/*/photo", cache="public, max-age=9"),
    CacheRule(match="POST /search", cache="no-cache"),
]
PUBLIC = "/public/items/1"


def cached(
    path: str = PUBLIC,
    method: str = "GET",
    *,
    headers: Any = (),
    status: int = 200,
    body: Any = (b"hello",),
    request: Any = (),
    root_path: str = "",
    **options: Any,
) -> Answer:
    if len(body) == 1:
        headers = [*headers, (b"content-length", str(len(body[0])).encode())]
    app = CacheControlMiddleware(responding(status, headers, body), **({"rules": RULES} | options))
    return exchange(app, http_scope(path, method, headers=list(request), root_path=root_path))


@pytest.mark.parametrize(
    ("method", "path", "text"),
    [
        ("GET", "/public/items/1", "public, max-age=60"),
        ("HEAD", "/public/items/1", "public, max-age=60"),
        ("POST", "/public/items/1", None),
        ("GET", "/public/news", "public, max-age=5"),
        ("GET", "/public/newsletter", "public, max-age=60"),
        ("GET", "/publication", None),
        ("GET", "/public", None),
        ("GET", "/users/7/photo", "public, max-age=9"),
        ("GET", "/users/7/8/photo", None),
        ("GET", "/users/7/photo/x", None),
        ("POST", "/search", "no-cache"),
    ],
)
def test_the_first_rule_that_matches_wins(method: str, path: str, text: str | None) -> None:
    assert cached(path, method).one("cache-control") == text


def test_rules_are_judged_without_the_root_path() -> None:
    path = "/v2" + PUBLIC
    assert cached(path, root_path="/v2").one("cache-control") == "public, max-age=60"
    assert cached(path).one("cache-control") is None


def test_the_cdn_has_its_own_header() -> None:
    assert cached().one("cdn-cache-control") == "max-age=600"
    answer = cached(cdn_header="Surrogate-Control")
    assert answer.one("surrogate-control") == "max-age=600"
    assert answer.one("cdn-cache-control") is None


@pytest.mark.parametrize(
    ("request_headers", "private"),
    [
        ([(b"authorization", b"Bearer x")], True),
        ([(b"cookie", b"a=b; session=xyz")], True),
        ([(b"cookie", b"a=b"), (b"cookie", b"session=xyz")], True),
        ([(b"cookie", b"mysession=x; x=session=1")], False),
        ([(b"cookie", b"a=b")], False),
    ],
)
def test_what_belongs_to_a_user_is_private(request_headers: Any, private: bool) -> None:
    answer = cached(request=request_headers)
    assert (answer.one("cache-control") == "private, no-store") is private
    assert (answer.one("cdn-cache-control") is None) is private


def test_private_answers_need_no_rule_and_no_safe_method() -> None:
    answer = cached("/me", "POST", request=[(b"authorization", b"x")], rules=[])
    assert answer.one("cache-control") == "private, no-store"


def test_an_answer_that_sets_a_cookie_is_private() -> None:
    answer = cached(headers=[(b"Set-Cookie", b"a=b")])
    assert answer.one("cache-control") == "private, no-store"
    assert answer.one("cdn-cache-control") is None


def test_the_cookies_are_an_option() -> None:
    request = [(b"cookie", b"sid=1")]
    assert cached(request=request).one("cache-control") == "public, max-age=60"
    answer = cached(request=request, session_cookies=["sid"])
    assert answer.one("cache-control") == "private, no-store"


def test_the_routes_own_header_is_respected_whole() -> None:
    answer = cached(headers=[(b"Cache-Control", b"no-store")])
    assert answer.one("cache-control") == "no-store"
    assert answer.one("cdn-cache-control") is None
    own = cached(headers=[(b"cache-control", b"public")], request=[(b"authorization", b"x")])
    assert own.one("cache-control") == "public"


@pytest.mark.parametrize(
    ("status", "said"),
    [(200, True), (206, True), (304, True), (302, False), (404, False), (500, False)],
)
def test_only_successful_answers(status: int, said: bool) -> None:
    assert (cached(status=status).one("cache-control") is not None) is said
    request = [(b"authorization", b"x")]
    assert (cached(status=status, request=request).one("cache-control") is not None) is said


@pytest.mark.parametrize(
    ("present", "vary"),
    [
        ([], "Authorization, Cookie"),
        ([b"Accept-Encoding"], "Accept-Encoding, Authorization, Cookie"),
        ([b"cookie, Origin"], "cookie, Origin, Authorization"),
        ([b"authorization", b"COOKIE"], "authorization, COOKIE"),
        ([b"*"], "*"),
        ([b"X-Cookie"], "X-Cookie, Authorization, Cookie"),
    ],
)
def test_vary_is_added_not_replaced(present: list[bytes], vary: str) -> None:
    assert cached(headers=[(b"Vary", value) for value in present]).one("vary") == vary


def test_vary_is_an_option() -> None:
    assert cached(vary=["Accept-Language"]).one("vary") == "Accept-Language"
    assert cached(vary=[]).one("vary") is None
    assert cached(session_cookies=[]).one("vary") == "Authorization"


def test_no_etag_unless_asked_for() -> None:
    assert cached().one("etag") is None


@pytest.mark.parametrize(("strength", "prefix"), [("weak", 'W/"'), ("strong", '"')])
def test_an_etag_and_304_for_who_has_it(strength: str, prefix: str) -> None:
    headers = [(b"content-type", b"text/plain"), (b"Content-Length", b"5"), (b"x-own", b"1")]
    tag = cached(etag=strength, headers=headers).one("etag")
    assert tag is not None
    assert tag.startswith(prefix)
    known = [(b"if-none-match", b'"other", ' + tag.encode())]
    answer = cached(etag=strength, headers=headers, request=known)
    assert (answer.status, answer.body) == (304, b"")
    assert answer.one("etag") == tag
    assert answer.one("cache-control") == "public, max-age=60"
    assert answer.one("vary") == "Authorization, Cookie"
    assert answer.one("x-own") == "1"
    assert answer.one("content-length") is None
    assert answer.one("content-type") is None


def test_paths_without_a_rule_have_etags_too() -> None:
    assert cached("/other", etag="weak").one("etag") is not None


def test_the_routes_own_etag_is_used() -> None:
    own = [(b"ETag", b'"v1"')]
    assert cached(etag="weak", headers=own).one("etag") == '"v1"'
    assert cached(etag="weak", headers=own, request=[(b"if-none-match", b'W/"v1"')]).status == 304


@pytest.mark.parametrize(
    "case",
    [
        {"body": (b"a", b"b")},
        {"status": 404},
        {"status": 206},
        {"method": "POST"},
        {"request": [(b"authorization", b"x")]},
        {"headers": [(b"cache-control", b"no-store")]},
        {"body": (b"x" * 11,), "etag_max_bytes": 10},
        {"method": "HEAD", "body": (b"",)},
    ],
)
def test_what_gets_no_etag_passes_untouched(case: dict[str, Any]) -> None:
    answer = cached(**({"etag": "weak"} | case))
    assert answer.one("etag") is None
    assert answer.status == case.get("status", 200)
    assert answer.body == b"".join(case.get("body", (b"hello",)))


def test_head_has_the_etag_of_get() -> None:
    assert cached(etag="weak", method="HEAD").one("etag") == cached(etag="weak").one("etag")


def test_a_stream_is_not_held_back() -> None:
    order: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in ("one", "two"):
            order.append(part)
            await send({"type": "http.response.body", "body": part.encode(), "more_body": True})
        await send({"type": "http.response.body"})

    async def sent(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Any) -> None:
            order.append(message["type"])
            await send(message)

        await CacheControlMiddleware(app, etag="weak")(scope, receive, watched)

    exchange(sent, http_scope())
    start, body = "http.response.start", "http.response.body"
    assert order == [start, "one", body, "two", body, body]


def test_a_stream_whose_own_tag_the_client_knows_is_not_sent() -> None:
    own = [(b"etag", b'"v1"')]
    answer = cached(
        etag="weak", headers=own, body=(b"a", b"b"), request=[(b"if-none-match", b'"v1"')]
    )
    assert (answer.status, answer.body, answer.one("etag")) == (304, b"", '"v1"')
    assert cached(etag="weak", headers=own, body=(b"a", b"b")).body == b"ab"


def test_a_start_without_a_body_is_still_sent_and_one_before_an_error_is_not() -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["path"] == "/fail":
            raise LookupError

    sent: list[Any] = []

    async def outer(scope: Scope, receive: Receive, send: Send) -> None:
        async def watched(message: Any) -> None:
            sent.append(message)

        await CacheControlMiddleware(silent, etag="weak")(scope, receive, watched)

    exchange(outer, http_scope())
    assert [message["status"] for message in sent] == [200]
    with pytest.raises(LookupError):
        exchange(outer, http_scope("/fail"))
    assert len(sent) == 1


def test_a_message_that_the_app_sends_again_stays_as_it_was() -> None:
    start = {"type": "http.response.start", "status": 200, "headers": [(b"etag", b'"v"')]}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send(start)
        await send({"type": "http.response.body", "body": b"x"})

    wrapped = CacheControlMiddleware(app, etag="weak")
    known = http_scope(headers=[(b"if-none-match", b'"v"')])
    assert exchange(wrapped, known).status == 304
    assert exchange(wrapped, http_scope()).status == 200


@pytest.mark.parametrize(
    ("fields", "tag", "known"),
    [
        ([b'"a"'], b'"a"', True),
        ([b'W/"a"'], b'"a"', True),
        ([b'"a"'], b'W/"a"', True),
        ([b'"b", "a"'], b'"a"', True),
        ([b'"b"', b'"a"'], b'"a"', True),
        ([b'"b,\\"'], b'"b,\\"', True),
        ([b" * "], b'"a"', True),
        ([b'"*"'], b'"a"', False),
        ([b"a"], b'"a"', False),
        ([b'"aa"'], b'"a"', False),
        ([b'w/"b"'], b'"a"', False),
        ([], b'"a"', False),
    ],
)
def test_if_none_match_is_a_list_compared_weakly(
    fields: list[bytes], tag: bytes, known: bool
) -> None:
    assert is_known(fields, tag) is known


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"rules": [{"match": "GET public/*", "cache": "public"}]}, ValueError),
        ({"rules": [CacheRule(match="GET,HEAD /x", cache="public")]}, ValueError),
        ({"rules": [{"match": "/x", "cache": "a\nb"}]}, ValueError),
        ({"rules": [{"match": "/x", "cache": "public", "cnd": "x"}]}, ValueError),
        ({"private": ""}, ValueError),
        ({"cdn_header": "a b"}, ValueError),
        ({"vary": "Cookie"}, TypeError),
        ({"session_cookies": "session"}, TypeError),
        ({"etag": "soft"}, ValueError),
        ({"etag_max_bytes": -1}, ValueError),
    ],
)
def test_refuses_options_that_are_not_what_they_should_be(
    options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        CacheControlMiddleware(responding(), **options)


KEY = "a-key-of-many-random-characters"
TO_ALL = CacheRule(match="GET /*", cache="public, max-age=60")
HELD = {"holder": hashlib.sha256(KEY.encode()).hexdigest()}


@pytest.mark.parametrize("etag", [None, "weak"])
@pytest.mark.parametrize("is_inside", [False, True])
@pytest.mark.parametrize("guard", ["key", "address", "login"])
def test_what_a_guard_let_in_is_not_for_all(guard: str, is_inside: bool, etag: Any) -> None:
    def guarded(app: ASGIApp) -> ASGIApp:
        if guard == "key":
            return APIKeyMiddleware(app, keys=HELD, exempt=["/open"])
        if guard == "address":
            return IPAllowListMiddleware(app, allow=["198.51.100.7"], paths=["/held"])

        async def login(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["path"] == "/held":
                scope["user"] = SimpleUser("ann")
            await app(scope, receive, send)

        return login

    def ruled(app: ASGIApp) -> ASGIApp:
        return CacheControlMiddleware(app, rules=[TO_ALL], etag=etag)

    app = ruled(guarded(responding())) if is_inside else guarded(ruled(responding()))
    fields = [(b"x-api-key", KEY.encode())]
    for _ in range(2):  # what is kept of the first answer must not be the second one's
        assert exchange(app, http_scope("/open")).one("cache-control") == "public, max-age=60"
        held = exchange(app, http_scope("/held", headers=fields))
        assert (held.status, held.one("cache-control")) == (200, "private, no-store")


@pytest.mark.parametrize(
    ("path", "cache"),
    [
        ("/public/a", "public, max-age=60"),
        ("/public/../private/a", "private, max-age=5"),
        ("/public//../private/a", "private, max-age=5"),
        ("/private\n", "private, max-age=5"),
        ("/public/../other/a", None),
        ("//public/a", None),
    ],
)
@pytest.mark.parametrize("turn", [1, -1])
def test_a_public_rule_holds_for_every_reading_and_a_private_one_for_any(
    path: str, cache: str | None, turn: int
) -> None:
    rules = [
        CacheRule(match="GET /public/*", cache="public, max-age=60"),
        CacheRule(match="GET /private/*", cache="private, max-age=5"),
    ]
    app = CacheControlMiddleware(responding(), rules=rules[::turn])
    assert exchange(app, http_scope(path)).one("cache-control") == cache


def test_what_is_remembered_of_requests_is_bounded() -> None:
    app = CacheControlMiddleware(responding(), rules=[TO_ALL])
    for method, path in (("GET", "/x"), ("GET", "/" + "x" * 5000), ("M" * 5000, "/x")):
        exchange(app, http_scope(path, method))
    assert list(app._remembered) == [("GET", "/x")]


def test_an_error_is_never_public() -> None:
    for status in (304, 200, 400, 404, 500, 503):
        app = CacheControlMiddleware(responding(status), rules=[TO_ALL])
        found = exchange(app, http_scope("/x")).one("cache-control") or ""
        assert ("public" in found) == (status < 400)
