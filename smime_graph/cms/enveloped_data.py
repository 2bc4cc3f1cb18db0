"""EnvelopedData (RFC 5652 section 6) and AuthEnvelopedData (RFC 5083): made, read, decrypted.

EnvelopedData ::= SEQUENCE { version, [0] IMPLICIT originatorInfo OPTIONAL, recipientInfos SET
OF
                             RecipientInfo, encryptedContentInfo, [1] IMPLICIT unprotectedAttrs
                             OPTIONAL }
AuthEnvelopedData ::= SEQUENCE { version 0, [0] IMPLICIT originatorInfo OPTIONAL,
recipientInfos,
                                 authEncryptedContentInfo, [1] IMPLICIT authAttrs OPTIONAL,
                                 mac OCTET STRING, [2] IMPLICIT unauthAttrs OPTIONAL }
EncryptedContentInfo ::= SEQUENCE { contentType, contentEncryptionAlgorithm,
                                    [0] IMPLICIT OCTET STRING OPTIONAL }
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from .. import oids
from ..algorithms import ContentCipher
from ..errors import (
    DecryptionFailed,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    UnsupportedAlgorithm,
    UsageError,
)
from ..policy import Policy
from . import attributes, ber, parameters, recipients
from .ber import Fields
from .keys import DecryptionKey, Recipient
from .parameters import AlgorithmIdentifier
from .recipients import RecipientIdentifierForm, RecipientInfo
from .signed_data import content_info, read_content_info

# Each try is an operation with a private key: a message can ask for many, we grant few.
MAX_ATTEMPTS = 50


def encrypt(
    content: bytes,
    to: Sequence[Recipient],
    *,
    cipher: ContentCipher,
    policy: Policy,
    rid: RecipientIdentifierForm = "issuer",
) -> bytes:
    """ContentInfo, DER: AuthEnvelopedData if the cipher authenticates, otherwise EnvelopedData.

    Each certificate gets one RecipientInfo however often it is given.
    """
    if not to:
        raise UsageError("nobody to encrypt to", hint="give at least one recipient's certificate")
    cek, iv = os.urandom(cipher.key_size), os.urandom(cipher.iv_size)
    unique = {recipient.certificate: recipient for recipient in to}
    infos = [recipients.wrap(one, cek, policy=policy, rid=rid) for one in unique.values()]
    ciphertext, tag = cipher.encrypt(cek, iv, content)
    recipient_infos = ber.set_of(*(der for der, _ in infos))
    encrypted = ber.nest(
        ber.SEQUENCE,
        [
            ber.oid(oids.DATA),
            parameters.write_cipher(cipher, iv),
            *ber.nest(0x80, [ciphertext]),
        ],
    )
    if cipher.aead:
        # authAttrs are not written: OpenSSL cannot read a message that has them
        return content_info(
            oids.AUTH_ENVELOPED_DATA,
            [ber.integer(0), recipient_infos, *encrypted, ber.octet_string(tag)],
        )
    version = 0 if all(version == 0 for _, version in infos) else 2
    return content_info(oids.ENVELOPED_DATA, [ber.integer(version), recipient_infos, *encrypted])


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """An EnvelopedData or AuthEnvelopedData as received; `aad` and `mac` belong to the second."""

    content_type: str
    recipients: tuple[RecipientInfo, ...]
    algorithm: AlgorithmIdentifier
    ciphertext: memoryview
    authenticated: bool
    aad: bytes = b""
    mac: bytes = b""

    @property
    def cipher_name(self) -> str:
        """The cipher's name, or its dotted identifier where it has no row."""
        try:
            return parameters.read_cipher(self.algorithm, "content")[0].name
        except (UnsupportedAlgorithm, MalformedMessage):
            return self.algorithm.oid


