"""The issuer's endpoints: the flow as it should go, and each way in which it must not."""

import base64
from typing import Any

import jwt
import pytest
from starlette.testclient import TestClient

from tests.components.mcp.dev_issuer.world import BASE, Clock, issuer_client
from tests.mcp_flow import (
    CALLBACK,
    agree,
    log_in,
    origin,
    pkce,
    redirected,
    register,
    request_of,
    ticket_of,
)


def token(client: TestClient, **form: str) -> Any:
    return client.post("/token", data=form)


def refused(answer: Any, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, code), answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert set(answer.json()) == {"error", "error_description"}


def claims(client: TestClient, access_token: str, **options: Any) -> dict[str, Any]:
    keys = jwt.PyJWKSet.from_dict(client.get("/.well-known/jwks.json").json())
    key = keys[jwt.get_unverified_header(access_token)["kid"]]
    verified: dict[str, Any] = jwt.decode(
        access_token, key, algorithms=["ES256"], options={"verify_exp": False}, **options
    )
    return verified


def code_for(client: TestClient, **registration: Any) -> tuple[dict[str, str], dict[str, Any]]:
    """A token request that would succeed, and the client."""
    known = register(client, **registration)
    verifier, challenge = pkce()
    told = agree(client, "/authorize", request_of(known["client_id"], challenge), user="u-bob")
    form = {
        "grant_type": "authorization_code",
        "client_id": known["client_id"],
        "code": told["code"],
        "redirect_uri": CALLBACK,
        "code_verifier": verifier,
    }
    return form, known


def test_a_login_gives_a_token_in_the_shape_of_supabase() -> None:
    clock = Clock()
    client = issuer_client(clock)
    tokens = log_in(client, user="u-ada", scope="mcp:read openid", resource=f"{BASE}/mcp")
    assert tokens["token_type"] == "Bearer"
    assert tokens["expires_in"] == 900
    assert tokens["scope"] == "mcp:read"
    said = claims(client, tokens["access_token"], audience="authenticated", issuer=BASE)
    assert said["aud"] == ["authenticated", f"{BASE}/mcp"]
    assert said["exp"] - said["iat"] == 900
    assert said["iat"] == clock.now
    assert said["client_id"] == tokens["client_id"]
    assert {name: said[name] for name in ("sub", "email", "role", "scope")} == {
        "sub": "u-ada",
        "email": "ada@example.com",
        "role": "authenticated",
        "scope": "mcp:read",
    }
    assert said["app_metadata"] == {"role": "admin"}
    assert said["user_metadata"] == {"name": "Ada"}


def test_without_a_resource_the_audience_is_one_text() -> None:
    client = issuer_client()
    tokens = log_in(client, user="u-bob")
    said = claims(client, tokens["access_token"], audience="authenticated")
    assert said["aud"] == "authenticated"
    assert said["app_metadata"] == {}
    assert tokens["scope"] == "mcp:read mcp:write"


