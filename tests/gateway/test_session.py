"""What a client is answered."""

from __future__ import annotations

import logging
import random
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from smime_graph import Contacts, UsageError
from smime_graph.gateway import session
from smime_graph.gateway.server import Listening
from smime_graph.gateway.users import Users, hashed
from smime_graph.smime.entity import Entity
from tests.tls import make

from .conftest import People, Start, mail


def test_250_says_that_it_is_on_disk_and_sealed(start: Start, people: People) -> None:
    gateway = start()
    assert gateway.send(mail()) == "250 2.0.0 stored as 1"
    (raw,) = gateway.stored()
    assert b"the figures" not in raw
    opened = gateway.opened(raw, people.bob)
    assert opened.signer is not None
    assert opened.signer.email == "alice@contoso.com"
    assert opened.content.endswith(b"the figures\r\n")
    (row,) = gateway.outbox.messages()
    assert (row.user, row.message_id) == ("alice@contoso.com", "<1@contoso.com>")


def test_what_comes_again_is_stored_once(start: Start) -> None:
    """The answer may be lost on its way to the client."""
    gateway = start()
    both = ("bob@contoso.com", "carol@contoso.com")
    for raw in (mail(), mail(more="Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n")):
        raw = raw if "Date" not in raw else raw.replace("Message-ID: <1@contoso.com>\r\n", "")
        answers = {gateway.send(raw, *both) for _ in range(3)}
        assert len(answers) == 1
    assert len(gateway.stored()) == 4


def test_another_message_of_a_message_id_that_was_used_is_refused_and_not_lost(
    start: Start, tmp_path: Path
) -> None:
    """Devices number what they send from 1 whenever they are switched on."""
    gateway = start(rule="hold", held=tmp_path / "held")
    for to in ("bob@contoso.com", "dave@contoso.com"):
        gateway.send(mail(to), to)
        for other in ("the figures", "Figures"):
            answer = gateway.send(mail(to).replace(other, "other"), to)
            assert answer.startswith("554 5.6.0 another message with the ")
        assert gateway.send(mail(to), to).startswith("250 ")
    assert len(gateway.stored()) == len(list((tmp_path / "held").iterdir())) == 1


def test_it_is_told_apart_whether_its_sender_can_decrypt_or_not(start: Start) -> None:
    gateway = start()
    for more in ("", "Date: Sun, 22 Nov 2026 12:00:00 +0000\r\n"):
        raw = mail(sender="dora@contoso.com", more=more)
        raw = raw.replace("<1@", f"<{len(more)}@")
        answers = {gateway.send(raw, "bob@contoso.com", "carol@contoso.com") for _ in range(3)}
        assert len(answers) == 1
        assert answers.pop().startswith("250 ")
        for one, other in (("the figures", "others"), ("Subject:", "X: y\r\nSubject:")):
            answer = gateway.send(raw.replace(one, other), "bob@contoso.com", "carol@contoso.com")
            assert answer.startswith("554 5.6.0 another message with the ")
    assert len(gateway.stored()) == 4


