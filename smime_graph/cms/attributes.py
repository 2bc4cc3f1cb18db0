"""Signed and unsigned attributes (RFC 5652 11, RFC 8551 2.5, RFC 5035, RFC 6211): written and read.

Attribute  ::= SEQUENCE { attrType OBJECT IDENTIFIER, attrValues SET OF AttributeValue }
ESSCertIDv2 ::= SEQUENCE { hashAlgorithm DEFAULT sha256, certHash, issuerSerial OPTIONAL }
CMSAlgorithmProtection ::= SEQUENCE { digestAlgorithm, [1] signatureAlgorithm OPTIONAL,
                                      [2] macAlgorithm OPTIONAL }
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import NamedTuple

from .. import algorithms, oids
from ..algorithms import Digest
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node, Span
from ..buffers import Data, find
from ..errors import MalformedMessage, UnsupportedAlgorithm
from ..findings import Finding, finding
from ..x509.certificate import Certificate
from .parameters import read_digest

# --- written ------------------------------------------------------------------------------


def attribute(oid: str, *values: bytes) -> bytes:
    return ber.sequence(ber.oid(oid), ber.set_of(*values))


def content_type(oid: str) -> bytes:
    return attribute(oids.CONTENT_TYPE, ber.oid(oid))


@lru_cache(maxsize=16)
def _before_digest(size: int) -> bytes:
    return attribute(oids.MESSAGE_DIGEST, ber.octet_string(bytes(size)))[:-size]


def message_digest(digest: bytes) -> bytes:
    return _before_digest(len(digest)) + digest


def signing_time(moment: datetime) -> bytes:
    # UTC first: in other zones an hour is there twice, and both are equal
    return _signing_time(moment.astimezone(UTC).replace(microsecond=0))


@lru_cache(maxsize=16)
def _signing_time(moment: datetime) -> bytes:
    return attribute(oids.SIGNING_TIME, ber.time(moment))


def algorithm_protection(digest_algorithm: bytes, signature_algorithm: bytes) -> bytes:
    """RFC 6211: the signature identifier's SEQUENCE becomes [1] IMPLICIT."""
    implicit = b"\xa1" + signature_algorithm[1:]
    return attribute(oids.CMS_ALGORITHM_PROTECTION, ber.sequence(digest_algorithm, implicit))


def signing_certificate_v2(certificate: Certificate) -> bytes:
    """RFC 5035: SHA-256 is the default and left out; the issuer is named as directoryName."""
    issuer_serial = ber.sequence(
        ber.sequence(ber.context(4, certificate.issuer)), certificate.serial
    )
    identifier = ber.sequence(
        ber.octet_string(algorithms.SHA256.compute(certificate.der)), issuer_serial
    )
    return attribute(oids.SIGNING_CERTIFICATE_V2, ber.sequence(ber.sequence(identifier)))


def encryption_key_preference(certificate: Certificate) -> bytes:
    """RFC 8551 2.5.3, as issuerAndSerialNumber [0] IMPLICIT."""
    value = b"\xa0" + certificate.issuer_and_serial[1:]
    return attribute(oids.ENCRYPTION_KEY_PREFERENCE, value)


# --- read ---------------------------------------------------------------------------------


# of the many attributes whose type has 9 octets, and whose one value has few: what is in front of
# the value, and how many elements stand inside
_FRAME = 17
_INSIDE_FRAME = 3


@lru_cache(maxsize=128)
def _read_frame(frame: bytes, length: int) -> str | None:
    """The type of an attribute of so many octets that begins so; None where it is another kind."""
    usual = (ber.SEQUENCE, length - 2, ber.OBJECT_IDENTIFIER, 9)
    inside = (ber.SET, length - 15, length - _FRAME)
    if len(frame) < _FRAME or (*frame[:4],) != usual or (*frame[13:15], frame[16]) != inside:
        return None
    if frame[15] & 0x1F == 0x1F:
        return None
    try:
        return ber.read(frame[2:13], "attrType", tag=ber.OBJECT_IDENTIFIER).as_oid()
    except MalformedMessage:
        return None  # what is wrong with it is said where it stands


