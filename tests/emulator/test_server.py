"""serve(): the emulator behind a real socket on loopback, with clients that behave and others."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from smime_graph.emulator import Emulator, Fault
from smime_graph.errors import UsageError
from smime_graph.loopback import server as server_module
from smime_graph.loopback.exchange import Response
from smime_graph.loopback.server import Server

from .conftest import Post

Mail = Callable[..., bytes]


@pytest.fixture
def server(emulator: Emulator) -> Iterator[Server]:
    with emulator.serve() as server:
        yield server


@pytest.fixture
def impatient(emulator: Emulator) -> Iterator[Server]:
    limit = emulator.request_limit
    with Server(
        emulator.exchange,
        port=0,
        request_limit=limit,
        request_seconds=0.3,
        refuse=lambda status, text: Response(status, body=b'{"error": {}}'),
    ) as server:
        yield server


@pytest.fixture
def web(server: Server) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer x"}
    with httpx.Client(base_url=f"{server.url}/v1.0", headers=headers, trust_env=False) as client:
        yield client


def talk(server: Server, data: bytes, *, end: bool = False) -> bytes:
    """Send bytes, and read until the server closes; at most ten seconds."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(data)
        if end:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
        return answer


def request(server: Server, *fields: str, line: str = "POST /v1.0/me/sendMail HTTP/1.1") -> bytes:
    head = [
        line,
        f"Host: 127.0.0.1:{server.port}",
        "Authorization: Bearer x",
        "Content-Type: text/plain",
        "Connection: close",
        *fields,
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode("latin-1")


def status(answer: bytes) -> int:
    assert answer.startswith(b"HTTP/1.1 "), answer[:200]
    body = answer.partition(b"\r\n\r\n")[2]
    assert body == b"" or "error" in json.loads(body)
    return int(answer.split()[1])


def test_it_serves_on_loopback_alone(
    server: Server, web: httpx.Client, post: Post, mail: Mail
) -> None:
    assert server.url == f"http://127.0.0.1:{server.port}"
    draft = post(web, "/me/messages", mail())
    assert draft.status_code == 201
    assert draft.json()["@odata.context"].startswith(server.url)
    assert web.get(f"/me/messages/{draft.json()['id']}/$value").content == mail()
    assert web.delete(f"/me/messages/{draft.json()['id']}").status_code == 204
    assert web.get("/me/messages?$top=1").status_code == 200
    with socket.socket() as other:  # all of 127/8 is loopback, and only one address of it is bound
        assert other.connect_ex(("127.0.0.2", server.port)) != 0


def test_chunked_bodies_are_read(emulator: Emulator, web: httpx.Client, mail: Mail) -> None:
    body = base64.b64encode(mail())

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 7):
            yield body[start : start + 7]

    response = web.post("/me/sendMail", content=pieces(), headers={"Content-Type": "text/plain"})
    assert response.status_code == 202
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1


def test_an_oversized_body_is_answered_with_413(emulator: Emulator, web: httpx.Client) -> None:
    plain = {"Content-Type": "text/plain"}
    for content in (b"A" * 6_000_000, iter([b"A" * 1_000_000] * 6)):
        response = web.post("/me/sendMail", content=content, headers=plain)
        assert response.status_code == 413
        assert response.json()["error"]["message"] == "The maximum request length supported is 4MB."
        assert emulator.log[-1].body_size == emulator.request_limit + 1, "no more than that is kept"
    assert web.get("/me/messages").status_code == 200


