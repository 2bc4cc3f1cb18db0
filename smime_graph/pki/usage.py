"""What one certificate may be used for in mail: RFC 8550 4.4, RFC 5280 4.2.

Every function here returns findings, all of them, and never raises on what a certificate holds: an
extension that cannot be read is `pki.certificate.malformed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypeVar

from cryptography import x509

from .. import algorithms, oids
from ..algorithms import KeyKind
from ..errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from ..findings import Finding, Severity, finding
from ..x509.certificate import Certificate, remembered

Use = Literal["sign", "encrypt"]
_Kind = TypeVar("_Kind", bound=x509.ExtensionType)

MINIMUM_RSA_BITS = 2048  # RFC 8550 4.3, RFC 8551 4.2 to 4.4

_EMAIL_PROTECTION = x509.ObjectIdentifier(oids.EMAIL_PROTECTION)
_MAIL_PURPOSES = frozenset(
    (
        _EMAIL_PROTECTION,
        x509.ObjectIdentifier(oids.ANY_EXTENDED_KEY_USAGE),
    )
)

# What this package or its path engine acts upon; anything else that is critical makes a certificate
# unusable.
_KNOWN_EXTENSIONS = frozenset(
    (
        oids.AUTHORITY_INFO_ACCESS,
        oids.QC_STATEMENTS,  # critical in some national profiles; says nothing to us
        oids.OCSP_NOCHECK,
        oids.SUBJECT_KEY_IDENTIFIER,
        oids.KEY_USAGE,
        oids.SUBJECT_ALT_NAME,
        oids.BASIC_CONSTRAINTS,
        oids.NAME_CONSTRAINTS,
        oids.CRL_DISTRIBUTION_POINTS,
        oids.CERTIFICATE_POLICIES,
        oids.POLICY_MAPPINGS,
        oids.AUTHORITY_KEY_IDENTIFIER,
        oids.POLICY_CONSTRAINTS,
        oids.EXTENDED_KEY_USAGE,
        oids.FRESHEST_CRL,
        oids.INHIBIT_ANY_POLICY,
    )
)


def require_aware(at: datetime) -> None:
    """Raise UsageError unless `at` has a time zone."""
    if at.utcoffset() is None:
        raise UsageError(
            f"at={at.isoformat()} has no time zone",
            hint="use datetime.now(UTC) or a time with tzinfo",
        )


def validity_findings(
    certificate: Certificate, *, at: datetime, severity: Severity | None = None
) -> list[Finding]:
    """Whether `at` (with a time zone) is within the certificate's validity, both ends included."""
    where = certificate.description
    try:
        not_before, not_after = certificate.not_before, certificate.not_after
    except (MalformedMessage, ValueError) as error:
        return [finding("pki.certificate.malformed", where, str(error))]
    findings: list[Finding] = []
    if at < not_before:
        text = f"not valid before {not_before:%Y-%m-%d %H:%M:%SZ}"
        findings.append(finding("pki.path.not-yet-valid", where, text, severity=severity))
    if at > not_after:
        text = f"expired on {not_after:%Y-%m-%d %H:%M:%SZ}"
        findings.append(finding("pki.path.expired", where, text, severity=severity))
    return findings


def extension_findings(certificate: Certificate) -> list[Finding]:
    """Extensions that cannot be read, and critical ones that nobody here acts upon (RFC 5280
    4.2)."""
    where = certificate.description
    try:
        extensions = certificate.extensions
    except MalformedMessage as error:
        return [finding("pki.certificate.malformed", where, str(error))]
    return [
        finding(
            "pki.certificate.critical-extension",
            where,
            f"critical extension {extension.oid.dotted_string} is not known here",
        )
        for extension in extensions
        if extension.critical and extension.oid.dotted_string not in _KNOWN_EXTENSIONS
    ]


