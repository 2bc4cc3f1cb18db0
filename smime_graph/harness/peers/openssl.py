"""OpenSSL's command line: `openssl cms`, `verify` and `pkcs12`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from ...cms.recipients.shared_secret import Password, SharedKey
from ..cases import CONTENT, Case, Stand
from .drive import (
    PKCS12_PASSWORD,
    EncryptionForm,
    Holder,
    Missing,
    Reader,
    Refused,
    SigningForm,
    Use,
    checked,
    need,
    run,
)
from .peer import Operation, Quirk, Words

_LEGACY = ("-provider", "legacy", "-provider", "default")  # RC2
_WRAPS = {"des-ede3-wrap": "des3-wrap"}
_CIPHERS = {"des-ede3-cbc": "des3", "rc2-cbc": "rc2-128"}


@dataclass(frozen=True)
class OpenSsl:
    """`openssl` in DER, one process for each message. `trust` is a PEM file of what is believed."""

    program: str
    version: str  # as it says it itself
    folder: Path
    trust: Path

    @classmethod
    def start(cls, trust: Path, folder: Path, program: str | None = None) -> OpenSsl:
        """Raises Missing."""
        found = program or need("openssl", "openssl")
        try:
            said = checked(run(found, "version", folder=folder)).decode().split()
        except (OSError, Refused) as error:
            raise Missing(f"{found} does not run: {error}") from None
        if said[:1] != ["OpenSSL"]:
            raise Missing(f"{found} is not OpenSSL")
        return cls(found, said[1], folder, trust)

    def cms(self, *words: str | Path, stdin: bytes = b"") -> bytes:
        return checked(run(self.program, "cms", *words, folder=self.folder, stdin=stdin))

    def sign(
        self, form: SigningForm, content: bytes, signers: Sequence[Holder], *more: str | Path
    ) -> bytes:
        words: list[str | Path] = ["-sign", "-binary", "-outform", "DER"]
        words += ["-md", form.digest]
        words += ["-nodetach"] if form.opaque else []
        words += ["-keyid"] if form.ski else []
        for signer in signers:
            words += ["-signer", signer.certificate_file, "-inkey", signer.key_file]
            if form.pss:
                words += ["-keyopt", "rsa_padding_mode:pss", "-keyopt", "rsa_pss_saltlen:digest"]
        return self.cms(*words, *more, stdin=content)

    def verify(self, content: bytes | None, cms: bytes, *more: str, beside: Path) -> bytes:
        """The content that was signed; where it is detached it is written to `beside`."""
        words: list[str | Path] = ["-verify", "-binary", "-inform", "DER", "-CAfile", self.trust]
        if content is not None:
            beside.write_bytes(content)
            words += ["-content", beside]
        return self.cms(*words, *more, stdin=cms)

    def encrypt(self, form: EncryptionForm, content: bytes, to: Sequence[Reader]) -> bytes:
        words: list[str | Path] = ["-encrypt", "-binary", "-outform", "DER"]
        words += [f"-{_CIPHERS.get(form.cipher, form.cipher.replace('aes', 'aes-'))}"]
        words += _LEGACY if form.cipher == "rc2-cbc" else ()
        words += ["-keyid"] if form.ski else []
        for reader in to:
            words += self._recipient(form, reader)
        return self.cms(*words, stdin=content)

    def _recipient(self, form: EncryptionForm, reader: Reader) -> list[str | Path]:
        if isinstance(reader, Password):
            return ["-pwri_password", reader.password]
        if isinstance(reader, SharedKey):
            return ["-secretkey", reader.key.hex(), "-secretkeyid", reader.identifier.hex()]
        words: list[str | Path] = ["-recip", reader.certificate_file]
        options: list[str] = []
        if form.oaep is not None:
            options += ["rsa_padding_mode:oaep", f"rsa_oaep_md:{form.oaep.digest}"]
            options += [f"rsa_mgf1_md:{form.oaep.mgf_digest}"]
            if form.oaep.label:
                options += [f"rsa_oaep_label:{form.oaep.label.hex()}"]
        elif reader.kind.startswith("ml-kem"):
            words = [f"-{form.wrap}", *words]  # its KDF is HKDF with SHA-256, unasked
        elif not reader.kind.startswith("rsa"):
            scheme, _, digest = form.agreement.removesuffix("kdf").rpartition("-")
            options += [f"ecdh_kdf_md:{digest}"]
            options += [f"ecdh_cofactor_mode:{int('cofactor' in scheme)}"]
            words = [f"-{_WRAPS.get(form.wrap, form.wrap)}", *words]
        for option in options:
            words += ["-keyopt", option]
        return words

    def decrypt(self, form: EncryptionForm, cms: bytes, reader: Reader) -> bytes:
        words: list[str | Path] = ["-decrypt", "-binary", "-inform", "DER"]
        words += _LEGACY if form.cipher == "rc2-cbc" else ()
        if isinstance(reader, Password | SharedKey):
            words += self._recipient(form, reader)
        else:
            words += ["-recip", reader.certificate_file, "-inkey", reader.key_file]
        return self.cms(*words, stdin=cms)

    # --- certificates ---

    def read_pkcs12(self, path: Path) -> None:
        """Raises Refused unless it opens."""
        words = ("-in", path, "-nodes", "-passin", f"pass:{PKCS12_PASSWORD}")
        checked(run(self.program, "pkcs12", *words, folder=self.folder))

    def validate(self, certificate: Path, *, use: Use, chain: Path, at: int) -> None:
        """With the CRLs that stand in `trust`. Raises Refused with every complaint."""
        words: list[str | Path] = ["-purpose", f"smime{use}", "-CAfile", self.trust]
        words += ["-crl_check_all", "-attime", str(at)]
        words += ["-untrusted", chain] if chain.stat().st_size else []
        done = run(self.program, "verify", *words, certificate, folder=self.folder)
        if done.returncode:
            raise Refused(_complaints(done.stderr.decode(errors="replace")))


def _complaints(said: str) -> str:
    """Of "error 10 at 0 depth lookup: certificate has expired" the words, each once."""
    lines = [line.partition(" lookup: ")[2] for line in said.splitlines() if " lookup: " in line]
    return "; ".join(dict.fromkeys(lines)) or said.strip().splitlines()[-1]


# --- the harness ----------------------------------------------------------------------------------

_JUDGED = "validate-* verify"
QUIRKS = (
    Quirk("sign", "*", "yes", "cms -sign looks at nothing in the signer's certificate"),
    Quirk("encrypt", "*", "yes", "cms -encrypt looks at nothing in the recipient's certificate"),
    Quirk(
        "validate-encrypt",
        "p256 p384 p521 brainpool-* x25519 x448 p256-encrypt chain-p256 chain-p384",
        "no",
        "the purpose smimeencrypt wants keyEncipherment of keys that agree, too (RFC 5480 3: it is"
        " keyAgreement)",
        "unsuitable certificate purpose",
    ),
    Quirk(
        "validate-encrypt",
        "p256-key-encipherment",
        "yes",
        "the purpose smimeencrypt takes keyEncipherment of any key (RFC 5480 3: of EC keys never)",
    ),
    Quirk(
        _JUDGED,
        "eku-any issuer-eku-any",
        "no",
        "anyExtendedKeyUsage is not taken for emailProtection (RFC 8550 4.4.4 takes it)",
        "unsuitable certificate purpose",
    ),
    Quirk(_JUDGED, "rsa-1024 issuer-rsa-1024", "yes", "RSA-1024 passes without -auth_level 2"),
    Quirk(
        _JUDGED,
        "sha1 md5 issuer-sha1",
        "yes",
        "certificates signed with SHA-1 and MD5 pass without -auth_level 1",
    ),
    Quirk(_JUDGED, "policy-missing", "yes", "policies are looked at with -policy_check only"),
    Quirk(
        "verify",
        "address-none address-cn-only address-dns-name names-cn-only version-1",
        "no",
        "-verify_email refuses a certificate without any address (RFC 8550 3 leaves that open)",
        "email address mismatch",
    ),
    Quirk(
        "verify",
        "address-case-local",
        "no",
        "-verify_email tells case apart in the local part (RFC 8550 3: should not)",
        "email address mismatch",
    ),
    Quirk(
        "validate-*",
        "cross-signed",
        "no",
        "of two certificates of the issuer it takes the first that comes along and goes not back",
        "unable to get local issuer",
    ),
    Quirk("import", "duplicate-extension", "yes", "extensions are read where they are used"),
    Quirk("decrypt", "trailing-field", "no", "it names recipients by their certificate only"),
    Quirk("sign verify", "ed25519", "no", "no Ed25519 in CMS (RFC 8419)", before="3.5"),
    Quirk("sign verify", "ed448", "no", "no id-shake256-len (RFC 8419 2.3), so no Ed448 in CMS"),
    Quirk("encrypt decrypt", "x25519 x448", "no", "no X25519 and X448 in CMS (RFC 8418)"),
    Quirk("*", "ml-dsa-* chain-ml-dsa-65", "no", "no ML-DSA (RFC 9882)", before="3.5"),
    Quirk("*", "ml-kem-*", "no", "no ML-KEM in CMS (RFC 9936)", before="3.6"),
)

WORDS = (
    Words("certificate has expired|certificate is not yet valid", ("5280-6.1.3",)),
    Words(
        "unsuitable certificate purpose",
        ("8550-4.4.2", "8550-4.4.4", "SBR-7.1.2.3-e2", "SBR-7.1.2.3-f2", "SBR-CA-1"),
    ),
    Words("unhandled critical extension", ("5280-4.2",)),
    Words("certificate revoked", ("5280-6.3",)),
    Words("CRL has expired|CRL signature failure|certificate CRL", ("5280-6.3.3", "5280-6.3")),
    Words("path length constraint|invalid CA certificate|certificate signing", ("5280-6.1.4",)),
    Words("subtree violation", ("5280-4.2.1.10", "9598-6")),
    Words("certificate signature failure", ("5280-6.1.3", "5280-4.1.1.2")),
    Words("unable to get local issuer certificate|self-signed certificate", ("5280-6.1",)),
    Words("email address mismatch", ("8550-3-4", "8550-4.4.3")),
)


@dataclass(frozen=True)
class OpenSslPeer:
    """OpenSSL, asked about certificates: with the issuers' CRLs, and for the sender's address."""

    driver: OpenSsl
    at: int
    name: ClassVar[str] = "openssl"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(
        cls,
        stand: Stand,
        folder: Path,
        path: str | None = None,
        version: str | None = None,  # noqa: ARG003 - it tells its own
    ) -> OpenSslPeer:
        driver = OpenSsl.start(stand.roots_file, folder, path)
        return cls(driver, int(stand.at.timestamp()))

    @property
    def version(self) -> str:
        return self.driver.version

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        try:
            return self._ask(operation, case, message)
        except Refused as error:
            raise Refused(_reason(str(error))) from None

    def _ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        driver = replace(self.driver, trust=case.trust_file)
        match operation:
            case "import":
                driver.read_pkcs12(case.pkcs12_file)
            case "validate-sign" | "validate-encrypt":
                use: Use = "sign" if operation == "validate-sign" else "encrypt"
                driver.validate(case.certificate_file, use=use, chain=case.chain_file, at=self.at)
            case "sign":
                along = ("-certfile", case.chain_file) if case.identity.chain else ()
                return driver.sign(case.signing, CONTENT, [case], *along)
            case "verify":
                more = ("-crl_check_all", "-verify_email", case.email, "-attime", str(self.at))
                driver.verify(CONTENT, message, *more, beside=case.folder / "openssl")
            case "encrypt":
                return driver.encrypt(case.encryption, CONTENT, [case])
            case "decrypt":
                if driver.decrypt(case.encryption, message, case) != CONTENT:
                    raise Refused("another content came out")
        return b""

    def close(self) -> None:
        pass


def _reason(said: str) -> str:
    """Of "...:Verify error: certificate has expired" and "...:error:CODE:LIBRARY:FUNCTION:REASON:
    FILE:LINE:DATA" what people understand.
    """
    if ":Verify error: " in said:
        return said.partition(":Verify error: ")[2]
    parts = re.fullmatch(r"[0-9A-F]+:error:[0-9A-F]+:[^:]*:([^:]*):([^:]*):.*", said)
    return f"{parts[2]} ({parts[1]})" if parts else said
