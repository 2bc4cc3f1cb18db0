"""Whom an envelope names, beside the header: Graph sends to everyone in To, Cc and Bcc."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..pki.address import mailbox, mailboxes, parse_header_addresses
from ..smime.entity import HeaderField

_RESENT = ("resent-to", "resent-cc", "resent-bcc")


@dataclass(frozen=True, slots=True)
class Recipients:
    """Those in To, Cc and Bcc; those of the envelope who stand in none of them, each once; and
    those whom the envelope does not name.
    """

    named: tuple[str, ...]
    unseen: tuple[str, ...]
    others: tuple[str, ...]


def compare(fields: Iterable[HeaderField], envelope: Sequence[str]) -> Recipients:
    """MalformedMessage for an address field that cannot be read."""
    named = tuple(
        one
        for field in fields
        if field.name.lower() in ("to", "cc", "bcc")
        for one in parse_header_addresses(field.value)
    )
    shown, wanted = mailboxes(named), mailboxes(tuple(envelope))
    return Recipients(
        named,
        tuple(dict.fromkeys(one for one in envelope if mailbox(one) not in shown)),
        tuple(one for one in named if mailbox(one) not in wanted),
    )


def resent(fields: Iterable[HeaderField]) -> str | None:
    """The name of a field that says who gets the message now, which was sent before."""
    return next((one.name for one in fields if one.name.lower() in _RESENT), None)


def bcc_field(addresses: Sequence[str]) -> HeaderField:
    return HeaderField("Bcc", ("Bcc: " + ",\r\n ".join(addresses) + "\r\n").encode())
