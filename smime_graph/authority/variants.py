"""The catalogue: what may be odd about a certificate for mail, a row each.

`sign` and `encrypt` are what RFC 8550 and 8551 say of it: the codes of the findings that make it
unfit for signatures and as a recipient's, none where it is fit. They are written down here from the
standards, and not taken from what this package does: a test holds the two against each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cryptography import x509

from .. import oids
from ..asn1 import ber
from . import mutators
from .recipes import ALICE, Authority, Leaf

__all__ = ["AUTHORITIES", "VARIANTS", "Variant"]


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: what is wrong (a sentence), the rule that it breaks, and what is expected of it."""

    id: str
    group: str
    wrong: str
    rule: str
    recipe: Leaf
    sign: tuple[str, ...] = ()
    encrypt: tuple[str, ...] = ()
    revocation: tuple[str, ...] = ()  # beside those, where the CRLs of the family are asked


def _critical(value: x509.ExtensionType, critical: bool = True) -> x509.Extension[Any]:
    return x509.Extension(value.oid, critical, value)


def _constraints(
    *,
    permitted: list[x509.GeneralName] | None = None,
    excluded: list[x509.GeneralName] | None = None,
    critical: bool = True,
) -> tuple[x509.Extension[Any], ...]:
    return (_critical(x509.NameConstraints(permitted, excluded), critical),)


def _directory(organization: str) -> x509.DirectoryName:
    name = x509.Name(
        [x509.NameAttribute(x509.ObjectIdentifier(oids.ORGANIZATION_NAME), organization)]
    )
    return x509.DirectoryName(name)


def _distribution_point(url: str) -> x509.CRLDistributionPoints:
    names = [x509.UniformResourceIdentifier(url)]
    return x509.CRLDistributionPoints([x509.DistributionPoint(names, None, None, None)])


_SERVER, _CLIENT, _CODE = oids.SERVER_AUTH, oids.CLIENT_AUTH, oids.CODE_SIGNING
_MAIL, _HOST = x509.RFC822Name, "contoso.com"
_DAY = timedelta(days=1)
_UTF8_MAILBOX = "müller@contoso.com"
_PRIVATE = oids.UNKNOWN_EXTENSION

AUTHORITIES: dict[str, Authority] = {
    "root": Authority(parent=None),
    "issuing": Authority(path_length=0),
    "other-root": Authority(parent=None, believed=False),
    "untrusted": Authority(parent="other-root", path_length=0),
    # another root has certified the issuing authority's key: two paths, one of them believed
    "cross": Authority(parent="other-root", key_of="issuing", path_length=0),
    "second": Authority(path_length=0),
    "bridged": Authority(parent="other-root", path_length=1),
    "bridge": Authority(key_of="bridged", path_length=1),
    "expired": Authority(starts=-800 * _DAY, lasts=400 * _DAY),
    "future": Authority(starts=200 * _DAY),
    "revoked": Authority(revoked="cessationOfOperation"),
    "server": Authority(eku=(_SERVER,)),
    "any-purpose": Authority(eku=(oids.ANY_EXTENDED_KEY_USAGE,)),
    "no-purpose": Authority(eku=None),
    "not-ca": Authority(is_ca=False),
    "no-constraints": Authority(without=(oids.BASIC_CONSTRAINTS,)),
    "no-cert-sign": Authority(key_usage=("digital_signature", "crl_sign")),
    "no-key-usage": Authority(key_usage=None),
    "below-0": Authority(parent="issuing", path_length=0),
    "within": Authority(extensions=_constraints(permitted=[_MAIL(_HOST), _directory("Contoso")])),
    "elsewhere": Authority(extensions=_constraints(permitted=[_MAIL("fabrikam.com")])),
    "excluded": Authority(extensions=_constraints(excluded=[_MAIL(_HOST)])),
    "excluded-dot": Authority(extensions=_constraints(excluded=[_MAIL(f".{_HOST}")])),
    "elsewhere-not-critical": Authority(
        extensions=_constraints(permitted=[_MAIL("fabrikam.com")], critical=False)
    ),
    "directory": Authority(extensions=_constraints(permitted=[_directory("Contoso")])),
    "policy-needed": Authority(
        extensions=(
            _critical(
                x509.PolicyConstraints(require_explicit_policy=0, inhibit_policy_mapping=None)
            ),
        )
    ),
    "unknown-critical": Authority(
        extensions=(
            _critical(x509.UnrecognizedExtension(x509.ObjectIdentifier(_PRIVATE), ber.null())),
        )
    ),
    "sha1": Authority(digest="sha1"),
    "rsa-1024": Authority(key="rsa-1024"),
    "stale": Authority(crl="stale"),
    "no-crl": Authority(crl="none"),
    "forged-crl": Authority(crl="forged"),
    "p256": Authority(key="p256"),
    "p384": Authority(key="p384"),
    "p521": Authority(key="p521"),
    "rsa-4096": Authority(key="rsa-4096"),
    "ed25519": Authority(key="ed25519"),
    "ed448": Authority(key="ed448"),
    "ml-dsa-65": Authority(key="ml-dsa-65"),
    "brainpool": Authority(key="brainpool-p256r1"),
}

