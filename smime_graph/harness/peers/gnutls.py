"""GnuTLS's certtool: certificates, and signatures over files; it encrypts nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from ... import oids
from ..cases import CONTENT, Case, Stand
from .drive import (
    PKCS12_PASSWORD,
    Holder,
    Missing,
    Refused,
    SigningForm,
    checked,
    need,
    run,
)
from .peer import Operation, Quirk, Untried, Words


@dataclass(frozen=True)
class GnuTls:
    """`certtool`, one process for each message, in a folder of its own for each thread."""

    program: str
    version: str

    @classmethod
    def start(cls, folder: Path, program: str | None = None) -> GnuTls:
        """Raises Missing."""
        found = program or need("certtool", "gnutls-bin")
        try:
            said = checked(run(found, "--version", folder=folder)).decode().split()
        except (OSError, Refused) as error:
            raise Missing(f"{found} does not run: {error}") from None
        if said[:1] != ["certtool"]:
            raise Missing(f"{found} is not certtool")
        return cls(found, said[1])

    def sign(
        self,
        form: SigningForm,
        content: bytes,
        signer: Holder,
        chain: bytes = b"",
        *,
        folder: Path,
    ) -> bytes:
        """`chain` is what comes along, PEM."""
        (folder / "body").write_bytes(content)
        (folder / "signer").write_bytes(signer.certificate_file.read_bytes() + chain)
        words: list[str | Path] = ["--p7-sign" if form.opaque else "--p7-detached-sign"]
        words += ["--p7-time", "--p7-include-cert", "--outder"]
        words += ["--infile", "body", "--outfile", "out"]
        words += ["--load-certificate", "signer"]
        words += ["--load-privkey", signer.key_file]
        if signer.kind not in ("ed25519", "ed448"):
            words += ["--hash", form.digest.upper()]
        out = folder / "out"
        out.unlink(missing_ok=True)
        checked(run(self.program, *words, folder=folder))
        return out.read_bytes()

    def verify(
        self, count: int, cms: bytes, content: bytes | None, trust: Path, *more: str, folder: Path
    ) -> bytes:
        """The content that `count` signers signed."""
        (folder / "cms").write_bytes(cms)
        words: list[str | Path] = ["--p7-verify", "--inder", "--infile", "cms"]
        words += ["--load-ca-certificate", trust, *more]
        if content is not None:
            (folder / "body").write_bytes(content)
            words += ["--load-data", "body"]
        done = run(self.program, *words, folder=folder)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode or said.count("Signature status: ok") != count:
            status = [line.strip() for line in said.splitlines() if "Signature status" in line]
            raise Refused("; ".join(status) or "it lists no signature")
        if content is not None:
            return content
        shown = ["--p7-info", "--p7-show-data", "--inder", "--infile", "cms", "--outfile", "out"]
        checked(run(self.program, *shown, folder=folder))
        return (folder / "out").read_bytes()

    # --- certificates ---

    def read_pkcs12(self, path: Path) -> None:
        """Raises Refused unless it opens."""
        words = ("--p12-info", "--inder", "--infile", path, "--password", PKCS12_PASSWORD)
        checked(run(self.program, *words, folder=path.parent))

    def validate(self, chain: bytes, *, trust: Path, crls: Path | None, folder: Path) -> None:
        """The chain, PEM, its first certificate for mail. Raises Refused."""
        words: list[str | Path] = ["--verify", "--load-ca-certificate", trust]
        words += ["--verify-purpose", oids.EMAIL_PROTECTION]
        words += ["--load-crl", crls] if crls is not None else []
        done = run(self.program, *words, folder=folder, stdin=chain)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode or "Chain verification output: Verified." not in said:
            outcome = [line for line in said.splitlines() if "verification output" in line]
            last = said.strip().splitlines()[-1]
            raise Refused(outcome[-1].partition("output: ")[2].strip() if outcome else last)


# --- the harness ----------------------------------------------------------------------------------

_JUDGED = "validate-* verify"
_NO_USAGE = "certtool asks for the extended key usage, and never for the key usage"
QUIRKS = (
    Quirk("sign", "*", "yes", "certtool signs with any certificate that it can load"),
    Quirk("validate-sign verify", "x25519 x448 ml-kem-* *-encrypt usage-*", "yes", _NO_USAGE),
    Quirk("validate-encrypt", "ed* ml-dsa-* *-sign rsa-key-agreement usage-*", "yes", _NO_USAGE),
    Quirk(_JUDGED, "p256-key-encipherment p256-encipher-only", "yes", _NO_USAGE),
    Quirk(_JUDGED, "rsa-1024 issuer-rsa-1024", "yes", "RSA-1024 passes in the profile low"),
    Quirk("validate-*", "crl-none crl-stale crl-forged", "yes", "only a CRL that is good counts"),
    Quirk("verify", "revoked* issuer-revoked crl-*", "yes", "--p7-verify asks for no CRLs"),
    Quirk("verify", "address-*", "yes", "--p7-verify knows no sender to hold the address against"),
    Quirk(
        "verify",
        "path-too-long",
        "yes",
        "--p7-verify builds its own path, and the length of it is not asked",
    ),
    Quirk(_JUDGED, "names-utf8", "yes", "constraints are not held against SmtpUTF8Mailbox"),
    Quirk(_JUDGED, "names-directory", "yes", "constraints of directoryName are not asked"),
    Quirk("sign verify", "brainpool-p256r1", "no", "it has no brainpool curves"),
    Quirk(_JUDGED, "chain-brainpool", "no", "it has no brainpool curves"),
    Quirk("sign verify", "ed448", "no", "no SHAKE256 in its PKCS#7 (RFC 8419 2.3)"),
    Quirk("sign verify", "ml-dsa-*", "no", "it has no ML-DSA"),
    Quirk("validate-sign sign verify", "chain-ml-dsa-65", "no", "it has no ML-DSA"),
    Quirk(
        "validate-*",
        "issuer-eku-any",
        "no",
        "anyExtendedKeyUsage of an issuer is not taken for emailProtection",
        "intended purpose",
    ),
    Quirk(
        "validate-*",
        "cross-signed",
        "no",
        "of two certificates of the issuer it takes the first that comes along and goes not back",
        "issuer is unknown",
    ),
    Quirk(
        _JUDGED,
        "policy-needed",
        "no",
        "policyConstraints (RFC 5280 4.2.1.11) is a critical extension that it does not know",
    ),
    Quirk(
        "sign validate-* verify",
        "version-1-extensions",
        "no",
        "it reads no certificate of version 1 with extensions (RFC 5280 4.1.2.1)",
    ),
    Quirk(
        "sign",
        "algorithms-differ",
        "no",
        "it reads no certificate whose algorithms differ inside and outside",
    ),
    Quirk(
        "import",
        "duplicate-extension trailing-field",
        "yes",
        "the certificates in a PKCS#12 file are shown and not read",
    ),
)

WORDS = (
    Words("certificate chain uses expired certificate|has expired", ("5280-6.1.3",)),
    Words("uses not yet valid certificate|not yet activated", ("5280-6.1.3",)),
    Words("certificate chain is revoked|has been revoked|revoked", ("5280-6.3",)),
    Words("intended purpose", ("8550-4.4.4", "SBR-CA-1", "SBR-7.1.2.3-f2")),
    Words("unknown critical extension", ("5280-4.2",)),
    Words("issuer is unknown", ("5280-6.1",)),
    Words("issuer is not a CA|is not a CA", ("5280-6.1.4",)),
    Words("name constraints|constraint", ("5280-4.2.1.10", "5280-6.1.4")),
    Words("insecure algorithm", ("SBR-7.1.3.2-2", "8550-4.3")),
    Words("signature in the certificate is invalid", ("5280-6.1.3", "5280-4.1.1.2")),
)


@dataclass(frozen=True)
class GnuTlsPeer:
    """GnuTLS, asked about certificates for the purpose emailProtection, with the issuers' CRLs."""

    driver: GnuTls
    stand: Stand
    name: ClassVar[str] = "gnutls"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(
        cls,
        stand: Stand,
        folder: Path,
        path: str | None = None,
        version: str | None = None,  # noqa: ARG003 - it tells its own
    ) -> GnuTlsPeer:
        return cls(GnuTls.start(folder, path), stand)

    @property
    def version(self) -> str:
        return self.driver.version

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        driver, roots = self.driver, self.stand.roots_file
        folder = case.folder / self.name
        folder.mkdir(exist_ok=True)
        match operation:
            case "import":
                driver.read_pkcs12(case.pkcs12_file)
            case "validate-sign" | "validate-encrypt":
                chain = case.certificate_file.read_bytes() + case.chain_file.read_bytes()
                crls = case.crls_file if case.crls else None
                driver.validate(chain, trust=roots, crls=crls, folder=folder)
            case "sign":
                chain = case.chain_file.read_bytes()
                return driver.sign(case.signing, CONTENT, case, chain, folder=folder)
            case "verify":
                purpose = ("--verify-purpose", oids.EMAIL_PROTECTION)
                driver.verify(1, message, CONTENT, roots, *purpose, folder=folder)
            case "encrypt" | "decrypt":
                raise Untried("certtool encrypts and decrypts no messages")
        return b""

    def close(self) -> None:
        pass