def test_of_a_key_that_cannot_leave_its_device_nobody_could_tell(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start()
    monkeypatch.setattr("smime_graph.gateway.server.mark", lambda *_, **__: None)
    gateway.send(mail())
    assert gateway.send(mail()).startswith("554 5.6.0 a message with the ")
    assert len(gateway.stored()) == 1


def test_what_was_held_is_known_again(
    start: Start, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smime_graph.gateway.server._HOUSEKEEPING", 0.05)
    gateway = start(rule="hold", held=tmp_path / "held")
    to = "dave@contoso.com"
    assert gateway.send(mail(to), to).startswith("250 2.0.0 held")
    with Contacts(people.folder / "book.db") as book:
        book.add([people.ca.issue(to, key="p256").certificate])
    end = time.monotonic() + 30
    while list((tmp_path / "held").iterdir()) and time.monotonic() < end:
        time.sleep(0.02)
    assert gateway.send(mail(to), to) == "250 2.0.0 stored as 1"
    assert gateway.send(mail(to) + "x", to).startswith("554 ")


def test_who_stands_in_no_header_gets_a_copy_that_nobody_else_is_named_in(
    start: Start, people: People
) -> None:
    gateway = start()
    gateway.send(mail(), "bob@contoso.com", "carol@contoso.com")
    named, hidden = gateway.stored()
    assert Entity(named).get("To") == "bob@contoso.com"
    assert Entity(hidden).get("To") == "carol@contoso.com"
    assert b"carol" not in named
    assert not Entity(named).all("Bcc")
    assert gateway.opened(hidden, people.carol).content.endswith(b"the figures\r\n")
    assert Entity(named).get("Message-ID") != Entity(hidden).get("Message-ID")


def test_the_envelope_says_who_writes_where_the_message_does_not(start: Start) -> None:
    gateway = start()
    gateway.send("To: bob@contoso.com\r\n\r\nx\r\n", sender="dora@contoso.com")
    assert Entity(gateway.stored()[0]).get("From") == "dora@contoso.com"
    gateway.send(mail(), sender="eve@example.org")  # a bounce address: From counts
    assert Entity(gateway.stored()[1]).get("From") == "alice@contoso.com"


def test_what_clients_say_beside_an_address_is_understood(start: Start) -> None:
    gateway = start()
    options = ["SIZE=500", "AUTH=<>", "BODY=8BITMIME", "auth=alice+3Dx@contoso.com"]
    with gateway.connect() as client:
        client.ehlo("test")
        assert client.mail("alice@contoso.com", options)[0] == 250
        assert client.rset()[0] == 250
        assert client.mail("alice@contoso.com", ["X=1"])[0] == 555
    with gateway.connect() as client:  # an old device
        client.helo("test")
        client.mail("alice@contoso.com")
        client.rcpt("bob@contoso.com")
        assert client.data(mail())[0] == 250


def test_who_gets_a_bounce_need_not_be_said(start: Start) -> None:
    gateway = start()
    assert gateway.send(mail(), sender="").startswith("250 ")
    said = gateway.send("To: bob@contoso.com\r\n\r\nx\r\n", sender="")
    assert said.startswith("554 5.6.0 ")


@pytest.mark.parametrize(
    ("raw", "to", "answer"),
    [
        (mail("dave@contoso.com"), "dave@contoso.com", "550 5.7.1 no certificate for dave@co"),
        (mail("bob@contoso.com, carol@contoso.com"), "bob@contoso.com", "550 5.7.1 the header nam"),
        (mail(sender="eve@contoso.com"), "bob@contoso.com", "550 5.7.1 no key of eve@contoso"),
        (mail(more="Resent-To: carol@contoso.com\r\n"), "bob@contoso.com", "554 5.6.0 the message"),
        (mail(more="From: dora@contoso.com\r\n"), "bob@contoso.com", "554 5.6.0 From has to name"),
        (mail(more="Message-ID: <2@x.y>\r\n"), "bob@contoso.com", "554 5.6.0 the message has 2"),
        ("no header\r\n\r\nx\r\n", "bob@contoso.com", "554 5.6.0 the message has no header"),
        ("\r\n", "bob@contoso.com", "554 5.6.0 the message has no header"),
        ("To: b\u00f6b@x, <\r\n\r\nx\r\n".encode(), "bob@contoso.com", "554 5.6.0 "),
        (mail(more="X: " + "x" * 1000 + "\r\n"), "bob@contoso.com", "500 Line too long"),
    ],
)
def test_what_is_refused_is_refused_at_once_and_not_stored(
    start: Start, raw: str | bytes, to: str, answer: str
) -> None:
    gateway = start()
    said = gateway.send(raw, to)
    assert said.startswith(answer)
    assert said.isascii()
    assert gateway.outbox.messages() == ()


def test_a_size_that_graph_does_not_take_is_refused(start: Start) -> None:
    gateway = start(size_limit=100_000)
    line = "x" * 76 + "\r\n"
    with gateway.connect() as client:
        client.ehlo("test")
        assert client.esmtp_features["size"] == "75000"
        code, _ = client.mail("alice@contoso.com", ["SIZE=75001"])
        assert code == 552
    assert gateway.send(mail() + line * 1000).startswith("552 ")
    # below what may come in, above what may go out: it grows by what it is sealed with
    assert gateway.send(mail() + line * 900).startswith("552 5.3.4 the message of ")
    assert gateway.outbox.messages() == ()


def test_what_cannot_be_stored_may_be_handed_in_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = start()

    def full(*_: Any, **__: Any) -> Any:
        raise UsageError("the outbox /secret/place cannot be used: disk full")

    with monkeypatch.context() as patch:
        patch.setattr(gateway.outbox, "add_all", full, raising=False)
        assert gateway.send(mail()) == "451 4.3.0 it could not be stored, try again later"
        patch.setattr(gateway.gateway, "_sealer", None)
        assert gateway.send(mail()).startswith("451 4.3.0 ")
    assert "disk full" in caplog.text
    assert gateway.send(mail()).startswith("250 ")


@pytest.mark.parametrize(
    "request_",
    [
        b"POST / HTTP/1.1\r\nHost: 127.0.0.1:2525\r\n\r\n",
        b"OPTIONS /x HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n" * 9,
        b"X-One: 1\r\n" * 9,
    ],
)
def test_what_is_no_smtp_is_hung_up_on(start: Start, request_: bytes) -> None:
    """A page in a browser may make it send what looks like commands."""
    gateway = start()
    text = b"EHLO x\r\nMAIL FROM:<alice@contoso.com>\r\nRCPT TO:<bob@contoso.com>\r\nDATA\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.sendall(request_ + text + mail().encode() + b".\r\n")
        answer = b""
        try:
            while got := client.recv(4096):
                answer += got
        except ConnectionResetError:
            pass  # what was left unread
    assert b"\r\n354 " not in answer
    assert gateway.outbox.messages() == ()


def test_connections_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smime_graph.gateway.server.MOST_SESSIONS", 3)
    gateway = start()
    open_ = [gateway.connect() for _ in range(3)]
    with pytest.raises(smtplib.SMTPConnectError, match="too many connections"):
        gateway.connect()
    for one in open_:
        one.quit()
    for _ in range(100):
        try:
            gateway.connect().quit()
            break
        except smtplib.SMTPConnectError:
            time.sleep(0.05)
    else:
        pytest.fail("those that ended still count")


def test_recipients_and_commands_are_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MOST_RECIPIENTS", 2)
    gateway = start()
    with gateway.connect() as client:
        client.ehlo("test")
        client.mail("alice@contoso.com")
        codes = [client.rcpt(f"{number}@contoso.com")[0] for number in range(3)]
        assert codes == [250, 250, 452]
    with gateway.connect() as client:
        assert {client.noop()[0] for _ in range(100)} == {250}
        assert client.noop()[0] == 421


def test_who_leaves_before_the_answer_makes_no_room_for_more(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_AT_ONCE", 2)
    gateway = start()
    at_once: list[int] = [0]
    most: list[int] = []

    def slowly(*_: Any, **__: Any) -> Any:
        at_once[0] += 1
        most.append(at_once[0])
        time.sleep(0.2)
        at_once[0] -= 1
        raise OSError("no room")

    monkeypatch.setattr(gateway.outbox, "add_all", slowly, raising=False)
    text = "EHLO x\r\nMAIL FROM:<alice@contoso.com>\r\nRCPT TO:<bob@contoso.com>\r\nDATA\r\n"
    for _ in range(6):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            client.sendall(text.encode() + mail().encode() + b".\r\n")
            received = b""
            while b"\r\n354 " not in received:
                received += client.recv(4096)
            time.sleep(0.05)
    assert gateway.send(mail()).startswith("451 ")
    assert max(most) == 2


def test_who_says_nothing_is_hung_up_on(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_PATIENCE", 0.3)
    gateway = start()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
        client.sendall(b"EHLO x\r\nMAIL FROM:<alice@contoso.com>\r\nRCPT TO:<b@c.de>\r\nDATA\r\nx")
        received = b""
        while got := client.recv(4096):
            received += got
    assert b"354 " in received


def test_nothing_that_is_sent_ends_it(start: Start) -> None:
    gateway = start()
    chance = random.Random(7)
    words = [b"EHLO x", b"MAIL FROM:<alice@contoso.com>", b"RCPT TO:<bob@contoso.com>", b"DATA"]
    words += [b"MAIL FROM:", b"RCPT TO:<\xff", b"AUTH PLAIN", b"STARTTLS", b"BDAT 1", b"VRFY <("]
    words += [b"RSET", b"HELP MAIL", b"EXPN x", b"HELO", b"NOOP " + b"x" * 600, b".", b"\0", b""]
    words += [b"MAIL FROM:<" + b"(" * 400, b"RCPT TO:" + b'"' * 400, b"x" * 2000]
    for _ in range(60):
        said = [chance.choice(words) for _ in range(12)] + [chance.randbytes(30)]
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
            client.sendall(chance.choice([b"\r\n", b"\n"]).join(said) + b"\r\n")
            client.shutdown(chance.choice([socket.SHUT_WR, socket.SHUT_RDWR]))
    assert gateway.send(mail()).startswith("250 ")


# --- signing in -----------------------------------------------------------------------------------

PASSWORD = "correct horse"


@pytest.fixture
def tls(tmp_path: Path) -> Any:
    """The server's context, and a file with the root for clients."""
    certificate, key = make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context, certificate


def users(more: str = "") -> Users:
    salt = bytes(range(16))
    line = f"printer:{salt.hex()}:{hashed(PASSWORD.encode(), salt).hex()}{more}\n"
    return Users(line, name="users")


def test_who_must_sign_in_must(start: Start, tls: Any) -> None:
    gateway = start(users=users(), tls=tls[0])
    with pytest.raises(smtplib.SMTPDataError, match="Authentication required"):
        gateway.send(mail())
    trusting = ssl.create_default_context(cafile=tls[1])
    with gateway.connect() as client:
        client.ehlo("test")
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AHByaW50ZXIAeA==")[0] == 538
        client.starttls(context=trusting)
        client.ehlo("test")
        assert client.esmtp_features["auth"].split() == ["LOGIN", "PLAIN"]
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("printer", "wrong")
        with pytest.raises(smtplib.SMTPException):
            client.login("nobody", PASSWORD)
    with gateway.connect() as client:
        client.starttls(context=trusting)
        client.login("printer", PASSWORD)
        assert client.sendmail("alice@contoso.com", ["bob@contoso.com"], mail()) == {}
    assert len(gateway.stored()) == 1


def test_off_this_machine_nothing_goes_before_tls(
    start: Start, tls: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Listening, "is_loopback", property(lambda _: False))
    gateway = start(users=users(), tls=tls[0])
    with gateway.connect() as client:
        client.ehlo("test")
        assert client.mail("alice@contoso.com")[0] == 530
        assert client.docmd("AUTH", "PLAIN AHByaW50ZXIAeA==")[0] == 530
        client.starttls(context=ssl.create_default_context(cafile=tls[1]))
        client.login("printer", PASSWORD)
        assert client.sendmail("alice@contoso.com", ["bob@contoso.com"], mail()) == {}


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.skipif(shutil.which("swaks") is None, reason="swaks is not installed")
def test_both_ways_of_signing_in(start: Start, tls: Any, mechanism: str) -> None:
    gateway = start(users=users(":alice@contoso.com"), tls=tls[0])
    words = ["swaks", "--server", f"127.0.0.1:{gateway.port}", "--to", "bob@contoso.com", "-tls"]
    words += ["--auth", mechanism, "--auth-user", "printer", "--header", "Subject: x"]
    for sender, password, status in (
        ("alice@contoso.com", PASSWORD, 0),
        ("dora@contoso.com", PASSWORD, 26),  # it may write as Alice alone
        ("alice@contoso.com", "wrong", 28),
    ):
        done = subprocess.run(
            [*words, "--from", sender, "--auth-password", password],
            capture_output=True,
            check=False,
        )
        assert done.returncode == status, done.stdout
    assert len(gateway.stored()) == 1


def test_attempts_to_sign_in_are_counted(start: Start) -> None:
    gateway = start(users=users())
    with gateway.connect() as client:
        client.ehlo("test")
        for _ in range(3):
            assert client.docmd("AUTH", "PLAIN AHByaW50ZXIAeA==")[0] == 535
        assert client.docmd("AUTH", "PLAIN AHByaW50ZXIAeA==")[0] == 421


def test_who_does_not_sign_in_is_hung_up_on_whatever_they_say(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_STRANGER", 2.0)
    gateway = start(users=users())
    with gateway.connect() as known, gateway.connect() as stranger:
        known.login("printer", PASSWORD)
        said = 0
        with suppress(smtplib.SMTPServerDisconnected, ConnectionError):
            while said < 90:
                stranger.noop()
                said += 1
                time.sleep(0.05)
        assert said < 90
        assert known.noop()[0] == 250


@pytest.mark.parametrize(
    ("said", "answers"),
    [
        (["AUTH PLAIN ???"], [501]),
        (["AUTH PLAIN", "???"], [334, 501]),
        (["AUTH PLAIN", "*"], [334, 501]),
        (["AUTH PLAIN eA=="], [535]),
        (["AUTH LOGIN", "eA==", "*"], [334, 334, 501]),
        (["AUTH LOGIN ???"], [501]),
        (["AUTH XOAUTH2 eA=="], [504]),
        (["AUTH LOGIN", "y" * 3000], [334, 451]),
    ],
)
def test_signing_in_badly_is_answered(start: Start, said: list[str], answers: list[int]) -> None:
    gateway = start(users=users())
    with gateway.connect() as client:
        client.ehlo("test")
        assert [client.docmd(one)[0] for one in said] == answers


def test_nothing_secret_is_logged(
    start: Start, tls: Any, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    gateway = start(users=users(), tls=tls[0], graph=True)
    with gateway.connect() as client:
        client.starttls(context=ssl.create_default_context(cafile=tls[1]))
        client.ehlo("test")
        client.docmd("AUTH", "LOGIN not-base64-but-a-secret")
        client.login("printer", PASSWORD)
        client.sendmail("alice@contoso.com", ["bob@contoso.com"], mail())
    gateway.gateway.stop()
    out, err = capfd.readouterr()
    for text in (caplog.text, out, err, repr(users()._users)):
        for secret in (PASSWORD, "a-secret", "the figures", "Y29ycmVjdCBob3JzZ", "AHByaW50ZXI"):
            assert secret not in text
