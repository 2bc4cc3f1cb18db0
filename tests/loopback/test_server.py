"""The server itself; what it bounds is tested with the emulator behind it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import httpx
import pytest

from smime_graph import CA
from smime_graph.authority.service import Services
from smime_graph.authority.tls import server_context
from smime_graph.emulator import Emulator
from smime_graph.loopback import server as server_module
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


# --- more connections than it keeps ---------------------------------------------------------------


def opened(server: Server, start: str, stack: ExitStack) -> socket.socket:
    connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 10))
    connection.sendall(start.replace("PORT", str(server.port)).encode())
    return connection


SLOW = (
    "",
    "POST /v1.0/me/sendMail HT",
    "POST /v1.0/me/sendMail HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nContent-Length: 99\r\n\r\nabc",
    "GET /idle HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n",
)


@pytest.mark.parametrize("kind", ["emulator", "authority"])
def test_slow_clients_do_not_stop_it(kind: str) -> None:
    with ExitStack() as stack:
        if kind == "emulator":
            emulator = stack.enter_context(Emulator())
            server, path = stack.enter_context(emulator.serve()), "/v1.0/$metadata"
        else:
            server, path = stack.enter_context(Services(CA(key="p256")).serve()), "/"
        for number in range(server_module.CONNECTION_LIMIT + 8):
            opened(server, SLOW[number % len(SLOW)], stack)
        for _ in range(3):  # far below the 30 s after which a slow request ends
            answer = httpx.get(server.url + path, trust_env=False, timeout=10)
            assert answer.status_code == 200


def test_who_does_not_read_makes_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_LIMIT", 2)
    large = Response(200, body=bytes(1 << 26))
    exchange = Exchange(large)
    head = "GET /large HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"

    def answer(request: Request) -> Exchange:
        return exchange if request.target == "/large" else echo(request)

    with ExitStack() as stack:
        server = stack.enter_context(Server(answer, port=0, request_limit=10, refuse=refuse))
        for _ in range(4):
            opened(server, head, stack)
        head = "GET /small HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n"
        assert ask(server, head) == (200, b"/small")


def test_what_is_being_carried_out_is_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_LIMIT", 2)
    monkeypatch.setattr(server_module, "PATIENCE_SECONDS", 0.0)
    begun, go = threading.Semaphore(0), threading.Event()
    head = "GET /x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n"

    def answer(request: Request) -> Exchange:
        begun.release()
        assert go.wait(10)
        return echo(request)

    with ExitStack() as stack:
        server = stack.enter_context(Server(answer, port=0, request_limit=10, refuse=refuse))
        asked = [opened(server, head, stack) for _ in range(2)]
        for _ in asked:
            assert begun.acquire(timeout=10)
        asked += [opened(server, head, stack) for _ in range(2)]
        time.sleep(0.2)  # they wait, and nobody is cut for them
        # now the third is waited for, too, while the fourth wants its place
        monkeypatch.setattr(server_module, "PATIENCE_SECONDS", 10.0)
        go.set()
        for connection in asked:
            assert connection.recv(12) == b"HTTP/1.1 200"


def test_answers_that_are_held_back_do_not_stop_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_LIMIT", 2)
    monkeypatch.setattr(server_module, "DELAYED_LIMIT", 4)
    begun = threading.Semaphore(0)

    def answer(request: Request) -> Exchange:
        if request.target == "/late":
            begun.release()
            return Exchange(Response(200), delay=60)
        return echo(request)

    head = "GET /late HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"
    with ExitStack() as stack:
        server = stack.enter_context(Server(answer, port=0, request_limit=10, refuse=refuse))
        for _ in range(5):
            opened(server, head, stack)
            assert begun.acquire(timeout=10)
        now = "GET /now HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\nConnection: close\r\n\r\n"
        assert ask(server, now) == (200, b"/now")
        opened(server, head, stack)
        assert begun.acquire(timeout=10)
        last = opened(server, now, stack)
        last.settimeout(0.3)  # these are too many: it waits
        with pytest.raises(TimeoutError):
            last.recv(1)


def test_closing_does_not_wait_for_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_LIMIT", 1)
    begun = threading.Event()

    def answer(request: Request) -> Exchange:
        begun.set()
        return Exchange(Response(200), delay=60)

    head = "GET /x HTTP/1.1\r\nHost: 127.0.0.1:PORT\r\n\r\n"
    with ExitStack() as stack:
        server = Server(answer, port=0, request_limit=10, refuse=refuse)
        for _ in range(3):
            opened(server, head, stack)
        assert begun.wait(10)
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 4


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def contexts() -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of a server, and of a client that believes it."""
    served, authority = server_context()
    return served, ssl.create_default_context(cadata=authority.der)


