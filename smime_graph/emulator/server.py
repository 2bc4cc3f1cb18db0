"""The emulator behind a socket, on 127.0.0.1 only.

Every connection is bounded: the time for a request as a whole (not for each read of it), the
bytes kept, the bytes thrown away, and the number of connections. A web page in a browser
cannot reach it by renaming a host (DNS rebinding), because the Host field must name the
loopback address.
"""

from __future__ import annotations

import io
import re
import socket
import struct
import threading
import time
from email.message import Message as HeaderFields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from smime_graph.errors import UsageError

from .call import Request, Response
from .routes import refused
from .shapes import Refusal

if TYPE_CHECKING:
    from .service import Emulator

REQUEST_SECONDS = 30.0
CONNECTION_LIMIT = 64
DISCARD_LIMIT = 64 * 1024 * 1024  # read and thrown away, so that a client sees its 413
CLOSE_SECONDS = 5.0


class Server:
    """A running server: `url` is what a client needs, `close()` ends it. Also a context manager."""

    def __init__(
        self, emulator: Emulator, *, port: int, request_seconds: float = REQUEST_SECONDS
    ) -> None:
        try:
            self._http = _HTTPServer(emulator, port, request_seconds)
        except (OSError, OverflowError) as error:
            raise UsageError(f"port {port}: cannot be served: {error}") from None
        self.port: int = self._http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._http.origin = self.url
        self._thread = threading.Thread(
            target=self._http.serve_forever,
            kwargs={"poll_interval": 0.05},
            name=f"emulator:{self.port}",
            daemon=True,
        )
        self._thread.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop: no new connection is taken, those that are open are cut."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(CLOSE_SECONDS)
        self._http.cut_all()

    def wait(self) -> None:
        """Wait until the server is closed from elsewhere, or the caller is interrupted."""
        self._thread.join()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # cut_all() waits, with a limit
    request_queue_size = 32

    def __init__(self, emulator: Emulator, port: int, request_seconds: float) -> None:
        self.emulator = emulator
        self.request_seconds = request_seconds
        self.origin = ""
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            if len(self._open) >= CONNECTION_LIMIT:
                self.shutdown_request(request)
                return
            self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._changed:
                self._open.discard(request)
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; there is nobody to tell either."""

    def cut_all(self) -> None:
        self.closing.set()
        end = time.monotonic() + CLOSE_SECONDS
        with self._changed:
            for connection in self._open:
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:  # it is closed already
                    pass
            while self._open and time.monotonic() < end:
                self._changed.wait(end - time.monotonic())


class _DeadlineReader(io.RawIOBase):
    """Reads from a socket until a moment in time: a byte now and then buys no more of it."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.deadline = 0.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the request took too long")
        self._connection.settimeout(remaining)
        return self._connection.recv_into(buffer)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "smime-graph-emulator"
    sys_version = ""

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._reader = _DeadlineReader(self.connection)
        self.rfile = io.BufferedReader(self._reader, 64 * 1024)

    def handle_one_request(self) -> None:
        self._reader.deadline = time.monotonic() + self._server.request_seconds
        super().handle_one_request()

    @property
    def _server(self) -> _HTTPServer:
        return cast("_HTTPServer", self.server)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Nothing goes to standard error; the emulator has a log of its own."""

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002 - it repeats the client's words
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """What the base class refuses, in Graph's shape."""
        self.close_connection = True
        if self.request_version == "HTTP/0.9":  # the request line did not even parse
            self.request_version = "HTTP/1.0"
        self._write(_refusal(int(code), "BadRequest", "The request is not valid HTTP."))

    def _serve(self) -> None:
        try:
            request = self._read_request()
        except Refusal as refusal:
            self.close_connection = True
            self._write(_refusal(refusal.status, refusal.code, refusal.message))
            return
        try:
            exchange = self._server.emulator.exchange(request)
        except Exception:  # noqa: BLE001 - a bug of ours or a closed emulator, and yet an answer
            self.close_connection = True
            self._write(_refusal(500, "InternalServerError", "The emulator failed."))
            return
        if exchange.delay:
            self._server.closing.wait(exchange.delay)
        if exchange.response is None:
            self._cut()
        else:
            self._write(exchange.response)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_OPTIONS = _serve  # noqa: N815

    def _read_request(self) -> Request:
        fields: HeaderFields = self.headers
        self._check_host(fields.get_all("Host", []))
        # A field that http.server could not parse is not seen by us, but by another reader perhaps.
        if fields.defects:
            raise Refusal(400, "BadRequest", "The header is malformed.")
        body = self._read_body()
        return Request(
            method=self.command,
            target=self.path,
            headers=tuple((str(name), str(value)) for name, value in fields.items()),
            body=body,
            origin=self._server.origin,
        )

    def _check_host(self, hosts: list[str]) -> None:
        allowed = {f"{name}:{self._server.server_port}" for name in ("127.0.0.1", "localhost")}
        if len(hosts) != 1 or hosts[0].strip().lower() not in allowed:
            raise Refusal(421, "BadRequest", "The Host field does not name this server.")

    def _read_body(self) -> bytes:
        lengths = self.headers.get_all("Content-Length", [])
        codings = self.headers.get_all("Transfer-Encoding", [])
        if codings:
            # RFC 9112 6.3: both together are how requests are smuggled.
            if lengths or [c.strip().lower() for c in codings] != ["chunked"]:
                raise Refusal(400, "BadRequest", "The length of the request is ambiguous.")
            return self._read_chunks()
        if not lengths:
            return b""
        if len(set(lengths)) != 1 or not re.fullmatch(r"[0-9]{1,15}", lengths[0].strip()):
            raise Refusal(400, "BadRequest", "The length of the request is not valid.")
        kept = bytearray()
        self._take(int(lengths[0]), kept)
        return bytes(kept)

    def _read_chunks(self) -> bytes:
        kept = bytearray()
        total = 0
        while True:
            line = self._line()
            size = re.fullmatch(rb"([0-9A-Fa-f]{1,8})[ \t]*(;.*)?", line, re.DOTALL)
            if size is None:
                raise Refusal(400, "BadRequest", "A chunk of the request is malformed.")
            length = int(size[1], 16)
            if length == 0:
                break
            total += length
            if total > self._server.emulator.request_limit + DISCARD_LIMIT:
                raise Refusal(413, "BadRequest", "The maximum request length supported is 4MB.")
            self._take(length, kept)
            if self._line():
                raise Refusal(400, "BadRequest", "A chunk of the request is malformed.")
        for _ in range(100):  # trailer fields, which nobody asked for
            if not self._line():
                return bytes(kept)
        raise Refusal(400, "BadRequest", "The request has too many trailer fields.")

    def _line(self) -> bytes:
        try:
            line = self.rfile.readline(8192)
        except TimeoutError:
            raise Refusal(408, "BadRequest", "The request took too long.") from None
        if not line.endswith(b"\n"):
            raise Refusal(400, "BadRequest", "The request ended too early.")
        return line.rstrip(b"\r\n")

    def _take(self, length: int, kept: bytearray) -> None:
        """Read `length` bytes; keep one more than the limit at most, for the handler to answer
        413.
        """
        room = self._server.emulator.request_limit + 1
        if length > room + DISCARD_LIMIT:
            self.close_connection = True
            length = room + DISCARD_LIMIT
        while length:
            try:
                piece = self.rfile.read1(min(length, 256 * 1024))
            except TimeoutError:
                raise Refusal(408, "BadRequest", "The request took too long.") from None
            if not piece:
                raise Refusal(400, "BadRequest", "The request ended too early.")
            length -= len(piece)
            kept += piece[: room - len(kept)]

    def _write(self, response: Response) -> None:
        self.connection.settimeout(self._server.request_seconds)
        self.send_response_only(response.status)
        for name, value in response.headers:
            self.send_header(name, value)
        if response.status >= 200 and response.status != 204:
            self.send_header("Content-Length", str(len(response.body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(response.body)

    def _cut(self) -> None:
        """End the connection with a reset, without a byte of an answer."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _refusal(status: int, code: str, message: str) -> Response:
    return refused(
        Refusal(status, code, message), now=time.time(), request_id="", client_request_id=""
    )
