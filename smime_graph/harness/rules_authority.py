"""What the S/MIME Baseline Requirements want of authorities, their CRLs and OCSP responses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from .. import oids
from ..asn1 import ber
from ..errors import SmimeGraphError
from ..x509.certificate import Certificate
from .profiles import SBR
from .rules import BR, EVERYBODY, NOTICE, SHA1, WARNING, Fault, FitnessRule, Subject, rule, weigh
from .rules_fields import SIGNATURES

_MAIL = (oids.EMAIL_PROTECTION, oids.ANY_EXTENDED_KEY_USAGE)
_NOT_FOR_MAIL = (
    *(oids.SERVER_AUTH, oids.CODE_SIGNING, oids.TIME_STAMPING, oids.ANY_EXTENDED_KEY_USAGE),
)


def _authority_extensions(subject: Subject) -> Iterator[Fault]:
    """What is wanted of roots and of those below them alike."""
    if not subject.can_miss:
        return
    constraints = subject.find(x509.BasicConstraints)
    if constraints is None or not constraints.value.ca or not constraints.critical:
        yield Fault("extensions.basicConstraints", "it is not there, not CA:TRUE, or not critical")
    usage = subject.find(x509.KeyUsage)
    if usage is None:
        yield Fault("extensions", "there is no keyUsage")
    elif not usage.critical:
        yield Fault("extensions.keyUsage", "it is not critical")
    if usage is not None and not {"keyCertSign", "cRLSign"} <= (subject.usage or set()):
        yield Fault("extensions.keyUsage", "it has not both keyCertSign and cRLSign")
    found = subject.find(x509.SubjectKeyIdentifier)
    if found is None or found.critical:
        yield Fault("extensions.subjectKeyIdentifier", "it is not there, or critical")


@rule(
    "SBR-CA-1",
    "an issuing authority is one for mail, and says where it comes from",
    "S/MIME BR 7.1.2.2, Mozilla Root Store Policy 5.3",
    "a certificate of an authority that is made for mail by the S/MIME BR",
    BR,
    about=("authority",),
)
def _issuing(subject: Subject) -> Iterator[Fault]:
    if subject.certificate.is_self_issued:
        return
    yield from _authority_extensions(subject)
    if not subject.can_miss:
        return
    purposes, where = subject.purposes, "extensions.extKeyUsage"
    if purposes is None:
        yield Fault("extensions", "there is no extended key usage")
    else:
        if not purposes & {*_MAIL}:
            # RFC 5280 gives it no meaning; these hold those below it to it
            weights = weigh("rfc8550", SBR, "outlook", "exchange-online", "openssl", "thunderbird")
            yield Fault(where, "it is not for mail", weights=weights)
        elif oids.EMAIL_PROTECTION not in purposes:
            weights = weigh(SBR, "openssl", "thunderbird")
            yield Fault(where, "it is for anything, and not for mail by name", weights=weights)
        if purposes & {*_NOT_FOR_MAIL}:
            yield Fault(where, "it is for servers, code, timestamps or anything as well")
    if not subject.policies:
        yield Fault("extensions", "there is no certificatePolicies")
    points = subject.value(x509.CRLDistributionPoints) or ()
    uris = [
        name.value.lower()
        for point in points
        for name in point.full_name or ()
        if isinstance(name, x509.UniformResourceIdentifier)
    ]
    if not any(one.startswith("http:") for one in uris):
        yield Fault("extensions.cRLDistributionPoints", "it does not say by http where its CRL is")
    key = subject.value(x509.AuthorityKeyIdentifier)
    if key is None or key.key_identifier is None or key.authority_cert_issuer:
        yield Fault("extensions.authorityKeyIdentifier", "it is not there, or not by key alone")


@rule(
    "SBR-CA-2",
    "an issuing authority states reserved policies, or any",
    "S/MIME BR 7.1.6.3",
    "state the reserved policies of the people's certificates in the authority's",
    BR,
    about=("authority",),
)
def _policies(subject: Subject) -> Iterator[Fault]:
    if subject.certificate.is_self_issued or not subject.policies:
        return
    if not subject.reserved and oids.ANY_POLICY not in subject.policies:
        where = "extensions.certificatePolicies"
        yield Fault(where, "it states neither a reserved policy nor anyPolicy")


@rule(
    "SBR-CA-3",
    "a root is an authority without purposes, path length and policies",
    "S/MIME BR 7.1.2.1",
    "another root: one is not changed",
    BR,
    about=("authority",),
)
def _root(subject: Subject) -> Iterator[Fault]:
    if not subject.certificate.is_self_issued:
        return
    yield from _authority_extensions(subject)
    if subject.purposes is not None:
        yield Fault("extensions.extKeyUsage", "it is there")
    constraints = subject.value(x509.BasicConstraints)
    if constraints is not None and constraints.path_length is not None:
        yield Fault("extensions.basicConstraints", "it has a path length", should=True)
    if subject.policies:
        yield Fault("extensions.certificatePolicies", "it is there", should=True)


@rule(
    "SBR-CA-4",
    "an authority's name has common name, organization and country",
    "S/MIME BR 7.1.4.3.1",
    "name the authority by commonName, organizationName and countryName",
    BR,
    about=("authority",),
)
def _authority_name(subject: Subject) -> Iterator[Fault]:
    kinds = {oid for oid, _ in subject.subject}
    wanted = {
        oids.COMMON_NAME: "commonName",
        oids.ORGANIZATION_NAME: "organizationName",
        oids.COUNTRY_NAME: "countryName",
    }
    missing = [name for oid, name in wanted.items() if oid not in kinds]
    if missing:
        yield Fault("subject", f"it lacks {', '.join(missing)}")


@rule(
    "SBR-CA-5",
    "a technically constrained authority is held to domains and to an organization",
    "S/MIME BR 7.1.5",
    "permit rfc822Name (a host, or .host) and directoryName in nameConstraints",
    weigh(sbr_strict=NOTICE, sbr_multipurpose=NOTICE, sbr_legacy=NOTICE),
    about=("authority",),
)
def _constrained(subject: Subject) -> Iterator[Fault]:
    constraints = subject.value(x509.NameConstraints)
    if constraints is None:
        return
    permitted = constraints.permitted_subtrees or ()
    mail = [one.value for one in permitted if isinstance(one, x509.RFC822Name)]
    where = "extensions.nameConstraints"
    if not mail or not any(isinstance(one, x509.DirectoryName) for one in permitted):
        yield Fault(where, "rfc822Name or directoryName is not constrained")
    if any("@" in one for one in mail):
        yield Fault(where, "an rfc822Name is a whole address")


@rule(
    "SBR-CA-6",
    "an authority's new RSA key has 4096 bits since 15 September 2026",
    "S/MIME BR 6.1.5 (SMC017v2, voted on until 30 June 2026)",
    "an authority with a longer key",
    weigh(sbr_strict=WARNING, sbr_multipurpose=WARNING, sbr_legacy=WARNING),
    since=date(2026, 9, 15),
    about=("authority",),
)
def _authority_key(subject: Subject) -> Iterator[Fault]:
    key = subject.key
    if (
        isinstance(key, rsa.RSAPublicKey)
        and key.key_size < 4096
        and subject.issued_since(date(2026, 9, 15))
    ):
        yield Fault("subjectPublicKeyInfo", f"the authority's RSA key has {key.key_size} bits")


@rule(
    "SBR-CA-7",
    "an authority that issues has an RSA key of 3072 bits or more since 15 September 2027",
    "S/MIME BR 6.1.5 (SMC017v2, voted on until 30 June 2026)",
    "which authority issues from then on",
    weigh(sbr_strict=WARNING, sbr_multipurpose=WARNING, sbr_legacy=WARNING),
    since=date(2027, 9, 15),
    about=("authority",),
)
def _issuing_key(subject: Subject) -> Iterator[Fault]:
    key = subject.key
    if isinstance(key, rsa.RSAPublicKey) and key.key_size < 3072:
        yield Fault("subjectPublicKeyInfo", f"the authority's RSA key has {key.key_size} bits")


# --- CRLs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RevocationList:
    """A CRL as its rules see it; `issuer` is known where its certificate came along."""

    crl: x509.CertificateRevocationList
    as_of: datetime
    issuer: Certificate | None = None

    @cached_property
    def signature_algorithm(self) -> bytes:
        der = self.crl.public_bytes(Encoding.DER)
        return ber.read(der, "CertificateList").children()[1].raw

    @property
    def times(self) -> list[tuple[str, datetime]]:
        after = self.crl.next_update_utc
        now = [("thisUpdate", self.crl.last_update_utc)]
        return now if after is None else [*now, ("nextUpdate", after)]

    @property
    def forged(self) -> bool:
        """Whether its issuer came along, and has not signed it."""
        if self.issuer is None:
            return False
        try:
            return not self.crl.is_signature_valid(self.issuer.public_key)  # type: ignore[arg-type]
        except (SmimeGraphError, TypeError, ValueError):
            return False  # a kind of key that is not known: its own rule says so

    @cached_property
    def entries(self) -> list[x509.RevokedCertificate]:
        return list(self.crl)[:_MOST_ENTRIES]


_MOST_ENTRIES = 20_000
_Signed = Any  # RevocationList or Response


@rule(
    "5280-5.1",
    "a CRL has a number and names its issuer's key",
    "RFC 5280 5.2.1, 5.2.3",
    "publish CRLs with cRLNumber and authorityKeyIdentifier",
    weigh(SBR, rfc8550=WARNING),
    about=("crl",),
)
def _crl_extensions(crl: RevocationList) -> Iterator[Fault]:
    kinds: dict[str, type[x509.ExtensionType]] = {
        "cRLNumber": x509.CRLNumber,
        "authorityKeyIdentifier": x509.AuthorityKeyIdentifier,
    }
    for name, kind in kinds.items():
        if not any(isinstance(one.value, kind) for one in crl.crl.extensions):
            yield Fault("crlExtensions", f"there is no {name}")


@rule(
    "5280-6.3.3",
    "a CRL or an OCSP response is of now, and signed by whom it says",
    "RFC 5280 6.3.3, RFC 6960 4.2.2",
    "a CRL and OCSP responses of now",
    EVERYBODY,
    about=("crl", "ocsp"),
)
def _fresh(signed: _Signed) -> Iterator[Fault]:
    for place, moment in signed.times:
        if place == "nextUpdate" and moment < signed.as_of:
            yield Fault(place, f"the next one was due on {moment:%Y-%m-%d %H:%M:%SZ}")
        if place == "thisUpdate" and moment > signed.as_of:
            yield Fault(place, f"it is of {moment:%Y-%m-%d %H:%M:%SZ}, which is to come")
    if signed.forged:
        yield Fault("signature", "it is not the signature of the issuer that came along")


@rule(
    "SBR-CRL-1",
    "the next CRL comes within ten days; one of authorities within twelve months",
    "S/MIME BR 4.9.7",
    "publish the CRL of people's certificates once a week",
    BR,
    about=("crl",),
)
def _often(crl: RevocationList) -> Iterator[Fault]:
    after = crl.crl.next_update_utc
    if after is None:
        yield Fault("nextUpdate", "it is not there")
        return
    lasts = after - crl.crl.last_update_utc
    text = f"the next one comes after {lasts.days} days"
    if lasts > timedelta(days=366):
        yield Fault("nextUpdate", text)
    elif lasts > timedelta(days=10):
        yield Fault("nextUpdate", f"{text}, too late if it is of people's", should=True)


@rule(
    "SBR-CRL-2",
    "a reason is not critical, never unspecified, and no certificate is on hold",
    "S/MIME BR 7.2.2, 4.9.13",
    "revoke for a reason of RFC 5280 5.3.1, and never put on hold",
    BR,
    about=("crl",),
)
def _reasons(crl: RevocationList) -> Iterator[Fault]:
    for number, entry in enumerate(crl.entries):
        place = f"revokedCertificates[{number}].reasonCode"
        for one in entry.extensions:
            if not isinstance(one.value, x509.CRLReason):
                continue
            if one.critical:
                yield Fault(place, "it is critical")
            if one.value.reason is x509.ReasonFlags.unspecified:
                yield Fault(place, "it is unspecified")
            if one.value.reason is x509.ReasonFlags.certificate_hold:
                yield Fault(place, "it is certificateHold", only=("sbr-strict",))


@rule(
    "SBR-CRL-3",
    "a CRL or an OCSP response is signed with SHA-256 or better",
    "S/MIME BR 7.1.3.2 (SMC016)",
    "sign CRLs and OCSP responses with SHA-256",
    BR,
    about=("crl", "ocsp"),
)
def _signature(signed: _Signed) -> Iterator[Fault]:
    if signed.signature_algorithm not in SIGNATURES:
        algorithm = ber.read(signed.signature_algorithm, "AlgorithmIdentifier").children()[0]
        oid = algorithm.as_oid("algorithm")
        name = "SHA-1" if oid in SHA1 else oid
        yield Fault("signatureAlgorithm", f"it is signed with {name}, or encoded otherwise")


# --- OCSP -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Response:
    """A successful OCSP response as its rules see it; whose signature it has is not checked."""

    response: ocsp.OCSPResponse
    as_of: datetime

    @cached_property
    def singles(self) -> list[ocsp.OCSPSingleResponse]:
        return list(self.response.responses)[:_MOST_ENTRIES]

    @cached_property
    def signature_algorithm(self) -> bytes:
        der = self.response.public_bytes(Encoding.DER)
        outer = ber.read(der, "OCSPResponse").children()[1].only("responseBytes").children()
        basic = ber.read(bytes(outer[1].as_octets("response")), "BasicOCSPResponse")
        return basic.children()[1].raw

    @property
    def times(self) -> list[tuple[str, datetime]]:
        found = [("thisUpdate", one.this_update_utc) for one in self.singles]
        after = [one.next_update_utc for one in self.singles]
        return [*found, *(("nextUpdate", one) for one in after if one is not None)]

    forged = False

    @cached_property
    def responders(self) -> list[Subject]:
        return [
            Subject(Certificate(one.public_bytes(Encoding.DER)), self.as_of)
            for one in self.response.certificates
        ]


@rule(
    "SBR-OCSP-1",
    "an OCSP response counts for 8 hours to 10 days",
    "S/MIME BR 4.9.10",
    "give OCSP responses a nextUpdate within 8 hours to 10 days",
    BR,
    about=("ocsp",),
)
def _lasts(response: Response) -> Iterator[Fault]:
    for one in response.singles:
        after = one.next_update_utc
        if after is None:
            yield Fault("nextUpdate", "it is not there")
        elif not timedelta(hours=8) <= after - one.this_update_utc <= timedelta(days=10):
            yield Fault("nextUpdate", f"it counts for {after - one.this_update_utc}")


@rule(
    "SBR-OCSP-2",
    "a responder that is not the authority is made for OCSP, and not asked about itself",
    "S/MIME BR 4.9.9, RFC 6960 4.2.2.2",
    "certify the responder for OCSPSigning, with id-pkix-ocsp-nocheck",
    weigh(SBR, "rfc8550"),
    about=("ocsp",),
)
def _responder(response: Response) -> Iterator[Fault]:
    for one in response.responders:
        if one.is_authority:
            continue
        if oids.OCSP_SIGNING not in (one.purposes or ()):
            yield Fault("certs", f"{one.certificate.description} is not for OCSPSigning")
        if one.named(oids.OCSP_NOCHECK) is None:
            text = f"{one.certificate.description} has no id-pkix-ocsp-nocheck"
            yield Fault("certs", text, only=SBR)


@rule(
    "SBR-OCSP-3",
    "no response has a reason as an extension",
    "S/MIME BR 7.3",
    "leave reasonCode out of singleExtensions",
    BR,
    about=("ocsp",),
)
def _no_reason(response: Response) -> Iterator[Fault]:
    if len(response.singles) != 1:
        return  # `cryptography` shows the extensions of a single one alone
    for one in response.response.single_extensions:
        if isinstance(one.value, x509.CRLReason):
            yield Fault("singleExtensions", "there is a reasonCode")


RULES: tuple[FitnessRule, ...] = (
    _issuing,
    _policies,
    _root,
    _authority_name,
    _constrained,
    _authority_key,
    _issuing_key,
    _crl_extensions,
    _fresh,
    _often,
    _reasons,
    _signature,
    _lasts,
    _responder,
    _no_reason,
)
