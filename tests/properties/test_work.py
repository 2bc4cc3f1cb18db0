"""Where many things meet many others the work is counted: it grows with their sum, not product."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from smime_graph import EXCHANGE, Contact, NoMatchingIdentity, decrypt, encrypt, examine
from smime_graph.cms.recipients import kinds as recipients
from smime_graph.cms.recipients.recipient_info import RecipientInfo, RecipientKind
from smime_graph.pki import address
from smime_graph.smime.answer import answer
from smime_graph.x509 import names as x509_names

from .large import (
    World,
    addresses,
    from_and_names,
    name_constraints,
    names_in_other_spellings,
)
from .large import recipients as many_recipients


@pytest.fixture(scope="session")
def world() -> World:
    return World.make()


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any, str], list[int]]:
    """`counted(module, name)` is a list with the number of calls of that function so far."""

    def counted(module: Any, name: str) -> list[int]:
        real, calls = getattr(module, name), [0]

        def one_more(*args: Any, **kwargs: Any) -> Any:
            calls[0] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, one_more)
        return calls

    return counted


@pytest.mark.parametrize(("senders", "names", "signers"), [(300, 300, 1), (100, 100, 20)])
def test_the_addresses_of_from_and_of_certificates_are_each_read_a_few_times(
    world: World, counted: Any, senders: int, names: int, signers: int
) -> None:
    raw = from_and_names(world, senders=senders, names=names, signers=signers)
    calls = counted(address, "_addr_spec")
    report = examine(raw.replace(b"@example.org", b"@Example.Org"), trust=world.trust)
    assert len(report.signers) == signers
    assert report.has("pki.address.mismatch")
    assert calls[0] <= 6 * (senders + names)


@pytest.mark.parametrize("permitted", [True, False])
@pytest.mark.parametrize("mailboxes", [True, False])
def test_names_and_constraints_are_each_read_a_few_times(
    world: World, counted: Any, permitted: bool, mailboxes: bool
) -> None:
    raw = name_constraints(
        world, names=200, constraints=200, permitted=permitted, mailboxes=mailboxes
    )
    calls = counted(address, "_addr_spec")
    report = examine(raw, trust=world.trust)
    assert report.signers[0].trusted is not (permitted and mailboxes)
    assert calls[0] <= 6 * 400


def test_the_addresses_of_an_answer_are_each_read_a_few_times(counted: Any) -> None:
    to = addresses(300, domain="To.Example.Org")
    original = b"From: A@X.Y\r\nTo: %b\r\nCc: %b, %b\r\n\r\nx\r\n" % (
        to,
        addresses(300, domain="Cc.Example.Org"),
        to,
    )
    calls = counted(address, "_addr_spec")
    made = answer(original, kind="reply-all", sender="u1@to.example.org")
    assert (made["To"].count("@"), made["Cc"].count("@")) == (300, 300)
    assert calls[0] <= 10 * 600


def test_the_addresses_of_recipients_are_each_read_a_few_times(world: World, counted: Any) -> None:
    count = 60
    names = [f"U{n}@Example.Org" for n in range(count)]
    contacts = []
    for name in names:
        certificate = world.ca.issue(name, key="p256", use="encrypt").encryption_certificate
        assert certificate is not None
        contacts.append(Contact(certificate))
    raw = f"From: a@x.y\r\nTo: {', '.join(names).lower()}\r\nCc: {', '.join(names)}\r\n\r\nx"
    calls = counted(address, "_addr_spec")
    encrypt(raw.encode(), recipients=contacts)
    assert calls[0] <= 10 * count


def test_recipients_and_keys_are_not_compared_each_with_each(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten thousand recipients, and a folder of keys that no longer match."""
    real, calls = recipients.kind_of, [0]

    def counting(recipient: RecipientInfo) -> RecipientKind | None:
        kind = real(recipient)

        def opens(*arguments: Any) -> bool:
            calls[0] += 1
            return kind.opens(*arguments)

        return kind and replace(kind, opens=opens)

    monkeypatch.setattr(recipients, "kind_of", counting)
    keys = [world.ca.issue("bob@contoso.com", key="p256") for _ in range(20)]
    raw = encrypt(
        b"From: alice@contoso.com\r\n\r\nhello\r\n",
        recipients=[Contact(one.certificate) for one in keys[:2]],
        policy=EXCHANGE.but("quiet", every_recipient_must_read=False),
    )
    with pytest.raises(NoMatchingIdentity):
        decrypt(many_recipients(world, count=2000), identities=keys)
    assert calls[0] == 0
    # those that match are found all the same, by either name
    assert decrypt(raw, identities=keys[::-1]).content.endswith(b"hello\r\n")
    assert 1 <= calls[0] <= 4


def test_more_constraints_and_names_than_can_be_compared_are_a_limit(world: World) -> None:
    """The validator compares each with each; 50 with 1,000 are no trouble."""
    few = examine(
        name_constraints(world, names=50, constraints=1000, permitted=True), trust=world.trust
    )
    assert few.signers[0].trusted
    many = examine(
        name_constraints(world, names=1000, constraints=1000, permitted=True), trust=world.trust
    )
    assert not many.signers[0].trusted
    assert many.has("pki.path.limit")
    assert any("name constraints 9" in item.text for item in many.errors)


@pytest.mark.parametrize("size", [100, 1100, 3000, 5000, 15_000])
def test_the_names_of_signers_and_certificates_are_each_read_a_few_times(
    world: World, counted: Any, size: int
) -> None:
    raw = names_in_other_spellings(world, signers=12, certificates=15, size=size)
    calls = counted(x509_names, "_comparable")
    report = examine(raw, trust=world.trust)
    assert len(report.signers) == 12
    assert report.has("cms.signer.certificate-missing")
    assert calls[0] <= 3 * (12 + 15) * (size // 14 + 1)
