"""EncryptedData (RFC 5652 section 8): read; the key is managed by other means.

EncryptedData ::= SEQUENCE { version, encryptedContentInfo, [1] IMPLICIT unprotectedAttrs
OPTIONAL }
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..asn1 import ber
from ..asn1.algorithm_identifier import AlgorithmIdentifier
from ..asn1.ber import Fields, Node
from ..buffers import Data
from ..errors import DecryptionFailed, NoMatchingIdentity, UsageError
from ..policy import Policy
from .enveloped_data import read_encrypted_content, readable_encryption
from .recipients.kinds import AnyKey
from .recipients.shared_secret import SharedKey


@dataclass(frozen=True, slots=True)
class EncryptedData:
    """An EncryptedData as received."""

    algorithm: AlgorithmIdentifier
    ciphertext: memoryview


def read_content(node: Node) -> EncryptedData:
    """The EncryptedData that is the content of a ContentInfo."""
    fields = Fields(node.expect(ber.SEQUENCE, "EncryptedData"), "EncryptedData")
    fields.any("version").as_integer("EncryptedData version")
    _, algorithm, ciphertext = read_encrypted_content(fields)
    fields.optional(0xA1)
    fields.end()
    return EncryptedData(algorithm, ciphertext)


def decrypt(encrypted: EncryptedData, keys: Sequence[AnyKey], *, policy: Policy) -> Data:
    """The content under a SharedKey of the right size; errors as of `enveloped_data`."""
    encryption = readable_encryption(encrypted.algorithm, policy, False, "EncryptedData")
    usable = [
        key for key in keys if isinstance(key, SharedKey) and len(key.key) == encryption.key_size
    ]
    if not usable:
        raise NoMatchingIdentity([f"whoever holds its key of {encryption.key_size} octets"])
    for key in usable:
        try:
            return encryption.decrypt(key.key, encrypted.ciphertext, b"", b"")
        except UsageError:
            raise  # there is no room for it
        except ValueError:
            continue
    raise DecryptionFailed
