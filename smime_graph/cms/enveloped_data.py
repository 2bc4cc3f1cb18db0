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
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields
from ..asn1.content_info import content_info, read_content_info
from ..budget import PRIVATE_KEY, Budget
from ..errors import (
    DecryptionFailed,
    LimitReached,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    UnsupportedAlgorithm,
    UsageError,
    fresh,
    kept,
)
from ..policy import Policy
from ..x509.certificate import Certificate
from ..x509.certificate_set import read_certificates
from . import attributes, parameters
from .recipients import kinds as recipients
from .recipients.kinds import AnyKey, AnyRecipient
from .recipients.recipient_info import RecipientIdentifierForm, RecipientInfo, judged
from .recipients.shared_secret import Password

# Each try is an operation with a private key: a message can ask for many, we grant few.
MAX_ATTEMPTS = 50
# Each try of a password is a second or more, as long as the sender wants up to a limit.
MAX_PASSWORD_ATTEMPTS = 4


def encrypt(
    content: bytes,
    to: Sequence[AnyRecipient],
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
    unique = {getattr(recipient, "certificate", recipient): recipient for recipient in to}
    passwords = sum(isinstance(one, Password) for one in unique.values())
    for count, most, what in (
        (len(unique), recipients.MAX_RECIPIENTS, "recipients"),
        (passwords, MAX_PASSWORD_ATTEMPTS, "recipients' passwords"),
    ):
        if count > most:
            raise UsageError(f"{count} {what}, at most {most} are read", hint="send it twice")
    infos = [recipients.wrap(one, cek, policy=policy, rid=rid) for one in unique.values()]
    derivation = recipients.choose_derivation(to, policy)
    algorithm = parameters.write_cipher(cipher, iv, derivation)
    if derivation is not None:
        cek = derivation.derive(cek, parameters.write_cipher(cipher, iv, None))
    ciphertext, tag = cipher.encrypt(cek, iv, content)
    recipient_infos = ber.set_of(*(der for der, _ in infos))
    encrypted = ber.nest(
        ber.SEQUENCE, [ber.oid(oids.DATA), algorithm, *ber.nest(0x80, [ciphertext])]
    )
    if cipher.aead:
        # authAttrs are not written: OpenSSL cannot read a message that has them
        return content_info(
            oids.AUTH_ENVELOPED_DATA,
            [ber.integer(0), recipient_infos, *encrypted, ber.octet_string(tag)],
        )
    # RFC 5652 6.1
    if any(der[0] in (0xA3, 0xA4) for der, _ in infos):
        version = 3
    else:
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
    originator_certificates: tuple[Certificate, ...] = ()


def cipher_name(algorithm: AlgorithmIdentifier) -> str:
    """The cipher's name, or its dotted identifier where it has no row."""
    try:
        return parameters.read_cipher(algorithm, "content").cipher.name
    except (UnsupportedAlgorithm, MalformedMessage):
        return algorithm.oid


def read(der: bytes, *, budget: Budget | None = None) -> EnvelopedData:
    """The (Auth)EnvelopedData in a ContentInfo, BER or DER. Raises MalformedMessage."""
    kind, node = read_content_info(der, budget=budget)
    authenticated = kind == oids.AUTH_ENVELOPED_DATA
    if not authenticated and kind != oids.ENVELOPED_DATA:
        raise MalformedMessage(f"ContentInfo: content type {kind} is not encrypted data")
    name = "AuthEnvelopedData" if authenticated else "EnvelopedData"
    fields = Fields(node.expect(ber.SEQUENCE, name), name)
    fields.any("version").as_integer(f"{name} version")
    # OriginatorInfo ::= SEQUENCE { [0] IMPLICIT certificates OPTIONAL, [1] IMPLICIT crls OPTIONAL }
    originator = fields.optional(0xA0)
    certificates = (
        () if originator is None else read_certificates(Fields(originator, name).optional(0xA0))
    )
    infos = recipients.read(fields.take(ber.SET, "recipientInfos"))
    content_type, algorithm, ciphertext = read_encrypted_content(fields)
    if not authenticated:
        fields.optional(0xA1)  # unprotectedAttrs
        fields.end()
        return EnvelopedData(
            content_type,
            infos,
            algorithm,
            ciphertext,
            False,
            originator_certificates=certificates,
        )
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
    return EnvelopedData(content_type, infos, algorithm, ciphertext, True, aad, mac, certificates)


def read_encrypted_content(fields: Fields) -> tuple[str, AlgorithmIdentifier, memoryview]:
    """Content type, algorithm and ciphertext of the EncryptedContentInfo that comes next."""
    inner = Fields(fields.take(ber.SEQUENCE, "encryptedContentInfo"), "EncryptedContentInfo")
    content_type = inner.any("contentType").as_oid("contentType")
    algorithm = AlgorithmIdentifier.read(
        inner.take(ber.SEQUENCE, "contentEncryptionAlgorithm"), "contentEncryptionAlgorithm"
    )
    encrypted = inner.optional(0x80, 0xA0)
    inner.end()
    if encrypted is None:
        return content_type, algorithm, memoryview(b"")
    return content_type, algorithm, encrypted.as_octets("encryptedContent", tag=0x80)


def decrypt(
    enveloped: EnvelopedData,
    keys: Sequence[AnyKey],
    *,
    policy: Policy,
    budget: Budget | None = None,
) -> bytes:
    """The content, decrypted with the first of the keys that can.

    Nothing is released before the tag of an AuthEnvelopedData is checked. Raises
    NoMatchingIdentity, UnsupportedAlgorithm, PolicyRefusal, MalformedMessage for what everybody can
    see in the message, and DecryptionFailed, always the same, for everything that depends on a key.
    """
    encryption = parameters.read_cipher(enveloped.algorithm, "content encryption")
    cipher = judged(encryption.cipher, policy)
    if encryption.derivation is not None:
        judged(encryption.derivation, policy)
    if cipher.aead != enveloped.authenticated:
        # RFC 8551 3.3; without this, AuthEnvelopedData could be turned into something malleable
        kind = "AuthEnvelopedData" if enveloped.authenticated else "EnvelopedData"
        raise MalformedMessage(f"{cipher.name} does not belong in {kind}")
    pairs = recipients.pairs(enveloped.recipients, keys)
    if not pairs:
        shown = enveloped.recipients[:20]
        near = recipients.find_namesake(shown, keys)
        raise NoMatchingIdentity(
            [one.identifier for one in shown], renewed=None if near is None else near.description
        )
    if len(enveloped.mac) != encryption.tag_size:
        raise DecryptionFailed
    known: UnsupportedAlgorithm | PolicyRefusal | MalformedMessage | None = None
    tried = 0
    passwords = 0
    for recipient, key in pairs[:MAX_ATTEMPTS]:
        passwords += recipient.kind == "pwri"
        if passwords > MAX_PASSWORD_ATTEMPTS:
            continue
        if budget is not None:
            budget.spend("private keys", PRIVATE_KEY)
        try:
            cek = recipients.unwrap(
                recipient,
                key,
                encryption.key_size,
                policy=policy,
                certificates=enveloped.originator_certificates,
                budget=budget,
            )
            tried += 1
            return encryption.decrypt(cek, enveloped.ciphertext, enveloped.mac, enveloped.aad)
        except LimitReached:
            raise
        except (UnsupportedAlgorithm, PolicyRefusal, MalformedMessage) as error:
            known = known or kept(error)
        except UsageError:
            raise  # the token with the key is gone: nothing is learnt about the message
        except (ValueError, TypeError):
            tried += 1  # whatever the primitive says
    if known is not None and not tried:
        raise fresh(known)
    raise DecryptionFailed
