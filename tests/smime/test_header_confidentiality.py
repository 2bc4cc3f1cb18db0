"""Header protection as it is made (RFC 9788 5), and what is hidden of a header (RFC 9788 3)."""

from __future__ import annotations

import re
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

import pytest

from smime_graph import (
    EXCHANGE,
    Contact,
    Identity,
    MalformedMessage,
    TrustStore,
    UsageError,
    decrypt,
    encrypt,
    seal,
    seal_copies,
    sign,
    unseal,
    verify,
)
from smime_graph.smime.entity import MAX_HEADER, Entity
from smime_graph.smime.header_confidentiality import hcp_baseline, hcp_shy
from tests.conftest import BARE, signed_content

RICH = (
    b"Received: from a by b; Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"From: Alice Lovelace <alice@contoso.com>\r\n"
    b"To: Bob <bob@contoso.com>\r\n"
    b"Subject: =?utf-8?q?J=C3=BCrgen?= & the figures\r\n"
    b"Keywords: budget, secret\r\n"
    b"Date: Sun, 22 Nov 2026 13:00:00 +0100\r\n"
    b"Message-ID: <1@contoso.com>\r\n"
    b"In-Reply-To: <0@contoso.com>\r\n"
    b"X-Folded: a\r\n b\r\n"
    b"MIME-Version: 1.0\r\n"
)
TEXT = b"Content-Type: text/plain; charset=us-ascii\r\n\r\nhello\r\n"
PROTECTED = [
    *("From", "To", "Subject", "Keywords", "Date", "Message-ID", "In-Reply-To", "X-Folded")
]
LAX = EXCHANGE.but("lax", every_recipient_must_read=False)


def names(raw: bytes) -> list[str]:
    return [field.name for field in Entity(raw).fields]


@pytest.mark.parametrize("detached", [True, False])
def test_signing_copies_every_field_but_bcc_and_the_traces_of_transport(
    alice: Identity, trust: TrustStore, now: datetime, detached: bool
) -> None:
    raw = b"Bcc: carol@contoso.com\r\n" + RICH + TEXT
    opened = verify(sign(raw, signer=alice, at=now, detached=detached), trust=trust, at=now)
    assert names(opened.content) == [*PROTECTED, "MIME-Version", "Content-Type"]
    assert opened.protected is not None
    assert [(one.name, one.value) for one in opened.protected.fields] == [
        (one.name, one.value) for one in Entity(raw).fields if one.name in PROTECTED
    ]
    assert Entity(opened.content).content_type.parameters["hp"] == "clear"
    assert opened.findings == ()
    assert opened.report.outer_headers_differ == ()
    assert opened.report.signers[0].covers_headers == tuple(PROTECTED)


