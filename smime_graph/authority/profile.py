"""What the certificates of the test authority are made of: kinds of key, names, extensions.

The mailbox profile of the S/MIME Baseline Requirements (BR), strict generation, and RFC 5280.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID as Aia
from cryptography.x509.oid import NameOID

from .. import algorithms, oids
from ..algorithms import Digest, KeyKind, SignatureScheme
from ..asn1 import ber
from ..errors import Hint, UsageError
from ..pki.address import a_labels
from ..x509.certificate import Certificate

# A peer whose clock is behind must not find the certificate of a second ago "not yet valid".
_BACKDATED = timedelta(hours=1)
_MAX_COMMON_NAME = 64  # RFC 5280 appendix A.1: ub-common-name


_LONGEST_KIND = 40  # what is longer may be a key given in place of its kind, and is not shown


def key_of(key: Any, *, signs: bool = False) -> tuple[Any, KeyKind]:
    """A private key and its kind, from the name of a parameter set or from a key at hand.

    UsageError for another, and with `signs` for one that cannot sign a certificate.
    """
    kinds = algorithms.rows(KeyKind)
    known = {one.name: (one, kind) for kind in kinds for one in kind.parameter_sets}
    hint = f"use one of {', '.join(name for name in known if known[name][1].signs or not signs)}"
    if isinstance(key, str):
        if key not in known:
            named = f"key kind {key}" if len(key) <= _LONGEST_KIND else "the kind of key given"
            raise UsageError(f"{named} is not known", hint=hint)
        parameter_set, kind = known[key]
    else:
        fit = (kind for _, kind in known.values() if isinstance(key, kind.private))
        if (found := next(fit, None)) is None:
            raise UsageError(f"a {type(key).__name__} is not a kind of key that can be certified")
        kind = found
    if signs and not kind.signs:
        raise UsageError(f"a {kind.name} key cannot sign certificates", hint=hint)
    return (parameter_set.generate() if isinstance(key, str) else key), kind


def build(
    signer: Any,
    *,
    subject: x509.Name,
    issuer: x509.Name,
    public_key: Any,
    validity: tuple[datetime, datetime],
    extensions: Iterable[x509.Extension[Any]],
    serial: int | None = None,
) -> Certificate:
    try:
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public_key)
            .serial_number(x509.random_serial_number() if serial is None else serial)
            .not_valid_before(validity[0])
            .not_valid_after(validity[1])
        )
        for one in extensions:
            builder = builder.add_extension(one.value, one.critical)
        _, kind = key_of(signer)
        digest: Any = kind.parameter_set(signer).digest
        made = builder.sign(signer, digest, **kind.certificate_options)
    except (ValueError, TypeError) as error:
        raise UsageError(f"this cannot be put into a certificate: {error}") from error
    return Certificate(made.public_bytes(Encoding.DER))


def sign(key: Any, data: bytes) -> tuple[bytes, bytes]:
    """The AlgorithmIdentifier and the signature, with the digest that certificates have."""
    _, kind = key_of(key)
    scheme, sign = next(
        (one, one.sign)
        for one in algorithms.rows(SignatureScheme)
        if kind.name in one.keys and one.sign is not None
    )
    hash_: Any = kind.parameter_set(key).digest
    name = scheme.digests[0] if hash_ is None else hash_.name
    digest = algorithms.by_name(Digest, name)
    oid = next((o for o, fixed in scheme.by_oid.items() if fixed == name), scheme.oid(digest))
    parameters = [ber.null()] if scheme.parameters == "null" else []
    return ber.sequence(ber.oid(oid), *parameters), sign(key, data, digest)


def validity_of(
    at: datetime | None,
    lifetime: timedelta,
    not_before: datetime | None,
    not_after: datetime | None,
    within: Certificate | None = None,
) -> tuple[datetime, datetime]:
    for moment in (at, not_before, not_after):
        if moment is not None and moment.utcoffset() is None:
            raise UsageError(
                f"{moment.isoformat()} has no time zone", hint="use a datetime with tzinfo=UTC"
            )
    try:
        start = not_before or (at or datetime.now(UTC)) - _BACKDATED
        start = start.astimezone(UTC).replace(microsecond=0)
        if not_after is None:
            # notAfter is the last second within: the day after would be a day too many (BR 6.3.2)
            not_after = start + lifetime - timedelta(seconds=1)
            if within is not None:
                not_after = max(min(not_after, within.not_after), start)
        return start, not_after.astimezone(UTC).replace(microsecond=0)
    except OverflowError:
        raise UsageError(
            "the validity leaves the years 1 to 9999", hint="give a time and a lifetime within"
        ) from None


def authority_name(name: str) -> x509.Name:
    try:
        return x509.Name(
            [
                x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "smime_graph tests"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
    except ValueError as error:
        raise UsageError(f"the authority's name cannot be used: {error}") from error


def person_name(common_name: str) -> x509.Name:
    """CN alone (S/MIME BR 7.1.4.2.3); an address too long for it leaves the subject empty."""
    if len(common_name) > _MAX_COMMON_NAME:
        return x509.Name([])
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def authority_extensions(private_key: Any, *, path_length: int | None) -> list[x509.Extension[Any]]:
    return [
        x509.Extension(
            x509.BasicConstraints.oid,
            True,
            x509.BasicConstraints(ca=True, path_length=path_length),
        ),
        *key_usage_extension(("key_cert_sign", "crl_sign", "digital_signature")),
        extension(x509.SubjectKeyIdentifier.from_public_key(private_key.public_key())),
    ]


def extension(value: x509.ExtensionType) -> x509.Extension[Any]:
    return x509.Extension(value.oid, False, value)


_KEY_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


def key_usage_extension(bits: Collection[str] | None) -> list[x509.Extension[Any]]:
    if not bits:
        return []
    if unknown := set(bits) - set(_KEY_USAGES):
        raise UsageError(
            f"key usage {', '.join(sorted(unknown))} is not known",
            hint=f"use some of {', '.join(_KEY_USAGES)}",
        )
    try:
        value = x509.KeyUsage(**{name: name in bits for name in _KEY_USAGES})
    except ValueError as error:
        raise UsageError(f"this key usage cannot be written: {error}") from error
    return [x509.Extension(x509.KeyUsage.oid, True, value)]


def usage_of(kind: KeyKind, use: Literal["both", "sign", "encrypt"]) -> tuple[str, ...]:
    """The keyUsage of a kind of key for a use. UsageError for one that it does not have.

    "both" is all that it can, of a kind that signs.
    """
    signing = ("digital_signature",) if kind.signs else ()
    encrypting = (kind.encrypts,) if kind.encrypts else ()
    if use == "both" and not kind.signs:
        raise UsageError(
            f"a {kind.name} key cannot sign",
            hint=Hint(
                "give use='encrypt', or a kind of key that signs: its companion comes with it",
                "use",
            ),
        )
    wanted = {"both": signing + encrypting, "sign": signing, "encrypt": encrypting}[use]
    if not wanted:
        hint = f"use {kind.companion}" if kind.companion else "use a kind of key that can"
        raise UsageError(f"a {kind.name} key cannot {use}", hint=hint)
    return wanted


def purposes_extension(eku: Collection[str] | None) -> list[x509.Extension[Any]]:
    if not eku:
        return []
    return [extension(x509.ExtendedKeyUsage([_object_identifier(oid) for oid in eku]))]


def policies_extension(policies: Collection[str]) -> list[x509.Extension[Any]]:
    if not policies:
        return []
    found = [x509.PolicyInformation(_object_identifier(oid), None) for oid in policies]
    return [extension(x509.CertificatePolicies(found))]


def _object_identifier(dotted: str) -> x509.ObjectIdentifier:
    try:
        return x509.ObjectIdentifier(dotted)
    except ValueError as error:
        raise UsageError(f"{dotted!r} is not an object identifier") from error


def addresses_extension(emails: Sequence[str], *, critical: bool) -> list[x509.Extension[Any]]:
    if not emails:
        return []
    names = [_general_name(email) for email in emails]
    return [
        x509.Extension(
            x509.SubjectAlternativeName.oid, critical, x509.SubjectAlternativeName(names)
        )
    ]


def _general_name(email: str) -> x509.GeneralName:
    local, at, domain = email.rpartition("@")
    # RFC 9598 3: in both kinds of name a domain stands as A-labels
    labels = domain if domain.isascii() else a_labels(domain)
    if not (local and at and labels) or any(c.isspace() or not c.isprintable() for c in email):
        raise UsageError(
            f"{email!r} is not a mail address", hint="use a form like alice@contoso.com"
        )
    try:
        if local.isascii():
            return x509.RFC822Name(f"{local}@{labels}")
    except ValueError as error:
        raise UsageError(f"{email!r} cannot be put into a certificate: {error}") from error
    text = ber.tlv(ber.UTF8_STRING, f"{local}@{labels}".encode())
    return x509.OtherName(x509.ObjectIdentifier(oids.SMTP_UTF8_MAILBOX), text)


def service_name(certificate: Certificate) -> str:
    """What an authority is called in the paths of its services."""
    identifier = certificate.subject_key_identifier or bytes.fromhex(certificate.sha256)
    return identifier.hex()[:16]


def services_extensions(url: str, name: str) -> list[x509.Extension[Any]]:
    """Where an issuer's CRL, its certificate and its OCSP responder are, below a URL."""
    try:
        crl, ocsp, issuers = (
            x509.UniformResourceIdentifier(f"{url}/{path}")
            for path in (f"{name}.crl", "ocsp", f"{name}.cer")
        )
    except ValueError as error:
        raise UsageError(f"{url!r} cannot be put into a certificate: {error}") from error
    access = [
        x509.AccessDescription(Aia.OCSP, ocsp),
        x509.AccessDescription(Aia.CA_ISSUERS, issuers),
    ]
    points = [x509.DistributionPoint([crl], None, None, None)]
    return [
        extension(x509.CRLDistributionPoints(points)),
        extension(x509.AuthorityInformationAccess(access)),
    ]


def replace_extensions(
    made: Iterable[x509.Extension[Any]], given: Iterable[x509.Extension[Any]]
) -> list[x509.Extension[Any]]:
    by_oid = {one.oid: one for one in (*made, *given)}
    return list(by_oid.values())