_USAGE, _KIND = ("pki.usage.key-usage",), ("pki.usage.key-type",)
_EKU, _CHAIN = ("pki.usage.extended-key-usage",), ("pki.usage.extended-key-usage-chain",)
_NONE, _INVALID = ("pki.path.none",), ("pki.path.invalid",)
_EXPIRED, _EARLY = ("pki.path.expired",), ("pki.path.not-yet-valid",)
_WEAK_PATH, _WEAK = ("pki.path.weak-algorithm",), ("alg.key.weak",)
_MALFORMED = ("pki.certificate.malformed",)
_CRITICAL = ("pki.certificate.critical-extension",)
_ADDRESS = ("pki.address.mismatch",)

# what the CRLs of the family add to it, where revocation must be known ("hard")
_BY_CRL = {
    "revoked": ("pki.revocation.revoked",),
    "revoked-on-hold": ("pki.revocation.revoked",),
    "revoked-superseded": ("pki.revocation.revoked",),
    # RFC 5280 6.3.3 (f): nor is a CRL of a revoked issuer to be believed
    "issuer-revoked": ("pki.revocation.revoked", "pki.revocation.invalid"),
    "crl-stale": ("pki.revocation.stale",),
    "crl-none": ("pki.revocation.unknown",),
    "crl-forged": ("pki.revocation.invalid",),
}

_CN, _EMAIL, _ORGANIZATION = oids.COMMON_NAME, oids.EMAIL_ADDRESS, oids.ORGANIZATION_NAME


def _rows(group: str, *rows: tuple[Any, ...]) -> tuple[Variant, ...]:
    """Rows of id, wrong, rule, recipe, codes for signing, for encryption (if not the same)."""
    made = []
    for name, wrong, rule, recipe, *codes in rows:
        sign = codes[0] if codes else ()
        encrypt = codes[1] if len(codes) > 1 else sign
        revocation = _BY_CRL.get(name, ())
        made.append(Variant(name, group, wrong, rule, recipe, sign, encrypt, revocation))
    return tuple(made)


