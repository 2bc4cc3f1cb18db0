"""NSS's tools with a database of certificates: the engine of Thunderbird, in Debian's version."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from threading import Lock
from typing import ClassVar

from ...cms.recipients.shared_secret import Password, SharedKey
from ...pki.keyfiles.read import armour
from ..cases import CONTENT, Case, Stand
from .drive import (
    PKCS12_PASSWORD,
    EncryptionForm,
    Holder,
    Missing,
    Reader,
    Refused,
    SigningForm,
    checked,
    need,
    run,
)
from .peer import Operation, Quirk, Words

_TOOLS = ("certutil", "cmsutil", "crlutil", "pk12util", "vfychain")


@dataclass
class Nss:
    """`cmsutil` and `pk12util`, one process for each message, and a database in `folder`. Their
    exit status says little: their text does.
    """

    tools: str  # the folder that they are in
    version: str
    folder: Path
    imported: dict[str, str] = field(default_factory=dict)  # nicknames, by the certificate's digest

    @classmethod
    def start(
        cls, trust: Path, folder: Path, path: str | None = None, version: str | None = None
    ) -> Nss:
        """With a new database that believes the one certificate in `trust`. Raises Missing.

        `path` is a folder with the tools of another version, which nothing but `version` tells.
        """
        tools = (
            Path(path or need("cmsutil", "libnss3-tools")).parent if path is None else Path(path)
        )
        if absent := [one for one in _TOOLS if not (tools / one).exists()]:
            raise Missing(f"{absent[0]} is not in {tools}: apt-get install libnss3-tools")
        made = cls(str(tools), version or _version(folder), folder)
        (folder / "db").mkdir()
        checked(made.run("certutil", "-N", "--empty-password"))
        root = ("-n", "root", "-t", "CT,C,C", "-a", "-i", trust)
        checked(made.run("certutil", "-A", *root))
        return made

    def copied(self, folder: Path) -> Nss:
        """With a copy of the database in another folder."""
        shutil.copytree(self.folder / "db", folder / "db")
        return Nss(self.tools, self.version, folder, dict(self.imported))

    def run(self, tool: str, *words: str | Path, stdin: bytes = b"") -> CompletedProcess[bytes]:
        program = Path(self.tools) / tool
        return run(program, "-d", "sql:db", *words, folder=self.folder, stdin=stdin)

    def take(self, holder: Holder, nickname: str) -> None:
        """Imports key and certificates, which the file names so. Raises Refused."""
        done = self.run("pk12util", "-i", holder.pkcs12_file, "-W", PKCS12_PASSWORD)
        if done.returncode:
            raise Refused(_words(done))
        self.imported[holder.certificate.sha256] = nickname

    def _nickname(self, holder: Holder) -> str:
        """Imports on first use. Raises Refused for kinds of key that it does not take."""
        known = self.imported.get(holder.certificate.sha256)
        if known is None:
            try:
                self.take(holder, known := holder.email)
            except Refused:
                raise Refused("it does not import such a key from PKCS#12") from None
        return known

    def _cmsutil(self, *words: str | Path, stdin: bytes = b"") -> str:
        (self.folder / "out").unlink(missing_ok=True)
        done = self.run("cmsutil", *words, stdin=stdin)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode:
            # that it cannot shut down follows what it could not do
            lines = [one for one in said.splitlines() if one and "NSS_Shutdown failed" not in one]
            raise Refused(lines[-1] if lines else "no words")
        return said

    def _out(self) -> bytes:
        out = self.folder / "out"
        if not out.exists():
            raise Refused("nothing came out")
        return out.read_bytes()

    def sign(self, form: SigningForm, content: bytes, signers: Sequence[Holder]) -> bytes:
        (self.folder / "body").write_bytes(content)
        words = ["-S", "-N", self._nickname(signers[0]), "-G", "-H", form.digest.upper()]
        words += [] if form.opaque else ["-T"]
        self._cmsutil(*words, "-i", "body", "-o", "out")
        return self._out()

    def verify(self, count: int, cms: bytes, content: bytes | None) -> bytes:
        """The content that `count` signers signed."""
        (self.folder / "cms").write_bytes(cms)
        words = ["-D", "-i", "cms", "-u", "4"]
        if content is not None:
            (self.folder / "body").write_bytes(content)
            words += ["-c", "body"]
        said = self._cmsutil(*words, "-h", "1", "-n")
        if said.count("GoodSignature") != count:
            status = [line.strip() for line in said.splitlines() if "status=" in line]
            raise Refused("; ".join(status) or said.strip() or "no words")
        if content is not None:
            return content
        self._cmsutil(*words, "-o", "out")
        return self._out()

    def encrypt(self, _: EncryptionForm, content: bytes, to: Sequence[Reader]) -> bytes:
        """With the cipher that it chooses itself."""
        (self.folder / "body").write_bytes(content)
        emails: list[str] = []
        for reader in to:
            emails += ["-r", self._nickname(_holder(reader))]
        self._cmsutil("-E", *emails, "-i", "body", "-o", "out")
        return self._out()

    def decrypt(self, _: EncryptionForm, cms: bytes, reader: Reader) -> bytes:
        self._nickname(_holder(reader))
        (self.folder / "cms").write_bytes(cms)
        self._cmsutil("-D", "-i", "cms", "-o", "out")
        return self._out()

    # --- certificates ---

    def validate(self, certificate: Path, *, usage: int, chain: Sequence[Path]) -> None:
        """Raises Refused with every error. `usage` 4 is a signer of mail, 5 a recipient."""
        along = [word for path in chain for word in ("-a", path)]
        done = self.run("vfychain", "-u", str(usage), "-a", certificate, *along)
        if done.returncode:
            lines = done.stderr.decode(errors="replace").splitlines()
            errors = [line.strip() for line in lines if "ERROR" in line]
            raise Refused("; ".join(dict.fromkeys(errors)) or _words(done))


def _holder(reader: Reader) -> Holder:
    if isinstance(reader, Password | SharedKey):
        raise Refused("cmsutil knows neither passwords nor shared keys")
    return reader


def _words(done: CompletedProcess[bytes]) -> str:
    """The last line, without the program's name."""
    lines = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
    return lines[-1].partition(": ")[2] if lines else f"exit status {done.returncode}"


