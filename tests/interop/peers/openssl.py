"""OpenSSL's command line: `openssl cms`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import PASSWORD, SHARED_KEY, People, Person
from .peer import Known, checked, need, run

_LEGACY = ("-provider", "legacy", "-provider", "default")  # RC2
_WRAPS = {"des-ede3-wrap": "des3-wrap"}
_CIPHERS = {"des-ede3-cbc": "des3", "rc2-cbc": "rc2-128"}

_NO_X = "no X25519 and X448 (RFC 8418 3.2)"
_NO_CCM = "no AES-CCM (RFC 5084 3.1)"
_NO_ML_DSA = "no ML-DSA (RFC 9882 3) before OpenSSL 3.5"
_NO_ML_KEM = "no ML-KEM (RFC 9936 2) before OpenSSL 3.6"
_NO_FILE = "ossl_store_handle_load_result:unsupported"
_NO_CIPHER = "ossl_cms_EncryptedContent_init_bio:unknown cipher"
KNOWN = (
    Known("read", "ecdsa sha3-256 .*", "unsupported signature", "no ECDSA with SHA-3 (RFC 9688 3)"),
    Known("made", "ed25519 .*", "invalid digest", "no Ed25519 (RFC 8419 3) before OpenSSL 3.5"),
    Known("read", "ed25519 .*", "datafinal error", "no Ed25519 (RFC 8419 3) before OpenSSL 3.5"),
    Known("made", "ed448 .*", "unknown digest algorithm", "no id-shake256-len (RFC 8419 2.3)"),
    Known("read", "ed448 .*", "Algorithm (shake256-len", "no id-shake256-len (RFC 8419 2.3)"),
    Known("made", "ml-dsa-.*", "certificate verify error", _NO_ML_DSA),
    Known("read", "ml-dsa-.*", _NO_FILE, _NO_ML_DSA),
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
    Known("made", ".* X(25519|448)", "no matching recipient", _NO_X),
    Known("read", ".* X(25519|448)", "operation not supported for this keytype", _NO_X),
    Known("made", "ml-kem-.*", _NO_FILE, _NO_ML_KEM),
    Known("read", "ml-kem-.*", "CMS_add1_recipient:error getting public key", _NO_ML_KEM),
    Known("made", "cek-hkdf-.*", _NO_CIPHER, "no derived content keys (RFC 9709 2)"),
)


@dataclass
class OpenSsl:
    """`openssl cms` in DER, one process for each message."""

    people: People
    folder: Path
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN

    @classmethod
    def start(cls, people: People, folder: Path) -> OpenSsl:
        need("openssl", "openssl")
        words = checked(run("openssl", "version", folder=folder)).decode().split()
        return cls(people, folder, f"OpenSSL {'.'.join(words[1].split('.')[:2])}")

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        return None

    def _cms(self, *words: str | Path, stdin: bytes = b"") -> bytes:
        out = self.folder / "out"
        out.unlink(missing_ok=True)
        checked(run("openssl", "cms", *words, "-out", out, folder=self.folder, stdin=stdin))
        return out.read_bytes()

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        words: list[str | Path] = ["-sign", "-binary", "-outform", "DER"]
        words += ["-md", case.digest]
        words += ["-nodetach"] if case.opaque else []
        words += ["-keyid"] if case.ski else []
        for signer in signers:
            words += ["-signer", signer.certificate_file, "-inkey", signer.key_file]
            if case.pss:
                words += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]
        return self._cms(*words, stdin=content)

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        words: list[str | Path] = ["-verify", "-binary", "-inform", "DER"]
        words += ["-CAfile", self.people.root_file]
        if content is not None:
            path = self.folder / "content"
            path.write_bytes(content)
            words += ["-content", path]
        return self._cms(*words, stdin=cms)

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        words: list[str | Path] = ["-encrypt", "-binary", "-outform", "DER"]
        words += [f"-{_CIPHERS.get(case.cipher, case.cipher.replace('aes', 'aes-'))}"]
        words += _LEGACY if case.cipher == "rc2-cbc" else ()
        words += ["-keyid"] if case.ski else []
        for reader in to:
            words += self._recipient(case, reader)
        return self._cms(*words, stdin=content)

    def _recipient(self, case: EncryptionCase, reader: Reader) -> list[str | Path]:
        if reader == "password":
            return ["-pwri_password", PASSWORD.password]
        if reader == "shared":
            return ["-secretkey", SHARED_KEY.key.hex(), "-secretkeyid", SHARED_KEY.identifier.hex()]
        assert isinstance(reader, Person)
        words: list[str | Path] = ["-recip", reader.certificate_file]
        options: list[str] = []
        if case.oaep is not None:
            options += ["rsa_padding_mode:oaep", f"rsa_oaep_md:{case.oaep.digest}"]
            options += [f"rsa_mgf1_md:{case.oaep.mgf_digest}"]
            if case.oaep.label:
                options += [f"rsa_oaep_label:{case.oaep.label.hex()}"]
        elif not reader.kind.startswith("rsa"):
            scheme, _, digest = case.agreement.removesuffix("kdf").rpartition("-")
            options += [f"ecdh_kdf_md:{digest}"]
            options += [f"ecdh_cofactor_mode:{int('cofactor' in scheme)}"]
            words = [f"-{_WRAPS.get(case.key_wrap.name, case.key_wrap.name)}", *words]
        for option in options:
            words += ["-keyopt", option]
        return words

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        words: list[str | Path] = ["-decrypt", "-binary", "-inform", "DER"]
        words += _LEGACY if case.cipher == "rc2-cbc" else ()
        if isinstance(reader, str):
            words += self._recipient(case, reader)
        else:
            words += ["-recip", reader.certificate_file, "-inkey", reader.key_file]
        return self._cms(*words, stdin=cms)

    def close(self) -> None:
        pass