_KEYS = _rows(
    "key",
    ("rsa-2048", "nothing: RSA, for signatures and encryption", "-", Leaf()),
    ("rsa-3072", "nothing: a longer RSA key", "-", Leaf(key="rsa-3072")),
    ("rsa-4096", "nothing: a long RSA key", "-", Leaf(key="rsa-4096")),
    ("rsa-1024", "the RSA key is shorter than 2048 bits", "8550-4.3", Leaf(key="rsa-1024"), _WEAK),
    ("p256", "nothing: P-256, for signatures and encryption", "-", Leaf(key="p256")),
    ("p384", "nothing: P-384", "-", Leaf(key="p384")),
    ("p521", "nothing: P-521", "-", Leaf(key="p521")),
    (
        "brainpool-p256r1",
        "the curve is in no mail program's list",
        "SBR-6.1.5-2",
        Leaf(key="brainpool-p256r1"),
    ),
    ("ed25519", "nothing: Ed25519, which signs only", "-", Leaf(key="ed25519"), (), _KIND),
    ("ed448", "nothing: Ed448, which signs only", "-", Leaf(key="ed448"), (), _KIND),
    (
        "x25519",
        "the kind of key is not in the Baseline Requirements",
        "SBR-6.1.5-2",
        Leaf(key="x25519"),
        _KIND,
        (),
    ),
    (
        "x448",
        "the kind of key is not in the Baseline Requirements",
        "SBR-6.1.5-2",
        Leaf(key="x448"),
        _KIND,
        (),
    ),
    ("ml-dsa-44", "nothing: ML-DSA, which signs only", "-", Leaf(key="ml-dsa-44"), (), _KIND),
    ("ml-dsa-65", "nothing: ML-DSA, which signs only", "-", Leaf(key="ml-dsa-65"), (), _KIND),
    ("ml-dsa-87", "nothing: ML-DSA, which signs only", "-", Leaf(key="ml-dsa-87"), (), _KIND),
    ("ml-kem-768", "nothing: ML-KEM, which encrypts only", "-", Leaf(key="ml-kem-768"), _KIND, ()),
    (
        "ml-kem-1024",
        "nothing: ML-KEM, which encrypts only",
        "-",
        Leaf(key="ml-kem-1024"),
        _KIND,
        (),
    ),
)

_SIGN, _ENCIPHER, _AGREE = ("digital_signature",), ("key_encipherment",), ("key_agreement",)
_USES = _rows(
    "usage",
    ("rsa-sign", "nothing: for signatures only", "-", Leaf(key_usage=_SIGN), (), _USAGE),
    ("rsa-encrypt", "nothing: for encryption only", "-", Leaf(key_usage=_ENCIPHER), _USAGE, ()),
    (
        "p256-sign",
        "nothing: for signatures only",
        "-",
        Leaf(key="p256", key_usage=_SIGN),
        (),
        _USAGE,
    ),
    (
        "p256-encrypt",
        "nothing: for encryption only",
        "-",
        Leaf(key="p256", key_usage=_AGREE),
        _USAGE,
        (),
    ),
    ("usage-none", "there is no keyUsage", "SBR-7.1.2.3-e1", Leaf(key_usage=None)),
    (
        "usage-non-repudiation",
        "nonRepudiation is the only use",
        "SBR-7.1.2.3-e2",
        Leaf(key_usage=("content_commitment",)),
        (),
        _USAGE,
    ),
    (
        "usage-cert-sign",
        "keyCertSign is the only use",
        "SBR-7.1.2.3-e2",
        Leaf(key_usage=("key_cert_sign",)),
        _USAGE,
    ),
    (
        "usage-data-encipherment",
        "dataEncipherment is the only use",
        "SBR-7.1.2.3-e2",
        Leaf(key_usage=("data_encipherment",)),
        _USAGE,
    ),
    (
        "usage-all",
        "keyCertSign and cRLSign of a person",
        "SBR-7.1.2.3-e2",
        Leaf(key_usage=("digital_signature", "key_encipherment", "key_cert_sign", "crl_sign")),
    ),
    (
        "p256-key-encipherment",
        "an EC key cannot encipher keys",
        "SBR-7.1.2.3-e3",
        Leaf(key="p256", key_usage=_ENCIPHER),
        _USAGE,
    ),
    (
        "rsa-key-agreement",
        "an RSA key cannot agree on keys",
        "SBR-7.1.2.3-e2",
        Leaf(key_usage=(*_SIGN, *_AGREE)),
        (),
        _USAGE,
    ),
    (
        "p256-encipher-only",
        "encipherOnly: the agreed key decrypts nothing",
        "8550-4.4.2",
        Leaf(key="p256", key_usage=("digital_signature", "key_agreement", "encipher_only")),
        (),
        _USAGE,
    ),
    (
        "usage-not-critical",
        "keyUsage is not critical",
        "SBR-7.1.2.3-e1",
        Leaf(
            extensions=(
                _critical(
                    x509.KeyUsage(True, False, True, False, False, False, False, False, False),
                    False,
                ),
            )
        ),
    ),
    (
        "usage-empty",
        "keyUsage without any bit",
        "5280-4.2.1.3",
        Leaf(changes=(mutators.raw_extension(oids.KEY_USAGE, b"\x03\x01\x00", critical=True),)),
        _USAGE,
    ),
)

