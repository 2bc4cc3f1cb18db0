"""A send is never repeated blindly: every way to lose an answer, against a Graph that counts."""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import deadlines
from smime_graph.errors import (
    GraphError,
    GraphRefused,
    GraphUnreachable,
    MalformedMessage,
    UsageError,
)
from smime_graph.graph import AsyncGraphClient, GraphClient, _client

from .conftest import Driver, FakeGraph, Handler

ID = "<m1@contoso.com>"


def gateway(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=b"<html>gateway</html>")


def page(status: int) -> httpx.Response:
    return httpx.Response(status, headers={"Content-Type": "text/html"}, content=b"<html>log in")


def graph_says(status: int, code: str, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, json={"error": {"code": code, "message": "no"}})


def lost() -> Any:
    return httpx.ReadTimeout("timed out")


# What may happen to a request that was carried out, or may have been, and leaves us none the wiser.
LOSSES: dict[str, Callable[[], Any]] = {
    "read timeout": lost,
    "connection cut": lambda: httpx.ReadError("reset"),
    "server hung up": lambda: httpx.RemoteProtocolError("disconnected"),
    "write cut": lambda: httpx.WriteError("broken pipe"),
    "write timeout": lambda: httpx.WriteTimeout("timed out"),
    "408": lambda: gateway(408),
    "500": lambda: gateway(500),
    "502": lambda: gateway(502),
    "501": lambda: gateway(501),
    "503 without retry-after": lambda: gateway(503),
    "503 with retry-after": lambda: gateway(503, **{"Retry-After": "1"}),
    "503 in Graph's words": lambda: graph_says(503, "ErrorServerBusy", **{"Retry-After": "1"}),
    "429 of a gateway": lambda: gateway(429, **{"Retry-After": "1"}),
    "429 of a gateway without retry-after": lambda: gateway(429),
    "429 in other words": lambda: graph_says(429, "UnknownError", **{"Retry-After": "1"}),
    "504": lambda: gateway(504),
    "520": lambda: gateway(520),
    "303, as after a form": lambda: httpx.Response(303, headers={"Location": "/done"}),
    "304": lambda: gateway(304),
    "399": lambda: gateway(399),
    "101": lambda: gateway(101),
    "103": lambda: gateway(103),
    "507": lambda: graph_says(507, "ErrorQuotaExceeded"),
    "200 instead of 202": lambda: httpx.Response(200),
    "200 of a proxy": lambda: page(200),
    "202 of a proxy": lambda: page(202),
    "202 that names an error": lambda: graph_says(202, "ErrorInternalServerError"),
}

# What proves that it was not.
PROOFS: dict[str, Callable[[], Any]] = {
    "429": lambda: graph_says(429, "ApplicationThrottled", **{"Retry-After": "2"}),
    "429 without retry-after": lambda: graph_says(429, "activityLimitReached"),
    "connection refused": lambda: httpx.ConnectError("refused"),
    "connect timeout": lambda: httpx.ConnectTimeout("timed out"),
    "pool timeout": lambda: httpx.PoolTimeout("timed out"),
    "proxy": lambda: httpx.ProxyError("no"),
}

SENDS: dict[str, Callable[..., Any]] = {
    "send": lambda call, graph, raw: call(graph, "send", raw),
    "reply": lambda call, graph, raw: call(graph, "reply", "id", raw),
    "reply_all": lambda call, graph, raw: call(graph, "reply_all", "id", raw),
    "forward": lambda call, graph, raw: call(graph, "forward", "id", raw),
}


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_answer_is_looked_up_and_never_repeated(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, loss: str
) -> None:
    graph = fake(faults=[(True, LOSSES[loss]())], lag=2)
    ref = SENDS[how](call, graph, raw)
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 1
    assert (ref.status, ref.internet_message_id, ref.id) == ("confirmed", ID, "AAMk-0")
    assert call.pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_found_is_told_and_not_sent_again(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, loss: str
) -> None:
    graph = fake(faults=[(False, LOSSES[loss]())])
    with pytest.raises(GraphUnreachable, match="not known whether the message was sent") as caught:
        SENDS[how](call, graph, raw)
    assert caught.value.maybe_sent
    assert "do not send it again unasked" in caught.value.hint
    assert ID in str(caught.value)
    assert len(graph.posts()) == 1
    assert sum(call.pauses) == 30.0


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("proof", PROOFS)
def test_what_was_provably_not_carried_out_is_repeated(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, proof: str
) -> None:
    graph = fake(faults=[(False, PROOFS[proof]()), (False, PROOFS[proof]())])
    ref = SENDS[how](call, graph, raw)
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 3
    assert ref.status == "accepted"


