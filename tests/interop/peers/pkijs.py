"""PKI.js over the WebCrypto of Node.js, in one resident process (pkijs.mjs)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from smime_graph.harness.peers.drive import Missing, Resident, need, word

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import PASSWORD, SHARED_KEY, People, Person
from .peer import Known

_FOLDER = Path(__file__).parent
_HASHES = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}
_CURVES = {"p256": "P-256", "p384": "P-384", "p521": "P-521"}

_NO_CURVES = "no brainpool curves (RFC 5753 7.1.2)"
_NO_V15 = "RSA by OAEP only: WebCrypto has no PKCS #1 v1.5 (RFC 3370 4.2.1)"
_NO_X = "no X25519 and X448 (RFC 8418 3.2)"
_SCHEMA = "schema was not verified against input data for EnvelopedData"
KNOWN = (
    Known("made", ".* sha3-256.*", "2.16.840.1.101.3.4.2.8", "WebCrypto has no SHA-3 (RFC 9688 2)"),
    Known("made", "ecdsa .* brainpoolP256r1", "1.3.36.3.3.2.8.1.1.7", _NO_CURVES),
    Known("made", "ecdsa .* brainpoolP384r1", "1.3.36.3.3.2.8.1.1.11", _NO_CURVES),
    Known("made", "dh.* brainpoolP.*", "Incorrect curve OID", _NO_CURVES),
    Known("read", "dh.* brainpoolP.*", "Incorrect curve OID", _NO_CURVES),
    Known("made", "ed25519 .*", "1.3.101.112", "no Ed25519 (RFC 8419 3)"),
    Known("made", "ed448 .*", "2.16.840.1.101.3.4.2.18", "no SHAKE256 (RFC 8419 2.3)"),
    *(
        Known("made", f"ml-dsa-{size} .*", f"2.16.840.1.101.3.4.3.{last}", "no ML-DSA (RFC 9882 3)")
        for size, last in ((44, 17), (65, 18), (87, 19))
    ),
    *(
        Known("made", f"{name} .*", f"ecdhAlgorithm : {oid}", "no such scheme of RFC 5753 7.1.4")
        for name, oid in (
            ("dhsinglepass-stddh-sha224kdf", "1.3.132.1.11.0"),
            ("dhsinglepass-cofactordh-sha224kdf", "1.3.132.1.14.0"),
            ("dhsinglepass-cofactordh-sha256kdf", "1.3.132.1.14.1"),
            ("dhsinglepass-cofactordh-sha384kdf", "1.3.132.1.14.2"),
            ("dhsinglepass-cofactordh-sha512kdf", "1.3.132.1.14.3"),
            ("dhsinglepass-cofactordh-sha1kdf", "1.3.133.16.840.63.0.3"),
        )
    ),
    Known(
        "made",
        "dhsinglepass-stddh-sha(1|256|384|512)kdf (P-... ski|P-...|beside RSA)|aes...-wrap P-256",
        "operation-specific reason",
        "its SharedInfo is not that of RFC 5753 7.2: it reads no ECDH of OpenSSL either",
    ),
    Known("made", "pwri-kek", "1.2.840.113549.1.9.16.3.9", "no id-alg-PWRI-KEK (RFC 5652 6.2.4)"),
    Known("made", "rsaes-pkcs1v15( ski)?|aes...-cbc", "Unrecognized algorithm name", _NO_V15),
    Known("made", "rsaes-pkcs1v15 beside P-256", 'Incorrect "recipientCertificate"', _NO_V15),
    Known("made", "rsaes-pkcs1v15 beside a password", 'Parameter "preDefinedData"', _NO_V15),
    Known(
        "made",
        "aes...-gcm.*|aes...-ccm.*|chacha20-poly1305|ml-kem-.*|cek-hkdf-.* AES-GCM",
        _SCHEMA,
        "no AuthEnvelopedData (RFC 5083 2.1)",
    ),
    Known("made", ".* X(25519|448)", "reading 'constructor'", _NO_X),
    Known("read", ".* X25519", "1.3.101.110", _NO_X),
    Known("read", ".* X448", "1.3.101.111", _NO_X),
    Known("made", "cek-hkdf-.* AES-CBC", "1.2.840.113549.1.9.16.3.31", "no RFC 9709 2"),
)


@dataclass
class PkiJs:
    """CMS of PKI.js."""

    resident: Resident
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> PkiJs:
        need("node", "nodejs (20 or newer)")
        if not (_FOLDER.parent / "node_modules" / "pkijs").exists():
            raise Missing("PKI.js is not installed: npm install --prefix tests/interop")
        resident = Resident.start(["node", _FOLDER / "pkijs.mjs"], folder)
        return cls(resident, f"PKI.js {'.'.join(resident.version.split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if direction == "made":
            return None
        return _never_signs(case) if isinstance(case, SigningCase) else _never_encrypts(case)

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        digest = _HASHES[case.digest]
        words = ["sign", "opaque" if case.opaque else "detached", digest, word(content)]
        for signer in signers:
            words += [_signing_kind(case, signer), word(signer.certificate.der), word(signer.pkcs8)]
        return self.resident.ask(*words)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        return self.resident.ask("verify", word(cms), "-" if content is None else word(content))

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        recipients = []
        for reader in to:
            assert isinstance(reader, Person)
            kind = "oaep" if reader.kind.startswith("rsa") else "ecdh"
            recipients.append(f"{kind}:{word(reader.certificate.der)}")
        digest = case.oaep.digest if case.oaep is not None else _kdf_digest(case)
        bits = str(case.content_cipher.key_size * 8)
        return self.resident.ask(
            "encrypt", "AES-CBC", bits, _HASHES[digest], word(content), *recipients
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


def _never_signs(case: SigningCase) -> str | None:
    if case.ski:
        return "the driver names signers by issuer"
    if case.digest not in _HASHES:
        return f"WebCrypto has no {case.digest}"
    for kind in case.keys:
        if kind not in _CURVES and not kind.startswith("rsa"):
            return f"the WebCrypto of Node.js 20 has no {kind}"
    return None


def _never_encrypts(case: EncryptionCase) -> str | None:
    readers = {case.reader, case.beside} - {""}
    if case.content_cipher.aead or not case.cipher.startswith("aes"):
        return "encrypts with AES-CBC (its AES-GCM is put into EnvelopedData)"
    if case.ski or readers & {"password", "shared"}:
        return "the driver encrypts to certificates, named by issuer"
    if any(kind.startswith("rsa") for kind in readers) and case.oaep is None:
        return "RSA by OAEP only, as WebCrypto has no PKCS #1 v1.5"
    if case.oaep is not None and (case.oaep.digest != case.oaep.mgf_digest or case.oaep.label):
        return "has one digest for OAEP and its MGF, and no label"
    if case.oaep is None and "cofactor" in case.agreement:
        return "has the standard form of ECDH only"
    if case.oaep is None and _kdf_digest(case) not in _HASHES:
        return f"WebCrypto has no {_kdf_digest(case)}"
    return None


def _kdf_digest(case: EncryptionCase) -> str:
    return case.agreement.removesuffix("kdf").rpartition("-")[2]


def _signing_kind(case: SigningCase, signer: Person) -> str:
    if signer.kind.startswith("rsa"):
        return "RSA-PSS" if case.pss else "RSASSA-PKCS1-v1_5"
    return f"ECDSA:{_CURVES[signer.kind]}"
