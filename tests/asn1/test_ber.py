from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.asn1 import ber
from smime_graph.asn1.ber import Fields, Node
from smime_graph.budget import Budget
from smime_graph.errors import LimitReached, MalformedMessage
from tests.der import is_der


def read(data: bytes, tag: int = ber.SEQUENCE) -> Node:
    return ber.read(data, "thing", tag=tag)


@given(st.integers(min_value=-(2**200), max_value=2**200))
def test_integers_come_back(value: int) -> None:
    assert read(ber.integer(value), ber.INTEGER).as_integer() == value


@pytest.mark.parametrize("octets", ["0200", "02020001", "0202ff80"])
def test_an_integer_that_is_not_minimal_is_refused(octets: str) -> None:
    with pytest.raises(MalformedMessage, match="INTEGER is"):
        read(bytes.fromhex(octets), ber.INTEGER).as_integer()


@given(
    st.integers(0, 2),
    st.integers(0, 39),
    st.lists(st.integers(0, 2**60), max_size=6),
)
def test_object_identifiers_come_back(first: int, second: int, rest: list[int]) -> None:
    dotted = ".".join(map(str, [first, second, *rest]))
    assert read(ber.oid(dotted), ber.OBJECT_IDENTIFIER).as_oid() == dotted


@pytest.mark.parametrize("contents", ["", "80", "2a80", "2a8001", "2a" + "01" * 64])
def test_an_object_identifier_that_is_none_or_over_64_octets_is_refused(contents: str) -> None:
    data = ber.tlv(ber.OBJECT_IDENTIFIER, bytes.fromhex(contents))
    with pytest.raises(MalformedMessage, match="is not an object identifier"):
        read(data, ber.OBJECT_IDENTIFIER).as_oid()


def test_an_object_identifier_of_64_octets_is_read() -> None:
    data = ber.tlv(ber.OBJECT_IDENTIFIER, b"\x2a" + b"\x01" * 63)
    assert read(data, ber.OBJECT_IDENTIFIER).as_oid() == "1.2" + ".1" * 63


@pytest.mark.parametrize(
    ("year", "tag"),
    [(1950, 0x17), (1999, 0x17), (2049, 0x17), (2050, 0x18), (1949, 0x18), (9999, 0x18)],
)
def test_times_turn_to_generalized_time_in_2050(year: int, tag: int) -> None:
    moment = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    encoded = ber.time(moment)
    assert encoded[0] == tag
    assert read(encoded, tag).as_time() == moment


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (0x17, "2611221200Z"),
        (0x17, "261122120000+0100"),
        (0x17, "26112212000 Z"),
        (0x17, "261322120000Z"),
        (0x18, "20261122120000.5Z"),
        (0x18, "20261122120000"),
        (0x18, "2026112212000\u00b2Z"),
    ],
)
def test_a_time_of_another_form_is_refused(tag: int, text: str) -> None:
    with pytest.raises(MalformedMessage, match="is not a"):
        read(ber.tlv(tag, text.encode("latin-1")), tag).as_time()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("", "cut off"),
        ("30", "cut off"),
        ("3001", "cut off"),
        ("308201", "cut off"),
        ("3089010101010101010101", "too large"),
        ("300000", "trailing"),
        ("0480", "indefinite length of a primitive"),
        ("3080", "cut off"),
        ("30800201", "cut off"),
        ("1f80808080", "too large or cut off"),
        ("0500", "tag 0x05"),
    ],
)
def test_broken_elements_are_refused(data: str, text: str) -> None:
    with pytest.raises(MalformedMessage, match=text):
        read(bytes.fromhex(data))


def test_an_indefinite_length_ends_where_its_end_of_contents_stands() -> None:
    node = read(bytes.fromhex("30800201053080040101000002010700 00".replace(" ", "")))
    children = list(node)
    assert [c.tag for c in children] == [ber.INTEGER, ber.SEQUENCE, ber.INTEGER]
    assert children[1].raw.hex() == "30800401010000"
    assert not node.is_definite


@pytest.mark.parametrize(
    "encoded",
    [
        "040548656c6c6f",
        "2407040348656c04026c6f".replace("2407", "2409"),
        "2480040348656c04026c6f0000",
        "2480240504034865 6c04026c6f0000".replace(" ", ""),
    ],
)
def test_octet_strings_in_any_form_are_their_octets(encoded: str) -> None:
    data = bytes.fromhex(encoded)
    assert bytes(read(data, data[0]).as_octets()) == b"Hello"


def test_a_constructed_string_of_something_else_is_refused() -> None:
    data = ber.tlv(0x24, ber.integer(1))
    with pytest.raises(MalformedMessage, match="constructed of something else"):
        read(data, 0x24).as_octets()


def test_nesting_is_bounded() -> None:
    deep = b"\x24\x80" * 1000
    with pytest.raises(MalformedMessage, match="nested deeper"):
        read(deep, 0x24)
    definite = b""
    for _ in range(100):
        definite = ber.tlv(0x24, definite)
    with pytest.raises(MalformedMessage, match="nested deeper"):
        read(definite, 0x24).as_octets()


def test_the_number_of_elements_is_bounded_in_time() -> None:
    data = b"\x24\x80" + b"\x04\x00" * 1_200_000 + b"\0\0"
    begin = time.monotonic()
    with pytest.raises(MalformedMessage, match=r"more than 1000000"):
        read(data, 0x24)
    assert time.monotonic() - begin < 30


def test_chunks_are_joined_once() -> None:
    chunk = ber.octet_string(b"x" * 1000)
    data = b"\x24\x80" + chunk * 5000 + b"\0\0"
    assert len(read(data, 0x24).as_octets()) == 5_000_000


