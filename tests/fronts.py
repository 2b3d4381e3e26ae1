"""Fronts of real servers that fail at first: what a busy network looks like."""

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler, BaseServer, ThreadingTCPServer

import sqlalchemy as sa


@contextmanager
def serving(server: BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class Front:
    """What stands before a server and fails so many times before it lets through.

    Attributes:
        port: where on 127.0.0.1 it listens.
        seen: what it was asked, in order.
    """

    failures: int
    port: int = 0
    seen: list[str] = field(default_factory=list)

    def fails(self, what: str) -> bool:
        self.seen.append(what)
        return len(self.seen) <= self.failures


@contextmanager
def http_front(address: str, failures: int) -> Iterator[Front]:
    """Answers 503 to the first requests, and hands the others on to http://host:port."""
    front, far = Front(failures), address.removeprefix("http://")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if front.fails(f"{self.command} {self.path}"):
                self.answer(503, {"Content-Length": "0"}, b"")
                return
            with closing(HTTPConnection(far)) as upstream:
                upstream.request(self.command, self.path, headers=dict(self.headers))
                answer = upstream.getresponse()
                self.answer(answer.status, dict(answer.getheaders()), answer.read())

        do_HEAD = do_GET  # noqa: N815 - the standard library's name

        def answer(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the standard library's name
            """Say nothing."""

    with serving(server := ThreadingHTTPServer(("127.0.0.1", 0), Handler)):
        front.port = server.server_port
        yield front


@contextmanager
def tcp_front(uri: str, failures: int) -> Iterator[tuple[Front, str]]:
    """Hangs up on the first connections, and joins the others to the URI's server; with the URI that leads here."""
    front, far = Front(failures), sa.make_url(uri)

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            if not front.fails("connection"):
                with socket.create_connection((far.host, far.port)) as upstream:
                    join(self.request, upstream)

    with serving(server := ThreadingTCPServer(("127.0.0.1", 0), Handler)):
        front.port = server.server_address[1]
        yield front, far.set(host="127.0.0.1", port=front.port).render_as_string(hide_password=False)


def join(near: socket.socket, far: socket.socket) -> None:
    """Carry bytes both ways until either side hangs up."""
    back = threading.Thread(target=carry, args=(far, near))
    back.start()
    carry(near, far)
    back.join()


def carry(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):  # the other side hung up first
        while data := source.recv(65_536):
            target.sendall(data)
    for side in (source, target):
        with suppress(OSError):
            side.shutdown(socket.SHUT_RDWR)
