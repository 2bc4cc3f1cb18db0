"""Whom the signer must be: a From that is missing, doubled, or disguised (RFC 8550 3)."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import (
    Contact,
    Identity,
    TrustStore,
    decrypt,
    encrypt,
    examine,
    sign,
    unseal,
    verify,
)
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.errors import CertificateRejected, MalformedMessage, SignatureInvalid
from smime_graph.findings import Severity, codes
from smime_graph.policy import EXCHANGE
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import Entity
from smime_graph.smime.layers import count_from_lines
from smime_graph.smime.wrap import pkcs7_mime
from tests.conftest import BARE

INNER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"
FROM = b"From: Alice <alice@contoso.com>\r\n"
CARELESS = EXCHANGE.but("careless", sender_must_match=False)

# names that some reader trims, unfolds or cuts to "From"
DISGUISES = {
    "vertical tab": b"From\x0b: %s\r\n",
    "form feed": b"\x0cFrom: %s\r\n",
    "nbsp in latin-1": b"From\xa0: %s\r\n",
    "nbsp in utf-8": b"From\xc2\xa0: %s\r\n",
    "zero width space": b"Fr\xe2\x80\x8bom: %s\r\n",
    "byte-order mark": b"\xef\xbb\xbfFrom: %s\r\n",
    "nul before": b"\0From: %s\r\n",
    "nul behind": b"From\0: %s\r\n",
    "nul inside": b"Fr\0om: %s\r\n",
    "delete": b"From\x7f: %s\r\n",
    "backspace": b"X\x08From: %s\r\n",
    "escape": b"From\x1b: %s\r\n",
    "folded": b"From\r\n : %s\r\n",
    "bare CR": b"X-A: b\rFrom: %s\r\n",
    "vertical tab as a line end": b"X-A: b\x0bFrom: %s\r\n",
    "next line as a line end": b"X-A: b\xc2\x85From: %s\r\n",
    "next line in latin-1": b"X-A: b\x85From: %s\r\n",
    "line separator": b"X-A: b\xe2\x80\xa8From: %s\r\n",
    "paragraph separator": b"X-A: b\xe2\x80\xa9From: %s\r\n",
    "blank inside": b"Fr om: %s\r\n",
}


@pytest.fixture
def entity(alice: Identity, message: bytes, now: datetime) -> bytes:
    """What is signed and has only MIME fields: a part, no message."""
    signed = sign(message, signer=alice, at=now, policy=BARE)
    return signed[signed.index(b"MIME-Version:") :]


def opaque(content: bytes, signer: Identity, now: datetime) -> bytes:
    der, _ = signed_data.sign(content, [signer], detached=False, policy=EXCHANGE, at=now)
    return pkcs7_mime("signed-data", der)


@pytest.mark.parametrize(
    "header",
    [
        b"Subject: Figures\r\n",
        b"To: bob@contoso.com\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n",
        b"Sender: alice@contoso.com\r\n",
        b"Resent-From: alice@contoso.com\r\nResent-Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n",
        b"Reply-To: mallory@contoso.com\r\n",
        b"Apparently-From: alice@contoso.com\r\n",
        b"X-From: alice@contoso.com\r\n",
        b"Return-Path: <alice@contoso.com>\r\nReceived: from a by b\r\n",
        b"From alice@contoso.com Sun Nov 22 12:00:00 2026\r\n",
        b"From:\r\n",
        b"From: \r\n \r\n",
        b"From: (alice@contoso.com)\r\n",
        b"From: Nobody:;\r\n",
        b"From: Nobody:;\r\nSender: alice@contoso.com\r\n",
        b"From:\r\nSender: alice@contoso.com\r\n",
        b"From: alice\r\n",
        b"From: bob@contoso.com\r\nSender: bob@contoso.com\r\nSender: alice@contoso.com\r\n",
        b"From: bob@contoso.com\r\nSender: alice@contoso.com\r\nSender: alice@contoso.com\r\n",
        b"From: =?utf-8?q?alice=40contoso=2Ecom?=\r\n",
        b"From: alice\xff@contoso.com\r\n",
        b"From: alice@contoso.com\0\r\n",
        FROM + FROM,
        b"From : alice@contoso.com\r\n" + FROM,
    ],
)
def test_mail_without_one_from_that_all_read_alike_is_rejected(
    entity: bytes, trust: TrustStore, now: datetime, header: bytes
) -> None:
    raw = header + entity
    report = examine(raw, trust=trust, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"]
    assert (report.verdict, report.ok, report.signers[0].matches) == ("rejected", False, False)
    with pytest.raises(CertificateRejected, match=r"[Ff]rom"):
        verify(raw, trust=trust, at=now)
    # somebody who says who it must be has compared it himself
    assert verify(raw, trust=trust, at=now, sender="alice@contoso.com").signer is not None
    assert verify(raw, trust=trust, at=now, policy=CARELESS).signer is not None


@pytest.mark.parametrize(
    "header",
    [
        FROM,
        b"From : alice@contoso.com\r\n",  # RFC 5322 4.5: obsolete, and to be read
        b"from:alice@contoso.com\r\n",
        b"FROM:\r\n alice@contoso.com\r\n",
        b"From: Team: alice@contoso.com;\r\n",  # RFC 6854
        b"From: J\xc3\xbcrgen <alice@contoso.com>\r\n",
        b"From: =?utf-8?q?Alice_=40_work?= <alice@contoso.com>\r\n",
        b"From: 'alice@contoso.com' <alice@contoso.com>\r\n",
        b"From alice@contoso.com Sun Nov 22 12:00:00 2026\r\n" + FROM,
        b"Subject: x\r\nResent-From: bob@contoso.com\r\n" + FROM,
        b"X-Note: see From: bob@contoso.com\r\n" + FROM,
    ],
)
def test_a_from_that_all_read_alike_is_accepted(
    entity: bytes, trust: TrustStore, now: datetime, header: bytes
) -> None:
    opened = verify(header + entity, trust=trust, at=now)
    assert opened.findings == ()
    assert opened.signer is not None
    assert opened.signer.matches is True


@pytest.mark.parametrize("form", ["clear", "opaque", "sealed", "part"])
def test_where_no_from_is_that_nothing_was_compared_is_said(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    entity: bytes,
    trust: TrustStore,
    now: datetime,
    form: str,
) -> None:
    """RFC 8550 3: else whoever is believed could have signed it, and nobody would see who."""
    cipher = recipients.choose_cipher([to_bob], EXCHANGE)
    inside = opaque(INNER, alice, now)
    raw = {
        "clear": entity,
        "opaque": inside,
        "sealed": pkcs7_mime(
            "enveloped-data",
            enveloped_data.encrypt(inside, [to_bob], cipher=cipher, policy=EXCHANGE),
        ),
        "part": b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + inside + b"\r\n--b--",
    }[form]
    arguments: Any = {"identities": [bob], "trust": trust, "at": now}
    if form == "part":
        arguments["part"] = "1.1"
    opened = unseal(raw, **arguments)
    assert [f.severity for f in opened.findings if f.code == "pki.address.not-compared"] == [
        Severity.WARNING
    ]
    assert opened.signer is not None
    assert (opened.signer.compared, opened.signer.matches) == (None, None)
    # who says who it must be has it compared
    named = unseal(raw, **arguments, sender="alice@contoso.com")
    assert "pki.address.not-compared" not in codes(named.findings)
    assert named.signer is not None
    assert named.signer.matches is True
    with pytest.raises(CertificateRejected, match=r"the sender must be bob@contoso\.com"):
        unseal(raw, **arguments, sender="bob@contoso.com")


NAMES = {
    "quoted": b'"alice@contoso.com" <mallory@contoso.com>',
    "with a name": b'"Alice <alice@contoso.com>" <mallory@contoso.com>',
    "with blanks behind": b'"alice@contoso.com' + b" " * 200 + b'" <mallory@contoso.com>',
    "escaped": b'"\\alice@contoso.com" <mallory@contoso.com>',
    "escaped inside": b'"alice\\@contoso\\.com" <mallory@contoso.com>',
    "in a language": b"=?utf-8*en?q?alice=40contoso=2Ecom?= <mallory@contoso.com>",
    "behind a charset that nobody knows": (
        b"=?x-unknown?q?A?= =?utf-8?q?alice=40contoso=2Ecom?= <mallory@contoso.com>"
    ),
    "before what is no base64": (
        b"=?utf-8?q?alice=40contoso=2Ecom?= =?utf-8?b?a?= <mallory@contoso.com>"
    ),
    "encoded": b"=?utf-8?q?alice=40contoso=2Ecom?= <mallory@contoso.com>",
    "encoded in base64": b"=?utf-8?b?YWxpY2VAY29udG9zby5jb20=?= <mallory@contoso.com>",
    "encoded in quotes": b'"=?utf-8?q?alice=40contoso=2Ecom?=" <mallory@contoso.com>',
    "in two words": b"=?utf-8?q?alice=40con?= =?utf-8?q?toso=2Ecom?= <mallory@contoso.com>",
    "full-width": '"alice\uff20contoso\uff0ecom" <mallory@contoso.com>'.encode(),
    "without a width": '"alice\u200b@contoso\u2060.com" <mallory@contoso.com>'.encode(),
    "comment": b"mallory@contoso.com (alice@contoso.com)",
    "comment before": b"(alice@contoso.com) mallory@contoso.com",
    "encoded comment": b"mallory@contoso.com (=?utf-8?q?alice=40contoso=2Ecom?=)",
    "group": b'"alice@contoso.com": mallory@contoso.com;',
    "upper case": b'"ALICE@CONTOSO.COM" <mallory@contoso.com>',
}


@pytest.mark.parametrize("value", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("place", ["outside", "inside"])
def test_an_address_in_a_name_is_not_the_one_compared(
    mallory: Identity, trust: TrustStore, now: datetime, value: bytes, place: str
) -> None:
    """Johnny's "display name confusion": most readers show the name, and not the address."""
    field = b"From: " + value + b"\r\n"
    content = field + INNER if place == "inside" else INNER
    raw = (b"From: mallory@contoso.com\r\n" if place == "inside" else field) + opaque(
        content, mallory, now
    )
    report = examine(raw, trust=trust, at=now)
    assert report.signers[0].compared == "mallory@contoso.com"
    (one,) = report.findings
    assert (one.code, one.severity) == ("pki.address.mismatch", Severity.WARNING)
    assert "shows alice@contoso.com" in one.text.lower()
    assert "the message is from mallory@contoso.com" in one.text


