"""Replies and forwards that are built from the original."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smime_graph import (
    CA,
    EXCHANGE,
    Attachment,
    Contact,
    Identity,
    Opened,
    Password,
    Policy,
    TrustStore,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.errors import MalformedMessage, PolicyRefusal, SmimeGraphError, UsageError
from smime_graph.smime.answer import (
    Kind,
    answer,
    check_addressees,
    reference_hcp,
    subject_of,
    tells_what_was_hidden,
    unopened_hcp,
)
from smime_graph.smime.report import MessageReport

ORIGINAL = (
    b"From: Alice <alice@contoso.com>\r\nTo: Bob <bob@contoso.com>, dave@contoso.com\r\n"
    b"Cc: carol@contoso.com\r\nSubject: Figures\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
    b"Message-ID: <3@contoso.com>\r\nReferences: <1@contoso.com>\r\n <2@contoso.com>\r\n"
    b"Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
    b"Gr\xfc\xdfe\r\n> before\r\n"
)
AT = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


def read(message: EmailMessage) -> EmailMessage:
    """As its receiver reads it: written and parsed."""
    raw = message.as_bytes()
    assert raw.isascii() or message.policy.utf8  # type: ignore[attr-defined]
    return message_from_bytes(raw.replace(b"\r\n", b"\n"), policy=policy.default)


def built(original: bytes = ORIGINAL, kind: Kind = "reply", **options: object) -> EmailMessage:
    options.setdefault("sender", "bob@contoso.com")
    return read(answer(original, kind=kind, at=AT, **options))  # type: ignore[arg-type]


def test_a_reply_quotes_its_original_and_joins_its_thread() -> None:
    message = built(text="thank you\r\n")
    assert (message["From"], message["To"], message["Cc"]) == (
        "bob@contoso.com",
        "alice@contoso.com",
        None,
    )
    assert message["Subject"] == "Re: Figures"
    assert message["Date"] == "Mon, 23 Nov 2026 08:00:00 +0000"
    assert message["In-Reply-To"] == "<3@contoso.com>"
    assert message["References"].split() == [
        "<1@contoso.com>",
        "<2@contoso.com>",
        "<3@contoso.com>",
    ]
    assert message["Message-ID"].endswith("@contoso.com>")
    assert message.get_content() == (
        "thank you\n\nOn Sun, 22 Nov 2026 12:00:00 +0000, Alice <alice@contoso.com> wrote:\n"
        "> Grüße\n>> before\n"
    )


def test_a_reply_to_all_leaves_out_oneself_and_names_nobody_twice() -> None:
    original = ORIGINAL.replace(b"Cc: carol", b"Cc: DAVE@contoso.com, BOB@CONTOSO.COM, carol")
    message = built(original, "reply-all")
    assert message["To"] == "alice@contoso.com, dave@contoso.com"
    assert message["Cc"] == "carol@contoso.com"


def test_a_reply_to_all_has_the_order_and_the_spelling_of_the_original() -> None:
    original = (
        b"From: ann@x.y\r\nTo: Ben@x.y, ann@x.y, carl@x.y, BEN@x.y\r\n"
        b"Cc: Dora@x.y, carl@x.y, emil@x.y, dora@x.y\r\n\r\nx\r\n"
    )
    message = built(original, "reply-all")
    assert message["To"] == "ann@x.y, Ben@x.y, carl@x.y"
    assert message["Cc"] == "Dora@x.y, emil@x.y"


def test_a_reply_goes_where_it_is_asked_for() -> None:
    original = ORIGINAL.replace(b"Subject", b"Reply-To: list@contoso.com\r\nSubject")
    assert built(original)["To"] == "list@contoso.com"


@pytest.mark.parametrize("kind", ["reply", "reply-all"])
def test_a_reply_names_the_author_too_where_replies_are_asked_for_elsewhere(kind: Kind) -> None:
    """Graph sends it to From (documented); so who is there must be able to read it."""
    original = ORIGINAL.replace(b"Subject", b"Reply-To: list@contoso.com\r\nSubject")
    message = built(original, kind)
    named = f"{message['To']}, {message['Cc']}".split(", ")
    assert {"list@contoso.com", "alice@contoso.com"} <= {*named}
    assert ("dave@contoso.com" in named) is (kind == "reply-all")
    assert "bob@contoso.com" not in named


def test_a_built_reply_is_sealed_for_from_and_reply_to_or_not_at_all(
    ca: CA, bob: Identity, to_bob: Contact, now: datetime
) -> None:
    original = ORIGINAL.replace(b"Subject", b"Reply-To: list@contoso.com\r\nSubject")
    made = answer(original, kind="reply", sender="bob@contoso.com", at=now)
    alice, listed = (
        Contact(ca.issue(f"{one}@contoso.com", key="p256", at=now).certificate)
        for one in ("alice", "list")
    )
    for recipients in ([alice], [listed], [to_bob]):
        with pytest.raises(PolicyRefusal, match="no certificate is given for"):
            seal(made, signer=bob, recipients=recipients, at=now)
    assert seal(made, signer=bob, recipients=[alice, listed], at=now)


REPLY = b"From: bob@contoso.com\r\nTo: %b\r\n\r\nx\r\n"


@pytest.mark.parametrize(
    ("fields", "kind", "to", "rule"),
    [
        ({}, "reply", b"Alice <ALICE@Contoso.com>", None),
        ({}, "reply", b"dave@contoso.com", "answer.not-addressed"),
        ({}, "reply-all", b"alice@contoso.com, dave@contoso.com, carol@contoso.com", None),
        ({}, "reply-all", b"eve@contoso.com", "answer.not-addressed"),
        ({}, "forward", b"eve@contoso.com", None),
        (
            {"Reply-To": "dave@contoso.com"},
            "reply",
            b"dave@contoso.com",
            "encrypt.recipient-without",
        ),
        (
            {"Reply-To": "dave@contoso.com"},
            "reply",
            b"alice@contoso.com",
            "encrypt.recipient-without",
        ),
        ({"Reply-To": "ALICE@contoso.com"}, "reply", b"alice@contoso.com", None),
        ({"Sender": "dave@contoso.com"}, "reply", b"dave@contoso.com", "answer.not-addressed"),
        ({"Resent-From": "dave@contoso.com"}, "reply", b"dave@contoso.com", "answer.not-addressed"),
    ],
)
def test_whom_a_finished_answer_is_encrypted_for_is_held_against_the_original(
    ca: CA, now: datetime, fields: dict[str, str], kind: Kind, to: bytes, rule: str | None
) -> None:
    header = "".join(f"{name}: {value}\r\n" for name, value in fields.items()).encode()
    readers = [
        Contact(ca.issue(one.lower(), key="p256", at=now).certificate)
        for one in re.findall(r"[\w@.]+@[\w.]+", to.decode())
    ]
    asked = {"kind": kind, "recipients": readers}
    if rule is None:
        assert check_addressees(header + ORIGINAL, REPLY % to, **asked) == []  # type: ignore[arg-type]
        return
    with pytest.raises(PolicyRefusal) as caught:
        check_addressees(header + ORIGINAL, REPLY % to, **asked)  # type: ignore[arg-type]
    assert caught.value.rule.startswith(rule)
    assert caught.value.hint is not None


def test_a_certificate_for_somebody_who_does_not_get_the_answer_is_refused(
    ca: CA, now: datetime
) -> None:
    alice, eve = (
        Contact(ca.issue(f"{one}@contoso.com", key="p256", at=now).certificate)
        for one in ("alice", "eve")
    )
    raw = REPLY % b"alice@contoso.com"
    with pytest.raises(PolicyRefusal, match="not to eve@contoso"):
        check_addressees(ORIGINAL, raw, kind="reply", recipients=[alice, eve])
    own = Contact(ca.issue("bob@contoso.com", key="p256", at=now).certificate)
    assert check_addressees(ORIGINAL, raw, kind="reply", recipients=[alice, own]) == []
    # who knows the password is not for us to say
    assert check_addressees(ORIGINAL, raw, kind="reply", recipients=[Password("p" * 20)]) == []


def test_what_is_not_as_bad_is_a_text_for_people(ca: CA, now: datetime) -> None:
    alice = Contact(ca.issue("alice@contoso.com", key="p256", at=now).certificate)
    raw = REPLY % b"alice@contoso.com"
    cannot_read, not_named = check_addressees(ORIGINAL, raw, kind="reply-all", recipients=[alice])
    assert "dave@contoso.com, carol@contoso.com as well, who cannot read it" in cannot_read
    assert "dave@contoso.com, carol@contoso.com as well, whom it does not name" in not_named
    (others,) = check_addressees(ORIGINAL, REPLY % b"eve@contoso.com", kind="reply")[:1]
    assert others.endswith("Graph sends it to alice@contoso.com, not to eve@contoso.com")


def test_an_original_whose_author_cannot_be_read_is_answered_by_nobody(ca: CA) -> None:
    original = ORIGINAL.replace(b"From: Alice", b"From: a@b Alice")
    with pytest.raises(MalformedMessage, match="From of the original"):
        check_addressees(original, REPLY % b"alice@contoso.com", kind="reply")


def test_a_reply_to_all_of_one_s_own_message_still_has_a_receiver() -> None:
    original = b"From: bob@contoso.com\r\nTo: bob@contoso.com\r\n\r\nnote to self\r\n"
    assert built(original, "reply-all")["To"] == "bob@contoso.com"


@pytest.mark.parametrize(
    ("kind", "subject", "wanted"),
    [
        ("reply", "Figures", "Re: Figures"),
        ("reply", "Re: Figures", "Re: Figures"),
        ("reply", "RE: Figures", "RE: Figures"),
        ("reply", "", "Re:"),
        ("reply", "Fwd: Figures", "Re: Fwd: Figures"),
        ("forward", "Figures", "Fwd: Figures"),
        ("forward", "FW: Figures", "FW: Figures"),
        ("forward", "Re: Figures", "Fwd: Re: Figures"),
    ],
)
def test_a_prefix_is_never_doubled(kind: Kind, subject: str, wanted: str) -> None:
    assert subject_of(kind, subject) == wanted


def test_an_encoded_subject_is_read_and_cannot_bring_a_field_along() -> None:
    original = ORIGINAL.replace(b"Figures", b"=?utf-8?q?Gr=C3=BC=C3=9Fe=0D=0ABcc=3A_eve=40x=2Ey?=")
    message = built(original)
    assert message["Subject"] == "Re: Grüße  Bcc: eve@x.y"
    assert message["Bcc"] is None


@pytest.mark.parametrize(
    "subject",
    [
        b"=?utf-8?q?Figures_=C3=AC3=AC3=A4?=",  # octets that are no UTF-8
        b"=?utf-8?q?=C3=AC?= =?x-nobody?q?=AC=FF?=",
        b"=?x-nobody?q?=AC=FF?= =?utf-8?q?=C3=AC?=",
        b"=?utf-8?q?=C3=AC_=3D=3Futf-8=3Fq=3F=AC=3F=3D?=",  # an encoded-word in another
        b"=?utf-8?q?=C3=AC_=3D=3Fx-nobody=3Fq=3F=3D3D=3D3Futf-8=3D3Fq=3D3F=AC=3D3F=3D3D=3F=3D?=",
        b"\xc3\xac =?utf-8?q?=AC?=",
        "=?utf-8?b?7KzsrA==?= ü".encode(),
    ],
)
def test_an_answer_to_any_subject_can_be_written(subject: bytes) -> None:
    message = built(ORIGINAL.replace(b"Figures", subject))
    again = message_from_bytes(message.as_bytes(), policy=policy.SMTP)
    assert again["Subject"].startswith("Re: ")
    assert not any("\ud800" <= c <= "\udfff" for c in again["Subject"])


def test_a_forward_shows_the_text_and_carries_what_is_more_than_text() -> None:
    message = built(kind="forward", to=["eve@contoso.com"], text="see below")
    assert (message["To"], message["In-Reply-To"]) == ("eve@contoso.com", None)
    assert not message.is_multipart()
    text = message.get_content()
    assert text.startswith("see below\n\n---------- Forwarded message ----------\nFrom: Alice")
    assert text.endswith("Cc: carol@contoso.com\n\nGrüße\n> before\n")
    mixed = EmailMessage()
    mixed["From"] = "alice@contoso.com"
    mixed.set_content("plain\n")
    mixed.add_attachment(b"\x00\x01", maintype="application", subtype="x", filename="f.bin")
    message = built(mixed.as_bytes(), "forward", to=["eve@contoso.com"])
    (attached,) = message.iter_attachments()
    assert attached.get_content_type() == "message/rfc822"
    inner = attached.get_content()
    (file,) = inner.iter_attachments()
    assert file.get_content() == b"\x00\x01"


NO_BOUNDARY = "From: z@x.y\nContent-Type: multipart/mixed; boundary=q\n\nGrüße\n".encode()
SIGNED_8BIT = (
    "From: z@x.y\r\nContent-Type: multipart/signed; protocol=application/pgp-signature; boundary=q"
    "\r\n\r\n--q\r\n\r\nGrüße\r\n--q\r\nContent-Type: application/pgp-signature\r\n\r\n--q--"
).encode()
UTF8_ADDRESS = "From: grün@x.y\nContent-Type: text/html\n\nGrüße\n".encode()
UTF8_SUBJECT = "From: z@x.y\nSubject: Grüße\nContent-Type: text/html\n\nGrüße\n".encode()
LATIN1 = b"From: z@x.y\nSubject: \xfc\xff\nContent-Type: text/html\n\n\xfc\0\xff\r\n"


@pytest.mark.parametrize(
    "original",
    [NO_BOUNDARY, SIGNED_8BIT, UTF8_ADDRESS, UTF8_SUBJECT, LATIN1],
    ids=["no-boundary", "signed-8-bit", "utf-8-address", "utf-8-subject", "latin-1"],
)
@pytest.mark.parametrize(
    "extra", [(), (Attachment("a.txt", data=b"a"),)], ids=["alone", "attached"]
)
def test_an_original_that_email_cannot_write_is_forwarded_all_the_same(
    bob: Identity, trust: TrustStore, now: datetime, original: bytes, extra: tuple[Attachment, ...]
) -> None:
    made = answer(
        original,
        kind="forward",
        sender="bob@contoso.com",
        to=["eve@x.y"],
        attachments=extra,
        at=now,
    )
    for rules in (None, policy.SMTP, policy.SMTPUTF8, policy.SMTP.clone(cte_type="7bit")):
        assert made.as_bytes(policy=rules)
    opened = verify(sign(made, signer=bob, at=now), trust=trust, at=now)
    *_, attached = opened.message.iter_attachments()
    if attached.get_content_type() == "message/rfc822":
        inner = attached.get_content()
        assert inner["From"] == "z@x.y"
        assert inner.get_content_type() == "text/html"
    else:
        assert attached.get_filename() == "original.eml"
        assert attached.get_content() == original
    is_file = original in (NO_BOUNDARY, SIGNED_8BIT, UTF8_ADDRESS)
    assert is_file is (attached.get_content_type() != "message/rfc822")


def test_what_was_signed_is_forwarded_byte_for_byte(
    alice: Identity, trust: TrustStore, now: datetime
) -> None:
    text = b"From: alice@contoso.com\r\nContent-Type: text/html; x=y\r\n\r\n<b>\r\n  x  \r\n"
    signed = sign(text, signer=alice, at=now)
    made = answer(signed, kind="forward", sender="bob@contoso.com", to=["eve@x.y"])
    assert signed in made.as_bytes()


@pytest.mark.parametrize(
    "charset", ["unicode_escape", "raw_unicode_escape", "punycode", "idna", "utf-7", "x", "hex"]
)
def test_a_charset_that_is_none_ends_in_readable_text_and_soon(charset: str) -> None:
    begin = time.process_time()
    head = f"From: a@b.c\r\nContent-Type: text/plain; charset={charset}\r\n\r\n"
    original = head.encode() + rb"\ud800 word" + b"a-b" * 60_000
    message = answer(original, kind="reply", sender="bob@contoso.com", at=AT)
    assert "word" in read(message).get_content()
    assert time.process_time() - begin < 3


def test_half_a_character_is_an_error_of_ours() -> None:
    with pytest.raises(UsageError, match="half a character"):
        built(text="\ud800")


def test_files_are_attached_as_they_are() -> None:
    message = built(
        attachments=[Attachment("plan ä.pdf", data=b"%PDF\x00", content_type="application/pdf")]
    )
    (attached,) = message.iter_attachments()
    assert attached.get_filename() == "plan ä.pdf"
    assert attached.get_content_type() == "application/pdf"
    assert attached.get_content() == b"%PDF\x00"


@pytest.mark.parametrize("charset", ["utf-8\ufffd", "\u00e4", "utf-8\x01", "no-such-charset", "*"])
def test_a_subject_in_no_charset_is_quoted_as_it_stands(charset: str) -> None:
    subject = f"=?{charset}?q?Figures?="
    original = f"From: a@b.c\r\nSubject: {subject}\r\n\r\nhello\r\n".encode()
    for kind in ("reply", "forward"):
        message = built(original, kind, to=["d@e.f"] if kind == "forward" else ())
        assert "Figures" in message["Subject"]


def test_html_is_quoted_as_its_words() -> None:
    original = (
        b"From: a@b.c\r\nContent-Type: text/html; charset=utf-8\r\n\r\n"
        b"<html><head><title>no</title><style>p{}</style></head><body><p>one &amp; two</p>"
        b"<script>alert(1)</script><img src='http://x.y/z'><div>three</div></body></html>"
    )
    assert built(original).get_content() == "a@b.c wrote:\n> one & two\n> three\n"


@pytest.mark.parametrize(
    "piece",
    ["<!--", "<", "<a ", "</", "<![CDATA[", "<script>", "<script", "&#", "<a> ", "</script ", "<p"],
)
def test_html_that_never_ends_is_quoted_in_bounded_time(piece: str) -> None:
    begin = time.process_time()
    head = "From: a@b.c\r\nContent-Type: text/html\r\n\r\n"
    answer((head + piece * 50_000).encode(), kind="reply", sender="bob@contoso.com")
    assert time.process_time() - begin < 2


def test_plain_text_is_preferred_and_attachments_are_not_quoted() -> None:
    original = (
        b"From: a@b.c\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\n"
        b"Content-Type: text/plain\r\nContent-Disposition: attachment\r\n\r\nfile\r\n--m\r\n"
        b"Content-Type: multipart/alternative; boundary=n\r\n\r\n--n\r\n"
        b"Content-Type: text/html\r\n\r\n<b>html</b>\r\n--n\r\n"
        b"Content-Type: text/plain\r\n\r\nplain\r\n--n--\r\n--m--\r\n"
    )
    assert built(original).get_content() == "a@b.c wrote:\n> plain\n"


def test_a_thread_does_not_grow_without_end() -> None:
    ids = b" ".join(b"<%d@x.y>" % number for number in range(500))
    original = b"From: a@b.c\r\nMessage-ID: <own@x.y>\r\nReferences: " + ids + b"\r\n\r\nx\r\n"
    thread = built(original)["References"].split()
    assert len(thread) == 50
    assert (thread[0], thread[-2], thread[-1]) == ("<0@x.y>", "<499@x.y>", "<own@x.y>")


def test_addresses_beyond_ascii_are_kept() -> None:
    original = "From: grün@bücher.example\r\n\r\nx\r\n".encode()
    raw = answer(original, kind="reply", sender="bob@contoso.com").as_bytes()
    assert "To: grün@bücher.example\r\n".encode() in raw


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"original": b"Subject: x\r\n\r\nx"}, MalformedMessage),
        ({"original": b"From: a@b@c\r\n\r\nx"}, MalformedMessage),
        ({"sender": "nobody"}, UsageError),
        ({"sender": "a@b.c, d@e.f"}, UsageError),
        ({"kind": "forward"}, UsageError),
        ({"kind": "forward", "to": ["x"]}, UsageError),
        ({"kind": "forward", "to": ["a@b.c\r\nBcc: eve@x.y"]}, UsageError),
        ({"to": ["a@b.c"]}, UsageError),
    ],
)
def test_what_cannot_be_answered_is_an_error(
    options: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        built(**options)  # type: ignore[arg-type]


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda name, value, body: (
                b"From: a@b.c\r\n" + name + b": " + value + b"\r\n\r\n" + body
            ),
            st.sampled_from(
                [b"Subject", b"References", b"To", b"Content-Type", b"Message-ID", b"Date"]
                + [b"Content-Type: text/html; charset", b"Content-Transfer-Encoding"]
            ),
            st.binary(max_size=60),
            st.binary(max_size=200),
        ),
    ),
    st.sampled_from(["reply", "reply-all", "forward"]),
)
def test_any_original_gives_an_answer_or_an_error(original: bytes, kind: Kind) -> None:
    to = ["eve@x.y"] if kind == "forward" else []
    try:
        message = answer(original, kind=kind, sender="bob@contoso.com", to=to)
    except SmimeGraphError:
        return
    parsed = message_from_bytes(message.as_bytes())
    assert parsed["From"] == "bob@contoso.com"
    assert parsed["Bcc"] is None


# --- what was encrypted of the header stays so (RFC 9788 6.1) -------------------------------------


SECRET = (
    b"From: Alice Lovelace <alice@contoso.com>\r\nTo: bob@contoso.com\r\nCc: carol@contoso.com\r\n"
    b"Subject: the takeover\r\nMessage-ID: <1@contoso.com>\r\n"
    b"Date: Sun, 22 Nov 2026 13:00:00 +0100\r\n\r\nhello\r\n"
)
ANYBODY = EXCHANGE.but("anybody", every_recipient_must_read=False)
KINDS: tuple[Kind, ...] = ("reply", "reply-all", "forward")


class Exchange:
    """A message from Alice to Bob, and his answer."""

    def __init__(
        self, alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
    ) -> None:
        self.alice, self.bob, self.to_bob, self.trust, self.now = alice, bob, to_bob, trust, now

    def received(self, hcp: Any) -> Opened:
        sealing: Any = {"policy": ANYBODY, "at": self.now, "header_confidentiality": hcp}
        made = seal(SECRET, signer=self.alice, recipients=[self.to_bob], **sealing)
        return unseal(made, identities=[self.bob], trust=self.trust, at=self.now)

    def answered(self, original: Opened, kind: Kind, own: Policy = ANYBODY) -> bytes:
        how: Any = {"kind": kind, "sender": "bob@contoso.com"}
        if kind == "forward":
            how["to"] = ["erin@contoso.com"]
        made = answer(original.raw, at=self.now, **how)
        hcp = reference_hcp(original, policy=own, **how)
        to_alice = Contact(self.alice.certificate)
        return seal(
            made,
            signer=self.bob,
            recipients=[to_alice],
            at=self.now,
            policy=own,
            header_confidentiality=hcp,
        )

    def read(self, made: bytes) -> EmailMessage:
        return unseal(made, identities=[self.alice], trust=self.trust, at=self.now).message


@pytest.fixture
def exchange(
    alice: Identity, bob: Identity, to_bob: Contact, trust: TrustStore, now: datetime
) -> Exchange:
    return Exchange(alice, bob, to_bob, trust, now)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hcp", ["baseline", "shy"])
def test_an_answer_hides_outside_what_the_original_hid(
    exchange: Exchange, kind: Kind, hcp: str
) -> None:
    made = exchange.answered(exchange.received(hcp), kind)
    prefix = "Fwd:" if kind == "forward" else "Re:"
    outer = message_from_bytes(made, policy=policy.default)
    assert outer["Subject"] == f"{prefix} [...]"
    assert b"takeover" not in made
    inner = exchange.read(made)
    assert inner["Subject"] == f"{prefix} the takeover"
    for name in ("From", "To", "Cc", "In-Reply-To", "References"):
        assert outer[name] == inner[name]


def test_an_answer_to_what_hid_nothing_hides_nothing(exchange: Exchange, trust: TrustStore) -> None:
    original = exchange.received("none")
    asked: Any = {"kind": "reply", "sender": "bob@contoso.com"}
    assert reference_hcp(original, **asked) is None
    outer = message_from_bytes(exchange.answered(original, "reply"), policy=policy.default)
    assert outer["Subject"] == "Re: the takeover"
    signed = verify(
        sign(SECRET, signer=exchange.alice, at=exchange.now), trust=trust, at=exchange.now
    )
    assert reference_hcp(signed, **asked) is None


def test_what_a_policy_hides_comes_before_what_the_original_hid(exchange: Exchange) -> None:
    own = ANYBODY.but("own", header_confidentiality="baseline")
    made = exchange.answered(exchange.received("baseline"), "reply", own)
    assert message_from_bytes(made)["Subject"] == "[...]"


def test_a_subject_that_was_edited_is_hidden_as_well(exchange: Exchange) -> None:
    hcp = reference_hcp(exchange.received("baseline"), kind="reply", sender="bob@contoso.com")
    assert hcp is not None
    assert hcp("Subject", "Re: the takeover, tomorrow") == "Re: [...]"
    assert hcp("X-Note", "x") == "x"


def test_what_was_removed_outside_is_removed_from_an_answer(exchange: Exchange) -> None:
    def without(name: str, value: str) -> str | None:
        return None if name in ("Cc", "Message-ID") else value

    made = exchange.answered(exchange.received(without), "reply-all")
    outer, inner = message_from_bytes(made), exchange.read(made)
    assert (outer["Cc"], outer["In-Reply-To"], outer["References"]) == (None, None, None)
    assert inner["Cc"] == "carol@contoso.com"
    assert inner["In-Reply-To"] == "<1@contoso.com>"
    assert inner["Subject"] == outer["Subject"] == "Re: the takeover"


def test_an_original_that_hid_its_from_lets_an_answer_show_nothing_of_it(
    exchange: Exchange,
) -> None:
    original = exchange.received("baseline")
    assert original.protected is not None
    bare = replace(original, protected=replace(original.protected, outer=()))
    hcp = reference_hcp(bare, kind="reply", sender="bob@contoso.com")
    assert hcp is not None
    assert [hcp(name, "x") for name in ("To", "Subject", "In-Reply-To")] == [None] * 3
    assert hcp("From", "bob@contoso.com") == "bob@contoso.com"


@pytest.mark.parametrize(
    ("subject", "shown"),
    [
        ("[...]", "Re: [...]"),
        ("Re: [...]", "Re: [...]"),
        ("...", "Re: ..."),
        ("Encrypted Message", "Re: Encrypted Message"),
        ("the takeover", None),
        ("", None),
    ],
)
def test_an_answer_to_what_nobody_opened_hides_its_subject(
    exchange: Exchange, subject: str, shown: str | None
) -> None:
    def outside(name: str, value: str) -> str | None:
        return subject if name == "Subject" else value

    sealing: Any = {"policy": ANYBODY, "at": exchange.now, "header_confidentiality": outside}
    raw = seal(SECRET, signer=exchange.alice, recipients=[exchange.to_bob], **sealing)
    hcp = unopened_hcp(raw, kind="reply")
    assert (hcp is None) is (shown is None)
    if hcp is not None:
        assert hcp("Subject", "Re: the takeover") == shown
        assert hcp("To", "alice@contoso.com") == "alice@contoso.com"
    broken = raw[: len(raw) // 2]
    assert (unopened_hcp(broken, kind="reply") is None) is (shown is None)
    # what was not encrypted hid nothing
    assert unopened_hcp(SECRET.replace(b"the takeover", subject.encode()), kind="reply") is None


@pytest.mark.parametrize(
    ("header", "tells"),
    [
        (b"Subject: Re: the takeover", True),
        (b"Subject: =?utf-8?q?AW:_The_takeover=2C_tomorrow?=", True),
        (b"Subject: x\r\nThread-Topic: the takeover", True),
        (b"Subject: Re: [...]", False),
        (b"Subject: Re:", False),
        (b"X: y", False),
    ],
)
def test_an_answer_that_tells_what_was_hidden_is_noticed(
    exchange: Exchange, header: bytes, tells: bool
) -> None:
    made = b"From: bob@contoso.com\r\n" + header + b"\r\n\r\nyes\r\n"
    assert tells_what_was_hidden(exchange.received("baseline"), made) is tells
    assert tells_what_was_hidden(exchange.received("none"), made) is False
    assert tells_what_was_hidden(Opened(SECRET, b"", MessageReport()), made) is False
