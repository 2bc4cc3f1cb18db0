"""Who was in Bcc is known to the sender and to nobody else."""

from __future__ import annotations

import httpx
import pytest

from smime_graph.emulator import Emulator
from smime_graph.emulator.headers import addresses, remove_fields
from smime_graph.emulator.mime import summarise

from .conftest import Post

HEADER = b"From: alice@contoso.com\r\nTo: bob@contoso.com\r\n"
REST = (
    b"Message-ID: <1@contoso.com>\r\nDate: Sun, 28 Feb 2021 07:15:00 +0000\r\nSubject: s\r\n"
    b"\r\nBcc: body\r\n"
)

SPELLINGS = [
    b"Bcc: carol@contoso.com\r\n",
    b"BCC:carol@contoso.com\r\n",
    b"bCc \t: carol@contoso.com\r\n",
    b"Bcc: Carol\r\n <carol@contoso.com>\r\n",
    b"Bcc:\r\n\tcarol@contoso.com\r\n \r\n",
    b"Bcc: x@fabrikam.com\r\nX-Between: 1\r\nBCC: carol@contoso.com\r\n",
    b"Bcc: hidden: carol@contoso.com, x@fabrikam.com;\r\n",
    b"Bcc: =?utf-8?q?C=C3=A4rol?= <carol@contoso.com>\r\n",
    b'Bcc: "Smith, \\"C\\" (x)" <carol@contoso.com> (a comment, with (a nested) one)\r\n',
    b"Bcc: <@relay.example,@other.example:carol@contoso.com>\r\n",
    b"Bcc: carol @ contoso . com\r\n",
    b"Bcc: C\xe4rol <carol@contoso.com>\r\n",
    b"Bcc: carol@contoso.com\n",
    b"Bcc: carol@contoso.com\r",
    b"X-Lone: 1\rBcc: carol@contoso.com\r\n",
]


@pytest.mark.parametrize("field", SPELLINGS)
@pytest.mark.parametrize("first", [True, False])
def test_a_bcc_field_reaches_its_recipient_and_is_in_no_delivered_copy(
    emulator: Emulator, client: httpx.Client, post: Post, field: bytes, first: bool
) -> None:
    raw = field + HEADER + REST if first else HEADER + field + REST
    assert post(client, "/me/sendMail", raw).status_code == 202
    copies = [emulator.mailbox(f"{who}@contoso.com").messages() for who in ("bob", "carol")]
    assert [len(c) for c in copies] == [1, 1]
    for delivered in [copies[0][0].raw, copies[1][0].raw, *(o.raw for o in emulator.outbound)]:
        header = delivered.partition(b"\r\n\r\n")[0].lower()
        assert b"carol" not in header
        assert b"bcc:" not in header
        assert delivered.endswith(b"\r\n\r\nBcc: body\r\n"), "the body is not looked at"
    assert [c[0].bcc for c in copies] == [(), ()]
    (sent,) = emulator.mailbox("alice@contoso.com").messages("sentitems")
    assert sent.raw == raw
    assert "carol@contoso.com" in sent.bcc


def test_all_other_fields_stay_as_they_are() -> None:
    subject = b"Subject:  folded\r\n  twice \r\n"
    raw = b"To: a@b\r\nBcc: c@d,\r\n e@f\r\n" + subject + b"bCC : g@h\r\nX: y\r\n\r\nbody"
    expected = b"To: a@b\r\n" + subject + b"X: y\r\n\r\nbody"
    assert remove_fields(raw, {"bcc"}) == expected


def test_the_end_of_the_header_stays_where_it_was() -> None:
    # Without the Bcc line a lone CR and the empty line would be one CRLF, and the body a header.
    raw = b"X: a\rBcc: b@c\n\nX-Body: text"
    assert remove_fields(raw, {"bcc"}).endswith(b"\n\nX-Body: text")


def test_bcc_alone_is_enough(emulator: Emulator, client: httpx.Client, post: Post) -> None:
    raw = (
        b"From: alice@contoso.com\r\nTo: undisclosed-recipients:;\r\nBcc: bob@contoso.com\r\n"
        + REST
    )
    assert post(client, "/me/sendMail", raw).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert received.to == received.bcc == ()