def test_a_bare_cms_is_no_message(alice: Identity, trust: TrustStore, now: datetime) -> None:
    der = bytes(Entity(opaque(INNER, alice, now)).decoded_body())
    assert verify(der, trust=trust, at=now).findings == ()
    with pytest.raises(CertificateRejected):
        verify(der, trust=trust, at=now, sender="bob@contoso.com")


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
@pytest.mark.parametrize("place", ["alone", "before", "behind"])
def test_a_from_in_disguise_is_nobodys(
    mallory: Identity, trust: TrustStore, now: datetime, disguise: bytes, place: str
) -> None:
    """One reader shows Alice, and the signature is Mallory's; or the other way round."""
    entity = opaque(INNER, mallory, now)
    own = b"From: mallory@contoso.com\r\n"
    hidden = disguise % b"alice@contoso.com"
    header = {
        "alone": b"Subject: x\r\n" + disguise % b"mallory@contoso.com",
        "before": hidden + own,
        "behind": own + hidden,
    }[place]
    mime, _, body = entity.partition(b"\r\n\r\n")
    for raw in (mime + b"\r\n" + header + b"\r\n" + body, header + entity):
        report = examine(raw, trust=trust, at=now)
        assert not report.accepted
        assert "pki.address.mismatch" in codes(report.errors)
        with pytest.raises((CertificateRejected, SignatureInvalid)):
            unseal(raw, trust=trust, at=now)


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_from_in_disguise_inside_the_signature_is_noticed(
    mallory: Identity, trust: TrustStore, now: datetime, disguise: bytes
) -> None:
    content = b"Subject: x\r\n" + disguise % b"alice@contoso.com" + INNER
    raw = b"From: mallory@contoso.com\r\n" + opaque(content, mallory, now)
    for report in (examine(raw, trust=trust, at=now), examine(raw, trust=trust, at=now)):
        assert codes(report.errors) == ["pki.address.mismatch"]


