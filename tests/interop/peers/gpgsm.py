"""GnuPG's gpgsm with one home folder: libksba and libgcrypt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import People, Person
from .peer import Known, Refused, checked, need, run

_CURVES = {
    "p256": "NIST P-256",
    "p384": "NIST P-384",
    "p521": "NIST P-521",
    "brainpool-p256r1": "brainpoolP256r1",
    "brainpool-p384r1": "brainpoolP384r1",
}

_NO_EC = "no EC recipients (RFC 5753 3.1)"
_NO_AEAD = "no AuthEnvelopedData (RFC 5083 2.1)"
KNOWN = (
    Known("made", "rsassa-pkcs1v15 sha3-256", "Bad signature", "no SHA-3 (RFC 9688 3.1)"),
    Known("made", "ecdsa sha3-256 P-256", "no signature value", "no SHA-3 (RFC 9688 3.2)"),
    Known("read", ".* sha3-256.*", "digest algorithm is invalid", "no SHA-3 (RFC 9688 2)"),
    Known("made", "rsassa.* ski", "BER error", "no subjectKeyIdentifier in signers (RFC 5652 5.3)"),
    Known("made", "ecdsa sha512 P-521", "Internal error", "no P-521 with SHA-512 (RFC 5753 2.1)"),
    Known("made", "ed25519 .*", "Internal error", "no Ed25519 (RFC 8419 3)"),
    Known("made", "ed448 .*", "2.16.840.1.101.3.4.2.18", "no SHAKE256 (RFC 8419 2.3)"),
    Known("made", "ml-dsa-.*", "no signature value", "no ML-DSA (RFC 9882 3)"),
    Known("read", "ecdsa sha224 P-256", "Invalid length", "P-256 with SHA-256 only (RFC 5754 3.3)"),
    Known("made", "rsaes-pkcs1v15 ski", "No secret key", "no key identifier (RFC 5652 6.2.1)"),
    Known("made", "rsaes-oaep .*", "No secret key", "no OAEP (RFC 3560 2.2)"),
    Known("made", "dhsinglepass-.*kdf .*|.*-wrap P-256", "No secret key", _NO_EC),
    Known("made", "aes...-gcm to P-256", "Buffer too short", _NO_AEAD),
    Known("made", "aes...-(gcm|ccm)", "Buffer too short", _NO_AEAD),
    Known("made", "chacha20-poly1305", "Unsupported algorithm", "no ChaCha20 (RFC 8103 3)"),
    Known("made", "cek-hkdf-.*", "Unsupported algorithm", "no derived keys (RFC 9709 2)"),
    Known("made", "ml-kem-.*", "does not know such a key", "no ML-KEM (RFC 9936 2)"),
    Known("read", "dhsinglepass-.*kdf .*|.*-wrap P-256", "Wrong key usage", _NO_EC),
    Known("read", "rsaes-pkcs1v15 beside P-256", "Wrong key usage", _NO_EC),
    Known("read", "rc2-cbc", "cipher algorithm is invalid", "no RC2 (RFC 3370 5.2)"),
)


@dataclass
class Gpgsm:
    """`gpgsm`, one process for each message, and the agent that it starts."""

    people: People
    folder: Path
    home: TemporaryDirectory[str]  # short: the path of the agent's socket has 108 octets
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN
    imported: dict[str, Path] = field(default_factory=dict)  # the agent's key file, by kind of key

    @classmethod
    def start(cls, people: People, folder: Path) -> Gpgsm:
        need("gpgsm", "gpgsm")
        need("gpgconf", "gpgconf")
        version = checked(run("gpgsm", "--version", folder=folder)).decode().split()[2]
        home = TemporaryDirectory(prefix="gpgsm")
        path = Path(home.name)
        (path / "private-keys-v1.d").mkdir(mode=0o700)
        (path / "gpgsm.conf").write_text("disable-crl-checks\npinentry-mode loopback\nbatch\n")
        (path / "gpg-agent.conf").write_text("allow-loopback-pinentry\n")
        fingerprint = hashlib.sha1(people.trust.anchors[0].der).hexdigest()
        (path / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        made = cls(people, folder, home, f"gpgsm {'.'.join(version.split('.')[:2])}")
        checked(made._gpgsm("--import", people.root_file))
        return made

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, SigningCase):
            return None if direction == "made" else _never_signs(case)
        if case.reader in ("password", "shared"):
            return "knows neither passwords nor shared keys"
        if case.reader in ("x25519", "x448"):
            return "its agent has no such keys"
        if direction == "made":
            return None
        if case.ski or case.oaep is not None or case.beside == "password":
            return "encrypts to certificates, named by issuer, and not with OAEP"
        return None if case.cipher.endswith("cbc") else "encrypts with CBC only"

    def _gpgsm(self, *words: str | Path) -> CompletedProcess[bytes]:
        (self.folder / "out").unlink(missing_ok=True)
        return run("gpgsm", "--homedir", self.home.name, "--yes", *words, folder=self.folder)

    def _done(self, *words: str | Path) -> bytes:
        """Standard output. Raises Refused."""
        done = self._gpgsm(*words)
        if done.returncode:
            raise Refused(_words(done))
        return done.stdout

    def _import(self, person: Person) -> str:
        """Certificate and key; the key as the agent keeps it, as its PKCS#12 reader often fails."""
        if person.kind not in self.imported:
            checked(self._gpgsm("--import", person.certificate_file))
            listed = checked(self._gpgsm("--with-colons", "--with-keygrip", "-k", person.email))
            grips = [line for line in listed.decode().splitlines() if line.startswith("grp:")]
            if not grips:
                raise Refused("it does not know such a key")
            grip = grips[0].split(":")[9]
            path = Path(self.home.name) / "private-keys-v1.d" / f"{grip}.key"
            path.write_bytes(_agent_key(person))
            self.imported[person.kind] = path
        return person.email

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        (self.folder / "body").write_bytes(content)
        words = ["-u", self._import(signers[0]), "--digest-algo", case.digest]
        words += ["--sign" if case.opaque else "--detach-sign"]
        self._done(*words, "-o", "out", "body")
        return (self.folder / "out").read_bytes()

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        (self.folder / "cms").write_bytes(cms)
        words: list[str | Path] = ["--status-fd", "1", "--verify"]
        if content is None:
            words += ["-o", "out", "cms"]
        else:
            (self.folder / "body").write_bytes(content)
            words += ["cms", "body"]
        done = self._gpgsm(*words)
        said = done.stdout.decode(errors="replace")
        if done.returncode or said.count("[GNUPG:] GOODSIG") != len(case.keys):
            raise Refused(_words(done) or "no good signature")
        return content if content is not None else (self.folder / "out").read_bytes()

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        (self.folder / "body").write_bytes(content)
        names = {"des-ede3-cbc": "3DES", "rc2-cbc": "RC2"}
        words = ["--cipher-algo", names.get(case.cipher, case.cipher.upper().removesuffix("-CBC"))]
        for reader in to:
            assert isinstance(reader, Person)
            words += ["-r", self._import(reader)]
        self._done(*words, "--encrypt", "-o", "out", "body")
        return (self.folder / "out").read_bytes()

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        assert isinstance(reader, Person)
        self._import(reader)
        if case.beside in self.imported:
            self.imported.pop(case.beside).unlink()  # the other recipient's key would open it too
        (self.folder / "cms").write_bytes(cms)
        self._done("-o", "out", "--decrypt", "cms")
        return (self.folder / "out").read_bytes()

    def close(self) -> None:
        run("gpgconf", "--homedir", self.home.name, "--kill", "all", folder=self.folder)
        self.home.cleanup()


