"""Transfer encodings of what is too large to be copied are undone as those of what is small."""

from __future__ import annotations

import base64
import quopri
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smime_graph import MalformedMessage, buffers
from smime_graph.smime import transfer
from smime_graph.smime.transfer import decode_quoted_printable, split_base64

CODE = base64.encodebytes(random.Random(1).randbytes(900)).decode()


@pytest.fixture(autouse=True, scope="module")
def _everything_is_large() -> object:
    patch = pytest.MonkeyPatch()
    for module in (buffers, transfer):
        patch.setattr(module, "CHUNK", 40)
    patch.setattr(buffers, "LARGE", 20)
    yield
    patch.undo()


def outcome(text: bytes | memoryview) -> object:
    try:
        data, left_out = split_base64(text)
    except MalformedMessage as error:
        return str(error)
    return bytes(data), left_out


LINES = st.sampled_from([4, 8, 19, 20, 36, 76]).flatmap(
    lambda width: st.sampled_from(["\n", "\r\n", " \r\n", ""]).map(
        lambda end: "".join(
            CODE.replace("\n", "")[at : at + width] + end for at in range(0, 400, width)
        )
    )
)
SPOILT = st.lists(
    st.tuples(
        st.integers(0, 600), st.sampled_from(["=", "==", "!", "\n", "\r", "-_", " ", "A", "\0"])
    ),
    max_size=3,
)
TAILS = st.sampled_from(
    [
        *(
            "",
            "=",
            "==",
            "QQ==",
            "QQ=",
            "QQ",
            "Q",
            "QUI=\r\n",
            "Q U\n I =",
            "=" * 9,
            "QQ" + "=" * 90,
        ),
        *("QQ==\r\n-- \r\nlist\r\n", "QUJD\r\n\r\nfooter!\r\n", "QQ==\n" + "x" * 90, "QQ==QQ=="),
    ]
)


@given(LINES, SPOILT, TAILS)
def test_base64_in_pieces_is_what_it_is_in_one(
    lines: str, spoilt: list[tuple[int, str]], tail: str
) -> None:
    text = lines
    for place, what in spoilt:
        text = text[:place] + what + text[place:]
    raw = (text + tail).encode()
    assert outcome(memoryview(raw)) == outcome(raw)


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_base64_of_some_length_is_decoded(end: bytes) -> None:
    data = random.Random(2).randbytes(5000)
    text = base64.encodebytes(data).replace(b"\n", end)
    assert outcome(memoryview(text)) == (data, 0)
    footer = b"-- " + end + b"sent from a list" + end
    assert outcome(memoryview(text + footer)) == (data, len(end + footer))
    assert outcome(memoryview(text[:2000] + b"!" + text[2000:])) == outcome(
        text[:2000] + b"!" + text[2000:]
    )


@given(st.lists(st.sampled_from(["=\r\n", "=\n", "=", "=3D", "a b ", " \r\n", "\n", "=\r", "é"])))
def test_quoted_printable_in_pieces_is_what_it_is_in_one(pieces: list[str]) -> None:
    raw = "".join(pieces).encode()
    assert bytes(decode_quoted_printable(memoryview(raw))) == bytes(decode_quoted_printable(raw))


def test_quoted_printable_of_some_length_is_decoded() -> None:
    data = random.Random(3).randbytes(3000)
    assert bytes(decode_quoted_printable(memoryview(quopri.encodestring(data)))) == data


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_where_a_forwarders_text_begins_does_not_depend_on_the_pieces(end: str) -> None:
    for length in range(90):
        text = f"QUJD{end}QUJD{end}{end}{'word ' * length}{'x' * (length % 5)}!{end}"
        raw = text.encode()
        assert outcome(memoryview(raw)) == outcome(raw)


def test_more_padding_than_is_needed_counts_as_it_does_in_one_piece() -> None:
    for code in ("QQ", "QUI", "QUJD"):
        for padding in range(120):
            raw = f"{CODE}{code}{'=' * padding}\n".encode()
            assert outcome(memoryview(raw)) == outcome(raw)
