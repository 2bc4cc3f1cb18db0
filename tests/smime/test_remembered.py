"""What is read of a field or a name lately is what is read of it anew, and nobody can change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph.errors import MalformedMessage
from smime_graph.pki import address
from smime_graph.policy import EXCHANGE
from smime_graph.smime import entity, header_confidentiality
from smime_graph.smime.entity import ContentType, HeaderField
from smime_graph.smime.header_protection import HeaderProtection
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
