"""What stands beside one signature, judged for the report: countersignatures and timestamps.

With the services of RFC 2634 that are signed; none is looked at before the signature over it is
found good. Countersignatures and timestamps are unsigned, so a bad one is a warning and takes
nothing from the signature it stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cryptography import x509

from .. import oids
from ..algorithms import Digest
from ..cms import attributes, countersign, ess, timestamp
from ..cms.countersign import Countersignature
from ..cms.signed_data import SignedData, SignerInfo
from ..errors import MalformedMessage, UnsupportedAlgorithm
from ..findings import Finding, Report, Severity, finding
from ..pki.address import addresses
from ..pki.usage import key_findings
from ..x509.certificate import Certificate
from .context import VerificationContext
from .report import Countersigner, Signer, Timestamp

_MAX_FAULTS = 5


def attest(
    signer: Signer,
    info: SignerInfo,
    signed: SignedData,
    digest: Digest,
    context: VerificationContext,
) -> tuple[Signer, list[Finding]]:
    """The signer with its services, countersigners and timestamps; for a good signature only."""
    where = signer.where
    services = ess.NO_SERVICES
    found: list[Finding] = []
    if info.signed_attributes is not None:
        services, found = ess.read(info.signed_attributes, info.signature, digest, where)
    if info.unsigned_attributes is None:
        asks = services is not ess.NO_SERVICES
        return replace(signer, services=services) if asks else signer, found
    known = dict.fromkeys((*context.certificates, *signed.certificates))
    checked, faults = countersign.check(
        info, certificates=known, policy=context.policy, further=context.further
    )
    countersigners = tuple(_countersigner(one, context) for one in checked)
    faults += [fault for one in countersigners for fault in _faults_of(one)]
    if faults:
        text = f"a countersignature is not shown to be valid: {_joined(faults)}"
        found.append(finding("cms.countersignature.invalid", where, text))
    timestamps, findings = _timestamps(info, context, where)
    signer = replace(
        signer, services=services, countersigners=countersigners, timestamps=timestamps
    )
    return signer, found + findings


def check_path(info: SignerInfo, chain: Sequence[Certificate], where: str) -> list[Finding]:
    """Whether the path keeps to the certificates that the signer named (RFC 5035 5.4.1).

    A warning: OpenSSL and CAdES read the list as some of the path, not as all that may be on it.
    """
    if info.signed_attributes is None:
        return []
    left_out = attributes.certificates_left_out(info.signed_attributes, chain[1:-1])
    return [
        finding(
            "cms.attributes.signing-certificate",
            where,
            f"the path goes through {one.description}, which the signer did not name",
            severity=Severity.WARNING,
        )
        for one in left_out
    ]


def _countersigner(one: Countersignature, context: VerificationContext) -> Countersigner:
    certificate = one.check.certificate
    trusted: bool | None = None
    faults = list(one.faults)
    if certificate is not None and not faults:
        good = bool(one.check.intact and one.check.valid)
        report = context.validate(certificate, may_ask=good)
        trusted = report.ok
        faults += _texts(report)
    return Countersigner(
        certificate,
        addresses(certificate) if certificate is not None else (),
        one.check.signing_time,
        one.check.intact,
        one.check.valid,
        trusted,
        tuple(faults),
        tuple(_countersigner(deeper, context) for deeper in one.over),
    )


def _faults_of(one: Countersigner) -> list[str]:
    """What makes it no countersignature; that its signer is not believed is another matter."""
    own = list(one.faults) if one.trusted is None else []
    return own + [fault for deeper in one.countersigners for fault in _faults_of(deeper)]


def _timestamps(
    info: SignerInfo, context: VerificationContext, where: str
) -> tuple[tuple[Timestamp, ...], list[Finding]]:
    found: list[Timestamp] = []
    faults: list[str] = []
    assert info.unsigned_attributes is not None  # noqa: S101 - by the caller
    for value in info.unsigned_attributes.values(oids.TIMESTAMP_TOKEN):
        if not context.further.take():
            faults.append("there are more timestamps than are checked")
            break
        try:
            one = timestamp.check(
                value.raw, info.signature, policy=context.policy, budget=context.further.budget
            )
        except (MalformedMessage, UnsupportedAlgorithm) as error:
            faults.append(str(error))
            continue
        faults += one.faults
        valid = bool(one.check.intact and one.check.valid and not one.faults)
        against = list(one.faults)
        if valid and one.check.certificate is not None:
            against = _against_authority(one.check.certificate, one.signed.certificates, context)
        found.append(
            Timestamp(
                one.info.time,
                one.info.policy,
                one.check.certificate,
                valid,
                valid and not against,
                tuple(against),
            )
        )
    if not faults:
        return tuple(found), []
    text = f"a timestamp is not shown to be valid: {_joined(faults)}"
    return tuple(found), [finding("cms.timestamp.invalid", where, text)]


def _against_authority(
    certificate: Certificate, sent: Sequence[Certificate], context: VerificationContext
) -> list[str]:
    """Why the certificate is not one of a timestamping authority that we believe."""
    report = context.build_path(certificate, sent)
    report = context.with_revocation(
        report, (*sent, *context.certificates), at=context.at, inquiry=context.inquiry
    )
    policy = context.policy
    strength = key_findings(
        certificate,
        minimum_rsa_bits=policy.minimum_rsa_bits,
        accept_weak=policy.accept_weak_certificates,
    )
    # that an authority above may not issue for mail does not matter here
    against = [
        item.text
        for item in (*report.errors, *Report(tuple(strength)).errors)
        if item.code != "pki.usage.extended-key-usage-chain"
    ]
    purposes = _purposes(certificate)
    if purposes is None or purposes.critical is False or _dotted(purposes) != [oids.TIME_STAMPING]:
        # RFC 3161 2.3: this purpose alone, and critical
        against.append("its extended key usage is not timeStamping alone, and critical")
    for authority in report.chain[1:-1]:
        limits = _purposes(authority)
        if limits is not None and not {oids.TIME_STAMPING, oids.ANY_EXTENDED_KEY_USAGE} & set(
            _dotted(limits)
        ):
            against.append(f"{authority.description} may not issue for timestamps")
    return against


def _purposes(certificate: Certificate) -> x509.Extension[x509.ExtendedKeyUsage] | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, MalformedMessage):
        return None


def _dotted(purposes: x509.Extension[x509.ExtendedKeyUsage]) -> list[str]:
    return [oid.dotted_string for oid in purposes.value]


def _texts(report: Report) -> list[str]:
    return [item.text for item in report.errors]


def _joined(faults: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(faults[:_MAX_FAULTS]))