def test_what_is_added_before_signing_is_protected_and_the_same_outside(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    raw = b"From: alice@contoso.com\r\nSubject: s\r\n\r\nhello\r\n"
    made = sign(raw, signer=alice, at=now)
    opened = verify(made, trust=trust, at=now)
    for name in ("Message-ID", "Date"):
        assert len(Entity(made).all(name)) == 1
        assert Entity(opened.content).get(name) == Entity(made).get(name) is not None
    assert opened.findings == ()


def test_sealing_says_inside_what_stands_outside(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    message: bytes,
    now: datetime,
) -> None:
    made = seal(message, signer=alice, recipients=[to_bob], at=now)
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert opened.content == signed_content(message, "cipher")
    assert opened.report.header_protection == "cipher"
    assert {one.state for one in opened.report.header_fields} == {"signed-only"}
    assert Entity(made).get("Subject") == "Figures"


HIDDEN = {
    "none": {},
    "baseline": {"Subject": "[...]", "Keywords": None},
    "shy": {
        "Subject": "[...]",
        "Keywords": None,
        "From": "alice@contoso.com",
        "To": "bob@contoso.com",
        "Date": "Sun, 22 Nov 2026 12:00:00 +0000",
    },
}


@pytest.mark.parametrize("name", HIDDEN)
@pytest.mark.parametrize("how", ["argument", "policy"])
def test_what_a_policy_hides_stands_inside_alone(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    name: Any,
    how: str,
) -> None:
    given = {"header_confidentiality": name}
    arguments: Any = given if how == "argument" else {"policy": EXCHANGE.but("own", **given)}
    made = seal(RICH + TEXT, signer=alice, recipients=[to_bob], at=now, **arguments)
    outer = Entity(made)
    for field, value in HIDDEN[name].items():
        assert outer.get(field) == value
    assert b"the figures" not in made or name == "none"
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert set(opened.report.outer_headers_differ) == {"Subject", "Keywords"} & set(HIDDEN[name])
    hidden = {o.name for o in opened.report.header_fields if o.state == "signed-and-encrypted"}
    assert hidden == set(HIDDEN[name])
    assert opened.findings == ()
    assert all(Entity(opened.raw).all(one) for one in PROTECTED)
    assert opened.message["Subject"] == "Jürgen & the figures"
    assert opened.message.get_content() == "hello\r\n"
    # the sender said, for each field, what stands outside (RFC 9788 2.2)
    said = [one.value for one in Entity(opened.content).all("HP-Outer")]
    assert said == [f"{one.name}: {one.value}" for one in outer.fields if one.name in PROTECTED]


def test_encrypting_alone_protects_fields_where_some_are_hidden(
    bob: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    plain = decrypt(encrypt(message, recipients=[to_bob], at=now), identities=[bob])
    assert plain.report.header_protection is None
    made = encrypt(message, recipients=[to_bob], at=now, header_confidentiality="baseline")
    assert b"Figures" not in made
    opened = decrypt(made, identities=[bob])
    assert opened.report.header_protection == "cipher"
    assert opened.message["Subject"] == "Figures"
    states = {one.name: one.state for one in opened.report.header_fields}
    assert (states["Subject"], states["To"]) == ("encrypted-only", "unprotected")


def test_a_function_may_say_what_is_hidden(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    message: bytes,
    now: datetime,
) -> None:
    def hide(name: str, value: str) -> str | None:
        return {"to": None, "subject": "a\r\nBcc: x@y\0 \x1b[0m"}.get(name.lower(), value)

    made = seal(
        message, signer=alice, recipients=[to_bob], at=now, policy=LAX, header_confidentiality=hide
    )
    outer = message_from_bytes(made, policy=SMTP)
    assert (outer["To"], outer["Bcc"]) == (None, None)
    assert outer["Subject"].startswith("a  Bcc: x@y")
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert opened.message["To"] == "Bob <bob@contoso.com>"
    assert opened.findings == ()


def test_a_function_that_fails_and_a_policy_without_protection_are_refused(
    alice: Identity, to_bob: Contact, message: bytes, now: datetime
) -> None:
    arguments: Any = {"signer": alice, "recipients": [to_bob], "at": now}
    wrong: list[tuple[Any, str]] = [(len, "TypeError"), (lambda *_: 3, "gives a int")]
    for bad, text in wrong:
        with pytest.raises(UsageError, match=text):
            seal(message, **arguments, header_confidentiality=bad)
    with pytest.raises(UsageError, match="protects no header fields"):
        seal(message, **arguments, policy=BARE, header_confidentiality="shy")
    with pytest.raises(UsageError, match="protects none"):
        BARE.but("wrong", header_confidentiality="baseline")
    with pytest.raises(UsageError, match="baseline"):
        seal(message, **arguments | {"header_confidentiality": "all"})


def test_without_header_protection_the_content_alone_is_signed(
    alice: Identity, trust: TrustStore, message: bytes, now: datetime
) -> None:
    opened = verify(sign(message, signer=alice, at=now, policy=BARE), trust=trust, at=now)
    assert opened.content == b"Content-Type: text/plain; charset=us-ascii\r\n\r\nthe figures\r\n"
    assert opened.report.header_protection is None


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("Alice <a@x.org>, b@x.org", "a@x.org, b@x.org"),
        ("Team: a@x.org, B <b@x.org>;", "a@x.org, b@x.org"),
        ("unreadable <", "unreadable <"),
        ("Nobody:;", "Nobody:;"),
    ],
)
def test_shy_leaves_addresses(value: str, wanted: str) -> None:
    for name in ("From", "TO", "cc"):
        assert hcp_shy(name, value) == wanted
    assert hcp_shy("Reply-To", value) == value
    assert hcp_baseline("From", value) == value


@pytest.mark.parametrize("value", ["", "tomorrow", "Sun, 22 Nov 2026 25:00:00 +0100", "9" * 999])
def test_shy_leaves_a_date_that_is_none(value: str) -> None:
    assert hcp_shy("Date", value) == value


