"""Key transport: the content key under the recipient's RSA key (RFC 5652 6.2.1, RFC 3560).

KeyTransRecipientInfo ::= SEQUENCE { version, rid, keyEncryptionAlgorithm, encryptedKey OCTET
STRING }
"""

from __future__ import annotations

import os
from typing import Any

from ... import algorithms
from ...algorithms import KeyTransport, OaepParameters
from ...algorithms.private_key import private_key
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields, Node
from ...errors import PolicyRefusal, UsageError
from ...policy import Policy
from ...x509.certificate import Certificate, remembered
from .. import parameters
from ..capabilities import Capabilities
from ..keys import DecryptionKey, Recipient
from .recipient_info import (
    Opening,
    RecipientIdentifierForm,
    RecipientInfo,
    algorithm_of,
    goes_with,
    read_identifier,
    require_readable,
    write_identifier,
)


def takes(recipient: Any) -> bool:
    return goes_with(KeyTransport, recipient)


def wrap(
    recipient: Recipient, cek: bytes, policy: Policy, rid: RecipientIdentifierForm
) -> tuple[bytes, int]:
    """The RecipientInfo: OAEP if it was announced, else PKCS #1 v1.5."""
    certificate = recipient.certificate
    transport, oaep, before = _before_key(
        certificate, announced=Capabilities.of(recipient), policy=policy, rid=rid
    )
    try:
        encrypted = transport.wrap(certificate.public_key, cek, oaep)
    except ValueError:
        raise UsageError(
            f"{certificate.description}: its RSA key cannot carry a key with {transport.name}",
            hint="the key is too short; ask the recipient for a certificate with RSA-2048 or more",
        ) from None
    return ber.sequence(before, ber.octet_string(encrypted)), _version(rid)


def _version(rid: RecipientIdentifierForm) -> int:
    """That of the RecipientInfo, and what that asks for."""
    return 2 if rid == "ski" else 0


@remembered
def _before_key(
    certificate: Certificate,
    *,
    announced: Capabilities | None,
    policy: Policy,
    rid: RecipientIdentifierForm,
) -> tuple[KeyTransport, OaepParameters | None, bytes]:
    """What is the same in every RecipientInfo of a certificate: all but the encrypted key."""
    usable = [algorithms.by_name(KeyTransport, name) for name in policy.key_transports]
    oaep = announced.oaep() if announced is not None else None
    wanted = "null" if oaep is None else "oaep"
    if not usable:
        raise PolicyRefusal(
            f"policy {policy.name} has no key transport for {certificate.description}",
            rule="encrypt.kind-of-key",
            policy=policy.name,
            hint="use another policy, or ask for a certificate with another kind of key",
        )
    transport = next((row for row in usable if row.parameters == wanted), usable[0])
    if oaep is None and transport.parameters == "oaep":
        oaep = OaepParameters(algorithms.SHA256, algorithms.SHA256)
    before = (
        ber.integer(_version(rid))
        + write_identifier(certificate, rid)
        + parameters.write_transport(transport, oaep)
    )
    return transport, oaep, before


def read(node: Node) -> list[RecipientInfo]:
    fields = Fields(node, "KeyTransRecipientInfo")
    fields.any("version").as_integer("KeyTransRecipientInfo version")
    issuer, key = read_identifier(fields, "KeyTransRecipientInfo rid")
    algorithm = AlgorithmIdentifier.take(fields, "keyEncryptionAlgorithm")
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    return [RecipientInfo("ktri", KeyTransport, issuer, key, algorithm, encrypted)]


def unwrap(recipient: RecipientInfo, key: DecryptionKey, opening: Opening) -> bytes:
    """The content key; for PKCS #1 v1.5 a random one instead of a failure (RFC 3218 2.3.2)."""
    transport, oaep = parameters.read_transport(algorithm_of(recipient), "recipient")
    require_readable(transport, opening.policy)
    try:
        cek = private_key(key.private_key).decrypt(recipient.encrypted_key, transport, oaep)
    except UsageError:
        raise  # the token with the key is gone: nothing is learnt about the message
    except ValueError:
        if not transport.implicit_rejection:
            raise
        cek = b""
    if transport.implicit_rejection:
        # OpenSSL answers bad padding with random octets of random length
        substitute = os.urandom(opening.size)
        return cek if len(cek) == opening.size else substitute
    return cek
