"""ML-KEM and ML-DSA keys that hold both seed and expanded key (RFC 9935 6, RFC 9881 6)."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import mldsa, mlkem

from smime_graph import UsageError, oids
from smime_graph.asn1 import ber
from smime_graph.pki.keyfiles.read import read_key_file

KEM = mlkem.MLKEM768PrivateKey.from_seed_bytes(bytes(range(64)))
DSA = mldsa.MLDSA65PrivateKey.from_seed_bytes(bytes(range(32)))


def expanded(key: Any) -> bytes:
    """As much of an expanded key as can be known without the primitive (FIPS 203 7.1, 204 7.2)."""
    public: bytes = key.public_key().public_bytes_raw()
    if key is KEM:
        tail = hashlib.sha3_256(public).digest() + key.private_bytes_raw()[32:]
        return bytes(1152) + public + tail
    return public[:32] + bytes(32) + hashlib.shake_256(public).digest(64) + bytes(3904)


def info(oid: str, *choice: bytes) -> bytes:
    inner = ber.sequence(*(ber.octet_string(part) for part in choice))
    return ber.sequence(ber.integer(0), ber.sequence(ber.oid(oid)), ber.octet_string(inner))


@pytest.mark.parametrize(("oid", "key"), [(oids.ML_KEM_768, KEM), (oids.ML_DSA_65, DSA)])
def test_a_seed_beside_its_expanded_key_is_read(oid: str, key: Any) -> None:
    der = info(oid, key.private_bytes_raw(), expanded(key))
    (found,) = read_key_file(der).keys
    assert found.private_bytes_raw() == key.private_bytes_raw()


@pytest.mark.parametrize(("oid", "key"), [(oids.ML_KEM_768, KEM), (oids.ML_DSA_65, DSA)])
def test_a_seed_beside_another_expanded_key_is_refused(oid: str, key: Any) -> None:
    seed = bytes(len(key.private_bytes_raw()))
    with pytest.raises(UsageError, match="are not one key"):
        read_key_file(info(oid, seed, expanded(key)))


@pytest.mark.parametrize(
    "parts", [(), (b"",), (bytes(63), bytes(64)), (bytes(64), b"", b""), (bytes(32), bytes(2400))]
)
def test_what_is_no_such_pair_is_refused(parts: tuple[bytes, ...]) -> None:
    with pytest.raises(UsageError, match="malformed or of an unknown kind"):
        read_key_file(info(oids.ML_KEM_768, *parts))
