"""The gateway as a whole: what was answered 250 arrives, once, whatever ends in between."""

from __future__ import annotations

import shutil
import signal
import smtplib
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from smime_graph import UsageError
from smime_graph.emulator import Emulator
from smime_graph.gateway.server import Listening
from smime_graph.gateway.users import Users
from smime_graph.graph._queue import Queue
from smime_graph.smime.entity import Entity

from ..graph.postgres import running
from .away import holds, prove
from .conftest import People, Start, mail
from .test_users import LINE


@pytest.mark.skipif(
    shutil.which("swaks") is None or shutil.which("msmtp") is None,
    reason="swaks and msmtp are not installed",
)
@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_is_lost_or_doubled_though_graph_is_away_and_the_gateway_killed(
    tmp_path: Path, store: str
) -> None:
    """Also `scripts/prove gateway`, with 200 messages; PostgreSQL crashes with each gateway."""
    short: Any = {"messages": 20, "kills": 2, "period": 1.5, "limit": 200}
    if store == "sqlite":
        found = prove(tmp_path, tmp_path / "outbox.db", **short)
    else:
        with running(safe=True) as server:
            crash = partial(server.restart, signal.SIGQUIT)
            found = prove(tmp_path, server.url, crash=crash, **short)
    print(found)
    assert holds(found), found
    assert found["gateways killed"] == 2
    assert found["Graph away, share of the time"] > 0.2  # more is harder, as on a busy machine


def wait(condition: Any) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def inbox(emulator: Emulator | None, name: str) -> list[Any]:
    assert emulator is not None
    return list(emulator.mailbox(f"{name}@contoso.com").messages("inbox"))


def test_what_comes_in_goes_out_from_the_mailbox_of_its_sender(
    start: Start, people: People
) -> None:
    gateway = start(graph=True)
    gateway.send(mail(sender="dora@contoso.com"))
    wait(lambda: inbox(gateway.emulator, "bob"))
    (copy,) = inbox(gateway.emulator, "bob")
    assert gateway.opened(copy.raw, people.bob).signer.email == "dora@contoso.com"
    assert gateway.emulator is not None
    assert len(gateway.emulator.mailbox("dora@contoso.com").messages("sentitems")) == 1


def test_or_from_a_mailbox_that_is_named(start: Start) -> None:
    gateway = start(user="shared@contoso.com")
    gateway.send(mail())
    assert gateway.outbox.messages()[0].user == "shared@contoso.com"


def test_without_a_certificate_it_is_signed_where_that_is_said(
    start: Start, people: People
) -> None:
    gateway = start(rule="sign")
    assert gateway.send(mail("dave@contoso.com"), "dave@contoso.com").startswith("250 ")
    gateway.send(mail().replace("<1@", "<2@"))
    clear, sealed = gateway.stored()
    assert Entity(clear).content_type.value == "multipart/signed"
    assert Entity(sealed).content_type.value == "application/pkcs7-mime"


def test_what_is_being_stored_is_answered_before_the_end(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = start()
    store, began = gateway.outbox.add_all, threading.Event()

    def slowly(*args: Any, **options: Any) -> Any:
        began.set()
        time.sleep(0.5)
        return store(*args, **options)

    monkeypatch.setattr(gateway.gateway, "_outbox", _Slow(gateway.outbox, slowly))
    idle = gateway.connect()
    said: list[str] = []
    client = threading.Thread(target=lambda: said.append(gateway.send(mail())))
    client.start()
    began.wait(20)
    gateway.gateway.stop()
    client.join(30)
    assert said == ["250 2.0.0 stored as 1"]
    assert len(gateway.outbox.messages()) == 1
    with pytest.raises((smtplib.SMTPServerDisconnected, ConnectionError)):
        idle.noop()
    with pytest.raises(OSError):
        gateway.connect()


class _Slow:
    def __init__(self, outbox: Any, add_all: Any) -> None:
        self._outbox, self.add_all = outbox, add_all

    def __getattr__(self, name: str) -> Any:
        return getattr(self._outbox, name)


def test_what_graph_refuses_is_said_once(
    start: Start, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its sender was answered 250 and is gone."""
    monkeypatch.setattr("smime_graph.gateway.server._HOUSEKEEPING", 0.01)
    listed: list[int] = []
    list_all = Queue.rows

    def count(self: Any) -> Any:
        listed.append(1)
        return list_all(self)

    monkeypatch.setattr(Queue, "rows", count)
    gateway = start(graph=True, user="eve@contoso.com")
    gateway.send(mail())  # of Alice, who has not given Eve the right to send as her
    gateway.send(mail().replace("<1@", "<2@"))
    told = "message {} of the outbox is failed: "
    wait(lambda: all(told.format(one) in caplog.text for one in (1, 2)))
    assert sum("is failed" in one.message for one in caplog.records if one.levelno > 20) == 2
    assert "ErrorSendAsDenied" in caplog.text
    assert not listed  # what is there is not read again and again to find it out
    assert gateway.outbox.messages()[0].state == "failed"
    # it does not go out by being handed in again, so 250 would lose it
    said = "554 5.6.0 message 1 of the outbox is this one, and failed: Graph refused"
    assert gateway.send(mail()).startswith(said)


def test_an_outbox_that_cannot_be_used_for_a_while_is_tried_again(
    start: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("smime_graph.gateway.server._WORKER_PAUSE", 0.05)
    from smime_graph.graph.outbox import Outbox

    run = Outbox.run
    failed: list[int] = []

    def once(self: Any, *args: Any, **options: Any) -> Any:
        if not failed:
            failed.append(1)
            raise UsageError("the outbox is full")
        return run(self, *args, **options)

    monkeypatch.setattr(Outbox, "run", once)
    gateway = start(graph=True)
    gateway.send(mail())
    wait(lambda: inbox(gateway.emulator, "bob"))
    assert "cannot be emptied: the outbox is full" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "mail.example.org"])
def test_off_this_machine_one_must_sign_in_under_tls(host: str) -> None:
    users = Users(LINE, name="users")
    with pytest.raises(UsageError, match="--tls-certificate and --auth-file are not given"):
        Listening(host, 2525)
    with pytest.raises(UsageError, match="--tls-certificate is not given"):
        Listening(host, 2525, users=users)
    with pytest.raises(UsageError, match="and --auth-file is not given"):
        Listening(host, 2525, tls=object())  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_on_this_machine_one_need_not(host: str) -> None:
    assert Listening(host, 0).is_loopback


def test_a_port_that_is_taken_is_said(start: Start) -> None:
    first = start()
    with pytest.raises(UsageError, match=r"127\.0\.0\.1:\d+ cannot be listened on"):
        start(port=first.port)
