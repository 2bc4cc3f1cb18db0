"""Requests and answers as httpx has them, and what one costs in calls."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest

from smime_graph.emulator import Emulator
from smime_graph.graph import AsyncGraphClient, GraphClient

from ..work import calls_of, counted
from .conftest import Driver

TOKEN = "t" * 2000  # as long as those of Entra ID


class Canned(httpx.BaseTransport):
    def handle_request(self, request: httpx.Request) -> httpx.Response:
        header = [(b"request-id", b"r1"), (b"Date", b"Fri, 27 Nov 2026 06:41:00 GMT")]
        return httpx.Response(202, headers=header, stream=httpx.ByteStream(b""))


def test_a_send_takes_few_calls_however_long_the_token_is(raw: bytes) -> None:
    with GraphClient(TOKEN, transport=Canned()) as graph:
        # some fifteen of them keep the limits of the mailbox
        assert calls_of(lambda: graph.send(raw), of=("call",)) < 245


def test_a_request_has_just_these_fields(call: Driver, raw: bytes) -> None:
    seen: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(202)

    call(handler, "send", raw, settings={"url": "http://127.0.0.1:8025/v1.0"})
    (request,) = seen
    always = ["Host", "Accept", "Accept-Encoding", "User-Agent"]
    ours = ["Prefer", "Content-Type", "client-request-id", "Authorization", "Content-Length"]
    assert [name.decode() for name, _ in request.headers.raw] == always + ours
    assert request.headers["host"] == "127.0.0.1:8025"


@pytest.mark.parametrize(
    ("raw_id", "shown"),
    [(b"r\xc3\xa9", "r\N{LATIN SMALL LETTER E WITH ACUTE}"), (b"r\xe9", "r\xe9")],
)
def test_the_header_of_an_answer_is_read_as_utf_8_or_else_as_latin_1(
    call: Driver, raw: bytes, raw_id: bytes, shown: str
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, headers=[(b"Request-ID", raw_id), (b"X-Other", b"other")])

    ref: Any = call(handler, "send", raw)
    assert ref.request_id == shown


def test_fields_of_one_name_are_one_list(call: Driver, raw: bytes) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, headers=[(b"request-id", b"a"), (b"Request-Id", b"b")])

    ref: Any = call(handler, "send", raw)
    assert ref.request_id == "a, b"


class Asked:
    """What is looked for to be imported, noted and not found."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        self.names.append(name)


def test_over_a_socket_nothing_is_looked_for_anew_with_each_message(
    raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked()

    async def run(url: str) -> int:
        async with AsyncGraphClient("token", url=f"{url}/v1.0") as graph:
            await asyncio.gather(*[graph.send(raw) for _ in range(4)])  # that many connections
            monkeypatch.setattr(sys, "meta_path", [asked, *sys.meta_path])
            with counted(("call",)) as calls:
                await graph.send(raw)
            return calls[0]

    with Emulator(open_mailboxes=True) as here, here.serve() as server:
        count = asyncio.run(run(server.url))
    assert asked.names == [], "not installed: scripts/install test"
    assert count < 1550
