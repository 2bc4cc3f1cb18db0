"""What is asked of a mailbox at once and in a time: waited for, told, and settable."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.errors import GraphUnreachable, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient, GraphLimits
from smime_graph.graph._pace import Pace, mailbox_of
from smime_graph.graph._wire import Request

from .conftest import Driver, FakeGraph

MINUTE = timedelta(minutes=1)


class Crowd:
    """A Graph that takes its time, and counts how many requests of a mailbox it has at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.now: dict[str, int] = {}
        self.most: dict[str, int] = {}

    def enter(self, request: httpx.Request) -> str:
        place = request.url.path.split("/")[3]
        with self.lock:
            self.now[place] = self.now.get(place, 0) + 1
            self.most[place] = max(self.most.get(place, 0), self.now[place])
        return place

    def leave(self, place: str) -> httpx.Response:
        with self.lock:
            self.now[place] -= 1
        return httpx.Response(200, json={"value": []})

    def answer(self, request: httpx.Request) -> httpx.Response:
        place = self.enter(request)
        time.sleep(0.02)
        return self.leave(place)

    async def answer_async(self, request: httpx.Request) -> httpx.Response:
        place = self.enter(request)
        await asyncio.sleep(0.02)
        return self.leave(place)


def crowd(kind: str, settings: dict[str, Any], times: int = 24) -> int:
    made = Crowd()
    if kind == "sync":
        transport = httpx.MockTransport(made.answer)
        with (
            GraphClient("t", user="a@x.y", transport=transport, **settings) as client,
            ThreadPoolExecutor(times) as pool,
        ):
            for one in [pool.submit(client.list) for _ in range(times)]:
                one.result()
        return made.most["a@x.y"]

    async def run() -> None:
        other = httpx.MockTransport(made.answer_async)
        async with AsyncGraphClient("t", user="a@x.y", transport=other, **settings) as client:
            await asyncio.gather(*(client.list() for _ in range(times)))

    asyncio.run(run())
    return made.most["a@x.y"]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_four_at_once_unless_one_says_otherwise(kind: str) -> None:
    assert crowd(kind, {}) == 4
    assert crowd(kind, {"limits": GraphLimits(at_once=1)}) == 1
    assert crowd(kind, {"limits": GraphLimits(at_once=9)}) == 9


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_who_waits_too_long_for_a_place_is_told_that_nothing_was_sent(
    kind: str, raw: bytes
) -> None:
    posted: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        posted.extend([request] if request.method == "POST" else [])
        return httpx.Response(200, json={"value": []})

    transport: Any = httpx.MockTransport(handler)
    settings: dict[str, Any] = {"limits": GraphLimits(at_once=1), "deadline": 0.2, "retries": 0}

    def send() -> None:
        with GraphClient("t", transport=transport, **settings) as client:
            client.list()
            (place,) = client._places.values()
            place.acquire()  # somebody else is at it, and stays
            client.send(raw)

    async def send_async() -> None:
        async with AsyncGraphClient("t", transport=transport, **settings) as client:
            await client.list()
            (place,) = client._places.values()
            place.acquire_nowait()
            await client.send(raw)

    with pytest.raises(GraphUnreachable, match="as many requests as may be") as caught:
        send() if kind == "sync" else asyncio.run(send_async())
    assert caught.value.disposition == "not-sent"
    assert posted == []


def test_requests_above_the_window_wait_for_their_turn(call: Driver) -> None:
    limits = GraphLimits(requests=3, request_window=MINUTE)
    times: list[float] = []

    def handler(request: httpx.Request) -> httpx.Response:
        times.append(call.now)
        return httpx.Response(200, json={"value": [], "@odata.nextLink": str(request.url)})

    call(handler, "list", settings={"limits": limits})
    assert len(times) == 200
    for first, fourth in zip(times, times[3:], strict=False):
        assert fourth - first >= 60.0
    assert times[-1] - times[0] <= 60.0 * 67


def test_uploads_above_the_window_wait_and_one_that_is_larger_goes_alone(
    call: Driver, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fake = FakeGraph()
    limits = GraphLimits(upload=len(raw), upload_window=MINUTE)  # base64 makes it larger
    settings = {"limits": limits}
    call(fake, "send", raw, settings=settings)
    assert call.pauses == []
    transport = httpx.MockTransport(fake)
    with GraphClient("t", transport=transport, limits=limits, sleep=call._sleep) as client:
        client._ticks = client._pace._ticks = lambda: call.now
        client.send(raw, via="draft")
        client.send(raw.replace(b"m1@", b"m2@"), via="sendmail")
    assert call.pauses == [pytest.approx(60.0)]
    assert len(fake.delivered) == 3


def test_who_would_wait_beyond_the_deadline_is_told_when_there_is_room(call: Driver) -> None:
    settings = {"limits": GraphLimits(requests=1), "deadline": 60.0, "retries": 0}

    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"value": [], "@odata.nextLink": str(request.url)})

    with pytest.raises(GraphUnreachable, match="there is room in 600 s"):
        call(handler, "list", settings=settings)
    assert call.pauses == []


