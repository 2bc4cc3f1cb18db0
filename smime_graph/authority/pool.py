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

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from .. import algorithms
from ..algorithms import KeyKind
from ..errors import UsageError

_END = b"-----END PRIVATE KEY-----\n"


@lru_cache(1)
def _rsa_keys() -> dict[str, list[bytes]]:
    """The PEM keys of `pool.pem` by their kind."""
    found: dict[str, list[bytes]] = {}
    whole = files(__package__).joinpath("pool.pem").read_bytes()
    for text in whole.split(_END)[:-1]:
        comment, _, _ = text.partition(b"\n")
        found.setdefault(comment.removeprefix(b"# ").decode(), []).append(text + _END)
    return found


@lru_cache(256)
def pool_key(kind: str, number: int = 0) -> Any:
    """The private key of this kind (a name of `algorithms.keys`) and number, always the same one.

    Of RSA there are as many as `pool.pem` holds, counted round but for the first: that is number 0
    alone, so that nobody's issuer has the key of a person. UsageError for another kind.
    """
    sets = {one.name: (one, row) for row in algorithms.rows(KeyKind) for one in row.parameter_sets}
    if (keys := _rsa_keys().get(kind)) is not None:
        return load_pem_private_key(
            keys[1 + (number - 1) % (len(keys) - 1) if number else 0],
            None,
            unsafe_skip_rsa_key_validation=True,  # they are ours, and it takes 30 ms a key
        )
    if kind not in sets:
        raise UsageError(
            f"there is no test key of kind {kind}", hint=f"use one of {', '.join(sets)}"
        )
    parameter_set, row = sets[kind]
    octets = hashlib.shake_256(f"smime_graph test key {kind} {number}".encode()).digest(128)
    another = parameter_set.generate()
    if row.has_curves:
        # 128 octets are far more than any order: the remainder is as good as evenly spread
        scalar = int.from_bytes(octets) % (another.curve.group_order - 1) + 1
        return ec.derive_private_key(scalar, another.curve)
    private: Any = row.private
    make = getattr(private, "from_seed_bytes", None) or private.from_private_bytes
    return make(octets[: len(another.private_bytes_raw())])