_PURPOSES = _rows(
    "purpose",
    ("eku-none", "there is no extended key usage", "SBR-7.1.2.3-f1", Leaf(eku=None)),
    (
        "eku-any",
        "anyExtendedKeyUsage, which some take and some refuse",
        "SBR-7.1.2.3-f2",
        Leaf(eku=(oids.ANY_EXTENDED_KEY_USAGE,)),
    ),
    (
        "eku-server",
        "serverAuth only: a web server's certificate",
        "8550-4.4.4",
        Leaf(eku=(_SERVER,)),
        _EKU,
    ),
    ("eku-client", "clientAuth only", "8550-4.4.4", Leaf(eku=(_CLIENT,)), _EKU),
    ("eku-code-signing", "codeSigning only", "8550-4.4.4", Leaf(eku=(_CODE,)), _EKU),
    ("eku-time-stamping", "timeStamping only", "8550-4.4.4", Leaf(eku=(oids.TIME_STAMPING,)), _EKU),
    (
        "eku-mail-client",
        "clientAuth beside emailProtection: not strict",
        "SBR-7.1.2.3-f2",
        Leaf(eku=(oids.EMAIL_PROTECTION, _CLIENT)),
    ),
    (
        "eku-mail-server",
        "serverAuth beside emailProtection",
        "SBR-7.1.2.3-f2",
        Leaf(eku=(oids.EMAIL_PROTECTION, _SERVER)),
    ),
    (
        "eku-mail-microsoft",
        "Microsoft's purposes beside emailProtection",
        "SBR-7.1.2.3-f2",
        Leaf(eku=(oids.EMAIL_PROTECTION, oids.MS_DOCUMENT_SIGNING)),
    ),
    (
        "eku-critical",
        "the extended key usage is critical",
        "8550-4.4",
        Leaf(
            extensions=(
                _critical(x509.ExtendedKeyUsage([x509.ObjectIdentifier(oids.EMAIL_PROTECTION)])),
            )
        ),
    ),
    (
        "issuer-eku-server",
        "the issuer may issue for web servers only",
        "SBR-CA-1",
        Leaf(issuer="server"),
        _CHAIN,
    ),
    (
        "issuer-eku-any",
        "the issuer has anyExtendedKeyUsage",
        "SBR-CA-1",
        Leaf(issuer="any-purpose"),
    ),
    (
        "issuer-eku-none",
        "the issuer has no extended key usage",
        "SBR-CA-1",
        Leaf(issuer="no-purpose"),
    ),
)

_TIMES = _rows(
    "time",
    (
        "expired",
        "it has expired",
        "5280-6.1.3",
        Leaf(starts=-400 * _DAY, lasts=399 * _DAY),
        _EXPIRED,
    ),
    (
        "expired-yesterday",
        "it expired yesterday",
        "5280-6.1.3",
        Leaf(starts=-366 * _DAY, lasts=365 * _DAY),
        _EXPIRED,
    ),
    ("not-yet-valid", "it becomes valid only tomorrow", "5280-6.1.3", Leaf(starts=_DAY), _EARLY),
    ("expires-soon", "it expires within a week", "-", Leaf(starts=-360 * _DAY)),
    (
        "days-825",
        "nothing: the longest that the strict profile allows",
        "-",
        Leaf(lasts=825 * _DAY),
    ),
    ("days-826", "it is valid for a day too many", "SBR-6.3.2-1", Leaf(lasts=826 * _DAY)),
    (
        "days-1186",
        "it is valid for longer than even the legacy profile allows",
        "SBR-6.3.2-1",
        Leaf(lasts=1186 * _DAY),
    ),
    ("issuer-expired", "its issuer has expired", "5280-6.1.3", Leaf(issuer="expired"), _EXPIRED),
    (
        "issuer-not-yet-valid",
        "its issuer is not valid yet",
        "5280-6.1.3",
        Leaf(issuer="future"),
        _EARLY,
    ),
    (
        "reversed-validity",
        "notAfter lies before notBefore",
        "5280-4.1.2.5",
        Leaf(changes=(mutators.reversed_validity,)),
        ("pki.path.expired", "pki.path.not-yet-valid"),
    ),
)

