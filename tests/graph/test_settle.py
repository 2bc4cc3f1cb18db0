"""Settling a send hours later, and what is written down before the first byte of one leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from smime_graph.errors import GraphError, GraphUnreachable, UsageError
from smime_graph.graph import _exchange, _outgoing, _settle
from smime_graph.graph._mailbox import Mailbox, mailbox
from smime_graph.graph._sending import Sending
from smime_graph.graph._wire import Effect, NeedToken, OnDisk, Request, Response

from .conftest import NOW, Driver, FakeGraph

ID = "<m1@contoso.com>"
BEGAN = datetime.fromtimestamp(NOW, UTC)


def lost() -> Any:
    return False, httpx.ReadTimeout("timed out")


@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0])
@pytest.mark.parametrize("hours", [0, 1, 30])
def test_a_copy_made_since_settles_it_hours_later_by_the_servers_time(
    call: Driver, fake: type[FakeGraph], raw: bytes, hours: int, ahead: float
) -> None:
    graph = fake(ahead=ahead)
    graph.clock = lambda: call.now + ahead
    graph.keep(raw, folder="sentitems", id="AAMk-new")
    call.now += hours * 3600.0
    ref = call(graph, "settle", ID, since=BEGAN, recipients=["Bob@contoso.com"])
    assert (ref.status, ref.id, ref.internet_message_id) == ("confirmed", "AAMk-new", ID)
    assert call.pauses == []
    assert graph.posts() == []


@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0])
@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ({}, "none but an older copy"),
        ({"folder": "drafts"}, "a copy of it lies in Drafts"),
        ({"folder": "inbox"}, "Sent Items does not show it"),
        ({"toRecipients": []}, "none but an older copy"),
    ],
)
def test_an_older_copy_or_another_settles_nothing(
    call: Driver, fake: type[FakeGraph], raw: bytes, ahead: float, kept: Any, why: str
) -> None:
    graph = fake(ahead=ahead)
    graph.clock = lambda: call.now + ahead - 2
    graph.keep(raw, **{"folder": "sentitems", **kept})
    with pytest.raises(GraphUnreachable, match=why) as caught:
        call(graph, "settle", ID, since=BEGAN)
    assert caught.value.disposition == "unknown"
    assert caught.value.message_id == ID


def test_a_copy_to_others_settles_nothing(call: Driver, fake: type[FakeGraph], raw: bytes) -> None:
    graph = fake()
    graph.keep(raw, folder="sentitems")
    with pytest.raises(GraphUnreachable, match="to others"):
        call(graph, "settle", ID, since=BEGAN, recipients=["bob@contoso.com", "eve@contoso.com"])


def test_a_draft_is_settled_by_its_id(call: Driver, fake: type[FakeGraph], raw: bytes) -> None:
    graph = fake()
    item = graph.keep(raw, folder="drafts")["id"]
    with pytest.raises(GraphUnreachable, match="a draft still") as caught:
        call(graph, "settle", ID, since=BEGAN, draft_id=item)
    assert caught.value.draft_id == item
    graph.items[item] |= {"isDraft": False, "folder": "archive"}
    assert call(graph, "settle", ID, since=BEGAN, draft_id=item).status == "confirmed"
    # where the item is gone for good, the folder is asked
    copy = graph.keep(raw, folder="sentitems")["id"]
    assert call(graph, "settle", ID, since=BEGAN, draft_id="gone").id == copy


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ((ID, datetime(2027, 1, 1)), "time with a zone"),  # noqa: DTZ001
        ((ID, NOW), "time with a zone"),
        (("", BEGAN), "internet_message_id is not usable"),
        ((7, BEGAN), "internet_message_id is not usable"),
        ((ID, BEGAN, "bob@contoso.com"), "recipients are no list"),
        ((ID, BEGAN, [7]), "recipients are no list"),
        ((ID, BEGAN, None, ".."), "draft_id"),
    ],
)
def test_what_makes_no_sense_is_told(
    call: Driver, fake: type[FakeGraph], arguments: Any, what: str
) -> None:
    names = dict(zip(("since", "recipients", "draft_id"), arguments[1:], strict=False))
    graph = fake()
    with pytest.raises(UsageError, match=what):
        call(graph, "settle", arguments[0], **names)
    assert graph.requests == []


def test_what_may_not_be_looked_up_stays_unknown(
    call: Driver, fake: type[FakeGraph], graph_error: Callable[..., httpx.Response]
) -> None:
    graph = fake(look_faults=[(False, graph_error(403, "ErrorAccessDenied"))])
    with pytest.raises(GraphUnreachable, match=r"no right to look it up \(Mail.Read\)"):
        call(graph, "settle", ID, since=BEGAN)


# --- the journal ----------------------------------------------------------------------------------


def drive(flow: Any, answers: Iterator[Any], done: list[Effect]) -> Any:
    """Carry out a flow without socket and clock: what it asks for is written down."""
    answer: Any = None
    try:
        while True:
            effect = flow.send(answer)
            done.append(effect)
            if isinstance(effect, OnDisk):
                answer = effect.work()
            elif isinstance(effect, NeedToken):
                answer = "token"
            else:
                answer = next(answers) if isinstance(effect, Request) else None
    except StopIteration as end:
        return end.value


def box() -> Mailbox:
    return mailbox(url="https://graph.example/v1.0", retries=0)


@pytest.mark.parametrize("first", [202, 401, 503, 400])
def test_the_journal_is_written_before_each_request_that_sends(first: int) -> None:
    noted: list[tuple[str | None, str]] = []

    def journal(sending: Sending) -> None:
        noted.append((sending.client_request_id, sending.disposition))

    sending = Sending(message_id=ID, journal=journal)
    request = _exchange.post(box(), "sendMail", kind="text/plain", body=b"YQ==")
    answers = iter([Response(first), Response(202)])
    done: list[Effect] = []
    flow = _settle.submit(box(), request, sending, ok=(202,))
    got = drive(flow, answers, done)
    requests = [one for one in done if isinstance(one, Request)]
    assert [name for name, _ in noted] == [one.headers["client-request-id"] for one in requests]
    assert {said for _, said in noted} == {"not-sent"}
    for number, one in enumerate(done):
        if isinstance(one, Request):
            assert isinstance(done[number - 1], OnDisk)
    if first == 202:
        assert got.status == "accepted"
    else:
        assert got.status == first
        assert sending.disposition == {401: "refused", 503: "unknown", 400: "refused"}[first]


def test_what_the_journal_refuses_does_not_leave() -> None:
    class Stop(Exception):
        pass

    def journal(_: Sending) -> None:
        raise Stop

    sending = Sending(message_id=ID, journal=journal)
    request = _exchange.post(box(), "sendMail", kind="text/plain", body=b"YQ==")
    done: list[Effect] = []
    with pytest.raises(Stop):
        drive(sending.told(_settle.submit(box(), request, sending, ok=(202,))), iter(()), done)
    assert not any(isinstance(one, Request) for one in done)
    assert sending.disposition == "not-sent"


def test_both_clients_carry_out_what_waits_for_a_disk(
    call: Driver, fake: type[FakeGraph], raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the flow, and what it raises is raised in it."""
    graph = fake()
    seen: list[int] = []

    def journal(sending: Sending) -> None:
        seen.append(len(graph.posts()))
        if len(seen) > 1:
            raise OSError("no space left")

    made = Sending.__init__

    def with_journal(self: Sending, *args: Any, **kwargs: Any) -> None:
        made(self, *args, **{**kwargs, "journal": journal})

    monkeypatch.setattr(Sending, "__init__", with_journal)
    assert call(graph, "send", raw).status == "accepted"
    with pytest.raises(OSError, match="no space") as caught:
        call(graph, "send", raw)
    assert seen == [0, 1]
    assert len(graph.posts()) == 1
    told = caught.value.__cause__
    assert isinstance(told, GraphError)
    assert told.disposition == "not-sent"


def test_what_a_send_checks_can_be_checked_before(raw: bytes) -> None:
    found = _outgoing.checked(box(), raw, via="auto")
    assert (found.message_id, found.recipients) == (ID, frozenset({"bob@contoso.com"}))
    with pytest.raises(UsageError, match="save_to_sent_items"):
        _outgoing.checked(box(), raw, via="auto", save_to_sent_items=False)


def test_hours_later_is_no_matter_of_half_a_minute(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    """What the send itself left unknown is settled by the same proof."""
    graph = fake(faults=[lost()])
    with pytest.raises(GraphUnreachable):
        call(graph, "send", raw)
    graph.clock = lambda: call.now
    graph.keep(raw, folder="sentitems")
    call.now += timedelta(hours=5).total_seconds()
    assert call(graph, "settle", ID, since=BEGAN).status == "confirmed"
