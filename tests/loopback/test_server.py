"""The server itself; what it bounds is tested with the emulator behind it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import pytest

from smime_graph.loopback.exchange import Exchange, Request, Response
from smime_graph.loopback.server import Server, _TCPServer


def echo(request: Request) -> Exchange:
    return Exchange(Response(200, body=request.target.encode()))


def refuse(status: int, text: str) -> Response:
    return Response(status, body=text.encode())


@contextmanager
def served(*, bare_host: bool) -> Iterator[Server]:
    with Server(echo, port=0, request_limit=10, refuse=refuse, bare_host=bare_host) as server:
        yield server


def ask(server: Server, head: str) -> tuple[int, bytes]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head.replace("PORT", str(server.port)).encode())
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize("head", ["HTTP/1.0", "HTTP/1.0\r\nHost: 127.0.0.1"])
def test_openssl_names_no_port_and_may_name_no_host(head: str) -> None:
    with served(bare_host=True) as server:
        assert ask(server, f"GET /a {head}\r\n\r\n") == (200, b"/a")
    with served(bare_host=False) as server:
        refused = (421, b"The Host field does not name this server.")
        assert ask(server, f"GET /a {head}\r\n\r\n") == refused


@pytest.mark.parametrize("bare_host", [True, False])
def test_the_name_must_be_that_of_loopback(bare_host: bool) -> None:
    with served(bare_host=bare_host) as server:
        for host, status in (
            *(("evil.example", 421), ("evil.example:PORT", 421), ("127.0.0.1:1", 421)),
            *(("127.0.0.2", 421), ("localhost:PORT", 200), ("127.0.0.1:PORT", 200)),
        ):
            head = f"GET /b HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
            assert ask(server, head)[0] == status, host


class Counted(socket.socket):
    """Notes what is written, and whether that leaves at once."""

    written: ClassVar[list[tuple[bytes, int]]] = []

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        at_once = self.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        self.written.append((bytes(data), at_once))
        super().sendall(data, flags)


def test_an_answer_is_written_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_request(server: _TCPServer) -> tuple[socket.socket, Any]:
        connection, address = server.socket.accept()
        return Counted(fileno=connection.detach()), address

    monkeypatch.setattr(_TCPServer, "get_request", get_request)
    monkeypatch.setattr(Counted, "written", [])
    with served(bare_host=False) as server:
        ask(server, "GET /c HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n")
    [(answer, at_once)] = Counted.written
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n/c")
    assert at_once