class Attributes:
    """A SET OF Attribute as received. Raises MalformedMessage where it is not one."""

    __slots__ = ("_named", "_values", "node", "raws", "repeated")

    def __init__(self, node: Node) -> None:
        self.node = node
        self.raws: list[bytes] = []  # each attribute as received
        self._values: dict[str, list[list[Span]]] = {}
        self.repeated: set[str] = set()  # not exactly once with exactly one value
        self._named: dict[str, tuple[_NamedCertificate, ...]] = {}  # read when first asked for
        buffer, start = node.contents, node.body
        known = 0  # elements inside that need not be read
        for span in node.spans():
            tag, begin, _, _, end = span
            raw = buffer[begin - start : end - start]
            self.raws.append(raw)
            usual = _read_frame(raw[:_FRAME], len(raw)) if len(raw) < 0x80 else None
            if usual is not None and usual not in self._values:
                known += _INSIDE_FRAME
                value = begin + _FRAME
                self._values[usual] = [[(raw[_FRAME - 2], value - 2, value, end, end)]]
                continue
            parts = node.spans_in(span) if tag == ber.SEQUENCE else []
            if len(parts) != 2:
                element = node.at(span).expect(ber.SEQUENCE, "Attribute")
                raise element.fault(f"Attribute has {len(parts)} elements instead of 2")
            oid = node.oid_in(parts[0], "attrType")
            if parts[1][0] != ber.SET:
                node.at(parts[1]).expect(ber.SET, "attrValues")
            values = node.spans_in(parts[1])
            if oid in self._values or len(values) != 1:
                self.repeated.add(oid)
            self._values.setdefault(oid, []).append(values)
        node.pay_for(known)

    def __contains__(self, oid: str) -> bool:
        return oid in self._values

    def single(self, oid: str) -> Node | None:
        """The one value of the one attribute of this type; None where that is not so."""
        values = self._values.get(oid)
        return None if values is None or oid in self.repeated else self.node.at(values[0][0])

    def has_any_of(self, types: Iterable[str]) -> bool:
        """Whether there is an attribute of one of these types."""
        return not self._values.keys().isdisjoint(types)

    def is_single(self, oid: str) -> bool:
        """Whether there is one attribute of this type, with one value."""
        return oid in self._values and oid not in self.repeated

    def certificates_named(self, oid: str) -> tuple[_NamedCertificate, ...]:
        """Those of the one signingCertificate of this type; none without one, else at least one.

        Raises MalformedMessage, and UnsupportedAlgorithm for an unknown digest.
        """
        if oid not in self._named:
            value = self.single(oid)
            self._named[oid] = () if value is None else _READ_NAMED[oid](value)
        return self._named[oid]

    def values(self, oid: str) -> list[Node]:
        return [self.node.at(span) for values in self._values.get(oid, []) for span in values]


# RFC 5652 11, RFC 8551 2.5.2, RFC 5035, RFC 6211 2, RFC 2634 1.3.4: one instance with one value
SINGLE = (
    oids.CONTENT_TYPE,
    oids.MESSAGE_DIGEST,
    oids.SIGNING_TIME,
    oids.SMIME_CAPABILITIES,
    oids.ENCRYPTION_KEY_PREFERENCE,
    oids.SIGNING_CERTIFICATE,
    oids.SIGNING_CERTIFICATE_V2,
    oids.CMS_ALGORITHM_PROTECTION,
    oids.RECEIPT_REQUEST,
    oids.SECURITY_LABEL,
    oids.ML_EXPANSION_HISTORY,
    oids.CONTENT_HINTS,
    oids.MESSAGE_SIGNATURE_DIGEST,
    oids.CONTENT_IDENTIFIER,
    oids.EQUIVALENT_LABELS,
    oids.CONTENT_REFERENCE,
)
_SIGNED_OR_NOT = (oids.CONTENT_HINTS, oids.CONTENT_IDENTIFIER)  # RFC 2634 1.3.4
_NAMES = {
    value: name.lower().replace("_", "-")
    for name, value in vars(oids).items()
    if name.isupper() and isinstance(value, str)
}


