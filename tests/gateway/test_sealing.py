"""What is made of a message: its sender's key, its recipients, its Message-ID."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from smime_graph import EXCHANGE, Contacts, MalformedMessage, PolicyRefusal, unseal
from smime_graph.gateway.sealing import NobodyKnows, Sealer
from smime_graph.gateway.users import User
from smime_graph.pki.address import mailboxes
from smime_graph.smime.entity import Entity

from .conftest import People, mail

BOB = ["bob@contoso.com"]


@pytest.fixture
def sealer(people: People) -> Sealer:
    book = str(people.folder / "book.db")
    return Sealer([people.alice, people.dora], book=book, trust=None, policy=EXCHANGE)


def test_the_key_is_the_senders_and_one_that_is_good_now(people: People) -> None:
    now = datetime.now(UTC)
    old = people.ca.issue("alice@contoso.com", key="p256", not_after=now - timedelta(hours=1))
    soon = people.ca.issue("alice@contoso.com", key="p256", not_after=now + timedelta(hours=1))
    made = Sealer([old, soon, people.alice, people.dora], book=None, trust=None, policy=EXCHANGE)
    for sender, identity in (
        ("Alice@contoso.com", people.alice),
        ("dora@contoso.com", people.dora),
    ):
        found = made.complete(mail(sender=sender).encode(), mail_from="", recipients=BOB)
        assert found.identity is identity
    alone = Sealer([old], book=None, trust=None, policy=EXCHANGE)
    found = alone.complete(mail().encode(), mail_from="", recipients=BOB)
    with pytest.raises(PolicyRefusal, match="expired"):
        alone.sign(found)


def test_everyone_without_a_certificate_is_named(sealer: Sealer) -> None:
    to = ["bob@contoso.com", "dave@contoso.com", "eve@contoso.com"]
    found = sealer.complete(mail(", ".join(to)).encode(), mail_from="", recipients=to)
    with pytest.raises(NobodyKnows) as caught:
        sealer.seal(found)
    assert caught.value.missing == ("dave@contoso.com", "eve@contoso.com")


@pytest.mark.parametrize("to", ["alice@contoso.com", "Alice@contoso.com, bob@contoso.com"])
@pytest.mark.parametrize("to_self", [True, False])
def test_whoever_writes_to_themselves_needs_no_contact(
    people: People, to: str, to_self: bool
) -> None:
    book = str(people.folder / "book.db")
    policy = replace(EXCHANGE, encrypt_to_self=to_self)
    made = Sealer([people.alice], book=book, trust=people.ca.trust, policy=policy)
    found = made.complete(mail(to).encode(), mail_from="", recipients=to.split(", "))
    (sealed,) = made.seal(found)
    opened = unseal(sealed, identities=[people.alice], trust=people.ca.trust)
    assert opened.signer is not None
    alone = Sealer([people.alice], book=None, trust=None, policy=policy)
    if "bob" in to:
        with pytest.raises(NobodyKnows) as caught:
            alone.seal(found)
        assert caught.value.missing == ("bob@contoso.com",)
    else:
        assert len(alone.seal(found)) == 1


def test_the_own_certificate_comes_with_its_chain(people: People) -> None:
    own = people.ca.create_intermediate(key="p256").issue("alice@contoso.com", key="p256")
    made = Sealer([own], book=None, trust=people.ca.trust, policy=EXCHANGE)
    to = ["alice@contoso.com"]
    found = made.complete(mail(to[0]).encode(), mail_from="", recipients=to)
    assert len(made.seal(found)) == 1


@pytest.mark.parametrize("book", [None, "not-there.db"])
def test_without_a_book_nobody_is_known(people: People, book: str | None) -> None:
    made = Sealer([people.alice], book=book, trust=None, policy=EXCHANGE)
    found = made.complete(mail().encode(), mail_from="", recipients=BOB)
    with pytest.raises(NobodyKnows):
        made.seal(found)


def test_with_roots_a_certificate_has_to_validate(people: People, tmp_path: Path) -> None:
    from smime_graph import CA

    book = str(people.folder / "book.db")
    other = CA("Other Root", key="p256").trust
    for trust, is_known in ((people.ca.trust, True), (other, False)):
        made = Sealer([people.alice], book=book, trust=trust, policy=EXCHANGE)
        found = made.complete(mail().encode(), mail_from="", recipients=BOB)
        if is_known:
            assert len(made.seal(found)) == 1
        else:
            with pytest.raises(NobodyKnows):
                made.seal(found)


def test_a_book_that_cannot_be_read_is_not_an_empty_one(people: People, tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no book" * 1000)
    made = Sealer([people.alice], book=str(tmp_path / "damaged.db"), trust=None, policy=EXCHANGE)
    found = made.complete(mail().encode(), mail_from="", recipients=BOB)
    with pytest.raises(Exception, match="address book") as caught:
        made.seal(found)
    assert not isinstance(caught.value, PolicyRefusal)


def test_a_certificate_that_comes_into_the_book_is_used_at_once(
    sealer: Sealer, people: People
) -> None:
    found = sealer.complete(
        mail("dave@contoso.com").encode(), mail_from="", recipients=["dave@contoso.com"]
    )
    with pytest.raises(NobodyKnows):
        sealer.seal(found)
    with Contacts(people.folder / "book.db") as book:
        book.add([people.ca.issue("dave@contoso.com", key="p256").certificate])
    assert len(sealer.seal(found)) == 1


def test_an_id_is_made_up_once_for_what_can_be_told_apart(sealer: Sealer) -> None:
    bare = b"From: alice@contoso.com\nTo: bob@contoso.com\n\nx\n"
    dated = b"Date: Sun, 22 Nov 2026 12:00:00 +0000\n" + bare

    def identified(raw: bytes, to: list[str]) -> str | None:
        found = sealer.complete(raw, mail_from="", recipients=to)
        assert Entity(found.dated).get("Date")
        return Entity(found.raw).get("Message-ID")

    assert identified(dated, BOB) == identified(dated, BOB)
    assert identified(dated, BOB) != identified(dated + b"y", BOB)
    assert identified(dated, BOB) != identified(dated, [*BOB, "carol@contoso.com"])
    # without a Date it could be the second alarm as well as the first one again
    assert identified(bare, BOB) != identified(bare, BOB)


@pytest.mark.parametrize("sender", ["", "no address", "alice"])
def test_nobody_wrote_it_where_neither_says(sealer: Sealer, sender: str) -> None:
    with pytest.raises(MalformedMessage):
        sealer.complete(b"To: bob@contoso.com\n\nx\n", mail_from=sender, recipients=BOB)


def test_who_may_write_as_some_may_not_name_others_as_the_sender(sealer: Sealer) -> None:
    """Clients show the Sender: "dora on behalf of alice"."""
    user = User("al", b"", b"", mailboxes(("alice@contoso.com",)))
    own = mail(more="Sender: Alice <alice@contoso.com>\r\n")
    found = sealer.complete(own.encode(), mail_from="", recipients=BOB, user=user)
    assert found.sender == "alice@contoso.com"
    for other in (
        own.replace("Sender: Alice <alice", "Sender: Dora <dora"),
        mail(sender="dora@contoso.com"),
    ):
        with pytest.raises(PolicyRefusal, match="al may not send as dora@"):
            sealer.complete(other.encode(), mail_from="", recipients=BOB, user=user)
