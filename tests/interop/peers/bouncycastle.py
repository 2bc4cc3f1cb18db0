"""Bouncy Castle in one resident JVM, behind the line protocol of BouncyCastle.java."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import bouncycastle
from smime_graph.harness.peers.drive import word

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, newer, reader_of

_NEWER = "1.86"  # what was tried; 1.72 is the one before it
_NO_ML_DSA = "no signer for ML-DSA as RFC 9882 2 names it"
_NO_X = "no X25519 and X448 (RFC 8418 3.2)"
_NO_KEM = "no KEMRecipientInfo (RFC 9629 3)"
KNOWN = (
    *(
        Known(
            "made",
            f"ml-dsa-{size} .*",
            f"Unknown signature type requested: SHA512WITH2.16.840.1.101.3.4.3.{number}",
            "does not know the identifiers of RFC 9882 2",
            before=_NEWER,
        )
        for size, number in ((44, 17), (65, 18), (87, 19))
    ),
    Known(
        "read", "ml-dsa-.*", "no such algorithm: 2.16.840.1.101.3.4.3", _NO_ML_DSA, before=_NEWER
    ),
    Known("made", ".* X(25519|448)", "originator key invalid", _NO_X, before=_NEWER),
    Known("read", ".* X(25519|448)", "Unknown key agreement algorithm", _NO_X, before=_NEWER),
    Known("made", "ml-kem-.*", "no recipient of this kind", _NO_KEM, before=_NEWER),
    Known(
        "read",
        "ml-kem-.*",
        "JceKEMRecipientInfoGenerator",
        _NO_KEM,
        before=_NEWER,
    ),
    Known(
        "made",
        "cek-hkdf-.*",
        "No such algorithm: 1.2.840.113549.1.9.16.3.31",
        "no derived content keys (RFC 9709 2)",
        before=_NEWER,
    ),
    Known(
        "made",
        "cek-hkdf-.*",
        "Error finalising cipher",
        "derives no content key (RFC 9709 2) that a key agreement brought, its own neither",
        since=_NEWER,
    ),
)


@dataclass
class BouncyCastle:
    """CMS and mail of Bouncy Castle."""

    driver: bouncycastle.BouncyCastle
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(
        cls, people: People, folder: Path, options: Sequence[str] = ("-XX:TieredStopAtLevel=1",)
    ) -> BouncyCastle:
        driver = bouncycastle.BouncyCastle.start(folder, newer("bouncycastle")[0], options)
        return cls(driver, f"Bouncy Castle {'.'.join(driver.version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if direction == "read" and case.row == "chacha20-poly1305":
            return "writes ChaCha20-Poly1305 into EnvelopedData, against RFC 8103 3"
        return None

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        return self.driver.sign(case, content, signers)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.driver.verify(cms, content)

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        return self.driver.encrypt(case, content, [reader_of(one) for one in to])

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        return self.driver.decrypt(cms, reader_of(reader))

    def compress(self, content: bytes) -> bytes:
        return self.driver.resident.ask("compress", word(content))

    def decompress(self, cms: bytes) -> bytes:
        return self.driver.resident.ask("decompress", word(cms))

    def validate_mail(self, raw: bytes, anchor: bytes) -> list[str]:
        """What SignedMailValidator says, one line for each signer, error and notification."""
        return self.driver.validate_mail(raw, anchor)

    def path(
        self, at: datetime, anchor: bytes, chain: Sequence[bytes], crls: Sequence[bytes]
    ) -> str:
        """The word good, or what its path validator has against the first certificate."""
        return self.driver.path(at, anchor, chain, crls)

    def seal_mail(
        self, text: str, signing: SigningCase, signer: Person, case: EncryptionCase, reader: Person
    ) -> bytes:
        """A message from the signer: multipart/signed inside application/pkcs7-mime."""
        return self.driver.resident.ask(
            "seal-mail",
            word(signer.email.encode()),
            word(text.encode()),
            self.driver.algorithm(signing, signer),
            word(signer.certificate.der),
            word(signer.pkcs8),
            case.content_cipher.oid,
            self.driver.recipient(case, reader),
        )

    def open_mail(self, raw: bytes, reader: Person) -> bytes:
        """The entity inside an application/pkcs7-mime message."""
        return self.driver.resident.ask("open-mail", word(raw), f"key:{word(reader.pkcs8)}")

    def close(self) -> None:
        self.driver.close()
