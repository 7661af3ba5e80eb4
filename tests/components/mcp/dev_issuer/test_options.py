"""Where the issuer refuses to be made, by hand and in a manifest."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from pydantic import SecretStr, ValidationError

from components.mcp.dev_issuer.server import authorization_server
from components.mcp.dev_issuer.users import User
from tests.components.mcp.dev_issuer.world import BASE, USERS, issuer_client
from tests.mcp_flow import log_in


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8000",
        "http://api.localhost:8000",
        "http://127.0.0.1:8000",
        "http://127.9.9.9",
        "http://[::1]:8000",
        "https://localhost",
    ],
)
def test_it_stands_on_this_machine(url: str) -> None:
    client = issuer_client(base_url=url)
    metadata = client.get("/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == url


@pytest.mark.parametrize(
    "url",
    [
        "https://api.example.com",
        "http://192.168.0.7:8000",
        "http://0.0.0.0:8000",
        "http://10.0.0.1",
        "http://localhost.example.com:8000",
        "http://127.0.0.1.example.com",
        "http://notlocalhost:8000",
        "http://[fe80::1]:8000",
    ],
)
def test_it_stands_elsewhere_only_when_that_is_said(url: str) -> None:
    with pytest.raises(ValueError, match="here anyone logs in as anyone, without a password"):
        authorization_server(base_url=url, users=USERS)
    authorization_server(base_url=url, users=USERS, anyone_may_log_in_as_anyone=True)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "http://localhost:8000/",
        "http://localhost:8000/api",
        "http://localhost:8000?x",
        "http://user@localhost:8000",
        "http://LOCALHOST:8000",
        "http://localhost:80",
        "https://localhost:443",
        "http://localhost:99999",
        "http://[::1",
        "http://[:::::]",
        "ftp://localhost",
        "http://localhost:8000\n",
    ],
)
def test_the_base_url_is_an_origin_as_parsers_write_it(url: str) -> None:
    with pytest.raises(ValueError, match="`base_url`"):
        authorization_server(base_url=url, users=USERS, anyone_may_log_in_as_anyone=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"users": []}, "`users` must have at least one"),
        ({"users": [*USERS, USERS[0]]}, "each with an id of its own"),
        ({"scopes": []}, "`scopes` must be a list"),
        ({"scopes": "mcp:read"}, "`scopes` must be a list"),
        ({"scopes": ["two words"]}, "no scope"),
        ({"scopes": ['quo"te']}, "no scope"),
        ({"resources": "https://a.example/"}, "`resources` must be a list"),
        ({"resources": ["https://a.example/#b"]}, "`resources` has what is no URL"),
        ({"resources": ["/mcp"]}, "`resources` has what is no URL"),
        ({"access_token_lifetime": timedelta(0)}, "at least a second"),
        ({"refresh_token_lifetime": timedelta(seconds=-1)}, "at least a second"),
        ({"signing_key": SecretStr("hunter2")}, "`signing_key` must be"),
    ],
)
def test_options_are_judged_at_once(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        authorization_server(**({"base_url": BASE, "users": USERS} | options))
    assert "hunter2" not in str(caught.value)


def test_a_user_has_no_unknown_field() -> None:
    with pytest.raises(ValidationError):
        User.model_validate({"id": "a", "email": "a@example.com", "rolle": "admin"})


def test_a_key_of_another_kind_is_refused() -> None:
    for key in (rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(ValueError, match="EC P-256"):
            authorization_server(base_url=BASE, users=USERS, signing_key=SecretStr(pem(key)))


def test_processes_with_one_key_verify_each_others_tokens() -> None:
    text = pem(ec.generate_private_key(ec.SECP256R1()))
    one = issuer_client(signing_key=SecretStr(text))
    other = issuer_client(signing_key=SecretStr(text.replace("\n", "\\n")))  # from a variable
    assert one.get("/.well-known/jwks.json").content == other.get("/.well-known/jwks.json").content
    token = log_in(one, user="u-ada")["access_token"]
    key = jwt.PyJWK(other.get("/.well-known/jwks.json").json()["keys"][0])
    options: Any = {"verify_exp": False}
    assert jwt.decode(token, key, ["ES256"], audience="authenticated", options=options)
    assert (
        issuer_client().get("/.well-known/jwks.json").json()
        != one.get("/.well-known/jwks.json").json()
    )


def test_options_reach_the_tokens() -> None:
    client = issuer_client(
        audience="mine",
        scopes=["a", "b"],
        resources=["https://elsewhere.example/mcp"],
        access_token_lifetime=timedelta(seconds=5),
    )
    tokens = log_in(client, user="u-ada", resource="https://elsewhere.example/mcp")
    assert (tokens["expires_in"], tokens["scope"]) == (5, "a b")
    said = jwt.decode(tokens["access_token"], options={"verify_signature": False})
    assert said["aud"] == ["mine", "https://elsewhere.example/mcp"]


def test_no_library_of_tokens_is_loaded_before_the_first_one(tmp_path: Path) -> None:
    import subprocess  # noqa: PLC0415  # here alone
    import sys  # noqa: PLC0415  # here alone

    code = (
        "import sys\n"
        "from tests.components.mcp.dev_issuer.world import issuer_client\n"
        "client = issuer_client()\n"
        "assert client.get('/.well-known/oauth-authorization-server').status_code == 200\n"
        "assert not {'jwt', 'mcp', 'mcp_types'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[4]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root, timeout=100)