def test_a_sent_message_that_shows_late_is_found_late(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake(faults=[(True, lost())], lag=4)
    assert call(graph, "send", raw).status == "confirmed"
    assert call.pauses == [1.0, 2.0, 4.0, 8.0, 15.0]


def test_mail_to_oneself_has_two_copies_and_the_one_in_sent_items_proves_it(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake(faults=[(True, gateway(504))], to_self=True)
    ref = call(graph, "send", raw)
    assert (ref.status, ref.id) == ("confirmed", "AAMk-1")
    assert len(graph.items) == 2
    assert len(graph.delivered) == 1


def test_without_the_right_to_look_nobody_knows(
    call: Driver, fake: type[FakeGraph], raw: bytes, graph_error: Callable[..., httpx.Response]
) -> None:
    graph = fake(
        faults=[(True, lost())], look_faults=[(False, graph_error(403, "ErrorAccessDenied"))]
    )
    with pytest.raises(GraphUnreachable, match=r"no right to look it up \(Mail.Read\)") as caught:
        call(graph, "send", raw)
    assert caught.value.maybe_sent
    assert call.pauses == [1.0]


def test_a_look_up_that_fails_is_tried_again_and_waits_as_it_is_asked_to(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake(
        faults=[(True, lost())],
        look_faults=[
            (False, httpx.ConnectError("refused")),
            (False, gateway(429, **{"Retry-After": "20"})),
            (False, httpx.Response(200, content=b"{")),
        ],
    )
    assert call(graph, "send", raw).status == "confirmed"
    assert call.pauses == [1.0, 2.0, 20.0, 8.0]


# What lies in the mailbox when the request is lost that was never carried out.
OLDER: dict[str, dict[str, Any]] = {
    "sent a second before": {"createdDateTime": "2027-01-15T07:59:59Z"},
    "sent last year": {"createdDateTime": "2026-01-15T08:00:00Z"},
    "sent to others": {"toRecipients": [{"emailAddress": {"address": "eve@contoso.com"}}]},
    "sent to fewer": {"toRecipients": []},
    "sent to more": {"ccRecipients": [{"emailAddress": {"address": "eve@contoso.com"}}]},
    "sent to somebody without an address": {"ccRecipients": [{"emailAddress": {}}]},
    "another message": {"internetMessageId": "<other@x>"},
    "a draft": {"isDraft": True},
    "nobody says whether it is a draft": {"isDraft": 0},
    "nobody says when it was made": {"createdDateTime": None},
    "it has a date only": {"createdDateTime": "2027-01-15", "sentDateTime": "2027-01-15T08:00:01Z"},
    "received": {"folder": "inbox"},
    "received from a stranger": {"folder": "inbox", "from": {"emailAddress": {"address": "e@x"}}},
    "deleted": {"folder": "deleteditems"},
}


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("older", OLDER)
@pytest.mark.parametrize("ahead", [0.0, 86_400.0, -86_400.0])
def test_a_copy_that_is_not_of_this_attempt_proves_nothing(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, older: Any, ahead: float
) -> None:
    graph = fake(faults=[(False, lost())], ahead=ahead)
    call.now += 0.25
    graph.clock = lambda: call.now + ahead
    properties = dict(OLDER[older])
    if str(properties.get("createdDateTime", "")).endswith("Z"):
        made = datetime.fromisoformat(properties["createdDateTime"]).timestamp() + ahead
        properties["createdDateTime"] = datetime.fromtimestamp(made, UTC).isoformat()
    graph.keep(raw, **{"folder": "sentitems", **properties})
    with pytest.raises(GraphUnreachable, match="not known whether") as caught:
        SENDS[how](call, graph, raw)
    assert caught.value.disposition == "unknown"
    assert graph.delivered == []


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("ahead", [0.0, 86_400.5, -86_400.5])
def test_the_servers_clock_decides_and_not_ours(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, ahead: float
) -> None:
    graph = fake(faults=[(True, lost())], ahead=ahead, lag=2)
    assert SENDS[how](call, graph, raw).status == "confirmed"
    assert graph.delivered == [raw]


def test_a_server_that_does_not_tell_its_time_leaves_it_unknown(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    graph = fake(faults=[(True, lost())], dated=False)
    with pytest.raises(GraphUnreachable, match="does not tell its time") as caught:
        call(graph, "send", raw)
    assert caught.value.disposition == "unknown"


@pytest.mark.parametrize(
    ("method", "original", "sent_to", "proven"),
    [
        ("reply", {"from": "bob"}, "bob", True),
        ("reply", {"from": "bob"}, "bob carol", True),  # carol is in the header of the reply
        ("reply", {"from": "bob"}, "carol", False),
        ("reply", {"from": "bob"}, "bob eve", False),
        ("reply", {"from": "bob", "replyTo": "dan"}, "dan", True),
        ("reply", {"from": "bob", "toRecipients": "alice eve"}, "bob eve", False),
        ("reply_all", {"from": "bob", "toRecipients": "alice eve"}, "bob eve", True),
        ("reply_all", {"from": "bob", "toRecipients": "alice eve"}, "bob", False),
        ("reply_all", {"from": "alice", "toRecipients": "eve"}, "eve", True),
        ("reply_all", {"from": "bob", "ccRecipients": "eve"}, "eve", False),
        ("reply_all", {"from": "bob", "ccRecipients": "eve"}, "bob eve dan", False),
        ("reply", {}, "carol", False),
    ],
)
def test_an_answer_is_proven_by_a_copy_to_the_people_of_the_original(
    call: Driver,
    fake: type[FakeGraph],
    raw: bytes,
    method: str,
    original: Any,
    sent_to: Any,
    proven: Any,
) -> None:
    def people(names: Any) -> Any:
        return [{"emailAddress": {"address": f"{name}@contoso.com"}} for name in names.split()]

    graph = fake(faults=[(False, lost())])
    graph.ORIGINAL = {"id": "id"} | {
        name: people(value)[0] if name == "from" else people(value)
        for name, value in original.items()
    }
    raw = raw.replace(b"bob@", b"carol@")
    graph.keep(raw, folder="sentitems", toRecipients=people(sent_to))
    if proven:
        assert call(graph, method, "id", raw).status == "confirmed"
    else:
        with pytest.raises(GraphUnreachable, match="is to others"):
            call(graph, method, "id", raw)


def test_an_answer_to_what_cannot_be_read_is_unknown(
    call: Driver, fake: type[FakeGraph], raw: bytes, graph_error: Callable[..., httpx.Response]
) -> None:
    graph = fake(
        faults=[(True, lost())], look_faults=[(False, graph_error(403, "ErrorAccessDenied"))]
    )
    with pytest.raises(GraphUnreachable, match="whom it answers is not known") as caught:
        call(graph, "reply", "id", raw)
    assert caught.value.disposition == "unknown"


@pytest.mark.parametrize("how", [*SENDS, "draft"])
def test_a_refusal_after_a_repetition_is_looked_up(
    call: Driver,
    fake: type[FakeGraph],
    raw: bytes,
    graph_error: Callable[..., httpx.Response],
    how: str,
) -> None:
    # As a service that lies about its throttling would have it.
    throttled = PROOFS["429"]()
    refused = graph_error(400, "ErrorInvalidRecipients")
    scripts: dict[bool, list[Any]] = {
        True: [(True, throttled), (False, refused)],
        False: [(False, throttled), None],
    }
    scripts[False][1] = (False, refused)
    for carried_out, script in scripts.items():
        graph = fake(faults=[None, *script] if how == "draft" else script)
        send: Callable[..., Any] = SENDS.get(
            how, lambda call, graph, raw: call(graph, "send", raw, via="draft")
        )
        if carried_out:
            assert send(call, graph, raw).status == "confirmed"
        else:
            with pytest.raises(GraphRefused, match="ErrorInvalidRecipients") as caught:
                send(call, graph, raw)
            assert caught.value.disposition == "refused"
        assert len(graph.delivered) == carried_out


@pytest.mark.parametrize("how", [*SENDS, "draft"])
def test_after_a_repetition_that_never_left_nothing_was_sent(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str
) -> None:
    """Each of the attempts has its proof, so there is nothing to look up."""
    repeated = [(False, PROOFS["429"]()), *[(False, PROOFS["connection refused"]())] * 4]
    graph = fake(
        faults=[None, *repeated] if how == "draft" else repeated,
        look_faults=[(False, PROOFS["connection refused"]())] * 10,
    )
    with pytest.raises(GraphUnreachable) as caught:
        call(graph, "send", raw, via="draft") if how == "draft" else SENDS[how](call, graph, raw)
    assert caught.value.disposition == "not-sent"
    assert [r for r in graph.requests if r.method == "GET"] == []
    assert graph.delivered == []


def test_a_deadline_in_the_wait_for_a_repetition_leaves_it_unsent(
    call: Driver, fake: type[FakeGraph], raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = fake(faults=[(False, PROOFS["429"]())])
    passed = [0.0]

    class Time:
        monotonic = time = staticmethod(lambda: passed[0])

    def sleep(seconds: float) -> None:
        passed[0] += seconds

    monkeypatch.setattr(call, "_sleep", sleep)
    monkeypatch.setattr(deadlines, "time", Time)
    monkeypatch.setattr(_client, "time", Time)
    with pytest.raises(GraphUnreachable, match="deadline") as caught:
        call(graph, "send", raw, settings={"deadline": 1.0})  # and Graph asks for two seconds
    assert caught.value.disposition == "not-sent"
    assert len(graph.requests) == 1


@pytest.mark.parametrize("begins", [0.0, 0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("takes", [0.0, 0.02, 0.15, 0.6, 1.3])
def test_a_copy_of_the_second_in_which_the_attempt_began_is_found(
    call: Driver, fake: type[FakeGraph], raw: bytes, begins: float, takes: float
) -> None:
    """Date and createdDateTime are whole seconds, and the attempt begins in the middle of one."""
    call.now += begins
    graph = fake(clock=lambda: call.now)

    def handler(request: httpx.Request) -> httpx.Response:
        answer = graph(request)
        call.now += takes
        if request.method == "POST":
            raise lost()
        return answer

    assert call(handler, "send", raw).status == "confirmed"


def at(seconds: float) -> str:
    return formatdate(1_800_000_000.0 + seconds, usegmt=True)


@pytest.mark.parametrize(
    "headers",
    [
        [("Date", at(-3600)), ("Date", at(1))],
        [("Date", f"{at(-3600)}, {at(1)}")],
        [("Date", at(-3600)), ("Age", "3601")],
        [("Date", at(1).replace("GMT", "+0500"))],
        [("Date", at(1)[:-4])],
        [("Date", at(1).replace("GMT", "GMT -0000"))],
        [("Date", at(1).lower())],
        [("Date", "")],
    ],
    ids=repr,
)
def test_a_time_that_may_be_another_clocks_proves_nothing(
    call: Driver, fake: type[FakeGraph], raw: bytes, headers: Any
) -> None:
    graph = fake(dated=False, clock=lambda: 1_800_000_000.0)
    graph.keep(raw, folder="sentitems")  # sent before

    def handler(request: httpx.Request) -> httpx.Response:
        call.now += 10.0
        if request.method == "POST":
            raise lost()
        return httpx.Response(200, headers=headers, content=graph(request).content)

    with pytest.raises(GraphUnreachable, match="does not tell its time") as caught:
        call(handler, "send", raw)
    assert caught.value.disposition == "unknown"


@pytest.mark.parametrize("step", [-3600.0, 0.0, 3600.0])
@pytest.mark.parametrize("kind", ["older", "own"])
def test_setting_our_clock_while_a_send_goes_on_proves_nothing(
    fake: type[FakeGraph], raw: bytes, monkeypatch: pytest.MonkeyPatch, step: Any, kind: Any
) -> None:
    """How long ago the attempt began is measured by a clock that nobody sets."""
    wall, passed = [1_800_000_000.0], [0.0]

    class Time:
        monotonic = staticmethod(lambda: passed[0])
        time = staticmethod(lambda: wall[0])

    def pass_by(seconds: float) -> None:
        passed[0] += seconds
        wall[0] += seconds

    graph = fake(clock=lambda: 1_900_000_000.0 + passed[0])
    graph.keep(raw, folder="sentitems")  # sent before
    pass_by(60.0)

    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            if kind == "own":
                graph(request)
            wall[0] += step
            raise lost()
        return graph(request)

    monkeypatch.setattr(_client, "time", Time)
    monkeypatch.setattr(deadlines, "time", Time)
    defaults = GraphClient.__init__.__kwdefaults__
    assert defaults is not None
    monkeypatch.setitem(defaults, "clock", Time.time)
    with GraphClient("t", transport=httpx.MockTransport(handler), sleep=pass_by) as client:
        if kind == "own":
            assert client.send(raw).id == "AAMk-1"
        else:
            with pytest.raises(GraphUnreachable) as caught:
                client.send(raw)
            assert caught.value.disposition == "unknown"


@pytest.mark.parametrize("text", ["<a\u00adb@c>", "<a@b\u200b>", "<\u202ea@b>", "<a@b\ue000>"])
@pytest.mark.parametrize("how", [*SENDS, "draft", "via draft"])
def test_a_message_id_that_nobody_can_ask_for_is_refused_before_the_first_request(
    call: Driver, fake: type[FakeGraph], raw: bytes, how: str, text: str
) -> None:
    raw = raw.replace(ID.encode(), text.encode())
    graph = fake(faults=[(False, lost())])
    ways: dict[str, Callable[..., Any]] = {
        **SENDS,
        "draft": lambda call, graph, raw: call(graph, "draft", raw),
        "via draft": lambda call, graph, raw: call(graph, "send", raw, via="draft"),
    }
    with pytest.raises(MalformedMessage, match="Message-ID is malformed"):
        ways[how](call, graph, raw)
    assert graph.requests == []


@pytest.mark.parametrize("text", ["<a'b@c>", "<''a@x>", "<a'or'b@c>", "<%27&$top=1#@x/..>"])
def test_a_quote_in_a_message_id_asks_for_that_message_and_no_other(
    call: Driver, fake: type[FakeGraph], raw: bytes, text: str
) -> None:
    raw = raw.replace(ID.encode(), text.encode())
    graph = fake(faults=[(True, lost())])
    graph.keep(raw.replace(text.encode(), b"<other@x>"), folder="sentitems")
    assert call(graph, "send", raw).id == "AAMk-1"


def test_a_token_that_cannot_be_had_for_the_look_up_still_says_maybe_sent(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    tokens = iter(["one"])

    def credential() -> Any:
        return next(tokens)  # the second request finds the credential broken

    graph = fake(faults=[(True, lost())])
    with pytest.raises(GraphUnreachable, match="looking it up failed") as caught:
        call(graph, "send", raw, credential=credential)
    assert caught.value.maybe_sent


def test_a_message_that_is_not_saved_is_not_looked_up(call: Driver, raw: bytes) -> None:
    requests = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        raise lost()

    with pytest.raises(GraphUnreachable, match="nothing to look up") as caught:
        call(handler, "send", raw, save_to_sent_items=False, settings={"wire": "mime-content"})
    assert caught.value.maybe_sent
    assert len(requests) == 1


def test_the_design_documents_200_is_a_success_where_it_stands_there(
    call: Driver, fake: type[FakeGraph], raw: bytes
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200)

    for method in ("reply_all", "forward"):
        ref = call(handler, method, "id", raw, settings={"wire": "mime-content"})
        assert ref.status == "accepted"
    for method, args in (("send", (raw,)), ("reply", ("id", raw)), ("send_draft", ("id",))):
        with pytest.raises(GraphUnreachable):
            call(fake(faults=[(False, httpx.Response(200))]), method, *args, settings=MIME)


MIME = {"wire": "mime-content"}


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("wire", ["text-plain", "mime-content"])
@pytest.mark.parametrize("status", [200, 201, 202, 203, 204])
@pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml", "text/html; charset=x"])
def test_a_page_is_no_acceptance(
    call: Driver, raw: bytes, how: str, wire: str, status: int, kind: Any
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        answer = httpx.Response(status, headers={"Content-Type": kind}, content=b"<p>log in</p>")
        return answer if status != 204 else httpx.Response(204)

    with pytest.raises(GraphUnreachable) as caught:
        SENDS[how](functools.partial(call, settings={"wire": wire}), handler, raw)
    assert caught.value.disposition == "unknown"


@pytest.mark.parametrize("status", [200, 202])
@pytest.mark.parametrize("how", SENDS)
def test_an_answer_that_names_an_error_is_no_acceptance(
    call: Driver, raw: bytes, how: str, status: int
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return graph_says(status, "ErrorSendAsDenied")

    def send(graph: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        return call(graph, method, *args, **kwargs, settings={"wire": "mime-content"})

    with pytest.raises(GraphUnreachable) as caught:
        SENDS[how](send, handler, raw)
    assert caught.value.disposition == "unknown"


def test_an_accepted_send_counts_even_if_its_body_breaks_off(
    call: Driver, raw: bytes, stream: Callable[..., Any]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(202, stream=stream(b"", httpx.ReadError("reset")))

    assert call(handler, "send", raw).status == "accepted"


# --- through a draft -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_a_draft_that_was_sent_is_recognised_by_its_id(
    call: Driver, fake: type[FakeGraph], raw: bytes, loss: str
) -> None:
    graph = fake(faults=[None, (True, LOSSES[loss]())])
    ref = call(graph, "send", raw, via="draft")
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 2
    assert (ref.id, ref.status, ref.internet_message_id) == ("AAMk-0", "confirmed", ID)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_draft_that_stays_one_is_not_sent_again(
    call: Driver, fake: type[FakeGraph], raw: bytes, loss: str
) -> None:
    graph = fake(faults=[None, (False, LOSSES[loss]())])
    with pytest.raises(GraphUnreachable, match="draft still") as caught:
        call(graph, "send", raw, via="draft")
    assert caught.value.disposition == "unknown"
    assert (caught.value.draft_id, caught.value.message_id) == ("AAMk-0", ID)
    assert "get('AAMk-0')" in caught.value.hint
    assert graph.delivered == []
    assert len(graph.posts()) == 2
    assert sum(call.pauses) == 30.0  # the whole window passes first


@pytest.mark.parametrize("folder", ["inbox", "sentitems"])
def test_an_item_that_was_no_draft_counts_as_sent_only_in_sent_items(
    call: Driver, fake: type[FakeGraph], raw: bytes, folder: str
) -> None:
    graph = fake(faults=[(False, lost())])
    item = graph.keep(raw, folder=folder)["id"]
    if folder == "sentitems":
        assert call(graph, "send_draft", item).status == "confirmed"
        return
    with pytest.raises(GraphUnreachable, match="not seen in Sent Items") as caught:
        call(graph, "send_draft", item)
    assert caught.value.disposition == "unknown"


def test_a_draft_that_vanished_may_have_been_sent(
    call: Driver, graph_error: Callable[..., httpx.Response]
) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return gateway(504)
        return graph_error(404, "ErrorItemNotFound")

    with pytest.raises(GraphUnreachable) as caught:
        call(handler, "send_draft", "some-id")
    assert caught.value.maybe_sent


@pytest.mark.parametrize("failure", ["504", "connection cut"])
def test_a_draft_that_is_one_at_first_and_then_out_of_sight_is_not_sent_again(
    call: Driver, fake: type[FakeGraph], raw: bytes, failure: Any
) -> None:
    graph = fake(
        faults=[None, (True, lost())],
        look_faults=[
            (False, httpx.Response(200, json={"id": "AAMk-0", "isDraft": True})),
            *[(False, LOSSES[failure]()) for _ in range(4)],
        ],
    )
    with pytest.raises(GraphUnreachable) as caught:
        call(graph, "send", raw, via="draft")
    assert caught.value.maybe_sent
    assert len(graph.posts()) == 2
    assert graph.delivered == [raw]


def test_a_refused_draft_stays_and_the_error_says_where(
    call: Driver, fake: type[FakeGraph], raw: bytes, graph_error: Callable[..., httpx.Response]
) -> None:
    graph = fake(faults=[None, (False, graph_error(403, "ErrorSendAsDenied"))])
    with pytest.raises(GraphRefused) as caught:
        call(graph, "send", raw, via="draft")
    assert caught.value.code == "ErrorSendAsDenied"
    assert "Send As" in caught.value.hint
    assert "send_draft('AAMk-0')" in caught.value.hint


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", ["draft", "create_reply", "create_reply_all", "create_forward"])
def test_making_a_draft_is_not_repeated_and_nothing_was_sent(
    call: Driver, fake: type[FakeGraph], raw: bytes, method: str, loss: str
) -> None:
    graph = fake(faults=[(True, LOSSES[loss]())])
    args = (raw,) if method == "draft" else ("id", raw)
    with pytest.raises(GraphError) as caught:
        call(graph, method, *args)
    assert len(graph.posts()) == 1
    assert not getattr(caught.value, "maybe_sent", False)
    assert "an unsent copy may lie in Drafts" in caught.value.hint


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}', b'{"id": ".."}', b'{"id": "\\u200b"}'],
)
def test_a_draft_whose_id_cannot_be_read_is_an_error_that_says_so(
    call: Driver, raw: bytes, body: Any
) -> None:
    with pytest.raises(GraphError) as caught:
        call(lambda request: httpx.Response(201, content=body), "draft", raw)
    assert "an unsent copy may lie in Drafts" in caught.value.hint


# --- what an error says, whatever ends a send ----------------------------------------------------


class Broken(Exception):
    """What a program's own transport may raise."""


def always(answer: Callable[[], Any]) -> Handler:
    def handler(request: httpx.Request) -> httpx.Response:
        made: httpx.Response | BaseException = answer()
        if isinstance(made, BaseException):
            raise made
        return made

    return handler


ENDS: dict[str, tuple[Callable[[], Any], str]] = {
    "refused": (lambda: graph_says(400, "ErrorInvalidRecipients"), "refused"),
    "no right": (lambda: graph_says(403, "ErrorAccessDenied"), "refused"),
    "token refused": (lambda: graph_says(401, "InvalidAuthenticationToken"), "refused"),
    "redirect": (lambda: httpx.Response(302, headers={"Location": "https://x/"}), "refused"),
    "throttled": (lambda: PROOFS["429"](), "not-sent"),
    "throttled for long": (
        lambda: graph_says(429, "ApplicationThrottled", **{"Retry-After": "600"}),
        "not-sent",
    ),
    "not connected": (lambda: httpx.ConnectError("refused"), "not-sent"),
    "no such address": (lambda: httpx.InvalidURL("no"), "not-sent"),
    "no such host": (lambda: UnicodeError("label too long"), "not-sent"),
    "lost": (lost, "unknown"),
    "decoding": (lambda: httpx.DecodingError("no"), "unknown"),
    "gateway": (lambda: gateway(504), "unknown"),
}


@pytest.mark.parametrize("how", [*SENDS, "send_draft"])
@pytest.mark.parametrize("end", ENDS)
def test_every_error_of_a_send_says_what_became_of_the_message(
    call: Driver, raw: bytes, how: str, end: Any
) -> None:
    answer, disposition = ENDS[end]
    send: Callable[..., Any] = SENDS.get(
        how, lambda call, graph, raw: call(graph, "send_draft", "AAMk-7")
    )
    with pytest.raises(GraphError) as caught:
        send(call, always(answer), raw)
    error = caught.value
    assert error.disposition == disposition
    assert error.message_id == (None if how == "send_draft" else ID)
    assert error.draft_id == ("AAMk-7" if how == "send_draft" else None)
    assert uuid.UUID(error.client_request_id)


@pytest.mark.parametrize("end", ENDS)
def test_an_error_of_a_send_through_a_draft_names_the_draft(
    call: Driver, fake: type[FakeGraph], raw: bytes, end: Any
) -> None:
    answer, disposition = ENDS[end]
    graph = fake()

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/send"):
            return always(answer)(request)
        return graph(request)

    with pytest.raises(GraphError) as caught:
        call(handler, "send", raw, via="draft")
    assert (caught.value.disposition, caught.value.draft_id) == (disposition, "AAMk-0")
    assert "AAMk-0" in caught.value.hint


@pytest.mark.parametrize("end", ENDS)
def test_what_fails_while_the_draft_is_made_was_not_sent(
    call: Driver, raw: bytes, end: Any
) -> None:
    with pytest.raises(GraphError) as caught:
        call(always(ENDS[end][0]), "send", raw, via="draft")
    assert caught.value.disposition in ("not-sent", "refused")
    assert (caught.value.message_id, caught.value.draft_id) == (ID, None)


@pytest.mark.parametrize("fails_at", [1, 2, 3])
@pytest.mark.parametrize("failure", [RuntimeError("s3cret"), None])
def test_a_credential_that_fails_says_it_too(
    call: Driver, fake: type[FakeGraph], raw: bytes, fails_at: Any, failure: Any
) -> None:
    asked = []

    def credential() -> Any:
        asked.append(1)
        if len(asked) < fails_at:
            return "token"
        if failure is not None:
            raise failure
        return None

    graph = fake(faults=[None, (True, lost())])
    with pytest.raises((GraphError, UsageError)) as caught:
        call(graph, "send", raw, via="draft", credential=credential)
    error = caught.value
    assert error.disposition == ("unknown" if fails_at == 3 else "not-sent")
    assert (error.message_id, error.draft_id) == (ID, None if fails_at == 1 else "AAMk-0")


@pytest.mark.parametrize("how", SENDS)
def test_what_is_refused_before_any_request_was_not_sent(
    call: Driver, raw: bytes, how: str
) -> None:
    with pytest.raises(UsageError) as caught:
        SENDS[how](functools.partial(call, settings={"size_limit": 10}), always(lost), raw)
    assert (caught.value.disposition, caught.value.message_id) == ("not-sent", ID)
    with pytest.raises(MalformedMessage) as malformed:
        SENDS[how](call, always(lost), b"")
    assert malformed.value.disposition == "not-sent"


def told_by(error: Any) -> Any:
    """The GraphError in the chain of an exception that is none of ours."""
    chain = []
    while error is not None:
        chain.append(error)
        error = error.__cause__ or error.__context__
    (found,) = [one for one in chain if isinstance(one, GraphError)]
    return found


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("kind", [Broken, KeyboardInterrupt, SystemExit, MemoryError])
def test_what_is_none_of_our_errors_stays_what_it_is_and_knows_it(
    call: Driver, raw: bytes, how: str, kind: Any
) -> None:
    with pytest.raises(kind) as caught:
        SENDS[how](call, always(kind), raw)
    error = told_by(caught.value)
    assert (error.disposition, error.message_id) == ("unknown", ID)
    assert "may have been sent" in str(error)


def test_an_interruption_before_anything_was_sent_knows_that(call: Driver, raw: bytes) -> None:
    def credential() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as caught:
        call(always(lost), "send", raw, credential=credential)
    assert told_by(caught.value).disposition == "not-sent"


def test_an_interruption_of_what_does_not_send_says_nothing_of_a_message(
    call: Driver, raw: bytes
) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        call(always(KeyboardInterrupt), "fetch", "id")
    assert caught.value.__cause__ is None


# At which request a task is cancelled: what is known then.
MOMENTS = {
    ("sendmail", 1): ("unknown", None),
    ("sendmail", 2): ("unknown", None),
    ("draft", 1): ("not-sent", None),
    ("draft", 2): ("unknown", "AAMk-0"),
    ("draft", 3): ("unknown", "AAMk-0"),
}


@pytest.mark.parametrize("way", ["wait_for", "timeout", "cancel"])
@pytest.mark.parametrize(("via", "moment"), MOMENTS)
def test_a_cancelled_send_tells_what_is_known(
    fake: type[FakeGraph], raw: bytes, via: Any, moment: Any, way: Any
) -> None:
    graph = fake(faults=[(True, lost())] if via == "sendmail" else [None, (True, lost())])
    reached = asyncio.Event()

    async def handler(request: httpx.Request) -> httpx.Response:
        if len(graph.requests) == moment - 1:
            reached.set()
            await asyncio.sleep(600)
        return graph(request)

    async def no_sleep(seconds: float) -> None:
        await asyncio.sleep(0)

    async def run() -> None:
        transport = httpx.MockTransport(handler)
        async with AsyncGraphClient("token", transport=transport, sleep=no_sleep) as client:
            if way == "wait_for":
                await asyncio.wait_for(client.send(raw, via=via), 0.05)
            elif way == "timeout":
                async with asyncio.timeout(0.05):
                    await client.send(raw, via=via)
            else:
                task = asyncio.create_task(client.send(raw, via=via))
                await reached.wait()
                task.cancel()
                await task

    expected = asyncio.CancelledError if way == "cancel" else TimeoutError
    with pytest.raises(expected) as caught:
        asyncio.run(run())
    error = told_by(caught.value)
    assert (error.disposition, error.draft_id) == MOMENTS[via, moment]
    assert error.message_id == ID
    assert bool(error.client_request_id) == (moment > 1 or via == "sendmail")


# --- the property --------------------------------------------------------------------------------

FAULT = st.one_of(
    st.none(),
    st.tuples(st.booleans(), st.sampled_from(sorted(LOSSES))).map(lambda t: ("loss", *t)),
    st.sampled_from(sorted(PROOFS)).map(lambda name: ("proof", False, name)),
    st.sampled_from([400, 401, 403, 404, 413, 501, 507]).map(lambda s: ("refused", False, s)),
)


def made(fault: Any) -> Any:
    if fault is None:
        return None
    kind, carried_out, name = fault
    if kind == "refused":
        return carried_out, gateway(name)
    return carried_out, (LOSSES if kind == "loss" else PROOFS)[name]()


@given(
    faults=st.lists(FAULT, max_size=8),
    looks=st.lists(FAULT, max_size=12),
    lag=st.integers(0, 7),
    via=st.sampled_from(["sendmail", "draft"]),
    retries=st.integers(0, 5),
)
@settings(max_examples=250, deadline=None)
def test_whatever_fails_no_message_goes_out_twice_and_nobody_is_misled(
    drive: type[Driver],
    fake: type[FakeGraph],
    raw: bytes,
    faults: Any,
    looks: Any,
    lag: Any,
    via: str,
    retries: int,
) -> None:
    graph = fake(faults=[made(f) for f in faults], look_faults=[made(f) for f in looks], lag=lag)
    told = None
    try:
        drive("sync")(graph, "send", raw, via=via, settings={"retries": retries})
    except GraphError as error:
        told = error
    claim = "sent" if told is None else told.disposition
    assert claim in ("sent", "not-sent", "refused", "unknown")
    assert told is None or told.message_id == ID
    assert len(graph.delivered) <= 1
    if claim != "unknown":
        assert len(graph.delivered) == (claim == "sent")
