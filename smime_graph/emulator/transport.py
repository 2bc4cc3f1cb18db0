"""The emulator as a transport of httpx, synchronous and asynchronous. Only here httpx is
imported.
"""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
import httpx

from ..loopback.exchange import Exchange, Handler, Request, Response


def _request(request: httpx.Request, body: bytes) -> Request:
    netloc = request.url.netloc.decode("ascii", "replace")
    return Request(
        method=request.method,
        target=request.url.raw_path.decode("latin-1"),
        headers=tuple(
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
        ),
        body=body,
        origin=f"{request.url.scheme}://{netloc}",
    )


def _wait(exchange: Exchange, request: httpx.Request) -> tuple[float, bool]:
    """How long to wait, and whether the client has given up by then."""
    patience = request.extensions.get("timeout", {}).get("read")
    if patience is not None and exchange.delay > patience:
        return patience, True
    return exchange.delay, False


def _broken(exchange: Exchange, request: httpx.Request) -> httpx.TransportError:
    if exchange.refused:
        return httpx.ConnectError("connection refused", request=request)
    text = "server disconnected without sending a response"
    return httpx.RemoteProtocolError(text, request=request)


def _response(response: Response, request: httpx.Request) -> httpx.Response:
    """As it comes from a socket, to be read by whoever wants it."""
    headers = [
        (name.encode("latin-1"), value.encode("latin-1")) for name, value in response.headers
    ]
    if response.status != 204:
        headers.append((b"Content-Length", b"%d" % len(response.body)))
    stream = httpx.ByteStream(response.body)
    return httpx.Response(response.status, headers=headers, stream=stream, request=request)


class Transport(httpx.BaseTransport):
    """Carries requests to an emulator in the caller's thread."""

    def __init__(self, exchange: Handler) -> None:
        self._exchange = exchange

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        exchange = self._exchange(_request(request, request.read()))
        delay, too_late = _wait(exchange, request)
        if delay:
            time.sleep(delay)
        if too_late:
            raise httpx.ReadTimeout("the read operation timed out", request=request)
        if exchange.response is None:
            raise _broken(exchange, request)
        return _response(exchange.response, request)


class AsyncTransport(httpx.AsyncBaseTransport):
    """Carries requests to an emulator from any event loop that httpx runs on."""

    def __init__(self, exchange: Handler) -> None:
        self._exchange = exchange

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        ours = _request(request, await request.aread())
        # In a thread: another process may hold the mailbox file, and SQLite waits in the call.
        exchange = await anyio.to_thread.run_sync(self._exchange, ours)
        delay, too_late = _wait(exchange, request)
        if delay:
            await anyio.sleep(delay)
        if too_late:
            raise httpx.ReadTimeout("the read operation timed out", request=request)
        if exchange.response is None:
            raise _broken(exchange, request)
        return _response(exchange.response, request)
