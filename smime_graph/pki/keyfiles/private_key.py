"""A private key from its DER: PKCS#8 or traditional, and every form of ML-KEM and ML-DSA keys.

    ML-DSA-44-PrivateKey ::= CHOICE {
        seed         [0] IMPLICIT OCTET STRING,
        expandedKey  OCTET STRING,
        both         SEQUENCE { seed OCTET STRING, expandedKey OCTET STRING } }

RFC 9881 6, and RFC 9935 6 for ML-KEM. `cryptography` takes the seed alone, which is all there is to
know of a key; an expanded key cannot be turned back into its seed.
"""

from __future__ import annotations

from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm as _Unsupported
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from ... import algorithms
from ...algorithms import KeyKind, SeededForm
from ...asn1 import ber
from ...errors import MalformedMessage, UnsupportedAlgorithm, UsageError


def load_private_key(der: bytes) -> Any:
    """The private key. UsageError says what it is where it is not one that is read here.

    No error quotes anything of the key, nor is the cause of one kept, which could.
    """
    info = _private_key_info(der)
    kind = None if info is None else algorithms.find(KeyKind, info[0])
    try:
        if info is not None and kind is not None and kind.seeded is not None:
            return _load_seeded(kind, kind.seeded, info[1])
        # its own validation asks whether the factors are prime: a fifth of a second for RSA-3072,
        # in every process, and more than all else that signing a message takes
        key = ser.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
        if not isinstance(key, rsa.RSAPrivateKey) or _is_consistent(key.private_numbers()):
            return key
    except UsageError:
        raise
    except _Unsupported:
        if info is not None and not (kind is not None and kind.has_curves):
            raise UnsupportedAlgorithm(info[0], where="its private key") from None
    except (ValueError, TypeError, MalformedMessage):
        pass
    raise UsageError("it holds a private key that is malformed or of an unknown kind")


def _is_consistent(key: rsa.RSAPrivateNumbers) -> bool:
    """Whether the numbers belong together (RFC 8017 3.2), as those of a damaged file do not.

    That the factors are prime is the word of whoever made the key, who knows it in any case.
    """
    p, q, d = key.p, key.q, key.d
    e, n = key.public_numbers.e, key.public_numbers.n
    return (
        min(p, q, e) > 2
        and e % 2 == p % 2 == q % 2 == 1
        and p != q
        and p * q == n
        and 1 < d < n
        and d * e % (p - 1) == d * e % (q - 1) == 1
        and (key.dmp1, key.dmq1) == (d % (p - 1), d % (q - 1))
        and key.iqmp * q % p == 1
        and 0 < key.iqmp < p
    )


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


def _load_seeded(kind: KeyKind, form: SeededForm, octets: bytes) -> Any:
    if octets[:1] == b"\x04":
        raise UsageError(
            f"it holds an {kind.title} private key in the expanded form alone",
            hint="export the key with its seed, which is the form needed (RFC 9881 6, RFC 9935 6)",
        )
    if octets[:1] != b"\x30":
        return _from_seed(kind.oid, bytes(ber.read(octets, "seed", tag=0x80).contents))
    parts = ber.Fields(ber.read(octets, "privateKey"), "privateKey")
    seed = bytes(parts.take(ber.OCTET_STRING, "seed").contents)
    expanded = bytes(parts.take(ber.OCTET_STRING, "expandedKey").contents)
    parts.end()
    key = _from_seed(kind.oid, seed)
    public = key.public_key().public_bytes_raw()
    if len(expanded) != form.size or not form.belongs(public, seed, expanded):
        raise UsageError(
            f"it holds an {kind.title} private key whose seed and expanded form are not one key",
            hint="export the key again, or use another",
        )
    return key


def _from_seed(oid: str, seed: bytes) -> Any:
    choice = ber.context(0, seed, constructed=False)
    algorithm = ber.sequence(ber.oid(oid))
    info = ber.sequence(ber.integer(0), algorithm, ber.octet_string(choice))
    return ser.load_der_private_key(info, None)
