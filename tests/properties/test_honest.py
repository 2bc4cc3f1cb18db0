"""What honest mail asks for is granted, however large it is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smime_graph import (
    EXCHANGE,
    Contact,
    compress,
    examine,
    oids,
    seal,
    sign,
    unseal,
    verify,
)
from smime_graph.asn1 import ber
from smime_graph.asn1.content_info import content_info
from smime_graph.cms import signed_data

from .large import HEAD, TEXT, World, message, signed_parts, with_signers

QUIET = EXCHANGE.but("quiet", every_recipient_must_read=False)
NAMES = b",\r\n ".join(b'"Somebody Else" <somebody.else%d@contoso.com>' % n for n in range(1000))


@pytest.fixture(scope="module")
def world() -> World:
    return World.make()


def test_mail_to_a_thousand(world: World) -> None:
    """A thousand in To, and a RecipientInfo for each."""
    own = Contact(world.bob.certificate)
    raw = seal(
        HEAD.replace(b"bob@contoso.com", NAMES) + b"\r\nhello\r\n",
        signer=world.alice,
        recipients=[own],
        policy=QUIET,
    )
    opened = unseal(raw, identities=[world.bob], trust=world.trust)
    assert opened.signer is not None
    assert len(opened.message["To"].addresses) == 1000


def test_a_thousand_recipient_infos(world: World) -> None:
    others = [world.ca.issue(f"n{n}@contoso.com", key="x25519", use="encrypt") for n in range(999)]
    raw = seal(
        HEAD + b"\r\nhello\r\n",
        signer=world.alice,
        recipients=[Contact(one.certificate) for one in (*others, world.bob)],
        policy=QUIET,
    )
    opened = unseal(raw, identities=[world.bob], trust=world.trust)
    assert len(opened.layers[0].recipients) > 1000


def test_twenty_five_megabytes_sealed_and_compressed(world: World) -> None:
    body = b"".join(
        b"line %d of a file that is not the same everywhere\r\n" % n for n in range(400_000)
    )
    mail = HEAD + b"\r\n" + body
    assert len(mail) > 20_000_000
    sealed = seal(mail, signer=world.alice, recipients=[Contact(world.bob.certificate)])
    assert unseal(sealed, identities=[world.bob], trust=world.trust).signer is not None
    assert verify(sign(mail, signer=world.alice), trust=world.trust).content.endswith(body)
    packed = sign(compress(mail), signer=world.alice)
    assert unseal(packed, trust=world.trust).content.endswith(body)


def test_a_header_of_a_hundred_kilobytes(world: World) -> None:
    fields = b"".join(
        b"Received: from a%d.example.org (a.example.org [192.0.2.1])\r\n"
        b"\tby b.example.org with ESMTPS; Sun, 22 Nov 2026 12:00:00 +0000\r\n" % n
        for n in range(900)
    )
    assert len(fields) > 100_000
    raw = fields + sign(HEAD + b"\r\nhello\r\n", signer=world.alice)
    assert verify(raw, trust=world.trust).signer is not None


def test_a_hundred_people_sign(world: World) -> None:
    people = [world.ca.issue(f"p{n}@contoso.com", key="p256") for n in range(99)]
    raw = sign(HEAD + b"\r\nhello\r\n", signer=[world.alice, *people])
    report = examine(raw, trust=world.trust)
    assert report.accepted
    assert sum(bool(one.trusted) for one in report.signers) == 100


def test_sixteen_layers(world: World) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"x" * 50_000 + b"\r\n"
    for _ in range(16):
        der, _digests = signed_data.sign(
            content, [world.alice], detached=False, policy=EXCHANGE, at=datetime.now(UTC)
        )
        content = message(der)[len(HEAD) :]
    report = examine(HEAD + content, trust=world.trust)
    assert report.accepted
    assert len(report.layers) == 16


@pytest.mark.parametrize("chunk", [1000, 100])
def test_a_message_in_chunks(world: World, chunk: int) -> None:
    content = b"Content-Type: text/plain\r\n\r\n" + b"x" * (2000 * chunk) + b"\r\n"
    der, _ = signed_data.sign(
        content, [world.alice], detached=False, policy=EXCHANGE, at=datetime.now(UTC)
    )
    parts = signed_parts(der)
    chunks = [ber.octet_string(content[at : at + chunk]) for at in range(0, len(content), chunk)]
    inner = b"\xa0\x80\x24\x80" + b"".join(chunks) + b"\0\0\0\0"
    parts[2] = ber.sequence(ber.oid(oids.DATA), inner)
    raw = message(content_info(oids.SIGNED_DATA, parts))
    assert verify(raw, trust=world.trust).content == content


def test_signers_beyond_the_budget_are_not_called_bad(world: World) -> None:
    """What was not looked at is neither valid nor invalid, and the message is not accepted."""
    signer = world.ca.issue("alice@contoso.com", key="p384")
    content = TEXT
    for _ in range(6):
        der, _digests = signed_data.sign(
            content, [signer], detached=False, policy=EXCHANGE, at=datetime.now(UTC)
        )
        content = message(with_signers(der, 100))[len(HEAD) :]
    report = examine(HEAD + content, trust=world.trust)
    unseen = [one for one in report.signers if one.valid is None]
    assert unseen
    assert not any(one.valid is False for one in report.signers)
    assert not report.accepted
    (said, *_) = [item for item in report.errors if item.code == "smime.limit"]
    assert "takes more work than the" in said.text
    assert "certification paths" in said.text or "signatures" in said.text
