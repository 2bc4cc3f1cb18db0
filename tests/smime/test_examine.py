"""The meaning of accepted: every way to be not quite signed."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import pytest

from smime_graph import (
    decompress,
    decrypt,
    encrypt,
    examine,
    inspect,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.authority.issue import CA, forged
from smime_graph.cms import enveloped_data, signed_data
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.errors import (
    CertificateRejected,
    DecryptionFailed,
    MalformedMessage,
    NoMatchingIdentity,
    SignatureInvalid,
    UsageError,
)
from smime_graph.findings import Severity, codes
from smime_graph.pki.identity import Contact, Identity, load_identities
from smime_graph.pki.keyfiles.read import armour
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE, POST_QUANTUM, RFC_8551, Policy
from smime_graph.smime.canonical import encode_base64
from smime_graph.smime.entity import Entity
from smime_graph.smime.transfer import decode_base64
from smime_graph.smime.wrap import pkcs7_mime
from tests.conftest import BARE, signed_content

INNER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"


@pytest.fixture
def signed(alice: Identity, message: bytes, now: datetime) -> bytes:
    return sign(message, signer=alice, at=now)


@pytest.fixture
def sealed(alice: Identity, to_bob: Contact, message: bytes, now: datetime) -> bytes:
    return seal(message, signer=alice, recipients=[to_bob], at=now)


def test_no_trust_store_is_an_error_and_never_trust_in_everyone(
    sealed: bytes, signed: bytes, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    wrong: list[Any] = [None, (), "roots.pem", trust.anchors[0]]
    for one in wrong:
        for read in (
            partial(verify, signed),
            partial(examine, signed),
            partial(unseal, sealed, identities=[bob]),
        ):
            with pytest.raises(UsageError, match="trust is a TrustStore, not") as caught:
                read(trust=one, at=now)
            assert caught.value.hint


def test_a_way_to_the_content_key_that_the_policy_flags_is_reported(
    ca: CA, alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    bob = ca.issue("bob@contoso.com", key="rsa-2048", at=now)
    sealed = seal(message, signer=alice, recipients=[Contact(bob.certificate)], at=now)
    own = examine(sealed, identities=[bob], trust=trust, at=now)
    assert not own.has("alg.weak")
    report = examine(sealed, identities=[bob], trust=trust, at=now, policy=POST_QUANTUM)
    texts = [item.text for item in report.findings if item.where == "layer 1"]
    assert "policy post-quantum reads rsaes-pkcs1v15 and flags it as weak" in texts


def test_text_instead_of_octets_is_called_by_its_name(
    signed: bytes, bob: Identity, trust: TrustStore
) -> None:
    wrong: list[Any] = [signed.decode(), None]
    for raw in wrong:
        for read in (
            partial(verify, trust=trust),
            partial(examine, trust=trust),
            partial(unseal, trust=trust),
            partial(decrypt, identities=[bob]),
            decompress,
            inspect,
        ):
            with pytest.raises(
                UsageError, match=f"bytes or a Path or a Readable, not {type(raw).__name__}"
            ):
                read(raw)


def test_the_content_of_an_opened_message_is_not_in_its_repr(
    sealed: bytes, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    opened = unseal(sealed, identities=[bob], trust=trust, at=now)
    assert b"the figures" in opened.content
    assert "the figures" not in repr(opened)


def test_a_good_message_is_accepted(
    message: bytes, signed: bytes, sealed: bytes, bob: Identity, trust: TrustStore, now: datetime
) -> None:
    opened = verify(signed, trust=trust, at=now)
    assert opened.content == signed_content(message)
    assert opened.signer is not None
    assert opened.signer.email == "alice@contoso.com"
    assert opened.report.summary == "signed"
    assert opened.findings == ()
    opened = unseal(sealed, identities=[bob], trust=trust, at=now)
    assert opened.content == signed_content(message, "cipher")
    assert opened.report.summary == "signed-and-encrypted"
    assert [(layer.type, layer.path) for layer in opened.layers] == [
        ("enveloped-data", "1"),
        ("signed-data", "1.1"),
    ]
    assert opened.report.authenticated
    assert opened.findings == ()
    assert opened.message["Subject"] == "Figures"
    assert opened.message.get_content() == "the figures\r\n"


@pytest.mark.parametrize("detached", [True, False])
def test_opaque_and_clear_say_the_same(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime, detached: bool
) -> None:
    raw = sign(message, signer=alice, at=now, detached=detached)
    opened = verify(raw, trust=trust, at=now)
    assert opened.content == signed_content(message)
    assert opened.layers[0].detached is detached


def test_a_file_with_lf_line_ends_still_verifies(
    message: bytes, signed: bytes, trust: TrustStore, now: datetime
) -> None:
    opened = verify(signed.replace(b"\r\n", b"\n"), trust=trust, at=now)
    assert opened.content == signed_content(message)


@pytest.mark.parametrize(
    "kind",
    [
        b"application/x-pkcs7-mime; smime-type=signed-data",
        b'application/octet-stream; name="smime.p7m"',
        b'application/octet-stream\r\nContent-Disposition: attachment; filename="SMIME.P7M"',
        b"Application/PKCS7-Mime",
    ],
)
def test_the_habits_of_exchange_and_owa_are_recognised(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime, kind: bytes
) -> None:
    raw = sign(message, signer=alice, at=now, detached=False)
    odd = raw.replace(
        b'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"', kind
    ).replace(b'Content-Disposition: attachment; filename="smime.p7m"\r\n', b"", 1)
    if b"Content-Disposition" in kind:
        odd = raw.replace(b'application/pkcs7-mime; smime-type=signed-data; name="smime.p7m"', kind)
    assert verify(odd, trust=trust, at=now).content == signed_content(message)


def test_a_saved_attachment_is_read_as_it_is(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=alice, at=now, detached=False)
    der = bytes(Entity(raw).decoded_body())
    pem = b"-----BEGIN CMS-----\n" + encode_base64(der) + b"-----END CMS-----\n"
    for form in (der, pem):
        assert verify(form, trust=trust, at=now).content == signed_content(message)
        assert inspect(form)[0].type == "signed-data"


def test_a_detached_signature_takes_its_content(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(INNER, [alice], detached=True, policy=EXCHANGE, at=now)
    assert verify(der, content=INNER, trust=trust, at=now).content == INNER
    lf = INNER.replace(b"\r\n", b"\n")
    assert verify(der, content=lf, trust=trust, at=now).content == INNER
    with pytest.raises(MalformedMessage, match="content is not in the message") as caught:
        verify(der, trust=trust, at=now)
    assert caught.value.hint is not None


def test_a_person_with_two_key_pairs_signs_with_one_and_reads_with_the_other(
    ca: CA, message: bytes, trust: TrustStore, now: datetime
) -> None:
    signing = ca.issue("alice@contoso.com", key="p256", use="sign", at=now)
    reading = ca.issue("alice@contoso.com", key="p256", use="encrypt", at=now)
    alice = replace(signing, encryption=reading)
    raw = message.replace(b"To: Bob <bob@contoso.com>", b"To: alice@contoso.com")
    sealed = seal(raw, signer=alice, recipients=[Contact(reading.certificate)], at=now)
    opened = unseal(sealed, identities=[alice], trust=trust, at=now)
    assert opened.content == signed_content(raw, "cipher")
    carried = opened.layers[1].certificates
    assert set(carried) == {signing.certificate, reading.certificate}


# --- rejected -----------------------------------------------------------------------------


def test_changed_content_is_rejected(signed: bytes, trust: TrustStore, now: datetime) -> None:
    changed = signed.replace(b"the figures", b"the fugures")
    with pytest.raises(SignatureInvalid) as caught:
        verify(changed, trust=trust, at=now)
    assert "cms.digest.mismatch" in codes(caught.value.report.findings)
    report = examine(changed, trust=trust, at=now)
    assert report.verdict == "rejected"
    assert report.summary == "unprotected"
    assert report.signers[0].intact is False


def test_unsigned_mail_is_rejected_unless_the_policy_lets_it_pass(
    message: bytes, trust: TrustStore, now: datetime
) -> None:
    with pytest.raises(SignatureInvalid, match="nobody signed it"):
        unseal(message, trust=trust, at=now)
    policy = EXCHANGE.but("mine", accept_unsigned=True)
    opened = unseal(message, trust=trust, at=now, policy=policy)
    assert opened.report.summary == "unprotected"
    assert opened.signer is None


def test_encrypted_is_not_signed(
    bob: Identity, to_bob: Contact, message: bytes, trust: TrustStore, now: datetime
) -> None:
    cbc = encrypt(message, recipients=[to_bob], at=now)
    with pytest.raises(SignatureInvalid):
        unseal(cbc, identities=[bob], trust=trust, at=now)
    report = examine(cbc, identities=[bob], trust=trust, at=now)
    assert codes(report.findings) == ["smime.unsigned", "cms.unauthenticated"]
    assert not report.authenticated
    gcm = encrypt(message, recipients=[to_bob], at=now, policy=RFC_8551)
    report = examine(gcm, identities=[bob], trust=trust, at=now)
    assert codes(report.findings) == ["smime.unsigned"]
    assert report.authenticated
    assert report.summary == "encrypted"


def test_decrypt_says_whether_the_content_was_authenticated(
    bob: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    cbc = decrypt(encrypt(message, recipients=[to_bob], at=now), identities=[bob])
    assert cbc.content == INNER
    assert codes(cbc.findings) == ["cms.unauthenticated"]
    gcm = decrypt(encrypt(message, recipients=[to_bob], at=now, policy=RFC_8551), identities=[bob])
    assert gcm.report.authenticated
    with pytest.raises(MalformedMessage, match="not encrypted"):
        decrypt(message, identities=[bob])


def test_the_signer_must_be_the_from(
    mallory: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    policy = EXCHANGE.but("careless", sender_must_match=False)
    raw = sign(message, signer=mallory, at=now, policy=policy)
    with pytest.raises(CertificateRejected, match=r"signed by mallory@contoso\.com, but the mess"):
        verify(raw, trust=trust, at=now)
    assert verify(raw, trust=trust, at=now, sender="Mallory@CONTOSO.com").signer is not None
    assert verify(raw, trust=trust, at=now, policy=policy).signer is not None


def test_a_sender_who_was_named_is_not_said_to_have_written_it(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    signed = sign(message, signer=alice, at=now)
    report = examine(signed, trust=trust, at=now, sender="bob@contoso.com")
    (one,) = report.errors
    assert one.code == "pki.address.mismatch"
    assert one.text == "signed by alice@contoso.com, but the sender must be bob@contoso.com"


@pytest.mark.parametrize(
    "forgery",
    [
        b"From: alice@contoso.com\r\nFrom: mallory@contoso.com\r\n",
        b'From: "alice@contoso.com" <eve@x.org>\r\n',
        b"From: alice@contoso.com <eve@x.org>\r\n",
        b"From: eve@x.org (alice@contoso.com)\r\n",
        b"From: alice@contoso.com.x.org\r\n",
        b"From:\r\n",
    ],
)
def test_a_from_that_only_looks_like_the_signer(
    signed: bytes, trust: TrustStore, now: datetime, forgery: bytes
) -> None:
    changed = signed.replace(b"From: Alice <alice@contoso.com>\r\n", forgery)
    assert changed != signed
    report = examine(changed, trust=trust, at=now)
    assert not report.accepted
    assert "pki.address.mismatch" in codes(report.errors)


def test_without_anchors_nothing_is_trusted(signed: bytes, now: datetime) -> None:
    with pytest.raises(CertificateRejected) as caught:
        verify(signed, trust=TrustStore(()), at=now)
    assert "pki.trust.no-anchors" in codes(caught.value.report.findings)
    assert caught.value.hint == "give the root certificates that you believe"


def test_expired_now_but_trusted_when_it_was_signed(
    alice: Identity, signed: bytes, trust: TrustStore, now: datetime
) -> None:
    later = alice.certificate.not_after + timedelta(days=1)
    report = examine(signed, trust=trust, at=later)
    signer = report.signers[0]
    assert (signer.trusted, signer.trusted_at_signing) == (False, True)
    # CVE-2026-59641: the claimed time of signing decides nothing
    assert not report.accepted


def test_a_signature_from_the_future_is_noticed(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=alice, at=now + timedelta(days=2))
    report = examine(raw, trust=trust, at=now)
    assert codes(report.findings) == ["smime.signing-time", "smime.date-differs"]


def dated(message: bytes, *dates: str) -> bytes:
    fields = b"".join(b"Date: %b\r\n" % date.encode() for date in dates)
    return fields + re.sub(rb"(?m)^Date:.*\r?\n", b"", message)


def said_of_the_date(raw: bytes, trust: TrustStore, at: datetime) -> list[str]:
    report = examine(raw, trust=trust, at=at)
    assert report.accepted
    found = [one for one in report.findings if one.code == "smime.date-differs"]
    assert all(one.severity is Severity.NOTICE and one.scope == "signer 0" for one in found)
    return [one.text for one in found]


@pytest.mark.parametrize("policy", [EXCHANGE, BARE], ids=["protected", "bare"])
@pytest.mark.parametrize("hours", [-1000, -2, -1, 0, 1, 2, 1000])
def test_a_date_that_is_not_when_it_was_signed_is_told(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime, hours: int, policy: Policy
) -> None:
    date = now + timedelta(hours=hours)
    raw = sign(dated(message, format_datetime(date)), signer=alice, at=now, policy=policy)
    found = said_of_the_date(raw, trust, now)
    assert len(found) == (abs(hours) > 1)
    assert all(f"{now:%Y-%m-%dT%H:%M:%SZ}" in text for text in found)
    assert all(f"{date:%Y-%m-%dT%H:%M:%SZ}" in text for text in found)


def test_a_message_that_is_sent_again_under_another_date_is_noticed(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    old = dated(message, format_datetime(now))
    today = now + timedelta(days=20)
    bare = dated(sign(old, signer=alice, at=now, policy=BARE), format_datetime(today))
    assert len(said_of_the_date(bare, trust, today)) == 1
    # the protected Date is the one that is shown (RFC 9788 4.8.1), whatever stands outside
    protected = sign(old, signer=alice, at=now)
    again = dated(protected[: protected.index(b"\r\n\r\n")], format_datetime(today))
    again += protected[protected.index(b"\r\n\r\n") :]
    assert said_of_the_date(again, trust, today) == []


@pytest.mark.parametrize("date", ["", "yesterday", "9" * 100_000, "Fri, 99 Foo 99999 99:99:99"])
def test_a_date_that_nobody_can_read_is_compared_with_nothing(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime, date: str
) -> None:
    bare = sign(message, signer=alice, at=now, policy=BARE)
    head, gap, rest = bare.partition(b"\r\n\r\n")
    start = time.process_time()
    assert said_of_the_date(dated(head, date) + gap + rest, trust, now) == []
    assert said_of_the_date(dated(head) + gap + rest, trust, now) == []
    assert time.process_time() - start < 1


def test_the_time_of_a_signature_that_is_not_good_is_nobody_s_word(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    dates = dated(message, format_datetime(now - timedelta(days=2)))
    raw = sign(dates, signer=alice, at=now, detached=False, policy=BARE)
    good = examine(raw, trust=trust, at=now)
    assert good.has("smime.date-differs")
    entity = Entity(raw)
    der = bytearray(decode_base64(entity.body))
    der[-5] ^= 1
    bad = entity.header + encode_base64(bytes(der))
    report = examine(bad, trust=trust, at=now)
    assert not report.accepted
    assert not report.has("smime.date-differs")


def test_one_broken_signature_spoils_a_good_one(
    alice: Identity, alice_rsa: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(INNER, [alice, alice_rsa], detached=False, policy=EXCHANGE, at=now)
    good = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    assert examine(good, trust=trust, at=now).accepted
    broken = bytearray(der)
    broken[-5] ^= 1
    bad = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", bytes(broken))
    report = examine(bad, trust=trust, at=now)
    assert not report.accepted
    assert [s.valid for s in report.signers].count(False) == 1


def test_a_signer_of_unknown_kind_does_not_hide_a_good_one(
    alice: Identity, alice_rsa: Identity, trust: TrustStore, now: datetime
) -> None:
    """RFC 5652 5.1."""
    der, _ = signed_data.sign(INNER, [alice, alice_rsa], detached=False, policy=EXCHANGE, at=now)
    algorithm = ber.sequence(ber.oid(oids.ECDSA_WITH_SHA256))
    other = ber.sequence(ber.oid("1.2.840.10045.4.3.99"))
    # in a SignerInfo a signature follows, in a certificate a BIT STRING
    unknown = der.replace(algorithm + b"\x04", other + b"\x04")
    assert unknown != der
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", unknown)
    report = examine(raw, trust=trust, at=now)
    assert report.accepted
    assert "alg.unsupported" in codes(report.findings)


def test_an_untrusted_second_signer_takes_nothing_from_the_first(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    stranger = CA("Nobody", key="p256", at=now).issue("x@nowhere.org", key="p256", at=now)
    der, _ = signed_data.sign(INNER, [alice, stranger], detached=False, policy=EXCHANGE, at=now)
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    report = examine(raw, trust=trust, at=now)
    assert report.accepted
    assert {(s.email, s.accepted) for s in report.signers} == {
        ("alice@contoso.com", True),
        ("x@nowhere.org", False),
    }
    assert report.findings
    assert all(f.severity is not Severity.ERROR for f in report.findings)


def test_certificates_alone_are_no_signature(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """RFC 8551 3.8; gpgsm and cmsutil once answered 0 to this."""
    empty = content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(),
            ber.sequence(ber.oid(oids.DATA)),
            ber.tlv(0xA0, alice.certificate.der),
            ber.set_of(),
        ],
    )
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("certs-only", empty)
    report = examine(raw, trust=trust, at=now)
    assert (report.verdict, report.summary) == ("rejected", "unprotected")
    assert "cms.signer.none" in codes(report.errors)
    assert inspect(raw)[0].type == "certs-only"


def test_content_without_signers_is_no_signature(trust: TrustStore, now: datetime) -> None:
    nobody = content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(),
            ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(INNER))),
            ber.set_of(),
        ],
    )
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", nobody)
    report = examine(raw, trust=trust, at=now)
    assert not report.accepted
    assert "cms.signer.none" in codes(report.errors)


def test_a_detached_signature_with_a_content_of_its_own_is_refused(
    alice: Identity, signed: bytes, trust: TrustStore, now: datetime
) -> None:
    """CVE-2018-18509: what is shown must be what was signed."""
    der, _ = signed_data.sign(INNER, [alice], detached=False, policy=EXCHANGE, at=now)
    head, _, _ = signed.partition(b"MII")
    shown = head.replace(b"the figures", b"the forgery")
    tail = signed[signed.rindex(b"\r\n--") :]
    with pytest.raises(MalformedMessage, match="carries a content of its own"):
        verify(shown + encode_base64(der) + tail, trust=trust, at=now)


def test_a_signature_around_ciphertext_does_not_cover_the_text(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    """Thunderbird bug 1806161: whoever signs around may never have seen the text."""
    encrypted = encrypt(message, recipients=[to_bob], at=now)
    raw = sign(encrypted, signer=alice, at=now)
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert not report.accepted
    assert report.summary == "encrypted"
    assert report.signers[0].valid
    assert report.signers[0].covers_body is False


def test_a_triple_wrap_is_accepted_for_its_inner_signature(
    alice: Identity, bob: Identity, message: bytes, sealed: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(sealed, signer=alice, at=now)
    opened = unseal(raw, identities=[bob], trust=trust, at=now)
    assert opened.content == signed_content(message, "cipher")
    assert [s.accepted for s in opened.signers] == [False, True]
    assert [layer.path for layer in opened.layers] == ["1", "1.1", "1.1.1"]


def test_a_layer_inside_a_multipart_counts_for_nothing(
    signed: bytes, trust: TrustStore, now: datetime
) -> None:
    """RFC 9787 6.2: a mailing list's footer, or an attacker's frame."""
    entity = Entity(signed)
    inner = signed[signed.index(b"MIME-Version") :]
    raw = (
        b"From: alice@contoso.com\r\nContent-Type: multipart/mixed; boundary=outer\r\n\r\n"
        b"--outer\r\n\r\npay to mallory\r\n--outer\r\n" + inner + b"\r\n--outer--\r\n"
    )
    assert entity.content_type.value == "multipart/signed"
    report = examine(raw, trust=trust, at=now)
    assert (report.verdict, report.summary) == ("rejected", "unprotected")
    assert "smime.errant-layer" in codes(report.findings)
    assert report.signers == ()


@pytest.mark.parametrize("parts", [1, 3])
def test_a_multipart_signed_has_two_parts(
    signed: bytes, trust: TrustStore, now: datetime, parts: int
) -> None:
    boundary = Entity(signed).content_type.parameters["boundary"].encode()
    if parts == 3:
        raw = signed.replace(
            b"\r\n--" + boundary + b"--",
            b"\r\n--" + boundary + b"\r\n\r\nmore\r\n--" + boundary + b"--",
        )
    else:
        raw = signed[: signed.rindex(b"\r\n--" + boundary + b"\r\n")]
    with pytest.raises(MalformedMessage, match=f"has {parts} parts instead of 2"):
        verify(raw, trust=trust, at=now)


def test_a_wrong_micalg_is_a_warning(signed: bytes, trust: TrustStore, now: datetime) -> None:
    for named, found in (
        (b"sha1", ["smime.micalg"]),
        (b"SHA256", []),
        (b"unknown", []),
        (b"rsa-sha256", []),
    ):
        raw = signed.replace(b"micalg=sha-256", b"micalg=" + named)
        assert codes(verify(raw, trust=trust, at=now).findings) == found


def test_openpgp_is_not_ours(trust: TrustStore, now: datetime) -> None:
    raw = (
        b"From: alice@contoso.com\r\nContent-Type: multipart/signed; boundary=b;\r\n"
        b' protocol="application/pgp-signature"\r\n\r\n--b\r\n\r\nx\r\n--b\r\n'
        b"Content-Type: application/pgp-signature\r\n\r\nsig\r\n--b--\r\n"
    )
    assert inspect(raw) == ()
    assert codes(examine(raw, trust=trust, at=now).findings) == ["smime.unsigned"]


def test_what_stops_the_reading_is_in_the_report(
    sealed: bytes, alice: Identity, trust: TrustStore, now: datetime, mallory: Identity
) -> None:
    report = examine(sealed, identities=[mallory], trust=trust, at=now)
    assert isinstance(report.error, NoMatchingIdentity)
    assert report.layers[0].cipher == "aes256-cbc"
    assert report.summary == "encrypted"
    assert not report.accepted
    with pytest.raises(NoMatchingIdentity):
        unseal(sealed, identities=[mallory], trust=trust, at=now)


@pytest.mark.parametrize("cut", [0.3, 0.7, 0.99])
def test_a_truncated_message_is_malformed(
    sealed: bytes, bob: Identity, trust: TrustStore, now: datetime, cut: float
) -> None:
    body = sealed.index(b"\r\n\r\n") + 4
    raw = sealed[: body + int((len(sealed) - body) * cut)]
    with pytest.raises((MalformedMessage, DecryptionFailed)):
        unseal(raw, identities=[bob], trust=trust, at=now)


def test_many_layers_are_refused(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = message
    for _ in range(18):
        raw = sign(raw, signer=alice, at=now)
    with pytest.raises(MalformedMessage, match="more than 16 S/MIME layers"):
        unseal(raw, trust=trust, at=now)


def test_forged_certificates_end_in_a_finding_quickly(
    ca: CA, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """Path search is exponential in certificates of the same names; 28 once took 12 s."""
    import time

    forgeries = forged(ca.certificate, count=40)
    stranger = CA("Nobody", key="p256", at=now).issue("alice@contoso.com", key="p256", at=now)
    crowd = Identity(stranger.private_key, stranger.certificate, chain=tuple(forgeries))
    der, _ = signed_data.sign(INNER, [crowd], detached=False, policy=EXCHANGE, at=now)
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    examine(raw, trust=trust, at=now)  # the engine's import is not what is measured
    begin = time.process_time()
    report = examine(raw, trust=trust, at=now)
    assert time.process_time() - begin < 1
    assert not report.accepted
    assert report.signers[0].trusted is False
    crowd = replace(alice, chain=tuple(forgeries))
    der, _ = signed_data.sign(INNER, [crowd], detached=False, policy=EXCHANGE, at=now)
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    begin = time.process_time()
    assert examine(raw, trust=trust, at=now).accepted
    assert time.process_time() - begin < 1


def test_an_unsealed_message_has_one_mime_version(
    alice: Identity, trust: TrustStore, now: datetime, message: bytes
) -> None:
    """Most mail brings the field along; it goes inside, and the one outside is not its twin."""
    for raw in (b"MIME-Version: 1.0\r\n" + message, message):
        opened = unseal(sign(raw, signer=alice, at=now), trust=trust, at=now)
        assert opened.raw.lower().count(b"mime-version:") == 1
        assert opened.message["MIME-Version"] == "1.0"


def test_another_content_than_the_one_given_is_not_taken_for_it(
    alice: Identity,
    signed: bytes,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    own = signed_content(message)
    assert verify(signed, content=own, trust=trust, at=now).content == own
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now)
    opaque = sign(message, signer=alice, detached=False, at=now)
    for raw in (signed, sealed, opaque):
        report = examine(raw, content=b"another file", trust=trust, at=now)
        assert isinstance(report.error, MalformedMessage)
        assert not report.accepted


def test_a_content_that_email_cannot_parse_is_an_error_of_ours(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    one = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n"
    der, _ = signed_data.sign(
        b"".join(one % (i, i) for i in range(1500)),
        [alice],
        detached=False,
        policy=EXCHANGE,
        at=now,
    )
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    opened = verify(raw, trust=trust, at=now)
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # Python's own, which other tests' libraries raise
    try:
        with pytest.raises(MalformedMessage, match="nested too deep"):
            _ = opened.message
    finally:
        sys.setrecursionlimit(limit)


def test_what_was_signed_for_another_purpose_is_no_mail(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(
        INNER, [alice], detached=False, policy=EXCHANGE, at=now, content_type=oids.TST_INFO
    )
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    report = examine(raw, trust=trust, at=now)
    assert codes(report.errors) == ["smime.inner-type"]
    assert not report.accepted


def test_a_receipt_is_not_read_as_the_words_of_its_signer(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    chosen_by_mallory = ber.octet_string(b"\npay 666\n")  # the signed content identifier
    receipt = ber.sequence(
        ber.integer(1), ber.oid(oids.DATA), chosen_by_mallory, ber.octet_string(b"signature")
    )
    der, _ = signed_data.sign(
        receipt, [alice], detached=False, policy=EXCHANGE, at=now, content_type=oids.RECEIPT
    )
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-receipt", der)
    opened = verify(raw, trust=trust, at=now)
    assert opened.content == receipt
    with pytest.raises(MalformedMessage, match="a receipt is no mail"):
        _ = opened.message


# --- the header, which nobody signed ------------------------------------------------------


def opaque(content: bytes, signer: Identity, now: datetime) -> bytes:
    der, _ = signed_data.sign(content, [signer], detached=False, policy=EXCHANGE, at=now)
    return pkcs7_mime("signed-data", der)


@pytest.mark.parametrize(
    "field", [b"X-Note: see below\r\rpay 666\r\n", b"Note : pay 666\r\n", b"Note\t: pay 666\n"]
)
def test_nothing_of_the_header_gets_into_the_body(
    signed: bytes, trust: TrustStore, now: datetime, field: bytes
) -> None:
    opened = verify(field + signed, trust=trust, at=now)
    assert opened.message.get_content() == "the figures\r\n"
    assert opened.message["Subject"] == "Figures"
    assert opened.message["From"] == "Alice <alice@contoso.com>"


@pytest.mark.parametrize(
    "header",
    [
        b"To: bob@contoso.com\r\n",
        b"From: mallory@contoso.com\r\n",
        b"Sender: mallory@contoso.com\r\n",
        b"",
    ],
)
@pytest.mark.parametrize("hidden", [b"", b"X-A: b\r"])
def test_a_from_inside_the_signature_is_the_signers(
    mallory: Identity, trust: TrustStore, now: datetime, header: bytes, hidden: bytes
) -> None:
    content = hidden + b"From: Alice <alice@contoso.com>\r\n" + INNER
    report = examine(header + opaque(content, mallory, now), trust=trust, at=now)
    assert report.verdict == "rejected"
    assert codes(report.errors) == ["pki.address.mismatch"]


def test_a_from_inside_that_is_the_signers_own_is_accepted(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    entity = opaque(b"From: Alice <ALICE@contoso.com>\r\n" + INNER, alice, now)
    for header in (b"From: alice@contoso.com\r\n", b"To: bob@contoso.com\r\n"):
        assert examine(header + entity, trust=trust, at=now).findings == ()


@pytest.mark.parametrize(
    "header",
    [
        b"X-A: b\rFrom: alice@contoso.com\r\nFrom: mallory@contoso.com\r\n",
        b"Sender: alice@contoso.com\r\n",
    ],
)
def test_an_author_that_only_some_readers_see_is_not_passed_over(
    mallory: Identity, trust: TrustStore, now: datetime, header: bytes
) -> None:
    report = examine(header + opaque(INNER, mallory, now), trust=trust, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"]


@pytest.mark.parametrize(
    "header",
    [
        b"From: alice@contoso.com\r\nSender: mallory@contoso.com\r\n",
        b"From: alice@contoso.com, mallory@contoso.com\r\n",
    ],
)
def test_an_author_who_did_not_sign_is_named(
    mallory: Identity, trust: TrustStore, now: datetime, header: bytes
) -> None:
    report = examine(header + opaque(INNER, mallory, now), trust=trust, at=now)
    assert report.accepted  # RFC 8550 3: From or Sender
    (one,) = report.findings
    assert (one.code, one.severity) == ("pki.address.mismatch", Severity.WARNING)
    assert "from alice@contoso.com" in one.text


# --- no rejection without a reason --------------------------------------------------------


def test_a_signature_around_encryption_says_why_it_counts_for_nothing(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    raw = sign(encrypt(message, recipients=[to_bob], at=now), signer=alice, at=now)
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert codes(report.errors) == ["smime.signature-outside"]
    with pytest.raises(SignatureInvalid, match="what was signed is encrypted"):
        unseal(raw, identities=[bob], trust=trust, at=now)
    # signed inside as well, as RFC 2634 1.1 has it, there is nothing to say
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now)
    triple = sign(sealed, signer=alice, at=now)
    assert examine(triple, identities=[bob], trust=trust, at=now).findings == ()


def test_a_signature_that_cannot_be_checked_says_what_is_missing(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(INNER, [alice], detached=False, policy=EXCHANGE, at=now)
    known, unknown = (ber.sequence(ber.oid(f"2.16.840.1.101.3.4.2.{n}")) for n in (1, 99))
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der.replace(known, unknown))
    report = examine(raw, trust=trust, at=now)
    assert codes(report.errors) == ["cms.signer.unchecked"]
    with pytest.raises(SignatureInvalid, match=r"could not be checked: .*2\.16\.840.*\.99"):
        verify(raw, trust=trust, at=now)


def test_what_stopped_the_reading_is_among_the_findings(
    sealed: bytes, alice: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    careless = EXCHANGE.but("careless", accept_unsigned=True)
    for raw in (sealed, sealed[:-100], b"X: y\r\n" * 200_000):
        report = examine(raw, identities=[mallory], trust=trust, at=now, policy=careless)
        assert codes(report.errors) == ["smime.unreadable"]
        assert report.errors[0].text == str(report.error)
        assert not report.accepted


# --- line ends ----------------------------------------------------------------------------

TEXT = b"Content-Type: text/plain\r\n\r\none\r\ntwo\r\nthree\r\n"


def clear(signed: bytes, sent: bytes, signer: Identity, now: datetime) -> bytes:
    """A multipart/signed that carries `sent`, with a signature over `signed`."""
    der, _ = signed_data.sign(signed, [signer], detached=True, policy=EXCHANGE, at=now)
    return (
        b"From: alice@contoso.com\r\n"
        b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";'
        b" micalg=sha-256; boundary=b\r\n\r\n--b\r\n"
        + sent
        + b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + encode_base64(der) + b"\r\n--b--\r\n"
    )


LF = TEXT.replace(b"\r\n", b"\n")
MIXED = TEXT.replace(b"two\r\n", b"two\n")
BARE_CR = TEXT.replace(b"two\r\n", b"two\rpay 666\r\n")


@pytest.mark.parametrize(
    ("signed_as", "sent_as", "texts"),
    [
        (TEXT, TEXT, []),
        (LF, LF, ["over lines that end in a bare LF"]),
        (TEXT, LF, ["over the text with CRLF"]),
        (MIXED, MIXED, ["over lines that end in a bare LF"]),
        (TEXT, MIXED, ["over the text with CRLF"]),
        (BARE_CR, BARE_CR, ["a CR that ends no line"]),
        (
            BARE_CR.replace(b"\r\n", b"\n"),
            BARE_CR.replace(b"\r\n", b"\n"),
            ["over lines that end in a bare LF", "a CR that ends no line"],
        ),
    ],
    ids=["crlf", "lf", "lf on its way", "mixed", "mixed on its way", "bare cr", "cr and lf"],
)
def test_line_ends_that_are_not_canonical_are_accepted_and_said(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    signed_as: bytes,
    sent_as: bytes,
    texts: list[str],
) -> None:
    """RFC 8551 3.1.1: a signature is over the canonical form; openssl refuses any other."""
    raw = clear(signed_as, sent_as, alice, now)
    opened = verify(raw, trust=trust, at=now)
    assert opened.content == signed_as
    assert [(f.code, f.severity, f.where) for f in opened.findings] == [
        ("smime.line-ends", Severity.WARNING, "layer 1")
    ] * len(texts)
    for item, text in zip(opened.findings, texts, strict=True):
        assert text in item.text
    header, _, body = raw.partition(b"Content-Type")
    cipher = recipients.choose_cipher([to_bob], EXCHANGE)
    der = enveloped_data.encrypt(b"Content-Type" + body, [to_bob], cipher=cipher, policy=EXCHANGE)
    sealed = header + pkcs7_mime("enveloped-data", der)
    inside = unseal(sealed, identities=[bob], trust=trust, at=now)
    assert [f.where for f in inside.findings] == ["layer 1.1"] * len(texts)


@pytest.mark.parametrize(
    ("signed_as", "sent_as"),
    [
        (LF, TEXT),
        (TEXT.replace(b"\r\n", b"\r"), TEXT),
        (TEXT, TEXT.replace(b"\r\n", b"\r")),
        (BARE_CR, BARE_CR.replace(b"\r", b"\r\n").replace(b"\n\n", b"\n")),
        (TEXT, TEXT.replace(b"\r\n", b"\r\r\n")),
    ],
)
def test_other_line_ends_than_those_signed_are_another_text(
    alice: Identity, trust: TrustStore, now: datetime, signed_as: bytes, sent_as: bytes
) -> None:
    report = examine(clear(signed_as, sent_as, alice, now), trust=trust, at=now)
    assert codes(report.errors) == ["cms.digest.mismatch"]


def test_the_line_ends_of_what_no_relay_sees_are_the_signers(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """Opaque, or a file beside its signature: these may be any octets."""
    raw = b"From: alice@contoso.com\r\n" + opaque(LF, alice, now)
    assert verify(raw, trust=trust, at=now).findings == ()
    der, _ = signed_data.sign(b"\n\r\0", [alice], detached=True, policy=EXCHANGE, at=now)
    assert verify(der, content=b"\n\r\0", trust=trust, at=now).findings == ()


# --- what a forwarder adds ----------------------------------------------------------------

FOOTERS = [b"\r\n-- \r\nlist footer\r\n", b"This mail was scanned!\r\n", b"\r\n<b>x</b>=\r\n"]


@pytest.mark.parametrize("footer", FOOTERS)
@pytest.mark.parametrize("extra", range(3))  # of octets: with and without padding
def test_a_footer_behind_base64_is_left_out_and_said(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    footer: bytes,
    extra: int,
) -> None:
    header = b"From: alice@contoso.com\r\n"
    cipher = recipients.choose_cipher([to_bob], RFC_8551)
    content = INNER + b"x" * extra
    der = enveloped_data.encrypt(content, [to_bob], cipher=cipher, policy=RFC_8551)
    raw = header + pkcs7_mime("authEnveloped-data", der) + footer
    opened = decrypt(raw, identities=[bob])
    assert opened.content == content
    assert opened.report.authenticated
    assert codes(opened.findings) == ["smime.text-behind"]
    opened = verify(header + opaque(content, alice, now) + footer, trust=trust, at=now)
    assert opened.content == content
    assert b"footer" not in opened.raw
    assert codes(opened.findings) == ["smime.text-behind"]
    signed = clear(content, content, alice, now)
    cut = signed.rindex(b"\r\n--b--")
    opened = verify(signed[:cut] + footer + signed[cut:], trust=trust, at=now)
    assert opened.content == content
    assert codes(opened.findings) == ["smime.text-behind"]


def test_a_second_cms_behind_the_first_is_never_content(
    alice: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    for extra in range(3):
        first = opaque(INNER + b"x" * extra, alice, now)
        second = Entity(opaque(b"pay 666", mallory, now)).body
        raw = b"From: alice@contoso.com\r\n" + first + b"\r\n-- \r\n" + second
        assert verify(raw, trust=trust, at=now).content == INNER + b"x" * extra
        glued = b"From: alice@contoso.com\r\n" + first + second
        report = examine(glued, trust=trust, at=now)
        assert {one.email for one in report.signers} <= {"alice@contoso.com"}


# --- a certificate that was renewed -------------------------------------------------------


@pytest.mark.parametrize("key", ["p256", "rsa-2048", "x25519", "ml-kem-768"])
def test_mail_to_another_certificate_of_the_same_key_says_what_to_do(
    ca: CA, alice: Identity, message: bytes, now: datetime, tmp_path: Path, key: str
) -> None:
    use: Literal["both", "encrypt"] = "both" if key in ("p256", "rsa-2048") else "encrypt"
    former = ca.issue("bob@contoso.com", key=key, use=use, at=now)
    renewed = ca.issue("bob@contoso.com", key=former.private_key, use=use, at=now)
    raw = encrypt(message, recipients=[Contact(former.certificate)], at=now)
    with pytest.raises(NoMatchingIdentity) as caught:
        decrypt(raw, identities=[alice, renewed])
    hint = str(caught.value.hint)
    assert "the same key" in hint
    assert "beside the key" in hint
    # what it says is of use
    path = tmp_path / "bob.pem"
    path.write_bytes(renewed.to_pem() + armour(former.certificate))
    assert decrypt(raw, identities=load_identities(path)).content == INNER


def test_mail_to_somebody_else_has_no_such_hint(
    bob: Identity, alice: Identity, message: bytes, now: datetime
) -> None:
    elsewhere = CA("Another Root", key="p256", at=now)
    other = elsewhere.issue("bob@contoso.com", key="p256", at=now)
    signs_only = CA("Another Root", key="p256", at=now).issue(
        "bob@contoso.com", key="ed25519", at=now
    )
    raw = encrypt(message, recipients=[Contact(other.certificate)], at=now)
    for identities in ([bob, alice], [replace(signs_only, encryption=None)], []):
        with pytest.raises(NoMatchingIdentity) as caught:
            decrypt(raw, identities=identities)
        assert caught.value.hint == "give the key file of one of these recipients"
    # a key identifier names the key, whatever the certificate
    renewed = elsewhere.issue("bob@contoso.com", key=other.private_key, at=now)
    named = encrypt(message, recipients=[Contact(other.certificate)], rid="ski", at=now)
    assert decrypt(named, identities=[renewed]).content == INNER


@pytest.mark.parametrize("place", ["message", "part"])
@pytest.mark.parametrize("kind", [b"text/plain; name*", b"text/plain; x*0*", b"image/png; b*"])
def test_what_the_parser_of_python_fails_at_is_had_as_raw(
    alice: Identity, trust: TrustStore, now: datetime, kind: bytes, place: str
) -> None:
    entity = b"Content-Type: " + kind + b"\r\n\r\nhello\r\n"
    if place == "part":
        entity = b"Content-Type: multipart/mixed; boundary=o\r\n\r\n--o\r\n" + entity + b"--o--\r\n"
    der, _ = signed_data.sign(entity, [alice], detached=False, policy=EXCHANGE, at=now)
    raw = b"From: alice@contoso.com\r\n" + pkcs7_mime("signed-data", der)
    opened = verify(raw, trust=trust, at=now)
    with pytest.raises(MalformedMessage, match="beyond the parser") as caught:
        _ = opened.message
    assert caught.value.hint
    assert caught.value.__context__ is None
    assert opened.raw.endswith(entity)
    assert opened.attachments is not None