def _version(folder: Path) -> str:
    """That of the library; the tools do not tell theirs."""
    done = run("dpkg-query", "-W", "-f", "${Version}", "libnss3-tools", folder=folder)
    if done.returncode:
        raise Missing("the version of libnss3-tools is not known to dpkg")
    return done.stdout.decode().rpartition(":")[2].partition("-")[0]


# --- the harness ----------------------------------------------------------------------------------

_JUDGED = "validate-* sign verify"
_NO_KEY = "ed25519 ed448 x25519 x448 ml-dsa-* ml-kem-* chain-ml-dsa-65"
# between 3.87, which has neither, and what was observed: of Thunderbird 153 and of Debian's sid
_HAS_EC, _HAS_POST_QUANTUM = "3.125", "3.132"
QUIRKS = (
    Quirk(
        "encrypt",
        "p256 p384 p521 brainpool-* p256-encrypt chain-p256 chain-p384",
        "no",
        "cmsutil of this version encrypts to no EC keys (RFC 5753 3.1)",
        "INVALID_ALGORITHM",
        before=_HAS_EC,
    ),
    Quirk(
        "encrypt decrypt",
        "brainpool-p256r1",
        "no",
        "it has no brainpool curves",
        "cannot create encoder context|BAD_EXPORT_ALGORITHM",
        since=_HAS_EC,
    ),
    Quirk("encrypt", "*", "yes", "cmsutil -E looks at nothing in the recipient's certificate"),
    Quirk(
        "decrypt",
        "p256* p384 p521 brainpool-* chain-p256 chain-p384",
        "no",
        "it reads nothing that was encrypted to EC keys (RFC 5753 3.1)",
        "BAD_DER",
        before=_HAS_EC,
    ),
    Quirk(
        "import sign verify encrypt decrypt",
        _NO_KEY,
        "no",
        "it has no Ed25519, Ed448, X25519, X448, ML-DSA and ML-KEM",
        before=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "import sign verify encrypt decrypt",
        _NO_KEY,
        "no",
        "it has no Ed448 and X448, and none of Ed25519, X25519, ML-DSA and ML-KEM in CMS",
        since=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "import validate-*",
        "ed448 x448 chain-ed448",
        "no",
        "it does not read a certificate with a key of Ed448 or X448, or of such an issuer",
        "^$|UNSUPPORTED_KEYALG",
        since=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "validate-encrypt",
        "ml-dsa-* chain-ml-dsa-65",
        "yes",
        "keyUsage is not held against what an ML-DSA key cannot do (RFC 9881 5)",
        since=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "validate-encrypt",
        "x25519 x448 ml-kem-*",
        "no",
        "it does not know this kind of key, so nothing that it may be used for",
        "-8102",
    ),
    Quirk(
        _JUDGED,
        "chain-ed25519 chain-ed448 chain-ml-dsa-65",
        "no",
        "it cannot check signatures of Ed25519, Ed448 and ML-DSA",
        "-8182|BAD_SIGNATURE|NotTrusted",
        before=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "verify",
        "chain-ed448",
        "no",
        "it does not read a certificate with a key of Ed448 or X448, or of such an issuer",
        "NotTrusted",
        since=_HAS_POST_QUANTUM,
    ),
    Quirk(
        _JUDGED,
        "chain-brainpool",
        "no",
        "it has no brainpool curves",
        "-8016|ALGORITHM_DISABLED|NotTrusted",
    ),
    Quirk(
        "sign verify",
        "brainpool-p256r1",
        "no",
        "it has no brainpool curves",
        "INVALID_KEY|BadSignature|ALGORITHM_DISABLED",
    ),
    Quirk(_JUDGED, "rsa-1024 issuer-rsa-1024", "yes", "RSA keys of 1024 bits are long enough"),
    Quirk(_JUDGED, "sha1 issuer-sha1", "yes", "SHA-1 is taken in certificates, MD5 is not"),
    Quirk(_JUDGED, "not-yet-valid", "yes", "it takes a certificate a day before it is valid"),
    Quirk(
        "validate-* verify",
        "crl-none crl-stale crl-forged",
        "yes",
        "only a CRL that is there counts, however old; one that is forged is not imported",
    ),
    Quirk("sign verify", "address-*", "yes", "cmsutil knows no sender to hold the address against"),
    Quirk(
        _JUDGED, "names-utf8", "yes", "constraints are not held against SmtpUTF8Mailbox (RFC 9598)"
    ),
    Quirk(
        "validate-encrypt",
        "p256-sign p256-encipher-only",
        "yes",
        "digitalSignature is taken for keyAgreement of EC keys",
    ),
    Quirk(
        "import validate-* sign verify",
        "duplicate-extension",
        "yes",
        "of an extension that is there twice the first counts",
    ),
    Quirk(
        _JUDGED,
        "eku-any issuer-eku-any",
        "no",
        "anyExtendedKeyUsage is not taken for emailProtection (RFC 8550 4.4.4 takes it)",
        "-8101|-8156|NOT_FOUND|CA_CERT_INVALID|NotTrusted",
    ),
    Quirk(
        _JUDGED,
        "is-ca",
        "no",
        "the certificate of an authority is none of a person",
        "-8101|NOT_FOUND|NotTrusted",
    ),
    Quirk(
        "verify",
        "cross-signed",
        "no",
        "of two certificates of the issuer it takes the one in the message",
        "NotTrusted",
        before=_HAS_POST_QUANTUM,
    ),
    Quirk(
        _JUDGED,
        "policy-needed policy-missing",
        "no",
        "policyConstraints (RFC 5280 4.2.1.11) is a critical extension that it does not know",
        "-8151|UNKNOWN_CRITICAL|NotTrusted",
        before=_HAS_POST_QUANTUM,
    ),
    Quirk(
        "verify",
        "serial-long",
        "no",
        "it does not find it by a serial number of 22 octets",
        "NotFound",
    ),
    Quirk(
        "decrypt",
        "serial-long trailing-field",
        "no",
        "it does not find the recipient's certificate",
        "NOT_A_RECIPIENT",
    ),
    Quirk(
        "sign",
        "rsa-sign usage-non-repudiation rsa-key-agreement",
        "no",
        "cmsutil -S announces the signer's certificate for encryption, for which it is not",
        "INADEQUATE_KEY_USAGE",
    ),
    Quirk(
        "sign",
        "*",
        "no",
        "cmsutil -S signs only with a certificate that validates itself",
        "problem signing: SEC_ERROR_(CA_CERT|EXPIRED_ISSUER|REVOKED|UNKNOWN_ISSUER|PATH_LEN"
        "|UNKNOWN_CRITICAL|BAD_SIGNATURE|CERT_SIGNATURE|CERT_NOT_IN|ALGORITHM_MISMATCH"
        "|INADEQUATE_KEY_USAGE|POLICY_VALIDATION)",
    ),
)

