"""What the user believes: trust anchors, and certificates to build paths with."""

from __future__ import annotations

import binascii
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pybase64

from ..cms.certificate import Certificate
from ..errors import MalformedMessage, UsageError

_MAX_FILE = 16 * 1024 * 1024  # the largest public bundles of roots are under 1 MB
_HINT = "give certificates in PEM (-----BEGIN CERTIFICATE-----), or one in DER"
_PEM = re.compile(
    rb"-----BEGIN (X509 |TRUSTED )?CERTIFICATE-----([^-]*+)"
    rb"-----END (?:X509 |TRUSTED )?CERTIFICATE-----"
)


@dataclass(frozen=True, slots=True)
class TrustStore:
    """The roots you believe, and further certificates that may stand between them and a person's.

    An anchor is believed as it is: its own signature is not checked, and it may be an intermediate
    authority or one person's certificate, which vouches for itself alone. `certificates` are not
    believed, only used to build paths. Nothing is ever taken from the operating system, and nothing
    is fetched. Revocation evidence (CRLs and OCSP responses) belongs here as well, as given by the
    caller.
    """

    anchors: tuple[Certificate, ...]
    certificates: tuple[Certificate, ...] = ()

    @classmethod
    def from_pem(
        cls,
        *sources: str | os.PathLike[str] | bytes,
        certificates: Iterable[Certificate] = (),
    ) -> TrustStore:
        """Anchors from files (a path) or from memory (bytes); each holds PEM, any number, or one
        DER.

        Text around the PEM blocks is skipped. Raises UsageError where a source cannot be read, is
        larger than 16 MB, or holds no certificate or a broken one.
        """
        anchors: dict[Certificate, None] = {}
        for source in sources:
            anchors.update(dict.fromkeys(_load(source)))
        return cls(tuple(anchors), tuple(certificates))


def _load(source: str | os.PathLike[str] | bytes) -> list[Certificate]:
    if isinstance(source, bytes):
        return read_certificates(source, name="the bytes given as trust anchors")
    name = os.fspath(source)
    try:
        with Path(source).open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"cannot read {name}: {reason}", hint=_HINT) from None
    return read_certificates(data, name=name)


def read_certificates(data: bytes, *, name: str) -> list[Certificate]:
    """The certificates in PEM, in order, or the one in DER; `name` stands for `data` in errors.

    Raises UsageError where there is none, one is broken, or `data` is larger than 16 MB.
    """
    if len(data) > _MAX_FILE:
        raise UsageError(
            f"{name} is larger than {_MAX_FILE} octets", hint="give a file of certificates only"
        )
    blocks = [data] if data[:1] == b"\x30" else []
    for match in _PEM.finditer(data):
        if match[1] == b"TRUSTED ":
            # OpenSSL's own form carries restrictions behind the certificate; ignoring them would
            # widen trust
            raise UsageError(
                f"{name} holds a TRUSTED CERTIFICATE, which only OpenSSL reads",
                hint="convert it: openssl x509 -in FILE -out FILE.pem",
            )
        try:
            blocks.append(pybase64.b64decode(b"".join(match[2].split()), validate=True))
        except (binascii.Error, ValueError):
            raise UsageError(
                f"certificate {len(blocks) + 1} in {name} is not base64", hint=_HINT
            ) from None
    if not blocks:
        what = "holds no certificate" if data.strip() else "is empty"
        raise UsageError(f"{name} {what}", hint=_HINT)
    found: list[Certificate] = []
    for number, der in enumerate(blocks, 1):
        try:
            found.append(Certificate(der))
        except MalformedMessage as error:
            raise UsageError(
                f"certificate {number} in {name} is malformed: {error}", hint=_HINT
            ) from None
    return found
