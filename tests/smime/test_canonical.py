"""What is called canonical at a look is what the walk over its parts leaves as it is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from smime_graph.errors import MalformedMessage
from smime_graph.smime import canonical
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import Entity

ENCODINGS = (
    *(b"", b"Content-Transfer-Encoding: 7bit\r\n", b"content-transfer-encoding: base64\r\n"),
    *(b"Content-Transfer-Encoding: quoted-printable\r\n", b"Content-Transfer-Encoding: 8bit\r\n"),
    *(b"Content-Transfer-Encoding: Binary\r\n", b"Content-Transfer-Encoding: 8-bit\r\n"),
    *(b'Content-Transfer-Encoding: "8bit"\r\n', b"Content-Transfer-Encoding:\r\n 8bit\r\n"),
    *(b"Content-Transfer-Encoding: 7bit\r\n x\r\n", b"Content-Transfer-Encoding : binary\r\n"),
    *(b"Content-Transfer-Encoding: (a) binary\r\n", b"Content-Transfer-Encoding: x-uuencode\r\n"),
)
KINDS = (
    *(b"", b"Content-Type: text/plain\r\n", b"Content-Type: application/pdf\r\n"),
    *(b"Content-Type: message/delivery-status\r\n", b"Content-Type: nothing\r\n"),
)
HOLDING = (b"multipart/mixed", b"multipart/digest", b"multipart/signed", b"multi part/mixed")
TEXTS = (
    *(b"", b"one\r\n", b"one\r\ntwo", b"--a\r\n", b"\r\n", b"no field\r\n\r\nx", b"Zm9v\r\n"),
    *(b"blank \r\n", b"tab\t", b"From me\r\n", b"lf\n", b"\r", b"\0", b"\xe4", b"=\r\n"),
    *(b"content-type: x\r\n", b"content-transfer-encoding: 8bit\r\n", b"x" * 999),
)
NEWS = (b"\r\n", b"\r\n", b"\r\n", b"\n", b" \r\n")


def plain(draw: st.DrawFn, fine: bool) -> bytes:
    encodings, texts = (ENCODINGS[:4], TEXTS[:7]) if fine else (ENCODINGS, TEXTS)
    kind, encoding = draw(st.sampled_from(KINDS)), draw(st.sampled_from(encodings))
    blank = b"" if draw(st.integers(0, 19)) == 0 else b"\r\n"
    text: bytes = draw(st.sampled_from(texts))
    return b"".join([kind, encoding, blank, text])


@st.composite
def entities(draw: st.DrawFn, depth: int = 0, fine: bool | None = None) -> bytes:
    """Entities in entities; `fine` ones hold nothing that must be changed."""
    if fine is None:
        fine = draw(st.booleans())
    what = draw(st.integers(0, 5)) if depth < 3 else 0
    if what < 2:
        return plain(draw, fine)
    encoding = draw(st.sampled_from(ENCODINGS[:2] if fine else ENCODINGS))
    if what == 2:
        inner = draw(entities(depth=depth + 1, fine=fine))
        return b"".join([b"Content-Type: message/rfc822\r\n", encoding, b"\r\n", inner])
    boundary = draw(st.sampled_from((b"a", b"b", b"a--")))
    written = boundary if fine or draw(st.integers(0, 9)) else b"other"
    kind = draw(st.sampled_from(HOLDING))
    pieces = [b'Content-Type: %b; boundary="%b"\r\n' % (kind, boundary), encoding, b"\r\n"]
    pieces.append(draw(st.sampled_from((b"", b"preamble\r\n", b"\r\n"))))
    for _ in range(draw(st.integers(0, 3))):
        end = b"\r\n" if fine else draw(st.sampled_from(NEWS))
        pieces += [b"--", written, end, draw(entities(depth=depth + 1, fine=fine)), end]
    last = (b"--%b--" % written, b"", b"--%b--\r\nepilogue" % written, b"--%b" % written)
    pieces.append(draw(st.sampled_from(last)))
    return b"".join(pieces)


FOLDED = (
    b'Content-Type: message/rfc822\r\n\r\nContent-Type: multipart/mixed; boundary="b"\r\n'
    b"Content-Transfer-Encoding: 7bit\r\n x\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n"
)


# the walk gives the inner delimiter, of a part that never comes, a line end of its own
WITHOUT_A_LINE_END = (
    b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b\r\n--a--\r\n"
)


@settings(deadline=None, max_examples=1500)
@example(raw=FOLDED, clear=True)
@example(raw=WITHOUT_A_LINE_END, clear=True)
@example(raw=b"Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\nx\r\n--a", clear=False)
@given(raw=entities(), clear=st.booleans())
def test_what_is_canonical_at_a_look_is_what_the_walk_gives(raw: bytes, clear: bool) -> None:
    try:
        is_canonical = canonical._is_canonical(Entity(raw), clear)
    except MalformedMessage:
        return
    event(f"canonical at a look: {is_canonical}")
    if is_canonical:
        assert b"".join(canonical._canonical(raw, clear, 0)) == raw


@settings(deadline=None, max_examples=300)
@given(raw=entities(), end=st.sampled_from((b"\r\n", b"\n")))
def test_an_entity_with_some_fields_is_as_if_it_had_been_read(raw: bytes, end: bytes) -> None:
    outer = Entity(b"From: a@b\r\nSubject: one\r\n two\r\nMIME-Version: 1.0\r\n" + raw)
    inner = outer.mime_fields
    if not all(field.name for field in outer.fields) or not outer.all("Content-Type"):
        return
    assert outer.all("From")
    made = outer.narrowed(inner, end, outer.body)
    read = Entity(made.raw)
    assert (made.fields, made.header, made.body) == (read.fields, read.header, read.body)
    assert (made.content_type, made.has_blank_line) == (read.content_type, read.has_blank_line)
    assert made.transfer_encoding == read.transfer_encoding
    assert not made.all("From")


@pytest.fixture
def _without_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    def walk(*_: object) -> Iterator[bytes]:
        raise AssertionError("a walk")

    monkeypatch.setattr(canonical, "_canonical", walk)


ALTERNATIVES = (
    b'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    b"--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
    b"--b\r\nContent-Type: text/html\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n<p>\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\nZm9v\r\n"
    b"--b--\r\n"
)


@pytest.mark.usefixtures("_without_a_walk")
@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize(
    "raw",
    [
        b"Content-Type: text/plain\r\n\r\nline\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: 7bit\r\n\r\n" + b"line\r\n" * 999,
        ALTERNATIVES,
        b"Content-Type: message/rfc822\r\n\r\nSubject: x\r\n" + ALTERNATIVES,
    ],
)
def test_what_mail_programs_write_is_known_at_a_look(raw: bytes, clear: bool) -> None:
    assert canonical_entity(raw, clear=clear) == raw


def nested(depth: int) -> bytes:
    return b"Content-Type: message/rfc822\r\n\r\n" * depth + b"\r\nx\r\n"


def parts(count: int, header: bytes = b"") -> bytes:
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return head + (b"--b\r\n" + header + b"\r\nx\r\n") * count + b"--b--\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        nested(45),
        parts(10_001),
        b"Content-Type: message/rfc822\r\n\r\n" + b"Subject: x\r\n" * 20_001 + b"\r\nx\r\n",
        b"Content-Type: message/rfc822\r\n\r\n" + parts(9_000, b"A: b\r\n" * 9),
        b"Content-Type: message/rfc822\r\n\r\n" + (b"Subject: %b\r\n" % (b"x" * 900)) * 1_200,
    ],
    ids=["depth", "parts", "lines of a header", "pieces", "octets of a header"],
)
def test_what_is_too_much_is_refused_at_a_look_as_well(raw: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        assert not canonical._is_canonical(Entity(raw), False)
    with pytest.raises(MalformedMessage):
        canonical_entity(raw, clear=False)
