"""What was encrypted stands in no finding and in no error: it is not known yet who wrote it."""

from __future__ import annotations

from datetime import datetime

import pytest

from smime_graph import EXCHANGE, Contact, Identity, TrustStore, examine, sign, unseal
from smime_graph.cms import enveloped_data
from smime_graph.cms.recipients import kinds
from smime_graph.errors import SmimeGraphError
from smime_graph.smime.wrap import ENVELOPED, pkcs7_mime

SECRET = b"ATTACK-AT-DAWN"


@pytest.mark.parametrize(
    "content",
    [
        SECRET + b"\r\n\r\ntext\r\n",
        SECRET + b"\xff: x\r\n\r\ntext\r\n",
        b"Content-Type: text/plain\r\n" + SECRET + b"\r\n\r\ntext\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" + SECRET + b"\r\n\r\ntext\r\n",
        b"Content-Type: multipart/mixed; boundary=" + SECRET + b"\r\n\r\ntext\r\n",
        b"Content-Type: " + SECRET + b"\r\n\r\ntext\r\n",
        b"Content-Transfer-Encoding: " + SECRET + b"\r\n\r\ntext\r\n",
        b"Content-Type: application/pkcs7-mime\r\nContent-Transfer-Encoding: "
        + SECRET
        + b"\r\n\r\ntext\r\n",
    ],
)
def test_what_was_encrypted_is_quoted_nowhere(
    bob: Identity, trust: TrustStore, now: datetime, content: bytes
) -> None:
    to_bob = [Contact(bob.certificate)]
    cipher = kinds.choose_cipher(to_bob, EXCHANGE)
    der = enveloped_data.encrypt(content, to_bob, cipher=cipher, policy=EXCHANGE)
    raw = b"From: alice@contoso.com\r\n" + bytes(pkcs7_mime(ENVELOPED, der))
    report = examine(raw, identities=[bob], trust=trust, at=now)
    texts = [f"{f.where} {f.text}" for f in report.findings] + [str(report.error)]
    with pytest.raises(SmimeGraphError) as caught:
        unseal(raw, identities=[bob], trust=trust, at=now)
    texts += [str(caught.value), repr(caught.value), str(caught.value.hint)]
    assert not [text for text in texts if SECRET.decode().lower() in text.lower()]


def test_the_header_that_everybody_sees_is_quoted(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = sign(b"From: alice@contoso.com\n\ntext\n", signer=alice, at=now)
    report = examine(SECRET + b"\r\n" + raw, trust=trust, at=now)
    assert SECRET.decode() in str([f.text for f in report.findings])