def test_a_body_without_end_is_not_read_to_the_end(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "DISCARD_LIMIT", 100_000)
    head = request(server, f"Content-Length: {10**12}")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"A" * (4 * 1024 * 1024 + 1 + 100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    head = request(server, "Transfer-Encoding: chunked")
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(head + b"ffffffff\r\n" + b"A" * (4 * 1024 * 1024 + 1 + 100_000))
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        (["Content-Length: 100"], b"too short"),
        (["Content-Length: -1"], b""),
        (["Content-Length: 1_0"], b"0123456789"),
        (["Content-Length: +5"], b"01234"),
        (["Content-Length: 9999999999999999"], b""),
        (["Content-Length: 3", "Content-Length: 4"], b"abcd"),
        (["Content-Length: 3", "Transfer-Encoding: chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: gzip"], b""),
        (["Transfer-Encoding: chunked, chunked"], b"0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"zz\r\n"),
        (["Transfer-Encoding: chunked"], b"-1\r\n"),
        (["Transfer-Encoding: chunked"], b"5\r\nabc"),
        (["Transfer-Encoding: chunked"], b"3\r\nabcdef\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"0\r\n" + b"X: y\r\n" * 200 + b"\r\n"),
        (["Transfer-Encoding: chunked"], b"0" * 9000 + b"\r\n"),
        (["no colon in this line"], b""),
        (["Content-Length : 4"], b"abcd"),
    ],
)
def test_a_request_that_lies_about_its_length_is_refused(
    emulator: Emulator, server: Server, fields: list[str], body: bytes
) -> None:
    assert status(talk(server, request(server, *fields) + body, end=True)) == 400
    assert emulator.log == ()


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET /v1.0/me/messages\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"b" * 70_000 + b"\r\n\r\n",
        b"\xff\xfe\x00 /\x00 HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_http_ends_the_connection(server: Server, head: bytes) -> None:
    answer = talk(server, head, end=True)
    assert answer == b"" or b'"error"' in answer
    assert b" 200 " not in answer[:20]
    assert httpx.get(f"{server.url}/v1.0/$metadata", trust_env=False).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", "localhost:{port}@x"],
)
def test_a_web_page_cannot_reach_it_under_another_name(server: Server, host: str) -> None:
    head = f"GET /v1.0/me/messages HTTP/1.1\r\nHost: {host.format(port=server.port)}\r\n"
    answer = talk(server, (head + "Authorization: Bearer x\r\nConnection: close\r\n\r\n").encode())
    assert status(answer) == 421
    good = f"Host: 127.0.0.1:{server.port}\r\n"
    for fields in ("", good + good, good + "Host: evil.example\r\n"):  # RFC 9112 3.2: 400
        head = f"GET /v1.0/$metadata HTTP/1.1\r\n{fields}Connection: close\r\n\r\n"
        assert status(talk(server, head.encode())) == 400, fields
    head = "GET /v1.0/$metadata HTTP/1.0\r\n\r\n"
    assert status(talk(server, head.encode())) == 421
    url = f"http://localhost:{server.port}/v1.0/$metadata"
    assert httpx.get(url, trust_env=False).status_code == 200


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"", b""),
        (b"POST /v1.0/me/sendMail HTTP/1.1\r\nHost: 127", b""),
        (None, b"HTTP/1.1 408 "),
    ],
)
def test_a_slow_client_is_given_up_on(
    impatient: Server, start: bytes | None, expected: bytes
) -> None:
    data = request(impatient, "Content-Length: 1000") if start is None else start
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", impatient.port), timeout=10) as connection:
        connection.sendall(data)
        connection.settimeout(0.05)
        answer = b""
        while time.monotonic() - begin < 8:
            try:
                piece = connection.recv(65536)
            except TimeoutError:
                connection.sendall(b"x")  # a byte now and then buys no more time
                continue
            except ConnectionError:
                break
            if not piece:
                break
            answer += piece
    assert answer.startswith(expected)
    assert time.monotonic() - begin < 5


