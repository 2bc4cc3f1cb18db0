"""Findings: one thing noticed about a message or a certificate, and reports: all of them.

A code is stable and dotted: `cms.*` the bytes, `alg.*` an algorithm, `pki.*` a certificate or its
path, `smime.*` the message around them, `graph.*` what Graph makes of it. The catalogue below gives
each code its severity and its source; a finding that is not in the catalogue cannot be made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Severity(IntEnum):
    """How much a finding weighs: an ERROR makes a message or a certificate unacceptable."""

    NOTICE = 1
    WARNING = 2
    ERROR = 3

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing noticed. `where` names the object for people (`signer 0`, `layer 1.1`, a
    certificate's subject); `scope` says what it is about to programs: the `Signer.where` of a
    signer, the `Layer.path` of a layer, "" for neither.
    """

    code: str
    severity: Severity
    where: str
    text: str
    source: str = ""
    scope: str = ""

    def __str__(self) -> str:
        source = f" ({self.source})" if self.source else ""
        return f"{self.where}: {self.text} [{self.code}]{source}"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything noticed about one thing, in the order in which it was noticed."""

    findings: tuple[Finding, ...] = ()

    def __repr__(self) -> str:
        """Codes alone: the texts may repeat what stands in a message."""
        verdict = getattr(self, "verdict", "ok" if self.ok else "not ok")
        found = ", ".join(list(dict.fromkeys(codes(self.findings)))[:10]) or "no findings"
        return f"{type(self).__name__}({verdict}: {found})"

    @property
    def errors(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is Severity.ERROR)

    @property
    def ok(self) -> bool:
        """True if no finding is an error."""
        return not self.findings or not self.errors

    def has(self, code: str) -> bool:
        return any(f.code == code for f in self.findings)


def finding(
    code: str, where: str, text: str, *, severity: Severity | None = None, scope: str = ""
) -> Finding:
    """Make a finding of the catalogue; `severity` overrides the usual one."""
    usual, source = CATALOGUE[code]
    return Finding(code, severity or usual, where, text, source, scope)


def codes(findings: Iterable[Finding]) -> list[str]:
    return [f.code for f in findings]


_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTICE

CATALOGUE: dict[str, tuple[Severity, str]] = {
    # cms: is the signature itself right?
    "cms.signer.none": (_E, "RFC 8551 3.8"),
    "cms.signer.certificate-missing": (_E, "RFC 5652 5.6"),
    "cms.signer.unchecked": (_E, "RFC 5652 5.1"),
    "cms.signer.unknown-version": (_W, "RFC 5652 5.1"),
    "cms.digest.mismatch": (_E, "RFC 5652 5.6"),
    "cms.signature.invalid": (_E, "RFC 5652 5.6"),
    "cms.attributes.missing": (_E, "RFC 5652 11"),
    "cms.attributes.duplicate": (_E, "RFC 5652 5.3, RFC 8551 2.5"),
    "cms.attributes.malformed": (_E, "RFC 5652 11"),
    "cms.attributes.content-type": (_E, "RFC 5652 11.1"),
    "cms.attributes.not-der": (_W, "RFC 5652 5.3"),
    "cms.attributes.algorithm-protection": (_E, "RFC 6211 3"),
    "cms.attributes.signing-certificate": (_E, "RFC 5035 5.4.1"),
    "cms.attributes.confusable": (_E, "draft-ietf-lamps-cms-euf-cma-signeddata"),
    "cms.unauthenticated": (_W, "RFC 8551 6"),
    "cms.ess.misplaced": (_W, "RFC 2634 1.3.4"),
    "cms.ess.malformed": (_W, "RFC 2634 1.3.4"),
    "cms.ess.inconsistent": (_W, "RFC 2634 2.2.1, 3.1.1, 4.1"),
    "cms.countersignature.invalid": (_W, "RFC 5652 11.4"),
    "cms.timestamp.invalid": (_W, "RFC 3161 2.4.2"),
    # alg: what the policy thinks of an algorithm
    "alg.unsupported": (_W, "RFC 5652 5.1"),
    "alg.refused": (_E, "RFC 8551 6"),
    "alg.weak": (_W, "RFC 8551 appendix B"),
    "alg.key.weak": (_E, "RFC 8551 4.3, 4.4, 6"),
    # pki: certificates and paths
    "pki.trust.no-anchors": (_E, "RFC 5280 6.1.1"),
    "pki.revocation.revoked": (_E, "RFC 5280 5.3, RFC 6960 2.2"),
    "pki.revocation.unknown": (_W, "RFC 8550 4.2"),
    "pki.revocation.stale": (_W, "RFC 5280 5.1.2.5, RFC 6960 4.2.2.1"),
    "pki.revocation.invalid": (_W, "RFC 5280 6.3.3, RFC 6960 3.2"),
    "pki.revocation.not-fetched": (_W, "RFC 5280 4.2.1.13, RFC 6960 4.2.1"),
    "pki.path.none": (_E, "RFC 5280 6.1"),
    "pki.path.not-fetched": (_W, "RFC 5280 4.2.2.1"),
    "pki.path.expired": (_E, "RFC 5280 6.1.3"),
    "pki.path.not-yet-valid": (_E, "RFC 5280 6.1.3"),
    "pki.path.weak-algorithm": (_E, "RFC 8550 4.3"),
    "pki.path.invalid": (_E, "RFC 5280 6.1"),
    "pki.path.limit": (_E, "RFC 8551 6"),
    "pki.certificate.malformed": (_E, "RFC 5280 4.1"),
    "pki.certificate.is-ca": (_W, "RFC 8550 4.4.1"),
    "pki.certificate.critical-extension": (_E, "RFC 5280 4.2"),
    "pki.certificate.profile": (_W, "RFC 8550 3, 4.4"),
    "pki.certificate.expires-soon": (_W, "RFC 5280 4.1.2.5"),
    "pki.usage.key-type": (_E, "RFC 8551 2.2, 2.3"),
    "pki.usage.key-usage": (_E, "RFC 8550 4.4.2"),
    "pki.usage.extended-key-usage": (_E, "RFC 8550 4.4.4"),
    "pki.usage.extended-key-usage-chain": (_E, "Mozilla Root Store Policy 5.3"),
    "pki.address.none": (_W, "RFC 8550 3"),
    "pki.address.mismatch": (_E, "RFC 8550 3"),
    "pki.address.not-compared": (_W, "RFC 8550 3"),
    # smime: the message around the CMS
    "smime.unsigned": (_E, "RFC 8551 3.5"),
    "smime.signature-outside": (_E, "RFC 8551 3.7"),
    "smime.unreadable": (_E, "RFC 8551 3.10"),
    "smime.header": (_W, "RFC 5322 2.2"),
    "smime.micalg": (_W, "RFC 8551 3.5.3.2"),
    "smime.text-behind": (_W, "RFC 9787 6.2"),
    "smime.line-ends": (_W, "RFC 8551 3.1.1"),
    "smime.protocol": (_W, "RFC 8551 3.5.3.2"),
    "smime.errant-layer": (_W, "RFC 9787 6.2"),
    "smime.header-protection": (_W, "RFC 9788 4.1"),
    "smime.outer-header": (_W, "RFC 9788 4"),
    "smime.limit": (_E, "RFC 8551 3.7"),
    "smime.signing-time": (_W, "RFC 8551 2.5.1"),
    "smime.date-differs": (_N, "RFC 5322 3.6.1, RFC 8551 2.5.1"),
    "smime.inner-type": (_E, "RFC 8551 2.4.1"),
    "smime.bcc": (_W, "RFC 9787 9.4.1"),
    "smime.label": (_N, "RFC 2634 3.1.2"),
    "smime.label.refused": (_E, "RFC 2634 3.1.2"),
    "smime.receipt.none": (_E, "RFC 2634 2.6"),
    "smime.receipt.mismatch": (_E, "RFC 2634 2.6"),
    "smime.receipt.unexpected": (_W, "RFC 2634 2.3"),
    # graph: what becomes of a message that is submitted
    "graph.addressees": (_W, "Microsoft Graph, message: reply, replyAll, forward"),
    "graph.auth-enveloped": (_W, "msgraph-sdk-java #2544, MimeKit #1149"),
    "graph.bcc": (_N, "Microsoft Graph, Send Outlook messages in MIME format"),
    "graph.from.at-sign": (_W, "SMTP2Graph #28"),
    "graph.header.dropped": (_W, "msgraph-sdk-dotnet #2209, microsoft-graph-docs-contrib #1093"),
    "graph.header.first-lost": (_W, "microsoft-graph-docs-contrib #424"),
    "graph.header.long": (_W, "RFC 5322 2.1.1"),
    "graph.header.replaced": (_W, "msgraph-sdk-dotnet #2209"),
    "graph.not-encrypted": (_N, "RFC 8551 1"),
    "graph.recipients.unreadable": (_W, "RFC 5322 3.4"),
    "graph.send-as": (_W, "Microsoft Graph, Send mail from another user"),
}
