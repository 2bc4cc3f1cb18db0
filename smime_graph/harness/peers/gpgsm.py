"""GnuPG's gpgsm with one home folder: libksba and libgcrypt."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from threading import Lock
from typing import Any, ClassVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ...authority.family import pkcs12_of
from ...authority.variants import AUTHORITIES
from ...cms.recipients.shared_secret import Password, SharedKey
from ...pki.keyfiles.read import armour
from ...x509.certificate import Certificate
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

CURVES = {
    "p256": "NIST P-256",
    "p384": "NIST P-384",
    "p521": "NIST P-521",
    "brainpool-p256r1": "brainpoolP256r1",
    "brainpool-p384r1": "brainpoolP384r1",
}
_CIPHERS = {"des-ede3-cbc": "3DES", "rc2-cbc": "RC2"}


@dataclass
class Gpgsm:
    """`gpgsm`, one process for each message, and the agent that it starts. It asks for no CRLs."""

    program: str
    version: str
    folder: Path
    home: TemporaryDirectory[str]  # short: the path of the agent's socket has 108 octets
    imported: dict[str, Path] = field(default_factory=dict)  # the agent's key files, by certificate

    @classmethod
    def start(
        cls, trust: Path, anchor: Certificate, folder: Path, program: str | None = None
    ) -> Gpgsm:
        """Believes the anchor, which `trust` is a file with. Raises Missing."""
        found = program or need("gpgsm", "gpgsm")
        need("gpgconf", "gpgconf")
        try:
            version = checked(run(found, "--version", folder=folder)).decode().split()[2]
        except (OSError, Refused, IndexError) as error:
            raise Missing(f"{found} does not run: {error}") from None
        home = TemporaryDirectory(prefix="gpgsm")
        path = Path(home.name)
        (path / "private-keys-v1.d").mkdir(mode=0o700)
        (path / "gpgsm.conf").write_text(
            "disable-crl-checks\ndisable-dirmngr\npinentry-mode loopback\nbatch\n"
        )
        (path / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        (path / "trustlist.txt").write_text(f"{fingerprint(anchor)} S relax\n")
        made = cls(found, version, folder, home)
        checked(made.run("--import", trust))
        return made

    def run(self, *words: str | Path, stdin: bytes = b"") -> CompletedProcess[bytes]:
        (self.folder / "out").unlink(missing_ok=True)
        command = (self.program, "--homedir", self.home.name, "--yes", *words)
        return run(*command, folder=self.folder, stdin=stdin, environment=self._environment())

    def _environment(self) -> Mapping[str, str]:
        """In which the programs beside it are found first."""
        beside = Path(self.program).parent
        return {**os.environ, "PATH": f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"}

    def done(self, *words: str | Path) -> bytes:
        """Standard output. Raises Refused."""
        done = self.run(*words)
        if done.returncode:
            raise Refused(_words(done))
        return done.stdout

    def take(self, holder: Holder) -> str:
        """Certificate and key, once; the key as the agent keeps it, as its PKCS#12 reader often
        fails. How the certificate is named: its fingerprint.
        """
        name = fingerprint(holder.certificate)
        if name not in self.imported:
            self.done("--import", holder.certificate_file)
            listed = checked(self.run("--with-colons", "--with-keygrip", "-k", f"0x{name}"))
            grips = [line for line in listed.decode().splitlines() if line.startswith("grp:")]
            if not grips:
                raise Refused("it does not know such a key")
            grip = grips[0].split(":")[9]
            path = Path(self.home.name) / "private-keys-v1.d" / f"{grip}.key"
            path.write_bytes(_agent_key(holder.private_key, holder.kind))
            self.imported[name] = path
        return f"0x{name}"

    def sign(self, form: SigningForm, content: bytes, signers: Sequence[Holder]) -> bytes:
        (self.folder / "body").write_bytes(content)
        words = ["-u", self.take(signers[0]), "--digest-algo", form.digest]
        words += ["--sign" if form.opaque else "--detach-sign"]
        self.done(*words, "-o", "out", "body")
        return (self.folder / "out").read_bytes()

    def verify(self, count: int, cms: bytes, content: bytes | None) -> bytes:
        """The content that `count` signers signed."""
        (self.folder / "cms").write_bytes(cms)
        words: list[str | Path] = ["--status-fd", "1", "--verify"]
        if content is None:
            words += ["-o", "out", "cms"]
        else:
            (self.folder / "body").write_bytes(content)
            words += ["cms", "body"]
        done = self.run(*words)
        said = done.stdout.decode(errors="replace")
        if done.returncode or said.count("[GNUPG:] GOODSIG") != count:
            raise Refused(_words(done) or "no good signature")
        return content if content is not None else (self.folder / "out").read_bytes()

    def encrypt(self, form: EncryptionForm, content: bytes, to: Sequence[Reader]) -> bytes:
        (self.folder / "body").write_bytes(content)
        cipher = _CIPHERS.get(form.cipher, form.cipher.upper().removesuffix("-CBC"))
        words = ["--cipher-algo", cipher]
        for reader in to:
            words += ["-r", self.take(_holder(reader))]
        self.done(*words, "--encrypt", "-o", "out", "body")
        return (self.folder / "out").read_bytes()

    def decrypt(self, cms: bytes, reader: Reader) -> bytes:
        self.take(_holder(reader))
        (self.folder / "cms").write_bytes(cms)
        self.done("-o", "out", "--decrypt", "cms")
        return (self.folder / "out").read_bytes()

    def close(self) -> None:
        run(
            *("gpgconf", "--homedir", self.home.name, "--kill", "all"),
            folder=self.folder,
            environment=self._environment(),
        )
        self.home.cleanup()


def fingerprint(certificate: Certificate) -> str:
    """How gpgsm names a certificate; SHA-1 is a label here."""
    return hashlib.sha1(certificate.der, usedforsecurity=False).hexdigest().upper()


def _holder(reader: Reader) -> Holder:
    if isinstance(reader, Password | SharedKey):
        raise Refused("gpgsm knows neither passwords nor shared keys")
    return reader


_SAID_EVERY_TIME = re.compile(
    "CRLs not checked|Note:|DBG:|Signature made|using [a-zA-Z0-9]+ key|Good signature|aka "
    "|processed:|imported:|unchanged:|secret keys|trying charset|encrypted to|dirmngr cache"
    "|issuer certificate:"
)


def _words(done: CompletedProcess[bytes]) -> str:
    """All that was said of a refusal but what is said every time."""
    lines = done.stderr.decode(errors="replace").splitlines()
    found = [line for line in lines if line and not _SAID_EVERY_TIME.search(line)]
    return "; ".join(line.removeprefix("gpgsm:").strip() for line in found)


def _agent_key(key: Any, kind: str) -> bytes:
    """The key as a canonical S-expression, unprotected, as gpg-agent keeps it."""
    if isinstance(key, rsa.RSAPrivateKey):
        numbers = key.private_numbers()
        p, q = sorted((numbers.p, numbers.q))  # libgcrypt wants p < q and u = 1/p mod q
        values = {
            "n": numbers.public_numbers.n,
            "e": numbers.public_numbers.e,
            "d": numbers.d,
            "p": p,
            "q": q,
            "u": pow(p, -1, q),
        }
        return _expression("rsa", [(name, _unsigned(value)) for name, value in values.items()])
    if isinstance(key, ec.EllipticCurvePrivateKey) and kind in CURVES:
        private = key.private_numbers()
        size = -(-key.key_size // 8)
        x, y = private.public_numbers.x, private.public_numbers.y
        point = b"\x04" + x.to_bytes(size, "big") + y.to_bytes(size, "big")
        values_ec = [("curve", CURVES[kind].encode()), ("q", point)]
        return _expression("ecc", [*values_ec, ("d", _unsigned(private.private_value))])
    # a certificate alone: what is signed with such a key may be verified all the same
    raise Refused(f"the agent has no keys of kind {kind}")


def _unsigned(value: int) -> bytes:
    octets = value.to_bytes(-(-value.bit_length() // 8), "big")
    return b"\x00" + octets if octets[0] & 0x80 else octets


def _expression(name: str, values: Sequence[tuple[str, bytes]]) -> bytes:
    def atom(value: bytes) -> bytes:
        return b"%d:%s" % (len(value), value)

    inner = b"".join(b"(%s%s)" % (atom(key.encode()), atom(value)) for key, value in values)
    return b"(%s(%s%s))" % (atom(b"private-key"), atom(name.encode()), inner)


# --- the harness ----------------------------------------------------------------------------------

_JUDGED = "validate-* sign verify encrypt"
_EC = "p256* p384 p521 brainpool-* chain-p256 chain-p384"
_NO_KEYS = "ed25519 ed448 x25519 x448 ml-dsa-* ml-kem-* chain-ml-dsa-65"
QUIRKS = (
    Quirk(
        _JUDGED,
        "bridged",
        "no",
        "of two certificates of the issuer it takes the first that it has and goes not back",
        "not found",
    ),
    Quirk(
        "decrypt",
        "rsa-2048",
        "no",
        "it does not read octets in pieces (BER), as Bouncy Castle writes them",
        "Encoding problem|BER error",
    ),
    Quirk(
        "validate-*",
        "x25519 x448 ed25519 ed448 ml-* rsa-[esk]* p256-* usage-*",
        "yes",
        "what it lists as valid is so for any use",
    ),
    Quirk(_JUDGED, "eku-* issuer-eku-server", "yes", "the extended key usage is not asked at all"),
    Quirk(
        "verify",
        "rsa-encrypt p256-encrypt p256-key-encipherment usage-*",
        "yes",
        "of a signature only the use of the issuers' keys is asked",
    ),
    Quirk("encrypt", "usage-data-encipherment", "yes", "dataEncipherment is taken for keys"),
    Quirk(
        "validate-* verify", "revoked* issuer-revoked crl-*", "yes", "it is asked without CRLs here"
    ),
    Quirk(
        "validate-* verify encrypt",
        "missing-intermediate cross-signed-only",
        "yes",
        "every issuer is known that came along with any message before",
    ),
    Quirk(
        "validate-*",
        "issuer-no-cert-sign",
        "yes",
        "the use of an issuer's key is asked for signatures, not for lists",
    ),
    Quirk(
        "validate-* verify encrypt",
        "names-not-critical",
        "yes",
        "constraints that are not critical are passed over",
    ),
    Quirk(
        "validate-* verify encrypt",
        "sha1 md5 issuer-sha1",
        "yes",
        "SHA-1 and MD5 are taken in certificates",
    ),
    Quirk(_JUDGED, "rsa-1024 issuer-rsa-1024", "yes", "RSA keys of 1024 bits are long enough"),
    Quirk("sign verify encrypt", "address-*", "yes", "it holds no sender against the certificate"),
    Quirk(
        "import validate-*",
        "duplicate-extension",
        "yes",
        "of an extension that is there twice it finds out on use",
    ),
    Quirk(
        "decrypt",
        "duplicate-extension",
        "no",
        "an extension that is there twice stops it",
        "Duplicated value",
    ),
    Quirk("import", _EC, "no", "it crashes at a PKCS#12 file with an EC key", "Segment", "2.4"),
    Quirk(
        "encrypt decrypt",
        _EC,
        "no",
        "it has no EC recipients (RFC 5753 3.1)",
        "Wrong key usage|Invalid session key",
        before="2.4",
    ),
    Quirk(
        "decrypt",
        "p256 p384",
        "no",
        "it derives another key from what NSS writes: ukm, and NULL in the key wrap (RFC 5753 7.2)",
        "Checksum error",
        since="2.4",
    ),
    Quirk(
        "encrypt",
        "p256-key-encipherment p256-encipher-only",
        "yes",
        "keyUsage of an EC key is not asked",
        since="2.4",
    ),
    Quirk(
        "sign verify",
        "p384 p521 chain-p384",
        "no",
        "it takes SHA-256 with P-256 only (the agent: Invalid length)",
        "Invalid length|not valid for a (384|521) bit|Internal error",
    ),
    Quirk("*", _NO_KEYS, "no", "it has no keys of Ed25519, Ed448, X25519, X448, ML-DSA, ML-KEM"),
    Quirk(
        "sign",
        "issuer-[en]* issuer-critical-unknown untrusted-root self-signed path-too-long"
        " policy-missing names-*",
        "no",
        "it signs only with a certificate that validates itself",
        "can't sign using",
    ),
    Quirk(
        "*",
        "subject-empty*",
        "no",
        "it does not read a certificate with an empty subject, which RFC 5280 4.1.2.6 allows",
        before="2.4",
    ),
    Quirk(
        "*",
        "chain-p521 chain-ed25519 chain-ed448",
        "no",
        "it cannot check signatures of P-521 and EdDSA in certificates, and keeps none of these",
        before="2.4",
    ),
    Quirk(
        "*",
        "policy-needed names-*",
        "no",
        "critical policyConstraints and nameConstraints are not supported",
    ),
    Quirk(
        "import sign decrypt",
        "bad-signature algorithms-differ issuer-empty",
        "no",
        "it keeps no certificate whose signature it cannot check",
    ),
    Quirk("decrypt", "trailing-field", "no", "it does not read the certificate of the recipient"),
)

WORDS = (
    Words("Certificate expired|certificate has expired|too young|not yet valid", ("5280-6.1.3",)),
    Words("Wrong key usage", ("8550-4.4.2", "SBR-7.1.2.3-e2", "SBR-7.1.2.3-e3", "5280-6.1.4")),
    Words("critical certificate extension .* is not supported", ("5280-4.2",)),
    Words("extension 2.5.29.30 is not supported", ("5280-4.2.1.10",)),
    Words("Missing issuer certificate|issuer certificate not found|Not trusted", ("5280-6.1",)),
    Words("Bad CA certificate|chain longer than allowed", ("5280-6.1.4",)),
    Words("BAD signature|Bad signature", ("5280-6.1.3", "5280-4.1.1.2")),
    Words("Duplicated value", ("5280-4.2",)),
    Words("no issuer found", ("8550-3-5",)),
)


@dataclass
class GpgsmPeer:
    """gpgsm, asked in one home folder that has every issuer, one after the other, without CRLs."""

    driver: Gpgsm
    lock: Lock = field(default_factory=Lock)
    name: ClassVar[str] = "gpgsm"
    quirks: ClassVar[Sequence[Quirk]] = QUIRKS
    words: ClassVar[Sequence[Words]] = WORDS

    @classmethod
    def start(
        cls,
        stand: Stand,
        folder: Path,
        path: str | None = None,
        version: str | None = None,  # noqa: ARG003 - it tells its own
    ) -> GpgsmPeer:
        family = stand.family
        driver = Gpgsm.start(stand.roots_file, family.trust.anchors[0], folder, path)
        between = [one for i, one in family.authorities.items() if AUTHORITIES[i].parent]
        issuers = folder / "issuers.pem"
        issuers.write_bytes(b"".join(map(armour, between)))
        driver.run("--import", issuers)  # whatever of them it keeps
        return cls(driver)

    @property
    def version(self) -> str:
        return self.driver.version

    def ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        with self.lock:
            return self._ask(operation, case, message)

    def _ask(self, operation: Operation, case: Case, message: bytes) -> bytes:
        driver = self.driver
        match operation:
            case "import":
                self._import(case)
            case "validate-sign" | "validate-encrypt":
                self._validate(case)
            case "sign":
                return driver.sign(case.signing, CONTENT, [case])
            case "verify":
                driver.verify(1, message, CONTENT)
            case "encrypt":
                return driver.encrypt(case.encryption, CONTENT, [case])
            case "decrypt":
                if driver.decrypt(message, case) != CONTENT:
                    raise Refused("another content came out")
        return b""

    def _import(self, case: Case) -> None:
        """The PKCS#12 file, anew encrypted where it cannot be read: 2.2 fails at one in forty,
        whatever is in it.
        """
        path = case.folder / "gpgsm.p12"
        for _ in range(4):
            path.write_bytes(pkcs12_of(case.identity, "3des", name=case.id))
            words = ("--passphrase-fd", "0", "--import", path)
            done = self.driver.run(*words, stdin=f"{PKCS12_PASSWORD}\n".encode())
            if done.returncode == 0:
                return
            if b"trying charset" not in done.stderr:
                break
        raise Refused(re.sub("offset [0-9]+", "offset", _words(done)))

    def _validate(self, case: Case) -> None:
        name = fingerprint(case.certificate)
        self.driver.run("--import", case.certificate_file)
        done = self.driver.run("--with-validation", "--with-colons", "-k", f"0x{name}")
        # the validity in the second field of the line of the certificate (doc/DETAILS of GnuPG)
        lines = [line.split(":") for line in done.stdout.decode(errors="replace").splitlines()]
        found = [line[1] for line in lines if line[0] in ("crt", "crs")]
        if not found:
            raise Refused("it does not keep the certificate")
        if found[0] not in ("f", "u", "m", ""):
            raise Refused(f"validity {found[0]}; {_words(done)}")

    def close(self) -> None:
        self.driver.close()