WORDS = (
    Words("-8181|EXPIRED_CERTIFICATE|-8162|-8157|EXPIRED_ISSUER", ("5280-6.1.3",)),
    Words("-8180|REVOKED", ("5280-6.3",)),
    Words("-8179|UNKNOWN_ISSUER", ("5280-6.1",)),
    Words("-8172|UNTRUSTED_ISSUER|-8171|UNTRUSTED_CERT", ("5280-6.1",)),
    Words("-8102|INADEQUATE_KEY_USAGE", ("8550-4.4.2", "SBR-7.1.2.3-e2", "SBR-7.1.2.3-e3")),
    Words("-8101|INADEQUATE_CERT_TYPE", ("8550-4.4.4", "SBR-7.1.2.3-f2", "SBR-7.1.2.3-d")),
    Words("-8156|CA_CERT_INVALID", ("5280-6.1.4", "SBR-CA-1")),
    Words("-8155|PATH_LEN", ("5280-6.1.4",)),
    Words("-8151|UNKNOWN_CRITICAL", ("5280-4.2",)),
    Words("-8182|BAD_SIGNATURE", ("5280-6.1.3",)),
    Words("-8080|NOT_IN_NAME_SPACE", ("5280-4.2.1.10",)),
    Words("-8016|ALGORITHM_DISABLED", ("SBR-7.1.3.2-2", "8550-4.3")),
    Words("-8010|ALGORITHM_MISMATCH", ("5280-4.1.1.2",)),
)


