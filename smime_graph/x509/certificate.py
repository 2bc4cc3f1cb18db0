"""One X.509 certificate as CMS sees it: the bytes as received, and the slices of them that CMS
compares.

    Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm, signatureValue }
    TBSCertificate ::= SEQUENCE { [0] version DEFAULT v1, serialNumber, signature, issuer, validity,
                                  subject, subjectPublicKeyInfo, ... }       (RFC 5280 4.1)

Whose it is and whether to believe it is the business of `smime_graph.pki`.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from functools import cached_property, lru_cache, wraps
from hashlib import sha256
from typing import Any, TypeVar, cast

import cryptography.x509 as pyca
from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.utils import CryptographyDeprecationWarning

from .. import oids
from ..algorithms import KeyKind, find
from ..asn1 import ber
from ..errors import MalformedMessage, UnsupportedAlgorithm, UsageError
from . import deviations, names

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


# serialNumber, signature, issuer, validity, subject, subjectPublicKeyInfo
_TBS_TAGS = (ber.INTEGER, *[ber.SEQUENCE] * 5)
_BROKEN_EXTENSIONS = (
    ValueError,
    TypeError,
    pyca.DuplicateExtension,
    pyca.UnsupportedGeneralNameType,
)
_MAX_EXTENSIONS = 100  # a certificate has about ten; every reader of one looks at all
_MAX_SERIAL_TEXT = 40  # octets of a serial number that are shown; RFC 5280 4.1.2.2 allows 20
_SOME_KEY = ber.sequence(ber.sequence(ber.oid(oids.ED25519)), ber.bit_string(bytes(32)))
_PARSE_ERROR = re.compile(r"ParseError \{ kind: (\w+)(?:.*?location: \[(.*)\])?")


class Certificate:
    """A certificate; equal to another of the same bytes.

    Raises MalformedMessage if `der` is not shaped like a certificate. What lies deeper is parsed
    when asked for.
    """

    # what `with_parameters` gives; of a certificate as received there is none
    _inherited: bytes | None = None

    def __init__(self, der: bytes) -> None:
        if not isinstance(der, bytes | bytearray | memoryview):
            raise UsageError(
                f"der is {type(der).__name__}, wanted bytes",
                hint="read a file: Contact.load(path).certificate",
            )
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

    @cached_property
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
    def _key_identifier(self) -> tuple[str, bytes, bytes]:
        """Algorithm, parameters and subjectPublicKey, the last two as whole DER elements."""
        info = ber.read(self.public_key_info, "SubjectPublicKeyInfo")
        fields = ber.Fields(info, "SubjectPublicKeyInfo")
        algorithm = ber.Fields(fields.take(ber.SEQUENCE, "algorithm"), "AlgorithmIdentifier")
        oid = algorithm.any("algorithm").as_oid()
        parameters = algorithm.any("parameters").raw if algorithm.more else b""
        algorithm.end()
        return oid, parameters, fields.any("subjectPublicKey").raw

    @cached_property
    def key_algorithm(self) -> str:
        """Dotted object identifier of the subject's public key algorithm."""
        return self._key_identifier[0]

    @cached_property
    def dsa_parameters(self) -> bytes | None:
        """Dss-Parms of its key, DER: its own, or those given to it; None where it has none."""
        try:
            oid, parameters, _ = self._key_identifier
        except MalformedMessage:
            return None
        if oid != oids.DSA:
            return None
        return self._inherited if parameters in (b"", ber.null()) else parameters

    @cached_property
    def inherits_parameters(self) -> bool:
        """Whether its key is a DSA key that has the parameters of its issuer's (RFC 3279 2.3.2)."""
        try:
            return self.key_algorithm == oids.DSA and self.dsa_parameters is None
        except MalformedMessage:
            return False

    def with_parameters(self, parameters: bytes) -> Certificate:
        """The same certificate with the Dss-Parms of its issuer, for a key that inherits them.

        Only those of an issuer who is believed may be given: whoever chooses the parameters can
        make signatures for any such key.
        """
        completed = Certificate(self.der)
        completed._inherited = parameters
        return completed

    @cached_property
    def whole_key_info(self) -> bytes:
        """SubjectPublicKeyInfo with the parameters that were given to it."""
        if self._inherited is None:
            return self.public_key_info
        oid, _, key = self._key_identifier
        return ber.sequence(ber.sequence(ber.oid(oid), self._inherited), key)

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the certificate, lower-case hexadecimal."""
        return sha256(self.der).hexdigest()

    @cached_property
    def x509(self) -> pyca.Certificate:
        """The certificate parsed by `cryptography`; MalformedMessage where that refuses it.

        With the slips put right that `deviations` knows: for reading, not for its octets.
        """
        try:
            return self._quietly(lambda: pyca.load_der_x509_certificate(self._without_key()))
        except (ValueError, TypeError, pyca.InvalidVersion) as error:
            if self._put_right is not None:
                return self._put_right
            raise self._malformed(error) from error

    def _without_key(self) -> bytes:
        """Itself, or where its key has not all that is wanted of one (`inherits_parameters`), with
        another: `cryptography` would refuse the certificate, and `public_key` is not read from it.
        """
        try:
            oid, parameters, _ = self._key_identifier
        except MalformedMessage:
            return self.der
        if oid != oids.DSA or parameters not in (b"", ber.null()):
            return self.der
        tbs, *outer = ber.read(self.der, "Certificate").children()
        fields = [one.raw for one in tbs.children()]
        fields[fields.index(self.public_key_info)] = _SOME_KEY
        return ber.sequence(ber.sequence(*fields), *(one.raw for one in outer))

    @cached_property
    def _put_right(self) -> pyca.Certificate | None:
        if (copy := deviations.put_right(self._without_key())) is None:
            return None
        try:
            return self._quietly(lambda: pyca.load_der_x509_certificate(copy))
        except (ValueError, TypeError, pyca.InvalidVersion):
            return None

    def _malformed(self, error: Exception) -> MalformedMessage:
        return MalformedMessage(
            f"certificate of serial {self.serial_text} is malformed: {_plain(error)}"
        )

    def _quietly(self, read: Callable[[], T], *, always: bool = False) -> T:
        if self.serial_number > 0 and not always:
            return read()
        with warnings.catch_warnings():
            # `cryptography` deprecates such serial numbers; here it is somebody's old mail
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            return read()

    @cached_property
    def public_key(self) -> PublicKeyTypes:
        """The subject's public key, whatever else is wrong with the certificate.

        Raises UnsupportedAlgorithm for a key that no primitive here takes, and for one whose
        parameters are another's, MalformedMessage for a broken one.
        """
        where = f"public key of {self.description}"
        if self.inherits_parameters:
            raise UnsupportedAlgorithm(
                oids.DSA, where=f"{where} without the parameters of its issuer's"
            )
        kind = find(KeyKind, self.key_algorithm)
        load = load_der_public_key if kind is None else kind.load
        try:
            if kind is None:  # Diffie-Hellman over finite fields is deprecated, and old mail has it
                return self._quietly(lambda: load(self.whole_key_info), always=True)
            return load(self.whole_key_info)
        except _Unsupported:
            oid, parameters, _ = self._key_identifier
            if kind is not None and kind.has_curves and parameters[:1] == b"\x06":
                oid = ber.read(parameters, "curve", tag=ber.OBJECT_IDENTIFIER).as_oid("curve")
            raise UnsupportedAlgorithm(oid, where=where) from None
        except (ValueError, TypeError) as error:
            raise MalformedMessage(f"{where}: {_plain(error)}") from error

    @property
    def extensions(self) -> pyca.Extensions:
        """The extensions; MalformedMessage where one of those we know is broken or stands twice, or
        there are more than anybody has.
        """
        if isinstance(self._extensions, str):
            raise MalformedMessage(f"extensions of {self.description}: {self._extensions}")
        return self._extensions

    @cached_property
    def _extensions(self) -> pyca.Extensions | str:
        """The extensions, or why they cannot be read, which is found out once as well."""
        try:
            found = self._quietly(lambda: self.x509.extensions)
        except _BROKEN_EXTENSIONS as error:
            if (copy := self._put_right) is None:
                return _plain(error)
            try:
                found = self._quietly(lambda: copy.extensions)
            except _BROKEN_EXTENSIONS:
                return _plain(error)
        if len(found) > _MAX_EXTENSIONS:
            return f"{len(found)} extensions, at most {_MAX_EXTENSIONS} are read"
        return found

    @property
    def was_put_right(self) -> bool:
        """Whether it has slips of its issuer that had to be put right to read it."""
        with suppress(MalformedMessage):
            _ = self.extensions
        return self.__dict__.get("_put_right") is not None

    @cached_property
    def subject_key_identifier(self) -> bytes | None:
        """The value of the extension, or None where there is none or it is broken.

        Read alone, whatever the others are like: it is asked of many that nobody else looks at.
        """
        try:
            tbs = ber.read(self.der, "Certificate").children()[0].children()
            found = [
                one.children()[-1].as_octets("extnValue")
                for one in tbs[-1].only("extensions")
                if one.children()[0].as_oid("extnID") == oids.SUBJECT_KEY_IDENTIFIER
            ]
            if len(found) != 1:
                return None
            value = ber.read(bytes(found[0]), "subjectKeyIdentifier", tag=ber.OCTET_STRING)
        except (MalformedMessage, IndexError):
            return None
        return bytes(value.as_octets())

    @cached_property
    def not_before(self) -> datetime:
        return self.x509.not_valid_before_utc

    @cached_property
    def not_after(self) -> datetime:
        return self.x509.not_valid_after_utc

    @cached_property
    def subject_text(self) -> str:
        return names.text(self.subject)

    @cached_property
    def issuer_text(self) -> str:
        return names.text(self.issuer)

    @property
    def serial_text(self) -> str:
        """The serial number for people, in hexadecimal."""
        return text_of_serial(self.serial_number)

    @cached_property
    def description(self) -> str:
        """Subject and serial number, for people."""
        return f"{self.subject_text or '(empty subject)'}, serial {self.serial_text}"


def text_of_serial(number: int) -> str:
    """A serial number for people, in hexadecimal; of one that is longer than any the beginning."""
    length = (number.bit_length() + 7) // 8
    if length <= _MAX_SERIAL_TEXT:
        return f"{number:#x}"
    return f"{number >> 8 * (length - _MAX_SERIAL_TEXT):#x}... ({length} octets)"


_MAX_KEPT = 8 * 1024  # octets; one with ML-DSA-87 has 7.5 KB


def remembered(function: F) -> F:
    """A function of what a certificate holds, of which the last 2,048 answers are kept.

    But those of large ones, so that what is kept is bounded; and those of one that was given the
    parameters of its issuer's key, which are no octets of it.
    """
    kept = lru_cache(maxsize=2048)(function)

    @wraps(function)
    def call(certificate: Certificate, **options: Any) -> Any:
        is_kept = len(certificate.der) <= _MAX_KEPT and certificate._inherited is None
        return (kept if is_kept else function)(certificate, **options)

    return cast("F", call)


def interned(der: bytes) -> Certificate:
    """The one certificate of these octets, so that what comes with every message is read once.

    Of the last 2,048, but for those that are large. Raises MalformedMessage as `Certificate` does.
    """
    return _interned(der) if len(der) <= _MAX_KEPT else Certificate(der)


_interned = lru_cache(maxsize=2048)(Certificate)


def _plain(error: Exception) -> str:
    """What `cryptography` says, in the form of our texts."""
    text = str(error)
    if (match := _PARSE_ERROR.search(text)) is not None:
        kind = re.sub(r"(?<!^)(?=[A-Z])", " ", match[1]).lower()
        places = re.findall(r'"(?:\w+::)?(\w+)"', match[2] or "")
        text = f"{kind} in {places[-1]}" if places else kind
    return text[:1].lower() + text[1:].rstrip(".")
