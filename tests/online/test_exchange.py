"""One question and its answer: redirects, sizes, times, and names that change their address."""

from __future__ import annotations

import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from smime_graph import CA
from smime_graph.online import exchange as module
from smime_graph.online.addresses import Fault, is_allowed
from smime_graph.online.exchange import Allowance, exchange

from .conftest import Handler, Service

QUICK = 3.0  # seconds within which a test of patience must be over


def ask(url: str, *, limit: int = 1000, local: bool = True, **how: Any) -> bytes:
    how.setdefault("allowance", Allowance())
    return exchange(url, limit=limit, local=local, **how)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_SECONDS", 0.7)
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.5)
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.5)


def test_an_answer(service: Service) -> None:
    service.answers["/x?y=1"] = b"octets"
    assert ask(service.url("/x?y=1#fragment")) == b"octets"
    assert service.log == ["GET /x?y=1"]
    assert service.headers[0]["Host"] == f"127.0.0.1:{service.server_address[1]}"


def test_a_question_that_is_posted(service: Service) -> None:
    service.answers["/x"] = lambda handler: handler.give(handler.body)
    assert ask(service.url("/x"), body=b"question", content_type="a/b") == b"question"
    assert service.log == ["POST /x"]


@pytest.mark.parametrize("status", [204, 206, 304, 400, 401, 404, 407, 500, 503])
def test_other_statuses_are_told(service: Service, status: int) -> None:
    service.answers["/x"] = lambda handler: handler.give(b"", status=status)
    with pytest.raises(Fault, match=f"answered {status}"):
        ask(service.url("/x"))


def test_nobody_there() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(Fault, match="refused"):
        ask(f"http://127.0.0.1:{port}/")


# --- redirects ------------------------------------------------------------------------------------


def moved(to: str, status: int = 302) -> Any:
    return lambda handler: handler.give(b"", status=status, Location=to)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed(service: Service, status: int) -> None:
    service.answers |= {"/a/b": moved("../c", status), "/c": b"there"}
    assert ask(service.url("/a/b")) == b"there"


def test_redirects_in_a_circle_end(service: Service) -> None:
    service.answers |= {"/a": moved("/b"), "/b": moved("/a")}
    with pytest.raises(Fault, match="more than 3 redirects"):
        ask(service.url("/a"))
    assert len(service.log) == 4


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://example.com/",
        "http://user@example.com/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0/",
        "http://127.0.0.1:22/",
        "//169.254.169.254/",
        "http://[::1",
        "gopher:x",
    ],
)
def test_every_hop_is_checked(service: Service, target: str) -> None:
    service.answers["/a"] = moved(target)
    with pytest.raises(Fault):
        ask(service.url("/a"))
    assert service.log == ["GET /a"]


