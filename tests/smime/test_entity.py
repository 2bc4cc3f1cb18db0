"""Entities are exact bytes; the canonical form changes what no reader sees."""

from __future__ import annotations

import base64
import re
import time
from email import message_from_bytes
from email import policy as email_policy

import hypothesis
import pytest
from hypothesis import strategies as st

from smime_graph.errors import MalformedMessage
from smime_graph.smime.canonical import canonical_entity, encode_base64
from smime_graph.smime.entity import ContentType, Entity, split_multipart
from smime_graph.smime.lines import MAX_LINE, crlf
from smime_graph.smime.transfer import decode_base64


def leaf(body: bytes, *fields: bytes) -> bytes:
    return b"".join(f + b"\r\n" for f in fields) + b"\r\n" + body


def payload(raw: bytes) -> bytes:
    message = message_from_bytes(raw, policy=email_policy.SMTP)
    content = message.get_payload(decode=True)
    assert isinstance(content, bytes)
    return content


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (b"", b""),
        (b"a\nb\n", b"a\r\nb\r\n"),
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb\r\nc", b"a\r\nb\r\nc"),
        (b"\n\r\n\n", b"\r\n\r\n\r\n"),
        (b"a\rb\n", b"a\rb\r\n"),
        (b"a\r\r\n", b"a\r\r\n"),
        (b"\n\r", b"\r\n\r"),
    ],
)
def test_line_ends_become_crlf_and_a_bare_cr_stays(given: bytes, wanted: bytes) -> None:
    assert crlf(given) == wanted
    assert crlf(wanted) == wanted


@pytest.mark.parametrize(
    ("raw", "names", "body"),
    [
        (b"", [], b""),
        (b"\r\nbody", [], b"body"),
        (b"\nbody", [], b"body"),
        (b"A: 1\r\n\r\nbody", ["A"], b"body"),
        (b"A: 1\nB: 2\n\nbody", ["A", "B"], b"body"),
        (b"A: 1\r\n 2\r\nB: 3", ["A", "B"], b""),
        (b"A: 1\r\n\r\n", ["A"], b""),
        (b"A: 1\nno field\nB: 2\n\n", ["A", "", "B"], b""),
        (b"A : 1\n\nx", ["A"], b"x"),
        (b" leading\nA: 1\n\nx", ["", "A"], b"x"),
    ],
)
def test_the_header_ends_at_the_first_blank_line(raw: bytes, names: list[str], body: bytes) -> None:
    entity = Entity(raw)
    assert [f.name for f in entity.fields] == names
    assert entity.body == body


