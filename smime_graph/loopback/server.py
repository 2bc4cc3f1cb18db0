"""A handler behind a socket, on 127.0.0.1 only; HTTP itself is h11's business.

Every connection is bounded: the time for a request as a whole (not for each read of it), the
bytes kept, the bytes thrown away, and the number of connections. Where all are taken, whoever lets
the server wait for the longest time makes room for who comes next. A web page in a browser cannot
reach it by renaming a host (DNS rebinding), because the Host field must name the loopback address,
nor by a request of its own, because of that a browser says the page's origin.
"""

from __future__ import annotations

import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

import h11

from ..errors import UsageError
from .exchange import Handler, Request, Response

if TYPE_CHECKING:
    import ssl

REQUEST_SECONDS = 30.0
CONNECTION_LIMIT = 64
DELAYED_LIMIT = 1000  # connections more, whose answers are held back on purpose
PATIENCE_SECONDS = 0.5  # with a client that sends or reads slowly, where others want its place
HEAD_LIMIT = 64 * 1024  # bytes of a request line with its fields, of a chunk's line, of a trailer
FIELD_LIMIT = 100  # in a header or a trailer
DISCARD_LIMIT = 64 * 1024 * 1024  # read and thrown away, so that a client sees its 413
CLOSE_SECONDS = 5.0
_ABSOLUTE = re.compile(r"https?://([^/?#]*)(.*)", re.I)  # how a proxy is asked


class Server:
    """A running server: `url` is what a client needs, `close()` ends it. Also a context manager.

    `refuse` makes the answer to what is no request for the handler, of a status and a sentence.
    With `bare_host` the Host field may be without the port, and missing in HTTP/1.0: no browser
    sends that, but OpenSSL does. `tls` is the context of a server; `public_url` is where clients
    find it behind a front, whose name may then stand in the Host field.
    """

    def __init__(
        self,
        exchange: Handler,
        *,
        port: int,
        request_limit: int,
        refuse: Callable[[int, str], Response],
        request_seconds: float = REQUEST_SECONDS,
        bare_host: bool = False,
        tls: ssl.SSLContext | None = None,
        public_url: str | None = None,
    ) -> None:
        rules = _Rules(
            exchange, refuse, request_limit, request_seconds, bare_host, tls, _public(public_url)
        )
        try:
            self._tcp = _TCPServer(rules, port)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise UsageError(
                f"port {port} cannot be served: {reason or error}",
                hint="choose another port; 0 takes one that is free",
            ) from None
        self.port: int = self._tcp.server_address[1]
        scheme = "http" if tls is None else "https"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._tcp.url = self.url
        own = self.url, f"{scheme}://localhost:{self.port}", rules.public
        self._tcp.origins = frozenset(filter(None, own))
        self._thread = threading.Thread(
            target=self._tcp.serve_forever,
            kwargs={"poll_interval": 0.05},
            name=f"loopback:{self.port}",
            daemon=True,
        )
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop: no new connection is taken, those that are open are cut."""
        self._tcp.closing.set()
        self._tcp.shutdown()
        self._tcp.server_close()
        self._thread.join(CLOSE_SECONDS)
        self._tcp.cut_all()

    def wait(self) -> None:
        """Wait until the server is closed from elsewhere, or the caller is interrupted."""
        self._thread.join()


@dataclass(frozen=True, slots=True)
class _Rules:
    """What a server was made with."""

    exchange: Handler
    refuse: Callable[[int, str], Response]
    request_limit: int
    request_seconds: float
    bare_host: bool
    tls: ssl.SSLContext | None
    public: str  # an origin, or nothing


def _public(url: str | None) -> str:
    if url is None:
        return ""
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
        bare = not (parts.username or parts.path.strip("/") or parts.query or parts.fragment)
    except ValueError:
        good = bare = False
    if not (good and bare and url.isascii() and url.isprintable()):
        raise UsageError(
            f"public URL {url[:100]!r}: a scheme, a host and perhaps a port were wanted",
            hint="for example https://graph.test:8443",
        )
    return f"{parts.scheme}://{parts.netloc.lower()}"


class _Refusal(Exception):
    """What is answered instead of asking the handler: a status and a sentence."""


@dataclass(slots=True, eq=False)
class _Link:
    """A connection from outside: its socket, and since when the client is waited for."""

    held: socket.socket
    since: float | None
    is_cut: bool = False

    def cut(self) -> None:
        self.is_cut = True
        try:
            # not that of an SSLSocket, which another thread may be using
            socket.socket.shutdown(self.held, socket.SHUT_RDWR)
        except OSError:  # it is closed already
            pass


class _TCPServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False  # cut_all() waits, with a limit
    request_queue_size = 128

    def __init__(self, rules: _Rules, port: int) -> None:
        self.rules = rules
        self.url = ""
        self.origins: frozenset[str] = frozenset()
        self.closing = threading.Event()
        self._open: dict[socket.socket, _Link] = {}
        self._delayed = 0  # of them
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            while self._is_full() and not self.closing.is_set():
                self._cut_the_slowest()
                self._changed.wait(0.05)
            self._open[request] = _Link(request, time.monotonic())
        super().process_request(request, client_address)

    def _is_full(self) -> bool:
        return len(self._open) - min(self._delayed, DELAYED_LIMIT) >= CONNECTION_LIMIT

    def delay(self, seconds: float) -> None:
        """Wait, unless the server is closed; others may come meanwhile."""
        with self._changed:
            self._delayed += 1
            self._changed.notify_all()
        self.closing.wait(seconds)
        with self._changed:
            self._delayed -= 1

    def _cut_the_slowest(self) -> None:
        """Of those who have had their time; none whose request is being carried out."""
        since = time.monotonic() - PATIENCE_SECONDS
        slow = [one for one in self._open.values() if one.since is not None and one.since <= since]
        if slow:
            min(slow, key=lambda one: one.since or 0).cut()

    def link(self, request: socket.socket) -> _Link:
        with self._changed:
            return self._open[request]

    def begin(self, link: _Link) -> bool:
        """The client has said all, its request is carried out; False where it was cut before."""
        with self._changed:
            link.since = None
            return not link.is_cut

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                del self._open[request]
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; there is nobody to tell either."""

    def cut_all(self) -> None:
        end = time.monotonic() + CLOSE_SECONDS
        with self._changed:
            for link in self._open.values():
                link.cut()
            while self._open and time.monotonic() < end:
                self._changed.wait(end - time.monotonic())


