"""PBKDF2-params (RFC 8018 A.2): what is left out has its default, what is wrong is refused."""

from __future__ import annotations

import pytest

from smime_graph import MalformedMessage, oids
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.asn1.pbkdf2 import Pbkdf2Parameters, write_pbkdf2

SALT, COUNT = ber.octet_string(b"salt"), ber.integer(2048)
SHA256 = ber.sequence(ber.oid(oids.HMAC_SHA256), ber.null())


def read(*elements: bytes) -> Pbkdf2Parameters:
    return Pbkdf2Parameters.read(ber.read(ber.sequence(*elements), "it"))


@pytest.mark.parametrize(
    ("further", "length", "prf"),
    [
        ((), None, oids.HMAC_SHA1),
        ((ber.integer(32),), 32, oids.HMAC_SHA1),
        ((SHA256,), None, oids.HMAC_SHA256),
        ((ber.integer(16), SHA256), 16, oids.HMAC_SHA256),
    ],
)
def test_what_is_left_out_has_its_default(
    further: tuple[bytes, ...], length: int | None, prf: str
) -> None:
    assert read(SALT, COUNT, *further) == Pbkdf2Parameters(b"salt", 2048, length, prf)


@pytest.mark.parametrize(
    "elements",
    [
        (),
        (SALT,),
        (COUNT, SALT),
        # the other choice of salt is an algorithm that nobody has defined
        (ber.sequence(ber.oid(oids.HMAC_SHA1)), COUNT),
        (SALT, COUNT, SHA256, ber.integer(16)),
        (SALT, COUNT, ber.integer(16), SHA256, ber.null()),
        (SALT, COUNT, ber.sequence()),
        (SALT, ber.octet_string(b"2048")),
    ],
    ids=lambda elements: ber.sequence(*elements).hex(),
)
def test_what_is_no_such_structure_is_malformed(elements: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessage):
        read(*elements)


def test_what_is_written_is_read() -> None:
    identifier = AlgorithmIdentifier.read(
        ber.read(ber.tlv(ber.SEQUENCE, write_pbkdf2(b"salt", 600_000)), "it"), "it"
    )
    assert identifier.oid == oids.PBKDF2
    assert identifier.parameters is not None
    read = Pbkdf2Parameters.read(identifier.parameters)
    assert read == Pbkdf2Parameters(b"salt", 600_000, None, oids.HMAC_SHA256)
