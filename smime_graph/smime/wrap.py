"""Sign, encrypt, seal: MIME around the CMS that is made (RFC 8551 section 3).

A message is taken apart once: its MIME fields (Content-*) go inside with the body, all others stay
outside as they are. What goes inside is made canonical, signed, and from then on carried as bytes.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import Literal, cast

from ..arguments import checked
from ..buffers import B, Octets, Readable, Rope, Writable, chunks, joined, write_to
from ..cms import compressed_data, enveloped_data, signed_data
from ..cms.ess import ReceiptRequest
from ..cms.keys import SigningKey
from ..cms.labels import SecurityLabel
from ..cms.recipients import kinds as cms_recipients
from ..cms.recipients.kinds import AnyRecipient
from ..cms.recipients.recipient_info import RecipientIdentifierForm
from ..cms.signed_data import SignerIdentifier
from ..errors import UsageError
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..x509.certificate import Certificate
from .bcc import SealedCopy, split
from .canonical import encode_base64
from .header_confidentiality import (
    POLICIES,
    HeaderConfidentiality,
    HeaderConfidentialityName,
)
from .outgoing import Outgoing

ENVELOPED = "enveloped-data"
AUTH_ENVELOPED = "authEnveloped-data"  # RFC 8551 3.2.2 spells it so
SIGNED = "signed-data"
SIGNED_RECEIPT = "signed-receipt"  # RFC 2634 2.4
COMPRESSED = "compressed-data"
CERTS_ONLY = "certs-only"
_FILENAMES = {CERTS_ONLY: "smime.p7c", COMPRESSED: "smime.p7z"}  # RFC 8551 3.2.1


@checked
def sign(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    detached: bool = True,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    receipt_request: ReceiptRequest | None = None,
    label: SecurityLabel | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message, signed: multipart/signed, or opaque application/pkcs7-mime if not `detached`.

    `message` is a whole RFC 5322 message with a From, as bytes or an `email` Message (EmailMessage
    is one), or a file with it: a Path, or one open for reading in binary, a Readable. A large file
    is read where it is, in as little memory as a small one, and must stay as it is meanwhile: where
    it is cut off the system ends the process (SIGBUS), before anything is at the destination.
    Message-ID and Date are added if missing. With `out`, a Path or a Writable, the result is
    written there, to a path whole or not at all, and what is returned is its header. `signer` is a
    SigningKey: an Identity, or what has `private_key`, `certificate` and `chain` as it has. With
    several all sign the same content, and one of them is the From or Sender. `policy` is a Policy:
    which algorithms are used (EXCHANGE, RFC_8551, POST_QUANTUM, or one of your own). `at` is the
    signing time, a datetime with a time zone (now). `sid` says how a signer's certificate is named:
    by issuer and serial number, or by its subjectKeyIdentifier. `receipt_request`, a
    ReceiptRequest, asks the recipients for signed receipts, which need the message as it was sent
    to be checked (`verify_receipt`): keep it. `label`, a SecurityLabel, is signed with the content,
    by every signer. Unless the policy's `header_protection` is off, the header fields are signed,
    too (RFC 9788): all but Bcc and the traces of transport.

    Raises MalformedMessage for what is no message, PolicyRefusal for an unfit certificate or a From
    that is nobody's, UnsupportedAlgorithm for a key that cannot sign, UsageError for a request or a
    label that cannot be written, and for a file that cannot be read or written.
    """
    outgoing = Outgoing.of(message, policy, at)
    signers = _as_list(signer)
    outgoing.check_signers(signers)
    further = outgoing.services(receipt_request, label)
    if policy.header_protection:
        outgoing.protect("clear")
    entity = outgoing.entity(clear=detached)
    signed = signed_entity(entity, signers, outgoing, detached=detached, sid=sid, further=further)
    return _delivered(outgoing.assemble(signed), out)


