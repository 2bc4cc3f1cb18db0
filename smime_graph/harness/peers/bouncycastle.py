"""Bouncy Castle in one resident JVM, behind the line protocol of BouncyCastle.java."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import ClassVar

from ... import algorithms
from ...algorithms import ContentCipher, KeyAgreement, KeyWrap
from ...cms.recipients.shared_secret import Password, SharedKey
from ..cases import CONTENT, Case, Stand, signed_mail
from .drive import (
    PKCS12_PASSWORD,
    EncryptionForm,
    Holder,
    Missing,
    Reader,
    Refused,
    Resident,
    SigningForm,
    checked,
    need,
    run,
    word,
)
from .peer import Operation, Quirk, Words

_JARS = ("bcprov", "bcpkix", "bcutil", "bcmail")
_MAIL = ("javax.mail", "javax.activation")
_PACKAGES = "libbcprov-java libbcpkix-java libbcutil-java libbcmail-java libmail-java"
_SHARE = Path("/usr/share/java")
_SOURCE = Path(__file__).with_name("BouncyCastle.java")
_OAEP_NAMES = {"sha1": "SHA-1", "sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}


@dataclass
class BouncyCastle:
    """CMS and mail of Bouncy Castle, one request at a time."""

    resident: Resident
    version: str

    @classmethod
    def start(
        cls,
        folder: Path,
        path: str | None = None,
        options: Sequence[str] = ("-XX:TieredStopAtLevel=1",),
    ) -> BouncyCastle:
        """By default with the first compiler alone: a suite ends before the second pays. `path` is
        a folder with the jars of another version. Raises Missing.
        """
        need("java", "default-jdk-headless")
        need("javac", "default-jdk-headless")
        jars = [_jar(Path(path) if path else _SHARE, name) for name in _JARS]
        jars += [_jar(_SHARE, name) for name in _MAIL]
        classpath = ":".join(str(part) for part in (*jars, folder))
        checked(run("javac", "-nowarn", "-cp", classpath, "-d", folder, _SOURCE, folder=folder))
        java = ["java", *options, "-Xmx256m", "-cp", classpath, "BouncyCastle"]
        resident = Resident.start(java, folder)
        # "1.72", and "1.8602" for 1.86.2
        said = resident.version.partition("/")[0].strip()
        parts = re.fullmatch(r"(\d+\.\d\d)(\d\d)", said)
        return cls(resident, f"{parts[1]}.{int(parts[2])}" if parts else said)

    def algorithm(self, form: SigningForm, signer: Holder) -> str:
        digest = form.digest.upper()
        if signer.kind.startswith("rsa"):
            return f"{digest}withRSA" + ("andMGF1" if form.pss else "")
        if signer.kind.startswith(("ed25519", "ed448", "ml-dsa")):
            return signer.kind.capitalize() if signer.kind[:2] == "ed" else signer.kind.upper()
        return f"{digest}withDSA" if signer.kind == "dsa" else f"{digest}withECDSA"

    def sign(
        self,
        form: SigningForm,
        content: bytes,
        signers: Sequence[Holder],
        along: Sequence[bytes] = (),
    ) -> bytes:
        words = ["sign", "opaque" if form.opaque else "detached"]
        words += ["ski" if form.ski else "issuer", word(content)]
        for signer in signers:
            words += [self.algorithm(form, signer), word(signer.certificate.der)]
            words += [word(signer.pkcs8)]
        return self.resident.ask(*words, *(f"+{word(one)}" for one in along))

    def verify(self, cms: bytes, content: bytes | None) -> bytes:
        return self.resident.ask("verify", word(cms), "-" if content is None else word(content))

    def encrypt(self, form: EncryptionForm, content: bytes, to: Sequence[Reader]) -> bytes:
        recipients = [self.recipient(form, reader) for reader in to]
        cipher = algorithms.by_name(ContentCipher, form.cipher).oid
        return self.resident.ask("encrypt", cipher, word(content), *recipients)

    def recipient(self, form: EncryptionForm, reader: Reader) -> str:
        if isinstance(reader, Password | SharedKey):
            return _secret(reader)
        certificate = word(reader.certificate.der)
        if form.oaep is not None:
            digest, mgf = _OAEP_NAMES[form.oaep.digest], _OAEP_NAMES[form.oaep.mgf_digest]
            return f"oaep:{digest}:{mgf}:{word(form.oaep.label)}:{certificate}"
        if reader.kind.startswith("rsa"):
            return f"{'rsa-ski' if form.ski else 'rsa'}:{certificate}"
        wrap, named = algorithms.by_name(KeyWrap, form.wrap).oid, "ski" if form.ski else "issuer"
        if reader.kind.startswith("ml-kem"):
            return f"kem:{wrap}:{named}:{certificate}"
        agreement = algorithms.by_name(KeyAgreement, form.agreement).oid
        return f"ecdh:{agreement}:{wrap}:{named}:{certificate}"

    def decrypt(self, cms: bytes, reader: Reader) -> bytes:
        return self.resident.ask("decrypt", word(cms), _key(reader))

    # --- certificates and mail ---

    def read_pkcs12(self, data: bytes) -> None:
        """Raises Refused unless there is a key in it."""
        if not self.resident.ask("import", word(data), PKCS12_PASSWORD):
            raise Refused("no key is in the file")

    def validate_mail(
        self, raw: bytes, anchor: bytes, crls: Sequence[bytes] | None = None
    ) -> list[str]:
        """What SignedMailValidator says, one line for each signer, error and notification; with
        CRLs it asks for them.
        """
        words = [] if crls is None else [_several(crls)]
        return (
            self.resident.ask("validate-mail", word(raw), word(anchor), *words)
            .decode()
            .splitlines()
        )

    def path(
        self, at: datetime, anchor: bytes, chain: Sequence[bytes], crls: Sequence[bytes]
    ) -> str:
        """The word good, or what its path validator has against the first certificate."""
        moment = str(int(at.timestamp() * 1000))
        words = (moment, word(anchor), _several(chain), _several(crls))
        return self.resident.ask("path", *words).decode()

    def close(self) -> None:
        self.resident.close()


def _jar(folder: Path, name: str) -> Path:
    found = [folder / f"{name}.jar", *sorted(folder.glob(f"{name}[-.]*.jar"))]
    there = [one for one in found if one.exists()]
    if not there:
        raise Missing(f"{name}.jar is not in {folder}: apt-get install {_PACKAGES}")
    return there[0]


def _several(parts: Sequence[bytes]) -> str:
    return ",".join(map(word, parts)) or "-"


def _secret(reader: Password | SharedKey) -> str:
    if isinstance(reader, Password):
        return f"password:{word(str(reader.password).encode())}"
    return f"shared:{word(reader.identifier)}:{word(reader.key)}"


def _key(reader: Reader) -> str:
    if isinstance(reader, Password | SharedKey):
        return _secret(reader)
    return f"key:{word(reader.pkcs8)}"


# --- the harness ----------------------------------------------------------------------------------

_NEWER = "1.86"  # what was observed; 1.72 is the one before it
_POST_QUANTUM = "ml-dsa-* ml-kem-* chain-ml-dsa-65"
_PATH = "its path validator asks neither key usage nor extended key usage: that is the caller's"
QUIRKS = (
    Quirk("sign", "*", "yes", "its generator of SignedData looks at nothing in the certificate"),
    Quirk("encrypt", "*", "yes", "its generator of EnvelopedData looks at nothing in it either"),
    Quirk("validate-*", "rsa-1024 issuer-rsa-1024", "yes", "RSA-1024 is long enough"),
    Quirk("validate-*", "sha1 md5 issuer-sha1", "yes", "SHA-1 and MD5 are taken in certificates"),
    Quirk("validate-*", "names-utf8", "yes", "constraints are not held against SmtpUTF8Mailbox"),
    Quirk("validate-sign", "x25519 x448 rsa-encrypt p256-encrypt usage-* eku-*", "yes", _PATH),
    Quirk("validate-encrypt", "ed25519 ed448 *-sign usage-* rsa-key-agreement eku-*", "yes", _PATH),
    Quirk("validate-*", "p256-key-encipherment p256-encipher-only issuer-eku-server", "yes", _PATH),
    Quirk(
        "verify",
        "names-elsewhere names-excluded names-dn-only names-not-critical names-directory",
        "yes",
        "SignedMailValidator does not hold name constraints against the signer's certificate",
    ),
    Quirk("verify", "issuer-eku-server", "yes", "the extended key usage of issuers is not asked"),
    Quirk("verify", "rsa-1024 issuer-rsa-1024", "yes", "RSA-1024 is long enough, with a note"),
    Quirk("verify", "sha1 md5 issuer-sha1", "yes", "SHA-1 and MD5 are taken in certificates"),
    Quirk(
        "verify",
        "address-none address-cn-only address-dns-name names-cn-only version-1",
        "no",
        "it refuses a certificate without any address (RFC 8550 3 leaves that open)",
        "noEmailInCert",
    ),
    Quirk(
        "verify",
        "policy-needed",
        "no",
        "SignedMailValidator follows no policies",
        "certPath",
        before=_NEWER,
    ),
    Quirk(
        "validate-*",
        "cross-signed",
        "no",
        "of two certificates of the issuer it takes the first that comes along and goes not back",
        "No issuer certificate",
        before=_NEWER,
    ),
    Quirk(
        "import validate-* sign verify encrypt",
        "version-1-extensions",
        "no",
        "it reads no certificate of version 1 with extensions (RFC 5280 4.1.2.1)",
        "version 1 certificate",
    ),
    Quirk("encrypt decrypt", "x25519 x448", "no", "no X25519 and X448 (RFC 8418)", before=_NEWER),
    Quirk("*", _POST_QUANTUM, "no", "no ML-DSA and ML-KEM by their final names", before=_NEWER),
    Quirk("validate-sign", "ml-kem-*", "yes", _PATH, since=_NEWER),
    Quirk("validate-encrypt", "ml-dsa-* chain-ml-dsa-65", "yes", _PATH, since=_NEWER),
    Quirk(
        "import sign",
        "issuer-empty",
        "no",
        "it reads no certificate whose issuer has no name (RFC 5280 4.1.2.4)",
        "empty distinguished name",
        since=_NEWER,
    ),
)

WORDS = (
    Words("certExpired|certificate expired", ("5280-6.1.3",)),
    Words("certNotYetValid|certificate not valid till", ("5280-6.1.3",)),
    Words("signingNotPermitted", ("8550-4.4.2", "SBR-7.1.2.3-e2")),
    Words("extKeyUsageNotPermitted", ("8550-4.4.4", "SBR-7.1.2.3-f2")),
    Words("noEmailInCert", ("SBR-7.1.4.2.1-1", "SBR-7.1.2.3-h")),
    Words("emailFromCertMismatch", ("8550-3-4", "8550-4.4.3")),
    Words("Certificate revocation after", ("5280-6.3",)),
    Words("No CRLs found|CRL does not verify", ("5280-6.3.3", "5280-6.3")),
    Words("No issuer certificate|Unable to find certificate chain", ("5280-6.1",)),
    Words(
        "^error SignedMailValidator.certPathInvalid",
        ("5280-6.1", "5280-6.1.3", "5280-6.1.4", "5280-6.1.5", "5280-6.3", "5280-4.2"),
    ),
    Words("Max path length|Not a CA|lacks BasicConstraints|permit key signing", ("5280-6.1.4",)),
    Words("unsupported critical extension|repeated extension", ("5280-4.2",)),
    Words("permitted subtree|excluded subtree", ("5280-4.2.1.10",)),
    Words("No valid policy tree", ("5280-6.1.5",)),
    Words("does not verify with supplied key", ("5280-6.1.3",)),
    Words("TBS cert not same as outer", ("5280-4.1.1.2",)),
    Words("Unknown tag encountered", ("5280-4.1",)),
)


@dataclass
class BouncyCastlePeer:
    """Bouncy Castle, asked about certificates: its path validator, and that of signed mail."""

    driver: BouncyCastle
    stand: Stand
    lock: Lock = field(default_factory=Lock)
    name: ClassVar[str] = "bouncycastle"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(
        cls,
        stand: Stand,
        folder: Path,
        path: str | None = None,
        version: str | None = None,  # noqa: ARG003 - it tells its own
    ) -> BouncyCastlePeer:
        return cls(BouncyCastle.start(folder, path), stand)

    @property
    def version(self) -> str:
        return self.driver.version

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        with self.lock:
            return self._ask(operation, case, message)

    def _ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        driver, chain = self.driver, [one.der for one in case.identity.chain]
        anchor = self.stand.family.trust.anchors[0].der
        match operation:
            case "import":
                driver.read_pkcs12(case.pkcs12_file.read_bytes())
            case "validate-sign" | "validate-encrypt":
                along = [case.certificate.der, *chain]
                said = driver.path(self.stand.at, anchor, along, case.crls)
                if said != "good":
                    raise Refused(said)
            case "sign":
                return driver.sign(case.signing, CONTENT, [case], chain)
            case "verify":
                mail = signed_mail(message, case.signing.digest)
                said_all = driver.validate_mail(mail, anchor, case.crls)
                errors = [line for line in said_all if line.startswith("error ")]
                if errors or said_all[:1] != ["signer verified valid"]:
                    raise Refused("; ".join(errors or said_all) or "no signer")
            case "encrypt":
                return driver.encrypt(case.encryption, CONTENT, [case])
            case "decrypt":
                if driver.decrypt(message, case) != CONTENT:
                    raise Refused("another content came out")
        return b""

    def close(self) -> None:
        self.driver.close()
