"""SignedData (RFC 5652 section 5): made and read. What it is worth says `signature_check`.

SignedData  ::= SEQUENCE { version, digestAlgorithms SET OF AlgorithmIdentifier,
                           encapContentInfo SEQUENCE { eContentType, [0] EXPLICIT OCTET STRING
                           OPTIONAL }, [0] IMPLICIT certificates OPTIONAL, [1] IMPLICIT crls
                           OPTIONAL, signerInfos SET OF SignerInfo }
SignerInfo  ::= SEQUENCE { version, sid, digestAlgorithm, [0] IMPLICIT signedAttrs OPTIONAL,
                           signatureAlgorithm, signature OCTET STRING,
                           [1] IMPLICIT unsignedAttrs OPTIONAL }
sid         ::= IssuerAndSerialNumber or [0] IMPLICIT SubjectKeyIdentifier
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Literal, NamedTuple, cast

from .. import algorithms, oids
from ..algorithms import Digest, KeyKind, SignatureScheme
from ..algorithms.private_key import private_key
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..asn1.content_info import content_info, read_content_info
from ..budget import Budget
from ..buffers import B, Data, Octets
from ..errors import LimitReached, MalformedMessage, PolicyRefusal, UnsupportedAlgorithm, UsageError
from ..policy import Policy
from ..x509 import names
from ..x509.certificate import Certificate, text_of_serial
from ..x509.certificate_set import certificate_set, read_certificates
from . import attributes, capabilities, parameters
from .attributes import Attributes
from .keys import SigningKey

# The messages of a mailing list with many signers have a dozen; every one costs a signature check.
MAX_SIGNERS = 100

SignerIdentifier = Literal["issuer", "ski"]


# --- made ---------------------------------------------------------------------------------


def choose_scheme(certificate: Certificate, policy: Policy) -> tuple[SignatureScheme, Digest]:
    """The scheme and the digest this certificate's key signs with under the policy.

    Raises UnsupportedAlgorithm if no scheme takes such a key, PolicyRefusal if the policy does not
    use it.
    """
    kind = algorithms.find(KeyKind, certificate.key_algorithm)
    schemes = algorithms.rows(SignatureScheme)
    usable = [row for row in schemes if kind and kind.name in row.keys and row.sign]
    if kind is None or not usable:
        raise UnsupportedAlgorithm(
            certificate.key_algorithm, where=f"signing key of {certificate.description}"
        )
    if not policy.uses_key(kind.name):
        raise PolicyRefusal(
            f"policy {policy.name} does not sign with keys of kind {kind.name}, as that of "
            f"{certificate.description}",
            rule="sign.kind-of-key",
            policy=policy.name,
            hint="use another key of this person, or another policy",
        )
    # RSA keys have two schemes, all others one
    scheme = next((row for row in usable if row.name == policy.rsa_signature), usable[0])
    if (limits := parameters.read_pss_limits(certificate)) is not None:
        digest = limits.digest
        if (
            digest.name not in scheme.digests
            or limits.mgf_digest is not digest
            or limits.salt > digest.size
        ):
            raise UnsupportedAlgorithm(
                oids.RSASSA_PSS,
                where=f"parameters of the signing key of {certificate.description}",
            )
        return scheme, digest
    name = policy.digest if policy.digest in scheme.digests else scheme.digests[0]
    return scheme, algorithms.by_name(Digest, name)


def sign(
    content: B,
    signers: Sequence[SigningKey],
    *,
    detached: bool,
    policy: Policy,
    at: datetime,
    sid: SignerIdentifier = "issuer",
    content_type: str = oids.DATA,
    further: Sequence[bytes] = (),
) -> tuple[B, list[Digest]]:
    """ContentInfo of a SignedData over `content`, DER, and the digests used, in the signers' order.

    `at` becomes signingTime. With `detached` the content is left out (RFC 8551 3.5.3.1). `further`
    are DER attributes that every signer signs beside the usual ones.
    """
    if len(signers) > MAX_SIGNERS:
        raise UsageError(f"{len(signers)} signers, at most {MAX_SIGNERS} are read")
    who = tuple([(s.certificate, s.encryption_certificate, tuple(s.chain)) for s in signers])
    frame = _frame if _is_small(who) else _frame.__wrapped__
    own, before, certificates = frame(who, policy, sid, content_type, detached)
    hashed = {
        digest.name: attributes.message_digest(digest.compute(content))
        for digest in dict.fromkeys([one.digest for one in own])
    }
    time = attributes.signing_time(at)
    infos: list[bytes] = []
    for signer, one in zip(signers, own, strict=True):
        to_be_signed = ber.set_of(*one.attributes, time, hashed[one.digest.name], *further)
        signature = private_key(signer.private_key).sign(to_be_signed, one.scheme, one.digest)
        infos.append(one.signer_info(to_be_signed, signature))
    elements: list[Octets] = [before, certificates, ber.set_of(*infos)]
    if not detached:
        explicit = ber.nest(0xA0, ber.nest(ber.OCTET_STRING, [content]))
        elements[1:1] = ber.nest(ber.SEQUENCE, [ber.oid(content_type), *explicit])
    return cast("B", content_info(oids.SIGNED_DATA, elements)), [one.digest for one in own]


class _Signing(NamedTuple):
    """What is the same in every SignerInfo of a signer under a policy, in octets."""

    scheme: SignatureScheme
    digest: Digest
    attributes: tuple[bytes, ...]
    before: bytes  # version, sid, digestAlgorithm
    after: bytes  # signatureAlgorithm

    def signer_info(self, to_be_signed: bytes, signature: bytes) -> bytes:
        # RFC 5652 5.4: signed as SET OF, sent as [0] IMPLICIT
        implicit = b"\xa0" + to_be_signed[1:]
        return ber.sequence(self.before, implicit, self.after, ber.octet_string(signature))


# the certificate of a signer, the one to encrypt to, and the chain
_Who = tuple[Certificate, Certificate | None, tuple[Certificate, ...]]
_MAX_FRAME = 128 * 1024  # octets of certificates: those of as many signers as are read


def _is_small(who: tuple[_Who, ...]) -> bool:
    size = 0
    for own, other, chain in who:
        size += len(own.der) + (0 if other is None else len(other.der))
        for one in chain:
            size += len(one.der)
    return size <= _MAX_FRAME


@lru_cache(maxsize=32)
def _frame(
    who: tuple[_Who, ...],
    policy: Policy,
    sid: SignerIdentifier,
    content_type: str,
    detached: bool,
) -> tuple[list[_Signing], bytes, bytes]:
    """What is the same in every SignedData of these signers: of each its part, then version and
    digestAlgorithms, with the encapContentInfo if it is `detached`, then the certificates.

    Kept for who signs again; there are no keys in it, and nothing that ends with time.
    """
    own = [_signing(certificate, other, policy, sid, content_type) for certificate, other, _ in who]
    carried: list[Certificate] = []
    for certificate, other, chain in who:
        carried += [certificate, *chain]
        if other is not None:
            carried.append(other)  # RFC 8550 2.3
    digests = dict.fromkeys(parameters.write_digest(one.digest) for one in own)
    version = 3 if sid == "ski" or content_type != oids.DATA else 1
    before = ber.integer(version) + ber.set_of(*digests)
    if detached:
        before += ber.sequence(ber.oid(content_type))
    return own, before, certificate_set(one.der for one in carried)


def _signing(
    certificate: Certificate,
    encryption: Certificate | None,
    policy: Policy,
    sid: SignerIdentifier,
    content_type: str,
) -> _Signing:
    scheme, digest = choose_scheme(certificate, policy)
    own = (
        attributes.content_type(content_type),
        attributes.attribute(oids.SMIME_CAPABILITIES, capabilities.announcement(policy)),
        *_attributes_of(certificate, encryption, scheme, digest),
    )
    return _around(certificate, scheme, digest, own, sid)


def _around(
    certificate: Certificate,
    scheme: SignatureScheme,
    digest: Digest,
    own: tuple[bytes, ...],
    sid: SignerIdentifier,
) -> _Signing:
    version, identifier = _named(certificate, sid)
    before = ber.integer(version) + identifier + parameters.write_digest(digest)
    return _Signing(scheme, digest, own, before, parameters.write_signature(scheme, digest))


def _attributes_of(
    certificate: Certificate,
    encryption: Certificate | None,
    scheme: SignatureScheme,
    digest: Digest,
) -> list[bytes]:
    """The signed attributes that are the same in every message of a signer under a policy."""
    own = [
        attributes.algorithm_protection(
            parameters.write_digest(digest), parameters.write_signature(scheme, digest)
        ),
        attributes.signing_certificate_v2(certificate),
    ]
    if encryption is not None and encryption != certificate:
        own.append(attributes.encryption_key_preference(encryption))
    return own


def write_signer(
    signer: SigningKey,
    scheme: SignatureScheme,
    digest: Digest,
    signed: Sequence[bytes],
    sid: SignerIdentifier,
) -> bytes:
    """A SignerInfo that signs these attributes. UsageError where `sid` cannot name the signer."""
    own = _around(signer.certificate, scheme, digest, tuple(signed), sid)
    to_be_signed = ber.set_of(*signed)
    signature = private_key(signer.private_key).sign(to_be_signed, scheme, digest)
    return own.signer_info(to_be_signed, signature)


def _named(certificate: Certificate, sid: SignerIdentifier) -> tuple[int, bytes]:
    """Version and SignerIdentifier of a SignerInfo."""
    if sid == "issuer":
        return 1, certificate.issuer_and_serial
    if certificate.subject_key_identifier is None:
        raise UsageError(
            f"{certificate.description} has no subjectKeyIdentifier",
            hint="identify the signer by issuer and serial number",
        )
    return 3, ber.context(0, certificate.subject_key_identifier, constructed=False)


def carry(certificates: Sequence[Certificate]) -> bytes:
    """ContentInfo of a SignedData without content and signers, DER (RFC 8551 3.8)."""
    return content_info(
        oids.SIGNED_DATA,
        [
            ber.integer(1),
            ber.set_of(),
            ber.sequence(ber.oid(oids.DATA)),
            certificate_set(one.der for one in certificates),
            ber.set_of(),
        ],
    )


# --- read ---------------------------------------------------------------------------------


class SignerInfo(NamedTuple):
    """One SignerInfo as received. `issuer_and_serial` and `key_identifier` are the two forms of
    sid; where it could not be read there is neither, and `fault` says why.
    """

    index: int  # type: ignore[assignment]  # and not the method of a tuple
    version: int
    issuer_and_serial: bytes | None
    key_identifier: bytes | None
    digest_algorithm: AlgorithmIdentifier
    signed_attributes: Attributes | None
    signature_algorithm: AlgorithmIdentifier
    signature: bytes
    unsigned_attributes: Attributes | None
    fault: str | None = None

    @property
    def where(self) -> str:
        return f"signer {self.index}"

    @property
    def identifier(self) -> str:
        """The sid, for people."""
        if self.key_identifier is not None:
            return f"subjectKeyIdentifier {self.key_identifier.hex()}"
        if self.issuer_and_serial is None:
            return "a signer that cannot be read"
        return describe_issuer_and_serial(self.issuer_and_serial)

    def among(self, certificates: Iterable[Certificate]) -> Iterator[Certificate]:
        """Those of the certificates that the sid names."""
        if (key := self.key_identifier) is not None:
            return (one for one in certificates if one.subject_key_identifier == key)
        if self.issuer_and_serial is None:
            return iter(())
        issuer, number = read_issuer_and_serial(self.issuer_and_serial)
        near = (one for one in certificates if one.serial_number == number)
        return (one for one in near if one.is_named(issuer, number))


class SignedData(NamedTuple):
    """A SignedData as received; `content` is None where it is detached."""

    version: int
    digest_algorithms: tuple[AlgorithmIdentifier, ...]
    content_type: str
    content: memoryview | None
    certificates: tuple[Certificate, ...]
    crls: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def describe_issuer_and_serial(der: bytes) -> str:
    return _describe_lately(der) if len(der) <= _MAX_DESCRIBED else _describe(der)


def _describe(der: bytes) -> str:
    issuer, serial = read_issuer_and_serial(der)
    return f"{names.text(issuer)};{text_of_serial(serial)}"


_MAX_DESCRIBED = 1024  # octets
_describe_lately = lru_cache(maxsize=256)(_describe)


def is_named_by(certificate: Certificate, issuer_and_serial: bytes) -> bool:
    """Whether an IssuerAndSerialNumber that `canonical_issuer_and_serial` gave is of this one."""
    return certificate.is_named(*read_issuer_and_serial(issuer_and_serial))


def read_issuer_and_serial(der: bytes) -> tuple[bytes, int]:
    """Issuer, a Name in DER, and serial number; one that is compared with many is read once."""
    return _remembered(der) if len(der) <= _MAX_REMEMBERED else _read_issuer_and_serial(der)


def _read_issuer_and_serial(der: bytes) -> tuple[bytes, int]:
    fields = Fields(ber.read(der, "IssuerAndSerialNumber"), "IssuerAndSerialNumber")
    issuer = fields.take(ber.SEQUENCE, "issuer").raw
    serial = fields.take(ber.INTEGER, "serialNumber").contents
    return issuer, int.from_bytes(serial, "big", signed=True)


_MAX_REMEMBERED = 16_500  # octets: the longest name that is compared, and a serial number
_remembered = lru_cache(maxsize=128)(_read_issuer_and_serial)


def read(der: Data, *, budget: Budget | None = None) -> SignedData:
    """The SignedData in a ContentInfo, BER or DER. Raises MalformedMessage."""
    return read_content(read_content_info(der, oids.SIGNED_DATA, budget=budget)[1])


def read_content(node: Node) -> SignedData:
    """The SignedData that is the content of a ContentInfo."""
    fields = Fields(node.expect(ber.SEQUENCE, "SignedData"), "SignedData")
    version = fields.any("version").as_integer("SignedData version")
    digest_algorithms = tuple(
        AlgorithmIdentifier.read(element, "digestAlgorithm")
        for element in fields.take(ber.SET, "digestAlgorithms")
    )
    encapsulated = Fields(fields.take(ber.SEQUENCE, "encapContentInfo"), "encapContentInfo")
    content_type = encapsulated.any("eContentType").as_oid("eContentType")
    content: memoryview | None = None
    if (explicit := encapsulated.optional(0xA0)) is not None:
        inner = explicit.only("eContent")
        # PKCS#7 1.5 has ANY here: what is signed is then the value without its header (RFC 5652
        # 5.2.1)
        if inner.tag in (ber.OCTET_STRING, ber.OCTET_STRING | ber.CONSTRUCTED):
            content = inner.as_octets("eContent")
        else:
            content = memoryview(inner.contents)
    encapsulated.end()
    certificates = read_certificates(fields.optional(0xA0))
    crls = tuple(element.raw for element in fields.optional(0xA1) or ())
    infos = list(fields.take(ber.SET, "signerInfos"))
    fields.end()
    if len(infos) > MAX_SIGNERS:
        raise MalformedMessage(f"SignedData: {len(infos)} signers, at most {MAX_SIGNERS} are read")
    signers = tuple(_read_or_keep(element, index) for index, element in enumerate(infos))
    if signers and (fault := signers[0].fault) is not None and all(one.fault for one in signers):
        raise MalformedMessage(fault)
    return SignedData(
        version, digest_algorithms, content_type, content, certificates, crls, signers
    )


def _read_or_keep(node: Node, index: int) -> SignerInfo:
    """RFC 5652 5.1 and 5.3: one that is of a version to come, or broken, hides no other."""
    try:
        return read_signer(node, index)
    except LimitReached:
        raise
    except MalformedMessage as error:
        unknown = AlgorithmIdentifier("unknown", None, b"")
        return SignerInfo(index, 0, None, None, unknown, None, unknown, b"", None, str(error))


def read_signer(node: Node, index: int) -> SignerInfo:
    """One SignerInfo, or Countersignature, which is one. Raises MalformedMessage."""
    name = f"SignerInfo {index}"
    fields = Fields(node.expect(ber.SEQUENCE, name), name)
    version = fields.any("version").as_integer(f"{name} version")
    issuer = fields.optional(ber.SEQUENCE)
    key = None if issuer is not None else fields.any("sid")
    if key is not None and key.tag not in (0x80, 0xA0):
        raise key.fault(f"{name} sid is of an unknown kind")
    digest_algorithm = AlgorithmIdentifier.read(
        fields.take(ber.SEQUENCE, "digestAlgorithm"), f"{name} digestAlgorithm"
    )
    signed = fields.optional(0xA0)
    signature_algorithm = AlgorithmIdentifier.read(
        fields.take(ber.SEQUENCE, "signatureAlgorithm"), f"{name} signatureAlgorithm"
    )
    signature = bytes(fields.any("signature").as_octets(f"{name} signature"))
    unsigned = fields.optional(0xA1)
    fields.end()
    return SignerInfo(
        index,
        version,
        None if issuer is None else canonical_issuer_and_serial(issuer),
        None if key is None else bytes(key.as_octets(f"{name} subjectKeyIdentifier", tag=0x80)),
        digest_algorithm,
        None if signed is None else Attributes(signed),
        signature_algorithm,
        signature,
        None if unsigned is None else Attributes(unsigned),
    )


def _canonical_issuer_and_serial(node: Node) -> bytes:
    """IssuerAndSerialNumber with the received Name and INTEGER in a definite-length SEQUENCE."""
    fields = Fields(node, "IssuerAndSerialNumber")
    issuer = fields.take(ber.SEQUENCE, "issuer").raw
    serial = fields.take(ber.INTEGER, "serialNumber").raw
    fields.end()
    return ber.sequence(issuer, serial)


canonical_issuer_and_serial = ber.remembered(
    _canonical_issuer_and_serial, entries=256, longest=1024
)