def authority_fault(anchor: Certificate) -> str | None:
    """Why an anchor may not issue certificates; None if it may.

    RFC 5280 6.1.1 d takes an anchor for a name and a key, and leaves to whoever configures it what
    it is good for. People pin the certificates of people, though, and such a key must not make
    others: an anchor is held to what is asked of an authority within a path (RFC 5280 4.2.1.9,
    6.1.4 k and n), cA and, where there is a keyUsage, keyCertSign. One that cannot say so, since
    it is of version 1 or 2 and has no extensions, may issue if it is self-issued, because it was
    given by hand (6.1.4 k: "verified ... through out-of-band means"); OpenSSL draws the same line.
    """
    try:
        extensions, version = anchor.extensions, anchor.x509.version
    except MalformedMessage as error:
        return f"since its extensions cannot be read: {error}"
    constraints = _extension(anchor, x509.BasicConstraints)
    if constraints is None:
        if version is x509.Version.v1 and not len(extensions) and anchor.is_self_issued:
            return None
        return "it has no basicConstraints"
    if not constraints.ca:
        return "its basicConstraints say CA:FALSE"
    usage = _extension(anchor, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "its key usage lacks keyCertSign"
    return None


def chain_findings(chain: Sequence[Certificate]) -> list[Finding]:
    """Authorities between a certificate and its anchor that may not issue for mail.

    RFC 5280 gives an authority's extended key usage no meaning for those below it; every root
    programme does (Mozilla Root Store Policy 5.3). The anchor itself is believed for mail because
    the user said so.
    """
    findings: list[Finding] = []
    for authority in chain[1:-1]:
        purposes = _extension(authority, x509.ExtendedKeyUsage)
        if purposes is not None and _MAIL_PURPOSES.isdisjoint(purposes):
            findings.append(
                finding(
                    "pki.usage.extended-key-usage-chain",
                    authority.description,
                    "this authority's extended key usage has neither emailProtection nor "
                    "anyExtendedKeyUsage",
                )
            )
    return findings


def any_purpose_findings(chain: Sequence[Certificate]) -> list[Finding]:
    """Certificates below the anchor that are for mail only because they are for everything.

    RFC 5280 4.2.1.12 lets an application want the purpose itself; a pinned certificate is the last
    of its chain, and held to it as well.
    """
    findings: list[Finding] = []
    for number, one in enumerate(chain[:-1] or chain):
        purposes = _extension(one, x509.ExtendedKeyUsage)
        if purposes is None or _EMAIL_PROTECTION in purposes or _MAIL_PURPOSES.isdisjoint(purposes):
            continue
        code = "pki.usage.extended-key-usage" + ("-chain" if number else "")
        text = "extended key usage is any, and the policy wants emailProtection itself"
        findings.append(finding(code, one.description, text))
    return findings


def key_findings(
    certificate: Certificate,
    *,
    minimum_rsa_bits: int = MINIMUM_RSA_BITS,
    accept_weak: bool = False,
    code: str = "alg.key.weak",
) -> list[Finding]:
    """Whether the certificate's key is long enough.

    RFC 8551 4.2 to 4.4 say SHOULD NOT below 2048 bits of RSA, for signing, verifying and encrypting
    alike, and section 6 and RFC 8550 6 demand a warning: an error, so, and with `accept_weak` (old
    mail, reading only) a warning from 1024 bits on. Shorter keys are factored for small money: an
    error always. DSA is held to the same lengths.
    """
    where = certificate.description
    try:
        key = certificate.public_key
    except UnsupportedAlgorithm:
        return []
    except MalformedMessage as error:
        return [finding("pki.certificate.malformed", where, str(error))]
    if (kind := algorithms.find(KeyKind, certificate.key_algorithm)) is None:
        return []
    wanted = minimum_rsa_bits if kind.minimum_bits is None else kind.minimum_bits
    bits = getattr(key, "key_size", 0)
    if bits >= wanted:
        return []
    tolerable = accept_weak and bits >= kind.readable_bits
    text = f"{kind.title} key of {bits} bits, at least {wanted} wanted"
    return [finding(code, where, text, severity=Severity.WARNING if tolerable else None)]


@remembered
def usage_findings(
    certificate: Certificate,
    *,
    use: Use,
    minimum_rsa_bits: int = MINIMUM_RSA_BITS,
    accept_weak: bool = False,
) -> tuple[Finding, ...]:
    """Everything that speaks against using this one certificate in mail to "sign" or to "encrypt".

    "sign" serves making and verifying signatures, "encrypt" serves being a recipient. Neither time
    nor trust is judged: see `validate`.
    """
    where = certificate.description
    findings = extension_findings(certificate)
    findings += key_findings(
        certificate, minimum_rsa_bits=minimum_rsa_bits, accept_weak=accept_weak
    )
    findings += key_usage_findings(certificate, use=use)
    purposes = _extension(certificate, x509.ExtendedKeyUsage)
    if purposes is not None and _MAIL_PURPOSES.isdisjoint(purposes):
        listed = ", ".join(oid.dotted_string for oid in list(purposes)[:10]) or "nothing"
        findings.append(
            finding(
                "pki.usage.extended-key-usage",
                where,
                f"extended key usage is {listed}, neither emailProtection nor anyExtendedKeyUsage",
            )
        )
    constraints = _extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        text = "a certificate of an authority (CA:TRUE), not of a person"
        findings.append(finding("pki.certificate.is-ca", where, text))
    findings += _profile(certificate)
    return tuple(findings)


def key_usage_findings(certificate: Certificate, *, use: Use) -> list[Finding]:
    """Whether its kind of key can "sign" or be "encrypt"ed to, and its keyUsage lets it.

    An extension or a key that cannot be read forbids nothing here: it is a finding of others.
    """
    where = certificate.description
    try:
        _ = certificate.public_key
        kind = algorithms.by_oid(KeyKind, certificate.key_algorithm, where=f"public key of {where}")
    except UnsupportedAlgorithm as error:
        return [finding("pki.usage.key-type", where, str(error))]
    except MalformedMessage:
        return []  # key_findings says so
    if not (kind.signs if use == "sign" else kind.encrypts):
        return [finding("pki.usage.key-type", where, f"a key of type {kind.title} cannot {use}")]
    usage = _extension(certificate, x509.KeyUsage)
    if usage is None:
        return []  # RFC 8550 4.4.2: absent means every bit set
    if use == "sign":
        wanted = "digitalSignature or nonRepudiation"
        allowed = usage.digital_signature or usage.content_commitment
    elif kind.agreement is not None:
        # encipherOnly: the subject may only encipher, so could not read what is sent (RFC 5280
        # 4.2.1.3)
        wanted, allowed = "keyAgreement", usage.key_agreement and not usage.encipher_only
    else:
        wanted, allowed = "keyEncipherment", usage.key_encipherment
    if allowed:
        return []
    return [finding("pki.usage.key-usage", where, f"key usage lacks {wanted}, needed to {use}")]


def _profile(certificate: Certificate) -> list[Finding]:
    """Mistakes of the issuer that bind nobody who reads."""
    where = certificate.description
    faults: list[str] = []
    try:
        extensions = certificate.extensions
    except MalformedMessage:
        return []
    empty_subject = certificate.subject == b"\x30\x00"
    if certificate.was_put_right:
        faults.append("it is not DER, or holds a string with characters that its type has not")
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.critical:
            faults.append("key usage is not critical (RFC 8550 4.4.2)")
        if (
            isinstance(extension.value, x509.SubjectAlternativeName)
            and empty_subject
            and not extension.critical
        ):
            faults.append("the subject is empty and subjectAltName not critical (RFC 8550 3)")
    return [finding("pki.certificate.profile", where, fault) for fault in faults]


def _extension(certificate: Certificate, kind: type[_Kind]) -> _Kind | None:
    """The extension's value; None where it is absent, or malformed (a finding of
    `extension_findings`)."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except (x509.ExtensionNotFound, MalformedMessage):
        return None
