"""What all kinds of recipients have in common: the value read, and how recipients are named.

RecipientIdentifier ::= CHOICE { IssuerAndSerialNumber, [0] IMPLICIT SubjectKeyIdentifier }
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from ... import algorithms
from ...algorithms import Kem, KeyAgreement, KeyKind, KeyTransport, R, Row
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields, Node
from ...budget import Budget
from ...errors import PolicyRefusal, UnsupportedAlgorithm, UsageError
from ...policy import Policy
from ...x509.certificate import Certificate
from ..signed_data import (
    canonical_issuer_and_serial,
    describe_issuer_and_serial,
    is_named_by,
    read_issuer_and_serial,
)

RecipientIdentifierForm = Literal["issuer", "ski"]

# A list server's largest envelopes name a few hundred; every one read costs memory only.
MAX_RECIPIENTS = 10_000


@dataclass(frozen=True, slots=True)
class Opening:
    """What unwrapping needs beside recipient and key; the content key's `size` in octets.

    `certificates` may hold the originator's, where its key is named by one.
    """

    size: int
    policy: Policy
    certificates: Sequence[Certificate] = ()
    budget: Budget | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RecipientKind:
    """A kind of RecipientInfo: a row of `kinds.KINDS`.

    `tag` is its own in the CHOICE, `ori_type` that of an OtherRecipientInfo, whose oriValue `read`
    is given. `takes` says whether a message can be encrypted so to a recipient, `opens` whether it
    is a key's; `operation` is the method of a PrivateKey that it needs. At most `limit` of the
    kind, which are called `plural`, are written and tried in a message.

    `wrap` gives the RecipientInfo, DER, and the version that it asks of the EnvelopedData (RFC 5652
    6.1). `unwrap` gives the content key. It raises UnsupportedAlgorithm or PolicyRefusal before the
    key is used, MalformedMessage for what is wrong in public, and ValueError without a word for
    every failure of the key itself.
    """

    name: str
    tag: int
    read: Callable[[Node], Iterable[RecipientInfo]]
    takes: Callable[[Any], bool]
    wrap: Callable[[Any, bytes, Policy, RecipientIdentifierForm], tuple[bytes, int]]
    unwrap: Callable[[RecipientInfo, Any, Opening], bytes]
    opens: Callable[[RecipientInfo, Any], bool]
    operation: str = ""
    ori_type: str = ""
    limit: int = MAX_RECIPIENTS
    plural: str = "recipients"


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """One encrypted key as received (of a KeyAgreeRecipientInfo: that of one recipient).

    `kind` is the name of its row in `kinds.KINDS`, or ori or unknown for what we cannot use;
    `issuer_and_serial` and `key_identifier` name the recipient, `whom` one without a certificate;
    `algorithm` is its keyEncryptionAlgorithm, or its KEM, and `rows` the kind of row which that
    has; `details` what else its kind needs.
    """

    kind: str
    rows: type[Row] | None = None
    issuer_and_serial: bytes | None = None
    key_identifier: bytes | None = None
    algorithm: AlgorithmIdentifier | None = None
    encrypted_key: bytes = b""
    details: Any = None
    whom: str = ""

    @property
    def identifier(self) -> str:
        """Whom it is for, for people."""
        if self.issuer_and_serial is not None:
            return describe_issuer_and_serial(self.issuer_and_serial)
        if self.key_identifier is not None and not self.whom:
            return f"subjectKeyIdentifier {self.key_identifier.hex()}"
        return self.whom or "a recipient of an unknown kind"

    @property
    def algorithm_name(self) -> str:
        """The row's name, or the dotted identifier where there is no row."""
        if self.algorithm is None:
            return "unknown"
        oid = self.algorithm.oid
        rows = () if self.rows is None else algorithms.rows(self.rows)
        return next((row.name for row in rows if oid in row.oids), oid)

    @property
    def handle(self) -> int | bytes | None:
        """The serial number or key identifier that a certificate must have to be named by it."""
        if self.issuer_and_serial is not None:
            return read_issuer_and_serial(self.issuer_and_serial)[1]
        return self.key_identifier

    def matches(self, certificate: Certificate) -> bool:
        if self.issuer_and_serial is not None:
            return is_named_by(certificate, self.issuer_and_serial)
        return (
            self.key_identifier is not None
            and certificate.subject_key_identifier == self.key_identifier
        )


