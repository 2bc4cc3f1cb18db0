"""The kinds of key, one row each: whatever the package asks about a key is answered here.

A new kind of key is a row here, its identifiers in `oids`, and a module only for work that no other
kind has. Rows of `table` say with which kinds an algorithm goes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import (
    dsa,
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    padding,
    rsa,
    x448,
    x25519,
)

from .. import oids
from . import primitives as do
from .rows import AgreementKey, KeyKind, ParameterSet, SeededForm

# --- what a kind of key does ----------------------------------------------------------------------

NOT_OF_KEY = "its algorithm does not go with the issuer's kind of key"


def _rsa_verify(*paddings: type) -> Callable[..., None]:
    def verify(key: Any, signature: bytes, data: Any, parameters: Any, digest: Any) -> None:
        if digest is None or not isinstance(parameters, paddings):
            raise InvalidSignature(NOT_OF_KEY)
        key.verify(signature, data, parameters, digest)

    return verify


def _ec_verify(key: Any, signature: bytes, data: Any, parameters: Any, _: Any) -> None:
    if not isinstance(parameters, ec.ECDSA):
        raise InvalidSignature(NOT_OF_KEY)
    key.verify(signature, data, parameters)


def _dsa_verify(key: Any, signature: bytes, data: Any, parameters: Any, digest: Any) -> None:
    if digest is None or parameters is not None:
        raise InvalidSignature(NOT_OF_KEY)
    key.verify(signature, data, digest)


_MULTIPLICATION = 2.8e-7  # of two bits, in the unit of a budget


def _rsa_price(key: Any) -> float:
    # the exponent may be as long as the modulus: then it is that of a private key
    return float(key.key_size**2 * key.public_numbers().e.bit_length() * _MULTIPLICATION)


def _dsa_price(key: Any) -> float:
    return float(key.key_size**2 * 512 * _MULTIPLICATION)


def _ec_price(key: Any) -> float:
    return 300 if key.key_size <= 256 else 1150


def _ml_dsa_belongs(public: bytes, _: bytes, expanded: bytes) -> bool:
    # FIPS 204 7.2: sk = rho, K, tr = H(pk), ...; pk = rho, t1
    tr = hashlib.shake_256(public).digest(64)
    return expanded[:32] == public[:32] and expanded[64:128] == tr


def _ml_kem_belongs(public: bytes, seed: bytes, expanded: bytes) -> bool:
    # FIPS 203 7.1: dk = dk_PKE, ek, H(ek), z
    return expanded.endswith(public + hashlib.sha3_256(public).digest() + seed[32:])


# --- the rows -------------------------------------------------------------------------------------


def _modulus(bits: int) -> ParameterSet:
    return ParameterSet(
        f"rsa-{bits}", lambda: rsa.generate_private_key(65537, bits), digest=hashes.SHA256()
    )


def _curve(name: str, oid: str, curve: ec.EllipticCurve) -> ParameterSet:
    # as strong as the curve: RFC 5753 8 and 9, and for certificates S/MIME BR 7.1.3.2.2
    size = curve.key_size
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 = (
        hashes.SHA256() if size <= 256 else hashes.SHA384() if size <= 384 else hashes.SHA512()
    )
    agreement = f"dhsinglepass-stddh-{digest.name}kdf"
    return ParameterSet(
        name, lambda: ec.generate_private_key(curve), oid, curve.name, agreement, digest
    )


def _pure(
    name: str, oid: str, title: str, public: type, private: Any, companion: str, **more: Any
) -> KeyKind:
    """A kind that signs the data itself, without parameters (RFC 8410, RFC 9881)."""
    more |= {"signs": True, "companion": companion, "verify": do.pure_verify, "pure": True}
    return KeyKind(
        name, oid, title, public, private, (ParameterSet(name, private.generate),), **more
    )


def _ml_dsa(
    name: str, oid: str, public: type, private: Any, companion: str, expanded: int
) -> KeyKind:
    form = SeededForm(expanded, _ml_dsa_belongs)
    title = name.upper()
    return _pure(name, oid, title, public, private, companion, quantum_safe=True, seeded=form)


def _ml_kem(name: str, oid: str, public: type, private: Any, expanded: int) -> KeyKind:
    return KeyKind(
        *(name, oid, name.upper(), public, private, (ParameterSet(name, private.generate),)),
        encrypts="key_encipherment",
        quantum_safe=True,
        seeded=SeededForm(expanded, _ml_kem_belongs),
    )


def _montgomery(
    name: str, oid: str, public: type, private: Any, digest: str, own: AgreementKey
) -> KeyKind:
    """A kind that only agrees on secrets (RFC 8410, RFC 8418)."""
    usual = f"dhsinglepass-stddh-hkdf-{digest}"
    sets = (ParameterSet(name, private.generate, agreement=usual),)
    more: Any = {"encrypts": "key_agreement", "agreement": own}
    return KeyKind(name, oid, name.upper(), public, private, sets, **more)


_RSA = KeyKind(
    *("rsa", oids.RSA_ENCRYPTION, "RSA", rsa.RSAPublicKey, rsa.RSAPrivateKey),
    (_modulus(1024), _modulus(2048), _modulus(3072), _modulus(4096)),
    signs=True,
    encrypts="key_encipherment",
    verify=_rsa_verify(padding.PKCS1v15, padding.PSS),
    minimum_bits=None,
    readable_bits=1024,
    price=_rsa_price,
)
# such a key makes no other signatures (RFC 4055 1.2); `cryptography` has no class for it
_RSA_PSS = _RSA.but(
    name="rsa-pss",
    oid=oids.RSASSA_PSS,
    title="RSASSA-PSS",
    parameter_sets=(),
    encrypts="",
    verify=_rsa_verify(padding.PSS),
)

# keyUsage: RFC 8550 4.4.2, RFC 5480 3, RFC 8410 5, RFC 9881 4, RFC 9936 5; sizes of what is made of
# a seed: FIPS 203 table 3, FIPS 204 table 2
KEYS: tuple[KeyKind, ...] = (
    _RSA,
    _RSA_PSS,
    KeyKind(
        *("ec", oids.EC_PUBLIC_KEY, "EC", ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey),
        (
            _curve("p256", oids.SECP256R1, ec.SECP256R1()),
            _curve("p384", oids.SECP384R1, ec.SECP384R1()),
            _curve("p521", oids.SECP521R1, ec.SECP521R1()),
            _curve("brainpool-p256r1", oids.BRAINPOOL_P256R1, ec.BrainpoolP256R1()),
            _curve("brainpool-p384r1", oids.BRAINPOOL_P384R1, ec.BrainpoolP384R1()),
            _curve("brainpool-p512r1", oids.BRAINPOOL_P512R1, ec.BrainpoolP512R1()),
        ),
        signs=True,
        encrypts="key_agreement",
        verify=_ec_verify,
        # without a random source: the same key and content give the same certificate
        certificate_options={"ecdsa_deterministic": True},
        minimum_bits=224,
        price=_ec_price,
        agreement=AgreementKey(do.ec_ephemeral, do.ec_exchange, do.ec_encode, do.ec_decode),
    ),
    _pure(
        *("ed25519", oids.ED25519, "Ed25519", ed25519.Ed25519PublicKey, ed25519.Ed25519PrivateKey),
        "x25519",
    ),
    _pure("ed448", oids.ED448, "Ed448", ed448.Ed448PublicKey, ed448.Ed448PrivateKey, "x448"),
    _ml_dsa(
        *("ml-dsa-44", oids.ML_DSA_44, mldsa.MLDSA44PublicKey, mldsa.MLDSA44PrivateKey),
        *("ml-kem-768", 2560),
    ),
    _ml_dsa(
        *("ml-dsa-65", oids.ML_DSA_65, mldsa.MLDSA65PublicKey, mldsa.MLDSA65PrivateKey),
        *("ml-kem-768", 4032),
    ),
    _ml_dsa(
        *("ml-dsa-87", oids.ML_DSA_87, mldsa.MLDSA87PublicKey, mldsa.MLDSA87PrivateKey),
        *("ml-kem-1024", 4896),
    ),
    KeyKind(
        *("dsa", oids.DSA, "DSA", dsa.DSAPublicKey, dsa.DSAPrivateKey),  # verified only
        signs=True,
        verify=_dsa_verify,
        minimum_bits=None,
        readable_bits=1024,
        price=_dsa_price,
    ),
    _montgomery(
        *("x25519", oids.X25519, x25519.X25519PublicKey, x25519.X25519PrivateKey, "sha256"),
        AgreementKey(
            *(do.x25519_ephemeral, do.montgomery_exchange),
            *(do.montgomery_encode, do.x25519_decode),
        ),
    ),
    _montgomery(
        *("x448", oids.X448, x448.X448PublicKey, x448.X448PrivateKey, "sha512"),
        AgreementKey(
            *(do.x448_ephemeral, do.montgomery_exchange),
            *(do.montgomery_encode, do.x448_decode),
        ),
    ),
    _ml_kem("ml-kem-768", oids.ML_KEM_768, mlkem.MLKEM768PublicKey, mlkem.MLKEM768PrivateKey, 2400),
    _ml_kem(
        "ml-kem-1024", oids.ML_KEM_1024, mlkem.MLKEM1024PublicKey, mlkem.MLKEM1024PrivateKey, 3168
    ),
)