@pytest.mark.parametrize("resent", [b"Resent-Bcc: carol@contoso.com\r\n"])
def test_a_resent_bcc_is_removed_too(
    emulator: Emulator, client: httpx.Client, post: Post, resent: bytes
) -> None:
    assert post(client, "/me/sendMail", HEADER + resent + REST).status_code == 202
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    assert b"carol" not in received.raw


def test_a_bcc_recipient_of_a_draft_and_of_an_answer_is_not_shown(
    emulator: Emulator, client: httpx.Client, post: Post
) -> None:
    raw = HEADER + b"Bcc: carol@contoso.com\r\n" + REST
    draft = post(client, "/me/messages", raw).json()
    assert draft["bccRecipients"][0]["emailAddress"]["address"] == "carol@contoso.com"
    client.post(f"/me/messages/{draft['id']}/send")
    original = emulator.mailbox("bob@contoso.com").messages()[0]
    answer = raw.replace(b"From: alice@", b"From: bob@")
    path = f"/users/bob@contoso.com/messages/{original.id}/replyAll"
    assert post(client, path, answer).status_code == 202
    for who, count in (("alice", 1), ("bob", 2), ("carol", 2)):
        inbox = emulator.mailbox(f"{who}@contoso.com").messages()
        assert len(inbox) == count, who
        assert all(m.bcc == () and b"carol" not in m.raw for m in inbox)
        shown = client.get(f"/users/{who}@contoso.com/mailFolders/inbox/messages").text
        assert "carol@contoso.com" not in shown


def test_the_report_to_the_sender_may_name_a_bcc_recipient_and_no_copy_does(
    emulator: Emulator, client: httpx.Client, post: Post
) -> None:
    post(client, "/me/sendMail", HEADER + b"Bcc: who@contoso.com\r\n" + REST)
    (received,) = emulator.mailbox("bob@contoso.com").messages()
    (report,) = emulator.mailbox("alice@contoso.com").messages()
    assert b"who@contoso.com" not in received.raw
    assert b"who@contoso.com" in report.raw


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@b.c", [("", "a@b.c")]),
        ("A <a@b.c>, <d@e.f>", [("A", "a@b.c"), ("", "d@e.f")]),
        ('"x, y" <a@b.c>', [("x, y", "a@b.c")]),
        ('"a b"@c.d', [("", '"a b"@c.d')]),
        ("a@b.c (Name)", [("Name", "a@b.c")]),
        ("g: a@b.c, d@e.f; , h@i.j", [("", "a@b.c"), ("", "d@e.f"), ("", "h@i.j")]),
        ("a@[127.0.0.1], b@[IPv6:::1]", [("", "a@[127.0.0.1]"), ("", "b@[IPv6:::1]")]),
        ("=?iso-8859-1?q?=E9_?= =?utf-8?b?w6k=?= <a@b.c>", [("\xe9 \xe9", "a@b.c")]),
        ("undisclosed-recipients:;", []),
        ('a, @b, c@, <>, "unclosed, (unclosed, <d@e', []),
        ("two words@b.c", []),
        ("a@b@c.d", []),
        ("a@b.c\x00", []),
        ("@" * 300 + "b", []),
        ("", []),
    ],
)
def test_address_lists(value: str, expected: list[tuple[str, str]]) -> None:
    assert [(p.name, p.address) for p in addresses(value)] == expected


@pytest.mark.parametrize(
    "filler",
    [
        b"(",
        b"<",
        b'"',
        b"\\",
        b",",
        b":;",
        b" ",
        b"=?a?q?",
        b"a@b,",
        b"[",
        b"\t@",
        b';a="',
        b"=?utf-8?b?a",
    ],
)
@pytest.mark.timeout(20)
def test_hostile_fields_are_read_in_linear_time(filler: bytes) -> None:
    value = filler * (200_000 // len(filler))
    raw = b"To: " + value + b"\r\nContent-Type: multipart/mixed; boundary=b" + filler * 1000
    summarise(raw[:250_000] + b"\r\n\r\n" + b"\r\n--b" * 100_000)


@pytest.mark.timeout(20)
def test_hostile_structure_is_read_in_linear_time() -> None:
    nested = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(50_000)
    )
    assert summarise(b"From: a@b\r\n" + nested).body == ""
    many = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 300_000
    assert summarise(many).body == "x"
    assert summarise(b"Content-Type: text/html\r\n\r\n" + b"<" * 1_000_000).body.startswith("<<")