_ADDRESSES = _rows(
    "address",
    (
        "address-none",
        "no address anywhere",
        "SBR-7.1.4.2.1-1",
        Leaf(san="none", subject=((_CN, "Alice"),)),
    ),
    (
        "address-cn-only",
        "the address stands in the common name only",
        "SBR-7.1.2.3-h",
        Leaf(san="none"),
    ),
    (
        "address-dn-only",
        "the address stands in emailAddress of the subject only",
        "SBR-7.1.2.3-h",
        Leaf(san="none", subject=((_CN, "Alice"), (_EMAIL, ALICE))),
    ),
    (
        "address-other",
        "it is another person's",
        "8550-3-4",
        Leaf(addresses=("mallory@contoso.com",)),
        _ADDRESS,
    ),
    (
        "address-case-domain",
        "nothing: the domain in capitals",
        "-",
        Leaf(addresses=("alice@CONTOSO.COM",)),
    ),
    (
        "address-case-local",
        "the local part in capitals, which some tell apart",
        "8550-3-3",
        Leaf(addresses=("Alice@contoso.com",)),
    ),
    ("address-two", "nothing: two addresses", "-", Leaf(addresses=(ALICE, "a.smith@contoso.com"))),
    (
        "address-second",
        "nothing: the sender is the second address",
        "-",
        Leaf(addresses=("a.smith@contoso.com", ALICE)),
    ),
    (
        "address-utf8",
        "the local part is not ASCII: SmtpUTF8Mailbox",
        "8550-4.4.3",
        Leaf(addresses=(_UTF8_MAILBOX,)),
        _ADDRESS,
    ),
    (
        "address-idn",
        "the domain is another's A-label",
        "8550-3-4",
        Leaf(addresses=("alice@xn--cntoso-wxa.com",)),
        _ADDRESS,
    ),
    (
        "address-dns-name",
        "the subjectAltName names a host",
        "SBR-7.1.4.2.1-3",
        Leaf(extensions=(_critical(x509.SubjectAlternativeName([x509.DNSName(_HOST)]), False),)),
    ),
    (
        "address-dn-differs",
        "emailAddress of the subject is not in the subjectAltName",
        "SBR-7.1.4.2.1-2",
        Leaf(subject=((_CN, ALICE), (_EMAIL, "alice@fabrikam.com"))),
    ),
    (
        "subject-empty",
        "the subject is empty, the subjectAltName critical as it must be",
        "-",
        Leaf(subject=()),
    ),
    (
        "subject-empty-not-critical",
        "the subject is empty, the subjectAltName not critical",
        "8550-3-5",
        Leaf(
            subject=(),
            extensions=(_critical(x509.SubjectAlternativeName([x509.RFC822Name(ALICE)]), False),),
        ),
    ),
    (
        "subject-organization",
        "an organization in a mailbox-validated certificate",
        "SBR-7.1.4.2.3",
        Leaf(subject=((_CN, ALICE), (_ORGANIZATION, "Contoso"))),
    ),
    (
        "address-latin1",
        "the address is not IA5String but UTF-8 in its place",
        "8550-4.4.3",
        Leaf(
            changes=(
                mutators.raw_extension(
                    oids.SUBJECT_ALT_NAME,
                    ber.sequence(ber.context(1, "jürgen@contoso.com".encode(), constructed=False)),
                ),
            )
        ),
        _ADDRESS,
    ),
)

