"""What is tried with every peer, and our side of it: one case for each row and form.

A case's name begins with the row of `smime_graph.algorithms` that it shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from smime_graph import algorithms, oids
from smime_graph.algorithms import ContentCipher, Digest, KeyAgreement, KeyWrap
from smime_graph.asn1 import ber
from smime_graph.cms import enveloped_data, parameters, signature_check, signed_data
from smime_graph.cms.recipients.kinds import AnyKey, AnyRecipient
from smime_graph.errors import SmimeGraphError
from smime_graph.findings import Severity
from smime_graph.pki.identity import Contact
from smime_graph.policy import ARCHIVE, EXCHANGE, RFC_8551

from .people import PASSWORD, SHARED_KEY, Person

# Text that ends without a line end, and octets that are no text: peers have been seen to mend both
CONTENT = b"Content-Type: text/plain\r\n\r\nthe figures \x00\xff of K\xc3\xb6ln\r\nend"


class Rejected(Exception):
    """We say no to a signature; the text is what was found."""


# --- signatures ---------------------------------------------------------------------------


@dataclass(frozen=True)
class SigningCase:
    """Who signs with what. `weak` is what only ARCHIVE reads; we make neither it nor what is
    `theirs_only`.
    """

    row: str
    keys: tuple[str, ...]
    digest: str
    form: str = ""
    pss: bool = False
    opaque: bool = False
    ski: bool = False
    weak: bool = False
    theirs_only: bool = False

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.row, self.digest, self.form) if part)

    def make(self, signers: Sequence[Person], at: datetime) -> bytes:
        """Our SignedData over CONTENT."""
        policy = EXCHANGE.but(
            "interop",
            digest=self.digest if self.digest in EXCHANGE.accept else "sha256",
            rsa_signature="rsassa-pss" if self.pss else "rsassa-pkcs1v15",
        )
        cms, _ = signed_data.sign(
            CONTENT,
            [signer.identity for signer in signers],
            detached=not self.opaque,
            policy=policy,
            at=at,
            sid="ski" if self.ski else "issuer",
        )
        return cms

    def read(self, cms: bytes, detached: bytes = CONTENT) -> bytes:
        """The content that all signers signed with this case's row. Raises Rejected."""
        signed = signed_data.read(cms)
        content = detached if signed.content is None else bytes(signed.content)
        if len(signed.signers) != len(self.keys):
            raise Rejected(f"{len(signed.signers)} signers")
        for signer in signed.signers:
            policy = ARCHIVE if self.weak else EXCHANGE
            check = signature_check.check(signed, signer, content, policy=policy)
            errors = [one.text for one in check.findings if one.severity is Severity.ERROR]
            if errors or not check.intact or not check.valid:
                raise Rejected("; ".join(errors) or "not intact or not valid")
            assert (signer.key_identifier is not None) == self.ski
            assert check.scheme is not None
            assert check.digest is not None
            assert check.scheme.name in self.row.split("+")
            assert check.digest.name == self.digest
            flagged = any(one.code == "alg.weak" for one in check.findings)
            assert flagged == self.weak
        return content


def _signing_cases() -> tuple[SigningCase, ...]:
    rsa, sha2 = ("rsa-2048",), ("sha256", "sha384", "sha512")
    return (
        *(SigningCase("rsassa-pkcs1v15", rsa, digest) for digest in sha2),
        SigningCase("rsassa-pkcs1v15", rsa, "sha256", "opaque", opaque=True),
        SigningCase("rsassa-pkcs1v15", rsa, "sha256", "ski", ski=True),
        *(SigningCase("rsassa-pss", rsa, digest, pss=True) for digest in sha2),
        SigningCase("ecdsa", ("p256",), "sha256", "P-256"),
        SigningCase("ecdsa", ("p256",), "sha256", "P-256 opaque", opaque=True),
        SigningCase("ecdsa", ("p384",), "sha384", "P-384"),
        SigningCase("ecdsa", ("p521",), "sha512", "P-521"),
        SigningCase("ecdsa", ("brainpool-p256r1",), "sha256", "brainpoolP256r1"),
        SigningCase("ecdsa", ("brainpool-p384r1",), "sha384", "brainpoolP384r1"),
        SigningCase("rsassa-pkcs1v15+ecdsa", ("rsa-2048", "p256"), "sha256", "two signers"),
        SigningCase("rsassa-pkcs1v15", rsa, "sha3-256"),
        SigningCase("ecdsa", ("p256",), "sha3-256", "P-256"),
        SigningCase("ed25519", ("ed25519",), "sha512"),
        SigningCase("ed448", ("ed448",), "shake256-len"),
        SigningCase("ml-dsa-44", ("ml-dsa-44",), "sha512"),
        SigningCase("ml-dsa-65", ("ml-dsa-65",), "sha512"),
        SigningCase("ml-dsa-87", ("ml-dsa-87",), "sha512"),
        SigningCase("rsassa-pkcs1v15", rsa, "sha224", theirs_only=True),
        SigningCase("ecdsa", ("p256",), "sha224", "P-256", theirs_only=True),
        SigningCase("rsassa-pkcs1v15", rsa, "sha1", weak=True),
        SigningCase("rsassa-pkcs1v15", rsa, "md5", weak=True),
        SigningCase("dsa", ("dsa",), "sha256", weak=True),
    )


