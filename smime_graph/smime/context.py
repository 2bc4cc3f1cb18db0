"""Against what, and when, a message is judged: one value for the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from ..budget import EVIDENCE_OCTET, PATH, Budget
from ..cms.countersign import Further
from ..cms.labels import SecurityLabel
from ..cms.recipients.kinds import AnyKey
from ..errors import LimitReached, UsageError
from ..findings import Finding, finding
from ..pki.identity import Identity
from ..pki.path import MAX_CHAIN, PathReport, SignatureChecks, build_path
from ..pki.revocation import Inquiry, Revocation, with_revocation
from ..pki.trust import TrustStore
from ..pki.validate import with_usage
from ..policy import Policy
from ..text import printable
from ..x509.certificate import Certificate

Clearance = Callable[[SecurityLabel], bool]
"""Whether the reader may see what carries this label; False for a policy that is not known (RFC
2634 3.1.2)."""

_NOBODY = TrustStore(())


class VerificationContext(NamedTuple):
    """What is believed, what is at hand, and what the whole message may still cost.

    `certificates` are further ones to use, and once the message is read those that came along as
    well. `identities` are the keys to read it with. `sender` is the address that the signer must
    have, None for that of the message itself.
    """

    trust: TrustStore
    policy: Policy
    at: datetime
    budget: Budget
    checks: SignatureChecks
    further: Further
    certificates: tuple[Certificate, ...] = ()
    sender: str | None = None
    clearance: Clearance | None = None
    identities: tuple[AnyKey, ...] = ()
    revocation: Revocation | None = None
    evidence_sent: int = 0  # octets of evidence that the message brought
    inquiry: Inquiry | None = None  # what may be asked of others for this message

    def __repr__(self) -> str:
        return f"VerificationContext({self.policy.name}, {self.at})"  # nothing of the keys

    @classmethod
    def of(
        cls,
        size: int,
        *,
        trust: TrustStore = _NOBODY,
        policy: Policy,
        at: datetime | None = None,
        certificates: Iterable[Certificate] = (),
        sender: str | None = None,
        clearance: Clearance | None = None,
        identities: Iterable[AnyKey] = (),
        revocation: Revocation | None = None,
    ) -> VerificationContext:
        """For a message of `size` octets; `at` is now where it is None, and needs a time zone.

        Of `identities` every key pair counts: a person may have one for signing and another for
        encryption. Where nothing is verified nobody need be trusted.
        """
        moment = datetime.now(UTC) if at is None else at
        if moment.tzinfo is None:
            raise UsageError("the time has no time zone", hint="give one, for example UTC")
        budget = Budget(size)
        return cls(
            trust,
            policy,
            moment,
            budget,
            SignatureChecks(budget=budget),
            Further(budget),
            tuple(certificates),
            sender,
            clearance,
            tuple(
                key
                for one in identities
                for key in (one.identities if isinstance(one, Identity) else (one,))
            ),
            revocation,
            inquiry=_inquiry(revocation),
        )

    def validate(
        self,
        certificate: Certificate,
        at: datetime | None = None,
        *,
        signed_at: datetime | None = None,
        may_ask: bool = False,
    ) -> PathReport:
        """Everything that speaks against a certificate as a signer's, then or now; `signed_at` is
        when it says it signed. `may_ask`: its signature is good, so that others may be asked for
        what is missing (the inquiry).
        """
        policy, certificates = self.policy, self.certificates
        at = at or self.at
        path = build_path(
            certificate,
            trust=self.trust,
            certificates=certificates,
            at=at,
            accept_weak=policy.accept_weak_certificates,
            checks=self.checks,
        )
        inquiry = self.inquiry if may_ask else None
        faults: list[Finding] = []
        if inquiry is not None and path.dead_end is not None:
            fetched, faults = self._fetch_issuers(certificate, path.dead_end, inquiry)
            if fetched:
                certificates = (*certificates, *fetched)
                path = self.build_path(certificate, fetched, at=at)
        report = with_usage(
            certificate,
            path,
            use="sign",
            minimum_rsa_bits=policy.minimum_rsa_bits,
            accept_weak=policy.accept_weak_certificates,
            accept_any_purpose=policy.accept_any_purpose,
        )
        if faults and (self.revocation is None or not report.ok):
            return PathReport((*report.findings, *faults), report.chain)
        return self.with_revocation(
            report, certificates, at=at, signed_at=signed_at, inquiry=inquiry
        )

    def with_revocation(
        self,
        report: PathReport,
        certificates: tuple[Certificate, ...],
        *,
        at: datetime,
        signed_at: datetime | None = None,
        inquiry: Inquiry | None = None,
    ) -> PathReport:
        """The report on a path, and where that is good and it is wanted what is known of the
        revocation of its certificates; `certificates` are those that may sign evidence.
        """
        if self.revocation is None or not report.ok:
            return report
        judged = len(report.chain) - 1
        try:
            price = PATH + EVIDENCE_OCTET * self.evidence_sent
            self.budget.spend("revocation", judged * price)
        except LimitReached as error:
            text = f"revocation was not looked at: {error}"
            found = finding("smime.limit", report.chain[0].description, text)
            return PathReport((*report.findings, found), report.chain)
        return with_revocation(
            report,
            self.revocation,
            at=at,
            certificates=certificates,
            signed_at=signed_at,
            inquiry=inquiry,
        )

    def _fetch_issuers(
        self, certificate: Certificate, end: Certificate, inquiry: Inquiry
    ) -> tuple[list[Certificate], list[Finding]]:
        """The missing issuers of a certificate as far as they can be had, and why no further."""
        against = with_usage(
            certificate,
            PathReport(()),
            use="sign",
            minimum_rsa_bits=self.policy.minimum_rsa_bits,
            accept_weak=self.policy.accept_weak_certificates,
            accept_any_purpose=self.policy.accept_any_purpose,
        )
        if not against.ok:
            return [], []
        found: list[Certificate] = []
        for _ in range(MAX_CHAIN):
            piece = inquiry.issuers(end, at=self.at)
            if piece.fault is not None:
                text = printable(piece.fault)
                return found, [finding("pki.path.not-fetched", end.description, text)]
            found += piece.certificates
            path = self.build_path(certificate, found)
            if path.ok:
                piece.keep()
            if path.dead_end is None or path.dead_end == end:
                break
            end = path.dead_end
        return found, []

    def build_path(
        self,
        certificate: Certificate,
        certificates: Iterable[Certificate] = (),
        *,
        at: datetime | None = None,
    ) -> PathReport:
        """The path of a certificate to an anchor, whatever it is for; `certificates` are others."""
        further = tuple(certificates)
        return build_path(
            certificate,
            trust=self.trust,
            # one and the same where there are no others: they are read once for a message
            certificates=(*further, *self.certificates) if further else self.certificates,
            at=at or self.at,
            accept_weak=self.policy.accept_weak_certificates,
            checks=self.checks,
        )


def _inquiry(revocation: Revocation | None) -> Inquiry | None:
    if revocation is None or revocation.mode == "none" or revocation.fetch is None:
        return None
    return revocation.fetch.inquire()
