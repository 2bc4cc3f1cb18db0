"""A round trip on the emulator, through servers that leave mail alone and some that do not."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import httpx
import pytest

from smime_graph import (
    AsyncGraphClient,
    CertificateRejected,
    GraphClient,
    GraphError,
    Identity,
    TrustStore,
    UsageError,
    round_trip,
    round_trip_async,
)
from smime_graph.authority.issue import CA
from smime_graph.emulator import Emulator
from smime_graph.submission.round_trip import RoundTrip, differences


class Meddler(httpx.BaseTransport):
    """The emulator, with what it gives of a message changed on the way."""

    def __init__(self, emulator: Emulator, *changes: tuple[bytes, bytes]) -> None:
        self._inner, self._changes = emulator.transport(), changes

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As the emulator; of messages the changes are made."""
        answer = self._inner.handle_request(request)
        if not request.url.path.endswith("$value"):
            return answer
        body = answer.read()
        for old, new in self._changes:
            assert old in body
            body = body.replace(old, new)
        kept = {"Content-Type": answer.headers["Content-Type"]}
        return httpx.Response(answer.status_code, headers=kept, content=body)


def there_and_back(
    alice: Identity,
    trust: TrustStore,
    at: datetime,
    *changes: tuple[bytes, bytes],
    rewrite_headers: bool = True,
) -> RoundTrip:
    with Emulator(open_mailboxes=True, rewrite_headers=rewrite_headers) as emulator:
        transport = Meddler(emulator, *changes)
        with GraphClient("token", transport=transport, user="alice@contoso.com") as graph:
            return round_trip(graph, signer=alice, trust=trust, at=at)


def test_what_comes_back_as_it_was_has_no_difference(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    found = there_and_back(alice, trust, now, rewrite_headers=False)
    assert found.accepted
    assert found.error is None
    assert found.opened is not None
    assert found.opened.content.endswith(b"This message tests itself.\r\n")
    assert found.differences == ()
    assert found.sent == found.received


def test_header_fields_that_are_lost_changed_folded_and_added_are_named(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    found = there_and_back(
        alice,
        trust,
        now,
        (b"Subject: smime-graph round trip", b"Subject:\r\n smime-graph\r\n round trip"),
        (b"To: alice@contoso.com\r\n", b"To: <alice@contoso.com>\r\nReceived: by x\r\n"),
        rewrite_headers=True,
    )
    assert {(one.part, one.name, one.change) for one in found.differences} == {
        ("header", "Auto-Submitted", "dropped"),
        ("header", "X-Smime-Graph", "dropped"),
        ("header", "Subject", "folded"),
        ("header", "To", "changed"),
        ("header", "Received", "added"),
    }
    by_name = {one.name: one for one in found.differences}
    assert by_name["Auto-Submitted"].sent == "auto-generated"
    assert by_name["Auto-Submitted"].received is None
    assert str(by_name["Received"]) == "header: Received added: is by x"
    assert by_name["To"].received == "<alice@contoso.com>"
    assert found.accepted


def test_a_body_that_was_changed_is_told_and_not_accepted(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    found = there_and_back(alice, trust, now, (b"\r\nMII", b"\r\n\r\nMII"), rewrite_headers=False)
    (one,) = found.differences
    assert (one.part, one.name, one.change) == ("body", "octets", "changed")
    assert found.accepted  # a blank line before base64 is nothing
    kind = b"smime-type=enveloped-data"
    found = there_and_back(
        alice, trust, now, (b"application/pkcs7-mime", b"text/plain"), (kind, kind + b"x")
    )
    assert "layers: types changed: was enveloped-data, is none" in map(str, found.differences)
    assert not found.accepted
    assert found.error is not None
    assert "smime.unsigned" in {one.code for one in found.report.errors}


def test_line_ends_are_told_from_other_octets() -> None:
    (one,) = differences(b"To: a@b.c\r\n\r\nx\r\ny\r\n", b"To: a@b.c\r\n\r\nx\ny\n")
    assert (one.name, one.sent) == ("line ends", "6 octets")
    assert one.received == "4 octets, the first other one behind 1"
    (one,) = differences(b"\r\nx\r\n", b"\r\nx\r\ny")
    assert one.received == "4 octets, the first other one behind 3"


def test_of_several_fields_of_a_name_those_that_differ_are_told() -> None:
    sent = b"X-A: 1\r\nX-A: 2\r\nX-A: 3\r\n\r\n"
    found = differences(sent, b"X-A: 3\r\nX-A:  1\r\nx-a: 4\r\nodd\r\n\r\n")
    assert [str(one) for one in found] == [
        "header: X-A folded: says the same on other lines",
        "header: X-A changed: was 2, is 4",
        "header: a line that is no field added: is ",
    ]


def test_a_signer_who_is_not_believed_is_the_error(alice: Identity, now: datetime) -> None:
    other = CA("Other Root", key="p256", at=now)
    found = there_and_back(alice, other.trust, now)
    assert isinstance(found.error, CertificateRejected)
    assert found.opened is None
    assert not found.accepted
    assert found.report.signers


def test_a_copy_that_does_not_come_in_is_waited_for_and_no_longer(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    waited: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return httpx.Response(202)
        return httpx.Response(200, json={"value": []})

    with (
        GraphClient("token", transport=httpx.MockTransport(answer), sleep=waited.append) as graph,
        pytest.raises(GraphError, match="was sent, but no copy came in within 10 s") as caught,
    ):
        round_trip(graph, signer=alice, trust=trust, at=now, wait=timedelta(seconds=10))
    assert waited == [0.5, 1.0, 2.0, 4.0]
    assert "junk" in str(caught.value.hint)


def test_the_asynchronous_one_does_the_same(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    waited: list[float] = []
    late = [httpx.Response(200, json={"value": []})] * 2

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    class Late(httpx.AsyncBaseTransport):
        """The emulator, whose inbox is behind at first."""

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if request.method == "GET" and late:
                return late.pop()
            return await transport.handle_async_request(request)

    async def run(trust: TrustStore) -> RoundTrip:
        client = AsyncGraphClient("token", transport=Late(), user="alice@contoso.com", sleep=sleep)
        async with client as graph:
            return await round_trip_async(graph, signer=alice, trust=trust, at=now)

    with Emulator(open_mailboxes=True, rewrite_headers=False) as emulator:
        transport = emulator.async_transport()
        found = asyncio.run(run(trust))
        assert (found.accepted, found.differences, waited) == (True, (), [0.5, 1.0])
        assert found.ref.internet_message_id == found.copy.internet_message_id
        other = asyncio.run(run(CA("Other Root", key="p256", at=now).trust))
        assert isinstance(other.error, CertificateRejected)


def test_who_cannot_be_written_to_cannot_write_to_oneself(
    ca: CA, trust: TrustStore, now: datetime
) -> None:
    signs = ca.issue("alice@contoso.com", key="p256", use="sign", at=now)
    transport = httpx.MockTransport(lambda _: httpx.Response(500))
    with GraphClient("token", transport=transport) as graph:
        with pytest.raises(UsageError, match="not for encryption"):
            round_trip(graph, signer=signs, trust=trust, at=now)
        with pytest.raises(UsageError, match="wait is"):
            round_trip(graph, signer=signs, trust=trust, at=now, wait=timedelta(seconds=-1))
