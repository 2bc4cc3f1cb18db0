"""What is too large for Graph, by SMTP: on a server with STARTTLS on this machine."""

from __future__ import annotations

import asyncio
import base64
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smime_graph import (
    GraphError,
    GraphUnreachable,
    MessageRef,
    UsageError,
    send_by_smtp,
    send_by_smtp_async,
)
from smime_graph.graph import smtp
from tests.smtp import CHALLENGE, TOKEN, Service, serving

RAW = (
    b"From: Alice <alice@contoso.com>\r\nTo: bob@contoso.com\r\nBcc: carol@contoso.com\r\n"
    b"Message-ID: <1@contoso.com>\r\nSubject: x\r\n\r\n.the figures\r\n"
)
Send = Callable[..., MessageRef]


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    with serving(tmp_path) as found:
        monkeypatch.setenv("SSL_CERT_FILE", str(found.root))
        yield found


@pytest.fixture(params=["sync", "async"])
def send(service: Service, request: pytest.FixtureRequest) -> Send:
    def run(raw: bytes = RAW, **options: Any) -> MessageRef:
        options = {"credential": TOKEN, "host": service.host} | options
        if request.param == "sync":
            return send_by_smtp(raw, **options)
        return asyncio.run(send_by_smtp_async(raw, **options))

    return run


def test_the_octets_are_the_same_and_bcc_is_in_the_envelope_alone(
    service: Service, send: Send
) -> None:
    ref = send()
    assert ref == MessageRef(id=None, internet_message_id="<1@contoso.com>", status="accepted")
    ((sender, people, content),) = service.messages
    assert sender == "alice@contoso.com"
    assert people == ["bob@contoso.com", "carol@contoso.com"]
    assert content == RAW.replace(b"Bcc: carol@contoso.com\r\n", b"")
    assert service.users == ["alice@contoso.com"]
    assert service.is_encrypted == [True]


def test_the_mailbox_that_is_named_is_signed_in_to(service: Service, send: Send) -> None:
    send(user="shared@contoso.com")
    assert service.users == ["shared@contoso.com"]
    assert service.messages[0][0] == "alice@contoso.com"


def test_a_message_of_ten_megabytes_goes(service: Service) -> None:
    raw = RAW + b"0123456789" * 7 + (b"\r\n" + b"x" * 76) * 130_000 + b"\r\n"
    send_by_smtp(raw, credential=TOKEN, host=service.host)
    assert len(service.messages[0][2]) > 10_000_000


def test_a_credential_is_asked_for_the_scope_of_exchange(service: Service, send: Send) -> None:
    asked = []

    class Credential:
        def get_token(self, *scopes: str, **_: Any) -> Any:
            asked.append(scopes)
            return type("T", (), {"token": TOKEN, "expires_on": 4e9})()

    send(credential=Credential())
    send(credential=lambda: TOKEN)
    assert asked == [("https://outlook.office365.com/.default",)]
    assert len(service.messages) == 2


@pytest.mark.parametrize(
    ("without", "said"),
    [(("STARTTLS",), "no STARTTLS, so it is given no token"), (("AUTH",), "offers no XOAUTH2")],
)
def test_without_tls_nobody_is_told_the_token(
    service: Service, send: Send, without: tuple[str, ...], said: str
) -> None:
    service.without = without
    with pytest.raises(GraphError, match=said) as caught:
        send()
    assert caught.value.disposition == "not-sent"
    assert service.lines == []


