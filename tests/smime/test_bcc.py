"""Whoever is in Bcc gets a message of their own, and nobody else can see it (RFC 9787 9.4.1)."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from smime_graph import (
    CA,
    Contact,
    Identity,
    Password,
    SealedCopy,
    TrustStore,
    inspect,
    seal,
    seal_copies,
    unseal,
)
from smime_graph.errors import MalformedMessage, NoMatchingIdentity, PolicyRefusal
from smime_graph.policy import EXCHANGE
from smime_graph.smime.entity import Entity

MESSAGE = (
    b"From: Alice <alice@contoso.com>\r\nTo: Bob <bob@contoso.com>\r\nCc: dave@contoso.com\r\n"
    b"Bcc: Carol <carol@contoso.com>,\r\n erin@fabrikam.com\r\nSubject: Figures\r\n"
    b"Message-ID: <1@contoso.com>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n\r\nthe figures\r\n"
)


class People:
    def __init__(self, alice: Identity, ca: CA, now: datetime) -> None:
        when: Any = {"not_before": now - timedelta(days=1), "not_after": now + timedelta(days=9)}
        names = ("bob", "carol", "dave")
        self.identities = {name: ca.issue(f"{name}@contoso.com", **when) for name in names}
        self.identities["erin"] = ca.issue("erin@fabrikam.com", **when)
        self.identities["alice"] = alice
        self.contacts = [
            Contact(one.certificate) for name, one in self.identities.items() if name != "alice"
        ]

    def readers(self, raw: bytes) -> set[str]:
        """Whose certificates the envelope names, and who can read it: the same people."""
        (layer,) = inspect(raw)
        named = {
            name
            for name, one in self.identities.items()
            if any(f"{one.certificate.serial_number:x}" in r.id for r in layer.recipients)
        }
        assert len(layer.recipients) == len(named)
        return named


@pytest.fixture
def people(alice: Identity, ca: CA, now: datetime) -> People:
    return People(alice, ca, now)


def test_each_person_in_bcc_has_a_copy_of_their_own(
    alice: Identity, people: People, trust: TrustStore, now: datetime
) -> None:
    copies = seal_copies(MESSAGE, signer=alice, recipients=people.contacts, trust=trust, at=now)
    assert [(one.recipients, one.is_bcc) for one in copies] == [
        (("bob@contoso.com", "dave@contoso.com"), False),
        (("carol@contoso.com",), True),
        (("erin@fabrikam.com",), True),
    ]
    assert [people.readers(one.message) for one in copies] == [
        {"alice", "bob", "dave"},
        {"alice", "carol"},
        {"alice", "erin"},
    ]
    outside = [Entity(one.message) for one in copies]
    assert len({one.get("Message-ID") for one in outside}) == 3
    assert outside[0].get("Message-ID") == "<1@contoso.com>"
    assert [(one.get("To"), one.get("Cc")) for one in outside] == [
        ("Bob <bob@contoso.com>", "dave@contoso.com"),
        ("carol@contoso.com", None),
        ("erin@fabrikam.com", None),
    ]
    for entity in outside:
        assert len(entity.all("To")) == len(entity.all("Message-ID")) == 1
        assert not entity.all("Bcc")
        assert entity.get("Subject") == "Figures"
    for one, name in zip(copies, ("bob", "carol", "erin"), strict=True):
        opened = unseal(one.message, identities=[people.identities[name]], trust=trust, at=now)
        assert opened.report.accepted
        assert bytes(opened.content).endswith(b"\r\nthe figures\r\n")
        assert b"bcc:" not in bytes(opened.content).lower()
        header = opened.content.partition(b"\r\n\r\n")[0]
        for other in (b"carol", b"erin"):  # but for HP-Outer, of what stands outside
            assert (other in header) is (other == name.encode())
        if one.is_bcc:
            inside = Entity(opened.content)
            assert (inside.get("To"), inside.get("Cc")) == (
                "Bob <bob@contoso.com>",
                "dave@contoso.com",
            )
            with pytest.raises(NoMatchingIdentity):
                unseal(one.message, identities=[people.identities["bob"]], trust=trust, at=now)


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (b"Bcc: carol@contoso.com\r\n", [({"carol"}, "carol@contoso.com")]),
        (b"To: undisclosed-recipients:;\r\nBcc: carol@contoso.com\r\n", [({"carol"}, None)]),
        (b"To: bob@contoso.com\r\n", [({"bob"}, "bob@contoso.com")]),
        (b"To: bob@contoso.com\r\nBcc:\r\n", [({"bob"}, None)]),
        # twice in Bcc, or in To as well: once
        (
            b"To: bob@contoso.com\r\nBcc: BOB@contoso.com, carol@contoso.com\r\n"
            b"bcc : x: Carol <carol@CONTOSO.com>;\r\nResent-Bcc: dave@contoso.com\r\n",
            [({"bob"}, None), ({"carol"}, None)],
        ),
    ],
)
def test_who_is_in_bcc_alone_is_told_from_who_is_named(
    alice: Identity,
    people: People,
    now: datetime,
    header: bytes,
    wanted: list[tuple[set[str], str | None]],
) -> None:
    raw = b"From: alice@contoso.com\r\n" + header + b"\r\nhello\r\n"
    known = {name for names, _ in wanted for name in names}
    contacts = [Contact(people.identities[name].certificate) for name in sorted(known)]
    copies = seal_copies(raw, signer=alice, recipients=contacts, at=now)
    assert [people.readers(one.message) - {"alice"} for one in copies] == [w for w, _ in wanted]
    ids = [Entity(one.message).get("Message-ID") for one in copies]
    assert None not in ids
    assert len(set(ids)) == len(copies)
    for one, (_, to) in zip(copies, wanted, strict=True):
        assert b"bcc:" not in one.message.partition(b"\r\n\r\n")[0].lower()
        assert to is None or Entity(one.message).get("To") == to


def test_a_certificate_of_nobody_in_the_header_is_in_no_copy(
    alice: Identity, people: People, now: datetime
) -> None:
    """It could be of somebody in Bcc, whose address it does not name."""
    raw = MESSAGE.replace(b",\r\n erin@fabrikam.com", b"")
    with pytest.raises(PolicyRefusal, match="of nobody in the header") as caught:
        seal_copies(raw, signer=alice, recipients=people.contacts, at=now)
    assert caught.value.rule == "encrypt.recipient-in-no-header"
    erin = people.contacts.pop()
    for_carol = Contact(erin.certificate, email="carol@contoso.com")
    others = [one for one in people.contacts if "carol" not in repr(one)]
    copies = seal_copies(raw, signer=alice, recipients=[*others, for_carol], at=now)
    assert [people.readers(one.message) for one in copies] == [
        {"alice", "bob", "dave"},
        {"alice", "erin"},
    ]


def test_who_signs_and_who_knows_the_password_reads_every_copy(
    alice: Identity, people: People, trust: TrustStore, now: datetime
) -> None:
    password = Password("a long enough password")
    recipients: list[Any] = [*people.contacts, Contact(alice.certificate), password]
    for policy in (EXCHANGE, EXCHANGE.but("no self", encrypt_to_self=False)):
        copies = seal_copies(MESSAGE, signer=alice, recipients=recipients, at=now, policy=policy)
        for one in copies:
            for reader in (alice, password):
                opened = unseal(one.message, identities=[reader], trust=trust, at=now)
                assert opened.report.accepted


@pytest.mark.parametrize("must", [True, False])
def test_somebody_without_a_certificate_stops_all_copies(
    alice: Identity, people: People, now: datetime, must: bool
) -> None:
    policy = EXCHANGE.but("x", every_recipient_must_read=must)
    erin = people.contacts.pop()
    with pytest.raises(PolicyRefusal, match=r"no certificate is given for erin@fabrikam\.com"):
        seal_copies(MESSAGE, signer=alice, recipients=people.contacts, at=now, policy=policy)
    with pytest.raises(PolicyRefusal, match=r"no certificate is given for"):
        seal_copies(MESSAGE, signer=alice, recipients=[erin], at=now, policy=policy)
    raw = MESSAGE.replace(b"erin@", b"<erin@")
    with pytest.raises(MalformedMessage, match="Bcc"):
        seal_copies(raw, signer=alice, recipients=people.contacts, at=now, policy=policy)


def test_a_certificate_that_does_not_validate_is_refused_for_any_copy(
    alice: Identity, people: People, trust: TrustStore, now: datetime
) -> None:
    other = CA("Nobody's")
    people.contacts[-1] = Contact(other.issue("erin@fabrikam.com").certificate)
    for make in (seal, seal_copies):
        with pytest.raises(PolicyRefusal, match="cannot be used to encrypt"):
            make(MESSAGE, signer=alice, recipients=people.contacts, trust=trust, at=now)


def test_copies_are_made_of_whatever_a_message_is(
    alice: Identity, people: People, trust: TrustStore, now: datetime, tmp_path: Path
) -> None:
    message = EmailMessage()
    message["From"], message["To"] = "alice@contoso.com", "J\xfcrgen <bob@contoso.com>"
    message["Bcc"] = "carol@contoso.com"
    message.set_content("the figures\n")
    message.add_attachment(b"\0\1", maintype="application", subtype="octet-stream")
    file = tmp_path / "m.eml"
    file.write_bytes(message.as_bytes())
    contacts = people.contacts[:2]
    for given in (message, message.as_bytes(), file):
        copies = seal_copies(given, signer=alice, recipients=contacts, at=now)
        opened = unseal(
            copies[1].message, identities=[people.identities["carol"]], trust=trust, at=now
        )
        assert [one.data for one in opened.attachments] == [b"\0\1"]
        to = Entity(opened.content).get("To")
        assert to is not None
        assert "<bob@contoso.com>" in to
        assert "=?utf-8?" in to.lower()
    assert "the figures" not in repr(copies[0])


def test_one_message_for_all_is_a_finding_and_copies_are_none(
    alice: Identity, people: People, now: datetime, caplog: pytest.LogCaptureFixture
) -> None:
    arguments: Any = {"signer": alice, "recipients": people.contacts, "at": now}
    with caplog.at_level(logging.WARNING, "smime_graph"):
        copies = seal_copies(MESSAGE, **arguments)
        assert all(isinstance(one, SealedCopy) for one in copies)
        assert caplog.messages == []
        seal(MESSAGE, **arguments)
    (text,) = caplog.messages
    assert "Bcc" in text
    assert "[smime.bcc]" in text
