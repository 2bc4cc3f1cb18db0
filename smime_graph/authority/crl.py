"""Certificate revocation lists (RFC 5280 5): full, delta, and with entries of several issuers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ..errors import UsageError
from . import profile
from .records import Revoked

__all__ = ["Base", "read_base", "write_crl"]


@dataclass(frozen=True, slots=True)
class Base:
    """What a delta refers to: a CRL's number, and its entries as (serial, reason)."""

    number: int
    entries: frozenset[tuple[int, str]]


def read_base(der: bytes, issuer: x509.Certificate) -> Base:
    """A CRL of that issuer. UsageError for any other octets."""
    try:
        crl = x509.load_der_x509_crl(der)
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
        key: Any = issuer.public_key()
        if crl.issuer != issuer.subject or not crl.is_signature_valid(key):
            raise UsageError(
                "the base of a delta is not a CRL of this authority",
                hint="give the CRL that it made last",
            )
        indicators = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
        if any(isinstance(one.value, indicators) for one in crl.extensions):
            raise UsageError("the base of a delta is a CRL for everything that its issuer issued")
        return Base(number, frozenset((one.serial_number, _reason(one)) for one in crl))
    except UsageError:
        raise
    except (ValueError, TypeError, x509.InvalidVersion, x509.ExtensionNotFound) as error:
        raise UsageError(
            "the base of a delta is no CRL with a number, in DER", hint="give the CRL made last"
        ) from error


def _reason(entry: x509.RevokedCertificate) -> str:
    try:
        found = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        return x509.ReasonFlags.unspecified.value
    return found.value


def write_crl(
    signer: Any,
    *,
    issuer: x509.Name,
    key_identifier: x509.AuthorityKeyIdentifier,
    number: int,
    updates: tuple[datetime, datetime],
    entries: Iterable[Revoked],
    others: Sequence[tuple[x509.Name, Iterable[Revoked]]] = (),
    base: Base | None = None,
    freshest: str | None = None,
) -> bytes:
    """A CRL in DER; `updates` are thisUpdate and nextUpdate.

    `others` are entries of other issuers: the CRL is then an indirect one (5.2.5). With `base` it
    is a delta, of what changed since (5.2.4). `freshest` is the URL of its deltas (5.2.6).
    """
    listed = list(entries)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.CRLNumber(number), False),
        (key_identifier, False),
    ]
    if base is not None:
        extensions.append((x509.DeltaCRLIndicator(base.number), True))
        here = {one.serial for one in listed}
        gone = [serial for serial, _ in sorted(base.entries) if serial not in here]
        listed = [one for one in listed if (one.serial, one.reason) not in base.entries]
        listed += [Revoked(serial, updates[0], "removeFromCRL") for serial in gone]
    if freshest is not None:
        place = x509.UniformResourceIdentifier(freshest)
        points = [x509.DistributionPoint([place], None, None, None)]
        extensions.append((x509.FreshestCRL(points), False))
    if others:
        point = x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=False,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=True,
            only_contains_attribute_certs=False,
        )
        extensions.append((point, True))
    try:
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(issuer)
            .last_update(updates[0])
            .next_update(updates[1])
        )
        for value, critical in extensions:
            builder = builder.add_extension(value, critical)
        for revoked in listed:
            builder = builder.add_revoked_certificate(_entry(revoked, None))
        for name, held in others:
            for revoked in held:
                builder = builder.add_revoked_certificate(_entry(revoked, name))
        _, kind = profile.key_of(signer)
        digest: Any = kind.parameter_set(signer).digest
        made = builder.sign(signer, digest, **kind.certificate_options)
    except ValueError as error:
        raise UsageError(f"this cannot be put into a CRL: {error}") from error
    return made.public_bytes(Encoding.DER)


def _entry(revoked: Revoked, issuer: x509.Name | None) -> x509.RevokedCertificate:
    builder = (
        x509.RevokedCertificateBuilder().serial_number(revoked.serial).revocation_date(revoked.at)
    )
    if revoked.reason != "unspecified":  # 5.3.1: it is left out instead
        reason = x509.CRLReason(x509.ReasonFlags(revoked.reason))
        builder = builder.add_extension(reason, critical=False)
    if issuer is not None:
        # 5.3.3: without it an entry is of the issuer of the one before, at first the CRL's own
        name = x509.CertificateIssuer([x509.DirectoryName(issuer)])
        builder = builder.add_extension(name, critical=True)
    return builder.build()
