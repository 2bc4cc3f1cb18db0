"""A message as SMTP carries it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import MalformedMessage, SmimeGraphError
from smime_graph.graph._envelope import envelope

HEAD = b"From: Alice <Alice@contoso.com>\r\nMessage-ID: <1@contoso.com>\r\n"


def test_everyone_is_in_it_once_as_they_are_written() -> None:
    raw = HEAD + (
        b'To: "Smith, Bob" <Bob@contoso.com>, carol@contoso.com (Carol)\r\n'
        b'Cc: people: dave@contoso.com, "e f"@contoso.com;\r\n'
        b"Bcc: Bob@contoso.com, <@relay.example,@x.y:gina@contoso.com>\r\n\r\nx\r\n"
    )
    found = envelope(raw)
    assert found.sender == "Alice@contoso.com"
    assert found.recipients == (
        *("Bob@contoso.com", "carol@contoso.com", "dave@contoso.com", '"e f"@contoso.com'),
        "gina@contoso.com",
    )
    assert found.message_id == "<1@contoso.com>"


@pytest.mark.parametrize(
    "bcc",
    [
        b"Bcc: x@y.z\r\n",
        b"BCC : x@y.z,\r\n y@y.z,\r\n\tz@y.z\r\n",
        b"bcc:\r\n x@y.z\r\nBcc:x@y.z\r\n",
        b"Bcc: x@y.z,\n more@y.z\n",
        b"Resent-Bcc: x@y.z\r\n",  # RFC 5322 3.6.6
    ],
)
def test_bcc_goes_and_nothing_else_does(bcc: bytes) -> None:
    before, after = HEAD + b"Abcc: 1\r\n", b"To: b@c.d\r\nX-Bcc: 2\r\n\r\nBcc: in the text\r\n"
    found = envelope(before + bcc + after)
    assert found.content == before + after
    last = envelope(before + after.partition(b"\r\n\r\n")[0] + b"\r\n" + bcc)
    assert b"\r\nBcc" not in last.content


def test_a_message_that_is_in_order_is_the_same_octets() -> None:
    raw = HEAD + b"To: b@c.d\r\n\r\n.dot\r\n..\r\n\r\n.\r\nend\r\n"
    found = envelope(raw)
    assert found.content == raw
    assert found.data() == HEAD + b"To: b@c.d\r\n\r\n..dot\r\n...\r\n\r\n..\r\nend\r\n.\r\n"
    assert envelope(raw.replace(b"\r\n", b"\n")).content == raw
    assert envelope(raw[:-2]).content == raw


@pytest.mark.parametrize("to", [b"b", b"<b@c.d", b"a b@c.d", b"b@c.d\xff", b"b@@c.d", b'"b@c.d'])
def test_an_address_that_is_none_is_refused(to: bytes) -> None:
    with pytest.raises(MalformedMessage):
        envelope(HEAD + b"To: x@y.z, " + to + b"\r\n\r\nx")


def test_a_bare_cr_is_refused() -> None:
    with pytest.raises(MalformedMessage, match="bare CR"):
        envelope(HEAD + b"To: x@y.z\r\n\r\nx\rMAIL FROM:<x@y.z>\r\n")


@given(st.binary(max_size=200), st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_never_end_the_data(body: bytes, to: bytes) -> None:
    try:
        data = envelope(HEAD + b"To: x@y.z, " + to + b"\r\n\r\n" + body).data()
    except SmimeGraphError:
        return
    assert data.index(b"\r\n.\r\n") == len(data) - 5
    assert b"\n" not in data.replace(b"\r\n", b"")
