"""RecipientInfos (RFC 5652 6.2): the content-encryption key, wrapped for each and unwrapped by one.

    RecipientInfo ::= CHOICE { ktri KeyTransRecipientInfo, [1] kari, [2] kekri, [3] pwri, [4] ori }
    KeyTransRecipientInfo ::= SEQUENCE { version, rid, keyEncryptionAlgorithm, encryptedKey OCTET
    STRING } KeyAgreeRecipientInfo ::= SEQUENCE { version, [0] EXPLICIT originator, [1] EXPLICIT ukm
    OPTIONAL,
                                         keyEncryptionAlgorithm, recipientEncryptedKeys SEQUENCE OF
                                         SEQUENCE { rid, encryptedKey OCTET STRING } }
    ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier, [0] EXPLICIT entityUInfo
    OPTIONAL,
                                      [2] EXPLICIT suppPubInfo OCTET STRING }            (RFC 5753
                                      7.2)

Recipients of kinds that we cannot use are kept, shown and skipped, never fatal.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from .. import algorithms, oids
from ..algorithms import KEY_KINDS, ContentCipher, KeyAgreement, KeyTransport, KeyWrap
from ..errors import MalformedMessage, PolicyRefusal, UnsupportedAlgorithm, UsageError
from ..policy import Policy
from . import ber, parameters
from .ber import Fields, Node
from .certificate import Certificate
from .keys import DecryptionKey, Recipient
from .parameters import AlgorithmIdentifier
from .signed_data import describe_issuer_and_serial

# A list server's largest envelopes name a few hundred; every one read costs memory only.
MAX_RECIPIENTS = 10_000

_CURVES: dict[str, ec.EllipticCurve] = {
    oids.SECP256R1: ec.SECP256R1(),
    oids.SECP384R1: ec.SECP384R1(),
    oids.SECP521R1: ec.SECP521R1(),
}
# RFC 5753 8 and 9: the KDF's hash is as strong as the curve
_AGREEMENT_BY_KEY_SIZE = {
    256: "dhsinglepass-stddh-sha256kdf",
    384: "dhsinglepass-stddh-sha384kdf",
    521: "dhsinglepass-stddh-sha512kdf",
}

RecipientIdentifierForm = Literal["issuer", "ski"]


# --- choosing -----------------------------------------------------------------------------


def announced(recipient: Recipient) -> frozenset[str] | None:
    """The algorithms a recipient announced, by object identifier; None if it announced nothing."""
    if recipient.capabilities is None:
        return None
    found = set()
    for capability in recipient.capabilities:
        try:
            node = ber.read(bytes(capability), "SMIMECapability")
            found.add(Fields(node, "SMIMECapability").any("capabilityID").as_oid())
        except MalformedMessage:
            continue  # RFC 8551 2.5.2: a capability that is not understood is handled gracefully
    return frozenset(found)


def choose_cipher(recipients: Sequence[Recipient], policy: Policy) -> ContentCipher:
    """The first cipher of the policy that every recipient can read (RFC 8551 2.7.1).

    A recipient that announced no content cipher at all is taken to read what the policy uses.
    Raises PolicyRefusal if nothing is left.
    """
    usable = [algorithms.by_name(ContentCipher, name) for name in policy.ciphers]
    known = {row.oid for row in algorithms.rows(ContentCipher)}
    left = usable
    for recipient in recipients:
        reads = announced(recipient)
        if reads is None or not reads & known:
            continue
        remaining = [cipher for cipher in left if cipher.oid in reads]
        if not remaining:
            raise PolicyRefusal(
                f"no content cipher is common: {recipient.certificate.description} cannot read "
                f"{', '.join(cipher.name for cipher in left)}",
                rule="encrypt.no-common-cipher",
                policy=policy.name,
                hint="send to this recipient separately, or ask for newer capabilities",
            )
        left = remaining
    if not left:
        raise PolicyRefusal(
            f"policy {policy.name} encrypts nothing",
            rule="encrypt.no-cipher",
            policy=policy.name,
            hint="choose a policy that sends, for example exchange",
        )
    return left[0]


# --- wrapping -----------------------------------------------------------------------------


def wrap(
    recipient: Recipient,
    cek: bytes,
    *,
    policy: Policy,
    rid: RecipientIdentifierForm = "issuer",
) -> tuple[bytes, int]:
    """The RecipientInfo that carries `cek`, DER, and its version number.

    Raises UnsupportedAlgorithm for a key that nothing can be encrypted to.
    """
    certificate = recipient.certificate
    if rid == "ski" and certificate.subject_key_identifier is None:
        raise UsageError(
            f"{certificate.description} has no subjectKeyIdentifier",
            hint="identify the recipient by issuer and serial number",
        )
    kind = KEY_KINDS.get(certificate.key_algorithm)
    if any(row.key == kind for row in algorithms.rows(KeyTransport)):
        return _wrap_ktri(recipient, cek, policy, rid)
    if any(row.key == kind for row in algorithms.rows(KeyAgreement)):
        return _wrap_kari(certificate, cek, rid), 3
    raise UnsupportedAlgorithm(
        certificate.key_algorithm,
        where=f"encryption to {certificate.description}",
        hint="this key can only sign; give the recipient's encryption certificate",
    )


def _wrap_ktri(
    recipient: Recipient, cek: bytes, policy: Policy, rid: RecipientIdentifierForm
) -> tuple[bytes, int]:
    certificate = recipient.certificate
    usable = [algorithms.by_name(KeyTransport, name) for name in policy.key_transports]
    reads = announced(recipient) or frozenset()
    transport = next((row for row in usable if row.parameters == "oaep" and row.oid in reads), None)
    if transport is None:
        transport = usable[0]
    oaep = None
    if transport.parameters == "oaep":
        digest = algorithms.SHA256
        oaep = algorithms.OaepParameters(digest, digest)
    try:
        encrypted = transport.wrap(certificate.public_key, cek, oaep)
    except ValueError:
        raise UsageError(
            f"{certificate.description}: its RSA key cannot carry a key with {transport.name}",
            hint="the key is too short; ask the recipient for a certificate with RSA-2048 or more",
        ) from None
    if rid == "ski":
        identifier = ber.context(0, certificate.subject_key_identifier or b"", constructed=False)
    else:
        identifier = certificate.issuer_and_serial
    version = 2 if rid == "ski" else 0
    der = ber.sequence(
        ber.integer(version),
        identifier,
        parameters.write_transport(transport, algorithms.SHA256),
        ber.octet_string(encrypted),
    )
    return der, version


def _wrap_kari(certificate: Certificate, cek: bytes, rid: RecipientIdentifierForm) -> bytes:
    public = certificate.public_key
    if not isinstance(public, ec.EllipticCurvePublicKey):
        raise UnsupportedAlgorithm(certificate.key_algorithm, where=certificate.description)
    agreement = algorithms.by_name(
        KeyAgreement, _AGREEMENT_BY_KEY_SIZE.get(public.key_size, _AGREEMENT_BY_KEY_SIZE[256])
    )
    # RFC 8551 2.3: the key wrap is as strong as the content cipher
    key_wrap = next(row for row in algorithms.rows(KeyWrap) if row.key_size == len(cek))
    ephemeral = ec.generate_private_key(public.curve)
    secret = ephemeral.exchange(ec.ECDH(), public)
    kek = _kek(agreement, key_wrap, secret, parameters.write_wrap(key_wrap), None)
    point = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    # RFC 5753 7.1.2: the parameters of originatorKey are absent, the recipient's curve is meant
    originator = ber.context(1, ber.sequence(ber.oid(oids.EC_PUBLIC_KEY)), ber.bit_string(point))
    if rid == "ski":
        identifier = ber.context(0, ber.octet_string(certificate.subject_key_identifier or b""))
    else:
        identifier = certificate.issuer_and_serial
    encrypted = ber.sequence(identifier, ber.octet_string(key_wrap.wrap(kek, cek)))
    return ber.context(
        1,
        ber.integer(3),
        ber.context(0, originator),
        parameters.write_agreement(agreement, key_wrap),
        ber.sequence(encrypted),
    )


def _kek(
    agreement: KeyAgreement,
    key_wrap: KeyWrap,
    secret: bytes,
    wrap_algorithm: bytes,
    ukm: bytes | None,
) -> bytes:
    shared_info = ber.sequence(
        wrap_algorithm,
        ber.context(0, ber.octet_string(ukm)) if ukm is not None else b"",
        # in bits, four octets (RFC 5753 7.2)
        ber.context(2, ber.octet_string((key_wrap.key_size * 8).to_bytes(4, "big"))),
    )
    return agreement.derive(secret, key_wrap.key_size, shared_info)


# --- reading ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """One encrypted key as received (of a KeyAgreeRecipientInfo: that of one recipient).

    `kind` is ktri, kari, kekri, pwri or ori; `issuer_and_serial`, `key_identifier` its identifier,
    if it has one of these forms; `originator` and `ukm` belong to kari.
    """

    kind: str
    issuer_and_serial: bytes | None
    key_identifier: bytes | None
    algorithm: AlgorithmIdentifier | None
    encrypted_key: bytes
    originator: Node | None = None
    ukm: bytes | None = None

    @property
    def identifier(self) -> str:
        """Whom it is for, for people."""
        if self.key_identifier is not None:
            return f"subjectKeyIdentifier {self.key_identifier.hex()}"
        if self.issuer_and_serial is not None:
            return describe_issuer_and_serial(self.issuer_and_serial)
        return {"pwri": "a password", "kekri": "a shared key"}.get(self.kind, "an unknown kind")

    @property
    def algorithm_name(self) -> str:
        """The row's name, or the dotted identifier where there is no row."""
        if self.algorithm is None:
            return "unknown"
        kind = KeyAgreement if self.kind == "kari" else KeyTransport
        try:
            return algorithms.by_oid(kind, self.algorithm.oid, where="recipient").name
        except UnsupportedAlgorithm:
            return self.algorithm.oid

    def matches(self, certificate: Certificate) -> bool:
        if self.key_identifier is not None:
            return certificate.subject_key_identifier == self.key_identifier
        return (
            self.issuer_and_serial is not None
            and certificate.issuer_and_serial == self.issuer_and_serial
        )


