"""The outbox: nothing lost and nothing doubled, whoever is ended at whatever moment."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from signal import SIGQUIT
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.errors import GraphError, MalformedMessage, UsageError
from smime_graph.graph import AsyncGraphClient, GraphClient, Outbox, _courier
from smime_graph.graph._courier import Carried, Rules, carry
from smime_graph.graph._mailbox import mailbox
from smime_graph.graph._outgoing import checked
from smime_graph.graph._queue import Queue
from smime_graph.graph._queue_rows import Entry
from smime_graph.graph._queue_sqlite import SqliteQueue
from smime_graph.graph._wire import NeedToken, NoAnswer, OnDisk, Request, Response

from .conftest import FakeGraph
from .kills import holds, prove
from .postgres import Server
from .test_sending import LOSSES, PROOFS, gateway

# how the tests of this module open a queue with a clock: as the fixture `stores` says
STORES: list[Callable[[Callable[[], float]], Queue]] = []


@pytest.fixture(scope="module", params=["sqlite", "postgres"], autouse=True)
def stores(request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Path | str]]:
    """Each test runs on both stores. What it gives names a new outbox, or the one of a test."""
    if request.param == "sqlite":
        STORES[:] = [lambda clock: SqliteQueue(":memory:", clock=clock, ticks=clock)]
        yield lambda folder: folder / "outbox.db"
        return
    server: Server = request.getfixturevalue("postgres")
    from smime_graph.graph._queue_postgres import PostgresQueue

    queue = PostgresQueue(server.empty())

    def emptied(clock: Callable[[], float]) -> Queue:
        queue._transact(lambda _: queue._execute(EMPTY), "change")
        queue._clock = queue._ticks = clock
        queue._server = None
        return queue

    STORES[:] = [emptied]
    yield lambda _: server.empty()
    queue.close()


@pytest.fixture
def place(tmp_path: Path, stores: Callable[[Path], Path | str]) -> Path | str:
    """A new outbox."""
    return stores(tmp_path)


BOX = mailbox(url="https://graph.example/v1.0")
EMPTY = "DELETE FROM messages; DELETE FROM mailboxes; ALTER TABLE messages ALTER id RESTART"
DEADLINE = 60.0
RULES = Rules(lease=67.0, window=7200.0, draft_window=900.0)


# how a message goes out: as what, and by a draft or by one request
ROADS: dict[str, tuple[Any, Any]] = {
    "draft": ("draft", "send"),
    "auto": ("auto", "send"),
    "sendmail": ("sendmail", "send"),
    "reply": ("sendmail", "reply"),
    "reply to all by draft": ("draft", "reply-all"),
    "forward": ("sendmail", "forward"),
    "a draft that lies there": ("draft", "draft"),
}
DIRECT = ("sendmail", "reply", "forward")


def message(number: int) -> bytes:
    return (
        b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nMessage-ID: <m%d@contoso.com>\r\n\r\n"
        % number
    )


class Worker:
    """Carries messages effect by effect, and can be ended before or behind each of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.flow: Any = None
        self.pending: Any = None
        self.done: list[Carried | None] = []

    def step(self) -> bool:
        """Begin, or carry out what is asked for; True when the flow is over."""
        if self.flow is None:
            self.flow = self.world.flow()
            self.began = self.world.now
            return self._advance(None)
        answer = error = None
        try:
            answer = self._carry_out(self.pending)
        except Exception as failure:  # noqa: BLE001 - as the clients: the flow decides
            error = failure
        return self._advance(answer, error)

    def end(self, *, behind: bool) -> None:
        """As kill -9 does: nothing of the flow runs any more, not even its clean-up."""
        if self.flow is None:
            return
        if behind and self.pending is not None:
            try:
                self._carry_out(self.pending)
            except Exception:  # noqa: BLE001 - nobody is there to see it
                pass
        self.world.ended.append(self.flow)
        self.flow = self.pending = None

    def interrupt(self, error: BaseException, *, behind: bool) -> None:
        """As Ctrl-C does: the flow learns of it where it waits, and may still write."""
        if behind:
            self._carry_out(self.pending)
        effect = self.flow.throw(error)
        while True:
            assert isinstance(effect, OnDisk)
            try:
                effect = self.flow.send(effect.work())
            except type(error):
                return

    def _advance(self, answer: Any, error: Exception | None = None) -> bool:
        try:
            self.pending = self.flow.send(answer) if error is None else self.flow.throw(error)
        except StopIteration as over:
            self.done.append(over.value)
            self.flow = self.pending = None
            return True
        return False

    def _carry_out(self, effect: Any) -> Any:
        if isinstance(effect, OnDisk):
            return effect.work()
        if isinstance(effect, NeedToken):
            return "token"
        if not isinstance(effect, Request):
            raise AssertionError(f"the outbox waits itself: {effect}")
        if self.world.now >= self.began + DEADLINE:
            return NoAnswer("no", "the deadline of the call is over")
        return self.world.ask(effect)


