"""Key encapsulation: the content key wrapped under a secret encapsulated for an ML-KEM key.

OtherRecipientInfo ::= [4] IMPLICIT SEQUENCE { oriType OBJECT IDENTIFIER, oriValue ANY }
KEMRecipientInfo ::= SEQUENCE { version 0, rid, kem, kemct OCTET STRING, kdf, kekLength INTEGER,
                                [0] EXPLICIT ukm OPTIONAL, wrap, encryptedKey OCTET STRING }
CMSORIforKEMOtherInfo ::= SEQUENCE { wrap, kekLength INTEGER, [0] EXPLICIT ukm OPTIONAL }
(RFC 9629, RFC 9936)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import algorithms, oids
from ...algorithms import Kem, KeyDerivation, KeyKind, KeyWrap
from ...algorithms.private_key import private_key
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields, Node
from ...errors import MalformedMessage
from ...policy import Policy
from .. import parameters
from ..keys import DecryptionKey, Recipient
from .recipient_info import (
    Opening,
    RecipientIdentifierForm,
    RecipientInfo,
    algorithm_of,
    goes_with,
    read_identifier,
    require_readable,
    require_writable,
    write_identifier,
)


@dataclass(frozen=True, slots=True)
class Encapsulation:
    """The rest of a KEMRecipientInfo; `kek_size` in octets."""

    ciphertext: bytes
    kdf: AlgorithmIdentifier
    kek_size: int
    ukm: bytes | None
    wrap: Node


def takes(recipient: Any) -> bool:
    return goes_with(Kem, recipient)


def wrap(
    recipient: Recipient, cek: bytes, policy: Policy, rid: RecipientIdentifierForm
) -> tuple[bytes, int]:
    """The RecipientInfo, under a secret of its own."""
    certificate = recipient.certificate
    kind = algorithms.by_oid(KeyKind, certificate.key_algorithm, where="recipient")
    kem = next(row for row in algorithms.rows(Kem) if kind.name in row.keys)
    kdf = algorithms.by_name(KeyDerivation, "hkdf-sha256")  # RFC 9936 2.2.1
    key_wrap = algorithms.by_name(KeyWrap, kem.wrap)
    for row in (kem, kdf, key_wrap):
        require_writable(row, policy, certificate)
    secret, ciphertext = kem.encapsulate(certificate.public_key)
    info = _other_info(parameters.write_wrap(key_wrap), key_wrap.key_size, None)
    kek = kdf.derive(secret, key_wrap.key_size, info, None)
    value = ber.sequence(
        ber.integer(0),
        write_identifier(certificate, rid),
        ber.sequence(ber.oid(kem.oid)),
        ber.octet_string(ciphertext),
        ber.sequence(ber.oid(kdf.oid)),
        ber.integer(key_wrap.key_size),
        parameters.write_wrap(key_wrap),
        ber.octet_string(key_wrap.wrap(kek, cek)),
    )
    return ber.context(4, ber.oid(oids.ORI_KEM), value), 3


def _other_info(wrap_algorithm: bytes, size: int, ukm: bytes | None) -> bytes:
    return ber.sequence(
        wrap_algorithm,
        ber.integer(size),
        ber.context(0, ber.octet_string(ukm)) if ukm is not None else b"",
    )


def read(node: Node) -> list[RecipientInfo]:
    name = "KEMRecipientInfo"
    fields = Fields(node.expect(ber.SEQUENCE, name), name)
    fields.any("version").as_integer(f"{name} version")
    issuer, key = read_identifier(fields, f"{name} rid")
    kem = AlgorithmIdentifier.take(fields, "kem", f"{name} kem")
    ciphertext = bytes(fields.any("kemct").as_octets("kemct"))
    kdf = AlgorithmIdentifier.take(fields, "kdf", f"{name} kdf")
    size = fields.any("kekLength").as_integer("kekLength")
    ukm = fields.optional(0xA0)
    wrap_algorithm = fields.take(ber.SEQUENCE, "wrap")
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    material = None if ukm is None else bytes(ukm.only("ukm").as_octets("ukm"))
    details = Encapsulation(ciphertext, kdf, size, material, wrap_algorithm)
    return [RecipientInfo("kemri", Kem, issuer, key, kem, encrypted, details)]


def unwrap(recipient: RecipientInfo, key: DecryptionKey, opening: Opening) -> bytes:
    """The content key. ML-KEM never fails: what is wrong shows in the key wrap."""
    details: Encapsulation = recipient.details
    policy = opening.policy
    require_readable(algorithms.by_oid(Kem, algorithm_of(recipient).oid, where="recipient"), policy)
    kdf = require_readable(
        algorithms.by_oid(KeyDerivation, details.kdf.oid, where="recipient KDF"), policy
    )
    key_wrap, wrap_algorithm = parameters.read_wrap(details.wrap, "recipient")
    require_readable(key_wrap, policy)
    if details.kek_size != key_wrap.key_size:
        # RFC 9629 3: consistent with the wrap algorithm
        raise MalformedMessage(
            f"KEMRecipientInfo: kekLength {details.kek_size} does not go with {key_wrap.name}"
        )
    info = _other_info(wrap_algorithm, details.kek_size, details.ukm)
    secret = private_key(key.private_key).decapsulate(details.ciphertext)
    kek = kdf.derive(secret, details.kek_size, info, None)
    return key_wrap.unwrap(kek, recipient.encrypted_key)
