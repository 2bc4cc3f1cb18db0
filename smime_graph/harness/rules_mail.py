"""RFC 5280 and RFC 8550 on a certificate, and which of their rules mail programs leave out.

What the path engine and the rest of this package judge is asked of them, so that this report and
`verify` say the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from .. import oids
from ..asn1 import ber
from ..errors import MalformedMessage, SmimeGraphError
from ..findings import Finding
from ..pki.address import address_of, addresses, constraint_findings, mailbox, mailboxes
from ..pki.path import check_signature
from ..pki.usage import (
    Use,
    authority_fault,
    extension_findings,
    key_findings,
    key_usage_findings,
    validity_findings,
)
from ..x509 import names
from ..x509.certificate import Certificate
from .profiles import PROFILES, SBR
from .rules import (
    BOTH,
    EVERYBODY,
    NOTICE,
    SHA1,
    WARNING,
    Fault,
    FitnessRule,
    Subject,
    Weights,
    rule,
    shown,
    weigh,
)

# --- RFC 5280: the certificate as such ------------------------------------------------------------


def _extension_oids(certificate: Certificate) -> list[str]:
    try:
        tbs = ber.read(certificate.der, "Certificate").children()[0].children()
        if tbs[-1].tag != 0xA3:
            return []
        return [one.children()[0].as_oid("extnID") for one in tbs[-1].only("extensions").children()]
    except (MalformedMessage, IndexError):
        return []


def _repeated(certificate: Certificate) -> set[str]:
    found = _extension_oids(certificate)
    return {one for one in found if found.count(one) > 1} if len(found) <= 200 else {"more"}


@rule(
    "5280-4.1",
    "the certificate and the extensions that are known can be read",
    "RFC 5280 4.1",
    "issue it again: it is damaged, or was made by broken software",
    EVERYBODY,
    codes=("itu.invalid_asn1_syntax",),
    about=BOTH,
)
def _readable(subject: Subject) -> Iterator[Fault]:
    if subject.fault is not None and not _repeated(subject.certificate):
        yield Fault("tbsCertificate", subject.fault)


@rule(
    "5280-4.1.1.2",
    "the signature's algorithm is the same inside and outside",
    "RFC 5280 4.1.1.2",
    "issue it again: signatureAlgorithm and signature differ",
    EVERYBODY,
    codes=("pkix.certificate_signature_algorithm_mismatch",),
    about=BOTH,
)
def _same_algorithm(subject: Subject) -> Iterator[Fault]:
    if subject.signature_algorithm != subject.outer_algorithm:
        yield Fault("signatureAlgorithm", "it differs from the one inside")


@rule(
    "5280-4.1.2.1",
    "what has extensions is of version 3",
    "RFC 5280 4.1.2.1",
    "issue it as an X.509 version 3 certificate",
    weigh(SBR, "gmail", "bouncycastle", rfc8550=WARNING),
    codes=("pkix.certificate_version_is_not_v3",),
    about=BOTH,
)
def _version(subject: Subject) -> Iterator[Fault]:
    if subject.version != 3 and _extension_oids(subject.certificate):
        yield Fault("version", f"it has extensions and is of version {subject.version}")


@rule(
    "5280-4.1.2.5",
    "it begins before it ends",
    "RFC 5280 4.1.2.5",
    "issue it again with notBefore before notAfter",
    EVERYBODY,
    codes=("pkix.certificate_negative_validity_period",),
    about=BOTH,
)
def _order(subject: Subject) -> Iterator[Fault]:
    if subject.validity is not None and subject.validity[0] > subject.validity[1]:
        yield Fault("validity", "notAfter lies before notBefore")


@rule(
    "5280-4.2",
    "no extension stands twice, and none that is critical is unknown",
    "RFC 5280 4.2",
    "leave the extension out, or make it not critical",
    EVERYBODY,
    codes=("pkix.duplicate_extension",),
    about=BOTH,
)
def _extensions(subject: Subject) -> Iterator[Fault]:
    for dotted in sorted(_repeated(subject.certificate))[:10]:
        text = f"extension {dotted} stands more than once"
        yield Fault("extensions", text, weights=weigh(PROFILES, but=("thunderbird",)))
    for found in extension_findings(subject.certificate):
        if found.code == "pki.certificate.critical-extension":
            yield Fault("extensions", found.text)


@rule(
    "5280-4.2.1.3",
    "a key usage has at least one bit",
    "RFC 5280 4.2.1.3",
    "set digitalSignature, keyEncipherment or keyAgreement in keyUsage",
    weigh(SBR, "rfc8550"),
    codes=("pkix.no_ku_bits_set",),
    about=BOTH,
)
def _some_usage(subject: Subject) -> Iterator[Fault]:
    if subject.usage is not None and not subject.usage:
        yield Fault("extensions.keyUsage", "no bit is set")


# --- RFC 5280: the time, and the path as far as it came along -------------------------------------


@rule(
    "5280-6.1.3",
    "the time is within its validity, and the signature is its issuer's",
    "RFC 5280 6.1.3",
    "a new certificate",
    EVERYBODY,
    about=BOTH,
)
def _valid(subject: Subject) -> Iterator[Fault]:
    for found in validity_findings(subject.certificate, at=subject.as_of):
        if found.code != "pki.certificate.malformed":
            yield Fault("validity", found.text)
    if subject.issuer is None:
        return
    try:
        check_signature(subject.certificate, subject.issuer)
    except (InvalidSignature, SmimeGraphError) as error:
        # that the algorithms differ is said by its own rule, that one is not known by another
        if subject.signature_algorithm == subject.outer_algorithm and not hasattr(error, "oid"):
            yield Fault("signatureValue", "it is not the signature of the issuer that came along")


@rule(
    "5280-6.1.4",
    "each of its issuers is an authority that may have others below it",
    "RFC 5280 6.1.4, 4.2.1.9",
    "have it issued by an authority that may issue certificates of people",
    EVERYBODY,
)
def _authorities(subject: Subject) -> Iterator[Fault]:
    below = 0  # authorities that are not self-issued, RFC 5280 6.1.4 (l)
    for number, one in enumerate(subject.chain[1:], 1):
        is_anchor = subject.ends and number == len(subject.chain) - 1
        fault = authority_fault(one)
        if fault is not None:
            yield Fault(f"chain[{number}]", f"{one.description}: {fault}")
        constraints = Subject(one, subject.as_of).value(x509.BasicConstraints)
        limit = None if constraints is None else constraints.path_length
        if limit is not None and below > limit and not is_anchor:
            text = f"{one.description}: {below} authorities below it, at most {limit}"
            yield Fault(f"chain[{number}]", text)
        below += not one.is_self_issued


def _outside(subject: Subject) -> list[Finding]:
    return constraint_findings(subject.chain) if len(subject.chain) > 1 else []


@rule(
    "5280-4.2.1.10",
    "its names are within what its issuers may issue for",
    "RFC 5280 4.2.1.10",
    "have it issued by an authority that may issue for this domain and organization",
    weigh(PROFILES, but=("gpgsm",)),
)
def _constraints(subject: Subject) -> Iterator[Fault]:
    for found in _outside(subject):
        if found.text.split(" is outside ")[0].isascii():
            yield Fault("extensions.subjectAltName", found.text)
    for number, one in enumerate(subject.chain[1:], 1):
        constraints = Subject(one, subject.as_of).value(x509.NameConstraints)
        if constraints is None or not subject.subject:
            continue
        for excluded in (False, True):
            trees = constraints.excluded_subtrees if excluded else constraints.permitted_subtrees
            bases = [
                n.value.public_bytes() for n in trees or () if isinstance(n, x509.DirectoryName)
            ]
            lies_within = any(_lies_within(subject.certificate.subject, one) for one in bases)
            if bases and lies_within == excluded:
                text = f"the subject is outside the name constraints of chain[{number}]"
                yield Fault("subject", text)


def _lies_within(name: bytes, base: bytes) -> bool:
    """Whether a DER Name begins with all parts of another (RFC 5280 4.2.1.10, 7.1)."""
    try:
        parts, wanted = (
            [one.raw for one in ber.read(names.canonical(n), "Name").children()]
            for n in (name, base)
        )
    except MalformedMessage:
        return False
    return parts[: len(wanted)] == wanted


@rule(
    "9598-6",
    "an internationalized address is within what its issuers may issue for",
    "RFC 9598 6",
    "have it issued by an authority that may issue for this domain",
    weigh("rfc8550", SBR),
)
def _utf8_constraints(subject: Subject) -> Iterator[Fault]:
    for found in _outside(subject):
        if not found.text.split(" is outside ")[0].isascii():
            yield Fault("extensions.subjectAltName", found.text)


# --- RFC 8550 3: whose it is ----------------------------------------------------------------------


@rule(
    "8550-3-1",
    "it names a mail address",
    "RFC 8550 3",
    "add the mail address to subjectAltName as rfc822Name",
    weigh("outlook", "exchange-online", "bouncycastle")
    | weigh(rfc8550=WARNING, thunderbird=WARNING, openssl=WARNING),
)
def _address(subject: Subject) -> Iterator[Fault]:
    if subject.can_miss and not addresses(subject.certificate):
        yield Fault("extensions.subjectAltName", "neither it nor the subject has a mail address")


@rule(
    "8550-3-2",
    "the emailAddress of the subject is an IA5String of at most 255 characters",
    "RFC 8550 3, RFC 2985 5.2.1",
    "write the address into subjectAltName, and leave emailAddress out of the subject",
    weigh(SBR, rfc8550=WARNING),
    codes=("itu.invalid_asn1_syntax",),
)
def _dn_address(subject: Subject) -> Iterator[Fault]:
    for oid, text in subject.subject:
        if oid == oids.EMAIL_ADDRESS and (text is None or not text.isascii() or len(text) > 255):
            yield Fault("subject.emailAddress", "it is not ASCII, or too long")


@rule(
    "8550-3-3",
    "the address is written in small letters, as mail has it",
    "RFC 8550 3; Apple: the address is compared by case",
    "write the address as it stands in mail, in small letters",
    weigh(apple=WARNING, openssl=WARNING),
)
def _case(subject: Subject) -> Iterator[Fault]:
    for text in addresses(subject.certificate):
        local = text.rpartition("@")[0]
        if local.isascii() and local != local.lower():
            where = "extensions.subjectAltName"
            yield Fault(where, f"{shown([text[:80]])}: some tell capitals of the local part apart")


@rule(
    "8550-3-4",
    "it is of the address that is asked about",
    "RFC 8550 3",
    "have this address in subjectAltName",
    weigh(PROFILES, but=("gpgsm",)),
)
def _of_address(subject: Subject) -> Iterator[Fault]:
    if subject.address is None:
        return
    held = addresses(subject.certificate)
    if held and mailbox(subject.address) not in mailboxes(held):
        text = f"it is of {shown(held)}, not of {shown([subject.address])}"
        yield Fault("extensions.subjectAltName", text)


@rule(
    "8550-3-5",
    "an empty subject comes with a critical subjectAltName, and no issuer is empty",
    "RFC 8550 3, RFC 5280 4.1.2.4, 4.1.2.6",
    "make subjectAltName critical, or have the address as common name",
    weigh(SBR, "gmail", rfc8550=WARNING),
    codes=("pkix.san_extension_not_critical_empty_subject", "pkix.name_empty"),
)
def _empty_names(subject: Subject) -> Iterator[Fault]:
    san = subject.find(x509.SubjectAlternativeName)
    empty = ber.sequence()
    if subject.certificate.subject == empty and san is not None and not san.critical:
        yield Fault("extensions.subjectAltName", "the subject is empty, and it is not critical")
    if subject.certificate.issuer == empty:
        yield Fault("issuer", "it is empty", weights=EVERYBODY)


# --- RFC 8550 4: what it is for -------------------------------------------------------------------

_WEAK: Weights = weigh("rfc8550", outlook=WARNING, exchange_online=WARNING)
_BY_DIGEST: dict[str, Weights] = {
    **dict.fromkeys(
        SHA1, weigh("rfc8550", "gmail", "apple", outlook=WARNING, exchange_online=WARNING)
    ),
    # NSS alone refuses it of those measured; Windows since KB 2862973
    oids.MD5_WITH_RSA: weigh(
        "rfc8550", "gmail", "apple", "thunderbird", "outlook", "exchange-online"
    ),
}


@rule(
    "8550-4.3",
    "its key is long enough, and its signature's digest is not broken",
    "RFC 8550 4.3, RFC 8551 4.2 to 4.4",
    "certify an RSA key of at least 2048 bits, or one on P-256, signed with SHA-256",
    _WEAK,
    about=BOTH,
)
def _strength(subject: Subject) -> Iterator[Fault]:
    for found in key_findings(subject.certificate):
        if found.code == "alg.key.weak":
            # Windows takes no RSA key below 1024 bits (KB 2661254)
            short = getattr(subject.key, "key_size", 1024) < 1024
            weights = weigh("rfc8550", "outlook", "exchange-online") if short else None
            yield Fault("subjectPublicKeyInfo", found.text, weights=weights)
    weights = _BY_DIGEST.get(subject.signature_oid)
    if weights is not None and not subject.certificate.is_self_issued:
        name = "SHA-1" if subject.signature_oid in SHA1 else "MD5"
        yield Fault("signature", f"it is signed with {name}", weights=weights)


_MAY_BE_CRITICAL = (
    *(oids.BASIC_CONSTRAINTS, oids.KEY_USAGE, oids.AUTHORITY_KEY_IDENTIFIER),
    *(oids.SUBJECT_KEY_IDENTIFIER, oids.SUBJECT_ALT_NAME),
)


@rule(
    "8550-4.4",
    "no extension is critical but those that are handled everywhere",
    "RFC 8550 4.4",
    "make the extension not critical",
    weigh(rfc8550=WARNING),
)
def _critical(subject: Subject) -> Iterator[Fault]:
    if subject.fault is not None:
        return
    for one in subject.certificate.extensions:
        if one.critical and one.oid.dotted_string not in _MAY_BE_CRITICAL:
            yield Fault("extensions", f"{one.oid.dotted_string} is critical")


@rule(
    "8550-4.4.1",
    "a person's certificate has no basicConstraints",
    "RFC 8550 4.4.1",
    "leave basicConstraints out",
    weigh(rfc8550=NOTICE),
)
def _constraints_of_person(subject: Subject) -> Iterator[Fault]:
    if subject.value(x509.BasicConstraints) is not None:
        yield Fault("extensions.basicConstraints", "it is there")


_SIGN: Use = "sign"
_ENCRYPT: Use = "encrypt"


def _of_usage(subject: Subject, code: str, where: str) -> Iterator[Fault]:
    for use in (_SIGN, _ENCRYPT):
        for found in key_usage_findings(subject.certificate, use=use):
            if found.code == code:
                # gpgsm enciphers keys by dataEncipherment as well
                may = use == "encrypt" and "dataEncipherment" in (subject.usage or ())
                weights = weigh(PROFILES, but=("gpgsm",)) if may else None
                yield Fault(where, found.text, use=use, weights=weights)


@rule(
    "8550-4.4.2",
    "its key usage lets it sign, or be encrypted to",
    "RFC 8550 4.4.2",
    "set digitalSignature, and keyEncipherment (RSA) or keyAgreement (EC), in keyUsage",
    EVERYBODY,
)
def _usage(subject: Subject) -> Iterator[Fault]:
    yield from _of_usage(subject, "pki.usage.key-usage", "extensions.keyUsage")


@rule(
    "8551-2.3",
    "its kind of key can sign, or be encrypted to",
    "RFC 8551 2.2, 2.3",
    "nothing, or a second certificate with a key that does the other",
    EVERYBODY,
)
def _kind(subject: Subject) -> Iterator[Fault]:
    yield from _of_usage(subject, "pki.usage.key-type", "subjectPublicKeyInfo.algorithm")


@rule(
    "8550-4.4.3",
    "an address that is not ASCII stands as SmtpUTF8Mailbox, and one that is as rfc822Name",
    "RFC 8550 4.4.3, RFC 9598 3",
    "a certificate of an address that is ASCII: most programs read no other",
    weigh("rfc8550", SBR),
    codes=("pkix.smtp_utf8_mailbox_is_ascii_only", "itu.invalid_asn1_syntax"),
)
def _not_ascii(subject: Subject) -> Iterator[Fault]:
    where = "extensions.subjectAltName"
    if subject.fault is not None and oids.SUBJECT_ALT_NAME in _extension_oids(subject.certificate):
        raw = subject.certificate.der
        if any(octet > 0x7F for octet in _san_octets(raw)):
            yield Fault(where, "an rfc822Name is not ASCII")
        return
    for name in subject.san:
        text = address_of(name)
        if isinstance(name, x509.RFC822Name) and not name.value.isascii():
            yield Fault(where, "an rfc822Name is not ASCII")
        elif isinstance(name, x509.OtherName) and text is not None:
            if text.rpartition("@")[0].isascii():
                yield Fault(where, "a SmtpUTF8Mailbox is ASCII", only=("rfc8550", *SBR))
            weights = weigh("bouncycastle", openssl=WARNING, gpgsm=WARNING, outlook=WARNING)
            yield Fault(where, "its address is a SmtpUTF8Mailbox, not read there", weights=weights)


def _san_octets(der: bytes) -> bytes:
    """The contents of rfc822Names where the extension is broken, for whether they are ASCII."""
    try:
        tbs = ber.read(der, "Certificate").children()[0].children()
        for one in tbs[-1].only("extensions").children():
            fields = one.children()
            if fields[0].as_oid("extnID") == oids.SUBJECT_ALT_NAME:
                value = ber.read(bytes(fields[-1].as_octets("extnValue")), "subjectAltName")
                return b"".join(name.contents for name in value.children() if name.tag == 0x81)
    except (MalformedMessage, IndexError):
        return b""
    return b""


@rule(
    "8550-4.4.4",
    "its extended key usage, if any, is for mail: emailProtection, or anything",
    "RFC 8550 4.4.4",
    "add emailProtection (1.3.6.1.5.5.7.3.4) to the extended key usage",
    weigh(PROFILES, but=("gpgsm",)),
)
def _purpose(subject: Subject) -> Iterator[Fault]:
    purposes = subject.purposes
    if purposes is None or oids.EMAIL_PROTECTION in purposes:
        return
    where = "extensions.extKeyUsage"
    if oids.ANY_EXTENDED_KEY_USAGE in purposes:
        text = "it is for anything, and not for mail by name"
        yield Fault(where, text, weights=weigh("openssl", "thunderbird", outlook=WARNING))
    else:
        yield Fault(where, f"it is for {shown(sorted(purposes)) or 'nothing'}, and not for mail")


RULES: tuple[FitnessRule, ...] = (
    _readable,
    _same_algorithm,
    _version,
    _order,
    _extensions,
    _some_usage,
    _valid,
    _authorities,
    _constraints,
    _utf8_constraints,
    _address,
    _dn_address,
    _case,
    _of_address,
    _empty_names,
    _strength,
    _critical,
    _constraints_of_person,
    _usage,
    _kind,
    _not_ascii,
    _purpose,
)