_REVOCATION = _rows(
    "revocation",
    ("revoked", "it was revoked yesterday", "5280-6.3", Leaf(revoked="keyCompromise")),
    ("revoked-on-hold", "it is on hold", "5280-6.3", Leaf(revoked="certificateHold")),
    ("revoked-superseded", "it was superseded", "5280-6.3", Leaf(revoked="superseded")),
    ("issuer-revoked", "its issuer was revoked", "5280-6.3", Leaf(issuer="revoked")),
    ("crl-stale", "the CRL is two months old", "5280-6.3.3", Leaf(issuer="stale")),
    ("crl-none", "there is no CRL", "5280-6.3", Leaf(issuer="no-crl")),
    ("crl-forged", "the CRL is signed by another key", "5280-6.3.3", Leaf(issuer="forged-crl")),
    (
        "no-distribution-point",
        "it does not say where its CRL is",
        "SBR-7.1.2.3-b1",
        Leaf(without=(oids.CRL_DISTRIBUTION_POINTS,)),
    ),
    (
        "no-access-information",
        "it does not say where its issuer is",
        "SBR-7.1.2.3-c1",
        Leaf(without=(oids.AUTHORITY_INFO_ACCESS,)),
    ),
    (
        "nowhere",
        "neither CRL nor issuer can be found",
        "SBR-7.1.2.3-b1",
        Leaf(without=(oids.CRL_DISTRIBUTION_POINTS, oids.AUTHORITY_INFO_ACCESS)),
    ),
    (
        "distribution-point-ldap",
        "its CRL is in a directory (LDAP) only",
        "SBR-7.1.2.3-b2",
        Leaf(extensions=(_critical(_distribution_point("ldap://pki.contoso.test/cn=crl"), False),)),
    ),
)

_CHAINS = _rows(
    "chain",
    ("missing-intermediate", "it comes without its issuer", "5280-6.1", Leaf(sends=()), _NONE),
    (
        "unneeded-certificates",
        "certificates come along that lead nowhere",
        "-",
        Leaf(sends=("second", "issuing")),
    ),
    ("untrusted-root", "its root is not believed", "5280-6.1", Leaf(issuer="untrusted"), _NONE),
    ("self-signed", "it has signed itself", "5280-6.1", Leaf(issuer="self"), _NONE),
    (
        "cross-signed",
        "nothing: two roots certify its issuer, one is believed",
        "-",
        Leaf(sends=("cross", "issuing")),
    ),
    (
        "cross-signed-only",
        "only the path to the root that is not believed comes along",
        "5280-6.1",
        Leaf(sends=("cross",)),
        _NONE,
    ),
    (
        "bridged",
        "nothing: a bridge leads to the believed root",
        "-",
        Leaf(issuer="bridged", sends=("bridge",)),
    ),
    (
        "path-too-long",
        "an authority below one that may have none",
        "5280-6.1.4",
        Leaf(issuer="below-0"),
        _INVALID,
    ),
    ("issuer-not-ca", "its issuer is no authority", "5280-6.1.4", Leaf(issuer="not-ca"), _INVALID),
    (
        "issuer-no-constraints",
        "its issuer has no basicConstraints",
        "5280-6.1.4",
        Leaf(issuer="no-constraints"),
        _INVALID,
    ),
    (
        "issuer-no-cert-sign",
        "its issuer may not sign certificates",
        "5280-6.1.4",
        Leaf(issuer="no-cert-sign"),
        _INVALID,
    ),
    ("issuer-no-key-usage", "its issuer has no keyUsage", "SBR-CA-1", Leaf(issuer="no-key-usage")),
    (
        "issuer-critical-unknown",
        "its issuer has a critical extension that nobody knows",
        "5280-4.2",
        Leaf(issuer="unknown-critical"),
        _CRITICAL,
    ),
    (
        "policy-needed",
        "nothing: a policy is needed, and there is one",
        "-",
        Leaf(issuer="policy-needed"),
    ),
    (
        "policy-missing",
        "a policy is needed, and there is none",
        "5280-6.1.5",
        Leaf(issuer="policy-needed", policies=()),
        _INVALID,
    ),
    ("chain-p256", "nothing: authority and key are P-256", "-", Leaf(issuer="p256", key="p256")),
    ("chain-p384", "nothing: authority and key are P-384", "-", Leaf(issuer="p384", key="p384")),
    ("chain-p521", "nothing: the authority's key is P-521", "-", Leaf(issuer="p521")),
    ("chain-rsa-4096", "nothing: the authority's key is long", "-", Leaf(issuer="rsa-4096")),
    ("chain-ed25519", "nothing: the authority's key is Ed25519", "-", Leaf(issuer="ed25519")),
    ("chain-ed448", "nothing: the authority's key is Ed448", "-", Leaf(issuer="ed448")),
    (
        "chain-ml-dsa-65",
        "nothing: the authority's key is ML-DSA-65",
        "-",
        Leaf(issuer="ml-dsa-65", key="ml-dsa-65"),
        (),
        _KIND,
    ),
    (
        "chain-brainpool",
        "the authority's curve is in no mail program's list",
        "SBR-6.1.5-2",
        Leaf(issuer="brainpool"),
    ),
    (
        "is-ca",
        "a person's certificate that says it is an authority",
        "SBR-7.1.2.3-d",
        Leaf(is_ca=True),
    ),
)