def test_metadata_says_what_is_there_and_the_issuer_byte_for_byte() -> None:
    client = issuer_client()
    metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == BASE
    assert metadata == client.get("/.well-known/openid-configuration").json()
    for name in ("token", "registration", "revocation"):
        path = metadata[f"{name}_endpoint"].removeprefix(BASE)
        assert client.get(path).status_code == 405
        assert client.post(path).status_code == 400
    assert client.get(metadata["authorization_endpoint"]).status_code == 400
    (key,) = client.get(metadata["jwks_uri"]).json()["keys"]
    assert set(key) == {"kty", "crv", "x", "y", "kid", "alg", "use"}


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/token",
        "/register",
        "/revoke",
    ],
)
def test_pages_of_any_origin_may_call(path: str) -> None:
    asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    answer = issuer_client().options(path, headers=asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in answer.headers


def test_pages_of_other_origins_may_not_read_the_consent_page() -> None:
    client = issuer_client()
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    assert "access-control-allow-origin" not in page.headers
    assert client.options("/authorize").status_code == 405


def test_the_redirect_tells_state_and_issuer() -> None:
    client = issuer_client()
    known = register(client)
    request = request_of(known["client_id"], pkce()[1], state="ä &=#\r\n")
    told = agree(client, "/authorize", request, user="u-ada")
    assert told.pop("code")
    assert told == {"state": "ä &=#\r\n", "iss": BASE}


def test_who_denies_is_told_to_the_client() -> None:
    client = issuer_client()
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    form = {"ticket": ticket_of(page.text), "user": "u-ada", "decision": "deny"}
    answer = client.post("/authorize/consent", data=form, follow_redirects=False)
    told = redirected(answer)
    assert (told["error"], told["iss"]) == ("access_denied", BASE)
    assert "code" not in told
    again = client.post("/authorize/consent", data=form, follow_redirects=False)
    assert again.status_code == 400


def test_a_query_of_the_redirect_uri_stays() -> None:
    client = issuer_client()
    uri = "https://host.example/cb?tenant=1"
    known = register(client, redirect_uris=[uri])
    page = client.get(
        "/authorize",
        params=request_of(known["client_id"], pkce()[1], redirect_uri=uri),
    )
    form = {"ticket": ticket_of(page.text), "user": "u-ada", "decision": "approve"}
    answer = client.post("/authorize/consent", data=form, follow_redirects=False)
    assert answer.headers["location"].startswith("https://host.example/cb?tenant=1&code=")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": ""}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "root"}, "invalid_scope"),
        ({"resource": "https://other.example/mcp"}, "invalid_target"),
        ({"resource": f"{BASE}.evil.example/mcp"}, "invalid_target"),
        ({"resource": f"{BASE}/mcp#part"}, "invalid_target"),
    ],
)
def test_a_bad_request_is_told_to_the_client(changes: dict[str, str], error: str) -> None:
    client = issuer_client()
    known = register(client)
    request = request_of(known["client_id"], pkce()[1], **changes)
    answer = client.get("/authorize", params=request, follow_redirects=False)
    assert answer.headers["location"].startswith(f"{CALLBACK}?error=")
    told = redirected(answer)
    assert (told["error"], told["iss"], told["state"]) == (error, BASE, "a state & more")


def test_a_parameter_that_stands_twice_is_refused() -> None:
    client = issuer_client()
    known = register(client)
    request: Any = [
        *request_of(known["client_id"], pkce()[1]).items(),
        ("scope", "a"),
        ("scope", "b"),
    ]
    answer = client.get("/authorize", params=request, follow_redirects=False)
    assert redirected(answer)["error"] == "invalid_request"
    request = [*request_of(known["client_id"], pkce()[1]).items(), ("state", "another")]
    told = redirected(client.get("/authorize", params=request, follow_redirects=False))
    assert (told["error"], "state" in told) == ("invalid_request", False)
    body = "grant_type=refresh_token&grant_type=refresh_token"
    headers = {"content-type": "application/x-www-form-urlencoded"}
    refused(client.post("/token", content=body, headers=headers), 400, "invalid_request")


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:9/callback/",
        "http://127.0.0.1:9/callback?x=1",
        "http://127.0.0.1:9/CALLBACK",
        "http://127.0.0.1:9/callback#x",
        "http://127.0.0.1:9@evil.example/callback",
        "http://127.0.0.1:9:9/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1.evil.example/callback",
        "http://localhost:9/callback",
        "https://127.0.0.1:9/callback",
        "http://127.0.0.1:9\\@evil.example/callback",
        "http://127.0.0.1:9/callback\r\nx: y",
        "//evil.example/callback",
        "javascript:alert(1)",
    ],
)
def test_nobody_is_sent_to_a_uri_that_was_not_registered(uri: str) -> None:
    client = issuer_client()
    known = register(client)
    request = request_of(known["client_id"], pkce()[1], redirect_uri=uri)
    answer = client.get("/authorize", params=request, follow_redirects=False)
    assert answer.status_code == 400
    assert "location" not in answer.headers
    assert "evil" not in answer.text
    twice: Any = [*request_of(known["client_id"], pkce()[1]).items(), ("redirect_uri", uri)]
    answer = client.get("/authorize", params=twice, follow_redirects=False)
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost"])
def test_a_native_client_may_come_back_to_any_port(host: str) -> None:
    client = issuer_client()
    known = register(client, redirect_uris=[f"http://{host}/callback"])
    request = request_of(
        known["client_id"], pkce()[1], redirect_uri=f"http://{host}:51234/callback"
    )
    page = client.get("/authorize", params=request)
    assert page.status_code == 200
    assert f"{host}:51234" in page.text


@pytest.mark.parametrize(
    "client_id", ["", "c_unknown", "<script>alert(1)</script>", "\x00", "é" * 300]
)
def test_an_unknown_client_gets_a_page(client_id: str) -> None:
    request = request_of(client_id, pkce()[1])
    answer = issuer_client().get("/authorize", params=request, follow_redirects=False)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "<script" not in answer.text


