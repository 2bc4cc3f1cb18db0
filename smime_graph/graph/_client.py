"""The two clients: thin drivers that carry out what the flows ask, on httpx.

What a client can do is declared once, in `_Operations`, from the flows. A type checker gives each
of its entries the flow's parameters, and the flow's result or an awaitable of it, by which client
it is taken from; at run time each client gets ordinary methods with real signatures, so that
`help()` and completion see them too. Rule: nothing is decided here that a flow could decide.
"""

from __future__ import annotations

import asyncio
import inspect
import ssl
import time
import typing
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, overload

import anyio.to_thread
import httpx

from .. import deadlines
from ..errors import GraphError, UsageError
from . import _answers, _flows
from ._mailbox import Cloud, Mailbox, Wire, mailbox, seconds
from ._wire import (
    ERROR_BODY_LIMIT,
    Effect,
    Flow,
    NeedToken,
    NoAnswer,
    OnDisk,
    Pause,
    Request,
    Response,
)
from .auth import Credential, TokenSource

P = ParamSpec("P")
T = TypeVar("T")


class Operation(Generic[P, T]):
    """A flow as a method of both clients."""

    def __init__(self, flow: Callable[Concatenate[Mailbox, P], Flow[T]]) -> None:
        self.flow = flow

    if TYPE_CHECKING:

        @overload
        def __get__(self, client: GraphClient, owner: Any) -> Callable[P, T]: ...
        @overload
        def __get__(
            self, client: AsyncGraphClient, owner: Any
        ) -> Callable[P, Coroutine[Any, Any, T]]: ...
        @overload
        def __get__(self, client: None, owner: Any) -> Callable[Concatenate[Any, P], Any]: ...
        def __get__(self, client: Any, owner: Any) -> Any: ...


class _Operations:
    """What both clients offer. Each entry is the only declaration of that method."""

    send = Operation(_flows.send)
    reply = Operation(_flows.reply)
    reply_all = Operation(_flows.reply_all)
    forward = Operation(_flows.forward)
    draft = Operation(_flows.draft)
    create_reply = Operation(_flows.create_reply)
    create_reply_all = Operation(_flows.create_reply_all)
    create_forward = Operation(_flows.create_forward)
    update_draft = Operation(_flows.update_draft)
    send_draft = Operation(_flows.send_draft)
    settle = Operation(_flows.settle)
    delete = Operation(_flows.delete)
    fetch = Operation(_flows.fetch)
    get = Operation(_flows.get)
    list = Operation(_flows.list_messages)
    _list_page = Operation(_flows.list_page)
    folders = Operation(_flows.folders)
    contacts = Operation(_flows.contacts)

    _mailbox: Mailbox

    def __init_subclass__(cls) -> None:
        if _Operations in cls.__bases__:  # a user's subclass may override what it likes
            for name, entry in vars(_Operations).items():
                if isinstance(entry, Operation):
                    setattr(cls, name, _method(cls, name, entry.flow))

    def _set_up(
        self,
        box: Mailbox,
        credential: Credential,
        clock: Callable[[], float],
        *,
        timeout: float,
        deadline: float,
    ) -> None:
        self._mailbox = box
        self._timeout = seconds(timeout, what="timeout")
        self._deadline = seconds(deadline, what="deadline")
        self._tokens = TokenSource(credential, scope=box.scope, clock=clock)
        self._clock, self._ticks = clock, _ticks(clock)

    def __repr__(self) -> str:
        box = self._mailbox
        return f"{type(self).__name__}(user={box.user!r}, url={box.url!r}, wire={box.wire!r})"


