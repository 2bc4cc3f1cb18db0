"""A new kind of recipient is one row: the rest of the package works through the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

from smime_graph import EXCHANGE, Contact, Identity, NoMatchingIdentity, inspect, oids
from smime_graph.algorithms import KeyWrap, by_name
from smime_graph.asn1 import ber
from smime_graph.asn1.ber import Fields, Node
from smime_graph.asn1.content_info import read_content_info
from smime_graph.cms import enveloped_data
from smime_graph.cms.recipients import kinds
from smime_graph.cms.recipients.recipient_info import (
    Opening,
    RecipientInfo,
    RecipientKind,
)
from smime_graph.errors import DecryptionFailed, UsageError
from smime_graph.policy import Policy
from smime_graph.smime.wrap import pkcs7_mime

ORI_TOY = "1.3.6.1.4.1.32473.1"  # of the arc for examples, RFC 5612
WRAP = by_name(KeyWrap, "aes256-wrap")


@dataclass(frozen=True, slots=True)
class Room:
    """Whoever is in the room knows its number."""

    number: int

    @property
    def kek(self) -> bytes:
        return self.number.to_bytes(32, "big")


def wrap(room: Room, cek: bytes, _: Policy, __: object) -> tuple[bytes, int]:
    value = ber.sequence(ber.octet_string(WRAP.wrap(room.kek, cek)))
    return ber.context(4, ber.oid(ORI_TOY), value), 3


def read(node: Node) -> list[RecipientInfo]:
    fields = Fields(node.expect(ber.SEQUENCE, "toy"), "toy")
    encrypted = bytes(fields.any("encryptedKey").as_octets("encryptedKey"))
    fields.end()
    return [RecipientInfo("toy", KeyWrap, encrypted_key=encrypted, whom="a room")]


def unwrap(recipient: RecipientInfo, room: Room, opening: Opening) -> bytes:
    assert opening.size == 32
    return WRAP.unwrap(room.kek, recipient.encrypted_key)


def is_room(one: Any) -> bool:
    return isinstance(one, Room)


TOY = RecipientKind(
    "toy",
    0xA4,
    read,
    is_room,
    wrap,
    unwrap,
    lambda _, key: is_room(key),
    ori_type=ORI_TOY,
    limit=2,
    plural="rooms",
)


def encrypted(content: bytes, *to: Any) -> bytes:
    cipher = kinds.choose_cipher(to, EXCHANGE)
    return enveloped_data.encrypt(content, to, cipher=cipher, policy=EXCHANGE)


def decrypted(der: bytes, *keys: Any) -> bytes:
    return bytes(enveloped_data.decrypt(enveloped_data.read(der), keys, policy=EXCHANGE))


def test_a_kind_of_recipient_is_one_row(
    monkeypatch: pytest.MonkeyPatch, message: bytes, bob: Identity
) -> None:
    room: Any = Room(7)
    with pytest.raises(UsageError, match="a Room is no recipient"):
        encrypted(message, room)

    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, TOY))
    der = encrypted(message, Contact(bob.certificate), room)
    for key in (room, bob):
        assert decrypted(der, key) == message
    with pytest.raises(DecryptionFailed):
        decrypted(der, Room(8))
    (layer,) = inspect(pkcs7_mime("enveloped-data", der))
    assert ("toy", "a room") in [(one.kind, one.id) for one in layer.recipients]
    fields = Fields(read_content_info(der, oids.ENVELOPED_DATA)[1], "EnvelopedData")
    assert fields.any("version").as_integer("version") == 3  # RFC 5652 6.1: there is an ori

    # somebody whose table has no such row: the recipient is skipped, and shown
    monkeypatch.undo()
    assert decrypted(der, bob) == message
    with pytest.raises(NoMatchingIdentity):
        decrypted(der, room)
    (layer,) = inspect(pkcs7_mime("enveloped-data", der))
    assert sorted(one.kind for one in layer.recipients) == ["kari", "ori"]


def test_the_limit_of_a_kind_is_kept_by_writer_and_reader(
    monkeypatch: pytest.MonkeyPatch, message: bytes
) -> None:
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, TOY))
    rooms: list[Any] = [Room(number) for number in range(3)]
    two = encrypted(message, *rooms[:2])
    assert decrypted(two, rooms[0]) == message
    with pytest.raises(UsageError, match="3 rooms, at most 2 are read"):
        encrypted(message, *rooms)

    infos = ber.set_of(*(wrap(Room(number), bytes(32), EXCHANGE, "")[0] for number in range(3)))
    recipients = kinds.read(ber.read(infos, "recipientInfos", tag=ber.SET))
    tries: list[object] = []

    def counted(recipient: RecipientInfo, room: Room, opening: Opening) -> bytes:
        tries.append(recipient)
        raise ValueError

    monkeypatch.setattr(kinds, "KINDS", (replace(TOY, unwrap=counted),))
    read_two = enveloped_data.read(two)
    many = enveloped_data.EnvelopedData(
        oids.DATA, recipients, read_two.algorithm, read_two.ciphertext, False
    )
    with pytest.raises(DecryptionFailed):
        enveloped_data.decrypt(many, rooms[2:], policy=EXCHANGE)
    assert len(tries) == 2


def test_the_table_names_each_kind_and_each_tag_once() -> None:
    assert len({row.name for row in kinds.KINDS}) == len(kinds.KINDS)
    assert len({(row.tag, row.ori_type) for row in kinds.KINDS}) == len(kinds.KINDS)