def test_a_certificate_that_nobody_knows_is_told_nothing(
    service: Service, send: Send, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(GraphUnreachable, match="is not believed"):
        send()
    assert service.lines == []
    # nor is one of another name
    monkeypatch.setenv("SSL_CERT_FILE", str(service.root))
    with pytest.raises(GraphUnreachable, match="not believed"):
        send(host=f"localhost:{service.port}")
    assert service.lines == []


@pytest.mark.parametrize(
    ("answers", "disposition", "said"),
    [
        ({"STARTTLS": "454 4.7.0 not now"}, "not-sent", "refused STARTTLS: 454 4.7.0 not now"),
        ({"AUTH": "535 5.7.3 unsuccessful"}, "not-sent", "signing in as alice@contoso.com: 535"),
        ({"AUTH": "454 4.7.0 later"}, "not-sent", "signing in as alice@contoso.com: 454"),
        ({"MAIL": "550 5.7.60 SendAsDenied"}, "refused", "the sender alice@contoso.com: 550"),
        ({"MAIL": "421 4.3.2 closing"}, "not-sent", "the sender alice@contoso.com: 421"),
        ({"RCPT": "550 5.1.1 nobody"}, "refused", "the recipient bob@contoso.com: 550 5.1.1"),
        ({"RCPT": "451 4.1.1 later"}, "not-sent", "the recipient bob@contoso.com: 451"),
        ({"DATA": "554 5.2.0 quota"}, "refused", "refused DATA: 554 5.2.0 quota"),
        ({"end": "554 5.2.0 SubmissionQuotaExceededException"}, "refused", "the message: 554"),
        ({"end": "452 4.3.1 no room"}, "not-sent", "refused the message: 452 4.3.1 no room"),
        ({"end": "599"}, "refused", "refused the message: 599"),
    ],
)
def test_what_the_server_refuses_is_said_and_nothing_is_sent(
    service: Service, send: Send, answers: dict[str, str], disposition: str, said: str
) -> None:
    service.answers = answers
    with pytest.raises(GraphError, match=said) as caught:
        send()
    assert not isinstance(caught.value, GraphUnreachable)
    assert caught.value.disposition == disposition
    assert caught.value.message_id == "<1@contoso.com>"
    assert service.messages == []


def test_a_token_that_is_refused_is_told_by_a_challenge_and_then_535(
    service: Service, send: Send
) -> None:
    service.token = "another"
    with pytest.raises(GraphError, match=r"signing in as alice@\S+: 535 5\.7\.8") as caught:
        send()
    assert caught.value.hint is not None
    assert "SMTP.SendAsApp" in caught.value.hint
    assert CHALLENGE.decode() not in str(caught.value)
    assert len(service.users) == 1  # and it is not tried again


@pytest.mark.parametrize("user", ["alice@contoso.com", "bob@contoso.com", "al@contoso.com"])
def test_a_token_in_a_command_that_is_quoted_back_is_not_shown(
    service: Service, send: Send, user: str
) -> None:
    """Servers quote what they do not understand; there the token is base64, at any place."""
    said = base64.b64encode(f"user={user}\1auth=Bearer {service.token}\1\1".encode()).decode()
    for command in ("AUTH", "MAIL"):
        service.answers = {command: f"501 5.5.4 no such command: AUTH XOAUTH2 {said}"}
        with pytest.raises(GraphError, match=r"501 5\.5\.4") as caught:
            send(user=user)
        shown = str(caught.value)
        assert said[-12:] not in shown
        assert not any(said[at : at + 16] in shown for at in range(32, len(said) - 16))


@pytest.mark.parametrize("how", ["hang up", "silence"])
@pytest.mark.parametrize(
    ("command", "disposition"),
    [("STARTTLS", "not-sent"), ("AUTH", "not-sent"), ("MAIL", "not-sent"), ("RCPT", "not-sent")]
    + [("DATA", "not-sent"), ("lost", "unknown")],
)
def test_where_no_answer_comes_it_is_known_what_that_means(
    service: Service, send: Send, command: str, disposition: str, how: str
) -> None:
    service.answers = {command: how}
    patience = {"timeout": 0.3, "deadline": 1.0} if how == "silence" else {}
    with pytest.raises(GraphUnreachable) as caught:
        send(**patience)
    assert caught.value.disposition == disposition
    assert caught.value.maybe_sent is (disposition == "unknown")
    assert sum(line.startswith(b"MAIL") for line in service.lines) <= 1  # nothing is repeated
    if disposition == "unknown":
        assert "may have been sent" in str(caught.value)


@pytest.mark.parametrize("answer", ["hang up", "500 what", "silence"])
def test_what_comes_behind_the_answer_changes_nothing(
    service: Service, send: Send, answer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smtp, "_GOODBYE", 0.2)
    service.answers = {"QUIT": answer}
    assert send().status == "accepted"
    assert len(service.messages) == 1


def test_a_server_that_is_not_there_is_said(send: Send) -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        with pytest.raises(GraphUnreachable, match=r"no answer from .* to connecting") as caught:
            send(host=f"127.0.0.1:{one.getsockname()[1]}")
    assert caught.value.disposition == "not-sent"
    assert "onnect" in str(caught.value).partition("(")[2]  # the system's words, no class's name
    assert "SMTPConnectError" not in str(caught.value)
    assert "host" in str(caught.value.hint)


@pytest.mark.parametrize(
    "greeting",
    [b"554 5.7.1 go away\r\n", b"nonsense\r\n", b"220-" + b"x" * 100_000, b"\xff\xff\r\n", b"HTTP"],
)
def test_what_is_no_server_of_smtp_is_our_error(send: Send, greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(greeting)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(GraphError) as caught:
            send(host=f"127.0.0.1:{listener.getsockname()[1]}", timeout=2.0)
        thread.join()
    assert caught.value.disposition == "not-sent" or "go away" in str(caught.value)


def test_a_size_that_the_server_does_not_take_is_said_before_anything_leaves(
    service: Service, send: Send
) -> None:
    service.answers = {"size": "1000"}
    with pytest.raises(GraphError, match=r"takes 1000 octets, and the message has \d+"):
        send(RAW + b"x" * 1000)
    assert service.lines == []


def test_what_is_not_ascii_needs_a_server_that_takes_it(service: Service, send: Send) -> None:
    raw = RAW + "Grüße\r\n".encode()
    send(raw)
    assert b"BODY=8BITMIME" in service.lines[-1]
    service.without = ("8BITMIME",)
    with pytest.raises(Exception, match="needs 8BITMIME") as caught:
        send(raw)
    assert caught.value.disposition == "not-sent"  # type: ignore[attr-defined]
    service.without = ()
    with pytest.raises(Exception, match="needs SMTPUTF8"):
        send(RAW.replace(b"bob@", "böb@".encode()))


@pytest.mark.parametrize(
    "host", ["", "a b", "x:0", "x:99999", "x:y", "http://x", "x/y", "[::1", "ü"]
)
def test_a_host_that_is_none_is_refused(host: str) -> None:
    with pytest.raises(UsageError, match="wanted NAME or NAME:PORT"):
        send_by_smtp(RAW, credential=TOKEN, host=host)


def test_cancelling_says_whether_it_may_have_been_sent(service: Service) -> None:
    service.answers = {"lost": "silence"}

    async def run() -> None:
        task = asyncio.create_task(send_by_smtp_async(RAW, credential=TOKEN, host=service.host))
        while not any(line.startswith(b"MAIL") for line in service.lines):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError) as caught:
        asyncio.run(run())
    known = caught.value.__cause__
    assert isinstance(known, GraphUnreachable)
    assert known.disposition == "unknown"


def test_nothing_secret_is_logged_or_in_an_error(
    service: Service, send: Send, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("mail.log").disabled = True  # the server's
    caplog.set_level(logging.DEBUG)
    send()
    service.answers = {"MAIL": f"550 5.7.1 you sent Bearer {TOKEN}"}
    with pytest.raises(GraphError) as caught:
        send()
    for text in (caplog.text, str(caught.value), repr(caught.value.__cause__)):
        assert TOKEN not in text
        assert "YXV0aD1CZWFyZXIg" not in text