def test_a_code_works_once_and_its_reuse_ends_what_it_began() -> None:
    client = issuer_client()
    form, known = code_for(client)
    first = token(client, **form)
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-store"
    refused(token(client, **form), 400, "invalid_grant")
    again = {
        "grant_type": "refresh_token",
        "client_id": known["client_id"],
        "refresh_token": first.json()["refresh_token"],
    }
    refused(token(client, **again), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "ü" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_grant"),
        ({"code_verifier": ""}, "invalid_request"),
        ({"code": "guess"}, "invalid_grant"),
        ({"code": ""}, "invalid_request"),
        ({"redirect_uri": "http://127.0.0.1:8/callback"}, "invalid_grant"),
        ({"resource": "https://other.example/"}, "invalid_target"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
    ],
)
def test_a_code_needs_all_that_belongs_to_it(changes: dict[str, str], error: str) -> None:
    client = issuer_client()
    form, _ = code_for(client)
    refused(token(client, **(form | changes)), 400, error)


def test_a_code_is_of_one_client_and_of_one_minute() -> None:
    clock = Clock()
    client = issuer_client(clock)
    form, _ = code_for(client)
    other = register(client)["client_id"]
    refused(token(client, **(form | {"client_id": other})), 400, "invalid_grant")
    clock.now += 61
    refused(token(client, **form), 400, "invalid_grant")


def test_who_has_a_code_has_one_try() -> None:
    client = issuer_client()
    form, _ = code_for(client)
    refused(token(client, **(form | {"code_verifier": "x" * 43})), 400, "invalid_grant")
    refused(token(client, **form), 400, "invalid_grant")


def test_a_refresh_token_is_replaced_and_its_reuse_ends_the_family() -> None:
    clock = Clock()
    client = issuer_client(clock)
    tokens = log_in(client, user="u-ada", resource=f"{BASE}/mcp")
    form = {"grant_type": "refresh_token", "client_id": tokens["client_id"]}
    old = {**form, "refresh_token": tokens["refresh_token"]}
    clock.now += 1000
    answer = token(client, **old, scope="mcp:read")
    assert answer.status_code == 200
    said = claims(client, answer.json()["access_token"], audience=f"{BASE}/mcp")
    assert said["scope"] == "mcp:read"
    assert said["sub"] == "u-ada"
    new = {**form, "refresh_token": answer.json()["refresh_token"]}
    assert new != old
    # narrowed once, the family still has all that was granted
    answer = token(client, **new)
    assert answer.json()["scope"] == "mcp:read mcp:write"
    newest = {**form, "refresh_token": answer.json()["refresh_token"]}
    refused(token(client, **old), 400, "invalid_grant")
    refused(token(client, **newest), 400, "invalid_grant")


def test_a_refresh_token_is_of_one_client_and_ends() -> None:
    clock = Clock()
    client = issuer_client(clock)
    tokens = log_in(client, user="u-ada")
    form = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    other = register(client)["client_id"]
    refused(token(client, **form, client_id=other), 400, "invalid_grant")
    own = {**form, "client_id": tokens["client_id"]}
    refused(token(client, **own, scope="root"), 400, "invalid_scope")
    refused(token(client, **own, resource=f"{BASE}/mcp-admin#x"), 400, "invalid_target")
    clock.now += 8 * 24 * 3600
    refused(token(client, **own), 400, "invalid_grant")


def test_a_client_that_did_not_ask_for_refresh_tokens_gets_none() -> None:
    client = issuer_client()
    form, _ = code_for(client, grant_types=["authorization_code"])
    assert "refresh_token" not in token(client, **form).json()