def test_messages_above_thirty_a_minute_are_a_warning_and_no_brake(
    raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    fake, now = FakeGraph(), [1_800_000_000.0]
    with GraphClient(
        "t", transport=httpx.MockTransport(fake), clock=lambda: now[0], user="alice@contoso.com"
    ) as client:

        def send(times: int) -> int:
            caplog.clear()
            for _ in range(times):
                client.send(raw)
            return len([one for one in caplog.records if one.levelno == logging.WARNING])

        assert send(30) == 0
        assert send(1) == 1
        assert "more than 30 messages within a minute from alice@contoso.com" in caplog.text
        assert send(50) == 0  # it was said
        now[0] += 61
        assert send(30) == 0
        assert send(9) == 1
    assert len(fake.delivered) == 120


@pytest.mark.parametrize(
    "wrong",
    [
        *({"at_once": 0}, {"at_once": None}, {"requests": 0}, {"upload": 1.5}),
        *({"messages_a_minute": "x"}, {"request_window": timedelta(0)}, {"upload_window": 60}),
    ],
)
def test_limits_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        GraphLimits(**wrong)
    with pytest.raises(UsageError, match="wanted GraphLimits"):
        GraphClient("t", limits=4)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("https://g/v1.0/me/sendMail", "https://g/v1.0/me"),
        ("https://g/v1.0/users/a%40b/messages/me/send", "https://g/v1.0/users/a%40b"),
        ("https://g/v1.0/users('a')/messages?$skip=1/me/x", "https://g/v1.0/users('a')"),
        ("https://g/v1.0/meat?x=/me/", "https://g/v1.0/meat"),
    ],
)
def test_a_mailbox_is_known_by_its_address(url: str, place: str) -> None:
    assert mailbox_of(Request("GET", url)) == place


@given(st.lists(st.tuples(st.floats(0.0, 40.0), st.integers(0, 60)), max_size=60))
def test_no_window_ever_holds_more(steps: list[tuple[float, int]]) -> None:
    now = [0.0]
    limits = GraphLimits(
        requests=5, request_window=MINUTE, upload=100, upload_window=timedelta(seconds=90)
    )
    pace = Pace(limits, lambda: now[0])
    made: list[tuple[float, int]] = []
    for pause, size in steps:
        now[0] += pause
        request = Request("POST", "https://g/v1.0/me/messages", body=bytes(size))
        while wait := pace.wait("me", request):
            assert 0 < wait < 90.001
            now[0] += wait
        made.append((now[0], size))
        assert sum(1 for when, _ in made if when > now[0] - 59.999) <= 5
        assert sum(one for when, one in made if when > now[0] - 89.999) <= 100


def test_many_requests_cost_little_memory() -> None:
    now = [0.0]
    pace = Pace(GraphLimits(), lambda: now[0])
    for _ in range(9000):
        now[0] += 0.05
        assert pace.wait("me", Request("GET", "https://g/v1.0/me/messages")) == 0.0
    (box,) = pace._boxes.values()
    assert len(box.requests._taken) <= 101


def test_what_happens_is_told_to_the_logger(
    call: Driver, raw: bytes, graph_error: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="smime_graph")
    throttled = graph_error(429, "ApplicationThrottled", Retry_After="20", request_id="r-429")
    fake = FakeGraph(faults=[(False, throttled), (True, httpx.ReadTimeout("lost"))])
    call(fake, "send", raw)
    lines = [one.getMessage() for one in caplog.records if one.name == "smime_graph"]
    ids = [one.headers["client-request-id"] for one in fake.requests]
    assert lines[0].startswith("POST /v1.0/me/sendMail: 429 ApplicationThrottled")
    assert "request-id r-429" in lines[0]
    assert f"client-request-id {ids[0]}" in lines[0]
    assert lines[1].startswith("attempt 1 of 5: 429 ApplicationThrottled")
    assert "the next one in 2" in lines[1]
    assert lines[2].startswith("POST /v1.0/me/sendMail: no answer in time (ReadTimeout)")
    assert ids[1] in lines[2]
    assert lines[3].startswith("GET /v1.0/me/mailFolders/sentitems/messages: 200")
