"""Answers through the library: to whom they go, for whom they are sealed, and what they keep."""

from __future__ import annotations

from datetime import datetime
from email import message_from_bytes, policy
from typing import Any

import pytest

from smime_graph import (
    CA,
    EXCHANGE,
    Attachment,
    GraphClient,
    Opened,
    Password,
    PolicyRefusal,
    UsageError,
    answer,
    decrypt,
    encrypt,
    inspect,
    seal,
    seal_answer,
    sign,
    unseal,
    verify,
)
from smime_graph.emulator import Emulator

SECRET = (
    b"From: Alice <alice@contoso.com>\r\nTo: Bob <bob@contoso.com>\r\nCc: carol@contoso.com\r\n"
    b"Subject: the takeover\r\nMessage-ID: <1@contoso.com>\r\n\r\nthe secret text\r\n"
)
ANYBODY = EXCHANGE.but("anybody", every_recipient_must_read=False)


class People:
    """Alice has written to Bob and Carol; Eve may be in between."""

    def __init__(self, ca: CA, now: datetime) -> None:
        self.now, self.trust = now, ca.trust
        names = ("alice", "bob", "carol", "eve")
        self.of = {one: ca.issue(f"{one}@contoso.com", key="p256", at=now) for one in names}
        self.contacts = {one: self.of[one].contact for one in names}

    def sealed(self, raw: bytes = SECRET, **how: Any) -> bytes:
        to = [self.contacts["bob"], self.contacts["carol"]]
        given: dict[str, Any] = {"policy": ANYBODY, "at": self.now, **how}
        return seal(raw, signer=self.of["alice"], recipients=to, **given)

    def opened(self, raw: bytes, **how: Any) -> Opened:
        return unseal(raw, identities=[self.of["bob"]], trust=self.trust, at=self.now, **how)

    def answered(self, original: Opened, kind: Any = "reply", **how: Any) -> bytes:
        to = ["carol@contoso.com"] if kind == "forward" else []
        made = answer(original, kind=kind, sender="bob@contoso.com", text="yes", to=to)
        given: dict[str, Any] = {
            "signer": self.of["bob"],
            "recipients": list(self.contacts.values()),
            "at": self.now,
        }
        return seal_answer(made, original=original, kind=kind, **(given | how))

    def readers(self, sealed: bytes) -> set[str]:
        found = set()
        for name, person in self.of.items():
            try:
                unseal(sealed, identities=[person], trust=self.trust, at=self.now)
            except Exception:  # noqa: BLE001 - cannot read it
                continue
            found.add(name)
        return found


@pytest.fixture
def people(ca: CA, now: datetime) -> People:
    return People(ca, now)


@pytest.mark.parametrize(
    ("kind", "readers"),
    [
        ("reply", {"alice", "bob"}),
        ("reply-all", {"alice", "bob", "carol"}),
        ("forward", {"carol", "bob"}),
    ],
)
def test_an_answer_is_sealed_for_exactly_those_to_whom_it_goes(
    people: People, kind: str, readers: set[str]
) -> None:
    sealed = people.answered(people.opened(people.sealed()), kind)
    assert people.readers(sealed) == readers
    assert b"takeover" in sealed  # which the original did not hide
    assert b"secret text" not in sealed


def test_reply_to_is_written_to_as_well_and_nobody_else(people: People) -> None:
    raw = SECRET.replace(b"Subject", b"Reply-To: carol@contoso.com\r\nSubject")
    original = people.opened(people.sealed(raw))
    assert people.readers(people.answered(original)) == {"alice", "bob", "carol"}
    without = [people.contacts[one] for one in ("carol", "eve")]
    with pytest.raises(PolicyRefusal, match="no certificate is given for alice@"):
        people.answered(original, recipients=without)


def test_what_the_original_hid_stands_inside_alone(people: People) -> None:
    original = people.opened(people.sealed(header_confidentiality="baseline"))
    for kind in ("reply", "forward"):
        sealed = people.answered(original, kind)
        assert b"takeover" not in sealed
        outer = message_from_bytes(sealed, policy=policy.default)
        assert "[...]" in outer["Subject"]
        reader = "alice" if kind == "reply" else "carol"
        inner = unseal(sealed, identities=[people.of[reader]], trust=people.trust, at=people.now)
        assert inner.message["Subject"].endswith(": the takeover")


def changed(raw: bytes, *changes: tuple[bytes, bytes]) -> bytes:
    for old, new in changes:
        assert old in raw
        raw = raw.replace(old, new, 1)
    return raw


@pytest.mark.parametrize(
    "change",
    [
        (b"From: Alice <alice@", b"From: Alice <eve@"),
        (b"From: Alice <alice@contoso.com>", b'From: "alice@contoso.com" <eve@contoso.com>'),
        (b"Subject: ", b"Reply-To: eve@contoso.com\r\nSubject: "),
    ],
    ids=["from", "from with a name", "reply-to"],
)
@pytest.mark.parametrize("kind", ["reply", "reply-all"])
def test_an_address_that_is_another_outside_is_not_replied_to(
    people: People, change: tuple[bytes, bytes], kind: Any
) -> None:
    raw = changed(people.sealed(), change)
    # who did not say whose signature is wanted would not have got as far as this
    original = people.opened(raw, sender="alice@contoso.com")
    with pytest.raises(PolicyRefusal, match="where Graph reads whom") as caught:
        people.answered(original, kind)
    assert caught.value.rule == "answer.outer-differs"
    assert "eve@contoso.com" in str(caught.value)
    assert "carol" in people.readers(people.answered(original, "forward"))


