"""A test twin of a certificate: the same in everything that a program looks at, and nobody's.

    twin = mirror(certificate, issuers=chain)      # an Identity: there is a key to it

For the failure in the field whose certificate may be seen, and whose key may not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha1, sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from .. import algorithms, oids
from ..algorithms import Digest, KeyKind, SignatureScheme
from ..arguments import checked
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields
from ..cms.parameters import read_pss, write_signature
from ..errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from ..pki.identity import Identity
from ..pki.path import check_signature
from ..x509.certificate import Certificate
from .issue import CA
from .masks import Masks
from .profile import key_of, service_name, services_extensions, sign

__all__ = ["mirror"]

_MAX_CHAIN = 8
_HOUR = timedelta(hours=1)
# what a certificate of `CA` can hold, with an hour at both ends
_FIRST, _LAST = datetime(1950, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
_RSA_BITS = range(1024, 4097)  # what is made here; smaller cannot be, larger takes long
_SERVICES = (oids.CRL_DISTRIBUTION_POINTS, oids.AUTHORITY_INFO_ACCESS)


@checked
def mirror(
    certificate: Certificate, *, issuers: Sequence[Certificate] = (), ca: CA | None = None
) -> Identity:
    """A certificate like that one, with a new key and the names of nobody.

    The kind and size of key, the validity, the extensions in their order, the lengths and string
    types of names, how addresses and name constraints go together, the signature algorithm, even
    what is wrong about it: all that is the same. Those of `issuers` that are above it are mirrored
    too and come along as `chain`; in place of the root stands `ca`, by default a new authority. A
    self-signed one signs itself. Where `ca` has services, what it signs names those.

    What cannot be the same: a signature by `ca` is of its kind of key, an RSA key has 1024 to 4096
    bits, and in place of a kind of key that cannot be made here (DSA) there is a P-256 one.
    Raises UsageError for a certificate that is too broken to be read.
    """
    try:
        return _mirror(certificate, issuers, ca)
    except MalformedMessage as error:
        raise UsageError(
            f"no twin can be made of the certificate {certificate.sha256[:16]}...: {error}",
            hint="cert check says what is wrong with it",
        ) from error


def _mirror(certificate: Certificate, issuers: Sequence[Certificate], ca: CA | None) -> Identity:
    above: list[Certificate] = []
    here = certificate
    while (found := _issuer_of(here, issuers)) is not None and len(above) < _MAX_CHAIN:
        if found.is_self_issued or found in above:
            break
        above.append(found)
        here = found
    masks = Masks()
    if ca is None:
        ca = _root_for(here, [certificate, *above])
    issuer: tuple[Any, Certificate] = (ca.private_key, ca.certificate)
    original = _issuer_of(here, issuers)
    chain: list[Certificate] = []
    for one in reversed(above):
        key = _new_key(one)
        twin = _twin(one, key, issuer, original, masks, ca)
        if issuer[1] == ca.certificate:
            ca.enter(twin)
        chain.insert(0, twin)
        issuer, original = (key, twin), one
    key = _new_key(certificate)
    _, kind = key_of(key)
    if certificate.is_self_issued and kind.signs:
        return Identity(key, _twin(certificate, key, (key, None), certificate, masks, ca))
    twin = _twin(certificate, key, issuer, original, masks, ca)
    identity = Identity(key, twin, chain=(*chain, *ca.chain))
    if not chain:
        ca.enter(twin, emails=identity.emails)
    return identity


def _issuer_of(certificate: Certificate, issuers: Sequence[Certificate]) -> Certificate | None:
    if certificate.is_self_issued:
        return None
    named = (one for one in issuers if one.canonical_subject == certificate.canonical_issuer)
    return next(named, None)


def _root_for(top: Certificate, below: Sequence[Certificate]) -> CA:
    """A new root that is valid whenever one of those is."""
    try:
        times = [moment for one in below for moment in (one.not_before, one.not_after)]
    except MalformedMessage:
        return CA(key=_kind_of_signer(top))
    start = max(min(times), _FIRST)
    end = min(max(times), _LAST)
    return CA(key=_kind_of_signer(top), at=start, lifetime=end - start + 2 * _HOUR)


def _kind_of_signer(certificate: Certificate) -> str:
    """The kind of key that signed it, as far as its signature algorithm tells."""
    oid = _outer_algorithm(certificate).oid
    kinds = {kind.name: kind for kind in algorithms.rows(KeyKind)}
    for scheme in algorithms.rows(SignatureScheme):
        if oid not in scheme.by_oid or scheme.sign is None:
            continue
        held = [kinds[name] for name in scheme.keys if name in kinds]
        sets = [one.name for kind in held for one in kind.parameter_sets]
        usual = [one for one in ("rsa-2048", "p256") if one in sets]
        return (usual or sets or ["p256"])[0]
    return "p256"


def _outer_algorithm(certificate: Certificate) -> AlgorithmIdentifier:
    outer = Fields(ber.read(certificate.der, "Certificate"), "Certificate")
    outer.any("tbsCertificate")
    return AlgorithmIdentifier.read(outer.any("signatureAlgorithm"), "signatureAlgorithm")


def _new_key(certificate: Certificate) -> Any:
    """Of the same kind and size."""
    try:
        public: Any = certificate.public_key
    except (MalformedMessage, UnsupportedAlgorithm):
        public = None
    if isinstance(public, rsa.RSAPublicKey):
        bits = min(max(public.key_size, _RSA_BITS[0]), _RSA_BITS[-1])
        exponent = 3 if public.public_numbers().e == 3 else 65537
        return rsa.generate_private_key(exponent, bits)
    kind = None if public is None else algorithms.kind_of(public)
    names = [] if kind is None else [one.name for one in kind.parameter_sets]
    if kind is None or not names:
        return key_of("p256")[0]
    return kind.parameter_set(public).generate()


def _twin(
    certificate: Certificate,
    key: Any,
    issuer: tuple[Any, Certificate | None],
    original: Certificate | None,
    masks: Masks,
    ca: CA,
) -> Certificate:
    """`issuer` is the key and certificate of the twin's issuer, whose twin is that of `original`.

    Without a certificate it is its own.
    """
    outer = ber.read(certificate.der, "Certificate").children()
    fields = [(one.tag, bytes(one.raw)) for one in outer[0].children()]
    first = 1 if fields[0][0] == 0xA0 else 0
    info = _key_info(certificate, key)
    name = masks.der(certificate.subject)
    own = _key_identifier(info)
    signer, issued_by = issuer
    if issued_by is None:
        issuer_name, authority = name, own
    else:
        issuer_name = issued_by.subject
        authority = issued_by.subject_key_identifier or _key_identifier(issued_by.public_key_info)
    algorithm, make = _signing(signer, _outer_algorithm(certificate))
    serial = _serial(certificate.serial)
    stated = fields[first + 1][1]
    made = [raw for _, raw in fields]
    # what the certificate says inside of the algorithm may be another one: then it still is
    made[first + 1] = algorithm if stated == bytes(outer[1].raw) else stated
    made[first], made[first + 2], made[first + 4] = serial, issuer_name, name
    made[first + 5] = info

    def value_of(oid: str, value: bytes) -> bytes:
        if oid == oids.SUBJECT_KEY_IDENTIFIER:
            return _like_identifier(value, own)
        if oid == oids.AUTHORITY_KEY_IDENTIFIER:
            return _authority_identifier(value, authority, issued_by, serial, issuer_name)
        if oid in _SERVICES and ca.services is not None and issued_by == ca.certificate:
            return _services_of(ca, oid)
        return masks.der(value)

    for place in range(first + 6, len(fields)):
        tag, raw = fields[place]
        if tag == 0xA3:
            made[place] = _extensions(raw, value_of)
        elif tag in (0x81, 0x82):  # issuerUniqueID, subjectUniqueID
            length = len(ber.read(raw, "UniqueIdentifier", tag=tag).contents)
            made[place] = ber.tlv(tag, bytes(length))
    tbs = ber.sequence(*made)
    signature = make(tbs)
    if original is not None and not _is_signed_by(certificate, original):
        signature = signature[:-1] + bytes((signature[-1] ^ 1,))
    return Certificate(ber.sequence(tbs, algorithm, ber.bit_string(signature)))


def _is_signed_by(certificate: Certificate, issuer: Certificate) -> bool:
    try:
        check_signature(certificate, issuer)
    except (InvalidSignature, MalformedMessage):
        return False
    except UnsupportedAlgorithm:
        return True  # nobody here can tell
    return True


def _serial(octets: bytes) -> bytes:
    """Another serial number of the same length and sign; `octets` is the INTEGER."""
    contents = bytes(ber.read(octets, "serialNumber", tag=ber.INTEGER).contents)
    if len(contents) < 2:
        return octets  # of one octet there are too few
    first = contents[0]
    if first not in (0, 0xFF):
        first = (os.urandom(1)[0] % 0x7E + 1) | (first & 0x80)
        return ber.tlv(ber.INTEGER, bytes((first,)), os.urandom(len(contents) - 1))
    second = (os.urandom(1)[0] & 0x7F) | (contents[1] & 0x80)
    return ber.tlv(ber.INTEGER, bytes((first, second)), os.urandom(len(contents) - 2))


def _key_info(certificate: Certificate, key: Any) -> bytes:
    """SubjectPublicKeyInfo of the new key, with the algorithm as the original states it."""
    made = key.public_key().public_bytes(ser.Encoding.DER, ser.PublicFormat.SubjectPublicKeyInfo)
    there = Fields(ber.read(certificate.public_key_info, "SubjectPublicKeyInfo"), "key")
    new = Fields(ber.read(made, "SubjectPublicKeyInfo"), "key")
    algorithm, usual = bytes(there.any("algorithm").raw), bytes(new.any("algorithm").raw)
    # RSASSA-PSS with its limits, or no NULL: of the same key
    stated = algorithm if isinstance(key, rsa.RSAPrivateKey) else usual
    return ber.sequence(stated, bytes(new.any("subjectPublicKey").raw))


def _key_identifier(info: bytes) -> bytes:
    fields = Fields(ber.read(info, "SubjectPublicKeyInfo"), "key")
    fields.any("algorithm")
    bits = fields.any("subjectPublicKey").as_bits()
    return sha1(bits, usedforsecurity=False).digest()


def _like_identifier(value: bytes, own: bytes) -> bytes:
    """A key identifier of the same length (RFC 5280 4.2.1.2 leaves open how it is made)."""
    try:
        length = len(ber.read(value, "SubjectKeyIdentifier", tag=ber.OCTET_STRING).contents)
    except MalformedMessage:
        return value
    return ber.octet_string(own if length == len(own) else sha256(own).digest()[:length])


def _authority_identifier(
    value: bytes,
    identifier: bytes,
    issued_by: Certificate | None,
    serial: bytes,
    issuer_name: bytes,
) -> bytes:
    """AuthorityKeyIdentifier ::= SEQUENCE { [0] keyIdentifier OPTIONAL, [1] authorityCertIssuer
    OPTIONAL, [2] authorityCertSerialNumber OPTIONAL }, with those of these that were there.
    """
    try:
        children = ber.read(value, "AuthorityKeyIdentifier").children()
    except MalformedMessage:
        return value
    number = serial if issued_by is None else issued_by.serial
    name = issuer_name if issued_by is None else issued_by.issuer
    made = {
        0x80: ber.context(0, identifier, constructed=False),
        0xA1: ber.context(1, ber.context(4, name)),
        0x82: ber.context(
            2, bytes(ber.read(number, "serial", tag=ber.INTEGER).contents), constructed=False
        ),
    }
    return ber.sequence(*(made.get(one.tag, bytes(one.raw)) for one in children))


def _services_of(ca: CA, oid: str) -> bytes:
    found = services_extensions(ca.services or "", service_name(ca.certificate))
    return next(bytes(e.value.public_bytes()) for e in found if e.oid.dotted_string == oid)


def _extensions(raw: bytes, value_of: Callable[[str, bytes], bytes]) -> bytes:
    listed = ber.read(raw, "extensions", tag=0xA3).only("extensions")
    made = []
    for one in listed:
        parts = one.children()
        if not parts:
            raise MalformedMessage("Extension: it is empty")
        oid, value = parts[0].as_oid(), bytes(parts[-1].as_octets("extnValue"))
        fields = [bytes(part.raw) for part in parts[:-1]]
        made.append(ber.sequence(*fields, ber.octet_string(value_of(oid, value))))
    return ber.context(3, ber.sequence(*made))


def _signing(key: Any, like: AlgorithmIdentifier) -> tuple[bytes, Callable[[bytes], bytes]]:
    """An AlgorithmIdentifier and how to sign with it: as the original, where the key can."""
    _, kind = key_of(key)
    for scheme in algorithms.rows(SignatureScheme):
        if scheme.sign is None or like.oid not in scheme.by_oid or kind.name not in scheme.keys:
            continue
        name = scheme.by_oid[like.oid]
        written = bytes(like.raw)
        if scheme.parameters == "pss":
            try:
                name = read_pss(like, "signatureAlgorithm").digest.name
            except (MalformedMessage, UnsupportedAlgorithm):
                continue
            written = write_signature(scheme, algorithms.by_name(Digest, name))
        digest = algorithms.by_name(Digest, name or scheme.digests[0])
        return written, partial(_signed, scheme.sign, key, digest)
    return sign(key, b"")[0], lambda data: sign(key, data)[1]


def _signed(
    make: Callable[[Any, bytes, Digest], bytes], key: Any, digest: Digest, data: bytes
) -> bytes:
    return make(key, data, digest)
