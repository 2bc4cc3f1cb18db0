"""GnuTLS's certtool: signatures over files, detached ones only when it makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, Refused, checked, need, run

KNOWN = (
    Known("made", "ml-dsa-.*", "lists no signature", "no ML-DSA (RFC 9882 3)"),
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
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> GnuTls:
        need("certtool", "gnutls-bin")
        version = checked(run("certtool", "--version", folder=folder)).decode().split()[1]
        return cls(people, folder, f"GnuTLS {'.'.join(version.split('.')[:2])}")

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
        (self.folder / "body").write_bytes(content)
        (signer,) = signers
        words = ["--p7-sign" if case.opaque else "--p7-detached-sign", "--p7-time"]
        words += ["--p7-include-cert", "--outder", "--infile", "body", "--outfile", "out"]
        words += ["--load-certificate", str(signer.certificate_file)]
        words += ["--load-privkey", str(signer.key_file)]
        if case.row not in ("ed25519", "ed448"):
            words += ["--hash", case.digest.upper()]
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        checked(run("certtool", *words, folder=self.folder))
        return out.read_bytes()

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        (self.folder / "cms").write_bytes(cms)
        words = ["--p7-verify", "--inder", "--infile", "cms"]
        words += ["--load-ca-certificate", str(self.people.root_file)]
        if content is not None:
            (self.folder / "body").write_bytes(content)
            words += ["--load-data", "body"]
        done = run("certtool", *words, folder=self.folder)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode or said.count("Signature status: ok") != len(case.keys):
            status = [line.strip() for line in said.splitlines() if "Signature status" in line]
            raise Refused("; ".join(status) or "it lists no signature")
        if content is not None:
            return content
        shown = ["--p7-info", "--p7-show-data", "--inder", "--infile", "cms", "--outfile", "out"]
        checked(run("certtool", *shown, folder=self.folder))
        return (self.folder / "out").read_bytes()

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        raise NotImplementedError

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        raise NotImplementedError

    def close(self) -> None:
        pass
