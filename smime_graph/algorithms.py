"""THE table: every algorithm this package can use, one row each.

A row names the algorithm as its RFC does, carries its object identifiers, and holds the function
that calls the primitive in `cryptography`. Nothing else in the package compares an algorithm by
name or decides by if-ladders: a new algorithm is one row here, one vector, and a name in each
policy.

Parameters that stand in an AlgorithmIdentifier are read and written by `cms.parameters`; a row says
only of which kind they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.kdf.x963kdf import X963KDF

from . import oids
from .errors import UnsupportedAlgorithm

# --- what the rows are (singletons: eq=False, compared by identity) ------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Digest:
    """A message digest; `micalg` is its name in multipart/signed (RFC 8551 3.5.3.2)."""

    name: str
    oid: str
    size: int
    micalg: str
    hash: hashes.HashAlgorithm

    def compute(self, *data: bytes | memoryview) -> bytes:
        state = hashlib.new(self.name, usedforsecurity=False)
        for piece in data:
            state.update(piece)
        return state.digest()

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

    `key` is the kind of key it needs (see `KEY_KINDS`), `oid` what is written, `by_oid` every
    identifier that is read with the digest it fixes (None: the SignerInfo's digestAlgorithm
    decides). `digests` are those that may be used with it, the first by default. `parameters` is
    "absent", "null" or "pss".
    """

    name: str
    key: str
    by_oid: Mapping[str, str | None]
    parameters: str
    digests: tuple[str, ...]
    sign: Callable[[Any, bytes, Digest], bytes]
    verify: Callable[[Any, bytes, bytes | memoryview, Digest, PssParameters | None], None]
    write_by_digest: bool = False  # the identifier that fixes the digest is written (ECDSA)

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
    nothing before the tag is checked. `parameters` is "iv" or "gcm".
    """

    name: str
    oid: str
    key_size: int
    iv_size: int
    parameters: str
    encrypt: Callable[[bytes, bytes, bytes | memoryview], tuple[bytes | memoryview, bytes]]
    decrypt: Callable[[bytes, bytes, bytes | memoryview, bytes, bytes], bytes]
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
    """A key agreement scheme (RFC 5652 6.2.2): shared secret, then the KDF `derive(secret, size,
    info)`.
    """

    name: str
    oid: str
    key: str
    derive: Callable[[bytes, int, bytes], bytes]

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


Row = Digest | SignatureScheme | ContentCipher | KeyTransport | KeyAgreement | KeyWrap
R = TypeVar("R", bound=Row)


# --- primitives ---------------------------------------------------------------------------


def _rsa_pkcs1_sign(key: Any, data: bytes, digest: Digest) -> bytes:
    return bytes(key.sign(data, padding.PKCS1v15(), digest.hash))


def _rsa_pkcs1_verify(
    key: Any, signature: bytes, data: bytes | memoryview, digest: Digest, _: PssParameters | None
) -> None:
    key.verify(signature, data, padding.PKCS1v15(), digest.hash)


def _pss_sign(key: Any, data: bytes, digest: Digest) -> bytes:
    # RFC 4056 2.2: the salt is as long as the digest
    return bytes(key.sign(data, padding.PSS(padding.MGF1(digest.hash), digest.size), digest.hash))


def _pss_verify(
    key: Any,
    signature: bytes,
    data: bytes | memoryview,
    _: Digest,
    parameters: PssParameters | None,
) -> None:
    if parameters is None:
        raise InvalidSignature
    pss = padding.PSS(padding.MGF1(parameters.mgf_digest.hash), parameters.salt)
    key.verify(signature, data, pss, parameters.digest.hash)


def _ecdsa_sign(key: Any, data: bytes, digest: Digest) -> bytes:
    return bytes(key.sign(data, ec.ECDSA(digest.hash)))


def _ecdsa_verify(
    key: Any, signature: bytes, data: bytes | memoryview, digest: Digest, _: PssParameters | None
) -> None:
    key.verify(signature, data, ec.ECDSA(digest.hash))


def _eddsa_sign(key: Any, data: bytes, _: Digest) -> bytes:
    return bytes(key.sign(data))


def _eddsa_verify(
    key: Any, signature: bytes, data: bytes | memoryview, _: Digest, __: PssParameters | None
) -> None:
    key.verify(signature, data)


# Above this, a whole-buffer call is bounded by page faults on fresh memory, not by the cipher.
_CHUNK = 1 << 20


def _cbc(algorithm: Callable[[bytes], Any], block: int) -> dict[str, Any]:
    def encrypt(key: bytes, iv: bytes, content: bytes | memoryview) -> tuple[bytes, bytes]:
        view = memoryview(content)
        encryptor = Cipher(algorithm(key), modes.CBC(iv)).encryptor()
        whole = len(view) - len(view) % block
        pad = block - len(view) % block
        # RFC 5652 6.3: always padded, with as many octets as are missing
        last = bytes(view[whole:]) + bytes((pad,)) * pad
        out = bytearray(whole + 2 * block - 1 + len(last))
        written = 0
        for start in range(0, whole, _CHUNK):
            piece = view[start : min(start + _CHUNK, whole)]
            written += encryptor.update_into(piece, memoryview(out)[written:])
        written += encryptor.update_into(last, memoryview(out)[written:])
        del out[written:]
        return bytes(out) if whole < _CHUNK else out, b""  # type: ignore[return-value]

    def decrypt(
        key: bytes, iv: bytes, ciphertext: bytes | memoryview, _: bytes, __: bytes
    ) -> bytes:
        if not ciphertext or len(ciphertext) % block:
            raise ValueError
        decryptor = Cipher(algorithm(key), modes.CBC(iv)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        pad = padded[-1]
        if not 1 <= pad <= block or padded[-pad:] != bytes((pad,)) * pad:
            raise ValueError
        return bytes(padded[:-pad])

    return {"encrypt": encrypt, "decrypt": decrypt, "iv_size": block, "parameters": "iv"}


def _gcm_encrypt(key: bytes, nonce: bytes, content: bytes | memoryview) -> tuple[memoryview, bytes]:
    sealed = memoryview(AESGCM(key).encrypt(nonce, content, None))
    return sealed[:-16], bytes(sealed[-16:])


def _gcm_decrypt(
    key: bytes, nonce: bytes, ciphertext: bytes | memoryview, tag: bytes, aad: bytes
) -> bytes:
    try:
        # AESGCM takes 16-octet tags only; RFC 5084 3.2 allows 12 to 16
        decryptor = Cipher(AES(key), modes.GCM(nonce, tag, min_tag_length=12)).decryptor()
        decryptor.authenticate_additional_data(aad)
        content = decryptor.update(ciphertext)
        decryptor.finalize()
    except InvalidTag:
        raise ValueError from None
    return content


_GCM: dict[str, Any] = {
    "encrypt": _gcm_encrypt,
    "decrypt": _gcm_decrypt,
    "iv_size": 12,
    "parameters": "gcm",
    "aead": True,
    "tag_size": 16,
}


def _rsa_pkcs1_wrap(key: Any, cek: bytes, _: OaepParameters | None) -> bytes:
    return bytes(key.encrypt(cek, padding.PKCS1v15()))


def _rsa_pkcs1_unwrap(key: Any, wrapped: bytes, _: OaepParameters | None) -> bytes:
    return bytes(key.decrypt(wrapped, padding.PKCS1v15()))


def _oaep(parameters: OaepParameters | None) -> padding.OAEP:
    if parameters is None:
        raise ValueError
    return padding.OAEP(
        padding.MGF1(parameters.mgf_digest.hash), parameters.digest.hash, parameters.label or None
    )


def _oaep_wrap(key: Any, cek: bytes, parameters: OaepParameters | None) -> bytes:
    return bytes(key.encrypt(cek, _oaep(parameters)))


def _oaep_unwrap(key: Any, wrapped: bytes, parameters: OaepParameters | None) -> bytes:
    return bytes(key.decrypt(wrapped, _oaep(parameters)))


def _x963(algorithm: hashes.HashAlgorithm) -> Callable[[bytes, int, bytes], bytes]:
    return lambda secret, size, info: X963KDF(algorithm, size, info).derive(secret)


def _aes_wrap(kek: bytes, cek: bytes) -> bytes:
    return keywrap.aes_key_wrap(kek, cek)


def _aes_unwrap(kek: bytes, wrapped: bytes) -> bytes:
    try:
        return keywrap.aes_key_unwrap(kek, wrapped)
    except keywrap.InvalidUnwrap:
        raise ValueError from None


# --- the table ----------------------------------------------------------------------------

MD5 = Digest("md5", oids.MD5, 16, "md5", hashes.MD5())  # noqa: S303 - read only, by ARCHIVE
SHA1 = Digest("sha1", oids.SHA1, 20, "sha-1", hashes.SHA1())  # noqa: S303 - read only, by ARCHIVE
SHA224 = Digest("sha224", oids.SHA224, 28, "sha-224", hashes.SHA224())
SHA256 = Digest("sha256", oids.SHA256, 32, "sha-256", hashes.SHA256())
SHA384 = Digest("sha384", oids.SHA384, 48, "sha-384", hashes.SHA384())
SHA512 = Digest("sha512", oids.SHA512, 64, "sha-512", hashes.SHA512())

_SHA2 = ("sha256", "sha384", "sha512")

TABLE: tuple[Row, ...] = (
    MD5,
    SHA1,
    SHA224,
    SHA256,
    SHA384,
    SHA512,
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
            oids.SHA224_WITH_RSA: "sha224",
            oids.SHA1_WITH_RSA: "sha1",
            oids.MD5_WITH_RSA: "md5",
        },
        "null",
        _SHA2,
        _rsa_pkcs1_sign,
        _rsa_pkcs1_verify,
    ),
    SignatureScheme(
        "rsassa-pss", "rsa", {oids.RSASSA_PSS: None}, "pss", _SHA2, _pss_sign, _pss_verify
    ),
    SignatureScheme(
        "ecdsa",
        "ec",
        {
            oids.ECDSA_WITH_SHA256: "sha256",
            oids.ECDSA_WITH_SHA384: "sha384",
            oids.ECDSA_WITH_SHA512: "sha512",
            oids.ECDSA_WITH_SHA224: "sha224",
            oids.ECDSA_WITH_SHA1: "sha1",
            # some signers name the key's algorithm; digestAlgorithm decides then
            oids.EC_PUBLIC_KEY: None,
        },
        "absent",
        _SHA2,
        _ecdsa_sign,
        _ecdsa_verify,
        write_by_digest=True,
    ),
    # RFC 8419 3.1: with signed attributes the digest is SHA-512
    SignatureScheme(
        "ed25519",
        "ed25519",
        {oids.ED25519: None},
        "absent",
        ("sha512",),
        _eddsa_sign,
        _eddsa_verify,
    ),
    KeyTransport(
        "rsaes-pkcs1v15",
        oids.RSA_ENCRYPTION,
        "rsa",
        "null",
        _rsa_pkcs1_wrap,
        _rsa_pkcs1_unwrap,
        implicit_rejection=True,
    ),
    KeyTransport("rsaes-oaep", oids.RSAES_OAEP, "rsa", "oaep", _oaep_wrap, _oaep_unwrap),
    KeyAgreement(
        "dhsinglepass-stddh-sha256kdf", oids.STD_DH_SHA256_KDF, "ec", _x963(hashes.SHA256())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha384kdf", oids.STD_DH_SHA384_KDF, "ec", _x963(hashes.SHA384())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha512kdf", oids.STD_DH_SHA512_KDF, "ec", _x963(hashes.SHA512())
    ),
    KeyAgreement(
        "dhsinglepass-stddh-sha224kdf", oids.STD_DH_SHA224_KDF, "ec", _x963(hashes.SHA224())
    ),
    # the KDF of Outlook, MimeKit and OpenSSL's default; SHA-1 is not weak as a KDF's hash
    KeyAgreement(
        "dhsinglepass-stddh-sha1kdf",
        oids.STD_DH_SHA1_KDF,
        "ec",
        _x963(hashes.SHA1()),  # noqa: S303
    ),
    KeyWrap("aes128-wrap", oids.AES128_WRAP, 16, _aes_wrap, _aes_unwrap),
    KeyWrap("aes192-wrap", oids.AES192_WRAP, 24, _aes_wrap, _aes_unwrap),
    KeyWrap("aes256-wrap", oids.AES256_WRAP, 32, _aes_wrap, _aes_unwrap),
    ContentCipher("aes128-cbc", oids.AES128_CBC, 16, **_cbc(AES, 16)),
    ContentCipher("aes192-cbc", oids.AES192_CBC, 24, **_cbc(AES, 16)),
    ContentCipher("aes256-cbc", oids.AES256_CBC, 32, **_cbc(AES, 16)),
    ContentCipher("aes128-gcm", oids.AES128_GCM, 16, **_GCM),
    ContentCipher("aes192-gcm", oids.AES192_GCM, 24, **_GCM),
    ContentCipher("aes256-gcm", oids.AES256_GCM, 32, **_GCM),
    ContentCipher("des-ede3-cbc", oids.DES_EDE3_CBC, 24, **_cbc(TripleDES, 8)),
)

# Which kind of key a public key algorithm is (RFC 5480, 8410, 4055)
KEY_KINDS: Mapping[str, str] = {
    oids.RSA_ENCRYPTION: "rsa",
    oids.RSASSA_PSS: "rsa-pss",
    oids.EC_PUBLIC_KEY: "ec",
    oids.ED25519: "ed25519",
}

_BY_OID: Mapping[tuple[type, str], Row] = {
    (type(row), oid): row for row in TABLE for oid in row.oids
}
_BY_KIND: Mapping[type, tuple[Row, ...]] = {
    kind: tuple(row for row in TABLE if type(row) is kind) for kind in {type(row) for row in TABLE}
}
_BY_NAME: Mapping[tuple[type, str], Row] = {(type(row), row.name): row for row in TABLE}


def by_oid(kind: type[R], oid: str, *, where: str) -> R:
    """The row of this kind with this identifier; UnsupportedAlgorithm, naming `where`, if there is
    none.
    """
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
