"""Against what, and when, a message is judged: one value for the whole of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ..budget import EVIDENCE_OCTET, PATH, Budget
from ..cms.countersign import Further
from ..cms.labels import SecurityLabel
from ..cms.recipients.kinds import AnyKey
from ..errors import LimitReached, UsageError
from ..findings import finding
from ..pki.identity import Identity
from ..pki.path import PathReport, SignatureChecks, build_path
from ..pki.revocation import Revocation, with_revocation
from ..pki.trust import TrustStore
from ..pki.validate import with_usage
from ..policy import Policy
from ..x509.certificate import Certificate

Clearance = Callable[[SecurityLabel], bool]
"""Whether the reader may see what carries this label; False for a policy that is not known (RFC
2634 3.1.2)."""

_NOBODY = TrustStore(())


@dataclass(frozen=True, slots=True)
class VerificationContext:
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
    identities: tuple[AnyKey, ...] = field(default=(), repr=False)
    revocation: Revocation | None = None
    evidence_sent: int = 0  # octets of evidence that the message brought

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
        )

    def validate(
        self,
        certificate: Certificate,
        at: datetime | None = None,
        *,
        signed_at: datetime | None = None,
    ) -> PathReport:
        """Everything that speaks against a certificate as a signer's, then or now; `signed_at` is
        when it says it signed.
        """
        policy = self.policy
        path = build_path(
            certificate,
            trust=self.trust,
            certificates=self.certificates,
            at=at or self.at,
            accept_weak=policy.accept_weak_certificates,
            checks=self.checks,
        )
        report = with_usage(
            certificate,
            path,
            use="sign",
            minimum_rsa_bits=policy.minimum_rsa_bits,
            accept_weak=policy.accept_weak_certificates,
        )
        if self.revocation is None or not report.ok:
            return report
        judged = len(report.chain) - 1
        try:
            price = PATH + EVIDENCE_OCTET * self.evidence_sent
            self.budget.spend("revocation", judged * price)
        except LimitReached as error:
            text = f"revocation was not looked at: {error}"
            found = finding("smime.limit", certificate.description, text)
            return PathReport((*report.findings, found), report.chain)
        return with_revocation(
            report,
            self.revocation,
            at=at or self.at,
            certificates=self.certificates,
            signed_at=signed_at,
        )

    def build_path(
        self, certificate: Certificate, certificates: Iterable[Certificate] = ()
    ) -> PathReport:
        """The path of a certificate to an anchor, whatever it is for; `certificates` are others."""
        return build_path(
            certificate,
            trust=self.trust,
            certificates=(*certificates, *self.certificates),
            at=self.at,
            accept_weak=self.policy.accept_weak_certificates,
            checks=self.checks,
        )
