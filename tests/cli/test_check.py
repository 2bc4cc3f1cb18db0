"""check and send give one answer: status and reason, over a table of messages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smime_graph.cli import files

from .conftest import Run

SIGN = ("--signer", "alice.key")
TO_BOB = ("--recipient", "bob.pem")
SEAL = (*SIGN, *TO_BOB)
PASSWORD = ("--recipient-password-file", "password")
SMALL = ("--size-limit", "1000")

HEAD = {
    "From": "Alice <alice@contoso.com>",
    "To": "Bob <bob@contoso.com>",
    "Subject": "Figures",
    "Message-ID": "<1@contoso.com>",
    "Date": "Sun, 22 Nov 2026 12:00:00 +0000",
}


def mail(
    body: bytes = b"the figures\r\n",
    *,
    more: bytes = b"",
    end: bytes = b"\r\n",
    **changes: str | None,
) -> bytes:
    """A message with these fields instead (None: without it), and these octets under its header."""
    fields = {**HEAD, **{name.replace("_", "-"): value for name, value in changes.items()}}
    lines = [
        f"{name}: {value}".encode() + end for name, value in fields.items() if value is not None
    ]
    return b"".join([*lines, more, end, body])


MIXED = (
    b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nx\r\n--b\r\n'
    b"Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: base64\r\n\r\n"
)

# what it is, the message (or a file of the folder), the options, the status, a word of the reason
TABLE: list[tuple[str, bytes | str, tuple[str, ...], int, str]] = [
    ("plain", mail(), (), 0, ""),
    ("signed on the way", mail(), SIGN, 0, ""),
    ("sealed on the way", mail(), SEAL, 0, ""),
    ("encrypted on the way", mail(), TO_BOB, 0, ""),
    ("encrypted for a password", mail(To="dave@contoso.com"), PASSWORD, 0, ""),
    ("sealed with bare LF", mail(end=b"\n", body=b"x\n"), SEAL, 0, ""),
    ("finished, signed", "signed.eml", (), 0, ""),
    ("finished, sealed", "sealed.eml", (), 0, ""),
    # Message-ID
    ("no Message-ID", mail(Message_ID=None), (), 0, ""),
    ("no Message-ID, signed", mail(Message_ID=None), SIGN, 0, ""),
    ("no Message-ID, encrypted", mail(Message_ID=None), TO_BOB, 0, ""),
    ("no Message-ID, no Date, LF", mail(Message_ID=None, Date=None, end=b"\n"), (), 0, ""),
    ("Message-ID without brackets", mail(Message_ID="1@contoso.com"), (), 1, "Message-ID"),
    ("Message-ID without brackets, sealed", mail(Message_ID="1"), SEAL, 1, "Message-ID"),
    ("Message-ID with a blank", mail(Message_ID="<1 @contoso.com>"), (), 1, "Message-ID"),
    ("Message-ID that is empty", mail(Message_ID=""), (), 1, "Message-ID"),
    ("Message-ID too long", mail(Message_ID=f"<{'x' * 1100}@y>"), (), 1, "Message-ID"),
    ("two Message-IDs", mail(more=b"Message-ID: <2@x>\r\n"), (), 1, "2 Message-ID"),
    ("two Message-IDs, signed", mail(more=b"message-id: <2@x>\r\n"), SIGN, 1, "2 Message-ID"),
    # From
    ("no From", mail(From=None), (), 1, "no From"),
    ("no From, signed", mail(From=None), SIGN, 1, "no From"),
    ("no From, encrypted", mail(From=None), TO_BOB, 1, "no From"),
    ("a Sender alone", mail(From=None, Sender="alice@contoso.com"), (), 1, "no From"),
    ("two Froms", mail(more=b"From: eve@contoso.com\r\n"), (), 1, "2 From"),
    ("the same From twice", mail(more=b"From: alice@contoso.com\r\n"), (), 1, "2 From"),
    ("two Froms, sealed", mail(more=b"From: eve@contoso.com\r\n"), SEAL, 1, "2 From"),
    ("From of two", mail(From="alice@contoso.com, bob@contoso.com"), (), 1, "2 addresses"),
    (
        "From of two, with a Sender, signed",
        mail(From="alice@contoso.com, bob@contoso.com", Sender="alice@contoso.com"),
        SIGN,
        1,
        "2 addresses",
    ),
    ("From without a domain", mail(From="alice"), (), 1, "From"),
    ("From that is empty", mail(From=""), (), 1, "From"),
    ("From with a name alone", mail(From="Alice <>"), (), 1, "From"),
    ("From in a comment", mail(From="(alice@contoso.com)"), (), 1, "From"),
    ("From without a domain, sealed", mail(From="alice"), SEAL, 1, "local-part"),
    ("From of another, signed", mail(From="eve@contoso.com"), SIGN, 1, "eve@contoso.com"),
    ("From of another, sealed", mail(From="eve@contoso.com"), SEAL, 1, "eve@contoso.com"),
    ("From of another, not signed", mail(From="eve@contoso.com"), (), 0, ""),
    ("From with @ in its quoted name", mail(From='"a@b" <alice@contoso.com>'), SEAL, 0, ""),
    ("a finished signature of another than From", "signed-by-another", (), 0, ""),
    # recipients
    ("no recipient", mail(To=None), (), 1, "no recipient"),
    ("no recipient, signed", mail(To=None), SIGN, 1, "no recipient"),
    ("no recipient, encrypted", mail(To=None), TO_BOB, 1, "no recipient"),
    ("To that is empty", mail(To=""), (), 1, "no recipient"),
    ("To without a domain", mail(To="bob"), (), 1, "no recipient"),
    ("To without a domain, sealed", mail(To="bob"), SEAL, 1, "local-part"),
    ("nobody in a group", mail(To="undisclosed-recipients:;"), (), 1, "no recipient"),
    ("a group", mail(To="friends: bob@contoso.com, carol@contoso.com;"), (), 0, ""),
    ("a group, one without certificate", mail(To="x: bob@contoso.com, c@d.e;"), SEAL, 1, "c@d.e"),
    ("Cc only", mail(To=None, Cc="bob@contoso.com"), SEAL, 0, ""),
    ("Bcc only", mail(To=None, Bcc="bob@contoso.com"), (), 0, ""),
    ("Bcc only, sealed", mail(To=None, Bcc="bob@contoso.com"), SEAL, 0, ""),
    ("Bcc is the signer", mail(Bcc="alice@contoso.com"), SEAL, 0, ""),
    ("Cc is the signer", mail(Cc="ALICE@contoso.com"), SEAL, 0, ""),
    (
        "Bcc is the signer, who does not encrypt to herself",
        mail(Bcc="alice@contoso.com"),
        (*SEAL, "--no-encrypt-to-self"),
        1,
        "alice@contoso.com",
    ),
    ("Bcc without certificate", mail(Bcc="dave@contoso.com"), SEAL, 1, "dave@contoso.com"),
    ("Cc without certificate", mail(Cc="dave@contoso.com"), TO_BOB, 1, "dave@contoso.com"),
    ("Bcc without certificate, for a password", mail(Bcc="d@e.f"), (*TO_BOB, *PASSWORD), 0, ""),
    ("two To fields", mail(more=b"To: carol@contoso.com\r\n"), (), 0, ""),
    ("two To fields, sealed", mail(more=b"To: carol@contoso.com\r\n"), SEAL, 1, "carol"),
    ("a certificate too many", mail(), (*SEAL, "--recipient", "carol.pem"), 0, ""),
    ("an expired certificate", mail(), (*SIGN, "--recipient", "expired.pem"), 1, "expired"),
    ("a certificate not for encryption", mail(), (*SIGN, "--recipient", "signs-only.pem"), 1, ""),
    ("an expired signer", mail(), ("--signer", "alice-expired.key"), 1, "expired"),
    ("IDN in UTF-8", mail(To="zo\u00eb@ex\u00e4mple.com"), (), 0, ""),
    ("IDN in UTF-8, sealed", mail(To="zo\u00eb@ex\u00e4mple.com"), SEAL, 1, "ex\u00e4mple"),
    ("IDN in A-labels", mail(To="zoe@xn--exmple-cua.com"), (), 0, ""),
    ("addresses that cannot be read", mail(To="<<bob@contoso.com>>"), SEAL, 1, ""),
    # the header and the body as such
    ("8-bit header", mail(Subject="Gr\u00fc\u00dfe"), (), 0, ""),
    ("8-bit header, sealed", mail(Subject="Gr\u00fc\u00dfe"), SEAL, 0, ""),
    ("Latin-1 in the header", mail(more=b"X-Name: Gr\xfc\xdfe\r\n"), (), 0, ""),
    ("bare CR in the header", mail(more=b"X-A: b\rBcc: eve@x.y\r\n"), (), 1, "bare CR"),
    ("bare CR in the header, sealed", mail(more=b"X-A: b\rBcc: eve@x.y\r\n"), SEAL, 1, ""),
    ("bare CR in the body", mail(b"one\rtwo\r\n"), (), 0, ""),
    ("NUL in the header", mail(more=b"X-A: b\0c\r\n"), (), 1, "NUL"),
    ("a header line without colon", mail(more=b"no field\r\n"), (), 1, "no header field"),
    ("a header line without colon, sealed", mail(more=b"no field\r\n"), SEAL, 1, "no header"),
    ("a blank before the colon", mail(more=b"X-A : b\r\n"), (), 0, ""),
    ("the first line is folded", b" x\r\n" + mail(), (), 1, "line 1"),
    ("a mailbox line", b"From alice Sun Nov 22 12:00:00 2026\r\n" + mail(), (), 1, "line 1"),
    ("a mailbox line, sealed", b"From alice Sun Nov 22 12:00 2026\r\n" + mail(), SEAL, 0, ""),
    ("no header", b"\r\n\r\ntext\r\n", (), 1, "no header"),
    ("no header, sealed", b"just some text\r\n", SEAL, 1, "header"),
    ("nothing", b"", (), 1, "no header"),
    ("nothing, signed", b"", SIGN, 1, "no header"),
    ("a header without end", b"X: " + b"y" * 1_100_000, (), 1, "header"),
    ("a header without end, sealed", b"X: " + b"y" * 1_100_000, SEAL, 1, "header"),
    ("a large header", mail(more=b"X-A: b\r\n" * 15_000), (), 0, ""),
    ("too many header lines", mail(more=b"X-A: b\r\n" * 30_000), (), 1, "lines"),
    ("too many header lines, sealed", mail(more=b"X-A: b\r\n" * 30_000), SEAL, 1, "lines"),
    ("many recipients", mail(Cc=", ".join(f"p{n}@x.y" for n in range(400))), (), 0, ""),
    ("a header and no blank line", mail().partition(b"\r\n\r\n")[0], (), 0, ""),
    ("an empty body", mail(b""), (), 0, ""),
    ("an empty body, sealed", mail(b""), SEAL, 0, ""),
    ("a long line in the body", mail(b"x" * 4000 + b"\r\n"), (), 0, ""),
    ("a long line in the body, signed", mail(b"x" * 4000 + b"\r\n"), SIGN, 0, ""),
    ("a multipart that does not end", mail(more=MIXED), (), 0, ""),
    ("octets in the body, sealed", mail(bytes(range(256))), SEAL, 0, ""),
    # size
    ("too large", mail(b"x" * 2000), SMALL, 2, "limit is 1000"),
    ("too large once it is signed", mail(), (*SIGN, *SMALL), 2, "limit is 1000"),
    ("too large once it is sealed", mail(), (*SEAL, *SMALL), 2, "limit is 1000"),
    ("small enough", mail(), (*SMALL,), 0, ""),
    (
        "too large as mimeContent",
        mail(),
        ("--wire", "mime-content", "--size-limit", "250"),
        2,
        "limit",
    ),
    ("too large, and no recipient", mail(b"x" * 2000, To=None), SMALL, 1, "no recipient"),
    # the call
    ("a signer that is not there", mail(), ("--signer", "no.p12"), 2, "no.p12"),
    ("a wrong password", mail(), ("--signer", "alice.p12", "--password-file", "m.eml"), 2, "passw"),
    ("a recipient that is none", mail(), ("--recipient", "m.eml"), 2, "m.eml"),
    ("opaque and encrypted", mail(), (*SEAL, "--opaque"), 2, "opaque"),
    ("a policy that sends nothing", mail(), (*SIGN, "--policy", "archive"), 1, "reading"),
    ("opaque", mail(), (*SIGN, "--opaque"), 0, ""),
    ("mimeContent", mail(), (*SEAL, "--wire", "mime-content"), 0, ""),
]


@pytest.mark.parametrize("where", [(), ("--outbox", "o.db")], ids=["", "outbox"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0])
def test_check_and_send_give_one_answer(
    here: Path,
    call: Run,
    row: tuple[str, bytes | str, tuple[str, ...], int, str],
    where: tuple[str, ...],
) -> None:
    _, message, options, status, word = row
    if message == "signed-by-another":
        signed = (here / "signed.eml").read_bytes()
        message = signed.replace(b"From: Alice <alice@", b"From: Eve <eve@", 1)
        assert message != signed
    if isinstance(message, str):
        message = (here / message).read_bytes()
    checked = call("check", *options, *where, "--json", stdin=message)
    assert not (here / "o.db").exists()
    sent = call("send", *options, *where, "--emulator", "--json", stdin=message)
    assert (checked.status, sent.status) == (status, status), sent.out
    said, answer = json.loads(checked.out), json.loads(sent.out)
    if status == 0:
        assert (said["verdict"], said["problems"]) == ("accepted", [])
        assert answer["status"] == "accepted"
        return
    reason = answer["error"]["text"]
    assert word in reason
    assert said["verdict"] == "rejected"
    assert reason == (said["problems"][0] if "problems" in said else said["error"]["text"])


@pytest.mark.parametrize("options", [(), SEAL, (*SEAL, "--split-bcc"), TO_BOB])
def test_check_knows_what_is_in_the_outbox(here: Path, call: Run, options: tuple[str, ...]) -> None:
    box = ("--outbox", "o.db", "--emulator")
    assert call("send", *options, *box, stdin=mail()).status == 0
    before = call("outbox", "list", "o.db", "--json").out
    for other in (mail(), mail(b"other")):
        checked = call("check", *options, *box, "--json", stdin=other)
        assert call("outbox", "list", "o.db", "--json").out == before
        sent = call("send", *options, *box, "--json", stdin=other)
        assert checked.status == sent.status
        was = "is this one, and was put in before"
        assert (was in checked.err) == (was in sent.err) == (not sent.status)
        if sent.status:
            reason = json.loads(sent.out)["error"]["text"]
            assert json.loads(checked.out)["problems"] == [reason]
    assert sent.status == 1


@pytest.mark.parametrize(
    "options",
    [
        ("--outbox", "no/such/folder/o.db"),
        ("--outbox", "m.eml"),
        ("--outbox", "o.db", "--no-save-to-sent-items"),
        ("--outbox", "o.db", "--no-save-to-sent-items", "--wire", "mime-content"),
    ],
)
def test_check_and_send_refuse_the_same_outboxes(call: Run, options: tuple[str, ...]) -> None:
    sent, checked = (
        call(verb, *options, "--emulator", "--json", stdin=mail()) for verb in ("send", "check")
    )
    assert (sent.status, checked.status) == (2, 2)
    assert json.loads(checked.out) == json.loads(sent.out)


@pytest.mark.parametrize(
    ("options", "message", "status"),
    [
        (("--graph-url", "http://graph.example.com/v1.0"), mail(), 2),
        (("--graph-url", "https://x:y@graph.example.com/"), mail(), 2),
        (("--graph-url", "ftp://localhost"), mail(), 2),
        (("--user", ".."), mail(), 2),
        (("--user", "a\u200bb@contoso.com"), mail(), 2),
        (("--emulator", "--cloud", "usgov"), mail(), 2),
        (("--emulator-data", "box.db", "--graph-url", "http://localhost:1"), mail(), 2),
        (("--user", ".."), mail(To=None), 2),
        (("--user", "..", *TO_BOB), mail(To="dave@contoso.com"), 1),
        (("--user", "..", *SIGN), mail(From="dave@contoso.com"), 1),
    ],
)
def test_check_and_send_refuse_the_same_places(
    call: Run, options: tuple[str, ...], message: bytes, status: int
) -> None:
    token = () if "--emulator" in options else ("--token-file", "token")
    sent = call("send", *options, *token, "--json", stdin=message)
    checked = call("check", *options, "--json", stdin=message)
    assert (checked.status, sent.status) == (status, status), sent.out
    said = json.loads(checked.out)
    assert json.loads(sent.out)["error"]["text"] == said["problems"][0]


@pytest.mark.parametrize("options", [(), SIGN, TO_BOB, SEAL])
def test_check_and_send_read_as_much(
    call: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    monkeypatch.setattr(files, "MESSAGE_LIMIT", 2000)
    for size in (900, 1500, 2500):
        raw = mail(b"x" * (size - len(mail(b""))))
        sent = call("send", *options, "--emulator", "--json", stdin=raw)
        checked = call("check", *options, "--json", stdin=raw)
        assert checked.status == sent.status, (size, sent.out)


@pytest.mark.parametrize("name", ["To", "Cc", "Bcc"])
@pytest.mark.parametrize(
    "value",
    [
        "bob@contoso.com, carol",
        'bob@contoso.com, "Carol" carol@contoso.com',
        "bob@contoso.com, <carol@contoso.com",
        "undisclosed-recipients, bob@contoso.com",
    ],
)
def test_an_address_that_cannot_be_read_is_not_lost_without_a_word(
    call: Run, name: str, value: str
) -> None:
    field: Any = {name: value}
    raw = mail(**field)
    for words in (("send", "--emulator"), ("send", *SIGN, "--emulator"), ("check",)):
        result = call(*words, stdin=raw)
        assert result.status == 0
        assert f"warning: {name} cannot be read, so nobody knows who of it gets" in result.err
    assert "cannot be read" not in call("send", "--emulator", stdin=mail()).err


def test_the_table_is_no_short_one() -> None:
    assert len({row[1:3] for row in TABLE}) >= 40


def test_check_says_what_to_do_in_the_words_of_send(call: Run) -> None:
    for options, raw in (((), mail(From=None)), (SEAL, mail(Cc="dave@contoso.com"))):
        sent = call("send", *options, "--emulator", "--json", stdin=raw)
        advice = json.loads(sent.out)["error"]["hint"]
        checked = call("check", *options, "--json", stdin=raw)
        assert json.loads(checked.out)["hints"][0] == advice
        shown = call("check", *options, stdin=raw).out.decode()
        assert f"\nproblem: {json.loads(checked.out)['problems'][0]}\n  {advice}\n" in shown


def test_check_counts_the_signer_among_those_who_can_read(call: Run) -> None:
    raw = mail(Bcc="alice@contoso.com", Cc="dave@contoso.com")
    found = json.loads(call("check", *SEAL, "--json", stdin=raw).out)
    readers = {one["address"]: one["certificate"] for one in found["recipients"]}
    assert readers == {
        "bob@contoso.com": True,
        "dave@contoso.com": False,
        "alice@contoso.com": True,
    }


@pytest.mark.parametrize("options", [(), TO_BOB])
def test_a_message_without_message_id_is_sent_with_one_that_can_be_looked_up(
    call: Run, options: tuple[str, ...]
) -> None:
    raw = mail(Message_ID=None, Date=None, end=b"\n", body=b"as it was\n")
    at = ("--emulator-data", "box.db")
    ref = json.loads(call("send", *options, *at, "--json", stdin=raw).out)
    assert ref["internetMessageId"].endswith("@contoso.com>")
    asked = ("--user", "bob@contoso.com", "--message-id", ref["internetMessageId"], "--json")
    (copy,) = json.loads(call("list", *at, *asked).out)["messages"]
    got = call("fetch", copy["id"], *at).out
    assert got.count(b"Message-ID: ") == got.count(b"Date: ") == 1
    if not options:
        assert got.endswith(raw)  # what was there is as it was


@pytest.mark.parametrize("verb", ["reply", "reply-all", "forward", "draft"])
def test_every_verb_that_submits_adds_a_message_id(call: Run, verb: str) -> None:
    at = ("--emulator-data", "box.db")
    assert call("send", *at, stdin=mail(To="alice@contoso.com, bob@contoso.com")).status == 0
    listed = call("list", *at, "--user", "bob@contoso.com", "--folder", "inbox", "--json")
    original = json.loads(listed.out)["messages"][0]["id"]
    raw = mail(From="bob@contoso.com", To="alice@contoso.com", Message_ID=None)
    words = (verb, "-") if verb == "draft" else (verb, original, "-")
    made = call(*words, *at, "--user", "bob@contoso.com", "--json", stdin=raw)
    assert made.status == 0, made.err
    assert json.loads(made.out)["internetMessageId"].endswith("@contoso.com>")


def test_a_reply_is_held_against_the_original_as_on_sending(call: Run, here: Path) -> None:
    (here / "original.eml").write_bytes(mail(From="bob@contoso.com", To="alice@contoso.com"))
    as_reply = ("check", "--as", "reply", "--original", "original.eml", "--json")
    fits = call(*as_reply, *SEAL, stdin=mail())
    assert json.loads(fits.out)["recipients"] == [
        {"address": "bob@contoso.com", "certificate": True}
    ]
    away = call(*as_reply, *SIGN, "--recipient", "carol.pem", stdin=mail(To="carol@contoso.com"))
    found = json.loads(away.out)
    assert away.status == 1
    assert "not to carol@contoso.com" in found["problems"][0]
    assert found["recipients"][1] == {
        "address": "carol@contoso.com",
        "certificate": True,
        "addressed": False,
    }
    at = ("--emulator-data", "box.db", "--user", "alice@contoso.com")
    call("send", "--emulator-data", "box.db", "original.eml")
    listed = call("list", *at, "--folder", "inbox", "--json")
    original = json.loads(listed.out)["messages"][0]["id"]
    to_carol = (*SIGN, "--recipient", "carol.pem", "--json")
    sent = call("reply", original, "-", *at, *to_carol, stdin=mail(To="carol@contoso.com"))
    assert (sent.status, json.loads(sent.out)["error"]["text"]) == (1, found["problems"][0])


@pytest.mark.parametrize(
    ("words", "word"),
    [
        (("--as", "reply"), "--original"),
        (("--as", "reply-all"), "--original"),
        (("--original", "m.eml"), "--as"),
        (("--as", "draft", "--split-bcc"), "--as"),
        (("--no-save-to-sent-items",), "--no-save-to-sent-items"),
    ],
)
def test_a_question_that_makes_no_sense_is_said_to_make_none(
    call: Run, words: tuple[str, ...], word: str
) -> None:
    result = call("check", "m.eml", *words)
    assert result.status == 2
    assert word in result.err


def test_check_says_what_it_found_with_its_source_and_where_the_octets_go(call: Run) -> None:
    raw = mail(more=b"Auto-Submitted: yes\r\nX-Job: 1\r\n", Bcc="carol@contoso.com")
    gcm = ("--recipient", "carol.pem", "--cipher", "aes256-gcm")
    shown = call("check", *SEAL, *gcm, stdin=raw)
    text = shown.out.decode()
    assert shown.status == 0
    for source in ("msgraph-sdk-dotnet #2209", "microsoft-graph-docs-contrib #424", "java #2544"):
        assert source in text
    assert "of them base64 adds 0 to attachments, " in text
    assert "RFC 9787" not in text  # said on standard error, where sending says it
    assert "[smime.bcc]" in shown.err
    found = json.loads(call("check", *SEAL, *gcm, "--json", stdin=raw).out)
    assert {one["code"] for one in found["findings"]} == {
        *("graph.header.dropped", "graph.header.first-lost", "graph.auth-enveloped", "smime.bcc")
    }
    size = found["size"]
    assert size["base64"]["request"] == size["request"] - size["protected"]
    assert size["base64"]["cms"] > 0
