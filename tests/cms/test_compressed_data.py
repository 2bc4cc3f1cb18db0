"""CompressedData: what comes back, and what it may cost."""

from __future__ import annotations

import random
import time
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import EXCHANGE, MalformedMessage, PolicyRefusal, UnsupportedAlgorithm, oids
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.buffers import Rope, same
from smime_graph.cms import compressed_data
from smime_graph.cms.compressed_data import compress, decompress

_ZLIB = ber.sequence(ber.oid(oids.ZLIB))


def made(stream: bytes, *, algorithm: bytes = _ZLIB, behind: bytes = b"") -> bytes:
    content = ber.sequence(ber.oid(oids.DATA), ber.context(0, ber.octet_string(stream)), behind)
    return content_info(oids.COMPRESSED_DATA, [ber.integer(0), algorithm, content])


def text_of(der: bytes) -> bytes:
    return bytes(decompress(der, policy=EXCHANGE))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=5000), st.integers(1, 20))
def test_whatever_was_compressed_comes_back(content: bytes, times: int) -> None:
    assert text_of(compress(content * times)) == content * times


def test_what_is_written_is_exact_to_the_byte() -> None:
    """RFC 3274 1.1 and 2: version 0, and no parameters."""
    assert compress(b"").hex() == (
        "303c060b2a864886f70d0109100109a02d302b020100300d060b2a864886f70d0109100308"
        "301706092a864886f70d010701a00a0408789c030000000001"
    )


@pytest.mark.parametrize("level", range(10))
def test_every_level_of_zlib_is_read(level: int) -> None:
    content = b"the figures\r\n" * 100
    assert text_of(made(zlib.compress(content, level))) == content


def test_a_bomb_costs_no_more_than_its_limit() -> None:
    engine = zlib.compressobj(9)
    zeros = bytes(1 << 20)
    stream = b"".join([*(engine.compress(zeros) for _ in range(400)), engine.flush()])
    der = made(stream)
    tracemalloc.start()
    begun = time.perf_counter()
    with pytest.raises(MalformedMessage, match=r"octets become more than") as caught:
        text_of(der)
    assert time.perf_counter() - begun < 5
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()
    assert "bomb" in (caught.value.hint or "")


def test_the_ratio_is_limited_where_the_size_is_not() -> None:
    """What zlib can reach with nothing but zeros is no message."""
    stream = zlib.compress(bytes(20 << 20), 9)
    assert (20 << 20) / len(stream) > 1000
    with pytest.raises(MalformedMessage, match=f"more than {len(stream) * 1000}$"):
        text_of(made(stream))
    # a short message may be as repetitive as it likes
    assert text_of(made(zlib.compress(bytes(900_000), 9))) == bytes(900_000)


@pytest.mark.parametrize("what", ["_MAX_RATIO", "_MAX_OF_A_MEGABYTE", "_MAX_OF_ANY"])
def test_the_limit_itself_is_allowed(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    stream = zlib.compress(bytes(5000))
    most = 3 * 1024 if what == "_MAX_RATIO" else 3000
    monkeypatch.setattr(compressed_data, "_MAX_RATIO_OF_ANY", 1)
    monkeypatch.setattr(compressed_data, what, 3 if what == "_MAX_RATIO" else 3000)
    assert len(stream) < 1000
    assert text_of(made(zlib.compress(bytes(most)))) == bytes(most)
    with pytest.raises(MalformedMessage, match=f"octets become more than {most}$"):
        text_of(made(zlib.compress(bytes(most + 1))))


def test_the_largest_mail_may_be_larger_than_what_any_bomb_becomes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twenty times what it was packed into, however much that is."""
    monkeypatch.setattr(compressed_data, "_MAX_OF_ANY", 1000)
    mail = random.Random(1).randbytes(20_000)  # is packed into a few octets more
    content = mail.ljust(19 * len(mail), b"\0")
    assert text_of(made(zlib.compress(content, 9))) == content
    assert text_of(compress(content)) == content
    bomb = mail.ljust(22 * len(mail), b"\0")
    with pytest.raises(MalformedMessage, match="octets become more than"):
        text_of(made(zlib.compress(bomb, 9)))
    with pytest.raises(MalformedMessage, match="more than are ever decompressed"):
        compress(bomb)


@pytest.mark.parametrize("line", [b"the figures\r\n", b"\0"], ids=["text", "zeros"])
def test_what_is_written_is_read_again_or_refused(line: bytes) -> None:
    """In little memory: text is packed tightly, and so are zeros, of which nothing is made."""
    piece = line * ((1 << 18) // len(line))
    content = Rope(80 * len(piece), lambda: (piece for _ in range(80)))
    tracemalloc.start()
    if line == b"\0":
        with pytest.raises(MalformedMessage, match="more than are ever decompressed"):
            compress(content)
    else:
        packed = bytes(compress(content))
        assert len(packed) < 200_000
        assert same(decompress(packed, policy=EXCHANGE), bytes(content))
    assert tracemalloc.get_traced_memory()[1] < 2.5 * len(content)
    tracemalloc.stop()


GOOD = zlib.compress(b"the figures")


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        GOOD[:-1],
        GOOD + b"\0",
        GOOD + GOOD,
        GOOD[:-1] + b"\0",
        GOOD[2:-4],  # raw deflate: RFC 3274 1 wants the format of RFC 1950
        b"\x1f\x8b" + GOOD,
        b"the figures",
    ],
)
def test_a_broken_stream_is_malformed(stream: bytes) -> None:
    with pytest.raises(MalformedMessage, match="the zlib stream is broken"):
        text_of(made(stream))


def test_what_stands_behind_is_malformed() -> None:
    with pytest.raises(MalformedMessage):
        text_of(made(GOOD, behind=ber.null()))
    with pytest.raises(MalformedMessage):
        text_of(made(GOOD) + b"\0")


def test_other_algorithms_and_parameters_are_refused() -> None:
    with pytest.raises(UnsupportedAlgorithm, match=r"1\.2\.3\.4"):
        text_of(made(GOOD, algorithm=ber.sequence(ber.oid("1.2.3.4"))))
    odd = ber.sequence(ber.oid(oids.ZLIB), ber.integer(1))
    with pytest.raises(MalformedMessage, match="zlib has parameters"):
        text_of(made(GOOD, algorithm=odd))
    assert text_of(made(GOOD, algorithm=ber.sequence(ber.oid(oids.ZLIB), ber.null())))
    without = EXCHANGE.but(
        "mine", accept=EXCHANGE.accept - {"zlib"}, refuse=EXCHANGE.refuse | {"zlib"}
    )
    with pytest.raises(PolicyRefusal, match="policy mine refuses zlib"):
        decompress(made(GOOD), policy=without)
