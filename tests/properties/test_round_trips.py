"""What goes in comes out: generated messages through sign, encrypt, seal and back.

A message is generated together with what a reader must find in it: the octets of every part. It is
read back by Python's `email`, not by our own code.
"""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable
from datetime import UTC, datetime
from email import message_from_bytes
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smime_graph import (
    EXCHANGE,
    RFC_8551,
    MalformedMessage,
    SmimeGraphError,
    decrypt,
    encrypt,
    inspect,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.smime.canonical import canonical_entity
from smime_graph.smime.entity import Entity
from smime_graph.smime.fields import decode_words
from smime_graph.smime.lines import crlf
from tests.der import is_der

QUIET = EXCHANGE.but("quiet", every_recipient_must_read=False)
QUIET_GCM = RFC_8551.but("quiet-gcm", every_recipient_must_read=False)

# --- messages -----------------------------------------------------------------------------

_WORDS = st.sampled_from(
    [
        b"word",
        b"From the start of a line",
        b"From",
        b">From",
        b" ",
        b"\t",
        b"trailing blank ",
        b"trailing tab\t",
        b".",
        b"..",
        b"-",
        b"--",
        b"-- ",
        b"--bound",
        b"--boundary-xx",
        b"=",
        b"=3D",
        b"==20",
        b"x" * 77,
        b"x" * 998,
        b"x" * 999,
        b"x" * 3000,
        "ümläute".encode(),
        "日本語".encode(),
        b"\xe4 in latin-1",
        b"\xff\xfe",
        b"NUL \0",
        b"bare CR \r in the middle",
        b"",
        b"",
    ]
)
_LINE_ENDS = st.sampled_from([b"\r\n", b"\n"])
Leaf = tuple[str, bytes]


@st.composite
def texts(draw: Callable[..., Any]) -> bytes:
    """Lines with LF, CRLF or both, with or without a line end after the last."""
    pieces: list[bytes] = []
    for word in draw(st.lists(_WORDS, max_size=6)):
        pieces += [word, draw(_LINE_ENDS)]
    if pieces and draw(st.booleans()):
        pieces.pop()
    text = b"".join(pieces)
    return b"" if text.endswith(b"\r") else text  # CR and the next LF would be one line end


@st.composite
def leaves(draw: Callable[..., Any]) -> tuple[bytes, list[Leaf]]:
    """A part, and what its reader must find."""
    kind = draw(
        st.sampled_from(["text/plain", "text/html", "application/octet-stream", "image/png"])
    )
    encoding = draw(st.sampled_from([None, "7bit", "8bit", "binary", "base64", "quoted-printable"]))
    octets: bytes = draw(st.binary(max_size=60) if encoding == "base64" else texts())
    header = f"Content-Type: {kind}; charset=utf-8; name=a.txt\n".encode()
    if encoding is not None:
        header += f"Content-Transfer-Encoding: {encoding}\n".encode()
    body = octets
    if encoding == "base64":
        body = base64.encodebytes(octets)
    elif encoding == "quoted-printable":
        # a bare CR is nothing that quoted-printable can hold as it is (RFC 2045 6.7, rule 4)
        body = quopri.encodestring(re.sub(rb"\r(?!\n)", b"", octets))
        octets = quopri.decodestring(body)
    is_text = kind.startswith("text/") and encoding not in ("base64", "binary")
    found = _text(octets) if is_text else octets
    return header + b"\n" + body, [(kind, found)]


def _text(octets: bytes) -> bytes:
    """Text is lines: how one ended is what the canonical form changes."""
    return re.sub(rb"\r\n|\r|\n", b"\n", octets)


# the first are prefixes of each other; no line of a text is a delimiter with one of them
_BOUNDARIES = ("boundary", "boundary-", "boundary-x", "boundary-x-y", "'()+_,-./:=? x")


@st.composite
def entities(draw: Callable[..., Any], depth: int = 0) -> tuple[bytes, list[Leaf]]:
    which = draw(st.integers(0, 3))
    if depth >= 3 or which == 0:
        result: tuple[bytes, list[Leaf]] = draw(leaves())
        return result
    if which == 1:
        entity, leaves_of = draw(entities(depth + 1))
        kind = draw(st.sampled_from([b"message/rfc822", b"message/global"]))
        label = draw(st.sampled_from([b"", b"7bit", b"8bit", b"binary", b"8-bit"]))
        header = b"Content-Type: " + kind + b"\n"
        header += b"Content-Transfer-Encoding: " + label + b"\n" if label else b""
        return header + b"\nFrom: alice@contoso.com\nSubject: inside\n" + entity, leaves_of
    boundary = _BOUNDARIES[(depth + draw(st.integers(0, 1))) % 2 + 2 * (depth % 2)]
    if depth == 2:
        boundary = _BOUNDARIES[4]
    end = draw(_LINE_ENDS)
    delimiter = b"--" + boundary.encode()
    pieces = [
        b"Content-Type: multipart/" + draw(st.sampled_from([b"mixed", b"alternative"])),
        b'; boundary="' + boundary.encode() + b'"',
        end + end,
    ]
    if draw(st.booleans()):
        pieces += [b"a preamble", end]
    found: list[Leaf] = []
    for _ in range(draw(st.integers(1, 3))):
        part, inside = draw(entities(depth + 1))
        pieces += [delimiter, draw(st.sampled_from([b"", b" ", b"\t "])), end, part, end]
        found += inside
    pieces += [delimiter, b"--"]
    if draw(st.booleans()):
        pieces += [end, b"an epilogue"]
    if draw(st.booleans()):
        pieces.append(end)
    return b"".join(pieces), found


_SUBJECTS = st.sampled_from(
    [
        b"x",
        b"",
        "Grüße".encode(),
        b"folded\n over\n\tthree lines",
        b"long " * 300,
        b"=?utf-8?q?=C3?=",
    ]
)


@st.composite
def messages(draw: Callable[..., Any]) -> tuple[bytes, list[Leaf]]:
    end = draw(_LINE_ENDS)
    entity, found = draw(entities())
    header = b"From: Alice <alice@contoso.com>\nTo: bob@contoso.com\nSubject: " + draw(_SUBJECTS)
    return header.replace(b"\n", end) + end + entity, found


def found_in(raw: bytes) -> list[Leaf]:
    """The leaves of a message as `email` reads it."""
    leaves = []
    for part in message_from_bytes(raw).walk():
        if part.is_multipart():
            continue
        payload = part.get_payload(decode=True)
        assert isinstance(payload, bytes)
        leaves.append((part.get_content_type(), payload))
    return leaves


def assert_found(raw: bytes, wanted: list[Leaf]) -> None:
    found = found_in(raw)
    assert len(found) == len(wanted)
    for (kind, octets), (wanted_kind, wanted_octets) in zip(found, wanted, strict=True):
        assert kind == wanted_kind
        if kind.startswith("text/"):
            assert octets == wanted_octets or _text(octets) == wanted_octets
        else:
            assert octets == wanted_octets


# --- there and back -----------------------------------------------------------------------


@given(messages(), st.booleans())
def test_a_signed_message_has_the_content_of_the_original(
    people: Any, generated: tuple[bytes, list[Leaf]], detached: bool
) -> None:
    raw, wanted = generated
    signed = sign(raw, signer=people.alice, detached=detached, policy=QUIET)
    opened = verify(signed, trust=people.trust)
    assert opened.signer is not None
    assert_found(opened.raw, wanted)
    assert opened.content in signed or not detached  # the bytes that were signed are those sent


@given(messages(), st.sampled_from([QUIET, QUIET_GCM]))
def test_an_encrypted_message_has_the_content_of_the_original(
    people: Any, generated: tuple[bytes, list[Leaf]], policy: Any
) -> None:
    raw, wanted = generated
    encrypted = encrypt(raw, recipients=people.readers, policy=policy)
    for reader in (people.alice, people.bob):
        assert_found(decrypt(encrypted, identities=[reader]).raw, wanted)


@given(messages())
def test_a_sealed_message_has_the_content_of_the_original(
    people: Any, generated: tuple[bytes, list[Leaf]]
) -> None:
    raw, wanted = generated
    sealed = seal(raw, signer=people.alice, recipients=people.readers, policy=QUIET)
    opened = unseal(sealed, identities=[people.bob], trust=people.trust)
    assert opened.signer is not None
    assert opened.report.summary == "signed-and-encrypted"
    assert_found(opened.raw, wanted)
    assert _subject(opened.raw) == _subject(raw)


def _subject(raw: bytes) -> list[str]:
    """Its words: what is protected is 7-bit, in encoded-words where it was not."""
    return decode_words(Entity(raw).get("Subject") or "").split()


@given(messages())
def test_a_clear_signature_survives_what_relays_do_to_text(
    people: Any, generated: tuple[bytes, list[Leaf]]
) -> None:
    raw, _ = generated
    signed = sign(raw, signer=people.alice, policy=QUIET)
    header, _, body = signed.partition(b"\r\n\r\n")
    assert body.isascii()
    assert max(map(len, body.split(b"\r\n"))) <= 998
    stored = body.replace(b"\r\n", b"\n")  # a mail store
    stored = re.sub(rb"(?m)^From ", b">From ", stored)  # a mailbox file
    stored = re.sub(rb"(?m)[ \t]+$", b"", stored)  # a gateway that pads lines, and its opposite
    relayed = header.replace(b"\r\n", b"\n") + b"\n\n" + stored
    assert verify(relayed, trust=people.trust).signer is not None


# --- the canonical form -------------------------------------------------------------------


@given(entities(), st.booleans())
@example((b"Content-Type: multipart/mixed; boundary=b\n\n--b\n--b\n\n--b--", []), False)
@example((b"Content-Type: message/rfc822\n\nno header, no end", []), False)
@example((b"Content-Type: text/plain\n\n\xff\r", []), False)
def test_the_canonical_form_of_a_canonical_form_is_itself(
    generated: tuple[bytes, list[Leaf]], clear: bool
) -> None:
    once = canonical_entity(generated[0], clear=clear)
    assert canonical_entity(once, clear=clear) == once
    assert once.isascii()
    assert crlf(once) == once


@given(st.binary(max_size=200), st.booleans())
def test_the_canonical_form_of_anything_is_canonical(raw: bytes, clear: bool) -> None:
    try:
        once = canonical_entity(b"Content-Type: text/plain\n\n" + raw, clear=clear)
    except MalformedMessage:
        return
    assert canonical_entity(once, clear=clear) == once


@pytest.mark.parametrize(
    "body",
    [
        b"--b\r\n--b\r\n\r\nx\r\n--b\r\n--b--\r\n",
        b"--b\r\n\r\n--b\r\n\r\n\r\n--b--",
        b"--b\r\nContent-Type: text/plain\r\n--b--\r\n",
        b"--b\r\nContent-Type: message/rfc822\r\n\r\nno message at all\r\n--b--\r\n",
        b"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\nno part\r\n--b--\r\n",
        b"--b\r\n\r\nno end",
    ],
    ids=["shared", "empty", "header-only", "no-message", "no-part", "no-end"],
)
def test_odd_parts_are_left_as_they_are(body: bytes) -> None:
    entity = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + body
    assert canonical_entity(entity, clear=True) == entity


@pytest.mark.parametrize(
    ("field", "wanted"),
    [
        ("From: Jörg Müller <a@b.c>, x@y.z", "From: Jörg Müller <a@b.c>, x@y.z"),
        ('To: "Müller, Jörg" <a@b.c>', 'To: "Müller, Jörg" <a@b.c>'),
        ("Subject: Grüße " + "und mehr " * 30, None),
        ("Content-Description: 日本語", None),
    ],
)
def test_8_bit_header_fields_of_a_part_say_the_same_in_7_bits(
    field: str, wanted: str | None
) -> None:
    from email.policy import default

    raw = b"Content-Type: message/rfc822\n\n" + field.encode() + b"\n\nx\n"
    inner = Entity(canonical_entity(raw, clear=True)).body
    assert inner.isascii()
    name, _, value = (wanted or field).partition(": ")
    assert str(message_from_bytes(inner, policy=default)[name]) == value.strip()


@pytest.mark.parametrize("name", ['Übung 1; "zwei".pdf', "日本語" * 30 + ".txt"])
def test_8_bit_file_names_become_parameters_of_rfc_2231(name: str) -> None:
    from email.policy import default

    quoted = name.replace('"', '\\"')
    raw = f'Content-Disposition: attachment; filename="{quoted}"; size=3\n\nx\n'.encode()
    made = canonical_entity(raw, clear=True)
    assert made.isascii()
    message = message_from_bytes(made, policy=default)
    assert message.get_filename() == name
    assert Entity(made).filename == name


# --- the CMS that is made -----------------------------------------------------------------


@given(st.binary(max_size=200), st.sampled_from(["issuer", "ski"]))
def test_what_is_made_is_der_and_reads_as_itself(people: Any, text: bytes, form: Any) -> None:
    raw = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n\r\n" + text
    at = datetime.now(UTC)
    for made in (
        sign(raw, signer=people.alice, detached=False, policy=QUIET, at=at, sid=form),
        encrypt(raw, recipients=people.readers, policy=QUIET, rid=form),
        encrypt(raw, recipients=people.readers, policy=QUIET_GCM, rid=form),
    ):
        der = bytes(Entity(made).decoded_body())
        node = ber.read(der, "ContentInfo")
        assert is_der(node)
        assert _written_again(node) == der
        assert inspect(der) == inspect(made)


def _written_again(node: ber.Node) -> bytes:
    """The element written by the writer from what the reader found."""
    if not node.tag & ber.CONSTRUCTED:
        return ber.tlv(node.tag, node.contents)
    return ber.tlv(node.tag, *map(_written_again, node))


_DER_VALUES = st.one_of(
    st.binary(max_size=300).map(ber.octet_string),
    st.integers(-(2**70), 2**70).map(ber.integer),
    st.lists(st.integers(0, 2**40), max_size=6).map(
        lambda arcs: ber.oid(".".join(map(str, [2, 5, *arcs])))
    ),
    st.datetimes(datetime(1950, 1, 1), datetime(2099, 1, 1)).map(  # noqa: DTZ001
        lambda moment: ber.time(moment.replace(tzinfo=UTC))
    ),
)


@given(
    st.recursive(
        _DER_VALUES,
        lambda children: st.one_of(
            st.lists(children, max_size=5).map(lambda items: ber.sequence(*items)),
            st.lists(children, max_size=5).map(lambda items: ber.set_of(*items)),
            children.map(lambda item: ber.context(3, item)),
        ),
        max_leaves=20,
    )
)
def test_the_reader_finds_what_the_writer_wrote(der: bytes) -> None:
    node = ber.read(der, "value", tag=der[0])
    assert is_der(node)
    assert _written_again(node) == der


@given(st.integers(-(2**200), 2**200))
def test_integers_come_back(value: int) -> None:
    assert ber.read(ber.integer(value), "INTEGER", tag=ber.INTEGER).as_integer() == value


def test_a_message_that_cannot_be_sent_in_7_bits_is_refused_not_changed(people: Any) -> None:
    raw = (
        b"From: alice@contoso.com\nContent-Type: multipart/mixed; boundary=b\n\n--b\n"
        b"Content-Type: multipart/signed; boundary=c; protocol=application/pgp-signature\n\n"
        b"--c\n\n\xff\n--c\nContent-Type: application/pgp-signature\n\nx\n--c--\n--b--\n"
    )
    with pytest.raises(SmimeGraphError, match="8-bit content"):
        sign(raw, signer=people.alice)