def test_it_speaks_tls(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    served, believing = contexts
    with (
        Server(echo, port=0, request_limit=10, refuse=refuse, tls=served) as server,
        httpx.Client(verify=believing, trust_env=False) as client,
    ):
        assert server.url == f"https://127.0.0.1:{server.port}"
        for path in ("/a", "/b"):
            assert client.get(f"https://localhost:{server.port}{path}").text == path
        # who speaks something else is told nothing, and keeps nobody out
        for start in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00"):
            with socket.create_connection(("127.0.0.1", server.port), 10) as plain:
                plain.sendall(start)
                try:
                    plain.shutdown(socket.SHUT_WR)
                    answer = plain.recv(1000)
                except OSError:
                    answer = b""  # it is cut already
                assert not answer.startswith(b"HTTP/")
        assert client.get(f"https://localhost:{server.port}/c").text == "/c"


def test_slow_handshakes_do_not_stop_it(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "CONNECTION_LIMIT", 4)
    served, believing = contexts
    with ExitStack() as stack:
        server = Server(echo, port=0, request_limit=10, refuse=refuse, tls=served)
        stack.enter_context(server)
        for _ in range(6):
            opened(server, "\x16\x03\x01", stack)
        answer = httpx.get(
            f"https://localhost:{server.port}/d", verify=believing, trust_env=False, timeout=10
        )
        assert answer.text == "/d"


# --- what clients and proxies write ---------------------------------------------------------------


def answers(server: Server, asked: str, *, heads: int) -> list[tuple[int, bytes]]:
    """The answers that come over one connection, the first `heads` of them without a body."""
    found = []
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(asked.replace("PORT", str(server.port)).encode())
        stream = connection.makefile("rb")
        while line := stream.readline():
            fields = {}
            while (field := stream.readline().strip()) != b"":
                name, _, value = field.partition(b": ")
                fields[name.lower()] = value
            size = int(fields.get(b"content-length", b"0"))
            found.append((int(line.split()[1]), b"" if heads > 0 else stream.read(size)))
            heads -= 1
    return found


def asking(method: str, target: str, *fields: str, host: str = "127.0.0.1:PORT") -> str:
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {host}", *fields, "", ""))


def test_head_is_answered_without_a_body() -> None:
    last = asking("GET", "/b", "Connection: close")
    with served(bare_host=False) as server:
        assert answers(server, asking("HEAD", "/a") + last, heads=1) == [(200, b""), (200, b"/b")]
        assert answers(server, asking("HEAD", "/a", host="evil"), heads=1) == [(421, b"")]


def test_a_target_as_proxies_are_asked_for_names_the_host() -> None:
    """RFC 9112 3.2.2: what the Host field says does not count then."""
    with Server(
        echo, port=0, request_limit=10, refuse=refuse, public_url="https://graph.test"
    ) as server:

        def answer(target: str, host: str) -> tuple[int, bytes]:
            return ask(server, asking("GET", target, "Connection: close", host=host))

        for own in ("https://graph.test", "HTTP://Graph.Test", "http://127.0.0.1:PORT"):
            assert answer(f"{own}/a?b=c://d", "evil.example") == (200, b"/a?b=c://d")
            assert answer(own, "127.0.0.1:PORT") == (200, b"/")
            assert answer(f"{own}?q", "127.0.0.1:PORT") == (200, b"/?q")
        for other in (
            "http://evil.example",
            "http://graph.test@evil.example",
            "http://x@graph.test",
        ):
            assert answer(f"{other}/a", "127.0.0.1:PORT")[0] == 421


def test_requests_that_are_not_waited_for_are_answered_in_order() -> None:
    chunked = asking("POST", "/b", "Transfer-Encoding: chunked") + "3\r\nabc\r\n0\r\n\r\n"
    sized = asking("POST", "/c", "Content-Length: 2", "Expect: 100-continue") + "xy"
    last = asking("GET", "/d", "Connection: close")
    with served(bare_host=False) as server:
        found = answers(server, asking("GET", "/a") + chunked + sized + last, heads=0)
    assert found == [(200, b"/a"), (200, b"/b"), (200, b"/c"), (200, b"/d")]


def test_who_expects_to_be_told_to_go_on_is_told_unless_refused() -> None:
    expects = "Content-Length: 2", "Expect: 100-continue"
    with served(bare_host=False) as server, ExitStack() as stack:
        connection = opened(server, asking("POST", "/a", *expects), stack)
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"xy")
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        connection.sendall(asking("POST", "/a", *expects, host="evil").encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 421 ")


def test_connections_that_a_proxy_keeps_are_used_again(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    served, believing = contexts
    with (
        Server(echo, port=0, request_limit=10, refuse=refuse, tls=served) as server,
        httpx.Client(verify=believing, trust_env=False) as proxy,
        ThreadPoolExecutor(4) as pool,
    ):

        def forward(number: int) -> str:
            content = iter([b"a", b"b"]) if number % 2 else b"ab"  # chunked, or with a length
            return proxy.post(f"{server.url}/{number}", content=content).text

        assert list(pool.map(forward, range(60))) == [f"/{number}" for number in range(60)]
        assert len(server._tcp._open) <= 4