def test_fields_say_what_is_missing_and_what_is_too_much() -> None:
    node = read(ber.sequence(ber.integer(1), ber.integer(2)))
    fields = Fields(node, "Thing")
    assert fields.take(ber.INTEGER, "version").as_integer() == 1
    assert fields.optional(0xA0) is None
    with pytest.raises(MalformedMessage, match=r"an element too many at offset 5"):
        fields.end()
    with pytest.raises(MalformedMessage, match=r"Thing name has ASN\.1 tag 0x02"):
        fields.take(ber.SEQUENCE, "name")
    with pytest.raises(MalformedMessage, match="Thing has no name"):
        fields.any("name")


@pytest.mark.parametrize(
    ("data", "der"),
    [
        (ber.set_of(ber.integer(1), ber.integer(2)), True),
        (ber.tlv(ber.SET, ber.integer(2), ber.integer(1)), False),
        (bytes.fromhex("31800201010000"), False),
        (bytes.fromhex("318103020101"), False),
        (ber.tlv(ber.SET, ber.tlv(0x24, ber.octet_string(b""))), False),
    ],
)
def test_der_is_told_from_ber(data: bytes, der: bool) -> None:
    assert is_der(read(data, ber.SET)) is der


@given(st.binary(max_size=200))
def test_any_octets_are_an_element_or_malformed(data: bytes) -> None:
    try:
        node = ber.read(data, "thing", tag=data[0] if data else 0)
    except MalformedMessage:
        return
    assert node.raw == data


@pytest.mark.parametrize("length", [0, 1, 127, 128, 255, 256, 65_535, 65_536, 1 << 24, 1 << 40])
def test_the_octets_of_a_length_are_as_few_as_can_be(length: int) -> None:
    tag, first, *more = ber.header(ber.SEQUENCE, length)
    assert tag == ber.SEQUENCE
    if length < 128:
        assert (first, more) == (length, [])
    else:
        assert first == 0x80 + len(more)
        assert more[0] > 0
        assert int.from_bytes(more, "big") == length


# --- remembered -----------------------------------------------------------------------------------


def _texts(node: Node) -> tuple[bytes, ...]:
    return tuple(bytes(one.as_octets("text")) for one in node.expect(ber.SEQUENCE, "Texts"))


def _within(inner: bytes, budget: Budget | None = None, *, is_definite: bool = True) -> Node:
    """The element in the middle of another one, as it is in a message."""
    whole = ber.sequence(ber.integer(1), inner)
    if not is_definite:
        whole = b"\x30\x80" + ber.integer(1) + inner + bytes(2)
    return ber.read(whole, "Whole", budget=budget).children()[1]


def test_what_was_read_before_is_not_read_again() -> None:
    read: list[Node] = []

    def counted(node: Node) -> tuple[bytes, ...]:
        read.append(node)
        return _texts(node)

    lately = ber.remembered(counted, entries=4, longest=99)
    one = ber.sequence(*(ber.octet_string(text) for text in (b"a", b"b")))
    assert lately(_within(one)) == lately(_within(one)) == (b"a", b"b")
    assert len(read) == 1
    # and what is kept holds no more than the element itself
    assert read[0].raw == read[0]._source.data == one


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 700])
def test_what_is_remembered_costs_what_it_costs_to_read(count: int) -> None:
    lately = ber.remembered(_texts, entries=4, longest=1 << 16)
    one = ber.sequence(*[ber.octet_string(b"x")] * count)
    spent: list[object] = []
    for read in (_texts, lately, lately):
        budget = Budget(0)
        node = _within(one, budget)
        assert read(node) == (b"x",) * count
        spent.append((budget.spent, node._source.left))
    assert spent[0] == spent[1] == spent[2]
    budget = Budget(0)
    node = _within(one, budget)
    budget.spend("digests", budget.left)
    if count > 254:
        with pytest.raises(LimitReached):
            lately(node)
    else:
        lately(node)


@pytest.mark.parametrize(
    "one",
    [
        ber.sequence(ber.integer(1)),
        ber.octet_string(b"x"),
        b"\x30\x03\x04\x05x",
        b"\x30\x80\x04\x01x\x00\x00",
        ber.sequence(b"\x24\x80\x04\x01x\x00\x00"),
        ber.sequence(b"\x24\x80\x02\x01x\x00\x00"),
        ber.sequence(ber.octet_string(b"x" * 200)),
    ],
)
def test_what_is_not_remembered_is_read_where_it_stands(one: bytes) -> None:
    lately = ber.remembered(_texts, entries=4, longest=99)

    def told(
        read: Callable[[Node], tuple[bytes, ...]], *, is_definite: bool
    ) -> tuple[object, object]:
        budget = Budget(0)
        node = _within(one, budget, is_definite=is_definite)
        try:
            found: object = read(node)
        except MalformedMessage as error:
            found = str(error)
        return found, (budget.spent, node._source.left)

    for definite in (True, False):
        expected = told(_texts, is_definite=definite)
        assert told(lately, is_definite=definite) == expected
        assert told(lately, is_definite=definite) == expected


def test_spans_are_where_the_elements_are() -> None:
    indefinite = b"\x30\x80\x04\x01x\x00\x00"
    elements = [
        ber.null(),
        ber.octet_string(b"x" * 127),
        ber.octet_string(b"x" * 128),
        ber.octet_string(b"x" * 300),
        ber.octet_string(b"x" * 70_000),
        indefinite,
        b"\x5f\x21\x01x",
        ber.sequence(),
    ]
    node = ber.read(ber.sequence(*elements), "Elements")
    assert [node.at(span).raw for span in node.spans()] == elements
    assert [one.raw for one in node.children()] == [one.raw for one in node] == elements
    assert ber.read(ber.sequence(), "Nothing").spans() == []
