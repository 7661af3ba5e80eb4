"""Client ID metadata documents: what is fetched, and what must never be called."""

import asyncio
import datetime as dt
import functools
import json
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.mcp.dev_issuer.client_document import fetch_document
from components.mcp.dev_issuer.messages import OAuthError
from tests.components.mcp.dev_issuer.document_server import DocumentServer, document_server
from tests.components.mcp.dev_issuer.world import Clock, issuer_client
from tests.mcp_flow import CALLBACK, agree, pkce, request_of

JSON = {"Content-Type": "application/json"}


@pytest.fixture
def documents() -> Iterator[DocumentServer]:
    with document_server() as server:
        yield server


def publish(server: DocumentServer, **changes: Any) -> str:
    """A good document with `changes`; its URL."""
    url = f"http://127.0.0.1:{server.port}/client.json"
    said = {"client_id": url, "client_name": "Published", "redirect_uris": [CALLBACK]} | changes
    server.answers["/client.json"] = (200, JSON, json.dumps(said).encode())
    return url


def test_a_client_is_known_by_its_document(documents: DocumentServer) -> None:
    clock = Clock()
    client = issuer_client(clock, loopback_client_documents=True)
    url = publish(documents, grant_types=["authorization_code", "refresh_token"])
    verifier, challenge = pkce()
    page = client.get("/authorize", params=request_of(url, challenge)).text
    assert "Published asks to log in" in page
    assert "Its identity is published at <strong>127.0.0.1</strong>" in page
    told = agree(client, "/authorize", request_of(url, challenge), user="u-ada")
    form = {"client_id": url, "code": told["code"], "code_verifier": verifier}
    tokens = client.post("/token", data={"grant_type": "authorization_code", **form}).json()
    again = {"grant_type": "refresh_token", "client_id": url}
    again["refresh_token"] = tokens["refresh_token"]
    assert client.post("/token", data=again).status_code == 200
    assert documents.seen == [f"127.0.0.1:{documents.port}"]
    clock.now += 301
    client.get("/authorize", params=request_of(url, challenge))
    assert len(documents.seen) == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "http://127.0.0.1/other.json"},
        {"client_id": None},
        {"redirect_uris": ["javascript:alert(1)"]},
        {"redirect_uris": ["https://other.example/"]},
        {"token_endpoint_auth_method": "client_secret_post"},
        {"client_secret": "x"},
        {"client_name": "x" * 20_000},
    ],
)
def test_a_bad_document_is_no_client(documents: DocumentServer, changes: dict[str, Any]) -> None:
    client = issuer_client(loopback_client_documents=True)
    request = request_of(publish(documents, **changes), pkce()[1])
    answer = client.get("/authorize", params=request, follow_redirects=False)
    assert answer.status_code == 400
    assert documents.seen


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (302, {"Location": "/client.json", **JSON}, b"{}"),
        (302, {"Location": "http://169.254.169.254/latest/meta-data/"}, b""),
        (404, JSON, b"{}"),
        (200, {"Content-Type": "text/html"}, b"{}"),
        (200, {}, b"{}"),
        (200, JSON, b"{"),
        (200, JSON, b"\xff"),
        (200, JSON, b"[" * 9000),
        (200, JSON, b"x" * 20_000),
        (200, {**JSON, "Content-Length": "99"}, b"{}"),
        (200, {**JSON, "Content-Encoding": "gzip"}, b"\x1f\x8b"),
    ],
)
def test_what_is_no_document_is_refused(
    documents: DocumentServer, status: int, headers: dict[str, str], body: bytes
) -> None:
    documents.answers["/odd.json"] = (status, headers, body)
    url = f"http://127.0.0.1:{documents.port}/odd.json"
    with pytest.raises(OAuthError, match="the client's metadata document"):
        asyncio.run(fetch_document(url, allow_loopback=True))
    assert len(documents.seen) == 1


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "169.254.169.254",
        "[fe80::1]",
        "[fd00::1]",
        "224.0.0.1",
        "[ff02::1]",
        "255.255.255.255",
    ],
)
def test_no_address_that_is_not_public_is_called(
    documents: DocumentServer, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(httpx2, "AsyncClient", None)  # not even tried
    for scheme in ("https", "http"):
        url = f"{scheme}://{host}:{documents.port}/client.json"
        with pytest.raises(OAuthError):
            asyncio.run(fetch_document(url))
    assert documents.connections == 0


@pytest.mark.parametrize(
    "answers", [["10.0.0.1"], ["93.184.215.14", "127.0.0.1"], ["::ffff:10.0.0.1"]]
)
def test_a_name_that_leads_inside_is_not_called(
    answers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 443)) for answer in answers]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    monkeypatch.setattr(httpx2, "AsyncClient", None)
    for allow in (False, True):
        with pytest.raises(OAuthError, match="cannot be reached"):
            asyncio.run(fetch_document("https://inside.example/a", allow_loopback=allow))


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example",
        "https://host.example/",
        "https://u@host.example/a",
        "https://u:p@host.example/a",
        "https://host.example/a/../b",
        "https://host.example/a/%2E%2e/b",
        "https://host.example/./a",
        "https://host.example/a#b",
        "https://host.example/a b",
        "https://host.example:x/a",
        "https://[::1/a",
        "https:///a",
        "https://host.example\\@10.0.0.1/a",
        "https://" + "a" * 600 + "/a",
        "http://host.example/a",
        "http://localhost.evil.example/a",
        "https://ünicode.example/a",
        "https://" + "a" * 64 + ".example/a",
    ],
)
def test_a_url_that_cannot_be_an_identifier_is_not_looked_up(url: str) -> None:
    with pytest.raises(OAuthError):
        asyncio.run(fetch_document(url, allow_loopback=True))


def test_a_server_that_never_answers_takes_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.mcp.dev_issuer.client_document._SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a"
        with pytest.raises(OAuthError, match="took too long"):
            asyncio.run(fetch_document(url, allow_loopback=True))


def test_the_certificate_must_be_of_the_name_though_an_address_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fits in (("localhost", True), ("other.example", False)):
        certificate = _certificate(tmp_path, name)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        trust = ssl.create_default_context(cafile=str(certificate))
        with document_server(context) as server, monkeypatch.context() as patch:
            server.answers["/a"] = (200, JSON, b'{"a": 1}')
            url = f"https://localhost:{server.port}/a"
            with pytest.raises(OAuthError, match="cannot be reached"):
                asyncio.run(fetch_document(url, allow_loopback=True))  # nobody trusts it
            trusting = functools.partial(httpx2.AsyncClient, verify=trust)
            patch.setattr(httpx2, "AsyncClient", trusting)
            if fits:
                assert asyncio.run(fetch_document(url, allow_loopback=True)) == {"a": 1}
                assert server.seen == [f"localhost:{server.port}"]
                continue
            with pytest.raises(OAuthError, match="cannot be reached"):
                asyncio.run(fetch_document(url, allow_loopback=True))


def test_documents_are_fetched_at_a_bounded_rate(documents: DocumentServer) -> None:
    client = issuer_client(loopback_client_documents=True)
    statuses = []
    for number in range(61):
        url = f"http://127.0.0.1:{documents.port}/{number}"
        statuses.append(client.get("/authorize", params=request_of(url, "")).status_code)
    assert statuses == [400] * 60 + [429]
    assert len(documents.seen) == 60


def _certificate(folder: Path, name: str) -> Path:
    """A self-signed certificate and its key in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    plain = serialization.NoEncryption()
    kind = serialization.PrivateFormat.PKCS8
    path.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, kind, plain)
    )
    return path
