"""Recipients without a certificate: who knows a password, and who holds a shared key.

PasswordRecipientInfo ::= SEQUENCE { version 0, [0] IMPLICIT keyDerivationAlgorithm OPTIONAL,
                                     keyEncryptionAlgorithm, encryptedKey OCTET STRING }
KEKRecipientInfo ::= SEQUENCE { version 4, kekid SEQUENCE { keyIdentifier OCTET STRING, ... },
                                keyEncryptionAlgorithm, encryptedKey OCTET STRING }
(RFC 5652 6.2.3 and 6.2.4, RFC 3211, RFC 8018)
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from ... import algorithms, oids
from ...algorithms import ContentCipher, Digest, KeyWrap, PasswordEncryption
from ...arguments import check_fields
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields, Node
from ...asn1.pbkdf2 import Pbkdf2Parameters, write_pbkdf2
from ...budget import ITERATION, Budget
from ...errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from ...policy import Policy
from .. import parameters
from .recipient_info import (
    Opening,
    RecipientIdentifierForm,
    RecipientInfo,
    algorithm_of,
    require_kind_of_key,
    require_readable,
)

# OWASP's advice of 2023 for HMAC-SHA256; a tenth of a second
ITERATIONS = 600_000
# Half a second; how many derivations of it a message may ask for is for its budget to say
MAX_ITERATIONS = 1_500_000


@dataclass(frozen=True, slots=True)
class Password:
    """A password that both sides know, as a recipient and as a key; text is taken as UTF-8."""

    password: str = field(repr=False)
    _: KW_ONLY
    iterations: int = ITERATIONS

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.password:
            raise UsageError("the recipients' password is empty")
        try:
            self.password.encode()
        except UnicodeEncodeError:
            # what it would say of the text is the text
            raise UsageError("the recipients' password cannot be written in UTF-8") from None
        if not 1 <= self.iterations <= MAX_ITERATIONS:
            raise UsageError(f"{self.iterations} iterations, 1 to {MAX_ITERATIONS} are possible")


@dataclass(frozen=True, slots=True)
class SharedKey:
    """An AES key of 16, 24 or 32 octets that both sides hold, and the name that both know it by."""

    key: bytes = field(repr=False)
    _: KW_ONLY
    identifier: bytes = b""

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.key) not in (16, 24, 32):
            raise UsageError(f"a shared key has 16, 24 or 32 octets, not {len(self.key)}")


def is_password(one: Any) -> bool:
    return isinstance(one, Password)


def is_shared_key(one: Any) -> bool:
    return isinstance(one, SharedKey)


# --- passwords ----------------------------------------------------------------------------


def wrap_for_password(
    password: Password, cek: bytes, policy: Policy, _: RecipientIdentifierForm
) -> tuple[bytes, int]:
    require_kind_of_key("password", "a password", policy)
    salt, iv = os.urandom(16), os.urandom(16)
    kek = _pbkdf2(password, algorithms.SHA256, salt, password.iterations, 32)
    cipher = algorithms.by_name(ContentCipher, "aes256-cbc")
    encryption = algorithms.by_name(PasswordEncryption, "pwri-kek")
    derivation = ber.context(0, write_pbkdf2(salt, password.iterations))
    der = ber.context(
        3,
        ber.integer(0),
        derivation,
        ber.sequence(ber.oid(encryption.oid), parameters.write_cipher(cipher, iv, None)),
        ber.octet_string(encryption.wrap(kek, iv, cek)),
    )
    return der, 3


def _pbkdf2(password: Password, prf: Digest, salt: bytes, iterations: int, size: int) -> bytes:
    return hashlib.pbkdf2_hmac(prf.name, password.password.encode(), salt, iterations, size)


def read_password(node: Node) -> list[RecipientInfo]:
    name = "PasswordRecipientInfo"
    fields = Fields(node, name)
    fields.any("version").as_integer(f"{name} version")
    derivation = fields.optional(0xA0)
    algorithm = AlgorithmIdentifier.take(fields, "keyEncryptionAlgorithm")
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    kdf = None if derivation is None else AlgorithmIdentifier.read(derivation, "key derivation")
    info = RecipientInfo(
        "pwri", PasswordEncryption, None, None, algorithm, encrypted, kdf, "a password"
    )
    return [info]


def unwrap_with_password(recipient: RecipientInfo, password: Password, opening: Opening) -> bytes:
    identifier = algorithm_of(recipient)
    row = algorithms.by_oid(PasswordEncryption, identifier.oid, where="recipient")
    require_readable(row, opening.policy)
    if identifier.parameters is None:
        raise MalformedMessage("PasswordRecipientInfo: no cipher is named")
    inner = AlgorithmIdentifier.read(identifier.parameters, "recipient")
    encryption = parameters.read_cipher(inner, "recipient")
    if encryption.cipher not in [algorithms.by_name(ContentCipher, name) for name in row.ciphers]:
        raise UnsupportedAlgorithm(encryption.cipher.oid, where="PasswordRecipientInfo")
    kdf: AlgorithmIdentifier | None = recipient.details
    if kdf is None or kdf.oid != oids.PBKDF2 or kdf.parameters is None:
        raise UnsupportedAlgorithm(
            "none" if kdf is None else kdf.oid, where="PasswordRecipientInfo key derivation"
        )
    kek = _derived(password, kdf.parameters, encryption.key_size, opening.budget)
    return row.unwrap(kek, encryption.iv, recipient.encrypted_key)


def _derived(password: Password, node: Node, size: int, budget: Budget | None) -> bytes:
    found = Pbkdf2Parameters.read(node)
    iterations = found.iterations
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise MalformedMessage(
            f"PBKDF2: {iterations} iterations, at most {MAX_ITERATIONS} are carried out"
        )
    if found.key_length not in (None, size):
        raise MalformedMessage("PBKDF2: keyLength is not the cipher's")
    prf = next((row for row in algorithms.rows(Digest) if row.hmac == found.prf), None)
    if prf is None:
        raise UnsupportedAlgorithm(found.prf, where="PBKDF2 prf")
    if budget is not None:
        blocks = -(-size // prf.size)
        weight = 1 if prf.size <= 32 else 2  # of 64-bit words
        budget.spend("password derivations", ITERATION * iterations * blocks * weight)
    return _pbkdf2(password, prf, found.salt, iterations, size)


# --- shared keys --------------------------------------------------------------------------


def wrap_for_shared_key(
    shared: SharedKey, cek: bytes, _: Policy, __: RecipientIdentifierForm
) -> tuple[bytes, int]:
    key_wrap = next(row for row in algorithms.rows(KeyWrap) if row.key_size == len(shared.key))
    der = ber.context(
        2,
        ber.integer(4),
        ber.sequence(ber.octet_string(shared.identifier)),
        parameters.write_wrap(key_wrap),
        ber.octet_string(key_wrap.wrap(shared.key, cek)),
    )
    return der, 2


def read_shared_key(node: Node) -> list[RecipientInfo]:
    name = "KEKRecipientInfo"
    fields = Fields(node, name)
    fields.any("version").as_integer(f"{name} version")
    kekid = Fields(fields.take(ber.SEQUENCE, "kekid"), "KEKIdentifier")
    identifier = bytes(kekid.any("keyIdentifier").as_octets("keyIdentifier"))
    wrap_algorithm = fields.take(ber.SEQUENCE, "keyEncryptionAlgorithm")
    algorithm = AlgorithmIdentifier.read(wrap_algorithm, "keyEncryptionAlgorithm")
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    whom = f"shared key {identifier.hex()}"
    info = RecipientInfo(
        "kekri", KeyWrap, None, identifier, algorithm, encrypted, wrap_algorithm, whom
    )
    return [info]


def has_its_name(recipient: RecipientInfo, key: Any) -> bool:
    return isinstance(key, SharedKey) and recipient.key_identifier == key.identifier


def unwrap_with_shared_key(recipient: RecipientInfo, shared: SharedKey, opening: Opening) -> bytes:
    key_wrap, _ = parameters.read_wrap(recipient.details, "recipient")
    require_readable(key_wrap, opening.policy)
    if key_wrap.key_size != len(shared.key):
        raise ValueError
    return key_wrap.unwrap(shared.key, recipient.encrypted_key)
