"""Whom a message was signed by, as somebody to write to: only what the signature vouches for."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import (
    EXCHANGE,
    RFC_8551,
    Certificate,
    CertificateRejected,
    Contact,
    Contacts,
    Identity,
    MalformedMessage,
    PolicyRefusal,
    Revocation,
    SmimeGraphError,
    TrustStore,
    VerificationFailed,
    examine,
    harvest,
    harvest_outlook,
    inspect,
    oids,
    seal,
    sign,
    signer_contact,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, capabilities, signed_data
from smime_graph.pki.identity import read_capabilities
from smime_graph.smime.harvest import prefers
from tests.pki.test_contacts import revoking

ALICE = "alice@contoso.com"
CBC = ber.sequence(ber.oid(oids.AES256_CBC))
GCM = ber.sequence(ber.oid(oids.AES256_GCM))
# RFC 8551 2.5.2 leaves it to the client: what Thunderbird 153 ESR announces is AES-CBC alone
THUNDERBIRD_153 = [
    *(ber.sequence(ber.oid(one)) for one in (oids.AES256_CBC, oids.AES192_CBC, oids.AES128_CBC)),
    ber.sequence(ber.oid(oids.DES_EDE3_CBC)),
    ber.sequence(ber.oid(oids.RC2_CBC), ber.integer(128)),
]
Announcing = Callable[..., bytes]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Contacts]:
    with Contacts(tmp_path / "book") as opened:
        yield opened


@pytest.fixture
def announcing(message: bytes, now: datetime, monkeypatch: pytest.MonkeyPatch) -> Announcing:
    """Sign a message that announces these capabilities."""

    def made(signer: Identity, entries: list[bytes], **options: object) -> bytes:
        with monkeypatch.context() as patch:
            patch.setattr(capabilities, "announcement", lambda _: ber.sequence(*entries))
            signed_data._frame.cache_clear()
            try:
                return sign(message, signer=signer, **{"at": now, **options})  # type: ignore[arg-type]
            finally:
                signed_data._frame.cache_clear()

    return made


def taken(raw: bytes, book: Contacts, trust: TrustStore, now: datetime) -> Contact:
    contact: Contact = harvest(raw, contacts=book, trust=trust, at=now)
    return contact


def cipher_of(raw: bytes) -> str | None:
    return inspect(raw)[0].cipher


# --- what is taken --------------------------------------------------------------------------------


def test_a_signer_becomes_a_contact_with_what_he_announced(
    book: Contacts, announcing: Announcing, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    contact = taken(announcing(alice, [CBC, GCM]), book, trust, now)
    assert (contact.certificate, contact.email) == (alice.certificate, ALICE)
    assert contact.capabilities == (CBC, GCM)
    found = book.find(ALICE, at=now)
    assert found.contact == contact
    assert found.believed
    assert found.announced is not None
    assert found.announced.signed_at == now
    assert found.announced.signer == alice.certificate.sha256


def test_mail_to_one_who_reads_cbc_alone_is_cbc(
    book: Contacts,
    announcing: Announcing,
    alice: Identity,
    bob: Identity,
    trust: TrustStore,
    now: datetime,
) -> None:
    """Thunderbird 153 shows an empty message for AES-GCM, and announces AES-CBC only."""
    signed = announcing(alice, THUNDERBIRD_153)
    answer = b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\nSubject: a\r\n\r\nanswer\r\n"

    def sealed(to: Contact) -> str | None:
        return cipher_of(seal(answer, signer=bob, recipients=[to], policy=RFC_8551, at=now))

    assert sealed(alice.contact) == "aes256-gcm"
    assert sealed(signer_contact(verify(signed, trust=trust, at=now), trust=trust, at=now)) == (
        "aes256-cbc"
    )
    taken(signed, book, trust, now)
    found = book.find(ALICE, at=now).contact
    assert found is not None
    assert sealed(found) == "aes256-cbc"
    taken(announcing(alice, [GCM, CBC], at=now + timedelta(minutes=1)), book, trust, now)
    found = book.find(ALICE, at=now).contact
    assert found is not None
    assert sealed(found) == "aes256-gcm"


@pytest.mark.parametrize(
    "weak",
    [
        [ber.sequence(ber.oid(oids.RC2_CBC), ber.integer(40))],
        [ber.sequence(ber.oid(oids.DES_CBC))],
        [ber.sequence(ber.oid(oids.DES_EDE3_CBC))],
    ],
)
def test_who_announces_weak_ciphers_alone_is_refused_not_obeyed(
    announcing: Announcing,
    alice: Identity,
    bob: Identity,
    trust: TrustStore,
    now: datetime,
    weak: list[bytes],
) -> None:
    opened = verify(announcing(alice, weak), trust=trust, at=now)
    contact = signer_contact(opened, trust=trust, at=now)
    answer = b"From: bob@contoso.com\r\nTo: alice@contoso.com\r\nSubject: a\r\n\r\nanswer\r\n"
    for policy in (EXCHANGE, RFC_8551):
        with pytest.raises(PolicyRefusal, match="no content cipher is common"):
            seal(answer, signer=bob, recipients=[contact], policy=policy, at=now)


def test_a_sealed_message_gives_its_signer(
    message: bytes,
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
) -> None:
    sealed = seal(message, signer=alice, recipients=[to_bob], at=now)
    opened = unseal(sealed, identities=[bob], trust=trust, at=now)
    assert signer_contact(opened, trust=trust, at=now).certificate == alice.certificate
    assert signer_contact(opened.report, trust=trust, at=now).email == ALICE


def test_the_certificate_that_the_signer_prefers(
    book: Contacts, message: bytes, ca: CA, trust: TrustStore, now: datetime
) -> None:
    """Ed25519 signs only: its companion is named under the signature (RFC 8551 2.5.3)."""
    alice = ca.issue(ALICE, key="ed25519", at=now)
    assert alice.encryption is not None
    contact = taken(sign(message, signer=alice, at=now), book, trust, now)
    assert contact.certificate == alice.encryption.certificate
    assert book.find(ALICE, at=now).contact == contact


def test_the_issuers_of_a_signer_are_kept_to_build_paths(
    book: Contacts, message: bytes, now: datetime
) -> None:
    root = CA("Root", key="p256", at=now)
    issuing = root.create_intermediate("Issuing", key="p256", at=now)
    alice = issuing.issue(ALICE, key="p256", at=now)
    other = CA("Other", key="p256", at=now)
    raw = with_certificates(sign(message, signer=alice, at=now), [other.certificate])
    taken(raw, book, root.trust, now)
    assert issuing.certificate in book.issuers()
    assert other.certificate not in book.issuers()
    assert book.find(ALICE, at=now, trust=root.trust).contact is not None


def test_what_outlook_signed_itself_is_announced(
    book: Contacts, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """[MS-OXOABK] 4.2: a SignedData around nothing, with what its owner reads."""
    policy = EXCHANGE.but("mine", announce=("aes128-cbc",))
    der, _ = signed_data.sign(b"Empty Body", [alice], detached=False, policy=policy, at=now)
    entered, findings = harvest_outlook(
        der, emails=["x@contoso.com", ALICE], contacts=book, trust=trust, at=now
    )
    assert [one.email for one in entered] == [ALICE]
    assert findings == ()
    found = book.find(ALICE, at=now)
    assert found.announced is not None
    assert found.announced.capabilities == (ber.sequence(ber.oid(oids.AES128_CBC)),)


def test_what_outlook_carries_and_nobody_signed_announces_nothing(
    book: Contacts, alice: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    policy = EXCHANGE.but("mine", announce=("aes128-cbc",))
    der, _ = signed_data.sign(b"Empty Body", [mallory], detached=False, policy=policy, at=now)
    content_type, explicit = ber.read(der, "ContentInfo")
    (signed,) = explicit
    parts = [
        ber.tlv(0xA0, bytes(one.contents), alice.certificate.der)
        if one.tag == 0xA0
        else bytes(one.raw)
        for one in signed
    ]
    mixed = ber.sequence(bytes(content_type.raw), ber.tlv(0xA0, ber.sequence(*parts)))
    for value in (mixed, der.replace(b"Empty Body", b"Other Body")):
        harvest_outlook(value, emails=[ALICE], contacts=book, trust=trust, at=now)
    assert book.find(ALICE, at=now).contact is not None
    assert book.announcement(ALICE) is None
    assert book.find("mallory@contoso.com", at=now).contact is None


def test_what_was_signed_with_a_revoked_certificate_announces_nothing(
    book: Contacts, ca: CA, now: datetime
) -> None:
    """The certificate to encrypt to is good: what came along with it was signed by another one."""
    alice = ca.issue(ALICE, key="p256", at=now)
    stolen = ca.issue(ALICE, key="p256", at=now)
    policy = EXCHANGE.but("mine", announce=("aes128-cbc",))
    der, _ = signed_data.sign(b"Empty Body", [stolen], detached=False, policy=policy, at=now)
    revocation = Revocation(crls=(revoking(ca, now, stolen.certificate),))
    value = beside(der, [alice.certificate])
    for known, announces in ((revocation, False), (None, True)):
        entered, _ = harvest_outlook(
            value, emails=[ALICE], contacts=book, trust=ca.trust, at=now, revocation=known
        )
        assert alice.certificate in [one.certificate for one in entered]
        assert (book.announcement(ALICE) is not None) is announces


# --- what is not ----------------------------------------------------------------------------------


def forged_from(message: bytes) -> bytes:
    return message.replace(b"alice@contoso.com", b"bob@contoso.com", 1)


def test_nobody_is_taken_from_what_is_not_accepted(
    book: Contacts,
    message: bytes,
    alice: Identity,
    mallory: Identity,
    bob: Identity,
    to_bob: Contact,
    now: datetime,
    trust: TrustStore,
) -> None:
    signed = sign(message, signer=alice, at=now)
    own = EXCHANGE.but("mine", sender_must_match=False)
    by_mallory = sign(message, signer=mallory, policy=own, at=now)
    stranger = CA("Somebody", key="p256", at=now).issue(ALICE, key="p256", at=now)
    attached = EmailMessage()
    attached["From"], attached["To"] = "eve@contoso.com", "bob@contoso.com"
    attached.set_content("see below")
    attached.add_attachment(signed, maintype="message", subtype="rfc822")
    wrong = {
        "changed": signed.replace(b"the figures", b"the fingers"),
        "another From": by_mallory,
        "From changed afterwards": forged_from(signed),
        "a stranger with her name": sign(message, signer=stranger, at=now),
        "unsigned": message,
        "encrypted": seal(message, signer=alice, recipients=[to_bob], at=now),
        "an errant layer": bytes(attached),
        "nothing": b"",
        "two Froms": b"From: bob@contoso.com\r\n" + signed,
    }
    for what, raw in wrong.items():
        with pytest.raises(SmimeGraphError) as refused:
            taken(raw, book, trust, now)
        assert book.entries() == (), what
        assert isinstance(refused.value, (VerificationFailed, MalformedMessage)) or (
            what == "encrypted"
        ), what
    assert book.announcement(ALICE) is None


def test_beside_a_broken_signature_nobody_is_taken(
    book: Contacts,
    message: bytes,
    alice: Identity,
    mallory: Identity,
    trust: TrustStore,
    now: datetime,
) -> None:
    """Alice's own signature is accepted, and the message all the same is not (RFC 5652 5.1)."""
    raw = sign(message, signer=[alice, mallory], at=now)
    head, mark, rest = raw.rpartition(b'filename="smime.p7s"\r\n\r\n')
    body, boundary, end = rest.partition(b"\r\n--")
    der = base64.b64decode(body)
    his = next(
        one.signature
        for one in signed_data.read(der).signers
        if list(one.among([mallory.certificate]))
    )
    broken = der.replace(his, his[:-1] + bytes((his[-1] ^ 1,)))
    raw = head + mark + base64.encodebytes(broken) + boundary + end
    report = examine(raw, trust=trust, at=now)
    assert [one.accepted for one in report.signers if one.emails == (ALICE,)] == [True]
    with pytest.raises(VerificationFailed):
        taken(raw, book, trust, now)
    assert book.entries() == ()
    worth = {one.emails: one.capabilities for one in report.signers}
    assert worth[(ALICE,)] is not None
    assert worth[("mallory@contoso.com",)] is None