def _words(done: CompletedProcess[bytes]) -> str:
    """All that was said of a refusal but what is said every time."""
    lines = done.stderr.decode(errors="replace").splitlines()
    return "; ".join(line for line in lines if "CRLs not checked" not in line)


def _never_signs(case: SigningCase) -> str | None:
    if len(case.keys) > 1 or case.ski or case.pss:
        return "signs with one key, named by issuer, and never with PSS"
    if case.digest == "md5":
        return "signs with SHA-1 where MD5 is asked for"
    (kind,) = case.keys
    return None if kind in _CURVES or kind.startswith("rsa") else "its agent has no such keys"


def _agent_key(person: Person) -> bytes:
    """The key as a canonical S-expression, unprotected, as gpg-agent keeps it."""
    key = person.identity.private_key
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
    if isinstance(key, ec.EllipticCurvePrivateKey) and person.kind in _CURVES:
        private = key.private_numbers()
        size = -(-key.key_size // 8)
        x, y = private.public_numbers.x, private.public_numbers.y
        point = b"\x04" + x.to_bytes(size, "big") + y.to_bytes(size, "big")
        curve = _CURVES[person.kind].encode()
        values_ec = [("curve", curve), ("q", point), ("d", _unsigned(private.private_value))]
        return _expression("ecc", values_ec)
    # a certificate alone: what is signed with such a key may be verified all the same
    raise Refused(f"the agent has no keys of kind {person.kind}")


def _unsigned(value: int) -> bytes:
    octets = value.to_bytes(-(-value.bit_length() // 8), "big")
    return b"\x00" + octets if octets[0] & 0x80 else octets


def _expression(name: str, values: Sequence[tuple[str, bytes]]) -> bytes:
    def atom(value: bytes) -> bytes:
        return b"%d:%s" % (len(value), value)

    inner = b"".join(b"(%s%s)" % (atom(key.encode()), atom(value)) for key, value in values)
    return b"(%s(%s%s))" % (atom(b"private-key"), atom(name.encode()), inner)