@checked
def encrypt(
    message: bytes | Message | Path | Readable,
    *,
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    rid: Literal["issuer", "ski"] = "issuer",
    header_confidentiality: HeaderConfidentialityName | HeaderConfidentiality | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message, encrypted to every recipient: application/pkcs7-mime.

    Without a signature the recipient cannot tell who wrote it, and under AES-CBC not even that it
    is unchanged: `seal` is what mail needs. `message`, bytes, an `email` Message, a Path or a
    Readable, and `out`, a Path or a Writable, are as for `sign`. `recipients` is a list of
    AnyRecipient: a Contact for each address in To, Cc and Bcc (or what has `certificate`,
    `capabilities` and `email` as it has), a Password, a SharedKey. With `trust`, a TrustStore,
    every recipient's certificate must validate at `at`, a datetime with a time zone (now). `policy`
    is a Policy: which ciphers are used, in order of preference. `rid` says how a recipient's
    certificate is named: by issuer and serial number, or by its subjectKeyIdentifier.

    Whoever receives the message sees in it whose certificates it was encrypted to, those in Bcc
    among them: the logger "smime_graph" warns of that. `seal_copies` makes a message of their own.
    `header_confidentiality`, a HeaderConfidentialityName or a HeaderConfidentiality, is as for
    `seal`; where nothing is hidden no field is copied inside.

    Raises PolicyRefusal for a To, Cc or Bcc address without a certificate, an unfit certificate, or
    no cipher that all can read.
    """
    outgoing = Outgoing.of(message, policy, at)
    outgoing.check_recipients(recipients, trust)
    if (hcp := _confidentiality(header_confidentiality, policy)) is not None:
        outgoing.protect("cipher", hcp)
    encrypted = encrypted_entity(outgoing.entity(clear=False), recipients, policy, rid)
    return _delivered(outgoing.assemble(encrypted), out)


@checked
def seal(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    rid: Literal["issuer", "ski"] = "issuer",
    receipt_request: ReceiptRequest | None = None,
    label: SecurityLabel | None = None,
    header_confidentiality: HeaderConfidentialityName | HeaderConfidentiality | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message, signed, then encrypted to its recipients and to the signer's own certificate.

    `message`: a whole RFC 5322 message: bytes, an `email` Message, a Path or a Readable.
    `out`: a Path or a Writable, where the result goes; what is returned is then its header.
    `signer`: a SigningKey, which an Identity is, or several. `recipients`: a list of AnyRecipient:
    a Contact for each address in To, Cc and Bcc, a Password, a SharedKey.
    `trust`: a TrustStore; where it is given, every recipient's certificate must validate.
    `policy`: a Policy (EXCHANGE, RFC_8551, POST_QUANTUM, or one of your own), which says what is
    used, whether the signer must be the From, and whether the signer can read what was sent.
    `at`: the signing time, a datetime with a time zone (now).
    `sid`, `rid`: how certificates of signers and of recipients are named, by issuer and serial
    number or by subjectKeyIdentifier.
    `receipt_request`: a ReceiptRequest, for signed receipts. `label`: a SecurityLabel.
    `header_confidentiality`: what of the header is hidden outside (RFC 9788 3), by default what the
    policy says: a HeaderConfidentialityName, "none", "baseline" (the Subject becomes "[...]") or
    "shy" (names beside addresses and the time zone as well), or a HeaderConfidentiality. A text
    that is the message then begins with what was hidden, for those whose program does not read it
    inside, if that text is below 1 MB.

    More of each, and the errors, stand at `sign` and `encrypt`.
    """
    outgoing = Outgoing.of(message, policy, at)
    signers = _as_list(signer)
    outgoing.check_signers(signers)
    everyone = with_signers(recipients, signers, policy)
    outgoing.check_recipients(everyone, trust)
    hcp = _confidentiality(header_confidentiality, policy)
    how = _Sealing(signers, policy, sid, rid, receipt_request, label, hcp)
    return _delivered(how.seal(outgoing, everyone), out)


@checked
def seal_copies(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    sid: Literal["issuer", "ski"] = "issuer",
    rid: Literal["issuer", "ski"] = "issuer",
    receipt_request: ReceiptRequest | None = None,
    label: SecurityLabel | None = None,
    header_confidentiality: HeaderConfidentialityName | HeaderConfidentiality | None = None,
) -> tuple[SealedCopy, ...]:
    """As `seal`, with a message of its own for each person in Bcc (RFC 9787 9.4.1).

    First is the one for To and Cc, if they name anybody, then one for each address that is in Bcc
    alone, in its order. That has a Message-ID of its own, and outside names that person alone; To
    and Cc as they are stand inside. No copy has the certificate of anybody else in Bcc: each of
    `recipients`, a list of AnyRecipient, must belong to an address of the header; a Password or a
    SharedKey opens all copies, as the signer can. Each copy is a SealedCopy: send them one by one.

    `message` (bytes, an `email` Message, a Path, a Readable), `signer` (a SigningKey, or several),
    `trust` (a TrustStore), `policy` (a Policy), `at` (a datetime), `sid`, `rid`, `receipt_request`
    (a ReceiptRequest), `label` (a SecurityLabel), `header_confidentiality` (a
    HeaderConfidentialityName or a HeaderConfidentiality) and the errors are those of `seal`.
    PolicyRefusal as well for a certificate of nobody in the header.
    """
    outgoing = Outgoing.of(message, policy, at)
    signers = _as_list(signer)
    outgoing.check_signers(signers)
    outgoing.check_recipients(with_signers(recipients, signers, policy), trust, is_split=True)
    hcp = _confidentiality(header_confidentiality, policy)
    how = _Sealing(signers, policy, sid, rid, receipt_request, label, hcp)
    return tuple(
        SealedCopy(
            bytes(how.seal(one.outgoing, with_signers(one.recipients, signers, policy))),
            recipients=one.addresses,
            is_bcc=one.is_bcc,
        )
        for one in split(outgoing, recipients)
    )


@dataclass(frozen=True, slots=True)
class _Sealing:
    """How a message is sealed, whichever copy of it that is."""

    signers: Sequence[SigningKey]
    policy: Policy
    sid: SignerIdentifier
    rid: RecipientIdentifierForm
    receipt_request: ReceiptRequest | None
    label: SecurityLabel | None
    confidentiality: HeaderConfidentiality | None

    def seal(self, outgoing: Outgoing, everyone: Sequence[AnyRecipient]) -> bytes | Rope:
        further = outgoing.services(self.receipt_request, self.label)
        if self.policy.header_protection:
            outgoing.protect("cipher", self.confidentiality)
        entity = outgoing.entity(clear=False)
        signed = signed_entity(entity, self.signers, outgoing, sid=self.sid, further=further)
        if self.policy.compress:
            signed = pkcs7_mime(COMPRESSED, compressed_data.compress(signed))
        return outgoing.assemble(encrypted_entity(signed, everyone, self.policy, self.rid))


@checked
def compress(
    message: bytes | Message | Path | Readable,
    *,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    out: Path | Writable | None = None,
) -> bytes:
    """The message as compressed-data: smaller, and protected by nothing (RFC 8551 3.6).

    `message`, bytes, an `email` Message, a Path or a Readable, and `out`, a Path or a Writable, are
    as for `sign`. `policy`, a Policy, may say that
    nothing is sent; `at`, a datetime, is the Date where the message has none.
    """
    outgoing = Outgoing.of(message, policy, at)
    der = compressed_data.compress(outgoing.entity(clear=False))
    return _delivered(outgoing.assemble(pkcs7_mime(COMPRESSED, der)), out)


def _confidentiality(
    given: str | HeaderConfidentiality | None, policy: Policy
) -> HeaderConfidentiality | None:
    """What hides header fields; None where they all stand outside as they are."""
    chosen = policy.header_confidentiality if given is None else given
    if chosen == "none":
        return None
    if not policy.header_protection:
        raise UsageError(
            f"policy {policy.name} protects no header fields, so none can be hidden",
            hint="leave header protection on",
        )
    return POLICIES[chosen] if isinstance(chosen, str) else chosen


def _delivered(made: bytes | Rope, out: Path | Writable | None) -> bytes:
    """The message as bytes; where it goes to `out`, its header."""
    if out is None:
        return made if isinstance(made, bytes) else bytes(made)
    write_to(out, made)
    start = b""
    for chunk in chunks(made):
        start += chunk
        if b"\r\n\r\n" in start:
            break
    return start[: start.index(b"\r\n\r\n") + 4]


@checked
def certs_only(certificates: Sequence[Certificate]) -> bytes:
    """A MIME entity that carries certificates and is signed by nobody (RFC 8551 3.8).

    `certificates` is a list of Certificate (`Identity.certificate`, `Contact.certificate`).
    """
    if not certificates:
        raise UsageError("no certificate to carry", hint="give at least one")
    return pkcs7_mime(CERTS_ONLY, signed_data.carry(certificates))


def _as_list(signer: SigningKey | Sequence[SigningKey]) -> list[SigningKey]:
    signers = list(signer) if isinstance(signer, Sequence) else [signer]
    if not signers:
        raise UsageError("nobody to sign with", hint="give at least one signer")
    return signers


def with_signers(
    recipients: Sequence[AnyRecipient], signers: Sequence[SigningKey], policy: Policy
) -> list[AnyRecipient]:
    """The recipients, and those who sign, so that they can read what they sent."""
    everyone: list[AnyRecipient] = list(recipients)
    if everyone and policy.encrypt_to_self:
        everyone += [_Self(own) for s in signers if (own := s.encryption_certificate) is not None]
    return everyone


@dataclass(frozen=True, slots=True)
class _Self:
    certificate: Certificate
    capabilities: None = None
    email: None = None


def signed_entity(
    entity: B,
    signers: Sequence[SigningKey],
    outgoing: Outgoing,
    *,
    detached: bool = True,
    sid: SignerIdentifier = "issuer",
    further: Sequence[bytes] = (),
) -> B:
    der, digests = signed_data.sign(
        entity,
        signers,
        detached=detached,
        policy=outgoing.policy,
        at=outgoing.at,
        sid=sid,
        further=further,
    )
    if not detached:
        return pkcs7_mime(SIGNED, der)
    micalg = ",".join(dict.fromkeys(digest.micalg for digest in digests))
    # of 128 random bits, made after the entity: nothing in it has them
    boundary = f"----{os.urandom(16).hex()}"
    quoted = f'"{micalg}"' if "," in micalg else micalg
    parts: list[Octets] = [
        'Content-Type: multipart/signed; protocol="application/pkcs7-signature";\r\n'
        f' micalg={quoted}; boundary="{boundary}"\r\n\r\n--{boundary}\r\n'.encode(),
        entity,
        f"\r\n--{boundary}\r\n"
        'Content-Type: application/pkcs7-signature; name="smime.p7s"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        'Content-Disposition: attachment; filename="smime.p7s"\r\n\r\n'.encode(),
        encode_base64(der),
        f"\r\n--{boundary}--\r\n".encode(),
    ]
    return cast("B", joined(parts))


def encrypted_entity(
    entity: B,
    everyone: Sequence[AnyRecipient],
    policy: Policy,
    rid: RecipientIdentifierForm,
) -> B:
    cipher = cms_recipients.choose_cipher(everyone, policy)
    der = enveloped_data.encrypt(entity, everyone, cipher=cipher, policy=policy, rid=rid)
    return pkcs7_mime(AUTH_ENVELOPED if cipher.aead else ENVELOPED, der)


def pkcs7_mime(smime_type: str, der: B) -> B:
    """An application/pkcs7-mime entity (RFC 8551 3.2)."""
    name = _FILENAMES.get(smime_type, "smime.p7m")
    header = (
        f'Content-Type: application/pkcs7-mime; smime-type={smime_type}; name="{name}"\r\n'
        "Content-Transfer-Encoding: base64\r\n"
        f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
    )
    return cast("B", joined([header.encode(), encode_base64(der)]))
