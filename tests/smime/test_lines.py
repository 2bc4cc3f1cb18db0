"""Line ends and lengths, held against definitions that are slower and plainer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph.smime.lines import crlf, has_crlf_only, has_long_line


def _with_crlf(data: bytes) -> bytes:
    made = bytearray()
    for place, octet in enumerate(data):
        if octet == 0x0A and data[max(place - 1, 0) : place] != b"\r":
            made.append(0x0D)
        made.append(octet)
    return bytes(made)


@given(st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\x00"]), max_size=12).map(b"".join))
def test_a_line_end_becomes_crlf_and_a_bare_cr_stays(data: bytes) -> None:
    assert crlf(data) == _with_crlf(data)
    assert crlf(crlf(data)) == crlf(data)


PIECES = st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"\r\n" * 5, b"a" * 65_535, b"a" * 65_536])


@given(st.lists(PIECES, max_size=6).map(b"".join))
def test_a_text_has_crlf_only_when_no_cr_and_no_lf_is_left_without_them(data: bytes) -> None:
    rest = data.replace(b"\r\n", b" ")
    assert has_crlf_only(data) == (b"\r" not in rest and b"\n" not in rest)


def test_what_is_in_order_is_not_copied() -> None:
    data = b"a\r\nb\r\n"
    assert crlf(data) is data


LENGTHS = st.sampled_from([0, 1, 500, 997, 998, 999, 1000, 1997, 2000])


@given(st.lists(LENGTHS, max_size=4), st.booleans())
def test_a_line_has_998_octets_without_its_end(lengths: list[int], ended: bool) -> None:
    """RFC 5322 2.1.1: "no more than 998 characters, excluding the CRLF"."""
    body = b"\r\n".join(b"x" * length for length in lengths) + b"\r\n" * ended
    assert has_long_line(body) == any(length > 998 for length in lengths)


@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\nnext\r\n"])
def test_the_longest_line_and_one_more(end: bytes) -> None:
    assert not has_long_line(b"x" * 998 + end)
    assert has_long_line(b"x" * 999 + end)
