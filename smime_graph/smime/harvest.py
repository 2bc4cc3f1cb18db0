"""Whom a message was signed by, as somebody to write to: certificate and capabilities.

What a signature vouches for is taken, and nothing else: the certificates of a message are anybody's
choice, so each but the signer's own has to validate, for encryption and for the signer's address.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice

from ..arguments import checked
from ..asn1 import ber
from ..asn1.ber import Fields
from ..budget import Budget
from ..cms.recipients.kinds import AnyKey
from ..errors import CertificateRejected, MalformedMessage, UsageError
from ..findings import Finding, finding
from ..pki.address import addresses, header_addresses, mailboxes
from ..pki.contacts import Contacts, KnownCertificate
from ..pki.identity import Contact, allows_encryption, is_authority, read_capabilities
from ..pki.outlook import read_contact_certificates
from ..pki.path import SignatureChecks
from ..pki.revocation import Revocation, with_revocation
from ..pki.trust import TrustStore
from ..pki.validate import validate
from ..policy import EXCHANGE, Policy
from ..text import printable
from ..x509.certificate import Certificate
from .examine import examine
from .report import MessageReport, Opened, Signer
from .verification import refusal

# Clocks differ; what claims to be signed later than that is not believed (RFC 8551 2.7.1)
_CLOCK_SKEW = timedelta(hours=1)
_MOST_CANDIDATES = 20  # certificates of a message that may be the one to encrypt to


@checked
def signer_contact(
    report: MessageReport | Opened,
    *,
    trust: TrustStore,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
) -> Contact:
    """The Contact of whoever signed a message that was accepted: to write to, encrypted.

    `report` is the MessageReport of `examine`, or the Opened of `verify` and `unseal`; `trust`, a
    TrustStore, `policy`, a Policy, `at`, a datetime (now), and `revocation`, a Revocation, are
    those that it was judged by.

    Its certificate is the one that the signer prefers (RFC 8551 2.5.3), else the signer's own, else
    another of the same subject in the message; one that is not the signer's own must validate for
    the signer's address. Its capabilities are those that were announced under the signature, None
    where there are none, or where the message claims to be signed in the future. Its `email` is the
    signer's address in From or Sender.

    Raises what `verify` raises where the message was not accepted, and CertificateRejected where
    nobody can encrypt to the signer.
    """
    judged = report.report if isinstance(report, Opened) else report
    moment = datetime.now(UTC) if at is None else at
    signer, email = _accepted(judged)
    chain = _chain_for_encryption(judged, trust, policy, moment, revocation)
    return Contact(chain[0], capabilities=capabilities_of(signer, moment), email=email)


@checked
def harvest(
    raw: bytes,
    *,
    contacts: Contacts,
    trust: TrustStore,
    identities: Sequence[AnyKey] = (),
    sender: str | None = None,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
    origin: str = "signed mail",
) -> Contact:
    """Put the signer of a message into an address book, with what he can read.

    `contacts` is the Contacts. `raw` and `trust`, a TrustStore, `identities`, each an AnyKey,
    `sender`, `policy`, a Policy, `at`, a datetime (now), and `revocation`, a Revocation, are those
    of `examine`; `origin` says in a few words where the message was.

    Only what is accepted is taken, and only for the address that was compared with the message's
    From or Sender. That a signer in the book was found to be revoked is remembered. Returns the
    Contact that was entered; raises what `signer_contact` raises.
    """
    moment = datetime.now(UTC) if at is None else at
    report = examine(
        raw,
        identities=identities,
        trust=trust,
        sender=sender,
        policy=policy,
        at=moment,
        revocation=revocation,
    )
    for one in _revoked(report):
        contacts.revoke(one, at=moment)
    signer, email = _accepted(report)
    assert signer.certificate is not None  # noqa: S101 - it is accepted
    chain = _chain_for_encryption(report, trust, policy, moment, revocation)
    contact = Contact(chain[0], capabilities=capabilities_of(signer, moment), email=email)
    contacts.add(chain, origin=origin, believed=True, emails=[email], at=moment)
    is_own = contact.certificate == signer.certificate
    contacts.announce(
        email,
        signer=signer.certificate,
        signed_at=signer.signing_time,
        capabilities=capabilities_of(signer, moment),
        preferred=contact.certificate if signer.encryption_key_preference or not is_own else None,
        at=moment,
    )
    return contact


@checked
def harvest_outlook(
    value: bytes,
    *,
    emails: Sequence[str],
    contacts: Contacts,
    trust: TrustStore,
    policy: Policy = EXCHANGE,
    at: datetime | None = None,
    revocation: Revocation | None = None,
    origin: str = "Outlook contact",
) -> tuple[tuple[KnownCertificate, ...], tuple[Finding, ...]]:
    """Put the certificates of a value of PidTagUserX509Certificate into an address book.

    `emails` are the addresses of the contact, `contacts` is the Contacts. Nobody signed which
    certificate is whose, so each has to validate under `trust`, a TrustStore, for encryption and
    for one of these addresses, at `at`, a datetime (now), by `policy`, a Policy, and `revocation`,
    a Revocation.

    What was entered, each a KnownCertificate, and a Finding for whatever was not: no octets of a
    value raise anything.
    """
    moment = datetime.now(UTC) if at is None else at
    try:
        found = read_contact_certificates(value)
    except MalformedMessage as error:
        return (), (finding("pki.certificate.malformed", "value", str(error)),)
    sent = (*found.certificates, *found.chain)
    checks = SignatureChecks(budget=Budget(len(value)))
    entered: list[KnownCertificate] = []
    findings: list[Finding] = []
    for one in found.certificates:
        if is_authority(one):
            continue
        own = mailboxes(addresses(one))
        email = next((text for text in emails if mailboxes((text,)) & own), None)
        if email is None:
            text = f"it binds none of {', '.join(emails[:5]) or 'no address'}"
            findings.append(finding("pki.address.mismatch", one.description, printable(text)))
            continue
        judged = validate(
            one,
            use="encrypt",
            trust=trust,
            certificates=sent,
            at=moment,
            minimum_rsa_bits=policy.minimum_rsa_bits,
            accept_any_purpose=policy.accept_any_purpose,
            checks=checks,
        )
        if judged.ok and revocation is not None:
            judged = with_revocation(judged, revocation, at=moment, certificates=sent)
        if not judged.ok:
            findings += judged.errors[:3]
            continue
        entered += contacts.add(
            judged.chain, origin=origin, believed=True, emails=[email], at=moment
        )
    if found.signed is not None and entered:
        emails = sorted({one.email for one in entered})
        _announce_outlook(found.signed, emails, contacts, trust, policy, moment, revocation)
    return tuple(entered), tuple(findings)


def _announce_outlook(
    signed: bytes,
    emails: Iterable[str],
    contacts: Contacts,
    trust: TrustStore,
    policy: Policy,
    at: datetime,
    revocation: Revocation | None,
) -> None:
    """What somebody says of himself in a SignedData that he signed, whatever else is in it."""
    for email in emails:
        report = examine(
            signed, trust=trust, sender=email, policy=policy, at=at, revocation=revocation
        )
        for one in report.signers:
            if one.trusted and one.matches and one.certificate is not None:
                contacts.announce(
                    email,
                    signer=one.certificate,
                    signed_at=one.signing_time,
                    capabilities=capabilities_of(one, at),
                    at=at,
                )


def capabilities_of(signer: Signer, at: datetime) -> tuple[bytes, ...] | None:
    """What the signer announced, as SMIMECapability elements; None where it is not to be used.

    RFC 8551 2.7.1: not from a signature that does not verify, or that claims to be made later.
    """
    if not (signer.intact and signer.valid) or signer.capabilities is None:
        return None
    if signer.signing_time is not None and signer.signing_time > at + _CLOCK_SKEW:
        return None
    try:
        return read_capabilities(signer.capabilities)
    except MalformedMessage:
        return None


def _revoked(report: MessageReport) -> list[Certificate]:
    """The certificates with which good signatures were made that are revoked now."""
    scopes = {one.scope for one in report.findings if one.code == "pki.revocation.revoked"}
    return [
        one.certificate
        for one in report.signers
        if one.certificate is not None and one.intact and one.valid and one.where in scopes
    ]


def _accepted(report: MessageReport) -> tuple[Signer, str]:
    """The accepted signer, and its address that the message is from."""
    signer = next((one for one in report.signers if one.accepted), None)
    if not report.accepted or signer is None:
        if not report.accepted:
            raise refusal(report)
        raise CertificateRejected("nobody signed the message", report)
    compared = mailboxes(header_addresses(signer.compared or ""))
    email = next((one for one in signer.emails if mailboxes((one,)) & compared), None)
    if email is None:
        raise CertificateRejected(
            "the signer was compared with no address, so nobody can say whose certificate it is",
            report,
            hint="give the address that the signer must have: sender=",
        )
    return signer, email


def _chain_for_encryption(
    report: MessageReport,
    trust: TrustStore,
    policy: Policy,
    at: datetime,
    revocation: Revocation | None,
) -> tuple[Certificate, ...]:
    """The certificate to encrypt to the signer with, and its issuers; CertificateRejected where
    there is none.
    """
    signer, email = _accepted(report)
    own = signer.certificate
    assert own is not None  # noqa: S101 - he is accepted
    layer = next(one for one in report.whole if one.path == signer.layer)
    sent = tuple(dict.fromkeys((own, *layer.certificates)))
    preference = signer.encryption_key_preference
    preferred = [one for one in sent if preference is not None and prefers(preference, one)]
    alike = [one for one in sent if one.subject == own.subject and one not in (own, *preferred)]
    # the budget of the message was spent on judging it: this is one more round over what came along
    checks = SignatureChecks(budget=Budget(sum(len(one.der) for one in sent)))
    for one in islice((*preferred, own, *reversed(alike)), _MOST_CANDIDATES):
        if not _is_readable(one):
            continue
        judged = validate(
            one,
            use="encrypt",
            trust=trust,
            certificates=sent,
            at=at,
            address=email,
            minimum_rsa_bits=policy.minimum_rsa_bits,
            accept_any_purpose=policy.accept_any_purpose,
            checks=checks,
        )
        if judged.ok and one != own and revocation is not None:
            judged = with_revocation(judged, revocation, at=at, certificates=sent)
        if judged.ok and (one == own or not judged.has("pki.address.none")):
            return judged.chain or (one,)
    raise CertificateRejected(
        f"the message has no certificate of {printable(email)} that others can encrypt to",
        report,
        hint="ask for a certificate that is for encryption",
    )


def _is_readable(certificate: Certificate) -> bool:
    try:
        return allows_encryption(certificate)
    except MalformedMessage:
        return False


def prefers(preference: bytes, certificate: Certificate) -> bool:
    """Whether an SMIMEEncryptionKeyPreference names a certificate; False for what cannot be read.

    CHOICE { [0] IssuerAndSerialNumber, [1] RecipientKeyIdentifier, [2] SubjectKeyIdentifier }, with
    implicit tags (RFC 8551 2.5.3).
    """
    try:
        node = ber.read(preference, "SMIMEEncryptionKeyPreference", tag=preference[0])
        if node.tag == 0x82:
            return bytes(node.contents) == certificate.subject_key_identifier
        fields = Fields(node, "SMIMEEncryptionKeyPreference")
        if node.tag == 0xA1:
            named = fields.take(ber.OCTET_STRING, "subjectKeyIdentifier").contents
            return bytes(named) == certificate.subject_key_identifier
        if node.tag != 0xA0:
            return False
        issuer = bytes(fields.take(ber.SEQUENCE, "issuer").raw)
        serial = fields.take(ber.INTEGER, "serialNumber").contents
        return certificate.is_named(issuer, int.from_bytes(serial, "big", signed=True))
    except (MalformedMessage, IndexError, UsageError):
        return False