def test_without_an_address_to_compare_nobody_is_taken(
    book: Contacts, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    der, _ = signed_data.sign(b"text", [alice], detached=False, policy=EXCHANGE, at=now)
    report = examine(der, trust=trust, at=now)
    if report.accepted:
        with pytest.raises(CertificateRejected, match="no address"):
            taken(der, book, trust, now)
    else:
        with pytest.raises(VerificationFailed):
            taken(der, book, trust, now)
    assert book.entries() == ()


def with_certificates(raw: bytes, more: list[Certificate]) -> bytes:
    """The same signature, with other certificates beside it: anybody on the way can do that."""
    head, mark, rest = raw.rpartition(b'filename="smime.p7s"\r\n\r\n')
    body, boundary, end = rest.partition(b"\r\n--")
    der = beside(base64.b64decode(body), more)
    return head + mark + base64.encodebytes(der) + boundary + end


def beside(der: bytes, more: list[Certificate]) -> bytes:
    content_type, explicit = ber.read(der, "ContentInfo")
    (signed,) = explicit
    added = b"".join(one.der for one in more)
    parts = [
        ber.tlv(0xA0, bytes(one.contents), added) if one.tag == 0xA0 else bytes(one.raw)
        for one in signed
    ]
    return ber.sequence(bytes(content_type.raw), ber.tlv(0xA0, ber.sequence(*parts)))


def test_certificates_that_come_along_are_nobodys(
    book: Contacts,
    message: bytes,
    ca: CA,
    alice: Identity,
    mallory: Identity,
    trust: TrustStore,
    now: datetime,
) -> None:
    """Mallory adds his own, and one for Alice by an authority of his."""
    his = CA("Test Root", key="p256", at=now).issue(ALICE, key="p256", at=now).certificate
    other = ca.issue("carol@contoso.com", key="p256", at=now).certificate
    raw = with_certificates(sign(message, signer=alice, at=now), [mallory.certificate, his, other])
    assert examine(raw, trust=trust, at=now).accepted
    contact = taken(raw, book, trust, now)
    assert contact.certificate == alice.certificate
    assert [one.certificate for one in book.entries()] == [alice.certificate]


def test_a_forged_certificate_of_the_preferred_name_is_not_taken(
    book: Contacts, message: bytes, ca: CA, trust: TrustStore, now: datetime
) -> None:
    """Issuer and serial number are all that the preference names, and the set is not signed."""
    alice = ca.issue(ALICE, key="ed25519", at=now)
    assert alice.encryption is not None
    real = alice.encryption.certificate
    false_root = CA("Test Root", key="p256", at=now)
    forged = false_root.issue(
        ALICE, key="p256", use="encrypt", at=now, serial=real.serial_number
    ).certificate
    assert forged.is_named(real.issuer, real.serial_number)
    raw = with_certificates(sign(message, signer=alice, at=now), [forged])
    assert taken(raw, book, trust, now).certificate == real
    alone = with_certificates(
        sign(message, signer=replace(alice, encryption=None), at=now), [forged]
    )
    with pytest.raises(CertificateRejected, match="others can encrypt to"):
        signer_contact(examine(alone, trust=trust, at=now), trust=trust, at=now)


def test_that_a_signer_was_revoked_is_remembered(
    book: Contacts, message: bytes, ca: CA, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=alice, at=now)
    assert book.revoke(alice.certificate, at=now) is False
    assert taken(raw, book, trust, now).certificate == alice.certificate
    known = Revocation(crls=(revoking(ca, now, alice.certificate),))
    changed = raw.replace(b"From: Alice", b"X-Note: y\r\nFrom: Alice", 1)
    for one in (changed, raw):  # whatever else is wrong with the message around it
        with pytest.raises(CertificateRejected, match="revoked"):
            harvest(one, contacts=book, trust=trust, at=now, revocation=known)
    found = book.find(ALICE, at=now)
    assert found.contact is None
    assert [one.code for one in found.dropped] == ["pki.revocation.revoked"]
    # a list of somebody else's says nothing, nor does one about what nobody has signed
    book.forget(ALICE)
    taken(raw, book, trust, now)
    other = CA("Other", key="p256", at=now)
    for evidence, octets in (
        (revoking(other, now, alice.certificate), raw),
        (revoking(ca, now, alice.certificate), raw.replace(b"the figures", b"the fugures", 1)),
    ):
        with contextlib.suppress(SmimeGraphError):
            harvest(
                octets, contacts=book, trust=trust, at=now, revocation=Revocation(crls=(evidence,))
            )
        assert book.find(ALICE, at=now).contact is not None


def test_an_encryption_certificate_that_is_revoked_is_not_taken(
    book: Contacts, message: bytes, ca: CA, trust: TrustStore, now: datetime
) -> None:
    alice = ca.issue(ALICE, key="ed25519", at=now)
    assert alice.encryption is not None
    raw = sign(message, signer=alice, at=now)
    known = Revocation(crls=(revoking(ca, now, alice.encryption.certificate),))
    report = examine(raw, trust=trust, at=now, revocation=known)
    assert report.accepted
    assert signer_contact(report, trust=trust, at=now)
    with pytest.raises(CertificateRejected, match="others can encrypt to"):
        signer_contact(report, trust=trust, at=now, revocation=known)


def test_a_preference_for_somebody_elses_certificate_is_not_followed(
    book: Contacts, message: bytes, ca: CA, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    carol = ca.issue("carol@contoso.com", key="p256", use="encrypt", at=now)
    pair = replace(alice, encryption=carol)
    contact = taken(sign(message, signer=pair, at=now), book, trust, now)
    assert contact.certificate == alice.certificate
    assert book.find("carol@contoso.com", at=now).contact is None


@pytest.mark.parametrize("count", [900, 10_000])
def test_ten_thousand_certificates_in_a_message_are_bounded(
    book: Contacts, message: bytes, alice: Identity, trust: TrustStore, now: datetime, count: int
) -> None:
    base = alice.certificate.der
    serial = alice.certificate.serial
    at = base.index(serial) + len(serial) - 4
    many = [Certificate(base[:at] + number.to_bytes(4) + base[at + 4 :]) for number in range(count)]
    raw = with_certificates(sign(message, signer=alice, at=now), many)
    try:
        contact = taken(raw, book, trust, now)
    except SmimeGraphError:
        assert book.entries() == ()
        assert count > 1000
    else:
        assert contact.certificate == alice.certificate
        assert len(book.entries()) == 1
        assert count <= 1000


def test_capabilities_from_the_future_are_not_used(
    book: Contacts, announcing: Announcing, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """RFC 8551 2.7.1: MUST NOT be accepted."""
    raw = announcing(alice, [CBC], at=now + timedelta(days=2))
    contact = taken(raw, book, trust, now)
    assert contact.capabilities is None
    assert book.announcement(ALICE) is None


def test_of_two_lists_none_is_used(
    message: bytes, alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """RFC 8551 2.5.2: such a signature SHOULD be treated as failing."""
    again = attributes.attribute(oids.SMIME_CAPABILITIES, ber.sequence(CBC))
    entity = b"Content-Type: text/plain\r\n\r\ntext\r\n"
    der, _ = signed_data.sign(
        entity, [alice], detached=False, policy=EXCHANGE, at=now, further=[again]
    )
    report = examine(der, trust=trust, sender=ALICE, at=now)
    assert not report.accepted
    assert report.signers[0].capabilities is None


@given(octets=st.binary(max_size=80))
@settings(max_examples=300, deadline=None)
def test_any_preference_names_somebody_or_nobody(octets: bytes, alice: Identity) -> None:
    assert prefers(octets, alice.certificate) in (True, False)


def test_a_preference_in_each_of_its_forms(alice: Identity, bob: Identity) -> None:
    own = alice.certificate
    key = own.subject_key_identifier
    assert key is not None
    for preference in (
        b"\xa0" + own.issuer_and_serial[1:],
        ber.tlv(0xA1, ber.octet_string(key)),
        ber.tlv(0x82, key),
    ):
        assert prefers(preference, own)
        assert not prefers(preference, bob.certificate)


@given(octets=st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_capabilities_are_read_or_refused(octets: bytes) -> None:
    try:
        assert isinstance(read_capabilities(octets), tuple)
    except MalformedMessage:
        pass
