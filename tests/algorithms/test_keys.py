"""The rows of `algorithms.keys` agree with `cryptography` and with the other table."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smime_graph.algorithms import (
    Kem,
    KeyAgreement,
    KeyKind,
    KeyTransport,
    ParameterSet,
    SignatureScheme,
    by_name,
    find,
    kind_of,
    rows,
)
from smime_graph.asn1 import ber

KINDS = [pytest.param(kind, id=kind.name) for kind in rows(KeyKind)]
SETS = [
    pytest.param(kind, one, id=one.name) for kind in rows(KeyKind) for one in kind.parameter_sets
]


def algorithm_of(key: Any) -> ber.Node:
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return ber.read(info, "SubjectPublicKeyInfo").children()[0]


@pytest.mark.parametrize(
    ("kind", "one"), [row for row in SETS if row.id not in ("rsa-3072", "rsa-4096")]
)
def test_what_a_row_generates_is_of_that_row(kind: KeyKind, one: ParameterSet) -> None:
    key: Any = one.generate()
    public = key.public_key()
    assert (isinstance(key, kind.private), kind_of(public)) == (True, kind)
    oid, *parameters = algorithm_of(public).children()
    assert find(KeyKind, oid.as_oid()) is kind
    assert kind.load(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)) == public
    if one.oid:  # RFC 5480 2.1.1
        assert [node.as_oid() for node in parameters] == [one.oid]
        assert kind.parameter_set(key) is kind.parameter_set(public) is one
        assert key.curve.name == one.curve
    if kind.seeded is not None:
        seed, octets = key.private_bytes_raw(), public.public_bytes_raw()
        assert not kind.seeded.belongs(octets, seed, bytes(kind.seeded.size))


@pytest.mark.parametrize(("kind", "one"), SETS)
def test_a_parameter_set_has_what_its_kind_needs(kind: KeyKind, one: ParameterSet) -> None:
    assert bool(one.oid) == bool(one.curve) == kind.has_curves
    assert bool(one.agreement) == (kind.agreement is not None)
    if one.agreement:
        scheme = by_name(KeyAgreement, one.agreement)
        assert kind.name in scheme.keys
    if one.curve:  # RFC 5753 8 and 9: as strong as the curve
        size = one.generate().key_size
        wanted = "sha256" if size <= 256 else "sha384" if size <= 384 else "sha512"
        assert one.agreement == f"dhsinglepass-stddh-{wanted}kdf"
        assert (one.digest and one.digest.name) == wanted
    # a key that signs certificates chooses the digest itself, or the row does
    assert (one.digest is not None) == (kind.signs and not kind.pure)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_can_what_some_scheme_does_with_it(kind: KeyKind) -> None:
    used = {of: [row for row in rows(of) if kind.name in row.keys] for of in _WITH_KEYS}
    assert kind.signs == bool(used[SignatureScheme]) == (kind.verify is not None)
    assert bool(kind.encrypts) == any(used[of] for of in (KeyAgreement, KeyTransport, Kem))
    assert (kind.encrypts == "key_agreement") == bool(used[KeyAgreement])
    assert (kind.agreement is not None) == bool(used[KeyAgreement])
    if kind.companion:
        (companion,) = (
            other
            for other in rows(KeyKind)
            if kind.companion in [one.name for one in other.parameter_sets]
        )
        assert (kind.encrypts, bool(companion.encrypts)) == ("", True)
        assert companion.quantum_safe == kind.quantum_safe


_WITH_KEYS: tuple[Any, ...] = (SignatureScheme, KeyAgreement, KeyTransport, Kem)