def check_repetitions(signed: Attributes, where: str) -> list[Finding]:
    if not signed.repeated:
        return []
    return [
        finding("cms.attributes.duplicate", where, f"attribute {_NAMES[oid]} is not single")
        for oid in SINGLE
        if oid in signed.repeated
    ]


def check_unsigned(unsigned: Attributes, where: str) -> list[Finding]:
    """RFC 5652 11.1 to 11.3, RFC 8551 2.5, RFC 2634 1.3.4: these must be signed, anybody could have
    added them.
    """
    return [
        finding("cms.attributes.malformed", where, f"attribute {_NAMES[oid]} is not signed")
        for oid in SINGLE
        if oid in unsigned and oid not in _SIGNED_OR_NOT
    ]


def read_signing_time(signed: Attributes) -> datetime | None:
    """The claimed time of signing; None where there is none. MalformedMessage if it is no time."""
    value = signed.single(oids.SIGNING_TIME)
    return None if value is None else value.as_time("signingTime")


def read_octets(signed: Attributes, oid: str) -> bytes | None:
    """The one value of an attribute, as received; None where it is absent or not single."""
    value = signed.single(oid)
    return None if value is None else bytes(value.raw)


def check_algorithm_protection(
    signed: Attributes,
    digest_algorithm: AlgorithmIdentifier,
    signature_algorithm: AlgorithmIdentifier,
    where: str,
) -> list[Finding]:
    """RFC 6211 3: exactly one of [1] and [2]; both identifiers equal to the SignerInfo's."""
    value = signed.single(oids.CMS_ALGORITHM_PROTECTION)
    if value is None:
        return []
    if value.tag == ber.SEQUENCE and value.contents == b"".join(
        (digest_algorithm.raw, b"\xa1", signature_algorithm.raw[1:])
    ):
        return []  # as it should be, octet by octet
    code = "cms.attributes.algorithm-protection"
    fields = Fields(value.expect(ber.SEQUENCE, "CMSAlgorithmProtection"), "CMSAlgorithmProtection")
    digest = AlgorithmIdentifier.take(fields, "digestAlgorithm", "digest")
    protected = fields.optional(0xA1)
    mac = fields.optional(0xA2)
    fields.end()
    if protected is None or mac is not None:
        return [
            finding(code, where, "CMSAlgorithmProtection does not name one signature algorithm")
        ]
    signature = AlgorithmIdentifier.read(protected, "signature")
    if not digest.same_as(digest_algorithm) or not signature.same_as(signature_algorithm):
        return [finding(code, where, "the algorithms are not those that were signed")]
    return []


def check_signing_certificate(
    signed: Attributes, certificate: Certificate, where: str
) -> list[Finding]:
    """RFC 5035 5.4.1, RFC 2634 5.4: the first certificate named is the signer's.

    Where both versions of the attribute are there, each must name it. Raises MalformedMessage where
    one cannot be read, UnsupportedAlgorithm for a digest that we do not have.
    """
    found: list[Finding] = []
    for oid in _SIGNING_CERTIFICATES:
        named = signed.certificates_named(oid)
        if named and not named[0].is_of(certificate):
            text = f"{_NAMES[oid]} names another certificate than the signer's"
            found.append(finding("cms.attributes.signing-certificate", where, text))
    return found


def names_signing_certificate(signed: Attributes) -> bool:
    """Whether the signer said, under the signature, which certificate is to be used."""
    return any(signed.is_single(oid) for oid in _SIGNING_CERTIFICATES)


def certificates_left_out(
    signed: Attributes, certificates: Sequence[Certificate]
) -> list[Certificate]:
    """Those that the signer did not name, though naming others beside his own.

    RFC 5035 5.4.1: more than one limits the certificates to be used in validation. Empty where the
    attribute cannot be read: `check_signing_certificate` says so.
    """
    left_out: list[Certificate] = []
    for oid in _SIGNING_CERTIFICATES:
        try:
            named = signed.certificates_named(oid)
            if len(named) > 1:
                left_out += [c for c in certificates if not any(one.is_of(c) for one in named[1:])]
        except (MalformedMessage, UnsupportedAlgorithm):
            continue
    return list(dict.fromkeys(left_out))


