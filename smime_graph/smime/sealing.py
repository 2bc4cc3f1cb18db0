"""Encrypt and seal: MIME around what is encrypted, and signed before (RFC 8551 section 3).

Apart from `wrap`, so that who signs alone loads nothing that encrypts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email.message import Message
from pathlib import Path
from typing import Literal

from ..arguments import checked
from ..buffers import B, Readable, Rope, Writable
from ..cms import compressed_data, enveloped_data
from ..cms.keys import SigningKey
from ..cms.labels import SecurityLabel
from ..cms.receipt_request import ReceiptRequest
from ..cms.recipients.kinds import AnyRecipient, choose_cipher
from ..cms.recipients.recipient_info import RecipientIdentifierForm
from ..cms.signed_data import SignerIdentifier
from ..errors import UsageError
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..policy import EXCHANGE, Policy
from ..x509.certificate import Certificate
from .bcc import SealedCopy, split
from .header_confidentiality import (
    POLICIES,
    HeaderConfidentiality,
    HeaderConfidentialityName,
)
from .outgoing import Outgoing
from .wrap import (
    AUTH_ENVELOPED,
    COMPRESSED,
    ENVELOPED,
    as_list,
    delivered,
    pkcs7_mime,
    signed_entity,
)


@checked
def encrypt(
    message: bytes | Message | Path | Readable,
    *,
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    revocation: Revocation | None = None,
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
    every recipient's certificate must validate at `at`, a datetime with a time zone (now), and with
    `revocation`, a Revocation, must not be revoked. `policy` is a Policy: which ciphers are used,
    in order of preference. `rid` says how a recipient's certificate is named: by issuer and serial
    number, or by its subjectKeyIdentifier.

    Whoever receives the message sees in it whose certificates it was encrypted to, those in Bcc
    among them: the logger "smime_graph" warns of that. `seal_copies` makes a message of their own.
    `header_confidentiality`, a HeaderConfidentialityName or a HeaderConfidentiality, is as for
    `seal`; where nothing is hidden no field is copied inside.

    Raises PolicyRefusal for a To, Cc or Bcc address without a certificate, an unfit certificate, or
    no cipher that all can read.
    """
    outgoing = Outgoing.of(message, policy, at)
    outgoing.check_recipients(recipients, trust, revocation)
    if (hcp := _confidentiality(header_confidentiality, policy)) is not None:
        outgoing.protect("cipher", hcp)
    encrypted = encrypted_entity(outgoing.entity(clear=False), recipients, policy, rid)
    return delivered(outgoing.assemble(encrypted), out)


@checked
def seal(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    revocation: Revocation | None = None,
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
    `trust`: a TrustStore; where it is given, every recipient's certificate must validate, and with
    `revocation`, a Revocation, must not be revoked.
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
    signers = as_list(signer)
    outgoing.check_signers(signers)
    everyone = with_signers(recipients, signers, policy)
    outgoing.check_recipients(everyone, trust, revocation)
    hcp = _confidentiality(header_confidentiality, policy)
    how = _Sealing(signers, policy, sid, rid, receipt_request, label, hcp)
    return delivered(how.seal(outgoing, everyone), out)


@checked
def seal_copies(
    message: bytes | Message | Path | Readable,
    *,
    signer: SigningKey | Sequence[SigningKey],
    recipients: Sequence[AnyRecipient],
    trust: TrustStore | None = None,
    revocation: Revocation | None = None,
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
    `trust` (a TrustStore), `revocation` (a Revocation), `policy` (a Policy), `at` (a datetime),
    `sid`, `rid`, `receipt_request` (a ReceiptRequest), `label` (a SecurityLabel),
    `header_confidentiality` (a HeaderConfidentialityName or a HeaderConfidentiality) and the errors
    are those of `seal`.
    PolicyRefusal as well for a certificate of nobody in the header.
    """
    outgoing = Outgoing.of(message, policy, at)
    signers = as_list(signer)
    outgoing.check_signers(signers)
    everyone = with_signers(recipients, signers, policy)
    outgoing.check_recipients(everyone, trust, revocation, is_split=True)
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


def encrypted_entity(
    entity: B,
    everyone: Sequence[AnyRecipient],
    policy: Policy,
    rid: RecipientIdentifierForm,
) -> B:
    cipher = choose_cipher(everyone, policy)
    der = enveloped_data.encrypt(entity, everyone, cipher=cipher, policy=policy, rid=rid)
    return pkcs7_mime(AUTH_ENVELOPED if cipher.aead else ENVELOPED, der)
