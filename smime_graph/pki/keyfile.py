"""Files of keys and certificates, read by what they hold and not by their names.

PEM (RFC 7468) with keys and certificates in any order - PKCS#8, PKCS#1, SEC 1, encrypted or not,
PEM-armoured PKCS#12 - or one DER object. Which key belongs to which certificate is decided in
`identity`.
"""

from __future__ import annotations

import binascii
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser

from ..cms import ber
from ..cms.certificate import Certificate
from ..errors import MalformedMessage, SmimeGraphError, UsageError
from . import pkcs12
from .pbe import Budget, WrongPassword, decrypt_private_key_info, no_password, wrong_password
from .private_key import load_private_key

_T = TypeVar("_T")

Source = str | os.PathLike[str] | bytes
Password = str | bytes | None
Kind = Literal["pem", "pkcs12", "key", "encrypted key", "certificate"]

PKCS12_ARMOUR = (b"-----BEGIN PKCS12-----", b"-----BEGIN PFX-----")

_MAX_FILE = 1 << 20
# Checking an RSA-8192 key (4,700 octets) takes 4 seconds, RSA-4096 half a second: this bounds a
# file to half a minute.
_MAX_KEY = 5_000
_MAX_KEYS = 40_000
_MAX_CERTIFICATES = 500  # each may be tried as the issuer of each


@dataclass(frozen=True, slots=True)
class KeyFile:
    """Everything in one file, in its order: private keys and certificates, not yet paired."""

    keys: tuple[Any, ...] = field(repr=False)
    certificates: tuple[Certificate, ...]


def read_key_file(source: Source, *, passwords: Sequence[str | bytes] = ()) -> KeyFile:
    """All private keys and certificates of a file; each password is tried, "" being one too.

    Raises WrongPassword if the file is encrypted and none of them opens it, UsageError if it cannot
    be read or holds something else. At most 1 MiB and 10 million iterations for a password.
    """
    return parse(read_bytes(source), passwords, name_of(source))


def read_certificates(source: Source) -> tuple[Certificate, ...]:
    """The certificates of a PEM or DER file, in its order; keys beside them are left alone."""
    return parse(read_bytes(source), None, name_of(source)).certificates


def armour(certificate: Certificate) -> bytes:
    """The certificate's own octets, armoured (RFC 7468)."""
    text = binascii.b2a_base64(certificate.der, newline=False)
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"\n".join((b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""))


def export(key: Any, encoding: ser.Encoding, protection: ser.KeySerializationEncryption) -> bytes:
    try:
        return bytes(key.private_bytes(encoding, ser.PrivateFormat.PKCS8, protection))
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        raise UsageError(
            f"a {type(key).__name__} cannot be exported", hint="use it where it is"
        ) from None


def name_of(source: Source) -> str:
    return "the key file" if isinstance(source, bytes) else os.fspath(source)


