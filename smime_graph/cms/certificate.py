"""One X.509 certificate as CMS sees it: the bytes as received, and the slices of them that CMS
compares.

    Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    TBSCertificate ::= SEQUENCE { [0] version DEFAULT v1, serialNumber, signature, issuer, validity,
                                  subject, subjectPublicKeyInfo, ... }       (RFC 5280 4.1)

Whose it is and whether to believe it is the business of `smime_graph.pki`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from typing import TypeVar

import cryptography.x509 as pyca
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning

from ..errors import MalformedMessage, UnsupportedAlgorithm
from . import ber, names

T = TypeVar("T")


# serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
_TBS_TAGS = (ber.INTEGER, *[ber.SEQUENCE] * 5)


class Certificate:
    """A certificate; equal to another of the same bytes.

    Raises MalformedMessage if `der` is not shaped like a certificate. What lies deeper is parsed
    when asked for.
    """

    def __init__(self, der: bytes) -> None:
        self.der = bytes(der)
        body, end = self._sequence(0, len(self.der))
        if end != len(self.der):
            raise MalformedMessage(f"Certificate: {len(self.der) - end} octets of trailing data")
        body, end = self._sequence(body, end)
        tbs = ber.spans(self.der, "TBSCertificate", start=body, stop=end, count=7)
        fields = tbs[1:] if tbs and tbs[0][0] == 0xA0 else tbs[:6]
        if tuple(field[0] for field in fields) != _TBS_TAGS:
            raise MalformedMessage("Certificate: its tbsCertificate is not shaped like one")
        self._serial, _, self._issuer, _, self._subject, self._spki = fields

    @classmethod
    def from_argument(cls, value: object) -> Certificate | None:
        """One of `cryptography`, wherever a certificate is wanted (see `arguments`)."""
        return (
            cls(value.public_bytes(Encoding.DER)) if isinstance(value, pyca.Certificate) else None
        )

    def _sequence(self, start: int, stop: int) -> tuple[int, int]:
        """Where the contents of the SEQUENCE between the offsets begin and end."""
        found = ber.spans(self.der, "Certificate", start=start, stop=stop, count=1)
        if not found or found[0][0] != ber.SEQUENCE:
            raise MalformedMessage("Certificate: this is no certificate")
        return found[0][2:]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.der == other.der

    def __hash__(self) -> int:
        return hash(self.der)

    def __repr__(self) -> str:
        return f"Certificate({self.description})"

    @property
    def issuer(self) -> bytes:
        """The issuer's Name as received, DER."""
        return self.der[self._issuer[1] : self._issuer[3]]

    @property
    def subject(self) -> bytes:
        """The subject's Name as received, DER."""
        return self.der[self._subject[1] : self._subject[3]]

    @property
    def serial(self) -> bytes:
        """The serial number as received: a whole DER INTEGER."""
        return self.der[self._serial[1] : self._serial[3]]

    @property
    def serial_number(self) -> int:
        return int.from_bytes(self.der[self._serial[2] : self._serial[3]], "big", signed=True)

    @cached_property
    def issuer_and_serial(self) -> bytes:
        """IssuerAndSerialNumber (RFC 5652 10.2.4), DER, made of the received slices."""
        return ber.sequence(self.issuer, self.serial)

    @cached_property
    def canonical_issuer(self) -> bytes:
        """The issuer as `names.canonical` has it: for comparing, never for sending."""
        return names.canonical(self.issuer)

    @cached_property
    def canonical_subject(self) -> bytes:
        """The subject as `names.canonical` has it."""
        return names.canonical(self.subject)

    @property
    def is_self_issued(self) -> bool:
        """Whether subject and issuer are the same name; nothing is said of the signature."""
        return self.canonical_subject == self.canonical_issuer

    def is_named(self, issuer: bytes, serial_number: int) -> bool:
        """Whether an issuer (a Name in DER) and a serial number name it, by RFC 5280 7.1.

        The one comparison for every such pair: of signers, recipients, originators, ESSCertIDs.
        """
        return self.serial_number == serial_number and (
            self.issuer == issuer or self.canonical_issuer == names.canonical(issuer)
        )

    @property
    def public_key_info(self) -> bytes:
        """SubjectPublicKeyInfo as received, DER."""
        return self.der[self._spki[1] : self._spki[3]]

    @cached_property
    def key_algorithm(self) -> str:
        """Dotted object identifier of the subject's public key algorithm."""
        info = ber.read(self.public_key_info, "SubjectPublicKeyInfo")
        algorithm = ber.Fields(info, "SubjectPublicKeyInfo").take(ber.SEQUENCE, "algorithm")
        return ber.Fields(algorithm, "AlgorithmIdentifier").any("algorithm").as_oid()

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the certificate, lower-case hexadecimal."""
        return sha256(self.der).hexdigest()

    @cached_property
    def x509(self) -> pyca.Certificate:
        """The certificate parsed by `cryptography`; MalformedMessage where that refuses it."""
        try:
            return self._quietly(lambda: pyca.load_der_x509_certificate(self.der))
        except (ValueError, TypeError, pyca.InvalidVersion) as error:
            raise MalformedMessage(
                f"certificate of serial 0x{self.serial_number:x} is malformed: {error}"
            ) from error

    def _quietly(self, read: Callable[[], T]) -> T:
        if self.serial_number > 0:
            return read()
        with warnings.catch_warnings():
            # `cryptography` deprecates such serial numbers; here it is somebody's old mail
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return read()

    @cached_property
    def public_key(self) -> PublicKeyTypes:
        """The subject's public key.

        Raises UnsupportedAlgorithm for a key of a kind that has no primitive here, MalformedMessage
        for a broken one.
        """
        try:
            return self.x509.public_key()
        except _Unsupported:
            raise UnsupportedAlgorithm(
                self.key_algorithm, where=f"public key of {self.description}"
            ) from None
        except ValueError as error:
            raise MalformedMessage(f"public key of {self.description}: {error}") from error

    @cached_property
    def extensions(self) -> pyca.Extensions:
        """The extensions; MalformedMessage where one of those we know is broken or stands twice."""
        try:
            return self._quietly(lambda: self.x509.extensions)
        except (
            ValueError,
            TypeError,
            pyca.DuplicateExtension,
            pyca.UnsupportedGeneralNameType,
        ) as error:
            raise MalformedMessage(f"extensions of {self.description}: {error}") from error

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        """The value of the extension, or None where there is none or it is broken."""
        try:
            found = self.extensions.get_extension_for_class(pyca.SubjectKeyIdentifier)
        except (pyca.ExtensionNotFound, MalformedMessage):
            return None
        return bytes(found.value.digest)

    @property
    def not_before(self) -> datetime:
        return self.x509.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        return self.x509.not_valid_after_utc

    @cached_property
    def subject_text(self) -> str:
        return names.text(self.subject)

    @cached_property
    def issuer_text(self) -> str:
        return names.text(self.issuer)

    @property
    def description(self) -> str:
        """Subject and serial number, for people."""
        return f"{self.subject_text or '(empty subject)'}, serial 0x{self.serial_number:x}"
