"""A private key from its DER: PKCS#8 or traditional, and every form of ML-KEM and ML-DSA keys.

    ML-DSA-44-PrivateKey ::= CHOICE {
        seed         [0] IMPLICIT OCTET STRING,
        expandedKey  OCTET STRING,
        both         SEQUENCE { seed OCTET STRING, expandedKey OCTET STRING } }

RFC 9881 6, and RFC 9935 6 for ML-KEM. `cryptography` takes the seed alone, which is all there is to
know of a key; an expanded key cannot be turned back into its seed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser

from ... import oids
from ...asn1 import ber
from ...errors import MalformedMessage, UnsupportedAlgorithm, UsageError


@dataclass(frozen=True, slots=True)
class _Seeded:
    """A kind of key made from a seed; sizes in octets (FIPS 203 table 3, FIPS 204 table 2)."""

    name: str
    seed: int
    expanded: int


_SEEDED = {
    oids.ML_DSA_44: _Seeded("ML-DSA-44", 32, 2560),
    oids.ML_DSA_65: _Seeded("ML-DSA-65", 32, 4032),
    oids.ML_DSA_87: _Seeded("ML-DSA-87", 32, 4896),
    oids.ML_KEM_768: _Seeded("ML-KEM-768", 64, 2400),
    oids.ML_KEM_1024: _Seeded("ML-KEM-1024", 64, 3168),
}


def load_private_key(der: bytes) -> Any:
    """The private key. UsageError says what it is where it is not one that is read here.

    No error quotes anything of the key, nor is the cause of one kept, which could.
    """
    info = _private_key_info(der)
    try:
        if info is not None and info[0] in _SEEDED:
            return _seeded(*info)
        return ser.load_der_private_key(der, None)
    except UsageError:
        raise
    except _Unsupported:
        if info is not None and info[0] != oids.EC_PUBLIC_KEY:  # there it is the curve
            raise UnsupportedAlgorithm(info[0], where="its private key") from None
    except (ValueError, TypeError, MalformedMessage):
        pass
    raise UsageError("it holds a private key that is malformed or of an unknown kind")


def _private_key_info(der: bytes) -> tuple[str, bytes] | None:
    """The algorithm and the key's own octets, where this is PKCS#8 (RFC 5958 2)."""
    try:
        fields = ber.Fields(ber.read(der, "PrivateKeyInfo"), "PrivateKeyInfo")
        fields.take(ber.INTEGER, "version")
        algorithm = ber.Fields(
            fields.take(ber.SEQUENCE, "privateKeyAlgorithm"), "privateKeyAlgorithm"
        )
        oid = algorithm.any("algorithm").as_oid()
        return oid, bytes(fields.take(ber.OCTET_STRING, "privateKey").contents)
    except MalformedMessage:
        return None


def _seeded(oid: str, octets: bytes) -> Any:
    kind = _SEEDED[oid]
    if octets[:1] == b"\x04":
        raise UsageError(
            f"it holds an {kind.name} private key in the expanded form alone",
            hint="export the key with its seed, which is the form needed (RFC 9881 6, RFC 9935 6)",
        )
    if octets[:1] != b"\x30":
        return _from_seed(oid, bytes(ber.read(octets, "seed", tag=0x80).contents))
    parts = ber.Fields(ber.read(octets, "privateKey"), "privateKey")
    seed = bytes(parts.take(ber.OCTET_STRING, "seed").contents)
    expanded = bytes(parts.take(ber.OCTET_STRING, "expandedKey").contents)
    parts.end()
    key = _from_seed(oid, seed)
    if len(expanded) != kind.expanded or not _belong_together(key, seed, expanded):
        raise UsageError(
            f"it holds an {kind.name} private key whose seed and expanded form are not one key",
            hint="export the key again, or use another",
        )
    return key


def _from_seed(oid: str, seed: bytes) -> Any:
    choice = ber.context(0, seed, constructed=False)
    algorithm = ber.sequence(ber.oid(oid))
    info = ber.sequence(ber.integer(0), algorithm, ber.octet_string(choice))
    return ser.load_der_private_key(info, None)


def _belong_together(key: Any, seed: bytes, expanded: bytes) -> bool:
    """Whether what the expanded key repeats of the public key and the seed is of this seed."""
    public = key.public_key().public_bytes_raw()
    if len(seed) == 64:  # FIPS 203 7.1: dk = dk_PKE, ek, H(ek), z
        return expanded.endswith(public + hashlib.sha3_256(public).digest() + seed[32:])
    # FIPS 204 7.2: sk = rho, K, tr = H(pk), ...; pk = rho, t1
    tr = hashlib.shake_256(public).digest(64)
    return expanded[:32] == public[:32] and expanded[64:128] == tr