SIGNING = _signing_cases()


# --- encryption ---------------------------------------------------------------------------

# whoever has a certificate, a password or a shared key
Reader = Person | str


@dataclass(frozen=True)
class Oaep:
    """The parameters of RSAES-OAEP, by the digests' names."""

    digest: str
    mgf_digest: str
    label: bytes = b""


@dataclass(frozen=True)
class EncryptionCase:
    """Who reads, with what. `reader` and `beside` are kinds of key, "password" or "shared".

    `beside` is a second recipient, whom the reader has to pass over; `theirs_only` is what we read
    and never make.
    """

    row: str
    reader: str
    cipher: str
    form: str = ""
    oaep: Oaep | None = None
    agreement: str = "dhsinglepass-stddh-sha256kdf"
    ski: bool = False
    weak: bool = False
    theirs_only: bool = False
    beside: str = ""
    derived: bool = False  # the content key is derived as in RFC 9709
    other_wrap: str = ""  # the usual one is as strong as the cipher (RFC 8551 2.3)

    @property
    def name(self) -> str:
        return " ".join(part for part in (self.row, self.form) if part)

    @property
    def content_cipher(self) -> ContentCipher:
        return algorithms.by_name(ContentCipher, self.cipher)

    @property
    def key_agreement(self) -> KeyAgreement:
        return algorithms.by_name(KeyAgreement, self.agreement)

    @property
    def key_wrap(self) -> KeyWrap:
        if self.other_wrap:
            return algorithms.by_name(KeyWrap, self.other_wrap)
        size = self.content_cipher.key_size
        return next(row for row in algorithms.rows(KeyWrap) if row.key_size == size)

    @property
    def wrap(self) -> str:
        return self.key_wrap.name

    def make(self, readers: Sequence[Reader]) -> bytes:
        """Our EnvelopedData or AuthEnvelopedData with CONTENT."""
        return enveloped_data.encrypt(
            CONTENT,
            [self._recipient(reader) for reader in readers],
            cipher=self.content_cipher,
            policy=RFC_8551,
            rid="ski" if self.ski else "issuer",
        )

    def _recipient(self, reader: Reader) -> AnyRecipient:
        if reader == "password":
            return PASSWORD
        if reader == "shared":
            return SHARED_KEY
        assert isinstance(reader, Person)
        return Contact(reader.certificate, capabilities=self._capabilities(reader))

    def _capabilities(self, person: Person) -> tuple[bytes, ...] | None:
        """What the recipient announces, so that the row of this case is the one that is chosen."""
        if person.kind.startswith("rsa") and self.oaep is not None:
            digest = parameters.write_digest(algorithms.by_name(Digest, self.oaep.digest))
            value = ber.sequence(
                ber.context(0, digest),
                ber.context(1, ber.sequence(ber.oid(oids.MGF1), digest)),
            )
            return (ber.sequence(ber.oid(oids.RSAES_OAEP), value),)
        if person.kind.startswith("rsa"):
            return None
        if person.kind.startswith("ml-kem"):
            return None
        wrap = parameters.write_wrap(self.key_wrap)
        agreement = ber.sequence(ber.oid(self.key_agreement.oid), wrap)
        derivation = ber.sequence(ber.oid(oids.CEK_HKDF_SHA256))
        return (agreement, derivation) if self.derived else (agreement,)

    def read(self, cms: bytes, reader: Reader) -> bytes:
        """The content. Raises SmimeGraphError."""
        enveloped = enveloped_data.read(cms)
        policy = ARCHIVE if self.weak else RFC_8551
        content = enveloped_data.decrypt(enveloped, [self._key(reader)], policy=policy)
        encryption = parameters.read_cipher(enveloped.algorithm, "content")
        # it was the row of this case that was read
        assert (encryption.derivation is not None) == self.derived
        assert enveloped_data.cipher_name(enveloped.algorithm) == self.cipher
        assert enveloped.authenticated == self.content_cipher.aead
        assert len(enveloped.recipients) == 1 + bool(self.beside)
        if self.row == self.cipher or self.beside or self.derived:
            return bytes(content)
        (recipient,) = enveloped.recipients
        if self.row.endswith("-wrap") and reader != "shared":
            assert recipient.algorithm is not None
            assert recipient.algorithm.parameters is not None
            wrap, _ = parameters.read_wrap(recipient.algorithm.parameters, "recipient")
            assert wrap.name == self.row
            return bytes(content)
        expected = self.key_wrap.name if reader == "shared" else self.row
        assert recipient.algorithm_name == expected
        assert (recipient.issuer_and_serial is None) == (self.ski or isinstance(reader, str))
        return bytes(content)

    def _key(self, reader: Reader) -> AnyKey:
        if isinstance(reader, str):
            return PASSWORD if reader == "password" else SHARED_KEY
        return reader.identity


