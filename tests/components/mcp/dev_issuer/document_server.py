"""A server of client metadata documents, on this machine; it counts who connects."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class DocumentServer:
    """Answers a path with (status, headers, body); `seen` are the Host headers that came."""

    port: int
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)
    connections: int = 0


@contextmanager
def document_server(context: ssl.SSLContext | None = None) -> Iterator[DocumentServer]:
    """The server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known.seen.append(self.headers["Host"])
            status, headers, body = known.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        def get_request(self) -> tuple[object, object]:  # type: ignore[override]  # of sockets
            known.connections += 1
            return super().get_request()

        def handle_error(self, request: object, client_address: object) -> None:
            """A client that refuses our certificate is no news."""

    server = Server(("127.0.0.1", 0), Handler)
    known = DocumentServer(server.server_port)
    if context is not None:
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()
