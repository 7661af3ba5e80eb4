"""An issuer of tokens for tests: keys, tokens, and a real server that publishes the keys."""

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "https://project.example/auth/v1"
SECRET = "a-secret-of-at-least-thirty-two-bytes-and-more"
USER = "5f0c7a53-3d0c-4d4c-8f0e-2f3f0a3f5b11"
SCOPES = "mcp:read mcp:write"


@dataclass
class Key:
    """A private key, with the name and the algorithm it signs by."""

    kid: str
    algorithm: str
    private: Any

    def jwk(self, **more: Any) -> dict[str, Any]:
        algorithm: Any = jwt.get_algorithm_by_name(self.algorithm)
        public = json.loads(algorithm.to_jwk(self.private.public_key()))
        return {**public, "kid": self.kid, "alg": self.algorithm, "use": "sig", **more}

    def pem(self) -> str:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        public = self.private.public_key()
        data: bytes = public.public_bytes(serialization.Encoding.PEM, kind)
        return data.decode()


@cache
def ec_key(kid: str = "ec-1") -> Key:
    return Key(kid, "ES256", ec.generate_private_key(ec.SECP256R1()))


@cache
def rsa_key(kid: str = "rsa-1", bits: int = 2048) -> Key:
    return Key(kid, "RS256", rsa.generate_private_key(65537, bits))


def claims(**changes: Any) -> dict[str, Any]:
    """What Supabase puts into a token, and scopes; None takes a claim out."""
    now = int(time.time())
    usual = {
        "iss": ISSUER,
        "aud": "authenticated",
        "sub": USER,
        "iat": now,
        "exp": now + 3600,
        "role": "authenticated",
        "app_metadata": {"provider": "email"},
        "scope": SCOPES,
    }
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def token(key: Key | str = SECRET, headers: Mapping[str, Any] | None = None, **changes: Any) -> str:
    """A token signed by `key`, or by a text as HS256's secret."""
    if isinstance(key, str):
        return jwt.encode(claims(**changes), key, "HS256", headers=dict(headers or {}))
    named = {"kid": key.kid, **(headers or {})}
    named = {name: value for name, value in named.items() if value is not None}
    return jwt.encode(claims(**changes), key.private, key.algorithm, headers=named)


def b64(data: Any) -> str:
    """A part of a token: bytes as they are, all else as JSON."""
    raw = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@dataclass
class KeyServer:
    """Publishes `keys`; counts how often it is asked; may be slow, broken or silent."""

    keys: list[dict[str, Any]]
    status: int = 200
    body: bytes | None = None
    asked: int = 0
    headers: list[Mapping[str, str]] = field(default_factory=list)
    port: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/jwks.json"


@contextmanager
def start_key_server(*keys: Key) -> Iterator[KeyServer]:
    """A real server on a port of its own; `gate` cleared makes it wait before it answers."""
    state = KeyServer([key.jwk() for key in keys])
    state.gate.set()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            state.headers.append(dict(self.headers))
            state.gate.wait(20)
            body = state.body
            if body is None:
                body = json.dumps({"keys": state.keys}).encode()
            self.send_response(state.status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            return

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                return  # who asked has gone

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.gate.set()
        server.shutdown()
        server.server_close()
        thread.join(20)
