"""Both clients behind one call, and a small Graph that counts what it delivers."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email import message_from_bytes
from email.utils import formatdate, getaddresses
from typing import Any
from urllib.parse import parse_qs, unquote

import httpx
import pytest

from smime_graph.graph import AsyncGraphClient, GraphClient

from .postgres import Server, running

NOW = 1_800_000_000.0
TOKEN = "s3cret-token"

RAW = (
    b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: hello\r\n"
    b"Message-ID: <m1@contoso.com>\r\nMIME-Version: 1.0\r\n\r\nhi\r\n"
)
MESSAGE_ID = "<m1@contoso.com>"

Handler = Callable[[httpx.Request], httpx.Response]


class Driver:
    """Calls a method of one of the two clients against a handler; sleeping is only written down."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pauses: list[float] = []
        self.now = NOW

    def __call__(
        self,
        handler: Handler,
        method: str,
        *args: Any,
        credential: Any = TOKEN,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        common: dict[str, Any] = {"clock": lambda: self.now, **(settings or {})}
        if isinstance(handler, FakeGraph):
            handler.clock = lambda: self.now + handler.ahead
        if self.kind == "sync":
            with GraphClient(
                credential, transport=httpx.MockTransport(handler), sleep=self._sleep, **common
            ) as graph:
                return getattr(graph, method)(*args, **kwargs)

        async def run() -> Any:
            transport = httpx.MockTransport(handler)
            async with AsyncGraphClient(
                credential, transport=transport, sleep=self._sleep_async, **common
            ) as graph:
                return await getattr(graph, method)(*args, **kwargs)

        return asyncio.run(run())

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    async def _sleep_async(self, seconds: float) -> None:
        self._sleep(seconds)


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces; one that is an exception is raised, one that is callable is called."""

    def __init__(self, *pieces: Any) -> None:
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece() if callable(piece) else piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece


@dataclass
class FakeGraph:
    """A mailbox that delivers, and fails as its scripts say.

    `faults` is for requests that change something, `look_faults` for those that read; each list is
    used up from its front. A fault is (carried out?, answer or exception), or None for none. Its
    clock is `ahead` of the client's. `ORIGINAL` is what is answered to.
    """

    ORIGINAL = {  # noqa: RUF012 - nobody changes it
        "id": "id",
        "from": {"emailAddress": {"address": "Bob@contoso.com"}},
        "toRecipients": [{"emailAddress": {"address": "alice@contoso.com"}}],
        "ccRecipients": [],
    }

    faults: list[Any] = field(default_factory=list)
    look_faults: list[Any] = field(default_factory=list)
    lag: int = 0  # looks until a sent message shows
    to_self: bool = False
    ahead: float = 0.0
    dated: bool = True
    clock: Callable[[], float] = lambda: NOW
    delivered: list[bytes] = field(default_factory=list)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    requests: list[httpx.Request] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        answer = self._answer(request)
        if self.dated:
            answer.headers["Date"] = formatdate(self.clock(), usegmt=True)
        return answer

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        looks = request.method == "GET"
        script = self.look_faults if looks else self.faults
        fault = script.pop(0) if script else None
        if fault is None:
            return self._look(request) if looks else self._act(request)
        carried_out, answer = fault
        if carried_out and not looks:
            self._act(request)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, httpx.Response)
        return answer

    def posts(self) -> list[str]:
        return [r.url.path for r in self.requests if r.method == "POST"]

    def _act(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path.endswith("/send"):
            item = path.split("/")[-2]
            if not self.items.get(item, {}).get("isDraft"):
                return error(404, "ErrorItemNotFound")
            self.items[item] |= {"isDraft": False, "folder": "sentitems"}
            self.delivered.append(self.bodies[item])
            return httpx.Response(202)
        raw = base64.b64decode(request.content, validate=True)
        if path.endswith(("/messages", "/createReply", "/createReplyAll", "/createForward")):
            return httpx.Response(201, json=self.keep(raw, folder="drafts"))
        self.delivered.append(raw)
        for folder in ("inbox", "sentitems") if self.to_self else ("sentitems",):
            self.keep(raw, folder=folder)
        return httpx.Response(202, headers={"request-id": "r-202"})

    def keep(self, raw: bytes, *, folder: str, **properties: Any) -> dict[str, Any]:
        header = message_from_bytes(raw)
        people = {
            f"{name}Recipients": [
                {"emailAddress": {"address": one}}
                for _, one in getaddresses(header.get_all(name, []))
            ]
            for name in ("to", "cc", "bcc")
        }
        made = datetime.fromtimestamp(int(self.clock()), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        item = {
            "id": f"AAMk-{len(self.items)}",
            "internetMessageId": header["Message-ID"],
            "isDraft": folder == "drafts",
            "folder": folder,
            "createdDateTime": made,
            "from": {"emailAddress": {"address": header["From"]}},
            **people,
            **properties,
        }
        self.items[item["id"]] = item
        self.bodies[item["id"]] = raw
        return item

    def _look(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.url.query.decode())
        path = unquote(request.url.path)
        place = re.search("/mailFolders/([^/]+)/", path)
        shown = [i for i in self.items.values() if place is None or i["folder"] == place[1]]
        if "$filter" not in query:
            wanted = path.split("/")[-1]
            found = [i for i in [*shown, self.ORIGINAL] if i["id"] == wanted]
            return httpx.Response(200, json=found[0]) if found else error(404, "ErrorItemNotFound")
        self.lag -= 1
        match = re.fullmatch(r"internetMessageId eq '(.*)'", query["$filter"][0])
        assert match
        wanted = match[1].replace("''", "'")
        found = [i for i in shown if i["internetMessageId"] == wanted]
        return httpx.Response(200, json={"value": found if self.lag < 0 else []})


def error(status: int, code: str, message: str = "no", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"error": {"code": code, "message": message, "innerError": {"request-id": "r-inner"}}}
    return httpx.Response(status, headers=named, content=json.dumps(body).encode())


@pytest.fixture(params=["sync", "async"])
def call(request: pytest.FixtureRequest) -> Driver:
    return Driver(request.param)


@pytest.fixture(scope="session")
def fake() -> type[FakeGraph]:
    return FakeGraph


@pytest.fixture(scope="session")
def graph_error() -> Callable[..., httpx.Response]:
    return error


@pytest.fixture(scope="session")
def stream() -> type[Stream]:
    return Stream


@pytest.fixture(scope="session")
def drive() -> type[Driver]:
    return Driver


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL, for all tests of this folder; each empties it before it begins."""
    with running() as server:
        yield server


@pytest.fixture(scope="session")
def raw() -> bytes:
    return RAW
