"""Who may see what an application tells of itself: tokens, this machine, and what was refused."""

from typing import Any

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.testclient import TestClient

from components.health import router as health
from components.health.access import Access, is_local
from components.metrics import MetricsMiddleware
from components.metrics import router as metrics

LONG = "a-token-of-many-characters"
LOCAL, REMOTE = "127.0.0.1", "203.0.113.7"


def request(
    address: str | None = LOCAL, *fields: tuple[str, str], host: str | None = "localhost:8000"
) -> Request:
    headers = [*fields] if host is None else [("host", host), *fields]
    scope = {
        "type": "http",
        "client": None if address is None else (address, 4000),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
    }
    return Request(scope)


def bearer(token: str) -> tuple[str, str]:
    return ("authorization", f"Bearer {token}")


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.0.1", "::1", "::ffff:127.0.0.1"])
@pytest.mark.parametrize(
    "host",
    ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "web", "api.localhost:1", None],
)
def test_this_machine_is_local(address: str, host: str | None) -> None:
    assert is_local(request(address, host=host))


@pytest.mark.parametrize("address", [None, "", "unix", "10.0.0.1", "203.0.113.7", "::2", "::"])
def test_another_address_is_not_local(address: str | None) -> None:
    assert not is_local(request(address))


@pytest.mark.parametrize(
    "field",
    [
        *("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-forwarded-port"),
        *("x-forwarded-server", "x-forwarded-prefix", "x-forwarded-client-cert", "forwarded"),
        *("x-original-forwarded-for", "x-original-host", "x-original-url", "via", "x-real-ip"),
        *("cf-connecting-ip", "cf-ray", "cf-visitor", "cf-ipcountry", "cdn-loop"),
        *("true-client-ip", "x-client-ip", "x-cluster-client-ip", "fastly-client-ip"),
        *("fly-client-ip", "x-azure-clientip", "x-azure-ref", "x-envoy-external-address"),
        *("x-amzn-trace-id", "x-amz-cf-id", "x-cloud-trace-context", "x-remote-ip"),
        *("x-remote-addr", "x-originating-ip", "x-appengine-user-ip", "x-arr-log-id"),
        *("x-proxyuser-ip", "proxy-client-ip", "wl-proxy-client-ip", "do-connecting-ip"),
        *("x-vercel-id", "x-varnish", "x-host", "akamai-origin-hop"),
    ],
)
def test_what_a_proxy_passed_on_is_not_local(field: str) -> None:
    assert not is_local(request(LOCAL, (field, "1")))


@pytest.mark.parametrize(
    "host",
    [
        *("shop.example", "shop.example:8000", "203.0.113.7", "[2001:db8::1]", "2001:db8::1"),
        *("localhost.evil.example", "127.0.0.1.evil.example", "a@shop.example", "127.0.0.1@x.y"),
    ],
)
def test_a_name_of_the_outside_is_not_local(host: str) -> None:
    assert not is_local(request(LOCAL, host=host))


@pytest.mark.parametrize(
    "field",
    [
        *("accept", "user-agent", "connection", "x-request-id", "traceparent", "authorization"),
        *("proxy-connection", "sec-fetch-site", "origin", "cookie", "x-prometheus-scrape-timeout"),
    ],
)
def test_fields_that_programs_on_this_machine_send_are_no_sign_of_a_proxy(field: str) -> None:
    assert is_local(request(LOCAL, (field, "1")))


@pytest.mark.parametrize("token", ["s3cret", LONG])
@pytest.mark.parametrize("address", [LOCAL, REMOTE, None])
@pytest.mark.parametrize("public", [False, True])
def test_with_a_token_nothing_else_is_a_credential(
    token: str, address: str | None, public: bool
) -> None:
    access = Access(token, page="x", public=public)
    assert not access.sees(request(address))
    refusal = access.refusal(request(address))
    assert refusal is not None
    assert (refusal.status, refusal.headers) == (401, {"www-authenticate": "Bearer"})
    assert access.refusal(request(address, bearer(token))) is None
    assert access.sees(request(address, ("authorization", f"bearer   {token} ")))


