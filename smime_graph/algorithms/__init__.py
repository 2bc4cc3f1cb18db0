"""THE table: every algorithm this package can use, one row each.

A row names the algorithm as its RFC does, carries its object identifiers, and holds the function of
`primitives` that carries it out. Nothing else in the package compares an algorithm by name or
decides by if-ladders: a new algorithm is one row here, one vector, and a name in each policy.

Parameters that stand in an AlgorithmIdentifier are read and written by `cms.parameters`; a row says
only of which kind they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes

from .. import oids
from ..errors import UnsupportedAlgorithm
from . import primitives as do

Data = bytes | memoryview

# --- what the rows are (singletons: eq=False, compared by identity) -----------------------


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """A message digest; `micalg` is its name in multipart/signed (RFC 8551 3.5.3.2).

    `parameters` is DER that its AlgorithmIdentifier must have. `engine` is hashlib's name for it,
    if that differs; an `extendable` one gives as many octets as it is asked for.
    """

    name: str
    oid: str
    size: int
    micalg: str
    hash: hashes.HashAlgorithm
    parameters: bytes = b""
    engine: str = ""
    extendable: bool = False

    def compute(self, *data: Data) -> bytes:
        state = hashlib.new(self.engine or self.name, usedforsecurity=False)
        for piece in data:
            state.update(piece)
        return state.digest(self.size) if self.extendable else state.digest()  # type: ignore[call-arg]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True)
class PssParameters:
    """RSASSA-PSS-params (RFC 4055 3.1); `salt` in octets."""

    digest: Digest
    mgf_digest: Digest
    salt: int


@dataclass(frozen=True, slots=True)
class OaepParameters:
    """RSAES-OAEP-params (RFC 4055 4.1)."""

    digest: Digest
    mgf_digest: Digest
    label: bytes = b""


@dataclass(frozen=True, slots=True, eq=False)
class SignatureScheme:
    """A signature algorithm.

    `key` is the kind of key it needs (see `KEY_KINDS`), `by_oid` every identifier that is read with
    the digest it fixes (None: the SignerInfo's digestAlgorithm decides), the first being what is
    written. `digests` are those that may be used with it, the first by default; with `strict` no
    other is accepted beside signed attributes. `parameters` is "absent", "null", "pss" or "any".
    Without `sign` it is only verified.
    """

    name: str
    key: str
    by_oid: Mapping[str, str | None]
    parameters: str
    digests: tuple[str, ...]
    sign: Callable[[Any, bytes, Digest], bytes] | None
    verify: Callable[[Any, bytes, Data, Digest, PssParameters | None], None]
    write_by_digest: bool = False  # the identifier that fixes the digest is written (ECDSA)
    strict: bool = False

    @property
    def oids(self) -> tuple[str, ...]:
        return tuple(self.by_oid)

    def oid(self, digest: Digest) -> str:
        """The identifier to write in a SignerInfo."""
        if self.write_by_digest:
            return next(oid for oid, fixed in self.by_oid.items() if fixed == digest.name)
        return next(iter(self.by_oid))


@dataclass(frozen=True, slots=True, eq=False)
class ContentCipher:
    """A content encryption algorithm; `key_size`, `iv_size` and `tag_size` in octets.

    `encrypt(key, iv, content)` gives ciphertext and tag (empty where `aead` is False);
    `decrypt(key, iv, ciphertext, tag, aad)` gives the content or raises ValueError, and releases
    nothing before the tag is checked. `parameters` is "iv", "aead" (nonce and tag length), "nonce"
    or "rc2".
    """

    name: str
    oid: str
    key_size: int
    iv_size: int
    parameters: str
    encrypt: Callable[[bytes, bytes, Data], tuple[Data, bytes]]
    decrypt: Callable[[bytes, bytes, Data, bytes, bytes], bytes]
    aead: bool = False
    tag_size: int = 0

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class KeyTransport:
    """A key transport algorithm (RFC 5652 6.2.1); `parameters` is "null" or "oaep"."""

    name: str
    oid: str
    key: str
    parameters: str
    wrap: Callable[[Any, bytes, OaepParameters | None], bytes]
    unwrap: Callable[[Any, bytes, OaepParameters | None], bytes]
    implicit_rejection: bool = False  # a failure yields a random key, not an error (RFC 3218)

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class KeyAgreement:
    """A key agreement scheme (RFC 5652 6.2.2): `derive(secret, size, info, ukm)` gives the KEK.

    `keys` are the kinds of key it goes with.
    """

    name: str
    oid: str
    keys: tuple[str, ...]
    derive: Callable[[bytes, int, bytes, bytes | None], bytes]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class AgreementKey:
    """What key agreement does with a kind of key: ephemeral keys, the secret, points as octets."""

    ephemeral: Callable[[Any], Any]
    exchange: Callable[[Any, Any], bytes]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes, Any], Any]


@dataclass(frozen=True, slots=True, eq=False)
class Kem:
    """A key encapsulation mechanism (RFC 9629) and the key wrap that goes with it (RFC 9936)."""

    name: str
    oid: str
    key: str
    wrap: str

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class KeyDerivation:
    """A key derivation function (RFC 8619): `derive(secret, size, info, salt)`."""

    name: str
    oid: str
    derive: Callable[[bytes, int, bytes, bytes | None], bytes]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class KeyWrap:
    """A key wrap algorithm; `key_size` in octets. `unwrap` raises ValueError on any failure."""

    name: str
    oid: str
    key_size: int
    wrap: Callable[[bytes, bytes], bytes]
    unwrap: Callable[[bytes, bytes], bytes]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class PasswordEncryption:
    """A content key under a password: PWRI-KEK with PBKDF2 (RFC 3211, RFC 5652 6.2.4)."""

    name: str
    oid: str

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class CekDerivation:
    """A derivation of the content key from the content-encryption identifier (RFC 9709)."""

    name: str
    oid: str
    derive: Callable[[bytes, bytes], bytes]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


@dataclass(frozen=True, slots=True, eq=False)
class Compression:
    """A compression algorithm (RFC 3274); beyond its limit `decompress` raises OverflowError."""

    name: str
    oid: str
    compress: Callable[[Data], bytes]
    decompress: Callable[[Data, int], bytes]

    @property
    def oids(self) -> tuple[str, ...]:
        return (self.oid,)


Row = (
    Digest
    | SignatureScheme
    | ContentCipher
    | KeyTransport
    | KeyAgreement
    | Kem
    | KeyDerivation
    | KeyWrap
    | PasswordEncryption
    | CekDerivation
    | Compression
)
R = TypeVar("R", bound=Row)


# --- the table ----------------------------------------------------------------------------

MD5 = Digest("md5", oids.MD5, 16, "md5", hashes.MD5())  # noqa: S303 - read only, by ARCHIVE
SHA1 = Digest("sha1", oids.SHA1, 20, "sha-1", hashes.SHA1())  # noqa: S303 - read only, by ARCHIVE
SHA224 = Digest("sha224", oids.SHA224, 28, "sha-224", hashes.SHA224())
SHA256 = Digest("sha256", oids.SHA256, 32, "sha-256", hashes.SHA256())
SHA384 = Digest("sha384", oids.SHA384, 48, "sha-384", hashes.SHA384())
SHA512 = Digest("sha512", oids.SHA512, 64, "sha-512", hashes.SHA512())
_SHAKE = hashes.SHAKE256(64)
_LENGTH_512 = bytes.fromhex("02020200")  # INTEGER 512

_DIGESTS = ("sha256", "sha384", "sha512", "sha3-256")
_EC = ("ec",)
_ANY_CURVE = ("ec", "x25519", "x448")
_GCM: dict[str, Any] = {
    "encrypt": do.gcm_encrypt,
    "decrypt": do.gcm_decrypt,
    "iv_size": 12,
    "parameters": "aead",
    "aead": True,
    "tag_size": 16,
}
_CCM = {**_GCM, "encrypt": do.ccm_encrypt, "decrypt": do.ccm_decrypt}


def _ml_dsa(name: str, oid: str) -> SignatureScheme:
    # RFC 9882 3.3: SHA-512 suits all three, and every implementation must have it
    return SignatureScheme(
        name, name, {oid: None}, "absent", ("sha512",), do.pure_sign, do.pure_verify
    )


TABLE: tuple[Row, ...] = (
    MD5,
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
    Digest("sha3-256", oids.SHA3_256, 32, "sha3-256", hashes.SHA3_256(), engine="sha3_256"),
    Digest(
        "shake256-len", oids.SHAKE256_LEN, 64, "shake256", _SHAKE, _LENGTH_512, "shake_256", True
    ),
    Digest("shake256", oids.SHAKE256, 64, "shake256", _SHAKE, b"", "shake_256", True),
    SignatureScheme(
        # rsaEncryption is what OpenSSL, Outlook and NSS write; readers of old code know nothing
        # else
        "rsassa-pkcs1v15",
        "rsa",
        {
            oids.RSA_ENCRYPTION: None,
            oids.SHA256_WITH_RSA: "sha256",
            oids.SHA384_WITH_RSA: "sha384",
            oids.SHA512_WITH_RSA: "sha512",
            oids.SHA3_256_WITH_RSA: "sha3-256",
            oids.SHA224_WITH_RSA: "sha224",
            oids.SHA1_WITH_RSA: "sha1",
            oids.MD5_WITH_RSA: "md5",
        },
        "null",
        _DIGESTS,
        do.rsa_pkcs1_sign,
        do.rsa_pkcs1_verify,
    ),
    SignatureScheme(
        "rsassa-pss", "rsa", {oids.RSASSA_PSS: None}, "pss", _DIGESTS, do.pss_sign, do.pss_verify
    ),
    SignatureScheme(
        "ecdsa",
        "ec",
        {
            oids.ECDSA_WITH_SHA256: "sha256",
            oids.ECDSA_WITH_SHA384: "sha384",
            oids.ECDSA_WITH_SHA512: "sha512",
            oids.ECDSA_WITH_SHA3_256: "sha3-256",
            oids.ECDSA_WITH_SHA224: "sha224",
            oids.ECDSA_WITH_SHA1: "sha1",
            # some signers name the key's algorithm; digestAlgorithm decides then
            oids.EC_PUBLIC_KEY: None,
        },
        "absent",
        _DIGESTS,
        do.ecdsa_sign,
        do.ecdsa_verify,
        write_by_digest=True,
    ),
    SignatureScheme(
        # RFC 8419 3.1: with signed attributes the digest is SHA-512
        "ed25519",
        "ed25519",
        {oids.ED25519: None},
        "absent",
        ("sha512",),
        do.pure_sign,
        do.pure_verify,
        strict=True,
    ),
    SignatureScheme(
        # RFC 8419 3.1: id-shake256-len of 512 bits; OpenSSL and blamejs write id-shake256
        "ed448",
        "ed448",
        {oids.ED448: None},
        "absent",
        ("shake256-len", "shake256"),
        do.pure_sign,
        do.pure_verify,
        strict=True,
    ),
    _ml_dsa("ml-dsa-44", oids.ML_DSA_44),
    _ml_dsa("ml-dsa-65", oids.ML_DSA_65),
    _ml_dsa("ml-dsa-87", oids.ML_DSA_87),
    SignatureScheme(
        "dsa",
        "dsa",
        {
            oids.DSA_WITH_SHA1: "sha1",
            oids.DSA: None,
            oids.DSA_WITH_SHA224: "sha224",
            oids.DSA_WITH_SHA256: "sha256",
        },
        "any",
        ("sha256",),
        None,
        do.dsa_verify,
    ),
    KeyTransport(
        "rsaes-pkcs1v15",
        oids.RSA_ENCRYPTION,
        "rsa",
        "null",
        do.rsa_pkcs1_wrap,
        do.rsa_pkcs1_unwrap,
        implicit_rejection=True,
    ),
    KeyTransport("rsaes-oaep", oids.RSAES_OAEP, "rsa", "oaep", do.oaep_wrap, do.oaep_unwrap),
    KeyAgreement(
        "dhsinglepass-stddh-sha256kdf", oids.STD_DH_SHA256_KDF, _ANY_CURVE, do.x963(hashes.SHA256())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha384kdf", oids.STD_DH_SHA384_KDF, _ANY_CURVE, do.x963(hashes.SHA384())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha512kdf", oids.STD_DH_SHA512_KDF, _ANY_CURVE, do.x963(hashes.SHA512())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha224kdf", oids.STD_DH_SHA224_KDF, _ANY_CURVE, do.x963(hashes.SHA224())
    ),
    # the KDF of Outlook, MimeKit and OpenSSL's default; SHA-1 is not weak as a KDF's hash
    KeyAgreement("dhsinglepass-stddh-sha1kdf", oids.STD_DH_SHA1_KDF, _EC, do.x963(hashes.SHA1())),  # noqa: S303
    # with a cofactor of 1, as all these curves have, the cofactor forms are the same (RFC 5753)
    KeyAgreement(
        "dhsinglepass-cofactordh-sha256kdf",
        oids.COFACTOR_DH_SHA256_KDF,
        _EC,
        do.x963(hashes.SHA256()),
    ),
    KeyAgreement(
        "dhsinglepass-cofactordh-sha384kdf",
        oids.COFACTOR_DH_SHA384_KDF,
        _EC,
        do.x963(hashes.SHA384()),
    ),
    KeyAgreement(
        "dhsinglepass-cofactordh-sha512kdf",
        oids.COFACTOR_DH_SHA512_KDF,
        _EC,
        do.x963(hashes.SHA512()),
    ),
    KeyAgreement(
        "dhsinglepass-cofactordh-sha224kdf",
        oids.COFACTOR_DH_SHA224_KDF,
        _EC,
        do.x963(hashes.SHA224()),
    ),
    KeyAgreement(
        "dhsinglepass-cofactordh-sha1kdf",
        oids.COFACTOR_DH_SHA1_KDF,
        _EC,
        do.x963(hashes.SHA1()),  # noqa: S303
    ),
    KeyAgreement(
        "dhsinglepass-stddh-hkdf-sha256",
        oids.STD_DH_HKDF_SHA256,
        _ANY_CURVE,
        do.hkdf(hashes.SHA256()),
    ),
    KeyAgreement(
        "dhsinglepass-stddh-hkdf-sha384",
        oids.STD_DH_HKDF_SHA384,
        _ANY_CURVE,
        do.hkdf(hashes.SHA384()),
    ),
    KeyAgreement(
        "dhsinglepass-stddh-hkdf-sha512",
        oids.STD_DH_HKDF_SHA512,
        _ANY_CURVE,
        do.hkdf(hashes.SHA512()),
    ),
    Kem("ml-kem-768", oids.ML_KEM_768, "ml-kem-768", "aes256-wrap"),
    Kem("ml-kem-1024", oids.ML_KEM_1024, "ml-kem-1024", "aes256-wrap"),
    KeyDerivation("hkdf-sha256", oids.HKDF_SHA256, do.hkdf(hashes.SHA256())),
    KeyDerivation("hkdf-sha384", oids.HKDF_SHA384, do.hkdf(hashes.SHA384())),
    KeyDerivation("hkdf-sha512", oids.HKDF_SHA512, do.hkdf(hashes.SHA512())),
    KeyWrap("aes128-wrap", oids.AES128_WRAP, 16, do.aes_wrap, do.aes_unwrap),
    KeyWrap("aes192-wrap", oids.AES192_WRAP, 24, do.aes_wrap, do.aes_unwrap),
    KeyWrap("aes256-wrap", oids.AES256_WRAP, 32, do.aes_wrap, do.aes_unwrap),
    KeyWrap("des-ede3-wrap", oids.CMS_3DES_WRAP, 24, do.des3_wrap, do.des3_unwrap),
    PasswordEncryption("pwri-kek", oids.PWRI_KEK),
    ContentCipher("aes128-cbc", oids.AES128_CBC, 16, **do.AES_CBC),
    ContentCipher("aes192-cbc", oids.AES192_CBC, 24, **do.AES_CBC),
    ContentCipher("aes256-cbc", oids.AES256_CBC, 32, **do.AES_CBC),
    ContentCipher("aes128-gcm", oids.AES128_GCM, 16, **_GCM),
    ContentCipher("aes192-gcm", oids.AES192_GCM, 24, **_GCM),
    ContentCipher("aes256-gcm", oids.AES256_GCM, 32, **_GCM),
    ContentCipher("aes128-ccm", oids.AES128_CCM, 16, **_CCM),
    ContentCipher("aes192-ccm", oids.AES192_CCM, 24, **_CCM),
    ContentCipher("aes256-ccm", oids.AES256_CCM, 32, **_CCM),
    ContentCipher(
        "chacha20-poly1305",
        oids.CHACHA20_POLY1305,
        32,
        12,
        "nonce",
        do.chacha_encrypt,
        do.chacha_decrypt,
        aead=True,
        tag_size=16,
    ),
    ContentCipher("des-ede3-cbc", oids.DES_EDE3_CBC, 24, **do.DES_EDE3_CBC),
    ContentCipher("rc2-cbc", oids.RC2_CBC, 16, 8, "rc2", do.rc2_cbc_encrypt, do.rc2_cbc_decrypt),
    CekDerivation("cek-hkdf-sha256", oids.CEK_HKDF_SHA256, do.cek_hkdf),
    Compression("zlib", oids.ZLIB, do.zlib_compress, do.zlib_decompress),
)

# Which kind of key a public key algorithm is (RFC 5480, 8410, 4055, 9881, 9935)
KEY_KINDS: Mapping[str, str] = {
    oids.RSA_ENCRYPTION: "rsa",
    oids.RSASSA_PSS: "rsa-pss",
    oids.EC_PUBLIC_KEY: "ec",
    oids.ED25519: "ed25519",
    oids.ED448: "ed448",
    oids.X25519: "x25519",
    oids.X448: "x448",
    oids.ML_DSA_44: "ml-dsa-44",
    oids.ML_DSA_65: "ml-dsa-65",
    oids.ML_DSA_87: "ml-dsa-87",
    oids.ML_KEM_768: "ml-kem-768",
    oids.ML_KEM_1024: "ml-kem-1024",
    oids.DSA: "dsa",
}
AGREEMENT_KEYS: Mapping[str, AgreementKey] = {
    "ec": AgreementKey(do.ec_ephemeral, do.ec_exchange, do.ec_encode, do.ec_decode),
    "x25519": AgreementKey(
        do.x25519_ephemeral, do.montgomery_exchange, do.montgomery_encode, do.x25519_decode
    ),
    "x448": AgreementKey(
        do.x448_ephemeral, do.montgomery_exchange, do.montgomery_encode, do.x448_decode
    ),
}

_BY_OID: Mapping[tuple[type, str], Row] = {
    (type(row), oid): row for row in TABLE for oid in row.oids
}
_BY_KIND: Mapping[type, tuple[Row, ...]] = {
    kind: tuple(row for row in TABLE if type(row) is kind) for kind in {type(row) for row in TABLE}
}
_BY_NAME: Mapping[tuple[type, str], Row] = {(type(row), row.name): row for row in TABLE}


def by_oid(kind: type[R], oid: str, *, where: str) -> R:
    """The row of this kind with this identifier; UnsupportedAlgorithm, naming `where`, if none."""
    row = _BY_OID.get((kind, oid))
    if row is None:
        raise UnsupportedAlgorithm(oid, where=where)
    return row  # type: ignore[return-value]


def by_name(kind: type[R], name: str) -> R:
    """The row of this kind with this name; KeyError if there is none."""
    return _BY_NAME[kind, name]  # type: ignore[return-value]


def rows(kind: type[R]) -> tuple[R, ...]:
    """All rows of this kind, in the order of the table."""
    return _BY_KIND[kind]  # type: ignore[return-value]
