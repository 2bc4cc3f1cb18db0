"""Bouncy Castle in one resident JVM, behind the line protocol of BouncyCastle.java."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import drive

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import PASSWORD, SHARED_KEY, People, Person
from .peer import Known, Missing, Resident, checked, need, run, word

_JARS = ("bcprov", "bcpkix", "bcutil", "bcmail", "javax.mail", "javax.activation")
_PACKAGES = "libbcprov-java libbcpkix-java libbcutil-java libbcmail-java libmail-java"
_SOURCE = Path(drive.__file__).with_name("BouncyCastle.java")
_OAEP_NAMES = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}

KNOWN = (
    *(
        Known(
            "made",
            f"ml-dsa-{size} .*",
            f"Unknown signature type requested: SHA512WITH2.16.840.1.101.3.4.3.{number}",
            "does not know the identifiers of RFC 9882 2",
        )
        for size, number in ((44, 17), (65, 18), (87, 19))
    ),
    Known("made", ".* X(25519|448)", "originator key invalid", "no X25519 and X448 (RFC 8418 3.2)"),
    Known(
        "read",
        ".* X(25519|448)",
        "BCXDHPublicKey cannot be cast to class java.security.interfaces.ECPublicKey",
        "no X25519 and X448 (RFC 8418 3.2)",
    ),
    Known("made", "ml-kem-.*", "no recipient of this kind", "no KEMRecipientInfo (RFC 9629 3)"),
    Known(
        "read",
        "ml-kem-.*",
        'X509Certificate.getPublicKey()" is null',
        "no KEMRecipientInfo (RFC 9629 3)",
    ),
    Known(
        "made",
        "cek-hkdf-.*",
        "No such algorithm: 1.2.840.113549.1.9.16.3.31",
        "no derived content keys (RFC 9709 2)",
    ),
)


@dataclass
class BouncyCastle:
    """CMS and mail of Bouncy Castle."""

    resident: Resident
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(
        cls, people: People, folder: Path, options: Sequence[str] = ("-XX:TieredStopAtLevel=1",)
    ) -> BouncyCastle:
        """By default with the first compiler alone: a suite ends before the second pays."""
        need("java", "default-jdk-headless")
        need("javac", "default-jdk-headless")
        jars = [Path("/usr/share/java") / f"{name}.jar" for name in _JARS]
        if not all(jar.exists() for jar in jars):
            raise Missing(f"Bouncy Castle is not installed: apt-get install {_PACKAGES}")
        path = ":".join(str(part) for part in (*jars, folder))
        checked(run("javac", "-nowarn", "-cp", path, "-d", folder, _SOURCE, folder=folder))
        java = ["java", *options, "-Xmx256m", "-cp", path, "BouncyCastle"]
        resident = Resident.start(java, folder)
        version = resident.version.partition("/")[0]
        return cls(resident, f"Bouncy Castle {version.strip()}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if direction == "read" and case.row.startswith("ml-dsa"):
            return "1.72 has no signer for ML-DSA as RFC 9882 names it"
        if direction == "read" and case.row == "chacha20-poly1305":
            return "writes ChaCha20-Poly1305 into EnvelopedData, against RFC 8103 3"
        return None

    def _algorithm(self, case: SigningCase, signer: Person) -> str:
        digest = case.digest.upper()
        if signer.kind.startswith("rsa"):
            return f"{digest}withRSA" + ("andMGF1" if case.pss else "")
        if signer.kind in ("ed25519", "ed448"):
            return signer.kind.capitalize()
        if signer.kind == "dsa":
            return f"{digest}withDSA"
        return f"{digest}withECDSA"

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        words = ["sign", "opaque" if case.opaque else "detached"]
        words += ["ski" if case.ski else "issuer", word(content)]
        for signer in signers:
            words += [self._algorithm(case, signer), word(signer.certificate.der)]
            words += [word(signer.pkcs8)]
        return self.resident.ask(*words)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.resident.ask("verify", word(cms), "-" if content is None else word(content))

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        recipients = [self._recipient(case, reader) for reader in to]
        return self.resident.ask("encrypt", case.content_cipher.oid, word(content), *recipients)

    def _recipient(self, case: EncryptionCase, reader: Reader) -> str:
        if reader == "password":
            return f"password:{word(PASSWORD.password.encode())}"
        if reader == "shared":
            return f"shared:{word(SHARED_KEY.identifier)}:{word(SHARED_KEY.key)}"
        assert isinstance(reader, Person)
        certificate = word(reader.certificate.der)
        if case.oaep is not None:
            digest, mgf = _OAEP_NAMES[case.oaep.digest], _OAEP_NAMES[case.oaep.mgf_digest]
            return f"oaep:{digest}:{mgf}:{word(case.oaep.label)}:{certificate}"
        if reader.kind.startswith("rsa"):
            return f"{'rsa-ski' if case.ski else 'rsa'}:{certificate}"
        form = "ski" if case.ski else "issuer"
        return f"ecdh:{case.key_agreement.oid}:{case.key_wrap.oid}:{form}:{certificate}"

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        return self.resident.ask("decrypt", word(cms), self._key(reader))

    def _key(self, reader: Reader) -> str:
        if reader == "password":
            return f"password:{word(PASSWORD.password.encode())}"
        if reader == "shared":
            return f"shared:{word(SHARED_KEY.identifier)}:{word(SHARED_KEY.key)}"
        assert isinstance(reader, Person)
        return f"key:{word(reader.pkcs8)}"

    def compress(self, content: bytes) -> bytes:
        return self.resident.ask("compress", word(content))

    def decompress(self, cms: bytes) -> bytes:
        return self.resident.ask("decompress", word(cms))

    def validate_mail(self, raw: bytes, anchor: bytes) -> list[str]:
        """What SignedMailValidator says, one line for each signer, error and notification."""
        return self.resident.ask("validate-mail", word(raw), word(anchor)).decode().splitlines()

    def path(
        self, at: datetime, anchor: bytes, chain: Sequence[bytes], crls: Sequence[bytes]
    ) -> str:
        """The word good, or what its path validator has against the first certificate."""
        words = [",".join(map(word, part)) for part in (chain, crls)]
        moment = str(int(at.timestamp() * 1000))
        return self.resident.ask("path", moment, word(anchor), *words).decode()

    def seal_mail(
        self, text: str, signing: SigningCase, signer: Person, case: EncryptionCase, reader: Person
    ) -> bytes:
        """A message from the signer: multipart/signed inside application/pkcs7-mime."""
        return self.resident.ask(
            "seal-mail",
            word(signer.email.encode()),
            word(text.encode()),
            self._algorithm(signing, signer),
            word(signer.certificate.der),
            word(signer.pkcs8),
            case.content_cipher.oid,
            self._recipient(case, reader),
        )

    def open_mail(self, raw: bytes, reader: Person) -> bytes:
        """The entity inside an application/pkcs7-mime message."""
        return self.resident.ask("open-mail", word(raw), self._key(reader))

    def close(self) -> None:
        self.resident.close()