def certificate_of(one: Any) -> Certificate | None:
    """That of a recipient or a key; those that share a secret have none."""
    certificate: Certificate | None = getattr(one, "certificate", None)
    return certificate


def kind_of_key(recipient: Any) -> KeyKind | None:
    certificate = certificate_of(recipient)
    return None if certificate is None else algorithms.find(KeyKind, certificate.key_algorithm)


def goes_with(rows: type[KeyTransport | KeyAgreement | Kem], recipient: Any) -> bool:
    """Whether the recipient's key is of a kind for one of these rows."""
    certificate = certificate_of(recipient)
    found: Any = rows
    return certificate is not None and _are_for(found, certificate.key_algorithm)


@lru_cache(maxsize=64)
def _are_for(rows: Any, key_algorithm: str) -> bool:
    kind = algorithms.find(KeyKind, key_algorithm)
    return kind is not None and any(kind.name in row.keys for row in algorithms.rows(rows))


def is_named(recipient: RecipientInfo, key: Any) -> bool:
    """Whether the recipient is the key's by its certificate; without one, it may be everybody's."""
    certificate = certificate_of(key)
    return certificate is None or recipient.matches(certificate)


def read_identifier(fields: Fields, name: str) -> tuple[bytes | None, bytes | None]:
    """issuerAndSerialNumber and key identifier: one of the two is None."""
    node = fields.any(name)
    if node.tag == ber.SEQUENCE:
        return canonical_issuer_and_serial(node), None
    if node.tag == 0x80:
        return None, bytes(node.as_octets(name, tag=0x80))
    if node.tag == 0xA0:
        # kari: RecipientKeyIdentifier { subjectKeyIdentifier, ... }; ktri: a constructed string
        first = next(iter(node), None)
        if first is None:
            raise node.fault(f"{name} is empty")
        return None, bytes(first.as_octets(name))
    raise node.fault(f"{name} is of an unknown kind")


def write_identifier(certificate: Certificate, rid: RecipientIdentifierForm) -> bytes:
    """Raises UsageError if the certificate has no subjectKeyIdentifier to be named by."""
    if rid == "issuer":
        return certificate.issuer_and_serial
    if certificate.subject_key_identifier is None:
        raise UsageError(
            f"{certificate.description} has no subjectKeyIdentifier",
            hint="identify the recipient by issuer and serial number",
        )
    return ber.context(0, certificate.subject_key_identifier, constructed=False)


def require_readable(row: R, policy: Policy) -> R:
    """The row, if the policy lets it be read."""
    if not policy.accepts(row):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {row.name}",
            rule="alg.refused",
            policy=policy.name,
            hint="read old mail with the policy archive",
        )
    return row


def require_writable(row: R, policy: Policy, certificate: Certificate) -> R:
    """The row, if the policy lets it be written; `certificate` is whom it is needed for."""
    if not policy.accepts(row):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {row.name}, which {certificate.description} needs",
            rule="alg.refused",
            policy=policy.name,
            hint="use another policy, or ask for a certificate with another kind of key",
        )
    return row


def require_kind_of_key(kind: str | None, who: str, policy: Policy) -> None:
    if not policy.uses_key(kind):
        raise PolicyRefusal(
            f"policy {policy.name} does not encrypt to {who}, whose key is of kind {kind}",
            rule="encrypt.kind-of-key",
            policy=policy.name,
            hint="one such recipient weakens the message for all; ask for an ML-KEM certificate",
        )


def algorithm_of(recipient: RecipientInfo) -> AlgorithmIdentifier:
    if recipient.algorithm is None:
        raise UnsupportedAlgorithm(recipient.kind, where="recipient")
    return recipient.algorithm
