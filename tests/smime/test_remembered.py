"""What is read of a field or a name lately is what is read of it anew, and nobody can change it."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import oids
from smime_graph.asn1 import algorithm_identifier, ber
from smime_graph.asn1.algorithm_identifier import AlgorithmIdentifier
from smime_graph.buffers import Data
from smime_graph.errors import MalformedMessage
from smime_graph.pki import address
from smime_graph.policy import EXCHANGE
from smime_graph.smime import entity, fields, header_confidentiality, sender, verification
from smime_graph.smime.entity import ContentType, Entity, HeaderField
from smime_graph.smime.header_protection import (
    HeaderProtection,
    read_protected_header,
)
from smime_graph.smime.layers import ParsedMessage
from smime_graph.smime.verification import header_of
from smime_graph.x509 import names

FIELDS = st.lists(
    st.sampled_from(
        ["a@x.org", "A <a@x.org>", '"b"@x.org', ",", ";", ":", "g:", "(c)", "\r\n ", " ", "<", "\n"]
        + ["text/plain", "; charset=utf-8", ';boundary="b\\"c"', "; name*=utf-8''%e4", "ä", "\0"]
    ),
    max_size=8,
).map("".join)


def outcome(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except MalformedMessage as error:
        return str(error)


@settings(deadline=None)
@given(text=FIELDS)
def test_fields_are_read_as_when_nothing_is_remembered(text: str) -> None:
    for _ in range(2):
        assert outcome(lambda: address.parse_header_addresses(text)) == outcome(
            lambda: address._parsed(text)
        )
        assert ContentType.read(text) == ContentType._read(text)


@settings(deadline=None)
@given(der=st.binary(max_size=40))
def test_names_are_written_as_when_nothing_is_remembered(der: bytes) -> None:
    for _ in range(2):
        assert names.text(der) == names._text(der)


@settings(deadline=None)
@given(text=FIELDS, intent=st.sampled_from(["clear", "cipher"]))
def test_a_type_is_marked_as_when_nothing_is_remembered(
    text: str, intent: HeaderProtection
) -> None:
    field = HeaderField("Content-Type", f"Content-Type: {text}\r\n".encode())
    for _ in range(2):
        made = header_confidentiality.with_hp(field, intent)
        assert made == header_confidentiality._with_hp(field, intent)


DATES = st.tuples(
    st.sampled_from(["", "Thu, ", "Mon, ", "thu,", "Thursday, "]),
    st.sampled_from(["1", "01", "26", "31", "32", "0", "٣"]),
    st.sampled_from(["Nov", "Feb", "Dec", "nov", "Smarch"]),
    st.sampled_from(["2026", "1970", "0001", "9999", "1000", "26", "99"]),
    st.sampled_from(["12:00:00", "23:59:59", "24:00:00", "12:00:60", "12:00", "1:2:3"]),
    st.sampled_from([" +0000", " -0000", " +0130", " -1200", " +1990", " +2400", " GMT", ""]),
    st.sampled_from(["", " (comment)", " ", "\n"]),
)


@settings(deadline=None, max_examples=300)
@given(parts=DATES)
def test_a_date_is_read_as_by_the_long_way(parts: tuple[str, ...]) -> None:
    start, day, month, year, time, zone, end = parts
    date = f"{start}{day} {month} {year} {time}{zone}{end}"
    usual = fields.moment_of(date)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fields, "_DATE", re.compile(r"(?!)"))
        assert fields.moment_of(date) == usual


def test_the_usual_date_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "parsedate_to_datetime", None)
    moment = fields.moment_of("Thu, 26 Nov 2026 13:30:00 +0130")
    assert moment == datetime(2026, 11, 26, 12, tzinfo=UTC)
    assert moment is not None
    assert moment.tzinfo is UTC


LINES = st.lists(
    st.sampled_from(
        [b"From: a@x.org\r\n", b"from : a@x.org\r\n", b"Subject: from here\r\n", b"\x80from: b\r\n"]
        + [
            b"Subject: a\r\n from: b\r\n",
            b"Subject: a\rFrom: b\r\n",
            b"To: b@x.org\r\n",
            b"none\r\n",
        ]
        + [b"Content-Type: text/plain\r\n", b"X-F: 1\r\n", b"HP-Outer: From: a\r\n", b"Date: 1\r\n"]
    ),
    max_size=6,
).map(b"".join)


@settings(deadline=None, max_examples=300)
@given(header=LINES)
def test_a_header_with_one_from_is_judged_as_any(header: bytes) -> None:
    parsed: Entity[Data] = Entity(header + b"\r\n")
    assert sender._ambiguity(parsed) == sender._ambiguity_of_many(parsed)


@settings(deadline=None, max_examples=300)
@given(header=LINES, other=LINES, is_same=st.booleans(), is_signed=st.booleans())
def test_a_header_that_is_the_same_outside_is_shown_as_any(
    header: bytes, other: bytes, is_same: bool, is_signed: bool
) -> None:
    payload: Entity[Data] = Entity(b'Content-Type: text/plain; hp="clear"\r\n' + header + b"\r\n")
    outer: Entity[Data] = Entity((header if is_same else other) + b"\r\n")
    protected, _ = read_protected_header(payload, outer, is_encrypted=False)
    parsed = ParsedMessage(b"", b"", outer=outer, payload=payload)
    usual = header_of(parsed, protected, is_signed=is_signed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verification, "is_same_outside", lambda *_: False)
        assert header_of(parsed, protected, is_signed=is_signed) == usual


@settings(deadline=None)
@given(
    oid=st.sampled_from([ber.oid(oids.SHA256), b"\x06\0", b"\x06\x02\x80\x01", b"\x02\x01\0", b""]),
    rest=st.sampled_from(
        [b"", ber.null(), ber.null() * 2, b"\x04\0", b"\x05\x01\0", b"\x30\x80\0\0"]
    ),
    tag=st.sampled_from([ber.SEQUENCE, 0xA1]),
)
def test_an_algorithm_is_read_as_when_nothing_is_remembered(
    oid: bytes, rest: bytes, tag: int
) -> None:
    def read() -> tuple[str, bytes | None, bytes]:
        node = ber.read(ber.tlv(tag, oid, rest), "it", tag=tag)
        found = AlgorithmIdentifier.read(node, "digest")
        return found.oid, None if found.parameters is None else found.parameters.raw, found.raw

    usual = [outcome(read) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(algorithm_identifier, "_read_lately", lambda node: None)
        assert usual == [outcome(read)] * 2


def test_policies_of_one_name_are_told_apart() -> None:
    one, other = (EXCHANGE.but("ours", digest=name) for name in ("sha256", "sha512"))
    assert hash(one) == hash(EXCHANGE.but("ours", digest="sha256"))
    assert len({one, other}) == 2


def test_a_field_that_cannot_be_read_is_refused_each_time() -> None:
    for _ in range(3):
        with pytest.raises(MalformedMessage):
            address.parse_header_addresses("a@x.org b@y.org")


def test_parameters_of_a_content_type_cannot_be_changed() -> None:
    kept: Any = ContentType.read("text/plain; charset=utf-8").parameters
    with pytest.raises(TypeError):
        kept["charset"] = "utf-7"
    assert ContentType.read("text/plain; charset=utf-8").parameters == {"charset": "utf-8"}


def test_long_fields_and_names_are_not_kept() -> None:
    address._lately.cache_clear()
    entity._lately.cache_clear()
    names._text_lately.cache_clear()
    address.parse_header_addresses(f'"{"x" * 40_000}" <a@x.org>')
    ContentType.read(f"text/plain; name={'x' * 1000}")
    names.text(bytes(2000))
    header_confidentiality._lately.cache_clear()
    long = HeaderField("Content-Type", b"Content-Type: text/plain; name=" + b"x" * 1000 + b"\r\n")
    header_confidentiality.with_hp(long, "clear")
    assert header_confidentiality._lately.cache_info().currsize == 0
    for cache in (address._lately, entity._lately, names._text_lately):
        assert cache.cache_info().currsize == 0