def read(node: Node) -> tuple[RecipientInfo, ...]:
    """The recipients in a SET OF RecipientInfo; what we cannot use is kept as it is."""
    found: list[RecipientInfo] = []
    for element in node.expect(ber.SET, "recipientInfos"):
        if element.tag == ber.SEQUENCE:
            found.append(_read_ktri(element))
        elif element.tag == 0xA1:
            found += _read_kari(element)
        else:
            kind = {0xA2: "kekri", 0xA3: "pwri", 0xA4: "ori"}.get(element.tag, "unknown")
            found.append(RecipientInfo(kind, None, None, None, b""))
        if len(found) > MAX_RECIPIENTS:
            raise element.fault(f"more than {MAX_RECIPIENTS} recipients")
    return tuple(found)


def _read_ktri(node: Node) -> RecipientInfo:
    fields = Fields(node, "KeyTransRecipientInfo")
    fields.any("version").as_integer("KeyTransRecipientInfo version")
    issuer, key = _read_identifier(fields, "KeyTransRecipientInfo rid")
    algorithm = AlgorithmIdentifier.read(
        fields.take(ber.SEQUENCE, "keyEncryptionAlgorithm"), "keyEncryptionAlgorithm"
    )
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    return RecipientInfo("ktri", issuer, key, algorithm, encrypted)


