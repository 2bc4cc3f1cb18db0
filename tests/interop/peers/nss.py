"""NSS's cmsutil with one certificate database: the engine of Thunderbird, in Debian's version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers import nss

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, newer, reader_of

_NO_EC = "no EC recipients (RFC 5753 3.1) in this version"
_NO_CURVES = "no brainpool curves (RFC 5753 7.1.2)"
_NO_AEAD = "no AuthEnvelopedData (RFC 5083 2.1)"
_BAD_DER, _OID, _KEY = "SEC_ERROR_BAD_DER", "SEC_ERROR_UNRECOGNIZED_OID", "not import such a key"
_INVALID, _EXPORT = "SEC_ERROR_INVALID_ALGORITHM", "SEC_ERROR_BAD_EXPORT_ALGORITHM"
_NO_SHA3, _NO_EDDSA = "no SHA-3 (RFC 9688 3)", "no EdDSA (RFC 8419 3)"
_NO_X = "no X25519 and X448 (RFC 8418 3.2)"
_NEWER = "3.132"  # what was tried; 3.87 is the one before it
KNOWN = (
    Known("made", "rsassa.* sha3-256", "status=", _NO_SHA3, before=_NEWER),
    Known("made", "ecdsa sha3-256.*", "status=", _NO_SHA3),
    Known("read", ".* sha3-256.*", "-H requires one of", _NO_SHA3, before=_NEWER),
    Known("read", ".* sha3-256.*", _INVALID, _NO_SHA3, since=_NEWER),
    Known("made", "ecdsa .* brainpool.*", "status=", _NO_CURVES),
    Known("read", "ecdsa .* brainpool.*", "SEC_ERROR_INVALID_KEY", _NO_CURVES, before=_NEWER),
    Known("read", "ecdsa .* brainpool.*", "ALGORITHM_DISABLED", _NO_CURVES, since=_NEWER),
    Known("made", "ed25519 .*", "status=", _NO_EDDSA),
    Known("read", "ed25519 .*", _KEY, _NO_EDDSA, before=_NEWER),
    Known("read", "ed25519 .*", "INADEQUATE_KEY_USAGE", _NO_EDDSA, since=_NEWER),
    Known("made", "ed448 .*", "status=", _NO_EDDSA, before=_NEWER),
    Known("made", "ed448 .*", "UNSUPPORTED_KEYALG", _NO_EDDSA, since=_NEWER),
    Known("read", "ed448 .*", _KEY, _NO_EDDSA),
    Known("made", "ml-dsa-.*", "status=", "no ML-DSA (RFC 9882 3)"),
    Known("read", "ml-dsa-.*", _KEY, "no ML-DSA (RFC 9882 3)", before=_NEWER),
    Known("read", "ml-dsa-.*", _INVALID, "no ML-DSA (RFC 9882 3)", since=_NEWER),
    Known(
        "read",
        ".* sha224.*",
        "-H requires one of",
        "cmsutil has no SHA-224 (RFC 5754 2.1)",
        before=_NEWER,
    ),
    Known(
        "read",
        "rsassa-pkcs1v15 md5",
        "SEC_ERROR_SIGNATURE_ALGORITHM_DISABLED",
        "signs no more with MD5 (RFC 6151 2)",
        before=_NEWER,
    ),
    Known(
        "read",
        "rsassa-pkcs1v15 md5",
        "failed to add data to encoder",
        "signs no more with MD5 (RFC 6151 2)",
        since=_NEWER,
    ),
    Known("made", "rsaes-oaep .*", "UNSUPPORTED_KEYALG", "no OAEP (RFC 3560 2.2)", before=_NEWER),
    Known(
        "made",
        "dhsinglepass-.*kdf .*|.*-wrap P-256|.* beside .*",
        _BAD_DER,
        _NO_EC,
        before=_NEWER,
    ),
    Known("made", "dhsinglepass-.* brainpool.*", _EXPORT, _NO_CURVES, since=_NEWER),
    Known(
        "made",
        ".* beside a password",
        _OID,
        "stops at a PasswordRecipientInfo (RFC 5652 6.2.4)",
        since=_NEWER,
    ),
    Known(
        "made",
        "aes...-(gcm|ccm)|aes...-gcm to P-256|chacha20-poly1305",
        _OID,
        _NO_AEAD,
        before=_NEWER,
    ),
    Known("made", "aes...-ccm", _INVALID, "no AES-CCM (RFC 5084 3.1)", since=_NEWER),
    Known("made", "chacha20-poly1305", _INVALID, "no ChaCha20 (RFC 8103 3)", since=_NEWER),
    Known("made", ".* X25519", _KEY, _NO_X, before=_NEWER),
    Known("made", ".* X25519", _EXPORT, _NO_X, since=_NEWER),
    Known("made", ".* X448", _KEY, _NO_X),
    Known("made", "ml-kem-.*", _KEY, "no ML-KEM (RFC 9936 2)", before=_NEWER),
    Known("made", "ml-kem-.*", _OID, "no ML-KEM (RFC 9936 2)", since=_NEWER),
    Known("made", "cek-hkdf-.* AES-CBC", _BAD_DER, _NO_EC, before=_NEWER),
    Known("made", "cek-hkdf-.* AES-GCM", _OID, _NO_AEAD, before=_NEWER),
    Known("made", "cek-hkdf-.*", _INVALID, "no derived keys (RFC 9709 2)", since=_NEWER),
)


@dataclass
class Nss:
    """`cmsutil`, one process for each message."""

    driver: nss.Nss
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> Nss:
        driver = nss.Nss.start(people.root_file, folder, *newer("nss"))
        return cls(driver, f"NSS {'.'.join(driver.version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, SigningCase):
            if direction == "read" and (len(case.keys) > 1 or case.ski or case.pss):
                return "cmsutil signs with one key, named by issuer, and never with PSS"
            return None
        if case.reader in ("password", "shared"):
            return "cmsutil knows neither passwords nor shared keys"
        if direction == "read" and case.row != "aes128-cbc":
            return "cmsutil chooses the cipher itself: AES-128-CBC, to RSA keys named by issuer"
        return None

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        return self.driver.sign(case, content, signers)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.driver.verify(len(case.keys), cms, content)

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        return self.driver.encrypt(case, content, [reader_of(one) for one in to])

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        return self.driver.decrypt(case, cms, reader_of(reader))

    def close(self) -> None:
        pass