def _method(cls: type, name: str, flow: Callable[..., Flow[Any]]) -> Callable[..., Any]:
    """The flow as an ordinary method that drives it by the class's `_run`."""
    run: Any = vars(cls)["_run"]
    method: Any
    if inspect.iscoroutinefunction(run):

        async def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return await run(self, flow(self._mailbox, *args, **kwargs))

    else:

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            return run(self, flow(self._mailbox, *args, **kwargs))

    hints = typing.get_type_hints(flow)
    result = typing.get_args(hints.pop("return"))[2]  # Generator[Effect, Any, result]
    _box, *parameters = inspect.signature(flow).parameters.values()
    typed = [p.replace(annotation=hints[p.name]) for p in parameters]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    method.__signature__ = inspect.Signature([itself, *typed], return_annotation=result)
    method.__annotations__ = {p.name: p.annotation for p in typed} | {"return": result}
    method.__name__, method.__qualname__ = name, f"{cls.__qualname__}.{name}"
    method.__doc__ = flow.__doc__
    return typing.cast("Callable[..., Any]", method)


class GraphClient(_Operations):
    """A mailbox on Microsoft Graph; usable from several threads, closed by `close` or by `with`.

    `credential` is an access token, a function that gives one, or a credential of azure-identity.
    `user` is "me", or an id or address. `cloud` picks the address of the service (default: global);
    `url` wins. `wire` is the form of requests: see this package's docstring. `size_limit` counts
    bytes of an HTTP body (None: no limit). `timeout` is in seconds, for connecting and for each
    wait on the line; `deadline` for a call as a whole, with all its attempts, waits and look-ups
    (only a resolver or a credential of yours can outlast it). What has no answer by then is not
    known to be done, and said to be so. `retries` is the number of further attempts where one is
    safe. `transport`, `clock` (Unix seconds) and `sleep` are for tests and for the emulator. Raises
    UsageError for settings that make no sense.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        user: str = "me",
        url: str | None = None,
        cloud: Cloud | None = None,
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        timeout: float = 30.0,
        deadline: float = 300.0,
        retries: int = 4,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        box = mailbox(
            user=user, url=url, cloud=cloud, wire=wire, size_limit=size_limit, retries=retries
        )
        self._set_up(box, credential, clock, timeout=timeout, deadline=deadline)
        self._sleep = sleep
        self._http = _Http(transport=transport, **_settings(box, transport))
        deadlines.bound(self._http)

    def __enter__(self) -> GraphClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _run(self, flow: Flow[T]) -> T:
        end = time.monotonic() + self._deadline
        answer: Any = None
        error: BaseException | None = None
        name: str | None = None
        while True:
            try:
                effect = flow.send(answer) if error is None else flow.throw(error)
            except StopIteration as done:
                return typing.cast("T", done.value)
            except GraphError as failure:
                failure.client_request_id = failure.client_request_id or name
                raise
            finally:
                answer = error = None  # or an error and this frame would keep each other alive
            if isinstance(effect, Request):
                name = effect.headers.get("client-request-id")
            try:
                answer = self._carry_out(effect, end)
            except BaseException as failure:  # noqa: BLE001 - the flow raises it again
                error = failure  # and decides what it means, above all in mid-send

    def _carry_out(self, effect: Effect, end: float) -> Any:
        if isinstance(effect, OnDisk):
            return effect.work()
        if self._http.is_closed:
            raise _closed()
        if isinstance(effect, NeedToken):
            return self._tokens.token(effect.rejected)
        if isinstance(effect, Pause):
            return self._sleep(deadlines.until(effect.seconds, end))
        reading = _Reading(effect, self._clock, self._ticks, self._timeout, end)
        if reading.is_late():
            return NoAnswer("no", _OVER)
        try:
            with self._http.stream(**_sent(effect, self._timeout, end)) as got:
                reading.begin(got)
                # Not iter_raw, which refuses an answer that a transport made from memory.
                for chunk in typing.cast("httpx.SyncByteStream", reading.body()):
                    reading.add(chunk)
                    if reading.enough():
                        break
                else:
                    reading.end = "whole"
        except _LOST as error:
            return reading.broken(error)
        return reading.response()


class AsyncGraphClient(_Operations):
    """As GraphClient, for asyncio: every method is awaited, closed by `aclose` or by `async with`.

    The credential may be asynchronous as well. Under another event loop give its `sleep`.
    """

    def __init__(
        self,
        credential: Credential,
        *,
        user: str = "me",
        url: str | None = None,
        cloud: Cloud | None = None,
        wire: Wire = "text-plain",
        size_limit: int | None = 4 * 1024 * 1024,
        timeout: float = 30.0,
        deadline: float = 300.0,
        retries: int = 4,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        box = mailbox(
            user=user, url=url, cloud=cloud, wire=wire, size_limit=size_limit, retries=retries
        )
        self._set_up(box, credential, clock, timeout=timeout, deadline=deadline)
        self._sleep = sleep
        self._http = _AsyncHttp(transport=transport, **_settings(box, transport))
        deadlines.bound(self._http)

    async def __aenter__(self) -> AsyncGraphClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def _run(self, flow: Flow[T]) -> T:
        end = time.monotonic() + self._deadline
        answer: Any = None
        error: BaseException | None = None
        name: str | None = None
        while True:
            try:
                effect = flow.send(answer) if error is None else flow.throw(error)
            except StopIteration as done:
                return typing.cast("T", done.value)
            except GraphError as failure:
                failure.client_request_id = failure.client_request_id or name
                raise
            finally:
                answer = error = None  # or an error and this frame would keep each other alive
            if isinstance(effect, Request):
                name = effect.headers.get("client-request-id")
            try:
                answer = await self._carry_out(effect, end)
            except BaseException as failure:  # noqa: BLE001 - the flow raises it again
                error = failure

    async def _carry_out(self, effect: Effect, end: float) -> Any:
        if isinstance(effect, OnDisk):
            return await anyio.to_thread.run_sync(effect.work)
        if self._http.is_closed:
            raise _closed()
        if isinstance(effect, NeedToken):
            return await self._tokens.token_async(effect.rejected)
        if isinstance(effect, Pause):
            return await self._sleep(deadlines.until(effect.seconds, end))
        reading = _Reading(effect, self._clock, self._ticks, self._timeout, end)
        if reading.is_late():
            return NoAnswer("no", _OVER)
        try:
            async with self._http.stream(**_sent(effect, self._timeout, end)) as got:
                reading.begin(got)
                async for chunk in typing.cast("httpx.AsyncByteStream", reading.body()):
                    reading.add(chunk)
                    if reading.enough():
                        break
                else:
                    reading.end = "whole"
        except _LOST as error:
            return reading.broken(error)
        return reading.response()


# What httpx raises for a request that fails. InvalidURL is no HTTPError, an unusable host name is a
# UnicodeError of the resolver's, and a broken TLS record under asyncio an ssl.SSLError.
_LOST = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, OSError)

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


def no_answer(error: Exception) -> NoAnswer:
    """What a failure of httpx means for the request; its text shows only if nothing was written."""
    kind = next(k for k in type(error).__mro__ if k in _FAILURES)
    sent, words = _FAILURES[kind]
    detail = _answers.printable(str(error), limit=200) if kind is httpx.ConnectError else ""
    return NoAnswer(sent, f"{words} ({detail})" if detail else f"{words} ({type(error).__name__})")


_OVER = "the deadline of the call is over"


class _Reading:
    """One answer while it is read, within its limits of size and time."""

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
        self._body = bytearray()
        self.end: Literal["whole", "limit", "lost"] = "lost"

    def begin(self, got: httpx.Response) -> None:
        self._got = got
        self._received, self._began = self._clock(), self._ticks()
        self._limit = self._request.limit if got.is_success else ERROR_BODY_LIMIT
        # A byte for each wait would keep a call until its deadline. So a body also has ten waits,
        # and 16 KiB a second, in all; one that nobody needs has one wait.
        self._patience = self._timeout
        if self._limit > ERROR_BODY_LIMIT:
            self._patience = 10 * self._timeout + self._limit / 16384

    def is_late(self) -> bool:
        return time.monotonic() >= self._end

    def body(self) -> httpx.SyncByteStream | httpx.AsyncByteStream:
        """What is to be read: nothing of a compressed answer, which could inflate without bound."""
        got = self._got
        if got is None or got.headers.get("content-encoding", "identity") != "identity":
            self._limit = -1  # so that it is not taken for an empty one
            return httpx.ByteStream(b"")
        return got.stream

    def add(self, chunk: bytes) -> None:
        self._body += chunk

    def enough(self) -> bool:
        """True if no more is to be read."""
        if len(self._body) > self._limit:
            del self._body[self._limit :]
            self.end = "limit"
            return True
        return self.is_late() or self._ticks() - self._began > self._patience

    def broken(self, error: Exception) -> Response | NoAnswer:
        """What there is after a failure: a status line counts, even if the body was lost."""
        if self._got is not None:
            return self.response()
        answer = replace(no_answer(error), began_at=self._asked)
        return replace(answer, reason=f"{_OVER}: {answer.reason}") if self.is_late() else answer

    def response(self) -> Response:
        if self._got is None:
            raise ValueError("no answer was begun")
        headers = {name.lower(): value for name, value in self._got.headers.items()}
        return Response(
            self._got.status_code,
            headers,
            bytes(self._body),
            self.end,
            received_at=self._received,
            began_at=self._asked,
        )


def _sent(request: Request, timeout: float, end: float) -> dict[str, Any]:
    return {
        "method": request.method,
        "url": _url(request.url),
        "content": request.body,
        "headers": {**request.headers, "Authorization": f"Bearer {request.token}"},
        "timeout": deadlines.timeouts(timeout, end),
    }


# A client asks the same few places again and again, and httpx takes 40 us to parse one.
_url = lru_cache(maxsize=64)(httpx.URL)


class _NoCookies(httpx.Cookies):
    """Graph needs none. What an answer would set is not kept, and costs nothing."""

    def extract_cookies(self, response: httpx.Response) -> None:
        """Keep none of them."""
        del response


class _Http(httpx.Client):
    @property  # type: ignore[misc] # nobody sets them
    def cookies(self) -> httpx.Cookies:
        """None."""
        return _NO_COOKIES


class _AsyncHttp(httpx.AsyncClient):
    @property  # type: ignore[misc] # nobody sets them
    def cookies(self) -> httpx.Cookies:
        """None."""
        return _NO_COOKIES


_NO_COOKIES = _NoCookies()


def _settings(box: Mailbox, transport: object) -> dict[str, Any]:
    return {
        "verify": _certificates() if transport is None else True,
        "follow_redirects": False,
        # Exchange serves 4 requests of an app at once, and throttles more ("Throttling limits").
        "limits": httpx.Limits(max_connections=4),
        # A proxy from the environment is for the world outside; over http on loopback it would read
        # the token.
        "trust_env": not box.loopback,
        # A compressed answer could grow without bound while it is unpacked.
        "headers": {"Accept-Encoding": "identity", "User-Agent": "smime-graph"},
    }


def _certificates() -> ssl.SSLContext:
    """Whom TLS believes: SSL_CERT_FILE and SSL_CERT_DIR count on loopback, too."""
    try:
        return httpx.create_ssl_context()
    except OSError as error:  # an ssl.SSLError is one
        raise UsageError(
            "the root certificates of TLS cannot be read:"
            f" {error.strerror or type(error).__name__}",
            hint="SSL_CERT_FILE and SSL_CERT_DIR name them, where they are set",
        ) from error


def _ticks(clock: Callable[[], float]) -> Callable[[], float]:
    """What tells how long something took: a clock that nobody sets, unless the caller has one."""
    return time.monotonic if clock is time.time else clock


def _closed() -> UsageError:
    return UsageError("the client is closed", hint="make a new one, or call it inside its 'with'")
