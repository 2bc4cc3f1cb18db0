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
        return ser.load_der_private_key(der, None)
    except UsageError:
        raise
    except _Unsupported:
        if info is not None and not (kind is not None and kind.has_curves):
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
