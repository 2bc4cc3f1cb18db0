"""Key agreement: the content key under a secret agreed with an EC, X25519 or X448 key.

KeyAgreeRecipientInfo ::= SEQUENCE { version 3, [0] EXPLICIT originator, [1] EXPLICIT ukm
OPTIONAL,
                                     keyEncryptionAlgorithm, recipientEncryptedKeys SEQUENCE OF
                                     SEQUENCE { rid, encryptedKey OCTET STRING } }
originator ::= CHOICE { IssuerAndSerialNumber, [0] SubjectKeyIdentifier,
                        [1] IMPLICIT SEQUENCE { algorithm, publicKey BIT STRING } }
ECC-CMS-SharedInfo ::= SEQUENCE { keyInfo AlgorithmIdentifier, [0] EXPLICIT entityUInfo
OPTIONAL,
                                  [2] EXPLICIT suppPubInfo OCTET STRING }
(RFC 5652 6.2.2, RFC 5753, RFC 8418)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ... import algorithms
from ...algorithms import AgreementKey, KeyAgreement, KeyKind, KeyWrap
from ...algorithms.private_key import private_key
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields, Node
from ...errors import MalformedMessage, PolicyRefusal, UnsupportedAlgorithm
from ...policy import Policy
from ...x509.certificate import Certificate
from .. import parameters
from ..capabilities import Capabilities
from ..keys import DecryptionKey, Recipient
from ..signed_data import canonical_issuer_and_serial, is_named_by
from .recipient_info import (
    Opening,
    RecipientIdentifierForm,
    RecipientInfo,
    algorithm_of,
    goes_with,
    kind_of_key,
    read_identifier,
    require_readable,
    require_writable,
    write_identifier,
)


@dataclass(frozen=True, slots=True)
class Originator:
    """Whose public key the secret was agreed with, and the sender's further material."""

    node: Node
    ukm: bytes | None


def choose(recipient: Recipient, policy: Policy, wrap_size: int) -> KeyAgreement:
    """The scheme for this key: the usual one, or the first announced that we have (RFC 5753 8).

    `wrap_size` is that of the key wrap, in octets: a scheme is announced together with one.
    """
    certificate = recipient.certificate
    kind = algorithms.by_oid(KeyKind, certificate.key_algorithm, where=certificate.description)
    usual = algorithms.by_name(KeyAgreement, kind.parameter_set(certificate.public_key).agreement)
    announced = Capabilities.of(recipient)
    offered = announced.agreements(wrap_size) if announced is not None else ()
    # a list that names no scheme for this kind of key says nothing about it
    offered = tuple(row for row in offered if kind.name in row.keys)
    if not offered:
        return require_writable(usual, policy, certificate)
    usable = [row for row in offered if policy.accepts(row)]
    if not usable:
        raise PolicyRefusal(
            f"no key agreement is common with {certificate.description}, which announced "
            f"{', '.join(row.name for row in offered)}",
            rule="encrypt.no-common-key-agreement",
            policy=policy.name,
            hint="ask the recipient for newer capabilities",
        )
    return usual if usual in usable else usable[0]


def takes(recipient: Any) -> bool:
    return goes_with(KeyAgreement, recipient)


def wrap(
    recipient: Recipient, cek: bytes, policy: Policy, rid: RecipientIdentifierForm
) -> tuple[bytes, int]:
    """The RecipientInfo: one ephemeral key for one recipient."""
    certificate = recipient.certificate
    agreement = choose(recipient, policy, len(cek))
    # RFC 8551 2.3: the key wrap is as strong as the content cipher
    key_wrap = next(row for row in algorithms.rows(KeyWrap) if row.key_size == len(cek))
    require_writable(key_wrap, policy, certificate)
    kind = kind_of_key(recipient)
    operations = None if kind is None else kind.agreement
    assert operations is not None  # noqa: S101 - `takes` says so
    ephemeral = operations.ephemeral(certificate.public_key)
    secret = operations.exchange(ephemeral, certificate.public_key)
    info = _shared_info(key_wrap, parameters.write_wrap(key_wrap), None)
    kek = agreement.derive(secret, key_wrap.key_size, info, None)
    point = operations.encode(ephemeral.public_key())
    # RFC 5753 7.1.2, RFC 8418 3.1: no parameters, the recipient's curve is meant
    algorithm = ber.sequence(ber.oid(certificate.key_algorithm))
    identifier = write_identifier(certificate, rid)
    if rid == "ski":  # RecipientKeyIdentifier, a SEQUENCE
        identifier = ber.context(0, ber.octet_string(certificate.subject_key_identifier or b""))
    encrypted = ber.sequence(identifier, ber.octet_string(key_wrap.wrap(kek, cek)))
    der = ber.context(
        1,
        ber.integer(3),
        ber.context(0, ber.context(1, algorithm, ber.bit_string(point))),
        ber.sequence(ber.oid(agreement.oid), parameters.write_wrap(key_wrap)),
        ber.sequence(encrypted),
    )
    return der, 2


