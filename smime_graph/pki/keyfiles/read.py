"""Files of keys and certificates, read by what they hold and not by their names.

PEM (RFC 7468) with keys and certificates in any order - PKCS#8, PKCS#1, SEC 1, encrypted or not,
PEM-armoured PKCS#12 - or one DER object, a certs-only message among them (RFC 8551 3.8: `.p7b`,
`.p7c`), as such or as mail. Which key belongs to which certificate is decided in `identity`.

What is read is a path, or the content itself: octets, or text that is PEM. No error repeats any of
it.
"""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from itertools import islice
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser

from ... import oids
from ...arguments import checked, file_name
from ...asn1 import ber, pem
from ...budget import Budget as MessageBudget
from ...errors import MalformedMessage, SmimeGraphError, UsageError
from ...x509.certificate import Certificate
from ...x509.certificate_set import read_certs_only
from . import pkcs12
from .pbe import Budget, WrongPassword, decrypt_private_key_info, no_password, wrong_password
from .private_key import load_private_key

_T = TypeVar("_T")

Source = str | os.PathLike[str] | bytes
Password = str | bytes | None
Kind = Literal["pem", "pkcs12", "key", "encrypted key", "certificate", "pkcs7"]

PKCS12_ARMOUR = (b"-----BEGIN PKCS12-----", b"-----BEGIN PFX-----")
# RFC 7468 5 and 8; the last is what OpenSSL calls the certificate of a request for one
_CERTIFICATES = ("CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CMS")
# RFC 8551 3.2, 5280's media type (RFC 2585 4.1), and Microsoft's for .p7b
_MEDIA_TYPES = (
    "application/pkcs7-mime",
    "application/x-pkcs7-mime",
    "application/x-pkcs7-certificates",
    "application/pkix-cert",
)
_BESIDE = (".pem", ".crt", ".cer")

_MAX_FILE = 1 << 20
_MAX_HEADER = 1 << 16
# Checking an RSA-8192 key (4,700 octets) takes 4 seconds, RSA-4096 half a second: this bounds a
# file to half a minute.
_MAX_KEY = 5_000
_MAX_KEYS = 40_000
_MAX_CERTIFICATES = 500  # each may be tried as the issuer of each

_CERTIFICATE_HINT = "give a certificate in PEM (-----BEGIN CERTIFICATE-----), DER or .p7b"


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Everything in one file, in its order: private keys and certificates, not yet paired."""

    keys: tuple[Any, ...] = field(repr=False)
    certificates: tuple[Certificate, ...]


@checked
def read_key_file(source: Source, *, passwords: Sequence[str | bytes] = ()) -> KeyFile:
    """All private keys and certificates of a file; each password is tried, "" being one too.

    Raises WrongPassword if the file is encrypted and none of them opens it, UsageError if it cannot
    be read or holds something else. At most 1 MiB, and `pbe.MAX_ITERATIONS` for a password.
    """
    return parse(read_bytes(source), passwords, name_of(source))


@checked
def read_certificates(
    source: Source,
    *,
    limit: int = _MAX_FILE,
    most: int = _MAX_CERTIFICATES,
    name: str | None = None,
) -> tuple[Certificate, ...]:
    """The certificates of a file, in its order: PEM, DER, or a certs-only message.

    `name` is what errors call octets that were read from a file.

    Keys beside them are left alone. Raises UsageError where there is none, one is broken, there are
    more than `most`, or the file is larger than `limit` octets.
    """
    name = name or name_of(source)
    data = read_bytes(source, limit=limit)
    found = parse(data, None, name, most=most).certificates
    if found:
        return found
    holds = "holds no certificate" if data.strip() else "is empty"
    if kind_of(data) == "pkcs12" or any(label in data for label in PKCS12_ARMOUR):
        holds = "is a PKCS#12 file, whose certificates are locked up with the key"
    elif data[:1] == b"\x30" and kind_of(data) is None:
        holds = "holds no certificate, or one that is malformed"
    elif b"PRIVATE KEY-----" in data or kind_of(data) in ("key", "encrypted key"):
        holds = "holds no certificate, only a private key"
        if (beside := _beside(name)) is not None:
            raise UsageError(f"{name} {holds}", hint=f"{beside}, beside it, is the certificate")
    raise UsageError(f"{name} {holds}", hint=_CERTIFICATE_HINT)


def certificates_beside(source: Source) -> tuple[Certificate, ...]:
    """Those of NAME.pem, .crt or .cer beside the key file NAME.key; none where there is no such."""
    if isinstance(source, bytes) or _is_text(source):
        return ()
    found = _beside(os.fsdecode(source))
    return () if found is None else read_certificates(found)


def _beside(path: str) -> str | None:
    stem = path.removesuffix(".key")
    found = next((stem + end for end in _BESIDE if Path(stem + end).is_file()), None)
    return None if found == path else found


def armour(certificate: Certificate) -> bytes:
    """The certificate's own octets, armoured (RFC 7468)."""
    return pem.write_block("CERTIFICATE", certificate.der)


