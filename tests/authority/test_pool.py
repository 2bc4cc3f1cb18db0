"""Test keys: the same for everybody, and one of each kind that can be certified."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import rsa

from smime_graph.authority.pool import pool_key
from smime_graph.authority.profile import key_of
from smime_graph.errors import UsageError
from smime_graph.pki.keyfiles.read import export

KINDS = [
    *("rsa-1024", "rsa-2048", "rsa-3072", "rsa-4096", "p256", "p384", "p521", "brainpool-p256r1"),
    *("ed25519", "ed448", "x25519", "x448", "ml-dsa-44", "ml-dsa-65", "ml-dsa-87"),
    *("ml-kem-768", "ml-kem-1024"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind_is_always_the_same(kind: str) -> None:
    def octets(number: int) -> bytes:
        return export(pool_key(kind, number), ser.Encoding.DER, ser.NoEncryption())

    first = octets(0)
    pool_key.cache_clear()
    assert octets(0) == first
    assert octets(1) != first
    assert key_of(pool_key(kind))[0] is pool_key(kind)


def test_rsa_keys_are_of_the_length_said_and_sound() -> None:
    for bits in (1024, 2048, 3072, 4096):
        key = pool_key(f"rsa-{bits}")
        assert isinstance(key, rsa.RSAPrivateKey)
        assert key.key_size == bits
        key.private_numbers().private_key()  # checks the numbers, which loading here does not


def test_their_octets_are_those_that_they_were() -> None:
    """Who has kept a family's certificates needs the same keys in the next version."""
    found = {
        k: pool_key(k).public_key().public_bytes_raw().hex()[:16] for k in ("ed25519", "x25519")
    }
    assert found == {"ed25519": "a1270adddd5504cd", "x25519": "afdb2d8abc1a0036"}


def test_another_kind_is_refused() -> None:
    for kind in ("rsa-1234", "dsa", "rsa-", ""):
        with pytest.raises(UsageError, match="no test key"):
            pool_key(kind)