class World:
    """A mailbox, an outbox, and a clock; `ahead` is that of the server."""

    def __init__(self, graph: FakeGraph, *, ahead: float = 0.0) -> None:
        self.now = 1_800_000_000.0
        self.graph = graph
        self.ended: list[Any] = []  # or Python would close them
        graph.clock = lambda: self.now + ahead
        self.queue: Queue = SqliteQueue(":memory:", clock=lambda: self.now, ticks=lambda: self.now)
        self.without_drafts: set[str] = set()

    def add(self, *numbers: int, via: str) -> None:
        """Messages on one of the `ROADS`."""
        for number in numbers:
            raw, (road, action) = message(number), ROADS[via]
            found = checked(BOX, raw, via=road)
            entry = Entry(raw, "me", found.message_id, found.recipients, road, action)
            if action == "draft":
                draft_id = self.graph.keep(raw, folder="drafts")["id"]
                entry = Entry(b"", "me", "", frozenset(), road, action, draft_id=draft_id)
            elif action != "send":
                entry = replace(entry, original="id")
            self.queue.add([entry])

    def flow(self) -> Any:
        return carry(BOX, self.queue, RULES, without_drafts=self.without_drafts)

    def ask(self, effect: Request) -> Response | NoAnswer:
        request = httpx.Request(
            effect.method, effect.url, headers=dict(effect.headers), content=effect.body
        )
        try:
            got = self.graph(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            return NoAnswer("no", "could not connect", began_at=self.now)
        except httpx.HTTPError:
            return NoAnswer("unknown", "the connection was lost", began_at=self.now)
        headers = {name.lower(): value for name, value in got.headers.items()}
        return Response(
            got.status_code, headers, got.content, received_at=self.now, began_at=self.now
        )

    def settle(self) -> None:
        """Let a worker go on that nobody ends, until nothing is to be done any more."""
        worker = Worker(self)
        for _ in range(400):
            while not worker.step():
                pass
            if worker.done[-1] is not None:
                continue
            due = self.queue.next_due()
            if due is None:
                return
            self.now = max(self.now + 0.01, due)
        raise AssertionError("it never ends")

    def delivered(self, number: int) -> int:
        return self.graph.delivered.count(message(number))

    def states(self) -> dict[str, str]:
        return {row.message_id: row.state for row, _ in self.queue.rows()}


@dataclass
class LateGraph(FakeGraph):
    """What was sent is seen so many seconds later; until then its draft is one, or is not there.

    A draft that is seen as one is sent again by whoever asks for it.
    """

    late: float = 0.0
    stays_draft: bool = False
    seen_at: dict[str, float] = field(default_factory=dict)

    def _act(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        item = path.split("/")[-2]
        if self.stays_draft and path.endswith("/send") and self._is_hidden(item):
            self.delivered.append(self.bodies[item])
            return httpx.Response(202)
        known = set(self.items)
        got = super()._act(request)
        if got.status_code == 202:
            for one in [item] if path.endswith("/send") else self.items.keys() - known:
                self.seen_at[one] = self.clock() + self.late
        return got

    def _is_hidden(self, item: str) -> bool:
        return self.clock() < self.seen_at.get(item, 0.0)

    def _look(self, request: httpx.Request) -> httpx.Response:
        kept = dict(self.items)
        for name in filter(self._is_hidden, kept):
            if self.stays_draft:
                self.items[name] = {**kept[name], "isDraft": True, "folder": "drafts"}
            else:
                del self.items[name]
        try:
            return super()._look(request)
        finally:
            self.items.clear()
            self.items.update(kept)


def made(fault: Any) -> Any:
    if fault is None:
        return None
    carried_out, name = fault
    if name in LOSSES:
        return carried_out, LOSSES[name]()
    return False, PROOFS[name]()


FAULT = st.one_of(
    st.none(),
    st.tuples(st.booleans(), st.sampled_from(sorted([*LOSSES, *PROOFS]))),
)
ACTION = st.sampled_from(["step"] * 12 + ["end before", "end behind", "later", "much later"])


@given(
    via=st.sampled_from(sorted(ROADS)),
    actions=st.lists(st.tuples(st.integers(0, 1), ACTION), max_size=60),
    faults=st.lists(FAULT, max_size=8),
    looks=st.lists(FAULT, max_size=6),
    late=st.sampled_from([(0.0, False), (30.0, False), (600.0, False), (10_000.0, False)])
    | st.sampled_from([(30.0, True), (600.0, True)]),
    ahead=st.sampled_from([0.0, 86_400.5, -86_400.5]),
)
@settings(max_examples=45, deadline=None)
def test_whoever_is_ended_wherever_each_message_goes_out_once(
    via: str,
    actions: Any,
    faults: Any,
    looks: Any,
    late: tuple[float, bool],
    ahead: float,
) -> None:
    """Two workers at two messages, effect by effect, ended before and behind each of them."""
    graph = LateGraph([made(f) for f in faults], [made(f) for f in looks])
    graph.late, graph.stays_draft = late
    world = World(graph, ahead=ahead)
    world.add(1, 2, via=via)
    workers = [Worker(world), Worker(world)]
    for number, action in actions:
        worker = workers[number]
        if action == "step":
            worker.step()
        elif action.startswith("end"):
            worker.end(behind=action == "end behind")
        else:
            world.now += 5.0 if action == "later" else 100.0
    for worker in workers:
        worker.end(behind=False)
    world.settle()
    hold(world, 1, 2, via=via)


def hold(world: World, *numbers: int, via: str) -> None:
    """What holds once nobody is at work any more."""
    late = isinstance(world.graph, LateGraph) and world.graph.late > RULES.window
    for number in numbers:
        state = world.states()[f"<m{number}@contoso.com>"]
        sent = world.delivered(number)
        if via in DIRECT:
            assert sent <= 1
            assert state in ("sent", "unknown")
            assert state == "unknown" or sent == 1
        else:
            assert sent == 1
            assert state == "sent" or late


@pytest.mark.parametrize(("via", "times"), [("sendmail", 3), ("draft", 4)])
def test_the_disk_is_gone_to_a_few_times_for_a_message(via: str, times: int) -> None:
    """Each of them is a thread's work in the asynchronous client, and most are a transaction."""
    world = World(FakeGraph())
    world.add(1, via=via)
    worker = Worker(world)
    gone = 0
    while not worker.step():
        gone += isinstance(worker.pending, OnDisk)
    assert gone == times
    assert world.states() == {"<m1@contoso.com>": "sent"}


LATE = [(0.0, False), (10_000.0, False), (600.0, True)]


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("via", ["draft", "sendmail", "reply", "a draft that lies there"])
def test_at_each_point_its_sender_may_be_ended(via: str, late: tuple[float, bool]) -> None:
    """Before and behind each request and each transaction, in a first run and in the next."""
    points = [(first, then) for first in range(11) for then in (None, 3, 5)]
    over = 0
    for first, then in points:
        for behind in (False, True):
            graph = LateGraph()
            graph.late, graph.stays_draft = late
            world = World(graph)
            world.add(1, via=via)
            for steps in (first, then):
                worker = Worker(world)
                for _ in range(steps or 0):
                    if worker.step():
                        over += 1
                        break
                worker.end(behind=behind)
                world.now += RULES.lease + 1
            world.settle()
            hold(world, 1, via=via)
    assert over


@pytest.mark.parametrize("via", ["draft", "sendmail"])
def test_who_is_interrupted_gives_the_message_back(via: str) -> None:
    for steps, behind in itertools.product(range(1, 11), (False, True)):
        world = World(LateGraph())
        world.add(1, via=via)
        worker = Worker(world)
        if any(worker.step() for _ in range(steps + 1)):
            break
        worker.interrupt(KeyboardInterrupt(), behind=behind)
        row, _ = only(world)
        assert row.lease_until == 0
        assert row.state in ("queued", "unknown", "sent")
        assert row.due is None or row.due <= world.now
        began = world.now
        world.settle()
        hold(world, 1, via=via)
    assert steps > 3
    assert world.now - began < 2 * RULES.window  # and not when a lease has run out


def test_a_draft_is_sent_again_a_quarter_of_an_hour_after_the_last_attempt() -> None:
    """And not after the first: the last may be on its way."""
    graph = LateGraph([None, (False, gateway(504)), (True, gateway(504))], late=600.0)
    graph.stays_draft = True
    world = World(graph)
    world.add(1, via="draft")
    world.settle()
    hold(world, 1, via="draft")
    assert len(graph.posts()) == 3


@pytest.mark.parametrize("late", LATE)
@pytest.mark.parametrize("loss", ["read timeout", "503 in Graph's words", "504", *PROOFS])
def test_each_request_may_be_lost_carried_out_or_not(loss: str, late: tuple[float, bool]) -> None:
    for via, place, carried_out in itertools.product(
        ("draft", "sendmail", "reply", "reply to all by draft", "a draft that lies there"),
        (0, 1, 2),
        (False, True),
    ):
        fault = made((carried_out, loss))
        graph = LateGraph([*[None] * place, fault, None, fault])
        graph.late, graph.stays_draft = late
        world = World(graph)
        world.add(1, 2, via=via)
        world.settle()
        hold(world, 1, 2, via=via)


def run(world: World) -> list[Carried]:
    """One worker, until nothing is due at this moment."""
    worker = Worker(world)
    while True:
        while not worker.step():
            pass
        if worker.done[-1] is None:
            return [one for one in worker.done if one is not None]


def only(world: World) -> Any:
    ((row, attempts),) = world.queue.rows()
    return row, attempts


@pytest.mark.parametrize("via", ["draft", "auto", "sendmail"])
def test_a_message_goes_out_and_its_request_is_known(fake: type[FakeGraph], via: str) -> None:
    world = World(fake())
    world.add(1, via=via)
    assert [one.state for one in run(world)] == ["sent"]
    row, (attempt,) = only(world)
    assert world.delivered(1) == 1
    assert (row.state, row.attempts, row.due, row.error) == ("sent", 1, None, None)
    assert attempt.client_request_id == world.graph.requests[-1].headers["client-request-id"]
    assert attempt.outcome == "sent"
    assert attempt.request_id == ("r-202" if via == "sendmail" else None)
    assert bool(row.draft_id) == (via != "sendmail")


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("via", ["draft", "sendmail"])
def test_a_lost_answer_is_looked_up_for_hours(fake: type[FakeGraph], via: str, loss: str) -> None:
    faults = [None] * (via == "draft") + [(True, LOSSES[loss]())]
    world = World(fake(faults=faults))
    visible = world.graph._look
    shown_at = world.now + 3600.0

    def late(request: httpx.Request) -> httpx.Response:
        if world.now < shown_at:
            empty = httpx.Response(200, json={"value": []})
            return empty if "filter" in str(request.url) else httpx.Response(404)
        return visible(request)

    world.graph._look = late  # type: ignore[method-assign]
    world.add(1, via=via)
    assert [one.state for one in run(world)] == ["unknown"]
    world.settle()
    assert only(world)[0].state == "sent"
    assert world.delivered(1) == 1
    assert world.now >= shown_at
    assert len(world.graph.posts()) == (1 if via == "sendmail" else 2)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_nobody_finds_stays_unknown_until_a_person_says_so(
    fake: type[FakeGraph], loss: str
) -> None:
    world = World(fake(faults=[(False, LOSSES[loss]())]))
    began = world.now
    world.add(1, via="sendmail")
    world.settle()
    row, (attempt,) = only(world)
    assert (row.state, row.due) == ("unknown", None)
    assert world.now - began >= RULES.window
    assert "Sent Items does not show it" in row.error
    assert attempt.outcome
    assert world.delivered(1) == 0
    assert len(world.graph.posts()) == 1
    world.now += 1e6
    assert run(world) == []
    world.queue.retry([row.id])
    assert [one.state for one in run(world)] == ["sent"]
    assert world.delivered(1) == 1
    assert only(world)[0].attempts == 2


def test_who_says_so_is_spared_a_second_copy_where_the_first_shows(fake: type[FakeGraph]) -> None:
    world = World(fake(faults=[(True, LOSSES["504"]())], lag=10_000))
    world.add(1, via="sendmail")
    world.settle()
    row, _ = only(world)
    assert row.state == "unknown"
    world.graph.lag = 0
    world.queue.retry([row.id])
    assert [one.state for one in run(world)] == ["sent"]
    assert world.delivered(1) == 1
    assert len(world.graph.posts()) == 1


@pytest.mark.parametrize("status", [403])
def test_what_may_not_be_looked_up_stays_unknown(
    fake: type[FakeGraph], status: int, graph_error: Callable[..., httpx.Response]
) -> None:
    denied = [(False, graph_error(status, "ErrorAccessDenied")) for _ in range(9)]
    world = World(fake(faults=[(True, LOSSES["504"]())], look_faults=denied))
    world.add(1, via="sendmail")
    world.settle()
    row, _ = only(world)
    assert (row.state, row.due) == ("unknown", None)
    assert "no right to look it up" in row.error
    assert len(world.graph.requests) == 2


def test_without_the_right_to_drafts_it_goes_as_it_is(
    fake: type[FakeGraph], graph_error: Callable[..., httpx.Response]
) -> None:
    world = World(fake(faults=[(False, graph_error(403, "ErrorAccessDenied"))]))
    world.add(1, 2, via="auto")
    assert [one.state for one in run(world)] == ["queued", "sent", "sent"]
    assert [one.rpartition("/")[2] for one in world.graph.posts()] == [
        *("messages", "sendMail", "sendMail"),
    ]
    assert world.delivered(1) == world.delivered(2) == 1


@pytest.mark.parametrize("via", ["draft", "sendmail"])
@pytest.mark.parametrize(
    ("status", "code", "state"),
    [
        (400, "ErrorInvalidRecipients", "failed"),
        (413, "BadRequest", "failed"),
        (403, "ErrorSendAsDenied", "failed"),
        (403, "ErrorAccessDenied", "queued"),
        (401, "InvalidAuthenticationToken", "queued"),
        (404, "ResourceNotFound", "queued"),
        (302, "", "queued"),
    ],
)
def test_a_refusal_of_the_message_ends_it_and_any_other_lets_it_wait(
    fake: type[FakeGraph],
    graph_error: Callable[..., httpx.Response],
    via: str,
    status: int,
    code: str,
    state: str,
) -> None:
    world = World(fake(faults=[(False, graph_error(status, code))]))
    world.add(1, 2, via=via)
    (first, *others) = run(world)
    assert first.state == state
    row = world.queue.get(first.id)
    assert row is not None
    assert str(status) in str(row.error)
    if state == "failed":
        assert row.due is None
        assert [one.state for one in others] == ["sent"]
        world.queue.retry([row.id])
    else:
        assert isinstance(first.trouble, GraphError)
        assert others == []  # nothing else is tried in that mailbox for a while
        assert row.due is not None
        assert 40 <= row.due - world.now <= 60
    world.settle()
    assert set(world.states().values()) == {"sent"}
    assert world.delivered(1) == world.delivered(2) == 1


@pytest.mark.parametrize(
    ("via", "wanted"),
    [
        ("reply", ["id/reply"]),
        ("forward", ["id/forward"]),
        ("reply to all by draft", ["id/createReplyAll", "AAMk-0/send"]),
        ("a draft that lies there", ["AAMk-0/send"]),
    ],
)
def test_each_action_has_its_requests(fake: type[FakeGraph], via: str, wanted: list[str]) -> None:
    world = World(fake())
    world.add(1, via=via)
    assert [one.state for one in run(world)] == ["sent"]
    assert [one.partition("/messages/")[2] for one in world.graph.posts()] == wanted
    assert world.states() == {"<m1@contoso.com>": "sent"}


def test_an_answer_that_goes_to_others_is_no_proof(fake: type[FakeGraph]) -> None:
    """The same Message-ID went to somebody else since: whether the reply did is not known."""
    world = World(fake(faults=[(False, gateway(504))]))
    world.add(1, via="reply")
    assert [one.state for one in run(world)] == ["unknown"]
    world.graph.keep(message(1).replace(b"To: bob", b"To: carol"), folder="sentitems")
    world.settle()
    row, _ = only(world)
    assert row.state == "unknown"
    assert "is to others" in row.error


def test_an_answer_to_what_is_gone_fails(
    fake: type[FakeGraph], graph_error: Callable[..., httpx.Response]
) -> None:
    for via in ("reply", "reply to all by draft"):
        world = World(fake(faults=[(False, graph_error(404, "ErrorItemNotFound"))]))
        world.add(1, 2, via=via)
        assert [one.state for one in run(world)] == ["failed", "sent"]


@pytest.mark.parametrize(
    ("made", "state", "said"),
    [
        (None, "failed", "its draft is gone"),
        ({"isDraft": False, "folder": "inbox"}, "failed", "it is no draft"),
        ({"isDraft": False, "folder": "sentitems"}, "failed", "it is no draft"),
    ],
)
def test_what_is_no_draft_is_not_sent(
    fake: type[FakeGraph], made: Any, state: str, said: str
) -> None:
    """An item of the inbox is none either, so after a lost answer it would look like a sent one."""
    world = World(fake())
    world.add(1, via="a draft that lies there")
    ((name, item),) = world.graph.items.items()
    if made is None:
        del world.graph.items[name]
    else:
        item |= made
    world.settle()
    row, _ = only(world)
    assert (row.state, row.error) == (state, row.error)
    assert said in row.error
    assert world.graph.posts() == []


def test_a_draft_that_may_not_be_looked_at_waits(
    fake: type[FakeGraph], graph_error: Callable[..., httpx.Response]
) -> None:
    world = World(fake(look_faults=[(False, graph_error(403, "ErrorAccessDenied"))]))
    world.add(1, via="a draft that lies there")
    (first,) = run(world)
    assert first.state == "queued"
    assert "Mail.ReadWrite" in str(first.trouble.hint)
    world.settle()
    assert world.delivered(1) == 1


def test_what_graph_asks_to_wait_holds_for_everybody(fake: type[FakeGraph]) -> None:
    throttled = httpx.Response(
        429, headers={"Retry-After": "20"}, json={"error": {"code": "ApplicationThrottled"}}
    )
    world = World(fake(faults=[(False, throttled)]))
    world.add(1, 2, via="sendmail")
    assert [one.state for one in run(world)] == ["queued"]
    assert run(world) == []
    assert world.queue.next_due() == pytest.approx(world.now + 20.0, abs=1.0)
    world.now += 21.0
    assert [one.state for one in run(world)] == ["sent", "sent"]


def test_those_that_fail_together_have_failed_once(fake: type[FakeGraph]) -> None:
    refused = [(False, httpx.ConnectError("refused")) for _ in range(4)]
    world = World(fake(faults=refused))
    world.add(1, 2, 3, 4, via="sendmail")
    workers = [Worker(world) for _ in range(4)]
    for _ in range(3):
        for one in workers:
            one.step()  # all of them have their message, and its bytes
    for one in workers:
        while not one.step():
            pass
    assert [one.done[0].state for one in workers] == ["queued"] * 4
    assert world.queue.failures("me") == 1
    assert (world.queue.next_due() or 0.0) - world.now <= 2.0


def test_a_person_does_not_wait_for_what_holds_a_mailbox(
    fake: type[FakeGraph], graph_error: Callable[..., httpx.Response]
) -> None:
    world = World(fake(faults=[(False, graph_error(401, "InvalidAuthenticationToken"))]))
    world.add(1, 2, via="sendmail")
    (first,) = run(world)
    assert run(world) == []
    world.queue.retry([first.id])
    assert [one.state for one in run(world)] == ["sent", "sent"]


@pytest.mark.parametrize("jump", [86_400.0, -86_400.0])
@pytest.mark.parametrize("carried_out", [True, False])
def test_a_clock_that_is_set_meanwhile_is_no_matter_once_the_servers_is_known(
    fake: type[FakeGraph], jump: float, carried_out: bool
) -> None:
    world = World(fake(faults=[None, (carried_out, gateway(504))]))
    world.graph.keep(message(2), folder="sentitems")  # an older one
    world.now += 3600.0
    world.add(1, 2, via="sendmail")
    assert [one.state for one in run(world)] == ["sent", "unknown"]
    world.now += jump
    world.graph.clock = lambda: world.now - jump
    world.settle()
    assert world.states()["<m2@contoso.com>"] == ("sent" if carried_out else "unknown")
    assert world.delivered(2) == carried_out


def test_a_clock_that_was_wrong_for_years_keeps_nothing_back(fake: type[FakeGraph]) -> None:
    world = World(fake(faults=[(False, gateway(504))]))
    right, world.now = world.now, world.now + 1e8
    world.add(1, via="sendmail")
    assert run(world)[0].state == "unknown"
    world.add(2, 3, via="sendmail")
    assert world.queue.claim(seconds=60.0) is not None
    world.now = right
    world.settle()
    assert world.delivered(2) == world.delivered(3) == 1
    assert world.delivered(1) == 0


def test_four_at_once_and_no_more_whoever_asks(fake: type[FakeGraph]) -> None:
    world = World(fake())
    world.add(1, 2, 3, 4, 5, 6, via="sendmail")
    held = [world.queue.claim(seconds=60) for _ in range(5)]
    assert [row.id if row else None for row in held] == [1, 2, 3, 4, None]
    assert held[0] is not None
    world.queue.finish(held[0], "sent")
    again = world.queue.claim(seconds=60)
    assert again is not None
    assert again.id == 5


def test_a_draft_that_was_made_by_someone_who_is_gone_is_used(fake: type[FakeGraph]) -> None:
    world = World(fake())
    world.add(1, via="draft")
    worker = Worker(world)
    while not world.graph.posts():
        worker.step()
    worker.end(behind=False)
    assert only(world)[0].state == "queued"  # nothing has been sent
    world.settle()
    assert world.delivered(1) == 1
    assert [one.rpartition("/")[2] for one in world.graph.posts()] == ["messages", "send"]
    assert len(world.graph.items) == 1


@pytest.mark.parametrize("proof", PROOFS)
def test_a_draft_that_was_certainly_not_made_is_not_looked_for(
    fake: type[FakeGraph], proof: str
) -> None:
    world = World(fake(faults=[(False, PROOFS[proof]())]))
    world.add(1, via="draft")
    (first,) = run(world)
    row, attempts = only(world)
    assert (first.state, first.trouble, row.drafting, attempts) == ("queued", None, None, ())
    world.settle()
    assert [one.method for one in world.graph.requests] == ["POST"] * 3
    assert world.delivered(1) == 1


def test_a_draft_that_a_person_has_sent_is_not_sent_again(fake: type[FakeGraph]) -> None:
    world = World(fake())
    world.add(1, via="draft")
    worker = Worker(world)
    while not (isinstance(worker.pending, Request) and worker.pending.url.endswith("/send")):
        worker.step()
    ((_, item),) = world.graph.items.items()
    item |= {"isDraft": False, "folder": "sentitems"}
    while not worker.step():
        pass
    assert only(world)[0].state == "sent"
    assert world.delivered(1) == 0


def test_who_lost_the_lease_sends_nothing_and_what_was_sent_stays_sent(
    fake: type[FakeGraph],
) -> None:
    world = World(fake(faults=[None]))
    world.add(1, via="sendmail")
    slow = Worker(world)
    slow.step()
    slow.step()  # it has the lease now
    world.now += RULES.lease + 1
    quick = world.queue.claim(seconds=RULES.lease)
    assert quick is not None
    while not slow.step():
        pass
    assert world.graph.posts() == []
    assert slow.done == [Carried(1, "trying")]
    world.queue.finish(quick, "unknown", due=world.now + 1)
    world.queue.finish(quick, "sent")  # told by an answer that came late
    assert only(world)[0].state == "sent"


# --- the file -------------------------------------------------------------------------------------


def test_what_is_in_it_outlives_who_put_it_there(place: Path | str, raw: bytes) -> None:
    with Outbox(place) as outbox:
        put = outbox.add(raw)
    with Outbox(place) as outbox:
        (found,) = outbox.messages()
        assert found == put
        assert (found.state, found.user, found.message_id) == ("queued", "me", "<m1@contoso.com>")
        assert found.recipients == ("bob@contoso.com",)
        assert "bob" not in repr(outbox)


def test_putting_a_message_in_twice_is_once(place: Path | str, raw: bytes) -> None:
    others = raw.replace(b"m1@", b"m2@"), raw.replace(b"To: bob", b"Cc: carol@x.y\r\nTo: bob")
    with Outbox(place) as outbox:
        first = outbox.add(raw)
        again = outbox.add(raw)
        assert (first.is_repeated, again) == (False, replace(first, is_repeated=True))
        ids = {outbox.add(one).id for one in others} | {outbox.add(raw, user="alice@x.y").id}
        assert len(ids | {first.id}) == 4
        assert outbox.add(raw, user="Alice@x.y").id in ids
        outbox.drop([first.id])
        assert outbox.add(raw).id > max(ids)  # an id is never another message's


def test_another_message_of_the_same_key_is_refused_and_not_lost(
    place: Path | str, raw: bytes
) -> None:
    sealed_anew = raw.replace(b"\r\n\r\nhi", b"\r\n\r\nho")
    third = raw.replace(b"m1@", b"m2@")
    with Outbox(place) as outbox:
        first = outbox.add(raw, mark=b"1")
        assert outbox.add(sealed_anew, mark=b"1").id == first.id
        assert outbox.add(raw, mark=b"2").id == first.id  # octet by octet it is there
        with pytest.raises(MalformedMessage, match=r"^another message with the Message-ID <m1@"):
            outbox.add_all([third, sealed_anew], mark=b"2")
        for one in (sealed_anew, raw.replace(b"bob@", b"Bob@")):
            with pytest.raises(MalformedMessage, match="nobody can tell whether it is this one"):
                outbox.add(one)
        outbox.add(third)
        with pytest.raises(MalformedMessage, match="nobody can tell"):
            outbox.add(third + b"x", mark=b"1")
        assert len(outbox.messages()) == 2
        outbox.add_answer("id", raw, action="reply", mark=b"1")
        assert outbox.add_answer("id", sealed_anew, action="reply", mark=b"1").is_repeated
        with pytest.raises(MalformedMessage, match="another message"):
            outbox.add_answer("id", sealed_anew, action="reply", mark=b"2")


def test_what_is_kept_of_a_mark_is_another_for_each_message(raw: bytes, place: Path | str) -> None:
    with Outbox(place) as outbox:
        outbox.add_all([raw, raw.replace(b"m1@", b"m2@")], mark=b"the mark")
        found = outbox._queue._execute("SELECT mark FROM contents").fetchall()
        assert len({bytes(one) for (one,) in found} | {b"the mark"}) == 3


def test_those_that_belong_together_come_in_together(place: Path | str, raw: bytes) -> None:
    with Outbox(place) as outbox:
        with pytest.raises(MalformedMessage):
            outbox.add_all([raw, message(7), b"no message"])
        assert outbox.messages() == ()
        stored = outbox.add_all([raw, message(7), raw])
        assert [one.message_id for one in stored] == [
            *("<m1@contoso.com>", "<m7@contoso.com>", "<m1@contoso.com>"),
        ]
        assert len(outbox.messages()) == 2


def test_answers_and_drafts_come_in(place: Path | str, raw: bytes) -> None:
    reply = raw.replace(b"To: bob@contoso.com\r\n", b"")
    with Outbox(place) as outbox:
        sent = outbox.add(raw)
        answer = outbox.add_answer("id", reply, action="reply", user="alice@contoso.com")
        assert (answer.action, answer.original, answer.recipients) == ("reply", "id", ())
        draft = outbox.add_draft("AAMk-1")
        assert (draft.action, draft.draft_id, draft.size) == ("draft", "AAMk-1", 0)
        again = outbox.add_answer("id", reply, action="reply", user="alice@contoso.com")
        assert (again.id, outbox.add_draft("AAMk-1").id) == (answer.id, draft.id)
        others = [
            outbox.add_answer("other", reply, action="reply", user="alice@contoso.com"),
            outbox.add_answer("id", reply, action="reply-all", user="alice@contoso.com"),
            outbox.add_draft("AAMk-2"),
        ]
        assert len({one.id for one in (sent, answer, draft, *others)}) == 6
        with pytest.raises(MalformedMessage):
            outbox.add_answer("id", reply, action="forward")  # which goes to those of the header
        for wrong in ("", ".."):
            with pytest.raises(UsageError):
                outbox.add_draft(wrong)
        with pytest.raises(UsageError, match="wanted 'reply'"):
            outbox.add_answer("id", raw, action="send")  # type: ignore[arg-type]


def test_what_could_not_be_sent_does_not_come_in(place: Path | str, raw: bytes) -> None:
    with Outbox(place) as outbox:
        for wrong in (b"", raw.replace(b"To: ", b"X: "), raw.replace(b"Message-ID", b"X")):
            with pytest.raises(MalformedMessage):
                outbox.add(wrong)
        with pytest.raises(UsageError, match="the limit is 64"):
            outbox.add(raw, size_limit=64)
        assert outbox.messages() == ()


def test_a_lease_ends_with_the_process_that_has_it(place: Path | str, raw: bytes) -> None:
    code = (
        "import sys, time; from smime_graph.graph.outbox import _open\n"
        "print(_open(sys.argv[1], time.time).claim(seconds=3600).id, flush=True); time.sleep(100)"
    )
    with Outbox(place) as outbox:
        outbox.add(raw)
        run = subprocess.Popen([sys.executable, "-c", code, place], stdout=subprocess.PIPE)
        assert run.stdout is not None
        assert run.stdout.readline() == b"1\n"
        assert outbox._queue.claim(seconds=60) is None
        run.kill()
        run.wait()
        run.stdout.close()
        row = outbox._queue.claim(seconds=60)
        assert row is not None
        assert outbox._queue.claim(seconds=60) is None  # and is not that of others here
        elsewhere = row.lease.replace(row.lease[:4], "else", 1).replace(" ", " 9", 1)
        outbox._queue._execute("UPDATE messages SET lease = :lease", lease=elsewhere)
        assert outbox._queue.claim(seconds=60) is None  # nor of a machine that nobody sees


def test_several_processes_open_a_new_file_at_once(place: Path | str) -> None:
    code = (
        "import sys; from smime_graph.graph import Outbox\n"
        "raw = b'From: a@b.c\\r\\nTo: d@e.f\\r\\nMessage-ID: <%d@x>\\r\\n\\r\\n'\n"
        "raw %= int(sys.argv[2])\n"
        "with Outbox(sys.argv[1]) as one: one.add(raw)"
    )
    words = [sys.executable, "-c", code, str(place)]
    runs = [subprocess.Popen([*words, str(number)]) for number in range(3)]
    assert [one.wait(60) for one in runs] == [0] * 3
    with Outbox(place) as outbox:
        assert len(outbox.messages()) == 3


def test_what_was_sent_is_forgotten_after_a_time(place: Path | str, raw: bytes) -> None:
    now = [1_800_000_000.0]
    graph = FakeGraph(clock=lambda: now[0])
    keep = timedelta(hours=2)
    with (
        Outbox(place, keep=keep, clock=lambda: now[0]) as outbox,
        GraphClient("t", transport=httpx.MockTransport(graph), clock=lambda: now[0]) as client,
    ):
        outbox.add(raw)
        outbox.add(raw.replace(b"m1@", b"m2@"), via="sendmail")
        assert outbox.run(client, workers=1).sent == 2
        now[0] += 7000
        outbox.run(client, workers=1)
        assert [one.state for one in outbox.messages()] == ["sent", "sent"]
        now[0] += 300
        outbox.run(client, workers=1)
        assert outbox.messages() == ()
        outbox.add(raw)


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_both_clients_carry_an_outbox(place: Path | str, kind: str) -> None:
    graph = FakeGraph(clock=time.time, faults=[None, (True, gateway(504))])
    transport: Any = httpx.MockTransport(graph)
    with Outbox(place) as outbox:
        for number in range(12):
            outbox.add(message(number))
        if kind == "sync":
            with GraphClient("t", transport=transport) as client:
                done = outbox.run(client)
        else:

            async def run() -> Any:
                async with AsyncGraphClient("t", transport=transport) as client:
                    return await outbox.run_async(client)

            done = asyncio.run(run())
    assert (done.sent, done.failed, done.queued, done.unknown, done.trouble) == (12, 0, 0, 0, None)
    assert sorted(graph.delivered) == sorted(map(message, range(12)))


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_run_keeps_nothing_of_what_it_has_carried(
    place: Path | str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of this run are counted, and nobody keeps one by counting: by weak references."""
    made: list[weakref.ref[Carried]] = []
    held: list[int] = []

    class Counted(Carried):
        """It may be referred to so."""

    def make(*values: Any) -> Carried:
        one = Counted(*values)
        made.append(weakref.ref(one))
        return one

    def handler(request: httpx.Request) -> httpx.Response:
        held.append(sum(one() is not None for one in made))
        return httpx.Response(202)

    monkeypatch.setattr(_courier, "Carried", make)

    transport: Any = httpx.MockTransport(handler)
    with Outbox(place) as outbox:
        for number in range(24):
            outbox.add(message(number), via="sendmail")
        if kind == "sync":
            with GraphClient("t", transport=transport) as client:
                done = outbox.run(client)
        else:

            async def run() -> Any:
                async with AsyncGraphClient("t", transport=transport) as client:
                    return await outbox.run_async(client)

            done = asyncio.run(run())
    assert done.sent == len(made) == 24
    assert max(held) <= 8  # each of four workers has its last one until it has the next


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_closed_client_carries_nothing_and_keeps_nothing(
    place: Path | str, raw: bytes, kind: str
) -> None:
    transport: Any = httpx.MockTransport(FakeGraph(clock=time.time))

    def closed(outbox: Outbox) -> None:
        client = GraphClient("t", transport=transport)
        client.close()
        outbox.run(client)

    async def closed_async(outbox: Outbox) -> None:
        client = AsyncGraphClient("t", transport=transport)
        await client.aclose()
        await outbox.run_async(client)

    with Outbox(place) as outbox:
        outbox.add(raw)
        with pytest.raises(UsageError, match="the client is closed"):
            closed(outbox) if kind == "sync" else asyncio.run(closed_async(outbox))
        with GraphClient("t", transport=transport) as client:
            assert outbox.run(client).sent == 1  # its lease was given back


def test_a_run_without_a_good_token_ends_and_says_so(place: Path | str, raw: bytes) -> None:
    def refuse(_: httpx.Request) -> httpx.Response:
        return httpx.Response(401, json={"error": {"code": "InvalidAuthenticationToken"}})

    with (
        Outbox(place) as outbox,
        GraphClient("t", transport=httpx.MockTransport(refuse)) as client,
    ):
        put = outbox.add(raw)
        assert outbox.send_now(client, id=put.id).state == "queued"
        done = outbox.run(client)
        assert (done.sent, done.queued, done.trouble) == (0, 1, None)  # it is left alone
        with pytest.raises(UsageError, match="no message 9"):
            outbox.send_now(client, id=9)
        (found,) = outbox.messages()
        assert "InvalidAuthenticationToken" in str(found.error)
        outbox.retry([found.id])
        for wrong in ([9], [found.id, 9]):
            with pytest.raises(UsageError, match="no message 9"):
                outbox.drop(wrong)
        assert len(outbox.messages()) == 1


def test_what_was_sent_is_not_sent_again_and_what_is_being_sent_is_left_alone(
    place: Path | str, raw: bytes
) -> None:
    with (
        Outbox(place) as outbox,
        GraphClient("t", transport=httpx.MockTransport(FakeGraph(clock=time.time))) as client,
    ):
        put = outbox.add(raw)
        with Outbox(place) as other:
            assert other._queue.claim(seconds=60) is not None
            for refused in (outbox.retry, outbox.drop):
                with pytest.raises(UsageError, match="is being sent"):
                    refused([put.id])
            row = other._queue.get(put.id)
            assert row is not None
            other._queue.finish(row, "queued", due=0.0)
        assert outbox.send_now(client, id=put.id).state == "sent"
        with pytest.raises(UsageError, match="was sent, so it is not sent again"):
            outbox.retry([put.id])
        assert outbox.add(raw).state == "sent"
        (dropped,) = outbox.drop([put.id])
        assert dropped.id == put.id
        assert outbox.messages() == ()


# --- under fire -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_whatever_is_killed_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path, place: Path | str, request: pytest.FixtureRequest
) -> None:
    """The short form of scripts/prove outbox; a server of the outbox crashes with Graph."""
    on_server = isinstance(place, str)
    crash = partial(request.getfixturevalue("postgres").restart, SIGQUIT) if on_server else None
    found = prove(tmp_path, place, messages=60, kills=4, emulator_kills=1, crash=crash, limit=150.0)
    assert holds(found), found
    assert (found["senders killed"], found["emulators killed"]) == (4, 1)
    assert len(found["faults"]) > 3