@dataclass
class NssPeer:
    """NSS, asked about certificates: each variant in a copy of a database with its issuers and
    their CRLs, for NSS takes certificates of one subject for one.
    """

    base: Nss
    lock: Lock = field(default_factory=Lock)
    issuers: dict[tuple[str, ...], Nss] = field(default_factory=dict)
    cases: dict[str, tuple[Nss, str]] = field(default_factory=dict)
    name: ClassVar[str] = "nss"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(
        cls, stand: Stand, folder: Path, path: str | None = None, version: str | None = None
    ) -> NssPeer:
        return cls(Nss.start(stand.roots_file, folder, path, version))

    @property
    def version(self) -> str:
        return self.base.version

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        driver, refusal = self._database(case)
        match operation:
            case "import":
                if refusal:
                    raise Refused(refusal)
            case "validate-sign":
                driver.validate(case.certificate_file, usage=4, chain=self._chain(case))
            case "validate-encrypt":
                driver.validate(case.certificate_file, usage=5, chain=self._chain(case))
            case "sign":
                return driver.sign(case.signing, CONTENT, [case])
            case "verify":
                driver.verify(1, message, CONTENT)
            case "encrypt":
                return driver.encrypt(case.encryption, CONTENT, [case])
            case "decrypt":
                if driver.decrypt(case.encryption, message, case) != CONTENT:
                    raise Refused("another content came out")
        return b""

    def _folder(self, name: str) -> Path:
        folder = self.base.folder / name
        folder.mkdir()
        return folder

    def _database(self, case: Case) -> tuple[Nss, str]:
        """With the variant imported, its certificate alone where the key was refused, and why."""
        if (known := self.cases.get(case.id)) is not None:
            return known
        driver, refusal = self._with_issuers(case).copied(self._folder(case.id)), ""
        try:
            driver.take(case, case.id)
        except Refused as error:
            refusal = str(error)
            driver.imported[case.certificate.sha256] = case.id
            words = ("-A", "-n", case.id, "-t", ",,", "-a", "-i", case.certificate_file)
            driver.run("certutil", *words)
        self.cases[case.id] = driver, refusal
        return driver, refusal

    def _chain(self, case: Case) -> list[Path]:
        folder = self._with_issuers(case).folder
        return [folder / f"{number}.pem" for number in range(len(case.identity.chain))]

    def _with_issuers(self, case: Case) -> Nss:
        """A database with what comes along with the variant, and the CRLs; made once for all that
        come with the same.
        """
        key = tuple(one.sha256 for one in case.identity.chain) or (case.id,)
        with self.lock:
            if (found := self.issuers.get(key)) is None:
                folder = self._folder(f"issuers-{len(self.issuers)}")
                found = self.issuers[key] = self.base.copied(folder)
                for number, certificate in enumerate(case.identity.chain):
                    (folder / f"{number}.pem").write_bytes(armour(certificate))
                    found.run(
                        *("certutil", "-A", "-n", f"issuer-{number}", "-t", ",,"),
                        *("-a", "-i", folder / f"{number}.pem"),
                    )
                for number, crl in enumerate(case.crls):
                    (folder / f"{number}.crl").write_bytes(crl)
                    # one of an issuer that is not there, or signed by another, is refused
                    found.run("crlutil", "-I", "-i", folder / f"{number}.crl")
            return found

    def close(self) -> None:
        pass