@pytest.mark.parametrize(
    "inner", [b"From: alice@contoso.com\r\n", b"From\xa0: alice@contoso.com\r\n"]
)
def test_a_from_between_the_layers_is_the_signers(
    mallory: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    inner: bytes,
) -> None:
    """A reader that takes what was encrypted for the message shows the From that stands there."""
    own = b"From: mallory@contoso.com\r\n"
    mime, _, body = opaque(INNER, mallory, now).partition(b"\r\n\r\n")
    cipher = recipients.choose_cipher([to_bob], EXCHANGE)
    for header, verdict in ((b"", "accepted"), (own, "accepted"), (inner, "rejected")):
        entity = mime + b"\r\n" + header + b"\r\n" + body
        der = enveloped_data.encrypt(entity, [to_bob], cipher=cipher, policy=EXCHANGE)
        raw = own + pkcs7_mime("enveloped-data", der)
        report = examine(raw, identities=[bob], trust=trust, at=now)
        assert report.verdict == verdict
        assert set(codes(report.errors)) <= {"pki.address.mismatch"}


def test_nothing_behind_an_unprintable_name_is_header(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    signed = sign(message, signer=alice, at=now, policy=BARE)
    start = signed.index(b"Subject:")
    raw = (
        signed[signed.index(b"MIME-Version") : signed.index(b"\r\n\r\n") + 2]
        + signed[:start]
        + b"X-\xc3\xa4: y\r\n"
        + signed[start : signed.index(b"MIME-Version")]
        + signed[signed.index(b"\r\n\r\n") :]
    )
    opened = verify(raw, trust=trust, at=now)
    assert opened.header == signed[:start]
    assert [(f.code, f.severity, f.where) for f in opened.findings] == [
        ("smime.header", Severity.WARNING, "message")
    ]
    entity = Entity(raw)
    assert entity.get("To") is not None
    assert entity.get("Subject") is None
    # nor is a content type
    late = b"X\0: y\r\n" + signed
    report = examine(late, trust=trust, at=now)
    assert codes(report.findings) == ["smime.header", "smime.unsigned", "pki.address.mismatch"]
    sealed = b"X-\xff: y\r\n" + encrypt(message, recipients=[to_bob], at=now)
    assert not examine(sealed, identities=[bob], trust=trust, at=now).layers
    mime, _, body = encrypt(INNER, recipients=[to_bob], at=now).partition(b"\r\n\r\n")
    opened = decrypt(mime + b"\r\nX-\xff: y\r\n\r\n" + body, identities=[bob])
    assert "smime.header" in codes(opened.findings)


def test_a_line_that_is_no_field_is_noticed_and_passed_over(
    entity: bytes, trust: TrustStore, now: datetime
) -> None:
    for line in (b"garbage\r\n", b": no name\r\n", b"by mail (x); Sun, 22 Nov 2026 12:00\r\n"):
        opened = verify(FROM + line + b"Subject: x\r\n" + entity, trust=trust, at=now)
        assert codes(opened.findings) == ["smime.header"]
        assert opened.message["Subject"] == "x"
        assert line.strip() not in opened.header


def test_a_part_with_such_a_header_is_kept_as_it_is_or_refused() -> None:
    header = b"Content-Type: text/plain\r\nX-\xc3\xa4: y\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    assert canonical_entity(header + b"text\r\n", clear=False) == header + b"text\r\n"
    with pytest.raises(MalformedMessage, match="not printable"):
        canonical_entity(header + b"\xc3\xa4\r\n", clear=False)


@pytest.mark.parametrize("place", ["content", "layer"])
def test_an_author_inside_who_did_not_sign_is_named(
    mallory: Identity, trust: TrustStore, now: datetime, place: str
) -> None:
    """RFC 9788 4.4: readers may show the From that was signed instead of the one outside."""
    authors = b"From: mallory@contoso.com, alice@contoso.com\r\n"
    inside = authors + (INNER if place == "content" else opaque(INNER, mallory, now))
    report = examine(
        b"From: mallory@contoso.com\r\n" + opaque(inside, mallory, now), trust=trust, at=now
    )
    assert report.accepted
    (one,) = report.findings
    assert (one.code, one.severity) == ("pki.address.mismatch", Severity.WARNING)
    assert one.text == "from alice@contoso.com, but signed by mallory@contoso.com"


WRAPPINGS = {
    "wrapped": b"Content-Type: message/rfc822\r\n\r\n%b",
    "with parameters": b"content-type: Message/RFC822 (x); forwarded=no\r\n\r\n%b",
    "global": b"Content-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b",
    "quoted": b"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    b"\r\n%b",
}


@pytest.mark.parametrize("wrapping", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("outside", [b"From: mallory@contoso.com\r\n", b""])
@pytest.mark.parametrize("layers", [1, 2])
def test_the_from_of_a_wrapped_message_is_the_signers(
    mallory: Identity,
    alice: Identity,
    trust: TrustStore,
    now: datetime,
    wrapping: bytes,
    outside: bytes,
    layers: int,
) -> None:
    """RFC 8551 3.1: a message/rfc822 that is protected should be shown as the message itself."""
    content = wrapping % (FROM + INNER)
    by_mallory = by_alice = content
    for _ in range(layers):
        by_mallory = opaque(by_mallory, mallory, now)
        by_alice = opaque(by_alice, alice, now)
    report = examine(outside + by_mallory, trust=trust, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"] * layers
    assert all("alice@contoso.com" in one.text for one in report.errors)
    report = examine(outside.replace(b"mallory", b"alice") + by_alice, trust=trust, at=now)
    assert report.accepted
    assert report.findings == ()
    assert report.signers[-1].matches is True


@pytest.mark.parametrize("disguise", DISGUISES.values(), ids=DISGUISES)
def test_a_from_in_disguise_in_a_wrapped_message_is_noticed(
    mallory: Identity, trust: TrustStore, now: datetime, disguise: bytes
) -> None:
    content = WRAPPINGS["wrapped"] % (disguise % b"alice@contoso.com" + INNER)
    raw = b"From: mallory@contoso.com\r\n" + opaque(content, mallory, now)
    assert codes(examine(raw, trust=trust, at=now).errors) == ["pki.address.mismatch"]


def test_a_message_attached_to_another_may_be_anybodys(
    mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    parts = (INNER, WRAPPINGS["wrapped"] % (FROM + INNER))
    content = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"".join(
        b"--x\r\n%b\r\n" % one for one in parts
    )
    raw = b"From: mallory@contoso.com\r\n" + opaque(content + b"--x--\r\n", mallory, now)
    assert examine(raw, trust=trust, at=now).findings == ()


_EVERY_READERS = re.compile(
    rb"(?:\A|[\x00-\x08\x0a-\x1f\x85]|\xe2\x80[\xa8\xa9])from[ \t]*:", re.IGNORECASE
)


@given(
    st.lists(
        st.sampled_from(
            [b"from", b"FroM", b":", b" ", b"\t", b"\n", b"\r", b"\0", b"\x1f", b"\x85", b"x"]
            + [b"\xe2\x80\xa8", b"\xe2\x80\xa9", b"\xe2\x80", b"\xa8", b"From: a"]
        ),
        max_size=12,
    ).map(b"".join)
)
def test_every_from_that_some_reader_sees_is_counted(header: bytes) -> None:
    assert count_from_lines(header) == len(_EVERY_READERS.findall(header))


@pytest.mark.parametrize(
    "field", [b"From: alice\r\n", b"From: alice@contoso.com\r\nSender: a@b@c\r\n"]
)
def test_a_protected_from_that_cannot_be_read_is_told(
    alice: Identity, trust: TrustStore, now: datetime, field: bytes
) -> None:
    content = field + b'Content-Type: text/plain; hp="clear"\r\n\r\nthe figures\r\n'
    report = examine(FROM + opaque(content, alice, now), trust=trust, at=now)
    assert not report.accepted
    assert codes(report.errors) == ["pki.address.mismatch"]