def _read_kari(node: Node) -> list[RecipientInfo]:
    fields = Fields(node, "KeyAgreeRecipientInfo")
    fields.any("version").as_integer("KeyAgreeRecipientInfo version")
    originator = fields.take(0xA0, "originator").only("originator")
    ukm = fields.optional(0xA1)
    algorithm = AlgorithmIdentifier.read(
        fields.take(ber.SEQUENCE, "keyEncryptionAlgorithm"), "keyEncryptionAlgorithm"
    )
    keys = fields.take(ber.SEQUENCE, "recipientEncryptedKeys")
    fields.end()
    material = None if ukm is None else bytes(ukm.only("ukm").as_octets("ukm"))
    found = []
    for element in keys:
        entry = Fields(element.expect(ber.SEQUENCE, "RecipientEncryptedKey"), "recipient")
        issuer, key = _read_identifier(entry, "KeyAgreeRecipientIdentifier")
        encrypted = bytes(entry.any("encryptedKey").as_octets("encryptedKey"))
        entry.end()
        found.append(RecipientInfo("kari", issuer, key, algorithm, encrypted, originator, material))
    return found


def _read_identifier(fields: Fields, name: str) -> tuple[bytes | None, bytes | None]:
    node = fields.any(name)
    if node.tag == ber.SEQUENCE:
        inner = Fields(node, "IssuerAndSerialNumber")
        issuer = inner.take(ber.SEQUENCE, "issuer").raw
        serial = inner.take(ber.INTEGER, "serialNumber").raw
        inner.end()
        return ber.sequence(issuer, serial), None
    if node.tag == 0x80:
        return None, bytes(node.as_octets(name, tag=0x80))
    if node.tag == 0xA0:
        # kari: RecipientKeyIdentifier { subjectKeyIdentifier, date, other }; ktri: a constructed
        # string
        first = next(iter(node), None)
        if first is None:
            raise node.fault(f"{name} is empty")
        return None, bytes(first.as_octets(name))
    raise node.fault(f"{name} is of an unknown kind")


