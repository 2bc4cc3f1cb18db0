"""GnuTLS's certtool: signatures over files, detached ones only when it makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import gnutls

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, newer

KNOWN = (
    Known("made", "ml-dsa-.*", "lists no signature", "no ML-DSA (RFC 9882 3)", before="3.8"),
    Known("made", "ml-dsa-.*", "The request is invalid", "no ML-DSA (RFC 9882 3)", since="3.8"),
    Known(
        "made",
        "ecdsa .* brainpool.*",
        "The curve is unsupported",
        "no brainpool curves (RFC 5753 7.1.2)",
    ),
    Known(
        "read",
        "ecdsa .* brainpool.*",
        "ASN1 parser: Element was not found",
        "no brainpool curves (RFC 5753 7.1.2)",
    ),
    Known("made", "ed448 .*", "The request is invalid", "no SHAKE256 in its PKCS#7 (RFC 8419 2.3)"),
    Known("read", "ed448 .*", "The request is invalid", "no SHAKE256 in its PKCS#7 (RFC 8419 2.3)"),
    Known(
        "made",
        "rsassa-pss sha(384|512)",
        "Public key signature verification has failed",
        "verifies PSS (RFC 4056 3) with SHA-256 only, of OpenSSL too",
    ),
)


@dataclass
class GnuTls:
    """`certtool --p7-*`, one process for each message."""

    people: People
    folder: Path
    driver: gnutls.GnuTls
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> GnuTls:
        driver = gnutls.GnuTls.start(folder, newer("gnutls")[0])
        label = f"GnuTLS {'.'.join(driver.version.split('.')[:2])}"
        return cls(people, folder, driver, label)

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, EncryptionCase):
            return "signatures only"
        if direction == "read" and (len(case.keys) > 1 or case.ski or case.pss):
            return "signs with one key, named by issuer, and never with PSS"
        if direction == "read" and (case.weak or case.row.startswith("ml-dsa")):
            return f"does not sign with {case.row} and {case.digest}"
        return None

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        (signer,) = signers
        return self.driver.sign(case, content, signer, folder=self.folder)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        trust = self.people.root_file
        return self.driver.verify(len(case.keys), cms, content, trust, folder=self.folder)

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        raise NotImplementedError

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass
