"""ContentInfo: a type and one content, and nothing beside them."""

from __future__ import annotations

import pytest

from smime_graph import MalformedMessage, oids
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info, read_content_info, read_element
from smime_graph.budget import Budget

DATA = ber.oid(oids.DATA)


def test_what_is_written_is_read() -> None:
    der = content_info(oids.SIGNED_DATA, [ber.integer(1), memoryview(ber.null())])
    oid, content = read_content_info(der)
    assert (oid, content.raw) == (oids.SIGNED_DATA, ber.sequence(ber.integer(1), ber.null()))
    assert read_content_info(der, oids.SIGNED_DATA)[0] == oids.SIGNED_DATA


def test_another_type_than_was_wanted_is_named() -> None:
    der = content_info(oids.SIGNED_DATA, [])
    with pytest.raises(MalformedMessage, match=f"is {oids.SIGNED_DATA} instead of {oids.DATA}"):
        read_content_info(der, oids.DATA)


@pytest.mark.parametrize(
    "der",
    [
        b"",
        ber.sequence(),
        ber.sequence(DATA),
        ber.sequence(DATA, ber.octet_string(b"x")),  # [0] is missing
        ber.sequence(DATA, ber.context(0, b"")),
        ber.sequence(DATA, ber.context(0, ber.null() + ber.null())),
        ber.sequence(DATA, ber.context(0, ber.null()), ber.null()),
        ber.sequence(DATA, ber.context(0, ber.null())) + b"\0",
        ber.sequence(ber.context(0, ber.null()), DATA),
        ber.tlv(0x31, DATA + ber.context(0, ber.null())),
    ],
    ids=bytes.hex,
)
def test_what_is_more_or_less_is_none(der: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_content_info(der)


def test_in_something_else_it_is_read_alike() -> None:
    inside = ber.read(ber.sequence(content_info(oids.DATA, [])), "it").only("it")
    assert read_element(inside)[0] == oids.DATA


def test_reading_is_paid_for() -> None:
    many = content_info(oids.DATA, [ber.null()] * 200_000)
    _, content = read_content_info(many, budget=Budget())
    with pytest.raises(MalformedMessage, match=r"ASN\.1 elements"):
        content.children()
