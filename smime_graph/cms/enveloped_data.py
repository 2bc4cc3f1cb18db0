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
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from .. import oids
from ..algorithms import ContentCipher
from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..asn1.content_info import content_info, read_content_info
from ..budget import PRIVATE_KEY, Budget
from ..buffers import B, Data, Octets
from ..errors import (
    DecryptionFailed,
    LimitReached,
    MalformedMessage,
    NoMatchingIdentity,
    PolicyRefusal,
    SmimeGraphError,
    UnsupportedAlgorithm,
    UsageError,
    fresh,
    kept,
)
from ..policy import Policy
from ..x509.certificate import Certificate
from ..x509.certificate_set import read_certificates
from . import attributes, parameters
from .parameters import ContentEncryption
from .recipients import kinds as recipients
from .recipients.kinds import AnyKey, AnyRecipient
from .recipients.recipient_info import (
    MAX_RECIPIENTS,
    Opening,
    RecipientIdentifierForm,
    RecipientInfo,
    RecipientKind,
    require_readable,
)

# Each try is an operation with a private key: a message can ask for many, we grant few.
MAX_ATTEMPTS = 50
_version = lru_cache(maxsize=8)(ber.integer)


def encrypt(
    content: B,
    to: Sequence[AnyRecipient],
    *,
    cipher: ContentCipher,
    policy: Policy,
    rid: RecipientIdentifierForm = "issuer",
) -> B:
    """ContentInfo, DER: AuthEnvelopedData if the cipher authenticates, otherwise EnvelopedData.

    Each certificate gets one RecipientInfo however often it is given.
    """
    if not to:
        raise UsageError("nobody to encrypt to", hint="give at least one recipient's certificate")
    secret = os.urandom(cipher.key_size + cipher.iv_size)
    cek, iv = secret[: cipher.key_size], secret[cipher.key_size :]
    unique = {getattr(recipient, "certificate", recipient): recipient for recipient in to}
    _require_at_most(MAX_RECIPIENTS, len(unique), "recipients")
    chosen = [(recipients.kind_for(one, policy), one) for one in unique.values()]
    kinds = [kind for kind, _ in chosen]
    for kind in set(kinds):
        _require_at_most(kind.limit, kinds.count(kind), kind.plural)
    infos, version = [], 0
    for kind, one in chosen:
        info, needed = kind.wrap(one, cek, policy, rid)
        infos.append(info)
        version = max(version, needed)
    derivation = recipients.choose_derivation(to, policy)
    algorithm = parameters.write_cipher(cipher, iv, derivation)
    if derivation is not None:
        cek = derivation.derive(cek, parameters.write_cipher(cipher, iv, None))
    ciphertext, tag = cipher.encrypt(cek, iv, content)
    recipient_infos = ber.set_of(*infos)
    parts = [ber.oid(oids.DATA), algorithm, *ber.nest(0x80, [ciphertext])]
    encrypted = ber.nest(ber.SEQUENCE, parts)
    oid = oids.ENVELOPED_DATA
    elements: list[Octets] = [_version(version), recipient_infos, *encrypted]
    if cipher.aead:
        # authAttrs are not written: OpenSSL cannot read a message that has them
        oid = oids.AUTH_ENVELOPED_DATA
        elements[0] = _version(0)
        elements += ber.nest(ber.OCTET_STRING, [tag])
    return cast("B", content_info(oid, elements))


def _require_at_most(most: int, count: int, what: str) -> None:
    if count > most:
        raise UsageError(f"{count} {what}, at most {most} are read", hint="send it twice")


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


def read(der: Data, *, budget: Budget | None = None) -> EnvelopedData:
    """The (Auth)EnvelopedData in a ContentInfo, BER or DER. Raises MalformedMessage."""
    return read_content(*read_content_info(der, budget=budget))


def read_content(kind: str, node: Node) -> EnvelopedData:
    """The (Auth)EnvelopedData that is the content, of type `kind`, of a ContentInfo."""
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
    algorithm = AlgorithmIdentifier.take(inner, "contentEncryptionAlgorithm")
    encrypted = inner.optional(0x80, 0xA0)
    inner.end()
    if encrypted is None:
        return content_type, algorithm, memoryview(b"")
    return content_type, algorithm, encrypted.as_octets("encryptedContent", tag=0x80)


def readable_encryption(
    algorithm: AlgorithmIdentifier, policy: Policy, aead: bool, name: str
) -> ContentEncryption:
    """The content encryption of a `name`, if it belongs there and the policy lets it be read."""
    encryption = parameters.read_cipher(algorithm, "content encryption")
    cipher = require_readable(encryption.cipher, policy)
    if encryption.derivation is not None:
        require_readable(encryption.derivation, policy)
    if cipher.aead != aead:
        # RFC 8551 3.3; without this, AuthEnvelopedData could be turned into something malleable
        raise MalformedMessage(f"{cipher.name} does not belong in {name}")
    return encryption


def decrypt(
    enveloped: EnvelopedData,
    keys: Sequence[AnyKey],
    *,
    policy: Policy,
    budget: Budget | None = None,
) -> Data:
    """The content, decrypted with the first of the keys that can.

    Nothing is released before the tag of an AuthEnvelopedData is checked. Raises
    NoMatchingIdentity, UnsupportedAlgorithm, PolicyRefusal, MalformedMessage for what everybody can
    see in the message, and DecryptionFailed, always the same, for everything that depends on a key.
    """
    name = "AuthEnvelopedData" if enveloped.authenticated else "EnvelopedData"
    encryption = readable_encryption(enveloped.algorithm, policy, enveloped.authenticated, name)
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
    deciphered = False
    opening = Opening(encryption.key_size, policy, enveloped.originator_certificates, budget)
    asked: Counter[RecipientKind] = Counter()
    for kind, recipient, key in pairs[:MAX_ATTEMPTS]:
        asked[kind] += 1
        if asked[kind] > kind.limit:
            continue
        if budget is not None:
            budget.spend("private keys", PRIVATE_KEY)
        try:
            cek = kind.unwrap(recipient, key, opening)
            if len(cek) != opening.size:
                raise ValueError
            tried += 1
            deciphered = True
            return encryption.decrypt(cek, enveloped.ciphertext, enveloped.mac, enveloped.aad)
        except LimitReached:
            raise
        except (UnsupportedAlgorithm, PolicyRefusal, MalformedMessage) as error:
            known = known or kept(error)
        except UsageError:
            raise  # the token with the key is gone, or the disk is full: not the message's fault
        except (ValueError, TypeError):
            tried += 1  # whatever the primitive says
    if known is not None and not tried:
        raise fresh(known)
    if not deciphered:
        # a content key that does not come out takes as long as one that is wrong
        _decipher_in_vain(encryption, enveloped)
    raise DecryptionFailed


def _decipher_in_vain(encryption: ContentEncryption, enveloped: EnvelopedData) -> None:
    """Decrypt with a key by chance, and forget what comes of it."""
    cek = os.urandom(encryption.key_size)
    try:
        encryption.decrypt(cek, enveloped.ciphertext, enveloped.mac, enveloped.aad)
    except UsageError:
        raise  # there is no room for it
    except (ValueError, TypeError, SmimeGraphError):
        return
