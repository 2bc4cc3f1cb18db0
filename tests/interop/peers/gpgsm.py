"""GnuPG's gpgsm with one home folder: libksba and libgcrypt."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from tempfile import TemporaryDirectory

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from ..cases import EncryptionCase, Reader, SigningCase
from ..people import People, Person
from .peer import Cannot, Known, Refused, checked, need, run

_CURVES = {
    "p256": "NIST P-256",
    "p384": "NIST P-384",
    "p521": "NIST P-521",
    "brainpool-p256r1": "brainpoolP256r1",
    "brainpool-p384r1": "brainpoolP384r1",
}

KNOWN = (
    Known("both", ".* sha3-256.*", "no SHA-3"),
    Known("made", ".* ski", "does not read a subjectKeyIdentifier (BER error)"),
    Known("made", "ecdsa sha512 P-521", "P-521: internal error"),
    Known("both", "ed25519 .*|ed448 .*|ml-dsa-.*", "no such signatures"),
    Known("made", "rsaes-oaep .*", "no OAEP (invalid session key)"),
    Known("both", "dhsinglepass-.*|.* to P-256|.*-wrap P-256", "no EC recipients"),
    Known("read", ".* beside .*", "no EC recipients"),
    Known("read", "rc2-cbc", "no RC2"),
    Known("read", "ecdsa sha224 P-256", "signs with digests of the curve's length only"),
    Known("made", "aes...-(gcm|ccm)|chacha20-poly1305", "no AuthEnvelopedData"),
    Known("both", ".* X(25519|448)|ml-kem-.*", "no such recipients"),
    Known("both", "cek-hkdf-.*", "no derived content keys (RFC 9709)"),
)


@dataclass
class Gpgsm:
    """`gpgsm`, one process for each message, and the agent that it starts."""

    people: People
    folder: Path
    home: TemporaryDirectory[str]  # short: the path of the agent's socket has 108 octets
    label: str
    known: Sequence[Known] = KNOWN
    imported: set[str] = field(default_factory=set)

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
        fingerprint = hashlib.sha1(people.ca.certificate.der).hexdigest()
        (path / "trustlist.txt").write_text(f"{fingerprint} S relax\n")
        made = cls(people, folder, home, f"gpgsm {'.'.join(version.split('.')[:2])}")
        checked(made._gpgsm("--import", people.root_file))
        return made

    def _gpgsm(self, *words: str | Path) -> CompletedProcess[bytes]:
        (self.folder / "out").unlink(missing_ok=True)
        return run("gpgsm", "--homedir", self.home.name, "--yes", *words, folder=self.folder)

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
            self.imported.add(person.kind)
        return person.email

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        if len(signers) > 1 or case.ski or case.pss:
            raise Cannot("signs with one key, named by issuer, and never with PSS")
        if case.digest == "md5":
            raise Cannot("signs with SHA-1 where MD5 is asked for")
        (self.folder / "body").write_bytes(content)
        words = ["-u", self._import(signers[0]), "--digest-algo", case.digest]
        words += ["--sign" if case.opaque else "--detach-sign"]
        checked(self._gpgsm(*words, "-o", "out", "body"))
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
            errors = done.stderr.decode(errors="replace").strip().splitlines()
            raise Refused(errors[-1] if errors else "no good signature")
        return content if content is not None else (self.folder / "out").read_bytes()

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        if any(isinstance(reader, str) for reader in to) or case.ski or case.oaep is not None:
            raise Cannot("encrypts to certificates, named by issuer, and not with OAEP")
        if not case.cipher.endswith("cbc"):
            raise Cannot("encrypts with CBC only")
        (self.folder / "body").write_bytes(content)
        names = {"des-ede3-cbc": "3DES", "rc2-cbc": "RC2"}
        words = ["--cipher-algo", names.get(case.cipher, case.cipher.upper().removesuffix("-CBC"))]
        for reader in to:
            assert isinstance(reader, Person)
            words += ["-r", self._import(reader)]
        checked(self._gpgsm(*words, "--encrypt", "-o", "out", "body"))
        return (self.folder / "out").read_bytes()

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        if isinstance(reader, str):
            raise Cannot("knows neither passwords nor shared keys")
        self._import(reader)
        (self.folder / "cms").write_bytes(cms)
        checked(self._gpgsm("-o", "out", "--decrypt", "cms"))
        return (self.folder / "out").read_bytes()

    def close(self) -> None:
        run("gpgconf", "--homedir", self.home.name, "--kill", "all", folder=self.folder)
        self.home.cleanup()


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
    raise Cannot(f"has no keys of kind {person.kind}")


def _unsigned(value: int) -> bytes:
    octets = value.to_bytes(-(-value.bit_length() // 8), "big")
    return b"\x00" + octets if octets[0] & 0x80 else octets


def _expression(name: str, values: Sequence[tuple[str, bytes]]) -> bytes:
    def atom(value: bytes) -> bytes:
        return b"%d:%s" % (len(value), value)

    inner = b"".join(b"(%s%s)" % (atom(key.encode()), atom(value)) for key, value in values)
    return b"(%s(%s%s))" % (atom(b"private-key"), atom(name.encode()), inner)
