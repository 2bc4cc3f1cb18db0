"""The two clients: thin drivers that carry out what the flows ask, on httpx.

What a client can do is declared once, in `_Operations`, from the flows. A type checker gives each
of its entries the flow's parameters, and the flow's result or an awaitable of it, by which client
it is taken from; at run time each client gets ordinary methods with real signatures, so that
`help()` and completion see them too. Rule: nothing is decided here that a flow could decide.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
import typing
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

import anyio.to_thread
import httpx

from .. import deadlines
from ..errors import GraphError, UsageError
from . import _delta, _flows, _http
from ._mailbox import Cloud, Mailbox, Wire, mailbox, seconds
from ._pace import EXCHANGE, GraphLimits, Pace, mailbox_of
from ._wire import Effect, Flow, NeedToken, NoAnswer, OnDisk, Pause, Request, Response
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
    _fetch_spooled = Operation(_flows.fetch_spooled)
    get = Operation(_flows.get)
    list = Operation(_flows.list_messages)
    _list_page = Operation(_flows.list_page)
    delta = Operation(_delta.delta)
    folders = Operation(_flows.folders)
    owner = Operation(_flows.owner)
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
        limits: GraphLimits,
    ) -> None:
        if not isinstance(limits, GraphLimits):
            raise UsageError(f"limits is {type(limits).__name__}, wanted GraphLimits")
        self._mailbox = box
        self._timeout = seconds(timeout, what="timeout")
        self._deadline = seconds(deadline, what="deadline")
        self._tokens = TokenSource(credential, scope=box.scope, clock=clock)
        self._clock, self._ticks = clock, _ticks(clock)
        self._limits, self._pace = limits, Pace(limits, self._ticks)

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
    safe, `limits` what is asked of a mailbox at once and in a time. `transport`, `clock` (Unix
    seconds) and `sleep` are for tests and for the emulator. Raises UsageError for settings that
    make no sense.
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
        limits: GraphLimits = EXCHANGE,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        box = mailbox(
            user=user, url=url, cloud=cloud, wire=wire, size_limit=size_limit, retries=retries
        )
        self._set_up(box, credential, clock, timeout=timeout, deadline=deadline, limits=limits)
        self._sleep = sleep
        self._places: dict[str, threading.BoundedSemaphore] = {}
        self._http = _http.Client(transport=transport, **_http.settings(box, transport))
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
            return self._tokens.token(effect.rejected, claims=effect.claims)
        if isinstance(effect, Pause):
            return self._sleep(deadlines.until(effect.seconds, end))
        name = mailbox_of(effect)
        place = self._places.get(name) or self._places.setdefault(
            name, threading.BoundedSemaphore(self._limits.at_once)
        )
        if not place.acquire(timeout=max(0.0, end - time.monotonic())):
            return NoAnswer("no", _FULL)
        try:
            while wait := self._pace.wait(name, effect):
                if time.monotonic() + wait >= end:
                    return NoAnswer("no", _later(wait))
                self._sleep(wait)
            return self._exchange(effect, end)
        finally:
            place.release()

    def _exchange(self, effect: Request, end: float) -> Response | NoAnswer:
        reading = _http.Reading(effect, self._clock, self._ticks, self._timeout, end)
        if reading.is_late():
            return NoAnswer("no", _http.OVER)
        try:
            got = self._http.send(reading.request(), stream=True)
            try:
                reading.begin(got)
                # Not iter_raw, which refuses an answer that a transport made from memory.
                for chunk in typing.cast("httpx.SyncByteStream", reading.body()):
                    reading.add(chunk)
                    if reading.enough():
                        break
                else:
                    reading.end = "whole"
            finally:
                got.close()
            return reading.response()
        except _http.LOST as error:
            return reading.broken(error)
        finally:
            reading.close()


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
        limits: GraphLimits = EXCHANGE,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        box = mailbox(
            user=user, url=url, cloud=cloud, wire=wire, size_limit=size_limit, retries=retries
        )
        self._set_up(box, credential, clock, timeout=timeout, deadline=deadline, limits=limits)
        self._sleep = sleep
        self._places: dict[str, anyio.Semaphore] = {}
        self._http = _http.AsyncClient(transport=transport, **_http.settings(box, transport))
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
            return await self._tokens.token_async(effect.rejected, claims=effect.claims)
        if isinstance(effect, Pause):
            return await self._sleep(deadlines.until(effect.seconds, end))
        name = mailbox_of(effect)
        place = self._places.get(name) or self._places.setdefault(
            name, anyio.Semaphore(self._limits.at_once)
        )
        try:
            place.acquire_nowait()
        except anyio.WouldBlock:
            with anyio.move_on_after(end - time.monotonic()) as scope:
                await place.acquire()
            if scope.cancelled_caught:
                return NoAnswer("no", _FULL)
        try:
            while wait := self._pace.wait(name, effect):
                if time.monotonic() + wait >= end:
                    return NoAnswer("no", _later(wait))
                await self._sleep(wait)
            return await self._exchange(effect, end)
        finally:
            place.release()

    async def _exchange(self, effect: Request, end: float) -> Response | NoAnswer:
        reading = _http.Reading(effect, self._clock, self._ticks, self._timeout, end)
        if reading.is_late():
            return NoAnswer("no", _http.OVER)
        try:
            got = await self._http.send(reading.request(), stream=True)
            try:
                reading.begin(got)
                async for chunk in typing.cast("httpx.AsyncByteStream", reading.body()):
                    reading.add(chunk)
                    if reading.enough():
                        break
                else:
                    reading.end = "whole"
            finally:
                await got.aclose()
            return reading.response()
        except _http.LOST as error:
            return reading.broken(error)
        finally:
            reading.close()


def _ticks(clock: Callable[[], float]) -> Callable[[], float]:
    """What tells how long something took: a clock that nobody sets, unless the caller has one."""
    return time.monotonic if clock is time.time else clock


_FULL = "the deadline of the call is over: as many requests as may be are being made at once"


def _later(seconds: float) -> str:
    return f"the limit of requests or uploads is reached, and there is room in {seconds:.0f} s"


def _closed() -> UsageError:
    return UsageError("the client is closed", hint="make a new one, or call it inside its 'with'")