def test_what_is_signed_already_is_no_payload_to_protect(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    message: bytes,
    now: datetime,
) -> None:
    signed = sign(message, signer=alice, at=now)
    arguments: Any = {"signer": alice, "recipients": [to_bob], "at": now}
    opened = unseal(seal(signed, **arguments), identities=[bob], trust=trust, at=now)
    assert opened.content == signed_content(message)
    assert opened.report.header_protection == "clear"
    assert b"hp-outer" not in opened.raw.lower()
    with pytest.raises(UsageError, match="already"):
        seal(signed, **arguments, header_confidentiality="baseline")


@pytest.mark.parametrize("spelled", ["HP-Outer:", "hp-outer :", "HP-OUTER:\r\n"])
def test_what_another_message_had_outside_is_not_said_of_this_one(
    bob: Identity, alice: Identity, to_bob: Contact, trust: TrustStore, now: datetime, spelled: str
) -> None:
    """HP-Outer is for inside alone (RFC 9788 2.2): outside it would say what is to be hidden."""
    records = f"{spelled} Subject: the figures\r\n{spelled} Bcc: carol@contoso.com\r\n"
    raw = records.encode() + RICH + TEXT
    arguments: Any = {"signer": alice, "at": now}
    hidden: Any = {**arguments, "recipients": [to_bob], "header_confidentiality": "baseline"}
    sealed = seal(raw, **hidden)
    assert b"figures" not in sealed
    for made in (sealed, seal_copies(raw, **hidden)[0].message, sign(raw, **arguments)):
        assert "hp-outer" not in [name.lower() for name in names(made)]
        assert b"carol" not in made
    opened = unseal(sealed, identities=[bob], trust=trust, at=now)
    assert b"carol" not in opened.raw
    assert opened.findings == ()


# --- what stands in the way -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    [
        b"Subject: blanks at the end \r\n",
        b"Subject: folded \r\n  \r\n\t\r\n and blank\r\n",
        b"Subject: a\rBcc: x@y\r\n",
        b"Subject: a\0b\r\n",
        b"Subject: J\xc3\xbcrgen\r\n",
        b"Subject: J\xfcrgen\r\n",
        b"Subject: " + b"word " * 400 + b"\r\n",
        b"From_: x\r\nSubject:\r\n",
        b"Subject:a\r\n",
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_odd_fields_are_signed_and_read_back_as_they_were_meant(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    field: bytes,
    end: bytes,
) -> None:
    raw = (b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n" + field + TEXT).replace(
        b"\r\n", end
    )
    signed = verify(sign(raw, signer=alice, at=now), trust=trust, at=now)
    sealed = unseal(
        seal(raw, signer=alice, recipients=[to_bob], at=now, header_confidentiality="baseline"),
        identities=[bob],
        trust=trust,
        at=now,
    )
    for opened in (signed, sealed):
        message = opened.message
        assert message["Bcc"] is None
        assert message.get_content() == "hello\r\n"
        wanted = message_from_bytes(raw, policy=SMTP)["Subject"]
        if b"\r" in field.replace(b"\r\n", b"") or b"\0" in field or b"\xfc" in field:
            assert str(message["Subject"]).startswith(("a", "J"))
        else:
            assert str(message["Subject"]).split() == str(wanted).split()
        assert not re.search(rb"[ \t]\r\n|(?<!\r)\n", Entity(opened.content).header)
    assert signed.report.header_protection == "clear"
    assert sealed.report.header_protection == "cipher"
    assert [one.code for one in sealed.findings] == []


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (b"text/plain", "text/plain"),
        (b"text/plain;", "text/plain"),
        (b"text/plain ; charset=utf-8", "text/plain"),
        (b"text/plain;\r\n charset=utf-8;\r\n format=flowed", "text/plain"),
        (b"text/plain (a; b); charset=utf-8", "text/plain"),
        (b'text/plain; name="a;b', "text/plain"),
        (b'text/plain; hp="cipher"; charset=utf-8', "text/plain"),
        (b"text/plain; HP=nonsense", "text/plain"),
        (b"text/plain; x=\"hp=clear; \"; hp*=us-ascii''x", "text/plain"),
        (b"TEXT/Plain; hp-legacy-display=1", "text/plain"),
    ],
)
def test_hp_gets_into_any_content_type_once(
    alice: Identity, trust: TrustStore, now: datetime, kind: bytes, value: str
) -> None:
    raw = b"From: alice@contoso.com\r\nContent-Type: " + kind + b"\r\n\r\nhello\r\n"
    opened = verify(sign(raw, signer=alice, at=now), trust=trust, at=now)
    found = Entity(opened.content).content_type
    assert (found.value, found.parameters["hp"]) == (value, "clear")
    assert "hp-legacy-display" not in found.parameters
    assert opened.report.header_protection == "clear"
    before = Entity(raw).content_type.parameters
    for name in ("charset", "format", "name", "x"):
        assert found.parameters.get(name) == before.get(name)


