"""PKI.js over the WebCrypto of Node.js, in one resident process (pkijs.mjs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cases import EncryptionCase, Reader, SigningCase
from ..people import PASSWORD, SHARED_KEY, People, Person
from .peer import Cannot, Known, Missing, Resident, need, word

_FOLDER = Path(__file__).parent
_HASHES = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_CURVES = {"p256": "P-256", "p384": "P-384", "p521": "P-521"}

KNOWN = (
    Known("made", ".* sha3-256.*", "no SHA-3: WebCrypto has none"),
    Known("made", "ecdsa .* brainpool.*|.* brainpoolP.*", "no brainpool curves"),
    Known("read", ".* brainpoolP.*", "no brainpool curves"),
    Known("made", "ed25519 .*|ed448 .*|ml-dsa-.*", "no such signatures"),
    Known("made", "dhsinglepass-cofactor.*|.*-sha224kdf .*", "no such key agreement"),
    Known(
        "made",
        "dhsinglepass-.*|aes...-wrap P-256",
        "reads no ECDH but its own, not that of OpenSSL either",
    ),
    Known("made", "pwri-kek", "reads passwords only in a form of its own"),
    Known("made", "rsaes-pkcs1v15.*|aes...-cbc", "RSA by OAEP only: WebCrypto has no PKCS#1 v1.5"),
    Known("made", ".*-gcm.*|.*-ccm.*|chacha20-poly1305", "no AuthEnvelopedData"),
    Known("both", ".* X(25519|448)|ml-kem-.*", "no such recipients"),
    Known("both", "cek-hkdf-.*", "no derived content keys (RFC 9709)"),
)


@dataclass
class PkiJs:
    """CMS of PKI.js."""

    resident: Resident
    label: str
    known: Sequence[Known] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> PkiJs:
        need("node", "nodejs (20 or newer)")
        if not (_FOLDER.parent / "node_modules" / "pkijs").exists():
            raise Missing("PKI.js is not installed: npm install --prefix tests/interop")
        resident = Resident.start(["node", _FOLDER / "pkijs.mjs"], folder)
        return cls(resident, f"PKI.js {'.'.join(resident.version.split('.')[:2])}")

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        if case.ski:
            raise Cannot("the driver names signers by issuer")
        words = ["sign", "opaque" if case.opaque else "detached", _hash(case.digest), word(content)]
        for signer in signers:
            words += [_signing_kind(case, signer), word(signer.certificate.der), word(signer.pkcs8)]
        return self.resident.ask(*words)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.resident.ask("verify", word(cms), "-" if content is None else word(content))

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        if case.content_cipher.aead or not case.cipher.startswith("aes"):
            raise Cannot("encrypts with AES-CBC (its AES-GCM is put into EnvelopedData)")
        if case.oaep is not None and case.oaep.digest != case.oaep.mgf_digest:
            raise Cannot("has one digest for OAEP and its MGF")
        if case.ski:
            raise Cannot("the driver names recipients by issuer")
        recipients = []
        for reader in to:
            if not isinstance(reader, Person):
                raise Cannot("the driver encrypts to certificates")
            if reader.kind.startswith("rsa") and (case.oaep is None or case.oaep.label):
                raise Cannot("RSA by OAEP without a label only, as WebCrypto has no PKCS#1 v1.5")
            kind = "oaep" if reader.kind.startswith("rsa") else "ecdh"
            recipients.append(f"{kind}:{word(reader.certificate.der)}")
        digest = case.oaep.digest if case.oaep is not None else _kdf_digest(case)
        bits = str(case.content_cipher.key_size * 8)
        return self.resident.ask(
            "encrypt", "AES-CBC", bits, _hash(digest), word(content), *recipients
        )

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        if reader == "password":
            key = f"password:{word(PASSWORD.password.encode())}"
        elif reader == "shared":
            key = f"shared:{word(SHARED_KEY.identifier)}:{word(SHARED_KEY.key)}"
        else:
            assert isinstance(reader, Person)
            key = f"key:{word(reader.certificate.der)}:{word(reader.pkcs8)}"
        return self.resident.ask("decrypt", word(cms), key)

    def close(self) -> None:
        self.resident.close()


def _hash(digest: str) -> str:
    if digest not in _HASHES:
        raise Cannot(f"WebCrypto has no {digest}")
    return _HASHES[digest]


def _kdf_digest(case: EncryptionCase) -> str:
    if "cofactor" in case.agreement:
        raise Cannot("has the standard form of ECDH only")
    return case.agreement.removesuffix("kdf").rpartition("-")[2]


def _signing_kind(case: SigningCase, signer: Person) -> str:
    if signer.kind.startswith("rsa"):
        return "RSA-PSS" if case.pss else "RSASSA-PKCS1-v1_5"
    if signer.kind not in _CURVES:
        raise Cannot(f"the WebCrypto of Node.js 20 has no {signer.kind}")
    return f"ECDSA:{_CURVES[signer.kind]}"
