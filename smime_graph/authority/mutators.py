"""Changes that no certificate builder makes: the to-be-signed fields changed, then signed anew.

Each takes the fields of a TBSCertificate (RFC 5280 4.1), the octets of one element each, and gives
them changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from .. import oids
from ..asn1 import ber
from ..errors import UsageError
from ..x509.certificate import Certificate

__all__ = ["Mutator", "sign_anew"]

Fields = list[bytes]
Mutator = Callable[[Fields], Fields]

# places in the fields of a certificate of version 3
_VERSION, _SERIAL, _SIGNATURE, _ISSUER, _VALIDITY, _SUBJECT, _KEY, _EXTENSIONS = range(8)

_DIGESTS: dict[str, tuple[type[hashes.HashAlgorithm], str, str | None]] = {
    "md5": (hashes.MD5, oids.MD5_WITH_RSA, None),
    "sha1": (hashes.SHA1, oids.SHA1_WITH_RSA, oids.ECDSA_WITH_SHA1),
    "sha256": (hashes.SHA256, oids.SHA256_WITH_RSA, oids.ECDSA_WITH_SHA256),
}


def _fields(certificate: Certificate) -> Fields:
    tbs = ber.read(certificate.der, "certificate").children()[0]
    return [bytes(child.raw) for child in tbs.children()]


def _algorithm(signer: Any, digest: str) -> tuple[Any, bytes]:
    if digest not in _DIGESTS:
        raise UsageError(f"digest {digest} is not known", hint=f"use {', '.join(_DIGESTS)}")
    hash_, of_rsa, of_ec = _DIGESTS[digest]
    if isinstance(signer, rsa.RSAPrivateKey):
        return hash_(), ber.sequence(ber.oid(of_rsa), ber.null())
    if isinstance(signer, ec.EllipticCurvePrivateKey) and of_ec:
        return hash_(), ber.sequence(ber.oid(of_ec))
    raise UsageError(f"no certificate is signed anew with a {type(signer).__name__} and {digest}")


def sign_anew(
    certificate: Certificate,
    signer: Any,
    *,
    changes: Sequence[Mutator] = (),
    digest: str = "sha256",
    outer: str | None = None,
    spoil: bool = False,
) -> Certificate:
    """The certificate with its fields changed, signed by `signer` (RSA or EC) with `digest`.

    `outer` names another digest in the signatureAlgorithm that stands outside (RFC 5280 4.1.1.2
    wants both the same); `spoil` changes the last bit of the signature.
    """
    hash_, algorithm = _algorithm(signer, digest)
    fields = _fields(certificate)
    fields[_SIGNATURE] = algorithm
    for change in changes:
        fields = change(fields)
    tbs = ber.sequence(*fields)
    if isinstance(signer, rsa.RSAPrivateKey):
        signature = signer.sign(tbs, padding.PKCS1v15(), hash_)
    else:
        signature = signer.sign(tbs, ec.ECDSA(hash_, deterministic_signing=True))
    if spoil:
        signature = signature[:-1] + bytes((signature[-1] ^ 1,))
    if outer is not None:
        algorithm = _algorithm(signer, outer)[1]
    return Certificate(ber.sequence(tbs, algorithm, ber.bit_string(signature)))


def serial(number: int) -> Mutator:
    """Any serial number, of any sign and length."""
    octets = number.to_bytes(number.bit_length() // 8 + 1, signed=True)

    def change(fields: Fields) -> Fields:
        return [*fields[:_SERIAL], ber.tlv(ber.INTEGER, octets), *fields[_SIGNATURE:]]

    return change


def version_1(fields: Fields) -> Fields:
    """Version 1 (the default, so not written), without extensions."""
    return fields[_SERIAL:_EXTENSIONS]


def version_1_with_extensions(fields: Fields) -> Fields:
    """Version 1 that has extensions all the same: RFC 5280 4.1.2.1 forbids it."""
    return fields[_SERIAL:]


def reversed_validity(fields: Fields) -> Fields:
    """notAfter first."""
    times = [bytes(time.raw) for time in ber.read(fields[_VALIDITY], "validity").children()]
    return [*fields[:_VALIDITY], ber.sequence(*reversed(times)), *fields[_SUBJECT:]]


def empty_issuer(fields: Fields) -> Fields:
    return [*fields[:_ISSUER], ber.sequence(), *fields[_VALIDITY:]]


def trailing_field(fields: Fields) -> Fields:
    """An element behind the last that is defined."""
    return [*fields, ber.context(9, ber.null())]


def _extensions(fields: Fields) -> Fields:
    return [bytes(e.raw) for e in ber.read(fields[-1], "extensions", tag=0xA3).only("e").children()]


def _with(fields: Fields, extensions: Sequence[bytes]) -> Fields:
    return [*fields[:-1], ber.context(3, ber.sequence(*extensions))]


def duplicate_extension(dotted: str) -> Mutator:
    """The extension twice (RFC 5280 4.2: no more than one instance)."""

    def change(fields: Fields) -> Fields:
        found = _extensions(fields)
        again = [one for one in found if ber.oid(dotted) in one[: len(ber.oid(dotted)) + 4]]
        return _with(fields, [*found, *again])

    return change


def raw_extension(dotted: str, value: bytes, *, critical: bool = False) -> Mutator:
    """An extension of any value in place of that of the same name, or behind the others."""
    truth = [ber.tlv(ber.BOOLEAN, b"\xff")] if critical else []
    made = ber.sequence(ber.oid(dotted), *truth, ber.octet_string(value))

    def change(fields: Fields) -> Fields:
        marks = ber.oid(dotted)
        others = [one for one in _extensions(fields) if marks not in one[: len(marks) + 4]]
        return _with(fields, [*others, made])

    return change
