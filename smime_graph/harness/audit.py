"""A store of certificates, looked through: who can be encrypted to, until when, what is to be done.

What each of several certificates of an address is worth says `Contacts.find`; beside it stands what
Outlook would take, which is not the same: it takes one that has expired, and cannot use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from ..arguments import checked
from ..errors import MalformedMessage, UsageError
from ..pki.address import Mailbox, mailbox
from ..pki.contacts import ContactChoice, Contacts, KnownCertificate
from ..pki.identity import allows_encryption
from ..pki.revocation import Revocation
from ..pki.trust import TrustStore
from ..pki.usage import require_aware
from ..smime.report import certificate_json, time_text
from ..x509.certificate import Certificate

__all__ = ["AddressAudit", "AuditState", "OutlookChoice", "StoreAudit", "audit_contacts"]

AuditState = Literal["good", "expiring", "unusable"]

# what says of a certificate that it is fit, and that another one is used all the same
_FIT = ("older", "not-preferred", "not-believed")
# Outlook answers with the certificate of the signed mail, and otherwise takes that of the contact
# (Microsoft KB 2840546). What a directory has comes before both: of certificates that came from
# elsewhere the newest is taken for the one that would be published there.
_SOURCES = ("signed mail", "Outlook contact")


@dataclass(frozen=True, slots=True)
class OutlookChoice:
    """The certificate that Outlook would take, by Microsoft's documents: nobody has asked Outlook.

    `works`: it can be encrypted to. Outlook does not look for another one where it cannot, as where
    it has expired (KB 884738); `text` says why not.
    """

    known: KnownCertificate
    works: bool
    text: str


@dataclass(frozen=True, slots=True)
class AddressAudit:
    """One address: `choice` is the ContactChoice, with the reasons against the other certificates.

    `state` is an AuditState: "good", "expiring" within the time asked about, or "unusable", where
    no certificate is fit; `until` is when the last fit one or its issuer ends, None where there is
    none; `outlook` an OutlookChoice, None where nothing is for encryption. `to_do` are sentences,
    empty where there is nothing to do.
    """

    email: str
    state: AuditState
    choice: ContactChoice
    until: datetime | None
    outlook: OutlookChoice | None
    to_do: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        known, outlook = self.choice.known, self.outlook
        return {
            "email": self.email,
            "state": self.state,
            "until": time_text(self.until),
            "believed": self.choice.believed,
            "certificate": None if known is None else _certificate_json(known),
            "not_used": [
                {**certificate_json(one.certificate), "code": one.code, "text": one.text}
                for one in self.choice.dropped
            ],
            "outlook": None
            if outlook is None
            else {
                **_certificate_json(outlook.known),
                "works": outlook.works,
                "text": outlook.text,
            },
            "to_do": list(self.to_do),
        }


@dataclass(frozen=True, slots=True)
class StoreAudit:
    """All addresses of a store, each an AddressAudit, at the time `at`; `before` is the end of what
    counts as expiring.
    """

    at: datetime
    before: datetime
    addresses: tuple[AddressAudit, ...]

    @property
    def to_do(self) -> tuple[AddressAudit, ...]:
        """Those with which something is to be done."""
        return tuple(one for one in self.addresses if one.to_do)

    def to_json(self) -> dict[str, Any]:
        states: tuple[AuditState, ...] = ("good", "expiring", "unusable")
        return {
            "at": time_text(self.at),
            "expiring_before": time_text(self.before),
            "counts": {one: sum(a.state == one for a in self.addresses) for one in states},
            "addresses": [one.to_json() for one in self.addresses],
        }


def _certificate_json(known: KnownCertificate) -> dict[str, Any]:
    return {
        **certificate_json(known.certificate),
        "not_after": time_text(known.certificate.not_after),
        "origin": known.origin,
    }


@checked
def audit_contacts(
    book: Contacts,
    *,
    at: datetime | None = None,
    expiring: timedelta = timedelta(days=30),
    trust: TrustStore | None = None,
    certificates: Sequence[Certificate] = (),
    revocation: Revocation | None = None,
) -> StoreAudit:
    """Look through an address book, a Contacts: the StoreAudit has every address that is in it.

    `at` is the time of judgement, a datetime (now), and `expiring`, a timedelta, what counts as
    soon from then on. With `trust`, a TrustStore, what does not validate is unusable;
    `certificates`, each a Certificate, may stand in between, and `revocation`, a Revocation, tells
    what is revoked. UsageError for a time without a zone, and for a book that cannot be read.
    """
    moment = datetime.now(UTC) if at is None else at
    require_aware(moment)
    try:
        before = moment + expiring
    except OverflowError:
        raise UsageError(
            f"{expiring.days} days from then on is no time", hint="give fewer days"
        ) from None
    emails: dict[Mailbox | None, str] = {}
    for one in book.entries():
        emails.setdefault(mailbox(one.email), one.email)
    found: list[AddressAudit] = []
    for email in emails.values():
        choice = book.find(
            email, at=moment, trust=trust, certificates=certificates, revocation=revocation
        )
        if held := book.certificates(email):  # nobody has forgotten it meanwhile
            found.append(_audit(held, choice, before))
    return StoreAudit(moment, before, tuple(found))


def _audit(
    held: Sequence[KnownCertificate], choice: ContactChoice, before: datetime
) -> AddressAudit:
    fit = [one.certificate for one in choice.dropped if one.code in _FIT]
    if choice.known is not None:
        fit.append(choice.known.certificate)
    outlook = _outlook(held, choice, fit)
    if choice.known is None:
        return AddressAudit(choice.email, "unusable", choice, None, outlook, _ask(choice))
    # an issuer that ends ends what it issued
    ends = [min(c.not_after for c in (choice.known.certificate, *choice.issuers))]
    until = max([*ends, *(one.not_after for one in fit if one != choice.known.certificate)])
    to_do: list[str] = []
    if until < before:
        to_do.append(f"ask for a new certificate: this one ends on {until:%Y-%m-%d}")
    if outlook is not None and not outlook.works:
        to_do.append(f"Outlook would take another one, which it cannot use: {outlook.text}")
    state: AuditState = "expiring" if until < before else "good"
    return AddressAudit(choice.email, state, choice, until, outlook, tuple(to_do))


def _ask(choice: ContactChoice) -> tuple[str, ...]:
    """What is to be done where no certificate is fit, by what is against the newest."""
    newest = max(choice.dropped, key=lambda one: one.certificate.not_before)
    if all(one.code.startswith("pki.usage.") for one in choice.dropped):
        return (f"ask for a certificate to encrypt to: {newest.text}",)
    return (f"ask for another certificate: {newest.text}",)


def _outlook(
    held: Sequence[KnownCertificate], choice: ContactChoice, fit: Sequence[Certificate]
) -> OutlookChoice | None:
    def rank(one: KnownCertificate) -> tuple[Any, ...]:
        known = [one.origin.startswith(source) for source in _SOURCES]
        seen = one.last_seen.timestamp() if any(known) else 0
        is_of_latest = choice.announced is not None and (
            choice.announced.signer == one.certificate.sha256
        )
        return (*known, is_of_latest, seen, one.certificate.not_before, one.certificate.der)

    taken = max((one for one in held if _encrypts(one.certificate)), key=rank, default=None)
    if taken is None:
        return None
    against = {one.certificate: one.text for one in choice.dropped}
    works = taken.certificate in fit
    return OutlookChoice(taken, works, "" if works else against.get(taken.certificate, ""))


def _encrypts(certificate: Certificate) -> bool:
    try:
        return allows_encryption(certificate) and certificate.not_before is not None
    except MalformedMessage:
        return False