def test_faults_happen_on_the_wire_too(
    emulator: Emulator, web: httpx.Client, post: Post, mail: Mail
) -> None:
    emulator.faults.script(
        Fault.cut_before(), Fault.cut_after(), Fault.throttled(retry_after=2), Fault.slow(0.05)
    )
    for _ in range(2):
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            post(web, "/me/sendMail", mail())
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 1
    response = post(web, "/me/sendMail", mail())
    assert (response.status_code, response.headers["Retry-After"]) == (429, "2")
    begin = time.monotonic()
    assert post(web, "/me/sendMail", mail()).status_code == 202
    assert time.monotonic() - begin >= 0.05


def test_links_name_the_front(emulator: Emulator, post: Post, mail: Mail) -> None:
    with emulator.serve(public_url="https://Graph.test/") as server:
        web = httpx.Client(
            base_url=f"{server.url}/v1.0",
            headers={"Authorization": "Bearer x", "Host": "graph.test"},
            trust_env=False,
        )
        with web:
            for _ in range(2):
                post(web, "/me/messages", mail())
            page = web.get("/me/messages?$top=1").json()
            assert page["@odata.nextLink"].startswith("https://graph.test/v1.0/me/messages?")
            assert web.get("/me/messages", headers={"Host": "other.test"}).status_code == 421
    with emulator.serve(public_url="https://graph.microsoft.com") as server:
        # as SMTP2Graph asks the proxy that it is told of
        head = (
            "POST https://graph.microsoft.com/v1.0/users/alice@contoso.com/sendMail HTTP/1.1\r\n"
            "Host: graph.microsoft.com\r\nAuthorization: Bearer x\r\nContent-Type: text/plain\r\n"
            "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        )
        body = base64.b64encode(mail())
        chunks = f"{len(body):x}\r\n{body.decode()}\r\n0\r\n\r\n"
        assert status(talk(server, (head + chunks).encode())) == 202
    for wrong in ("graph.test", "ftp://graph.test", "https://a/b", "https://u@a", "https://a:x"):
        with pytest.raises(UsageError, match="public URL"):
            emulator.serve(public_url=wrong)


def test_a_page_of_another_origin_is_refused(server: Server) -> None:
    def answer(origin: str) -> int:
        fields = {"Authorization": "Bearer x", "Origin": origin}
        got = httpx.get(f"{server.url}/v1.0/me/messages", headers=fields, trust_env=False)
        assert "access-control-allow-origin" not in got.headers
        return got.status_code

    own = f"http://localhost:{server.port}"
    assert [answer(one) for one in (server.url, own)] == [200, 200]
    others = ("null", "http://evil.example", f"https://127.0.0.1:{server.port}", "http://127.0.0.1")
    assert [answer(one) for one in others] == [403] * len(others)


def test_many_clients_at_once(
    emulator: Emulator, web: httpx.Client, post: Post, mail: Mail
) -> None:
    with ThreadPoolExecutor(8) as pool:
        work = [pool.submit(post, web, "/me/sendMail", mail()) for _ in range(40)]
        assert {w.result().status_code for w in work} == {202}
    assert len(emulator.mailbox("bob@contoso.com").messages()) == 40


def test_closing_cuts_what_is_open(emulator: Emulator) -> None:
    emulator.faults.add(Fault.slow(60))
    server = emulator.serve()
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(request(server, "Content-Length: 0"))
        while not emulator.log:
            time.sleep(0.005)
        begin = time.monotonic()
        server.close()
        assert time.monotonic() - begin < 4
        with socket.socket() as late:
            assert late.connect_ex(("127.0.0.1", server.port)) != 0
    server.close()


def test_a_port_that_is_taken_is_refused(emulator: Emulator, server: Server) -> None:
    for port in (server.port, 70_000, -1):
        with pytest.raises(UsageError, match=f"port {port}"):
            emulator.serve(port)


def test_a_failure_inside_is_an_answer_and_not_a_trace(
    emulator: Emulator, web: httpx.Client, capfd: pytest.CaptureFixture[str]
) -> None:
    emulator.close()
    assert web.get("/me/messages").status_code == 500
    assert capfd.readouterr() == ("", "")
