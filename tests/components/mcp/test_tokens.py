"""Only tokens of which everything holds are taken; no hostile one does more than be refused."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.mcp.keys import KeySet
from components.mcp.tokens import InvalidToken, TokenVerifier
from tests.components.mcp.issuer import (
    ISSUER,
    SECRET,
    USER,
    Key,
    b64,
    claims,
    ec_key,
    rsa_key,
    start_key_server,
    token,
)

FOR_US = {"authenticated", "https://a.example/mcp"}


def key_set(url: str = "http://127.0.0.1:1/") -> KeySet:
    second = timedelta(seconds=1)
    return KeySet(url, ttl=600 * second, refresh_interval=10 * second, deadline=5 * second)


def by_secret(now: Callable[[], float] = time.time) -> TokenVerifier:
    leeway = timedelta(seconds=10)
    return TokenVerifier(ISSUER, secret=SECRET, keys=key_set(), leeway=leeway, now=now)


def taken(text: str, verifier: TokenVerifier | None = None) -> dict[str, Any]:
    return asyncio.run((verifier or by_secret()).claims(text, FOR_US))


def refused(text: str, verifier: TokenVerifier | None = None) -> str:
    with pytest.raises(InvalidToken) as caught:
        taken(text, verifier)
    return str(caught.value)


def by_keys(text: str, *keys: Key) -> str:
    """Verify by a key server; `taken`, or the reason why not."""
    with start_key_server(*keys) as server:
        verifier = TokenVerifier(
            ISSUER, secret=None, keys=key_set(server.url), leeway=timedelta(seconds=10)
        )
        try:
            taken(text, verifier)
        except InvalidToken as error:
            return str(error)
    return "taken"


def test_a_token_by_the_secret_is_taken() -> None:
    assert taken(token())["sub"] == USER


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["ES256", "RS256"])
def test_a_token_by_a_published_key_is_taken(key: Key) -> None:
    others = [other for other in (ec_key(), rsa_key(), ec_key("ec-2")) if other is not key]
    assert by_keys(token(key), key, *others) == "taken"


@pytest.mark.parametrize("audience", ["https://a.example/mcp", ["other", "authenticated"]])
def test_an_audience_may_be_one_of_many(audience: Any) -> None:
    assert taken(token(aud=audience))["aud"] == audience


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": 1}, "the token has expired"),
    "endless": ({"exp": None}, "the token has no end"),
    "end as text": ({"exp": "9999999999"}, "the token is not well formed"),
    "end as boolean": ({"exp": True}, "the token is not well formed"),
    "end is infinite": ({"exp": float("inf")}, "the token is not well formed"),
    "end is no number": ({"exp": float("nan")}, "the token is not well formed"),
    "end beyond floats": ({"exp": 10**400}, "the token is not well formed"),
    "not yet valid": ({"nbf": 9_999_999_999}, "the token is not valid yet"),
    "issued later": ({"iat": 9_999_999_999}, "the token is not valid yet"),
    "start as list": ({"nbf": [1]}, "the token is not well formed"),
    "other issuer": ({"iss": ISSUER + "/"}, "the token is from another issuer"),
    "issuers": ({"iss": [ISSUER]}, "the token is from another issuer"),
    "no issuer": ({"iss": None}, "the token is from another issuer"),
    "other audience": ({"aud": "anon"}, "the token is for another audience"),
    "other audiences": ({"aud": ["anon", "Authenticated"]}, "the token is for another audience"),
    "no audience": ({"aud": None}, "the token is for nobody"),
    "empty audiences": ({"aud": []}, "the token is for another audience"),
    "audience as mapping": ({"aud": {"authenticated": 1}}, "the token is for nobody"),
    "audiences of lists": ({"aud": [["authenticated"]]}, "the token is for nobody"),
    "no subject": ({"sub": None}, "the token speaks for nobody"),
    "empty subject": ({"sub": ""}, "the token speaks for nobody"),
    "subject is a number": ({"sub": 7}, "the token speaks for nobody"),
    "subject with a line break": ({"sub": "a\nb"}, "the token speaks for nobody"),
    "subject with a surrogate": ({"sub": "\ud800"}, "the token speaks for nobody"),
    "long subject": ({"sub": "x" * 256}, "the token speaks for nobody"),
}


@pytest.mark.parametrize(("changes", "reason"), WRONG.values(), ids=WRONG.keys())
def test_claims_that_do_not_hold_are_refused(changes: dict[str, Any], reason: str) -> None:
    said = {**claims(), **changes}
    body = json.dumps({name: value for name, value in said.items() if value is not None})
    assert refused(jwt.PyJWS().encode(body.encode(), SECRET, "HS256")) == reason


def test_the_leeway_holds_for_both_ends_of_a_token() -> None:
    said = claims(iat=1000, nbf=1000, exp=2000)
    text = jwt.encode(said, SECRET, "HS256")
    for moment, is_taken in [
        (989, False),
        (990, True),
        (1500, True),
        (2009.9, True),
        (2010, False),
    ]:
        verifier = by_secret(lambda now=moment: now)  # type: ignore[misc]  # bound at once
        if is_taken:
            assert taken(text, verifier) == said
        else:
            assert refused(text, verifier)


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", "HS512", "ES256", "RS256", None])
def test_algorithms_that_the_secret_does_not_sign_by_are_refused(algorithm: Any) -> None:
    header, body = b64({"alg": algorithm, "typ": "JWT"}), b64(claims())
    reason = "the token is signed by an algorithm that is not taken here"
    for signature in ("", token().rpartition(".")[2]):
        assert refused(f"{header}.{body}.{signature}") == reason


def test_a_token_without_alg_is_refused() -> None:
    assert refused(f"{b64({})}.{b64(claims())}.") == (
        "the token is signed by an algorithm that is not taken here"
    )


@pytest.mark.parametrize("key", [ec_key(), rsa_key()], ids=["ES256", "RS256"])
def test_a_public_key_does_not_pass_for_a_secret(key: Key) -> None:
    header, body = b64({"alg": "HS256", "kid": key.kid}), b64(claims())
    signing = f"{header}.{body}"
    for secret in (key.pem(), key.pem().strip(), json.dumps(key.jwk())):
        algorithm: Any = jwt.get_algorithm_by_name("HS256")
        signature = algorithm.sign(signing.encode(), secret.encode())
        forged = f"{signing}.{b64(signature)}"
        assert by_keys(forged, key) == "the token is signed by an algorithm that is not taken here"


def test_a_kid_selects_no_key_of_another_algorithm() -> None:
    curve, modulus = ec_key("same"), rsa_key("same")
    forged = token(modulus)
    assert by_keys(forged, curve) == "the token is signed by a key that its issuer does not publish"
    assert by_keys(forged, curve, modulus) == "taken"


@pytest.mark.parametrize(
    "kid",
    [
        "../../etc/passwd",
        "' OR 1=1 --",
        "http://evil.example/jwks",
        "\x00",
        "ec-1\n",
        "x" * 300,
        7,
        ["ec-1"],
        {"kid": "ec-1"},
        True,
    ],
)
def test_a_kid_is_nothing_but_a_name(kid: Any) -> None:
    header = b64({"alg": "ES256", "kid": kid, "typ": "JWT"})
    assert by_keys(f"{header}.{b64(claims())}.{b64(b'0' * 64)}", ec_key()) in {
        "the token is signed by a key that its issuer does not publish",
        "the token names no key",
        "the token is not well formed",
    }


def test_keys_that_a_token_brings_along_are_not_looked_at() -> None:
    mine, theirs = ec_key(), ec_key("theirs")
    with start_key_server(theirs) as evil:
        for more in ({"jwk": theirs.jwk()}, {"jku": evil.url}, {"x5u": evil.url}):
            forged = token(theirs, {"kid": "ec-1", **more})
            assert by_keys(forged, mine) == "the token is not signed by its issuer"
        assert evil.asked == 0


def test_a_token_without_a_kid_is_taken_where_there_is_one_key_to_choose() -> None:
    text = token(ec_key(), {"kid": None})
    assert by_keys(text, ec_key(), rsa_key()) == "taken"
    assert by_keys(text, ec_key(), ec_key("ec-2")) == (
        "the token is signed by a key that its issuer does not publish"
    )


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "logout+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": 5},
        {"crit": ["exp"], "exp": 1},
        {"crit": ["b64"], "b64": False},
    ],
)
def test_tokens_that_are_meant_for_something_else_are_refused(header: dict[str, Any]) -> None:
    text = f"{b64({'alg': 'HS256', **header})}.{b64(claims())}.{b64(b'0' * 32)}"
    assert refused(text) in {"the token is of another type", "the token is not well formed"}


@pytest.mark.parametrize("kind", ["JWT", "jwt", "at+jwt", "application/at+jwt"])
def test_tokens_may_say_that_they_are_for_access(kind: str) -> None:
    assert taken(token(headers={"typ": kind}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        "a" * 8192,
        "a" * 8193,
        token() + "x",
        token()[:-4],
        token() + "." + token(),
        token("another secret of more than thirty-two bytes"),
        f"{b64([])}.{b64({})}.",
        f"{b64('HS256')}.{b64({})}.",
        f"{b64(b'[' * 3000)}.{b64({})}.",
        f"{b64(b'9' * 5000)}.{b64({})}.",
        f"{b64(bytes([255, 254]))}.{b64({})}.",
    ],
)
def test_texts_that_are_no_token_of_ours_are_refused(text: str) -> None:
    assert refused(text)


def test_signed_texts_that_are_no_claims_are_refused() -> None:
    for body in (b"[]", b"7", b"null", b'"text"', b"", b"{", b"\xff", b"[" * 3000, b"9" * 5000):
        assert refused(jwt.PyJWS().encode(body, SECRET, "HS256"))


def test_a_published_key_that_is_weak_or_not_for_signatures_is_passed_over() -> None:
    weak = rsa_key("weak", 1024)
    reason = "the token is signed by a key that its issuer does not publish"
    with pytest.warns(jwt.InsecureKeyLengthWarning):
        text = token(weak)
    assert by_keys(text, weak) == reason
    key = ec_key()
    with start_key_server(key) as server:
        secret = {"kty": "oct", "k": b64(SECRET.encode()), "kid": "oct", "alg": "HS256"}
        for entry in (
            key.jwk(use="enc"),
            key.jwk(alg="ES384"),
            key.jwk(d="secret"),
            key.jwk(x="broken"),
            key.jwk(crv="P-384"),
            secret,
            "text",
            None,
        ):
            server.keys = [entry]  # type: ignore[list-item]  # whatever a server may publish
            verifier = TokenVerifier(
                ISSUER, secret=None, keys=key_set(server.url), leeway=timedelta(0)
            )
            assert refused(token(key), verifier) == reason


_VERIFIER = by_secret()
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)


@given(st.text(alphabet="abcABC019._-=+/~", max_size=80) | st.text(max_size=40))
def test_no_text_does_more_than_be_refused(text: str) -> None:
    refused(text, _VERIFIER)


@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "x5c"]), _ANY), _ANY)
def test_no_unsigned_header_does_more_than_be_refused(header: Any, body: Any) -> None:
    refused(f"{b64(header)}.{b64(body)}.{b64(b'0' * 32)}", _VERIFIER)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "sub", "exp", "nbf", "iat"]), _ANY))
def test_signed_claims_are_taken_or_refused(changes: dict[str, Any]) -> None:
    body = json.dumps({**claims(), **changes}).encode()
    text = jwt.PyJWS().encode(body, SECRET, "HS256")
    try:
        found = taken(text, _VERIFIER)
    except InvalidToken:
        return
    assert found["iss"] == ISSUER
    assert FOR_US & ({found["aud"]} if isinstance(found["aud"], str) else set(found["aud"]))
    assert found["exp"] > time.time() - 11