def read(der: bytes) -> EnvelopedData:
    """The (Auth)EnvelopedData in a ContentInfo, BER or DER. Raises MalformedMessage."""
    kind, node = read_content_info(der)
    authenticated = kind == oids.AUTH_ENVELOPED_DATA
    if not authenticated and kind != oids.ENVELOPED_DATA:
        raise MalformedMessage(f"ContentInfo: content type {kind} is not encrypted data")
    name = "AuthEnvelopedData" if authenticated else "EnvelopedData"
    fields = Fields(node.expect(ber.SEQUENCE, name), name)
    fields.any("version").as_integer(f"{name} version")
    fields.optional(0xA0)  # originatorInfo: certificates that we do not need
    infos = recipients.read(fields.take(ber.SET, "recipientInfos"))
    inner = Fields(fields.take(ber.SEQUENCE, "encryptedContentInfo"), "EncryptedContentInfo")
    content_type = inner.any("contentType").as_oid("contentType")
    algorithm = AlgorithmIdentifier.read(
        inner.take(ber.SEQUENCE, "contentEncryptionAlgorithm"), "contentEncryptionAlgorithm"
    )
    encrypted = inner.optional(0x80, 0xA0)
    inner.end()
    ciphertext = (
        memoryview(b"") if encrypted is None else encrypted.as_octets("encryptedContent", tag=0x80)
    )
    if not authenticated:
        fields.optional(0xA1)  # unprotectedAttrs
        fields.end()
        return EnvelopedData(content_type, infos, algorithm, ciphertext, False)
    signed = fields.optional(0xA1)
    mac = bytes(fields.any("mac").as_octets("mac"))
    fields.optional(0xA2)
    fields.end()
    aad = b""
    if signed is not None:
        attributes.Attributes(signed)
        aad = ber.set_of(*(element.raw for element in signed))  # RFC 5083 2.2
    elif content_type != oids.DATA:
        raise MalformedMessage("AuthEnvelopedData: no authAttrs, but the content is not data")
    return EnvelopedData(content_type, infos, algorithm, ciphertext, True, aad, mac)


def decrypt(enveloped: EnvelopedData, keys: Sequence[DecryptionKey], *, policy: Policy) -> bytes:
    """The content, decrypted with the first of the keys that can.

    Nothing is released before the tag of an AuthEnvelopedData is checked. Raises
    NoMatchingIdentity, UnsupportedAlgorithm, PolicyRefusal, MalformedMessage for what everybody can
    see in the message, and DecryptionFailed, always the same, for everything that depends on a key.
    """
    cipher, iv, tag_size = parameters.read_cipher(enveloped.algorithm, "content encryption")
    if not policy.accepts(cipher):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {cipher.name}",
            rule="alg.refused",
            policy=policy.name,
            hint="read old mail with the policy archive",
        )
    if cipher.aead != enveloped.authenticated:
        # RFC 8551 3.3; without this, AuthEnvelopedData could be turned into something malleable
        kind = "AuthEnvelopedData" if enveloped.authenticated else "EnvelopedData"
        raise MalformedMessage(f"{cipher.name} does not belong in {kind}")
    pairs = [
        (recipient, key)
        for recipient in enveloped.recipients
        for key in keys
        if recipients.can_unwrap(recipient, key)
    ]
    if not pairs:
        raise NoMatchingIdentity([one.identifier for one in enveloped.recipients[:20]])
    if len(enveloped.mac) != tag_size:
        raise DecryptionFailed
    known: UnsupportedAlgorithm | PolicyRefusal | MalformedMessage | None = None
    tried = False
    for recipient, key in pairs[:MAX_ATTEMPTS]:
        try:
            cek = recipients.unwrap(recipient, key.private_key, cipher.key_size, policy=policy)
            tried = True
            return cipher.decrypt(cek, iv, enveloped.ciphertext, enveloped.mac, enveloped.aad)
        except (UnsupportedAlgorithm, PolicyRefusal, MalformedMessage) as error:
            known = known or error
        except (ValueError, TypeError):
            tried = True  # whatever the primitive says
    if known is not None and not tried:
        raise known
    raise DecryptionFailed
