"""OpenSSL's command line: `openssl cms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import openssl

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, newer, reader_of

_NO_X = "no X25519 and X448 (RFC 8418 3.2)"
_NO_CCM = "no AES-CCM (RFC 5084 3.1)"
_NO_ML_DSA = "no ML-DSA (RFC 9882 3)"
_NO_ML_KEM = "no ML-KEM (RFC 9936 2)"
_NO_FILE = "ossl_store_handle_load_result:unsupported"
_NO_CIPHER = "ossl_cms_EncryptedContent_init_bio:unknown cipher"
KNOWN = (
    Known(
        "read",
        "ecdsa sha3-256 .*",
        "unsupported signature",
        "no ECDSA with SHA-3 (RFC 9688 3)",
        before="3.6",
    ),
    Known("made", "ed25519 .*", "invalid digest", "no Ed25519 (RFC 8419 3)", before="3.5"),
    Known("read", "ed25519 .*", "datafinal error", "no Ed25519 (RFC 8419 3)", before="3.5"),
    Known("made", "ed448 .*", "unknown digest algorithm", "no id-shake256-len (RFC 8419 2.3)"),
    Known("read", "ed448 .*", "Algorithm (shake256-len", "no id-shake256-len (RFC 8419 2.3)"),
    Known("made", "ml-dsa-.*", "certificate verify error", _NO_ML_DSA, before="3.5"),
    Known("read", "ml-dsa-.*", _NO_FILE, _NO_ML_DSA, before="3.5"),
    Known(
        "read",
        "aes256-gcm to a password",
        "recipient_password",
        "no RFC 5652 6.2.4 with GCM",
    ),
    Known("made", "aes...-ccm", "cipher parameter initialisation error", _NO_CCM),
    Known("read", "aes...-ccm", "CMS_final:cms lib", _NO_CCM),
    Known("made", "chacha20-poly1305", _NO_CIPHER, "no ChaCha20-Poly1305 (RFC 8103 3)"),
    Known("read", "chacha20-poly1305", "CMS_final:cms lib", "no ChaCha20-Poly1305 (RFC 8103 3)"),
    Known("made", ".* X(25519|448)", "no matching recipient", _NO_X, before="4.0"),
    Known("read", ".* X(25519|448)", "not supported for this keytype", _NO_X, before="4.0"),
    Known("made", ".* X(25519|448)", "ossl_ecx_compute_key:missing key", _NO_X, since="4.0"),
    Known("read", ".* X(25519|448)", "name=ecdh_kdf_md", _NO_X, since="4.0"),
    Known("made", "ml-kem-.*", _NO_FILE, _NO_ML_KEM, before="3.6"),
    Known("read", "ml-kem-.*", "error getting public key", _NO_ML_KEM, before="3.6"),
    Known("made", "cek-hkdf-.*", _NO_CIPHER, "no derived content keys (RFC 9709 2)"),
)


@dataclass
class OpenSsl:
    """`openssl cms` in DER, one process for each message."""

    driver: openssl.OpenSsl
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> OpenSsl:
        driver = openssl.OpenSsl.start(people.root_file, folder, newer("openssl")[0])
        return cls(driver, f"OpenSSL {'.'.join(driver.version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        return None

    @property
    def folder(self) -> Path:
        return self.driver.folder

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        return self.driver.sign(case, content, signers)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.driver.verify(content, cms, beside=self.folder / "content")

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        return self.driver.encrypt(case, content, [reader_of(one) for one in to])

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        return self.driver.decrypt(case, cms, reader_of(reader))

    def close(self) -> None:
        pass