def export(key: Any, encoding: ser.Encoding, protection: ser.KeySerializationEncryption) -> bytes:
    try:
        return bytes(key.private_bytes(encoding, ser.PrivateFormat.PKCS8, protection))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        raise UsageError(
            f"a {type(key).__name__} cannot be exported", hint="use it where it is"
        ) from None


def name_of(source: Source) -> str:
    if isinstance(source, bytes) or _is_text(source):
        return "what was given"
    return file_name(source)


def _is_text(source: str | os.PathLike[str]) -> bool:
    """Whether this is PEM and no path: from a vault or the environment it comes as text."""
    return isinstance(source, str) and "-----BEGIN " in source


def read_bytes(source: Source, *, too_large: bytes | None = None, limit: int = _MAX_FILE) -> bytes:
    """The octets of a file, or those given; what may stand around a DER object is taken off."""
    if isinstance(source, bytes):
        data = source
    elif _is_text(source):
        data = os.fsdecode(source).encode("utf-8", "replace")
    else:
        data = _read_file(source, limit)
    if len(data) > limit:
        if too_large is not None:
            return too_large
        raise UsageError(f"{name_of(source)} is larger than {limit} octets: not a key file")
    return _take_out(data)


def _read_file(path: str | os.PathLike[str], limit: int) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "no file name"
        hint = "give one of the files in it" if is_folder(path) else "give a file that can be read"
        if file_name(path) != os.fsdecode(path):
            hint = "a key without its BEGIN line is read from a file, or given as octets"
        # anew: the original quotes what was given, which may be a key in place of a path
        cause = OSError(error.errno, reason) if isinstance(error, OSError) else None
        raise UsageError(f"{file_name(path)} cannot be read: {reason}", hint=hint) from cause


def is_folder(source: Source) -> bool:
    # not Path.is_dir, which raises where a text is too long, or otherwise unfit, to be a path
    return not isinstance(source, bytes) and os.path.isdir(source)  # noqa: PTH112


def files_of(folder: str | os.PathLike[str]) -> list[Path]:
    """The files of a folder in the order of their names, without hidden ones and folders in it."""
    try:
        return sorted(p for p in Path(folder).iterdir() if p.is_file() and p.name[0] != ".")
    except OSError as error:
        raise UsageError(f"{file_name(folder)} cannot be read: {error.strerror}") from error


def _take_out(data: bytes) -> bytes:
    """The DER without white space behind it, or out of the mail that carries it; PEM as it is."""
    if pem.BEGIN in data:
        return data
    return _strip_blanks(data) if data[:1] == b"\x30" else _find_certificates_in_mail(data) or data


def _strip_blanks(der: bytes) -> bytes:
    end = ber.end_of(der)
    return der if der[end:].strip() else der[:end]


