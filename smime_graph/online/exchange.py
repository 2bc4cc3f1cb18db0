"""One question over HTTP and its answer, within bounds.

The address that was checked is the one that is connected to: no second look-up of the name stands
between. Every hop of a redirect is checked as the first one was.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import urljoin

import httpcore

from .. import deadlines
from .addresses import Fault, Place, is_allowed, place_of, shown

CONNECT_SECONDS = 5.0
WAIT_SECONDS = 5.0
REQUEST_SECONDS = 10.0
MAX_REDIRECTS = 3
_MAX_ADDRESSES = 3  # of one name, that are tried
_REDIRECTS = {301, 302, 303, 307, 308}
_KEEP_METHOD = {307, 308}  # RFC 9110 15.4: the others may make a GET of a POST


class Allowance:
    """What one message may cause: requests (each hop of a redirect is one), octets and seconds."""

    MAX_REQUESTS = 16
    MAX_REQUESTS_OF_HOST = 8
    MAX_OCTETS = 32 << 20
    SECONDS = 30.0

    def __init__(self) -> None:
        self._hosts: Counter[str] = Counter()
        self.octets = 0
        self._end: float | None = None

    def end(self) -> float:
        """The moment (of `time.monotonic`) at which a request made now must be over."""
        now = time.monotonic()
        if self._end is None:
            self._end = now + self.SECONDS
        if now >= self._end:
            raise Fault(f"{self.SECONDS:g} seconds of asking for one message are over")
        return min(self._end, now + REQUEST_SECONDS)

    def spend_request(self, host: str) -> None:
        if self._hosts.total() >= self.MAX_REQUESTS:
            raise Fault(f"more than {self.MAX_REQUESTS} requests for one message")
        if self._hosts[host] >= self.MAX_REQUESTS_OF_HOST:
            raise Fault(f"more than {self.MAX_REQUESTS_OF_HOST} requests of one host")
        self._hosts[host] += 1

    def spend_octets(self, count: int) -> None:
        self.octets += count
        if self.octets > self.MAX_OCTETS:
            raise Fault(f"more than {self.MAX_OCTETS} octets for one message")


def exchange(
    url: str,
    *,
    allowance: Allowance,
    limit: int,
    local: bool,
    body: bytes | None = None,
    content_type: str = "",
) -> bytes:
    """The body of the answer: GET, or POST where there is a `body`. Raises Fault, nothing else.

    `limit` is of octets of the answer. `local` allows the addresses of this machine and its
    networks.
    """
    end = allowance.end()
    for _ in range(MAX_REDIRECTS + 1):
        place = place_of(url)
        allowance.spend_request(place.host)
        try:
            answer = _ask(place, allowance, limit, local, end, body, content_type)
        except Fault:
            raise
        except httpcore.TimeoutException:
            raise Fault(f"no answer within {REQUEST_SECONDS:g} seconds") from None
        except Exception as error:  # noqa: BLE001 - whatever a stranger's server sends: nothing may escape
            raise Fault(_plain(error)) from None
        if isinstance(answer, bytes):
            return answer
        url = _redirected(url, place, *answer, is_post=body is not None)
    raise Fault(f"more than {MAX_REDIRECTS} redirects")


def _redirected(url: str, place: Place, status: int, location: str, *, is_post: bool) -> str:
    if is_post and status not in _KEEP_METHOD:
        raise Fault(f"answered {status}: a question that was posted is not repeated elsewhere")
    try:
        target = urljoin(url, location)
    except ValueError:
        raise Fault(f"answered {status} to what is no URL") from None
    if place.scheme == "https" and place_of(target).scheme != "https":
        raise Fault("a redirect from https to http is not followed")
    return target


def _ask(
    place: Place,
    allowance: Allowance,
    limit: int,
    local: bool,
    end: float,
    body: bytes | None,
    content_type: str,
) -> bytes | tuple[int, str]:
    """The body of a good answer, or status and Location of a redirect."""
    default = {"http": 80, "https": 443}[place.scheme]
    name = f"[{place.host}]" if ":" in place.host else place.host
    headers: dict[bytes | str, bytes | str] = {
        "Host": name if place.port == default else f"{name}:{place.port}",
        "User-Agent": "smime-graph",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # what is packed could be larger than any limit
        "Connection": "close",
    }
    if body is not None:
        headers |= {"Content-Type": content_type, "Content-Length": str(len(body))}
    timeouts = deadlines.timeouts(WAIT_SECONDS, end)
    timeouts["connect"] = deadlines.Within.of(CONNECT_SECONDS, end)
    with (
        httpcore.ConnectionPool(
            ssl_context=_tls() if place.scheme == "https" else None,
            max_connections=1,
            http2=False,
            network_backend=_Guarded(end, local=local),
        ) as pool,
        pool.stream(
            b"GET" if body is None else b"POST",
            httpcore.URL(
                scheme=place.scheme.encode(),
                host=place.host.encode(),
                port=place.port,
                target=place.target.encode(),
            ),
            headers=headers,
            content=body,
            extensions={"timeout": timeouts},
        ) as response,
    ):
        fields = {name.lower(): value.decode("latin-1") for name, value in response.headers}
        if response.status in _REDIRECTS:
            if b"location" not in fields:
                raise Fault(f"answered {response.status} without a place to go")
            return response.status, fields[b"location"]
        if response.status != 200:
            raise Fault(f"answered {response.status}")
        if fields.get(b"content-encoding", "identity").strip().lower() not in ("identity", ""):
            raise Fault("answered in an encoding that nobody asked for")
        length = fields.get(b"content-length", "")
        if length.isdecimal() and int(length[:20]) > limit:
            raise Fault(f"an answer of {length[:20]} octets, at most {limit} are read")
        return _body(response.iter_stream(), allowance, limit)


def _body(pieces: Iterable[bytes], allowance: Allowance, limit: int) -> bytes:
    found: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        allowance.spend_octets(len(piece))
        if size > limit:
            raise Fault(f"an answer of more than {limit} octets")
        found.append(piece)
    return b"".join(found)


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    import httpx  # its roots, and none that the environment names

    return httpx.create_ssl_context(trust_env=False)


def _plain(error: Exception) -> str:
    """Without the numbers of the system: one line, and lower case like the rest."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = text.removeprefix("[Errno ").partition("] ")[2] or text
    return text[:1].lower() + text[1:200].rstrip(". ")