@pytest.mark.parametrize("kind", ["refresh_token", "access_token"])
def test_a_revoked_login_cannot_be_refreshed(kind: str) -> None:
    client = issuer_client()
    tokens = log_in(client, user="u-ada")
    form = {"token": tokens[kind], "client_id": tokens["client_id"]}
    other = register(client)["client_id"]
    assert client.post("/revoke", data={**form, "client_id": other}).status_code == 200
    again = {
        "grant_type": "refresh_token",
        "client_id": tokens["client_id"],
        "refresh_token": tokens["refresh_token"],
    }
    fresh = token(client, **again)
    assert fresh.status_code == 200
    if kind == "refresh_token":
        form["token"] = fresh.json()["refresh_token"]
    assert client.post("/revoke", data=form).status_code == 200
    again["refresh_token"] = fresh.json()["refresh_token"]
    refused(token(client, **again), 400, "invalid_grant")
    unknown = {"token": "nothing", "client_id": tokens["client_id"]}
    assert client.post("/revoke", data=unknown).status_code == 200


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_client_with_a_secret_must_show_it_in_its_own_way() -> None:
    client = issuer_client()
    for method in ("client_secret_basic", "client_secret_post"):
        form, known = code_for(client, token_endpoint_auth_method=method)
        name, secret = known["client_id"], known["client_secret"]
        refused(token(client, **form), 401, "invalid_client")
        refused(token(client, **form, client_secret="wrong"), 401, "invalid_client")
        wrong = client.post("/token", data=form, headers=basic(name, "wrong"))
        refused(wrong, 401, "invalid_client")
        assert wrong.headers["www-authenticate"] == 'Basic realm="dev_issuer"'
        nobody = client.post("/token", data={**form, "client_id": ""}, headers=basic("c_x", "y"))
        refused(nobody, 401, "invalid_client")
        assert nobody.headers["www-authenticate"] == 'Basic realm="dev_issuer"'
        both = client.post(
            "/token", data={**form, "client_secret": secret}, headers=basic(name, secret)
        )
        refused(both, 400, "invalid_request")
        if method == "client_secret_basic":
            answer = client.post("/token", data=form, headers=basic(name, secret))
        else:
            answer = token(client, **form, client_secret=secret)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    "value", ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer x", "Basic /w=="]
)
def test_an_unreadable_authorization_header_is_401(value: str) -> None:
    client = issuer_client()
    form, _ = code_for(client)
    answer = client.post("/token", data=form, headers={"Authorization": value})
    refused(answer, 401, "invalid_client")


@pytest.mark.parametrize(
    ("content", "media", "status"),
    [
        (b'{"grant_type":"refresh_token"}', "application/json", 400),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"grant_type=%ff%fe", "application/x-www-form-urlencoded", 400),
        (b"\xff\xfe", "application/x-www-form-urlencoded; charset=utf-16", 400),
        (b"a=1&" * 60, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 100_000, "application/x-www-form-urlencoded", 413),
    ],
)
def test_a_body_that_is_no_form_is_refused(content: bytes, media: str, status: int) -> None:
    answer = issuer_client().post("/token", content=content, headers={"content-type": media})
    refused(answer, status, "invalid_request")


def test_no_parameter_is_taken_from_the_url_of_the_token_endpoint() -> None:
    client = issuer_client()
    form, _ = code_for(client)
    refused(client.post("/token?code=x", data=form), 400, "invalid_request")


@pytest.mark.parametrize(
    ("metadata", "error"),
    [
        ({"redirect_uris": []}, "invalid_redirect_uri"),
        ({"redirect_uris": None}, "invalid_redirect_uri"),
        ({"redirect_uris": "https://a.example/"}, "invalid_redirect_uri"),
        ({"redirect_uris": [f"https://a.example/{n}" for n in range(21)]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example/" + "x" * 2000]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["http://a.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://a.example/#x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://u:p@a.example/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https://[::1/"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["https:///path"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["JavaScript:alert(1)"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["data:text/html,x"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["app:"]}, "invalid_redirect_uri"),
        ({"redirect_uris": ["/path"]}, "invalid_redirect_uri"),
        ({"redirect_uris": [7]}, "invalid_redirect_uri"),
        ({"client_name": "x" * 1001}, "invalid_client_metadata"),
        ({"client_name": 7}, "invalid_client_metadata"),
        ({"grant_types": ["client_credentials"]}, "invalid_client_metadata"),
        ({"response_types": ["token"]}, "invalid_client_metadata"),
    ],
)
def test_a_bad_registration_is_refused(metadata: dict[str, Any], error: str) -> None:
    said = {"redirect_uris": [CALLBACK], **metadata}
    refused(issuer_client().post("/register", json=said), 400, error)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{", b"[" * 10_000, b'"\xff"', b"1" * 9999]
)
def test_a_registration_is_a_json_object(content: bytes) -> None:
    answer = issuer_client().post("/register", content=content)
    refused(answer, 400, "invalid_client_metadata")


def test_a_huge_registration_is_refused() -> None:
    said = {"redirect_uris": [CALLBACK], "logo_uri": "x" * 20_000}
    refused(issuer_client().post("/register", json=said), 413, "invalid_request")


def test_a_registration_says_what_was_replaced() -> None:
    client = issuer_client()
    known = register(
        client,
        token_endpoint_auth_method="private_key_jwt",
        grant_types=["authorization_code", "client_credentials"],
        redirect_uris=["cursor://host/callback", "com.example.app:/callback"],
    )
    assert known["token_endpoint_auth_method"] == "none"
    assert known["grant_types"] == ["authorization_code"]
    assert "client_secret" not in known
    answer = client.post("/register", json={"redirect_uris": [CALLBACK], "scope": ""}).json()
    assert answer["token_endpoint_auth_method"] == "client_secret_basic"
    assert answer["client_secret_expires_at"] == 0


def test_registrations_are_bounded_in_rate_and_number() -> None:
    clock = Clock()
    client = issuer_client(clock)
    first = register(client)["client_id"]
    for _ in range(59):
        register(client)
    answer = client.post("/register", json={"redirect_uris": [CALLBACK]})
    refused(answer, 429, "temporarily_unavailable")
    assert int(answer.headers["retry-after"]) > 0
    for _ in range(17):
        clock.now += 100
        for _ in range(60):
            register(client)
    page = client.get("/authorize", params=request_of(first, pkce()[1]))
    assert page.status_code == 400


def test_a_name_cannot_be_more_than_text() -> None:
    client = issuer_client()
    name = '"><script>alert(1)</script>\u202e' + "\x00<img src=x onerror=alert(1)>" + "n" * 300
    known = register(client, client_name=name)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1])).text
    assert "<script" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "n" * 101 not in page