def test_a_message_that_was_protected_is_protected_anew(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    arguments: Any = {"signer": alice, "recipients": [to_bob], "at": now}
    made = seal(RICH + TEXT, **arguments, header_confidentiality="shy")
    first = unseal(made, identities=[bob], trust=trust, at=now)
    for again in (first.raw, first.content):
        opened = unseal(seal(again, **arguments), identities=[bob], trust=trust, at=now)
        assert opened.report.outer_headers_differ == ()
        assert Entity(opened.raw).all("HP-Outer") == []
        assert {one.state for one in opened.report.header_fields} == {"signed-only"}
        assert opened.findings == ()


def test_a_header_too_long_to_stand_twice_is_refused_and_one_of_many_recipients_is_not(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    many = b"".join(b",\r\n b%d@contoso.com" % n for n in range(12_000))
    raw = b"From: alice@contoso.com\r\nTo: bob@contoso.com" + many + b"\r\n" + TEXT
    made = seal(raw, signer=alice, recipients=[to_bob], at=now, policy=LAX)
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert opened.report.outer_headers_differ == ()
    assert opened.report.header_protection == "cipher"
    long = b"From: alice@contoso.com\r\nX-A: " + b"word " * (MAX_HEADER // 5 - 20) + b"\r\n" + TEXT
    with pytest.raises(MalformedMessage, match="too long to be protected"):
        sign(long, signer=alice, at=now)
    assert sign(long, signer=alice, at=now, policy=BARE)


# --- the Legacy Display Element (RFC 9788 5.2.2 to 5.2.5) -----------------------------------------


def rich() -> EmailMessage:
    made = EmailMessage(policy=SMTP)
    made["From"], made["To"] = "Alice <alice@contoso.com>", "Bob <bob@contoso.com>"
    made["Subject"] = "<b>Jürgen</b>"
    made["Date"] = "Sun, 22 Nov 2026 13:00:00 +0100"
    made.set_content("Grüße\n", cte="quoted-printable")
    made.add_alternative("<html><BODY bgcolor='x'><p>hi</p></BODY></html>", subtype="html")
    made.add_attachment("an attached text\n", filename="a.txt")
    made.add_attachment(b"binary", maintype="image", subtype="png", filename="a.png")
    return made


def test_main_body_parts_repeat_what_is_hidden_and_attachments_do_not(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> None:
    original = rich()
    made = seal(
        original, signer=alice, recipients=[to_bob], at=now, header_confidentiality="baseline"
    )
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    parts = list(message_from_bytes(opened.content, policy=SMTP).walk())
    marked = [one for one in parts if one.get_param("hp-legacy-display") == "1"]
    assert [one.get_content_type() for one in marked] == ["text/plain", "text/html"]
    plain, html = (one.get_content() for one in marked)
    assert plain.replace("\r\n", "\n") == "Subject: <b>Jürgen</b>\n\nGrüße\n"
    assert "&lt;b&gt;Jürgen&lt;/b&gt;" in html
    assert html.index("<BODY") < html.index("header-protection-legacy-display") < html.index("<p>")
    shown = opened.message
    assert shown.get_body(("plain",)).get_content() == "Grüße\r\n"
    assert "legacy-display" not in opened.raw.decode()
    wanted = original.get_body(("html",)).get_content()
    found = shown.get_body(("html",)).get_content()
    assert found.split() == wanted.split()
    assert [one.name for one in opened.attachments] == ["a.txt", "a.png"]
    assert opened.attachments[0].data.split() == b"an attached text".split()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        (b"text/plain", b"hello\r\n"),
        (b"text/plain; charset=iso-8859-1", "Grüße\r\n".encode("latin-1")),
        (b"text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64", b"aGk=\r\n"),
        (b"text/html; charset=us-ascii", b"<p>no body</p>\r\n"),
        (b"text/html", b"<!-- <body> --><body><div>x</div></body>\r\n"),
        (b"text/plain; charset=nonsense", b"hello\r\n"),
        (b"text/plain\r\nContent-Transfer-Encoding: x-unknown", b"hello\r\n"),
        (b"text/plain\r\nContent-Disposition: attachment", b"hello\r\n"),
        (b"application/pdf", b"hello\r\n"),
        (b"multipart/mixed; boundary=q", b"--q\r\n\r\nno type\r\n--q--\r\n"),
        (b"multipart/mixed; boundary=q", b"--q\r\nContent-Type: text/plain\r\n\r\nx\r\n--q\r\n"),
    ],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_what_is_put_into_a_text_is_taken_out_again(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    head: bytes,
    body: bytes,
    end: bytes,
) -> None:
    fields = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n"
    subject = "Subject: Jürgen & sons\r\n".encode()
    raw = (fields + subject + b"Content-Type: " + head + b"\r\n\r\n" + body).replace(b"\r\n", end)
    arguments: Any = {"signer": alice, "recipients": [to_bob], "at": now}
    made = seal(raw, **arguments, header_confidentiality="baseline")
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    bare = unseal(seal(raw, **arguments, policy=BARE), identities=[bob], trust=trust, at=now)
    assert opened.findings == ()

    def contents(whole: bytes) -> list[bytes]:
        parts = message_from_bytes(whole).walk()
        return [bytes(one.get_payload(decode=True) or b"").strip() for one in parts]

    assert contents(opened.raw) == contents(bare.raw)
    assert b"hp-legacy-display" not in opened.raw


@pytest.mark.parametrize("hcp", ["baseline", "shy", "own"])
@pytest.mark.parametrize(
    "field",
    [
        b"Thread-Topic: the takeover\r\n",
        b"Thread-Topic: anything\r\n",
        b"thread-topic: =?utf-8?q?the_takeover?=\r\n",
        b"X-Topic: Re: The  Takeover\r\n",
        b"X-Folded-Topic: the\r\n takeover\r\n",
        b"Keywords: the takeover\r\n",
        b"Comments: the takeover\r\n",
    ],
)
def test_what_repeats_a_hidden_subject_is_hidden_as_well(
    alice: Identity,
    bob: Identity,
    to_bob: Contact,
    trust: TrustStore,
    now: datetime,
    field: bytes,
    hcp: Any,
) -> None:
    """Outlook's Thread-Topic is the Subject once more."""

    def own(name: str, value: str) -> str | None:
        return None if name == "Subject" else value

    raw = (
        b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\nSubject: Re: AW: the takeover\r\n"
        b"Thread-Index: AQHZ\r\nX-Mailer: the takeover of mail\r\n" + field + b"\r\nhello\r\n"
    )
    made = seal(
        raw,
        signer=alice,
        recipients=[to_bob],
        at=now,
        header_confidentiality=own if hcp == "own" else hcp,
    )
    outside = message_from_bytes(made)
    name = field.partition(b":")[0].decode()
    assert outside[name] is None
    assert (outside["Thread-Index"], outside["X-Mailer"]) == ("AQHZ", "the takeover of mail")
    opened = unseal(made, identities=[bob], trust=trust, at=now)
    assert opened.message[name] == message_from_bytes(raw, policy=SMTP)[name]
    states = {one.name: one.state for one in opened.report.header_fields}
    assert states[name] == states["Subject"] == "signed-and-encrypted"
    assert not opened.report.has("smime.outer-header")


def test_where_the_subject_is_shown_what_repeats_it_is_shown(
    alice: Identity, to_bob: Contact, now: datetime
) -> None:
    raw = (
        b"From: Alice <alice@contoso.com>\r\nTo: bob@contoso.com\r\nSubject: Alice\r\n"
        b"Thread-Topic: Alice\r\n\r\nhello\r\n"
    )
    hcp: Any = lambda name, value: None if name == "Comments" else value  # noqa: E731
    made = seal(raw, signer=alice, recipients=[to_bob], at=now, header_confidentiality=hcp)
    assert message_from_bytes(made)["Thread-Topic"] == "Alice"
    # and without what it needs no mail arrives
    hidden = seal(raw, signer=alice, recipients=[to_bob], at=now, header_confidentiality="baseline")
    assert message_from_bytes(hidden)["From"] == "Alice <alice@contoso.com>"
    assert message_from_bytes(hidden)["Thread-Topic"] is None