def test_names_and_order_may_differ_outside(people: People) -> None:
    raw = people.sealed(header_confidentiality="shy")
    assert b"Alice" not in raw.partition(b"\r\n\r\n")[0]
    assert people.readers(people.answered(people.opened(raw))) == {"alice", "bob"}
    two = b"Reply-To: Bob <bob@contoso.com>, carol@contoso.com\r\nSubject"
    raw = changed(
        people.sealed(SECRET.replace(b"Subject", two)),
        (b"Reply-To: Bob <bob@contoso.com>, carol@", b"Reply-To: Carol@contoso.com, bob@"),
    )
    made = answer(people.opened(raw), kind="reply", sender="bob@contoso.com")
    assert made["To"] == "bob@contoso.com, carol@contoso.com"


def test_a_cc_that_was_added_outside_gets_nothing_that_it_can_read(people: People) -> None:
    raw = changed(people.sealed(), (b"Cc: carol@", b"Cc: eve@contoso.com, carol@"))
    original = people.opened(raw)
    assert "Cc" in original.report.outer_headers_differ
    made = answer(original, kind="reply-all", sender="bob@contoso.com")
    assert "eve" not in str(made)
    # Graph sends it to her all the same
    sealed = seal_answer(
        made,
        original=original,
        kind="reply-all",
        signer=people.of["bob"],
        recipients=[people.contacts[one] for one in ("alice", "carol")],
        at=people.now,
    )
    assert people.readers(sealed) == {"alice", "bob", "carol"}
    # whoever else a certificate is at hand of
    assert people.readers(people.answered(original, "reply-all")) == {"alice", "bob", "carol"}


def test_what_came_encrypted_does_not_leave_in_the_clear(people: People) -> None:
    original = people.opened(people.sealed())
    for recipients in ([], [people.contacts["eve"]]):
        with pytest.raises(PolicyRefusal, match="would not be") as caught:
            people.answered(original, recipients=recipients)
        assert caught.value.rule == "answer.decrypted-in-clear"


def test_ciphertext_in_somebody_else_s_message_is_no_oracle(people: People) -> None:
    """Eve has taken it from the line, and sends it on as her own."""
    stolen = encrypt(SECRET, recipients=[people.contacts["bob"]], policy=ANYBODY, at=people.now)
    stolen = changed(stolen, (b"Alice <alice@", b"Eve <eve@"))
    original = decrypt(stolen, identities=[people.of["bob"]])
    for kind in ("reply", "forward"):
        with pytest.raises(PolicyRefusal, match="not known who sent it") as caught:
            people.answered(original, kind)
        assert caught.value.rule == "answer.not-accepted"


def test_what_came_signed_is_answered_signed_and_may_be_encrypted(people: People) -> None:
    signed = sign(SECRET, signer=people.of["alice"], at=people.now)
    original = verify(signed, trust=people.trust, at=people.now)
    made = people.answered(original, recipients=())
    assert [one.type for one in inspect(made)] == ["signed-data"]
    assert people.readers(people.answered(original)) == {"alice", "bob"}
    only = people.answered(original, signer=())
    assert [one.type for one in inspect(only)] == ["enveloped-data"]
    with pytest.raises(UsageError, match="nobody signs"):
        people.answered(original, signer=(), recipients=())


def test_a_shared_password_is_nobody_s_and_is_used(people: People) -> None:
    original = people.opened(people.sealed())
    key = Password("correct horse battery")
    sealed = people.answered(original, recipients=[people.contacts["alice"], key])
    assert unseal(sealed, identities=[key], trust=people.trust, at=people.now).report.accepted


def test_an_answer_that_a_person_edited_is_held_against_the_original(
    people: People, caplog: pytest.LogCaptureFixture
) -> None:
    original = people.opened(people.sealed())
    made = answer(original, kind="reply", sender="bob@contoso.com")
    made.replace_header("To", "eve@contoso.com")
    with pytest.raises(PolicyRefusal, match="encrypted for others than it goes to"):
        seal_answer(
            made,
            original=original,
            kind="reply",
            signer=people.of["bob"],
            recipients=list(people.contacts.values()),
            at=people.now,
        )


def test_the_whole_way_there_and_back_with_an_attachment(people: People) -> None:
    with Emulator(open_mailboxes=True, clock=people.now.timestamp) as emulator:

        def client(user: str) -> GraphClient:
            address = f"{user}@contoso.com"
            return GraphClient("x", user=address, transport=emulator.transport())

        with client("alice") as graph:
            graph.send(people.sealed())
        with client("bob") as graph:
            (there,) = graph.list("inbox")
            original = people.opened(graph.fetch(there.id))
            made = answer(
                original,
                kind="reply",
                sender="bob@contoso.com",
                text="see the plan",
                attachments=[Attachment("plan.pdf", data=b"%PDF")],
            )
            sealed = seal_answer(
                made,
                original=original,
                kind="reply",
                signer=people.of["bob"],
                recipients=[people.contacts["alice"]],
                at=people.now,
            )
            graph.reply(there.id, sealed)
        with client("alice") as graph:
            (back,) = graph.list("inbox")
            opened = unseal(
                graph.fetch(back.id),
                identities=[people.of["alice"]],
                trust=people.trust,
                at=people.now,
            )
    assert opened.message["Subject"] == "Re: the takeover"
    assert opened.message["In-Reply-To"] == "<1@contoso.com>"
    assert [(one.name, one.data) for one in opened.attachments] == [("plan.pdf", b"%PDF")]
    body = opened.message.get_body()
    assert body is not None
    assert "> the secret text" in body.get_content()
