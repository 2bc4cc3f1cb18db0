"""NSS's cmsutil with one certificate database: the engine of Thunderbird, in Debian's version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..cases import EncryptionCase, Reader, SigningCase
from ..people import PKCS12_PASSWORD, People, Person
from .peer import Cannot, Known, Missing, Refused, checked, need, run

KNOWN = (
    Known("both", ".* sha3-256.*", "no SHA-3"),
    Known("both", "ecdsa .* brainpool.*", "no brainpool curves"),
    Known("both", "ed25519 .*|ed448 .*|ml-dsa-.*", "no such signatures"),
    Known("read", ".* sha224.*", "cmsutil does not sign with SHA-224"),
    Known("read", "rsassa-pkcs1v15 md5", "signs no more with MD5"),
    Known("made", "rsaes-oaep .*", "no OAEP in CMS in this version"),
    Known(
        "made",
        "dhsinglepass-.*|.* to P-256|.*-wrap P-256|.* beside .*",
        "no EC recipients in this version",
    ),
    Known("made", "aes...-(gcm|ccm)|chacha20-poly1305", "no AuthEnvelopedData"),
    Known("both", ".* X(25519|448)|ml-kem-.*", "no such recipients"),
    Known("both", "cek-hkdf-.*", "no derived content keys (RFC 9709)"),
)


@dataclass
class Nss:
    """`cmsutil`, one process for each message. Its exit status says nothing: its text does."""

    people: People
    folder: Path
    label: str
    known: Sequence[Known] = KNOWN
    imported: set[str] = field(default_factory=set)

    @classmethod
    def start(cls, people: People, folder: Path) -> Nss:
        for program in ("cmsutil", "certutil", "pk12util"):
            need(program, "libnss3-tools")
        (folder / "db").mkdir()
        checked(run("certutil", "-N", "-d", "sql:db", "--empty-password", folder=folder))
        root = ("-n", "root", "-t", "CT,C,C", "-a", "-i", people.root_file)
        checked(run("certutil", "-A", "-d", "sql:db", *root, folder=folder))
        return cls(people, folder, f"NSS {_version(folder)}")

    def _nickname(self, person: Person) -> str:
        """Imports the person's key on first use. Refused for kinds of key that it does not take."""
        if person.kind not in self.imported:
            words = ("-i", person.pkcs12_file, "-W", PKCS12_PASSWORD)
            done = run("pk12util", "-d", "sql:db", *words, folder=self.folder)
            if done.returncode:
                raise Refused("it does not import such a key from PKCS#12")
            self.imported.add(person.kind)
        return person.email

    def _cmsutil(self, *words: str | Path, stdin: bytes = b"") -> str:
        (self.folder / "out").unlink(missing_ok=True)
        done = run("cmsutil", *words, "-d", "sql:db", folder=self.folder, stdin=stdin)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if done.returncode:
            raise Refused(said.strip().splitlines()[-1] if said.strip() else "no words")
        return said

    def sign(self, case: SigningCase, content: bytes, signers: Sequence[Person]) -> bytes:
        if len(signers) > 1 or case.ski or case.pss:
            raise Cannot("cmsutil signs with one key, named by issuer, and never with PSS")
        (self.folder / "body").write_bytes(content)
        words = ["-S", "-N", self._nickname(signers[0]), "-G", "-H", case.digest.upper()]
        words += [] if case.opaque else ["-T"]
        self._cmsutil(*words, "-i", "body", "-o", "out")
        return (self.folder / "out").read_bytes()

    def verify(self, case: SigningCase, cms: bytes, content: bytes | None) -> bytes:
        (self.folder / "cms").write_bytes(cms)
        words = ["-D", "-i", "cms", "-u", "4"]
        if content is not None:
            (self.folder / "body").write_bytes(content)
            words += ["-c", "body"]
        said = self._cmsutil(*words, "-h", "1", "-n")
        if said.count("GoodSignature") != len(case.keys):
            raise Refused(said.strip().splitlines()[-1] if said.strip() else "no words")
        if content is not None:
            return content
        self._cmsutil(*words, "-o", "out")
        return (self.folder / "out").read_bytes()

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        if any(isinstance(reader, str) for reader in to) or case.ski or case.oaep is not None:
            raise Cannot("cmsutil encrypts to certificates, named by issuer, and not with OAEP")
        if case.row != "aes128-cbc":
            raise Cannot("cmsutil chooses the cipher itself: AES-128-CBC, to RSA keys")
        (self.folder / "body").write_bytes(content)
        emails = []
        for reader in to:
            assert isinstance(reader, Person)
            emails += ["-r", self._nickname(reader)]
        self._cmsutil("-E", *emails, "-i", "body", "-o", "out")
        return (self.folder / "out").read_bytes()

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        if isinstance(reader, str):
            raise Cannot("cmsutil knows neither passwords nor shared keys")
        self._nickname(reader)
        (self.folder / "cms").write_bytes(cms)
        self._cmsutil("-D", "-i", "cms", "-o", "out")
        out = self.folder / "out"
        if not out.exists():
            raise Refused("nothing came out")
        return out.read_bytes()

    def close(self) -> None:
        pass


def _version(folder: Path) -> str:
    """That of the library; the tools do not tell theirs."""
    done = run("dpkg-query", "-W", "-f", "${Version}", "libnss3-tools", folder=folder)
    if done.returncode:
        raise Missing("the version of libnss3-tools is not known to dpkg")
    number = done.stdout.decode().rpartition(":")[2].partition("-")[0]
    return ".".join(number.split(".")[:2])
