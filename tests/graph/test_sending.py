"""A send is never repeated blindly: every way to lose an answer, against a Graph that counts."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.errors import GraphError, GraphRefused, GraphThrottled, GraphUnreachable

ID = "<m1@contoso.com>"


def gateway(status: int, **headers: str) -> httpx.Response:
    return httpx.Response(status, headers=headers, content=b"<html>gateway</html>")


def lost():
    return httpx.ReadTimeout("timed out")


# What may happen to a request that was carried out, or may have been, and leaves us none the wiser.
LOSSES = {
    "read timeout": lost,
    "connection cut": lambda: httpx.ReadError("reset"),
    "server hung up": lambda: httpx.RemoteProtocolError("disconnected"),
    "write cut": lambda: httpx.WriteError("broken pipe"),
    "write timeout": lambda: httpx.WriteTimeout("timed out"),
    "408": lambda: gateway(408),
    "500": lambda: gateway(500),
    "502": lambda: gateway(502),
    "503 without retry-after": lambda: gateway(503),
    "504": lambda: gateway(504),
    "520": lambda: gateway(520),
    "200 instead of 202": lambda: httpx.Response(200),
}

# What proves that it was not.
PROOFS = {
    "429": lambda: gateway(429, **{"Retry-After": "2"}),
    "429 without retry-after": lambda: gateway(429),
    "503 with retry-after": lambda: gateway(503, **{"Retry-After": "2"}),
    "connection refused": lambda: httpx.ConnectError("refused"),
    "connect timeout": lambda: httpx.ConnectTimeout("timed out"),
    "pool timeout": lambda: httpx.PoolTimeout("timed out"),
    "proxy": lambda: httpx.ProxyError("no"),
}

SENDS = {
    "send": lambda call, graph, raw: call(graph, "send", raw),
    "reply": lambda call, graph, raw: call(graph, "reply", "id", raw),
    "reply_all": lambda call, graph, raw: call(graph, "reply_all", "id", raw),
    "forward": lambda call, graph, raw: call(graph, "forward", "id", raw),
}


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_a_lost_answer_is_looked_up_and_never_repeated(call, fake, raw, how, loss):
    graph = fake(faults=[(True, LOSSES[loss]())], lag=2)
    ref = SENDS[how](call, graph, raw)
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 1
    assert (ref.status, ref.internet_message_id, ref.id) == ("confirmed", ID, "AAMk-0")
    assert call.pauses == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("how", SENDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_not_found_is_told_and_not_sent_again(call, fake, raw, how, loss):
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
def test_what_was_provably_not_carried_out_is_repeated(call, fake, raw, how, proof):
    graph = fake(faults=[(False, PROOFS[proof]()), (False, PROOFS[proof]())])
    ref = SENDS[how](call, graph, raw)
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 3
    assert ref.status == "accepted"


def test_a_sent_message_that_shows_late_is_found_late(call, fake, raw):
    graph = fake(faults=[(True, lost())], lag=4)
    assert call(graph, "send", raw).status == "confirmed"
    assert call.pauses == [1.0, 2.0, 4.0, 8.0, 15.0]


def test_mail_to_oneself_has_two_copies_and_either_proves_it(call, fake, raw):
    graph = fake(faults=[(True, gateway(504))], to_self=True)
    assert call(graph, "send", raw).status == "confirmed"
    assert len(graph.items) == 2
    assert len(graph.delivered) == 1


def test_without_the_right_to_look_nobody_knows(call, fake, raw, graph_error):
    graph = fake(
        faults=[(True, lost())], look_faults=[(False, graph_error(403, "ErrorAccessDenied"))]
    )
    with pytest.raises(GraphUnreachable, match=r"no right to look it up \(Mail.Read\)") as caught:
        call(graph, "send", raw)
    assert caught.value.maybe_sent
    assert call.pauses == [1.0]


def test_a_look_up_that_fails_is_tried_again_and_waits_as_it_is_asked_to(call, fake, raw):
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


def test_a_draft_or_another_message_proves_nothing(call, fake, raw):
    others = [
        {"id": "1", "internetMessageId": ID, "isDraft": True},
        {"id": "2", "internetMessageId": "<other@x>", "isDraft": False},
        {"id": "3", "internetMessageId": ID},
        {"id": "4", "internetMessageId": ID, "isDraft": 0},
        "nonsense",
    ]

    def handler(request):
        if request.method == "POST":
            return gateway(504)
        return httpx.Response(200, json={"value": others})

    with pytest.raises(GraphUnreachable, match="in the mailbox as a draft") as caught:
        call(handler, "send", raw)
    assert caught.value.maybe_sent


def test_a_token_that_cannot_be_had_for_the_look_up_still_says_maybe_sent(call, fake, raw):
    tokens = iter(["one"])

    def credential():
        return next(tokens)  # the second request finds the credential broken

    graph = fake(faults=[(True, lost())])
    with pytest.raises(GraphUnreachable, match="looking it up failed") as caught:
        call(graph, "send", raw, credential=credential)
    assert caught.value.maybe_sent


def test_a_message_that_is_not_saved_is_not_looked_up(call, raw):
    requests = []

    def handler(request):
        requests.append(request)
        raise lost()

    with pytest.raises(GraphUnreachable, match="nothing to look up") as caught:
        call(handler, "send", raw, save_to_sent_items=False, settings={"wire": "mime-content"})
    assert caught.value.maybe_sent
    assert len(requests) == 1


def test_the_design_documents_200_is_a_success_in_its_own_form_only(call, raw):
    def handler(request):
        return httpx.Response(200)

    for method in ("reply_all", "forward"):
        ref = call(handler, method, "id", raw, settings={"wire": "mime-content"})
        assert ref.status == "accepted"


def test_an_accepted_send_counts_even_if_its_body_breaks_off(call, raw, stream):
    def handler(request):
        return httpx.Response(202, stream=stream(b"", httpx.ReadError("reset")))

    assert call(handler, "send", raw).status == "accepted"


# --- through a draft -----------------------------------------------------------------------------


@pytest.mark.parametrize("loss", LOSSES)
def test_a_draft_that_was_sent_is_recognised_by_its_id(call, fake, raw, loss):
    graph = fake(faults=[None, (True, LOSSES[loss]())])
    ref = call(graph, "send", raw, via="draft")
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 2
    assert (ref.id, ref.status, ref.internet_message_id) == ("AAMk-0", "confirmed", ID)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_draft_that_stays_one_is_sent_once_more(call, fake, raw, loss):
    graph = fake(faults=[None, (False, LOSSES[loss]())])
    ref = call(graph, "send", raw, via="draft")
    assert graph.delivered == [raw]
    assert len(graph.posts()) == 3
    assert ref.status == "accepted"
    assert sum(call.pauses) == 30.0  # the whole window passes first


def test_a_draft_is_sent_at_most_twice(call, fake, raw):
    graph = fake(faults=[None, (False, lost()), (False, lost()), (True, None)])
    with pytest.raises(GraphUnreachable, match="draft still") as caught:
        call(graph, "send", raw, via="draft")
    assert caught.value.maybe_sent
    assert "get('AAMk-0')" in caught.value.hint
    assert len(graph.posts()) == 3


def test_a_draft_that_left_between_the_attempts_is_found_sent(call, fake, raw, graph_error):
    # The first attempt gets through late: after the last look, before the second attempt.
    graph = fake(
        faults=[None, (False, gateway(504)), (True, graph_error(404, "ErrorItemNotFound"))]
    )
    ref = call(graph, "send", raw, via="draft")
    assert ref.status == "confirmed"
    assert graph.delivered == [raw]


def test_a_draft_that_vanished_may_have_been_sent(call, graph_error):
    def handler(request):
        if request.method == "POST":
            return gateway(504)
        return graph_error(404, "ErrorItemNotFound")

    with pytest.raises(GraphUnreachable) as caught:
        call(handler, "send_draft", "some-id")
    assert caught.value.maybe_sent


@pytest.mark.parametrize("failure", ["504", "connection cut"])
def test_only_the_last_look_makes_a_draft_be_sent_again(call, fake, raw, failure):
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


def test_a_refused_draft_stays_and_the_error_says_where(call, fake, raw, graph_error):
    graph = fake(faults=[None, (False, graph_error(403, "ErrorSendAsDenied"))])
    with pytest.raises(GraphRefused) as caught:
        call(graph, "send", raw, via="draft")
    assert caught.value.code == "ErrorSendAsDenied"
    assert "Send As" in caught.value.hint
    assert "send_draft('AAMk-0')" in caught.value.hint


def test_a_second_refusal_of_a_draft_that_is_still_there_is_that_refusal(
    call, fake, raw, graph_error
):
    graph = fake(faults=[None, (False, lost()), (False, graph_error(403, "ErrorSendAsDenied"))])
    with pytest.raises(GraphRefused, match="ErrorSendAsDenied"):
        call(graph, "send", raw, via="draft")
    assert graph.delivered == []


@pytest.mark.parametrize("loss", [name for name in LOSSES if name != "200 instead of 202"])
@pytest.mark.parametrize("method", ["draft", "create_reply", "create_reply_all", "create_forward"])
def test_making_a_draft_is_not_repeated_and_nothing_was_sent(call, fake, raw, method, loss):
    graph = fake(faults=[(True, LOSSES[loss]())])
    args = (raw,) if method == "draft" else ("id", raw)
    with pytest.raises(GraphError) as caught:
        call(graph, method, *args)
    assert len(graph.posts()) == 1
    assert not getattr(caught.value, "maybe_sent", False)
    assert "an unsent copy may lie in Drafts" in caught.value.hint


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"id": 5}', b'{"id": ""}'])
def test_a_draft_whose_id_cannot_be_read_is_an_error_that_says_so(call, raw, body):
    with pytest.raises(GraphError) as caught:
        call(lambda request: httpx.Response(201, content=body), "draft", raw)
    assert "an unsent copy may lie in Drafts" in caught.value.hint


# --- the property --------------------------------------------------------------------------------

FAULT = st.one_of(
    st.none(),
    st.tuples(st.booleans(), st.sampled_from(sorted(LOSSES))).map(lambda t: ("loss", *t)),
    st.sampled_from(sorted(PROOFS)).map(lambda name: ("proof", False, name)),
    st.sampled_from([400, 401, 403, 404, 413, 501, 507]).map(lambda s: ("refused", False, s)),
)


def made(fault):
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
    drive, fake, raw, faults, looks, lag, via, retries
):
    graph = fake(faults=[made(f) for f in faults], look_faults=[made(f) for f in looks], lag=lag)
    try:
        drive("sync")(graph, "send", raw, via=via, settings={"retries": retries})
        claim = "sent"
    except GraphUnreachable as error:
        claim = "unknown" if error.maybe_sent else "not sent"
    except (GraphRefused, GraphThrottled, GraphError):
        claim = "not sent"
    assert len(graph.delivered) <= 1
    if claim != "unknown":
        assert len(graph.delivered) == (claim == "sent")