# an organization's certificate (S/MIME BR 7.1.4.2.4)
_OF_CONTOSO: dict[str, Any] = {
    "subject": (
        (_ORGANIZATION, "Contoso"),
        (oids.ORGANIZATION_IDENTIFIER, "NTRGB-12345678"),
        (_CN, ALICE),
    ),
    "policies": (oids.ORGANIZATION_STRICT,),
}

_NAMES = _rows(
    "names",
    (
        "names-within",
        "nothing: its address lies within what the issuer may issue",
        "-",
        Leaf(issuer="within", **_OF_CONTOSO),
    ),
    (
        "names-elsewhere",
        "its issuer may issue for another domain only",
        "5280-4.2.1.10",
        Leaf(issuer="elsewhere"),
        _INVALID,
    ),
    (
        "names-excluded",
        "its issuer may not issue for this domain",
        "5280-4.2.1.10",
        Leaf(issuer="excluded"),
        _INVALID,
    ),
    (
        "names-excluded-dot",
        "nothing: only subdomains are excluded",
        "-",
        Leaf(issuer="excluded-dot"),
    ),
    (
        "names-dn-only",
        "the address in the subject is outside too",
        "5280-4.2.1.10",
        Leaf(issuer="elsewhere", san="none", subject=((_CN, "Alice"), (_EMAIL, ALICE))),
        _INVALID,
    ),
    (
        "names-cn-only",
        "an address in the common name is no name to be constrained",
        "SBR-7.1.2.3-h",
        Leaf(issuer="elsewhere", san="none"),
    ),
    (
        "names-utf8",
        "its SmtpUTF8Mailbox is outside",
        "9598-6",
        Leaf(issuer="elsewhere", addresses=(_UTF8_MAILBOX,)),
        (*_ADDRESS, *_INVALID),
    ),
    (
        "names-not-critical",
        "the constraint counts though it is not critical",
        "5280-4.2.1.10",
        Leaf(issuer="elsewhere-not-critical"),
        _INVALID,
    ),
    (
        "names-directory",
        "its subject is outside the permitted directoryName",
        "5280-4.2.1.10",
        Leaf(issuer="directory"),
        _INVALID,
    ),
    (
        "names-directory-within",
        "nothing: its subject lies within the directoryName",
        "-",
        Leaf(issuer="directory", **_OF_CONTOSO),
    ),
)

