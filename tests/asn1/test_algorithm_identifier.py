"""AlgorithmIdentifier: its elements, and when two are the same."""

from __future__ import annotations

import itertools

import pytest

from smime_graph import MalformedMessage, oids
from smime_graph.asn1 import ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier

SHA256, PSS = ber.oid(oids.SHA256), ber.oid(oids.RSASSA_PSS)


def identifier(*elements: bytes) -> AlgorithmIdentifier:
    return AlgorithmIdentifier.read(ber.read(ber.sequence(*elements), "it"), "digestAlgorithm")


def test_it_is_what_was_received() -> None:
    read = identifier(PSS, ber.sequence(ber.integer(1)))
    assert (read.oid, read.raw) == (
        oids.RSASSA_PSS,
        ber.sequence(PSS, ber.sequence(ber.integer(1))),
    )
    assert read.parameters is not None
    assert read.parameters.raw == ber.sequence(ber.integer(1))


@pytest.mark.parametrize("elements", [(), (SHA256, ber.null(), ber.null()), (ber.null(),)])
def test_one_that_is_none_is_named(elements: tuple[bytes, ...]) -> None:
    with pytest.raises(MalformedMessage, match="digestAlgorithm"):
        identifier(*elements)


def test_absent_and_null_are_the_same_and_nothing_else_is() -> None:
    """RFC 5754 2."""
    absent, null = identifier(SHA256), identifier(SHA256, ber.null())
    others = [
        identifier(SHA256, ber.sequence()),
        identifier(SHA256, ber.octet_string(b"")),
        identifier(PSS),
        identifier(PSS, ber.integer(1)),
        identifier(PSS, ber.integer(2)),
    ]
    assert absent.has_no_parameters
    assert null.has_no_parameters
    assert not others[0].has_no_parameters
    assert absent.same_as(null)
    assert null.same_as(absent)
    for one, other in itertools.permutations([null, *others], 2):
        assert not one.same_as(other)
    assert all(one.same_as(one) for one in others)


def test_a_tag_of_its_context_makes_no_other_algorithm() -> None:
    """RFC 5652 11: in CMSAlgorithmProtection they are IMPLICIT."""
    whole = ber.sequence(PSS, ber.integer(1))
    tagged = ber.read(b"\xa1" + whole[1:], "it", tag=0xA1)
    assert AlgorithmIdentifier.read(tagged, "it").same_as(identifier(PSS, ber.integer(1)))