def _find_certificates_in_mail(data: bytes) -> bytes | None:
    """The certificates that a mail is, which carries nothing else (RFC 8551 3.8)."""
    end = re.search(rb"\r?\n\r?\n", data[:_MAX_HEADER])
    if end is None or b"application/" not in data[: end.start()].lower():
        return None
    header = BytesParser().parsebytes(data[: end.end()], headersonly=True)
    if header.get_content_type() not in _MEDIA_TYPES:
        return None
    content = data[end.end() :]
    if str(header.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        try:
            content = binascii.a2b_base64(content)
        except binascii.Error:
            return None
    content = _strip_blanks(content)
    return content if kind_of(content) in ("pkcs7", "certificate") else None


@contextmanager
def name_in_errors(name: str, *, hint: str | None = None) -> Iterator[None]:
    """Whatever is wrong inside is a UsageError that names the file; `hint` where it has none."""
    try:
        yield
    except WrongPassword as error:
        raise WrongPassword(f"{name}: {error}", hint=error.hint) from None
    except SmimeGraphError as error:
        raise UsageError(f"{name}: {error}", hint=error.hint or hint) from error


class _Collector:
    """Puts keys and certificates together; `passwords` None leaves encrypted things alone."""

    def __init__(self, passwords: Sequence[str | bytes] | None, most: int) -> None:
        self._most = most
        self.keys: list[Any] = []
        self.certificates: list[Certificate] = []
        self.wants_keys = passwords is not None
        self._attempts = [(p, Budget()) for p in dict.fromkeys(passwords or (None,))]
        self._octets = 0

    def add_certificates(self, der: bytes) -> None:
        """A certificate, or a certs-only message, which Microsoft's CA labels as one in PEM."""
        if kind_of(der) == "pkcs7":
            for certificate in read_certs_only(der, budget=MessageBudget(len(der))):
                self._add(certificate)
            return
        try:
            self._add(Certificate(der))
        except MalformedMessage as error:
            number = len(self.certificates) + 1
            raise MalformedMessage(f"certificate {number} in it is malformed: {error}") from None

    def _add(self, certificate: Certificate) -> None:
        if len(self.certificates) == self._most:
            raise UsageError(f"it holds more than {self._most} certificates")
        self.certificates.append(certificate)

    def add_key(self, der: bytes) -> None:
        self._octets += len(der)
        if len(der) > _MAX_KEY or self._octets > _MAX_KEYS:
            raise UsageError("it holds more or larger private keys than are read from one file")
        self.keys.append(load_private_key(der))

    def add_encrypted_key(self, der: bytes) -> None:
        self.add_key(self._unlock(decrypt_private_key_info, der))

    def add_pkcs12(self, der: bytes) -> None:
        bags = self._unlock(pkcs12.read, der)
        for key in bags.keys:
            self.add_key(key)
        for certificate in bags.certificates:
            self.add_certificates(certificate)

    def _unlock(self, read: Callable[..., _T], der: bytes) -> _T:
        wrong: WrongPassword | None = None
        for password, budget in self._attempts:
            try:
                return read(der, password=password, budget=budget)
            except WrongPassword as error:
                wrong = wrong or error
        raise wrong or no_password()

    def add_legacy_key(self, block: bytes) -> None:
        """A PEM key with its own encryption header (RFC 1421 4.6, as OpenSSL writes it)."""
        for password, _ in self._attempts:
            octets = password.encode() if isinstance(password, str) else password
            try:
                key = ser.load_pem_private_key(block, octets or None)
            except (ValueError, TypeError, _Unsupported):
                continue
            return self.add_key(export(key, ser.Encoding.DER, ser.NoEncryption()))
        raise wrong_password() if any(p for p, _ in self._attempts) else no_password()

    def found(self) -> KeyFile:
        return KeyFile(tuple(self.keys), tuple(self.certificates))


def parse(
    data: bytes,
    passwords: Sequence[str | bytes] | None,
    name: str,
    *,
    most: int = _MAX_CERTIFICATES,
) -> KeyFile:
    if (kind := kind_of(data)) == "pem":
        return parse_pem(data, passwords, name, most=most)
    if kind is None:
        if passwords is None:
            return KeyFile((), ())
        raise UsageError(
            f"{name} holds neither a key nor a certificate, in PEM or DER",
            hint="give a PKCS#12 (.p12, .pfx) or PEM file",
        )
    collector = _Collector(passwords, most)
    with name_in_errors(name, hint=_CERTIFICATE_HINT if passwords is None else None):
        match kind:
            case "certificate" | "pkcs7":
                collector.add_certificates(data)
            case "pkcs12" if collector.wants_keys:
                collector.add_pkcs12(data)
            case "key" if collector.wants_keys:
                collector.add_key(data)
            case "encrypted key" if collector.wants_keys:
                collector.add_encrypted_key(data)
    return collector.found()


def kind_of(data: bytes) -> Kind | None:
    """What these octets look like; they need not be it. None: nothing that is read here."""
    if pem.BEGIN in data:
        return "pem"
    if data[:1] != b"\x30":
        return None
    try:
        elements = list(
            islice(ber.read(data, "DER"), 4)
        )  # each kind has fewer, or is known by then
    except MalformedMessage:
        return None
    tags = [e.tag for e in elements[:3]]
    if tags[:1] == [ber.INTEGER]:
        return "pkcs12" if elements[0].contents == b"\x03" else "key"
    if tags == [ber.SEQUENCE, ber.OCTET_STRING]:
        return "encrypted key"
    if tags == [ber.OBJECT_IDENTIFIER, 0xA0] and elements[0].raw == ber.oid(oids.SIGNED_DATA):
        return "pkcs7"
    return "certificate" if tags == [ber.SEQUENCE, ber.SEQUENCE, ber.BIT_STRING] else None


def parse_pem(
    data: bytes,
    passwords: Sequence[str | bytes] | None,
    name: str,
    *,
    most: int = _MAX_CERTIFICATES,
) -> KeyFile:
    collector = _Collector(passwords, most)
    with name_in_errors(name, hint=_CERTIFICATE_HINT if passwords is None else None):
        for block in pem.read_blocks(data):
            label = block.label
            if label in _CERTIFICATES:
                collector.add_certificates(block.der())
            elif label == "TRUSTED CERTIFICATE":
                # OpenSSL's own form carries restrictions behind the certificate; ignoring them
                # would widen trust
                raise UsageError(
                    "it holds a TRUSTED CERTIFICATE, which only OpenSSL reads",
                    hint="convert it: openssl x509 -in FILE -out FILE.pem",
                )
            elif not collector.wants_keys:
                continue
            elif label in ("PKCS12", "PFX"):
                collector.add_pkcs12(block.der())
            elif label == "ENCRYPTED PRIVATE KEY":
                collector.add_encrypted_key(block.der())
            elif label == "OPENSSH PRIVATE KEY":
                raise UsageError(
                    "it holds a key in OpenSSH's own format",
                    hint="convert it with ssh-keygen -p -m PKCS8",
                )
            elif label.endswith("PRIVATE KEY"):
                if b"Proc-Type:" in block.body:
                    collector.add_legacy_key(block.raw)
                else:
                    collector.add_key(block.der())
    return collector.found()
