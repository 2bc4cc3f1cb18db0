"""Whom the clients believe over https: SSL_CERT_FILE and SSL_CERT_DIR, on loopback as elsewhere."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from smime_graph.emulator import Emulator
from smime_graph.errors import GraphUnreachable, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient
from tests import tls


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that nobody knows, and its key."""
    return tls.make(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def url(certificate: tuple[Path, Path]) -> Iterator[Any]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"value": []}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    class Server(HTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a client that does not believe the certificate hangs up

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with Server(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"https://127.0.0.1:{server.server_port}/v1.0"
        server.shutdown()
        thread.join()


def ask(kind: str, url: str) -> Any:
    async def run() -> Any:
        async with AsyncGraphClient("t", url=url, retries=0, timeout=5.0) as graph:
            return await graph.list()

    if kind == "async":
        return asyncio.run(run())
    with GraphClient("t", url=url, retries=0, timeout=5.0) as graph:
        return graph.list()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_root_in_ssl_cert_file_is_believed_on_loopback(
    kind: Any, url: str, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    with pytest.raises(GraphUnreachable, match="could not connect") as caught:
        ask(kind, url)
    assert "SSL_CERT_FILE names the roots" in str(caught.value.hint)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # which would read the token
    assert len(ask(kind, url)) == 0


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_url_that_says_http_where_tls_is_spoken_or_the_reverse(kind: Any, url: str) -> None:
    with pytest.raises(GraphUnreachable, match=r"speaks TLS hangs up so, and the url says http\Z"):
        ask(kind, url.replace("https:", "http:"))
    no_tls = pytest.raises(GraphUnreachable, match="no TLS is spoken there, and the url says https")
    with Emulator().serve() as plain, no_tls:
        ask(kind, plain.url.replace("http:", "https:"))
    with pytest.raises(GraphUnreachable, match=r"(refused|failed)\)\Z"):  # nobody is there
        ask(kind, plain.url)


MESSAGE = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <m1@contoso.com>\r\n\r\nhi\r\n"
)
_BROKEN_RECORD = b"\x17\x03\x03\x00\x20" + bytes(32)
_ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 100\r\n\r\nabc"
ANSWERS = {
    "a broken record": (b"", _BROKEN_RECORD, None),
    "no TLS": (b"", b"HTTP/1.1 202 Accepted\r\n\r\n", None),
    "an alert": (b"", b"\x15\x03\x03\x00\x02\x02\x28", None),
    "a status, and a broken record": (_ACCEPTED, _BROKEN_RECORD, "accepted"),
}


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("answer", ANSWERS)
def test_tls_that_breaks_in_the_answer_is_a_lost_answer(
    kind: Any, answer: Any, certificate: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    inside, outside, expected = ANSWERS[answer]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"https://127.0.0.1:{listener.getsockname()[1]}/v1.0"

    def serve() -> None:
        connection, _ = listener.accept()
        listener.close()  # a look-up does not get through
        below = socket.socket(fileno=os.dup(connection.fileno()))
        with below, context.wrap_socket(connection, server_side=True) as line:
            request = b""
            while len(request.partition(b"\r\n\r\n")[2]) < len(b64encode(MESSAGE)):
                piece = line.recv(65536)
                if not piece:
                    return
                request += piece
            line.sendall(inside)
            below.sendall(outside)
            # what is left unread when a socket is closed would reset the connection
            below.settimeout(5)
            with suppress(OSError):
                while below.recv(65536):
                    pass

    settings: dict[str, Any] = {"url": url, "retries": 0, "timeout": 5.0}

    async def run() -> Any:
        async def no_sleep(_seconds: float) -> None:
            await asyncio.sleep(0)

        async with AsyncGraphClient("t", sleep=no_sleep, **settings) as graph:
            return await graph.send(MESSAGE)

    def send() -> Any:
        if kind == "async":
            return asyncio.run(run())
        with GraphClient("t", sleep=lambda _seconds: None, **settings) as graph:
            return graph.send(MESSAGE)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        if expected:
            assert send().status == expected
        else:
            with pytest.raises(GraphUnreachable, match="the connection was lost") as caught:
                send()
            assert caught.value.disposition == "unknown"
    finally:
        thread.join(10)


@pytest.mark.parametrize("url", ["https://127.0.0.1:9/v1.0", None], indirect=False)
def test_roots_that_cannot_be_read_are_our_error(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text").write_text("no certificate")
    for bad in (tmp_path / "nothing", tmp_path / "text"):
        monkeypatch.setenv("SSL_CERT_FILE", str(bad))
        for client in (GraphClient, AsyncGraphClient):
            with pytest.raises(UsageError, match="root certificates") as caught:
                client("t", url=url)
            assert "SSL_CERT_FILE" in str(caught.value.hint)