# RFC 8418: the schemes for X25519 and X448
_HKDF = tuple(row.name for row in algorithms.rows(KeyAgreement) if "hkdf" in row.name)


def _encryption_cases() -> tuple[EncryptionCase, ...]:
    rsa, p256, cbc = "rsa-2048", "p256", "aes256-cbc"
    agreements = [row.name for row in algorithms.rows(KeyAgreement) if "hkdf" not in row.name]
    return (
        EncryptionCase("rsaes-pkcs1v15", rsa, cbc),
        EncryptionCase("rsaes-pkcs1v15", rsa, cbc, "ski", ski=True),
        *(
            EncryptionCase("rsaes-oaep", rsa, cbc, digest, oaep=Oaep(digest, digest))
            for digest in ("sha1", "sha256", "sha384", "sha512")
        ),
        EncryptionCase(
            "rsaes-oaep",
            rsa,
            cbc,
            "sha256, MGF sha1",
            oaep=Oaep("sha256", "sha1"),
            theirs_only=True,
        ),
        EncryptionCase(
            "rsaes-oaep",
            rsa,
            cbc,
            "sha256, label",
            oaep=Oaep("sha256", "sha256", b"label"),
            theirs_only=True,
        ),
        *(EncryptionCase(name, p256, cbc, "P-256", agreement=name) for name in agreements),
        *(
            EncryptionCase(name, kind, cbc, form, agreement=name)
            for name, kind, form in (
                ("dhsinglepass-stddh-sha384kdf", "p384", "P-384"),
                ("dhsinglepass-stddh-sha512kdf", "p521", "P-521"),
                ("dhsinglepass-stddh-sha256kdf", "brainpool-p256r1", "brainpoolP256r1"),
            )
        ),
        EncryptionCase("dhsinglepass-stddh-sha256kdf", p256, cbc, "P-256 ski", ski=True),
        *(
            EncryptionCase(name, kind, cbc, kind.upper(), agreement=name)
            for kind in ("x25519", "x448")
            for name in _HKDF
        ),
        EncryptionCase("ml-kem-768", "ml-kem-768", "aes256-gcm"),
        EncryptionCase("ml-kem-1024", "ml-kem-1024", "aes256-gcm"),
        EncryptionCase("aes128-wrap", p256, "aes128-cbc", "P-256"),
        EncryptionCase("aes192-wrap", p256, "aes192-cbc", "P-256"),
        EncryptionCase(
            "des-ede3-wrap", p256, "des-ede3-cbc", "P-256", weak=True, other_wrap="des-ede3-wrap"
        ),
        EncryptionCase("pwri-kek", "password", cbc),
        EncryptionCase("aes256-wrap", "shared", cbc, "KEK"),
        EncryptionCase("rsaes-pkcs1v15", rsa, cbc, "beside P-256", beside="p256"),
        EncryptionCase("dhsinglepass-stddh-sha256kdf", p256, cbc, "beside RSA", beside=rsa),
        EncryptionCase("rsaes-pkcs1v15", rsa, cbc, "beside a password", beside="password"),
        *(
            EncryptionCase(f"aes{size}-{mode}", rsa, f"aes{size}-{mode}")
            for mode in ("cbc", "gcm", "ccm")
            for size in (128, 192, 256)
        ),
        EncryptionCase("aes256-gcm", p256, "aes256-gcm", "to P-256"),
        EncryptionCase("aes128-gcm", p256, "aes128-gcm", "to P-256"),
        EncryptionCase("aes256-gcm", "password", "aes256-gcm", "to a password"),
        EncryptionCase("aes256-gcm", "shared", "aes256-gcm", "to a shared key"),
        EncryptionCase("chacha20-poly1305", rsa, "chacha20-poly1305"),
        EncryptionCase("cek-hkdf-sha256", p256, "aes256-gcm", "AES-GCM", derived=True),
        EncryptionCase("cek-hkdf-sha256", p256, cbc, "AES-CBC", derived=True),
        EncryptionCase("des-ede3-cbc", rsa, "des-ede3-cbc", weak=True),
        EncryptionCase("rc2-cbc", rsa, "rc2-cbc", weak=True),
    )


ENCRYPTION = _encryption_cases()

Cases = tuple[SigningCase | EncryptionCase, ...]
_ALL: Cases = (*SIGNING, *ENCRYPTION)
# No weak row is written by us, and RFC 9709 by no peer
MADE: Cases = tuple(case for case in _ALL if not case.weak and not case.theirs_only)
READ: Cases = (*SIGNING, *(case for case in ENCRYPTION if not case.derived))
COMPRESSION = "zlib"  # the one row of compressed data
ROWS = (*(case.name for case in SIGNING), *(case.name for case in ENCRYPTION), COMPRESSION)

OUR_NO = (Rejected, SmimeGraphError)
