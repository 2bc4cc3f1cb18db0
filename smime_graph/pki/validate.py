"""Whether a certificate is fit for mail: trust, time, use, strength and address together."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from ..findings import Finding, finding
from ..text import printable
from ..x509.certificate import Certificate
from .address import addresses, addresses_are_known, mailbox, mailboxes
from .path import PathReport, SignatureChecks, build_path
from .trust import TrustStore
from .usage import (
    MINIMUM_RSA_BITS,
    Use,
    any_purpose_findings,
    require_aware,
    usage_findings,
    validity_findings,
)

_NOTHING_AGAINST = PathReport(())


def validate(
    certificate: Certificate,
    *,
    use: Use,
    trust: TrustStore | None,
    certificates: Iterable[Certificate] = (),
    at: datetime,
    address: str | None = None,
    minimum_rsa_bits: int = MINIMUM_RSA_BITS,
    accept_weak: bool = False,
    accept_any_purpose: bool = True,
    checks: SignatureChecks | None = None,
) -> PathReport:
    """Everything that speaks against `certificate` for mail, at the time `at`.

    `use` is "sign" for the owner's signatures, made or verified, and "encrypt" for the owner as a
    recipient. With `trust=None` no path is judged, only the certificate itself; a store without
    anchors is an error of its own. `address` is the addr-spec it should belong to: an error if it
    names others only, a warning if it names none (RFC 8550 3). `accept_weak` is for reading old
    mail: SHA-1, MD5 and keys from 1024 bits become warnings. Without `accept_any_purpose` an
    extended key usage must name emailProtection itself. Pass the same `checks` for all
    certificates of one message. Raises UsageError where `at` has no time zone, and for nothing that
    a certificate holds.
    """
    require_aware(at)
    if trust is None:
        findings = validity_findings(certificate, at=at)
        path = PathReport(tuple(findings)) if findings else _NOTHING_AGAINST
    else:
        path = build_path(
            certificate,
            trust=trust,
            certificates=certificates,
            at=at,
            accept_weak=accept_weak,
            checks=checks,
        )
    report = with_usage(
        certificate,
        path,
        use=use,
        minimum_rsa_bits=minimum_rsa_bits,
        accept_weak=accept_weak,
        accept_any_purpose=accept_any_purpose,
    )
    if address is None:
        return report
    every = (*report.findings, *_address_findings(certificate, address))
    return PathReport(tuple(dict.fromkeys(every)), path.chain)


def with_usage(
    certificate: Certificate,
    path: PathReport,
    *,
    use: Use,
    minimum_rsa_bits: int = MINIMUM_RSA_BITS,
    accept_weak: bool = False,
    accept_any_purpose: bool = True,
) -> PathReport:
    """The report on a certificate's path, and what speaks against using the certificate so."""
    if path.chain:
        certificate = path.chain[0]  # its key is whole there
    against = usage_findings(
        certificate, use=use, minimum_rsa_bits=minimum_rsa_bits, accept_weak=accept_weak
    )
    if not accept_any_purpose:
        against = (*against, *any_purpose_findings(path.chain or (certificate,)))
    if not against and not path.findings:
        return path
    return PathReport(tuple(dict.fromkeys((*path.findings, *against))), path.chain)


def _address_findings(certificate: Certificate, address: str) -> list[Finding]:
    where = certificate.description
    held = addresses(certificate)
    if not held:
        if not addresses_are_known(certificate):
            return []
        text = f"names no mail address, so nothing ties it to {address}"
        return [finding("pki.address.none", where, printable(text))]
    if mailbox(address) in mailboxes(held):
        return []
    text = f"belongs to {', '.join(held[:10])}, not to {address}"
    return [finding("pki.address.mismatch", where, printable(text))]