_CRYPTO = _rows(
    "signature",
    ("sha1", "it is signed with SHA-1", "SBR-7.1.3.2-2", Leaf(digest="sha1"), _WEAK_PATH),
    ("md5", "it is signed with MD5", "8550-4.3", Leaf(digest="md5"), _WEAK_PATH),
    (
        "issuer-sha1",
        "its issuer is signed with SHA-1",
        "SBR-7.1.3.2-2",
        Leaf(issuer="sha1"),
        _WEAK_PATH,
    ),
    (
        "issuer-rsa-1024",
        "its issuer's key is shorter than 2048 bits",
        "8550-4.3",
        Leaf(issuer="rsa-1024"),
        _WEAK_PATH,
    ),
    (
        "bad-signature",
        "the signature is not its issuer's",
        "5280-6.1.3",
        Leaf(spoil=True),
        _INVALID,
    ),
    (
        "algorithms-differ",
        "signatureAlgorithm differs inside and outside",
        "5280-4.1.1.2",
        Leaf(outer="sha1"),
        _INVALID,
    ),
)

_SYNTAX = _rows(
    "syntax",
    (
        "critical-unknown",
        "a critical extension that nobody knows",
        "5280-4.2",
        Leaf(changes=(mutators.raw_extension(_PRIVATE, ber.null(), critical=True),)),
        _CRITICAL,
    ),
    (
        "private-extension",
        "nothing: an extension that nobody knows",
        "-",
        Leaf(changes=(mutators.raw_extension(_PRIVATE, ber.null()),)),
    ),
    (
        "serial-negative",
        "the serial number is negative",
        "SBR-7.1-1",
        Leaf(changes=(mutators.serial(-5),)),
    ),
    ("serial-zero", "the serial number is zero", "SBR-7.1-1", Leaf(changes=(mutators.serial(0),))),
    (
        "serial-long",
        "the serial number is longer than 20 octets",
        "SBR-7.1-1",
        Leaf(changes=(mutators.serial(1 << 170),)),
    ),
    (
        "version-1",
        "version 1: no extensions, so nothing says for what it is",
        "SBR-7.1.1-1",
        Leaf(changes=(mutators.version_1,)),
    ),
    (
        "version-1-extensions",
        "version 1 with extensions",
        "5280-4.1.2.1",
        Leaf(changes=(mutators.version_1_with_extensions,)),
    ),
    (
        "duplicate-extension",
        "keyUsage twice",
        "5280-4.2",
        Leaf(changes=(mutators.duplicate_extension(oids.KEY_USAGE),)),
        _MALFORMED,
    ),
    (
        "issuer-empty",
        "the issuer's name is empty",
        "8550-3-5",
        Leaf(changes=(mutators.empty_issuer,)),
        _NONE,
    ),
    (
        "trailing-field",
        "something stands behind the extensions",
        "5280-4.1",
        Leaf(changes=(mutators.trailing_field,)),
        _MALFORMED,
    ),
    (
        "no-authority-key-identifier",
        "it does not name its issuer's key",
        "SBR-7.1.2.3-g",
        Leaf(without=(oids.AUTHORITY_KEY_IDENTIFIER,)),
    ),
    (
        "no-subject-key-identifier",
        "it does not name its own key",
        "SBR-7.1.2.3-n",
        Leaf(without=(oids.SUBJECT_KEY_IDENTIFIER,)),
    ),
    ("no-policy", "it states no policy", "SBR-7.1.2.3-a1", Leaf(policies=())),
    ("any-policy", "it states any policy", "SBR-7.1.2.3-a2", Leaf(policies=(oids.ANY_POLICY,))),
    (
        "policy-legacy",
        "it states the legacy profile, which has ended",
        "SBR-7.1.6.1-1",
        Leaf(policies=(oids.MAILBOX_LEGACY,)),
    ),
)

VARIANTS: tuple[Variant, ...] = (
    *_KEYS,
    *_USES,
    *_PURPOSES,
    *_TIMES,
    *_ADDRESSES,
    *_REVOCATION,
    *_CHAINS,
    *_NAMES,
    *_CRYPTO,
    *_SYNTAX,
)
