"""The S/MIME Baseline Requirements 7.1.2.3 (CA/Browser Forum): the extensions of people's
certificates.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import date

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID as Aia

from .. import oids
from ..asn1 import ber
from ..errors import MalformedMessage
from .profiles import SBR, FitnessProfile
from .rules import (
    BR,
    KEM_KINDS,
    NOT_LEGACY,
    SIGNING_KINDS,
    STRICT,
    WARNING,
    Fault,
    FitnessRule,
    Subject,
    rule,
    shown,
    weigh,
)

# --- 7.1.2.3 a: policies --------------------------------------------------------------------------


@rule(
    "SBR-7.1.2.3-a1",
    "it states policies, and not as critical",
    "S/MIME BR 7.1.2.3 (a)",
    "add certificatePolicies with the reserved policy of its profile, not critical",
    BR,
    codes=(
        "cabf.smime.certificate_policies_extension_missing",
        "cabf.critical_certificate_policies_extension",
    ),
)
def _has_policies(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.CertificatePolicies)
    if found is None and subject.can_miss:
        yield Fault("extensions", "there is no certificatePolicies")
    elif found is not None and found.critical:
        yield Fault("extensions.certificatePolicies", "it is critical", should=True)


@rule(
    "SBR-7.1.2.3-a2",
    "it states exactly one reserved policy (2.23.140.1.5), and not anyPolicy",
    "S/MIME BR 7.1.2.3 (a), 7.1.6.1",
    "state the one reserved policy that says how the subject was validated, as 2.23.140.1.5.1.3",
    BR,
    codes=(
        "cabf.smime.no_required_reserved_policy_oid",
        "cabf.smime.multiple_reserved_policy_oids",
        "cabf.smime.anypolicy_present",
    ),
)
def _one_policy(subject: Subject) -> Iterator[Fault]:
    where = "extensions.certificatePolicies"
    if oids.ANY_POLICY in subject.policies:
        yield Fault(where, "it states anyPolicy")
    if not subject.policies:
        return  # said by the rule above
    if not subject.reserved:
        yield Fault(where, "it states no reserved policy")
    elif len(subject.reserved) > 1:
        yield Fault(where, f"it states {len(subject.reserved)} reserved policies")
    else:
        profile = subject.reserved[0][1]
        others = tuple(one for one in SBR if one != profile)
        text = f"it states {profile}, and so is not held to this one"
        yield Fault(where, text, should=True, only=others)


@rule(
    "SBR-7.1.2.3-a3",
    "a policy's CPS is a web address, a notice has a text and no reference",
    "S/MIME BR 7.1.2.3 (a)",
    "give the CPS as an http or https address, a notice as explicitText alone",
    BR,
    codes=("cabf.cps_uri_is_not_http", "cabf.smime.usernotice_has_noticeref"),
)
def _qualifiers(subject: Subject) -> Iterator[Fault]:
    for policy in subject.value(x509.CertificatePolicies) or ():
        for qualifier in policy.policy_qualifiers or ():
            where = "extensions.certificatePolicies.policyQualifiers"
            if isinstance(qualifier, str):
                if not qualifier.lower().startswith(("http://", "https://")):
                    yield Fault(where, f"the CPS is {shown([qualifier[:80]])}")
            elif qualifier.notice_reference is not None or not qualifier.explicit_text:
                yield Fault(where, "a notice has a noticeRef, or no explicitText")


@rule(
    "SBR-7.1.6.1-1",
    "no certificate of the legacy profile is issued since 15 July 2025",
    "S/MIME BR 7.1.6.1",
    "issue it by the strict or the multipurpose profile",
    BR,
    since=date(2025, 7, 15),
    codes=("cabf.smime.legacy_generation_certificate_issued_after_prohibition",),
)
def _legacy(subject: Subject) -> Iterator[Fault]:
    if any(profile == "sbr-legacy" for _, profile in subject.reserved) and subject.issued_since(
        date(2025, 7, 15)
    ):
        yield Fault("extensions.certificatePolicies", "it states the legacy profile")


# --- 7.1.2.3 b, c: where CRLs and issuers are -----------------------------------------------------


def _uris(points: Iterable[x509.DistributionPoint]) -> list[str]:
    return [
        name.value
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    ]


def _is_http(uri: str) -> bool:
    return uri.lower().startswith("http:")


@rule(
    "SBR-7.1.2.3-b1",
    "it says where the CRL of its issuer is, not as critical",
    "S/MIME BR 7.1.2.3 (b)",
    "add cRLDistributionPoints with the http address of the CRL",
    weigh(SBR, "exchange-online", outlook=WARNING, gpgsm=WARNING),
    codes=("cabf.smime.crldp_extension_missing", "cabf.critical_crldp_extension"),
)
def _has_crl(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.CRLDistributionPoints)
    if found is None:
        if subject.can_miss:
            yield Fault("extensions", "there is no cRLDistributionPoints")
        return
    if not _uris(found.value):
        yield Fault("extensions.cRLDistributionPoints", "it holds no address")
    if found.critical:
        yield Fault("extensions.cRLDistributionPoints", "it is critical", should=True, only=SBR)


@rule(
    "SBR-7.1.2.3-b2",
    "its CRL is to be had by http",
    "S/MIME BR 7.1.2.3 (b)",
    "give the address of the CRL as http://, without ldap:// and file: beside it",
    weigh(SBR, "exchange-online", outlook=WARNING, gpgsm=WARNING),
    codes=("cabf.smime.crldp_fullname_prohibited_uri_scheme", "cabf.no_http_crldp_uri"),
)
def _crl_by_http(subject: Subject) -> Iterator[Fault]:
    uris = _uris(subject.value(x509.CRLDistributionPoints) or ())
    others = [one for one in uris if not _is_http(one)]
    if others:
        some = any(map(_is_http, uris))
        text = f"its CRL is at {shown(one[:80] for one in others)}"
        only = NOT_LEGACY if some else None
        yield Fault("extensions.cRLDistributionPoints", text, only=only)


@rule(
    "SBR-7.1.2.3-c1",
    "it says where its issuer's certificate is, and not as critical",
    "S/MIME BR 7.1.2.3 (c)",
    "add authorityInfoAccess with the http address of the issuer's certificate (caIssuers)",
    weigh(SBR, exchange_online=WARNING, outlook=WARNING),
    codes=(
        "cabf.aia_extension_missing",
        "cabf.aia_ca_issuers_missing",
        "pkix.authority_information_access_extension_critical",
    ),
)
def _access(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.AuthorityInformationAccess)
    if found is None:
        if subject.can_miss:
            yield Fault("extensions", "there is no authorityInfoAccess", should=True)
        return
    if found.critical:
        yield Fault("extensions.authorityInfoAccess", "it is critical")
    if not any(one.access_method == Aia.CA_ISSUERS for one in found.value):
        yield Fault("extensions.authorityInfoAccess", "it has no caIssuers", should=True)


@rule(
    "SBR-7.1.2.3-c2",
    "issuers and OCSP are to be had by http",
    "S/MIME BR 7.1.2.3 (c)",
    "give the addresses of authorityInfoAccess as http://",
    weigh(SBR, exchange_online=WARNING),
    codes=(
        "cabf.smime.aia_prohibited_uri_scheme",
        "cabf.smime.aia_prohibited_generalname_type",
        "cabf.aia_ca_issuers_has_no_http_uri",
        "cabf.aia_ocsp_has_no_http_uri",
    ),
)
def _access_by_http(subject: Subject) -> Iterator[Fault]:
    found = subject.value(x509.AuthorityInformationAccess) or ()
    for method in (Aia.OCSP, Aia.CA_ISSUERS):
        places = [one.access_location for one in found if one.access_method == method]
        by_http = [
            isinstance(one, x509.UniformResourceIdentifier) and _is_http(one.value)
            for one in places
        ]
        if not all(by_http):
            name = "OCSP" if method == Aia.OCSP else "its issuer's certificate"
            only = NOT_LEGACY if any(by_http) else None
            yield Fault("extensions.authorityInfoAccess", f"{name} is not at http://", only=only)


# --- 7.1.2.3 d to h: what it is for ---------------------------------------------------------------


@rule(
    "SBR-7.1.2.3-d",
    "it is no authority's",
    "S/MIME BR 7.1.2.3 (d), RFC 8550 4.4.1",
    "leave basicConstraints out, or empty",
    weigh(SBR, "thunderbird", rfc8550=WARNING),
    codes=("cabf.smime.is_ca_certificate", "pkix.basic_constraints_has_pathlen_for_non_ca"),
)
def _no_authority(subject: Subject) -> Iterator[Fault]:
    constraints = subject.value(x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        yield Fault("extensions.basicConstraints.cA", "it says CA:TRUE")
    elif constraints is not None and constraints.path_length is not None:
        yield Fault("extensions.basicConstraints", "it has a pathLenConstraint", only=SBR)


@rule(
    "SBR-7.1.2.3-e1",
    "it has a key usage, as critical",
    "S/MIME BR 7.1.2.3 (e), RFC 8550 4.4.2",
    "add keyUsage, critical: digitalSignature, and keyEncipherment (RSA) or keyAgreement (EC)",
    weigh(SBR, rfc8550=WARNING),
    codes=(
        "cabf.smime.key_usage_extension_missing",
        "cabf.smime.ku_extension_not_critical",
        "pkix.key_usage_extension_not_critical",
    ),
)
def _has_usage(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.KeyUsage)
    if found is None and subject.can_miss:
        yield Fault("extensions", "there is no keyUsage", only=SBR)
    elif found is not None and not found.critical:
        yield Fault("extensions.keyUsage", "it is not critical", should=True)


def _usage_faults(
    subject: Subject, main: str | None, beside: dict[str, tuple[FitnessProfile, ...]]
) -> Iterator[Fault]:
    """What speaks against the bits of a key that signs with digitalSignature and encrypts with
    `main`; `beside` are the bits that may stand beside it, and for which profiles they may not.
    """
    usage = subject.usage
    if usage is None:
        return
    where = "extensions.keyUsage"
    if not usage & {"digitalSignature", main}:
        wanted = f"neither digitalSignature nor {main}" if main else "no digitalSignature"
        yield Fault(where, f"it has {wanted}")
    allowed = {main} if main else set()
    if "digitalSignature" in usage:
        allowed |= {"digitalSignature", "nonRepudiation"}
    for bit in sorted(usage - allowed):
        if bit in beside and main in usage:
            if beside[bit]:
                yield Fault(where, f"it has {bit}", only=beside[bit])
        elif bit != "nonRepudiation" or usage != {"nonRepudiation"}:
            yield Fault(where, f"it has {bit}")


_KU = (
    "cabf.smime.prohibited_ku_present",
    "cabf.smime.unknown_certificate_key_usage_type",
    "pkix.key_usage_value_prohibited_for_rsa",
    "pkix.key_usage_value_prohibited_for_ec",
    "pkix.key_usage_value_prohibited_for_edwards_curve",
    "pkix.key_usage_value_required_but_missing_for_edwards_curve",
    "pkix.key_usage_value_prohibited_for_mldsa",
    "pkix.key_usage_value_prohibited_for_mlkem",
    "pkix.ee_certificate_keycertsign_keyusage_set",
    "pkix.both_encipheronly_and_decipheronly_ku_set",
)


@rule(
    "SBR-7.1.2.3-e2",
    "an RSA key is for digitalSignature, keyEncipherment or both, and nothing else",
    "S/MIME BR 7.1.2.3 (e)",
    "set digitalSignature and keyEncipherment in keyUsage, and no other bit",
    BR,
    codes=_KU,
)
def _rsa_usage(subject: Subject) -> Iterator[Fault]:
    if subject.key_algorithm in (oids.RSA_ENCRYPTION, oids.RSASSA_PSS):
        yield from _usage_faults(subject, "keyEncipherment", {"dataEncipherment": STRICT})


@rule(
    "SBR-7.1.2.3-e3",
    "an EC key is for digitalSignature, keyAgreement or both, and nothing else",
    "S/MIME BR 7.1.2.3 (e)",
    "set digitalSignature and keyAgreement in keyUsage, and no other bit",
    BR,
    codes=_KU,
)
def _ec_usage(subject: Subject) -> Iterator[Fault]:
    if subject.key_algorithm == oids.EC_PUBLIC_KEY:
        beside: dict[str, tuple[FitnessProfile, ...]] = {"encipherOnly": (), "decipherOnly": ()}
        yield from _usage_faults(subject, "keyAgreement", beside)
        if {"encipherOnly", "decipherOnly"} <= (subject.usage or set()):
            yield Fault("extensions.keyUsage", "it has encipherOnly and decipherOnly")


@rule(
    "SBR-7.1.2.3-e4",
    "an Ed25519, Ed448 or ML-DSA key is for digitalSignature, and nothing else",
    "S/MIME BR 7.1.2.3 (e)",
    "set digitalSignature in keyUsage, and no other bit",
    BR,
    codes=_KU,
)
def _signing_usage(subject: Subject) -> Iterator[Fault]:
    if subject.key_algorithm in SIGNING_KINDS:
        yield from _usage_faults(subject, None, {})


@rule(
    "SBR-7.1.2.3-e5",
    "an ML-KEM key is for keyEncipherment, and nothing else",
    "S/MIME BR 7.1.2.3 (e)",
    "set keyEncipherment in keyUsage, and no other bit",
    BR,
    codes=_KU,
)
def _kem_usage(subject: Subject) -> Iterator[Fault]:
    if subject.key_algorithm in KEM_KINDS and subject.usage not in (
        None,
        frozenset({"keyEncipherment"}),
    ):
        yield Fault("extensions.keyUsage", f"it has {shown(sorted(subject.usage or ()))}")


@rule(
    "SBR-7.1.2.3-f1",
    "its extended key usage has emailProtection",
    "S/MIME BR 7.1.2.3 (f), Apple Root Program",
    "add emailProtection (1.3.6.1.5.5.7.3.4) to the extended key usage",
    weigh(SBR, "apple"),
    codes=(
        "cabf.smime.extended_key_usage_extension_missing",
        "cabf.smime.emailprotection_eku_missing",
    ),
)
def _for_mail(subject: Subject) -> Iterator[Fault]:
    if subject.purposes is None:
        if subject.can_miss:
            yield Fault("extensions", "there is no extended key usage")
    elif oids.EMAIL_PROTECTION not in subject.purposes:
        yield Fault("extensions.extKeyUsage", "emailProtection is not in it")


_FORBIDDEN = {
    oids.SERVER_AUTH: "serverAuth",
    oids.CODE_SIGNING: "codeSigning",
    oids.TIME_STAMPING: "timeStamping",
    oids.ANY_EXTENDED_KEY_USAGE: "anyExtendedKeyUsage",
}


@rule(
    "SBR-7.1.2.3-f2",
    "no purpose for servers, code, timestamps or anything; strict: emailProtection alone",
    "S/MIME BR 7.1.2.3 (f)",
    "have emailProtection alone in the extended key usage",
    BR,
    codes=("cabf.smime.prohibited_eku_present",),
)
def _other_purposes(subject: Subject) -> Iterator[Fault]:
    purposes = subject.purposes or frozenset()
    bad = [name for oid, name in _FORBIDDEN.items() if oid in purposes]
    others = sorted(purposes - _FORBIDDEN.keys() - {oids.EMAIL_PROTECTION})
    if bad:
        yield Fault("extensions.extKeyUsage", f"it has {', '.join(bad)}")
    if others:
        yield Fault("extensions.extKeyUsage", f"it has {shown(others)} as well", only=STRICT)


@rule(
    "SBR-7.1.2.3-g",
    "it names its issuer's key by the identifier alone, not as critical",
    "S/MIME BR 7.1.2.3 (g), RFC 5280 4.2.1.1",
    "add authorityKeyIdentifier with the keyIdentifier of the issuing authority",
    BR,
    codes=(
        "pkix.authority_key_identifier_extension_absent",
        "pkix.authority_key_identifier_keyid_missing",
        "pkix.authority_key_identifier_critical",
        "cabf.authority_key_identifier_has_issuer_cert",
    ),
)
def _issuers_key(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.AuthorityKeyIdentifier)
    where = "extensions.authorityKeyIdentifier"
    if found is None:
        if subject.can_miss:
            yield Fault("extensions", "there is no authorityKeyIdentifier")
        return
    if found.critical:
        yield Fault(where, "it is critical")
    if found.value.key_identifier is None:
        yield Fault(where, "it has no keyIdentifier")
    if found.value.authority_cert_issuer or found.value.authority_cert_serial_number is not None:
        yield Fault(where, "it names the issuer's certificate")


@rule(
    "SBR-7.1.2.3-h",
    "it has a subjectAltName, critical only where the subject is empty",
    "S/MIME BR 7.1.2.3 (h), Apple Root Program",
    "add subjectAltName with the mail address as rfc822Name",
    weigh(SBR, "apple", gmail=WARNING),
    codes=(
        "cabf.smime.san_extension_missing",
        "pkix.san_extension_is_critical_non_empty_subject",
    ),
)
def _has_san(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.SubjectAlternativeName)
    if found is None:
        if subject.can_miss:
            yield Fault("extensions", "there is no subjectAltName")
    elif found.critical and subject.subject:
        text = "it is critical though the subject is not empty"
        yield Fault("extensions.subjectAltName", text, should=True, only=SBR)


# --- 7.1.2.3 i to n: other extensions -------------------------------------------------------------


def _not_critical(subject: Subject, dotted: str, name: str) -> Iterator[Fault]:
    found = subject.named(dotted)
    if found is not None and found.critical:
        yield Fault(f"extensions.{name}", "it is critical", only=SBR)


@rule(
    "SBR-7.1.2.3-i",
    "smimeCapabilities is not critical",
    "S/MIME BR 7.1.2.3 (i)",
    "make smimeCapabilities not critical",
    BR,
    codes=("pkix.smime_capabilities_extension_critical",),
)
def _capabilities(subject: Subject) -> Iterator[Fault]:
    yield from _not_critical(subject, oids.SMIME_CAPABILITIES, "smimeCapabilities")


@rule(
    "SBR-7.1.2.3-j",
    "no subjectDirectoryAttributes; legacy: not critical",
    "S/MIME BR 7.1.2.3 (j)",
    "leave subjectDirectoryAttributes out",
    BR,
    codes=(
        "cabf.smime.subject_directory_attributes_extension_prohibited",
        "pkix.subject_directory_attributes_extension_critical",
    ),
)
def _directory_attributes(subject: Subject) -> Iterator[Fault]:
    found = subject.named(oids.SUBJECT_DIRECTORY_ATTRIBUTES)
    if found is not None:
        only = None if found.critical else NOT_LEGACY
        yield Fault("extensions.subjectDirectoryAttributes", "it is there", only=only)


@rule(
    "SBR-7.1.2.3-k",
    "qcStatements is not critical",
    "S/MIME BR 7.1.2.3 (k)",
    "make qcStatements not critical",
    BR,
    codes=("cabf.smime.qc_statements_extension_critical",),
)
def _qualified(subject: Subject) -> Iterator[Fault]:
    yield from _not_critical(subject, oids.QC_STATEMENTS, "qcStatements")


@rule(
    "SBR-7.1.2.3-l",
    "a legal entity's identifier is there for organizations and sponsors alone, not critical",
    "S/MIME BR 7.1.2.3 (l)",
    "leave the LEI out, or have the certificate issued as one of an organization or a sponsor",
    BR,
    codes=(
        "cabf.smime.lei_extension_prohibited",
        "cabf.smime.lei_extension_critical",
        "cabf.smime.lei_role_extension_prohibited",
        "cabf.smime.lei_role_extension_critical",
        "iso.lei.invalid_lei_format",
    ),
)
def _legal_entity(subject: Subject) -> Iterator[Fault]:
    allowed = {oids.LEI: ("organization", "sponsor"), oids.LEI_ROLE: ("sponsor",)}
    for dotted, kinds in allowed.items():
        name = "lei" if dotted == oids.LEI else "role"
        found = subject.named(dotted)
        if found is None:
            continue
        yield from _not_critical(subject, dotted, name)
        if subject.kind is not None and subject.kind not in kinds:
            yield Fault(f"extensions.{name}", f"it is there for a {subject.kind}")
        if dotted == oids.LEI and not _LEI.fullmatch(_text_of(found)):
            yield Fault(f"extensions.{name}", "it is no LEI of 18 characters and two digits")


_LEI = re.compile(r"[0-9A-Z]{18}[0-9]{2}")


def _text_of(extension: x509.Extension[x509.UnrecognizedExtension]) -> str:
    try:
        return ber.read(extension.value.value, "lei", tag=0x13).contents.decode("ascii")
    except (MalformedMessage, UnicodeDecodeError):
        return ""


@rule(
    "SBR-7.1.2.3-m",
    "no extension of Adobe's; multipurpose and legacy: not critical",
    "S/MIME BR 7.1.2.3 (m)",
    "leave Adobe's extensions out",
    BR,
    codes=(
        "cabf.smime.adobe_timestamp_extension_prohibited",
        "cabf.smime.adobe_archive_revinfo_extension_prohibited",
        "cabf.smime.adobe_timestamp_extension_critical",
        "cabf.smime.adobe_archive_revinfo_extension_critical",
    ),
)
def _adobe(subject: Subject) -> Iterator[Fault]:
    for dotted in (oids.ADOBE_TIME_STAMP, oids.ADOBE_ARCHIVE_REVOCATION_INFO):
        found = subject.named(dotted)
        if found is not None:
            only = None if found.critical else STRICT
            yield Fault("extensions", f"there is Adobe's extension {dotted}", only=only)


@rule(
    "SBR-7.1.2.3-n",
    "it names its own key, and not as critical",
    "S/MIME BR 7.1.2.3 (n)",
    "add subjectKeyIdentifier, not critical",
    BR,
    codes=(
        "pkix.certificate_skid_end_entity_missing",
        "pkix.certificate_skid_extension_critical",
    ),
)
def _own_key(subject: Subject) -> Iterator[Fault]:
    found = subject.find(x509.SubjectKeyIdentifier)
    if found is None and subject.can_miss:
        yield Fault("extensions", "there is no subjectKeyIdentifier", should=True)
    elif found is not None and found.critical:
        yield Fault("extensions.subjectKeyIdentifier", "it is critical")


RULES: tuple[FitnessRule, ...] = (
    _has_policies,
    _one_policy,
    _qualifiers,
    _legacy,
    _has_crl,
    _crl_by_http,
    _access,
    _access_by_http,
    _no_authority,
    _has_usage,
    _rsa_usage,
    _ec_usage,
    _signing_usage,
    _kem_usage,
    _for_mail,
    _other_purposes,
    _issuers_key,
    _has_san,
    _capabilities,
    _directory_attributes,
    _qualified,
    _legal_entity,
    _adobe,
    _own_key,
)
