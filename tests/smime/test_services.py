"""Beside the signature: security labels, countersignatures, timestamps."""

from __future__ import annotations

import subprocess
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import which
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smime_graph import examine, oids, seal, sign, unseal, verify
from smime_graph.algorithms import SHA1, SHA256, Digest
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info, read_content_info
from smime_graph.authority.issue import CA
from smime_graph.cms import attributes, labels, parameters, signed_data, timestamp
from smime_graph.cms.labels import SecurityLabel
from smime_graph.errors import (
    CertificateRejected,
    SignatureInvalid,
    VerificationFailed,
)
from smime_graph.findings import codes
from smime_graph.harness.forgeries.craft import add_unsigned, countersign
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.revocation import Revocation
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import ARCHIVE, EXCHANGE
from smime_graph.smime.outgoing import Outgoing
from smime_graph.smime.report import MessageReport, Signer, Timestamp
from smime_graph.smime.wrap import pkcs7_mime, signed_entity
from tests.ess import equivalent_labels

CONTENT = b"Content-Type: text/plain\r\n\r\nhello\r\n"
SECRET = SecurityLabel("1.3.6.1.4.1.99.1", classification=4)
OPEN = SecurityLabel("1.3.6.1.4.1.99.1", classification=1)


# --- security labels ----------------------------------------------------------------------