def _shared_info(key_wrap: KeyWrap, wrap_algorithm: bytes, ukm: bytes | None) -> bytes:
    return ber.sequence(
        wrap_algorithm,
        ber.context(0, ber.octet_string(ukm)) if ukm is not None else b"",
        # in bits, four octets (RFC 5753 7.2)
        ber.context(2, ber.octet_string((key_wrap.key_size * 8).to_bytes(4, "big"))),
    )


def read(node: Node) -> list[RecipientInfo]:
    """One value for each of the recipients that share the originator's key."""
    fields = Fields(node, "KeyAgreeRecipientInfo")
    fields.any("version").as_integer("KeyAgreeRecipientInfo version")
    originator = fields.take(0xA0, "originator").only("originator")
    ukm = fields.optional(0xA1)
    algorithm = AlgorithmIdentifier.take(fields, "keyEncryptionAlgorithm")
    keys = fields.take(ber.SEQUENCE, "recipientEncryptedKeys")
    fields.end()
    details = Originator(
        originator, None if ukm is None else bytes(ukm.only("ukm").as_octets("ukm"))
    )
    found = []
    for element in keys:
        entry = Fields(element.expect(ber.SEQUENCE, "RecipientEncryptedKey"), "recipient")
        issuer, key = read_identifier(entry, "KeyAgreeRecipientIdentifier")
        encrypted = bytes(entry.any("encryptedKey").as_octets("encryptedKey"))
        entry.end()
        found.append(
            RecipientInfo("kari", KeyAgreement, issuer, key, algorithm, encrypted, details)
        )
    return found


def unwrap(recipient: RecipientInfo, key: DecryptionKey, opening: Opening) -> bytes:
    own, policy, details = private_key(key.private_key), opening.policy, recipient.details
    identifier = algorithm_of(recipient)
    agreement = require_readable(
        algorithms.by_oid(KeyAgreement, identifier.oid, where="recipient"), policy
    )
    if identifier.parameters is None:
        raise MalformedMessage(f"recipient: key agreement {identifier.oid} names no key wrap")
    key_wrap, wrap_algorithm = parameters.read_wrap(identifier.parameters, "recipient")
    require_readable(key_wrap, policy)
    public = own.public_key()
    kind = algorithms.kind_of(public)
    if kind is None or kind.agreement is None:
        # a finite-field Diffie-Hellman key can derive as well
        raise MalformedMessage(f"recipient: not for a {type(key.private_key).__name__}")
    if kind.name not in agreement.keys:
        raise MalformedMessage(
            f"recipient: {agreement.name} does not go with a key of kind {kind.name}"
        )
    theirs = _originator_key(details.node, public, kind, kind.agreement, opening.certificates)
    secret = own.derive(theirs)
    info = _shared_info(key_wrap, wrap_algorithm, details.ukm)
    kek = agreement.derive(secret, key_wrap.key_size, info, details.ukm)
    return key_wrap.unwrap(kek, recipient.encrypted_key)


def _originator_key(
    originator: Node,
    own: Any,
    kind: KeyKind,
    agreement: AgreementKey,
    certificates: Iterable[Certificate],
) -> Any:
    """The sender's key: ephemeral, on our curve (RFC 5753 7.1.2), or that of a certificate."""
    if originator.tag != 0xA1:
        return _certified_key(originator, kind, certificates)
    fields = Fields(originator, "OriginatorPublicKey")
    algorithm = AlgorithmIdentifier.take(fields, "algorithm", "OriginatorPublicKey")
    point = fields.any("publicKey").as_bits("publicKey")
    fields.end()
    named_kind = algorithms.find(KeyKind, algorithm.oid)
    if named_kind is None or named_kind.agreement is None:
        raise UnsupportedAlgorithm(algorithm.oid, where="OriginatorPublicKey")
    if named_kind is not kind:
        # a key without a certificate is tried on every recipient that could be its own
        raise MalformedMessage("OriginatorPublicKey: not of the recipient's kind of key")
    curves = {one.oid: one.curve for one in kind.parameter_sets if one.oid}
    named = None if algorithm.has_no_parameters else algorithm.parameters
    if curves and named and curves.get(named.as_oid("ECParameters")) != own.curve.name:
        raise MalformedMessage("OriginatorPublicKey: its curve is not the recipient's")
    try:
        return agreement.decode(point, own)
    except ValueError:
        raise MalformedMessage("OriginatorPublicKey: not a point of the curve") from None


def _certified_key(originator: Node, kind: KeyKind, certificates: Iterable[Certificate]) -> Any:
    issuer = key_identifier = None
    if originator.tag == ber.SEQUENCE:
        issuer = canonical_issuer_and_serial(originator)
    elif originator.tag == 0x80:
        key_identifier = originator.contents
    for certificate in certificates:
        if algorithms.find(KeyKind, certificate.key_algorithm) is kind and (
            (issuer is not None and is_named_by(certificate, issuer))
            or (key_identifier and certificate.subject_key_identifier == key_identifier)
        ):
            return certificate.public_key
    raise MalformedMessage("KeyAgreeRecipientInfo: the originator's certificate is not at hand")
