from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.authentication import BaseUser, SimpleUser, UnauthenticatedUser
from starlette.types import Scope

from components.rate_limit.keys import client_ip, subject_of


def scope(client: object = ("203.0.113.7", 1), **more: object) -> Scope:
    return {"type": "http", "client": client, "headers": [], **more}


def tenant(request: Scope) -> str | None:
    found: str | None = request.get("tenant")
    return found


class _Nameless(BaseUser):
    @property
    def is_authenticated(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("host", "subject"),
    [
        ("203.0.113.7", "ip:203.0.113.7"),
        ("::ffff:203.0.113.7", "ip:203.0.113.7"),
        ("::FFFF:cb00:7107", "ip:203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "ip:20010db800010002/64"),
        ("2001:db8:1:2::", "ip:20010db800010002/64"),
        ("fe80::1%eth0", "ip:fe80000000000000/64"),
    ],
)
def test_an_address_is_normal_and_ipv6_counts_by_its_64(host: str, subject: str) -> None:
    assert client_ip(scope((host, 1))) == subject


def test_clients_without_an_address_share_one_subject() -> None:
    assert client_ip(scope(None)) == client_ip(scope(("", 0))) == "ip:"


@given(st.text() | st.text(alphabet=st.sampled_from(":\0\ud800a1%")))
def test_no_host_is_an_error_or_a_long_subject(host: str) -> None:
    assert len(client_ip(scope((host, 1)))) <= 70


def test_a_forwarded_header_names_nobody() -> None:
    forged = [(b"x-forwarded-for", b"198.51.100.1"), (b"x-real-ip", b"198.51.100.1")]
    assert subject_of("client_ip")(scope(headers=forged)) == "ip:203.0.113.7"


def test_a_user_counts_as_itself_and_nobody_as_an_address() -> None:
    key = subject_of("user")
    identified = SimpleNamespace(is_authenticated=True, identity="u-1")
    assert key(scope(user=identified)) == "user:u-1"
    assert key(scope(state={"user": SimpleNamespace(id=42)})) == "user:42"
    assert key(scope(state={"user": "anna"})) == "user:anna"
    assert key(scope(user=UnauthenticatedUser())) == "ip:203.0.113.7"
    assert key(scope(user=SimpleUser("anna"))) == "user:anna"
    assert key(scope(user=_Nameless())) == "ip:203.0.113.7"
    assert key(scope()) == "ip:203.0.113.7"


def test_a_header_is_hashed_and_its_absence_counts_by_address() -> None:
    key = subject_of("header:X-API-Key")
    with_key = scope(headers=[(b"x-api-key", b"secret")])
    assert key(with_key).startswith("header:x-api-key:")
    assert "secret" not in key(with_key)
    assert key(with_key) != key(scope(headers=[(b"x-api-key", b"other")]))
    assert key(scope()) == "ip:203.0.113.7"


def test_a_function_is_taken_as_it_is() -> None:
    assert subject_of(tenant)(scope(tenant="t1")) == "own:t1"
    assert subject_of(tenant)(scope()) == "ip:203.0.113.7"


def test_a_long_subject_is_hashed() -> None:
    assert len(subject_of(tenant)(scope(tenant="x" * 10_000))) < 64


@pytest.mark.parametrize("key", ["ip", "header:", "header:\u00e9", "", "os.system"])
def test_an_unknown_kind_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match="`"):
        subject_of(key)