@pytest.mark.parametrize(
    "fields",
    [
        [bearer("")],
        [bearer(LONG[:-1])],
        [bearer(LONG + "x")],
        [bearer("töken")],
        [("authorization", LONG)],
        [("authorization", f"Basic {LONG}")],
        [bearer(LONG), bearer("other")],
        [bearer("other"), bearer(LONG)],
    ],
)
def test_a_wrong_token_is_refused(fields: list[tuple[str, str]]) -> None:
    access = Access(LONG, page="x")
    assert not access.sees(request(LOCAL, *fields))
    refusal = access.refusal(request(LOCAL, *fields))
    assert refusal is not None
    assert refusal.status == 401


class Clock:
    now = 10**12

    def __call__(self) -> int:
        return self.now


def refused(
    access: Access, times: int, *fields: tuple[str, str], address: str = REMOTE
) -> list[int]:
    found = (access.refusal(request(address, *fields)) for _ in range(times))
    return [0 if refusal is None else refusal.status for refusal in found]


@pytest.mark.parametrize("fields", [[], [bearer("guess")]])
def test_more_than_thirty_refusals_a_minute_of_an_address_are_429(
    fields: list[tuple[str, str]],
) -> None:
    clock = Clock()
    access = Access(LONG, page="x", clock_ns=clock)
    assert refused(access, 32, *fields) == [401] * 30 + [429] * 2
    refusal = access.refusal(request(REMOTE))
    assert refusal is not None
    assert 0 < int(refusal.headers["retry-after"]) <= 63
    assert refused(access, 1, *fields, address="203.0.113.8") == [401]
    # who has a token that nobody guesses is not shut out by strangers of the same address
    assert refused(access, 1, bearer(LONG)) == [0]
    clock.now += 63 * 10**9
    assert refused(access, 1, *fields) == [401]


def test_a_short_token_is_not_looked_at_while_its_address_waits() -> None:
    clock = Clock()
    access = Access("s3cret", page="x", clock_ns=clock)
    for number in range(30):  # a page for everybody is no way around the limit
        assert not access.sees(request(REMOTE, bearer(f"guess{number}")))
    assert refused(access, 1, bearer("s3cret")) == [429]
    assert not access.sees(request(REMOTE, bearer("s3cret")))
    assert refused(access, 1, bearer("s3cret"), address=LOCAL) == [0]
    clock.now += 63 * 10**9
    assert refused(access, 1, bearer("s3cret")) == [0]


def test_addresses_of_one_ipv6_network_are_one() -> None:
    access = Access(LONG, page="x", clock_ns=Clock())
    for number in range(30):
        assert refused(access, 1, address=f"2001:db8::{number}") == [401]
    assert refused(access, 1, address="2001:db8::ffff") == [429]


def test_readiness_without_a_token_is_no_refusal() -> None:
    access = Access(LONG, page="x", clock_ns=Clock())
    assert not any(access.sees(request(REMOTE)) for _ in range(100))
    assert refused(access, 1) == [401]


def test_refusals_of_both_pages_are_counted_and_limited() -> None:
    app = FastAPI()
    app.include_router(health(token=LONG), prefix="/health")  # type: ignore[arg-type]  # a text does
    app.include_router(metrics(token=LONG, others=False))
    app.add_middleware(MetricsMiddleware, exempt=["/health/*", "/metrics"])
    client = TestClient(app, client=(REMOTE, 1))
    answers: list[Any] = [client.get("/health/details") for _ in range(31)]
    assert [answer.status_code for answer in answers] == [401] * 30 + [429]
    assert answers[-1].json() == {"status": "refused too often"}
    assert "retry-after" in answers[-1].headers
    assert client.get("/metrics").status_code == 401
    assert client.get("/health/ready").status_code == 200
    text = client.get("/metrics", headers=dict([bearer(LONG)])).text
    counts = {line for line in text.splitlines() if line.startswith("page_refusals_total")}
    assert counts == {
        'page_refusals_total{page="health",status="401"} 30.0',
        'page_refusals_total{page="health",status="429"} 1.0',
        'page_refusals_total{page="metrics",status="401"} 1.0',
    }
