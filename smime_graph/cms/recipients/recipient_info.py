"""What all kinds of recipients have in common: the value read, and how recipients are named.

RecipientIdentifier ::= CHOICE { IssuerAndSerialNumber, [0] IMPLICIT SubjectKeyIdentifier }
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ... import algorithms
from ...algorithms import Kem, KeyAgreement, KeyTransport, KeyWrap, PasswordEncryption, R
from ...asn1 import ber
from ...asn1.algorithm_identifier import AlgorithmIdentifier
from ...asn1.ber import Fields
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


_ROWS = {
    "ktri": KeyTransport,
    "kari": KeyAgreement,
    "kemri": Kem,
    "kekri": KeyWrap,
    "pwri": PasswordEncryption,
}


@dataclass(frozen=True, slots=True)
class RecipientInfo:
    """One encrypted key as received (of a KeyAgreeRecipientInfo: that of one recipient).

    `kind` is ktri, kari, kemri, kekri, pwri, or ori for what we cannot use; `issuer_and_serial` and
    `key_identifier` name the recipient; `algorithm` is its keyEncryptionAlgorithm, or its KEM;
    `details` what else its kind needs.
    """

    kind: str
    issuer_and_serial: bytes | None = None
    key_identifier: bytes | None = None
    algorithm: AlgorithmIdentifier | None = None
    encrypted_key: bytes = b""
    details: Any = None

    @property
    def identifier(self) -> str:
        """Whom it is for, for people."""
        if self.issuer_and_serial is not None:
            return describe_issuer_and_serial(self.issuer_and_serial)
        if self.kind == "pwri":
            return "a password"
        if self.key_identifier is not None:
            name = "shared key" if self.kind == "kekri" else "subjectKeyIdentifier"
            return f"{name} {self.key_identifier.hex()}"
        return "a recipient of an unknown kind"

    @property
    def algorithm_name(self) -> str:
        """The row's name, or the dotted identifier where there is no row."""
        if self.algorithm is None:
            return "unknown"
        kind = _ROWS.get(self.kind)
        oid = self.algorithm.oid
        return next(
            (row.name for row in algorithms.TABLE if type(row) is kind and oid in row.oids), oid
        )

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


def judged(row: R, policy: Policy) -> R:
    """The row, if the policy lets it be read."""
    if not policy.accepts(row):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {row.name}",
            rule="alg.refused",
            policy=policy.name,
            hint="read old mail with the policy archive",
        )
    return row


def used(row: R, policy: Policy, certificate: Certificate) -> R:
    """The row, if the policy lets it be written; `certificate` is whom it is needed for."""
    if not policy.accepts(row):
        raise PolicyRefusal(
            f"policy {policy.name} refuses {row.name}, which {certificate.description} needs",
            rule="alg.refused",
            policy=policy.name,
            hint="use another policy, or ask for a certificate with another kind of key",
        )
    return row


def named(recipient: RecipientInfo) -> AlgorithmIdentifier:
    if recipient.algorithm is None:
        raise UnsupportedAlgorithm(recipient.kind, where="recipient")
    return recipient.algorithm