def test_a_form_counts_only_from_the_browser_and_the_origin_that_were_asked() -> None:
    client = issuer_client()
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    form = {"ticket": ticket_of(page.text), "user": "u-ada", "decision": "approve"}

    def sent(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = client.post("/authorize/consent", data=form, headers=named, follow_redirects=False)
        return answer.status_code

    assert sent(Origin="https://evil.example") == 403
    assert sent(Origin="null") == 403
    assert sent(Origin=origin(page), Sec_Fetch_Site="cross-site") == 403
    assert sent(Sec_Fetch_Site="same-site") == 403
    cookie = client.cookies["dev_issuer_browser"]
    client.cookies.clear()
    assert sent() == 403
    assert sent(Cookie="dev_issuer_browser=other") == 403
    assert sent(Cookie=f"dev_issuer_browser={cookie}", Host="evil.example:8000") == 421
    assert sent(Cookie=f"dev_issuer_browser={cookie}", Origin=origin(page)) == 303


@pytest.mark.parametrize(
    "changes", [{"user": "u-eve"}, {"user": ""}, {"decision": "maybe"}, {"ticket": "x"}]
)
def test_an_answer_that_is_none_sends_nobody_anywhere(changes: dict[str, str]) -> None:
    client = issuer_client()
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    form = {"ticket": ticket_of(page.text), "user": "u-ada", "decision": "approve"} | changes
    answer = client.post("/authorize/consent", data=form, follow_redirects=False)
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_question_ends_after_ten_minutes() -> None:
    clock = Clock()
    client = issuer_client(clock)
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    clock.now += 601
    form = {"ticket": ticket_of(page.text), "user": "u-ada", "decision": "approve"}
    assert client.post("/authorize/consent", data=form).status_code == 400


def test_the_page_is_under_a_policy_and_sets_a_cookie_that_scripts_cannot_read() -> None:
    client = issuer_client()
    known = register(client)
    page = client.get("/authorize", params=request_of(known["client_id"], pkce()[1]))
    policy = page.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "form-action 'self' https: http://127.0.0.1:9;" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["cache-control"] == "no-store"
    cookie = page.headers["set-cookie"].lower()
    for attribute in ("httponly", "samesite=lax", "path=/authorize", "max-age=600"):
        assert attribute in cookie


def test_a_hint_chooses_the_user() -> None:
    client = issuer_client()
    known = register(client)
    for hint in ("bob@example.com", "u-bob"):
        request = request_of(known["client_id"], pkce()[1], login_hint=hint)
        page = client.get("/authorize", params=request).text
        assert 'value="u-bob" checked' in page
        assert 'value="u-ada" checked' not in page


def test_every_endpoint_has_a_bound_in_time() -> None:
    client = issuer_client()
    answers = {client.get("/authorize").status_code for _ in range(601)}
    assert answers == {400, 429}