@pytest.mark.parametrize(
    ("text", "value", "parameters"),
    [
        ("text/plain", "text/plain", {}),
        ("TEXT/Plain; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        # comments nest, hold any character, and stand between any two tokens (RFC 5322 3.2.2)
        ("text/plain (a (b) c); charset=x", "text/plain", {"charset": "x"}),
        ("text/plain (a; b=c); charset=x", "text/plain", {"charset": "x"}),
        ('text/plain (5" disk; \\) b=c); charset="x"', "text/plain", {"charset": "x"}),
        ("(x) text (y) / (z) plain(;)", "text/plain", {}),
        ("text/plain; (a=b;) charset (c) = (d;) x (e;f=g)", "text/plain", {"charset": "x"}),
        ('text/plain; charset="(a;b)"; b=c', "text/plain", {"charset": "(a;b)", "b": "c"}),
        ("text/plain; name=scan(1).pdf; b=c", "text/plain", {"name": "scan(1).pdf", "b": "c"}),
        ("text/plain; a=b(c); d=e", "text/plain", {"a": "b", "d": "e"}),
        ("text/plain; a=b (c; d=e", "text/plain", {"a": "b", "d": "e"}),
        ('multipart/x; boundary="b(1"; c=")"', "multipart/x", {"boundary": "b(1", "c": ")"}),
        (
            'multipart/signed; protocol="application/pkcs7-signature";'
            ' micalg=sha-256;\r\n boundary="a;b"',
            "multipart/signed",
            {"protocol": "application/pkcs7-signature", "micalg": "sha-256", "boundary": "a;b"},
        ),
        ('x/y; a="q\\"u\\\\o"', "x/y", {"a": 'q"u\\o'}),
        ("x/y (comment); a = b ; ; c=d;", "x/y", {"a": "b", "c": "d"}),
        ("x/y; a=1; a=2", "x/y", {"a": "1"}),
        ("x/y; name*=utf-8''sm%C3%AFme.p7m", "x/y", {"name": "smïme.p7m"}),
        ("x/y; name*=utf\0-8''a%20b", "x/y", {"name": "a b"}),
        ("x/y; name*=punycode''a%ff", "x/y", {"name": "aÿ"}),
        ('x/y; name*0="smime"; name*1=".p7m"', "x/y", {"name": "smime.p7m"}),
        ('x/y; boundary="unclosed', "x/y", {"boundary": "unclosed"}),
        ("", "", {}),
    ],
)
def test_content_types_in_the_forms_that_occur(
    text: str, value: str, parameters: dict[str, str]
) -> None:
    assert ContentType.read(text) == ContentType(value, parameters)


def test_multiparts_are_split_at_whole_delimiter_lines() -> None:
    body = (
        b"preamble\r\n"
        b"--ab\r\n\r\n--a\r\n--abc\r\n x--ab\r\n--ab \t\r\n\r\nsecond\r\n\r\n--ab--\r\nepilogue"
    )
    pieces = split_multipart(body, "ab")
    assert pieces.preamble == b"preamble"
    assert pieces.parts == (b"\r\n--a\r\n--abc\r\n x--ab", b"\r\nsecond\r\n")
    assert pieces.is_closed
    assert pieces.epilogue == b"\r\nepilogue"


@pytest.mark.parametrize(
    ("body", "parts", "closed"),
    [
        (b"--b\r\n--b\r\n--b--", (None, None), True),
        (b"--b\r\n\r\n--b--", (b"",), True),
        (b"--b\nx\n--b\ny", (b"x", b"y"), False),
        (b"--b\r\nlast", (b"last",), False),
        (b"--b--", (), True),
        (b"--b", (b"",), False),
    ],
)
def test_odd_multiparts(body: bytes, parts: tuple[bytes, ...], closed: bool) -> None:
    pieces = split_multipart(body, "b")
    assert (pieces.parts, pieces.is_closed) == (parts, closed)


def test_a_boundary_that_does_not_occur_is_malformed() -> None:
    with pytest.raises(MalformedMessage, match="boundary 'b' of a multipart does not occur"):
        split_multipart(b"text --b\r\n--bb\r\n", "b")


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize(
    "body",
    [b"", b"hello", b"hello\r\n", b"\r\n\r\n", b"a" * MAX_LINE + b"\r\nb", b".\r\n..\r\n"],
)
def test_what_is_canonical_stays_as_it_is(body: bytes, clear: bool) -> None:
    raw = leaf(body, b"Content-Type: text/plain; charset=us-ascii")
    assert canonical_entity(raw, clear=clear) == raw


@pytest.mark.parametrize(
    ("body", "encoding"),
    [
        ("grüße\r\n".encode(), b"quoted-printable"),
        (b"nul\0\r\n", b"quoted-printable"),
        (b"bare\rcr\r\n", b"quoted-printable"),
        (b"x" * (MAX_LINE + 1), b"quoted-printable"),
    ],
)
def test_text_that_is_not_seven_bit_becomes_quoted_printable(body: bytes, encoding: bytes) -> None:
    for clear in (True, False):
        made = canonical_entity(leaf(body, b"Content-Type: text/plain"), clear=clear)
        assert Entity(made).transfer_encoding.encode() == encoding
        assert made.isascii()
        assert max(map(len, made.split(b"\r\n"))) <= 80
        assert payload(made) == body
        assert canonical_entity(made, clear=clear) == made


@pytest.mark.parametrize("body", [b"From me\r\n", b"a\r\nFrom me", b"blank \r\n", b"tab\t"])
def test_only_clear_text_is_kept_from_mailbox_files_and_gateways(body: bytes) -> None:
    raw = leaf(body, b"Content-Type: text/plain")
    assert canonical_entity(raw, clear=False) == raw
    made = canonical_entity(raw, clear=True)
    assert payload(made) == body
    assert not any(line.startswith(b"From ") for line in made.split(b"\r\n"))
    assert not any(line.endswith((b" ", b"\t")) for line in made.split(b"\r\n"))


def test_binary_parts_keep_every_octet() -> None:
    data = bytes(range(256)) * 3 + b"\n\r\r\n"
    raw = leaf(
        data, b"Content-Type: application/octet-stream", b"Content-Transfer-Encoding: binary"
    )
    made = canonical_entity(raw, clear=True)
    assert Entity(made).transfer_encoding == "base64"
    assert Entity(made).decoded_body() == data


def test_a_seven_bit_body_of_an_eight_bit_part_is_said_to_be_so() -> None:
    raw = leaf(b"plain\r\n", b"Content-Type: text/plain", b"Content-Transfer-Encoding: 8bit")
    assert b"Content-Transfer-Encoding: 7bit\r\n" in canonical_entity(raw, clear=True)


def test_encoded_parts_are_left_alone() -> None:
    raw = leaf(b"aGVsbG8=\r\n", b"Content-Type: image/png", b"Content-Transfer-Encoding: BASE64")
    assert canonical_entity(raw, clear=True) == raw


def test_parts_are_made_canonical_one_by_one() -> None:
    raw = (
        b'Content-Type: multipart/mixed; boundary="ab"\nContent-Transfer-Encoding: 8bit\n\n'
        b"preamble\n--ab\nContent-Type: text/plain; charset=utf-8\n\ngr\xc3\xbc\xc3\x9fe\n"
        b'--ab\nContent-Type: multipart/mixed; boundary="abc"\n\n--abc\n\nplain\n--abc--\n\n'
        b"--ab--\nepilogue\n"
    )
    made = canonical_entity(raw, clear=True)
    assert made == (
        b'Content-Type: multipart/mixed; boundary="ab"\r\n'
        b"Content-Transfer-Encoding: 7bit\r\n\r\n"
        b"preamble\r\n--ab\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\ngr=C3=BC=C3=9Fe\r\n"
        b'--ab\r\nContent-Type: multipart/mixed; boundary="abc"\r\n\r\n'
        b"--abc\r\n\r\nplain\r\n--abc--\r\n\r\n--ab--\r\nepilogue\r\n"
    )


def test_a_message_inside_is_made_canonical_too() -> None:
    raw = leaf(
        b"From: x\n\ngr\xc3\xbc\xc3\x9fe\n",
        b"Content-Type: message/rfc822",
        b"Content-Transfer-Encoding: 8bit",
    )
    made = canonical_entity(raw, clear=True)
    assert made.isascii()
    assert b"Content-Transfer-Encoding: 7bit" in made
    assert b"gr=C3=BC=C3=9Fe" in made


SIGNED_INSIDE = (
    b'Content-Type: multipart/signed; protocol="application/pkcs7-signature"; boundary=s\r\n\r\n'
    b"--s\r\n\r\n%s\r\n--s\r\nContent-Type: application/pkcs7-signature\r\n\r\nMAA=\r\n--s--\r\n"
)


def test_a_signature_inside_is_not_broken() -> None:
    raw = SIGNED_INSIDE % b"blank \r\nFrom me"
    assert canonical_entity(raw, clear=True) == raw
    eight_bit = SIGNED_INSIDE % "grüße".encode()
    assert canonical_entity(eight_bit, clear=False) == eight_bit
    with pytest.raises(MalformedMessage, match="multipart/signed inside") as caught:
        canonical_entity(eight_bit, clear=True)
    assert caught.value.hint == "sign opaque, or seal"


def test_eight_bit_parameters_become_rfc_2231() -> None:
    raw = leaf(
        b"x",
        b"Content-Type: application/pdf",
        'Content-Disposition: attachment; filename="Rechnung März.pdf"'.encode(),
    )
    made = canonical_entity(raw, clear=True)
    assert made.isascii()
    assert message_from_bytes(made, policy=email_policy.SMTP).get_filename() == "Rechnung März.pdf"


def test_deep_nesting_is_refused() -> None:
    raw = b"\r\n\r\nx"
    for level in range(60):
        raw = b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (level, level) + raw
    with pytest.raises(MalformedMessage, match="nested deeper than 40"):
        canonical_entity(raw, clear=True)


@pytest.mark.parametrize(
    "raw",
    [
        b"A: " + b"x" * 3_000_000,
        b"Content-Type: x/y; " + b"a" * 900_000 + b"\r\n\r\n",
        b"Content-Type: x/y; " + b'a="' * 200_000 + b"\r\n\r\n",
        b"Content-Type: x/y; " + b"(" * 900_000 + b"\r\n\r\n",
        b"Content-Type: x/y; name*0=" + b"name*1=;" * 100_000 + b"\r\n\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n" * 300_000,
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--bb" * 300_000,
        b"\n" * 1_000_000,
        b"A:\n" * 300_000 + b"\n",
        b"Content-Type: " + b"\n " * 400_000,
    ],
)
def test_hostile_entities_cost_no_more_than_their_size(raw: bytes) -> None:
    begin = time.process_time()
    try:
        canonical_entity(raw, clear=True)
        _ = Entity(raw).filename
    except MalformedMessage:
        pass
    assert time.process_time() - begin < 5


@pytest.mark.parametrize(
    ("text", "data"),
    [
        (b"aGVsbG8=", b"hello"),
        (b" aGVs\r\nbG8=\r\n\r\n", b"hello"),
        (b"aGVsbG8", b"hello"),
        (b"", b""),
        # a forwarder's text behind it
        (b"aGVsbG8=\r\n\r\n-- \r\nlist footer\r\n", b"hello"),
        (b"aGVsbG8=\nlist footer", b"hello"),
        (b"aGVs\nbG8= \n\nThis mail was scanned! a=b", b"hello"),
        (b"aGVsbG9v\r\n\r\n-- \r\nlist footer\r\n", b"helloo"),
        (b"aGVs\nbG9v\n\nList\nsee http://x/?a=b\n", b"helloo"),
        (b"aGVsbG9v\n____________\nfooter\n", b"helloo"),
        (b"aGVsbG9vbw==\n=====\nlist footer\n", b"hellooo"),
        (b"aGVsbG9vbw=\n=\n_____\nlist footer\n", b"hellooo"),
        (b"aGVsbG8=\n\xff\0", b"hello"),
    ],
)
def test_base64_with_line_breaks_or_without_padding(text: bytes, data: bytes) -> None:
    assert decode_base64(text) == data


@pytest.mark.parametrize(
    "text",
    [
        *(b"aGV!sbG8=", b"a", b"aGVsbG8=aGVsbG8=", b"\xff\xfe"),
        *(b"aGVsbG8=\r\naGVsbG8=\r\n", b"aGVsbG8= list footer!", b"aGVsb=\n-- \nfooter"),
        *(b"aGVsbG9vbw=\n-- \nfooter", b"aGVsbG9\n-- \nfooter", b"aGVs!\nbG8=\n-- \n"),
        *(b"\n\n-- \nfooter", b"!\naGVsbG8=\n", b"aGVs-bG8=\n\nfooter!"),
    ],
)
def test_what_is_not_base64_is_malformed(text: bytes) -> None:
    with pytest.raises(MalformedMessage, match="not base64"):
        decode_base64(text)


def test_comments_are_no_part_of_a_transfer_encoding() -> None:
    field = b"Content-Transfer-Encoding: (a (b; c)) base64 (d)\r\n\r\naGVsbG8=\r\n"
    assert Entity(field).decoded_body() == b"hello"


@pytest.mark.parametrize("piece", ["(", "()", '("', "(a(b)", ";(", 'a="(', "a("])
def test_comments_cost_no_more_than_their_length(piece: str) -> None:
    begin = time.process_time()
    for _ in range(20):
        ContentType.read("text/plain;" + piece * 200_000)
        Entity(b"Content-Transfer-Encoding: " + piece.encode() * 20_000).transfer_encoding  # noqa: B018
    assert time.process_time() - begin < 5


def test_base64_is_written_in_lines_of_76_that_end_in_crlf() -> None:
    lines = encode_base64(bytes(200)).split(b"\r\n")
    assert [len(line) for line in lines] == [76, 76, 76, 40, 0]


@pytest.mark.parametrize("lines", [0, 1, 2, 15, 16, 17, 71, 72, 80, 500])
@pytest.mark.parametrize("more", [-1, 0, 1, 2, 3, 56])
def test_base64_of_any_length_is_written_line_by_line(lines: int, more: int) -> None:
    data = bytes(range(256)) * 112
    data = data[: max(57 * lines + more, 0)]
    wanted = b"".join(
        base64.b64encode(data[start : start + 57]) + b"\r\n" for start in range(0, len(data), 57)
    )
    assert encode_base64(data) == encode_base64(memoryview(data)) == wanted


def _read_line_by_line(raw: bytes) -> tuple[list[tuple[str, bytes]], bytes]:
    """The fields and the body, read in the way that the RFC tells it (RFC 5322 2.1 and 2.2)."""
    lines = re.findall(rb"[^\n]*\n|[^\n]+\Z", raw)
    fields: list[bytes] = []
    for number, line in enumerate(lines):
        if line in (b"\n", b"\r\n"):
            lines = lines[number + 1 :]
            break
        line += b"" if line.endswith(b"\n") else b"\n"
        if fields and line[:1] in (b" ", b"\t"):
            fields[-1] += line
        else:
            fields.append(line)
    else:
        lines = []
    named: list[tuple[str, bytes]] = []
    is_readable = True
    for field in fields:
        name, colon, _ = field.partition(b":")
        printable = all(octet in b"\t" or 32 <= octet < 127 for octet in name)
        is_readable = is_readable and (not colon or printable)
        name = name.rstrip(b" \t")
        is_field = colon and name and b" " not in name and b"\t" not in name and is_readable
        named.append((name.decode() if is_field else "", field))
    return named, b"".join(lines)


@hypothesis.given(
    st.lists(
        st.sampled_from(
            [b"From", b":", b" ", b"\t", b"\n", b"\r\n", b"\r", b"X: y\r\n", b"X\xe9: y\n", b"\0"]
            + [b" folded\r\n", b"\r\n\r\n", b"\n\n", b"a", b"\x7f"]
        ),
        max_size=16,
    ).map(b"".join)
)
def test_a_header_is_read_as_line_by_line(raw: bytes) -> None:
    entity = Entity(raw)
    fields, body = _read_line_by_line(raw)
    assert [tuple(field) for field in entity.fields] == fields
    assert entity.body == body


def test_fields_that_describe_the_body_are_told_from_the_others() -> None:
    entity = Entity(
        b"From: a\ncontent-ID: 1\nno field\nMIME-version: 1.0\nX-Content-Y: 1\nfrom: b\n"
    )
    assert [one.name for one in entity.mime_fields] == ["content-ID", "MIME-version"]
    assert [one.name for one in entity.other_fields] == ["From", "X-Content-Y", "from"]
    assert [one.raw for one in entity.all("")] == [b"no field\n"]
    assert [one.raw for one in entity.all("FROM")] == [b"From: a\n", b"from: b\n"]


@pytest.mark.parametrize("default", ["text/plain", "message/rfc822"])
def test_a_header_alone_has_the_type_that_the_entity_has(default: str) -> None:
    for raw in (b"A: b\r\n\r\nbody", b"Content-Type: text/html\r\n\r\nbody"):
        alone = Entity(raw, default=default).without_body()
        assert alone.content_type.value == Entity(raw, default=default).content_type.value
        assert alone.raw == raw.removesuffix(b"body")


@pytest.mark.parametrize("odd", [b"\x00", b"\x1b[2J", b"\x7f", "\u202e".encode(), b"\xff\xfe"])
@pytest.mark.parametrize(
    "entity",
    [
        b"Content-Type: application/%b\r\n\r\nx\r\n",
        b"Content-Type: multipart/%b\r\n\r\nx\r\n",
        b"Content-Type: text/plain\r\nContent-Transfer-Encoding: b%b\r\n\r\n\xe4\r\n",
        b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: a%b/pdf\r\n"
        b"no field\r\n\r\nx\r\n--b--\r\n",
        b"Content-Type: multipart/%b; boundary=b\r\nContent-Transfer-Encoding: base64\r\n\r\nx\r\n",
    ],
)
def test_no_error_repeats_what_a_terminal_acts_upon(entity: bytes, odd: bytes) -> None:
    raw = entity % odd
    found = Entity(raw)
    assert found.content_type.value.isprintable()
    assert found.transfer_encoding.isprintable()
    said: list[str] = []
    for read in (found.decoded_body, lambda: canonical_entity(raw, clear=True)):
        try:
            read()
        except MalformedMessage as error:
            said.append(str(error))
    assert all(text.isprintable() for text in said)
