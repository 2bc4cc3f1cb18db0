"""`Opened.message`: what the parser of the standard library is handed, and what it is spared."""

from __future__ import annotations

import pytest

from smime_graph import EXCHANGE, Identity, MalformedMessage, Opened, TrustStore, sign, verify

QUIET = EXCHANGE.but("quiet", sender_must_match=False, every_recipient_must_read=False)
HEAD = b"From: alice@contoso.com\r\nMessage-ID: <1@contoso.com>\r\n"


def opened(raw: bytes, alice: Identity, trust: TrustStore) -> Opened:
    signed = sign(HEAD + raw, signer=alice, detached=False, policy=QUIET)
    return verify(signed, trust=trust, policy=QUIET)


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: " + b"=?utf-8?q?x?= " * 60_000 + b"\r\n\r\nhello\r\n",
        b"To: " + b"a@b, " * 150_000 + b"a@b\r\n\r\nhello\r\n",
        b"Content-Type: text/plain" + b';a*0*="x"' * 1000 + b"\r\n\r\nhello\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain"
        + b';\r\n a*0*="x"' * 1000
        + b"\r\n\r\nhello\r\n--b--\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nCONTENT-DISPOSITION : x"
        + b';\n\ta*0*="x"' * 1000
        + b"\r\n\r\nhello\r\n--b--\r\n",
    ],
    ids=["words", "addresses", "type", "type-of-part", "disposition"],
)
def test_a_field_that_would_take_minutes_to_parse_is_refused(
    raw: bytes, alice: Identity, trust: TrustStore
) -> None:
    one = opened(raw, alice, trust)
    with pytest.raises(MalformedMessage, match="longer than the"):
        _ = one.message
    assert b"hello\r\n" in one.raw


def test_a_thousand_recipients_are_parsed(alice: Identity, trust: TrustStore) -> None:
    to = b",\r\n ".join(b"Some Body <some.body%d@contoso.com>" % n for n in range(1000))
    parsed = opened(b"To: " + to + b"\r\n\r\nhello\r\n", alice, trust).message
    assert len(parsed["To"].addresses) == 1000