class _Guarded(httpcore.NetworkBackend):
    """Connects to addresses that were looked at, and keeps the deadline."""

    def __init__(self, end: float, *, local: bool) -> None:
        self._end = end
        self._local = local
        self._inner = deadlines.Backend(httpcore.SyncBackend())

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        found = resolve(host, port, deadlines.until(CONNECT_SECONDS, self._end))
        allowed = [one for one in found if is_allowed(one, local=self._local)]
        if not allowed:
            text = f"{shown(host)} is at {', '.join(found[:3])}, of this machine or its network"
            raise Fault(
                text if found else f"{shown(host)} has no address",
                hint="allow that where such an address is meant",
            )
        failed: Exception | None = None
        for address in allowed[:_MAX_ADDRESSES]:
            try:
                return self._inner.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = failed or error
        raise failed or Fault("nothing to connect to")


def resolve(host: str, port: int, seconds: float) -> list[str]:
    """The addresses of a host, as the system's resolver gives them; Fault where it takes longer.

    It has no limit of its own that holds everywhere, and cannot be interrupted.
    """
    answers: list[list[str] | Exception] = []
    lookup: Callable[..., Any] = socket.getaddrinfo

    def ask() -> None:
        try:
            found = lookup(host, port, type=socket.SOCK_STREAM)
            answers.append(list(dict.fromkeys(str(one[4][0]) for one in found)))
        except (OSError, ValueError) as error:
            answers.append(error)

    worker = threading.Thread(target=ask, daemon=True, name="smime-graph look-up")
    worker.start()
    worker.join(seconds)
    if not answers:
        raise Fault(f"{shown(host)} was not found within {seconds:.0f} seconds")
    if isinstance(answers[0], Exception):
        raise Fault(f"{shown(host)} was not found")
    return answers[0]