def read_bytes(source: Source, *, too_large: bytes | None = None) -> bytes:
    data = source
    if not isinstance(data, bytes):
        path = Path(data)
        try:
            with path.open("rb") as file:
                data = file.read(_MAX_FILE + 1)
        except (OSError, ValueError) as error:
            reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
            hint = "use load_identities for a folder" if path.is_dir() else None
            raise UsageError(f"{path} cannot be read: {reason}", hint=hint) from error
    if len(data) > _MAX_FILE:
        if too_large is not None:
            return too_large
        raise UsageError(f"{name_of(source)} is larger than {_MAX_FILE} octets: not a key file")
    return data


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Whatever is wrong inside is a UsageError that names the file."""
    try:
        yield
    except WrongPassword as error:
        raise WrongPassword(f"{name}: {error}", hint=error.hint) from None
    except SmimeGraphError as error:
        raise UsageError(f"{name}: {error}", hint=error.hint) from error


class _Collector:
    """Puts keys and certificates together; `passwords` None leaves encrypted things alone."""

    def __init__(self, passwords: Sequence[str | bytes] | None) -> None:
        self.keys: list[Any] = []
        self.certificates: list[Certificate] = []
        self.wants_keys = passwords is not None
        self._attempts = [(p, Budget()) for p in dict.fromkeys(passwords or (None,))]
        self._octets = 0

    def add_certificate(self, der: bytes) -> None:
        if len(self.certificates) == _MAX_CERTIFICATES:
            raise UsageError(f"it holds more than {_MAX_CERTIFICATES} certificates")
        self.certificates.append(Certificate(der))

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
            self.add_certificate(certificate)

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


def parse(data: bytes, passwords: Sequence[str | bytes] | None, name: str) -> KeyFile:
    if (kind := kind_of(data)) == "pem":
        return parse_pem(data, passwords, name)
    if kind is None:
        raise UsageError(
            f"{name} holds neither a key nor a certificate, in PEM or DER",
            hint="give a PKCS#12 (.p12, .pfx) or PEM file",
        )
    collector = _Collector(passwords)
    with naming(name):
        match kind:
            case "certificate":
                collector.add_certificate(data)
            case "pkcs12" if collector.wants_keys:
                collector.add_pkcs12(data)
            case "key" if collector.wants_keys:
                collector.add_key(data)
            case "encrypted key" if collector.wants_keys:
                collector.add_encrypted_key(data)
    return collector.found()


def kind_of(data: bytes) -> Kind | None:
    """What these octets look like; they need not be it. None: nothing that is read here."""
    if b"-----BEGIN " in data:
        return "pem"
    if data[:1] != b"\x30":
        return None
    try:
        elements = list(ber.read(data, "DER"))
    except MalformedMessage:
        return None
    tags = [e.tag for e in elements[:3]]
    if tags[:1] == [ber.INTEGER]:
        return "pkcs12" if elements[0].contents == b"\x03" else "key"
    if tags == [ber.SEQUENCE, ber.OCTET_STRING]:
        return "encrypted key"
    return "certificate" if tags == [ber.SEQUENCE, ber.SEQUENCE, ber.BIT_STRING] else None


def parse_pem(data: bytes, passwords: Sequence[str | bytes] | None, name: str) -> KeyFile:
    collector = _Collector(passwords)
    with naming(name):
        for label, body, block in _pem_blocks(data):
            if label in ("CERTIFICATE", "X509 CERTIFICATE"):
                collector.add_certificate(_unarmour(label, body))
            elif not collector.wants_keys:
                continue
            elif label in ("PKCS12", "PFX"):
                collector.add_pkcs12(_unarmour(label, body))
            elif label == "ENCRYPTED PRIVATE KEY":
                collector.add_encrypted_key(_unarmour(label, body))
            elif label == "OPENSSH PRIVATE KEY":
                raise UsageError(
                    "it holds a key in OpenSSH's own format",
                    hint="convert it with ssh-keygen -p -m PKCS8",
                )
            elif label.endswith("PRIVATE KEY"):
                if b"Proc-Type:" in body:
                    collector.add_legacy_key(block)
                else:
                    collector.add_key(_unarmour(label, body))
    return collector.found()


def _pem_blocks(data: bytes) -> Iterator[tuple[str, bytes, bytes]]:
    """Label, what stands inside, and the whole block (RFC 7468), in one pass over the octets."""
    position = 0
    while (start := data.find(b"-----BEGIN ", position)) >= 0:
        label_end = data.find(b"-----", start + 11, start + 100)
        body_end = data.find(b"-----END ", start)
        if label_end < 0 or body_end < label_end:
            raise MalformedMessage("PEM: a block that begins does not end")
        label = data[start + 11 : label_end]
        tail = b"-----END " + label + b"-----"
        if data[body_end : body_end + len(tail)] != tail:
            raise MalformedMessage("PEM: a block ends with another label than it begins with")
        position = body_end + len(tail)
        yield label.decode("latin-1"), data[label_end + 5 : body_end], data[start:position] + b"\n"


def _unarmour(label: str, body: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(body.split()), strict_mode=True)
    except binascii.Error:
        raise MalformedMessage(f"PEM: what stands inside {label} is not base64") from None
