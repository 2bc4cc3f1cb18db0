"""Whole messages: what `sign` and `seal` make, judged by another implementation's mail reader."""

from __future__ import annotations

from email import message_from_bytes, policy

import pytest

from smime_graph import decrypt, seal, sign, unseal, verify
from smime_graph.errors import SignatureInvalid, VerificationFailed
from smime_graph.harness.peers.drive import Refused, checked, run
from smime_graph.pki.identity import Contact
from smime_graph.policy import RFC_8551

from .cases import ENCRYPTION, SIGNING
from .conftest import flipped
from .peers.bouncycastle import BouncyCastle
from .peers.openssl import OpenSsl
from .peers.peer import Peer
from .people import People, Person

pytestmark = pytest.mark.slow

SIGNERS = ("rsa-2048", "p256", "p384", "ed25519", "ed448")
READERS = ("rsa-2048", "p256", "p521")


def message(sender: Person, reader: Person) -> bytes:
    return (
        f"From: {sender.email}\r\nTo: {reader.email}\r\nSubject: Figures\r\n"
        "Content-Type: text/plain; charset=utf-8\r\n\r\nK\u00f6ln: 3\r\nFrom here on\r\n"
    ).encode()


def text(raw: bytes) -> str:
    body = message_from_bytes(raw, policy=policy.default).get_body()
    assert body is not None
    content: str = body.get_content()
    return content


def castle_of(peer: Peer) -> BouncyCastle:
    assert isinstance(peer, BouncyCastle)
    return peer


@pytest.mark.parametrize("detached", [True, False], ids=["clear", "opaque"])
@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize("peer", ["bouncycastle"], indirect=True)
def test_the_mail_validator_of_bouncy_castle_accepts_what_we_sign(
    peer: Peer, kind: str, detached: bool, people: People
) -> None:
    castle, signer = castle_of(peer), people.of(kind)
    root = people.ca.certificate.der
    signed = sign(
        message(signer, people.of("p256")),
        signer=signer.identity,
        detached=detached,
        at=people.now,
    )
    said = castle.validate_mail(signed, root)
    assert said[0] == "signer verified valid"
    assert not [line for line in said if line.startswith("error")]
    forged = signed.replace(f"From: {signer.email}".encode(), b"From: eve@contoso.com", 1)
    assert "error SignedMailValidator.emailFromCertMismatch" in castle.validate_mail(forged, root)
    if detached:
        changed = flipped(signed, b"here on")
        assert castle.validate_mail(changed, root)[0] == "signer unverified invalid"


@pytest.mark.parametrize("cipher", ["aes256-cbc", "aes256-gcm"])
@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("peer", ["bouncycastle"], indirect=True)
def test_what_we_seal_is_opened_and_validated_by_bouncy_castle(
    peer: Peer, kind: str, cipher: str, people: People
) -> None:
    castle, signer, reader = castle_of(peer), people.of("p384"), people.of(kind)
    raw = message(signer, reader)
    sealed = seal(
        raw,
        signer=signer.identity,
        recipients=[Contact(reader.certificate)],
        policy=RFC_8551.but("interop", ciphers=(cipher,)),
        at=people.now,
    )
    inner = castle.open_mail(sealed, reader)
    header = f"From: {signer.email}\r\nMIME-Version: 1.0\r\n".encode()
    said = castle.validate_mail(header + inner, people.ca.certificate.der)
    assert said[0] == "signer verified valid"
    assert not [line for line in said if line.startswith("error")]
    opened = unseal(sealed, identities=[reader.identity], trust=people.trust, at=people.now)
    assert opened.content in inner
    with pytest.raises(Refused):
        castle.open_mail(sealed, people.of("p256" if kind != "p256" else "rsa-2048"))


@pytest.mark.parametrize("kind", SIGNERS)
@pytest.mark.parametrize("peer", ["bouncycastle"], indirect=True)
def test_what_bouncy_castle_seals_as_mail_is_unsealed(
    peer: Peer, kind: str, people: People
) -> None:
    castle, signer, reader = castle_of(peer), people.of(kind), people.of("p256")
    signing = next(case for case in SIGNING if case.keys == (kind,))
    encryption = next(case for case in ENCRYPTION if case.reader == "p256")
    sealed = castle.seal_mail("K\u00f6ln: 3\n", signing, signer, encryption, reader)
    opened = unseal(sealed, identities=[reader.identity], trust=people.trust, at=people.now)
    assert opened.signer is not None
    assert opened.signer.email == signer.email
    assert [layer.type for layer in opened.layers] == ["enveloped-data", "signed-data"]
    assert text(opened.raw).splitlines() == ["K\u00f6ln: 3"]
    forged = sealed.replace(signer.email.encode(), b"eve@contoso.com", 1)
    with pytest.raises(VerificationFailed):
        unseal(forged, identities=[reader.identity], trust=people.trust, at=people.now)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("peer", ["openssl"], indirect=True)
def test_what_openssl_signs_and_encrypts_as_mail_is_unsealed(
    peer: Peer, kind: str, people: People
) -> None:
    assert isinstance(peer, OpenSsl)
    signer, reader, folder = people.of("p256"), people.of(kind), peer.folder
    signed = checked(
        run(
            *("openssl", "cms", "-sign", "-md", "sha256", "-signer", signer.certificate_file),
            *("-inkey", signer.key_file),
            folder=folder,
            stdin=b"Content-Type: text/plain\r\n\r\nthe figures\r\n",
        )
    )
    encrypted = checked(
        run(
            *("openssl", "cms", "-encrypt", "-aes-256-gcm", "-from", signer.email),
            *("-to", reader.email, "-subject", "Figures", "-recip", reader.certificate_file),
            folder=folder,
            stdin=signed,
        )
    )
    opened = unseal(encrypted, identities=[reader.identity], trust=people.trust, at=people.now)
    assert opened.signer is not None
    assert opened.signer.email == signer.email
    assert text(opened.raw) == "the figures\r\n"
    entity = decrypt(encrypted, identities=[reader.identity]).content
    outer = f"From: {signer.email}\r\n".encode()
    assert verify(outer + entity, trust=people.trust, at=people.now).signer is not None
    with pytest.raises(SignatureInvalid):
        verify(outer + flipped(entity, b"the figures"), trust=people.trust, at=people.now)
    with pytest.raises(VerificationFailed):
        verify(b"From: eve@contoso.com\r\n" + entity, trust=people.trust, at=people.now)