def test_a_label_is_shown_and_without_a_hook_only_noted(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    raw = seal(message, signer=alice, recipients=[to_bob], label=SECRET, at=now)
    opened = unseal(raw, identities=[bob], trust=trust, at=now)
    assert opened.report.labels == (SECRET,)
    assert opened.signers[0].services.label == SECRET
    assert codes(opened.findings) == ["smime.label"]
    assert "classification secret" in opened.findings[0].text


@pytest.mark.parametrize("label", [SECRET, OPEN])
def test_the_hook_decides_who_may_see_it(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime, label: SecurityLabel
) -> None:
    asked: list[SecurityLabel] = []

    def clearance(one: SecurityLabel) -> bool:
        asked.append(one)
        return (one.classification or 0) < 4

    raw = sign(message, signer=alice, label=label, at=now)
    report = examine(raw, trust=trust, at=now, clearance=clearance)
    assert asked == [label]
    assert report.accepted is (label is OPEN)
    if label is OPEN:
        assert verify(raw, trust=trust, at=now, clearance=clearance).findings == ()
        return
    assert codes(report.errors) == ["smime.label.refused"]
    for read in (verify, unseal):
        with pytest.raises(VerificationFailed, match="no clearance") as caught:
            read(raw, trust=trust, at=now, clearance=clearance)
        # neither the signature nor the certificate is at fault
        assert not isinstance(caught.value, SignatureInvalid | CertificateRejected)


def test_a_message_without_a_label_asks_for_no_clearance(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=alice, at=now)
    opened = verify(raw, trust=trust, at=now, clearance=lambda _: False)
    assert opened.report.labels == ()


def test_a_label_that_was_not_verified_is_not_processed(
    alice: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=alice, label=SECRET, at=now)

    def clearance(_: SecurityLabel) -> bool:
        raise AssertionError("asked about an attribute that nobody signed")

    changed = raw.replace(b"the figures", b"two figures")
    report = examine(changed, trust=trust, at=now, clearance=clearance)
    assert report.labels == ()
    assert not report.accepted


def test_all_signers_of_one_call_give_the_same_label(
    alice: Identity, alice_rsa: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    raw = sign(message, signer=[alice, alice_rsa], label=SECRET, at=now)
    report = examine(raw, trust=trust, at=now)
    assert [signer.services.label for signer in report.signers] == [SECRET, SECRET]
    assert codes(report.findings) == ["smime.label"]


@pytest.mark.parametrize("other", [OPEN, None])
def test_signers_with_different_labels_are_a_warning_and_every_label_is_asked_about(
    alice: Identity,
    alice_rsa: Identity,
    message: bytes,
    trust: TrustStore,
    now: datetime,
    other: SecurityLabel | None,
) -> None:
    raw = _signed_by(message, now, (alice, SECRET), (alice_rsa, other))
    report = examine(raw, trust=trust, at=now)
    assert "cms.ess.inconsistent" in codes(report.findings)
    assert report.accepted
    assert set(report.labels) == {SECRET, other} - {None}
    for refused in report.labels:
        report = examine(raw, trust=trust, at=now, clearance=lambda one: one != refused)  # noqa: B023
        assert codes(report.errors) == ["smime.label.refused"]


def _signed_by(
    message: bytes, now: datetime, *signers: tuple[Identity, SecurityLabel | None]
) -> bytes:
    outgoing = Outgoing.of(message, EXCHANGE, now)
    content = bytes(outgoing.entity(clear=False))
    infos, certificates, head = [], [], []
    for who, label in signers:
        further = () if label is None else (labels.security_label(label),)
        der, _ = signed_data.sign(
            content, [who], detached=False, policy=EXCHANGE, at=now, further=further
        )
        *head, certs, info = list(read_content_info(der)[1])
        infos += [one.raw for one in info]
        certificates += [one.raw for one in certs]
    parts = [one.raw for one in head]
    parts += [ber.tlv(0xA0, *certificates), ber.set_of(*infos)]
    return outgoing.assemble(pkcs7_mime("signed-data", content_info(oids.SIGNED_DATA, parts)))


def test_inner_and_outer_labels_are_both_asked_about(
    alice: Identity, mallory: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    outgoing = Outgoing.of(sign(message, signer=alice, label=SECRET, at=now), EXCHANGE, now)
    further = (labels.security_label(OPEN),)
    entity = bytes(outgoing.entity(clear=True))
    raw = outgoing.assemble(signed_entity(entity, [mallory], outgoing, further=further))
    report = examine(raw, trust=trust, at=now)
    assert report.labels == (OPEN, SECRET)
    assert report.accepted
    for refused in (OPEN, SECRET):
        report = examine(raw, trust=trust, at=now, clearance=lambda one: one != refused)  # noqa: B023
        assert not report.accepted


def test_equivalent_labels_are_shown_and_never_acted_upon(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    equivalent = equivalent_labels([SecurityLabel("1.2.3", classification=0)])
    for further in ((equivalent,), (equivalent, labels.security_label(SECRET))):
        raw, _ = signed_data.sign(
            CONTENT, [alice], detached=False, policy=EXCHANGE, at=now, further=further
        )
        asked: list[SecurityLabel] = []

        def clearance(one: SecurityLabel) -> bool:
            asked.append(one)  # noqa: B023
            return False

        report = examine(raw, trust=trust, sender="alice@contoso.com", at=now, clearance=clearance)
        assert asked == ([SECRET] if len(further) == 2 else [])
        assert report.signers[0].services.equivalent_labels == (
            SecurityLabel("1.2.3", classification=0),
        )
        assert ("smime.label" in codes(report.findings)) is (len(further) == 1)


# --- countersignatures --------------------------------------------------------------------


@pytest.fixture
def plain(alice: Identity, now: datetime) -> bytes:
    """An opaque SignedData of Alice's."""
    return signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)[0]


@pytest.fixture
def report_on(trust: TrustStore, now: datetime) -> Callable[[bytes], MessageReport]:
    return lambda der: examine(der, trust=trust, sender="alice@contoso.com", at=now)


def the_signer(report: MessageReport) -> Signer:
    """The one signer, whose own signature nothing beside it may have hurt."""
    assert report.accepted
    assert len(report.signers) == 1
    return report.signers[0]


@pytest.mark.parametrize("key", ["p256", "rsa-2048", "ed25519"])
def test_a_countersigner_is_shown_beside_the_signer(
    plain: bytes, ca: CA, now: datetime, report_on: Callable[[bytes], MessageReport], key: str
) -> None:
    notary = ca.issue("notary@contoso.com", key=key, at=now)
    later = now + timedelta(minutes=5)
    der = countersign(plain, signer=notary, policy=EXCHANGE, at=later)
    report = report_on(der)
    (found,) = the_signer(report).countersigners
    assert report.findings == ()
    assert (found.intact, found.valid, found.trusted) == (True, True, True)
    assert found.emails == ("notary@contoso.com",)
    assert found.signing_time == later
    assert found.faults == ()


def test_a_countersignature_leaves_every_signed_byte_as_it_was(
    alice: Identity, bob: Identity, now: datetime
) -> None:
    plain, _ = signed_data.sign(CONTENT, [alice, bob], detached=False, policy=EXCHANGE, at=now)
    before = signed_data.read(plain)
    after = signed_data.read(countersign(plain, signer=bob, policy=EXCHANGE, at=now, index=1))
    assert after.content is not None
    assert bytes(after.content) == CONTENT
    assert after.certificates[:2] == before.certificates[:2]
    raw = {
        (one.signature, one.signed_attributes.node.raw)
        for one in before.signers
        if one.signed_attributes is not None
    }
    assert raw == {
        (one.signature, one.signed_attributes.node.raw)
        for one in after.signers
        if one.signed_attributes is not None
    }
    countersigned = [one for one in after.signers if one.unsigned_attributes is not None]
    assert [one.signature for one in countersigned] == [before.signers[1].signature]
    # RFC 5652 11.4 and RFC 2634 1.3.4: no contentType, and only these
    assert countersigned[0].unsigned_attributes is not None
    (value,) = countersigned[0].unsigned_attributes.values(oids.COUNTERSIGNATURE)
    signed = signed_data.read_signer(value, 0).signed_attributes
    assert signed is not None
    assert oids.CONTENT_TYPE not in signed
    for oid in (oids.MESSAGE_DIGEST, oids.SIGNING_TIME, oids.SIGNING_CERTIFICATE_V2):
        assert signed.single(oid) is not None
    assert len(list(signed.node)) == 3


def test_a_message_in_ber_is_countersigned_too(
    plain: bytes, bob: Identity, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    def indefinite(node: ber.Node) -> bytes:
        return bytes((node.tag, 0x80)) + node.contents + b"\0\0"

    oid, explicit = ber.read(plain, "ContentInfo")
    inner = b"\xa0\x80" + indefinite(next(iter(explicit))) + b"\0\0"
    loose = b"\x30\x80" + oid.raw + inner + b"\0\0"
    (found,) = the_signer(
        report_on(countersign(loose, signer=bob, policy=EXCHANGE, at=now))
    ).countersigners
    assert found.valid


def test_countersignatures_can_be_countersigned_and_stand_beside_one_another(
    plain: bytes,
    bob: Identity,
    mallory: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    der = countersign(plain, signer=bob, policy=EXCHANGE, at=now)
    der = countersign(der, signer=mallory, policy=EXCHANGE, at=now)
    signer = the_signer(report_on(der))
    assert {one.emails[0] for one in signer.countersigners} == {
        "bob@contoso.com",
        "mallory@contoso.com",
    }
    assert all(one.valid for one in signer.countersigners)
    nested = _nested(plain, bob, depth=3)
    (first,) = the_signer(report_on(nested)).countersigners
    (second,) = first.countersigners
    (third,) = second.countersigners
    assert (first.valid, second.valid, third.valid) == (True, True, True)
    assert third.countersigners == ()


def _counter(
    signature: bytes,
    who: Identity,
    *further: bytes,
    digest: bytes | None = None,
    unsigned: bytes = b"",
) -> bytes:
    """A Countersignature by hand, with other unsigned attributes beside it."""
    scheme, hashed = signed_data.choose_scheme(who.certificate, EXCHANGE)
    made = attributes.message_digest(hashed.compute(signature) if digest is None else digest)
    info = signed_data.write_signer(who, scheme, hashed, [made, *further], "issuer")
    return ber.sequence(ber.read(info, "SignerInfo").contents, unsigned)


def _nested(plain: bytes, who: Identity, *, depth: int) -> bytes:
    """A countersignature of a countersignature of ...: made from the outside in."""

    def over(signature: bytes, left: int) -> bytes:
        bare = _counter(signature, who)
        if left == 1:
            return bare
        own = signed_data.read_signer(ber.read(bare, "SignerInfo"), 0).signature
        further = attributes.attribute(oids.COUNTERSIGNATURE, over(own, left - 1))
        unsigned = ber.tlv(0xA1, further)
        return ber.sequence(ber.read(bare, "SignerInfo").contents, unsigned)

    signature = signed_data.read(plain).signers[0].signature
    return add_unsigned(
        plain, oids.COUNTERSIGNATURE, over(signature, depth), certificates=(who.certificate,)
    )


def test_a_bad_countersignature_is_a_warning_and_takes_nothing_from_the_signature(
    plain: bytes,
    bob: Identity,
    mallory: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    signature = signed_data.read(plain).signers[0].signature
    kind = attributes.content_type(oids.DATA)
    other = attributes.signing_certificate_v2(mallory.certificate)
    bad = {
        "changed after signing": _counter(b"another signature", bob),
        "contentType is signed": _counter(signature, bob, kind),
        "names another certificate": _counter(signature, bob, other),
        "no certificate is": _counter(signature, mallory),
        "ASN.1": ber.null(),
        "ASN.1 tag": ber.sequence(ber.integer(1)),
    }
    for text, value in bad.items():
        der = add_unsigned(plain, oids.COUNTERSIGNATURE, value, certificates=(bob.certificate,))
        report = report_on(der)
        assert all(not one.trusted for one in the_signer(report).countersigners)
        assert codes(report.findings) == ["cms.countersignature.invalid"], text
        if "ASN.1" not in text:
            assert text in report.findings[0].text


@pytest.mark.parametrize("clear", [False, True])
def test_a_countersignature_cannot_be_turned_into_a_message(
    plain: bytes,
    bob: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
    clear: bool,
) -> None:
    """NEW-1: what Bob signed were attributes, and they are no content of his."""
    der = countersign(plain, signer=bob, policy=EXCHANGE, at=now)
    unsigned = signed_data.read(der).signers[0].unsigned_attributes
    assert unsigned is not None
    counter = signed_data.read_signer(unsigned.values(oids.COUNTERSIGNATURE)[0], 0)
    assert counter.signed_attributes is not None
    content = ber.tlv(ber.SET, counter.signed_attributes.node.contents)
    info = ber.sequence(
        ber.integer(1),
        bob.certificate.issuer_and_serial,
        counter.digest_algorithm.raw,
        counter.signature_algorithm.raw,
        ber.octet_string(counter.signature),
    )
    inside = b"" if clear else ber.context(0, ber.octet_string(content))
    forged = content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(counter.digest_algorithm.raw),
            ber.sequence(ber.oid(oids.DATA), inside),
            ber.tlv(0xA0, bob.certificate.der),
            ber.set_of(info),
        ],
    )
    if clear:
        forged = (
            b"From: bob@contoso.com\r\nMIME-Version: 1.0\r\nContent-Type: multipart/signed; "
            b'protocol="application/pkcs7-signature"; micalg=sha-256; boundary=b\r\n\r\n--b\r\n'
            + content
            + b"\r\n--b\r\nContent-Type: application/pkcs7-signature\r\n"
            + b"Content-Transfer-Encoding: base64\r\n\r\n"
            + b64encode(forged)
            + b"\r\n--b--\r\n"
        )
    report = report_on(forged)
    assert [signer.valid for signer in report.signers] == [True]
    assert not report.accepted
    assert "cms.attributes.confusable" in codes(report.errors)


def test_a_countersignature_moved_to_another_signature_is_not_valid(
    plain: bytes,
    alice: Identity,
    bob: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    counter = signed_data.read(countersign(plain, signer=bob, policy=EXCHANGE, at=now))
    unsigned = counter.signers[0].unsigned_attributes
    assert unsigned is not None
    (value,) = unsigned.values(oids.COUNTERSIGNATURE)
    other, _ = signed_data.sign(
        CONTENT, [alice], detached=False, policy=EXCHANGE, at=now + timedelta(seconds=1)
    )
    moved = add_unsigned(other, oids.COUNTERSIGNATURE, value.raw, certificates=(bob.certificate,))
    (found,) = the_signer(report_on(moved)).countersigners
    assert (found.intact, found.trusted) == (False, None)


def test_a_countersigner_who_is_not_believed_is_shown_as_such(
    plain: bytes, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    stranger = CA("Elsewhere", key="p256", at=now).issue("x@x.com", key="p256", at=now)
    report = report_on(countersign(plain, signer=stranger, policy=EXCHANGE, at=now))
    (found,) = the_signer(report).countersigners
    assert (found.valid, found.trusted) == (True, False)
    assert found.faults
    assert report.findings == ()


def test_countersignatures_cost_a_bounded_number_of_checks(
    plain: bytes, bob: Identity, report_on: Callable[[bytes], MessageReport]
) -> None:
    report = report_on(_nested(plain, bob, depth=8))
    depth, found = 0, the_signer(report).countersigners
    while found:
        depth, found = depth + 1, found[0].countersigners
    assert depth == 4
    assert codes(report.findings) == ["cms.countersignature.invalid"]

    signature = signed_data.read(plain).signers[0].signature
    values = [_counter(signature, bob) for _ in range(40)]
    elements = list(read_content_info(plain)[1])
    (info,) = list(elements[-1])
    unsigned = ber.tlv(0xA1, attributes.attribute(oids.COUNTERSIGNATURE, *values))
    parts: list[bytes | memoryview] = [one.raw for one in elements[:-1]]
    parts[3] = ber.tlv(0xA0, elements[3].contents, bob.certificate.der)
    parts.append(ber.set_of(ber.sequence(info.contents, unsigned)))
    report = report_on(content_info(oids.SIGNED_DATA, parts))
    assert len(the_signer(report).countersigners) == 16
    assert "more countersignatures than are checked" in report.findings[0].text


# --- timestamps ---------------------------------------------------------------------------


def purposes(*oids_: str, critical: bool = True) -> list[x509.Extension[x509.ExtensionType]]:
    value = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oid) for oid in oids_])
    return [x509.Extension(value.oid, critical, value)]


@pytest.fixture(scope="session")
def authority(ca: CA, now: datetime) -> Identity:
    extensions = purposes(oids.TIME_STAMPING)
    return ca.issue(name="TSA", key="p256", use="sign", extensions=extensions, at=now)


def tst_info(
    datum: bytes,
    *,
    time: bytes = b"20261122120500.25Z",
    digest: Digest = SHA256,
    version: int = 1,
    rest: bytes = b"",
) -> bytes:
    return ber.sequence(
        ber.integer(version),
        ber.oid("1.2.3.4"),
        ber.sequence(parameters.write_digest(digest), ber.octet_string(digest.compute(datum))),
        ber.integer(1 << 159),
        ber.tlv(ber.GENERALIZED_TIME, time),
        rest,
    )


def token(info: bytes, who: Identity, now: datetime, *, kind: str = oids.TST_INFO) -> bytes:
    return signed_data.sign(
        info, [who], detached=False, policy=EXCHANGE, at=now, content_type=kind
    )[0]


def stamped(plain: bytes, value: bytes) -> bytes:
    return add_unsigned(plain, oids.TIMESTAMP_TOKEN, value)


def signature_of(plain: bytes) -> bytes:
    return signed_data.read(plain).signers[0].signature


def test_a_timestamp_is_shown_beside_the_signer(
    plain: bytes, authority: Identity, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    everything = b"".join(
        [
            ber.sequence(ber.integer(1), ber.tlv(0x80, b"\x05")),
            ber.tlv(ber.BOOLEAN, b"\xff"),
            ber.integer(99),
            ber.context(0, ber.context(4, authority.certificate.subject)),
            ber.context(1),
        ]
    )
    for rest in (b"", everything):
        info = tst_info(signature_of(plain), rest=rest)
        report = report_on(stamped(plain, token(info, authority, now)))
        (found,) = the_signer(report).timestamps
        assert report.findings == ()
        assert found.time == datetime(2026, 11, 22, 12, 5, 0, 250_000, tzinfo=UTC)
        assert found.policy == "1.2.3.4"
        assert (found.valid, found.trusted, found.faults) == (True, True, ())
        assert found.certificate == authority.certificate


def test_a_timestamp_stays_with_a_message_through_mime(
    alice: Identity, authority: Identity, message: bytes, trust: TrustStore, now: datetime
) -> None:
    outgoing = Outgoing.of(message, EXCHANGE, now)
    content = bytes(outgoing.entity(clear=False))
    der, _ = signed_data.sign(content, [alice], detached=False, policy=EXCHANGE, at=now)
    der = stamped(der, token(tst_info(signature_of(der)), authority, now))
    opened = verify(outgoing.assemble(pkcs7_mime("signed-data", der)), trust=trust, at=now)
    assert [one.trusted for one in opened.signers[0].timestamps] == [True]


def test_a_bad_timestamp_is_a_warning_and_takes_nothing_from_the_signature(
    plain: bytes,
    authority: Identity,
    mallory: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    datum = signature_of(plain)
    good = token(tst_info(datum), authority, now)
    twice, _ = signed_data.sign(
        tst_info(datum),
        [authority, mallory],
        detached=False,
        policy=EXCHANGE,
        at=now,
        content_type=oids.TST_INFO,
    )
    unknown = tst_info(datum).replace(ber.oid(oids.SHA256), ber.oid("2.16.840.1.101.3.4.2.99"))
    detached, _ = signed_data.sign(
        tst_info(datum),
        [authority],
        detached=True,
        policy=EXCHANGE,
        at=now,
        content_type=oids.TST_INFO,
    )
    bad = {
        "another signature": token(tst_info(b"else"), authority, now),
        "no TSTInfo": token(tst_info(datum), authority, now, kind=oids.DATA),
        "2 signers": twice,
        "has no content": detached,
        "version is 2": token(tst_info(datum, version=2), authority, now),
        "seconds and Z": token(tst_info(datum, time=b"202611221205Z"), authority, now),
        "not a date": token(tst_info(datum, time=b"20261322120500Z"), authority, now),
        "element too many": token(tst_info(datum, rest=ber.null()), authority, now),
        "not supported": token(unknown, authority, now),
        "refuses sha1": token(tst_info(datum, digest=SHA1), authority, now),
        "changed after signing": good.replace(b"20261122120500", b"20251122120500"),
        "ASN.1 tag": ber.null(),
        "has no": ber.sequence(ber.oid(oids.SIGNED_DATA)),
        "does not name": _unnamed(datum, authority),
    }
    for text, value in bad.items():
        report = report_on(stamped(plain, value))
        assert not any(one.valid for one in the_signer(report).timestamps), text
        assert not any(one.trusted for one in the_signer(report).timestamps), text
        assert codes(report.findings) == ["cms.timestamp.invalid"], text
        assert text in report.findings[0].text
    # SHA-1 is read where the policy reads old mail
    value = bad["refuses sha1"]
    assert timestamp.check(value, datum, policy=ARCHIVE).faults == ()


def _unnamed(datum: bytes, who: Identity) -> bytes:
    """A token that does not say which certificate is the authority's (RFC 3161 2.4.2)."""
    info = tst_info(datum)
    scheme, digest = signed_data.choose_scheme(who.certificate, EXCHANGE)
    signed = [
        attributes.content_type(oids.TST_INFO),
        attributes.message_digest(digest.compute(info)),
    ]
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(3),
            ber.set_of(parameters.write_digest(digest)),
            ber.sequence(ber.oid(oids.TST_INFO), ber.context(0, ber.octet_string(info))),
            ber.tlv(0xA0, who.certificate.der),
            ber.set_of(signed_data.write_signer(who, scheme, digest, signed, "issuer")),
        ],
    )


def test_only_an_authority_for_timestamps_is_believed(
    plain: bytes,
    ca: CA,
    mallory: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
) -> None:
    mail, stamping = oids.EMAIL_PROTECTION, oids.TIME_STAMPING
    elsewhere = CA("Elsewhere", key="p256", at=now)
    below = ca.create_intermediate("Stamps", key="p256", eku=(stamping,), at=now)
    mailing = ca.create_intermediate("Mail", key="p256", eku=(mail,), at=now)

    def issue(by: CA, extensions: list[x509.Extension[x509.ExtensionType]]) -> Identity:
        return by.issue(name="TSA", key="p256", use="sign", extensions=extensions, at=now)

    cases = [
        (issue(below, purposes(stamping)), True),
        (issue(mailing, purposes(stamping)), False),  # may issue for mail only
        (issue(elsewhere, purposes(stamping)), False),
        (issue(ca, purposes(stamping, critical=False)), False),  # RFC 3161 2.3
        (issue(ca, purposes(stamping, mail)), False),
        (mallory, False),  # anybody with a certificate for mail
    ]
    for who, is_trusted in cases:
        value = token(tst_info(signature_of(plain)), who, now)
        report = report_on(stamped(plain, value))
        (found,) = the_signer(report).timestamps
        assert found.valid
        assert found.trusted is is_trusted, who
        assert bool(found.faults) is not is_trusted
        assert report.findings == ()


def test_an_authority_for_timestamps_that_was_revoked_is_not_believed(now: datetime) -> None:
    ca = CA("Test Root", key="p256", at=now)
    signer = ca.issue("alice@contoso.com", key="p256", at=now)
    stamping = purposes(oids.TIME_STAMPING)
    tsa = ca.issue(name="TSA", key="p256", use="sign", extensions=stamping, at=now)
    plain = signed_data.sign(CONTENT, [signer], detached=False, policy=EXCHANGE, at=now)[0]
    raw = stamped(plain, token(tst_info(signature_of(plain)), tsa, now))

    def stamp() -> Timestamp:
        known = Revocation(mode="hard", crls=(ca.crl(at=now),))
        given: dict[str, Any] = {"sender": "alice@contoso.com", "revocation": known, "at": now}
        (found,) = the_signer(examine(raw, trust=ca.trust, **given)).timestamps
        return found

    assert stamp().trusted
    ca.revoke(tsa.certificate, at=now)
    found = stamp()
    assert (found.valid, found.trusted) == (True, False)
    assert "revoked" in found.faults[0]


def test_timestamps_cost_a_bounded_number_of_checks(
    plain: bytes, authority: Identity, now: datetime, report_on: Callable[[bytes], MessageReport]
) -> None:
    value = token(tst_info(signature_of(plain)), authority, now)
    der = plain
    for _ in range(18):
        der = stamped(der, value)
    report = report_on(der)
    assert len(the_signer(report).timestamps) == 16
    assert codes(report.findings) == ["cms.timestamp.invalid"]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    oid=st.sampled_from([oids.COUNTERSIGNATURE, oids.TIMESTAMP_TOKEN]),
    octets=st.binary(max_size=80),
    cut=st.integers(min_value=1, max_value=3000),
)
def test_any_octets_beside_a_signature_take_nothing_from_it(
    plain: bytes,
    authority: Identity,
    bob: Identity,
    now: datetime,
    report_on: Callable[[bytes], MessageReport],
    oid: str,
    octets: bytes,
    cut: int,
) -> None:
    if oid == oids.TIMESTAMP_TOKEN:
        whole = token(tst_info(signature_of(plain)), authority, now)
    else:
        whole = _counter(signature_of(plain), bob)
    position = cut % len(whole)
    spoiled = whole[:position] + octets + whole[position + len(octets) :]
    for value in (ber.sequence(octets), ber.octet_string(octets), ber.sequence(spoiled[4:])):
        report = report_on(add_unsigned(plain, oid, value, certificates=(bob.certificate,)))
        assert the_signer(report).valid
        assert all(one.code.endswith(".invalid") for one in report.findings)


@pytest.mark.skipif(which("openssl") is None, reason="openssl is not installed")
def test_a_token_of_openssl_is_read_and_believed(tmp_path: Path) -> None:
    ca = CA("Today", key="p256")  # openssl stamps by the clock
    trust = TrustStore((ca.certificate,))
    alice = ca.issue("alice@contoso.com", key="p256")
    tsa = ca.issue(name="TSA", key="p256", use="sign", extensions=purposes(oids.TIME_STAMPING))
    now = datetime.now(UTC)
    plain, _ = signed_data.sign(CONTENT, [alice], detached=False, policy=EXCHANGE, at=now)
    key = tsa.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "tsa.key").write_bytes(key)
    (tmp_path / "tsa.crt").write_bytes(tsa.certificate.x509.public_bytes(Encoding.PEM))
    (tmp_path / "datum").write_bytes(signature_of(plain))
    (tmp_path / "serial").write_text("01")
    (tmp_path / "tsa.cnf").write_text(
        "[tsa]\ndefault_tsa=own\n[own]\nserial=serial\ndefault_policy=1.2.3.4\n"
        "digests=sha256\nsigner_digest=sha256\naccuracy=secs:1\n"
    )

    def ts(*arguments: str) -> None:
        subprocess.run(
            ["openssl", "ts", *arguments],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
            check=True,
        )

    ts("-query", "-data", "datum", "-sha256", "-cert", "-out", "query")
    ts(
        *("-reply", "-queryfile", "query", "-config", "tsa.cnf", "-section", "own"),
        *("-signer", "tsa.crt", "-inkey", "tsa.key", "-token_out", "-out", "token"),
    )
    der = stamped(plain, (tmp_path / "token").read_bytes())
    report = examine(der, trust=trust, sender="alice@contoso.com")
    (found,) = the_signer(report).timestamps
    assert (found.valid, found.trusted, found.faults) == (True, True, ())
    assert abs(found.time - now) < timedelta(minutes=5)
    assert report.findings == ()
