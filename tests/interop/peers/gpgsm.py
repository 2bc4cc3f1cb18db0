"""GnuPG's gpgsm with one home folder: libksba and libgcrypt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import gpgsm
from smime_graph.harness.peers.gpgsm import CURVES

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, newer, reader_of

_NO_EC = "no EC recipients (RFC 5753 3.1)"
_NO_AEAD = "no AuthEnvelopedData (RFC 5083 2.1)"
KNOWN = (
    Known("made", "rsassa-pkcs1v15 sha3-256", "Bad signature", "no SHA-3 (RFC 9688 3.1)", "2.4"),
    Known("made", "ecdsa sha3-256 P-256", "no signature value", "no SHA-3 (RFC 9688 3.2)"),
    Known("read", ".* sha3-256.*", "digest algorithm is invalid", "no SHA-3 (RFC 9688 2)"),
    Known("made", "rsassa.* ski", "BER error", "no subjectKeyIdentifier in signers (RFC 5652 5.3)"),
    Known("made", "ecdsa sha512 P-521", "Internal error", "no P-521 (RFC 5753 2.1)", "2.4"),
    Known("made", "ed25519 .*", "Internal error", "no Ed25519 (RFC 8419 3)"),
    Known("made", "ed448 .*", "2.16.840.1.101.3.4.2.18", "no SHAKE256 (RFC 8419 2.3)"),
    Known("made", "ml-dsa-.*", "no signature value", "no ML-DSA (RFC 9882 3)"),
    Known("read", "ecdsa sha224 P-256", "Invalid length", "P-256 with SHA-256 only (RFC 5754 3.3)"),
    Known("made", "rsaes-pkcs1v15 ski", "No secret key", "no key identifier (RFC 5652 6.2.1)"),
    Known("made", "rsaes-oaep .*", "No secret key", "no OAEP (RFC 3560 2.2)"),
    Known("made", "dhsinglepass-.*kdf .*|.*-wrap P-256", "No secret key", _NO_EC, before="2.4"),
    Known(
        "made",
        "dhsinglepass-(cofactordh-.*|stddh-sha224)kdf P-256",
        "Invalid public key algorithm",
        "of the schemes in RFC 5753 7.1.4 those with stdDH and not SHA-224 alone",
        since="2.4",
    ),
    Known(
        "made",
        "dhsinglepass-stddh-sha256kdf P-256 ski",
        "No secret key",
        "no key identifier (RFC 5753 3.1.1)",
        since="2.4",
    ),
    Known(
        "made",
        "dhsinglepass-stddh-sha256kdf beside RSA",
        "No SmartCard daemon",
        "looks for each recipient's key (RFC 5652 6.2) and ends at the first that it has not",
        since="2.4",
    ),
    Known("made", "aes...-gcm to P-256", "Buffer too short", _NO_AEAD),
    Known("made", "aes...-(gcm|ccm)", "Buffer too short", _NO_AEAD),
    Known("made", "chacha20-poly1305", "Unsupported algorithm", "no ChaCha20 (RFC 8103 3)"),
    Known("made", "cek-hkdf-.*", "Unsupported algorithm", "no derived keys (RFC 9709 2)"),
    Known("made", "ml-kem-.*", "does not know such a key", "no ML-KEM (RFC 9936 2)"),
    Known("read", "dhsinglepass-.*kdf .*|.*-wrap P-256", "Wrong key usage", _NO_EC, before="2.4"),
    Known("read", "rsaes-pkcs1v15 beside P-256", "Wrong key usage", _NO_EC, before="2.4"),
    Known("read", "rc2-cbc", "cipher algorithm is invalid", "no RC2 (RFC 3370 5.2)"),
)


@dataclass
class Gpgsm:
    """`gpgsm`, one process for each message, and the agent that it starts."""

    people: People
    driver: gpgsm.Gpgsm
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> Gpgsm:
        driver = gpgsm.Gpgsm.start(
            people.root_file, people.trust.anchors[0], folder, newer("gpgsm")[0]
        )
        return cls(people, driver, f"gpgsm {'.'.join(driver.version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, SigningCase):
            return None if direction == "made" else _never_signs(case)
        if case.reader in ("password", "shared"):
            return "knows neither passwords nor shared keys"
        if case.reader in ("x25519", "x448"):
            return "its agent has no such keys"
        if direction == "made":
            return None
        if case.ski or case.oaep is not None or case.beside == "password":
            return "encrypts to certificates, named by issuer, and not with OAEP"
        if case.reader == "p256" and (
            case.agreement != "dhsinglepass-stddh-sha256kdf"
            or case.row in ("aes192-wrap", "des-ede3-wrap")
        ):
            return "chooses the digest by the curve, and always wraps with AES-128"
        return None if case.cipher.endswith("cbc") else "encrypts with CBC only"

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        return self.driver.sign(case, content, signers)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.driver.verify(len(case.keys), cms, content)

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        return self.driver.encrypt(case, content, [reader_of(one) for one in to])

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        if case.beside and case.beside != "password":
            # the other recipient's key would open it too
            beside = gpgsm.fingerprint(self.people.of(case.beside).certificate)
            if (key_file := self.driver.imported.pop(beside, None)) is not None:
                key_file.unlink()
        return self.driver.decrypt(cms, reader_of(reader))

    def close(self) -> None:
        self.driver.close()


def _never_signs(case: SigningCase) -> str | None:
    if len(case.keys) > 1 or case.ski or case.pss:
        return "signs with one key, named by issuer, and never with PSS"
    if case.digest == "md5":
        return "signs with SHA-1 where MD5 is asked for"
    (kind,) = case.keys
    return None if kind in CURVES or kind.startswith("rsa") else "its agent has no such keys"
