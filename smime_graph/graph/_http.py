"""What the drivers need of httpx: a request, its answer while it is read, and what failures mean.

Requests are made complete and the answer's header is read as bytes: what httpx does to merge
settings into a request, and to guess how a header is encoded, took as long as the rest of a send.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Literal

import httpx

from .. import deadlines
from ..buffers import Spool
from ..errors import UsageError
from . import _answers
from ._mailbox import Mailbox
from ._wire import ERROR_BODY_LIMIT, NoAnswer, Request, Response

# What httpx raises for a request that fails. InvalidURL is no HTTPError, an unusable host name is a
# UnicodeError of the resolver's, and a broken TLS record under asyncio an ssl.SSLError.
LOST = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError)

# Whether a request left this machine before it failed. httpx connects, and is through with TLS,
# before it writes; a failed write is not always told apart from a failed read (httpcore goes on to
# read the answer). The most specific class counts.
_FAILURES: dict[type[Exception], tuple[Literal["yes", "no", "unknown"], str]] = {
    httpx.ConnectError: ("no", "could not connect"),
    httpx.ConnectTimeout: ("no", "could not connect in time"),
    httpx.PoolTimeout: ("no", "no free connection in time"),
    httpx.ProxyError: ("no", "the proxy did not connect"),
    httpx.UnsupportedProtocol: ("no", "the address cannot be reached by HTTP"),
    httpx.ReadTimeout: ("yes", "no answer in time"),
    httpx.WriteTimeout: ("unknown", "the request could not be written in time"),
    httpx.HTTPError: ("unknown", "the connection was lost"),
    httpx.InvalidURL: ("no", "the address cannot be reached by HTTP"),
    UnicodeError: ("no", "the host has no usable name"),
    UnicodeDecodeError: ("unknown", "the answer cannot be read"),
    OSError: ("unknown", "the connection was lost"),
}


# How OpenSSL says that it met something other than TLS
_NO_TLS = ("wrong version number", "record layer failure")


def no_answer(error: Exception, url: str) -> NoAnswer:
    """What a failure of httpx means for the request; its text shows only if nothing was written."""
    kind = next(k for k in type(error).__mro__ if k in _FAILURES)
    sent, words = _FAILURES[kind]
    detail = _answers.printable(str(error), limit=200) if kind is httpx.ConnectError else ""
    words += f" ({detail or type(error).__name__})"
    if url.startswith("http:") and sent == "unknown":
        words += "; a server that speaks TLS hangs up so, and the url says http"
    elif any(one in detail for one in _NO_TLS):
        words += "; no TLS is spoken there, and the url says https"
    return NoAnswer(sent, words)


OVER = "the deadline of the call is over"


class Reading:
    """One request, and its answer while it is read, within its limits of size and time."""

    def __init__(
        self,
        request: Request,
        clock: Callable[[], float],
        ticks: Callable[[], float],
        timeout: float,
        end: float,
    ) -> None:
        self._request, self._timeout, self._end = request, timeout, end
        self._clock, self._ticks = clock, ticks
        self._asked = ticks()
        self._got: httpx.Response | None = None
        self._header: dict[str, str] = {}
        self._body = bytearray()
        self._spool: Spool | None = None
        self.end: Literal["whole", "limit", "lost"] = "lost"

    def request(self) -> httpx.Request:
        """What is asked, as httpx wants it."""
        asked = self._request
        url, host = _place(asked.url)
        header = [(b"Host", host), *_ALWAYS]
        fields = {**asked.headers, "Authorization": f"Bearer {asked.token}"}
        header += [(name.encode("ascii"), value.encode("ascii")) for name, value in fields.items()]
        if asked.body or asked.method in ("POST", "PUT"):
            header.append((b"Content-Length", b"%d" % len(asked.body)))
        return httpx.Request(
            asked.method,
            url,
            headers=header,
            stream=httpx.ByteStream(asked.body),
            extensions={"timeout": deadlines.timeouts(self._timeout, self._end)},
        )

    def begin(self, got: httpx.Response) -> None:
        self._got, self._header = got, _fields(got.headers.raw)
        self._received, self._began = self._clock(), self._ticks()
        self._limit = self._request.limit if got.is_success else ERROR_BODY_LIMIT
        if got.is_success and self._request.spooled:
            self._spool = Spool()
        # A byte for each wait would keep a call until its deadline. So a body also has ten waits,
        # and 16 KiB a second, in all; one that nobody needs has one wait.
        self._patience = self._timeout
        if self._limit > ERROR_BODY_LIMIT:
            self._patience = 10 * self._timeout + self._limit / 16384

    def is_late(self) -> bool:
        return deadlines.is_over(self._end)

    def body(self) -> httpx.SyncByteStream | httpx.AsyncByteStream:
        """What is to be read: nothing of a compressed answer, which could inflate without bound."""
        got = self._got
        if got is None or self._header.get("content-encoding", "identity") != "identity":
            self._limit = -1  # so that it is not taken for an empty one
            return httpx.ByteStream(b"")
        return got.stream

    def add(self, chunk: bytes) -> None:
        if self._spool is None:
            self._body += chunk
        else:
            self._spool.write(chunk)

    def enough(self) -> bool:
        """True if no more is to be read."""
        if len(self._body if self._spool is None else self._spool) > self._limit:
            del self._body[self._limit :]
            self.end = "limit"
            return True
        return self.is_late() or self._ticks() - self._began > self._patience

    def broken(self, error: Exception) -> Response | NoAnswer:
        """What there is after a failure: a status line counts, even if the body was lost."""
        if self._got is not None:
            return self.response()
        answer = replace(no_answer(error, self._request.url), began_at=self._asked)
        return replace(answer, reason=f"{OVER}: {answer.reason}") if self.is_late() else answer

    def close(self) -> None:
        if self._spool is not None:
            self._spool.close()

    def response(self) -> Response:
        if self._got is None:
            raise ValueError("no answer was begun")
        return Response(
            self._got.status_code,
            self._header,
            bytes(self._body),
            b"" if self._spool is None else self._spool.data(),
            self.end,
            received_at=self._received,
            began_at=self._asked,
        )


# A client asks the same few places again and again, and httpx takes 40 us to parse one.
@lru_cache(maxsize=64)
def _place(url: str) -> tuple[httpx.URL, bytes]:
    """An address, and the Host field for it."""
    parsed = httpx.URL(url)
    return parsed, parsed.netloc


_ALWAYS = (
    (b"Accept", b"*/*"),
    # A compressed answer could grow without bound while it is unpacked.
    (b"Accept-Encoding", b"identity"),
    (b"User-Agent", b"smime-graph"),
)


def _fields(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """A header by its names in lower case; fields of one name are one list (RFC 9110 5.3)."""
    try:
        text = [(name.decode("utf-8"), value.decode("utf-8")) for name, value in raw]
    except UnicodeDecodeError:
        text = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in raw]
    found: dict[str, str] = {}
    for name, value in text:
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


class _NoCookies(httpx.Cookies):
    """Graph needs none. What an answer would set is not kept, and costs nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none of them."""
        del response


class Client(httpx.Client):
    """Without cookies."""

    @property  # type: ignore[misc] # nobody sets them
    def cookies(self) -> httpx.Cookies:
        """None."""
        return _NO_COOKIES


class AsyncClient(httpx.AsyncClient):
    """Without cookies."""

    @property  # type: ignore[misc] # nobody sets them
    def cookies(self) -> httpx.Cookies:
        """None."""
        return _NO_COOKIES


_NO_COOKIES = _NoCookies()


def settings(box: Mailbox, transport: object) -> dict[str, Any]:
    """How a client of either kind is made; `transport` is the caller's, or None."""
    return {
        "verify": certificates() if transport is None else True,
        "follow_redirects": False,
        # how many are at once is said for each mailbox (`_pace`), and a client may serve several
        "limits": httpx.Limits(max_connections=None, max_keepalive_connections=20),
        # A proxy from the environment is for the world outside; over http on loopback it would read
        # the token.
        "trust_env": not box.loopback,
    }


def certificates() -> ssl.SSLContext:
    """Whom TLS believes: SSL_CERT_FILE and SSL_CERT_DIR count on loopback, too."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # an ssl.SSLError is one
        raise UsageError(
            "the root certificates of TLS cannot be read:"
            f" {error.strerror or type(error).__name__}",
            hint="SSL_CERT_FILE and SSL_CERT_DIR name them, where they are set",
        ) from error