def test_a_redirect_from_outside_does_not_lead_inside(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host counts as one of the world outside here; the second is plainly 127.0.0.1."""
    port = service.server_address[1]
    service.answers |= {"/a": moved(f"http://127.0.0.1:{port}/secret"), "/secret": b"secret"}
    real = is_allowed
    seen: list[str] = []

    def first_is_outside(address: str, *, local: bool) -> bool:
        seen.append(address)
        return len(seen) == 1 or real(address, local=local)

    monkeypatch.setattr(module, "is_allowed", first_is_outside)
    with pytest.raises(Fault, match="of this machine or its network"):
        ask(service.url("/a"), local=False)
    assert service.log == ["GET /a"]


def test_a_posted_question_goes_on_only_where_it_stays_one(service: Service) -> None:
    service.answers |= {"/a": moved("/b", 307), "/b": lambda h: h.give(h.body)}
    assert ask(service.url("/a"), body=b"q", content_type="a/b") == b"q"
    service.answers["/a"] = moved("/b", 302)
    with pytest.raises(Fault, match="not repeated"):
        ask(service.url("/a"), body=b"q", content_type="a/b")


def test_a_redirect_without_a_place(service: Service) -> None:
    service.answers["/a"] = lambda handler: handler.give(b"", status=302)
    with pytest.raises(Fault, match="without a place"):
        ask(service.url("/a"))


# --- addresses ------------------------------------------------------------------------------------


def test_a_name_is_looked_up_once_and_that_address_is_used(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DNS rebinding: the second answer of the resolver would be another address."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"]])
    monkeypatch.setattr(module, "resolve", lambda *_: next(answers))
    service.answers["/x"] = b"octets"
    assert ask(f"http://rebinding.example:{service.server_address[1]}/x") == b"octets"
    assert next(answers) == ["169.254.169.254"]
    assert service.headers[0]["Host"].startswith("rebinding.example:")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001"])
def test_this_machine_by_all_its_names(service: Service, host: str) -> None:
    with pytest.raises(Fault, match="of this machine or its network"):
        ask(f"http://{host}:{service.server_address[1]}/", local=False)
    assert service.log == []


def test_of_several_addresses_only_the_allowed_are_used(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "resolve", lambda *_: ["169.254.169.254", "fe80::1", "127.0.0.1"])
    service.answers["/x"] = b"octets"
    assert ask(f"http://mixed.example:{service.server_address[1]}/x") == b"octets"


def test_a_name_that_nobody_has() -> None:
    with pytest.raises(Fault, match="was not found"):
        ask("http://nobody.invalid/")


def test_a_resolver_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, hurried: None) -> None:
    def slow(*_: Any, **__: Any) -> list[Any]:
        time.sleep(5)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    begun = time.monotonic()
    with pytest.raises(Fault, match="not found within"):
        ask("http://slow.example/")
    assert time.monotonic() - begun < QUICK


def test_no_proxy_of_the_environment_is_used(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://user:secret@127.0.0.1:9/")
    service.answers["/x"] = b"octets"
    assert ask(service.url("/x")) == b"octets"


def test_a_cookie_is_not_given_back(service: Service) -> None:
    service.answers |= {
        "/a": lambda h: h.give(b"", status=302, Location="/b", Set_Cookie="id=1"),
        "/b": lambda h: h.give(b"x", Set_Cookie="id=2"),
    }
    allowance = Allowance()
    for _ in range(2):
        ask(service.url("/a"), allowance=allowance)
    assert not [one for one in service.headers if "Cookie" in one]


# --- size and time --------------------------------------------------------------------------------


def stream(piece: bytes, count: int, pause: float = 0, **headers: str) -> Any:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        for _ in range(count):
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def test_an_answer_of_the_size_that_is_allowed(service: Service) -> None:
    service.answers["/x"] = b"x" * 1000
    assert len(ask(service.url("/x"))) == 1000
    service.answers["/x"] = b"x" * 1001
    with pytest.raises(Fault, match="an answer of 1001 octets, at most 1000"):
        ask(service.url("/x"))


def test_an_answer_without_an_end(service: Service) -> None:
    service.answers["/x"] = stream(b"x" * 65536, 10_000)
    with pytest.raises(Fault, match="more than 1000 octets"):
        ask(service.url("/x"))


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_a_packed_answer_is_not_unpacked(service: Service, coding: str) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    service.answers["/x"] = lambda handler: handler.give(bomb, Content_Encoding=coding)
    with pytest.raises(Fault, match="encoding that nobody asked for"):
        ask(service.url("/x"), limit=1 << 22)


def test_a_body_that_drips(service: Service, hurried: None) -> None:
    service.answers["/x"] = stream(b"x", 200, 0.05)
    begun = time.monotonic()
    with pytest.raises(Fault, match="no answer within"):
        ask(service.url("/x"))
    assert time.monotonic() - begun < QUICK


def test_a_header_that_drips(service: Service, hurried: None) -> None:
    def answer(handler: Handler) -> None:
        for octet in b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200:
            handler.wfile.write(bytes([octet]))
            handler.wfile.flush()
            time.sleep(0.05)

    service.answers["/x"] = answer
    begun = time.monotonic()
    with pytest.raises(Fault, match="no answer within"):
        ask(service.url("/x"))
    assert time.monotonic() - begun < QUICK


def test_interim_answers_without_an_end(service: Service, hurried: None) -> None:
    def answer(handler: Handler) -> None:
        for _ in range(200):
            handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            handler.wfile.flush()
            time.sleep(0.05)

    service.answers["/x"] = answer
    begun = time.monotonic()
    with pytest.raises(Fault, match="no answer within"):
        ask(service.url("/x"))
    assert time.monotonic() - begun < QUICK


def test_a_server_that_says_nothing(service: Service, hurried: None) -> None:
    service.answers["/x"] = lambda _: time.sleep(2)
    with pytest.raises(Fault, match="no answer within"):
        ask(service.url("/x"))


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x16\x03\x01",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort",
        b"HTTP/9.9 abc\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: \xff\xfe\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    ],
)
def test_what_is_no_http_is_a_fault(service: Service, octets: bytes) -> None:
    def answer(handler: Handler) -> None:
        handler.wfile.write(octets)
        handler.wfile.flush()
        handler.close_connection = True

    service.answers["/x"] = answer
    with pytest.raises(Fault) as caught:
        ask(service.url("/x"))
    assert str(caught.value).isprintable()


# --- what one message may cause -------------------------------------------------------------------


def ask_often(url: str, allowance: Allowance) -> None:
    for _ in range(Allowance.MAX_REQUESTS):
        ask(url, allowance=allowance)


def test_requests_of_one_host_and_of_all_are_counted(service: Service) -> None:
    service.answers["/x"] = b"x"
    allowance = Allowance()
    for _ in range(Allowance.MAX_REQUESTS_OF_HOST):
        ask(service.url("/x"), allowance=allowance)
    with pytest.raises(Fault, match="requests of one host"):
        ask(service.url("/x"), allowance=allowance)
    port = service.server_address[1]
    with pytest.raises(Fault, match=r"requests (for one message|of one host)"):
        ask_often(f"http://localhost:{port}/x", allowance)
    assert len(service.log) <= Allowance.MAX_REQUESTS


def test_a_hop_is_a_request(service: Service) -> None:
    service.answers |= {"/a": moved("/b"), "/b": moved("/c"), "/c": b"x"}
    allowance = Allowance()
    with pytest.raises(Fault, match="requests of one host"):
        ask_often(service.url("/a"), allowance)
    assert len(service.log) == Allowance.MAX_REQUESTS_OF_HOST


def test_octets_and_seconds_are_of_the_whole_message(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.answers["/x"] = b"x" * 600
    monkeypatch.setattr(Allowance, "MAX_OCTETS", 1000)
    allowance = Allowance()
    ask(service.url("/x"), allowance=allowance)
    with pytest.raises(Fault, match="more than 1000 octets for one message"):
        ask(service.url("/x"), allowance=allowance)
    monkeypatch.setattr(Allowance, "SECONDS", 0.0)
    with pytest.raises(Fault, match="seconds of asking for one message are over"):
        ask(service.url("/x"))


# --- https ----------------------------------------------------------------------------------------


@pytest.fixture
def secure(tmp_path: Path) -> Iterator[tuple[Service, bytes]]:
    """A service behind TLS, and the root of its certificate, which is for localhost."""
    root = CA("TLS", key="p256")
    named = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    made = root.issue(
        "localhost@contoso.com",
        key="p256",
        eku=("1.3.6.1.5.5.7.3.1",),
        extensions=[x509.Extension(named.oid, False, named)],
    )
    (tmp_path / "tls.pem").write_bytes(made.to_pem())
    server = Service()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "tls.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server, root.trust_pem
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_server_that_nobody_vouches_for(secure: tuple[Service, bytes]) -> None:
    server, _ = secure
    with pytest.raises(Fault, match="certificate verify failed"):
        ask(f"https://localhost:{server.server_address[1]}/x")
    assert server.log == []


def test_https_is_for_the_name_and_not_left_again(
    secure: tuple[Service, bytes], service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, roots = secure
    port = server.server_address[1]
    context = ssl.create_default_context(cadata=roots.decode())
    monkeypatch.setattr(module, "_tls", lambda: context)
    server.answers |= {"/x": b"octets", "/a": moved(service.url("/b"))}
    service.answers["/b"] = b"in the clear"
    assert ask(f"https://localhost:{port}/x") == b"octets"
    with pytest.raises(Fault, match="from https to http is not followed"):
        ask(f"https://localhost:{port}/a")
    with pytest.raises(Fault, match="certificate verify failed"):
        ask(f"https://127.0.0.1:{port}/x")
    assert service.log == []