_SIGNING_CERTIFICATES = {
    oids.SIGNING_CERTIFICATE_V2: algorithms.SHA256,
    oids.SIGNING_CERTIFICATE: algorithms.SHA1,
}
_MAX_NAMED_CERTIFICATES = 32  # a path has 8


class _NamedCertificate(NamedTuple):
    """An ESSCertID or ESSCertIDv2; `issuers` are the contents of the directoryNames."""

    digest: Digest
    hash: bytes
    issuers: tuple[bytes, ...]
    serial: int | None

    def is_of(self, certificate: Certificate) -> bool:
        is_usual = self.digest is algorithms.SHA256  # which the certificate remembers
        if is_usual and self.hash.hex() != certificate.sha256:
            return False
        if not is_usual and self.hash != self.digest.compute(certificate.der):
            return False
        serial = self.serial
        return serial is None or any(certificate.is_named(one, serial) for one in self.issuers)


def _named_certificates(oid: str, value: Node) -> tuple[_NamedCertificate, ...]:
    """At least one. Raises MalformedMessage, and UnsupportedAlgorithm for an unknown digest."""
    outer = Fields(value.expect(ber.SEQUENCE, "SigningCertificate"), "SigningCertificate")
    found: list[_NamedCertificate] = []
    for element in outer.take(ber.SEQUENCE, "certs"):
        if len(found) >= _MAX_NAMED_CERTIFICATES:
            raise element.fault(f"more than {_MAX_NAMED_CERTIFICATES} certificates are named")
        found.append(_named_certificate(element, oid))
    if not found:
        raise value.fault("SigningCertificate names no certificate")
    outer.optional(ber.SEQUENCE)  # policies: a suggestion to whoever builds the path
    outer.end()
    return tuple(found)


def _named_certificate(node: Node, oid: str) -> _NamedCertificate:
    fields = Fields(node.expect(ber.SEQUENCE, "ESSCertID"), "ESSCertID")
    digest = _SIGNING_CERTIFICATES[oid]
    if (
        oid == oids.SIGNING_CERTIFICATE_V2
        and (algorithm := fields.optional(ber.SEQUENCE)) is not None
    ):
        digest = read_digest(AlgorithmIdentifier.read(algorithm, "hashAlgorithm"), "ESSCertIDv2")
    hashed = bytes(fields.any("certHash").as_octets("certHash"))
    issuers: tuple[bytes, ...] = ()
    serial: int | None = None
    if (issuer_serial := fields.optional(ber.SEQUENCE)) is not None:
        inner = Fields(issuer_serial, "IssuerSerial")
        names = inner.take(ber.SEQUENCE, "issuer")
        issuers = tuple(name.contents for name in names if name.tag == 0xA4)
        octets = inner.take(ber.INTEGER, "serialNumber").contents
        serial = int.from_bytes(octets, "big", signed=True)
        inner.end()
    fields.end()
    return _NamedCertificate(digest, hashed, issuers, serial)


# most are the same in all messages of a signer
_READ_NAMED = {
    oid: ber.remembered(partial(_named_certificates, oid), entries=128, longest=1024)
    for oid in _SIGNING_CERTIFICATES
}


_MESSAGE_DIGEST = ber.oid(oids.MESSAGE_DIGEST)[2:]


def looks_like_signed_attributes(content: Data) -> bool:
    """Whether a content signed without attributes may itself be a SET of signed attributes.

    Its signature could have been made over the attributes of another message, or of a
    countersignature, which has no contentType (RFC 5652 11.4), and moved here: such content is
    refused (draft-ietf-lamps-cms-euf-cma-signeddata). What is asked is less than whether it is a
    well-formed set, so that no limit of the reader, and no BER that other software signs, is a way
    around it: a tag of SET in front, and the identifier of messageDigest anywhere (RFC 5652 5.3: it
    is in every such set). Mail that begins with "1" has no such octets.
    """
    return content[:1] == bytes((ber.SET,)) and find(content, _MESSAGE_DIGEST) >= 0
