"""A moment at which a request ends, whatever the other side does.

httpx bounds every single wait on the line and not their sum, so a header that drips, a body that
drips and interim answers (1xx) without end each hold a call for ever. httpcore hands the object
that is given as a timeout through to the stream; here it also knows the end. httpx has no public
way to a transport's network backend: it is set where httpcore keeps it, and tests/graph/
test_deadline.py fails if that moves.
"""

from __future__ import annotations

import select
import ssl
import time
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx

_PIECE = 64 * 1024  # a piece is written within one wait, however slowly the other side takes it


class Within(float):
    """Seconds for one wait, which are over at `end` (of `time.monotonic`) in any case."""

    end: float

    @classmethod
    def of(cls, seconds: float, end: float) -> Within:
        made = cls(max(0.001, until(seconds, end)))  # 0 would mean: do not wait at all
        made.end = end
        return made


def until(seconds: float, end: float) -> float:
    """So long, and no longer than to the end."""
    return max(0.0, min(seconds, end - time.monotonic()))


def is_over(end: float) -> bool:
    return time.monotonic() >= end


def timeouts(seconds: float, end: float) -> dict[str, Within]:
    """As httpcore wants them: `seconds` for each wait, and as long as there is for a connection."""
    wait = Within.of(seconds, end)
    patient = Within.of(end - time.monotonic(), end)
    return {"connect": wait, "read": wait, "write": wait, "pool": patient}


def bound(http: httpx.Client | httpx.AsyncClient) -> None:
    """Let every stream of the client's own transports keep the end of a `Within`."""
    client: Any = http
    for transport in (client._transport, *client._mounts.values()):
        pool = getattr(transport, "_pool", None)  # a transport of the caller's has none
        if pool is not None:
            wrap = _AsyncBackend if isinstance(http, httpx.AsyncClient) else Backend
            pool._network_backend = wrap(pool._network_backend)


def _left(timeout: float | None, late: type[httpcore.TimeoutException]) -> float | None:
    if not isinstance(timeout, Within):
        return timeout
    left = timeout.end - time.monotonic()
    if left <= 0:
        raise late("the deadline of the call is over")
    return min(float(timeout), left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            self._inner.write(piece, _left(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class Backend(httpcore.NetworkBackend):
    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _Stream(self._inner.connect_tcp(host, port, left, local_address, socket_options))

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._socket: Any = inner.get_extra_info("socket")

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, _left(timeout, httpcore.ReadTimeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        for start in range(0, len(buffer), _PIECE):
            piece = buffer[start : start + _PIECE]
            await self._inner.write(piece, _left(timeout, httpcore.WriteTimeout))

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:
        # asked of each idle connection with every request; anyio makes a table of all that could
        # be asked first
        if info == "is_readable" and hasattr(select, "poll"):
            return _is_readable(self._socket)
        return self._inner.get_extra_info(info)


def _is_readable(connection: Any) -> bool:
    """Whether there is something to read, be it the end."""
    if connection is None or connection.fileno() < 0:
        return True
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(0))


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        left = _left(timeout, httpcore.ConnectTimeout)
        made = await self._inner.connect_tcp(host, port, left, local_address, socket_options)
        return _AsyncStream(made)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