class _Connection(socketserver.BaseRequestHandler):
    """One connection: request after request, until one of the two does not want another."""

    request: socket.socket  # the base class's name for the socket

    def handle(self) -> None:
        # or the rest of an answer waits 40 ms for its beginning to be acknowledged
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._link = self._server.link(self.request)
        self._deadline = time.monotonic() + self._server.rules.request_seconds
        if (tls := self._server.rules.tls) is not None:
            self.request = self._link.held = tls.wrap_socket(
                self.request, server_side=True, do_handshake_on_connect=False
            )
            self._wait_until(self._deadline)
            self.request.do_handshake()
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_LIMIT)
        while not self._server.closing.is_set():
            self._asked_for_head = False
            self._link.since = time.monotonic()
            self._deadline = self._link.since + self._server.rules.request_seconds
            try:
                request = self._read_request()
            except _Refusal as refusal:
                self._write(self._server.rules.refuse(*refusal.args))
                return
            except h11.RemoteProtocolError:
                self._write(self._server.rules.refuse(400, "The request is not valid HTTP."))
                return
            except TimeoutError:
                return  # not even a whole header: there is nothing to answer
            if request is None or not self._server.begin(self._link):
                return
            if not self._answer(request):
                return
            if self._http.their_state is not h11.DONE or self._http.our_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    def finish(self) -> None:
        if self._server.rules.tls is not None:
            self.request.close()  # it took the place of the one that the base class closes

    @property
    def _server(self) -> _TCPServer:
        return cast("_TCPServer", self.server)

    def _answer(self, request: Request) -> bool:
        try:
            exchange = self._server.rules.exchange(request)
        except Exception:  # noqa: BLE001 - a bug of ours or a closed service, and yet an answer
            self._write(self._server.rules.refuse(500, "The service failed."), last=True)
            return False
        if exchange.delay:
            self._server.delay(exchange.delay)
        if exchange.response is None:
            # the connection ends with a reset, without a byte of an answer
            linger = struct.pack("ii", 1, 0)
            self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.request.close()
            return False
        self._write(exchange.response)
        return True

    def _wait_until(self, deadline: float) -> None:
        remaining = deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the request took too long")
        self.request.settimeout(remaining)

    def _next_event(self) -> Any:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            if self._http.they_are_waiting_for_100_continue:
                self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._wait_until(self._deadline)
            self._http.receive_data(self.request.recv(256 * 1024))
        return event

    def _read_request(self) -> Request | None:
        head = self._next_event()
        if not isinstance(head, h11.Request):
            return None  # the client has closed
        self._asked_for_head = head.method == b"HEAD"
        fields = head.headers.raw_items()
        names = [name.lower() for name, _ in fields]
        if len(fields) > FIELD_LIMIT:
            raise _Refusal(400, "The request has too many header fields.")
        if b"content-length" in names and b"transfer-encoding" in names:
            # RFC 9112 6.3: both together are how requests are smuggled; h11 takes one of them
            raise _Refusal(400, "The length of the request is ambiguous.")
        known = {name: value.decode("latin-1").lower() for name, value in head.headers}
        target = head.target.decode()
        if absolute := _ABSOLUTE.fullmatch(target):  # RFC 9112 3.2.2: the Host field says nothing
            known[b"host"], target = absolute[1].lower(), absolute[2]
            target = target if target.startswith("/") else f"/{target}"
        if not self._is_host(known.get(b"host", "")):
            raise _Refusal(421, "The Host field does not name this server.")
        if not self._is_own_page(known.get(b"origin")):
            raise _Refusal(403, "A page of another origin may not ask this server.")
        return Request(
            method=head.method.decode(),
            target=target,
            headers=tuple((n.decode(), v.decode("latin-1")) for n, v in fields),
            body=self._read_body(),
            origin=self._server.rules.public or self._server.url,
        )

    def _is_host(self, named: str) -> bool:
        """Whether a Host field names the loopback address, or the front before it."""
        server = self._server
        if server.rules.bare_host and named in ("", "127.0.0.1", "localhost"):
            return True
        return bool(named) and any(one.endswith(f"//{named}") for one in server.origins)

    def _is_own_page(self, origin: str | None) -> bool:
        """Browsers name the page that sends a request; nobody else has to."""
        return origin is None or origin in self._server.origins

    def _read_body(self) -> bytes:
        """One byte more than the limit at most, for the handler to answer 413."""
        room = self._server.rules.request_limit + 1
        kept = bytearray()
        left = room + DISCARD_LIMIT
        while left > 0:
            try:
                event = self._next_event()
            except TimeoutError:
                raise _Refusal(408, "The request took too long.") from None
            if isinstance(event, h11.EndOfMessage):
                if len(event.headers) > FIELD_LIMIT:
                    raise _Refusal(400, "The request has too many trailer fields.")
                break
            kept += event.data[: room - len(kept)]
            left -= len(event.data)
        return bytes(kept)

    def _write(self, response: Response, *, last: bool = False) -> None:
        self._link.since = time.monotonic()
        self.request.settimeout(self._server.rules.request_seconds)
        fields = [(n.encode(), v.encode("latin-1")) for n, v in response.headers]
        if response.status >= 200 and response.status != 204:
            fields.append((b"Content-Length", str(len(response.body)).encode()))
        if last or self._http.their_state is not h11.DONE:
            fields.append((b"Connection", b"close"))
        reason = HTTPStatus(response.status).phrase.encode()
        body = b"" if self._asked_for_head else response.body  # RFC 9110 9.3.2
        self._send(
            h11.Response(status_code=response.status, headers=fields, reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        )

    def _send(self, *events: Any) -> None:
        self.request.sendall(b"".join([self._http.send(event) or b"" for event in events]))
