"""Content stays what it was: line ends are canonical where they are line ends, and nowhere else."""

from __future__ import annotations

import base64
import quopri
import re
from collections.abc import Callable
from datetime import datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest

from smime_graph import (
    Contact,
    Identity,
    MalformedMessage,
    TrustStore,
    compress,
    decompress,
    decrypt,
    encrypt,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.smime import outgoing
from smime_graph.smime.canonical import canonical_entity, check_finished
from smime_graph.smime.entity import Entity
from smime_graph.smime.lines import crlf

HEAD = b"From: alice@contoso.com\nTo: bob@contoso.com\nSubject: x\nMessage-ID: <1@x.y>\n"
# every line end there is, 8-bit octets, and a line of its own that could be a delimiter
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\r\n1 0 obj\r" + bytes(range(256)) + b"\n--Q-\r\n\n--\n%%EOF\n"
JSON = b'{\n "a": 1,\n "b": [2]\n}\n'  # nothing but its line ends is unusual

LABELS = [None, "7bit", "8bit", "binary", "BINARY (as it is)", "base64", "quoted-printable"]


@pytest.fixture
def reading(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> dict[str, Callable[[Any], bytes]]:
    """What a reader finds of a message that was signed, encrypted, ..."""
    judge: Any = {"trust": trust, "at": now}
    to: Any = {"recipients": [to_bob], "at": now}

    def sealed(raw: Any) -> bytes:
        made = seal(raw, signer=alice, **to)
        return unseal(made, identities=[bob], **judge).raw

    return {
        "sign": lambda raw: verify(sign(raw, signer=alice, at=now), **judge).raw,
        "opaque": lambda raw: verify(sign(raw, signer=alice, detached=False, at=now), **judge).raw,
        "encrypt": lambda raw: decrypt(encrypt(raw, **to), identities=[bob]).raw,
        "seal": sealed,
        "compress": lambda raw: decompress(compress(raw)).raw,
    }


def body_of(data: bytes, label: str | None) -> bytes:
    if label == "base64":
        return base64.encodebytes(data)
    if label == "quoted-printable":
        return quopri.encodestring(data)  # which leaves line ends as they are
    return data


def part(data: bytes, label: str | None, kind: str = "application/pdf") -> bytes:
    encoding = f"Content-Transfer-Encoding: {label}\n" if label else ""
    return f"Content-Type: {kind}\n{encoding}\n".encode() + body_of(data, label)


def alone(inner: bytes) -> bytes:
    return inner


def mixed(inner: bytes) -> bytes:
    return (
        b"Content-Type: multipart/mixed; boundary=Q\n\n--Q\nContent-Type: text/plain\n\nsee\n"
        b"--Q\n" + inner + b"\n--Q--\n"
    )


def forwarded(inner: bytes) -> bytes:
    message = (
        b"Content-Type: message/rfc822\n\nFrom: c@x.y\nContent-Type: multipart/mixed; boundary=R"
        b"\nContent-Transfer-Encoding: binary\n\n--R\n" + inner + b"\n--R--\n"
    )
    return mixed(message)


def digest(inner: bytes) -> bytes:
    """Without a Content-Type the parts of a digest are messages (RFC 2046 5.1.5)."""
    return b"Content-Type: multipart/digest; boundary=D\n\n--D\n\nFrom: c@x.y\n%b\n--D--\n" % inner


def of_kind(raw: bytes, kind: str) -> bytes:
    """The octets of the one part of this type, as `email` reads it."""
    (found,) = [one for one in message_from_bytes(raw).walk() if one.get_content_type() == kind]
    octets = found.get_payload(decode=True)
    assert isinstance(octets, bytes)
    return octets


@pytest.mark.parametrize("do", ["sign", "opaque", "encrypt", "seal", "compress"])
@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("data", [PDF, JSON], ids=["pdf", "json"])
@pytest.mark.parametrize("around", [alone, mixed, forwarded, digest])
def test_octets_of_what_is_no_text_stay(
    reading: Any, do: str, label: str | None, data: bytes, around: Callable[[bytes], bytes]
) -> None:
    raw = HEAD + around(part(data, label))
    wanted = of_kind(raw, "application/pdf")
    assert wanted == data or label == "quoted-printable"  # where quopri has made all ends alike
    found = reading[do](raw)
    assert of_kind(found, "application/pdf") == wanted
    # and of all the rest the line ends are canonical, without base64 around a message
    assert not re.search(rb"(?<!\r)\n|\r(?!\n)|[^\0-\x7f]", found)
    types = [one.get_content_type() for one in message_from_bytes(found).walk()]
    assert types == [one.get_content_type() for one in message_from_bytes(raw).walk()]


@pytest.mark.parametrize("do", ["sign", "seal"])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
@pytest.mark.parametrize("label", LABELS[:4])
def test_octets_of_a_parsed_or_built_message_stay(
    reading: Any, do: str, ends: bytes, label: str | None
) -> None:
    structure = mixed(part(b"@@", label)).replace(b"\n", ends)
    raw = HEAD.replace(b"\n", ends) + structure.replace(b"@@", PDF)
    for rules in (policy.default, policy.compat32, policy.SMTP):
        message = message_from_bytes(raw, policy=rules)
        before = message.as_bytes()
        assert of_kind(reading[do](message), "application/pdf") == PDF
        assert message.as_bytes() == before


@pytest.mark.parametrize("cte", ["8bit", "binary", "base64", "quoted-printable"])
def test_octets_attached_by_email_stay(reading: Any, cte: str) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "alice@contoso.com", "bob@contoso.com"
    message.set_content("see\n")
    message.add_attachment(PDF, maintype="application", subtype="pdf", cte=cte)
    assert of_kind(reading["sign"](message), "application/pdf") == PDF


def test_text_has_crlf_whatever_its_label_and_keeps_its_words(reading: Any) -> None:
    for label in LABELS[:3]:
        found = reading["sign"](HEAD + mixed(part("grün\nblau\n".encode(), label, "text/csv")))
        assert of_kind(found, "text/csv") == "grün\r\nblau\r\n".encode()


@pytest.mark.parametrize("label", LABELS[:4])
def test_text_in_units_of_two_octets_has_no_line_ends(reading: Any, label: str | None) -> None:
    data = "a\nਅ\r\n\u0a0d".encode("utf-16")
    found = reading["sign"](HEAD + part(data, label, "text/plain; charset=utf-16"))
    assert of_kind(found, "text/plain") == data


def test_a_delivery_status_is_lines_and_stays_readable(reading: Any) -> None:
    raw = HEAD + b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; x.y\n\nAction: no\n"
    body = Entity(reading["sign"](raw)).body
    assert body == b"Reporting-MTA: dns; x.y\r\n\r\nAction: no\r\n"


def test_line_ends_of_a_macintosh_are_none_where_they_are_data(
    alice: Identity, now: datetime
) -> None:
    text = (HEAD + mixed(part(b"a\nb", None, "text/html"))).replace(b"\n", b"\r")
    assert b"a\r\nb" in sign(text, signer=alice, at=now)
    with pytest.raises(MalformedMessage, match="bare CRs"):
        sign((HEAD + mixed(part(JSON, None))).replace(b"\n", b"\r"), signer=alice, at=now)


@pytest.mark.parametrize("label", ["8-bit", "x-unknown", "utf-8"])
def test_what_an_unknown_encoding_holds_is_not_guessed(reading: Any, label: str) -> None:
    with pytest.raises(MalformedMessage, match=f"transfer encoding '{label}', which is not known"):
        reading["seal"](HEAD + mixed(part(PDF, label)))
    safe = HEAD + mixed(part(b"one line", label))
    assert of_kind(reading["sign"](safe), "application/pdf") == b"one line"


@pytest.mark.parametrize("label", ["x-uuencode", "base64"])
def test_lines_of_an_encoded_text_are_no_data(reading: Any, label: str) -> None:
    import binascii

    lines = [binascii.b2a_uu(PDF[at : at + 45]) for at in range(0, len(PDF), 45)]
    body = b"begin 644 x\n" + b"".join(lines) + b" \nend\n"
    raw = part(PDF, label) if label == "base64" else part(body, label)
    assert of_kind(reading["seal"](HEAD + mixed(raw)), "application/pdf") == PDF


@pytest.mark.parametrize("junk", [b"no field", b"\xff: x", b"From: a\nno field: either way\nhm"])
def test_octets_behind_a_header_that_has_no_clear_end_are_not_changed(
    reading: Any, junk: bytes
) -> None:
    broken = b"Content-Type: application/pdf\n" + junk + b"\n\n" + JSON
    with pytest.raises(MalformedMessage, match="a line that is no field"):
        reading["sign"](HEAD + mixed(broken))


@pytest.mark.parametrize(
    "broken",
    [
        b"Content-Type: multipart/mixed; boundary=never\n\n" + JSON,
        b"Content-Type: multipart/mixed\n\n" + JSON,
    ],
    ids=["boundary-never-occurs", "no-boundary"],
)
def test_a_multipart_without_parts_is_left_alone_or_refused(reading: Any, broken: bytes) -> None:
    with pytest.raises(MalformedMessage, match="boundary"):
        reading["sign"](HEAD + mixed(broken))
    whole = mixed(broken).replace(b"\n", b"\r\n")
    assert reading["sign"](HEAD + whole).endswith(whole)


# --- what was signed before ---------------------------------------------------------------


def signed_inside(alice: Identity, now: datetime, inner: bytes) -> bytes:
    """A multipart/signed as a part: its own Content-Type, nothing of the header."""
    signed = sign(HEAD + inner, signer=alice, at=now)
    return signed[signed.index(b"Content-Type: multipart/signed") :]


@pytest.mark.parametrize("do", ["sign", "opaque", "encrypt", "seal", "compress"])
@pytest.mark.parametrize("around", [mixed, forwarded])
def test_a_signed_message_inside_is_byte_for_byte_the_same(
    reading: Any,
    alice: Identity,
    trust: TrustStore,
    now: datetime,
    do: str,
    around: Callable[[bytes], bytes],
) -> None:
    inner = signed_inside(alice, now, mixed(part(PDF, "8bit")))
    raw = HEAD + around(b"@@").replace(b"@@", inner)
    assert inner in reading[do](raw)
    # a file of a system with LF: the CRLF that was signed comes back
    found = reading[do](raw.replace(b"\r\n", b"\n"))
    assert inner in found
    again = found[found.index(b"Content-Type: multipart/signed") :]
    assert verify(HEAD + again, trust=trust, at=now).signer is not None


OTHER_SIGNED = (
    b"Content-Type: multipart/signed; protocol=application/pgp-signature; boundary=S\n\n--S\n"
    b"%b\n--S\nContent-Type: application/pgp-signature\n\n-----BEGIN PGP SIGNATURE-----\n\n"
    b"iQ==\n-----END PGP SIGNATURE-----\n--S--\n"
)


def test_a_signed_message_whose_line_ends_cannot_be_known_is_refused(reading: Any) -> None:
    text = OTHER_SIGNED % b"Content-Type: text/plain\n\na\nb"
    with_crlf = crlf(text)
    assert with_crlf in reading["seal"](HEAD + mixed(text))
    assert with_crlf in reading["seal"](HEAD + mixed(b"@@").replace(b"@@", with_crlf))
    mixture = with_crlf.replace(b"\r\n", b"\n", 9)
    data = OTHER_SIGNED % part(JSON, None)
    for do in ("sign", "opaque", "encrypt", "seal", "compress"):
        for raw in (data, mixture):
            with pytest.raises(MalformedMessage, match="line ends other than CRLF"):
                reading[do](HEAD + mixed(b"@@").replace(b"@@", raw))
        parsed = message_from_bytes(HEAD + mixed(data), policy=policy.default)
        with pytest.raises(MalformedMessage, match="line ends other than CRLF"):
            reading[do](parsed)
    # with CRLF as its line ends the same data is as it was signed
    assert crlf(data) in reading["sign"](HEAD + mixed(b"@@").replace(b"@@", crlf(data)))


# --- lines that do not survive ------------------------------------------------------------


def longest(raw: bytes) -> int:
    return max(map(len, raw.split(b"\r\n")))


@pytest.mark.parametrize("do", ["sign", "opaque", "seal"])
@pytest.mark.parametrize("size", [999, 4000, 100_000])
@pytest.mark.parametrize("label", ["base64", "quoted-printable"])
def test_long_lines_of_an_encoded_part_are_broken_anew(
    reading: Any, do: str, size: int, label: str
) -> None:
    data = (PDF * (size // len(PDF) + 1))[:size]
    encoded = b"".join(b"=%02X" % octet for octet in data)
    body = base64.b64encode(data) if label == "base64" else encoded
    raw = HEAD + mixed(part(b"@@", None).replace(b"\n\n", b"\nContent-Transfer-Encoding: @\n\n"))
    raw = raw.replace(b": @\n", f": {label}\n".encode()).replace(b"@@", body)
    found = reading[do](raw)
    assert longest(found) <= 998
    assert of_kind(found, "application/pdf") == data


def test_a_line_of_998_is_no_long_one(reading: Any) -> None:
    body = base64.b64encode(bytes(747)) + b"AA"
    assert len(body) == 998
    raw = crlf(
        HEAD + b"Content-Type: application/pdf\nContent-Transfer-Encoding: base64\n\n" + body
    )
    assert reading["sign"](raw).endswith(b"\r\n\r\n" + body)


@pytest.mark.parametrize(
    ("label", "body"),
    [("x-uuencode", b"M" * 999), ("x-unknown", b"x" * 999), ("base64", b"A" * 990 + b"\t-- !" * 9)],
)
def test_long_lines_that_cannot_be_broken_are_refused_where_a_relay_sees_them(
    reading: Any, label: str, body: bytes
) -> None:
    raw = b"Content-Type: application/pdf\nContent-Transfer-Encoding: %b\n\n%b\n"
    raw = HEAD + mixed(raw % (label.encode(), body)).replace(b"\n", b"\r\n")
    with pytest.raises(MalformedMessage, match="lines over 998 octets"):
        reading["sign"](raw)
    assert body in reading["opaque"](raw)
    assert body in reading["seal"](raw)


def test_breaking_a_line_makes_no_delimiter(reading: Any) -> None:
    text = b"x" * 75 + b"--Q\n=2D-Q--\n" + b"y" * 1000
    for data, label in ((text, "8bit"), (text + b"\xff", "quoted-printable")):
        raw = b"Content-Type: text/plain\nContent-Transfer-Encoding: %b\n\n%b"
        raw = HEAD + mixed(raw % (label.encode(), data)).replace(
            b"Content-Type: text/plain\n\n", b"\n"
        )
        found = message_from_bytes(reading["sign"](raw))
        assert len(found.get_payload()) == 2
        inner = reading["sign"](raw).partition(b"quoted-printable\r\n\r\n")[2]
        lines = inner.split(b"\r\n")
        assert [line for line in lines if line.startswith(b"--")] == [b"--Q--"]
        assert longest(inner) <= 76
        wanted = data if label == "8bit" else quopri.decodestring(data)
        assert quopri.decodestring(inner).startswith(crlf(wanted))


SIGNED_LONG = (
    b"Content-Type: multipart/signed; protocol=application/pkcs7-signature; boundary=S\r\n\r\n"
    b"--S\r\nContent-Transfer-Encoding: base64\r\n\r\n" + b"A" * 1000 + b"\r\n--S\r\n"
    b"Content-Type: application/pkcs7-signature\r\n\r\nMAA=\r\n--S--\r\n"
)


@pytest.mark.parametrize("around", [alone, mixed, forwarded])
def test_long_lines_that_somebody_signed_are_refused_where_a_relay_sees_them(
    reading: Any, around: Callable[[bytes], bytes]
) -> None:
    raw = HEAD + around(b"@@").replace(b"@@", SIGNED_LONG)
    with pytest.raises(MalformedMessage, match="lines over 998 octets") as caught:
        reading["sign"](raw)
    assert caught.value.hint == "sign opaque, or seal"
    entity = around(b"@@").replace(b"@@", SIGNED_LONG)
    assert SIGNED_LONG in canonical_entity(entity, clear=False)  # within opaque, or encrypted


def test_a_finished_message_with_such_lines_is_said_to_be_one() -> None:
    check_finished(HEAD + SIGNED_LONG.replace(b"A" * 1000, b"A" * 998))
    check_finished(HEAD + b"\n" + b"x" * 5000)  # nobody signed that
    for raw in (HEAD + SIGNED_LONG, HEAD + SIGNED_LONG.replace(b"\r\n", b"\n")):
        with pytest.raises(MalformedMessage, match="lines over 998 octets"):
            check_finished(raw)


NAME = "a" * 2000 + " b" * 500 + ".pdf"


@pytest.mark.parametrize("around", [alone, mixed, forwarded])
@pytest.mark.parametrize(
    "field",
    [
        f'Content-Disposition: attachment; filename="{NAME}"',
        "Content-Disposition: attachment" + "".join(f";p{n}={n}" for n in range(300)),
        "Content-Description: " + "many words " * 300,
        "Content-Description: many words\n " + "ünd mehr " * 300,
        "Content-Disposition: attachment;\n " + "p=x;" * 400 + ' filename="ü"',
    ],
    ids=["name", "parameters", "words", "8-bit-words", "8-bit-name"],
)
def test_long_lines_in_the_header_of_a_part_are_folded(
    reading: Any, around: Callable[[bytes], bytes], field: str
) -> None:
    raw = HEAD + around(field.encode() + b"\nContent-Type: application/pdf\n\nx")
    found = reading["sign"](raw)
    assert longest(found) <= 998
    before, after = (
        next(
            one
            for one in message_from_bytes(text, policy=policy.default).walk()
            if one.get_content_type() == "application/pdf"
        )
        for text in (raw, found)
    )
    assert after.get_filename() == before.get_filename()
    described = after["Content-Description"], before["Content-Description"]
    assert str(described[0]).split() == str(described[1]).split()
    assert of_kind(found, "application/pdf") == b"x"


def test_a_header_that_cannot_be_folded_is_refused(reading: Any) -> None:
    name = b"Content-ID: <" + b"x" * 1000 + b"@y>\n"
    inside = mixed(name + b"Content-Type: application/pdf\n\nx")
    with pytest.raises(MalformedMessage, match="Content-ID has a line of over 998 octets"):
        reading["sign"](HEAD + inside)
    assert name.rstrip() in reading["seal"](HEAD + inside)  # no relay sees it
    outside = b"X-Long: " + b"x" * 1000 + b"\n" + HEAD + b"\nhello\n"
    for do in reading:
        with pytest.raises(MalformedMessage, match="X-Long has a line of over 998 octets"):
            reading[do](outside)


@pytest.mark.parametrize("label", ["quoted-printable", "base64", "x-uuencode"])
@pytest.mark.parametrize(
    "data", [b"hello", b"hello = there\nyou\n", b"h\xe4", b"From me", b"x" * 999]
)
@pytest.mark.parametrize("kind", ["text/plain", "application/pdf"])
def test_parts_of_a_multipart_that_says_it_is_encoded_stay_to_be_seen(
    reading: Any, label: str, data: bytes, kind: str
) -> None:
    """RFC 2045 6.4 forbids the label, and readers look for the parts all the same."""
    inner = f"Content-Type: {kind}\nContent-Description: it\n\n".encode() + data
    labelled = f"\nContent-Transfer-Encoding: {label}\n".encode()
    raw = HEAD + mixed(inner).replace(b"\n", labelled, 1)
    refused: list[str] = []
    for do in reading:
        try:
            found = reading[do](raw)
        except MalformedMessage as error:
            refused.append(str(error))
            continue
        there = next(p for p in message_from_bytes(found).walk() if p["Content-Description"])
        assert there.get_content_type() == kind
        payload: Any = there.get_payload(decode=True)
        assert crlf(payload) == crlf(data)
    assert all("which a multipart may not have" in text for text in refused)
    if data == b"hello":
        assert refused == []


@pytest.mark.parametrize("around", [mixed, forwarded])
@pytest.mark.parametrize(
    "field", [b"X\xc3\xa4: y", b"\xa0: y", b"X-Y: a\rb", b"X-Y: a\0b"], ids=repr
)
def test_what_a_relay_changes_in_the_header_of_a_part_is_not_signed_in_the_clear(
    reading: Any, around: Callable[[bytes], bytes], field: bytes
) -> None:
    inside = around(b"Content-Type: text/plain\n" + field + b"\n\nx")
    with pytest.raises(MalformedMessage, match="the header of a part"):
        reading["sign"](HEAD + inside)
    assert field in reading["seal"](HEAD + inside)  # no relay sees it


def test_long_lines_of_the_header_outside_are_folded(reading: Any) -> None:
    ids = " ".join(f"<{n}@contoso.com>" for n in range(200))
    found = reading["seal"](f"References: {ids}\n".encode() + HEAD + b"\nhello\n")
    assert longest(found) <= 998
    assert str(message_from_bytes(found)["References"]).split() == ids.split()


@pytest.mark.parametrize("clear", [True, False])
@pytest.mark.parametrize("around", [alone, mixed, forwarded, digest])
@pytest.mark.parametrize("label", [None, "base64", "quoted-printable"])
def test_what_is_canonical_stays_byte_for_byte(
    clear: bool, around: Callable[[bytes], bytes], label: str | None
) -> None:
    entity = crlf(
        around(part(b"one line", label)).replace(b"Content-Transfer-Encoding: binary\n", b"")
    )
    assert canonical_entity(entity, clear=clear) == entity


TYPES = [
    *(None, "text/plain", 'text/html; charset="utf-8"', "text/plain; charset=utf-16", "text/x-y"),
    *("application/json", "text", 'text/plain; charset="utf-8"; name=x', "TEXT/plain"),
    *("message/rfc822", "multipart/mixed", "text/plain; charset=us-ascii\r\n ; charset=utf-16"),
]
PAYLOADS = [
    "a\r\nb\r\n",
    "a\nb\r",
    "a=00\nb",
    "a\0\nb",
    "=0D\n=0A",
    "a",
    "\xe4\n".encode().decode(),
]


@pytest.mark.parametrize("kept", [policy.default, policy.compat32], ids=["default", "compat32"])
@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("encoding", [*LABELS, "x-uuencode", "7bit "])
def test_what_is_text_at_a_look_has_no_octets_at_stake(
    encoding: str | None, payload: str, kept: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against the parser of `email` and the walk over the parts."""
    found = []
    for kind in TYPES:
        head = [f"Content-Type: {kind}\r\n"] if kind else []
        head += [f"Content-Transfer-Encoding: {encoding}\r\n"] if encoding else []
        raw = "".join([*head, "\r\n", payload]).encode()
        message = message_from_bytes(raw, policy=kept)
        found.append(outgoing._is_plainly_text(message))
        for part in message.walk():
            at_a_look = outgoing._is_at_stake(part)
            with monkeypatch.context() as patched:
                patched.setattr(outgoing, "_is_plainly_text", lambda _: False)
                assert outgoing._is_at_stake(part) == at_a_look, kind
    assert any(found) == (encoding in (None, "7bit", "8bit", "quoted-printable"))
