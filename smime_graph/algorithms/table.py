"""THE table: every algorithm this package can use, one row each, and how a row is found.

Parameters that stand in an AlgorithmIdentifier are read and written by `cms.parameters`; a row says
only of which kind they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes

from .. import oids
from ..errors import UnsupportedAlgorithm
from . import primitives as do
from .keys import KEYS
from .rows import (
    CekDerivation,
    Compression,
    ContentCipher,
    Digest,
    Kem,
    KeyAgreement,
    KeyDerivation,
    KeyKind,
    KeyTransport,
    KeyWrap,
    PasswordEncryption,
    Row,
    SignatureScheme,
)

R = TypeVar("R", bound=Row)

# the first two are read only, by ARCHIVE
MD5 = Digest("md5", oids.MD5, 16, "md5", hashes.MD5(), forgeable=True)  # noqa: S303
SHA1 = Digest("sha1", oids.SHA1, 20, "sha-1", hashes.SHA1(), hmac=oids.HMAC_SHA1, forgeable=True)  # noqa: S303
SHA224 = Digest("sha224", oids.SHA224, 28, "sha-224", hashes.SHA224(), hmac=oids.HMAC_SHA224)
SHA256 = Digest("sha256", oids.SHA256, 32, "sha-256", hashes.SHA256(), hmac=oids.HMAC_SHA256)
SHA384 = Digest("sha384", oids.SHA384, 48, "sha-384", hashes.SHA384(), hmac=oids.HMAC_SHA384)
SHA512 = Digest("sha512", oids.SHA512, 64, "sha-512", hashes.SHA512(), hmac=oids.HMAC_SHA512)
_SHAKE = hashes.SHAKE256(64)
_LENGTH_512 = bytes.fromhex("02020200")  # INTEGER 512

_DIGESTS = ("sha256", "sha384", "sha512", "sha3-256")
_EC = ("ec",)
_ANY_CURVE = tuple(kind.name for kind in KEYS if kind.agreement is not None)
_GCM: dict[str, Any] = {
    "encrypt": do.gcm_encrypt,
    "decrypt": do.gcm_decrypt,
    "iv_size": 12,
    "parameters": "aead",
    "aead": True,
    "tag_size": 16,
}
_CCM = {**_GCM, "encrypt": do.ccm_encrypt, "decrypt": do.ccm_decrypt}


def _pure(name: str, oid: str, *digests: str, strict: bool = False) -> SignatureScheme:
    made = (name, (name,), {oid: None}, "absent", digests, do.pure_sign, do.pure_verify)
    return SignatureScheme(*made, strict=strict)


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
        ("rsa",),
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
        *("rsassa-pss", ("rsa", "rsa-pss"), {oids.RSASSA_PSS: None}, "pss", _DIGESTS),
        *(do.pss_sign, do.pss_verify),
    ),
    SignatureScheme(
        "ecdsa",
        _EC,
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
    # RFC 8419 3.1: with signed attributes the digest is SHA-512
    _pure("ed25519", oids.ED25519, "sha512", strict=True),
    # RFC 8419 3.1: id-shake256-len of 512 bits; OpenSSL and blamejs write id-shake256
    _pure("ed448", oids.ED448, "shake256-len", "shake256", strict=True),
    # RFC 9882 3.3: SHA-512 suits all three, and every implementation must have it
    _pure("ml-dsa-44", oids.ML_DSA_44, "sha512"),
    _pure("ml-dsa-65", oids.ML_DSA_65, "sha512"),
    _pure("ml-dsa-87", oids.ML_DSA_87, "sha512"),
    SignatureScheme(
        "dsa",
        ("dsa",),
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
        ("rsa",),
        "null",
        do.rsa_pkcs1_wrap,
        do.rsa_pkcs1_unwrap,
        implicit_rejection=True,
    ),
    KeyTransport("rsaes-oaep", oids.RSAES_OAEP, ("rsa",), "oaep", do.oaep_wrap, do.oaep_unwrap),
    *(
        KeyAgreement(f"dhsinglepass-stddh-{row.name}kdf", oid, kinds, do.x963(row.hash))
        for row, oid, kinds in (
            (SHA256, oids.STD_DH_SHA256_KDF, _ANY_CURVE),
            (SHA384, oids.STD_DH_SHA384_KDF, _ANY_CURVE),
            (SHA512, oids.STD_DH_SHA512_KDF, _ANY_CURVE),
            (SHA224, oids.STD_DH_SHA224_KDF, _ANY_CURVE),
            # the KDF of Outlook, MimeKit and OpenSSL's default; SHA-1 is not weak as a KDF's hash
            (SHA1, oids.STD_DH_SHA1_KDF, _EC),
        )
    ),
    *(
        # with a cofactor of 1, as all these curves have, the cofactor forms are the same (RFC 5753)
        KeyAgreement(f"dhsinglepass-cofactordh-{row.name}kdf", oid, _EC, do.x963(row.hash))
        for row, oid in (
            (SHA256, oids.COFACTOR_DH_SHA256_KDF),
            (SHA384, oids.COFACTOR_DH_SHA384_KDF),
            (SHA512, oids.COFACTOR_DH_SHA512_KDF),
            (SHA224, oids.COFACTOR_DH_SHA224_KDF),
            (SHA1, oids.COFACTOR_DH_SHA1_KDF),
        )
    ),
    *(
        KeyAgreement(f"dhsinglepass-stddh-hkdf-{row.name}", oid, _ANY_CURVE, do.hkdf(row.hash))
        for row, oid in (
            (SHA256, oids.STD_DH_HKDF_SHA256),
            (SHA384, oids.STD_DH_HKDF_SHA384),
            (SHA512, oids.STD_DH_HKDF_SHA512),
        )
    ),
    Kem("ml-kem-768", oids.ML_KEM_768, ("ml-kem-768",), "aes256-wrap", do.kem_encapsulate),
    Kem("ml-kem-1024", oids.ML_KEM_1024, ("ml-kem-1024",), "aes256-wrap", do.kem_encapsulate),
    KeyDerivation("hkdf-sha256", oids.HKDF_SHA256, do.hkdf(hashes.SHA256())),
    KeyDerivation("hkdf-sha384", oids.HKDF_SHA384, do.hkdf(hashes.SHA384())),
    KeyDerivation("hkdf-sha512", oids.HKDF_SHA512, do.hkdf(hashes.SHA512())),
    KeyWrap("aes128-wrap", oids.AES128_WRAP, 16, do.aes_wrap, do.aes_unwrap),
    KeyWrap("aes192-wrap", oids.AES192_WRAP, 24, do.aes_wrap, do.aes_unwrap),
    KeyWrap("aes256-wrap", oids.AES256_WRAP, 32, do.aes_wrap, do.aes_unwrap),
    KeyWrap("des-ede3-wrap", oids.CMS_3DES_WRAP, 24, do.des3_wrap, do.des3_unwrap),
    PasswordEncryption(
        "pwri-kek",
        oids.PWRI_KEK,
        ("aes128-cbc", "aes192-cbc", "aes256-cbc"),
        do.pwri_wrap,
        do.pwri_unwrap,
    ),
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

_ALL: tuple[Row, ...] = (*TABLE, *KEYS)
_BY_OID: Mapping[tuple[type, str], Row] = {
    (type(row), oid): row for row in _ALL for oid in row.oids
}
_BY_NAME: Mapping[type, Mapping[str, Row]] = {
    kind: {row.name: row for row in _ALL if type(row) is kind} for kind in set(map(type, _ALL))
}


def find(kind: type[R], oid: str) -> R | None:
    """The row of this kind with this identifier; None if there is none."""
    return _BY_OID.get((kind, oid))  # type: ignore[return-value]


def by_oid(kind: type[R], oid: str, *, where: str) -> R:
    """The row of this kind with this identifier; UnsupportedAlgorithm, naming `where`, if none."""
    if (row := find(kind, oid)) is None:
        raise UnsupportedAlgorithm(oid, where=where)
    return row


def by_name(kind: type[R], name: str) -> R:
    """The row of this kind with this name; KeyError if there is none."""
    return _BY_NAME[kind][name]  # type: ignore[return-value]


def rows(kind: type[R]) -> tuple[R, ...]:
    """All rows of this kind, in the order of the table."""
    return tuple(_BY_NAME[kind].values())  # type: ignore[arg-type]


def kind_of(key: Any) -> KeyKind | None:
    """The kind of a public key, by its class; None if it has no row."""
    return next((row for row in rows(KeyKind) if isinstance(key, row.public)), None)
