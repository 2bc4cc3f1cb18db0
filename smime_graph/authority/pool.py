"""Keys for tests, the same for everybody: of no worth, and never to be trusted for anything.

Making an RSA key takes longer than all the rest of a family of certificates, and a family that is
to be the same octets tomorrow needs the same keys. Those of RSA stand in `pool.pem`, for nobody can
derive them; every other kind is derived from its name and number.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib.resources import files
from typing import Any

from cryptography.hazmat.primitives.asymmetric import (
    ec,
    ed448,
    ed25519,
    mldsa,
    mlkem,
    rsa,
    x448,
    x25519,
)
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from ..errors import UsageError

_END = b"-----END PRIVATE KEY-----\n"
_CURVES: dict[str, Any] = {
    "p256": ec.SECP256R1,
    "p384": ec.SECP384R1,
    "p521": ec.SECP521R1,
    "brainpool-p256r1": ec.BrainpoolP256R1,
}
_SEEDED: dict[str, tuple[Any, int]] = {
    "ed25519": (ed25519.Ed25519PrivateKey.from_private_bytes, 32),
    "ed448": (ed448.Ed448PrivateKey.from_private_bytes, 57),
    "x25519": (x25519.X25519PrivateKey.from_private_bytes, 32),
    "x448": (x448.X448PrivateKey.from_private_bytes, 56),
    "ml-dsa-44": (mldsa.MLDSA44PrivateKey.from_seed_bytes, 32),
    "ml-dsa-65": (mldsa.MLDSA65PrivateKey.from_seed_bytes, 32),
    "ml-dsa-87": (mldsa.MLDSA87PrivateKey.from_seed_bytes, 32),
    "ml-kem-768": (mlkem.MLKEM768PrivateKey.from_seed_bytes, 64),
    "ml-kem-1024": (mlkem.MLKEM1024PrivateKey.from_seed_bytes, 64),
}


@lru_cache(1)
def _rsa_keys() -> dict[int, list[bytes]]:
    """The PEM keys of `pool.pem` by modulus length in bits."""
    found: dict[int, list[bytes]] = {}
    whole = files(__package__).joinpath("pool.pem").read_bytes()
    for text in whole.split(_END)[:-1]:
        comment, _, _ = text.partition(b"\n")
        found.setdefault(int(comment.removeprefix(b"# rsa-")), []).append(text + _END)
    return found


@lru_cache(256)
def pool_key(kind: str, number: int = 0) -> Any:
    """The private key of this kind (a name of `algorithms.keys`) and number, always the same one.

    Of RSA there are as many as `pool.pem` holds, counted round. UsageError for another kind.
    """
    if kind.startswith("rsa-") and kind[4:].isdigit() and (keys := _rsa_keys().get(int(kind[4:]))):
        key = load_pem_private_key(
            keys[number % len(keys)],
            None,
            unsafe_skip_rsa_key_validation=True,  # they are ours, and it takes 30 ms a key
        )
        assert isinstance(key, rsa.RSAPrivateKey)  # noqa: S101 - the file is ours
        return key
    octets = hashlib.shake_256(f"smime_graph test key {kind} {number}".encode()).digest(128)
    if kind in _CURVES:
        curve = _CURVES[kind]()
        # 128 octets are far more than any order: the remainder is as good as evenly spread
        return ec.derive_private_key(int.from_bytes(octets) % (curve.group_order - 1) + 1, curve)
    if kind in _SEEDED:
        make, length = _SEEDED[kind]
        return make(octets[:length])
    raise UsageError(
        f"there is no test key of kind {kind}",
        hint=f"use one of {', '.join((*(f'rsa-{n}' for n in _rsa_keys()), *_CURVES, *_SEEDED))}",
    )
