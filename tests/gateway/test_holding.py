"""Messages that wait for certificates."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from smime_graph import EXCHANGE, Contacts, SmimeGraphError, UsageError, seal
from smime_graph.gateway import server
from smime_graph.gateway.holding import Holding
from smime_graph.gateway.sealing import Sealer
from smime_graph.smime.entity import Entity

from .conftest import People, Start, mail


@pytest.fixture
def sealer(people: People) -> Sealer:
    book = str(people.folder / "book.db")
    return Sealer([people.alice, people.dora], book=book, trust=None, policy=EXCHANGE)


def test_what_is_held_goes_out_when_there_is_a_certificate(
    start: Start, people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_HOUSEKEEPING", 0.05)
    gateway = start(rule="hold", held=tmp_path / "held")
    to = ("bob@contoso.com", "dave@contoso.com")
    for _ in range(2):  # twice is once
        answer = gateway.send(mail(), *to)
        assert answer == "250 2.0.0 held: no certificate for dave@contoso.com"
    (file,) = (tmp_path / "held").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert b"the figures" not in file.read_bytes()
    assert b"dave" not in file.read_bytes()
    assert gateway.outbox.messages() == ()
    dave = people.ca.issue("dave@contoso.com", key="p256")
    with Contacts(people.folder / "book.db") as book:
        book.add([dave.certificate])
    for _ in range(400):
        if not file.exists():
            break
        time.sleep(0.05)
    named, hidden = gateway.stored()
    assert gateway.opened(named, people.bob).content.endswith(b"the figures\r\n")
    assert gateway.opened(hidden, dave).content.endswith(b"the figures\r\n")
    assert Entity(named).get("Message-ID") == "<1@contoso.com>"


def test_who_cannot_be_encrypted_to_has_nothing_held(start: Start, tmp_path: Path) -> None:
    gateway = start(rule="hold", held=tmp_path / "held")
    raw = mail("dave@contoso.com", sender="dora@contoso.com")
    answer = gateway.send(raw, "dave@contoso.com")
    assert answer.startswith("550 5.7.1 a message of dora@contoso.com cannot be held")


def test_only_what_its_sender_handed_in_is_opened(
    sealer: Sealer, people: People, tmp_path: Path
) -> None:
    """Whoever can write into the folder must not have things signed."""
    holding = Holding(str(tmp_path / "held"))
    found = sealer.complete(mail().encode(), mail_from="", recipients=["bob@contoso.com"])
    holding.keep(found, sealer)
    (good,) = holding.held()
    assert holding.open(good, sealer) == found
    content = mail(sender="dora@contoso.com")
    forged = [
        mail().encode(),
        seal(
            mail("alice@contoso.com").encode(),
            signer=people.alice,
            recipients=[people.alice.contact],
        ),
        # of another's
        seal(
            "From: bob@contoso.com\r\nTo: alice@contoso.com\r\nSubject: held by smime-graph gateway"
            f"\r\n\r\n{mail()}".encode(),
            signer=people.bob,
            recipients=[people.alice.contact],
        ),
        # in somebody else's name
        seal(
            "From: alice@contoso.com\r\nTo: alice@contoso.com\r\nSubject: held by smime-graph"
            f" gateway\r\n\r\n{content}".encode(),
            signer=people.alice,
            recipients=[people.alice.contact],
        ),
        good.read_bytes()[:-200],
        b"",
    ]
    for number, raw in enumerate(forged):
        path = good.with_name(f"{number}.eml")
        path.write_bytes(raw)
        with pytest.raises(SmimeGraphError):
            holding.open(path, sealer)
    assert next(holding.held()).name == good.name


def test_what_cannot_be_opened_keeps_back_nothing_else(
    start: Start,
    sealer: Sealer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(server, "_HOUSEKEEPING", 0.05)
    folder = tmp_path / "held"
    holding = Holding(str(folder))
    (folder / "0.eml").write_bytes(b"nonsense")
    os.utime(folder / "0.eml", (1, 1))
    message = sealer.complete(mail().encode(), mail_from="", recipients=["bob@contoso.com"])
    holding.keep(message, sealer)
    gateway = start(rule="hold", held=folder)
    for _ in range(400):
        if gateway.outbox.messages():
            break
        time.sleep(0.05)
    assert len(gateway.stored()) == 1
    assert (folder / "0.eml").exists()
    assert "0.eml stays held" in caplog.text


def test_a_full_disk_is_not_a_message_that_is_held(start: Start, tmp_path: Path) -> None:
    gateway = start(rule="hold", held=tmp_path / "held")
    shutil.rmtree(tmp_path / "held")
    assert gateway.send(mail("x@y.de"), "x@y.de").startswith("451 4.3.0 ")


@pytest.mark.parametrize("path", ["/dev/null/x", "/proc/1/x", "a\0b"])
def test_a_folder_that_cannot_be_is_refused(path: str) -> None:
    with pytest.raises(UsageError, match="cannot hold messages"):
        Holding(path)