# --- unwrapping ---------------------------------------------------------------------------


def can_unwrap(recipient: RecipientInfo, key: DecryptionKey) -> bool:
    """Whether this recipient is the key's: by certificate, if there is one, and by kind of key."""
    operation = {"ktri": "decrypt", "kari": "exchange"}.get(recipient.kind, "none")
    return hasattr(key.private_key, operation) and (
        key.certificate is None or recipient.matches(key.certificate)
    )


def unwrap(recipient: RecipientInfo, key: Any, size: int, *, policy: Policy) -> bytes:
    """The content-encryption key of `size` octets.

    Raises UnsupportedAlgorithm or PolicyRefusal before the key is used, MalformedMessage for what
    is wrong in public, and ValueError without a word for every failure of the key itself. A failing
    RSA PKCS#1 v1.5 gives a random key instead (RFC 3218 2.3.2), so nobody learns that it failed.
    """
    if recipient.algorithm is None:
        raise UnsupportedAlgorithm(recipient.kind, where="recipient")
    if recipient.kind == "ktri":
        transport, oaep = parameters.read_transport(recipient.algorithm, "recipient")
        _judge(transport, policy)
        try:
            cek = transport.unwrap(key, recipient.encrypted_key, oaep)
        except ValueError:
            if not transport.implicit_rejection:
                raise
            cek = b""
        except _Unsupported:
            # OAEP with a digest that has a row but, in this place, no primitive (MD5)
            raise UnsupportedAlgorithm(recipient.algorithm.oid, where="recipient") from None
        if transport.implicit_rejection:
            # OpenSSL answers bad padding with random octets of random length
            substitute = os.urandom(size)
            return cek if len(cek) == size else substitute
    else:
        agreement, key_wrap, identifier = parameters.read_agreement(
            recipient.algorithm, "recipient"
        )
        _judge(agreement, policy)
        public = _originator_key(recipient.originator, key)
        secret = key.exchange(ec.ECDH(), public)
        kek = _kek(agreement, key_wrap, secret, identifier.raw, recipient.ukm)
        cek = key_wrap.unwrap(kek, recipient.encrypted_key)
    if len(cek) != size:
        raise ValueError
    return cek


def _judge(row: KeyTransport | KeyAgreement, policy: Policy) -> None:
    if not policy.accepts(row):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {row.name}",
            rule="alg.refused",
            policy=policy.name,
            hint="read old mail with the policy archive",
        )


def _originator_key(originator: Node | None, key: Any) -> ec.EllipticCurvePublicKey:
    """The sender's ephemeral key, on our curve (RFC 5753 7.1.2: parameters absent or equal)."""
    if originator is None or originator.tag != 0xA1:
        raise MalformedMessage("KeyAgreeRecipientInfo: the originator's key is not in the message")
    fields = Fields(originator, "OriginatorPublicKey")
    algorithm = AlgorithmIdentifier.read(
        fields.take(ber.SEQUENCE, "algorithm"), "OriginatorPublicKey"
    )
    point = fields.any("publicKey").as_bits("publicKey")
    fields.end()
    if algorithm.oid != oids.EC_PUBLIC_KEY:
        raise UnsupportedAlgorithm(algorithm.oid, where="OriginatorPublicKey")
    curve = getattr(key, "curve", None)
    if curve is None:
        # a key without a certificate is tried on every recipient that could be its own
        raise MalformedMessage("OriginatorPublicKey: not of the recipient's kind of key")
    if not algorithm.has_no_parameters and algorithm.parameters is not None:
        named = _CURVES.get(algorithm.parameters.as_oid("ECParameters"))
        if named is None or named.name != curve.name:
            raise MalformedMessage("OriginatorPublicKey: its curve is not the recipient's")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise MalformedMessage("OriginatorPublicKey: not a point of the curve") from None
