"""A call ends at its deadline, whatever the other side does on the line."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.errors import GraphError, GraphUnreachable, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient

Talk = Callable[[socket.socket, threading.Event], None]

DEADLINE = 0.4
LATE = 4.0  # seconds at which a call has not ended at its deadline, even on a slow machine


class Server:
    """A loopback server whose every connection is handed to a function, until the test is over."""

    def __init__(self, talk: Talk) -> None:
        self._talk, self._over = talk, threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._socket.settimeout(0.05)
        self.connections = 0
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/v1.0"
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._socket.accept()
            except TimeoutError:
                continue
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(0.05)
        with connection, contextlib.suppress(OSError):
            self._talk(connection, self._over)

    def close(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(10)
        self._socket.close()


@pytest.fixture
def serve() -> Iterator[Callable[[Talk], Server]]:
    servers: list[Server] = []

    def serve(talk: Talk) -> Server:
        servers.append(Server(talk))
        return servers[-1]

    yield serve
    for server in servers:
        server.close()


def receive(connection: socket.socket, over: threading.Event) -> None:
    """Read a whole request."""
    data = b""
    while b"\r\n\r\n" not in data and not over.is_set():
        with contextlib.suppress(TimeoutError):
            data += connection.recv(65536)
    header, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (
            int(x.split(b":")[1])
            for x in header.split(b"\r\n")
            if x.lower().startswith(b"content-l")
        ),
        0,
    )
    while len(body) < length and not over.is_set():
        with contextlib.suppress(TimeoutError):
            body += connection.recv(65536)


def drips(start: bytes, drop: bytes, *, pause: float = 0.05) -> Talk:
    """Answer with `start`, then one drop after the other for as long as anybody listens."""

    def talk(connection: socket.socket, over: threading.Event) -> None:
        receive(connection, over)
        connection.sendall(start)
        while not over.wait(pause):
            connection.sendall(drop)

    return talk


def silent(connection: socket.socket, over: threading.Event) -> None:
    over.wait()


def reads_slowly(connection: socket.socket, over: threading.Event) -> None:
    while not over.wait(0.05):
        with contextlib.suppress(TimeoutError):
            connection.recv(512)


OK = b"HTTP/1.1 200 OK\r\n"
NEVER: dict[str, Talk] = {
    "a status line that drips": drips(b"HTTP/1.1 2", b"0"),
    "a header that drips": drips(OK + b"X-Long: ", b"x"),
    "header fields without end": drips(OK, b"X-A: b\r\n", pause=0.01),
    "interim answers without end": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "interim answers as fast as they go": drips(b"", b"HTTP/1.1 102 P\r\n\r\n" * 50, pause=0.0),
    "no answer": silent,
    "a request that is read slowly": reads_slowly,
}


def call(kind: str, url: str, method: str, *args: Any, **settings: Any) -> Any:
    """How long a call takes, and what it gives or raises."""
    settings = {"deadline": DEADLINE, "timeout": 0.3, "retries": 0, "url": url, **settings}

    async def run() -> Any:
        async with AsyncGraphClient("s3cret-token", **settings) as graph:
            return await getattr(graph, method)(*args)

    began = time.monotonic()
    try:
        if kind == "async":
            result = asyncio.run(run())
        else:
            with GraphClient("s3cret-token", **settings) as graph:
                result = getattr(graph, method)(*args)
    except GraphError as error:
        result = error
    return time.monotonic() - began, result


@pytest.fixture(params=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


@pytest.mark.parametrize("method", ["list", "send"])
@pytest.mark.parametrize("name", NEVER)
def test_an_answer_that_never_comes_ends_at_the_deadline(
    serve: Any, kind: Any, raw: bytes, name: str, method: str
) -> None:
    server = serve(NEVER[name])
    args = {"list": (), "send": (raw + b"x" * 2_900_000,)}
    took, error = call(kind, server.url, method, *args[method])
    assert took < LATE
    assert isinstance(error, GraphUnreachable), error
    # the request went out, and what became of it nobody knows
    assert error.maybe_sent is (method == "send")


@pytest.mark.parametrize("retries", [0, 5])
def test_attempts_waits_and_look_ups_are_all_within_the_deadline(
    serve: Any, kind: Any, raw: bytes, retries: int
) -> None:
    server = serve(drips(OK + b"X-Long: ", b"x"))
    for method, args in (("list", ()), ("send", (raw,)), ("draft", (raw,))):
        took, error = call(kind, server.url, method, *args, retries=retries, timeout=30.0)
        assert took < LATE
        assert isinstance(error, GraphUnreachable)
        assert "the deadline of the call is over" in str(error)
    assert server.connections <= 6


@pytest.mark.parametrize("name", ["throttled", "unavailable"])
def test_a_service_that_asks_to_wait_is_waited_for_until_the_deadline(
    kind: Any, raw: bytes, name: str
) -> None:
    with Emulator() as emulator:
        emulator.faults.add(getattr(Fault, name)(retry_after=20), times=50)
        transport = emulator.transport() if kind == "sync" else emulator.async_transport()
        for method, args in (("list", ()), ("send", (raw,))):
            took, error = call(
                kind, "https://x.y/v1.0", method, *args, transport=transport, retries=9
            )
            assert took < LATE
            assert isinstance(error, GraphError)
        assert emulator.mailbox("bob@contoso.com").messages() == ()


def test_a_body_that_drips_does_not_hold_a_send_that_was_accepted(
    serve: Any, kind: Any, raw: bytes
) -> None:
    head = b"HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n"
    for start in (head, b"HTTP/1.1 202 Accepted\r\nTransfer-Encoding: chunked\r\n\r\n"):
        server = serve(drips(start, b"1\r\nx\r\n" if b"chunked" in start else b"x"))
        for deadline in (DEADLINE, 300.0):
            took, ref = call(kind, server.url, "send", raw, deadline=deadline)
            assert took < LATE
            assert ref.status == "accepted"
        assert server.connections == 2  # never repeated


def test_the_body_of_an_error_that_drips_has_one_wait(serve: Any, kind: Any, raw: bytes) -> None:
    server = serve(drips(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 1000000\r\n\r\n", b"x"))
    for method, args in (("list", ()), ("send", (raw,)), ("draft", (raw,))):
        took, error = call(kind, server.url, method, *args, deadline=300.0)
        assert took < LATE
        assert getattr(error, "status", None) == 400


def test_a_body_that_drips_ends_a_read_at_the_deadline(serve: Any, kind: Any) -> None:
    server = serve(drips(OK + b"Content-Length: 1000000\r\n\r\n", b"x"))
    for method, args in (("list", ()), ("fetch", ("id",))):
        took, error = call(kind, server.url, method, *args)
        assert took < LATE
        assert isinstance(error, GraphUnreachable)
        assert "broke off" in str(error)


@pytest.mark.parametrize("method", ["send", "reply", "forward", "send_draft"])
def test_no_more_than_64_kib_of_the_answer_to_a_send_are_read(
    serve: Any, kind: Any, raw: bytes, method: str
) -> None:
    sent: list[int] = []

    def talk(connection: socket.socket, over: threading.Event) -> None:
        receive(connection, over)
        connection.sendall(b"HTTP/1.1 202 Accepted\r\nContent-Length: 900000000\r\n\r\n")
        sent.append(0)
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                sent[-1] += connection.send(b"x" * 65536)

    server = serve(talk)
    args = {"send": (raw,), "send_draft": ("id",)}.get(method, ("id", raw))
    _, ref = call(kind, server.url, method, *args, deadline=60.0, timeout=30.0)
    assert ref.status == "accepted"
    # what the buffers of two sockets hold, beside what was read
    assert sent[0] < 12_000_000


def test_a_tls_handshake_that_never_ends_was_no_send(serve: Any, kind: Any, raw: bytes) -> None:
    server = serve(silent)
    url = server.url.replace("http://", "https://")
    took, error = call(kind, url, "send", raw, timeout=30.0)
    assert took < LATE
    assert isinstance(error, GraphUnreachable)
    assert not error.maybe_sent


def test_a_call_that_waits_for_a_connection_ends_at_its_deadline(serve: Any, raw: bytes) -> None:
    server = serve(silent)
    took: list[float] = []
    with GraphClient("t", url=server.url, deadline=DEADLINE, timeout=30.0, retries=0) as graph:

        def ask() -> None:
            began = time.monotonic()
            with pytest.raises(GraphUnreachable):
                graph.list()
            took.append(time.monotonic() - began)

        threads = [threading.Thread(target=ask) for _ in range(9)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len(took) == 9
    assert max(took) < LATE


def test_a_connection_that_is_used_again_has_the_deadline_of_each_call(
    serve: Any, kind: Any
) -> None:
    """What one call leaves behind must not end the next one."""
    page = b'{"value": []}'
    answer = OK + b"Content-Length: %d\r\n\r\n" % len(page) + page

    def talk(connection: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            receive(connection, over)
            connection.sendall(answer)

    server = serve(talk)

    async def run() -> None:
        async with AsyncGraphClient("t", url=server.url, deadline=DEADLINE) as graph:
            for _ in range(5):
                assert len(await graph.list()) == 0
                await asyncio.sleep(DEADLINE / 3)

    if kind == "async":
        asyncio.run(run())
    else:
        with GraphClient("t", url=server.url, deadline=DEADLINE) as graph:
            for _ in range(5):
                assert len(graph.list()) == 0
                time.sleep(DEADLINE / 3)
    assert server.connections == 1


@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-unknown"])
def test_a_compressed_answer_is_refused_before_it_is_read(
    serve: Any, kind: Any, raw: bytes, status: int, coding: str
) -> None:
    bomb = gzip.compress(b"\0" * 30_000_000)

    def talk(connection: socket.socket, over: threading.Event) -> None:
        receive(connection, over)
        connection.sendall(
            b"HTTP/1.1 %d X\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (status, coding.encode(), len(bomb), bomb)
        )

    server = serve(talk)
    for method, args in (("list", ()), ("fetch", ("id",)), ("draft", (raw,))):
        _, error = call(kind, server.url, method, *args, deadline=30.0)
        assert isinstance(error, GraphError)
        assert "compressed" in str(error)


@pytest.mark.parametrize("deadline", [0, -1, float("inf"), float("nan"), "5", None])
def test_a_deadline_that_is_none_is_refused(deadline: Any) -> None:
    for client in (GraphClient, AsyncGraphClient):
        with pytest.raises(UsageError, match="deadline"):
            client("t", deadline=deadline)


def test_a_compressed_page_is_no_answer_that_accepts_a_send(
    serve: Any, kind: Any, raw: bytes
) -> None:
    page = gzip.compress(b"<html>please log in</html>")

    def talk(connection: socket.socket, over: threading.Event) -> None:
        receive(connection, over)
        connection.sendall(
            b"HTTP/1.1 202 Accepted\r\nContent-Type: text/html\r\nContent-Encoding: gzip\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(page), page)
        )

    _, error = call(kind, serve(talk).url, "send", raw)
    assert isinstance(error, GraphUnreachable)
    assert error.maybe_sent


def test_a_proxy_that_drips_ends_at_the_deadline(
    serve: Any, kind: Any, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connections through a proxy are others, and keep the deadline, too."""
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy", "http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    proxy = serve(drips(OK + b"X-Long: ", b"x"))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url.removesuffix("/v1.0"))
    took, error = call(kind, "https://graph.example/v1.0", "send", raw, timeout=30.0)
    assert took < LATE
    assert isinstance(error, GraphUnreachable)
    assert proxy.connections >= 1
