"""Legacy Display Elements are not shown where protected fields are read (RFC 9788 4.5.3)."""

from __future__ import annotations

import time

import pytest

from smime_graph.smime.entity import Entity
from smime_graph.smime.header_protection import ProtectedHeader
from smime_graph.smime.legacy_display import shown_entity

CIPHER = ProtectedHeader("hp", "cipher", (), (), is_encrypted=True)
CLEAR = ProtectedHeader("hp", "clear", (), None, is_encrypted=False)
PLAIN = b"Content-Type: text/plain; charset=utf-8%s\r\n%s\r\n"
HTML = b"Content-Type: text/html%s\r\n\r\n"
MARK = b'; hp-legacy-display="1"'
ELEMENT = b"Subject: secret\r\nCc: a@b\r\n\r\n"
DIV = b'<div class="header-protection-legacy-display"><pre>Subject: secret</pre></div>'


def shown(content: bytes, protected: ProtectedHeader = CIPHER) -> bytes:
    return b"".join(shown_entity(content, protected))


def test_the_header_ends_as_it_began_where_a_wrapped_message_has_bare_line_feeds() -> None:
    older = ProtectedHeader("message/rfc822", "clear", (), None, is_encrypted=False)
    wrapped = b"Content-Type: message/rfc822\r\n\r\nSubject: a\nContent-Type: text/plain\n\nHello\n"
    assert shown(wrapped, older) == b"Content-Type: text/plain\r\n\r\nHello\n"


@pytest.mark.parametrize(
    ("encoding", "before", "after"),
    [
        (b"", ELEMENT + b"Hello\r\n\r\nyou\r\n", b"Hello\r\n\r\nyou\r\n"),
        (b"", ELEMENT.replace(b"\r\n", b"\n") + b"Hello\n", b"Hello\n"),
        (b"", b"\r\nHello\r\n", b"Hello\r\n"),
        (b"", b"no blank line\r\n", b"no blank line\r\n"),
        (b"", b"", b""),
        (b"base64", b"U3ViamVjdDogc2VjcmV0DQoNCkhlbGxvDQo=\r\n", b"SGVsbG8NCg==\r\n"),
        (b"quoted-printable", b"Subject: a=\r\n\r\n\r\nH=C3=BC\r\n", b"H=C3=BC\r\n"),
        (b"x-unknown", ELEMENT, ELEMENT),
    ],
)
def test_the_element_of_a_text_ends_with_the_first_blank_line(
    encoding: bytes, before: bytes, after: bytes
) -> None:
    field = b"Content-Transfer-Encoding: " + encoding + b"\r\n" if encoding else b""
    assert shown(PLAIN % (MARK, field) + before) == PLAIN % (b"", field) + after


def test_the_blank_line_of_a_wide_charset_is_found() -> None:
    head = b"Content-Type: text/plain; charset=%s%s\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    for charset in ("utf-16-le", "utf-32-be"):
        text = "Subject: a\r\n\r\nHello".encode(charset)
        name = charset.encode()
        assert shown(head % (name, MARK) + text) == head % (name, b"") + "Hello".encode(charset)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"<body>" + DIV + b"<p>Hello</p>", b"<body><p>Hello</p>"),
        (b"<BODY>" + DIV.replace(b"div", b"DIV") + b"x", b"<BODY>x"),
        (b"<div class='a header-protection-legacy-display b'><div>x</div>y</div>z", b"z"),
        (b"<div id=1 class=header-protection-legacy-display>x</div>z", b"z"),
        (b"<div class='header-protection-legacy-displays'>x</div>", None),
        (b"<div data-class='header-protection-legacy-display'>x</div>", None),
        (b"<p class='header-protection-legacy-display'>x</p>", None),
        (b"<div class='header-protection-legacy-display'>x<p>the whole text", None),
        (b"<!-- " + DIV[:50] + b" --><p>x</p></div>", None),
        (b"a" + DIV + b"b" + DIV + b"c", b"abc"),
    ],
)
def test_the_element_of_html_is_the_div_of_its_class(before: bytes, after: bytes | None) -> None:
    after = before if after is None else after
    assert shown(HTML % MARK + before) == HTML % b"" + after


def test_elements_are_found_in_the_parts_that_have_the_mark_and_in_no_other() -> None:
    text = PLAIN % (b"%s", b"") + b"%s\r\n"
    alternative = (
        b"Content-Type: multipart/alternative; boundary=a\r\n\r\n--a\r\n"
        + text + b"--a\r\n" + HTML + b"%s\r\n--a--\r\n"
    )  # fmt: skip
    unmarked = PLAIN % (b"", b"") + ELEMENT
    attached = b"Content-Type: message/rfc822\r\n\r\n" + PLAIN % (MARK, b"") + ELEMENT
    within = b"Content-Type: multipart/signed; boundary=s\r\n\r\n--s\r\n"
    within += PLAIN % (MARK, b"") + ELEMENT + b"\r\n--s--"
    image = b"Content-Type: image/png" + MARK + b"\r\n\r\n" + ELEMENT
    whole = (
        b"Content-Type: multipart/mixed; boundary=m\r\n\r\npreamble\r\n--m\r\n" + alternative
        + b"\r\n--m\r\n" + b"\r\n--m\r\n".join([unmarked, attached, within, b"no header"])
        + b"\r\n--m--\r\nepilogue\r\n"
    )  # fmt: skip
    before = whole % (MARK, ELEMENT + b"Hello", MARK, DIV + b"<p>Hello</p>")
    after = whole % (b"", b"Hello", b"", b"<p>Hello</p>")
    assert shown(before) == after
    assert shown(image) == b"Content-Type: image/png\r\n\r\n" + ELEMENT


def test_nothing_is_hidden_of_a_message_that_came_in_the_clear() -> None:
    content = PLAIN % (MARK, b"") + ELEMENT
    assert shown(content, CLEAR) == PLAIN % (b"", b"") + ELEMENT


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'text/plain; hp="clear"; charset=a', b"text/plain; charset=a"),
        (b"text/plain;\r\n charset=a;\r\n hp=cipher", b"text/plain;\r\n charset=a"),
        (b'text/plain; name="a; hp=clear; b"; HP = clear', b'text/plain; name="a; hp=clear; b"'),
        (b'text/plain; name="a\\"; hp=clear"', b'text/plain; name="a\\"; hp=clear"'),
        (b"text/plain; hpx=clear; xhp=clear", b"text/plain; hpx=clear; xhp=clear"),
        (b'text/plain; name="a', b'text/plain; name="a'),
    ],
)
def test_hp_is_taken_out_of_a_content_type_and_nothing_else(before: bytes, after: bytes) -> None:
    content = b"Content-Type: %s\r\nContent-ID: <1>; hp=clear\r\n\r\nx"
    assert shown(content % before, CLEAR) == content % after
    assert "hp" not in Entity(content % after).content_type.parameters


@pytest.mark.parametrize(
    "text",
    [
        b"<div " * 200_000,
        b"<div class=" * 90_000,
        b"<!--" * 200_000,
        (b"<div class='header-protection-legacy-display'>") * 20_000,
        b"</div>" * 150_000,
        b"<div class='" * 90_000,
    ],
)
def test_html_of_any_kind_takes_no_time(text: bytes) -> None:
    start = time.process_time()
    assert shown(HTML % MARK + text) == HTML % b"" + text
    assert shown(PLAIN % (MARK, b"") + text) == PLAIN % (b"", b"") + text
    assert time.process_time() - start < 2
