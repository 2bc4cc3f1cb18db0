"""A person's certificate among the anchors is that person's, and makes nobody else's."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from cryptography import x509

from smime_graph import encrypt, examine, oids, seal, sign, unseal, verify
from smime_graph.algorithms import SHA256
from smime_graph.asn1 import ber
from smime_graph.authority.issue import CA
from smime_graph.cms import parameters, signed_data
from smime_graph.errors import CertificateRejected, PolicyRefusal
from smime_graph.findings import codes
from smime_graph.harness.forgeries.craft import add_unsigned, countersign
from smime_graph.pki.identity import Contact, Identity
from smime_graph.pki.trust import TrustStore
from smime_graph.policy import EXCHANGE


@pytest.fixture(scope="module")
def pinned(ca: CA, now: datetime) -> Identity:
    """Mallory, whom we believe to be Mallory."""
    return ca.issue("mallory@contoso.com", key="p256", at=now)


@pytest.fixture(scope="module")
def by_mallory(pinned: Identity, now: datetime) -> CA:
    return CA.from_key(pinned.private_key, pinned.certificate, at=now)


@pytest.fixture(scope="module")
def false_alice(by_mallory: CA) -> Identity:
    issued = by_mallory.issue("alice@contoso.com", key="p256")
    return replace(issued, chain=(by_mallory.certificate,))


@pytest.fixture(scope="module")
def believed(pinned: Identity, ca: CA) -> TrustStore:
    return TrustStore((pinned.certificate, ca.certificate))


def test_whom_a_pinned_person_certifies_cannot_sign(
    pinned: Identity, false_alice: Identity, believed: TrustStore, message: bytes, now: datetime
) -> None:
    raw = sign(message, signer=false_alice, at=now)
    for read in (verify, unseal):
        with pytest.raises(CertificateRejected, match="no authority"):
            read(raw, trust=believed, at=now)
    report = examine(raw, trust=believed, at=now)
    assert codes(report.errors) == ["pki.path.invalid"]
    own = message.replace(b"alice@", b"mallory@")
    assert verify(sign(own, signer=pinned, at=now), trust=believed, at=now).signer.trusted


def test_a_pinned_person_is_held_to_the_address_all_the_same(
    pinned: Identity, believed: TrustStore, message: bytes, now: datetime
) -> None:
    signed = sign(message, signer=pinned, policy=EXCHANGE.but("t", sender_must_match=False), at=now)
    report = examine(signed, trust=believed, at=now)
    assert codes(report.errors) == ["pki.address.mismatch"]


def test_nothing_is_encrypted_to_whom_a_pinned_person_certifies(
    alice: Identity, by_mallory: CA, believed: TrustStore, message: bytes, now: datetime
) -> None:
    false_bob = Contact(by_mallory.issue("bob@contoso.com", key="p256").certificate)
    with pytest.raises(PolicyRefusal, match="no authority"):
        encrypt(message, recipients=[false_bob], trust=believed, at=now)
    with pytest.raises(PolicyRefusal, match="no authority"):
        seal(message, signer=alice, recipients=[false_bob], trust=believed, at=now)


def test_nor_do_they_countersign_or_stamp(
    alice: Identity,
    by_mallory: CA,
    false_alice: Identity,
    believed: TrustStore,
    message: bytes,
    now: datetime,
) -> None:
    content = b"Content-Type: text/plain\r\n\r\nhello\r\n"
    der, _ = signed_data.sign(content, [alice], detached=False, policy=EXCHANGE, at=now)
    der = countersign(der, signer=false_alice, policy=EXCHANGE, at=now)
    stamping = x509.ExtendedKeyUsage([x509.ObjectIdentifier(oids.TIME_STAMPING)])
    authority = by_mallory.issue(
        name="TSA",
        key="p256",
        use="sign",
        extensions=[x509.Extension(stamping.oid, True, stamping)],
    )
    signature = signed_data.read(der).signers[0].signature
    info = ber.sequence(
        ber.integer(1),
        ber.oid("1.2.3.4"),
        ber.sequence(parameters.write_digest(SHA256), ber.octet_string(SHA256.compute(signature))),
        ber.integer(1),
        ber.tlv(ber.GENERALIZED_TIME, b"20261122120500Z"),
    )
    token, _ = signed_data.sign(
        info, [authority], detached=False, policy=EXCHANGE, at=now, content_type=oids.TST_INFO
    )
    report = examine(
        add_unsigned(der, oids.TIMESTAMP_TOKEN, token),
        trust=believed,
        sender="alice@contoso.com",
        at=now,
    )
    assert report.accepted
    (signer,) = report.signers
    assert [(one.valid, one.trusted) for one in signer.countersigners] == [(True, False)]
    assert [(one.valid, one.trusted) for one in signer.timestamps] == [(True, False)]
    judged: list[Any] = [*signer.countersigners, *signer.timestamps]
    for one in judged:
        assert "no authority" in "; ".join(one.faults)
