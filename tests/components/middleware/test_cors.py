"""CORSMiddleware answers as Starlette's does."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.middleware.cors import CORSMiddleware as StarletteCORSMiddleware

from components.middleware.cors import CORSMiddleware, sendable_origin
from tests.components.middleware.exchange import Answer, exchange, http_scope, responding

ORIGINS = ["https://a.example", "https://b.example", "*"]
OPTIONS = st.fixed_dictionaries(
    {
        "allow_origins": st.lists(st.sampled_from(ORIGINS), max_size=2),
        "allow_methods": st.lists(st.sampled_from(["GET", "POST", "*"]), max_size=2),
        "allow_headers": st.lists(st.sampled_from(["X-A", "*"]), max_size=2),
        "allow_credentials": st.booleans(),
        "allow_origin_regex": st.sampled_from([None, r"https://.*\.example"]),
        "expose_headers": st.lists(st.sampled_from(["X-E", "X-F"]), max_size=2),
    }
)
REQUEST = st.lists(
    st.sampled_from(
        [
            (b"origin", b"https://a.example"),
            (b"origin", b"https://evil.test"),
            (b"access-control-request-method", b"POST"),
            (b"access-control-request-headers", b"X-A"),
        ]
    ),
    max_size=4,
    unique_by=lambda field: field,  # two origins may come: the first counts
)
ANSWER = st.lists(
    st.sampled_from(
        [
            (b"vary", b"Accept-Encoding"),
            (b"vary", b"origin"),
            (b"access-control-allow-origin", b"https://own.example"),
            (b"x-own", b"1"),
        ]
    ),
    max_size=3,
    unique=True,
)


def said(answer: Answer) -> tuple[int, list[tuple[bytes, bytes]], set[str]]:
    """Status, headers without `Vary`, and its tokens, which Starlette may repeat."""
    vary = {token.strip().lower() for text in answer.all("vary") for token in text.split(",")}
    others = sorted(field for field in answer.headers if field[0] != b"vary")
    return answer.status, others, vary


@given(OPTIONS, REQUEST, ANSWER, st.sampled_from(["GET", "OPTIONS", "POST"]))
def test_says_what_starlettes_says(options: Any, request: Any, answer: Any, method: str) -> None:
    app = responding(headers=answer)
    scope = http_scope(method=method, headers=request)
    ours = exchange(CORSMiddleware(app, **options), dict(scope))
    theirs = exchange(StarletteCORSMiddleware(app, **options), dict(scope))
    assert said(ours) == said(theirs)
    assert len(ours.all("vary")) <= 1


def test_refuses_one_text_for_a_list() -> None:
    with pytest.raises(TypeError):
        CORSMiddleware(responding(), allow_origins="https://a.example")


def test_public_paths_may_be_read_from_every_origin_with_any_header() -> None:
    app = CORSMiddleware(
        responding(headers=[]),
        allow_origins=["https://a.example"],
        allow_credentials=True,
        public=["/.well-known/*"],
    )
    evil = (b"origin", b"https://evil.test")
    asked = [
        (b"access-control-request-method", b"GET"),
        (b"access-control-request-headers", b"x-a"),
    ]

    def ask(path: str, method: str, headers: Any) -> Answer:
        return exchange(app, http_scope(method=method, path=path, headers=[evil, *headers]))

    preflight = ask("/.well-known/any", "OPTIONS", asked)
    assert preflight.status == 200
    assert preflight.all("access-control-allow-origin") == ["*"]
    assert preflight.all("access-control-allow-headers") == ["x-a"]
    assert preflight.all("access-control-allow-credentials") == []
    answer = ask("/.well-known/any", "GET", [])
    assert answer.all("access-control-allow-origin") == ["*"]
    assert answer.all("access-control-allow-credentials") == []
    assert ask("/other", "OPTIONS", asked).status == 400
    assert ask("/other", "GET", []).all("access-control-allow-origin") == []


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "null",
        "https://a.example",
        "http://a.example:8080",
        "http://localhost:3000",
        "http://[::1]:3000",
        "https://xn--bcher-kva.example",
        "http://a.example:443",
        "chrome-extension://abcdef",
        "tauri://localhost",
        "capacitor://localhost",
    ],
)
def test_origins_that_browsers_send_are_taken(origin: str) -> None:
    assert sendable_origin(origin) == origin


@pytest.mark.parametrize(
    ("origin", "told"),
    [
        ("https://a.example/", "`https://a.example`"),
        ("https://a.example/app", "`https://a.example`"),
        ("https://A.example", "`https://a.example`"),
        ("HTTPS://a.example", "`https://a.example`"),
        ("https://a.example:443", "`https://a.example`"),
        ("http://a.example:80", "`http://a.example`"),
        ("https://user@a.example", "`https://a.example`"),
        ("https://a.example?x", "`https://a.example`"),
        ("https://b\u00fccher.example", "`https://xn--bcher-kva.example`"),
        ("https://b\u00fccher.example:8443", "`https://xn--bcher-kva.example:8443`"),
        ("a.example", "`https://a.example`"),
        ("localhost:3000", "`https://localhost:3000`"),
        ("https://*.example", "`allow_origin_regex`"),
        ("http://localhost:*", "`allow_origin_regex`"),
        ("https://", "`https://`"),
    ],
)
def test_origins_that_no_browser_sends_are_told(origin: str, told: str) -> None:
    with pytest.raises(ValueError, match="must ") as caught:
        sendable_origin(origin)
    assert told in str(caught.value)
