"""NSS's cmsutil with one certificate database: the engine of Thunderbird, in Debian's version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from ..cases import EncryptionCase, Reader, SigningCase
from ..matrix import Direction
from ..people import PKCS12_PASSWORD, People, Person
from .peer import Known, Missing, Refused, checked, need, run

_NO_EC = "no EC recipients (RFC 5753 3.1) in this version"
_NO_CURVES = "no brainpool curves (RFC 5753 7.1.2)"
_NO_AEAD = "no AuthEnvelopedData (RFC 5083 2.1)"
_BAD_DER, _OID, _KEY = "SEC_ERROR_BAD_DER", "SEC_ERROR_UNRECOGNIZED_OID", "not import such a key"
KNOWN = (
    Known("made", ".* sha3-256.*", "status=", "no SHA-3 (RFC 9688 3)"),
    Known("read", ".* sha3-256.*", "-H requires one of", "no SHA-3 (RFC 9688 3)"),
    Known("made", "ecdsa .* brainpool.*", "status=", _NO_CURVES),
    Known("read", "ecdsa .* brainpool.*", "SEC_ERROR_INVALID_KEY", _NO_CURVES),
    Known("made", "ed(25519|448) .*", "status=", "no EdDSA (RFC 8419 3)"),
    Known("read", "ed(25519|448) .*", _KEY, "no EdDSA (RFC 8419 3)"),
    Known("made", "ml-dsa-.*", "status=", "no ML-DSA (RFC 9882 3)"),
    Known("read", "ml-dsa-.*", _KEY, "no ML-DSA (RFC 9882 3)"),
    Known("read", ".* sha224.*", "-H requires one of", "cmsutil has no SHA-224 (RFC 5754 2.1)"),
    Known(
        "read",
        "rsassa-pkcs1v15 md5",
        "SEC_ERROR_SIGNATURE_ALGORITHM_DISABLED",
        "signs no more with MD5 (RFC 6151 2)",
    ),
    Known("made", "rsaes-oaep .*", "SEC_ERROR_UNSUPPORTED_KEYALG", "no OAEP (RFC 3560 2.2)"),
    Known("made", "dhsinglepass-.*kdf .*|.*-wrap P-256|.* beside .*", _BAD_DER, _NO_EC),
    Known("made", "aes...-(gcm|ccm)|aes...-gcm to P-256|chacha20-poly1305", _OID, _NO_AEAD),
    Known("made", ".* X(25519|448)", _KEY, "no X25519 and X448 (RFC 8418 3.2)"),
    Known("made", "ml-kem-.*", _KEY, "no ML-KEM (RFC 9936 2)"),
    Known("made", "cek-hkdf-.* AES-CBC", _BAD_DER, _NO_EC),
    Known("made", "cek-hkdf-.* AES-GCM", _OID, _NO_AEAD),
)


@dataclass
class Nss:
    """`cmsutil`, one process for each message. Its exit status says nothing: its text does."""

    people: People
    folder: Path
    label: str
    known: ClassVar[Sequence[Known]] = KNOWN
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

    @staticmethod
    def lacks(direction: Direction, case: SigningCase | EncryptionCase) -> str | None:
        if isinstance(case, SigningCase):
            if direction == "read" and (len(case.keys) > 1 or case.ski or case.pss):
                return "cmsutil signs with one key, named by issuer, and never with PSS"
            return None
        if case.reader in ("password", "shared"):
            return "cmsutil knows neither passwords nor shared keys"
        if direction == "read" and case.row != "aes128-cbc":
            return "cmsutil chooses the cipher itself: AES-128-CBC, to RSA keys named by issuer"
        return None

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
            status = [line.strip() for line in said.splitlines() if "status=" in line]
            raise Refused("; ".join(status) or said.strip() or "no words")
        if content is not None:
            return content
        self._cmsutil(*words, "-o", "out")
        return (self.folder / "out").read_bytes()

    def encrypt(self, case: EncryptionCase, content: bytes, to: Sequence[Reader]) -> bytes:
        (self.folder / "body").write_bytes(content)
        emails = []
        for reader in to:
            assert isinstance(reader, Person)
            emails += ["-r", self._nickname(reader)]
        self._cmsutil("-E", *emails, "-i", "body", "-o", "out")
        return (self.folder / "out").read_bytes()

    def decrypt(self, case: EncryptionCase, cms: bytes, reader: Reader) -> bytes:
        assert isinstance(reader, Person)
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
